use std::collections::BTreeMap;

use dermafuse_schema::{Predictions, SchemaError, Task};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::bootstrap::Outcomes;
use crate::bootstrap::rows_of_cases;
use crate::confusion::ratio;
use crate::{Bootstrap, ConfusionMatrix, EvalError, Interval, MelanomaRelated, auc};

/// Bins of the confidence, for the expected calibration errors.
const CALIBRATION_BINS: usize = 15;

/// How far the probabilities of a row may sum from 1 and still be read as rounding.
const ROW_SUM_TOLERANCE: f64 = 1e-3;

/// Conventions of an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationOptions {
    /// Read the confusion matrix transposed for sensitivity, specificity, precision and NPV, as the printed tables of
    /// AMMFM, PEMM and AMFAM do: their SEN is the precision, their PRE the recall and their SPE the negative
    /// predictive value. Only for a comparison with those tables; the default is the correct definition.
    pub transposed: bool,
    /// Count an undefined sensitivity, specificity, precision, NPV or F1 as 0, as the field's tables do. The default
    /// leaves them undefined and out of every mean.
    pub zero_undefined: bool,
    /// Confidence intervals.
    pub bootstrap: Bootstrap,
}

/// All numbers of one table of predictions.
///
/// A value is `None` where it is undefined: a metric of a task without annotated cases, the AUC of a class that is
/// absent or alone, the sensitivity of a class without cases, the precision of a class that was never predicted, the
/// specificity when no other class occurs, the NPV when nothing else was predicted, the F1 of a class that neither
/// occurs nor was predicted. Means leave `None` out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The conventions used.
    pub options: EvaluationOptions,
    /// Number of cases.
    pub cases: usize,
    /// How many cases were predicted from which inputs, such as `clinical+dermoscopic+fusion` or `clinical`.
    pub basis: BTreeMap<String, usize>,
    /// Means over the tasks.
    pub overall: Overall,
    /// Means over the classes that speak for a melanoma, where the tasks are those of the seven-point checklist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub melanoma_related: Option<MelanomaRelated>,
    /// One entry for each task, in the order of the task set.
    pub tasks: Vec<TaskEvaluation>,
}

/// Means over tasks and classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overall {
    /// AVG ACC: the mean of the tasks' accuracies.
    pub accuracy: Option<f64>,
    /// Bootstrap interval of the AVG ACC.
    pub accuracy_interval: Option<Interval>,
    /// AVG BAC: the mean of the tasks' balanced accuracies.
    pub balanced_accuracy: Option<f64>,
    /// Bootstrap interval of the AVG BAC.
    pub balanced_accuracy_interval: Option<Interval>,
    /// AVG AUC: the flat mean over the classes that are [counted](ClassEvaluation::counted), which are 17 in the
    /// seven-point checklist.
    pub auc: Option<f64>,
    /// The mean of the tasks' macro F1.
    pub macro_f1: Option<f64>,
    /// How many AUC values are in the mean.
    pub counted_aucs: usize,
    /// How many counted classes have no AUC and are not in the mean.
    pub undefined_aucs: usize,
    /// How many tasks have no annotated case and are in no mean.
    pub undefined_tasks: usize,
}

/// The numbers of one task, over its annotated cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEvaluation {
    /// Name of the task.
    pub name: String,
    /// Short heading of the task.
    pub label: String,
    /// Annotated cases.
    pub n: usize,
    /// Fraction of cases whose most probable class is the true one.
    pub accuracy: Option<f64>,
    /// BAC: mean recall over the classes that occur.
    pub balanced_accuracy: Option<f64>,
    /// Mean F1 over the classes that occur or were predicted (over all classes with
    /// [`zero_undefined`](EvaluationOptions::zero_undefined)).
    pub macro_f1: Option<f64>,
    /// Mean F1 weighted by the number of cases of each class.
    pub weighted_f1: Option<f64>,
    /// Mean one-vs-rest AUC over the classes that have one.
    pub macro_auc: Option<f64>,
    /// Mean negative logarithm of the true class's probability, which is kept 2⁻⁵² away from 0 and 1.
    pub log_loss: Option<f64>,
    /// Mean over cases of the squared distance of the probabilities from the truth, summed over all classes: 0 to 2.
    pub brier: Option<f64>,
    /// Expected calibration error of the most probable class, 15 bins of equal width.
    pub calibration_error: Option<f64>,
    /// The same with 15 bins of equally many cases, between which equal confidences are not parted (Nguyen and O'Connor, EMNLP
    /// 2015; Nixon et al., CVPR workshops 2019).
    #[serde(default)]
    pub calibration_error_equal_mass: Option<f64>,
    /// One entry for each class.
    pub classes: Vec<ClassEvaluation>,
    /// Counts, rows are the truth.
    pub confusion: ConfusionMatrix,
    /// The bins behind the calibration error.
    pub reliability: Vec<ReliabilityBin>,
    /// The bins of equally many cases, of which there may be fewer; each begins where the one before ends.
    #[serde(default)]
    pub reliability_equal_mass: Vec<ReliabilityBin>,
}

