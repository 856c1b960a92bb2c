use std::path::{Path, PathBuf};

use clap::Args;
use dermafuse::backbones::parameter_count;
use dermafuse::data::{CaseSet, DataSetKind, Split};
use dermafuse::eval::published::PublishedTable;
use dermafuse::eval::{Comparison, Evaluation, MeanDeviation, Report};
use dermafuse::infer::MODEL_FILE;
use dermafuse::recipes::{
    CrossValidation, OneStage, Progress, Results, SelectedCases, TwoImageMethod, Workplace, majority,
};
use dermafuse::schema::ndarray::Array2;
use dermafuse::schema::{Predictions, RunFolder, RunMode, write_whole_file};

use crate::{
    ImagesArgument, ProgramResult, Terminal, TrainingArguments, data_set_kind, print_table,
    published_or_stratified_split, say,
};

/// What the programs for two images are told.
#[derive(Args, Clone, Debug)]
pub struct TwoImageArguments {
    /// Data set of pairs of images: derm7pt, milk10k or described
    #[arg(long, value_parser = data_set_kind(), default_value = "derm7pt")]
    dataset: DataSetKind,
    /// Folder of the data set, or the file that describes it
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    images: ImagesArgument,
    /// The row of the table to train, by its name (by default the method itself); several with --ablation
    #[arg(long)]
    row: Vec<String>,
    /// Train every row of the table, or those that are named, and compare them
    #[arg(long)]
    ablation: bool,
    /// Runs of every row, with other seeds
    #[arg(long, default_value_t = 1)]
    repeats: usize,
    #[command(flatten)]
    training: TrainingArguments,
    /// Seed of split, fresh weights and training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Continue the runs in the folder
    #[arg(long)]
    resume: bool,
    /// Weights of losses that networks add by themselves, by name, in place of the recipe's; networks without them ignore them.
    #[arg(skip)]
    pub loss_weights: Vec<(&'static str, f64)>,
}

/// The scores of a row, in per cent.
struct Row<'a> {
    method: &'a TwoImageMethod,
    /// Of each run.
    accuracy: Vec<f64>,
    balanced: Vec<f64>,
    auc: Vec<f64>,
    /// Of each test case, accuracy over its tasks and all runs.
    of_cases: Vec<f64>,
}

/// Trains one row of a table of methods, or all of them, and writes results to a folder.
///
/// # Errors
/// Whatever stops the run.
pub fn run_two_images(
    title: &str,
    arguments: &TwoImageArguments,
    methods: impl Fn(&[usize]) -> Vec<TwoImageMethod>,
    published: &PublishedTable,
    out: &Path,
) -> ProgramResult {
    let set = arguments.dataset.load_with(&arguments.data, &arguments.images.options())?;
    let split = published_or_stratified_split(&set, arguments.seed)?;
    say!("{}: {} cases, {} to train", set.name, set.len(), split.train.len());
    let methods = methods(&set.tasks.class_counts());
    let program = title.to_lowercase();
    let mode = RunMode { resume: arguments.resume, shared: false };
    let study = Study { title, arguments, set: &set, split, published, out, program, mode };
    let known = || methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>().join(", ");
    let named = arguments.row.iter().map(|name| {
        let method = methods.iter().find(|method| &method.name == name);
        method.ok_or_else(|| format!("there is no row `{name}`; the rows are {}", known()))
    });
    let named = named.collect::<Result<Vec<_>, _>>()?;
    if !arguments.ablation && named.len() > 1 {
        return Err("several rows are trained with --ablation".into());
    }
    RunFolder::check(out, &study.program, mode)?;
    match (arguments.ablation, &named[..]) {
        (true, []) => study.ablation(&methods.iter().collect::<Vec<_>>()),
        (true, rows) => study.ablation(rows),
        (false, []) => study.single(methods.last().ok_or("an empty table")?),
        (false, [method, ..]) => study.single(method),
    }
}

struct Study<'a> {
    title: &'a str,
    arguments: &'a TwoImageArguments,
    set: &'a CaseSet,
    split: Split,
    published: &'a PublishedTable,
    out: &'a Path,
    program: String,
    mode: RunMode,
}

