use std::fmt::Write;
use std::path::Path;

use dermafuse_schema::{EngineFacts, FailedCase, Predictions, SeenCases, spreadsheet_safe, write_whole_file};
use serde::{Serialize, Serializer};

use crate::metrics::check;
use crate::{
    CorruptionEvaluation, DecisionCurve, EvalError, Evaluation, GroupEvaluation, Measures, Mistakes, RiskCoverage,
    RowTests, SearchedWeight, SetEvaluation, SubsetEvaluation,
};

/// Version of the layout of `metrics.json`, raised when a key changes its meaning.
const METRICS_FORMAT: u32 = 1;

/// What must be known of numbers beside the numbers: `seen` and `notes` of `metrics.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricsContext {
    /// How many of the cases made the model; `None` where there is no model, as for the folds of a comparison.
    pub seen: Option<SeenCases>,
    /// What ran the network; `None` where several models answered, as for the folds of a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineFacts>,
    /// What was left out, assumed or unknown.
    pub notes: Vec<String>,
    /// The evaluations of the rows with each image counted as if it were a case; empty where no case has several images of a
    /// kind.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "named")]
    pub images: Vec<(String, Evaluation)>,
    /// The weights that validation cases chose; empty where nothing was searched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<SearchedWeight>,
    /// The groups of classes of the model, evaluated on the last row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_groups: Vec<GroupEvaluation>,
    /// The risk–coverage curve of each task of the last row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub risk_coverage: Vec<RiskCoverage>,
    /// The sets of classes of the last row, where the model has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_sets: Option<SetEvaluation>,
    /// The numbers from each subset of the inputs, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subsets: Option<SubsetEvaluation>,
    /// What corrupted images cost, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruptions: Option<CorruptionEvaluation>,
    /// The measures of the last row with their intervals over patients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measures: Option<Measures>,
    /// Tests of every two branches, and of the last row against each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_tests: Option<RowTests>,
    /// The decision curve of each class of the last row that is counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decision_curves: Vec<DecisionCurve>,
    /// What the last row gets wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mistakes: Option<Mistakes>,
    /// The evaluations at each operating point of the whole classification, where the model has some.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "named")]
    pub points: Vec<(String, Evaluation)>,
}

pub(crate) const WRITES: &str = "writing to a string does not fail";

#[derive(Serialize)]
struct MetricsFile<'a> {
    format: u32,
    #[serde(flatten)]
    context: &'a MetricsContext,
    rows: Vec<MetricsRow<'a>>,
}

#[derive(Serialize)]
struct MetricsRow<'a> {
    name: &'a str,
    evaluation: &'a Evaluation,
}

fn named<S: Serializer>(rows: &[(String, Evaluation)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|(name, evaluation)| MetricsRow { name, evaluation }))
}

/// The evaluations of named rows as JSON: `{"format": 1, "seen", "notes", "rows": [{"name", "evaluation"}]}`, and `engine` (an
/// [`EngineFacts`](dermafuse_schema::EngineFacts)) where a saved model was evaluated, `images` as
/// `rows` where cases have several images of a kind, `weights` where some were searched, `class_groups` and `prediction_sets` where
/// the model has them, `row_tests` ([`RowTests`]) where there are several branches, `measures`, `decision_curves` and `mistakes` of the last row, `points` as `rows` where the model has some,
/// `risk_coverage`, `subsets` (a [`SubsetEvaluation`]) and `corruptions` (a [`CorruptionEvaluation`]) where that was asked; keys in a fixed order, undefined values `null`. The same input gives the same
/// bytes.
///
/// # Errors
/// Never for an evaluation made by this crate; a number in it that was set to NaN by hand becomes `null`.
pub fn metrics_json(rows: &[(String, Evaluation)], context: &MetricsContext) -> Result<String, EvalError> {
    let rows = rows.iter().map(|(name, evaluation)| MetricsRow { name, evaluation }).collect();
    let mut text = serde_json::to_string_pretty(&MetricsFile { format: METRICS_FORMAT, context, rows })?;
    text.push('\n');
    Ok(text)
}

/// Writes [`metrics_json`] to a file, whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn write_metrics(
    path: impl AsRef<Path>,
    rows: &[(String, Evaluation)],
    context: &MetricsContext,
) -> Result<(), EvalError> {
    Ok(write_whole_file(path.as_ref(), metrics_json(rows, context)?.as_bytes())?)
}

/// The predictions of named rows as CSV, one line for each row, case, task and class:
/// `row,case,basis,task,truth,predicted,class,probability,status`. The truth of a case that is not annotated is empty. The
/// status is `ok`; a case that could not be answered has one line, with the reason as its status. Texts that
/// a spreadsheet would run are [marked](spreadsheet_safe); [`from_spreadsheet`](dermafuse_schema::from_spreadsheet) gives
/// them back.
///
/// # Errors
/// Predictions that cannot be evaluated.
pub fn predictions_csv(rows: &[(&str, &Predictions)], failed: &[FailedCase]) -> Result<String, EvalError> {
    let mut text = String::from("row,case,basis,task,truth,predicted,class,probability,status\n");
    for (name, predictions) in rows {
        check(predictions)?;
        let name = csv_field(name);
        for case in 0..predictions.len() {
            let (id, basis) =
                (csv_field(predictions.ids[case].as_str()), csv_field(&predictions.basis[case].to_string()));
            for (index, task) in predictions.tasks.iter().enumerate() {
                let truth = predictions.labels[case][index].map(|label| csv_field(&task.classes[label]));
                let truth = truth.unwrap_or_default();
                let predicted = csv_field(&task.classes[predictions.predicted(case, index)]);
                for (class, probability) in task.classes.iter().zip(predictions.probabilities[index].row(case)) {
                    let (task, class) = (csv_field(&task.name), csv_field(class));
                    writeln!(text, "{name},{id},{basis},{task},{truth},{predicted},{class},{probability},ok")
                        .expect(WRITES);
                }
            }
        }
    }
    for FailedCase { id, reason, .. } in failed {
        writeln!(text, ",{},,,,,,,{}", csv_field(id.as_str()), csv_field(reason)).expect(WRITES);
    }
    Ok(text)
}

/// Writes [`predictions_csv`] to a file, whole or not at all.
///
/// # Errors
/// Predictions that cannot be evaluated; a file that cannot be written.
pub fn write_predictions(
    path: impl AsRef<Path>,
    rows: &[(&str, &Predictions)],
    failed: &[FailedCase],
) -> Result<(), EvalError> {
    Ok(write_whole_file(path.as_ref(), predictions_csv(rows, failed)?.as_bytes())?)
}

/// A text as a CSV field: nothing that a spreadsheet would run, quoted where it must be (RFC 4180).
#[must_use]
pub fn csv_field(text: &str) -> String {
    let text = &*spreadsheet_safe(text);
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}
