use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use dermafuse_backbones::parameter_count;
use dermafuse_eval::published::{PublishedRow, PublishedScore, PublishedTable};
use dermafuse_eval::significance::{McNemar, NonInferiority, holm};
use dermafuse_eval::{
    AnswersOfCases, Bootstrap, CURVE_SCORES, Comparison, LearningCurve, MeanDeviation, Report, ReportTable, p_text,
};
use dermafuse_networks::{AnyNetwork, MultimodalInput, Network, NetworkConfig};
use dermafuse_schema::ndarray::{Array2, Axis};
use dermafuse_schema::{BranchLogits, Predictions, write_whole_file};
use serde::Serialize;

use super::{ComparedMethod, MethodComparison};
use crate::experiment::PARTS;
use crate::frozen::is_onnx;
use crate::printed_rows::{Wanted, joined, names_in_tables, printed_rows, row_of_backbone};
use crate::selection::evaluation;
use crate::{Experiment, Features, PlannedTraining, RecipeError, Round, RoundResult, majority};

/// A score, and how it grows for each method, by the method's name.
pub type CurvesOfScore = (String, Vec<(String, LearningCurve)>);

/// What a comparison gave.
#[derive(Clone, Debug)]
pub struct ComparisonOutcome {
    title: String,
    data_set: String,
    synthetic: bool,
    /// The rows, in the order of the methods.
    pub rows: Vec<ComparedRow>,
    /// Mean accuracy of the most frequent class, in per cent.
    pub majority: f64,
    /// What a reader of the numbers should know.
    pub notes: Vec<String>,
    /// The test cases of all rounds.
    cases: Vec<String>,
    rounds: Vec<String>,
    /// What was printed of the methods on this data set.
    published: Option<PublishedTable>,
    /// What was printed of each row, where there are several blocks: tables of one row.
    published_of_rows: Vec<Option<PublishedTable>>,
    /// The answers of each row to the test cases of all rounds.
    answers: Vec<Predictions>,
    /// The features of the test cases of each row's first round, if they are wanted.
    features: Vec<Option<RowFeatures>>,
    /// By score how good each method is by how many cases it learnt from, where methods differ in their
    /// [`training_fraction`](crate::Experiment::training_fraction).
    pub learning_curves: Vec<CurvesOfScore>,
    /// By how many per cent of accuracy a method may be worse and still be called as good. Say it before you look at the numbers.
    pub margin: Option<f64>,
    /// What the networks' times were measured on, if they were.
    measured_on: Option<String>,
}

/// One method on one block, in per cent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRow {
    /// The method.
    pub name: String,
    /// What it stands on.
    pub block: String,
    /// The name of the method that it is under another name, if it is one: tests count it once, as that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// Parameters of what predicts.
    pub parameters: usize,
    /// Training cases of each round.
    pub training_cases: Vec<usize>,
    /// Mean accuracy over the tasks, of each round.
    pub accuracy: Vec<f64>,
    /// Mean balanced accuracy over the tasks, of each round.
    pub balanced_accuracy: Vec<f64>,
    /// Mean AUC over the tasks, of each round.
    pub auc: Vec<f64>,
    /// Mean macro F1 over the tasks, of each round.
    pub macro_f1: Vec<f64>,
    /// Mean F1 over the tasks, each class weighed by its cases, of each round.
    pub weighted_f1: Vec<f64>,
    /// Billions of multiply-adds of the whole network for one case at the experiment's size of images: backbones, fusion and
    /// classifiers, without a second stage. `None` where nobody counted: without the Cargo feature `onnx`, of an encoder that is an ONNX
    /// file, and of a network whose pass cannot be recorded.
    pub gmacs: Option<f64>,
    /// Milliseconds that the network takes for one case, if they were measured.
    pub milliseconds: Option<f64>,
    /// Accuracy of each test case over its tasks and rounds, in the order of the cases' ids.
    #[serde(skip)]
    pub of_cases: Vec<f64>,
    /// Whether each answer is right, in the order of rounds and of the cases' ids; empty where there are several tasks.
    #[serde(skip)]
    pub right: Vec<bool>,
}

/// The features that a method's last classifier sees, and the cases that they are of.
#[derive(Clone, Debug, PartialEq)]
struct RowFeatures {
    of: BranchLogits,
    values: Array2<f32>,
}

