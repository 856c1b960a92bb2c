//! `dermafuse train`: one experiment, from a file or a recipe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use clap::{ArgGroup, Args};
use dermafuse::data::ImageCache;
use dermafuse::eval::{SearchedWeight, text_table};
use dermafuse::recipes::{
    Experiment, OutcomeRow, Plan, PlannedSweep, Progress, Recipe, Sweep, SweepOutcome, TerminalProgress, Workplace,
    calibration_change,
};
use dermafuse::schema::{FittedGroup, PredictionSets, RunFolder, RunMode, Shard};
use dermafuse::train::LostBest;

use crate::failure::{Failure, ProgramResult};
use crate::terminal::{say, say_part};

/// Which experiment, and where its data are: what `train` and `check` share.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("what").required(true)))]
pub(crate) struct ExperimentArguments {
    /// The file of an experiment
    #[arg(group = "what")]
    file: Option<String>,
    /// A recipe instead of a file; `dermafuse recipes` lists them
    #[arg(long, group = "what")]
    recipe: Option<String>,
    /// A row of the recipe's comparison instead of the method itself
    #[arg(long)]
    row: Option<String>,
    /// Where a data set lies: NAME=PATH, or KIND=PATH where there is one only; once for each set
    #[arg(long, value_name = "NAME=PATH")]
    data: Vec<String>,
    /// A setting in place of what the file says, such as training.epochs=5; as often as needed
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Train an experiment, test it, and write report, metrics, predictions and model.
///
/// A file with a [sweep] is several trainings that differ in settings. The validation cases choose one of them, which is then
/// trained and tested; sweep.csv lists all.
#[derive(Args, Clone, Debug)]
pub(crate) struct Train {
    #[command(flatten)]
    experiment: ExperimentArguments,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/train")]
    out: PathBuf,
    /// Do a share of the trials of a sweep only, from 1/N to N/N; `merge` joins the folders
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Continue the run in the folder, with the same result as if it had not been stopped
    #[arg(long)]
    resume: bool,
    /// What becomes of a resumed training whose best epoch is damaged
    #[arg(long, default_value_t)]
    lost_best: LostBest,
}

impl ExperimentArguments {
    /// The recipe with everything that was said laid over it.
    fn recipe(&self) -> Result<Recipe, Failure> {
        let mut recipe = Recipe::named(self.file.as_deref().or(self.recipe.as_deref()).unwrap_or_default())?;
        for words in &self.data {
            recipe.set_data(words)?;
        }
        for words in &self.set {
            recipe.set(words)?;
        }
        Ok(recipe)
    }

    /// The experiment; of a sweep, what its trials have in common.
    pub(crate) fn read(&self) -> Result<Experiment, Failure> {
        let recipe = self.recipe()?;
        match &self.row {
            None => Ok(recipe.experiment()?),
            Some(name) => Ok(recipe.experiment_of(recipe.row(name)?)?),
        }
    }

    /// The sweep, if the file asks for one.
    pub(crate) fn sweep(&self) -> Result<Option<Sweep>, Failure> {
        let recipe = self.recipe()?;
        let row = match &self.row {
            Some(name) => Some(recipe.row(name)?),
            None => None,
        };
        Ok(recipe.sweep(row)?)
    }

    /// The devices that it says, at least one.
    pub(crate) fn devices(&self, experiment: &Experiment) -> Result<Vec<Device>, Failure> {
        match experiment.machine.device.open() {
            Ok(devices) => Ok(devices),
            Err(reason) => Err(self.recipe()?.error("machine.device", reason.to_string()).into()),
        }
    }

