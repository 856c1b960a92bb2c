//! `dermafuse merge`: shards of a comparison, a sweep or a prediction become one.

use std::path::PathBuf;

use clap::Args;
use dermafuse::recipes::{MergedAnswers, merge_answers, merge_runs};
use dermafuse::schema::{RunFolder, RunMode};

use crate::failure::ProgramResult;
use crate::predict;
use crate::terminal::{print_note, say};

/// Join the folders of shards of a comparison, a sweep or a prediction, if no share is missing.
///
/// After `compare` or `train` with --shard, run the same with --resume, without --shard and with the joined folder: it finds every
/// training done. The answers of `predict` with --shard become one file, in the order of the cases
/// (Parquet files stay apart).
#[derive(Args, Clone, Debug)]
pub(crate) struct Merge {
    /// Folders of shards
    #[arg(required = true)]
    shards: Vec<PathBuf>,
    /// Folder to join them in
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Merge) -> ProgramResult {
    let Merge { shards, out } = arguments;
    // What the shards are of goes on in the folder.
    let program = RunFolder::program_of(&shards[0]).unwrap_or_else(|| "compare".to_owned());
    if let Some(other) = shards.iter().find(|shard| RunFolder::program_of(shard).is_some_and(|of| of != program)) {
        let (first, other) = (shards[0].display(), other.display());
        return Err(format!("{first} and {other} are of different verbs: give shards of one run").into());
    }
    let answers = program == predict::PROGRAM;
    let mut folder = RunFolder::open(out, &program, RunMode::default())?;
    if answers {
        let merged = merge_answers(shards, out)?;
        folder.begin()?;
        folder.finish()?;
        merged.notes.iter().for_each(|note| print_note(note));
        let MergedAnswers { files, cases, answered, .. } = &merged;
        let place = match &files[..] {
            [file] => file.display().to_string(),
            files => format!("{} files of {}", files.len(), out.display()),
        };
        say!("{answered} of {cases} cases answered; they are in {place}");
        return Ok(());
    }
    let files = merge_runs(shards, out)?;
    folder.begin()?;
    say!("{files} files of {} folders are in {}", shards.len(), out.display());
    Ok(())
}
