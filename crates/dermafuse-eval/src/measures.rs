//! The measures that clinicians and challenges ask for, with intervals.

use std::collections::BTreeMap;

use dermafuse_schema::{Predictions, SchemaError};
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Resampler, interval};
use crate::metrics::check;
use crate::significance::AucEstimate;
use crate::{Bootstrap, EvalError, Interval};

/// The specificities at which a sensitivity is given, and the other way round.
pub const AIMS: [f64; 2] = [0.9, 0.95];
/// The sensitivity above which the ISIC 2024 challenge counts the area under the ROC curve.
pub const LEAST_SENSITIVITY: f64 = 0.8;

/// A number with its interval; `None` where it is undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: Option<f64>,
    /// 95 % of the numbers of bootstrap samples of the groups in which it is defined.
    pub interval: Option<Interval>,
}

/// Measures of one table of predictions, each with a bootstrap interval over groups (patients, else lesions): who has many images is
/// drawn with all of them.
///
/// ```
/// use dermafuse_eval::{Bootstrap, Measures};
/// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
///
/// let predictions = Predictions {
///     tasks: TaskSet::new(vec![Task::new("malignancy", "MAL", ["benign", "malignant"])])?,
///     ids: (0..4).map(|case| case.to_string().into()).collect(),
///     labels: [1, 0, 1, 0].map(|label| vec![Some(label)]).into(),
///     probabilities: vec![array![[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1]]],
///     basis: vec!["clinical".into(); 4],
/// };
/// let patients = ["a", "a", "b", "c"].map(String::from);
/// let measures = Measures::of(&predictions, &patients, &Bootstrap::default())?;
/// let malignant = &measures.tasks[0].classes[1];
/// // One of two malignant lesions has a higher probability than every benign one.
/// assert_eq!(malignant.sensitivity_at[0].value, Some(0.5));
/// assert_eq!(malignant.specificity_at[1].value, Some(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// How intervals were drawn.
    pub bootstrap: Bootstrap,
    /// Number of groups that are drawn.
    pub groups: usize,
    /// One entry for each task.
    pub tasks: Vec<TaskMeasures>,
}

/// The measures of a task, over its annotated cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskMeasures {
    /// Name of the task.
    pub name: String,
    /// Short heading of the task.
    pub label: String,
    /// Annotated cases.
    pub n: usize,
    /// The share of cases whose most probable class is the true one.
    pub accuracy: Estimate,
    /// Mean recall over the classes that occur.
    pub balanced_accuracy: Estimate,
    /// Mean F1 over the classes that occur or were predicted.
    pub macro_f1: Estimate,
    /// Mean area under the one-vs-rest ROC curves.
    pub macro_auc: Estimate,
    /// Mean over the [counted](crate::ClassEvaluation::counted) classes of the area above a sensitivity of 80 %, 0 to 0.2.
    pub partial_auc: Estimate,
    /// One entry for each class.
    pub classes: Vec<ClassMeasures>,
}

/// The measures of one class against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMeasures {
    /// Name of the class.
    pub name: String,
    /// Cases that are truly of the class.
    pub support: usize,
    /// Area under the ROC curve with DeLong's interval; `None` with fewer than two cases of the class, or of others.
    pub auc: Option<AucEstimate>,
    /// The area above a sensitivity of 80 %, as the ISIC 2024 challenge scores it: 0 to 0.2 ([`partial_auc`](dermafuse_schema::partial_auc)).
    pub partial_auc: Estimate,
    /// Recall at the most probable class.
    pub sensitivity: Estimate,
    /// Precision at the most probable class.
    pub precision: Estimate,
    /// F1 at the most probable class.
    pub f1: Estimate,
    /// The largest sensitivity of any threshold with a specificity of at least each of [`AIMS`].
    pub sensitivity_at: [Estimate; 2],
    /// The largest specificity of any threshold with a sensitivity of at least each of [`AIMS`].
    pub specificity_at: [Estimate; 2],
}

/// The cases of a task, once for all samples.
pub(crate) struct TaskCases {
    classes: usize,
    /// `[N]` truth and most probable class.
    pairs: Vec<Option<(usize, usize)>>,
    /// For each class the annotated cases in falling order of its probability, and where the probability changes after each.
    orders: Vec<Vec<(usize, bool)>>,
    counted: Vec<bool>,
}

/// All numbers of a task on one sample.
struct Numbers {
    means: [Option<f64>; 5],
    /// For each class: partial area, sensitivity, precision, F1, sensitivities, specificities.
    of_classes: Vec<[Option<f64>; 8]>,
}

