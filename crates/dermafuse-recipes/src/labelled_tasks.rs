//! Whether every task has cases to learn from, where sets do not say all labels.

use dermafuse_data::{CaseSet, SOURCE_FIELD, Sampling, Split};
use dermafuse_schema::{FieldKind, FieldValue};

use crate::RecipeError;

/// Checks that each task has labelled cases where something is learnt from them, and gives what must be said of the others.
/// `halves` says whether a second stage learns from the halves of the training cases.
pub(crate) fn check_labels(
    set: &CaseSet,
    split: &Split,
    sampling: Sampling,
    halves: bool,
) -> Result<Vec<String>, RecipeError> {
    let mut parts = vec![("training", split.train.clone())];
    if halves {
        let (first, second) = split.half_in_order();
        parts.push(("first half of the training", first));
        parts.push(("second half of the training", second));
    }
    for (part, rows) in &parts {
        if let Some(task) = unlabelled(set, rows).first() {
            return Err(RecipeError::NoLabels { task: task.clone(), part, cases: rows.len() });
        }
    }
    let mut notes = Vec::new();
    let unlabelled_to_select = unlabelled(set, &split.valid);
    if unlabelled_to_select.len() == set.tasks.len() {
        let (task, cases) = (unlabelled_to_select.join("`, `"), split.valid.len());
        return Err(RecipeError::NoLabels { task, part: "validation", cases });
    }
    notes.extend(unlabelled_to_select.iter().map(|task| {
        format!("No validation case has a label of task `{task}`: it has no say in what is chosen on validation cases.")
    }));
    notes.extend(
        unlabelled(set, &split.test)
            .iter()
            .map(|task| format!("No test case has a label of task `{task}`: its numbers are undefined.")),
    );
    if sampling != Sampling::EachOnce
        && let Some(source) = never_shown(set, &split.train)
    {
        return Err(RecipeError::NeverShown { set: source, task: set.tasks[0].name.clone() });
    }
    Ok(notes)
}

/// The tasks of which no case has a label.
fn unlabelled(set: &CaseSet, rows: &[usize]) -> Vec<String> {
    let has_label = |task: usize| rows.iter().any(|&row| set.cases[row].labels[task].is_some());
    set.tasks.iter().enumerate().filter(|(task, _)| !has_label(*task)).map(|(_, task)| task.name.clone()).collect()
}

/// A source of a joined set of which no training case has a label of the first task, by whose classes cases are drawn.
fn never_shown(set: &CaseSet, train: &[usize]) -> Option<String> {
    let field = set.fields.iter().position(|field| field.name == SOURCE_FIELD)?;
    let FieldKind::Categorical { categories } = &set.fields[field].kind else { return None };
    let of = |source: usize| {
        let from = move |row: &&usize| set.cases[**row].metadata[field] == FieldValue::Category(source);
        train.iter().filter(from)
    };
    let source = (0..categories.len())
        .find(|&source| of(source).next().is_some() && of(source).all(|&row| set.cases[row].labels[0].is_none()))?;
    Some(categories[source].clone())
}