/// The numbers of one class against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassEvaluation {
    /// Name of the class.
    pub name: String,
    /// Whether it is in the AVG AUC: it is not the task's reference class, and of a two-class task without a
    /// reference only the second class counts, because both have the same AUC.
    pub counted: bool,
    /// Cases that are truly of the class.
    pub support: usize,
    /// Area under the one-vs-rest ROC curve of its probability.
    pub auc: Option<f64>,
    /// SEN: recall, TP / (TP + FN).
    pub sensitivity: Option<f64>,
    /// SPE: TN / (TN + FP).
    pub specificity: Option<f64>,
    /// PRE: TP / (TP + FP).
    pub precision: Option<f64>,
    /// NPV: TN / (TN + FN).
    pub negative_predictive_value: Option<f64>,
    /// F1: 2 TP / (2 TP + FP + FN).
    pub f1: Option<f64>,
}

/// One bin of the confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower edge, exclusive.
    pub lower: f64,
    /// Upper edge, inclusive.
    pub upper: f64,
    /// Cases whose largest probability lies in the bin.
    pub count: usize,
    /// Mean of that probability.
    pub confidence: Option<f64>,
    /// Fraction of those cases that are right.
    pub accuracy: Option<f64>,
}

impl Evaluation {
    /// Evaluates with the default conventions.
    ///
    /// # Errors
    /// Columns of different lengths, a label out of range, a number that is no probability.
    ///
    /// ```
    /// use dermafuse_eval::Evaluation;
    /// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
    ///
    /// let predictions = Predictions {
    ///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
    ///     ids: vec!["1".into(), "2".into(), "3".into()],
    ///     labels: vec![vec![Some(0)], vec![Some(1)], vec![None]],
    ///     probabilities: vec![array![[0.8, 0.2], [0.6, 0.4], [0.5, 0.5]]],
    ///     basis: vec!["clinical".into(); 3],
    /// };
    /// let evaluation = Evaluation::of(&predictions)?;
    /// assert_eq!(evaluation.tasks[0].n, 2);
    /// assert_eq!(evaluation.overall.accuracy, Some(0.5));
    /// assert_eq!(evaluation.overall.auc, Some(1.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(predictions: &Predictions) -> Result<Self, EvalError> {
        Self::with(predictions, &EvaluationOptions::default())
    }

    /// Evaluates with the given conventions.
    ///
    /// # Errors
    /// As [`Evaluation::of`].
    pub fn with(predictions: &Predictions, options: &EvaluationOptions) -> Result<Self, EvalError> {
        check(predictions)?;
        let outcomes: Vec<Outcomes> = (0..predictions.tasks.len()).map(|task| outcomes(predictions, task)).collect();
        let tasks = predictions
            .tasks
            .iter()
            .zip(&outcomes)
            .enumerate()
            .map(|(index, (task, outcomes))| TaskEvaluation::of(predictions, index, task, outcomes, options))
            .collect::<Result<Vec<_>, _>>()?;
        let mut basis = BTreeMap::new();
        for of_case in &predictions.basis {
            *basis.entry(of_case.to_string()).or_insert(0) += 1;
        }
        let (accuracy_interval, balanced_accuracy_interval) =
            options.bootstrap.intervals(&outcomes.iter().collect::<Vec<_>>(), &rows_of_cases(&predictions.ids));
        let counted = || tasks.iter().flat_map(|task| &task.classes).filter(|class| class.counted);
        let counted_aucs = counted().filter(|class| class.auc.is_some()).count();
        let overall = Overall {
            accuracy: mean(tasks.iter().map(|task| task.accuracy)),
            accuracy_interval,
            balanced_accuracy: mean(tasks.iter().map(|task| task.balanced_accuracy)),
            balanced_accuracy_interval,
            auc: mean(counted().map(|class| class.auc)),
            macro_f1: mean(tasks.iter().map(|task| task.macro_f1)),
            counted_aucs,
            undefined_aucs: counted().count() - counted_aucs,
            undefined_tasks: tasks.iter().filter(|task| task.n == 0).count(),
        };
        let melanoma_related = MelanomaRelated::of(&tasks);
        Ok(Self { options: *options, cases: predictions.len(), basis, overall, melanoma_related, tasks })
    }
}

