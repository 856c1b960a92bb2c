//! Groups: the cases that no split may part, because they share a patient, a lesion or an image.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use dermafuse_schema::{Case, CaseId, Name};

use crate::CaseSet;
use crate::identical_images::{SharedImage, identical_images};
use crate::name_set::NameSet;

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
        rows.join_equal(self.cases.iter().map(|case| &case.group));
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
        let names = rows.names(&self.cases);
        self.cases.iter_mut().zip(names).for_each(|(case, name)| case.group = name);
    }

    /// The images that stand under two labels: pairs of cases that share an identical file and are labelled otherwise for a
    /// task. Each case is held against the first that has the image and a label for it. Looks into the files anew.
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
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (row, name) in names.enumerate() {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                self.join(*first.entry(name).or_insert(row), row);
            }
        }
    }

    /// Joins the rows that have the same name.
    pub(crate) fn join_equal<'n>(&mut self, names: impl Iterator<Item = &'n Name>) {
        self.join_named(names.map(Some));
    }

    /// The name of each row's group.
    fn names(&mut self, cases: &[Case]) -> Vec<Name> {
        let roots: Vec<usize> = (0..cases.len()).map(|row| self.root(row)).collect();
        let mut smallest: Vec<(Kind, Name)> = cases.iter().map(own_name).collect();
        for (row, &root) in roots.iter().enumerate() {
            if smallest[row] < smallest[root] {
                smallest[root] = smallest[row].clone();
            }
        }
        let mut order: Vec<usize> = (0..cases.len()).filter(|&row| roots[row] == row).collect();
        order.sort_unstable_by(|&one, &other| smallest[one].cmp(&smallest[other]));
        let mut names: Vec<Name> = smallest.iter().map(|(_, name)| name.clone()).collect();
        let mut taken: NameSet<Name> = NameSet::default();
        // Of one kind, those whose name is free come first: so it does not matter which others look for another.
        for of_a_kind in order.chunk_by(|&one, &other| smallest[one].0 == smallest[other].0) {
            let met: Vec<usize> =
                of_a_kind.iter().copied().filter(|&root| !taken.insert(names[root].clone())).collect();
            for root in met {
                while !taken.insert(names[root].clone()) {
                    names[root] = Name::from(format!("{}:{}", smallest[root].0.word(), names[root]));
                }
            }
        }
        roots.into_iter().map(|root| names[root].clone()).collect()
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
    fn word(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Patient => "patient",
            Self::Lesion => "lesion",
            Self::Case => "case",
        }
    }
}

/// The name that a case brings to its group. The group that [`Case::new`] gives is none.
fn own_name(case: &Case) -> (Kind, Name) {
    let given = |name: &Option<Name>| name.clone().filter(|name| !name.is_empty());
    if case.group != case.id.as_str() && !case.group.is_empty() {
        return (Kind::Group, case.group.clone());
    }
    if let Some(patient) = given(&case.patient) {
        return (Kind::Patient, patient);
    }
    given(&case.lesion).map_or_else(|| (Kind::Case, case.id.name()), |lesion| (Kind::Lesion, lesion))
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
            for (second, theirs) in labelled.filter(|(_, theirs)| *theirs != ours) {
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
