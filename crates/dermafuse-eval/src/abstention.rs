use std::fmt;

use dermafuse_schema::{CaseId, Coverage, PredictionSets, Predictions};
use serde::{Deserialize, Serialize};

use crate::metrics::check;
use crate::{EvalError, Proportion};

/// Points of a risk–coverage curve at most.
const POINTS: usize = 100;

/// How often a task is answered wrongly if only the surest cases are answered, from the surest alone to all of them.
///
/// Sure is who gives a high probability to the class that it says. Cases that are equally sure are taken in a random order, on average.
///
/// # Sources
/// El-Yaniv, Wiener, "On the foundations of noise-free selective classification", JMLR 11, 2010: the curve. Geifman, Uziel, El-Yaniv,
/// "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019: its area and the best one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskCoverage {
    /// Name of the task.
    pub task: String,
    /// Its short heading.
    pub label: String,
    /// Labelled cases.
    pub cases: usize,
    /// AURC: the mean risk over all coverages; `None` without labelled cases.
    pub area: Option<f64>,
    /// The area if every wrong case were less sure than every right one: that of the same accuracy and perfect doubts.
    pub best_area: Option<f64>,
    /// The share of wrong answers if all cases are answered, which is also the area of doubts by chance.
    pub error: Option<f64>,
    /// `(coverage, risk)` in order of the coverage: at most 100 points, the last of all cases.
    pub points: Vec<(f64, f64)>,
}

impl RiskCoverage {
    /// The curve of each task.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn of(predictions: &Predictions) -> Result<Vec<Self>, EvalError> {
        check(predictions)?;
        let of_task = |(index, task): (usize, &dermafuse_schema::Task)| {
            let mut cases: Vec<(f64, bool)> = (0..predictions.len())
                .filter_map(|case| {
                    let label = predictions.labels[case][index]?;
                    let said = predictions.predicted(case, index);
                    Some((predictions.probabilities[index][[case, said]], said != label))
                })
                .collect();
            let risks = risks(&mut cases);
            let n = risks.len();
            let area = (n > 0).then(|| risks.iter().sum::<f64>() / n as f64);
            let errors = cases.iter().filter(|(_, wrong)| *wrong).count();
            let best = (1..=n).map(|answered| (answered + errors).saturating_sub(n) as f64 / answered as f64);
            let best_area = (n > 0).then(|| best.sum::<f64>() / n as f64);
            let shown = (1..=POINTS.min(n)).map(|point| (point * n).div_ceil(POINTS.min(n)));
            Self {
                task: task.name.clone(),
                label: task.label.clone(),
                cases: n,
                area,
                best_area,
                error: risks.last().copied(),
                points: shown.map(|answered| (answered as f64 / n as f64, risks[answered - 1])).collect(),
            }
        };
        Ok(predictions.tasks.iter().enumerate().map(of_task).collect())
    }

    /// The risk of the largest coverage that is not above this one; `None` below the first point.
    #[must_use]
    pub fn risk_at(&self, coverage: f64) -> Option<f64> {
        self.points.iter().rev().find(|(at, _)| *at <= coverage + 1e-9).map(|(_, risk)| *risk)
    }
}

/// The expected share of wrong cases among the surest `1, 2, …, n`; `cases` are `(confidence, is wrong)`.
fn risks(cases: &mut [(f64, bool)]) -> Vec<f64> {
    cases.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut risks = Vec::with_capacity(cases.len());
    let mut wrong = 0.0;
    for tied in cases.chunk_by(|a, b| a.0 == b.0) {
        let errors = tied.iter().filter(|(_, wrong)| *wrong).count() as f64;
        let before = risks.len();
        for more in 1..=tied.len() {
            risks.push((wrong + errors * more as f64 / tied.len() as f64) / (before + more) as f64);
        }
        wrong += errors;
    }
    risks
}

/// How often the [`PredictionSets`] of a model hold the truth, and how often they are an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetEvaluation {
    /// The probability with which a set may lack the truth.
    pub error_rate: f64,
    /// Whose error rate that is in answers.
    pub coverage: Coverage,
    /// The numbers of each task.
    pub tasks: Vec<TaskSets>,
}

/// The sets of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSets {
    /// Name of the task.
    pub task: String,
    /// Its short heading.
    pub label: String,
    /// With the quantile of all cases.
    pub marginal: SetSummary,
    /// With a quantile for each class.
    pub class_conditional: SetSummary,
}

