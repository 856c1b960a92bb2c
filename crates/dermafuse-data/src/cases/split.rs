use std::collections::BTreeMap;
use std::fmt;

use dermafuse_schema::Case;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Rows of a [`CaseSet`](crate::CaseSet) for training, for choosing (weights, epochs, settings) and for the final number.
///
/// Rows are those of one set in memory. [`Split::save`] writes the identities of its cases, so that [`Split::load`] finds them
/// in a table that was sorted or has grown.
///
/// ```
/// use dermafuse_data::Split;
///
/// let split = Split::new(vec![0, 1, 2], vec![3], vec![4], 5)?;
/// let (sub_train, sub_test) = split.half_in_order();
/// assert_eq!((sub_train, sub_test), (vec![0], vec![1, 2]));
///
/// let error = Split::new(vec![0, 1], vec![1], vec![2], 5).unwrap_err().to_string();
/// assert!(error.starts_with("row 1 is in the training part of the split and again in the validation part"));
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Rows to select on; none where [nothing is selected](Split::without_validation).
    pub valid: Vec<usize>,
    /// Rows to report on; none where [nothing is tested](Split::without_test).
    pub test: Vec<usize>,
    /// What it lets through on purpose.
    leaks: Vec<Leak>,
    /// Whether it has no validation part, on purpose.
    selects_nothing: bool,
    /// Whether it has no test part, on purpose.
    tests_nothing: bool,
}

/// A way in which the test rows of a split have a say before the final number, because a published protocol has it so.
/// A split that leaks says so wherever it is saved, and its numbers must not be put beside those of one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leak {
    /// The rows that select (epochs, weights, settings) are the rows that are reported.
    TestSelects,
    /// Cases of one group (patient, lesion, identical image) may stand in several parts.
    GroupsCross,
}

impl fmt::Display for Leak {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TestSelects => "the rows that select are the rows that are reported: results are optimistic",
            Self::GroupsCross => "a patient or lesion may stand in several parts of the split: results are optimistic",
        })
    }
}

impl Split {
    /// Checks and keeps the parts of a set of `cases` cases. Rows may be left out.
    ///
    /// # Errors
    /// An empty part, a row that there is not, a row twice.
    pub fn new(train: Vec<usize>, valid: Vec<usize>, test: Vec<usize>, cases: usize) -> Result<Self, DataError> {
        let split = Self { train, valid, test, leaks: Vec::new(), selects_nothing: false, tests_nothing: false };
        split.check_rows(cases)?;
        Ok(split)
    }

    /// The split of a model that learns from every case once all has been tested, so that none is left to test it.
    ///
    /// ```
    /// use dermafuse_data::Split;
    ///
    /// let split = Split::without_test(vec![0, 1, 2, 3], vec![4], 5)?;
    /// assert!(split.test.is_empty());
    /// # Ok::<(), dermafuse_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// No row to train on or to select on, a row that there is not, a row twice.
    pub fn without_test(train: Vec<usize>, valid: Vec<usize>, cases: usize) -> Result<Self, DataError> {
        let split =
            Self { train, valid, test: Vec::new(), leaks: Vec::new(), selects_nothing: false, tests_nothing: true };
        split.check_rows(cases)?;
        Ok(split)
    }

    /// The split of a published protocol that has no validation part: no row has a say in what is chosen, and the weights are
    /// those that the training ends with.
    ///
    /// ```
    /// use dermafuse_data::Split;
    ///
    /// let split = Split::without_validation(vec![0, 1, 2, 3], vec![4], 5)?;
    /// assert!(split.valid.is_empty() && split.leaks().is_empty());
    /// # Ok::<(), dermafuse_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// No row to train on or to test on, a row that there is not, a row twice.
    pub fn without_validation(train: Vec<usize>, test: Vec<usize>, cases: usize) -> Result<Self, DataError> {
        let split =
            Self { train, valid: Vec::new(), test, leaks: Vec::new(), selects_nothing: true, tests_nothing: false };
        split.check_rows(cases)?;
        Ok(split)
    }

