//! The file that a split is kept in, which names cases and no rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use dermafuse_schema::{CaseId, write_whole_file};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::{CaseSet, DataError, Leak, Split};

/// The format that is written. 1 were row numbers.
const FORMAT: u64 = 2;
/// The longest file that is read: a million cases take half of it.
const MAX_BYTES: u64 = 128 << 20;
/// How many cases a message names.
const NAMED: usize = 5;

/// What is done about a set that has changed since a split or folds were made for it.
///
/// Its order never matters, and cases that are new are never refused: they are in no part, and a note counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableChanges {
    /// A case that the file names and the set does not have is an error, and so is one whose label is another now.
    #[default]
    Refuse,
    /// Such cases are left out of their part, and labels are taken as the set has them; notes count both.
    Allow,
}

/// A split that was read, and what must be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSplit {
    /// The split, in rows of the set that it was read for.
    pub split: Split,
    /// How the set differs from the one that the split was made for; empty if it does not.
    pub notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitFile {
    format: u64,
    data_set: String,
    fingerprint: String,
    train: Vec<CaseId>,
    valid: Vec<CaseId>,
    test: Vec<CaseId>,
    /// Cases of the set that are in no part on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<CaseId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leaks: Vec<Leak>,
    /// By task and case.
    #[serde(default)]
    labels: BTreeMap<String, BTreeMap<CaseId, String>>,
}

/// What tells the formats apart.
#[derive(Deserialize)]
struct Opening {
    format: Option<serde_json::Value>,
    train: Option<IgnoredAny>,
}