impl Measures {
    /// The measures, with intervals over `groups` `[N]`: the patients of the cases, else their lesions.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated; another number of groups.
    pub fn of(predictions: &Predictions, groups: &[String], bootstrap: &Bootstrap) -> Result<Self, EvalError> {
        check(predictions)?;
        if groups.len() != predictions.len() {
            let (expected, found) = (vec![predictions.len()], vec![groups.len()]);
            return Err(SchemaError::Shape { what: "groups of the cases".into(), expected, found }.into());
        }
        let rows = rows_of_groups(groups);
        let tasks: Vec<TaskCases> =
            (0..predictions.tasks.len()).map(|task| TaskCases::new(predictions, task)).collect();
        let whole: Vec<Numbers> = tasks.iter().map(|task| task.numbers(&vec![1; predictions.len()])).collect();
        let mut samples: Vec<Vec<Numbers>> = tasks.iter().map(|_| Vec::new()).collect();
        let mut resampler = Resampler::new(bootstrap.seed);
        for _ in 0..if rows.is_empty() { 0 } else { bootstrap.resamples } {
            let counts = resampler.counts(&rows, predictions.len());
            for (task, samples) in tasks.iter().zip(&mut samples) {
                samples.push(task.numbers(&counts));
            }
        }
        let of_task = |(index, (whole, samples)): (usize, (&Numbers, &Vec<Numbers>))| {
            let task = &predictions.tasks[index];
            let estimate = |value: &dyn Fn(&Numbers) -> Option<f64>| Estimate {
                value: value(whole),
                interval: value(whole).and_then(|_| interval(samples.iter().filter_map(value).collect())),
            };
            let mean = |at: usize| estimate(&|numbers| numbers.means[at]);
            let labelled: Vec<usize> =
                (0..predictions.len()).filter(|&case| predictions.labels[case][index].is_some()).collect();
            let classes = task.classes.iter().enumerate().map(|(class, name)| {
                let number = |at: usize| estimate(&|numbers| numbers.of_classes[class][at]);
                let scores: Vec<(f64, bool)> = labelled
                    .iter()
                    .map(|&case| {
                        let truth = predictions.labels[case][index] == Some(class);
                        (predictions.probabilities[index][[case, class]], truth)
                    })
                    .collect();
                ClassMeasures {
                    name: name.clone(),
                    support: scores.iter().filter(|(_, truth)| *truth).count(),
                    auc: AucEstimate::of(&scores).ok(),
                    partial_auc: number(0),
                    sensitivity: number(1),
                    precision: number(2),
                    f1: number(3),
                    sensitivity_at: [number(4), number(5)],
                    specificity_at: [number(6), number(7)],
                }
            });
            TaskMeasures {
                name: task.name.clone(),
                label: task.label.clone(),
                n: labelled.len(),
                accuracy: mean(0),
                balanced_accuracy: mean(1),
                macro_f1: mean(2),
                macro_auc: mean(3),
                partial_auc: mean(4),
                classes: classes.collect(),
            }
        };
        let tasks = whole.iter().zip(&samples).enumerate().map(of_task).collect();
        Ok(Self { bootstrap: *bootstrap, groups: rows.len(), tasks })
    }
}

/// The rows of each group, in the order of the groups' names.
pub(crate) fn rows_of_groups(groups: &[String]) -> Vec<Vec<usize>> {
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    groups.iter().enumerate().for_each(|(row, group)| rows.entry(group).or_default().push(row));
    rows.into_values().collect()
}

impl TaskCases {
    pub(crate) fn new(predictions: &Predictions, task: usize) -> Self {
        let (table, of) = (&predictions.probabilities[task], &predictions.tasks[task]);
        let classes = of.classes.len();
        let pair = |case: usize| Some((predictions.labels[case][task]?, predictions.predicted(case, task)));
        let pairs: Vec<Option<(usize, usize)>> = (0..predictions.len()).map(pair).collect();
        let order = |class: usize| {
            let mut cases: Vec<usize> = (0..pairs.len()).filter(|&case| pairs[case].is_some()).collect();
            cases.sort_by(|&a, &b| table[[b, class]].total_cmp(&table[[a, class]]));
            let ends =
                |at: usize| cases.get(at + 1).is_none_or(|&next| table[[next, class]] != table[[cases[at], class]]);
            cases.iter().enumerate().map(|(at, &case)| (case, ends(at))).collect()
        };
        let counted = (0..classes).map(|class| match of.reference {
            Some(reference) => class != reference,
            None => classes > 2 || class == 1,
        });
        Self { classes, orders: (0..classes).map(order).collect(), counted: counted.collect(), pairs }
    }

    /// Accuracy, balanced accuracy, macro F1 and macro AUC of cases that count so often.
    pub(crate) fn means(&self, counts: &[u32]) -> [Option<f64>; 4] {
        let [accuracy, balanced, f1, auc, _] = self.numbers(counts).means;
        [accuracy, balanced, f1, auc]
    }

