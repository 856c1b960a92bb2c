//! Whether every task has cases to learn from, where sets do not say all labels.

use dermafuse_data::{CaseSet, CaseView, SOURCE_FIELD, Sampling, Split};
use dermafuse_ensemble::EnsembleError;
use dermafuse_schema::{FieldKind, FieldValue};

use crate::RecipeError;

/// How the notes begin that are of the parts of a round.
const OF_PARTS: [&str; 2] = ["No validation case has a label of task", "No test case has a label of task"];

/// What is said where the split has no validation part.
const WITHOUT_VALIDATION: &str = "There are no validation cases: no epoch, weight or setting was chosen by a score, and the model is that of the last epoch.";

/// Fewer labelled cases of a task make no classifier of a second stage.
const FEWEST_OF_SECOND_STAGE: usize = 2;

/// Checks that each task has labelled cases where something is learnt from them, and gives what must be said of the others.
/// `halves` says whether a second stage learns from the halves of the training cases.
pub(crate) fn check_labels(
    set: &CaseSet,
    split: &Split,
    sampling: Sampling,
    halves: bool,
) -> Result<Vec<String>, RecipeError> {
    let require = |part: &'static str, cases: &CaseView<'_>| match unlabelled(cases).first() {
        Some(task) => Err(RecipeError::NoLabels { task: task.clone(), part, cases: cases.len() }),
        None => Ok(()),
    };
    let train = set.view(&split.train)?;
    require("training", &train)?;
    // The fewest cases that a network learns from.
    let mut learnt = train.clone();
    if halves {
        let (first, second) = split.half_in_order();
        let (first, second) = (set.view(first)?, set.view(second)?);
        require("first half of the training", &first)?;
        require("second half of the training", &second)?;
        for (index, task) in set.tasks.iter().enumerate() {
            let found = labelled(index, &second).count();
            if found < FEWEST_OF_SECOND_STAGE {
                let task = format!("in the second half of the training part, task `{}`", task.name);
                return Err(EnsembleError::TooFewRecords { task, found }.into());
            }
        }
        learnt = first;
    }
    let mut notes = Vec::new();
    let unlabelled_to_select = match split.valid.is_empty() {
        true => {
            notes.push(WITHOUT_VALIDATION.to_owned());
            Vec::new()
        }
        false => unlabelled(&set.view(&split.valid)?),
    };
    if unlabelled_to_select.len() == set.tasks.len() {
        let (task, cases) = (unlabelled_to_select.join("`, `"), split.valid.len());
        return Err(RecipeError::NoLabels { task, part: "validation", cases });
    }
    let [of_validation, of_test] = OF_PARTS;
    notes.extend(
        unlabelled_to_select
            .iter()
            .map(|task| format!("{of_validation} `{task}`: it has no say in what is chosen on validation cases.")),
    );
    // Where nobody tests, nobody misses a label.
    let untested = if split.test.is_empty() { Vec::new() } else { unlabelled(&set.view(&split.test)?) };
    notes.extend(untested.iter().map(|task| format!("{of_test} `{task}`: its numbers are undefined.")));
    // Balanced by label, cases are drawn by the classes of all tasks: each of them has labels, and so is shown.
    if !matches!(sampling, Sampling::EachOnce | Sampling::LabelBalanced { .. }) {
        let shown: Vec<usize> = labelled(0, &learnt).collect();
        let shown = set.view(shown)?;
        let task_never_shown = || unlabelled(&shown).first().map(|task| format!("task {task}"));
        if let Some(unseen) = never_shown(&train).or_else(task_never_shown) {
            return Err(RecipeError::NeverShown { set: unseen, task: set.tasks[0].name.clone() });
        }
    }
    Ok(notes)
}

/// Puts the name of a round before the notes of its parts.
pub(crate) fn name_round(round: &str, notes: &mut [String]) {
    for note in notes.iter_mut().filter(|note| OF_PARTS.iter().any(|start| note.starts_with(start))) {
        *note = format!("{round}: {note}");
    }
}

/// The rows of the cases that have a label of a task.
fn labelled(task: usize, cases: &CaseView<'_>) -> impl Iterator<Item = usize> {
    cases.iter().filter(move |(_, case)| case.labels[task].is_some()).map(|(row, _)| row)
}

