//! Cross-validation: folds, the files they are kept in, and the splits they give.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use dermafuse_schema::write_whole_file;
use serde::{Deserialize, Serialize};

use crate::splits::deal::{assign, deal};
use crate::splits::split_file::Changes;
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, FoldGrouping, Split, Table, TableChanges};

/// What a fold file calls the rows that no fold has.
const HELD_OUT: &str = "test";

/// How folds are made.
///
/// ```
/// use dermafuse_data::{FoldConfig, FoldGrouping};
///
/// let config = FoldConfig { grouping: FoldGrouping::Ungrouped, ..FoldConfig::pad_holdout(8) };
/// assert_eq!((config.folds, config.hold_out), (5, Some(1.0 / 6.0)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldConfig {
    /// How many folds, two or more.
    pub folds: usize,
    /// Decides who goes where.
    pub seed: u64,
    /// The task whose classes every fold has in about the same shares.
    #[serde(default)]
    pub task: usize,
    /// Whether groups stay together.
    #[serde(default)]
    pub grouping: FoldGrouping,
    /// The share of the cases, between 0 and 1, that is taken away first, stratified like the folds, and tested once at
    /// the end. `None`: every case is in a fold.
    #[serde(default)]
    pub hold_out: Option<f64>,
}

impl FoldConfig {
    /// Grouped folds of all cases, stratified by the first task.
    #[must_use]
    pub fn new(folds: usize, seed: u64) -> Self {
        Self { folds, seed, task: 0, grouping: FoldGrouping::Grouped, hold_out: None }
    }

    /// Five folds of what is left when a sixth has been taken away as the test part: the protocol of the code that was
    /// released with MetaBlock for PAD-UFES-20, but grouped. (That code's own draws cannot be had here: they need NumPy's
    /// generator. Make the folds there, write them as a table and [`load`](Folds::load) it.)
    #[must_use]
    pub fn pad_holdout(seed: u64) -> Self {
        Self { hold_out: Some(1.0 / 6.0), ..Self::new(5, seed) }
    }
}

/// Which part of the folds trains, selects and tests in each round of a cross-validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldProtocol {
    /// Round `i` tests on fold `i`, selects on the fold after it (the first after the last) and trains on the others, so
    /// that no number is reported on cases that chose anything. Needs three folds or more. Rows that were held out are
    /// in no round.
    #[default]
    NextFoldSelects,
    /// Round `i` selects *and* tests on fold `i` and trains on the others, as in published five-fold results. Its splits
    /// [leak](Split::leaks): the epoch that does best on the test fold is the one that is reported.
    TestFoldSelects,
    /// Round `i` selects on fold `i`, trains on the others, and tests on the rows that were held out, the same for every
    /// round.
    HeldOutTests,
}

/// The rows of a [`CaseSet`] in `k` folds, and those that were held out first.
///
/// Folds are kept as a CSV table with the columns `id,group,label,fold`, a row for each case; folds count from 0, and
/// `test` stands for a case that was held out. In Python:
///
/// ```text
/// folds = pandas.read_csv("folds.csv", dtype={"id": str})
/// folds = folds[folds.fold.astype(str) != "test"]
/// split = sklearn.model_selection.PredefinedSplit(folds.fold.astype(int))
/// ```
///
/// ```
/// use dermafuse_data::{CaseSet, FoldProtocol, FoldConfig, FoldGrouping, Folds};
/// use dermafuse_schema::{Case, Task, TaskSet};
///
/// // Twelve photos, two of each patient.
/// let photo = |n: usize| Case {
///     group: format!("patient {}", n / 2).into(),
///     labels: vec![Some(n / 2 % 2)],
///     ..Case::new(format!("photo {n}"))
/// };
/// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// let cases = (0..12).map(photo).collect();
/// let set = CaseSet { name: "photos".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
///
/// let folds = Folds::new(&set, &FoldConfig::new(3, 42))?;
/// assert_eq!(folds.rows(0).len(), 4);
/// let splits = folds.splits(FoldProtocol::NextFoldSelects)?;
/// assert_eq!((splits[0].test.as_slice(), splits[0].valid.as_slice()), (folds.rows(0), folds.rows(1)));
/// splits[0].check(&set)?; // no patient on both sides
///
/// let file = tempfile::NamedTempFile::new()?;
/// folds.save(file.path(), &set)?;
/// assert_eq!(Folds::load(file.path(), &set, 0, FoldGrouping::Grouped)?, folds);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// Each ascending.
    folds: Vec<Vec<usize>>,
    held_out: Vec<usize>,
    task: usize,
    /// Cases of the set. All of them are above, unless a table was read that does not name them.
    cases: usize,
    /// How many groups the set has, and how many of them stand in several folds, or in a fold and held out.
    groups: usize,
    crossing: usize,
    /// How the set differs from the table that was read.
    notes: Vec<String>,
}