impl Split {
    /// Writes the split as JSON: the identities of the cases of each part, the name, the
    /// [fingerprint](CaseSet::fingerprint) and the labels of the set it is of.
    ///
    /// # Errors
    /// A split that does not fit the set; a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>, set: &CaseSet) -> Result<(), DataError> {
        let path = path.as_ref();
        set.require_unique_ids()?;
        self.check(set)?;
        let ids = |rows: &[usize]| rows.iter().map(|&row| set.cases[row].id.clone()).collect();
        let mut used = vec![false; set.len()];
        [&self.train, &self.valid, &self.test].into_iter().flatten().for_each(|&row| used[row] = true);
        let left_out: Vec<usize> = (0..set.len()).filter(|&row| !used[row]).collect();
        let labels = |index: usize| {
            let class = |case: &dermafuse_schema::Case| Some((case.id.clone(), set.class_of(case, index)?.to_owned()));
            (set.tasks[index].name.clone(), set.cases.iter().filter_map(class).collect())
        };
        let file = SplitFile {
            format: FORMAT,
            data_set: set.name.clone(),
            fingerprint: set.fingerprint(),
            train: ids(&self.train),
            valid: ids(&self.valid),
            test: ids(&self.test),
            left_out: ids(&left_out),
            leaks: self.leaks().to_vec(),
            labels: (0..set.tasks.len()).map(labels).collect(),
        };
        let text = serde_json::to_string(&file).map_err(|source| DataError::Json { path: path.into(), source })?;
        Ok(write_whole_file(path, text.as_bytes())?)
    }

    /// Reads a split that [`Split::save`] wrote, for the set it was made for, in whatever order; cases are matched by
    /// identity. Cases that the set has and the file does not name are in no part, and a note names them.
    ///
    /// ```
    /// use dermafuse_data::{CaseSet, Split};
    /// use dermafuse_schema::{Case, Task, TaskSet};
    ///
    /// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
    /// let cases = ["a", "b", "c"].map(|id| Case { labels: vec![Some(0)], ..Case::new(id) }).to_vec();
    /// let mut set = CaseSet { name: "three".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    /// let file = tempfile::NamedTempFile::new()?;
    /// Split::new(vec![0], vec![1], vec![2], set.len())?.save(file.path(), &set)?;
    ///
    /// set.cases.reverse();
    /// let loaded = Split::load(file.path(), &set)?;
    /// assert_eq!((loaded.split.train, loaded.split.test), (vec![2], vec![0]));
    /// assert!(loaded.notes.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A file that cannot be read, is too long or holds row numbers, as it did before; a case in two parts; cases that the
    /// set does not have or labels otherwise, the first five of them by name; a part without a case, but for a validation part of
    /// which the file names none; a group in two parts.
    pub fn load(path: impl AsRef<Path>, set: &CaseSet) -> Result<LoadedSplit, DataError> {
        Self::load_with(path, set, TableChanges::Refuse)
    }

    /// Reads a split as [`Split::load`] does, for a set that may have [changed](TableChanges).
    ///
    /// # Errors
    /// Those of [`Split::load`], but for the changes that are allowed.
    pub fn load_with(path: impl AsRef<Path>, set: &CaseSet, changes: TableChanges) -> Result<LoadedSplit, DataError> {
        let path = path.as_ref();
        let file = SplitFile::read(path)?;
        set.require_unique_ids()?;
        file.check(path)?;
        let rows: HashMap<&str, usize> =
            set.cases.iter().enumerate().map(|(row, case)| (case.id.as_str(), row)).collect();

        let mut notes = Vec::new();
        if file.data_set != set.name {
            notes.push(format!("the split was made for `{}`, and this is `{}`", file.data_set, set.name));
        }
        let named: HashSet<&str> = file.parts().flat_map(|(_, ids)| ids).map(CaseId::as_str).collect();
        let (mut found, mut relabelled) = (Changes::new(path, set, changes), Changes::new(path, set, changes));
        let parted = file.parts().filter(|(part, _)| *part != "left-out");
        parted
            .flat_map(|(_, ids)| ids)
            .filter(|id| !rows.contains_key(id.as_str()))
            .for_each(|id| found.add(id.as_str()));
        notes.extend(found.absent(named.len())?);
        for (task, labels) in &file.labels {
            let Some(index) = set.tasks.index_of(task) else { continue };
            for (id, before) in labels {
                let now = rows.get(id.as_str()).and_then(|&row| set.class_of(&set.cases[row], index));
                if let Some(now) = now.filter(|now| now != before) {
                    relabelled.add(&format!("{id} ({task}: {before}, now {now})"));
                }
            }
        }
        notes.extend(relabelled.relabelled()?);
        let mut new = Changes::new(path, set, changes);
        let unnamed = set.cases.iter().map(|case| case.id.as_str()).filter(|id| !named.contains(id));
        unnamed.for_each(|id| new.add(id));
        notes.extend(new.unnamed("split", "part"));
        if notes.is_empty() && file.fingerprint != set.fingerprint() {
            notes.push(
                "the set is labelled otherwise than when the split was made: other tasks, or cases with and without"
                    .into(),
            );
        }

        let part = |ids: &[CaseId]| ids.iter().filter_map(|id| rows.get(id.as_str()).copied()).collect::<Vec<_>>();
        let (train, valid, test) = (part(&file.train), part(&file.valid), part(&file.test));
        let mut split = match file.leaks.contains(&Leak::TestSelects) {
            true => Self::selecting_on_test(train, test, set.len())?,
            // The file names none, which is another thing than that none is left.
            false if file.valid.is_empty() => Self::without_validation(train, test, set.len())?,
            false if file.test.is_empty() => Self::without_test(train, valid, set.len())?,
            false => Self::new(train, valid, test, set.len())?,
        };
        if file.leaks.contains(&Leak::GroupsCross) {
            split = split.with_groups_crossing();
        }
        split.check(set)?;
        Ok(LoadedSplit { split, notes })
    }
}

