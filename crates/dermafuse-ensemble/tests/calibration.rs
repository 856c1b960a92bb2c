//! Calibration never turns a class round, however few patients own it.

use dermafuse_ensemble::{
    Calibration, CalibrationOutcome, ClassifierCluster, ClassifierKind, SecondStage, SecondStageInputs, SvmClassifier,
    SvmParams,
};
use dermafuse_schema::ndarray::{Array1, Array2, ArrayView1, array};
use dermafuse_schema::{Task, TaskSet};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;

const FEATURES: usize = 6;

/// Records of some classes, each around a centre of its own.
struct Table {
    records: Array2<f64>,
    labels: Vec<usize>,
    groups: Vec<String>,
    classes: usize,
    tested: Array2<f64>,
    tested_labels: Vec<usize>,
}

/// Classes around centres that lie so far apart; one or two of them have 2 to 5 records of one or two patients, the others
/// 20 to 60 of a patient for every two.
fn table(seed: u64, classes: usize, apart: f64) -> Table {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rare = 1 + below(&mut rng, (classes - 1).min(2));
    let centres: Vec<Vec<f64>> =
        (0..classes).map(|_| (0..FEATURES).map(|_| apart * normal(&mut rng)).collect()).collect();
    let (mut rows, mut labels, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for (class, centre) in centres.iter().enumerate() {
        let (records, patients) =
            if class < rare { (2 + below(&mut rng, 4), 1 + below(&mut rng, 2)) } else { (20 + below(&mut rng, 41), 0) };
        for record in 0..records {
            rows.extend(centre.iter().map(|centre| centre + normal(&mut rng)));
            labels.push(class);
            let patient = if patients > 0 { record % patients } else { record / 2 };
            groups.push(format!("patient {patient} of class {class}"));
        }
    }
    let tested_labels: Vec<usize> = (0..classes).flat_map(|class| vec![class; 60]).collect();
    let tested = tested_labels.iter().flat_map(|&class| centres[class].clone()).collect::<Vec<_>>();
    let tested = Array1::from_iter(tested.into_iter().map(|centre| centre + normal(&mut rng)));
    Table {
        records: Array2::from_shape_vec((labels.len(), FEATURES), rows).unwrap(),
        classes,
        groups,
        labels,
        tested: tested.into_shape_with_order((tested_labels.len(), FEATURES)).unwrap(),
        tested_labels,
    }
}

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

/// A normal deviate, as the sum of twelve uniform ones.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| (rng.next_u64() >> 11) as f64 / 2.0_f64.powi(53)).sum::<f64>() - 6.0
}

/// The share of pairs of a record of the class and another in which the former is higher; ties count half.
fn auc(scores: &Array1<f64>, labels: &[usize], class: usize) -> f64 {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (a, _) in scores.iter().zip(labels).filter(|(_, label)| **label == class) {
        for (b, _) in scores.iter().zip(labels).filter(|(_, label)| **label != class) {
            won += if a > b { 1.0 } else { 0.5 * f64::from(u8::from(a == b)) };
            pairs += 1.0;
        }
    }
    won / pairs
}

/// A class against the rest: its decision value against its strongest rival. Coupled probabilities, too, give a class no
/// more than its weakest pair does.
fn decision_of(svm: &SvmClassifier, decisions: ArrayView1<'_, f64>, class: usize) -> f64 {
    let signed = svm.pairs().zip(decisions).filter_map(|((first, second), decision)| match class {
        class if class == first => Some(*decision),
        class if class == second => Some(-decision),
        _ => None,
    });
    signed.fold(f64::INFINITY, f64::min)
}

/// AUC of decision values and of probabilities for every class, on records that were not fitted on.
fn aucs(table: &Table, svm: &SvmClassifier) -> Vec<(f64, f64)> {
    let decisions = svm.decision_values(table.tested.view()).unwrap();
    let probabilities = svm.predict(table.tested.view()).unwrap();
    let of_class = |class: usize| {
        let decided = decisions.rows().into_iter().map(|row| decision_of(svm, row, class)).collect();
        let found = probabilities.column(class).to_owned();
        (auc(&decided, &table.tested_labels, class), auc(&found, &table.tested_labels, class))
    };
    (0..table.classes).map(of_class).collect()
}

fn fit(table: &Table, params: &SvmParams) -> SvmClassifier {
    params.fit(table.records.view(), &table.labels, table.classes, &table.groups).unwrap()
}