impl Folds {
    /// Deals out all cases of a set, by class and by group. The same configuration gives the same folds.
    ///
    /// Each group goes to the fold that lacks most of its class, so that with one class a group no two folds differ by
    /// more cases of a class than its largest group has. Cases without a label are one more class.
    ///
    /// # Errors
    /// Fewer than two folds; a task that there is not; a held-out share outside 0..1; too few groups to fill the folds.
    pub fn new(set: &CaseSet, config: &FoldConfig) -> Result<Self, DataError> {
        let &FoldConfig { folds, seed, task, grouping, hold_out } = config;
        let all = set.whole();
        let (rest, held_out) = match hold_out {
            None => (all, Vec::new()),
            Some(share) if share > 0.0 && share < 1.0 => {
                let mut parts = assign(&all, task, &[1.0 - share, share], grouping, seed)?;
                (set.view(std::mem::take(&mut parts[0]))?, std::mem::take(&mut parts[1]))
            }
            Some(share) => {
                let (what, found) = ("share that is held out", share.to_string());
                return Err(DataError::Setting { what, found, expected: "between 0 and 1, both excluded" });
            }
        };
        if hold_out.is_some() && held_out.is_empty() {
            return Err(DataError::EmptyPart { part: "test" });
        }
        Ok(Self::of(deal(&rest, task, folds, grouping, seed)?, held_out, task, set))
    }

    fn of(folds: Vec<Vec<usize>>, held_out: Vec<usize>, task: usize, set: &CaseSet) -> Self {
        let mut part_of: HashMap<&str, usize> = HashMap::new();
        let mut crossing = HashSet::new();
        for (part, rows) in folds.iter().chain([&held_out]).enumerate() {
            for &row in rows {
                let group = set.cases[row].group.as_str();
                if *part_of.entry(group).or_insert(part) != part {
                    crossing.insert(group);
                }
            }
        }
        Self {
            crossing: crossing.len(),
            groups: part_of.len(),
            cases: set.len(),
            folds,
            held_out,
            task,
            notes: Vec::new(),
        }
    }

    /// The number of folds, `k`; two or more.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there are always two folds or more")]
    pub fn len(&self) -> usize {
        self.folds.len()
    }

    /// The rows of a fold, ascending.
    ///
    /// # Panics
    /// If there is no such fold.
    #[must_use]
    pub fn rows(&self, fold: usize) -> &[usize] {
        &self.folds[fold]
    }

    /// The rows that no fold has, ascending; empty if none were held out.
    #[must_use]
    pub fn held_out(&self) -> &[usize] {
        &self.held_out
    }

    /// How many groups (patients, lesions) stand in several folds, or in a fold and held out. 0 if they are grouped.
    #[must_use]
    pub fn crossing_groups(&self) -> usize {
        self.crossing
    }

