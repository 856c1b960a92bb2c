use crate::Evaluation;

/// Evaluations as lines of text: accuracy of each task, their mean, mean balanced accuracy and mean AUC, in per cent, a line for
/// each evaluation under a line of heads. A score that there is not is `n/a`.
///
/// ```
/// use dermafuse_eval::{Evaluation, text_table};
/// use dermafuse_schema::ndarray::array;
/// use dermafuse_schema::{Predictions, Task, TaskSet};
///
/// let predictions = Predictions {
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     ids: vec!["1".into(), "2".into()],
///     labels: vec![vec![Some(0)], vec![Some(1)]],
///     probabilities: vec![array![[0.9, 0.1], [0.6, 0.4]]],
///     basis: vec!["clinical".into(), "clinical".into()],
/// };
/// let rows = [("P_1".to_owned(), Evaluation::of(&predictions)?)];
/// assert_eq!(text_table(&rows), "     DIAG | AVG ACC   BAC   AUC\nP_1  50.0 |    50.0  50.0 100.0\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn text_table(rows: &[(String, Evaluation)]) -> String {
    let mut text = String::new();
    let Some((_, first)) = rows.first() else { return text };
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.1}", 100.0 * value));
    let line = |name: &str, cells: Vec<String>, overall: [String; 3]| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>5}")).collect();
        let [accuracy, balanced, auc] = overall;
        format!("{name:width$}{cells} | {accuracy:>7} {balanced:>5} {auc:>5}\n")
    };
    let labels = first.tasks.iter().map(|task| task.label.clone()).collect();
    text += &line("", labels, ["AVG ACC", "BAC", "AUC"].map(str::to_owned));
    for (name, evaluation) in rows {
        let overall = &evaluation.overall;
        let cells = evaluation.tasks.iter().map(|task| percent(task.accuracy)).collect();
        text += &line(name, cells, [overall.accuracy, overall.balanced_accuracy, overall.auc].map(percent));
    }
    text
}
