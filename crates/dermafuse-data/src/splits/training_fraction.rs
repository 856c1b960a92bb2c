//! A part of the training cases, to see what more of them are worth.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{CaseSet, DataError, Split};

impl Split {
    /// The same split with a part of its training cases: about this fraction of each class of `task`, whole groups (patients, lesions)
    /// together. A group's class is its most frequent one, cases without a label are one more, and of each class there is a group at least.
    ///
    /// Which groups stay follows from the seed and their names: in each class they stand in the order of a hash of both, and the first ones
    /// stay. So a smaller fraction is a part of a larger one, and the order of the rows has no say. Those that validate and
    /// test are the same for all fractions.
    ///
    /// ```
    /// use dermafuse_data::{CaseSet, Split};
    /// use dermafuse_schema::{Case, Task, TaskSet};
    ///
    /// let case = |row: usize| Case { labels: vec![Some(row % 2)], ..Case::new(row.to_string()) };
    /// let tasks = TaskSet::new(vec![Task::new("d", "D", ["NEV", "MEL"])])?;
    /// let cases = (0..102).map(case).collect();
    /// let set = CaseSet { name: "s".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    /// let split = Split::new((0..100).collect(), vec![100], vec![101], 102)?;
    /// let [tenth, half] = [0.1, 0.5].map(|fraction| split.with_training_fraction(&set, 0, fraction, 7));
    /// let (tenth, half) = (tenth?, half?);
    /// assert_eq!((tenth.train.len(), half.train.len(), &half.test), (10, 50, &split.test));
    /// assert!(tenth.train.iter().all(|row| half.train.contains(row)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A fraction that is not above 0 and at most 1; a task or a row that there is not.
    pub fn with_training_fraction(
        &self,
        set: &CaseSet,
        task: usize,
        fraction: f64,
        seed: u64,
    ) -> Result<Self, DataError> {
        if !(fraction > 0.0 && fraction <= 1.0) {
            let expected = "above 0 and at most 1";
            return Err(DataError::Setting { what: "training fraction", found: fraction.to_string(), expected });
        }
        let classes = set.task_classes(task)?;
        let view = set.view(&self.train)?;
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, case) in view.iter() {
            groups.entry(&case.group).or_default().push(row);
        }
        let mut by_class: BTreeMap<usize, Vec<PlacedGroup>> = BTreeMap::new();
        for (name, rows) in groups {
            let class_of = |row: &usize| set.cases[*row].labels.get(task).copied().flatten().unwrap_or(classes);
            let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
            rows.iter().for_each(|row| *counts.entry(class_of(row)).or_default() += 1);
            // Of equally frequent ones the first.
            let most = counts.iter().max_by_key(|(class, count)| (**count, std::cmp::Reverse(**class)));
            let class = most.map_or(classes, |(class, _)| *class);
            by_class.entry(class).or_default().push((place(seed, name), rows));
        }
        let mut train: Vec<usize> = Vec::new();
        for mut groups in by_class.into_values() {
            groups.sort();
            let wanted = fraction * groups.iter().map(|(_, rows)| rows.len()).sum::<usize>() as f64;
            let mut kept = 0;
            for (at, (_, rows)) in groups.into_iter().enumerate() {
                // A group that would lead further away than none stays out, and so do all after it.
                let with = kept + rows.len();
                if at > 0 && (with as f64 - wanted) > (wanted - kept as f64) {
                    break;
                }
                kept = with;
                train.extend(rows);
            }
        }
        train.sort_unstable();
        let mut split = self.clone();
        split.train = train;
        Ok(split)
    }
}

/// Where a group stands in its class, and its rows.
type PlacedGroup = ([u8; 32], Vec<usize>);

/// Where a group stands in its class.
fn place(seed: u64, group: &str) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update(group).finalize().into()
}

#[cfg(test)]
mod tests {
    use dermafuse_schema::{Case, Task, TaskSet};

    use super::*;

    /// Groups of one to three cases, of three classes of which the last is rare; some are not labelled.
    fn set() -> CaseSet {
        let case = |row: usize| {
            let group = row / 2 - row / 2 % 3 % 2;
            let label =
                if group.is_multiple_of(29) { Some(2) } else { (!group.is_multiple_of(13)).then_some(group % 2) };
            Case { group: format!("g{group}").into(), labels: vec![label], ..Case::new(row.to_string()) }
        };
        let tasks = TaskSet::new(vec![Task::new("d", "D", ["a", "b", "c"])]).unwrap();
        let cases = (0..400).map(case).collect();
        CaseSet { name: "s".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] }
    }

    #[test]
    fn fractions_are_nested_whole_groups_of_every_class() {
        let set = set();
        let split = Split::stratified(&set, 0, [0.6, 0.2, 0.2], 3).unwrap();
        let of = |fraction: f64| split.with_training_fraction(&set, 0, fraction, 5).unwrap();
        let group = |row: &usize| set.cases[*row].group.as_str();
        let mut smaller = of(0.01);
        for fraction in [0.05, 0.1, 0.3, 0.5, 0.9, 1.0] {
            let larger = of(fraction);
            assert!(smaller.train.iter().all(|row| larger.train.contains(row)), "{fraction}");
            let has = |row: &&usize| larger.train.iter().any(|kept| group(kept) == group(row));
            let whole = split.train.iter().filter(has).count();
            assert_eq!(whole, larger.train.len(), "groups are whole");
            for class in [Some(0), Some(1), Some(2), None] {
                let count =
                    |split: &Split| split.train.iter().filter(|&&row| set.cases[row].labels[0] == class).count();
                let (kept, all) = (count(&larger) as f64, count(&split) as f64);
                assert!(kept >= 1.0 && (kept - fraction * all).abs() <= 4.0, "{fraction} {class:?}: {kept} of {all}");
            }
            larger.check(&set).unwrap();
            smaller = larger;
        }
        assert_eq!(smaller, split);
        // Another seed draws others, the order of the rows nothing else.
        assert_ne!(of(0.3), split.with_training_fraction(&set, 0, 0.3, 6).unwrap());
        let mut turned = split.clone();
        turned.train.reverse();
        assert_eq!(turned.with_training_fraction(&set, 0, 0.3, 5).unwrap(), of(0.3));
    }

    #[test]
    fn a_fraction_is_a_part() {
        let set = set();
        let split = Split::stratified(&set, 0, [0.6, 0.2, 0.2], 3).unwrap();
        for fraction in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(split.with_training_fraction(&set, 0, fraction, 0).is_err(), "{fraction}");
        }
    }
}
