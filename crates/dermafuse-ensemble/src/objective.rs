//! What searches on validation cases make as good as possible.

use std::collections::BTreeMap;

use dermafuse_schema::{Predictions, SchemaError, TaskSet, partial_auc};
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};

/// No probability counts as less in a log loss.
const LEAST: f64 = f64::EPSILON;
/// The sensitivity above which the ISIC 2024 challenge counts the area under the ROC curve.
const LEAST_SENSITIVITY: f64 = 0.8;

/// What a search makes as good as possible: of each task, and their mean.
///
/// ```
/// use dermafuse_ensemble::Objective;
/// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
///
/// let predictions = Predictions {
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     ids: (0..4).map(|case| case.to_string().into()).collect(),
///     labels: [0, 0, 0, 1].map(|label| vec![Some(label)]).into(),
///     probabilities: vec![array![[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]]],
///     basis: vec!["clinical".into(); 4],
/// };
/// let score = |objective: Objective| objective.score(&predictions).unwrap().unwrap();
/// assert_eq!(score(Objective::Accuracy), 0.75);
/// assert_eq!(score(Objective::BalancedAccuracy), (2.0 / 3.0 + 1.0) / 2.0);
/// // A nevus that is called a melanoma costs 1, a melanoma that is missed 10.
/// let costs = [("MEL".to_owned(), [("NEV".to_owned(), 10.0)].into())].into();
/// assert_eq!(score(Objective::Cost([("diagnosis".to_owned(), costs)].into())), -0.25);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The share of cases whose most probable class is the true one.
    #[default]
    Accuracy,
    /// The mean over the classes that occur of the share of their cases that are found.
    BalancedAccuracy,
    /// The mean F1 of the classes that occur or were predicted.
    MacroF1,
    /// The mean logarithm of the true class's probability: the log loss with its sign turned.
    LogLoss,
    /// The same with every class that occurs counted equally, however many cases it has.
    BalancedLogLoss,
    /// The mean over the classes of the area under the ROC curve above a sensitivity of 80 %, as the ISIC 2024 challenge scores it: 0 to
    /// 0.2. Of two classes, the second's.
    PartialAuc,
    /// The mean cost of what is said, with its sign turned: by task, true class and class that is said. What is not named costs 1, and
    /// what is right nothing.
    Cost(Costs),
}

/// Costs by task, true class and class that is said.
pub type Costs = BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>;

impl Objective {
    /// Whether it is what files of versions without a choice mean.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The name, e.g. `balanced_accuracy`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::MacroF1 => "macro_f1",
            Self::LogLoss => "log_loss",
            Self::BalancedLogLoss => "balanced_log_loss",
            Self::PartialAuc => "partial_auc",
            Self::Cost(_) => "cost",
        }
    }

    /// How good predictions are by it: the mean over the tasks with labels, higher is better; `None` where no case has any label (or,
    /// for the area, no class has cases and others).
    ///
    /// # Errors
    /// Costs of a task or class that is not there, or that are negative or not finite.
    pub fn score(&self, predictions: &Predictions) -> Result<Option<f64>> {
        Ok(Scorer::new(self, &predictions.tasks)?.score(predictions, None))
    }
}