/// Two methods, of which one is to be as good as the other but for a margin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NonInferiorPair {
    /// The method with fewer parameters.
    pub smaller: String,
    /// The other one.
    pub larger: String,
    /// The share of the parameters that the first has, from 0 to 1.
    pub share_of_parameters: f64,
    /// The test of the test cases' accuracies, in per cent.
    pub test: NonInferiority,
}

/// Cases of which features are drawn, at most: the time grows with their square, and there is a picture for each training.
const MOST_DRAWN: usize = 1000;

/// Passes before the time is taken, and those that are timed.
const WARM_UP: usize = 2;
const PASSES: usize = 7;

/// A measure of each block: its heading, its values of a row, and what it is called where it is printed.
pub(super) type Measure = (&'static str, fn(&ComparedRow) -> &[f64], PublishedScore);

pub(super) const MEASURES: [Measure; 5] = [
    ("Balanced accuracy, per cent", |row| &row.balanced_accuracy, PublishedScore::BalancedAccuracy),
    ("Mean AUC, per cent", |row| &row.auc, PublishedScore::Auc),
    ("Accuracy, per cent", |row| &row.accuracy, PublishedScore::Accuracy),
    ("Mean macro F1, per cent", |row| &row.macro_f1, PublishedScore::MacroF1),
    ("Mean weighted F1, per cent", |row| &row.weighted_f1, PublishedScore::WeightedF1),
];

impl ComparisonOutcome {
    pub(super) fn new(comparison: &MethodComparison, results: Vec<Vec<RoundResult>>) -> Result<Self, RecipeError> {
        let (mut rows, mut cases) = (Vec::new(), Vec::new());
        let (mut answers_of_rows, mut answers_of_rounds, mut features) = (Vec::new(), Vec::new(), Vec::new());
        let mut notes: Vec<String> = comparison.methods.iter().flat_map(|method| method.plan.notes.clone()).collect();
        for (index, (method, results)) in comparison.methods.iter().zip(&results).enumerate() {
            let same_as = comparison.same_as(index).map(|same| same.name.clone());
            if let Some(same) = &same_as {
                notes.push(format!(
                    "`{}` is the same method as `{same}`: it is trained once, and tests count it once, as `{same}`.",
                    method.name
                ));
            }
            let last = method.plan.rounds[0].stages.last().expect("a round has a training");
            let width = last.protocol.fitted(&last.set, &last.split)?.0.width();
            let network = last.protocol.first_stage.network.clone().with_metadata_inputs(width).inference();
            let built = network.init(&Device::default())?;
            let size = last.protocol.first_stage.training.preprocess.size;
            let mut row = ComparedRow {
                name: method.name.clone(),
                block: method.block.clone(),
                same_as,
                parameters: parameter_count(&built),
                training_cases: method.plan.rounds.iter().map(training_cases).collect(),
                gmacs: gmacs(&network, &built, size, width),
                milliseconds: None,
                macro_f1: Vec::new(),
                weighted_f1: Vec::new(),
                right: Vec::new(),
                accuracy: Vec::new(),
                balanced_accuracy: Vec::new(),
                auc: Vec::new(),
                of_cases: Vec::new(),
            };
            // A case that several rounds test counts once.
            let mut of_cases: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            let mut answered = Vec::with_capacity(results.len());
            features.push(
                results
                    .first()
                    .and_then(|first| Some(RowFeatures { of: first.test.clone(), values: first.features.clone()? })),
            );
            for result in results {
                let earlier = result.earlier.iter().flat_map(|(_, earlier)| &earlier.notes);
                notes.extend(earlier.chain(&result.notes).map(|note| format!("{}: {note}", method.name)));
                if !result.leaky_inputs.is_empty() {
                    let inputs = result.leaky_inputs.join(", ");
                    notes.push(format!("{} uses what is known after a diagnosis only: {inputs}.", method.name));
                }
                let predictions = result.rows()?.pop().expect("there is an answer").1;
                let evaluation = evaluation(&predictions)?;
                let overall = &evaluation.overall;
                let percent = |value: Option<f64>| 100.0 * value.unwrap_or(f64::NAN);
                row.macro_f1.push(percent(overall.macro_f1));
                row.weighted_f1.push(percent(mean(evaluation.tasks.iter().filter_map(|task| task.weighted_f1))));
                row.accuracy.push(percent(overall.accuracy));
                row.balanced_accuracy.push(percent(overall.balanced_accuracy));
                row.auc.push(percent(overall.auc));
                // Methods may answer the same cases in another order.
                let answers = predictions.ids.iter().enumerate().filter_map(|(case, id)| {
                    Some((method.own_id(id.as_str()).to_owned(), accuracy_of_case(&predictions, case)?))
                });
                let answers: BTreeMap<String, f64> = answers.collect();
                if predictions.tasks.len() == 1 {
                    row.right.extend(answers.values().map(|accuracy| *accuracy > 0.5));
                }
                for (id, accuracy) in answers {
                    of_cases.entry(id).or_default().push(100.0 * accuracy);
                }
                answered.push(predictions);
            }
            answers_of_rounds.push(answered.clone());
            answers_of_rows.push(Predictions::concatenate(answered)?);
            let of_case = |accuracies: &Vec<f64>| accuracies.iter().sum::<f64>() / accuracies.len() as f64;
            row.of_cases = of_cases.values().map(of_case).collect();
            cases = of_cases.into_keys().collect();
            rows.push(row);
        }
        let first = &comparison.methods[0].plan;
        let last = first.rounds[0].stages.last().expect("a round has a training");
        let majorities = first.rounds.iter().map(|round| {
            let last = round.stages.last().expect("a round has a training");
            let (train, test) = (last.set.view(&last.split.train)?, last.set.view(&last.split.test)?);
            Ok(majority(&train, &test)?.mean_accuracy().unwrap_or(f64::NAN))
        });
        let majorities = majorities.collect::<Result<Vec<f64>, RecipeError>>()?;
        let majority = majorities.iter().sum::<f64>() / majorities.len() as f64;
        let mut said = std::collections::BTreeSet::new();
        notes.retain(|note| said.insert(note.clone()));
        let name = |(index, round): (usize, &crate::Round)| match round.name.is_empty() {
            true => format!("run {}", index + 1),
            false => round.name.replace('-', " "),
        };
        Ok(Self {
            title: comparison.title.clone(),
            data_set: last.set.name.clone(),
            synthetic: last.set.synthetic,
            rows,
            majority: 100.0 * majority,
            notes,
            cases,
            rounds: first.rounds.iter().enumerate().map(name).collect(),
            published: published_of(comparison, &last.set.name),
            published_of_rows: published_of_rows(comparison, &last.set.name),
            answers: answers_of_rows,
            features,
            learning_curves: learning_curves_of(comparison, &answers_of_rounds)?,
            margin: None,
            measured_on: None,
        })
    }

    /// The names of the methods, each once, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.name.as_str()) {
                names.push(&row.name);
            }
        }
        names
    }

    /// The rows of different methods.
    fn own_rows(&self) -> impl Iterator<Item = &ComparedRow> {
        self.rows.iter().filter(|row| row.same_as.is_none())
    }

    /// What methods stand on, each once, in order.
    fn blocks(&self) -> Vec<&str> {
        let mut blocks: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !blocks.contains(&row.block.as_str()) {
                blocks.push(&row.block);
            }
        }
        blocks
    }

    /// The tests of a measure over blocks and rounds. Methods that were not run on every block are left out, and a method under
    /// another name is counted once. `None` where there is one block, or one method.
    ///
    /// # Errors
    /// A score that is not finite.
    fn tested(&self, values: fn(&ComparedRow) -> &[f64], units: &[String]) -> Result<Option<Comparison>, RecipeError> {
        let blocks = self.blocks();
        let of = |name: &str, block: &str| self.rows.iter().find(|row| row.name == name && row.block == block);
        let complete = |name: &&str| blocks.iter().all(|block| of(name, block).is_some());
        let own = |name: &&str| blocks.iter().any(|block| of(name, block).is_some_and(|row| row.same_as.is_none()));
        let names: Vec<String> = self.names().into_iter().filter(complete).filter(own).map(str::to_owned).collect();
        let labels: Vec<String> = blocks
            .iter()
            .flat_map(|block| units.iter().map(move |unit| format!("{block} {unit}").trim_start().to_owned()))
            .collect();
        if names.len() < 2 || labels.len() < 2 {
            return Ok(None);
        }
        let scores = Array2::from_shape_fn((labels.len(), names.len()), |(label, name)| {
            let row = of(&names[name], blocks[label / units.len()]).expect("complete methods are on every block");
            values(row)[label % units.len()]
        });
        if scores.iter().any(|score| !score.is_finite()) {
            // A part without a score, such as one of a single class, cannot be ranked.
            return Ok(None);
        }
        Ok(Some(Comparison::of(&names, &labels, &scores)?))
    }

    /// Measures how long each whole network takes for one case of the experiment's size on a device, as it predicts, with fresh weights:
    /// the median of several passes. Another machine, or another time on this one, gives other numbers; nothing else depends on them.
    /// An encoder that is an ONNX file is left out.
    ///
    /// # Errors
    /// A configuration that makes no network.
    pub fn measure_latency(&mut self, comparison: &MethodComparison, device: &Device) -> Result<(), RecipeError> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let name = comparison.methods.first().map(|method| method.plan.experiment.machine.device.first());
        let name = name.unwrap_or_default();
        self.measured_on = Some(format!("the device `{name}` of this machine, which has {threads} threads"));
        for (row, method) in self.rows.iter_mut().zip(&comparison.methods) {
            let last = method.plan.rounds[0].stages.last().expect("a round has a training");
            let width = last.protocol.fitted(&last.set, &last.split)?.0.width();
            let network = last.protocol.first_stage.network.clone().with_metadata_inputs(width).inference();
            if is_onnx(&network) {
                continue;
            }
            row.milliseconds =
                Some(latency(&network, last.protocol.first_stage.training.preprocess.size, width, device)?);
        }
        Ok(())
    }

    /// McNemar's test of every pair of methods on all test cases of all rounds; `None` where there are several tasks.
    ///
    /// # Errors
    /// Methods that answered different cases.
    fn mcnemar(&self) -> Result<Option<ReportTable>, RecipeError> {
        if self.rows.iter().any(|row| row.right.is_empty()) {
            return Ok(None);
        }
        let mut tests = Vec::new();
        let rows: Vec<&ComparedRow> = self.own_rows().collect();
        for (index, first) in rows.iter().enumerate() {
            for second in rows[index + 1..].iter().filter(|second| second.block == first.block) {
                tests.push((first.label(), second.label(), McNemar::of_hits(&first.right, &second.right)?));
            }
        }
        let adjusted = holm(&tests.iter().map(|(_, _, test)| test.p).collect::<Vec<_>>())?;
        let answers = self.rows[0].right.len();
        let mut table = ReportTable::new(
            "McNemar's test of the answers",
            ["pair", "only the first right", "only the second right", "p", "p (Holm)"],
            format!(
                "{answers} answers of all rounds; a case that several rounds test counts in each, which makes p too small."
            ),
        );
        for ((first, second, test), holm) in tests.iter().zip(adjusted) {
            let [one, two] = [test.first_only, test.second_only].map(|count| count.to_string());
            table.push([format!("{first} – {second}"), one, two, p_text(test.p), p_text(holm)]);
        }
        Ok(Some(table))
    }

    /// For each method whether it is as good as those with more parameters, but for a margin in per cent of accuracy: a test over
    /// the test cases, each a mean over its tasks and rounds.
    ///
    /// # Errors
    /// A margin that is not above 0, fewer than two cases.
    pub fn non_inferior(&self, margin: f64) -> Result<Vec<NonInferiorPair>, RecipeError> {
        let mut pairs = Vec::new();
        for smaller in self.own_rows() {
            let larger =
                self.own_rows().filter(|row| row.parameters > smaller.parameters && row.block == smaller.block);
            for larger in larger {
                let share_of_parameters = smaller.parameters as f64 / larger.parameters as f64;
                let test = NonInferiority::of(&smaller.of_cases, &larger.of_cases, margin)?;
                pairs.push(NonInferiorPair {
                    smaller: smaller.label(),
                    larger: larger.label(),
                    share_of_parameters,
                    test,
                });
            }
        }
        Ok(pairs)
    }

    /// The tests over test cases that stand under the comparisons: McNemar's, and whether smaller methods are as good.
    ///
    /// # Errors
    /// As [`ComparisonOutcome::non_inferior`].
    pub fn case_tests(&self) -> Result<Vec<ReportTable>, RecipeError> {
        let mut tables: Vec<ReportTable> = self.mcnemar()?.into_iter().collect();
        let Some(margin) = self.margin else { return Ok(tables) };
        let mut table = ReportTable::new(
            format!("As good with fewer parameters, but for {margin} % of accuracy"),
            ["pair", "parameters", "difference", "at least", "p", "as good"],
            format!(
                "One-sided paired t-tests over {} test cases. At least: the lower end of the difference with 95 % confidence. \
                 As good: it is above −{margin}. p is not corrected for their number.",
                self.cases.len()
            ),
        );
        for NonInferiorPair { smaller, larger, share_of_parameters, test } in self.non_inferior(margin)? {
            let NonInferiority { difference, lower, p, holds, .. } = test;
            let shown = if holds { "yes" } else { "not shown" }.to_owned();
            table.push([
                format!("{smaller} – {larger}"),
                format!("{:.0} %", 100.0 * share_of_parameters),
                format!("{difference:+.1}"),
                format!("{lower:+.1}"),
                p_text(p),
                shown,
            ]);
        }
        tables.push(table);
        Ok(tables)
    }

    /// The table as text.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(6);
        let block_width = self.rows.iter().map(|row| row.block.len()).max().unwrap_or(0);
        let mut text = String::new();
        let measured = self.rows.iter().any(|row| row.milliseconds.is_some());
        let several = |values: fn(&ComparedRow) -> &[f64]| self.rows.iter().any(|row| values(row).len() > 1);
        let wide = if several(|row| &row.accuracy) { 14 } else { 10 };
        let mut line = |name: &str, block: &str, cells: &[String]| {
            let (parameters, cells) = cells.split_first().expect("a row has parameters");
            write!(text, "{name:<width$} {block:<block_width$} {parameters:>12}").expect("a string takes all");
            cells.iter().for_each(|cell| write!(text, "{cell:>wide$}").expect("a string takes all"));
            text.push('\n');
        };
        let mut heads = ["parameters", "GMACs", "AUC", "accuracy", "balanced", "macro F1", "weighted F1"]
            .map(str::to_owned)
            .to_vec();
        if measured {
            heads.push("ms".to_owned());
        }
        line("method", "", &heads);
        for row in &self.rows {
            let mut cells = vec![row.parameters.to_string(), gmacs_text(row.gmacs)];
            let scores = [&row.auc, &row.accuracy, &row.balanced_accuracy, &row.macro_f1, &row.weighted_f1];
            cells.extend(scores.map(|values| cell(values)));
            if measured {
                cells.push(row.milliseconds.map_or_else(String::new, |value| format!("{value:.1}")));
            }
            line(&row.name, &row.block, &cells);
        }
        text
    }

    /// Adds every row in full, with its confusion matrices and ROC curves, and the features of those that have some.
    fn with_details(&self, mut report: Report) -> Result<Report, RecipeError> {
        for (row, answers) in self.rows.iter().zip(&self.answers) {
            report = report.detail(row.label(), &evaluation(answers)?, answers)?;
        }
        // Answers of one training have its features.
        let mut drawn: Vec<(String, &RowFeatures)> = Vec::new();
        for (row, features) in self.rows.iter().zip(&self.features) {
            let Some(features) = features else { continue };
            match drawn.iter_mut().find(|(_, other)| *other == features) {
                Some((names, _)) => *names = format!("{names}, {}", row.label()),
                None => drawn.push((row.label(), features)),
            }
        }
        for (names, RowFeatures { of, values }) in drawn {
            let (of, values) = evenly(of, values);
            let title = match &self.rounds[..] {
                [first, _, ..] => format!("{names}, {first}"),
                _ => names,
            };
            report = Features { title: &title, of: &of, values: &values }.add_to(report)?;
        }
        Ok(report)
    }

    /// What was printed of each row beside ours, a table for each measure that is printed; none where the comparisons say it.
    #[must_use]
    pub fn published_tables(&self) -> Vec<ReportTable> {
        let sources = self.printed_sources().filter(|_| self.published.is_none());
        let Some(sources) = sources else { return Vec::new() };
        let tables = MEASURES.iter().filter_map(|(title, values, score)| {
            let caption = format!("Mean and deviation over the rounds. Published: {sources}.");
            let mut table =
                ReportTable::new(format!("{title}, of each block"), ["method", "ours", "published"], caption);
            let printed: Vec<Option<String>> = (0..self.rows.len()).map(|row| self.printed(row, *score)).collect();
            let is_printed = printed.iter().any(Option::is_some);
            for (row, printed) in self.rows.iter().zip(printed) {
                table.push([row.label(), cell(values(row)), printed.unwrap_or_else(|| "–".to_owned())]);
            }
            is_printed.then_some(table)
        });
        tables.collect()
    }

    /// What was printed of a row; nothing beside synthetic cases.
    pub(super) fn printed(&self, row: usize, score: PublishedScore) -> Option<String> {
        let of_row = self.published_of_rows.get(row).and_then(Option::as_ref);
        let table = of_row.or(self.published.as_ref()).filter(|_| !self.synthetic)?;
        Some(table.row(&self.rows[row].name)?.score(score)?.to_string())
    }

    /// Where the printed numbers are from, and what they are of.
    pub(super) fn printed_sources(&self) -> Option<String> {
        let tables = self.published.iter().chain(self.published_of_rows.iter().flatten());
        let mut sources: Vec<String> = Vec::new();
        for source in tables.map(|table| format!("{}, {}", table.source, table.protocol)) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        (!sources.is_empty() && !self.synthetic).then(|| sources.join("; "))
    }

    /// Whether the cases are made up.
    pub(super) fn is_synthetic(&self) -> bool {
        self.synthetic
    }

    /// In a sentence into which folds the cases were divided and what chose the epoch; `None` where there are no folds.
    #[must_use]
    pub fn parts(&self) -> Option<&str> {
        self.notes.iter().map(String::as_str).find(|note| note.starts_with(PARTS))
    }

    /// Writes `report.html`, with the tests over cases, the sizes, and for each method its confusion matrices, ROC curves and, if they are
    /// wanted, features, `table.json` and, where there are several blocks or rounds,
    /// `comparison.json`. Gives the tests as text.
    ///
    /// # Errors
    /// Scores that cannot be compared, files that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<(String, Comparison)>, RecipeError> {
        let mut report = Report::new(&self.title).synthetic(self.synthetic).note(format!(
            "Data set {}, {} test cases, {} rounds.",
            self.data_set,
            self.cases.len(),
            self.rounds.len()
        ));
        for note in &self.notes {
            report = report.note(note);
        }
        let mut tests = Vec::new();
        let mut scores = Vec::new();
        for (title, values, score) in MEASURES {
            if let Some(tested) = self.tested(values, &self.rounds)? {
                tests.push((title.to_owned(), tested));
                scores.push(Some(score));
            }
        }
        if let Some(tested) = self.tested(|row| &row.of_cases, &self.cases)? {
            tests.push(("Accuracy of each test case over its tasks, per cent".to_owned(), tested));
            scores.push(None);
        }
        if self.rounds.len() * self.blocks().len() == 1 {
            let rows = self.rows.iter().map(|row| format!("{} {:.1}", row.name, row.balanced_accuracy[0]));
            let rows = rows.collect::<Vec<_>>().join(", ");
            report = report
                .note(format!("Balanced accuracy, per cent: {rows}."))
                .note("One training of each method: what differs from training to training is not tested. More repeats or folds can.");
        }
        for ((title, tested), score) in tests.iter().zip(scores) {
            let printed = |table: &&PublishedTable| score.is_some_and(|score| table.prints(score));
            report = report.comparison(title, tested, self.published.as_ref().filter(printed).zip(score));
        }
        for (score, curves) in &self.learning_curves {
            report = report.learning_curve(score, curves);
        }
        for table in self.published_tables() {
            report = report.table(table);
        }
        for table in self.case_tests()? {
            report = report.table(table);
        }
        report = report.table(self.sizes());
        report = self.with_details(report)?;
        report.write(folder.join("report.html"))?;
        write_whole_file(&folder.join("table.json"), &pretty(&self.rows))?;
        write_whole_file(&folder.join("comparison.json"), &pretty(&tests))?;
        if !self.learning_curves.is_empty() {
            write_whole_file(&folder.join("learning_curve.json"), &pretty(&self.learning_curves))?;
        }
        Ok(tests)
    }
}

