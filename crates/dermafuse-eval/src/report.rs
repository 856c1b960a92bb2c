mod case_page;
mod comparison;
mod evidence;
mod measures;
mod page;
mod pictures;
mod report_table;
mod sample;
mod sections;
mod uncertainty;

use std::path::Path;

use dermafuse_schema::{Predictions, SeenCases, write_whole_file};

use crate::figure::{self, ScatterPoint, Series, TernaryPoint};
use crate::metrics::check;
use crate::published::{PublishedScore, PublishedTable};
use crate::{
    CalibrationChange, Comparison, CorruptionEvaluation, DecisionCurve, EvalError, Evaluation, GroupEvaluation,
    LearningCurve, Measures, Mistakes, RiskCoverage, RocCurve, RowTests, SetEvaluation, SubgroupTable,
    SubsetEvaluation,
};

pub use case_page::{CasePage, ChecklistScore, HeatPicture};
pub use evidence::Evidence;
pub use pictures::{PictureSection, PictureStrip};
pub use report_table::ReportTable;
pub use sample::{SampleCase, SampleImage, SampleTask};

/// One HTML page with everything that is known of a run: no scripts, nothing loaded from elsewhere, the same bytes
/// for the same input.
///
/// Sections appear in a fixed order whatever the order of the calls; a section without content is left out.
///
/// ```
/// use dermafuse_eval::Report;
///
/// let page = Report::new("Derm7pt").synthetic(true).note("five epochs only").to_html();
/// assert!(page.contains("not a medical device"));
/// assert!(page.contains("Synthetic data"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Report {
    title: String,
    synthetic: bool,
    evidence: Evidence,
    notes: Vec<String>,
    leaky: Vec<String>,
    seen: Option<SeenCases>,
    config: Vec<(String, String)>,
    rows: Vec<(String, Evaluation)>,
    published: Option<PublishedTable>,
    images: Vec<(String, Evaluation)>,
    calibration: Option<CalibrationChange>,
    class_groups: Vec<GroupEvaluation>,
    risk_coverage: Vec<RiskCoverage>,
    sets: Option<SetEvaluation>,
    subsets: Option<SubsetEvaluation>,
    measures: Option<Measures>,
    row_tests: Option<RowTests>,
    decision_curves: Vec<DecisionCurve>,
    mistakes: Option<Mistakes>,
    mistake_pictures: Vec<PictureSection>,
    pictures: Vec<PictureSection>,
    points: Vec<(String, Evaluation)>,
    corruptions: Option<CorruptionEvaluation>,
    sheets: Vec<String>,
    comparisons: Vec<ComparedMethods>,
    tables: Vec<ReportTable>,
    learning_curves: Vec<(String, ReportTable)>,
    details: Vec<Detail>,
    curves: Vec<String>,
    weight_searches: Vec<String>,
    subgroups: Vec<SubgroupTable>,
    embeddings: Vec<String>,
    samples: Vec<SampleCase>,
}

/// A comparison and what was published of the same methods.
#[derive(Clone, Debug)]
struct ComparedMethods {
    title: String,
    comparison: Comparison,
    published: Option<(PublishedTable, PublishedScore)>,
}

/// A row in full: its numbers and its figures.
#[derive(Clone, Debug)]
struct Detail {
    name: String,
    evaluation: Evaluation,
    /// One ROC plot for each task.
    roc_plots: Vec<String>,
}

impl Report {
    /// An empty page.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Says on top that the data is made up; published numbers are then not shown.
    #[must_use]
    pub fn synthetic(mut self, synthetic: bool) -> Self {
        self.synthetic = synthetic;
        self
    }

    /// Says first what the model was trained on, how well it does and for whom, and what is not known.
    #[must_use]
    pub fn evidence(mut self, evidence: Evidence) -> Self {
        self.evidence = evidence;
        self
    }

    /// Adds a sentence under the heading.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Warns that these metadata columns, used as inputs, are recorded after or because of the diagnosis.
    #[must_use]
    pub fn leaky_inputs(mut self, columns: &[&str]) -> Self {
        self.leaky.extend(columns.iter().map(|column| (*column).to_owned()));
        self
    }

