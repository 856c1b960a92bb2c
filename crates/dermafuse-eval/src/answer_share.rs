use std::collections::BTreeSet;

use dermafuse_schema::ndarray::{Axis, concatenate};
use dermafuse_schema::{FailedCase, Predictions};
use serde::{Deserialize, Serialize};

use crate::{AnswerTable, CaseRemarks, EvalError};

/// Version of the layout, raised when a key changes its meaning.
const FORMAT: u32 = 1;

/// A model's answers to some of the cases that it is asked about, as a process among several leaves them; all shares together are an
/// [`AnswerTable`].
///
/// ```
/// use dermafuse_eval::AnswerShare;
/// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
///
/// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// let share = |id: &str, row: usize| {
///     let answers = Predictions {
///         tasks: tasks.clone(),
///         ids: vec![id.into()],
///         labels: vec![vec![None]],
///         probabilities: vec![array![[0.25, 0.75]]],
///         basis: vec!["clinical".into()],
///     };
///     AnswerShare::new(answers, vec![row], Vec::new(), Vec::new())
/// };
/// let second = AnswerShare::from_json(&share("b", 1)?.to_json())?;
/// let (table, _) = AnswerShare::join(&[("2/2".into(), second), ("1/2".into(), share("a", 0)?)])?;
/// let cases: Vec<&str> = table.cases().iter().map(|case| case.case.as_str()).collect();
/// assert_eq!(cases, ["a", "b"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredShare")]
pub struct AnswerShare {
    format: u32,
    answers: Predictions,
    rows: Vec<usize>,
    failed: Vec<FailedCase>,
    /// One for each answered case.
    remarks: Vec<CaseRemarks>,
    notes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredShare {
    format: u32,
    answers: Predictions,
    rows: Vec<usize>,
    failed: Vec<FailedCase>,
    /// None in shares of an earlier version.
    remarks: Option<Vec<CaseRemarks>>,
    notes: Vec<String>,
}

impl AnswerShare {
    /// The answers to the cases at `rows` of all that is asked, the cases that could not be answered, and what must be said.
    ///
    /// # Errors
    /// Predictions whose columns do not fit together, another number of rows than predictions, a row that is there twice.
    pub fn new(
        answers: Predictions,
        rows: Vec<usize>,
        failed: Vec<FailedCase>,
        notes: Vec<String>,
    ) -> Result<Self, EvalError> {
        let remarks = vec![CaseRemarks::default(); answers.len()];
        Self::with_remarks(answers, rows, failed, remarks, notes)
    }

    /// The same with what is said of each of the answered cases beside its answer, in the order of the answers.
    ///
    /// # Errors
    /// As [`AnswerShare::new`]; another number of remarks than predictions.
    pub fn with_remarks(
        answers: Predictions,
        rows: Vec<usize>,
        failed: Vec<FailedCase>,
        remarks: Vec<CaseRemarks>,
        notes: Vec<String>,
    ) -> Result<Self, EvalError> {
        AnswerTable::with_remarks(&answers, &rows, &failed, &remarks)?;
        let share = Self { format: FORMAT, answers, rows, failed, remarks, notes };
        let mut seen = BTreeSet::new();
        let twice = share.all_rows().find(|row| !seen.insert(*row));
        match twice {
            Some(row) => Err(EvalError::RowTwice { row }),
            None => Ok(share),
        }
    }

    /// The rows of the answered cases.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The cases that could not be answered.
    #[must_use]
    pub fn failed(&self) -> &[FailedCase] {
        &self.failed
    }

    /// The rows of all cases of the share, answered or not.
    fn all_rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().copied().chain(self.failed.iter().map(|case| case.row))
    }

    /// The share as JSON. What [`AnswerShare::from_json`] reads is the same to the last bit.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a share has string keys only") + "\n"
    }

    /// The share that a text holds.
    ///
    /// # Errors
    /// Text that is no share; what [`AnswerShare::new`] refuses.
    pub fn from_json(text: &str) -> Result<Self, EvalError> {
        Ok(serde_json::from_str(text)?)
    }

    /// All shares, by name, as one table in the order in which the cases were asked, and the notes. A note that only some of
    /// the shares have begins with their names.
    ///
    /// # Errors
    /// No share; shares with other tasks; a row or an id that two shares have.
    pub fn join(shares: &[(String, Self)]) -> Result<(AnswerTable, Vec<String>), EvalError> {
        let [(_, first), ..] = shares else {
            return Err(EvalError::TooFew { what: "shares", found: 0, least: 1 });
        };
        let tasks = &first.answers.tasks;
        let names = |share: &Self| share.answers.tasks.iter().map(|task| task.name.clone()).collect();
        if let Some((_, other)) = shares.iter().find(|(_, share)| share.answers.tasks != *tasks) {
            return Err(EvalError::Tasks { evaluation: names(first), predictions: names(other) });
        }
        let all = || shares.iter().map(|(_, share)| share);
        let tables = (0..tasks.len()).map(|task| {
            let views: Vec<_> = all().map(|share| share.answers.probabilities[task].view()).collect();
            concatenate(Axis(0), &views).expect("each has a column for each class")
        });
        let answers = Predictions {
            tasks: tasks.clone(),
            ids: all().flat_map(|share| share.answers.ids.iter().cloned()).collect(),
            labels: all().flat_map(|share| share.answers.labels.iter().cloned()).collect(),
            probabilities: tables.collect(),
            basis: all().flat_map(|share| share.answers.basis.iter().cloned()).collect(),
        };
        let rows = all().flat_map(|share| share.rows.iter().copied()).collect();
        let failed = all().flat_map(|share| share.failed.iter().cloned()).collect();
        let remarks = all().flat_map(|share| share.remarks.iter().cloned()).collect();
        let joined = Self::with_remarks(answers, rows, failed, remarks, notes_of(shares))?;
        let mut ids = BTreeSet::new();
        if let Some(twice) = joined.answers.ids.iter().find(|id| !ids.insert(*id)) {
            return Err(EvalError::CaseTwice { case: twice.to_string() });
        }
        let table = AnswerTable::with_remarks(&joined.answers, &joined.rows, &joined.failed, &joined.remarks)?;
        Ok((table, joined.notes))
    }
}