impl Evaluation {
    /// The flat mean of the AUC of the classes that are chosen; `None` if none of them has one. AMFAM averages the nineteen of the
    /// seven-point checklist, those that stand for "absent" included, and the five diagnoses on their own; `overall.auc` is over
    /// those that are [counted](ClassEvaluation::counted).
    #[must_use]
    pub fn mean_auc(&self, chosen: impl Fn(&TaskEvaluation, &ClassEvaluation) -> bool) -> Option<f64> {
        let classes = self.tasks.iter().flat_map(|task| task.classes.iter().map(move |class| (task, class)));
        mean(classes.filter(|(task, class)| chosen(task, class)).map(|(_, class)| class.auc))
    }
}

impl TaskEvaluation {
    fn of(
        predictions: &Predictions,
        index: usize,
        task: &Task,
        outcomes: &Outcomes,
        options: &EvaluationOptions,
    ) -> Result<Self, EvalError> {
        let probabilities = &predictions.probabilities[index];
        let annotated: Vec<(usize, usize)> =
            (0..predictions.len()).filter_map(|case| Some((case, predictions.labels[case][index]?))).collect();
        let confusion = ConfusionMatrix::of(task.classes.len(), outcomes.pairs.iter().copied().flatten())?;
        let classes: Vec<ClassEvaluation> = (0..task.classes.len())
            .map(|class| {
                let scores: Vec<(f64, bool)> =
                    annotated.iter().map(|&(case, truth)| (probabilities[[case, class]], truth == class)).collect();
                ClassEvaluation::of(task, class, &confusion, auc(&scores), options)
            })
            .collect();

        let n = annotated.len();
        let hits = confusion.counts().diag().sum();
        let recalls =
            (0..classes.len()).map(|class| ratio(confusion.counts()[[class, class]], confusion.support(class)));
        let weighted_f1: f64 = classes.iter().map(|class| class.support as f64 * class.f1.unwrap_or(0.0)).sum();
        let over_cases = |value: &dyn Fn(usize, usize) -> f64| {
            (n > 0).then(|| annotated.iter().map(|&(case, truth)| value(case, truth)).sum::<f64>() / n as f64)
        };
        let reliability = reliability(probabilities, outcomes);
        let reliability_equal_mass = equal_mass_reliability(probabilities, outcomes);
        Ok(Self {
            name: task.name.clone(),
            label: task.label.clone(),
            n,
            accuracy: ratio(hits, n),
            balanced_accuracy: mean(recalls),
            macro_f1: if n == 0 { None } else { mean(classes.iter().map(|class| class.f1)) },
            weighted_f1: (n > 0).then(|| weighted_f1 / n as f64),
            macro_auc: mean(classes.iter().map(|class| class.auc)),
            log_loss: over_cases(&|case, truth| {
                -probabilities[[case, truth]].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
            }),
            brier: over_cases(&|case, truth| {
                let row = probabilities.row(case);
                row.iter().enumerate().map(|(class, p)| (p - f64::from(u8::from(class == truth))).powi(2)).sum()
            }),
            calibration_error: expected_gap(&reliability, n),
            calibration_error_equal_mass: expected_gap(&reliability_equal_mass, n),
            classes,
            confusion,
            reliability,
            reliability_equal_mass,
        })
    }
}

