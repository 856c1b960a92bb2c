//! Several data sets with tasks of their own as one: what a set does not say is not annotated.

use std::collections::BTreeMap;

use dermafuse_schema::{Case, CaseId, Field, FieldKind, FieldRole, FieldValue, Name, Task, TaskSet};

use crate::{CaseSet, DataError, Leak, SOURCE_FIELD, SharedImages, Split};

/// Other names of tasks, by set and by the name that the task has there.
pub type TaskNames = BTreeMap<String, BTreeMap<String, String>>;

/// Where what is said of a set's cases stands in the joined set.
struct Places {
    /// For each task of the set: its place, and the label of each of its classes.
    tasks: Vec<(usize, Vec<usize>)>,
    /// For each field of the set: its place, and the category of each of its categories.
    fields: Vec<(usize, Vec<usize>)>,
}

impl CaseSet {
    /// Several sets as one that has the tasks of all of them, each by its name or the one that `names` gives it. A label that a
    /// set does not have is missing, and so is a field that it does not have; losses and metrics of a task are of the cases that
    /// have it. A last field, [`SOURCE_FIELD`], says which set a case comes from.
    ///
    /// The cases of the sets are mixed in equal proportion, each set in its own order, so that a half in file order has cases of
    /// all. Identities, groups, patients and lesions start with the set's name and a colon; groups are
    /// [joined](CaseSet::join_groups) anew, so that cases that share an identical image are one group, also across sets. If every
    /// set has a split, their parts are joined.
    ///
    /// ```
    /// use dermafuse_data::{CaseSet, TaskNames};
    /// use dermafuse_schema::{Case, Task, TaskSet};
    ///
    /// let set = |task: &str| -> Result<CaseSet, dermafuse_schema::SchemaError> {
    ///     let case = |n: usize| Case { labels: vec![Some(n % 2)], ..Case::new(n.to_string()) };
    ///     let tasks = TaskSet::new(vec![Task::new(task, "T", ["no", "yes"])])?;
    ///     let cases = (0..2).map(case).collect();
    ///     Ok(CaseSet { name: task.into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] })
    /// };
    /// let joined = CaseSet::joined("both", &[("a", &set("veil")?), ("b", &set("streaks")?)], &TaskNames::new())?;
    /// let labels: Vec<_> = joined.cases.iter().map(|case| (case.id.as_str(), case.labels.as_slice())).collect();
    /// assert_eq!(labels[0], ("a:0", &[Some(0), None][..]));
    /// assert_eq!(labels[1], ("b:0", &[None, Some(0)][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A task of one name with other classes in another set, a name for a task that its set does not have, one name for two tasks
    /// of a set; groups on both sides of the joined split.
    pub fn joined(name: &str, sets: &[(&str, &Self)], names: &TaskNames) -> Result<Self, DataError> {
        let (tasks, mut places) = united_tasks(sets, names)?;
        let (mut fields, beside) = united_fields(sets, &mut places);
        fields.push(Field::categorical(SOURCE_FIELD, FieldRole::Provenance, sets.iter().map(|(name, _)| *name)));
        // In equal proportion: the k-th of n cases stands at (2k + 1) / 2n of the whole.
        let mut order: Vec<(usize, usize)> =
            sets.iter().enumerate().flat_map(|(at, (_, set))| (0..set.len()).map(move |row| (at, row))).collect();
        let share = |&(at, row): &(usize, usize)| ((2 * row + 1) as u128, sets[at].1.len() as u128);
        order.sort_by(|one, other| {
            let ((place, length), (other_place, other_length)) = (share(one), share(other));
            (place * other_length).cmp(&(other_place * length)).then(one.0.cmp(&other.0))
        });
        let mut rows: Vec<Vec<usize>> = sets.iter().map(|(_, set)| vec![0; set.len()]).collect();
        let mut cases = Vec::with_capacity(order.len());
        for (at, row) in order {
            rows[at][row] = cases.len();
            cases.push(placed(at, sets[at].0, &sets[at].1.cases[row], &places[at], tasks.len(), fields.len()));
        }
        let mut notes = beside;
        for (name, set) in sets {
            notes.push(format!("{name}: {} cases of {}", set.len(), set.name));
            notes.extend(set.notes.iter().map(|note| format!("{name}: {note}")));
        }
        let mut joined = Self {
            name: name.to_owned(),
            synthetic: sets.iter().any(|(_, set)| set.synthetic),
            tasks: TaskSet::new(tasks)?,
            fields,
            cases,
            split: joined_split(sets, &rows)?,
            notes,
        };
        joined.join_groups(SharedImages::Join);
        joined.check()?;
        Ok(joined)
    }
}

