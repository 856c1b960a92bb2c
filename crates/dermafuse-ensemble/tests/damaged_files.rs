//! Damaged files of a second stage, of logits and of predictions are errors or give finite numbers; nothing panics.

use dermafuse_ensemble::{ClassifierCluster, ClassifierKind, MixSearch, SecondStage, TwoStage, WeightSearch};
use dermafuse_schema::ndarray::{Array2, Array3};
use dermafuse_schema::{Branch, BranchLogits, Cohort, FuseSpace, Predictions, Task, TaskSet};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

const MUTATIONS: usize = 4_000;

/// 24 cases of two tasks and two branches.
fn logits() -> BranchLogits {
    let n = 24;
    let label = |case: usize| [case * 7 % 5 % 3, case * 3 % 4 / 2];
    let cohort = Cohort {
        ids: (0..n).map(|case| format!("case {case}").into()).collect(),
        groups: (0..n).map(|case| format!("patient {}", case / 2)).collect(),
        labels: (0..n).map(|case| label(case).map(Some).to_vec()).collect(),
        metadata: Array2::from_shape_fn((n, 2), |(case, column)| ((case * (column + 3)) % 7) as f64 / 7.0),
        has_metadata: (0..n).map(|case| case % 6 != 0).collect(),
    };
    let branch = |name: &str, phase: usize| Branch {
        name: name.into(),
        available: (0..n).map(|case| phase == 0 || case % 9 != 0).collect(),
        logits: [3, 2]
            .iter()
            .enumerate()
            .map(|(task, &classes)| {
                Array3::from_shape_fn((2, n, classes), |(view, case, class)| {
                    let noise = ((case * 31 + class * 17 + view * 7 + phase * 13) % 23) as f32 / 12.0;
                    noise + if label(case)[task] == class { 0.8 } else { 0.0 }
                })
            })
            .collect(),
    };
    let tasks =
        TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["a", "b", "c"]), Task::new("streaks", "STR", ["no", "yes"])]);
    let branches = vec![branch("clinical", 0), branch("dermoscopic", 5)];
    BranchLogits { tasks: tasks.unwrap(), cohort, branches, looks: vec![] }
}

/// Damage to one place of a file.
struct Damage {
    rng: ChaCha8Rng,
}

impl Damage {
    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound.max(1) as u64) as usize
    }

    /// Walks down to some value and changes it.
    fn strike(&mut self, value: &mut Value) {
        let stop = self.below(12) == 0;
        match value {
            Value::Array(items) if !items.is_empty() && !stop => {
                let place = self.below(items.len());
                match self.below(16) {
                    0 => drop(items.remove(place)),
                    1 => items.push(items[place].clone()),
                    2 => items.truncate(place),
                    3 => items.reverse(),
                    _ => self.strike(&mut items[place]),
                }
            }
            Value::Object(fields) if !fields.is_empty() && !stop => {
                let place = self.below(fields.len());
                let name = fields.keys().nth(place).cloned().unwrap_or_default();
                if self.below(40) == 0 {
                    fields.remove(&name);
                } else {
                    self.strike(&mut fields[&name]);
                }
            }
            value => *value = self.leaf(value.is_number()),
        }
    }

    fn leaf(&mut self, number: bool) -> Value {
        let numbers = [
            json!(0),
            json!(1),
            json!(2),
            json!(3),
            json!(-1),
            json!(0.5),
            json!(1e308),
            json!(-1e308),
            json!(1e-320),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1_u64 << 40),
            json!(4_000_000_000_u64),
            json!(1e300),
            json!(-0.0),
            json!(9_000_000_000_000_000_000_u64),
        ];
        let others = [Value::Null, json!([]), Value::Object(Map::new()), json!("x"), json!(true), json!([0, 0])];
        if number || self.below(2) == 0 {
            numbers[self.below(numbers.len())].clone()
        } else {
            others[self.below(others.len())].clone()
        }
    }
}

/// Damages a file in one to three places, many times; hands the text to `read`, which says whether it was taken.
fn damaged(seed: u64, whole: &Value, mut read: impl FnMut(&str) -> bool) {
    let mut damage = Damage { rng: ChaCha8Rng::seed_from_u64(seed) };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..MUTATIONS {
        let mut value = whole.clone();
        for _ in 0..=damage.below(3) {
            damage.strike(&mut value);
        }
        if read(&value.to_string()) { taken += 1 } else { refused += 1 }
    }
    assert!(taken > MUTATIONS / 50 && refused > MUTATIONS / 10, "{taken} taken, {refused} refused");
}

fn assert_finite(predictions: &Predictions, context: &str) {
    let all = predictions.probabilities.iter().flatten();
    assert!(all.clone().all(|p| (-1e-9..=1.0 + 1e-9).contains(p)), "{context}");
}

