//! Evaluations as a table.

use dermafuse::eval::Evaluation;

use crate::terminal::{say, say_part};

/// Prints accuracy per task, their mean, mean balanced accuracy and mean AUC, in per cent, one row for each evaluation.
pub(crate) fn print_table(rows: &[(String, Evaluation)]) {
    let Some((_, first)) = rows.first() else { return };
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.1}", 100.0 * value));
    say_part!("{:width$}", "");
    first.tasks.iter().for_each(|task| say_part!(" {:>5}", task.label));
    say!(" | AVG ACC  BAC   AUC");
    for (name, evaluation) in rows {
        say_part!("{name:width$}");
        evaluation.tasks.iter().for_each(|task| say_part!(" {:>5}", percent(task.accuracy)));
        let overall = &evaluation.overall;
        say!(
            " | {:>7} {:>5} {:>5}",
            percent(overall.accuracy),
            percent(overall.balanced_accuracy),
            percent(overall.auc)
        );
    }
}