impl Study<'_> {
    /// The folder, when every check has passed.
    fn begin(&self) -> Result<RunFolder, Box<dyn std::error::Error>> {
        let mut folder = RunFolder::open(self.out, &self.program, self.mode)?;
        folder.begin()?;
        self.split.save(self.out.join("split.json"), self.set)?;
        Ok(folder)
    }

    fn recipe(&self, method: &TwoImageMethod) -> OneStage {
        let TwoImageArguments { training, seed, loss_weights, .. } = self.arguments;
        let mut recipe = method.recipe(training.image_size, *seed);
        training.apply(&mut recipe.network);
        for (name, weight) in loss_weights {
            if let Some(own) = recipe.network.training.loss.auxiliary.get_mut(*name) {
                *own = *weight;
            }
        }
        recipe
    }

    /// One row, with a model bundle.
    fn single(&self, method: &TwoImageMethod) -> ProgramResult {
        let TwoImageArguments { training, resume, .. } = self.arguments;
        let device = training.device.device()?;
        let cache = training.cache();
        let (recipe, checkpoints) = (self.recipe(method), self.out.join("checkpoints"));
        let place = Workplace::on(&device).in_folder(&checkpoints, *resume).with_cache(&cache);
        let place = place.with_lost_best(training.lost_best);
        let mut terminal = Terminal::default();
        let SelectedCases { split, notes } = recipe.select_cases(self.set, &self.split, &device)?;
        recipe.check(self.set, &self.split, place, &mut terminal)?;
        let folder = self.begin()?;
        write_whole_file(&self.out.join("config.json"), &serde_json::to_vec_pretty(&recipe)?)?;
        let outcome = recipe.run(self.set, &self.split, place, &mut terminal)?;
        let mut rows = vec![("majority".to_owned(), majority(self.set, &split.train, &split.test)?)];
        rows.extend(outcome.rows);
        let results = Results {
            title: &format!("{}: {}", self.title, method.name),
            set: self.set,
            cases: &split.test,
            rows: &rows,
            images: &[],
            config: serde_json::to_value(&recipe)?,
            published: None,
            leaky_inputs: Vec::new(),
            curves: vec![("training", &outcome.stage.trained.history)],
            failed: &[],
            seen: Some(outcome.bundle.description.known_cases.among(self.set, &split.test)),
            notes: [&self.set.notes[..], &notes].concat(),
            features: None,
        };
        let evaluations = results.write(self.out)?;
        outcome.bundle.save(self.out.join(MODEL_FILE))?;
        folder.finish()?;
        say!("\n{}, test accuracy in per cent, {} cases\n", method.name, split.test.len());
        print_table(&evaluations);
        say!("\nwritten to {}: report.html, metrics.json, predictions.csv, {MODEL_FILE}", self.out.display());
        Ok(())
    }

    /// Rows on the same split with the same seeds; those that are done are read.
    fn ablation(mut self, methods: &[&TwoImageMethod]) -> ProgramResult {
        let TwoImageArguments { training, resume, repeats, .. } = self.arguments;
        let device = training.device.device()?;
        let cache = training.cache();
        let mut terminal = Terminal::default();
        let place = Workplace::on(&device).with_cache(&cache).with_lost_best(training.lost_best);
        for method in methods {
            // All rows learn from and answer the same cases.
            let selected = self.recipe(method).select_cases(self.set, &self.split, &device)?;
            selected.notes.iter().for_each(|note| terminal.noted(&format!("{}: {note}", method.name)));
            self.split = selected.split;
        }
        let folder_of = |method: &TwoImageMethod| self.out.join("rows").join(method.name.replace(' ', "-"));
        let runs_of = |method: &TwoImageMethod| {
            let folds = vec![self.split.clone(); (*repeats).max(1)];
            CrossValidation { recipe: self.recipe(method), folds, keep_features: false }
        };
        for method in methods {
            runs_of(method).check(self.set, place.in_folder(&folder_of(method), *resume), &mut terminal)?;
        }
        let run = self.begin()?;
        let mut rows = Vec::new();
        for (number, method) in methods.iter().enumerate() {
            terminal.step(&format!("row {} of {}: {}", number + 1, methods.len(), method.name));
            let folder = folder_of(method);
            let runs = runs_of(method).run(self.set, place.in_folder(&folder, *resume), &mut terminal)?;
            let of_cases = vec![0.0; self.split.test.len()];
            let mut row = Row { method, accuracy: Vec::new(), balanced: Vec::new(), auc: Vec::new(), of_cases };
            for run in &runs.folds {
                let predictions = run.predictions()?;
                for (case, sum) in row.of_cases.iter_mut().enumerate() {
                    *sum += 100.0 * accuracy_of_case(&predictions, case) / runs.folds.len() as f64;
                }
                let overall = Evaluation::of(&predictions)?.overall;
                let percent = |value: Option<f64>| 100.0 * value.unwrap_or(f64::NAN);
                row.accuracy.push(percent(overall.accuracy));
                row.balanced.push(percent(overall.balanced_accuracy));
                row.auc.push(percent(overall.auc));
            }
            rows.push(row);
        }
        self.print(&rows)?;
        self.write_report(&rows)?;
        Ok(run.finish()?)
    }

    fn print(&self, rows: &[Row<'_>]) -> ProgramResult {
        let majority: Predictions = majority(self.set, &self.split.train, &self.split.test)?;
        let majority = 100.0 * majority.mean_accuracy().unwrap_or(f64::NAN);
        say!("\nin per cent, {} test cases; the majority has an accuracy of {majority:.1}\n", self.split.test.len());
        let device = self.arguments.training.device.device()?;
        let columns = ["parameters", "AUC", "accuracy", "balanced accuracy", "published (Derm7pt)"];
        say!("{:<24}{:>12}{:>14}{:>14}{:>20}   {}", "row", columns[0], columns[1], columns[2], columns[3], columns[4]);
        for Row { method, accuracy, balanced, auc, .. } in rows {
            let parameters = parameter_count(&method.network.clone().inference().init(&device)?);
            let cell = |values: &[f64]| match values {
                [one] => format!("{one:.1}"),
                several => MeanDeviation::of(several).map_or_else(String::new, |value| value.to_string()),
            };
            let printed = self.published.row(&method.name).map_or_else(String::new, ToString::to_string);
            let (auc, accuracy, balanced) = (cell(auc), cell(accuracy), cell(balanced));
            say!("{:<24}{parameters:>12}{auc:>14}{accuracy:>14}{balanced:>20}   {printed}", method.name);
        }
        say!(
            "\nparameters of what predicts, without the ImageNet classifiers, which some papers count (`dermafuse models` \
             lists both); published: {}",
            self.published.source
        );
        Ok(())
    }

    fn write_report(&self, rows: &[Row<'_>]) -> ProgramResult {
        let mut report = Report::new(self.title).synthetic(self.set.synthetic).note(format!(
            "Data set {}, {} test cases.",
            self.set.name,
            self.split.test.len()
        ));
        let names: Vec<String> = rows.iter().map(|row| row.method.name.clone()).collect();
        let runs: Vec<String> = (1..=rows[0].accuracy.len()).map(|run| format!("run {run}")).collect();
        let cases: Vec<String> = self.split.test.iter().map(|&case| self.set.cases[case].id.to_string()).collect();
        type Pick = for<'a> fn(&'a Row<'_>) -> &'a [f64];
        let measures: [(&str, &[String], Pick); 3] = [
            ("Balanced accuracy of each run, per cent", &runs, |row| &row.balanced),
            ("Mean AUC of each run, per cent", &runs, |row| &row.auc),
            ("Accuracy of each test case, over its tasks and the runs, per cent", &cases, |row| &row.of_cases),
        ];
        if rows.len() > 1 {
            for (title, blocks, values) in measures.into_iter().filter(|(_, blocks, _)| blocks.len() > 1) {
                let scores =
                    Array2::from_shape_fn((blocks.len(), rows.len()), |(block, row)| values(&rows[row])[block]);
                let comparison = Comparison::of(&names, blocks, &scores)?;
                say!("\n{title}\n\n{comparison}");
                report = report.comparison(title, &comparison, None);
            }
        }
        report.write(self.out.join("report.html"))?;
        say!("\nwritten to {}: report.html, rows", self.out.display());
        Ok(())
    }
}

/// The share of a case's known labels that were predicted.
fn accuracy_of_case(predictions: &Predictions, case: usize) -> f64 {
    let known = (0..predictions.tasks.len()).filter_map(|task| Some((task, predictions.labels[case][task]?)));
    let hits: Vec<bool> = known.map(|(task, label)| predictions.predicted(case, task) == label).collect();
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
}
