//! Measures equal those of scikit-learn and of published formulas; `tests/golden/generate_measures.py` wrote them.

use dermafuse_eval::{Bootstrap, DecisionCurve, Measures};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{Predictions, Task, TaskSet};
use serde::Deserialize;

const CASES: usize = 300;

#[derive(Deserialize)]
struct Golden {
    positives: usize,
    auc: f64,
    auc_variance: f64,
    partial_auc: f64,
    sensitivity_at: [f64; 2],
    specificity_at: [f64; 2],
    net_benefit: [f64; 3],
}

fn predictions() -> Predictions {
    let mut state = 1_u64;
    let mut lehmer = || {
        state = state * 48_271 % 2_147_483_647;
        state as f64 / 2_147_483_647.0
    };
    let (mut p, mut labels) = (Array2::zeros((CASES, 2)), Vec::new());
    for mut row in p.rows_mut() {
        let is_positive = lehmer() < 0.3;
        let score = ((0.7 * lehmer() + 0.3 * f64::from(u8::from(is_positive))) * 100.0).round() / 100.0;
        row[0] = 1.0 - score;
        row[1] = score;
        labels.push(vec![Some(usize::from(is_positive))]);
    }
    Predictions {
        tasks: TaskSet::new(vec![Task::new("m", "M", ["benign", "malignant"])]).unwrap(),
        ids: (0..CASES).map(|case| case.to_string().into()).collect(),
        labels,
        probabilities: vec![p],
        basis: vec!["clinical".into(); CASES],
    }
}

#[test]
fn measures_are_those_of_scikit_learn() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/measures.json");
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let predictions = predictions();
    let groups: Vec<String> = (0..CASES).map(|case| case.to_string()).collect();
    let measures = Measures::of(&predictions, &groups, &Bootstrap { resamples: 300, seed: 0 }).unwrap();
    let malignant = &measures.tasks[0].classes[1];
    assert_eq!(malignant.support, golden.positives);
    let close = |what: &str, ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-12, "{what}: {ours} {theirs}");
    let auc = malignant.auc.unwrap();
    close("AUC", auc.auc, golden.auc);
    close("variance", auc.variance, golden.auc_variance);
    close("partial AUC", malignant.partial_auc.value.unwrap(), golden.partial_auc);
    for at in 0..2 {
        close("sensitivity", malignant.sensitivity_at[at].value.unwrap(), golden.sensitivity_at[at]);
        close("specificity", malignant.specificity_at[at].value.unwrap(), golden.specificity_at[at]);
    }
    let curve = DecisionCurve::of(&predictions, 0, 1).unwrap().unwrap();
    for (percent, expected) in [10, 25, 50].into_iter().zip(golden.net_benefit) {
        close("net benefit", curve.points[percent - 1].model, expected);
    }
    // Two ways to the same uncertainty.
    let (bootstrap, delong) = (measures.tasks[0].macro_auc.interval.unwrap(), auc.interval);
    assert!((bootstrap.lower - delong.lower).abs() < 0.02 && (bootstrap.upper - delong.upper).abs() < 0.02);
}