impl ComparedRow {
    /// Its name, with what it stands on.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.name, self.block).trim_end().to_owned()
    }
}

impl ComparisonOutcome {
    /// How large the networks are, and how long they take.
    fn sizes(&self) -> ReportTable {
        let milliseconds = match &self.measured_on {
            Some(place) => format!(
                "Milliseconds for one case, the median of {PASSES} passes of the network alone: measured on {place}, and other numbers \
                 elsewhere or another time."
            ),
            None => "Milliseconds were not measured.".to_owned(),
        };
        let caption = format!(
            "Parameters of what predicts. GMACs: billions of multiply-adds of the whole network for one case, at its own size of images: of \
             convolutions, linear layers and products of matrices. {milliseconds}"
        );
        let mut table = ReportTable::new("Sizes", ["method", "parameters", "GMACs", "ms"], caption);
        for row in &self.rows {
            let milliseconds = row.milliseconds.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
            table.push([row.label(), row.parameters.to_string(), gmacs_text(row.gmacs), milliseconds]);
        }
        table
    }
}

/// The training cases of a round.
fn training_cases(round: &Round) -> usize {
    round.stages.last().map_or(0, |stage| stage.split.train.len())
}

/// The learning curves of methods that differ in nothing but how many cases they learn from; the answers are those of each method's rounds.
fn learning_curves_of(
    comparison: &MethodComparison,
    answers: &[Vec<Predictions>],
) -> Result<Vec<CurvesOfScore>, RecipeError> {
    let whole = |method: &ComparedMethod| Experiment {
        title: String::new(),
        training_fraction: 1.0,
        ..method.plan.experiment.clone()
    };
    // The methods of each curve, by their places.
    let mut curves: Vec<(Experiment, Vec<usize>)> = Vec::new();
    for (at, method) in comparison.methods.iter().enumerate() {
        let experiment = whole(method);
        match curves.iter_mut().find(|(other, _)| *other == experiment) {
            Some((_, methods)) => methods.push(at),
            None => curves.push((experiment, vec![at])),
        }
    }
    let mut by_score: Vec<CurvesOfScore> = CURVE_SCORES.iter().map(|score| ((*score).to_owned(), Vec::new())).collect();
    for (_, methods) in curves {
        let mut points: BTreeMap<usize, usize> = BTreeMap::new();
        for at in methods {
            let rounds = &comparison.methods[at].plan.rounds;
            // Folds of cases that are dealt evenly have nearly as many each.
            let cases = rounds.iter().map(training_cases).sum::<usize>() / rounds.len().max(1);
            points.entry(cases).or_insert(at);
        }
        let Some((_, &largest)) = points.last_key_value().filter(|_| points.len() > 1) else { continue };
        let method = &comparison.methods[largest];
        let mut group_of = HashMap::new();
        for round in 0..method.plan.rounds.len() {
            let PlannedTraining { set, split, .. } = method.counted(round);
            let tested = split.test.iter().map(|&row| &set.cases[row]);
            group_of.extend(tested.map(|case| (case.id.to_string(), case.group.to_string())));
        }
        let of_points: Vec<AnswersOfCases<'_>> =
            points.iter().map(|(&cases, &at)| AnswersOfCases { cases, rounds: answers[at].iter().collect() }).collect();
        let drawn = LearningCurve::of_answers(&of_points, &group_of, &Bootstrap::default())?;
        for ((_, curves), curve) in by_score.iter_mut().zip(drawn) {
            curves.push((method.name.clone(), curve));
        }
    }
    by_score.retain(|(_, curves)| !curves.is_empty());
    Ok(by_score)
}