/// The tasks of all sets, and where each set's are.
fn united_tasks(sets: &[(&str, &CaseSet)], names: &TaskNames) -> Result<(Vec<Task>, Vec<Places>), DataError> {
    let mut tasks: Vec<(&str, Task)> = Vec::new();
    let mut places = Vec::new();
    for (name, set) in sets {
        let none = BTreeMap::new();
        let own = names.get(*name).unwrap_or(&none);
        if let Some(unknown) = own.keys().find(|task| set.tasks.index_of(task).is_none()) {
            let known: Vec<&str> = set.tasks.iter().map(|task| task.name.as_str()).collect();
            return Err(DataError::JoinedTask { set: (*name).into(), task: unknown.clone(), known: known.join(", ") });
        }
        let mut of_set: Vec<(usize, Vec<usize>)> = Vec::new();
        for task in &set.tasks {
            let called = own.get(&task.name).unwrap_or(&task.name);
            let place = match tasks.iter().position(|(_, other)| other.name == *called) {
                Some(place) => place,
                None => {
                    // Where two tasks of a joined set had one heading, no table could tell them apart.
                    let taken = tasks.iter().any(|(_, other)| other.label == task.label);
                    let label = if taken { format!("{} ({name})", task.label) } else { task.label.clone() };
                    tasks.push((name, Task { name: called.clone(), label, ..task.clone() }));
                    tasks.len() - 1
                }
            };
            // The labels of one would be lost.
            if let Some(earlier) = of_set.iter().position(|(other, _)| *other == place) {
                let (one, other) = (&set.tasks[earlier].name, &task.name);
                return Err(DataError::Setting {
                    what: "tasks",
                    found: format!("`{called}` for both `{one}` and `{other}` of set `{name}`"),
                    expected: "possible: each task of a set has a name of its own; give one of them another",
                });
            }
            let (first, joined) = &tasks[place];
            let labels: Option<Vec<usize>> = task.classes.iter().map(|class| joined.index_of(class)).collect();
            let Some(labels) = labels.filter(|labels| labels.len() == joined.classes.len()) else {
                return Err(DataError::JoinedSets {
                    what: format!("task `{called}`"),
                    first: format!("`{first}` ({})", joined.classes.join(", ")),
                    second: format!("`{name}` ({})", task.classes.join(", ")),
                    remedy: "map its classes (`merged`), or give it another name (`tasks`)",
                });
            };
            of_set.push((place, labels));
        }
        places.push(Places { tasks: of_set, fields: Vec::new() });
    }
    Ok((tasks.into_iter().map(|(_, task)| task).collect(), places))
}

/// The fields of all sets, and what is to be said of them; where each set's are is added to its places. A field of one name that
/// another set declares otherwise stands beside it, with the set's name before its own.
fn united_fields(sets: &[(&str, &CaseSet)], places: &mut [Places]) -> (Vec<Field>, Vec<String>) {
    let mut fields: Vec<(&str, Field)> = Vec::new();
    let mut notes = Vec::new();
    for ((name, set), places) in sets.iter().zip(places) {
        for field in &set.fields {
            let called = match field.name == SOURCE_FIELD {
                true => format!("{name}:{SOURCE_FIELD}"),
                false => field.name.clone(),
            };
            let named = fields.iter().position(|(_, other)| other.name == called);
            let joined = named.and_then(|place| Some((place, matched_categories(&fields[place].1, field)?)));
            let place = joined.unwrap_or_else(|| {
                let called = match named {
                    None => called,
                    Some(place) => {
                        let (first, other) = &fields[place];
                        let (here, there) = (declaration(field), declaration(other));
                        let beside = format!("{name}:{called}");
                        notes.push(format!(
                            "field `{called}` is another in `{name}` ({here}) than in `{first}` ({there}), so it stands beside it as \
                             `{beside}`; describe one of the sets in a file with the same categories to join them"
                        ));
                        beside
                    }
                };
                fields.push((name, Field { name: called, ..field.clone() }));
                (fields.len() - 1, (0..categories_of(field)).collect())
            });
            places.fields.push(place);
        }
    }
    (fields.into_iter().map(|(_, field)| field).collect(), notes)
}

fn categories_of(field: &Field) -> usize {
    match &field.kind {
        FieldKind::Numeric => 0,
        FieldKind::Categorical { categories } => categories.len(),
    }
}

