//! Groups: the cases that no split may part, because they share a patient, a lesion or an image.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, CaseId, LesionArea, Name};

use crate::CaseSet;
use crate::name_set::{NameMap, NameSet};
use crate::splits::identical_images::{SharedImage, identical_images};

/// How many notes of a kind are written out; the others are counted.
const MOST_NOTES: usize = 20;

/// Whether [`CaseSet::join_groups`] looks into the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedImages {
    /// Cases that share an identical image file are one group. Reads the files that have the same size as another.
    #[default]
    Join,
    /// Images are not looked at: patients and lesions alone make groups.
    Ignore,
}

impl From<bool> for SharedImages {
    fn from(join: bool) -> Self {
        if join { Self::Join } else { Self::Ignore }
    }
}

/// One image under two labels: two cases with an identical file of which one says otherwise than the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelConflict {
    /// The earlier case.
    pub first: CaseId,
    /// The later case.
    pub second: CaseId,
    /// The names of their files, without folders.
    pub files: [String; 2],
    /// What they say otherwise, in the order of the tasks.
    pub labels: Vec<LabelPair>,
}

/// The labels of two cases for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPair {
    /// The task.
    pub task: String,
    /// The class of the first case.
    pub first: String,
    /// The class of the second case.
    pub second: String,
}

impl fmt::Display for LabelConflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second, files: [one, other], labels } = self;
        write!(formatter, "cases `{first}` and `{second}` have one image ({one}, {other}) under two labels: ")?;
        for (at, LabelPair { task, first, second }) in labels.iter().take(3).enumerate() {
            write!(formatter, "{}{task} `{first}` and `{second}`", if at == 0 { "" } else { ", " })?;
        }
        if labels.len() > 3 {
            write!(formatter, ", and {} more tasks", labels.len() - 3)?;
        }
        formatter.write_str("; correct or drop one, unless the image shows both")
    }
}

impl CaseSet {
    /// Gives every case its final [`group`](Case::group): cases are joined through the group they have, through their
    /// patient, through their lesion and through identical image files, and through any chain of these. So a patient
    /// that some rows do not name still keeps the images of a lesion together.
    ///
    /// Every loader calls it last. A set that is filled in code leaves `group` as [`Case::new`] has it, unless there are
    /// groups that are neither patients nor lesions, such as families.
    ///
    /// The group is called by the smallest of its own names: of the groups that cases were given, else of its patients,
    /// else of its lesions, else of its cases; so names do not depend on the order of the rows. Where that would be the name of
    /// another group too (a patient `7` and a lesion `7`), the word `lesion:` or `case:` is put before it.
    ///
    /// The notes of the set get a line for each image that cases share and for each [conflict](CaseSet::label_conflicts), and
    /// one if files could not be read. Twice does no more than once, but for the notes.
    ///
    /// ```
    /// use dermafuse_data::{CaseSet, SharedImages};
    /// use dermafuse_schema::{Case, Task, TaskSet};
    ///
    /// let name = |text: &str| (!text.is_empty()).then(|| text.into());
    /// let photo = |id: &str, patient: &str, lesion: &str| Case {
    ///     patient: name(patient),
    ///     lesion: name(lesion),
    ///     labels: vec![None],
    ///     ..Case::new(id)
    /// };
    /// let cases = vec![photo("a", "P1", "L1"), photo("b", "", "L1"), photo("c", "P1", ""), photo("d", "", "L2")];
    /// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
    /// let mut set =
    ///     CaseSet { name: "photos".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    ///
    /// set.join_groups(SharedImages::Join);
    /// let groups: Vec<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    /// assert_eq!(groups, ["P1", "P1", "P1", "L2"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_groups(&mut self, images: SharedImages) {
        let mut rows = Components::new(self.cases.len());
        rows.join_given_groups(&self.cases);
        rows.join_named(self.cases.iter().map(|case| case.patient.as_ref()));
        rows.join_named(self.cases.iter().map(|case| case.lesion.as_ref()));
        if images == SharedImages::Join {
            let (shared, unread) = identical_images(&self.cases);
            for SharedImage { files } in &shared {
                for (row, _) in files {
                    rows.join(files[0].0, *row);
                }
            }
            let conflicts = conflicts_of(self, &shared);
            self.notes.extend(first_few(shared.iter().flat_map(pair_notes).collect(), "pairs of identical images"));
            let conflicts: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
            self.notes.extend(first_few(conflicts, "images under two labels"));
            if let Some((path, reason)) = unread.first() {
                let more = if unread.len() > 1 { format!(" and {} more", unread.len() - 1) } else { String::new() };
                let path = path.display();
                self.notes.push(format!("not compared with other images: {path}{more} ({reason})"));
            }
        }
        rows.name(&mut self.cases);
    }

    /// The images that stand under two labels: pairs of cases that share an identical file and are labelled otherwise for a
    /// task. Each case is held against the first that has the image and a label for it; two lesions in one photo, which their boxes or
    /// masks tell apart, are no pair. Looks into the files anew.
    ///
    /// A conflict can be rightful (a photo of two lesions), so it is a note and no error; a program may refuse it.
    #[must_use]
    pub fn label_conflicts(&self) -> Vec<LabelConflict> {
        conflicts_of(self, &identical_images(&self.cases).0)
    }
}

