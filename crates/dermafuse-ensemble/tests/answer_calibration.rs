//! Calibration of answers on numbers whose truth is known, and what is refused.

use dermafuse_ensemble::{
    AnswerCalibration, AnswerPattern, AssumedPrevalence, CalibrationMap, CalibrationMethod, CalibrationOrigin,
    ModelPrevalence, Prevalence, PrevalenceOrigin, TwoStage,
};
use dermafuse_eval::Evaluation;
use dermafuse_schema::ndarray::{Array2, Array3};
use dermafuse_schema::{Branch, BranchLogits, Cohort, FuseSpace, Predictions, Task, TaskSet, softmax};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const CLASSES: usize = 4;

fn tasks() -> TaskSet {
    TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "BCC", "MEL", "SK"])]).unwrap()
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (-2.0 * (1.0 - uniform(rng)).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// Cases of two branches. The labels are drawn from the softmax of true logits, which a branch states times its own factor, and
/// moved by offsets for each class: so the temperature of a branch that answers alone is its factor.
fn drawn(cases: usize, factors: [f64; 2], offsets: [f64; CLASSES], seed: u64) -> BranchLogits {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut truth = Array2::zeros((cases, CLASSES));
    let mut labels = Vec::new();
    for mut row in truth.rows_mut() {
        row.iter_mut().for_each(|z| *z = 1.5 * normal(&mut rng));
        let mut at = uniform(&mut rng);
        let p = softmax(row.as_slice().unwrap());
        let label = p.iter().position(|p| {
            at -= p;
            at < 0.0
        });
        labels.push(vec![Some(label.unwrap_or(CLASSES - 1))]);
    }
    let branch = |name: &str, factor: f64| Branch {
        name: name.into(),
        available: vec![true; cases],
        logits: vec![Array3::from_shape_fn((1, cases, CLASSES), |(_, case, class)| {
            (truth[[case, class]] * factor + offsets[class]) as f32
        })],
    };
    let cohort = Cohort {
        ids: (0..cases).map(|case| format!("case {case}").into()).collect(),
        groups: (0..cases).map(|case| format!("patient {case}")).collect(),
        labels,
        metadata: Array2::zeros((cases, 0)),
        has_metadata: vec![false; cases],
    };
    let branches = vec![branch("clinical", factors[0]), branch("dermoscopic", factors[1])];
    BranchLogits { tasks: tasks(), cohort, branches, looks: vec![] }
}

fn two_stage(logits: &BranchLogits) -> TwoStage {
    TwoStage::new(logits.equal_weights(), FuseSpace::Logits, None, 1.0).unwrap()
}

fn pattern(branches: &[&str]) -> AnswerPattern {
    AnswerPattern { branches: branches.iter().map(ToString::to_string).collect(), metadata: false }
}

/// All three ways to answer.
fn patterns() -> [AnswerPattern; 3] {
    [pattern(&["clinical", "dermoscopic"]), pattern(&["clinical"]), pattern(&["dermoscopic"])]
}

fn fitted(method: CalibrationMethod, logits: &BranchLogits) -> AnswerCalibration {
    let origin = CalibrationOrigin::Validation;
    AnswerCalibration::fit(method, origin, &two_stage(logits), logits, &patterns(), None).unwrap()
}

fn temperature(calibration: &AnswerCalibration, basis: &str) -> f64 {
    let of_basis = calibration.answers.iter().find(|answer| answer.basis == basis).unwrap();
    match of_basis.tasks[0].map {
        CalibrationMap::Temperature { temperature } => temperature,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn temperatures_are_found_for_each_way_to_answer() {
    let logits = drawn(6000, [3.0, 0.5], [0.0; CLASSES], 1);
    let calibration = fitted(CalibrationMethod::Temperature, &logits);
    // Averaged logits of both are the truth times the mean of the factors.
    for (basis, truth) in [("clinical+dermoscopic", 1.75), ("clinical", 3.0), ("dermoscopic", 0.5)] {
        let found = temperature(&calibration, basis);
        assert!((found / truth - 1.0).abs() < 0.05, "{basis}: {found}");
    }
    assert_eq!(calibration.sentence(), "The probabilities are calibrated (temperature) on 6000 validation cases.");
    calibration.check(&logits.tasks, &["clinical", "dermoscopic"]).unwrap();

    // On other cases, the half of which lack one image.
    let mut test = drawn(4000, [3.0, 0.5], [0.0; CLASSES], 2);
    test.branches[1].available[..2000].fill(false);
    let calibrated = TwoStage { calibration: Some(calibration), ..two_stage(&test) };
    let rows = calibrated.apply(&test).unwrap();
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["P_clinical", "P_dermoscopic", "P_1 averaged", "P_1", "P_1 calibrated"]);
    assert_eq!(TwoStage::first_name(names[4]), "P_1");
    let [before, after] = [3, 4].map(|row| Evaluation::of(&rows[row].1).unwrap().tasks.remove(0));
    // What depends on the predicted class alone stays to the bit.
    assert_eq!((before.accuracy, before.balanced_accuracy), (after.accuracy, after.balanced_accuracy));
    assert_eq!((before.macro_f1, before.weighted_f1), (after.macro_f1, after.weighted_f1));
    assert_eq!(before.confusion, after.confusion);
    let error = |task: &dermafuse_eval::TaskEvaluation| task.calibration_error.unwrap();
    assert!(error(&before) > 0.1 && error(&after) < 0.03, "{} {}", error(&before), error(&after));
    assert!(after.log_loss < before.log_loss && after.brier < before.brier);
    assert!(calibrated.calibration_notes(&rows[3].1).unwrap().is_empty());
}

#[test]
fn what_nothing_was_fitted_for_stays_and_is_said() {
    let logits = drawn(200, [3.0, 0.5], [0.0; CLASSES], 1);
    let whole = [pattern(&["clinical", "dermoscopic"])];
    let (method, origin) = (CalibrationMethod::Temperature, CalibrationOrigin::Validation);
    let fit = |logits: &BranchLogits| {
        AnswerCalibration::fit(method, origin.clone(), &two_stage(logits), logits, &whole, None)
    };
    let calibrated = TwoStage { calibration: Some(fit(&logits).unwrap()), ..two_stage(&logits) };
    let mut asked = logits.select(&[0, 1, 2]);
    asked.branches[1].available[1] = false;
    let rows = calibrated.apply(&asked).unwrap();
    let (before, after) = (&rows[3].1, &rows[4].1);
    assert_eq!(before.probabilities[0].row(1), after.probabilities[0].row(1));
    assert_ne!(before.probabilities[0].row(0), after.probabilities[0].row(0));
    assert_eq!(
        calibrated.calibration_notes(before).unwrap(),
        [
            "1 of 3 cases were answered from clinical, for which not all was calibrated: there the probabilities are as the model \
          gives them."
        ]
    );
    let few = fit(&logits.select(&(0..19).collect::<Vec<_>>())).unwrap_err().to_string();
    assert!(few.starts_with("at most 19 cases") && few.contains("20 are needed"), "{few}");
}

#[test]
fn every_method_mends_what_it_can_on_other_cases() {
    // Too sure of itself, and one class too readily.
    let offsets = [0.0, 0.0, 1.5, 0.0];
    let (valid, test) = (drawn(3000, [2.0, 2.0], offsets, 3), drawn(3000, [2.0, 2.0], offsets, 4));
    let before = two_stage(&test).uncalibrated(&test).unwrap();
    let loss = |predictions: &Predictions| Evaluation::of(predictions).unwrap().tasks[0].log_loss.unwrap();
    let truth = {
        let best = drawn(3000, [1.0, 1.0], [0.0; CLASSES], 4);
        loss(&two_stage(&best).uncalibrated(&best).unwrap())
    };
    let mut losses = Vec::new();
    for method in CalibrationMethod::ALL {
        let calibration = fitted(method, &valid);
        calibration.check(&valid.tasks, &["clinical", "dermoscopic"]).unwrap();
        let after = calibration.apply(&before).unwrap().predictions;
        after.check().unwrap();
        losses.push(loss(&after));
        let text = serde_json::to_string(&calibration).unwrap();
        assert_eq!(serde_json::from_str::<AnswerCalibration>(&text).unwrap(), calibration);
        assert_eq!(method == CalibrationMethod::Temperature, method.keeps_predictions());
    }
    assert!(losses.iter().all(|loss| *loss < loss_of_nothing(&before)), "{losses:?}");
    // A temperature cannot mend the class; the three with offsets reach the truth. Steps for each class see one probability at a time.
    assert!(losses[0] > truth + 0.02, "{losses:?} {truth}");
    assert!(losses[1..4].iter().all(|loss| loss - truth < 0.01) && losses[4] - truth < 0.05, "{losses:?} {truth}");
    match &fitted(CalibrationMethod::BiasCorrected, &valid).answers[0].tasks[0].map {
        CalibrationMap::BiasCorrected { temperature, bias } => {
            assert!((temperature - 2.0).abs() < 0.15, "{temperature}");
            let others = (bias[0] + bias[1] + bias[3]) / 3.0;
            assert!((bias[2] - others + 0.75).abs() < 0.15, "{bias:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn loss_of_nothing(before: &Predictions) -> f64 {
    Evaluation::of(before).unwrap().tasks[0].log_loss.unwrap()
}

#[test]
fn a_class_without_a_case_stays_finite() {
    let mut logits = drawn(100, [2.0, 1.0], [0.0; CLASSES], 5);
    logits.cohort.labels.iter_mut().filter(|labels| labels[0] == Some(3)).for_each(|labels| labels[0] = None);
    for method in CalibrationMethod::ALL {
        let calibration = fitted(method, &logits);
        let before = two_stage(&logits).uncalibrated(&logits).unwrap();
        calibration.apply(&before).unwrap().predictions.check().unwrap();
    }
    logits.cohort.labels.iter_mut().for_each(|labels| labels[0] = labels[0].map(|_| 1));
    let origin = CalibrationOrigin::Validation;
    let method = CalibrationMethod::Temperature;
    assert!(AnswerCalibration::fit(method, origin, &two_stage(&logits), &logits, &patterns(), None).is_err());
}

#[test]
fn a_temperature_is_found_beside_a_correction_of_the_prevalence() {
    // The truth has classes moved by the logarithms of ratios; the model knows nothing of them and is too sure.
    let (from, to) = ([0.25; CLASSES], [0.1, 0.2, 0.3, 0.4]);
    let counted = |shares: [f64; CLASSES]| Prevalence::of_counts(&tasks(), &[shares.to_vec()]).unwrap();
    let (from, to) = (counted(from), counted(to));
    let ratios: [f64; CLASSES] = [0.1_f64, 0.2, 0.3, 0.4].map(|share| -2.0 * (share / 0.25).ln());
    let logits = drawn(6000, [2.0, 2.0], ratios, 6);
    let (method, origin) = (CalibrationMethod::Temperature, CalibrationOrigin::Local { data_set: "clinic".into() });
    let stage = two_stage(&logits);
    let fit =
        |prevalence| AnswerCalibration::fit(method, origin.clone(), &stage, &logits, &patterns(), prevalence).unwrap();
    let found = temperature(&fit(Some((&from, &to))), "clinical");
    assert!((found - 2.0).abs() < 0.1, "{found}");
    assert!((temperature(&fit(None), "clinical") - 2.0).abs() > 0.2);

    let assumed = AssumedPrevalence {
        prevalence: to.clone(),
        origin: PrevalenceOrigin::Local { data_set: "clinic".into(), cases: 6000 },
    };
    let prevalence = ModelPrevalence { assumed: Some(assumed), ..ModelPrevalence::of_training(from.clone()) };
    let adapted = TwoStage {
        calibration: Some(fit(Some((&from, &counted([0.1, 0.2, 0.3, 0.4]))))),
        prevalence: Some(prevalence),
        ..stage
    };
    let test = drawn(3000, [2.0, 2.0], ratios, 7);
    let rows = adapted.apply(&test).unwrap();
    assert_eq!(rows.last().unwrap().0, "P_1 calibrated at local prevalence");
    assert_eq!(TwoStage::first_name(&rows.last().unwrap().0), "P_1");
    let best = drawn(3000, [1.0, 1.0], [0.0; CLASSES], 7);
    let truth = loss_of_nothing(&two_stage(&best).uncalibrated(&best).unwrap());
    let reached = loss_of_nothing(&rows.last().unwrap().1);
    assert!(reached - truth < 0.01, "{reached} {truth}");
    let notes = adapted.notes();
    assert_eq!(notes.len(), 2);
    assert!(notes[0].ends_with("calibrated (temperature) on 6000 local cases of clinic."), "{notes:?}");
    assert!(notes[1].contains("as among 6000 local cases of clinic: diagnosis: NEV 10.0 %, BCC 20.0 %"), "{notes:?}");
    adapted.check(&tasks(), &["clinical", "dermoscopic"], 0).unwrap();
    let read: TwoStage = serde_json::from_str(&serde_json::to_string(&adapted).unwrap()).unwrap();
    assert_eq!(read, adapted);
}

#[test]
fn files_of_earlier_versions_are_read_and_damaged_ones_refused() {
    let logits = drawn(200, [3.0, 0.5], [0.0; CLASSES], 1);
    let plain = two_stage(&logits);
    let text = serde_json::to_string(&plain).unwrap();
    assert!(!text.contains("calibration") && !text.contains("prevalence"), "{text}");
    assert_eq!(serde_json::from_str::<TwoStage>(&text).unwrap(), plain);

    let error = |method: CalibrationMethod, change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(fitted(method, &logits)).unwrap();
        change(&mut value);
        let calibration: AnswerCalibration = serde_json::from_value(value).unwrap();
        calibration.check(&logits.tasks, &["clinical", "dermoscopic"]).unwrap_err().to_string()
    };
    let of_map = |key: &str, value: f64| {
        let key = key.to_owned();
        move |whole: &mut serde_json::Value| whole["answers"][0]["tasks"][0]["map"][&key] = value.into()
    };
    let temperature = CalibrationMethod::Temperature;
    assert_eq!(
        error(temperature, &of_map("temperature", 0.0)),
        "temperature of the calibration of task `diagnosis`: 0 is not within 0.001..=1000"
    );
    assert!(error(temperature, &of_map("temperature", -1.0)).contains("-1 is not within"));
    let text = error(temperature, &|whole| whole["answers"][1]["basis"] = "thermal".into());
    assert_eq!(text, "unknown branch `thermal`; known: clinical, dermoscopic");
    let text = error(temperature, &|whole| whole["answers"][1]["basis"] = "clinical+dermoscopic".into());
    assert!(text.contains("`clinical+dermoscopic` appears twice"), "{text}");
    let text = error(temperature, &|whole| whole["answers"][0]["tasks"][0]["task"] = "streaks".into());
    assert_eq!(text, "unknown calibrated task `streaks`; known: diagnosis");
    let text = error(temperature, &|whole| whole["answers"][0]["tasks"][0]["classes"][0] = "BCC2".into());
    assert!(text.contains("BCC2") && text.contains("calibrate the model again"), "{text}");
    let text = error(temperature, &|whole| whole["method"] = "vector".into());
    assert!(text.contains("has a map of kind `temperature`, and the method is `vector`"), "{text}");
    let text = error(CalibrationMethod::Vector, &|whole| {
        whole["answers"][0]["tasks"][0]["map"]["bias"].as_array_mut().unwrap().pop();
    });
    assert_eq!(text, "offsets of the calibration of task `diagnosis`: expected shape [4], found [3]");
    let text = error(CalibrationMethod::Dirichlet, &|whole| {
        whole["answers"][0]["tasks"][0]["map"]["weights"].as_array_mut().unwrap().pop();
    });
    assert!(text.contains("weights of the calibration"), "{text}");
    let text = error(CalibrationMethod::Isotonic, &|whole| {
        whole["answers"][0]["tasks"][0]["map"]["classes"][0]["shares"][0] = 2.0.into();
    });
    assert!(text.contains("2 is not within 0..=1"), "{text}");
}

proptest! {
    /// Whatever the probabilities and the temperature: the predicted class stays, and the rows are probabilities.
    #[test]
    fn a_temperature_keeps_every_predicted_class(
        rows in proptest::collection::vec(proptest::collection::vec(0.0..1.0_f64, CLASSES), 1..8),
        power in 0.0..40.0_f64,
        temperature in 0.05..20.0_f64,
        near in 0.0..1e-15_f64,
    ) {
        let map = CalibrationMap::Temperature { temperature };
        for row in rows {
            // Very sure ones, some of them almost equal.
            let mut row: Vec<f64> = row.iter().map(|p| p.powf(power) + 1e-300).collect();
            row[2] = row[1] * (1.0 + near);
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= sum);
            let first = |row: &[f64]| (0..CLASSES).fold(0, |best, at| if row[at] > row[best] { at } else { best });
            let after = map.apply(dermafuse_schema::ndarray::ArrayView1::from(&row));
            prop_assert_eq!(first(&row), first(&after), "{:?} {:?}", row, after);
            prop_assert!((after.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(after.iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}