/// Of two classes, probabilities keep the order of the decision values.
#[test]
fn two_classes_are_never_turned_round() {
    let mut not_as_asked = 0;
    for seed in 0..200 {
        let table = table(seed, 2, 1.0);
        for calibration in [Calibration::Paper, Calibration::default()] {
            let svm = fit(&table, &SvmParams { calibration, ..SvmParams::new(seed) });
            for (class, (decided, found)) in aucs(&table, &svm).into_iter().enumerate() {
                assert!(found >= decided - 0.02, "seed {seed}, class {class}: {found} for {decided}");
            }
            not_as_asked += usize::from(svm.report().calibration[0].outcome != CalibrationOutcome::AsAsked);
        }
    }
    assert!(not_as_asked > 50, "{not_as_asked}: the tables are not of the kind that is hard to calibrate");
}

/// Of more, coupling weighs pairs by how well they were calibrated. That may move single records, but no class.
#[test]
fn more_classes_are_ranked_as_by_their_decision_values() {
    for seed in 0..200 {
        let table = table(seed, 3 + (seed % 2) as usize, 2.0);
        let svm = fit(&table, &SvmParams::new(seed));
        for (class, (decided, found)) in aucs(&table, &svm).into_iter().enumerate() {
            assert!(found >= decided - 0.02, "seed {seed}, class {class}: {found} for {decided}");
        }
    }
}

#[test]
fn two_patients_of_one_class_each_are_told_apart() {
    let x = [0.0, 0.1, 0.2, 0.15, 0.05, 0.8, 0.9, 1.0, 0.85, 0.95];
    let records = Array2::from_shape_fn((10, 1), |(row, _)| x[row]);
    let labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1];
    let groups: Vec<String> = labels.iter().map(|&label| ["a", "b"][label].to_owned()).collect();
    for calibration in [Calibration::Paper, Calibration::default()] {
        let params = SvmParams { calibration, ..SvmParams::new(1) };
        let svm = params.fit(records.view(), &labels, 2, &groups).unwrap();
        let p = svm.predict(array![[0.0], [1.0]].view()).unwrap();
        assert!(p[[0, 0]] > 0.5 && p[[1, 1]] > 0.5, "{p}");
    }
}

#[test]
fn what_could_not_be_calibrated_is_told_by_name_also_when_stored() {
    // class 2 has three records of one patient, class 1 a single record
    let (mut labels, mut groups) = (vec![0; 24], (0..24).map(|row| format!("patient {row}")).collect::<Vec<_>>());
    labels.extend([1, 2, 2, 2]);
    groups.extend(["x", "y", "y", "y"].map(str::to_owned));
    let records = Array2::from_shape_fn((28, 2), |(row, column)| {
        (row * (column + 3) % 7) as f64 / 7.0 + 2.0 * labels[row] as f64
    });
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC", "SK"])]).unwrap();
    let of_task: Vec<Vec<Option<usize>>> = labels.iter().map(|&label| vec![Some(label)]).collect();
    let cluster =
        ClassifierCluster::params(ClassifierKind::Svm, 1).fit(records.view(), &of_task, &tasks, &groups).unwrap();
    let expected = [
        "second stage, task `diagnosis`: class `SK` has no record: its probability is always 0",
        "second stage, task `diagnosis`: class `MEL`: one patient or lesion (1 record), not calibrated against `NEV`, \
         `BCC`: its probabilities keep the order of the decision values, and no more",
        "second stage, task `diagnosis`: class `BCC`: one patient or lesion (3 records), calibrated without groups against \
         `NEV`",
    ];
    let stage = SecondStage { cluster, inputs: SecondStageInputs::default() };
    assert_eq!(stage.notes(), expected);
    let text = serde_json::to_string(&stage).unwrap();
    let read: SecondStage = serde_json::from_str(&text).unwrap();
    assert_eq!(read.notes(), expected);

    // as an earlier version wrote it, with a sigmoid that falls
    let mut old: Value = serde_json::from_str(&text).unwrap();
    let svm = &mut old["cluster"]["classifiers"][0]["svm"];
    svm["report"].as_object_mut().unwrap().remove("calibration");
    svm["report"]["one_sided_folds"] = 20.into();
    svm["machines"][1]["sigmoid"]["a"] = 2.27.into();
    let task = old["cluster"]["report"]["tasks"][0].as_object_mut().unwrap();
    task.remove("calibration");
    let read: SecondStage = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(
        read.notes(),
        [
            expected[0],
            "second stage, task `diagnosis`: `NEV` against `BCC` was calibrated the wrong way round by an earlier version; \
             fit it again"
        ]
    );
    // this version does not write such
    let mut new: Value = serde_json::from_str(&text).unwrap();
    new["cluster"]["classifiers"][0]["svm"]["machines"][1]["sigmoid"]["a"] = 2.27.into();
    let error = serde_json::from_value::<SecondStage>(new).unwrap_err().to_string();
    assert!(error.contains("a probability does not rise with its decision value"), "{error}");
}
