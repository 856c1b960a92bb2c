//! Several trainings that differ in settings, of which the validation cases choose one.

mod outcome;
mod settings;

use std::collections::HashSet;

use dermafuse_data::{Leak, Split};
use dermafuse_schema::Shard;
use dermafuse_settings::Settings;

pub use outcome::{SweepOutcome, TriedSettings};
pub use settings::{SweepKind, SweepScore};

use self::settings::{SweepSettings, tried_settings};
use crate::{Experiment, MethodComparison, Progress, RecipeError, RoundResult, Workplace};

/// A choice of settings: experiments that differ in them, of which the one with the best score on the validation cases counts.
/// A file says it beside an experiment, and [`Recipe::sweep`](crate::Recipe::sweep) reads it.
///
/// Trials never see the test cases: their own tests are those of the validation cases. So the chosen experiment is trained once
/// more, with its test, by [`Experiment::plan`].
///
/// ```
/// use dermafuse_recipes::Recipe;
/// use dermafuse_settings::Settings;
///
/// let text = "recipe = \"fusionm4net\"\n[sweep.keys]\n\"training.learning_rate\" = [1e-4, 1e-3]\n\"method.network.dropout\" = [0.0, 0.3]";
/// let recipe = Recipe::of(Settings::parse("mine.toml", text)?)?;
/// let sweep = recipe.sweep(None)?.expect("the file has a sweep");
/// assert_eq!(sweep.trials.len(), 4);
/// assert_eq!(sweep.trials[1].settings[1], ("training.learning_rate".to_owned(), "0.001".to_owned()));
///
/// let text = "recipe = \"fusionm4net\"\n[sweep.keys]\n\"training.learning_rat\" = [1e-4, 1e-3]";
/// let error = Recipe::of(Settings::parse("mine.toml", text)?)?.sweep(None).unwrap_err().to_string();
/// assert!(error.starts_with("mine.toml: line 3, column 28: training: there is no setting `learning_rat`"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The trials, in order.
    pub trials: Vec<Trial>,
    /// By which score of the validation cases one is chosen.
    pub score: SweepScore,
}

/// One training of a sweep.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Its name, such as `trial 01`.
    pub name: String,
    /// What it tries: settings and their values.
    pub settings: Vec<(String, String)>,
    /// The experiment with these settings.
    pub experiment: Experiment,
}

/// A sweep with its data, ready to run.
#[derive(Clone, Debug)]
pub struct PlannedSweep {
    sweep: Sweep,
    comparison: MethodComparison,
}

impl Sweep {
    /// Reads the settings of a sweep; `layers_with` lays a trial's over the experiment.
    pub(crate) fn read(said: Settings, layers_with: impl Fn(Settings) -> Settings) -> Result<Self, RecipeError> {
        let tried = tried_settings(&said)?;
        let SweepSettings { score, .. } = said.get_value("sweep")?;
        let digits = tried.len().to_string().len().max(2);
        let trials = tried.into_iter().enumerate().map(|(index, tried)| {
            let layers = layers_with(tried.layer);
            let name = format!("trial {:0digits$}", index + 1);
            Ok(Trial { name, settings: tried.settings, experiment: Experiment::from_layers(layers)? })
        });
        Ok(Self { trials: trials.collect::<Result<_, RecipeError>>()?, score })
    }

    /// Loads the data and plans every trial.
    ///
    /// # Errors
    /// As [`MethodComparison::new`]; cases that would choose in one round and be tested in another.
    pub fn plan(&self, place: Workplace<'_>) -> Result<PlannedSweep, RecipeError> {
        // The chosen experiment alone is fitted to all cases.
        let experiment = |trial: &Trial| Experiment { final_fit: None, ..trial.experiment.clone() };
        let methods = self.trials.iter().map(|trial| (trial.name.clone(), String::new(), experiment(trial)));
        let mut comparison = MethodComparison::new("Sweep", methods.collect(), place)?;
        let counted =
            (0..comparison.methods[0].plan.rounds.len()).map(|round| &comparison.methods[0].counted(round).split);
        let (mut choosing, mut tested): (HashSet<usize>, HashSet<usize>) = Default::default();
        for split in counted {
            if split.valid.is_empty() {
                return Err(RecipeError::NoValidation { chosen: "a sweep chooses" });
            }
            choosing.extend(&split.valid);
            tested.extend(&split.test);
        }
        let both = choosing.intersection(&tested).count();
        if both > 0 {
            let reason = format!(
                "{both} cases validate in one round and are tested in one, so a sweep would choose on the cases that it is tested on; \
                 take split.kind = \"drawn\" or \"published\", or hold test cases back (split.hold_out = 0.2)"
            );
            return Err(RecipeError::Comparison { reason });
        }
        let rounds = comparison.methods.iter_mut().flat_map(|method| &mut method.plan.rounds);
        for training in rounds.flat_map(|round| &mut round.stages) {
            training.split = tested_on_validation(&training.split, training.set.len())?;
        }
        Ok(PlannedSweep { sweep: self.clone(), comparison })
    }
}

/// The split whose test cases are those that validate.
fn tested_on_validation(split: &Split, cases: usize) -> Result<Split, RecipeError> {
    let own = Split::selecting_on_test(split.train.clone(), split.valid.clone(), cases)?;
    Ok(if split.leaks().contains(&Leak::GroupsCross) { own.with_groups_crossing() } else { own })
}

impl PlannedSweep {
    /// How many trainings the trials are.
    #[must_use]
    pub fn trainings(&self) -> usize {
        self.comparison.trainings()
    }

    /// Checks every training of a share. Nothing is written.
    ///
    /// # Errors
    /// As [`MethodComparison::check_shard`].
    pub fn check_shard(
        &self,
        shard: Shard,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        self.comparison.check_shard(shard, place, progress)
    }

    /// Trains a share of the trials; what is done in the folder is read. [`merge_runs`](crate::merge_runs) joins folders.
    ///
    /// # Errors
    /// As [`MethodComparison::run_shard`].
    pub fn run_shard(
        &self,
        shard: Shard,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        // The chosen experiment is trained once more, so models are not kept.
        self.comparison.run_recorded_share(shard, false, place, progress)
    }

    /// Trains all trials, or reads what is done, and chooses one.
    ///
    /// # Errors
    /// As [`MethodComparison::run`]; no trial with a score.
    pub fn run(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<SweepOutcome, RecipeError> {
        self.comparison.run_share(Shard::WHOLE, false, place, progress)?;
        let results: Vec<Vec<RoundResult>> = self.comparison.results(Workplace { resume: true, ..place }, progress)?;
        SweepOutcome::new(&self.sweep, &results)
    }
}
