use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CaseSet, DataError, FoldGrouping, shuffle::shuffled};

/// Rows of a [`CaseSet`] for training, for choosing (weights, epochs, settings) and for the final number.
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
    /// Rows to select on.
    pub valid: Vec<usize>,
    /// Rows to report on.
    pub test: Vec<usize>,
    /// What it lets through on purpose.
    leaks: Vec<Leak>,
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
        let split = Self { train, valid, test, leaks: Vec::new() };
        split.check_rows(cases)?;
        Ok(split)
    }

    /// The split of a published protocol in which `test` plays validation and test: [`Leak::TestSelects`].
    ///
    /// # Errors
    /// An empty part, a row that there is not, a row twice.
    pub fn selecting_on_test(train: Vec<usize>, test: Vec<usize>, cases: usize) -> Result<Self, DataError> {
        let split = Self { train, valid: test.clone(), test, leaks: vec![Leak::TestSelects] };
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

    /// Splits by class and by group: every part gets about the same share of each class of `task`, and no
    /// [`group`](dermafuse_schema::Case::group) (patient, lesion, identical image) stands in two parts. Cases without a label are one
    /// more class. The same seed gives the same split.
    ///
    /// `fractions` are the shares of training, validation and test; they need not sum to 1.
    ///
    /// # Errors
    /// A fraction that is not positive; a task that there is not; too few groups to fill the parts.
    pub fn stratified(set: &CaseSet, task: usize, fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        let rows: Vec<usize> = (0..set.len()).collect();
        let parts = assign(set, &rows, task, &fractions, FoldGrouping::Grouped, seed)?;
        let [train, valid, test] = parts.try_into().expect("as many parts as fractions");
        let split = Self { train, valid, test, leaks: Vec::new() };
        split.check(set)?;
        Ok(split)
    }

    /// Divides all rows into `k` folds, stratified and grouped like [`Split::stratified`]; each fold ascending. These
    /// are the rows of [`Folds`](crate::Folds), which can be saved and made into splits.
    ///
    /// # Errors
    /// Fewer than two folds; a task that there is not; too few groups to fill the folds.
    pub fn folds(set: &CaseSet, task: usize, k: usize, seed: u64) -> Result<Vec<Vec<usize>>, DataError> {
        let rows: Vec<usize> = (0..set.len()).collect();
        deal(set, &rows, task, k, FoldGrouping::Grouped, seed)
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

    /// Checks the split against a case set: rows in range, parts disjoint and not empty, no group in two parts; but for
    /// its [`leaks`](Split::leaks). Groups are those that [`CaseSet::join_groups`] made.
    ///
    /// # Errors
    /// The first of these that is broken.
    pub fn check(&self, set: &CaseSet) -> Result<(), DataError> {
        self.check_rows(set.len())?;
        if self.leaks.contains(&Leak::GroupsCross) {
            return Ok(());
        }
        let mut part_of: BTreeMap<&str, (&'static str, usize)> = BTreeMap::new();
        for (part, rows) in self.parts() {
            for &row in rows {
                let group = set.cases[row].group.as_str();
                let (first, other) = *part_of.entry(group).or_insert((part, row));
                if first != part {
                    let cases = [other, row].map(|row| set.cases[row].id.to_string());
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
            if rows.is_empty() {
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

/// Divides `rows` into `k` folds, each ascending, none empty.
pub(crate) fn deal(
    set: &CaseSet,
    rows: &[usize],
    task: usize,
    k: usize,
    grouping: FoldGrouping,
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    if k < 2 || k > rows.len() {
        let expected = "between 2 and the number of cases";
        return Err(DataError::Setting { what: "number of folds", found: k.to_string(), expected });
    }
    let folds = assign(set, rows, task, &vec![1.0; k], grouping, seed)?;
    if folds.iter().any(Vec::is_empty) {
        let expected = "at most the number of groups (patients or lesions)";
        return Err(DataError::Setting { what: "number of folds", found: k.to_string(), expected });
    }
    Ok(folds)
}

/// Deals `rows` out to as many parts as there are `shares`, class by class and group by group: the groups of each
/// class in random order, each to the part that lacks most of that class, then most of all.
pub(crate) fn assign(
    set: &CaseSet,
    rows: &[usize],
    task: usize,
    shares: &[f64],
    grouping: FoldGrouping,
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    let classes = set.task_classes(task)?;
    if let Some(share) = shares.iter().find(|share| !(share.is_finite() && **share > 0.0)) {
        let expected = "a positive number";
        return Err(DataError::Setting { what: "fraction of the split", found: share.to_string(), expected });
    }
    if set.is_empty() {
        return Err(DataError::EmptySet { name: set.name.clone() });
    }
    let total: f64 = shares.iter().sum();

    let groups: Vec<Vec<usize>> = match grouping {
        FoldGrouping::Grouped => {
            let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for &row in rows {
                groups.entry(&set.cases[row].group).or_default().push(row);
            }
            groups.into_values().collect()
        }
        FoldGrouping::Ungrouped => rows.iter().map(|&row| vec![row]).collect(),
    };
    // A group's class is its most frequent one; the last class is "no label".
    let mut by_class: Vec<Vec<Vec<usize>>> = vec![Vec::new(); classes + 1];
    for rows in groups {
        let mut counts = vec![0_usize; classes + 1];
        for &row in &rows {
            let label = set.cases[row].labels.get(task).copied().flatten();
            counts[label.unwrap_or(classes).min(classes)] += 1;
        }
        let most = counts.iter().max().copied().unwrap_or(0);
        let class = counts.iter().position(|&count| count == most).unwrap_or(classes);
        by_class[class].push(rows);
    }

    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); shares.len()];
    for (class, groups) in by_class.iter().enumerate() {
        let cases: usize = groups.iter().map(Vec::len).sum();
        let mut given = vec![0_usize; shares.len()];
        let order: Vec<usize> = (0..groups.len()).collect();
        for group in shuffled(&order, seed, class as u64) {
            let lack = |part: usize, have: usize, of: usize| shares[part] / total * of as f64 - have as f64;
            let mut best = 0;
            for part in 1..shares.len() {
                let (ours, theirs) = (lack(part, given[part], cases), lack(best, given[best], cases));
                let tie = (ours - theirs).abs() < 1e-9;
                let (ours_all, theirs_all) =
                    (lack(part, parts[part].len(), rows.len()), lack(best, parts[best].len(), rows.len()));
                if (!tie && ours > theirs) || (tie && ours_all > theirs_all + 1e-9) {
                    best = part;
                }
            }
            given[best] += groups[group].len();
            parts[best].extend(&groups[group]);
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    Ok(parts)
}
