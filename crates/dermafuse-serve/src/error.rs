use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use dermafuse_eval::EvalError;
use dermafuse_schema::{ReadError, SchemaError};
use thiserror::Error;

/// Why a server does not start, or a store cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Other machines could ask without a token.
    #[error("{address} can be reached from other machines: give a token, or serve on 127.0.0.1")]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// A token that could be guessed or that cannot stand in a header.
    #[error("the token has {found} characters; give {least} or more, letters, digits and - . _ ~ + / = only")]
    Token {
        /// Its length.
        found: usize,
        /// The least length.
        least: usize,
    },
    /// A limit that lets nothing through, or everything.
    #[error("{what}: {found} is not {expected}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A name that no `Host` header can have.
    #[error("`{name}` is no name of a host: give it without http://, port and path, such as derm.clinic.example")]
    HostName {
        /// The name.
        name: String,
    },
    /// An address that cannot be listened at.
    #[error("cannot serve on {address}: {source}; another program may have the port, choose one with --port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Threads or signals that the operating system does not give.
    #[error("cannot start {what}: {source}")]
    Start {
        /// What could not be started.
        what: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A folder or file of a store.
    #[error("cannot use {} as a store of answers: {source}", path.display())]
    Store {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Another server writes there.
    #[error("{} is in use by another server; give each a store of its own", path.display())]
    StoreInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A store without answers.
    #[error("{} holds no stored answers; name the folder that was given to `serve --store`", path.display())]
    NoAnswers {
        /// The folder.
        path: PathBuf,
    },
    /// A line of a store that is none of its.
    #[error("{}, line {line}: {reason}; correct the line or take it out", path.display())]
    StoredLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Stored answers that do not fit together.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Metrics of stored answers.
    #[error(transparent)]
    Eval(#[from] EvalError),
}
