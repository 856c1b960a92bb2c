//! `dermafuse compare`: several experiments on the same cases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use dermafuse::data::ImageCache;
use dermafuse::eval::LearningCurve;
use dermafuse::recipes::{
    ComparisonOutcome, Experiment, MethodComparison, Progress, Recipe, SideBySide, TerminalProgress, Workplace,
};
use dermafuse::schema::{RunFolder, RunMode, Shard};
use dermafuse::train::LostBest;

use crate::failure::{Failure, ProgramResult};
use crate::terminal::{say, say_part};

/// Train several methods on the same cases with the same seeds, and test whether they differ.
///
/// With one recipe or file, the rows of its comparison are compared, or a group of them; with several, each of them. NAME:ROW is a row
/// of a recipe.
#[derive(Args, Clone, Debug)]
pub(crate) struct Compare {
    /// Recipes, files of experiments, or their rows as NAME:ROW
    #[arg(required = true)]
    methods: Vec<String>,
    /// Rows of the only recipe, in place of those that it compares
    #[arg(long)]
    row: Vec<String>,
    /// A group of rows of the only recipe, or all; `dermafuse recipes` lists them
    #[arg(long, conflicts_with = "row")]
    group: Option<String>,
    /// A way of the only recipe to divide the cases and to choose the epoch; or all, one after the other, each in a folder of its
    /// own, and side by side. `dermafuse recipes` lists them
    #[arg(long)]
    protocol: Option<String>,
    /// Where a data set lies: NAME=PATH, or KIND=PATH where there is one only
    #[arg(long, value_name = "NAME=PATH")]
    data: Vec<String>,
    /// A setting of all methods, such as training.epochs=5
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A setting with several values, on each of which all methods are trained, such as
    /// method.network.backbone=resnet50,mobilenet_v2; over training_fraction=0.1,0.2,0.5,1 it draws a learning curve
    #[arg(long, value_name = "KEY=VALUE,VALUE")]
    over: Option<String>,
    /// Do a share of the trainings only, from 1/N to N/N
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Test whether methods are as good as those with more parameters, but for so many per cent of accuracy; say it before you
    /// look at the numbers
    #[arg(long, value_name = "PER_CENT", value_parser = margin)]
    margin: Option<f64>,
    /// Measure how long each network takes for one case
    #[arg(long)]
    latency: bool,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/compare")]
    out: PathBuf,
    /// Continue the run in the folder
    #[arg(long)]
    resume: bool,
    /// What becomes of a resumed training whose best epoch is damaged
    #[arg(long, default_value_t)]
    lost_best: LostBest,
}

impl Compare {
    fn recipe(&self, name: &str) -> Result<Recipe, Failure> {
        let mut recipe = Recipe::named(name)?;
        for words in &self.data {
            recipe.set_data(words)?;
        }
        for words in &self.set {
            recipe.set(words)?;
        }
        if recipe.sweep(None)?.is_some() {
            return Err(
                format!("{name} has a [sweep]; train it, and compare the experiment.toml that it leaves").into()
            );
        }
        Ok(recipe)
    }

    /// The protocols that were asked for; `None` where none was.
    fn protocols(&self) -> Result<Option<Vec<String>>, Failure> {
        let Some(asked) = &self.protocol else { return Ok(None) };
        let [name] = &self.methods[..] else {
            return Err("--protocol is a way of one recipe to divide cases, and several methods are given".into());
        };
        let recipe = Recipe::named(name.split_once(':').map_or(name.as_str(), |(name, _)| name))?;
        let known: Vec<String> = recipe.protocols().into_iter().map(str::to_owned).collect();
        match asked.as_str() {
            "all" if known.len() > 1 && self.shard.is_some() => {
                Err("--shard is a share of one comparison: give --protocol one name, and run the others by themselves"
                    .into())
            }
            "all" if known.len() > 1 => Ok(Some(known)),
            "all" => Err(format!("{name} has no protocols to put side by side").into()),
            one => recipe.under_protocol(one).map(|_| Some(vec![one.to_owned()])).map_err(Failure::from),
        }
    }