    /// All numbers of cases that count so often.
    fn numbers(&self, counts: &[u32]) -> Numbers {
        let (mut hits, mut support, mut said) =
            (vec![0_u64; self.classes], vec![0_u64; self.classes], vec![0_u64; self.classes]);
        for (pair, &count) in self.pairs.iter().zip(counts) {
            let &Some((truth, predicted)) = pair else { continue };
            let count = u64::from(count);
            support[truth] += count;
            said[predicted] += count;
            hits[truth] += if truth == predicted { count } else { 0 };
        }
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let mut aucs = Vec::with_capacity(self.classes);
        let mut of_classes = Vec::with_capacity(self.classes);
        for class in 0..self.classes {
            let curve = self.curve(class, counts);
            let at = curve.as_deref().map(at_aims);
            aucs.push(curve.as_deref().map(area));
            let [first, second, third, fourth] = [0, 1, 2, 3].map(|place| at.map(|values| values[place]));
            of_classes.push([
                curve.as_deref().map(partial_area),
                ratio(hits[class], support[class]),
                ratio(hits[class], said[class]),
                ratio(2 * hits[class], support[class] + said[class]),
                first,
                second,
                third,
                fourth,
            ]);
        }
        let column = |at: usize| of_classes.iter().map(move |numbers: &[Option<f64>; 8]| numbers[at]);
        let partial =
            of_classes.iter().zip(&self.counted).filter(|(_, counted)| **counted).map(|(numbers, _)| numbers[0]);
        let means = [
            ratio(hits.iter().sum(), support.iter().sum()),
            mean(column(1)),
            if support.iter().all(|n| *n == 0) { None } else { mean(column(3)) },
            mean(aucs.into_iter()),
            mean(partial),
        ];
        Numbers { means, of_classes }
    }

    /// `(sensitivity, specificity)` after each distinct probability of a class, from the largest; `None` where positives or negatives
    /// are missing.
    fn curve(&self, class: usize, counts: &[u32]) -> Option<Vec<(f64, f64)>> {
        let is_positive = |case: usize| self.pairs[case].is_some_and(|(truth, _)| truth == class);
        let (mut positives, mut all) = (0_u64, 0_u64);
        for &(case, _) in &self.orders[class] {
            all += u64::from(counts[case]);
            positives += if is_positive(case) { u64::from(counts[case]) } else { 0 };
        }
        let negatives = all - positives;
        if positives == 0 || negatives == 0 {
            return None;
        }
        let (mut found, mut alarms) = (0_u64, 0_u64);
        let mut points = vec![(0.0, 1.0)];
        for &(case, ends) in &self.orders[class] {
            let count = u64::from(counts[case]);
            if is_positive(case) {
                found += count;
            } else {
                alarms += count;
            }
            if ends {
                points.push((found as f64 / positives as f64, 1.0 - alarms as f64 / negatives as f64));
            }
        }
        Some(points)
    }
}

/// The area under a curve of sensitivity and specificity.
fn area(curve: &[(f64, f64)]) -> f64 {
    curve.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0).sum()
}

/// The same above the least sensitivity.
fn partial_area(curve: &[(f64, f64)]) -> f64 {
    let part = |pair: &[(f64, f64)]| {
        let (from, to) = (pair[0], pair[1]);
        if to.0 <= LEAST_SENSITIVITY || to.0 <= from.0 {
            return 0.0;
        }
        let start = from.0.max(LEAST_SENSITIVITY);
        let specificity = from.1 + (start - from.0) / (to.0 - from.0) * (to.1 - from.1);
        (to.0 - start) * (specificity + to.1) / 2.0
    };
    curve.windows(2).map(part).sum()
}

/// The sensitivities at both specificities, and the specificities at both sensitivities. A share that is exactly what is wanted must not
/// fail by rounding.
fn at_aims(curve: &[(f64, f64)]) -> [f64; 4] {
    let reaches = |share: f64, wanted: f64| share >= wanted - 1e-12;
    let sensitivity = |wanted: f64| {
        curve.iter().filter(|(_, specificity)| reaches(*specificity, wanted)).map(|point| point.0).fold(0.0, f64::max)
    };
    let specificity = |wanted: f64| {
        curve.iter().filter(|(sensitivity, _)| reaches(*sensitivity, wanted)).map(|point| point.1).fold(0.0, f64::max)
    };
    [sensitivity(AIMS[0]), sensitivity(AIMS[1]), specificity(AIMS[0]), specificity(AIMS[1])]
}