/// Where each category of a field is among those of another of one declaration, whatever their order; `None` if the declarations
/// differ.
fn matched_categories(joined: &Field, field: &Field) -> Option<Vec<usize>> {
    match (&joined.kind, &field.kind) {
        _ if joined.role != field.role => None,
        (FieldKind::Numeric, FieldKind::Numeric) => Some(Vec::new()),
        (FieldKind::Categorical { categories }, FieldKind::Categorical { categories: own }) => {
            let places = own.iter().map(|own| categories.iter().position(|category| category == own));
            places.collect::<Option<Vec<usize>>>().filter(|places| places.len() == categories.len())
        }
        (FieldKind::Numeric, FieldKind::Categorical { .. }) | (FieldKind::Categorical { .. }, FieldKind::Numeric) => {
            None
        }
    }
}

fn declaration(field: &Field) -> String {
    let role = field.role;
    match &field.kind {
        FieldKind::Numeric => format!("{role}, a number"),
        FieldKind::Categorical { categories } => format!("{role}, {}", categories.join(", ")),
    }
}

/// A case as it stands in the joined set.
fn placed(at: usize, name: &str, case: &Case, places: &Places, tasks: usize, fields: usize) -> Case {
    let mut labels = vec![None; tasks];
    for ((place, of_classes), label) in places.tasks.iter().zip(&case.labels) {
        labels[*place] = label.and_then(|label| of_classes.get(label).copied());
    }
    let mut metadata = vec![FieldValue::Missing; fields];
    for ((place, categories), value) in places.fields.iter().zip(&case.metadata) {
        metadata[*place] = match *value {
            FieldValue::Category(category) => {
                categories.get(category).map_or(FieldValue::Missing, |&category| FieldValue::Category(category))
            }
            value => value,
        };
    }
    metadata[fields - 1] = FieldValue::Category(at);
    let prefixed = |text: &str| Name::from(format!("{name}:{text}"));
    Case {
        id: CaseId::from(format!("{name}:{}", case.id)),
        group: prefixed(&case.group),
        patient: case.patient.as_deref().map(prefixed),
        lesion: case.lesion.as_deref().map(prefixed),
        clinical: case.clinical.clone(),
        dermoscopic: case.dermoscopic.clone(),
        metadata,
        labels,
    }
}

