use crate::figure::reliability_plot;
use crate::{Evaluation, ReportTable, TaskEvaluation};

/// How well the probabilities of the same cases come true before and after they were calibrated or corrected.
///
/// ```
/// use dermafuse_eval::{CalibrationChange, Evaluation};
/// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
///
/// let sure = Predictions {
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     ids: vec!["1".into(), "2".into()],
///     labels: vec![vec![Some(0)], vec![Some(1)]],
///     probabilities: vec![array![[1.0, 0.0], [1.0, 0.0]]],
///     basis: vec!["clinical".into(); 2],
/// };
/// let calibrated = Predictions { probabilities: vec![array![[0.5, 0.5], [0.5, 0.5]]], ..sure.clone() };
/// let change =
///     CalibrationChange::new(("P_1", &Evaluation::of(&sure)?), ("P_1 calibrated", &Evaluation::of(&calibrated)?));
/// let table = change.table().to_string();
/// let words: Vec<&str> = table.lines().find(|line| line.contains("calibrated")).unwrap().split_whitespace().collect();
/// assert_eq!(words, ["DIAG,", "P_1", "calibrated", "2", "50.0", "0.0", "0.0", "0.693", "0.500"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationChange {
    before: (String, Vec<TaskEvaluation>),
    after: (String, Vec<TaskEvaluation>),
}

impl CalibrationChange {
    /// Of two named rows of the same cases and tasks.
    #[must_use]
    pub fn new(before: (&str, &Evaluation), after: (&str, &Evaluation)) -> Self {
        let own = |(name, evaluation): (&str, &Evaluation)| (name.to_owned(), evaluation.tasks.clone());
        Self { before: own(before), after: own(after) }
    }

    /// A line before and one after for each task: cases, accuracy, both calibration errors, log-loss and Brier score.
    #[must_use]
    pub fn table(&self) -> ReportTable {
        let head = ["", "cases", "accuracy", "ECE", "ECE (mass)", "log-loss", "Brier"];
        let mut table = ReportTable::new(
            "Calibration before and after",
            head,
            "Accuracy and calibration errors in per cent. ECE: expected calibration error of the predicted class, 15 bins of equal \
             width; ECE (mass): 15 bins of equally many cases. Less is better of all four.",
        );
        let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.1}", 100.0 * value));
        let decimal = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{value:.3}"));
        for (before, after) in self.before.1.iter().zip(&self.after.1) {
            for (name, task) in [(&self.before.0, before), (&self.after.0, after)] {
                table.push([
                    format!("{}, {name}", task.label),
                    task.n.to_string(),
                    percent(task.accuracy),
                    percent(task.calibration_error),
                    percent(task.calibration_error_equal_mass),
                    decimal(task.log_loss),
                    decimal(task.brier),
                ]);
            }
        }
        table
    }

    /// The reliability pictures of each task as SVG: before, after, before, after, ….
    #[must_use]
    pub fn figures(&self) -> Vec<String> {
        let pairs = self.before.1.iter().zip(&self.after.1);
        let both = pairs.flat_map(|(before, after)| [(&self.before.0, before), (&self.after.0, after)]);
        both.map(|(name, task)| reliability_plot(&format!("{} – {name}", task.label), &task.reliability)).collect()
    }
}
