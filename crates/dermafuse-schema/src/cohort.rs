use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::{CaseId, SchemaError, TaskSet};

/// The facts about `N` cases that travel with every output of a network: who they are, what is true of them, and
/// their encoded metadata. Row `n` of every array belongs to `ids[n]`.
///
/// What is read from a file has columns of one length and finite metadata; labels are checked where the tasks are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredCohort")]
pub struct Cohort {
    /// `[N]` identities.
    pub ids: Vec<CaseId>,
    /// `[N]` groups (patient, else lesion); see [`Case::group`](crate::Case::group).
    pub groups: Vec<String>,
    /// `[N][T]` labels, `None` where not annotated.
    pub labels: Vec<Vec<Option<usize>>>,
    /// `[N, M]` encoded metadata; `M` may be 0.
    pub metadata: Array2<f64>,
    /// `[N]` whether the case has any metadata at all.
    pub has_metadata: Vec<bool>,
}

/// A [`Cohort`] as it was stored.
#[derive(Deserialize)]
struct StoredCohort {
    ids: Vec<CaseId>,
    groups: Vec<String>,
    labels: Vec<Vec<Option<usize>>>,
    metadata: Array2<f64>,
    has_metadata: Vec<bool>,
}

impl TryFrom<StoredCohort> for Cohort {
    type Error = SchemaError;

    fn try_from(stored: StoredCohort) -> Result<Self, SchemaError> {
        let StoredCohort { ids, groups, labels, metadata, has_metadata } = stored;
        let cohort = Self { ids, groups, labels, metadata, has_metadata };
        cohort.check_columns()?;
        Ok(cohort)
    }
}

impl Cohort {
    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The cases at `rows`, in that order.
    ///
    /// # Panics
    /// If a row is out of range.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            ids: rows.iter().map(|&row| self.ids[row].clone()).collect(),
            groups: rows.iter().map(|&row| self.groups[row].clone()).collect(),
            labels: rows.iter().map(|&row| self.labels[row].clone()).collect(),
            metadata: self.metadata.select(Axis(0), rows),
            has_metadata: rows.iter().map(|&row| self.has_metadata[row]).collect(),
        }
    }

    /// Checks that all columns have `N` rows, labels are in range and metadata is finite.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self, tasks: &TaskSet) -> Result<(), SchemaError> {
        self.check_columns()?;
        check_labels(tasks, &self.ids, &self.labels)
    }

    fn check_columns(&self) -> Result<(), SchemaError> {
        let cases = self.len();
        let columns = [
            ("groups", self.groups.len()),
            ("labels", self.labels.len()),
            ("metadata rows", self.metadata.nrows()),
            ("metadata flags", self.has_metadata.len()),
        ];
        for (what, found) in columns {
            if found != cases {
                return Err(SchemaError::Shape { what: what.into(), expected: vec![cases], found: vec![found] });
            }
        }
        for ((row, column), &value) in self.metadata.indexed_iter() {
            if !value.is_finite() {
                let what = format!("metadata of case `{}`, column {column}", self.ids[row]);
                return Err(SchemaError::Number { what, value, expected: "finite" });
            }
        }
        Ok(())
    }
}

/// Checks that each case has one label for each task, in range or unknown.
pub(crate) fn check_labels(tasks: &TaskSet, ids: &[CaseId], labels: &[Vec<Option<usize>>]) -> Result<(), SchemaError> {
    for (id, labels) in ids.iter().zip(labels) {
        if labels.len() != tasks.len() {
            let what = format!("labels of case `{id}`");
            return Err(SchemaError::Shape { what, expected: vec![tasks.len()], found: vec![labels.len()] });
        }
        for (task, label) in tasks.iter().zip(labels) {
            if let Some(label) = label.filter(|label| *label >= task.classes.len()) {
                let (case, classes) = (id.to_string(), task.classes.len());
                return Err(SchemaError::Label { case, task: task.name.clone(), label, classes });
            }
        }
    }
    Ok(())
}