/// One value, or the mean and deviation of several.
pub(super) fn cell(values: &[f64]) -> String {
    match values {
        [one] => format!("{one:.1}"),
        several => MeanDeviation::of(several).map_or_else(String::new, |value| value.to_string()),
    }
}

/// Cases spread evenly, if there are more than can be drawn in reasonable time.
fn evenly(of: &BranchLogits, values: &Array2<f32>) -> (BranchLogits, Array2<f32>) {
    let step = values.nrows().div_ceil(MOST_DRAWN).max(1);
    let rows: Vec<usize> = (0..values.nrows()).step_by(step).collect();
    (of.select(&rows), values.select(Axis(0), &rows))
}

/// Billions of multiply-adds of a network for a case, as they are counted in a recording of its pass.
#[cfg(feature = "onnx")]
fn gmacs(config: &NetworkConfig, network: &AnyNetwork, size: usize, width: usize) -> Option<f64> {
    // What an encoder in a file computes is not seen here.
    let count = (!is_onnx(config)).then(|| dermafuse_onnx::multiply_adds(network, [size, size], width));
    Some(count?.ok()? as f64 / 1e9)
}

/// Nothing records a pass.
#[cfg(not(feature = "onnx"))]
fn gmacs(_: &NetworkConfig, _: &AnyNetwork, _: usize, _: usize) -> Option<f64> {
    None
}

