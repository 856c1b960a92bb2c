use std::path::PathBuf;

use dermafuse_schema::ReadError;
use thiserror::Error;

use crate::Place;

/// Settings that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file that cannot be read, or is too large.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file that is not text.
    #[error("{file}: line {line}: a byte that is not UTF-8; save the file as UTF-8")]
    Encoding {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A text that is no TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// The place of the error in the text.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// Words that give no setting.
    #[error("`{words}`: KEY=VALUE is expected, such as training.epochs=5")]
    Words {
        /// The words.
        words: String,
    },
    /// A setting that is not known, or has a value that it cannot have.
    #[error("{place}: {key}: {reason}")]
    Value {
        /// Where it stands.
        place: Place,
        /// The setting, such as `training.epochs`.
        key: String,
        /// What is wrong, with what is known there.
        reason: String,
    },
    /// The same for what no layer says.
    #[error("{reason}")]
    Missing {
        /// What is missing.
        reason: String,
    },
}