/// The tasks of which no case has a label.
fn unlabelled(cases: &CaseView<'_>) -> Vec<String> {
    let tasks = cases.set().tasks.iter().enumerate();
    tasks.filter(|(task, _)| labelled(*task, cases).next().is_none()).map(|(_, task)| task.name.clone()).collect()
}

/// A source of a joined set of which no training case has a label of the first task, by whose classes cases are drawn.
fn never_shown(train: &CaseView<'_>) -> Option<String> {
    let set = train.set();
    let field = set.fields.iter().position(|field| field.name == SOURCE_FIELD)?;
    let FieldKind::Categorical { categories } = &set.fields[field].kind else { return None };
    let of = |source: usize| train.cases().filter(move |case| case.metadata[field] == FieldValue::Category(source));
    let source = (0..categories.len())
        .find(|&source| of(source).next().is_some() && of(source).all(|case| case.labels[0].is_none()))?;
    Some(categories[source].clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_data::EpochLength;
    use dermafuse_schema::{Case, Task, TaskSet};

    /// Eight training cases with these labels of two tasks, a validation case and a test case with both.
    fn set(labels: [[bool; 2]; 8]) -> (CaseSet, Split) {
        let labels = labels.into_iter().chain([[true; 2]; 2]);
        let cases = labels.enumerate().map(|(row, has_label)| Case {
            labels: has_label.map(|has_label| has_label.then_some(row % 2)).to_vec(),
            ..Case::new(row.to_string())
        });
        let task = |name: &str| Task::new(name, name, ["no", "yes"]);
        let tasks = TaskSet::new(vec![task("veil"), task("streaks")]).unwrap();
        let (name, cases) = ("set".into(), cases.collect());
        let set = CaseSet { name, synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
        let split = Split::new((0..8).collect(), vec![8], vec![9], 10).unwrap();
        (set, split)
    }

    fn error(labels: [[bool; 2]; 8], sampling: Sampling, halves: bool) -> Option<String> {
        let (set, split) = set(labels);
        check_labels(&set, &split, sampling, halves).err().map(|error| error.to_string())
    }

    #[test]
    fn the_second_stage_learns_from_two_cases_of_each_task() {
        let mut labels = [[true; 2]; 8];
        labels[5..].iter_mut().for_each(|of_case| of_case[1] = false);
        assert_eq!(error(labels, Sampling::EachOnce, false), None);
        assert_eq!(
            error(labels, Sampling::EachOnce, true).unwrap(),
            "in the second half of the training part, task `streaks` has 1 labelled records; at least 2 are needed to fit a \
             classifier"
        );
        labels[6][1] = true;
        assert_eq!(error(labels, Sampling::EachOnce, true), None);
        labels[4..].iter_mut().for_each(|of_case| of_case[1] = false);
        let none = error(labels, Sampling::EachOnce, true).unwrap();
        assert!(none.starts_with("no case of the second half of the training part (4 cases) has a label"), "{none}");
    }

    #[test]
    fn a_task_beside_the_one_by_which_cases_are_drawn_is_shown() {
        let drawn = Sampling::Weighted { power: 1.0 };
        // A case has a label of one of the tasks.
        let apart: [[bool; 2]; 8] = std::array::from_fn(|row| [row % 2 == 0, row % 2 == 1]);
        assert_eq!(error(apart, Sampling::EachOnce, true), None);
        let never = error(apart, drawn, false).unwrap();
        assert!(never.contains("no training case of `task streaks` has a label of it"), "{never}");
        let mut together = apart;
        together[6] = [true; 2];
        assert_eq!(error(together, drawn, false), None);
        // The network that learns from the first half does not see it.
        assert!(error(together, drawn, true).is_some());
        // By the labels of all tasks, all of them are.
        let balanced = Sampling::LabelBalanced { per_label: 1, length: EpochLength::AllCases };
        assert_eq!(error(apart, balanced, true), None);
    }

    #[test]
    fn notes_of_parts_have_the_name_of_their_round() {
        let (mut set, split) = set([[true; 2]; 8]);
        (set.cases[8].labels[1], set.cases[9].labels[1]) = (None, None);
        let mut notes = check_labels(&set, &split, Sampling::EachOnce, true).unwrap();
        notes.push("Another.".into());
        name_round("fold-2", &mut notes);
        assert_eq!(
            notes,
            [
                "fold-2: No validation case has a label of task `streaks`: it has no say in what is chosen on validation cases.",
                "fold-2: No test case has a label of task `streaks`: its numbers are undefined.",
                "Another.",
            ]
        );
    }
}