    /// The split of a published protocol in which `test` plays validation and test: [`Leak::TestSelects`].
    ///
    /// # Errors
    /// An empty part, a row that there is not, a row twice.
    pub fn selecting_on_test(train: Vec<usize>, test: Vec<usize>, cases: usize) -> Result<Self, DataError> {
        let (valid, leaks) = (test.clone(), vec![Leak::TestSelects]);
        let split = Self { train, valid, test, leaks, selects_nothing: false, tests_nothing: false };
        split.check_rows(cases)?;
        Ok(split)
    }

    /// The same split, with groups that may stand in several parts: [`Leak::GroupsCross`]. [`Split::check`] then lets
    /// them pass.
    #[must_use]
    pub fn with_groups_crossing(mut self) -> Self {
        if !self.leaks.contains(&Leak::GroupsCross) {
            self.leaks.push(Leak::GroupsCross);
        }
        self
    }

    /// What it lets through on purpose; empty unless a published protocol was asked for by name. A report must say it.
    #[must_use]
    pub fn leaks(&self) -> &[Leak] {
        &self.leaks
    }

    /// The training rows halved in file order for a two-stage protocol: the first half, rounded down, trains the
    /// network and the second half the classifiers that follow it (206 and 207 of Derm7pt's 413).
    #[must_use]
    pub fn half_in_order(&self) -> (Vec<usize>, Vec<usize>) {
        let mut rows = self.train.clone();
        rows.sort_unstable();
        let rest = rows.split_off(rows.len() / 2);
        (rows, rest)
    }

    /// Checks the split against the cases of a set, as [`Split::check`] says.
    pub(crate) fn check_cases(&self, cases: &[Case]) -> Result<(), DataError> {
        self.check_rows(cases.len())?;
        if self.leaks.contains(&Leak::GroupsCross) {
            return Ok(());
        }
        let mut part_of: BTreeMap<&str, (&'static str, usize)> = BTreeMap::new();
        for (part, rows) in self.parts() {
            for &row in rows {
                let group = cases[row].group.as_str();
                let (first, other) = *part_of.entry(group).or_insert((part, row));
                if first != part {
                    let cases = [other, row].map(|row| cases[row].id.to_string());
                    return Err(DataError::GroupCrosses { group: group.into(), first, second: part, cases });
                }
            }
        }
        Ok(())
    }

    /// The parts that must be disjoint.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &[usize])> {
        let selects = self.leaks.contains(&Leak::TestSelects);
        let parts = [("training", &*self.train), ("validation", &*self.valid), ("test", &*self.test)];
        parts.into_iter().filter(move |(part, _)| !(selects && *part == "validation"))
    }

    fn check_rows(&self, cases: usize) -> Result<(), DataError> {
        if self.leaks.contains(&Leak::TestSelects) && self.valid != self.test {
            let found = format!("{} validation rows and {} test rows", self.valid.len(), self.test.len());
            let expected = "the same rows twice, as a split whose test part selects has them";
            return Err(DataError::Setting { what: "validation part of the split", found, expected });
        }
        let mut part_of: Vec<Option<&'static str>> = vec![None; cases];
        for (part, rows) in self.parts() {
            let is_left_out = match part {
                "validation" => self.selects_nothing,
                "test" => self.tests_nothing,
                _ => false,
            };
            if rows.is_empty() && !is_left_out {
                return Err(DataError::EmptyPart { part });
            }
            for &row in rows {
                match part_of.get_mut(row) {
                    None => return Err(DataError::SplitRow { part, row, cases }),
                    Some(Some(first)) => return Err(DataError::SplitOverlap { row, first, second: part }),
                    Some(slot) => *slot = Some(part),
                }
            }
        }
        Ok(())
    }
}