/// Two digits behind the point, or as many as show two that are none.
fn gmacs_text(gmacs: Option<f64>) -> String {
    match gmacs {
        None => "–".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) if value < 0.1 => {
            let zeros = -value.log10().floor() as usize; // behind the point, with the first digit
            format!("{value:.*}", zeros + 1)
        }
        Some(value) => format!("{value:.2}"),
    }
}

/// The median time of a pass of one case, in milliseconds.
fn latency(network: &NetworkConfig, size: usize, width: usize, device: &Device) -> Result<f64, RecipeError> {
    let network = network.init_seeded(0, device)?;
    let looked_at = network.modalities();
    let image = |is_seen: bool| is_seen.then(|| Tensor::<4>::zeros([1, 3, size, size], device));
    let input = MultimodalInput {
        clinical: image(looked_at.clinical),
        dermoscopic: image(looked_at.dermoscopic),
        metadata: looked_at.metadata.then(|| Tensor::<2>::zeros([1, width], device)),
    };
    let mut times: Vec<f64> = (0..WARM_UP + PASSES)
        .map(|_| {
            let started = Instant::now();
            // Reading a number waits for the device.
            let output = network.forward(input.clone());
            drop(output.branches[0].logits[0].clone().into_data());
            1000.0 * started.elapsed().as_secs_f64()
        })
        .skip(WARM_UP)
        .collect();
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Whether methods stand on several blocks.
fn has_blocks(comparison: &MethodComparison) -> bool {
    comparison.methods.iter().any(|method| method.block != comparison.methods[0].block)
}

/// The printed row of each method on a data set that is printed of its backbone, where there are several blocks.
fn published_of_rows(comparison: &MethodComparison, data_set: &str) -> Vec<Option<PublishedTable>> {
    let of = |method: &ComparedMethod| {
        let row = method.plan.published_row.as_ref().filter(|_| has_blocks(comparison))?;
        let table = row_of_backbone(&method.plan.published, data_set, row, &method.plan.experiment.method.network)?;
        let rows = table.rows.into_iter().map(|row| PublishedRow { name: method.name.clone(), ..row }).collect();
        Some(PublishedTable { rows, ..table })
    };
    comparison.methods.iter().map(of).collect()
}

/// The printed rows of the methods on a data set, under the names that the methods have here.
fn published_of(comparison: &MethodComparison, data_set: &str) -> Option<PublishedTable> {
    // A number of one block is not that of several; see [`published_of_rows`].
    if has_blocks(comparison) {
        return None;
    }
    // The methods of each recipe, whose tables print the same names.
    let mut recipes: Vec<(Vec<PublishedTable>, Vec<Wanted<'_>>)> = Vec::new();
    for method in &comparison.methods {
        let Some(row) = &method.plan.published_row else { continue };
        let wanted =
            Wanted { name: &method.name, printed: names_in_tables(row, &method.plan.experiment.method.network) };
        let sources = |tables: &[PublishedTable]| tables.iter().map(|table| table.source.clone()).collect::<Vec<_>>();
        let known = recipes.iter_mut().find(|(tables, _)| sources(tables) == sources(&method.plan.published));
        match known {
            Some((tables, methods)) => {
                for (table, other) in tables.iter_mut().zip(&method.plan.published) {
                    let missing = other.rows.iter().filter(|row| table.row(&row.name).is_none()).cloned();
                    let missing: Vec<PublishedRow> = missing.collect();
                    table.rows.extend(missing);
                }
                methods.push(wanted);
            }
            None => recipes.push((method.plan.published.clone(), vec![wanted])),
        }
    }
    let printed = recipes.iter().filter_map(|(tables, methods)| printed_rows(tables, data_set, methods));
    printed.reduce(|first, second| joined(first, &second))
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("results have string keys only")
}

/// The share of a case's known labels that were predicted; `None` if none is known.
fn accuracy_of_case(predictions: &Predictions, case: usize) -> Option<f64> {
    let known = (0..predictions.tasks.len()).filter_map(|task| Some((task, predictions.labels[case][task]?)));
    let hits: Vec<bool> = known.map(|(task, label)| predictions.predicted(case, task) == label).collect();
    (!hits.is_empty()).then(|| hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_of_multiply_adds_are_seen() {
        let texts = [None, Some(0.0), Some(0.000_012_34), Some(0.05), Some(0.136), Some(17.564)].map(gmacs_text);
        assert_eq!(texts, ["–", "0", "0.000012", "0.050", "0.14", "17.56"]);
    }
}
