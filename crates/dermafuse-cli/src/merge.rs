//! `dermafuse merge`: shards of a comparison, a sweep or a prediction become one.

use std::path::PathBuf;

use clap::Args;
use dermafuse::eval::AnswerFormat;
use dermafuse::recipes::merge_runs;
use dermafuse::schema::{RunFolder, RunMode};

use crate::failure::ProgramResult;
use crate::predict::{self, Format};
use crate::terminal::say;

/// Join the folders of shards of a comparison, a sweep or a prediction, if no share is missing.
///
/// After `compare` or `train` with --shard, run the same with --resume, without --shard and with the joined folder: it finds every
/// training done. The answers of `predict` with --shard become one file.
#[derive(Args, Clone, Debug)]
pub(crate) struct Merge {
    /// Folders of shards
    #[arg(required = true)]
    shards: Vec<PathBuf>,
    /// Folder to join them in
    #[arg(long)]
    out: PathBuf,
    /// How the answers of a prediction are written; csv if it is not given
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(crate) fn run(arguments: &Merge) -> ProgramResult {
    let Merge { shards, out, format } = arguments;
    // What the shards are of goes on in the folder.
    let program = RunFolder::program_of(&shards[0]).unwrap_or_else(|| "compare".to_owned());
    if let Some(other) = shards.iter().find(|shard| RunFolder::program_of(shard).is_some_and(|of| of != program)) {
        let (first, other) = (shards[0].display(), other.display());
        return Err(format!("{first} and {other} are of different verbs: give shards of one run").into());
    }
    let answers = program == predict::PROGRAM;
    if !answers && format.is_some() {
        return Err(format!("--format is for the answers of `predict`, and these are shards of `{program}`").into());
    }
    AnswerFormat::from(format.unwrap_or_default()).check()?;
    let mut folder = RunFolder::open(out, &program, RunMode::default())?;
    if answers {
        let file = predict::join_shares(shards, out, format.unwrap_or_default())?;
        folder.begin()?;
        folder.finish()?;
        say!("the answers of {} folders are in {}", shards.len(), file.display());
        return Ok(());
    }
    let files = merge_runs(shards, out)?;
    folder.begin()?;
    say!("{files} files of {} folders are in {}", shards.len(), out.display());
    Ok(())
}
