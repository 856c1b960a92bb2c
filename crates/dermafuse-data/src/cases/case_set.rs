use dermafuse_schema::{Case, Field, FieldKind, FieldValue, Name, TaskSet};

use crate::name_set::{NameMap, NameSet};
use crate::{DataError, Split};

/// A file of this name in a data set's folder says that its pictures were rendered, and that the set is not to be held against
/// published counts.
pub const SYNTHETIC_MARKER: &str = "SYNTHETIC";

/// A data set in memory: what is asked ([`TaskSet`]), what is known ([`Field`]s), and the [`Case`]s, whose images stay
/// on disk until a [`BatchLoader`](crate::BatchLoader) reads them.
///
/// A case is addressed by its *row*, its position in `cases`, counted from 0; a [`CaseView`](crate::CaseView) is some of the cases.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseSet {
    /// The data set's name, such as `derm7pt`.
    pub name: String,
    /// Whether the images were rendered and show nobody: reports and bundles say so.
    pub synthetic: bool,
    /// The classification tasks.
    pub tasks: TaskSet,
    /// The metadata columns.
    pub fields: Vec<Field>,
    /// The cases.
    pub cases: Vec<Case>,
    /// The split that the data set publishes, if it does.
    pub split: Option<Split>,
    /// Oddities that were found and handled while loading, such as a file name that differs in case; for the report.
    pub notes: Vec<String>,
}

impl CaseSet {
    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Checks that there are cases, their ids are unique, and their labels and metadata fit the tasks and fields, that
    /// a patient and a lesion are in one [group](CaseSet::join_groups) each, and that the published split fits the cases and
    /// parts no group, unless it says that it does.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), DataError> {
        if self.is_empty() {
            return Err(DataError::EmptySet { name: self.name.clone() });
        }
        self.require_unique_ids()?;
        self.require_whole_groups()?;
        self.check_values()
    }

    /// Refuses a patient or a lesion with cases in several groups, which no split would keep together.
    fn require_whole_groups(&self) -> Result<(), DataError> {
        type Part = (&'static str, fn(&Case) -> Option<&Name>);
        let parts: [Part; 2] = [("patient", |case| case.patient.as_ref()), ("lesion", |case| case.lesion.as_ref())];
        for (what, name) in parts {
            let mut first: NameMap<&str, &Case> = NameMap::default();
            for case in &self.cases {
                let Some(name) = name(case).filter(|name| !name.is_empty()) else { continue };
                let other = *first.entry(name).or_insert(case);
                if other.group != case.group {
                    let expected = format!(
                        "`{}` as of case `{}`, which has the same {what}; cases that share one belong to one group",
                        other.group, other.id
                    );
                    let (what, found) = ("group".into(), format!("`{}`", case.group));
                    return Err(DataError::Case { case: case.id.to_string(), what, expected, found });
                }
            }
        }
        Ok(())
    }

    /// Refuses two cases of one identity.
    pub(crate) fn require_unique_ids(&self) -> Result<(), DataError> {
        let Some(row) = self.repeated_id() else { return Ok(()) };
        let case = self.cases[row].id.to_string();
        let (what, expected) = ("identity".into(), "a unique one".into());
        Err(DataError::Case { case, what, expected, found: "the same twice".into() })
    }

    /// The first case whose identity an earlier one has.
    pub(crate) fn repeated_id(&self) -> Option<usize> {
        let mut seen = NameSet::with_capacity_and_hasher(self.len(), Default::default());
        self.cases.iter().position(|case| !seen.insert(&case.id))
    }

    /// What [`CaseSet::check`] checks besides identities and groups.
    pub(crate) fn check_values(&self) -> Result<(), DataError> {
        for case in &self.cases {
            let error = |what: String, expected: String, found: String| {
                Err(DataError::Case { case: case.id.to_string(), what, expected, found })
            };
            if case.labels.len() != self.tasks.len() {
                let (expected, found) = (self.tasks.len().to_string(), case.labels.len().to_string());
                return error("number of labels".into(), expected, found);
            }
            for (task, label) in self.tasks.iter().zip(&case.labels) {
                if let Some(label) = label.filter(|&label| label >= task.classes.len()) {
                    let expected = format!("a label below {}", task.classes.len());
                    return error(format!("task `{}`", task.name), expected, label.to_string());
                }
            }
            if case.metadata.len() != self.fields.len() {
                let (expected, found) = (self.fields.len().to_string(), case.metadata.len().to_string());
                return error("number of metadata values".into(), expected, found);
            }
            for (field, value) in self.fields.iter().zip(&case.metadata) {
                let fits = match (&field.kind, value) {
                    (_, FieldValue::Missing) => true,
                    (FieldKind::Numeric, FieldValue::Number(number)) => number.is_finite(),
                    (FieldKind::Categorical { categories }, FieldValue::Category(index)) => *index < categories.len(),
                    (FieldKind::Numeric, FieldValue::Category(_))
                    | (FieldKind::Categorical { .. }, FieldValue::Number(_)) => false,
                };
                if !fits {
                    let expected = match &field.kind {
                        FieldKind::Numeric => "a finite number".into(),
                        FieldKind::Categorical { categories } => format!("a category below {}", categories.len()),
                    };
                    return error(format!("field `{}`", field.name), expected, format!("{value:?}"));
                }
            }
        }
        self.split.as_ref().map_or(Ok(()), |split| split.check_cases(&self.cases))
    }

    /// The number of classes of a task that there must be.
    pub(crate) fn task_classes(&self, task: usize) -> Result<usize, DataError> {
        if task < self.tasks.len() {
            return Ok(self.tasks[task].classes.len());
        }
        Err(DataError::Setting { what: "task index", found: task.to_string(), expected: "below the number of tasks" })
    }
}
