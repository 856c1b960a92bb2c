//! Deals the cases of a set out to the parts of a split or to folds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CaseSet, CaseView, DataError, Split, shuffled};

/// Whether the cases of a group (a patient, a lesion) stay together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldGrouping {
    /// All cases of a [group](dermafuse_schema::Case::group) are in one fold.
    #[default]
    Grouped,
    /// Each case is dealt out for itself, as published protocols have it. [`Folds::notes`](crate::Folds::notes) says how many groups stand in
    /// several folds, and the splits say that they [leak](Split::leaks).
    Ungrouped,
}

impl Split {
    /// Splits by class and by group: every part gets about the same share of each class of `task`, and no
    /// [`group`](dermafuse_schema::Case::group) (patient, lesion, identical image) stands in two parts. Cases without a label are one
    /// more class. The same seed gives the same split.
    ///
    /// `fractions` are the shares of training, validation and test; they need not sum to 1. Without a share of validation the
    /// split [has no validation part](Split::without_validation).
    ///
    /// # Errors
    /// A fraction that is not positive, but for a validation of 0; a task that there is not; too few groups to fill the parts.
    pub fn stratified(set: &CaseSet, task: usize, fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        let whole = set.whole();
        let of = |shares: &[f64]| assign(&whole, task, shares, FoldGrouping::Grouped, seed);
        let split = match fractions {
            [train, 0.0, test] => {
                let [train, test] = of(&[train, test])?.try_into().expect("as many parts as shares");
                Self::without_validation(train, test, set.len())?
            }
            shares => {
                let [train, valid, test] = of(&shares)?.try_into().expect("as many parts as shares");
                Self::new(train, valid, test, set.len())?
            }
        };
        split.check(set)?;
        Ok(split)
    }

    /// Divides all cases into those that train and those that validate, by class and by group like [`Split::stratified`]: a split
    /// [without a test part](Split::without_test). `validation` is the share of the cases that validate.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, both excluded; a task that there is not; too few groups to fill both parts.
    pub fn stratified_without_test(set: &CaseSet, task: usize, validation: f64, seed: u64) -> Result<Self, DataError> {
        let shares = [1.0 - validation, validation];
        let parts = assign(&set.whole(), task, &shares, FoldGrouping::Grouped, seed)?;
        let [train, valid] = parts.try_into().expect("as many parts as shares");
        let split = Self::without_test(train, valid, set.len())?;
        split.check(set)?;
        Ok(split)
    }

    /// Divides all rows into `k` folds, stratified and grouped like [`Split::stratified`]; each fold ascending. These
    /// are the rows of [`Folds`](crate::Folds), which can be saved and made into splits.
    ///
    /// # Errors
    /// Fewer than two folds; a task that there is not; too few groups to fill the folds.
    pub fn folds(set: &CaseSet, task: usize, k: usize, seed: u64) -> Result<Vec<Vec<usize>>, DataError> {
        deal(&set.whole(), task, k, FoldGrouping::Grouped, seed)
    }

    /// Checks the split against a case set: rows in range, parts disjoint and not empty, no group in two parts; but for
    /// its [`leaks`](Split::leaks). Groups are those that [`CaseSet::join_groups`] made.
    ///
    /// # Errors
    /// The first of these that is broken.
    pub fn check(&self, set: &CaseSet) -> Result<(), DataError> {
        self.check_cases(&set.cases)
    }
}

/// Divides the cases into `k` folds of rows, each ascending, none empty.
pub(crate) fn deal(
    cases: &CaseView<'_>,
    task: usize,
    k: usize,
    grouping: FoldGrouping,
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    if k < 2 || k > cases.len() {
        let expected = "between 2 and the number of cases";
        return Err(DataError::Setting { what: "number of folds", found: k.to_string(), expected });
    }
    let folds = assign(cases, task, &vec![1.0; k], grouping, seed)?;
    if folds.iter().any(Vec::is_empty) {
        let expected = "at most the number of groups (patients or lesions)";
        return Err(DataError::Setting { what: "number of folds", found: k.to_string(), expected });
    }
    Ok(folds)
}

/// Deals the cases out to as many parts as there are `shares`, class by class and group by group: the groups of each
/// class in random order, each to the part that lacks most of that class, then most of all.
pub(crate) fn assign(
    view: &CaseView<'_>,
    task: usize,
    shares: &[f64],
    grouping: FoldGrouping,
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    let set = view.set();
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
            for (row, case) in view.iter() {
                groups.entry(&case.group).or_default().push(row);
            }
            groups.into_values().collect()
        }
        FoldGrouping::Ungrouped => view.rows().iter().map(|&row| vec![row]).collect(),
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
                    (lack(part, parts[part].len(), view.len()), lack(best, parts[best].len(), view.len()));
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