impl SplitFile {
    fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = read_bounded(path)?;
        let json_error = |source| DataError::Json { path: path.into(), source };
        let Opening { format, train } = serde_json::from_slice(&bytes).map_err(json_error)?;
        let found = match (format, train) {
            (Some(format), _) if format == FORMAT => return serde_json::from_slice(&bytes).map_err(json_error),
            (Some(format), _) => format!("`format` is {format}, where this version reads {FORMAT}"),
            (None, Some(_)) => "the split is one of row numbers, from before splits named their cases".into(),
            (None, None) => "there is neither `format` nor `train`, so it is no split".into(),
        };
        Err(DataError::SplitFormat { path: path.into(), found })
    }

    /// The lists that no case may be in twice. Where the test part selects, it is the validation part.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &[CaseId])> {
        let parts = [
            ("training", &*self.train),
            ("validation", &*self.valid),
            ("test", &*self.test),
            ("left-out", &*self.left_out),
        ];
        let selects = self.leaks.contains(&Leak::TestSelects);
        parts.into_iter().filter(move |(part, _)| !(selects && *part == "validation"))
    }

    fn check(&self, path: &Path) -> Result<(), DataError> {
        let mut part_of: HashMap<&str, &'static str> = HashMap::new();
        for (part, ids) in self.parts() {
            for id in ids {
                if let Some(first) = part_of.insert(id.as_str(), part) {
                    return Err(DataError::SplitCase { path: path.into(), case: id.to_string(), first, second: part });
                }
            }
        }
        if self.leaks.contains(&Leak::TestSelects) && self.valid != self.test {
            let found = format!("{} validation cases and {} test cases", self.valid.len(), self.test.len());
            let expected = "the same cases twice, as a split whose test part selects has them";
            return Err(DataError::Setting { what: "validation part of the split", found, expected });
        }
        Ok(())
    }
}

/// Cases that are not as the file has them: how many, and the first few.
pub(crate) struct Changes<'a> {
    path: &'a Path,
    set: &'a CaseSet,
    changes: TableChanges,
    count: usize,
    first: Vec<String>,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(path: &'a Path, set: &'a CaseSet, changes: TableChanges) -> Self {
        Self { path, set, changes, count: 0, first: Vec::new() }
    }

    pub(crate) fn add(&mut self, case: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(case.to_owned());
        }
    }

    /// Of the `named` cases of the file, those that the set does not have.
    pub(crate) fn absent(self, named: usize) -> Result<Option<String>, DataError> {
        let Self { path, set, changes, count, first } = self;
        let list = list(&first, count);
        match (count, changes) {
            (0, _) => Ok(None),
            (_, TableChanges::Allow) => Ok(Some(format!(
                "{count} of {named} cases of {} are not in `{}` and left out: {list}",
                path.display(),
                set.name
            ))),
            (_, TableChanges::Refuse) => Err(DataError::CasesAbsent {
                file: path.into(),
                set: set.name.clone(),
                absent: count,
                named,
                first: list,
            }),
        }
    }

    /// Those with another label.
    pub(crate) fn relabelled(self) -> Result<Option<String>, DataError> {
        let Self { path, set, changes, count, first } = self;
        let list = list(&first, count);
        match (count, changes) {
            (0, _) => Ok(None),
            (_, TableChanges::Allow) => {
                Ok(Some(format!("{count} labels of `{}` are not those of {}: {list}", set.name, path.display())))
            }
            (_, TableChanges::Refuse) => {
                Err(DataError::LabelsChanged { file: path.into(), set: set.name.clone(), changed: count, first: list })
            }
        }
    }

    /// Those of the set that the file does not name.
    pub(crate) fn unnamed(self, what: &str, part: &str) -> Option<String> {
        let Self { set, count, first, .. } = self;
        let list = list(&first, count);
        let cases = set.len();
        (count > 0).then(|| {
            format!(
                "{count} of {cases} cases of `{}` are in no {part}, because the {what} does not name them: {list}",
                set.name
            )
        })
    }
}

fn list(first: &[String], count: usize) -> String {
    let more = if count > first.len() { format!(" and {} more", count - first.len()) } else { String::new() };
    format!("{}{more}", first.join(", "))
}

/// The bytes of a file that may not be longer than a split can be.
fn read_bounded(path: &Path) -> Result<Vec<u8>, DataError> {
    let io_error = |source| DataError::Io { path: path.into(), source };
    // Asked before it is opened: a pipe would be waited for.
    let about = std::fs::metadata(path).map_err(io_error)?;
    if !about.is_file() {
        return Err(DataError::SplitFormat { path: path.into(), found: "it is no file".into() });
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(io_error)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_BYTES {
        let found = format!("it is longer than {} MB, which no split is", MAX_BYTES >> 20);
        return Err(DataError::SplitFormat { path: path.into(), found });
    }
    Ok(bytes)
}