    /// Says how many of the cases made the model; warns if any did.
    #[must_use]
    pub fn seen(mut self, seen: SeenCases) -> Self {
        self.seen = Some(seen);
        self
    }

    /// Adds the resolved recipe. Nested tables become dotted keys.
    #[must_use]
    pub fn config(mut self, config: &serde_json::Value) -> Self {
        flatten("", config, &mut self.config);
        self
    }

    /// Adds lines to the recipe.
    #[must_use]
    pub fn config_pairs<K, V>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        self.config.extend(pairs.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Adds the rows of the main tables, such as `P_clinical` to `P_3`; the last is the headline. `published` numbers
    /// stand under the rows of the same name.
    #[must_use]
    pub fn rows(mut self, rows: &[(String, Evaluation)], published: Option<&PublishedTable>) -> Self {
        self.rows.extend_from_slice(rows);
        self.published = published.cloned().or(self.published);
        self
    }

    /// Adds the rows with each image counted as if it were a case, for cases with several images of a kind.
    #[must_use]
    pub fn images(mut self, rows: &[(String, Evaluation)]) -> Self {
        self.images.extend_from_slice(rows);
        self
    }

    /// Adds how well probabilities come true before and after their calibration: a table, and reliability pictures of both.
    #[must_use]
    pub fn calibration(mut self, change: CalibrationChange) -> Self {
        self.calibration = Some(change);
        self
    }

    /// Adds groups of classes: how well they are told from the rest, and what their operating points are worth.
    #[must_use]
    pub fn class_groups(mut self, groups: &[GroupEvaluation]) -> Self {
        self.class_groups.extend_from_slice(groups);
        self
    }

    /// Adds what abstaining is worth: the risk–coverage curves of the tasks, and the sets of classes of a model that has them.
    #[must_use]
    pub fn abstention(mut self, curves: &[RiskCoverage], sets: Option<&SetEvaluation>) -> Self {
        self.risk_coverage.extend_from_slice(curves);
        self.sets = sets.cloned().or(self.sets);
        self
    }

    /// Adds the measures of the headline with their intervals over patients, and decision curves.
    #[must_use]
    pub fn measures(mut self, measures: &Measures, decision_curves: &[DecisionCurve]) -> Self {
        self.measures = Some(measures.clone());
        self.decision_curves.extend_from_slice(decision_curves);
        self
    }

    /// Adds tests of the rows against each other, below the measures.
    #[must_use]
    pub fn row_tests(mut self, tests: &RowTests) -> Self {
        self.row_tests = Some(tests.clone());
        self
    }

    /// Adds what the headline gets wrong.
    #[must_use]
    pub fn mistakes(mut self, mistakes: &Mistakes) -> Self {
        self.mistakes = Some(mistakes.clone());
        self
    }

    /// Adds pictures of what the headline gets wrong, below its tables.
    #[must_use]
    pub fn mistake_pictures(mut self, section: PictureSection) -> Self {
        self.mistake_pictures.push(section);
        self
    }

    /// Adds rows of pictures under a heading of their own.
    #[must_use]
    pub fn pictures(mut self, section: PictureSection) -> Self {
        self.pictures.push(section);
        self
    }

    /// Adds the evaluations at the operating points of the whole classification, by name.
    #[must_use]
    pub fn points(mut self, points: &[(String, Evaluation)]) -> Self {
        self.points.extend_from_slice(points);
        self
    }

    /// Adds how well the model answers from each subset of its inputs.
    #[must_use]
    pub fn subsets(mut self, evaluation: &SubsetEvaluation) -> Self {
        self.subsets = Some(evaluation.clone());
        self
    }

    /// Adds what corrupted images cost: a table, a chart for each family, and `sheets` of a case under the corruptions (see
    /// [`image_sheet`](figure::image_sheet)).
    #[must_use]
    pub fn corruptions(mut self, evaluation: &CorruptionEvaluation, sheets: &[String]) -> Self {
        self.corruptions = Some(evaluation.clone());
        self.sheets.extend_from_slice(sheets);
        self
    }

    /// Adds methods measured on the same blocks: a table of means and standard deviations, their mean ranks with the
    /// critical difference, and the tests of all pairs. The score of a `published` table stands beside the methods of the same
    /// name.
    #[must_use]
    pub fn comparison(
        mut self,
        title: impl Into<String>,
        comparison: &Comparison,
        published: Option<(&PublishedTable, PublishedScore)>,
    ) -> Self {
        let published = published.map(|(table, score)| (table.clone(), score));
        self.comparisons.push(ComparedMethods { title: title.into(), comparison: comparison.clone(), published });
        self
    }

    /// Adds a table under the comparisons.
    #[must_use]
    pub fn table(mut self, table: ReportTable) -> Self {
        self.tables.push(table);
        self
    }

    /// Adds a learning curve of methods: a picture and its table.
    #[must_use]
    pub fn learning_curve(mut self, score: &str, curves: &[(String, LearningCurve)]) -> Self {
        self.learning_curves.push((LearningCurve::chart(score, curves), LearningCurve::table(score, curves)));
        self
    }

    /// Adds a row in full: per-class table, confusion matrices, ROC curves, calibration.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated, or of other tasks than the evaluation.
    pub fn detail(
        mut self,
        name: impl Into<String>,
        evaluation: &Evaluation,
        predictions: &Predictions,
    ) -> Result<Self, EvalError> {
        check(predictions)?;
        let ours: Vec<String> = evaluation.tasks.iter().map(|task| task.name.clone()).collect();
        let theirs: Vec<String> = predictions.tasks.iter().map(|task| task.name.clone()).collect();
        if ours != theirs {
            return Err(EvalError::Tasks { evaluation: ours, predictions: theirs });
        }
        let roc_plots = (0..predictions.tasks.len()).map(|task| roc_plot(predictions, task)).collect();
        self.details.push(Detail { name: name.into(), evaluation: evaluation.clone(), roc_plots });
        Ok(self)
    }

    /// Adds a chart of values over epochs; the title names the quantity. Quantities of different size, such as loss
    /// and learning rate, are better in charts of their own.
    #[must_use]
    pub fn curves(mut self, title: impl AsRef<str>, series: &[Series]) -> Self {
        self.curves.push(figure::line_chart(title.as_ref(), "epoch", "", series));
        self
    }

    /// Adds the search over the weights of three branches.
    #[must_use]
    pub fn weight_search(mut self, title: impl AsRef<str>, branches: [&str; 3], points: &[TernaryPoint]) -> Self {
        self.weight_searches.push(figure::ternary_heat_map(title.as_ref(), branches, points));
        self
    }

    /// Adds tables of groups of cases.
    #[must_use]
    pub fn subgroups(mut self, tables: &[SubgroupTable]) -> Self {
        self.subgroups.extend_from_slice(tables);
        self
    }

    /// Adds a picture of the features of cases, coloured by class, such as an [`Embedding`](crate::Embedding).
    #[must_use]
    pub fn embedding(mut self, title: impl AsRef<str>, classes: &[String], points: &[ScatterPoint]) -> Self {
        self.embeddings.push(figure::scatter_plot(title.as_ref(), classes, points));
        self
    }

    /// Adds single cases with their images. Images are embedded as they are: give small ones (some 256 pixels wide).
    #[must_use]
    pub fn samples(mut self, samples: Vec<SampleCase>) -> Self {
        self.samples.extend(samples);
        self
    }

    /// The page.
    #[must_use]
    pub fn to_html(&self) -> String {
        page::render(self)
    }

    /// Writes the page to a file, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        Ok(write_whole_file(path.as_ref(), self.to_html().as_bytes())?)
    }
}

fn roc_plot(predictions: &Predictions, index: usize) -> String {
    let task = &predictions.tasks[index];
    let curves: Vec<(String, Option<RocCurve>)> = task
        .classes
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let scores: Vec<(f64, bool)> = (0..predictions.len())
                .filter_map(|case| {
                    let truth = predictions.labels[case][index]?;
                    Some((predictions.probabilities[index][[case, class]], truth == class))
                })
                .collect();
            (name.clone(), RocCurve::of(&scores))
        })
        .collect();
    figure::roc_plot(&format!("{} – ROC", task.label), &curves)
}

fn flatten(prefix: &str, value: &serde_json::Value, into: &mut Vec<(String, String)>) {
    use serde_json::Value;
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, into);
            }
        }
        Value::String(text) => into.push((prefix.to_owned(), text.clone())),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}
