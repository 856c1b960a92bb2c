//! Calibrated probabilities of a whole model: of 100 answers that are given with 80 per cent, 80 should be right.
//!
//! What is calibrated is the last stage's probabilities, whatever they were made of: views, branches, classifiers. For a network
//! of one branch that is asked about one view, `ln p` is its logits but for a constant, so a temperature here is that of Guo et
//! al. A case that lacks an image or the record is answered by others, which are more or less sure of themselves: each such way
//! to answer is calibrated by itself.

mod isotonic;
mod linear;
mod map;

use dermafuse_schema::{AnswerBasis, BranchLogits, Predictions, SchemaError, TaskSet};
use ndarray::Axis;
use serde::{Deserialize, Serialize};

pub use isotonic::IsotonicSteps;
pub use map::{CalibrationMap, CalibrationMethod};

use crate::error::{EnsembleError, Result};
use crate::{Prevalence, TwoStage};

/// Fewer labelled cases calibrate nothing.
const FEWEST_CASES: usize = 20;

/// How the answers of a model are calibrated: for each way to answer and each task a map of its probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerCalibration {
    /// The method of the maps.
    pub method: CalibrationMethod,
    /// On which cases.
    pub origin: CalibrationOrigin,
    /// The ways to answer, by what they are made from.
    pub answers: Vec<BasisCalibration>,
}

/// The cases that calibrate a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CalibrationOrigin {
    /// The validation cases of its training.
    Validation,
    /// Labelled cases of a place where it is used.
    Local {
        /// The name of the data set.
        data_set: String,
    },
}

/// How one way to answer is calibrated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasisCalibration {
    /// What is answered from, as [`Predictions::basis`] says it, without the number of looks: `clinical+dermoscopic+fusion`.
    pub basis: AnswerBasis,
    /// The tasks that could be calibrated, by name.
    pub tasks: Vec<TaskCalibration>,
}

/// How a task is calibrated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCalibration {
    /// The task.
    pub task: String,
    /// Its classes, in the order of the map's numbers.
    pub classes: Vec<String>,
    /// The labelled cases that it was fitted on.
    pub cases: usize,
    /// What it does to probabilities.
    pub map: CalibrationMap,
}

/// A way to answer: the branches that are there, and whether the record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerPattern {
    /// Names of the branches.
    pub branches: Vec<String>,
    /// Whether classifiers see the record.
    pub metadata: bool,
}

/// Calibrated answers, and how many of them stayed as they were.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibratedAnswers {
    /// The answers.
    pub predictions: Predictions,
    /// What cases were answered from that nothing was fitted for, with their number; a task that could not be calibrated counts.
    pub uncalibrated: Vec<(AnswerBasis, usize)>,
}

impl AnswerPattern {
    /// The logits of the cases that can be answered in this way, as if they had nothing else.
    fn of(&self, logits: &BranchLogits) -> BranchLogits {
        let is_named = |name: &String| self.branches.contains(name);
        let answers = |name: &String, case: usize| {
            logits.branches.iter().any(|branch| branch.name == *name && branch.available[case])
        };
        let can = |case: usize| {
            self.branches.iter().all(|name| answers(name, case)) && (logits.cohort.has_metadata[case] || !self.metadata)
        };
        let rows: Vec<usize> = (0..logits.cohort.len()).filter(|&case| can(case)).collect();
        let mut chosen = logits.select(&rows);
        for branch in chosen.branches.iter_mut().filter(|branch| !is_named(&branch.name)) {
            branch.available.fill(false);
        }
        if !self.metadata {
            chosen.cohort.has_metadata.fill(false);
        }
        chosen
    }
}

