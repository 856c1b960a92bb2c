use serde::{Deserialize, Serialize};

use crate::metrics::mean;
use crate::{ClassEvaluation, TaskEvaluation};

/// The class of each task of the seven-point checklist that speaks for a melanoma: headings of tasks and names of classes.
const CLASSES: [(&str, &str); 8] = [
    ("DIAG", "MEL"),
    ("PN", "ATP"),
    ("STR", "IR"),
    ("PIG", "IR"),
    ("RS", "PRS"),
    ("DaG", "IR"),
    ("BWV", "PRS"),
    ("VS", "IR"),
];

/// Means over the classes that speak for a melanoma, one of each task of the seven-point checklist: melanoma, an atypical network,
/// irregular streaks, irregular pigmentation, regression structures, irregular dots and globules, a blue-whitish veil, irregular
/// vessels. Inception-combined, HcCNN, AMFAM, GIIN, CAFNet, AMMFM and PEMM are compared by them (AMMFM, Table 4; thesis, Tables 5.4
/// and 5.14).
///
/// Where the precision of a class is undefined because it was never predicted, it is in no mean, as everywhere here; AMFAM prints
/// such a precision as 0, which [`zero_undefined`](crate::EvaluationOptions::zero_undefined) does. The printed tables of AMFAM,
/// AMMFM and PEMM are those of the [`transposed`](crate::EvaluationOptions::transposed) confusion matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MelanomaRelated {
    /// Mean AUC.
    pub auc: Option<f64>,
    /// Mean sensitivity, SEN.
    pub sensitivity: Option<f64>,
    /// Mean specificity, SPE.
    pub specificity: Option<f64>,
    /// Mean precision, PRE.
    pub precision: Option<f64>,
    /// How many of the eight classes have no AUC, sensitivity, specificity or precision.
    pub undefined: usize,
}

impl MelanomaRelated {
    /// The means for the tasks of an evaluation, which are found by their headings and the names of their classes; `None` where one
    /// of the eight is not there.
    #[must_use]
    pub fn of(tasks: &[TaskEvaluation]) -> Option<Self> {
        let class_of = |&(label, class): &(&str, &str)| {
            let task = tasks.iter().find(|task| task.label.eq_ignore_ascii_case(label))?;
            task.classes.iter().find(|found| found.name.eq_ignore_ascii_case(class))
        };
        let classes: Vec<&ClassEvaluation> = CLASSES.iter().map(class_of).collect::<Option<_>>()?;
        let mean_of = |value: fn(&ClassEvaluation) -> Option<f64>| mean(classes.iter().map(|class| value(class)));
        let is_undefined = |class: &&&ClassEvaluation| {
            [class.auc, class.sensitivity, class.specificity, class.precision].iter().any(Option::is_none)
        };
        Some(Self {
            auc: mean_of(|class| class.auc),
            sensitivity: mean_of(|class| class.sensitivity),
            specificity: mean_of(|class| class.specificity),
            precision: mean_of(|class| class.precision),
            undefined: classes.iter().filter(is_undefined).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evaluation;
    use dermafuse_schema::{Predictions, Task, TaskSet};
    use ndarray::array;

    /// Three cases of eight tasks of two classes, of which the second is the one of the list, with these probabilities.
    fn predictions(classes: &[(&str, &str)], probabilities: [f64; 3]) -> Predictions {
        let tasks = classes.iter().map(|&(label, class)| Task::new(label.to_lowercase(), label, ["none", class]));
        let [a, b, c] = probabilities;
        Predictions {
            tasks: TaskSet::new(tasks.collect()).unwrap(),
            ids: ["1", "2", "3"].map(Into::into).into(),
            labels: vec![vec![Some(1); 8], vec![Some(1); 8], vec![Some(0); 8]],
            probabilities: vec![array![[1.0 - a, a], [1.0 - b, b], [1.0 - c, c]]; 8],
            basis: vec!["clinical".into(); 3],
        }
    }

    #[test]
    fn means_are_over_the_eight_classes_of_the_checklist() {
        let evaluation = Evaluation::of(&predictions(&CLASSES, [0.9, 0.2, 0.3])).unwrap();
        let related = evaluation.melanoma_related.clone().expect("all eight tasks are there");
        // One of two is found, the other case is not taken for one; the scores of two pairs are in order in one.
        assert_eq!((related.sensitivity, related.specificity), (Some(0.5), Some(1.0)));
        assert_eq!((related.precision, related.auc, related.undefined), (Some(1.0), Some(0.5), 0));
        let json = serde_json::to_value(&evaluation).unwrap();
        assert_eq!(json["melanoma_related"]["sensitivity"], 0.5);

        // Nothing was predicted, so there is no precision.
        let evaluation = Evaluation::of(&predictions(&CLASSES, [0.1, 0.2, 0.3])).unwrap();
        let related = evaluation.melanoma_related.unwrap();
        assert_eq!((related.sensitivity, related.precision, related.undefined), (Some(0.0), None, 8));
    }

    #[test]
    fn sets_without_one_of_the_classes_have_no_such_means() {
        let mut others = CLASSES;
        others[4].1 = "regression";
        assert_eq!(Evaluation::of(&predictions(&others, [0.9, 0.2, 0.3])).unwrap().melanoma_related, None);
        let evaluation = Evaluation::of(&predictions(&others, [0.9, 0.2, 0.3])).unwrap();
        assert!(serde_json::to_value(&evaluation).unwrap().get("melanoma_related").is_none());
    }

    /// The row of AMMFM in Table 5.4 of the thesis: its printed means are those of its printed parts.
    #[test]
    fn the_printed_means_of_ammfm_are_met() {
        let auc = [89.3, 86.7, 85.2, 86.2, 83.6, 86.0, 94.1, 82.4];
        let precision = [59.4, 57.0, 56.4, 63.7, 51.9, 77.4, 66.7, 16.7];
        let sensitivity = [71.4, 63.1, 64.6, 71.8, 69.6, 74.9, 73.5, 31.3];
        let specificity = [86.8, 87.1, 86.9, 84.2, 83.9, 81.1, 92.4, 93.4];
        let mut tasks = Evaluation::of(&predictions(&CLASSES, [0.9, 0.2, 0.3])).unwrap().tasks;
        for (at, task) in tasks.iter_mut().enumerate() {
            let class = &mut task.classes[1];
            (class.auc, class.precision) = (Some(auc[at]), Some(precision[at]));
            (class.sensitivity, class.specificity) = (Some(sensitivity[at]), Some(specificity[at]));
        }
        let related = MelanomaRelated::of(&tasks).unwrap();
        let found = [related.auc, related.precision, related.sensitivity, related.specificity];
        for (printed, found) in [86.7, 56.1, 65.0, 87.0].into_iter().zip(found) {
            assert!((found.unwrap() - printed).abs() < 0.0501, "{printed}: {found:?}");
        }
    }
}