/// Rows in groups: a forest in which each row points to an earlier one, or to itself.
pub(crate) struct Components(Vec<usize>);

impl Components {
    pub(crate) fn new(rows: usize) -> Self {
        Self((0..rows).collect())
    }

    fn root(&mut self, mut row: usize) -> usize {
        while self.0[row] != row {
            self.0[row] = self.0[self.0[row]];
            row = self.0[row];
        }
        row
    }

    /// Whether they were apart.
    pub(crate) fn join(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
        one != other
    }

    /// Joins the rows that have the same name, of which some have none.
    fn join_named<'n>(&mut self, names: impl Iterator<Item = Option<&'n Name>>) {
        let mut first: NameMap<&str, usize> = NameMap::default();
        for (row, name) in names.enumerate() {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                self.join(*first.entry(name).or_insert(row), row);
            }
        }
    }

    /// Joins the rows that have the same group. Most have their own, as [`Case::new`] gives it, and are not looked at twice.
    fn join_given_groups(&mut self, cases: &[Case]) {
        let mut first: NameMap<&str, usize> = NameMap::default();
        for (row, case) in cases.iter().enumerate().filter(|(_, case)| has_given_group(case)) {
            self.join(*first.entry(&case.group).or_insert(row), row);
        }
        if !first.is_empty() {
            for (row, case) in cases.iter().enumerate().filter(|(_, case)| !has_given_group(case)) {
                if let Some(&other) = first.get(case.id.as_str()) {
                    self.join(other, row);
                }
            }
        }
    }

    /// Gives each case the name of its group.
    fn name(&mut self, cases: &mut [Case]) {
        // The row that names each group, at the group's root.
        let mut named_by: Vec<usize> = (0..cases.len()).collect();
        for (row, case) in cases.iter().enumerate() {
            let best = &mut named_by[self.root(row)];
            if own_name(case) < own_name(&cases[*best]) {
                *best = row;
            }
        }
        let roots: Vec<usize> = (0..cases.len()).filter(|&row| self.root(row) == row).collect();
        let mut names: NameMap<usize, Name> = NameMap::default();
        let kind = |root: usize| own_name(&cases[named_by[root]]).0;
        // Names of one kind are different anyway.
        if roots.iter().any(|&root| kind(root) != kind(roots[0])) {
            let mut taken: NameSet<Name> = NameSet::default();
            for of_a_kind in Kind::ALL.map(|wanted| roots.iter().copied().filter(move |&root| kind(root) == wanted)) {
                let name = |root: usize| shared_name(&cases[named_by[root]]);
                let mut met: Vec<usize> = of_a_kind.filter(|&root| !taken.insert(name(root))).collect();
                met.sort_unstable_by_key(|&root| name(root));
                for root in met {
                    let mut other = name(root);
                    while !taken.insert(other.clone()) {
                        other = Name::from(format!("{}:{other}", kind(root).word()));
                    }
                    names.insert(root, other);
                }
            }
        }
        // First where others read it, then everywhere.
        for &root in &roots {
            let name = names.remove(&root).unwrap_or_else(|| shared_name(&cases[named_by[root]]));
            cases[root].group = name;
        }
        for row in 0..cases.len() {
            let root = self.root(row);
            if root != row {
                cases[row].group = cases[root].group.clone();
            }
        }
    }
}