/// What sets are worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetSummary {
    /// The share of the labelled cases whose set has the true class.
    pub covered: Proportion,
    /// The same of the cases of each class, by its name.
    pub covered_by_class: Vec<(String, Proportion)>,
    /// The mean number of classes in a set; `None` without cases.
    pub mean_size: Option<f64>,
    /// The share of all cases with one class in the set, which is then the answer; the others are abstained from.
    pub answered: Proportion,
    /// The share of right answers among the labelled cases that are answered.
    pub right_if_answered: Proportion,
    /// The share of all cases whose set is empty.
    pub empty: Proportion,
}

/// The set of a case and its true class.
struct CaseWithSet<'a> {
    id: &'a CaseId,
    set: Vec<bool>,
    truth: Option<usize>,
}

impl SetEvaluation {
    /// The numbers over one or several rounds, each with the quantiles of its own validation cases. The first round says error rate and
    /// classes.
    ///
    /// # Errors
    /// No round, predictions that cannot be evaluated, sets of other tasks.
    pub fn of(rounds: &[(&Predictions, &PredictionSets)]) -> Result<Self, EvalError> {
        let Some(&(first, PredictionSets { error_rate, coverage, .. })) = rounds.first() else {
            return Err(EvalError::TooFew { what: "rounds with prediction sets", found: 0, least: 1 });
        };
        rounds.iter().try_for_each(|(predictions, _)| check(predictions))?;
        let mut tasks = Vec::with_capacity(first.tasks.len());
        for (index, task) in first.tasks.iter().enumerate() {
            let summary = |coverage: Coverage| {
                let mut cases = Vec::new();
                for (predictions, sets) in rounds {
                    let sets = sets.sets(predictions, index, coverage)?;
                    let labels = predictions.labels.iter().map(|labels| labels[index]);
                    let of_round = predictions.ids.iter().zip(sets).zip(labels);
                    cases.extend(of_round.map(|((id, set), truth)| CaseWithSet { id, set, truth }));
                }
                Ok::<_, EvalError>(SetSummary::of(&task.classes, &cases))
            };
            tasks.push(TaskSets {
                task: task.name.clone(),
                label: task.label.clone(),
                marginal: summary(Coverage::Marginal)?,
                class_conditional: summary(Coverage::ClassConditional)?,
            });
        }
        Ok(Self { error_rate: *error_rate, coverage: *coverage, tasks })
    }
}

impl TaskSets {
    /// The numbers of one of both kinds of sets.
    #[must_use]
    pub fn of(&self, coverage: Coverage) -> &SetSummary {
        match coverage {
            Coverage::Marginal => &self.marginal,
            Coverage::ClassConditional => &self.class_conditional,
        }
    }
}