/// An [`Objective`] for certain tasks, checked once.
pub(crate) struct Scorer<'a> {
    objective: &'a Objective,
    /// `[T][truth][said]`, for costs.
    costs: Vec<Vec<Vec<f64>>>,
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(objective: &'a Objective, tasks: &TaskSet) -> Result<Self> {
        let Objective::Cost(costs) = objective else { return Ok(Self { objective, costs: Vec::new() }) };
        let unknown = |what, name: &str, known: Vec<String>| {
            EnsembleError::from(SchemaError::Unknown { what, name: name.to_owned(), known })
        };
        let mut tables: Vec<Vec<Vec<f64>>> = tasks
            .iter()
            .map(|task| {
                let classes = task.classes.len();
                (0..classes)
                    .map(|truth| (0..classes).map(|said| f64::from(u8::from(truth != said))).collect())
                    .collect()
            })
            .collect();
        for (name, of_task) in costs {
            let Some(task) = tasks.index_of(name) else {
                return Err(unknown("task of a cost", name, tasks.iter().map(|task| task.name.clone()).collect()));
            };
            let classes = &tasks[task].classes;
            let class = |name: &String| {
                let found = classes.iter().position(|class| class == name);
                found.ok_or_else(|| unknown("class of a cost", name, classes.clone()))
            };
            for (truth, of_truth) in of_task {
                for (said, &cost) in of_truth {
                    if !(cost.is_finite() && cost >= 0.0) {
                        let parameter = format!("cost of `{said}` where `{truth}` is true");
                        return Err(EnsembleError::Parameter {
                            parameter,
                            value: cost,
                            expected: "finite and at least 0",
                        });
                    }
                    tables[task][class(truth)?][class(said)?] = cost;
                }
            }
        }
        Ok(Self { objective, costs: tables })
    }

    /// The mean over the tasks with labels, of cases that count `counts` times (once each without).
    pub(crate) fn score(&self, predictions: &Predictions, counts: Option<&[u32]>) -> Option<f64> {
        let of_tasks: Vec<f64> =
            (0..predictions.tasks.len()).filter_map(|task| self.of_task(predictions, task, counts)).collect();
        (!of_tasks.is_empty()).then(|| of_tasks.iter().sum::<f64>() / of_tasks.len() as f64)
    }

    /// The score of one task.
    pub(crate) fn of_task(&self, predictions: &Predictions, task: usize, counts: Option<&[u32]>) -> Option<f64> {
        let classes = predictions.tasks[task].classes.len();
        let labelled = predictions.labels.iter().enumerate().filter_map(|(case, labels)| {
            let count = counts.map_or(1, |counts| counts[case]);
            labels[task].filter(|_| count > 0).map(|label| (case, label, count))
        });
        let labelled: Vec<(usize, usize, u32)> = labelled.collect();
        if labelled.is_empty() {
            return None;
        }
        let table = &predictions.probabilities[task];
        match self.objective {
            Objective::LogLoss | Objective::BalancedLogLoss => {
                let (mut sums, mut support) = (vec![0.0; classes], vec![0.0; classes]);
                for &(case, label, count) in &labelled {
                    let count = f64::from(count);
                    sums[label] += count * table[[case, label]].clamp(LEAST, 1.0 - LEAST).ln();
                    support[label] += count;
                }
                Some(match self.objective {
                    Objective::LogLoss => sums.iter().sum::<f64>() / support.iter().sum::<f64>(),
                    _ => mean_of(sums.iter().zip(&support).filter(|(_, n)| **n > 0.0).map(|(sum, n)| sum / n))?,
                })
            }
            Objective::PartialAuc => {
                let first = if classes == 2 { 1 } else { 0 };
                let of_class = |class: usize| {
                    let scores: Vec<(f64, bool)> = labelled
                        .iter()
                        .flat_map(|&(case, label, count)| {
                            std::iter::repeat_n((table[[case, class]], label == class), count as usize)
                        })
                        .collect();
                    partial_auc(&scores, LEAST_SENSITIVITY)
                };
                mean_of((first..classes).filter_map(of_class))
            }
            _ => {
                let said =
                    labelled.iter().map(|&(case, label, count)| (label, predictions.predicted(case, task), count));
                Some(self.of_counts(task, classes, said))
            }
        }
    }

    /// The score of `(truth, said, how often)`, for an objective that depends on the predicted classes alone.
    pub(crate) fn of_counts(
        &self,
        task: usize,
        classes: usize,
        said: impl Iterator<Item = (usize, usize, u32)>,
    ) -> f64 {
        let mut counts = vec![vec![0_u64; classes]; classes];
        said.for_each(|(truth, said, count)| counts[truth][said] += u64::from(count));
        let support: Vec<u64> = counts.iter().map(|row| row.iter().sum()).collect();
        let all = support.iter().sum::<u64>() as f64;
        match self.objective {
            Objective::BalancedAccuracy => {
                let recalls = (0..classes).filter(|&class| support[class] > 0);
                mean_of(recalls.map(|class| counts[class][class] as f64 / support[class] as f64)).unwrap_or(0.0)
            }
            Objective::MacroF1 => {
                let f1 = (0..classes).filter_map(|class| {
                    let predicted: u64 = counts.iter().map(|row| row[class]).sum();
                    let both = support[class] + predicted;
                    (both > 0).then(|| 2.0 * counts[class][class] as f64 / both as f64)
                });
                mean_of(f1).unwrap_or(0.0)
            }
            Objective::Cost(_) => {
                let cells = (0..classes).flat_map(|truth| (0..classes).map(move |said| (truth, said)));
                -cells.map(|(truth, said)| counts[truth][said] as f64 * self.costs[task][truth][said]).sum::<f64>()
                    / all
            }
            _ => (0..classes).map(|class| counts[class][class]).sum::<u64>() as f64 / all,
        }
    }

    /// Whether it depends on the predicted classes alone.
    pub(crate) fn is_of_decisions(&self) -> bool {
        !matches!(self.objective, Objective::LogLoss | Objective::BalancedLogLoss | Objective::PartialAuc)
    }
}