#[test]
fn a_damaged_second_stage_is_refused_or_predicts_finite_numbers() {
    let logits = logits();
    let first = logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap();
    for (seed, kind) in ClassifierKind::ALL.into_iter().enumerate() {
        let params = ClassifierCluster::params(kind, 1);
        let stage = SecondStage::fit(&params, &first, &logits.cohort).unwrap();
        let two_stage = TwoStage::new(logits.equal_weights(), FuseSpace::Logits, Some(stage), 0.4).unwrap();
        let whole = serde_json::to_value(&two_stage).unwrap();
        damaged(seed as u64, &whole, |text| {
            let Ok(read) = serde_json::from_str::<TwoStage>(text) else { return false };
            let _ = read.notes();
            let fits = read.check(&logits.tasks, &["clinical", "dermoscopic"], 2).is_ok();
            match read.apply(&logits) {
                Ok(rows) => {
                    assert!(fits, "{text}");
                    rows.iter().for_each(|(_, row)| assert_finite(row, text));
                }
                // what fits can only fail for numbers out of all bounds, and says so
                Err(error) => assert!(!fits || error.to_string().contains("not finite"), "{error} {text}"),
            }
            true
        });
    }
}

#[test]
fn damaged_logits_are_refused_or_fused() {
    let whole = logits();
    let equal = whole.equal_weights();
    damaged(10, &serde_json::to_value(&whole).unwrap(), |text| {
        let Ok(read) = serde_json::from_str::<BranchLogits>(text) else { return false };
        if let Ok(fused) = read.fuse(&equal, FuseSpace::Logits) {
            assert_finite(&fused, text);
        }
        if let Ok(found) = (WeightSearch { steps: 2, ..WeightSearch::default() }).fit(&read) {
            assert!(found.score.is_finite(), "{text}");
        }
        true
    });
}

#[test]
fn damaged_predictions_are_refused_or_mixed() {
    let logits = logits();
    let whole = logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap();
    damaged(20, &serde_json::to_value(&whole).unwrap(), |text| {
        let Ok(read) = serde_json::from_str::<Predictions>(text) else { return false };
        if let Ok(found) = (MixSearch { steps: 3, ..MixSearch::default() }).fit(&read, &whole) {
            assert!(found.score.is_finite(), "{text}");
        }
        assert_finite(&read, text);
        true
    });
}

#[test]
fn sizes_that_no_file_holds_are_refused() {
    let logits = logits();
    let first = logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap();
    let error = |kind, change: &dyn Fn(&mut Value)| {
        let stage = SecondStage::fit(&ClassifierCluster::params(kind, 1), &first, &logits.cohort).unwrap();
        let mut value = serde_json::to_value(&stage).unwrap();
        change(&mut value["cluster"]["classifiers"][1]);
        serde_json::from_str::<SecondStage>(&value.to_string()).unwrap_err().to_string()
    };
    let huge = 9_000_000_000_000_000_000_u64;
    for (kind, change, expected) in [
        (
            ClassifierKind::Svm,
            (&|v: &mut Value| v["svm"]["support"] = json!({"v": 1, "dim": [huge, 0], "data": []}))
                as &dyn Fn(&mut Value),
            "it has support vectors that no machine refers to",
        ),
        (ClassifierKind::Svm, &|v| v["svm"]["classes"] = json!(huge), "classes are more than 65536"),
        (
            ClassifierKind::Svm,
            &|v| v["svm"]["present"] = (0..60_000).collect::<Vec<_>>().into(),
            "its classes are out of range or out of order",
        ),
        (ClassifierKind::Svm, &|v| v["svm"]["gamma"] = json!(0), "`gamma` must be positive and finite, found 0"),
        (ClassifierKind::Logistic, &|v| v["logistic"]["classes"] = json!(huge), "classes are more than 65536"),
        (
            ClassifierKind::Mlp,
            &|v| {
                let layers = &mut v["mlp"]["layers"];
                layers[0] = json!({
                    "weights": {"v": 1, "dim": [7, 0], "data": []}, "biases": {"v": 1, "dim": [0], "data": []}
                });
                layers[1]["weights"] = json!({"v": 1, "dim": [0, 2], "data": []});
            },
            "it has no hidden units",
        ),
        (
            ClassifierKind::AdaBoost,
            &|v| {
                v["adaboost"]["trees"] = json!([{ "nodes": [{ "leaf": 0 }] }]);
                v["adaboost"]["weights"] = json!([]);
            },
            "its arrays differ in size",
        ),
        (
            ClassifierKind::AdaBoost,
            &|v| {
                v["adaboost"]["trees"] = json!([{ "nodes": [{ "leaf": huge }] }]);
                v["adaboost"]["weights"] = json!([1.0]);
            },
            "a leaf is of class",
        ),
        (
            ClassifierKind::GradientBoosting,
            &|v| v["gradient_boosting"]["trees"][0][0]["nodes"] = json!([]),
            "it has 0 nodes",
        ),
        (
            ClassifierKind::GradientBoosting,
            &|v| v["gradient_boosting"]["first"] = json!([]),
            "its arrays differ in size",
        ),
    ] {
        let error = error(kind, change);
        assert!(error.contains(expected), "{error}");
    }
}