    /// The methods under a protocol, and a title.
    fn methods(&self, protocol: Option<&str>) -> Result<(String, Vec<Method>), Failure> {
        let mut recipes: Vec<(Recipe, Option<String>)> = Vec::new();
        for named in &self.methods {
            let (name, row) = match named.split_once(':') {
                Some((name, row)) => (name, Some(row.to_owned())),
                None => (named.as_str(), None),
            };
            let recipe = self.recipe(name)?;
            let recipe = match protocol {
                Some(protocol) => recipe.under_protocol(protocol)?,
                None => recipe,
            };
            recipes.push((recipe, row));
        }
        let mut chosen: Vec<(Recipe, Option<String>)> = Vec::new();
        match &recipes[..] {
            [(recipe, None)] if !recipe.rows().is_empty() => {
                let compared = recipe.compared_rows(self.group.as_deref())?.into_iter().map(str::to_owned);
                let rows: Vec<String> = if self.row.is_empty() { compared.collect() } else { self.row.clone() };
                chosen.extend(rows.into_iter().map(|row| (recipe.clone(), Some(row))));
            }
            _ if self.group.is_some() => return Err("--group is a group of rows of one recipe that has some".into()),
            _ if !self.row.is_empty() => {
                return Err("--row chooses rows of one recipe; say NAME:ROW for several".into());
            }
            _ => chosen.extend(recipes.iter().cloned()),
        }
        let blocks: Vec<(String, Option<String>)> = match &self.over {
            None => vec![(String::new(), None)],
            Some(words) => {
                let (key, values) = words.split_once('=').ok_or("--over takes KEY=VALUE,VALUE")?;
                values.split(',').map(|value| (value.to_owned(), Some(format!("{key}={value}")))).collect()
            }
        };
        let mut methods = Vec::new();
        for (block, words) in &blocks {
            for (recipe, row) in &chosen {
                let mut recipe = recipe.clone();
                if let Some(words) = words {
                    recipe.set(words)?;
                }
                let (name, experiment) = match row {
                    Some(row) => (row.clone(), recipe.experiment_of(recipe.row(row)?)?),
                    None => {
                        let experiment = recipe.experiment()?;
                        (experiment.title.clone(), experiment)
                    }
                };
                methods.push(Method { name, block: block.clone(), experiment, recipe, row: row.clone() });
            }
        }
        let title = match &recipes[..] {
            [(recipe, _)] => recipe.experiment()?.title,
            _ => "Comparison".to_owned(),
        };
        let title = protocol.map_or(title.clone(), |protocol| format!("{title}, {protocol}"));
        Ok((title, methods))
    }
}

/// A method that was asked for.
struct Method {
    name: String,
    /// What it stands on, with `--over`.
    block: String,
    experiment: Experiment,
    recipe: Recipe,
    row: Option<String>,
}

/// A comparison that has passed its checks.
struct Prepared {
    comparison: MethodComparison,
    out: PathBuf,
}