fn mean_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    values.for_each(|value| {
        sum += value;
        count += 1;
    });
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_eval::Evaluation;
    use dermafuse_schema::Task;
    use ndarray::Array2;

    fn predictions() -> Predictions {
        let (cases, classes) = (60, 4);
        let mut p = Array2::from_shape_fn((cases, classes), |(case, class)| (1 + (case * 7 + class * 5) % 11) as f64);
        for mut row in p.rows_mut() {
            let sum = row.sum();
            row.mapv_inplace(|p| p / sum);
        }
        Predictions {
            tasks: TaskSet::new(vec![Task::new("d", "D", ["a", "b", "c", "e"])]).unwrap(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            labels: (0..cases).map(|case| vec![(case % 9 != 0).then_some((case * case) % 3)]).collect(),
            probabilities: vec![p],
            basis: vec!["clinical".into(); cases],
        }
    }

    #[test]
    fn scores_are_those_of_an_evaluation() {
        let predictions = predictions();
        let evaluation = Evaluation::of(&predictions).unwrap().tasks.remove(0);
        let score = |objective: Objective| objective.score(&predictions).unwrap().unwrap();
        let close = |a: f64, b: Option<f64>| assert!((a - b.unwrap()).abs() < 1e-12, "{a} {b:?}");
        close(score(Objective::Accuracy), evaluation.accuracy);
        close(score(Objective::BalancedAccuracy), evaluation.balanced_accuracy);
        close(score(Objective::MacroF1), evaluation.macro_f1);
        close(-score(Objective::LogLoss), evaluation.log_loss);
        close(1.0 + score(Objective::Cost(BTreeMap::new())), evaluation.accuracy);
    }

    #[test]
    fn cases_that_count_twice_are_as_two() {
        let predictions = predictions();
        let rows: Vec<usize> = (0..60).flat_map(|case| vec![case; case % 4]).collect();
        let counts: Vec<u32> = (0..60).map(|case| case % 4).collect();
        let twice = predictions.select(&rows);
        let all = [Objective::Accuracy, Objective::BalancedAccuracy, Objective::MacroF1];
        let more = [Objective::LogLoss, Objective::BalancedLogLoss, Objective::PartialAuc];
        for objective in all.into_iter().chain(more) {
            let found =
                Scorer::new(&objective, &predictions.tasks).unwrap().score(&predictions, Some(&counts)).unwrap();
            let expected = objective.score(&twice).unwrap().unwrap();
            assert!((found - expected).abs() < 1e-12, "{objective:?}: {found} {expected}");
        }
    }

    #[test]
    fn costs_name_what_is_not_there() {
        let predictions = predictions();
        let error = |text: &str| {
            let costs: Objective = serde_json::from_str(text).unwrap();
            costs.score(&predictions).unwrap_err().to_string()
        };
        assert_eq!(error(r#"{"cost": {"x": {}}}"#), "unknown task of a cost `x`; known: d");
        assert!(
            error(r#"{"cost": {"d": {"a": {"z": 1}}}}"#).contains("unknown class of a cost `z`; known: a, b, c, e")
        );
        assert_eq!(
            error(r#"{"cost": {"d": {"a": {"b": -1}}}}"#),
            "cost of `b` where `a` is true is -1; it must be finite and at least 0"
        );
        let mut unlabelled = predictions.clone();
        unlabelled.labels.iter_mut().for_each(|labels| labels[0] = None);
        assert_eq!(Objective::BalancedAccuracy.score(&unlabelled).unwrap(), None);
    }
}
