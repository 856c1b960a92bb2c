//! The verb `serve`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dermafuse::infer::Model;
use dermafuse::schema::read_regular_file;
use dermafuse::serve::{AnswerStore, AuditLine, ModelClassifier, RESEARCH_USE, ServeConfig, Token, serve};

use crate::engine::EngineArgument;
use crate::failure::{Failure, ProgramResult};
use crate::model::ModelArguments;
use crate::terminal::{print_error, say};

/// The largest file with a token, in bytes.
const MAX_TOKEN: u64 = 4096;

/// Serve a saved model on this machine: a page in the browser, and a JSON API.
///
/// The page is part of the program, and nothing that it is given leaves the machine. A line for each request goes to standard
/// error, without anything of a patient. Ctrl-C ends it after the requests that are being answered.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    engine: EngineArgument,
    /// The address to serve at. One that other machines can reach needs --token-file.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
    /// The port; 0 for any free one.
    #[arg(long, default_value_t = 8377)]
    port: u16,
    /// A file with the token that clients must show, of 16 characters or more.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A name under which browsers may ask besides those of this machine, such as that of a proxy; may be given several times.
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,
    /// The largest request, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    max_body: usize,
    /// Cases that are answered at a time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Cases that may wait; further ones are told to come again.
    #[arg(long, value_name = "N", default_value_t = 16)]
    queue: usize,
    /// Seconds from the beginning of a request to its answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// A folder in which answers are kept, without images and values of the patient, so that diagnoses can be added and
    /// `dermafuse audit` can compare. Nothing is kept if it is not given.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ProgramResult {
    let address = SocketAddr::new(arguments.address, arguments.port);
    let config = ServeConfig {
        max_body_bytes: arguments.max_body.saturating_mul(1 << 20),
        workers: arguments.workers,
        queue: arguments.queue,
        timeout: Duration::from_secs(arguments.timeout),
        token: arguments.token()?,
        host_names: arguments.host_names.clone(),
        ..ServeConfig::default()
    };
    // Before the model is read.
    config.check(address)?;
    let store = arguments.store.as_ref().map(AnswerStore::open).transpose()?;
    let model = Model::open(arguments.model.path()?, &arguments.model.device.device()?)?;
    let model = model.engine(&arguments.engine.engine)?;
    let classifier = Arc::new(ModelClassifier::new(model)?);
    let sink = Arc::new(|line: &AuditLine| print_error(format_args!("{line}\n")));
    serve(address, classifier, config, store, sink, |address| {
        say!("serving on http://{address}/ – Ctrl-C ends");
        say!("{RESEARCH_USE}");
    })?;
    Ok(())
}

impl Arguments {
    fn token(&self) -> Result<Option<Token>, Failure> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let bytes = read_regular_file(file, MAX_TOKEN)?;
        Ok(Some(Token::new(&String::from_utf8_lossy(&bytes))?))
    }
}
