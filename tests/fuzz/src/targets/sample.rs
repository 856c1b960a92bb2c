//! A few cases that readers are tried on.

use dermafuse::data::{CaseSet, MetadataEncoder, MetadataRoles, Split};
use dermafuse::schema::ndarray::Array3;
use dermafuse::schema::{Branch, BranchLogits, Case, Field, FieldRole, FieldValue, Predictions, Task, TaskSet};

use super::promise;

const CASES: usize = 24;

/// Two tasks, a field of categories and one of numbers; no images.
pub(super) fn set() -> CaseSet {
    let tasks = vec![
        Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC"]),
        Task::new("streaks", "STR", ["absent", "present"]).with_reference("absent"),
    ];
    let fields = vec![
        Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]),
        Field::numeric("age", FieldRole::PreDiagnosis),
    ];
    let case = |at: usize| Case {
        group: format!("patient {}", at / 2).into(),
        patient: Some(format!("patient {}", at / 2).into()),
        metadata: vec![
            if at % 7 == 3 { FieldValue::Missing } else { FieldValue::Category(at % 2) },
            FieldValue::Number(20.0 + 3.0 * (at * 5 % CASES) as f64),
        ],
        labels: vec![Some(at * 7 % 3), (at != 5).then_some(at / 3 % 2)],
        ..Case::new(format!("case {at}"))
    };
    CaseSet {
        name: "clinic".into(),
        synthetic: false,
        tasks: TaskSet::new(tasks).expect("tasks with classes"),
        fields,
        cases: (0..CASES).map(case).collect(),
        split: None,
        notes: Vec::new(),
    }
}

pub(super) fn rows() -> Vec<usize> {
    (0..CASES).collect()
}

/// Pairs of patients in three parts.
pub(super) fn split(set: &CaseSet) -> Split {
    Split::new((0..12).collect(), (12..18).collect(), (18..CASES).collect(), set.len()).expect("three parts")
}

pub(super) fn encoder(set: &CaseSet) -> MetadataEncoder {
    MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis).expect("fields with names")
}

/// Logits of branches, each for two views.
pub(super) fn logits(set: &CaseSet, branches: &[&str]) -> BranchLogits {
    let cohort = set.view(rows()).and_then(|cases| cases.cohort(&encoder(set))).expect("rows of the set");
    let branch = |(number, name): (usize, &&str)| {
        let logit = |task: usize, (view, case, class): (usize, usize, usize)| {
            let hit = set.cases[case].labels[task] == Some(class);
            (case * 31 + class * 17 + view * 5 + task + number) as f32 % 7.0 / 3.0 + f32::from(u8::from(hit))
        };
        let of_task =
            |(task, classes): (usize, usize)| Array3::from_shape_fn((2, set.len(), classes), |at| logit(task, at));
        Branch {
            name: (*name).to_owned(),
            available: vec![true; set.len()],
            logits: set.tasks.class_counts().into_iter().enumerate().map(of_task).collect(),
        }
    };
    let branches = branches.iter().enumerate().map(branch).collect();
    BranchLogits { tasks: set.tasks.clone(), cohort, branches, looks: vec![] }
}

/// By how much probabilities may miss a sum of 1: tables rounded to four decimals are read.
const ROUNDED: f64 = 1.1e-3;

/// Probabilities are numbers from 0 to 1, and those of a case and task sum to 1.
pub(super) fn check_probabilities(stage: &str, predictions: &Predictions) -> Result<(), String> {
    for (task, table) in predictions.tasks.iter().zip(&predictions.probabilities) {
        let shape = [predictions.len(), task.classes.len()];
        promise!(
            table.shape() == shape,
            "{stage}, task `{}`: {:?} probabilities, not {shape:?}",
            task.name,
            table.shape()
        );
        for (case, row) in table.rows().into_iter().enumerate() {
            let sum: f64 = row.sum();
            let kept = row.iter().all(|p| (0.0..=1.0).contains(p)) && (sum - 1.0).abs() < ROUNDED;
            promise!(kept, "{stage}, task `{}`, case {case}: probabilities {row}", task.name);
        }
    }
    Ok(())
}