impl AnswerCalibration {
    /// Whether labels of cases, `[N][T]`, calibrate anything: 20 or more of a task, of two classes or more.
    ///
    /// # Errors
    /// Fewer.
    pub fn check_labels(labels: &[Vec<Option<usize>>]) -> Result<()> {
        let tasks = labels.iter().map(Vec::len).max().unwrap_or(0);
        let found = |task: usize| -> usize {
            let of_task: Vec<usize> = labels.iter().filter_map(|labels| labels[task]).collect();
            if of_task.iter().all(|label| *label == of_task[0]) { 0 } else { of_task.len() }
        };
        let most = (0..tasks).map(found).max().unwrap_or(0);
        match most < FEWEST_CASES {
            true => Err(EnsembleError::TooFewToCalibrate { found: most, needed: FEWEST_CASES }),
            false => Ok(()),
        }
    }

    /// Fits a map to each way in which a model may answer, on the cases that can be answered so. `two_stage` gives the answers,
    /// and its own calibration and prevalence are left aside. Where answers are to be corrected from one prevalence to another,
    /// `(from, to)`, the maps are those that are best before that correction.
    ///
    /// A way that fewer than 20 cases can be answered in, or a task of which so many have no label, or labels of one class alone,
    /// is not calibrated.
    ///
    /// # Errors
    /// Logits that the model does not take; no way and task that could be calibrated.
    pub fn fit(
        method: CalibrationMethod,
        origin: CalibrationOrigin,
        two_stage: &TwoStage,
        logits: &BranchLogits,
        patterns: &[AnswerPattern],
        prevalence: Option<(&Prevalence, &Prevalence)>,
    ) -> Result<Self> {
        let mut answers: Vec<BasisCalibration> = Vec::new();
        let mut most = 0;
        for pattern in patterns {
            let logits = pattern.of(logits);
            most = most.max(logits.cohort.len());
            if logits.cohort.len() < FEWEST_CASES || pattern.branches.is_empty() {
                continue;
            }
            let predictions = two_stage.uncalibrated(&logits)?;
            let basis = predictions.basis[0].without_looks();
            if answers.iter().any(|known| known.basis == basis) {
                continue;
            }
            let tasks = (0..predictions.tasks.len())
                .map(|task| TaskCalibration::fit(method, &predictions, task, prevalence))
                .collect::<Result<Vec<_>>>()?;
            let tasks: Vec<_> = tasks.into_iter().flatten().collect();
            if !tasks.is_empty() {
                answers.push(BasisCalibration { basis, tasks });
            }
        }
        match answers.is_empty() {
            true => Err(EnsembleError::TooFewToCalibrate { found: most, needed: FEWEST_CASES }),
            false => Ok(Self { method, origin, answers }),
        }
    }

    /// The calibrated answers. A case that is answered in a way that nothing was fitted for keeps its probabilities.
    ///
    /// # Errors
    /// Answers to a task of a calibrated one's name with other classes.
    pub fn apply(&self, predictions: &Predictions) -> Result<CalibratedAnswers> {
        let mut calibrated = predictions.clone();
        let mut uncalibrated: Vec<(AnswerBasis, usize)> = Vec::new();
        for case in 0..predictions.len() {
            let basis = predictions.basis[case].without_looks();
            let known = self.answers.iter().find(|known| known.basis == basis);
            let mut is_whole = known.is_some();
            for (index, task) in predictions.tasks.iter().enumerate() {
                let own = known.and_then(|known| known.tasks.iter().find(|own| own.task == task.name));
                let Some(own) = own else {
                    is_whole = false;
                    continue;
                };
                own.check_classes(&task.classes)?;
                let row = own.map.apply(predictions.probabilities[index].row(case));
                calibrated.probabilities[index].row_mut(case).iter_mut().zip(row).for_each(|(to, p)| *to = p);
            }
            if !is_whole {
                match uncalibrated.iter_mut().find(|(other, _)| *other == basis) {
                    Some((_, count)) => *count += 1,
                    None => uncalibrated.push((basis, 1)),
                }
            }
        }
        Ok(CalibratedAnswers { predictions: calibrated, uncalibrated })
    }

