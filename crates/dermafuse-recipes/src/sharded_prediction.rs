//! Predictions of more cases than one process, or one memory, is for: shares of the cases, each in part files.

mod answer_lines;
mod merged_answers;
mod part_record;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dermafuse_data::{DataError, QualityFinding, TableReader};
use dermafuse_eval::{AnswerFormat, AnswerTable, CaseRemarks};
use dermafuse_infer::{Answers, Bundle, Questions, TrainingDistance, sha256_hex};
use dermafuse_schema::{Case, Shard, ShardRecord, open_regular_file, write_whole_file};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::RecipeError;

pub use merged_answers::{MergedAnswers, merge_answers};
use part_record::{PartRecord, ShareRecord};

/// The column of a table that says whose a case is.
const PATIENT: &str = "patient";

/// The cases of a prediction that is shared out.
#[derive(Clone, Copy, Debug)]
pub enum SharedCases<'a> {
    /// The rows of a table, which is read part by part and may be larger than the memory.
    Table {
        /// The file, with the columns of [`Questions::add_table`].
        file: &'a Path,
        /// The folder that paths of images start from.
        images: &'a Path,
        /// Words that stand for "not recorded".
        missing: &'a [String],
    },
    /// Cases that are in memory.
    Questions(&'a Questions),
}

/// A share of the cases that a model is asked about, answered part by part into files.
///
/// A case belongs to the share that the SHA-256 of its patient names, or of its id where no patient is known (a table's column `patient`):
/// the first eight bytes as a number, modulo the number of shares, plus one. So no share depends on where a case stands, and all lesions of a
/// patient are in one share. Parts are numbered within the share. Each is written aside and renamed, and then its record: the rows that it
/// has, what they are of, how long it took. What an earlier run finished is not done again. Beside a part's answers, memory holds some 50
/// bytes for each case of the share, by which a name that is there twice is found.
#[derive(Clone, Copy, Debug)]
pub struct SharedPrediction<'a> {
    /// The model.
    pub bundle: &'a Bundle,
    /// All cases, of which a share is answered.
    pub cases: SharedCases<'a>,
    /// The share.
    pub shard: Shard,
    /// How part files are written; a JSON document is no form for parts.
    pub format: AnswerFormat,
    /// How many cases a part has; the last has the rest. Of a model that looks at the patient's other lesions, a share is one part.
    pub part_cases: usize,
}

/// What a share came to.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareOutcome {
    /// Parts of the share, and how many of them were there already.
    pub parts: usize,
    /// Parts that an earlier run left.
    pub found: usize,
    /// Cases that were answered.
    pub answered: usize,
    /// Cases that were not.
    pub failed: usize,
    /// What must be said of the answers.
    pub notes: Vec<String>,
}

/// What all shares are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Work {
    /// Which cases.
    cases: String,
    /// Their SHA-256: of a table its bytes.
    cases_sha256: String,
    model_sha256: String,
    /// What ran the network.
    engine: String,
    part_cases: usize,
    /// Whether shares follow the names of patients; otherwise those of cases.
    by_patient: bool,
}

impl Work {
    /// The same text for all shares of the work.
    fn sentence(&self) -> String {
        let short = |digest: &str| digest[..16.min(digest.len())].to_owned();
        let parts = match self.part_cases {
            usize::MAX => "in one part".to_owned(),
            cases => format!("in parts of {cases}"),
        };
        let Self { cases, engine, .. } = self;
        format!("{cases} ({}) {parts}, by {engine}, model {}", short(&self.cases_sha256), short(&self.model_sha256))
    }
}

/// What a part is asked about.
struct Part<'a> {
    /// From 1.
    number: usize,
    questions: &'a Questions,
    /// Rows of the questions, ascending.
    rows: &'a [usize],
    /// For each of them its row among all cases.
    places: Vec<u64>,
}

/// What the parts of a share came to so far.
#[derive(Default)]
struct Sum {
    records: Vec<PartRecord>,
    found: usize,
}