/// Each note once, in the order in which they are met.
fn notes_of(shares: &[(String, AnswerShare)]) -> Vec<String> {
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, share) in shares {
        for note in &share.notes {
            match notes.iter_mut().find(|(known, _)| known == note) {
                Some((_, of)) => of.push(name),
                None => notes.push((note, vec![name])),
            }
        }
    }
    let said = notes.into_iter().map(|(note, of)| match of.len() == shares.len() {
        true => note.to_owned(),
        false => format!("share {}: {note}", of.join(", ")),
    });
    said.collect()
}

impl TryFrom<StoredShare> for AnswerShare {
    type Error = EvalError;

    fn try_from(stored: StoredShare) -> Result<Self, EvalError> {
        let StoredShare { format, answers, rows, failed, remarks, notes } = stored;
        let remarks = remarks.unwrap_or_else(|| vec![CaseRemarks::default(); answers.len()]);
        match format {
            FORMAT => Self::with_remarks(answers, rows, failed, remarks, notes),
            found => Err(EvalError::ShareFormat { found, known: FORMAT }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Task, TaskSet};
    use ndarray::Array2;

    fn share(ids: &[&str], rows: &[usize], failed: &[(usize, &str)], notes: &[&str]) -> AnswerShare {
        let tasks = vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])];
        let answers = Predictions {
            tasks: TaskSet::new(tasks).unwrap(),
            ids: ids.iter().map(|id| (*id).into()).collect(),
            labels: vec![vec![None]; ids.len()],
            probabilities: vec![Array2::from_shape_fn((ids.len(), 2), |(case, class)| {
                let first = 1.0 / (3.0 + case as f64);
                if class == 0 { first } else { 1.0 - first }
            })],
            basis: vec!["clinical".into(); ids.len()],
        };
        let failed = failed.iter().map(|&(row, id)| FailedCase { row, id: id.into(), reason: "cut off".into() });
        let notes = notes.iter().map(|note| (*note).to_owned()).collect();
        let remarks = rows.iter().map(|row| CaseRemarks { findings: Vec::new(), training_distance: Some(*row as f64) });
        AnswerShare::with_remarks(answers, rows.to_vec(), failed.collect(), remarks.collect(), notes).unwrap()
    }

    fn named(shares: Vec<AnswerShare>) -> Vec<(String, AnswerShare)> {
        let count = shares.len();
        shares.into_iter().enumerate().map(|(index, share)| (format!("{}/{count}", index + 1), share)).collect()
    }

    #[test]
    fn shares_are_joined_in_the_order_of_the_cases_and_an_empty_one_is_no_hole() {
        let shares = [
            share(&["d"], &[3], &[(2, "c")], &["both", "late"]),
            share(&["a", "b"], &[0, 1], &[], &["both"]),
            share(&[], &[], &[], &["both"]),
        ];
        let read = shares.iter().map(|share| AnswerShare::from_json(&share.to_json()).unwrap()).collect::<Vec<_>>();
        assert_eq!(read, shares);
        let (table, notes) = AnswerShare::join(&named(read)).unwrap();
        let cases: Vec<&str> = table.cases().iter().map(|case| case.case.as_str()).collect();
        assert_eq!(cases, ["a", "b", "c", "d"]);
        assert!(!table.cases()[2].is_answered());
        let distances: Vec<Option<f64>> = table.cases().iter().map(|case| case.training_distance).collect();
        assert_eq!(distances, [Some(0.0), Some(1.0), None, Some(3.0)]);
        assert_eq!(notes, ["both", "share 1/3: late"]);
    }

    #[test]
    fn a_row_or_a_case_of_two_shares_is_refused() {
        let error = |shares| AnswerShare::join(&named(shares)).unwrap_err().to_string();
        let twice = error(vec![share(&["a"], &[0], &[], &[]), share(&["b"], &[0], &[], &[])]);
        assert_eq!(twice, "row 0 is answered twice; the shares are not of the same cases");
        let same = error(vec![share(&["a"], &[0], &[], &[]), share(&["a"], &[1], &[], &[])]);
        assert_eq!(same, "case `a` is answered twice; the shares are not of the same cases");
        assert_eq!(error(Vec::new()), "shares: found 0, at least 1 are needed");
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        let text = share(&["a"], &[0], &[], &[]).to_json();
        let error = |text: &str| AnswerShare::from_json(text).unwrap_err();
        let why = |text: String| std::error::Error::source(&error(&text)).unwrap().to_string();
        assert!(why(text.replace("\"format\":1", "\"format\":7")).contains("format 7 is not known, only 1"));
        assert!(why(text.replace("\"rows\":[0]", "\"rows\":[0,1]")).contains("expected shape [1], found [2]"));
        assert!(why(text.replace("\"notes\"", "\"more\"")).contains("unknown field `more`"));
        let earlier = text.replace("\"remarks\":[{\"findings\":[],\"training_distance\":0.0}],", "");
        assert_ne!(earlier, text);
        assert!(AnswerShare::from_json(&earlier).is_ok());
    }
}
