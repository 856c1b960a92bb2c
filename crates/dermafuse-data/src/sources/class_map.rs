//! Several data sets as one, in the classes of a file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use dermafuse_schema::{Case, CaseId, ClassSums, Field, FieldRole, FieldValue, Name, Task, TaskSet};
use serde::Deserialize;
use toml::Spanned;

use crate::tables::declaration::Declaration;
use crate::{CaseSet, DataError, SharedImages, Split};

/// The field of a merged set that says which set a case comes from.
pub const SOURCE_FIELD: &str = "source_set";

/// Which classes of several data sets are one class, read from a TOML file.
///
/// ```
/// use dermafuse_data::{CaseSet, ClassMap, SOURCE_FIELD};
/// use dermafuse_schema::{Case, Task, TaskSet};
///
/// let map = ClassMap::parse("two.toml", r#"
///     name = "two-clinics"
///     [[classes]]
///     name = "nevus"
///     from = { north = ["NEV", "blue nevus"], south = ["naevus"] }
///     [[classes]]
///     name = "melanoma"
///     from = { north = ["MEL"], south = ["melanoma"] }
///     [drop]
///     south = ["scar"]
/// "#)?;
/// let set = |name: &str, classes: [&str; 3]| -> Result<CaseSet, dermafuse_schema::SchemaError> {
///     let case = |n: usize| Case { labels: vec![Some(n % 3)], ..Case::new(n.to_string()) };
///     let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes)])?;
///     let cases = (0..6).map(case).collect();
///     Ok(CaseSet { name: name.into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] })
/// };
/// let (north, south) = (set("a", ["NEV", "blue nevus", "MEL"])?, set("b", ["naevus", "melanoma", "scar"])?);
/// let merged = map.merge(&[("north", &north), ("south", &south)])?;
/// assert_eq!(merged.tasks[0].classes, ["nevus", "melanoma"]);
/// assert_eq!(merged.whole().class_counts(0)?, [6, 4]);
/// assert_eq!((merged.cases[6].id.as_str(), merged.cases[6].group.as_str()), ("south:0", "south:0"));
/// assert_eq!(merged.fields[0].name, SOURCE_FIELD);
/// assert_eq!(merged.notes, ["south: 2 cases of `scar` are dropped"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassMap {
    declaration: Declaration,
    file: MapFile,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapFile {
    name: String,
    #[serde(default = "diagnosis")]
    task: String,
    classes: Vec<TargetClass>,
    #[serde(default)]
    drop: Sources,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetClass {
    name: Spanned<String>,
    from: Sources,
    /// The classes of a model that are this one.
    #[serde(default)]
    model: Vec<Spanned<String>>,
}

/// Labels by the name of their set.
type Sources = BTreeMap<Spanned<String>, Vec<Spanned<String>>>;

fn diagnosis() -> String {
    "diagnosis".into()
}

/// The map as it is used: set and label → class, `None` to drop.
type Targets<'a> = HashMap<(&'a str, &'a str), Option<usize>>;

impl ClassMap {
    /// Reads a class map.
    ///
    /// # Errors
    /// A file that cannot be read; what [`ClassMap::parse`] refuses.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, DataError> {
        let (declaration, file) = Declaration::read(file.as_ref())?;
        Self { declaration, file }.checked()
    }

    /// Takes a class map from memory; `file` is the name for its errors.
    ///
    /// # Errors
    /// Something else than a class map; fewer than two classes; a class twice; a label of a set that is mapped or dropped
    /// twice. Each with line and column.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, DataError> {
        let (declaration, file) = Declaration::parse(file.as_ref(), text.into())?;
        Self { declaration, file }.checked()
    }

    /// The published merging of DermAI, EDRA and Dermofit (names `dermai`, `edra`, `dermofit`) to the 13 classes of
    /// DermAI; the file is `class-maps/dermai-edra-dermofit.toml` of this crate.
    ///
    /// # Panics
    /// Never: the file is tested.
    #[must_use]
    pub fn dermai_edra_dermofit() -> Self {
        let text = include_str!("../../class-maps/dermai-edra-dermofit.toml");
        Self::parse("dermai-edra-dermofit.toml", text).expect("the file is tested")
    }

    /// The diagnoses of EDRA (name `edra`) as they are written, in the five groups that papers train on; the file is
    /// `class-maps/edra-groups.toml` of this crate.
    ///
    /// # Panics
    /// Never: the file is tested.
    #[must_use]
    pub fn edra_groups() -> Self {
        let text = include_str!("../../class-maps/edra-groups.toml");
        Self::parse("edra-groups.toml", text).expect("the file is tested")
    }

    fn checked(self) -> Result<Self, DataError> {
        let mut names: Vec<&str> = Vec::new();
        for class in &self.file.classes {
            if names.contains(&class.name.get_ref().as_str()) {
                let expected = "a name that no other class has";
                return Err(self.declaration.error(class.name.span(), "class", class.name.get_ref(), expected));
            }
            names.push(class.name.get_ref());
        }
        TaskSet::new(vec![Task::new(&self.file.task, "DIAG", names)])?;
        let mut seen: Targets<'_> = HashMap::new();
        for (set, label, class) in self.labels() {
            if seen.insert((set.get_ref(), label.get_ref()), class).is_some() {
                let expected = format!("to be named once; `{}` has it in two places", set.get_ref());
                return Err(self.declaration.error(label.span(), "label", label.get_ref(), expected));
            }
        }
        Ok(self)
    }

    /// The name of the merged set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The classes of the merged set, in order.
    #[must_use]
    pub fn classes(&self) -> Vec<&str> {
        self.file.classes.iter().map(|class| class.name.get_ref().as_str()).collect()
    }

    /// The names of the sets that it speaks of, in alphabetical order.
    #[must_use]
    pub fn sets(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.labels().map(|(set, _, _)| set.get_ref().as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// How the classes of a model are added up to those of the map, where the map says so (`model = ["MEL", "BCC"]` of a
    /// class); `None` where the model's classes are those of the map.
    ///
    /// # Errors
    /// A model without the task; a class that it does not have, and one of its classes that is in no class of the map or in two: with
    /// line and column of the map where they are named.
    pub fn sums(&self, tasks: &TaskSet) -> Result<Option<ClassSums>, DataError> {
        let named = || self.file.classes.iter().flat_map(|class| &class.model);
        let Some(first) = named().next() else { return Ok(None) };
        let Some(task) = tasks.index_of(&self.file.task) else {
            let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            let expected = format!("classes of a task of the model; it has {}", names.join(", "));
            return Err(self.declaration.error(first.span(), "task", &self.file.task, expected));
        };
        let fine = &tasks[task];
        if let Some(unknown) = named().find(|class| fine.index_of(class.get_ref()).is_none()) {
            let expected = format!("a class of the model: {}", fine.classes.join(", "));
            return Err(self.declaration.error(unknown.span(), "class", unknown.get_ref(), expected));
        }
        let parts = self.file.classes.iter().map(|class| {
            let model = class.model.iter().map(|name| name.get_ref().as_str()).collect();
            (class.name.get_ref().as_str(), model)
        });
        let coarse = Task::new(&self.file.task, &fine.label, self.classes());
        Ok(Some(ClassSums::new(fine, coarse, &parts.collect::<Vec<_>>())?))
    }

    /// Every set and label that is named, and its class.
    fn labels(&self) -> impl Iterator<Item = (&Spanned<String>, &Spanned<String>, Option<usize>)> {
        let classes = self.file.classes.iter().enumerate().map(|(class, target)| (Some(class), &target.from));
        classes.chain([(None, &self.file.drop)]).flat_map(|(class, sources)| {
            sources.iter().flat_map(move |(set, labels)| labels.iter().map(move |label| (set, label, class)))
        })
    }

    /// The sets as one: each set by the name that the map knows it by, with its first task.
    ///
    /// Identities, groups, patients and lesions start with the set's name and a colon, so that they cannot meet by chance;
    /// groups are [joined](CaseSet::join_groups) anew, so that cases that share an identical image are one group, also across sets. Metadata fields are united: one of the same
    /// name and kind is one field, one of the same name and another kind is called `set:name`; a last field, [`SOURCE_FIELD`]
    /// of role [`Provenance`](FieldRole::Provenance), says which set a case comes from. Where sets have a split, it is kept
    /// and all cases of the others are in the training part.
    ///
    /// Labels that the map neither places nor drops are left out, and counted in the notes of the merged set; so are
    /// those that are dropped.
    ///
    /// # Errors
    /// A set that the map speaks of and is not given, or the reverse; a label that the set does not have; a class that gets
    /// no case: all before anything is merged, with line and column of the map. Identical images on both
    /// sides of a split.
    pub fn merge(&self, sets: &[(&str, &CaseSet)]) -> Result<CaseSet, DataError> {
        let targets = self.check_against(sets)?;
        let (fields, places, mut notes) = unite_fields(sets);
        let mut cases = Vec::new();
        let mut parts = [const { Vec::new() }; 3];
        let has_split = sets.iter().any(|(_, set)| set.split.is_some());
        for (at, (name, set)) in sets.iter().enumerate() {
            let part_of = parts_of(set);
            let mut counts = SourceCounts::default();
            for (row, case) in set.cases.iter().enumerate() {
                let label = case.labels.first().copied().flatten();
                let Some(label) = label.and_then(|label| set.tasks[0].classes.get(label)) else {
                    counts.unlabelled += 1;
                    continue;
                };
                let Some(Some(class)) = targets.get(&(*name, label.as_str())) else {
                    counts.left_out(label, targets.contains_key(&(*name, label.as_str())));
                    continue;
                };
                if let Some(part) = part_of[row] {
                    parts[part].push(cases.len());
                }
                let mut metadata = vec![FieldValue::Missing; fields.len()];
                places[at].iter().zip(&case.metadata).for_each(|(&place, value)| metadata[place] = *value);
                if let Some(source) = metadata.last_mut() {
                    *source = FieldValue::Category(at);
                }
                let prefixed = |text: &str| Name::from(format!("{name}:{text}"));
                cases.push(Case {
                    id: CaseId::from(format!("{name}:{}", case.id)),
                    group: prefixed(&case.group),
                    patient: case.patient.as_deref().map(prefixed),
                    lesion: case.lesion.as_deref().map(prefixed),
                    clinical: case.clinical.clone(),
                    dermoscopic: case.dermoscopic.clone(),
                    metadata,
                    labels: vec![Some(*class)],
                });
            }
            notes.extend(counts.notes(name));
        }
        let [train, valid, test] = parts;
        let mut splits = sets.iter().filter_map(|(_, set)| set.split.as_ref());
        let split = match splits.all(|split| split.valid.is_empty()) {
            _ if !has_split => None,
            true => Some(Split::without_validation(train, test, cases.len())?),
            false => Some(Split::new(train, valid, test, cases.len())?),
        };
        let mut set = CaseSet {
            name: self.file.name.clone(),
            synthetic: sets.iter().any(|(_, set)| set.synthetic),
            tasks: TaskSet::new(vec![Task::new(&self.file.task, "DIAG", self.classes())])?,
            fields,
            cases,
            split,
            notes,
        };
        set.join_groups(SharedImages::Join);
        set.check()?;
        Ok(set)
    }

    /// Refuses sets that do not fit the map; gives the map.
    fn check_against(&self, sets: &[(&str, &CaseSet)]) -> Result<Targets<'_>, DataError> {
        let names: Vec<&str> = sets.iter().map(|(name, _)| *name).collect();
        let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name);
        let idle = names.iter().find(|name| !self.sets().contains(name)).copied();
        if let Some(name) = twice.or(idle) {
            let expected = "one of the sets of the class map, each once";
            return Err(DataError::Setting { what: "set to be merged", found: name.into(), expected });
        }
        let mut targets = HashMap::new();
        let mut counts = vec![0; self.file.classes.len()];
        for (source, label, class) in self.labels() {
            let Some((_, set)) = sets.iter().find(|(name, _)| name == source.get_ref()) else {
                let expected = format!("one of the sets that are merged: {}", names.join(", "));
                return Err(self.declaration.error(source.span(), "set", source.get_ref(), expected));
            };
            let Some(index) = set.tasks[0].index_of(label.get_ref()) else {
                let expected = format!("a class of `{}`: {}", source.get_ref(), set.tasks[0].classes.join(", "));
                return Err(self.declaration.error(label.span(), "label", label.get_ref(), expected));
            };
            if let Some(class) = class {
                counts[class] += set.cases.iter().filter(|case| case.labels.first() == Some(&Some(index))).count();
            }
            targets.insert((source.get_ref().as_str(), label.get_ref().as_str()), class);
        }
        match counts.iter().position(|&count| count == 0) {
            None => Ok(targets),
            Some(class) => {
                let name = &self.file.classes[class].name;
                let expected = "at least one case in the sets that are merged";
                Err(self.declaration.error(name.span(), "class", name.get_ref(), expected))
            }
        }
    }
}