impl ClassEvaluation {
    fn of(
        task: &Task,
        class: usize,
        confusion: &ConfusionMatrix,
        auc: Option<f64>,
        options: &EvaluationOptions,
    ) -> Self {
        let counts = confusion.one_vs_rest(class);
        let (tp, tn) = (counts.true_positives, counts.true_negatives);
        let (fp, fn_) = if options.transposed {
            (counts.false_negatives, counts.false_positives)
        } else {
            (counts.false_positives, counts.false_negatives)
        };
        let defined = |value: Option<f64>| if options.zero_undefined { value.or(Some(0.0)) } else { value };
        let counted = match task.reference {
            Some(reference) => class != reference,
            None => task.classes.len() > 2 || class == 1,
        };
        Self {
            name: task.classes[class].clone(),
            counted,
            support: confusion.support(class),
            auc,
            sensitivity: defined(ratio(tp, tp + fn_)),
            specificity: defined(ratio(tn, tn + fp)),
            precision: defined(ratio(tp, tp + fp)),
            negative_predictive_value: defined(ratio(tn, tn + fn_)),
            f1: defined(ratio(2 * tp, 2 * tp + fp + fn_)),
        }
    }
}

/// Checks that the columns fit together and every probability is one.
pub(crate) fn check(predictions: &Predictions) -> Result<(), EvalError> {
    let shape = |what: String, expected: Vec<usize>, found: Vec<usize>| {
        if expected == found { Ok(()) } else { Err(SchemaError::Shape { what, expected, found }) }
    };
    let (cases, tasks) = (predictions.len(), &predictions.tasks);
    shape("labels".into(), vec![cases], vec![predictions.labels.len()])?;
    shape("bases".into(), vec![cases], vec![predictions.basis.len()])?;
    shape("tasks with probabilities".into(), vec![tasks.len()], vec![predictions.probabilities.len()])?;
    for (id, labels) in predictions.ids.iter().zip(&predictions.labels) {
        shape(format!("labels of case `{id}`"), vec![tasks.len()], vec![labels.len()])?;
        for (task, label) in tasks.iter().zip(labels) {
            if let Some(label) = label.filter(|label| *label >= task.classes.len()) {
                let (case, task) = (id.to_string(), task);
                let classes = task.classes.len();
                return Err(SchemaError::Label { case, task: task.name.clone(), label, classes }.into());
            }
        }
    }
    for (task, probabilities) in tasks.iter().zip(&predictions.probabilities) {
        let what = format!("probabilities of task `{}`", task.name);
        shape(what, vec![cases, task.classes.len()], probabilities.shape().to_vec())?;
        for (id, row) in predictions.ids.iter().zip(probabilities.rows()) {
            let bad = row.iter().find(|p| !(-1e-6..=1.0 + 1e-6).contains(*p));
            if let Some(&value) = bad {
                let what = format!("probability of case `{id}`, task `{}`", task.name);
                return Err(SchemaError::Number { what, value, expected: "within 0..=1" }.into());
            }
            if (row.sum() - 1.0).abs() > ROW_SUM_TOLERANCE {
                let what = format!("sum of the probabilities of case `{id}`, task `{}`", task.name);
                return Err(SchemaError::Number { what, value: row.sum(), expected: "1" }.into());
            }
        }
    }
    Ok(())
}

/// Truth and prediction of every case of a task.
pub(crate) fn outcomes(predictions: &Predictions, task: usize) -> Outcomes {
    let pairs = (0..predictions.len())
        .map(|case| predictions.labels[case][task].map(|truth| (truth, predictions.predicted(case, task))))
        .collect();
    Outcomes { classes: predictions.tasks[task].classes.len(), pairs }
}