    /// What a report must say of these folds: how many groups cross them, and how the set differs from the table that they
    /// were read from.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.crossing > 0 {
            notes.push(format!(
                "folds are not grouped: {} of {} groups (patients or lesions) stand in several, so results are optimistic",
                self.crossing, self.groups
            ));
        }
        notes
    }

    /// The rounds of a cross-validation, one for each fold, in order.
    ///
    /// Where groups cross the folds, the splits [say so](Split::leaks).
    ///
    /// # Errors
    /// Too few folds for the protocol; no rows held out where they are to test.
    pub fn splits(&self, protocol: FoldProtocol) -> Result<Vec<Split>, DataError> {
        let k = self.folds.len();
        if protocol == FoldProtocol::NextFoldSelects && k < 3 {
            let expected = "three or more, where one tests, the next selects and the others train";
            return Err(DataError::Setting { what: "number of folds", found: k.to_string(), expected });
        }
        if protocol == FoldProtocol::HeldOutTests && self.held_out.is_empty() {
            let expected = "above 0; make the folds with `hold_out`";
            return Err(DataError::Setting { what: "rows that are held out", found: "0".into(), expected });
        }
        let others = |left_out: &[usize]| {
            let kept = self.folds.iter().enumerate().filter(|(fold, _)| !left_out.contains(fold));
            let mut rows: Vec<usize> = kept.flat_map(|(_, rows)| rows.iter().copied()).collect();
            rows.sort_unstable();
            rows
        };
        let round = |fold: usize| {
            let this = self.folds[fold].clone();
            let split = match protocol {
                FoldProtocol::NextFoldSelects => {
                    let next = (fold + 1) % k;
                    Split::new(others(&[fold, next]), self.folds[next].clone(), this, self.cases)
                }
                FoldProtocol::TestFoldSelects => Split::selecting_on_test(others(&[fold]), this, self.cases),
                FoldProtocol::HeldOutTests => Split::new(others(&[fold]), this, self.held_out.clone(), self.cases),
            }?;
            Ok(if self.crossing > 0 { split.with_groups_crossing() } else { split })
        };
        (0..k).map(round).collect()
    }

    /// Writes the folds as a CSV table `id,group,label,fold`, a row for each case that is in a fold or held out.
    ///
    /// # Errors
    /// A set of another size; a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>, set: &CaseSet) -> Result<(), DataError> {
        let path = path.as_ref();
        if set.len() != self.cases || self.task >= set.tasks.len() {
            let found = format!("{} cases of `{}`", set.len(), set.name);
            let expected = "the case set that the folds were made for";
            return Err(DataError::Setting { what: "case set of the folds", found, expected });
        }
        let mut names = vec![String::new(); self.cases];
        self.held_out.iter().for_each(|&row| HELD_OUT.clone_into(&mut names[row]));
        for (fold, rows) in self.folds.iter().enumerate() {
            rows.iter().for_each(|&row| names[row] = fold.to_string());
        }
        let io_error = |source| DataError::Io { path: path.into(), source };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["id", "group", "label", "fold"]).map_err(|error| io_error(error.into()))?;
        for (case, fold) in set.cases.iter().zip(&names).filter(|(_, fold)| !fold.is_empty()) {
            let label = set.class_of(case, self.task).unwrap_or("");
            let row = [case.id.as_str(), &case.group, label, fold];
            writer.write_record(row).map_err(|error| io_error(error.into()))?;
        }
        let bytes = writer.into_inner().map_err(|error| io_error(error.into_error()))?;
        Ok(write_whole_file(path, &bytes)?)
    }

    /// Reads folds of the cases of `set`, in any order, from a CSV table with the columns `id` and `fold`, of which the
    /// second is a number from 0 or `test`. The columns `group` and `label` may be left out; labels are those of `task`. Cases
    /// that the table does not name are in no fold, and the [notes](Folds::notes) name them.
    ///
    /// A group in two folds, by the table or by the set, is an error unless `grouping` is
    /// [`Ungrouped`](FoldGrouping::Ungrouped).
    ///
    /// # Errors
    /// A file that cannot be read; an identity twice; cases that the set does not have or labels otherwise, the first five of
    /// them by name; a fold that is no number; fewer than two folds, or a number in between that no case has.
    pub fn load(path: impl AsRef<Path>, set: &CaseSet, task: usize, grouping: FoldGrouping) -> Result<Self, DataError> {
        Self::load_with(path, set, task, grouping, TableChanges::Refuse)
    }

    /// Reads folds as [`Folds::load`] does, for a set that may have [changed](TableChanges).
    ///
    /// # Errors
    /// Those of [`Folds::load`], but for the changes that are allowed.
    pub fn load_with(
        path: impl AsRef<Path>,
        set: &CaseSet,
        task: usize,
        grouping: FoldGrouping,
        changes: TableChanges,
    ) -> Result<Self, DataError> {
        set.task_classes(task)?;
        set.require_unique_ids()?;
        let table = Table::read(path)?;
        let optional = |name: &str| match table.headers().iter().any(|header| header == name) {
            true => table.column(name).map(Some),
            false => Ok(None),
        };
        let (id, fold) = (table.column("id")?, table.column("fold")?);
        let (group, label) = (optional("group")?, optional("label")?);
        check_unique(id)?;
        let rows: HashMap<&str, usize> =
            set.cases.iter().enumerate().map(|(row, case)| (case.id.as_str(), row)).collect();
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut held_out = Vec::new();
        let found = || Changes::new(table.file(), set, changes);
        let (mut absent, mut relabelled, mut new) = (found(), found(), found());
        // Where each group was first seen: as the set and as the table name it.
        let mut seen: [HashMap<&str, usize>; 2] = [HashMap::new(), HashMap::new()];
        for line in 0..table.len() {
            let Some(&row) = rows.get(id.text(line)) else {
                absent.add(id.text(line));
                continue;
            };
            let case = &set.cases[row];
            let before = label.map(|label| label.text(line)).filter(|before| !before.is_empty());
            if let (Some(before), Some(now)) = (before, set.class_of(case, task))
                && before != now
            {
                relabelled.add(&format!("{} ({}: {before}, now {now})", case.id, set.tasks[task].name));
            }
            match fold.text(line) {
                HELD_OUT => held_out.push(row),
                text => match text.parse() {
                    Ok(number) => parts.entry(number).or_default().push(row),
                    Err(_) => return Err(fold.value_error(line, format!("a whole number from 0, or `{HELD_OUT}`"))),
                },
            }
            let names = [Some(case.group.as_str()), group.map(|group| group.text(line))];
            for (seen, name) in seen.iter_mut().zip(names) {
                let Some(name) = name.filter(|name| !name.is_empty() && grouping == FoldGrouping::Grouped) else {
                    continue;
                };
                let first = *seen.entry(name).or_insert(line);
                if fold.text(first) != fold.text(line) {
                    let (other, place) = (fold.text(first), table.line(first));
                    let why = "a patient or lesion stays in one fold, unless it is loaded as ungrouped";
                    return Err(fold.value_error(line, format!("`{other}` like group `{name}` in line {place}; {why}")));
                }
            }
        }
        let file = || table.file().to_path_buf();
        let mut notes = Vec::new();
        notes.extend(absent.absent(table.len())?);
        notes.extend(relabelled.relabelled()?);
        let named: HashSet<&str> = (0..table.len()).map(|line| id.text(line)).collect();
        let unnamed = set.cases.iter().map(|case| case.id.as_str()).filter(|id| !named.contains(id));
        unnamed.for_each(|id| new.add(id));
        notes.extend(new.unnamed("table of folds", "fold"));
        if let Some(absent) = (0..parts.len()).find(|number| !parts.contains_key(number)) {
            return Err(DataError::FoldAbsent { file: file(), fold: absent, folds: parts.len() });
        }
        if parts.len() < 2 {
            let found = parts.len().to_string();
            return Err(DataError::Setting { what: "number of folds", found, expected: "two or more" });
        }
        let mut folds: Vec<Vec<usize>> = parts.into_values().collect();
        folds.iter_mut().chain([&mut held_out]).for_each(|rows| rows.sort_unstable());
        Ok(Self { notes, ..Self::of(folds, held_out, task, set) })
    }
}
