use std::borrow::Cow;

use dermafuse_data::CaseSet;
use dermafuse_schema::{Case, TaskSet};

use crate::InferError;

/// A set with the model's tasks: its own, found by name, with labels numbered as the model numbers its classes. A set may
/// lack some of the model's tasks, whose labels are then missing, and classes, and list them in another order.
///
/// # Errors
/// A task that the model does not have; a class that it does not have.
pub(crate) fn in_model_tasks<'a>(set: &'a CaseSet, tasks: &TaskSet) -> Result<Cow<'a, CaseSet>, InferError> {
    if set.tasks == *tasks {
        return Ok(Cow::Borrowed(set));
    }
    let refused = || {
        let names =
            |tasks: &TaskSet| tasks.iter().map(|task| format!("{} ({})", task.name, task.classes.join(", "))).collect();
        InferError::Tasks { expected: names(tasks), found: names(&set.tasks) }
    };
    if set.tasks.iter().any(|task| tasks.index_of(&task.name).is_none()) {
        return Err(refused());
    }
    // For each of the model's tasks that the set has: its place there, and the model's label of each of the set's classes.
    let mut places: Vec<Option<(usize, Vec<usize>)>> = Vec::with_capacity(tasks.len());
    for task in tasks {
        let Some(place) = set.tasks.index_of(&task.name) else {
            places.push(None);
            continue;
        };
        let labels = set.tasks[place].classes.iter().map(|class| {
            task.index_of(class).ok_or_else(|| InferError::UnknownClass {
                task: task.name.clone(),
                class: class.clone(),
                known: task.classes.clone(),
            })
        });
        places.push(Some((place, labels.collect::<Result<_, _>>()?)));
    }
    let renumbered = |case: &Case| {
        let labels = places.iter().map(|found| {
            let (place, labels) = found.as_ref()?;
            case.labels.get(*place)?.and_then(|label| labels.get(label).copied())
        });
        Case { labels: labels.collect(), ..case.clone() }
    };
    Ok(Cow::Owned(CaseSet {
        name: set.name.clone(),
        synthetic: set.synthetic,
        tasks: tasks.clone(),
        fields: set.fields.clone(),
        cases: set.cases.iter().map(renumbered).collect(),
        split: set.split.clone(),
        notes: set.notes.clone(),
    }))
}

/// What must be said where a set lacks classes that the model has: their numbers are undefined.
pub(crate) fn absent_classes(set: &CaseSet, tasks: &TaskSet) -> Vec<String> {
    let absent = |task: &dermafuse_schema::Task| {
        let Some(place) = set.tasks.index_of(&task.name) else {
            return Some(format!(
                "The set has no task `{}`: its numbers are undefined and left out of means.",
                task.name
            ));
        };
        let here = &set.tasks[place];
        let lacking: Vec<&str> =
            task.classes.iter().filter(|class| here.index_of(class).is_none()).map(String::as_str).collect();
        (!lacking.is_empty()).then(|| {
            format!(
                "The set has no class {} of task `{}`: numbers of {} are undefined and left out of means.",
                lacking.join(", "),
                task.name,
                if lacking.len() == 1 { "it" } else { "them" }
            )
        })
    };
    tasks.iter().filter_map(absent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Task;

    fn set(tasks: Vec<Task>, labels: &[&[Option<usize>]]) -> CaseSet {
        let case =
            |(row, labels): (usize, &&[Option<usize>])| Case { labels: labels.to_vec(), ..Case::new(row.to_string()) };
        CaseSet {
            name: "set".into(),
            synthetic: false,
            tasks: TaskSet::new(tasks).unwrap(),
            fields: vec![],
            cases: labels.iter().enumerate().map(case).collect(),
            split: None,
            notes: vec![],
        }
    }

    #[test]
    fn labels_follow_the_names_of_classes() {
        let tasks =
            TaskSet::new(vec![Task::new("d", "D", ["a", "b", "c"]), Task::new("s", "S", ["no", "yes"])]).unwrap();
        let theirs = vec![Task::new("s", "S", ["yes", "no"]), Task::new("d", "D", ["c", "a"])];
        let set = set(theirs, &[&[Some(0), Some(0)], &[Some(1), Some(1)], &[None, None]]);
        let ours = in_model_tasks(&set, &tasks).unwrap();
        let labels: Vec<_> = ours.cases.iter().map(|case| case.labels.clone()).collect();
        assert_eq!(labels, [vec![Some(2), Some(1)], vec![Some(0), Some(0)], vec![None, None]]);
        assert_eq!(ours.tasks, tasks);
        assert_eq!(
            absent_classes(&set, &tasks),
            ["The set has no class b of task `d`: numbers of it are undefined and left out of means."]
        );
        assert!(matches!(in_model_tasks(&ours, &tasks).unwrap(), Cow::Borrowed(_)));

        let one = self::set(vec![Task::new("s", "S", ["no", "yes"])], &[&[Some(1)]]);
        assert_eq!(in_model_tasks(&one, &tasks).unwrap().cases[0].labels, [None, Some(1)]);
        assert_eq!(
            absent_classes(&one, &tasks),
            ["The set has no task `d`: its numbers are undefined and left out of means."]
        );
    }

    #[test]
    fn classes_and_tasks_that_the_model_does_not_have_are_named() {
        let tasks = TaskSet::new(vec![Task::new("d", "D", ["a", "b"])]).unwrap();
        let error = |theirs: Task| in_model_tasks(&set(vec![theirs], &[]), &tasks).unwrap_err().to_string();
        let text = error(Task::new("d", "D", ["a", "x"]));
        assert!(text.starts_with("task `d`: the model has no class `x`; it has a, b"), "{text}");
        assert!(error(Task::new("e", "E", ["a", "b"])).contains("are not the model's"));
    }
}