/// The most probable class's probability against how often it is right. A confidence of exactly an edge belongs to the
/// bin below it.
fn reliability(probabilities: &Array2<f64>, outcomes: &Outcomes) -> Vec<ReliabilityBin> {
    let mut sums = [(0_usize, 0.0, 0_usize); CALIBRATION_BINS];
    for (case, pair) in outcomes.pairs.iter().enumerate() {
        if let Some((truth, predicted)) = *pair {
            let confidence = probabilities[[case, predicted]];
            let bin = ((confidence * CALIBRATION_BINS as f64).ceil() as usize).clamp(1, CALIBRATION_BINS) - 1;
            sums[bin].0 += 1;
            sums[bin].1 += confidence;
            sums[bin].2 += usize::from(truth == predicted);
        }
    }
    let bins = sums.iter().enumerate().map(|(bin, &(count, confidence, hits))| ReliabilityBin {
        lower: bin as f64 / CALIBRATION_BINS as f64,
        upper: (bin + 1) as f64 / CALIBRATION_BINS as f64,
        count,
        confidence: (count > 0).then(|| confidence / count as f64),
        accuracy: ratio(hits, count),
    });
    bins.collect()
}

/// The same in bins of equally many cases: the cases in the order of their confidence, cut into 15 parts. Cases of one confidence
/// stay together in the bin of the first of them.
fn equal_mass_reliability(probabilities: &Array2<f64>, outcomes: &Outcomes) -> Vec<ReliabilityBin> {
    let with_label = outcomes.pairs.iter().enumerate().filter_map(|(case, pair)| pair.map(|pair| (case, pair)));
    let mut answers: Vec<(f64, bool)> =
        with_label.map(|(case, (truth, predicted))| (probabilities[[case, predicted]], truth == predicted)).collect();
    answers.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut bins: Vec<ReliabilityBin> = Vec::new();
    let (mut begin, mut lower) = (0, 0.0);
    for bin in 1..=CALIBRATION_BINS {
        let mut end = (bin * answers.len()).div_ceil(CALIBRATION_BINS).max(begin);
        while end > begin && end < answers.len() && answers[end].0 == answers[end - 1].0 {
            end += 1;
        }
        let part = &answers[begin..end];
        let Some((upper, _)) = part.last() else { continue };
        let count = part.len();
        let confidence = part.iter().map(|(confidence, _)| confidence).sum::<f64>() / count as f64;
        let accuracy = ratio(part.iter().filter(|(_, is_right)| *is_right).count(), count);
        bins.push(ReliabilityBin { lower, upper: *upper, count, confidence: Some(confidence), accuracy });
        (begin, lower) = (end, *upper);
    }
    bins
}

/// The mean distance of confidence and accuracy over bins of `n` cases together; `None` without cases.
fn expected_gap(bins: &[ReliabilityBin], n: usize) -> Option<f64> {
    let gap = |bin: &ReliabilityBin| {
        let gap = (bin.confidence.unwrap_or(0.0) - bin.accuracy.unwrap_or(0.0)).abs();
        gap * bin.count as f64 / n as f64
    };
    (n > 0).then(|| bins.iter().map(gap).sum())
}

