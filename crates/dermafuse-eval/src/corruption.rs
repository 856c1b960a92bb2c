use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::export::WRITES;
use crate::figure::{Series, line_chart};
use crate::metrics::mean;
use crate::{Evaluation, ReportTable, csv_field};

/// What a model loses where its images are corrupted: its evaluation on the images as they are, and on each corruption at each
/// severity.
///
/// The error is `1 − AVG ACC`. That of a corruption is the mean over its severities, and the mean corruption error the mean over
/// corruptions. Both are told relative to the error on clean images too (the difference). Hendrycks & Dietterich 2019 divide the
/// error of each corruption by that of AlexNet, of which there is none for these tasks; see
/// [`CorruptionEvaluation::normalized_by`] for another model in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorruptionEvaluation {
    /// The error on clean images, `1 − AVG ACC`.
    pub clean_error: Option<f64>,
    /// The mean over corruptions of their errors.
    pub mean_corruption_error: Option<f64>,
    /// The mean corruption error less the error on clean images.
    pub relative_mean_corruption_error: Option<f64>,
    /// The error of each corruption.
    pub corruptions: Vec<CorruptionError>,
    /// The evaluation on clean images.
    pub clean: Evaluation,
    /// The evaluations on corrupted images.
    pub corrupted: Vec<CorruptedEvaluation>,
}

/// The error of one corruption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorruptionError {
    /// Name of the corruption.
    pub corruption: String,
    /// Name of the family that it belongs to.
    pub family: String,
    /// The mean of `1 − AVG ACC` over its severities.
    pub error: Option<f64>,
    /// The same less the error on clean images.
    pub relative_error: Option<f64>,
}

/// The evaluation on images with one corruption at one severity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorruptedEvaluation {
    /// Name of the corruption.
    pub corruption: String,
    /// Name of the family that it belongs to.
    pub family: String,
    /// How bad the images are, from 1.
    pub severity: u8,
    /// The numbers.
    pub evaluation: Evaluation,
}

impl CorruptionEvaluation {
    /// Sums up evaluations on clean and on corrupted images; corruptions keep the order in which they first come.
    #[must_use]
    pub fn new(clean: Evaluation, corrupted: Vec<CorruptedEvaluation>) -> Self {
        let clean_error = error(&clean);
        let relative = |error: Option<f64>| Some(error? - clean_error?);
        let mut corruptions: Vec<CorruptionError> = Vec::new();
        for CorruptedEvaluation { corruption, family, .. } in &corrupted {
            if corruptions.iter().any(|found| found.corruption == *corruption) {
                continue;
            }
            let of_it = corrupted.iter().filter(|found| found.corruption == *corruption);
            let error = mean(of_it.map(|found| error(&found.evaluation)));
            let (corruption, family) = (corruption.clone(), family.clone());
            corruptions.push(CorruptionError { corruption, family, error, relative_error: relative(error) });
        }
        let mean_corruption_error = mean(corruptions.iter().map(|found| found.error));
        Self {
            clean_error,
            mean_corruption_error,
            relative_mean_corruption_error: relative(mean_corruption_error),
            corruptions,
            clean,
            corrupted,
        }
    }

    /// The mean over corruptions of their errors, each divided by the error of another model on the same corruption (equation of the
    /// CE in Hendrycks & Dietterich 2019, with that model in AlexNet's place). `None` if the other model lacks one of the
    /// corruptions, or makes no error on it.
    #[must_use]
    pub fn normalized_by(&self, other: &Self) -> Option<f64> {
        let ratio = |ours: &CorruptionError| {
            let theirs = other.corruptions.iter().find(|theirs| theirs.corruption == ours.corruption)?.error?;
            (theirs > 0.0).then_some(ours.error? / theirs)
        };
        let ratios: Option<Vec<f64>> = self.corruptions.iter().map(ratio).collect();
        mean(ratios?.into_iter().map(Some))
    }