/// The mean of what is defined.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let defined: Vec<f64> = values.flatten().collect();
    (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evaluation;
    use dermafuse_schema::{Task, TaskSet, partial_auc};
    use ndarray::Array2;

    fn predictions() -> Predictions {
        let (cases, classes) = (120, 3);
        let mut p = Array2::from_shape_fn((cases, classes), |(case, class)| (1 + (case * 13 + class * 5) % 17) as f64);
        let labels: Vec<usize> = (0..cases).map(|case| (case * case + case / 7) % 3).collect();
        labels.iter().enumerate().for_each(|(case, &label)| p[[case, label]] += 6.0);
        for mut row in p.rows_mut() {
            let sum = row.sum();
            row.mapv_inplace(|p| p / sum);
        }
        Predictions {
            tasks: TaskSet::new(vec![Task::new("d", "D", ["a", "b", "c"])]).unwrap(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            labels: labels.iter().enumerate().map(|(case, &l)| vec![(case % 10 != 3).then_some(l)]).collect(),
            probabilities: vec![p],
            basis: vec!["clinical".into(); cases],
        }
    }

    fn groups(of_each: usize) -> Vec<String> {
        (0..120).map(|case| format!("patient {}", case / of_each)).collect()
    }

    #[test]
    fn values_are_those_of_an_evaluation() {
        let predictions = predictions();
        let measures = Measures::of(&predictions, &groups(3), &Bootstrap { resamples: 200, seed: 1 }).unwrap();
        let evaluation = Evaluation::of(&predictions).unwrap();
        let (ours, theirs) = (&measures.tasks[0], &evaluation.tasks[0]);
        assert_eq!((measures.groups, ours.n), (40, theirs.n));
        let close = |ours: Option<f64>, theirs: Option<f64>| {
            assert!((ours.unwrap() - theirs.unwrap()).abs() < 1e-12, "{ours:?} {theirs:?}");
        };
        close(ours.accuracy.value, theirs.accuracy);
        close(ours.balanced_accuracy.value, theirs.balanced_accuracy);
        close(ours.macro_f1.value, theirs.macro_f1);
        close(ours.macro_auc.value, theirs.macro_auc);
        for (class, (ours, theirs)) in ours.classes.iter().zip(&theirs.classes).enumerate() {
            close(ours.sensitivity.value, theirs.sensitivity);
            close(ours.precision.value, theirs.precision);
            close(ours.f1.value, theirs.f1);
            close(ours.auc.map(|auc| auc.auc), theirs.auc);
            let scores: Vec<(f64, bool)> = (0..120)
                .filter_map(|case| {
                    Some((predictions.probabilities[0][[case, class]], predictions.labels[case][0]? == class))
                })
                .collect();
            close(ours.partial_auc.value, partial_auc(&scores, LEAST_SENSITIVITY));
            for estimate in ours.sensitivity_at.iter().chain(&ours.specificity_at).chain([&ours.partial_auc, &ours.f1])
            {
                let Interval { lower, upper } = estimate.interval.unwrap();
                assert!(lower <= estimate.value.unwrap() && estimate.value.unwrap() <= upper, "{estimate:?}");
            }
        }
    }

    #[test]
    fn patients_with_many_images_make_intervals_wider() {
        // All images of a patient say the same.
        let mut predictions = predictions();
        for case in 0..120 {
            let row = predictions.probabilities[0].row(case - case % 6).to_owned();
            predictions.probabilities[0].row_mut(case).assign(&row);
            predictions.labels[case] = vec![Some((case / 6 * 5) % 3)];
        }
        let width = |of_each: usize| {
            let bootstrap = Bootstrap { resamples: 500, seed: 3 };
            let measures = Measures::of(&predictions, &groups(of_each), &bootstrap).unwrap();
            let Interval { lower, upper } = measures.tasks[0].accuracy.interval.unwrap();
            upper - lower
        };
        // 20 patients say as much as 20 cases: wider by the root of 6.
        let ratio = width(6) / width(1);
        assert!((1.9..3.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_is_undefined_is_none_and_groups_must_fit() {
        let mut predictions = predictions();
        predictions.labels.iter_mut().for_each(|labels| labels[0] = labels[0].map(|_| 0));
        let measures = Measures::of(&predictions, &groups(1), &Bootstrap { resamples: 10, seed: 0 }).unwrap();
        let task = &measures.tasks[0];
        assert_eq!((task.partial_auc, task.macro_auc), (Estimate::default(), Estimate::default()));
        assert_eq!((task.classes[1].auc, task.classes[1].sensitivity), (None, Estimate::default()));
        assert_eq!(task.classes[1].sensitivity_at, [Estimate::default(); 2]);
        let error = Measures::of(&predictions, &groups(1)[1..], &Bootstrap::default()).unwrap_err().to_string();
        assert!(error.contains("groups of the cases"), "{error}");
        let none = Measures::of(&predictions.select(&[]), &[], &Bootstrap::default()).unwrap();
        assert_eq!(none.tasks[0].accuracy, Estimate::default());
    }
}