/// The parts of all sets together, if each has some.
fn joined_split(sets: &[(&str, &CaseSet)], rows: &[Vec<usize>]) -> Result<Option<Split>, DataError> {
    let mut parts = [const { Vec::new() }; 3];
    for ((_, set), rows) in sets.iter().zip(rows) {
        let Some(split) = &set.split else { return Ok(None) };
        for (part, of_set) in parts.iter_mut().zip([&split.train, &split.valid, &split.test]) {
            part.extend(of_set.iter().filter_map(|&row| rows.get(row).copied()));
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    let [train, valid, test] = parts;
    let cases = rows.iter().map(Vec::len).sum();
    let joined = match sets.iter().filter_map(|(_, set)| set.split.as_ref()).all(|split| split.valid.is_empty()) {
        true => Split::without_validation(train, test, cases)?,
        false => Split::new(train, valid, test, cases)?,
    };
    let crosses = |split: &Split| split.leaks().contains(&Leak::GroupsCross);
    let crossing = sets.iter().filter_map(|(_, set)| set.split.as_ref()).any(crosses);
    Ok(Some(if crossing { joined.with_groups_crossing() } else { joined }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tasks: Vec<Task>, fields: Vec<Field>, cases: Vec<(Vec<Option<usize>>, Vec<FieldValue>)>) -> CaseSet {
        let case = |(row, (labels, metadata)): (usize, (Vec<_>, Vec<_>))| Case {
            labels,
            metadata,
            ..Case::new(row.to_string())
        };
        let cases = cases.into_iter().enumerate().map(case).collect();
        let tasks = TaskSet::new(tasks).unwrap();
        CaseSet { name: "s".into(), synthetic: false, tasks, fields, cases, split: None, notes: vec!["odd".into()] }
    }

    fn sex(categories: [&str; 2]) -> Field {
        Field::categorical("sex", FieldRole::PreDiagnosis, categories)
    }

    fn two() -> (CaseSet, CaseSet) {
        let (category, number) = (FieldValue::Category, FieldValue::Number);
        let first = set(
            vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"]), Task::new("veil", "BWV", ["no", "yes"])],
            vec![sex(["female", "male"])],
            vec![(vec![Some(1), None], vec![category(1)]); 4],
        );
        let age = Field::numeric("age", FieldRole::PreDiagnosis);
        let second = set(
            vec![Task::new("diagnosis", "DIAG", ["MEL", "NEV"])],
            vec![age, sex(["male", "female"])],
            vec![(vec![Some(1)], vec![number(9.0), category(1)]); 2],
        );
        (first, second)
    }

    #[test]
    fn tasks_and_fields_meet_by_name_and_what_a_set_does_not_say_is_missing() {
        let (mut first, mut second) = two();
        first.split = Some(Split::new(vec![0, 1], vec![2], vec![3], 4).unwrap());
        let joined = CaseSet::joined("both", &[("a", &first), ("b", &second)], &TaskNames::new()).unwrap();
        let ids: Vec<&str> = joined.cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids, ["a:0", "b:0", "a:1", "a:2", "b:1", "a:3"], "mixed in equal proportion");
        assert_eq!(joined.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["diagnosis", "veil"]);
        assert_eq!((&joined.cases[0].labels, &joined.cases[1].labels), (&vec![Some(1), None], &vec![Some(0), None]));
        let names: Vec<&str> = joined.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["sex", "age", SOURCE_FIELD]);
        let (category, missing) = (FieldValue::Category, FieldValue::Missing);
        assert_eq!(joined.cases[0].metadata, [category(1), missing, category(0)]);
        assert_eq!(joined.cases[1].metadata, [category(0), FieldValue::Number(9.0), category(1)]);
        assert_eq!(joined.notes, ["a: 4 cases of s", "a: odd", "b: 2 cases of s", "b: odd"]);
        assert_eq!(joined.split, None, "one of the sets has none");

        second.cases.push(Case { id: "2".into(), group: "2".into(), ..second.cases[0].clone() });
        second.split = Some(Split::new(vec![0], vec![1], vec![2], 3).unwrap());
        let joined = CaseSet::joined("both", &[("a", &first), ("b", &second)], &TaskNames::new()).unwrap();
        let split = joined.split.unwrap();
        let of = |rows: &[usize]| rows.iter().map(|&row| joined.cases[row].id.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (of(&split.train), of(&split.test)),
            (vec!["a:0".into(), "b:0".into(), "a:1".into()], vec!["b:2".into(), "a:3".into()])
        );
    }

    #[test]
    fn what_does_not_fit_names_both_sets_and_may_have_another_name() {
        let (first, mut second) = two();
        let other = Task::new("diagnosis", "DIAG", ["MEL", "BCC"]);
        second.tasks = TaskSet::new(vec![other]).unwrap();
        let join =
            |second: &CaseSet, names: &TaskNames| CaseSet::joined("both", &[("a", &first), ("b", second)], names);
        assert_eq!(
            join(&second, &TaskNames::new()).unwrap_err().to_string(),
            "task `diagnosis` is another in `b` (MEL, BCC) than in `a` (NEV, MEL); map its classes (`merged`), or give it another \
             name (`tasks`)"
        );
        let named = |task: &str| TaskNames::from([("b".into(), BTreeMap::from([(task.into(), "kind".into())]))]);
        let joined = join(&second, &named("diagnosis")).unwrap();
        assert_eq!((joined.tasks[2].name.as_str(), joined.tasks[2].label.as_str()), ("kind", "DIAG (b)"));
        assert_eq!(joined.cases[1].labels, [None, None, Some(1)]);
        assert_eq!(
            join(&second, &named("veil")).unwrap_err().to_string(),
            "set `b` has no task `veil` that could be called otherwise; its tasks are diagnosis"
        );
        let twice = TaskNames::from([("a".into(), BTreeMap::from([("veil".into(), "diagnosis".into())]))]);
        assert_eq!(
            join(&second, &twice).unwrap_err().to_string(),
            "tasks: `diagnosis` for both `diagnosis` and `veil` of set `a` is not possible: each task of a set has a name of its \
             own; give one of them another"
        );
        let exchanged = BTreeMap::from([("veil".into(), "diagnosis".into()), ("diagnosis".into(), "veil".into())]);
        let error = join(&second, &TaskNames::from([("a".into(), exchanged)])).unwrap_err().to_string();
        assert!(error.starts_with("task `diagnosis` is another in `b` (MEL, BCC) than in `a` (no, yes)"), "{error}");

        let (_, mut second) = two();
        second.fields[1].role = FieldRole::PostDiagnosis;
        let joined = join(&second, &TaskNames::new()).unwrap();
        assert!(joined.fields.iter().any(|field| field.name == "b:sex" && field.role == FieldRole::PostDiagnosis));
        let note = "field `sex` is another in `b` (post_diagnosis, male, female) than in `a` (pre_diagnosis, female, male), so it";
        assert!(joined.notes.iter().any(|text| text.starts_with(note)), "{:?}", joined.notes);
    }
}
