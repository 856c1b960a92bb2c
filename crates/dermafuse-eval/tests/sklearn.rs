//! Values equal those of scikit-learn; `tests/golden/generate.py` wrote them.

use dermafuse_eval::{ClassEvaluation, ConfusionMatrix, Evaluation, EvaluationOptions};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{Predictions, Task, TaskSet};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<GoldenCase>,
}

#[derive(Deserialize)]
struct GoldenCase {
    name: String,
    labels: Vec<Option<usize>>,
    probabilities: Vec<Vec<f64>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    n: usize,
    accuracy: Option<f64>,
    balanced_accuracy: Option<f64>,
    macro_f1: Option<f64>,
    macro_f1_zero_undefined: Option<f64>,
    weighted_f1: Option<f64>,
    macro_auc: Option<f64>,
    log_loss: Option<f64>,
    brier: Option<f64>,
    calibration_error: Option<f64>,
    classes: Vec<ExpectedClass>,
    confusion: ConfusionMatrix,
}

#[derive(Deserialize)]
struct ExpectedClass {
    support: usize,
    auc: Option<f64>,
    sensitivity: Option<f64>,
    specificity: Option<f64>,
    precision: Option<f64>,
    negative_predictive_value: Option<f64>,
    f1: Option<f64>,
}

#[track_caller]
fn assert_close(what: &str, ours: Option<f64>, theirs: Option<f64>) {
    let close = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9,
        (None, None) => true,
        _ => false,
    };
    assert!(close, "{what}: ours {ours:?}, scikit-learn {theirs:?}");
}

fn predictions(case: &GoldenCase) -> Predictions {
    let (n, k) = (case.probabilities.len(), case.probabilities[0].len());
    let classes: Vec<String> = (0..k).map(|class| format!("class {class}")).collect();
    Predictions {
        tasks: TaskSet::new(vec![Task::new("task", "T", classes)]).unwrap(),
        ids: (0..n).map(|id| id.to_string().into()).collect(),
        labels: case.labels.iter().map(|&label| vec![label]).collect(),
        probabilities: vec![Array2::from_shape_fn((n, k), |(row, column)| case.probabilities[row][column])],
        basis: vec!["clinical".into(); n],
    }
}

fn assert_class(name: &str, ours: &ClassEvaluation, theirs: &ExpectedClass) {
    let name = format!("{name}, {}", ours.name);
    assert_eq!(ours.support, theirs.support, "{name}");
    assert_close(&format!("{name}: auc"), ours.auc, theirs.auc);
    assert_close(&format!("{name}: sensitivity"), ours.sensitivity, theirs.sensitivity);
    assert_close(&format!("{name}: specificity"), ours.specificity, theirs.specificity);
    assert_close(&format!("{name}: precision"), ours.precision, theirs.precision);
    assert_close(&format!("{name}: npv"), ours.negative_predictive_value, theirs.negative_predictive_value);
    assert_close(&format!("{name}: f1"), ours.f1, theirs.f1);
}

#[test]
fn metrics_equal_scikit_learn() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/golden.json");
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(golden.cases.len(), 9);
    for case in &golden.cases {
        let (name, theirs) = (&case.name, &case.expected);
        let predictions = predictions(case);
        let evaluation = Evaluation::of(&predictions).unwrap();
        let ours = &evaluation.tasks[0];
        assert_eq!(ours.n, theirs.n, "{name}");
        assert_eq!(ours.confusion, theirs.confusion, "{name}");
        assert_close(&format!("{name}: accuracy"), ours.accuracy, theirs.accuracy);
        assert_close(&format!("{name}: balanced accuracy"), ours.balanced_accuracy, theirs.balanced_accuracy);
        assert_close(&format!("{name}: macro f1"), ours.macro_f1, theirs.macro_f1);
        assert_close(&format!("{name}: weighted f1"), ours.weighted_f1, theirs.weighted_f1);
        assert_close(&format!("{name}: macro auc"), ours.macro_auc, theirs.macro_auc);
        assert_close(&format!("{name}: log-loss"), ours.log_loss, theirs.log_loss);
        assert_close(&format!("{name}: brier"), ours.brier, theirs.brier);
        assert_close(&format!("{name}: calibration error"), ours.calibration_error, theirs.calibration_error);
        assert_eq!(ours.classes.len(), theirs.classes.len(), "{name}");
        for (ours, theirs) in ours.classes.iter().zip(&theirs.classes) {
            assert_class(name, ours, theirs);
        }
        let options = EvaluationOptions { zero_undefined: true, ..EvaluationOptions::default() };
        let zeros = Evaluation::with(&predictions, &options).unwrap();
        assert_close(&format!("{name}: macro f1 with zeros"), zeros.tasks[0].macro_f1, theirs.macro_f1_zero_undefined);
    }
}
