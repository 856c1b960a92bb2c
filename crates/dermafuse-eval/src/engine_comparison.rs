use std::fmt::Write;

use dermafuse_schema::{CaseId, Decision, EngineFacts, PredictionSets, Predictions};
use serde::Serialize;

use crate::export::WRITES;
use crate::{EvalError, Evaluation, TaskEvaluation};

/// What it changes that another engine runs a model's network: the answers to the same cases side by side.
///
/// ```
/// use dermafuse_eval::EngineComparison;
/// use dermafuse_schema::{EngineFacts, Predictions, Task, TaskSet, ndarray::array};
///
/// let engine = |name: &str, precision: &str| EngineFacts {
///     name: name.into(),
///     version: "1".into(),
///     precision: precision.into(),
/// };
/// let usual = Predictions {
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     ids: vec!["a".into(), "b".into()],
///     labels: vec![vec![Some(0)], vec![Some(1)]],
///     probabilities: vec![array![[0.75, 0.25], [0.505, 0.495]]],
///     basis: vec!["clinical".into(); 2],
/// };
/// let other = Predictions { probabilities: vec![array![[0.75, 0.25], [0.495, 0.505]]], ..usual.clone() };
/// let comparison = EngineComparison::of(
///     (&engine("Burn", "f32"), &[("P_1".into(), usual)]),
///     (&engine("OpenVINO", "bf16"), &[("P_1".into(), other)]),
///     None,
/// )?;
/// let task = &comparison.tasks[0];
/// assert!((comparison.largest - 0.01).abs() < 1e-12);
/// assert_eq!((task.changed, task.first_changed.as_deref()), (1, Some("b")));
/// assert_eq!(task.accuracy, [Some(0.5), Some(1.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineComparison {
    /// What the other engine is compared with.
    pub reference: EngineFacts,
    /// The other engine.
    pub engine: EngineFacts,
    /// Cases that both answered.
    pub cases: usize,
    /// The largest difference of a probability, over all stages, cases, tasks and classes.
    pub largest: f64,
    /// The same for each stage of the model, in their order.
    pub stages: Vec<StageDifference>,
    /// What changes in the answers of the last stage, for each task.
    pub tasks: Vec<TaskDifference>,
}

/// How far the probabilities of a stage are from those of the reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageDifference {
    /// The stage's name.
    pub name: String,
    /// The largest difference of a probability.
    pub largest: f64,
    /// The mean of the differences without their signs.
    pub mean: f64,
    /// The case with the largest; none where there is no difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
}

/// What changes in the answers to a task. Pairs are of the reference first, and then of the engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskDifference {
    /// The task's name.
    pub name: String,
    /// Its short heading.
    pub label: String,
    /// The largest difference of a probability.
    pub largest: f64,
    /// Cases whose most probable class is another.
    pub changed: usize,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_changed: Option<String>,
    /// Cases that the model leaves open, where it has sets of classes that say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<[usize; 2]>,
    /// Cases with another decision, where it has such sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_decisions: Option<usize>,
    /// Cases with a label: what follows is of them.
    pub n: usize,
    /// Accuracy.
    pub accuracy: [Option<f64>; 2],
    /// Balanced accuracy.
    pub balanced_accuracy: [Option<f64>; 2],
    /// Mean one-against-rest AUC.
    pub macro_auc: [Option<f64>; 2],
    /// Expected calibration error, 15 bins of equal width.
    pub calibration_error: [Option<f64>; 2],
    /// Log-loss.
    pub log_loss: [Option<f64>; 2],
    /// Brier score.
    pub brier: [Option<f64>; 2],
}

/// Named rows of predictions, and what ran the network.
type Rows<'a> = (&'a EngineFacts, &'a [(String, Predictions)]);

