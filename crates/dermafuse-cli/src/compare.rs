//! `dermafuse compare`: several experiments on the same cases.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dermafuse::data::ImageCache;
use dermafuse::recipes::{Experiment, MethodComparison, Progress, Recipe, TerminalProgress, Workplace};
use dermafuse::schema::{RunFolder, RunMode, Shard};
use dermafuse::train::LostBest;

use crate::device::device_of;
use crate::failure::{Failure, ProgramResult};
use crate::terminal::{say, say_part};

/// Trains several methods on the same cases with the same seeds, and tests whether they differ.
///
/// With one recipe or file, the rows of its comparison are compared; with several, each of them. NAME:ROW is a row of a recipe.
#[derive(Args, Clone, Debug)]
pub(crate) struct Compare {
    /// Recipes, files of experiments, or their rows as NAME:ROW
    #[arg(required = true)]
    methods: Vec<String>,
    /// Rows of the only recipe, in place of all
    #[arg(long)]
    row: Vec<String>,
    /// Where a data set lies: NAME=PATH, or KIND=PATH where there is one only
    #[arg(long, value_name = "NAME=PATH")]
    data: Vec<String>,
    /// A setting of all methods, such as training.epochs=5
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A setting with several values, on each of which all methods are trained, such as
    /// method.network.backbone=resnet50,mobilenet_v2
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

    /// The methods, and a title.
    fn methods(&self) -> Result<(String, Vec<Method>), Failure> {
        let mut recipes: Vec<(Recipe, Option<String>)> = Vec::new();
        for named in &self.methods {
            let (name, row) = match named.split_once(':') {
                Some((name, row)) => (name, Some(row.to_owned())),
                None => (named.as_str(), None),
            };
            recipes.push((self.recipe(name)?, row));
        }
        let mut chosen: Vec<(Recipe, Option<String>)> = Vec::new();
        match &recipes[..] {
            [(recipe, None)] if !recipe.rows().is_empty() => {
                let all = recipe.rows().iter().map(|row| row.name.clone());
                let rows: Vec<String> = if self.row.is_empty() { all.collect() } else { self.row.clone() };
                chosen.extend(rows.into_iter().map(|row| (recipe.clone(), Some(row))));
            }
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

pub(crate) fn run(arguments: &Compare) -> ProgramResult {
    let Compare { shard, margin, latency, out, resume, lost_best, .. } = arguments;
    let (title, methods) = arguments.methods()?;
    let machine = methods[0].experiment.machine.clone();
    let device = device_of(&machine.device)?;
    let mode = RunMode { resume: *resume, shared: shard.is_some() };
    RunFolder::check(out, "compare", mode)?;
    let cache = Arc::new(ImageCache::new(machine.image_cache.saturating_mul(1_000_000)));
    let place = Workplace::on(&device).in_folder(out, *resume).with_cache(&cache).with_lost_best(*lost_best);
    let named = methods.iter().map(|method| (method.name.clone(), method.block.clone(), method.experiment.clone()));
    let mut comparison = MethodComparison::new(title, named.collect(), place)?;
    for (compared, Method { recipe, row, .. }) in comparison.methods.iter_mut().zip(&methods) {
        let row = match row {
            Some(name) => Some(recipe.row(name)?),
            None => None,
        };
        compared.plan = compared.plan.clone().with_published(recipe, row);
    }
    let mut terminal = TerminalProgress::default();
    say!("{} methods, {} trainings", comparison.methods.len(), comparison.trainings());
    match shard {
        Some(shard) => comparison.check_shard(*shard, place, &mut terminal)?,
        None => comparison.check(place, &mut terminal)?,
    }
    let mut folder = RunFolder::open(out, "compare", mode)?;
    folder.begin()?;
    if let Some(shard) = shard {
        comparison.run_shard(*shard, place, &mut terminal)?;
        say!("share {shard} is done; when all are, run again with --resume and without --shard");
        return Ok(());
    }
    let mut outcome = comparison.run(place, &mut terminal)?;
    outcome.margin = *margin;
    if *latency {
        terminal.step("measuring how long the networks take");
        outcome.measure_latency(&comparison, &device)?;
    }
    terminal.step("writing the report");
    let tests = outcome.write(out)?;
    folder.finish()?;
    say!("\nin per cent; the majority has an accuracy of {:.1}\n", outcome.majority);
    say_part!("{}", outcome.table());
    for (title, tested) in tests {
        say!("\n{title}\n\n{tested}");
    }
    for table in outcome.case_tests()? {
        say!("\n{}\n\n{table}", table.title());
    }
    say!("\nwritten to {}: report.html, table.json, comparison.json, methods", out.display());
    Ok(())
}

/// A margin above nothing, in per cent.
fn margin(text: &str) -> Result<f64, String> {
    let margin = text.parse::<f64>().ok().filter(|margin| *margin > 0.0 && *margin < 100.0);
    margin.ok_or_else(|| "give per cent of accuracy, above 0 and below 100".to_owned())
}
