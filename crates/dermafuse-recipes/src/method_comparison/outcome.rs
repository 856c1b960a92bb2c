use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use burn::tensor::Device;
use dermafuse_backbones::parameter_count;
use dermafuse_eval::published::{PublishedRow, PublishedScore, PublishedTable};
use dermafuse_eval::{Comparison, MeanDeviation, Report};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{Predictions, write_whole_file};
use serde::Serialize;

use super::MethodComparison;
use crate::selection::overall;
use crate::{RecipeError, RoundResult, majority};

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
}

/// One method on one block, in per cent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRow {
    /// The method.
    pub name: String,
    /// What it stands on.
    pub block: String,
    /// Parameters of what predicts.
    pub parameters: usize,
    /// Mean accuracy over the tasks, of each round.
    pub accuracy: Vec<f64>,
    /// Mean balanced accuracy over the tasks, of each round.
    pub balanced_accuracy: Vec<f64>,
    /// Mean AUC over the tasks, of each round.
    pub auc: Vec<f64>,
    /// Accuracy of each test case over its tasks and rounds, in the order of the cases' ids.
    #[serde(skip)]
    pub of_cases: Vec<f64>,
}

/// A measure of each block: its heading, its values of a row, and what it is called where it is printed.
type Measure = (&'static str, fn(&ComparedRow) -> &[f64], PublishedScore);

const MEASURES: [Measure; 3] = [
    ("Balanced accuracy, per cent", |row| &row.balanced_accuracy, PublishedScore::BalancedAccuracy),
    ("Mean AUC, per cent", |row| &row.auc, PublishedScore::Auc),
    ("Accuracy, per cent", |row| &row.accuracy, PublishedScore::Accuracy),
];

impl ComparisonOutcome {
    pub(super) fn new(comparison: &MethodComparison, results: Vec<Vec<RoundResult>>) -> Result<Self, RecipeError> {
        let (mut rows, mut cases) = (Vec::new(), Vec::new());
        let mut notes: Vec<String> = comparison.methods.iter().flat_map(|method| method.plan.notes.clone()).collect();
        for (method, results) in comparison.methods.iter().zip(&results) {
            let last = method.plan.rounds[0].stages.last().expect("a round has a training");
            let width = last.protocol.fitted(&last.set, &last.split)?.0.width();
            let network = last.protocol.network.network.clone().with_metadata_inputs(width).inference();
            let mut row = ComparedRow {
                name: method.name.clone(),
                block: method.block.clone(),
                parameters: parameter_count(&network.init(&Device::default())?),
                accuracy: Vec::new(),
                balanced_accuracy: Vec::new(),
                auc: Vec::new(),
                of_cases: Vec::new(),
            };
            // A case that several rounds test counts once.
            let mut of_cases: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for result in results {
                notes.extend(result.notes.iter().map(|note| format!("{}: {note}", method.name)));
                if !result.leaky_inputs.is_empty() {
                    let inputs = result.leaky_inputs.join(", ");
                    notes.push(format!("{} uses what is known after a diagnosis only: {inputs}.", method.name));
                }
                let predictions = result.rows()?.pop().expect("there is an answer").1;
                let overall = overall(&predictions)?;
                let percent = |value: Option<f64>| 100.0 * value.unwrap_or(f64::NAN);
                row.accuracy.push(percent(overall.accuracy));
                row.balanced_accuracy.push(percent(overall.balanced_accuracy));
                row.auc.push(percent(overall.auc));
                for (case, id) in predictions.ids.iter().enumerate() {
                    of_cases.entry(id.to_string()).or_default().push(100.0 * accuracy_of_case(&predictions, case));
                }
            }
            let mean = |accuracies: &Vec<f64>| accuracies.iter().sum::<f64>() / accuracies.len() as f64;
            row.of_cases = of_cases.values().map(mean).collect();
            cases = of_cases.into_keys().collect();
            rows.push(row);
        }
        let first = &comparison.methods[0].plan;
        let last = first.rounds[0].stages.last().expect("a round has a training");
        let majorities = first.rounds.iter().map(|round| {
            let last = round.stages.last().expect("a round has a training");
            Ok(majority(&last.set, &last.split.train, &last.split.test)?.mean_accuracy().unwrap_or(f64::NAN))
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

    /// The tests of a measure over blocks and rounds. Methods that were not run on every block are left out. `None` where there is
    /// one block, or one method.
    ///
    /// # Errors
    /// A score that is not finite.
    fn tested(&self, values: fn(&ComparedRow) -> &[f64], units: &[String]) -> Result<Option<Comparison>, RecipeError> {
        let blocks = self.blocks();
        let of = |name: &str, block: &str| self.rows.iter().find(|row| row.name == name && row.block == block);
        let complete = |name: &&str| blocks.iter().all(|block| of(name, block).is_some());
        let names: Vec<String> = self.names().into_iter().filter(complete).map(str::to_owned).collect();
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

    /// The table as text.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(6);
        let block_width = self.rows.iter().map(|row| row.block.len()).max().unwrap_or(0);
        let cell = |values: &[f64]| match values {
            [one] => format!("{one:.1}"),
            several => MeanDeviation::of(several).map_or_else(String::new, |value| value.to_string()),
        };
        let mut text = String::new();
        let heads = ["parameters", "AUC", "accuracy", "balanced accuracy"];
        writeln!(
            text,
            "{:<width$} {:<block_width$} {:>12}{:>14}{:>14}{:>20}",
            "method", "", heads[0], heads[1], heads[2], heads[3]
        )
        .expect("writing to a string does not fail");
        for row in &self.rows {
            let ComparedRow { name, block, parameters, accuracy, balanced_accuracy, auc, .. } = row;
            let (auc, accuracy, balanced) = (cell(auc), cell(accuracy), cell(balanced_accuracy));
            writeln!(
                text,
                "{name:<width$} {block:<block_width$} {parameters:>12}{auc:>14}{accuracy:>14}{balanced:>20}"
            )
            .expect("writing to a string does not fail");
        }
        text
    }

    /// Writes `report.html`, `table.json` and, where there are several blocks or rounds, `comparison.json`. Gives the tests as text.
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
        report.write(folder.join("report.html"))?;
        write_whole_file(&folder.join("table.json"), &pretty(&self.rows))?;
        write_whole_file(&folder.join("comparison.json"), &pretty(&tests))?;
        Ok(tests)
    }
}

/// The printed rows of the methods on a data set, under the names that the methods have here.
fn published_of(comparison: &MethodComparison, data_set: &str) -> Option<PublishedTable> {
    let mut all: Option<PublishedTable> = None;
    for method in &comparison.methods {
        let printed = |table| Some((table, PublishedTable::row(table, method.plan.published_row.as_deref()?)?));
        let mut tables = method.plan.published.iter().filter(|table| table.data == data_set);
        let Some((table, row)) = tables.find_map(printed) else { continue };
        let row = PublishedRow { name: method.name.clone(), ..row.clone() };
        match &mut all {
            None => all = Some(PublishedTable { rows: vec![row], ..table.clone() }),
            Some(all) if all.row(&row.name).is_some() => {}
            Some(all) => {
                all.rows.push(row);
                if !all.source.contains(&table.source) {
                    all.source = format!("{}; {}", all.source, table.source);
                    all.protocol = format!("{}; {}", all.protocol, table.protocol);
                    (all.runs, all.friedman_p) = (None, None);
                }
            }
        }
    }
    all
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("results have string keys only")
}

/// The share of a case's known labels that were predicted.
fn accuracy_of_case(predictions: &Predictions, case: usize) -> f64 {
    let known = (0..predictions.tasks.len()).filter_map(|task| Some((task, predictions.labels[case][task]?)));
    let hits: Vec<bool> = known.map(|(task, label)| predictions.predicted(case, task) == label).collect();
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
}