impl EngineComparison {
    /// Of the stages that a model's answers have with the usual engine (`reference`) and with another. `sets` are those of the last
    /// stage, if the model has them.
    ///
    /// # Errors
    /// Other stages, cases or tasks; predictions that cannot be evaluated; no stage.
    pub fn of(reference: Rows<'_>, engine: Rows<'_>, sets: Option<&PredictionSets>) -> Result<Self, EvalError> {
        let names = |(_, rows): Rows<'_>| rows.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(reference) != names(engine) {
            return Err(EvalError::Stages { left: names(reference), right: names(engine) });
        }
        let pairs = reference.1.iter().zip(engine.1);
        let stages = pairs.map(|((name, usual), (_, other))| StageDifference::of(name, usual, other));
        let stages = stages.collect::<Result<Vec<_>, _>>()?;
        let (Some((_, usual)), Some((_, other))) = (reference.1.last(), engine.1.last()) else {
            return Err(EvalError::TooFew { what: "stages of a model", found: 0, least: 1 });
        };
        let evaluations = [Evaluation::of(usual)?, Evaluation::of(other)?];
        let tasks = (0..usual.tasks.len()).map(|task| {
            let [before, after] = [&evaluations[0].tasks[task], &evaluations[1].tasks[task]];
            TaskDifference::of(task, [usual, other], [before, after], sets)
        });
        Ok(Self {
            reference: reference.0.clone(),
            engine: engine.0.clone(),
            cases: usual.len(),
            largest: stages.iter().map(|stage| stage.largest).fold(0.0, f64::max),
            tasks: tasks.collect(),
            stages,
        })
    }

    /// As JSON, with the keys of its fields.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a comparison has string keys only") + "\n"
    }

    /// As text for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { reference, engine, cases, largest, stages, tasks } = self;
        let mut text = format!("{engine}, compared with {reference} on {cases} cases\n\n");
        let width = stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(text, "{:width$}  largest difference  mean difference  case", "stage").expect(WRITES);
        for StageDifference { name, largest, mean, case } in stages {
            let case = case.as_deref().unwrap_or("");
            writeln!(text, "{name:width$}  {largest:>18.2e}  {mean:>15.2e}  {case}").expect(WRITES);
        }
        writeln!(text, "\nlargest difference of a probability: {largest:.2e}").expect(WRITES);
        for task in tasks {
            let TaskDifference { label, largest, changed, first_changed, n, .. } = task;
            let first = first_changed.as_ref().map(|case| format!(" (the first, `{case}`)")).unwrap_or_default();
            writeln!(
                text,
                "\n{label}: {changed} of {cases} most probable classes changed{first}; largest difference {largest:.2e}"
            )
            .expect(WRITES);
            if let (Some([before, after]), Some(others)) = (task.open, task.other_decisions) {
                writeln!(text, "  left open {before} → {after} cases; {others} decisions changed").expect(WRITES);
            }
            let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.2}", 100.0 * value));
            let decimal = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{value:.4}"));
            let pair = |[before, after]: [Option<f64>; 2], text: &dyn Fn(Option<f64>) -> String| {
                format!("{} → {}", text(before), text(after))
            };
            if *n > 0 {
                writeln!(
                    text,
                    "  of {n} labelled cases: accuracy {} %, balanced {} %, AUC {} %, ECE {} %, log-loss {}, Brier {}",
                    pair(task.accuracy, &percent),
                    pair(task.balanced_accuracy, &percent),
                    pair(task.macro_auc, &percent),
                    pair(task.calibration_error, &percent),
                    pair(task.log_loss, &decimal),
                    pair(task.brier, &decimal),
                )
                .expect(WRITES);
            }
        }
        text
    }
}

impl StageDifference {
    fn of(name: &str, usual: &Predictions, other: &Predictions) -> Result<Self, EvalError> {
        usual.check_aligned("the reference", other, "the engine")?;
        let (mut largest, mut sum, mut count, mut at) = (0.0_f64, 0.0, 0_usize, None);
        for (left, right) in usual.probabilities.iter().zip(&other.probabilities) {
            for (case, (left, right)) in left.rows().into_iter().zip(right.rows()).enumerate() {
                for (left, right) in left.iter().zip(right) {
                    let difference = (left - right).abs();
                    (sum, count) = (sum + difference, count + 1);
                    if difference > largest {
                        (largest, at) = (difference, Some(case));
                    }
                }
            }
        }
        let mean = if count == 0 { 0.0 } else { sum / count as f64 };
        let case = at.map(|case| usual.ids[case].to_string());
        Ok(Self { name: name.to_owned(), largest, mean, case })
    }
}