impl SetSummary {
    fn of(classes: &[String], cases: &[CaseWithSet<'_>]) -> Self {
        let size = |case: &CaseWithSet<'_>| case.set.iter().filter(|&&included| included).count();
        let labelled = || cases.iter().filter_map(|case| Some((case, case.truth?)));
        let covered = |of: &dyn Fn(usize) -> bool| {
            let of_them = labelled().filter(|&(_, truth)| of(truth));
            Proportion::of_cases(of_them.map(|(case, truth)| (case.id, case.set[truth])))
        };
        let single = labelled().filter(|(case, _)| size(case) == 1);
        let mean_size = cases.iter().map(|case| size(case) as f64).sum::<f64>() / cases.len() as f64;
        Self {
            covered: covered(&|_| true),
            covered_by_class: (0..classes.len())
                .map(|class| (classes[class].clone(), covered(&|truth| truth == class)))
                .collect(),
            mean_size: (!cases.is_empty()).then_some(mean_size),
            answered: Proportion::of_cases(cases.iter().map(|case| (case.id, size(case) == 1))),
            right_if_answered: Proportion::of_cases(single.map(|(case, truth)| (case.id, case.set[truth]))),
            empty: Proportion::of_cases(cases.iter().map(|case| (case.id, size(case) == 0))),
        }
    }
}

impl fmt::Display for SetEvaluation {
    /// A line for each task, in per cent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error_rate, coverage, tasks } = self;
        write!(formatter, "sets for an error rate of {} % ({})", 100.0 * error_rate, coverage.name())?;
        for task in tasks {
            let SetSummary { covered, answered, right_if_answered, mean_size, .. } = task.of(*coverage);
            let size = mean_size.map_or_else(|| "n/a".to_owned(), |size| format!("{size:.2}"));
            write!(
                formatter,
                "\n  {}: the truth is in {covered}, classes in a set {size}; answered {answered}, right of those {right_if_answered}",
                task.label
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Quantile, Task, TaskQuantiles, TaskSet};
    use ndarray::array;

    fn predictions() -> Predictions {
        Predictions {
            tasks: TaskSet::new(vec![Task::new("t", "T", ["a", "b", "c"])]).unwrap(),
            ids: (0..5).map(|case| case.to_string().into()).collect(),
            labels: [Some(0), Some(1), Some(1), Some(2), None].map(|label| vec![label]).into(),
            basis: vec!["clinical".into(); 5],
            // Sure and right; sure and wrong; unsure and right; unsure and wrong; without label.
            probabilities: vec![array![
                [0.875, 0.125, 0.0],
                [0.75, 0.25, 0.0],
                [0.25, 0.5, 0.25],
                [0.5, 0.25, 0.25],
                [0.375, 0.375, 0.25]
            ]],
        }
    }

    #[test]
    fn the_curve_begins_with_the_surest_and_ends_with_all() {
        let curve = RiskCoverage::of(&predictions()).unwrap().remove(0);
        assert_eq!(curve.cases, 4);
        // Right, wrong, and two that are equally sure of which one is wrong: 0/1, 1/2, 1.5/3, 2/4.
        assert_eq!(curve.points, [(0.25, 0.0), (0.5, 0.5), (0.75, 0.5), (1.0, 0.5)]);
        assert_eq!((curve.area, curve.error), (Some(0.375), Some(0.5)));
        // Two right ones first: 0, 0, 1/3, 2/4.
        assert!((curve.best_area.unwrap() - (1.0 / 3.0 + 0.5) / 4.0).abs() < 1e-15);
        assert_eq!((curve.risk_at(0.6), curve.risk_at(0.1)), (Some(0.5), None));
        let mut unlabelled = predictions();
        unlabelled.labels = vec![vec![None]; 5];
        let none = RiskCoverage::of(&unlabelled).unwrap().remove(0);
        assert_eq!((none.cases, none.area, none.best_area, none.points.len()), (0, None, None, 0));
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_ends() {
        let mut cases: Vec<(f64, bool)> = (0..1000).map(|case| (1.0 - case as f64 / 1000.0, case >= 900)).collect();
        assert_eq!(risks(&mut cases).last(), Some(&0.1));
        let n = 250;
        let many = Predictions {
            ids: (0..n).map(|case: usize| case.to_string().into()).collect(),
            labels: vec![vec![Some(0)]; n],
            basis: vec!["clinical".into(); n],
            probabilities: vec![ndarray::Array2::from_shape_fn((n, 3), |(_, class)| [0.5, 0.25, 0.25][class])],
            ..predictions()
        };
        let curve = RiskCoverage::of(&many).unwrap().remove(0);
        assert_eq!((curve.points.len(), curve.points[99]), (100, (1.0, 0.0)));
    }

    #[test]
    fn sets_are_counted() {
        let quantile = |cases, score| Quantile { cases, score };
        let predictions = predictions();
        let classes = vec![quantile(20, Some(0.25)), quantile(20, Some(0.75)), quantile(2, None)];
        let tasks = vec![TaskQuantiles::new(&predictions.tasks[0], quantile(42, Some(0.5)), classes)];
        let sets = PredictionSets { error_rate: 0.1, coverage: Coverage::Marginal, tasks };
        let evaluation = SetEvaluation::of(&[(&predictions, &sets)]).unwrap();
        // a; a; b; a; nothing.
        let marginal = &evaluation.tasks[0].marginal;
        assert_eq!((marginal.covered.value, marginal.covered.cases), (Some(0.5), 4));
        let by_class: Vec<Option<f64>> = marginal.covered_by_class.iter().map(|(_, share)| share.value).collect();
        assert_eq!(by_class, [Some(1.0), Some(0.5), Some(0.0)]);
        assert_eq!((marginal.answered.value, marginal.empty.value), (Some(0.8), Some(0.2)));
        assert_eq!((marginal.mean_size, marginal.right_if_answered.value), (Some(0.8), Some(0.5)));
        // a c; a b c; b c; b c; b c.
        let by_class = &evaluation.tasks[0].class_conditional;
        assert_eq!((by_class.covered.value, by_class.mean_size), (Some(1.0), Some(2.2)));
        assert_eq!(by_class.right_if_answered.value, None);
        assert!(evaluation.to_string().contains("\n  T: the truth is in 50.0 ("), "{evaluation}");
        assert!(SetEvaluation::of(&[]).is_err());
    }
}