    /// AVG ACC at each severity, and the errors: a line for each corruption, in per cent.
    #[must_use]
    pub fn table(&self) -> ReportTable {
        let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.1}", 100.0 * value));
        let caption = format!(
            "AVG ACC at severities 1 to 5, per cent; {} on clean images. error: mean of 100 − AVG ACC over the severities. \
             relative: the same less the error on clean images, {}.",
            percent(self.clean.overall.accuracy),
            percent(self.clean_error)
        );
        let head = ["corruption", "1", "2", "3", "4", "5", "error", "relative"];
        let mut table = ReportTable::new("Corrupted images", head, caption);
        for found in &self.corruptions {
            let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(|severity| {
                let at = |one: &&CorruptedEvaluation| (one.corruption == found.corruption) && one.severity == severity;
                self.corrupted.iter().find(at).map_or("–".to_owned(), |one| percent(one.evaluation.overall.accuracy))
            });
            let (error, relative) = (percent(found.error), percent(found.relative_error));
            table.push([found.corruption.clone(), one, two, three, four, five, error, relative]);
        }
        let blank = || String::new();
        let (error, relative) = (percent(self.mean_corruption_error), percent(self.relative_mean_corruption_error));
        table.push(["mean".to_owned(), blank(), blank(), blank(), blank(), blank(), error, relative]);
        table
    }

    /// AVG ACC over the severity, from 0 (clean) on, as a drawing for each family.
    #[must_use]
    pub fn charts(&self) -> Vec<String> {
        let mut families: Vec<&str> = self.corruptions.iter().map(|found| found.family.as_str()).collect();
        families.dedup();
        let point = |severity: u8, evaluation: &Evaluation| {
            let accuracy = evaluation.overall.accuracy.map_or(f64::NAN, |accuracy| 100.0 * accuracy);
            (f64::from(severity), accuracy)
        };
        let series = |found: &CorruptionError| {
            let of_it = self.corrupted.iter().filter(|one| one.corruption == found.corruption);
            let mut points: Vec<(f64, f64)> = of_it.map(|one| point(one.severity, &one.evaluation)).collect();
            points.push(point(0, &self.clean));
            points.sort_by(|first, second| first.0.total_cmp(&second.0));
            Series { name: found.corruption.replace('_', " "), points }
        };
        let chart = |family: &str| {
            let of_it = self.corruptions.iter().filter(|found| found.family == family);
            let title = format!("AVG ACC under {family}, per cent");
            line_chart(&title, "severity", "AVG ACC", &of_it.map(series).collect::<Vec<_>>())
        };
        families.into_iter().map(chart).collect()
    }

    /// The numbers as CSV, a line for each corruption, severity and task, and one with the means over the tasks, which are called
    /// `all`: `corruption,family,severity,task,cases,accuracy,balanced_accuracy,macro_f1,auc,error`. Clean images are the
    /// corruption `clean` of severity 0. Undefined numbers are empty. The AUC of `all` is that of
    /// [`Overall::auc`](crate::Overall::auc).
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text =
            String::from("corruption,family,severity,task,cases,accuracy,balanced_accuracy,macro_f1,auc,error\n");
        add_lines(&mut text, ["clean", ""], 0, &self.clean);
        for one in &self.corrupted {
            add_lines(&mut text, [&one.corruption, &one.family], one.severity, &one.evaluation);
        }
        text
    }
}

fn error(evaluation: &Evaluation) -> Option<f64> {
    evaluation.overall.accuracy.map(|accuracy| 1.0 - accuracy)
}