    /// Its trainings, with the numbers that were printed of the recipe.
    pub(crate) fn plan(&self, experiment: &Experiment) -> Result<Plan, Failure> {
        let recipe = self.recipe()?;
        let row = match &self.row {
            Some(name) => Some(recipe.row(name)?),
            None => None,
        };
        Ok(experiment.plan()?.with_published(&recipe, row))
    }
}

/// What is said of a plan before anything is computed.
pub(crate) fn describe(plan: &Plan) {
    for stage in &plan.rounds[0].stages {
        let (set, split) = (&stage.set, &stage.split);
        let name = if stage.name.is_empty() { String::new() } else { format!("stage {}: ", stage.name) };
        let [train, valid, test] = [&split.train, &split.valid, &split.test].map(Vec::len);
        say!("{name}{}: {} cases, {train} / {valid} / {test} to train, validate, test", set.name, set.len());
    }
    if plan.rounds.len() > 1 {
        say!("{} rounds", plan.rounds.len());
    }
    plan.notes.iter().for_each(|note| say!("  note: {note}"));
}

pub(crate) fn run(arguments: &Train) -> ProgramResult {
    let started = Instant::now();
    let Train { experiment, out, shard, resume, lost_best } = arguments;
    let (arguments, experiment) = (experiment, experiment.read()?);
    let sweep = arguments.sweep()?;
    if shard.is_some() && sweep.is_none() {
        return Err("--shard is a share of the trials of a sweep, and the experiment has no [sweep]".into());
    }
    let devices = arguments.devices(&experiment)?;
    let mode = RunMode { resume: *resume, shared: shard.is_some() };
    RunFolder::check(out, "train", mode)?;
    let cache = Arc::new(ImageCache::new(experiment.machine.image_cache.saturating_mul(1_000_000)));
    let place = Workplace::on_all(&devices).in_folder(out, *resume).with_cache(&cache).with_lost_best(*lost_best);
    let mut terminal = TerminalProgress::default();
    let (folder, plan) = match sweep {
        None => {
            let plan = arguments.plan(&experiment)?;
            describe(&plan);
            plan.check(place, &mut terminal)?;
            (begun(out, mode)?, plan)
        }
        Some(sweep) => {
            // All trials learn from the same cases and are tested on the same.
            let first = arguments.plan(&sweep.trials[0].experiment)?;
            describe(&first);
            first.check(Workplace { folder: None, ..place }, &mut terminal)?;
            let planned = sweep.plan(place)?;
            say!("{} trials, {} trainings", sweep.trials.len(), planned.trainings());
            let share = shard.unwrap_or(Shard::WHOLE);
            planned.check_shard(share, place, &mut terminal)?;
            let folder = begun(out, mode)?;
            if let Some(shard) = shard {
                planned.run_shard(*shard, place, &mut terminal)?;
                say!("share {shard} is done; when all are, run again with --resume and without --shard");
                return Ok(());
            }
            let chosen = chosen(&planned, place, &mut terminal)?;
            chosen.write(out)?;
            let plan = arguments.plan(&chosen.experiment)?;
            plan.check(place, &mut terminal)?;
            (folder, plan)
        }
    };
    let experiment = &plan.experiment;
    let outcome = plan.run(place, &mut terminal)?;
    terminal.step("writing the report");
    let evaluations = outcome.write(out)?;
    folder.finish()?;

    let cases = evaluations.last().map_or(0, |(_, evaluation)| evaluation.cases);
    say!("\n{}: test accuracy in per cent, {cases} cases\n", experiment.title);
    say_part!("{}", text_table(&evaluations));
    if let Some(change) = calibration_change(&evaluations) {
        say_part!("\n{}", change.table());
    }
    for group in outcome.class_groups()? {
        say!("\n{group}");
    }
    if let Some(sets) = outcome.prediction_sets()? {
        say!("\n{sets}");
    }
    for (name, round) in &outcome.rounds {
        let of_groups = round.groups.iter().filter_map(FittedGroup::note);
        let of_sets = round.prediction_sets.iter().flat_map(PredictionSets::notes);
        let round = if name.is_empty() { String::new() } else { format!("{name}: ") };
        of_groups.chain(of_sets).for_each(|note| say!("  note: {round}{note}"));
    }
    if let Some(subsets) = outcome.subsets() {
        say_part!("\n{}", subsets.table());
    }
    if outcome.rounds.len() > 1 {
        say!("\nover {} rounds\n", outcome.rounds.len());
        outcome.rows()?.iter().for_each(print_row);
    }
    for (name, round) in &outcome.rounds {
        if let Some(weights) = &round.weights {
            let pairs = weights.weights.names().iter().zip(weights.weights.values());
            let pairs = pairs.map(|(branch, weight)| format!("{branch} {weight:.3}")).collect::<Vec<_>>().join(", ");
            say!("{}branch weights: {pairs}", if name.is_empty() { String::new() } else { format!("{name}, ") });
        }
    }
    if let Some(sentence) = SearchedWeight::sentence(&outcome.searched_weights()) {
        say!("{sentence}");
    }
    let model = |round| out.join(plan.model_of(round)).display().to_string();
    say!("\nreport: {}", out.join("report.html").display());
    say!("model: {}", plan.rounds.iter().map(model).collect::<Vec<_>>().join(", "));
    if let (Some(round), Some(sentence)) = (&plan.final_fit, outcome.final_fit_sentence()) {
        say!("final model: {}\n  {sentence}", model(round));
    }
    say!("again: dermafuse train {} --out ANOTHER", out.join("experiment.toml").display());
    say!("took {} s", started.elapsed().as_secs());
    Ok(())
}

/// The folder of a run whose checks have passed.
fn begun(out: &Path, mode: RunMode) -> Result<RunFolder, Failure> {
    let mut folder = RunFolder::open(out, "train", mode)?;
    folder.begin()?;
    Ok(folder)
}

/// Trains all trials and says which one is chosen.
fn chosen(
    planned: &PlannedSweep,
    place: Workplace<'_>,
    terminal: &mut TerminalProgress,
) -> Result<SweepOutcome, Failure> {
    let outcome = planned.run(place, terminal)?;
    say!("\n{} of the validation cases, per cent\n", outcome.score);
    for (index, trial) in outcome.trials.iter().enumerate() {
        let settings =
            trial.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ");
        let score = trial.score.map_or_else(|| "n/a".to_owned(), |score| format!("{:.1}", 100.0 * score));
        let mark = if index == outcome.best { "  chosen" } else { "" };
        say!("  {}  {score:>5}  {settings}{mark}", trial.name);
    }
    say!();
    outcome.sentences().iter().for_each(|sentence| say!("{sentence}"));
    Ok(outcome)
}

fn print_row(row: &OutcomeRow) {
    say!("{}", row.sentence());
}
