//! The verb `audit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dermafuse::schema::write_whole_file;
use dermafuse::serve::Audit;

use crate::failure::ProgramResult;
use crate::terminal::{print_error, print_result};

/// Compare the answers that `serve --store` has kept with the diagnoses that were added to them.
///
/// For each model and task: accuracy, balanced accuracy, the sensitivity of each class and calibration, with intervals, and what was
/// predicted month by month.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The folder of the answers.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// How the numbers are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The file for the numbers; they are printed if it is not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How an audit is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

pub(crate) fn audit(arguments: &Arguments) -> ProgramResult {
    let audit = Audit::of(&arguments.folder)?;
    let text = match arguments.format {
        Format::Text => audit.to_string(),
        Format::Json => serde_json::to_string_pretty(&audit)? + "\n",
    };
    match &arguments.out {
        None => print_result(&text),
        Some(file) => {
            write_whole_file(file, text.as_bytes())?;
            print_error(format_args!("written to {}\n", file.display()));
            Ok(())
        }
    }
}