/// What a group is called by, the first that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Group,
    Patient,
    Lesion,
    Case,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Group, Self::Patient, Self::Lesion, Self::Case];

    fn word(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Patient => "patient",
            Self::Lesion => "lesion",
            Self::Case => "case",
        }
    }
}

/// Whether the case was given a group that is not the one of [`Case::new`].
fn has_given_group(case: &Case) -> bool {
    case.group != case.id.as_str() && !case.group.is_empty()
}

/// What a case calls its group.
fn own_name(case: &Case) -> (Kind, &str) {
    let patient = case.patient.as_deref().filter(|name| !name.is_empty());
    let lesion = case.lesion.as_deref().filter(|name| !name.is_empty());
    match (patient, lesion) {
        _ if has_given_group(case) => (Kind::Group, &case.group),
        (Some(patient), _) => (Kind::Patient, patient),
        (None, Some(lesion)) => (Kind::Lesion, lesion),
        (None, None) => (Kind::Case, case.id.as_str()),
    }
}

/// The same, as a name that shares its text.
fn shared_name(case: &Case) -> Name {
    let name = match own_name(case).0 {
        Kind::Group => Some(&case.group),
        Kind::Patient => case.patient.as_ref(),
        Kind::Lesion => case.lesion.as_ref(),
        Kind::Case => None,
    };
    name.cloned().unwrap_or_else(|| case.id.name())
}

fn conflicts_of(set: &CaseSet, shared: &[SharedImage]) -> Vec<LabelConflict> {
    let mut conflicts = Vec::new();
    for SharedImage { files } in shared {
        // By the places of the two in `files`.
        let mut pairs: BTreeMap<(usize, usize), Vec<LabelPair>> = BTreeMap::new();
        for (index, task) in set.tasks.iter().enumerate() {
            let class = |at: usize| {
                let label = set.cases[files[at].0].labels.get(index).copied().flatten()?;
                Some((at, task.classes.get(label)?))
            };
            let mut labelled = (0..files.len()).filter_map(class);
            let Some((first, ours)) = labelled.next() else { continue };
            let are_two = |second: usize| {
                let [one, other] = [first, second].map(|at| area_of(set, &files[at]));
                matches!((one, other), (Some(one), Some(other)) if one != other)
            };
            for (second, theirs) in labelled.filter(|(second, theirs)| *theirs != ours && !are_two(*second)) {
                let pair = LabelPair { task: task.name.clone(), first: ours.clone(), second: theirs.clone() };
                pairs.entry((first, second)).or_default().push(pair);
            }
        }
        conflicts.extend(pairs.into_iter().map(|((first, second), labels)| LabelConflict {
            first: set.cases[files[first].0].id.clone(),
            second: set.cases[files[second].0].id.clone(),
            files: [first, second].map(|at| file_name(&files[at].1)),
            labels,
        }));
    }
    conflicts
}

/// Where in a file the lesion of a case is.
fn area_of<'a>(set: &'a CaseSet, (row, file): &(usize, PathBuf)) -> Option<&'a LesionArea> {
    let case = &set.cases[*row];
    case.clinical.iter().chain(&case.dermoscopic).find(|image| image.path == *file)?.area()
}

fn pair_notes(image: &SharedImage) -> impl Iterator<Item = String> + '_ {
    let name = |at: usize| file_name(&image.files[at].1);
    let note = move |at| format!("{} and {} are the same image; their cases form one group", name(0), name(at));
    (1..image.files.len()).map(note)
}

fn first_few(mut notes: Vec<String>, what: &str) -> Vec<String> {
    if notes.len() > MOST_NOTES {
        let more = notes.len() - MOST_NOTES;
        notes.truncate(MOST_NOTES);
        notes.push(format!("and {more} more {what}"));
    }
    notes
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