/// The fields of all sets and, for each set, where its fields are among them; the source comes last.
fn unite_fields(sets: &[(&str, &CaseSet)]) -> (Vec<Field>, Vec<Vec<usize>>, Vec<String>) {
    let mut fields: Vec<Field> = Vec::new();
    let mut places = Vec::new();
    let mut notes = Vec::new();
    for (name, set) in sets {
        let mut of_set = Vec::new();
        for field in &set.fields {
            let mut field = field.clone();
            let taken = |field: &Field| {
                let other = fields.iter().find(|other| other.name == field.name);
                field.name == SOURCE_FIELD || other.is_some_and(|other| other != field)
            };
            if taken(&field) {
                let renamed = format!("{name}:{}", field.name);
                notes.push(format!(
                    "field `{}` of {name} is another one than elsewhere: called `{renamed}`",
                    field.name
                ));
                field.name = renamed;
            }
            let place = fields.iter().position(|other| *other == field).unwrap_or_else(|| {
                fields.push(field);
                fields.len() - 1
            });
            of_set.push(place);
        }
        places.push(of_set);
    }
    fields.push(Field::categorical(SOURCE_FIELD, FieldRole::Provenance, sets.iter().map(|(name, _)| *name)));
    (fields, places, notes)
}

/// The part of each case: that of the set's split, or training.
fn parts_of(set: &CaseSet) -> Vec<Option<usize>> {
    let Some(split) = &set.split else { return vec![Some(0); set.len()] };
    let mut parts = vec![None; set.len()];
    for (part, rows) in [&split.train, &split.valid, &split.test].into_iter().enumerate() {
        rows.iter().filter(|&&row| row < set.len()).for_each(|&row| parts[row] = Some(part));
    }
    parts
}

/// What of a set is not in the merged one.
#[derive(Default)]
struct SourceCounts<'a> {
    dropped: BTreeMap<&'a str, usize>,
    unmapped: BTreeMap<&'a str, usize>,
    unlabelled: usize,
}

impl<'a> SourceCounts<'a> {
    fn left_out(&mut self, label: &'a str, on_purpose: bool) {
        let counts = if on_purpose { &mut self.dropped } else { &mut self.unmapped };
        *counts.entry(label).or_default() += 1;
    }

    fn notes(&self, name: &str) -> Vec<String> {
        let dropped = self.dropped.iter();
        let mut notes: Vec<String> =
            dropped.map(|(label, count)| format!("{name}: {count} cases of `{label}` are dropped")).collect();
        notes.extend(self.unmapped.iter().map(|(label, count)| {
            format!("{name}: {count} cases of `{label}` are in no class of the map and left out")
        }));
        if self.unlabelled > 0 {
            notes.push(format!("{name}: {} cases without a label are left out", self.unlabelled));
        }
        notes
    }
}