/// The mean of the defined values; `None` when there is none.
pub(crate) fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, n) = values.flatten().fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::TaskSet;
    use ndarray::array;

    fn of_one_task(task: Task, probabilities: Array2<f64>, labels: &[Option<usize>]) -> Predictions {
        Predictions {
            tasks: TaskSet::new(vec![task]).unwrap(),
            ids: (0..labels.len()).map(|case| case.to_string().into()).collect(),
            labels: labels.iter().map(|&label| vec![label]).collect(),
            basis: vec!["clinical".into(); labels.len()],
            probabilities: vec![probabilities],
        }
    }

    fn three_classes() -> Task {
        Task::new("streaks", "STR", ["ABS", "REG", "IR"])
    }

    /// Truth 0, 0, 1, 1; predicted 0, 1, 1, 1; class 2 neither occurs nor is predicted.
    fn small() -> Predictions {
        let p = array![[0.75, 0.25, 0.0], [0.25, 0.5, 0.25], [0.0, 1.0, 0.0], [0.25, 0.75, 0.0]];
        of_one_task(three_classes(), p, &[Some(0), Some(0), Some(1), Some(1)])
    }

    #[test]
    fn a_small_task_by_hand() {
        let evaluation = Evaluation::of(&small()).unwrap();
        let task = &evaluation.tasks[0];
        assert_eq!(task.confusion.counts(), array![[1, 1, 0], [0, 2, 0], [0, 0, 0]]);
        assert_eq!(task.accuracy, Some(0.75));
        assert_eq!(task.balanced_accuracy, Some(0.75));
        // F1: class 0 2/3, class 1 4/5, class 2 undefined
        assert!((task.macro_f1.unwrap() - (2.0 / 3.0 + 0.8) / 2.0).abs() < 1e-15);
        assert!((task.weighted_f1.unwrap() - (2.0 * 2.0 / 3.0 + 2.0 * 0.8) / 4.0).abs() < 1e-15);
        let log_loss = -(0.75_f64.ln() + 0.25_f64.ln() + (1.0 - f64::EPSILON).ln() + 0.75_f64.ln()) / 4.0;
        assert!((task.log_loss.unwrap() - log_loss).abs() < 1e-15);
        // 2·0.0625, 0.5625 + 0.25 + 0.0625, 0, 2·0.0625
        assert!((task.brier.unwrap() - (0.125 + 0.875 + 0.0 + 0.125) / 4.0).abs() < 1e-15);
        // confidences 0.75 (twice, both right), 0.5 (wrong), 1 (right)
        assert!((task.calibration_error.unwrap() - (2.0 * 0.25 + 0.5 + 0.0) / 4.0).abs() < 1e-15);
        assert_eq!(task.reliability.iter().map(|bin| bin.count).sum::<usize>(), 4);
        // In the order of confidence 0.5 (wrong), 0.75 twice (right, and not parted), 1 (right).
        let masses: Vec<_> = task.reliability_equal_mass.iter().map(|bin| (bin.lower, bin.upper, bin.count)).collect();
        assert_eq!(masses, [(0.0, 0.5, 1), (0.5, 0.75, 2), (0.75, 1.0, 1)]);
        assert!((task.calibration_error_equal_mass.unwrap() - (2.0 * 0.25 + 0.5 + 0.0) / 4.0).abs() < 1e-15);
        let class = &task.classes[1];
        assert_eq!((class.sensitivity, class.specificity), (Some(1.0), Some(0.5)));
        assert_eq!((class.precision, class.negative_predictive_value), (Some(2.0 / 3.0), Some(1.0)));
        assert_eq!(class.auc, Some(1.0));
        assert_eq!(evaluation.basis["clinical"], 4);
    }

    #[test]
    fn undefined_values_are_none_and_leave_the_means() {
        let evaluation = Evaluation::of(&small()).unwrap();
        let absent = &evaluation.tasks[0].classes[2];
        assert_eq!((absent.support, absent.auc, absent.sensitivity), (0, None, None));
        assert_eq!((absent.precision, absent.f1), (None, None));
        assert_eq!((absent.specificity, absent.negative_predictive_value), (Some(1.0), Some(1.0)));
        // class 0: 3.5 of 4 pairs, class 1: all
        assert_eq!(evaluation.overall.auc, Some(0.9375));
        assert_eq!((evaluation.overall.counted_aucs, evaluation.overall.undefined_aucs), (2, 1));

        let options = EvaluationOptions { zero_undefined: true, ..EvaluationOptions::default() };
        let zeros = Evaluation::with(&small(), &options).unwrap();
        let absent = &zeros.tasks[0].classes[2];
        assert_eq!(
            (absent.sensitivity, absent.precision, absent.f1, absent.auc),
            (Some(0.0), Some(0.0), Some(0.0), None)
        );
        assert!((zeros.tasks[0].macro_f1.unwrap() - (2.0 / 3.0 + 0.8) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_task_without_annotated_cases_has_no_numbers() {
        let mut none = small();
        none.labels = vec![vec![None]; 4];
        let options = EvaluationOptions { zero_undefined: true, ..EvaluationOptions::default() };
        for evaluation in [Evaluation::of(&none).unwrap(), Evaluation::with(&none, &options).unwrap()] {
            let task = &evaluation.tasks[0];
            assert_eq!((task.n, task.accuracy, task.balanced_accuracy, task.macro_f1), (0, None, None, None));
            assert_eq!((task.weighted_f1, task.macro_auc, task.log_loss), (None, None, None));
            assert_eq!((task.brier, task.calibration_error, task.calibration_error_equal_mass), (None, None, None));
            assert_eq!((evaluation.overall.accuracy, evaluation.overall.undefined_tasks), (None, 1));
            assert_eq!(evaluation.overall.accuracy_interval, None);
        }
        assert_eq!(Evaluation::of(&small().select(&[])).unwrap().cases, 0);
    }

    #[test]
    fn bins_of_equal_mass_have_equally_many_cases() {
        // Fifteen cases a bin, the confidence rising from 0.5; every other one is right.
        let cases = 225;
        let p = Array2::from_shape_fn((cases, 2), |(case, class)| {
            let confidence = 0.5 + (case as f64 + 1.0) / 1000.0;
            if class == 0 { confidence } else { 1.0 - confidence }
        });
        let labels: Vec<Option<usize>> = (0..cases).map(|case| Some(case % 2)).collect();
        let evaluation = Evaluation::of(&of_one_task(Task::new("m", "M", ["a", "b"]), p, &labels)).unwrap();
        let task = &evaluation.tasks[0];
        assert_eq!(task.reliability_equal_mass.len(), 15);
        assert!(task.reliability_equal_mass.iter().all(|bin| bin.count == 15));
        let by_hand: f64 = (0..15)
            .map(|bin| {
                let confidence: f64 =
                    (0..15).map(|at| 0.5 + ((bin * 15 + at) as f64 + 1.0) / 1000.0).sum::<f64>() / 15.0;
                let accuracy = (0..15).filter(|at| (bin * 15 + at) % 2 == 0).count() as f64 / 15.0;
                (confidence - accuracy).abs() / 15.0
            })
            .sum();
        assert!((task.calibration_error_equal_mass.unwrap() - by_hand).abs() < 1e-12);
    }

    /// A class of a test set of 395 cases: how many there are, how many were called it, and how many of these rightly.
    fn class_of_395(found: usize, truly: usize, called: usize, transposed: bool) -> ClassEvaluation {
        let counts =
            [(1, 1, found), (1, 0, truly - found), (0, 1, called - found), (0, 0, 395 - truly - called + found)];
        let pairs: Vec<(usize, usize)> =
            counts.iter().flat_map(|&(truth, said, n)| std::iter::repeat_n((truth, said), n)).collect();
        let labels: Vec<Option<usize>> = pairs.iter().map(|pair| Some(pair.0)).collect();
        let p = Array2::from_shape_fn((pairs.len(), 2), |(case, class)| f64::from(u8::from(pairs[case].1 == class)));
        let predictions = of_one_task(Task::new("d", "D", ["rest", "one"]), p, &labels);
        let options = EvaluationOptions { transposed, ..EvaluationOptions::default() };
        Evaluation::with(&predictions, &options).unwrap().tasks.remove(0).classes.remove(1)
    }

    #[test]
    fn the_transposed_reading_swaps_as_the_printed_tables_do() {
        // Melanoma of AMMFM, PEMM and AMFAM: their SEN is the precision, their PRE the recall, their SPE the NPV.
        for (found, called, (true_negatives, not_called)) in
            [(60, 84, (270, 311)), (66, 90, (270, 305)), (77, 117, (254, 278))]
        {
            let printed = class_of_395(found, 101, called, true);
            let share = |part: usize, whole: usize| Some(part as f64 / whole as f64);
            assert_eq!(printed.sensitivity, share(found, called));
            assert_eq!(printed.precision, share(found, 101));
            assert_eq!(printed.specificity, share(true_negatives, not_called));
            let correct = class_of_395(found, 101, called, false);
            assert_eq!((correct.sensitivity, correct.precision), (printed.precision, printed.sensitivity));
            assert_eq!((correct.specificity, correct.f1), (printed.negative_predictive_value, printed.f1));
        }
        // As printed for AMMFM, in per cent.
        let percent = |value: Option<f64>| (value.unwrap() * 1000.0).round() / 10.0;
        let melanoma = class_of_395(60, 101, 84, true);
        let numbers = [melanoma.sensitivity, melanoma.precision, melanoma.specificity].map(percent);
        assert_eq!(numbers, [71.4, 59.4, 86.8]);
        // The blue-whitish veil of AMFAM.
        let veil = class_of_395(50, 75, 68, true);
        assert_eq!((veil.precision, veil.sensitivity), (Some(50.0 / 75.0), Some(50.0 / 68.0)));
    }

    #[test]
    fn earlier_tables_have_the_correct_definitions() {
        // Melanoma of the published baseline: 63 of 101 found, 96 called.
        let melanoma = class_of_395(63, 101, 96, false);
        assert_eq!((melanoma.sensitivity, melanoma.precision), (Some(63.0 / 101.0), Some(63.0 / 96.0)));
        assert_eq!(melanoma.specificity, Some(261.0 / 294.0));
    }

    #[test]
    fn means_of_the_area_are_over_chosen_classes() {
        let evaluation = Evaluation::of(&small()).unwrap();
        let with_reference = evaluation.mean_auc(|_, _| true);
        assert_eq!(with_reference, Some(0.9375));
        assert_eq!(evaluation.mean_auc(|task, class| task.name == "streaks" && class.name == "REG"), Some(1.0));
        assert_eq!(evaluation.mean_auc(|_, class| class.name == "IR"), None);
    }

    #[test]
    fn the_checklist_has_17_counted_classes() {
        let checklist = [
            Task::new("diagnosis", "DIAG", ["NEV", "BCC", "MEL", "MISC", "SK"]),
            Task::new("pigment_network", "PN", ["ABS", "TYP", "ATP"]).with_reference("ABS"),
            Task::new("streaks", "STR", ["ABS", "REG", "IR"]).with_reference("ABS"),
            Task::new("pigmentation", "PIG", ["ABS", "REG", "IR"]).with_reference("ABS"),
            Task::new("regression_structures", "RS", ["ABS", "PRS"]).with_reference("ABS"),
            Task::new("dots_and_globules", "DaG", ["ABS", "REG", "IR"]).with_reference("ABS"),
            Task::new("blue_whitish_veil", "BWV", ["ABS", "PRS"]).with_reference("ABS"),
            Task::new("vascular_structures", "VS", ["ABS", "REG", "IR"]).with_reference("ABS"),
        ];
        let counts = checklist.map(|task| {
            let k = task.classes.len();
            let evaluation =
                Evaluation::of(&of_one_task(task, Array2::from_elem((1, k), 1.0 / k as f64), &[Some(0)])).unwrap();
            evaluation.overall.counted_aucs + evaluation.overall.undefined_aucs
        });
        assert_eq!(counts.iter().sum::<usize>(), 17);
        let binary = of_one_task(Task::new("m", "M", ["benign", "malignant"]), array![[0.5, 0.5]], &[Some(0)]);
        let classes = &Evaluation::of(&binary).unwrap().tasks[0].classes;
        assert_eq!((classes[0].counted, classes[1].counted), (false, true));
    }

    #[test]
    fn columns_that_do_not_fit_are_errors_that_name_the_culprit() {
        let error = |change: &dyn Fn(&mut Predictions)| {
            let mut predictions = small();
            change(&mut predictions);
            Evaluation::of(&predictions).unwrap_err().to_string()
        };
        let text = error(&|p| p.probabilities[0][[1, 2]] = f64::NAN);
        assert_eq!(text, "probability of case `1`, task `streaks`: NaN is not within 0..=1");
        let text = error(&|p| p.probabilities[0][[1, 2]] = 0.5);
        assert_eq!(text, "sum of the probabilities of case `1`, task `streaks`: 1.25 is not 1");
        assert!(error(&|p| p.labels[3][0] = Some(3)).contains("case `3`: label 3 of task `streaks` is out of range"));
        assert!(error(&|p| p.labels[2].clear()).contains("labels of case `2`"));
        assert!(error(&|p| drop(p.labels.pop())).contains("labels"));
        assert!(error(&|p| drop(p.basis.pop())).contains("bases"));
        assert!(error(&|p| p.probabilities.clear()).contains("tasks with probabilities"));
        assert!(error(&|p| p.probabilities[0] = Array2::zeros((4, 2))).contains("probabilities of task `streaks`"));
    }
}
