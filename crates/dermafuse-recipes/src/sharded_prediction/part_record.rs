//! What a folder says of the parts of a share.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dermafuse_data::DataError;
use dermafuse_eval::AnswerFormat;
use dermafuse_schema::{Shard, ShardRecord, read_regular_file, write_whole_file};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ShareOutcome, Work, in_folder, notes_of_parts, sha256_of_file};
use crate::RecipeError;

/// The largest record: a part of a model that looks at other lesions lists all rows of its share.
const MAX_RECORD: u64 = 4 << 30;

/// Says that a part is done, and of what. It is written after the part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartRecord {
    pub(super) shard: Shard,
    /// From 1, within the share.
    pub(super) part: usize,
    pub(super) work: Work,
    /// The rows of the part among all cases, ascending.
    pub(super) rows: Vec<u64>,
    pub(super) answered: usize,
    pub(super) failed: usize,
    /// How long the model took, reading images included.
    pub(super) seconds: f64,
    pub(super) notes: Vec<String>,
    /// Of the part's file, in hexadecimal.
    pub(super) sha256: String,
}

/// What is said of a whole share: the sum of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareRecord {
    pub(super) shard: Shard,
    pub(super) work: Work,
    /// The ending of part files.
    pub(super) ending: String,
    /// How many cases all shares have together.
    pub(super) total: u64,
    /// How many cases each part has.
    pub(super) parts: Vec<usize>,
    pub(super) answered: usize,
    pub(super) failed: usize,
    pub(super) seconds: f64,
    pub(super) notes: Vec<String>,
}

/// The ending of part files.
///
/// # Errors
/// A form that has no parts, or that this build does not write.
pub(super) fn ending(format: AnswerFormat) -> Result<&'static str, RecipeError> {
    format.check()?;
    match format {
        AnswerFormat::Csv => Ok("csv"),
        AnswerFormat::JsonLines => Ok("jsonl"),
        AnswerFormat::Parquet => Ok("parquet"),
        AnswerFormat::Json => Err(RecipeError::NoParts),
    }
}

/// The file of a part.
pub(super) fn file_of(folder: &Path, shard: Shard, part: usize, ending: &str) -> PathBuf {
    in_folder(folder, shard, &format!("-part-{part:05}.{ending}"))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, RecipeError> {
    let bytes = read_regular_file(path, MAX_RECORD)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RecipeError::AnswerPart { path: path.to_owned(), reason: error.to_string() })
}

fn write(path: &Path, record: &impl Serialize) -> Result<(), RecipeError> {
    let text = serde_json::to_string(record).expect("a record has string keys only") + "\n";
    Ok(write_whole_file(path, text.as_bytes())?)
}

impl PartRecord {
    fn path(folder: &Path, shard: Shard, part: usize) -> PathBuf {
        in_folder(folder, shard, &format!("-part-{part:05}.done.json"))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), RecipeError> {
        write(&Self::path(folder, self.shard, self.part), self)
    }

    /// The record of a part of that work, and its file, if both are whole.
    ///
    /// # Errors
    /// Files that cannot be read, or that are not what they say.
    pub(super) fn read(
        folder: &Path,
        shard: Shard,
        part: usize,
        work: &Work,
        ending: &str,
    ) -> Result<(Self, PathBuf), RecipeError> {
        let path = Self::path(folder, shard, part);
        let record: Self = read(&path)?;
        let damaged =
            |path: &Path, reason: &str| RecipeError::AnswerPart { path: path.to_owned(), reason: reason.into() };
        if (record.shard, record.part, &record.work) != (shard, part, work) {
            return Err(damaged(&path, "it is of other work"));
        }
        let ascends = record.rows.is_sorted_by(|a, b| a < b);
        if !ascends || record.rows.len() != record.answered + record.failed {
            return Err(damaged(&path, "its rows and numbers do not fit together"));
        }
        let file = file_of(folder, shard, part, ending);
        if sha256_of_file(&file)? != record.sha256 {
            return Err(damaged(&file, "it has changed since it was written"));
        }
        Ok((record, file))
    }

    /// Removes what an earlier run of other work left of the share: parts beyond so many, and those of another ending.
    ///
    /// # Errors
    /// A folder that cannot be listed, files that cannot be removed.
    pub(super) fn remove_others(folder: &Path, shard: Shard, parts: usize, ending: &str) -> Result<(), RecipeError> {
        let own: HashSet<PathBuf> = (1..=parts)
            .flat_map(|part| [file_of(folder, shard, part, ending), Self::path(folder, shard, part)])
            .collect();
        let beginning = in_folder(folder, shard, "-part-");
        let io = |path: &Path, source| DataError::Io { path: path.to_owned(), source };
        for entry in fs::read_dir(folder).map_err(|error| io(folder, error))? {
            let path = entry.map_err(|error| io(folder, error))?.path();
            let is_part = path.as_os_str().as_encoded_bytes().starts_with(beginning.as_os_str().as_encoded_bytes());
            if is_part && !own.contains(&path) {
                fs::remove_file(&path).map_err(|error| io(&path, error))?;
            }
        }
        Ok(())
    }

    /// The record of a part that an earlier run finished: of that work and those rows, its file whole.
    pub(super) fn finished(
        folder: &Path,
        shard: Shard,
        part: usize,
        work: &Work,
        ending: &str,
        rows: &[u64],
    ) -> Option<Self> {
        let (record, _) = Self::read(folder, shard, part, work, ending).ok()?;
        (record.rows == rows).then_some(record)
    }
}

impl ShareRecord {
    pub(super) fn new(
        shard: Shard,
        work: Work,
        ending: &str,
        total: u64,
        parts: Vec<PartRecord>,
        took: Duration,
    ) -> Self {
        Self {
            shard,
            work,
            ending: ending.into(),
            total,
            parts: parts.iter().map(|part| part.rows.len()).collect(),
            answered: parts.iter().map(|part| part.answered).sum(),
            failed: parts.iter().map(|part| part.failed).sum(),
            seconds: took.as_secs_f64(),
            notes: notes_of_parts("parts", parts.iter().map(|part| part.notes.as_slice())),
        }
    }

    fn path(folder: &Path, shard: Shard) -> PathBuf {
        in_folder(folder, shard, ".json")
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), RecipeError> {
        write(&Self::path(folder, self.shard), self)
    }

    /// # Errors
    /// A record that cannot be read, or is of another share.
    pub(super) fn read(folder: &Path, shard: Shard) -> Result<Self, RecipeError> {
        let path = Self::path(folder, shard);
        let record: Self = read(&path)?;
        match record.shard == shard {
            true => Ok(record),
            false => {
                Err(RecipeError::AnswerPart { path, reason: format!("it says that it is share {}", record.shard) })
            }
        }
    }

    /// The record of a share that an earlier run finished, all parts whole.
    pub(super) fn finished(folder: &Path, record: &ShardRecord, work: &Work, ending: &str) -> Option<Self> {
        ShardRecord::read(folder).ok()?.contains(record).then_some(())?;
        let share = Self::read(folder, record.shard).ok()?;
        (share.work == *work && share.ending == ending).then_some(())?;
        let whole = |part: usize| PartRecord::read(folder, record.shard, part, work, ending).is_ok();
        (1..=share.parts.len()).all(whole).then_some(share)
    }

    pub(super) fn outcome(&self, found: usize) -> ShareOutcome {
        let Self { answered, failed, ref notes, ref parts, .. } = *self;
        ShareOutcome { parts: parts.len(), found, answered, failed, notes: notes.clone() }
    }
}
