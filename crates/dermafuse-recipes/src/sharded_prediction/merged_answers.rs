//! All shares of a prediction become one file, in the order of the cases.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_eval::EvalError;
use dermafuse_schema::{Shard, ShardRecord, WholeFile, WriteError, write_whole_file};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::answer_lines::{AnswerLines, answered_case};
use super::part_record::{PartRecord, ShareRecord};
use super::{Work, notes_of_parts};
use crate::RecipeError;

/// What the shares of a prediction came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MergedAnswers {
    /// The files with the answers: one, in the order of the cases, or the parts where they are Parquet files.
    pub files: Vec<PathBuf>,
    /// How many cases there are.
    pub cases: u64,
    /// How many of them were answered.
    pub answered: usize,
    /// How many were not.
    pub failed: usize,
    /// How long all shares took together, in seconds.
    pub seconds: f64,
    /// What must be said of the answers.
    pub notes: Vec<String>,
}

/// What is written beside the answers.
#[derive(Serialize)]
struct Done<'a> {
    format: u32,
    work: &'a Work,
    shares: usize,
    #[serde(flatten)]
    merged: &'a MergedAnswers,
}

/// A share, part by part.
struct Share<'a> {
    folder: &'a Path,
    record: ShareRecord,
    /// The part that is read, from 1, its rows that are left (the next one last), and its answers.
    part: usize,
    rows: Vec<u64>,
    lines: Option<AnswerLines>,
}

/// Joins the answers of all shares in these folders into a file `answers.csv` or `answers.jsonl` of `out`, in the order of the cases, as one
/// process would have written them. Parquet files are copied there part by part. Beside them stands `done.json`. Memory holds the row
/// numbers of a part for each share, and some 40 bytes for each case where shares follow patients.
///
/// # Errors
/// A share that is missing, shares of different work, parts that have changed; a row that is there twice or that no share has; a case that is
/// there twice (of Parquet files names are not compared); files that cannot be written. The folder then has no `done.json`.
pub fn merge_answers(folders: &[PathBuf], out: &Path) -> Result<MergedAnswers, RecipeError> {
    let mut shares = Vec::new();
    for (shard, folder) in ShardRecord::check_complete(folders)? {
        shares.push(Share::open(folder, shard)?);
    }
    let ShareRecord { ending, work, total, .. } = shares[0].record.clone();
    if let Some(Share { folder, record, .. }) =
        shares.iter().find(|share| (&share.record.ending, share.record.total) != (&ending, total))
    {
        let (found, of) = (&record.ending, record.total);
        let reason = format!("its answers are {found} and of {of} cases, others {ending} and of {total}");
        return Err(RecipeError::AnswerPart { path: folder.to_path_buf(), reason });
    }
    let mut file = match ending.as_str() {
        "parquet" => None,
        _ => Some(WholeFile::create(&out.join(format!("answers.{ending}")))?),
    };
    // The next row of each share.
    let mut waiting = BinaryHeap::new();
    let mut header: Option<Vec<u8>> = None;
    let mut parts = Vec::new();
    for (at, share) in shares.iter_mut().enumerate() {
        let next = share.next_row(&mut header, &mut parts)?;
        waiting.extend(next.map(|row| Reverse((row, at))));
    }
    let mut names: HashSet<u128> = HashSet::new();
    let mut expected = 0_u64;
    while let Some(Reverse((row, at))) = waiting.pop() {
        if row != expected {
            return Err(RecipeError::AnswerRows { row: row.min(expected), twice: row < expected });
        }
        if let (Some(file), Some(lines)) = (&mut file, &mut shares[at].lines) {
            if let (0, Some(header)) = (expected, &header) {
                file.append(header)?;
            }
            let line = lines.next()?;
            // Where shares follow the names of cases, the share has found it.
            let case = answered_case(&line, &ending).filter(|_| work.by_patient);
            if let Some(case) = case.filter(|case| !names.insert(digest_of(case))) {
                return Err(EvalError::CaseTwice { case: String::from_utf8_lossy(case).into_owned() }.into());
            }
            file.append(&line)?;
        }
        expected += 1;
        let next = shares[at].next_row(&mut header, &mut parts)?;
        waiting.extend(next.map(|row| Reverse((row, at))));
    }
    if expected != total {
        return Err(RecipeError::AnswerRows { row: expected, twice: false });
    }
    let files = match file {
        Some(file) => {
            file.finish()?;
            vec![out.join(format!("answers.{ending}"))]
        }
        None => copied(&parts, out, &ending)?,
    };
    let merged = MergedAnswers {
        files,
        cases: total,
        answered: shares.iter().map(|share| share.record.answered).sum(),
        failed: shares.iter().map(|share| share.record.failed).sum(),
        seconds: shares.iter().map(|share| share.record.seconds).sum(),
        notes: notes_of_parts("shares", shares.iter().map(|share| share.record.notes.as_slice())),
    };
    let done = Done { format: 1, work: &work, shares: shares.len(), merged: &merged };
    let text = serde_json::to_string_pretty(&done).expect("a record has string keys only") + "\n";
    write_whole_file(&out.join("done.json"), text.as_bytes())?;
    Ok(merged)
}

fn digest_of(case: &[u8]) -> u128 {
    let digest = Sha256::digest(case);
    u128::from_be_bytes(digest[..16].try_into().expect("a digest has 32 bytes"))
}

/// The parts under the names that they have in `out`.
fn copied(parts: &[PathBuf], out: &Path, ending: &str) -> Result<Vec<PathBuf>, RecipeError> {
    let mut files = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let to = out.join(format!("answers-{:05}.{ending}", at + 1));
        fs::copy(part, &to).map_err(|source| WriteError { path: to.clone(), bytes: 0, source })?;
        files.push(to);
    }
    Ok(files)
}

impl<'a> Share<'a> {
    fn open(folder: &'a Path, shard: Shard) -> Result<Self, RecipeError> {
        Ok(Self { folder, record: ShareRecord::read(folder, shard)?, part: 0, rows: Vec::new(), lines: None })
    }

    /// The next row of the share; at the end of a part the first of the next one, whose file is added to `parts`. All parts must have the
    /// `header` of the first.
    fn next_row(&mut self, header: &mut Option<Vec<u8>>, parts: &mut Vec<PathBuf>) -> Result<Option<u64>, RecipeError> {
        while self.rows.is_empty() && self.part < self.record.parts.len() {
            self.part += 1;
            let ShareRecord { shard, work, ending, .. } = &self.record;
            let (mut part, file) = PartRecord::read(self.folder, *shard, self.part, work, ending)?;
            part.rows.reverse();
            self.rows = part.rows;
            if ending != "parquet" {
                let lines = AnswerLines::open(&file, ending)?;
                if *header.get_or_insert_with(|| lines.header.clone()) != lines.header {
                    let reason = "its columns are not those of the other parts".into();
                    return Err(RecipeError::AnswerPart { path: file, reason });
                }
                self.lines = Some(lines);
            }
            parts.push(file);
        }
        Ok(self.rows.pop())
    }
}