impl SharedPrediction<'_> {
    /// Whether the share can be answered as far as its form and the head of the table tell, before anything is written.
    ///
    /// # Errors
    /// A form that has no parts; a table that cannot be read, that has no row or of which no column is used.
    pub fn check(&self) -> Result<(), RecipeError> {
        part_record::ending(self.format)?;
        if let SharedCases::Table { file, images, missing } = self.cases {
            let Some(first) = TableReader::open(file)?.next_table(1, |_| true)? else {
                return Err(DataError::NoRows { file: file.into() }.into());
            };
            self.bundle.questions().add_table(&first, images, missing)?;
        }
        Ok(())
    }

    /// Answers the share into a folder, which may hold other shares too. `progress` is told of how many cases the answers are there.
    ///
    /// # Errors
    /// A form that has no parts; a table that cannot be read or of which no column is used; logits that are not finite; files that cannot be
    /// written. A case that cannot be answered is a row with its reason.
    pub fn run(&self, folder: &Path, mut progress: impl FnMut(usize)) -> Result<ShareOutcome, RecipeError> {
        self.check()?;
        let ending = part_record::ending(self.format)?;
        let work = self.work()?;
        let record = ShardRecord::new(self.shard, work.sentence());
        if let Some(share) = ShareRecord::finished(folder, &record, &work, ending) {
            return Ok(share.outcome(share.parts.len()));
        }
        ShardRecord::remove(self.shard, folder)?;
        let begun = Instant::now();
        let mut sum = Sum::default();
        let total = match self.cases {
            SharedCases::Table { file, images, missing } => self.answer_table(file, images, missing, |part| {
                self.answer(&part, folder, &work, &mut sum, &mut progress)
            })?,
            SharedCases::Questions(questions) => {
                self.answer_questions(questions, |part| self.answer(&part, folder, &work, &mut sum, &mut progress))?
            }
        };
        PartRecord::remove_others(folder, self.shard, sum.records.len(), ending)?;
        let share = ShareRecord::new(self.shard, work, ending, total, sum.records, begun.elapsed());
        share.write(folder)?;
        record.write(folder)?;
        Ok(share.outcome(sum.found))
    }

    /// Asks about the rows of the share in a table, part by part; gives the number of all rows.
    fn answer_table(
        &self,
        file: &Path,
        images: &Path,
        missing: &[String],
        mut answer: impl FnMut(Part<'_>) -> Result<(), RecipeError>,
    ) -> Result<u64, RecipeError> {
        let mut reader = TableReader::open(file)?;
        let (id, patient) = (Questions::id_column(reader.headers()), reader.column(PATIENT).ok());
        let mut questions = self.bundle.questions();
        let (mut total, mut number) = (0_u64, 0);
        loop {
            let mut places = Vec::new();
            let part = reader.next_table(self.part_cases(), |row| {
                let owner = patient.map(|column| row.cell(column).text()).filter(|name| !name.is_empty());
                let is_own = match owner {
                    Some(name) => is_of(self.shard, name),
                    None => is_of(self.shard, Questions::id_of(row, id).as_str()),
                };
                if is_own {
                    places.push(total);
                }
                total += 1;
                is_own
            })?;
            let Some(table) = part else { break };
            number += 1;
            questions = questions.next_part();
            questions.add_table(&table, images, missing)?;
            let rows: Vec<usize> = (0..questions.len()).collect();
            answer(Part { number, questions: &questions, rows: &rows, places })?;
        }
        Ok(total)
    }

    /// Asks about the cases of the share, part by part; gives the number of all cases.
    fn answer_questions(
        &self,
        questions: &Questions,
        mut answer: impl FnMut(Part<'_>) -> Result<(), RecipeError>,
    ) -> Result<u64, RecipeError> {
        let owner = |case: &Case| case.patient.as_ref().map_or_else(|| case.id.to_string(), ToString::to_string);
        let cases = questions.set().cases.iter().enumerate();
        let rows: Vec<usize> = cases.filter(|(_, case)| is_of(self.shard, &owner(case))).map(|(row, _)| row).collect();
        for (at, rows) in rows.chunks(self.part_cases()).enumerate() {
            let places = rows.iter().map(|&row| row as u64).collect();
            answer(Part { number: at + 1, questions, rows, places })?;
        }
        Ok(questions.len() as u64)
    }

    /// Answers a part, unless an earlier run did.
    fn answer(
        &self,
        part: &Part<'_>,
        folder: &Path,
        work: &Work,
        sum: &mut Sum,
        progress: &mut impl FnMut(usize),
    ) -> Result<(), RecipeError> {
        let Part { number, questions, rows, places } = part;
        let done: usize = sum.records.iter().map(|record| record.rows.len()).sum();
        let ending = part_record::ending(self.format)?;
        if let Some(record) = PartRecord::finished(folder, self.shard, *number, work, ending, places) {
            sum.found += 1;
            sum.records.push(record);
            progress(done + rows.len());
            return Ok(());
        }
        let begun = Instant::now();
        let answers = self.bundle.answer_rows(questions, rows, |answered| progress(done + answered))?;
        let seen = (answers.seen.trained + answers.seen.selected > 0).then(|| answers.seen.to_string());
        let notes: Vec<String> = questions.notes().iter().chain(&answers.notes).cloned().chain(seen).collect();
        let table =
            AnswerTable::with_remarks(answers.last(), &answers.rows, &answers.failed, &answer_remarks(&answers))?;
        let bytes = table.to_bytes(self.format, &notes)?;
        let record = PartRecord {
            shard: self.shard,
            part: *number,
            work: work.clone(),
            rows: places.clone(),
            answered: answers.rows.len(),
            failed: answers.failed.len(),
            seconds: begun.elapsed().as_secs_f64(),
            notes,
            sha256: sha256_hex(&bytes),
        };
        write_whole_file(&part_record::file_of(folder, self.shard, *number, ending), &bytes)?;
        record.write(folder)?;
        sum.records.push(record);
        Ok(())
    }

    fn part_cases(&self) -> usize {
        match self.bundle.questions().look_beside() {
            true => usize::MAX,
            false => self.part_cases.max(1),
        }
    }

    fn work(&self) -> Result<Work, RecipeError> {
        let (cases, cases_sha256, by_patient) = match self.cases {
            SharedCases::Table { file, missing, .. } => {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let words =
                    if missing.is_empty() { String::new() } else { format!(", not recorded: {}", missing.join(", ")) };
                let by_patient = TableReader::open(file)?.column(PATIENT).is_ok();
                (format!("the table {name}{words}"), sha256_of_file(file)?, by_patient)
            }
            SharedCases::Questions(questions) => {
                let cases = &questions.set().cases;
                let id = |case: Option<&Case>| case.map_or_else(String::new, |case| case.id.to_string());
                let (first, last) = (id(cases.first()), id(cases.last()));
                let words = format!("{} cases, the first `{first}`, the last `{last}`", cases.len());
                (words, questions.fingerprint(), cases.iter().any(|case| case.patient.is_some()))
            }
        };
        Ok(Work {
            cases,
            cases_sha256,
            model_sha256: sha256_hex(&self.bundle.to_bytes()?),
            engine: self.bundle.engine_facts().to_string(),
            part_cases: self.part_cases(),
            by_patient,
        })
    }
}

/// What is said of each answered case beside its answer, as an [`AnswerTable`] has it.
#[must_use]
pub fn answer_remarks(answers: &Answers) -> Vec<CaseRemarks> {
    let of_case = |(findings, distance): (&Vec<QualityFinding>, &Option<TrainingDistance>)| CaseRemarks {
        findings: findings.iter().map(ToString::to_string).collect(),
        training_distance: distance.as_ref().map(|distance| distance.percentile),
    };
    answers.findings.iter().zip(&answers.distances).map(of_case).collect()
}

/// Whether a patient or case of that name is of the share.
fn is_of(shard: Shard, name: &str) -> bool {
    let digest = Sha256::digest(name);
    let number = u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
    number % shard.count() as u64 == shard.index() as u64 - 1
}

/// The SHA-256 of a file of any size, in hexadecimal.
fn sha256_of_file(path: &Path) -> Result<String, RecipeError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let mut file: File = open_regular_file(path, u64::MAX)?;
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk).map_err(io)? {
            0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => digest.update(&chunk[..count]),
        }
    }
}