pub(crate) fn run(arguments: &Compare) -> ProgramResult {
    let Compare { shard, out, resume, lost_best, .. } = arguments;
    let mode = RunMode { resume: *resume, shared: shard.is_some() };
    let protocols = arguments.protocols()?;
    let planned: Vec<(Option<&str>, PathBuf)> = match protocols.as_deref() {
        None => vec![(None, out.clone())],
        Some([one]) => vec![(Some(one.as_str()), out.clone())],
        Some(all) => all.iter().map(|name| (Some(name.as_str()), out.join(name.replace(' ', "-")))).collect(),
    };
    RunFolder::check(out, "compare", mode)?;
    let mut terminal = TerminalProgress::default();
    let (_, first) = arguments.methods(planned[0].0)?;
    let machine = first[0].experiment.machine.clone();
    let devices = machine.device.open();
    let devices = devices.map_err(|reason| first[0].recipe.error("machine.device", reason.to_string()))?;
    let cache = Arc::new(ImageCache::new(machine.image_cache.saturating_mul(1_000_000)));
    let place = Workplace::on_all(&devices).with_cache(&cache).with_lost_best(*lost_best);
    // All are checked before the first one begins.
    let mut prepared = Vec::with_capacity(planned.len());
    for (protocol, out) in planned {
        let place = place.in_folder(&out, *resume);
        let comparison = prepare(arguments, protocol, place, &mut terminal)?;
        prepared.push(Prepared { comparison, out });
    }
    let mut folder = RunFolder::open(out, "compare", mode)?;
    folder.begin()?;
    if let (Some(shard), [Prepared { comparison, out }]) = (shard, &prepared[..]) {
        comparison.run_shard(*shard, place.in_folder(out, *resume), &mut terminal)?;
        say!("share {shard} is done; when all are, run again with --resume and without --shard");
        return Ok(());
    }
    let mut outcomes = Vec::with_capacity(prepared.len());
    for Prepared { comparison, out } in &prepared {
        outcomes.push(compared(arguments, comparison, out, place.in_folder(out, *resume), &mut terminal)?);
    }
    if let Some(names) = protocols.filter(|names| names.len() > 1) {
        let comparisons: Vec<(String, ComparisonOutcome)> = names.into_iter().zip(outcomes).collect();
        let title = prepared[0].comparison.title.split_once(", ").map_or("Protocols", |(title, _)| title);
        let side_by_side = SideBySide { title, comparisons: &comparisons };
        side_by_side.write(out)?;
        for table in side_by_side.tables() {
            say!("\n{}, side by side\n\n{table}", table.title());
        }
        say!("written to {}: report.html, and a folder for each protocol", out.display());
    }
    Ok(folder.finish()?)
}

/// The comparison under a protocol, checked.
fn prepare(
    arguments: &Compare,
    protocol: Option<&str>,
    place: Workplace<'_>,
    terminal: &mut TerminalProgress,
) -> Result<MethodComparison, Failure> {
    let (title, methods) = arguments.methods(protocol)?;
    let named = methods.iter().map(|method| (method.name.clone(), method.block.clone(), method.experiment.clone()));
    let mut comparison = MethodComparison::new(title, named.collect(), place)?;
    for (compared, Method { recipe, row, .. }) in comparison.methods.iter_mut().zip(&methods) {
        let row = match row {
            Some(name) => Some(recipe.row(name)?),
            None => None,
        };
        compared.plan = compared.plan.clone().with_published(recipe, row);
    }
    let under = protocol.map_or_else(String::new, |protocol| format!(" {protocol}"));
    say!("{} methods, {} trainings{under}", comparison.methods.len(), comparison.trainings());
    match arguments.shard {
        Some(shard) => comparison.check_shard(shard, place, terminal)?,
        None => comparison.check(place, terminal)?,
    }
    Ok(comparison)
}

/// Does a comparison, writes its report and prints its tables.
fn compared(
    arguments: &Compare,
    comparison: &MethodComparison,
    out: &Path,
    place: Workplace<'_>,
    terminal: &mut TerminalProgress,
) -> Result<ComparisonOutcome, Failure> {
    let mut outcome = comparison.run(place, terminal)?;
    outcome.margin = arguments.margin;
    if arguments.latency {
        terminal.step("measuring how long the networks take");
        outcome.measure_latency(comparison, place.device)?;
    }
    terminal.step("writing the report");
    let tests = outcome.write(out)?;
    say!("\n{}: in per cent; the majority has an accuracy of {:.1}", comparison.title, outcome.majority);
    if let Some(parts) = outcome.parts() {
        say!("{parts}");
    }
    say_part!("\n{}", outcome.table());
    for (score, curves) in &outcome.learning_curves {
        let table = LearningCurve::table(score, curves);
        say!("\n{}\n\n{table}", table.title());
    }
    for table in outcome.published_tables() {
        say!("\n{}\n\n{table}", table.title());
    }
    for (title, tested) in tests {
        say!("\n{title}\n\n{tested}");
    }
    for table in outcome.case_tests()? {
        say!("\n{}\n\n{table}", table.title());
    }
    say!("\nwritten to {}: report.html, table.json, comparison.json, methods", out.display());
    Ok(outcome)
}

/// A margin above nothing, in per cent.
fn margin(text: &str) -> Result<f64, String> {
    let margin = text.parse::<f64>().ok().filter(|margin| *margin > 0.0 && *margin < 100.0);
    margin.ok_or_else(|| "give per cent of accuracy, above 0 and below 100".to_owned())
}