impl TaskDifference {
    fn of(
        task: usize,
        [usual, other]: [&Predictions; 2],
        [before, after]: [&TaskEvaluation; 2],
        sets: Option<&PredictionSets>,
    ) -> Self {
        let differences = usual.probabilities[task].iter().zip(&other.probabilities[task]);
        let largest = differences.map(|(left, right)| (left - right).abs()).fold(0.0, f64::max);
        let changed = |case: &usize| usual.predicted(*case, task) != other.predicted(*case, task);
        let changed: Vec<&CaseId> = (0..usual.len()).filter(changed).map(|case| &usual.ids[case]).collect();
        let decisions = sets.map(|sets| {
            let of = |predictions: &Predictions| -> Vec<Decision> {
                let rows = predictions.probabilities[task].rows();
                rows.into_iter().map(|row| sets.decide(task, &row.to_vec())).collect()
            };
            [of(usual), of(other)]
        });
        let is_open = |decision: &&Decision| matches!(decision, Decision::Abstain { .. });
        let open = |decisions: &Vec<Decision>| decisions.iter().filter(is_open).count();
        Self {
            name: before.name.clone(),
            label: before.label.clone(),
            largest,
            changed: changed.len(),
            first_changed: changed.first().map(ToString::to_string),
            open: decisions.as_ref().map(|[before, after]| [open(before), open(after)]),
            other_decisions: decisions
                .as_ref()
                .map(|[before, after]| before.iter().zip(after).filter(|(before, after)| before != after).count()),
            n: before.n,
            accuracy: [before.accuracy, after.accuracy],
            balanced_accuracy: [before.balanced_accuracy, after.balanced_accuracy],
            macro_auc: [before.macro_auc, after.macro_auc],
            calibration_error: [before.calibration_error, after.calibration_error],
            log_loss: [before.log_loss, after.log_loss],
            brier: [before.brier, after.brier],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Coverage, Quantile, Task, TaskQuantiles, TaskSet};
    use ndarray::array;

    fn facts(name: &str) -> EngineFacts {
        EngineFacts { name: name.into(), version: "1".into(), precision: "f32".into() }
    }

    fn predictions(first: f64) -> Predictions {
        Predictions {
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            ids: vec!["a".into(), "b".into()],
            labels: vec![vec![Some(0)], vec![None]],
            probabilities: vec![array![[first, 1.0 - first], [0.125, 0.875]]],
            basis: vec!["clinical".into(); 2],
        }
    }

    #[test]
    fn differences_are_named_and_decisions_are_counted() {
        let (usual, other) = (predictions(0.75), predictions(0.6875));
        let quantile = Quantile { cases: 9, score: Some(0.3) };
        let task = &usual.tasks[0];
        let sets = PredictionSets {
            error_rate: 0.1,
            coverage: Coverage::Marginal,
            tasks: vec![TaskQuantiles::new(task, quantile, vec![quantile, quantile])],
        };
        let rows = |last: Predictions| vec![("P_1".to_owned(), predictions(0.5)), ("P_3".to_owned(), last)];
        let (left, right) = (rows(usual.clone()), rows(other));
        let of = |sets| EngineComparison::of((&facts("Burn"), &left), (&facts("Other"), &right), sets).unwrap();
        let comparison = of(Some(&sets));
        assert_eq!(
            (comparison.largest, comparison.stages[0].largest, comparison.stages[1].mean),
            (0.0625, 0.0, 0.03125)
        );
        assert_eq!((comparison.stages[0].case.as_deref(), comparison.stages[1].case.as_deref()), (None, Some("a")));
        let task = &comparison.tasks[0];
        // 0.75 is within the set's 0.7, 0.6875 is not: the case is left open.
        assert_eq!((task.changed, task.open, task.other_decisions, task.n), (0, Some([0, 1]), Some(1), 1));
        assert_eq!(of(None).tasks[0].open, None);
        let text = comparison.to_text();
        assert!(text.contains("left open 0 → 1 cases; 1 decisions changed"), "{text}");
        assert!(text.contains("largest difference of a probability: 6.25e-2"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&comparison.to_json()).unwrap();
        assert_eq!((&json["engine"]["name"], &json["tasks"][0]["accuracy"][1]), (&"Other".into(), &1.0.into()));
    }

    #[test]
    fn other_stages_or_cases_are_no_comparison() {
        let rows = [("P_1".to_owned(), predictions(0.5))];
        let named = [("P_2".to_owned(), predictions(0.5))];
        let fewer = [("P_1".to_owned(), predictions(0.5).select(&[0]))];
        let of = |other: &[(String, Predictions)]| {
            EngineComparison::of((&facts("Burn"), &rows), (&facts("Other"), other), None).unwrap_err().to_string()
        };
        assert_eq!(of(&named), "the stages [\"P_1\"] and [\"P_2\"] are of different models; compare answers of one");
        assert!(of(&fewer).contains("the engine"), "{}", of(&fewer));
        let none: [(String, Predictions); 0] = [];
        assert!(EngineComparison::of((&facts("Burn"), &none), (&facts("Other"), &none), None).is_err());
    }
}