/// The notes that all parts have, once each, and the first three that only some have, with their number; the others, which mostly count
/// something within a part, are counted.
fn notes_of_parts<'a>(what: &str, parts: impl Iterator<Item = &'a [String]>) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut notes: Vec<(&str, usize)> = Vec::new();
    let mut count = 0_usize;
    for part in parts {
        count += 1;
        for note in part {
            match notes.iter_mut().find(|(known, _)| known == note) {
                Some((_, times)) => *times += 1,
                None => notes.push((note, 1)),
            }
        }
    }
    let (of_all, of_some): (Vec<_>, Vec<_>) = notes.into_iter().partition(|(_, times)| *times == count);
    let more = of_some.len().saturating_sub(SHOWN);
    let said = of_some.into_iter().take(SHOWN).map(|(note, times)| format!("{times} of {count} {what}: {note}"));
    let more = (more > 0).then(|| format!("{more} more notes are in the records of the {what}."));
    of_all.into_iter().map(|(note, _)| note.to_owned()).chain(said).chain(more).collect()
}

/// The folder's file of that name.
fn in_folder(folder: &Path, shard: Shard, rest: &str) -> PathBuf {
    folder.join(format!("answers-{}-of-{}{rest}", shard.index(), shard.count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_share_and_shares_are_of_a_size() {
        let shares = || (1..=16).map(|index| Shard::new(index, 16).unwrap());
        let mut counts = vec![0; 16];
        for number in 0..4_000 {
            let name = format!("PAT_{number}");
            let of: Vec<Shard> = shares().filter(|shard| is_of(*shard, &name)).collect();
            assert_eq!(of.len(), 1);
            counts[of[0].index() - 1] += 1;
        }
        assert!(counts.iter().all(|count| (190..310).contains(count)), "{counts:?}");
        // python3 -c "import hashlib; print(int.from_bytes(hashlib.sha256(b'IP_1').digest()[:8], 'big') % 16 + 1)"
        assert!(is_of(Shard::new(3, 16).unwrap(), "IP_1"));
    }

    #[test]
    fn notes_that_differ_say_of_how_many_parts_they_are() {
        let part = |count: usize| vec!["the same".to_owned(), format!("{count} of 10 cases failed")];
        let parts: Vec<_> = [1, 2, 1].map(part).into();
        let notes = notes_of_parts("parts", parts.iter().map(Vec::as_slice));
        assert_eq!(notes, ["the same", "2 of 3 parts: 1 of 10 cases failed", "1 of 3 parts: 2 of 10 cases failed"]);
        let parts: Vec<_> = (0..30).map(part).collect();
        let notes = notes_of_parts("shares", parts.iter().map(Vec::as_slice));
        assert_eq!((notes.len(), notes[4].as_str()), (5, "27 more notes are in the records of the shares."));
    }
}
