use std::borrow::Cow;

use dermafuse_schema::{Case, Modality};

use crate::{CaseSet, DataError};

/// Some cases of a [`CaseSet`]: the set and the rows of the cases, in an order of one's own. A row may come several times.
///
/// [`CaseSet::view`] checks the rows once, so that whoever gets a view need not: every row is one of the set.
///
/// ```
/// use dermafuse_data::CaseSet;
/// use dermafuse_schema::{Case, Task, TaskSet};
///
/// let case = |id: &str, label| Case { labels: vec![Some(label)], ..Case::new(id) };
/// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// let cases = vec![case("a", 0), case("b", 1), case("c", 0)];
/// let set = CaseSet { name: "three".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
///
/// let view = set.view(&[2, 0])?;
/// let ids: Vec<&str> = view.cases().map(|case| case.id.as_str()).collect();
/// assert_eq!(ids, ["c", "a"]);
/// assert_eq!(view.class_counts(0)?, [2, 0]);
/// assert_eq!(view.select(&[1]).rows(), [0]);
/// assert_eq!(set.whole().len(), 3);
/// assert!(set.view(&[3]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CaseView<'a> {
    set: &'a CaseSet,
    rows: Cow<'a, [usize]>,
}

impl CaseSet {
    /// The cases at `rows` in that order: a slice, an array or a vector of rows.
    ///
    /// # Errors
    /// A row that there is not.
    pub fn view<'a>(&'a self, rows: impl Into<Cow<'a, [usize]>>) -> Result<CaseView<'a>, DataError> {
        let rows = rows.into();
        match rows.iter().find(|&&row| row >= self.len()) {
            Some(&row) => Err(DataError::Row { row, cases: self.len() }),
            None => Ok(CaseView { set: self, rows }),
        }
    }

    /// All cases in the order of the set.
    #[must_use]
    pub fn whole(&self) -> CaseView<'_> {
        CaseView { set: self, rows: (0..self.len()).collect() }
    }
}

impl<'a> CaseView<'a> {
    /// The set that the cases are of.
    #[must_use]
    pub fn set(&self) -> &'a CaseSet {
        self.set
    }

    /// The rows of the cases, in order.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Number of cases; one whose row comes twice counts twice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The cases in order.
    pub fn cases(&self) -> impl ExactSizeIterator<Item = &'a Case> + Clone {
        let set = self.set;
        self.rows.iter().map(move |&row| &set.cases[row])
    }

    /// Each row with its case, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &'a Case)> + Clone {
        let set = self.set;
        self.rows.iter().map(move |&row| (row, &set.cases[row]))
    }

    /// The cases at these positions of the view, counted from 0, in that order.
    ///
    /// # Panics
    /// If a position is out of range.
    #[must_use]
    pub fn select(&self, positions: &[usize]) -> Self {
        Self { set: self.set, rows: positions.iter().map(|&at| self.rows[at]).collect() }
    }

    /// Whether some case has several images of one of these kinds.
    #[must_use]
    pub fn has_several_images(&self, kinds: impl Iterator<Item = Modality> + Clone) -> bool {
        self.cases().any(|case| case.looks(kinds.clone()) > 1)
    }

    /// How many of the cases carry each class of a task, in the order of its classes.
    ///
    /// # Errors
    /// A task that there is not; a label that is no class of it.
    pub fn class_counts(&self, task: usize) -> Result<Vec<usize>, DataError> {
        let mut counts = vec![0; self.set.task_classes(task)?];
        for label in self.cases().filter_map(|case| case.labels[task]) {
            match counts.get_mut(label) {
                Some(count) => *count += 1,
                None => return self.set.check().map(|()| counts),
            }
        }
        Ok(counts)
    }

    /// Checks that every class of every task has one of the cases, the training part, so that it can be learnt.
    ///
    /// # Errors
    /// The first class that has none.
    pub fn require_all_classes(&self) -> Result<(), DataError> {
        for (index, task) in self.set.tasks.iter().enumerate() {
            let counts = self.class_counts(index)?;
            if let Some(class) = counts.iter().position(|&count| count == 0) {
                return Err(DataError::ClassAbsent {
                    task: task.name.clone(),
                    class: task.classes[class].clone(),
                    part: "training",
                    cases: self.len(),
                });
            }
        }
        Ok(())
    }
}