fn add_lines(text: &mut String, [corruption, family]: [&str; 2], severity: u8, evaluation: &Evaluation) {
    let mut add = |task: &str, cases: usize, accuracy: Option<f64>, others: [Option<f64>; 3]| {
        let [corruption, family, task] = [corruption, family, task].map(csv_field);
        write!(text, "{corruption},{family},{severity},{task},{cases}").expect(WRITES);
        for value in [accuracy].into_iter().chain(others).chain([accuracy.map(|accuracy| 1.0 - accuracy)]) {
            write!(text, ",{}", value.map_or_else(String::new, |value| value.to_string())).expect(WRITES);
        }
        text.push('\n');
    };
    for task in &evaluation.tasks {
        add(&task.name, task.n, task.accuracy, [task.balanced_accuracy, task.macro_f1, task.macro_auc]);
    }
    let overall = &evaluation.overall;
    add("all", evaluation.cases, overall.accuracy, [overall.balanced_accuracy, overall.macro_f1, overall.auc]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Predictions, Task, TaskSet};
    use ndarray::Array2;

    /// Ten cases of which so many are right.
    fn evaluation(right: usize) -> Evaluation {
        let predictions = Predictions {
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            ids: (0..10).map(|case| case.to_string().into()).collect(),
            labels: (0..10).map(|case| vec![Some(case % 2)]).collect(),
            probabilities: vec![Array2::from_shape_fn((10, 2), |(case, class)| {
                let is_predicted = (case % 2 == class) == (case < right);
                if is_predicted { 0.8 } else { 0.2 }
            })],
            basis: vec!["clinical".into(); 10],
        };
        Evaluation::of(&predictions).unwrap()
    }

    fn corrupted(corruption: &str, family: &str, severity: u8, right: usize) -> CorruptedEvaluation {
        let (corruption, family) = (corruption.to_owned(), family.to_owned());
        CorruptedEvaluation { corruption, family, severity, evaluation: evaluation(right) }
    }

    fn small() -> CorruptionEvaluation {
        let corrupted = vec![
            corrupted("gaussian_noise", "noise", 1, 8),
            corrupted("gaussian_noise", "noise", 5, 4),
            corrupted("hair", "dermoscopy", 1, 9),
            corrupted("hair", "dermoscopy", 5, 7),
        ];
        CorruptionEvaluation::new(evaluation(9), corrupted)
    }

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-12)
    }

    #[test]
    fn errors_are_means_of_means() {
        let found = small();
        // Noise: (0.2 + 0.6) / 2; hair: (0.1 + 0.3) / 2.
        assert!(close(found.corruptions[0].error, 0.4) && close(found.corruptions[1].error, 0.2));
        assert!(close(found.clean_error, 0.1) && close(found.mean_corruption_error, 0.3));
        assert!(close(found.relative_mean_corruption_error, 0.2));
        assert!(close(found.corruptions[1].relative_error, 0.1));
        assert!(close(found.normalized_by(&found), 1.0));
        let twice = vec![corrupted("gaussian_noise", "noise", 3, 2), corrupted("hair", "dermoscopy", 3, 9)];
        // 0.4 / 0.8 and 0.2 / 0.1.
        assert!(close(found.normalized_by(&CorruptionEvaluation::new(evaluation(9), twice)), 1.25));
        let other = vec![corrupted("hair", "dermoscopy", 3, 9)];
        assert_eq!(found.normalized_by(&CorruptionEvaluation::new(evaluation(9), other)), None);
    }

    #[test]
    fn tables_and_drawings_have_every_severity_that_was_asked_for() {
        let found = small();
        let text = found.table().to_string();
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["gaussian_noise", "80.0", "–", "–", "–", "40.0", "40.0", "30.0"]);
        assert!(text.contains("90.0 on clean images"), "{text}");
        let charts = found.charts();
        assert_eq!(charts.len(), 2);
        assert!(charts[1].contains("AVG ACC under dermoscopy, per cent") && charts[1].contains(">hair<"));

        let csv = found.to_csv();
        assert_eq!(csv.lines().count(), 1 + 5 * 2);
        assert!(csv.contains("\nclean,,0,diagnosis,10,0.9,"), "{csv}");
        assert!(csv.contains("\nhair,dermoscopy,5,all,10,0.7,0.7,"), "{csv}");
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<CorruptionEvaluation>(&json).unwrap(), found);
    }
}
