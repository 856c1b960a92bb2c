//! The verb `datasets`.

use clap::Args;
use dermafuse::data::DataSetKind;
use serde_json::json;

use crate::failure::ProgramResult;
use crate::terminal::print_result;

/// List the kinds of data sets that can be read.
///
/// A kind is what stands before the path in --data KIND=PATH.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn datasets(arguments: &Arguments) -> ProgramResult {
    if arguments.json {
        let kinds: Vec<_> = DataSetKind::ALL
            .into_iter()
            .map(|kind| json!({ "name": kind.name(), "description": kind.description(), "encoding": kind.encoding() }))
            .collect();
        return print_result(&(serde_json::to_string_pretty(&kinds)? + "\n"));
    }
    let width = DataSetKind::ALL.map(|kind| kind.name().len()).into_iter().max().unwrap_or(0);
    let lines = DataSetKind::ALL.map(|kind| format!("{:width$}  {}\n", kind.name(), kind.description()));
    print_result(lines.concat())
}