    /// Checks that it is for a model of these tasks and branches: names, lengths, finite numbers, positive temperatures.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self, tasks: &TaskSet, branches: &[&str]) -> Result<()> {
        for (at, answer) in self.answers.iter().enumerate() {
            if self.answers[..at].iter().any(|earlier| earlier.basis == answer.basis) {
                return Err(SchemaError::Twice { what: "calibrated answer", name: answer.basis.to_string() }.into());
            }
            let of_nothing = answer.basis.is_empty().then_some("");
            let mut names = answer.basis.parts().iter().map(|part| part.name.as_str()).chain(of_nothing);
            if let Some(name) = names.find(|name| *name != AnswerBasis::RECORD && !branches.contains(name)) {
                let known = branches.iter().map(ToString::to_string).collect();
                return Err(SchemaError::Unknown { what: "branch", name: name.to_owned(), known }.into());
            }
            for (at, own) in answer.tasks.iter().enumerate() {
                if answer.tasks[..at].iter().any(|earlier| earlier.task == own.task) {
                    return Err(SchemaError::Twice { what: "calibrated task", name: own.task.clone() }.into());
                }
                let Some(index) = tasks.index_of(&own.task) else {
                    let known = tasks.iter().map(|task| task.name.clone()).collect();
                    return Err(SchemaError::Unknown { what: "calibrated task", name: own.task.clone(), known }.into());
                };
                own.check_classes(&tasks[index].classes)?;
                if own.map.method() != self.method {
                    let (map, method) = (own.map.method().name(), self.method.name());
                    let why = format!("task `{}` has a map of kind `{map}`, and the method is `{method}`", own.task);
                    return Err(EnsembleError::Stored { what: "calibration", why });
                }
                own.map.check(&own.task, own.classes.len())?;
            }
        }
        Ok(())
    }

    /// What was done, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let cases = self.cases();
        let whose = match &self.origin {
            CalibrationOrigin::Validation => format!("{cases} validation cases"),
            CalibrationOrigin::Local { data_set } => format!("{cases} local cases of {data_set}"),
        };
        format!("The probabilities are calibrated ({}) on {whose}.", self.method.name())
    }

    /// The most labelled cases that a map was fitted on.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.answers.iter().flat_map(|answer| &answer.tasks).map(|task| task.cases).max().unwrap_or(0)
    }
}

impl TaskCalibration {
    /// `None` where too few cases have a label, or all the same.
    fn fit(
        method: CalibrationMethod,
        predictions: &Predictions,
        index: usize,
        prevalence: Option<(&Prevalence, &Prevalence)>,
    ) -> Result<Option<Self>> {
        let task = &predictions.tasks[index];
        let rows: Vec<usize> =
            (0..predictions.len()).filter(|&case| predictions.labels[case][index].is_some()).collect();
        let labels: Vec<usize> = rows.iter().filter_map(|&case| predictions.labels[case][index]).collect();
        if labels.len() < FEWEST_CASES || labels.iter().all(|label| *label == labels[0]) {
            return Ok(None);
        }
        let offsets = match prevalence {
            Some((from, to)) => from.log_ratios(to, task),
            None => vec![0.0; task.classes.len()],
        };
        let probabilities = predictions.probabilities[index].select(Axis(0), &rows);
        let map = CalibrationMap::fit(method, probabilities.view(), &labels, &offsets)?;
        map.check(&task.name, task.classes.len())?;
        Ok(Some(Self { task: task.name.clone(), classes: task.classes.clone(), cases: labels.len(), map }))
    }

    fn check_classes(&self, classes: &[String]) -> Result<()> {
        if self.classes == classes {
            return Ok(());
        }
        let whole = |classes: &[String]| vec![format!("{} ({})", self.task, classes.join(", "))];
        Err(EnsembleError::CalibratedTask { expected: whole(&self.classes), found: whole(classes) })
    }
}
