//! An experiment: data, method and protocol in one value, which a TOML file says.

mod abstention;
mod data;
mod final_fit;
mod groups;
mod joined;
mod method;
mod parts;
mod second_stage;
mod stage;
mod start_weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dermafuse_data::{Preprocess, QualityThresholds, Sampling};
use dermafuse_devices::DeviceList;
use dermafuse_ensemble::OutOfDistributionSettings;
use dermafuse_infer::{CardTexts, TestTimeAugmentation};
use dermafuse_schema::SeveralImages;
use dermafuse_settings::{Settings, SettingsError, to_toml};
use dermafuse_train::{Incomplete, TrainingConfig};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use abstention::AbstentionSettings;
pub use data::{DataSource, MergedSource};
pub use final_fit::FinalFitSettings;
pub use groups::{GroupSettings, WantedGroup};
pub use joined::JoinedSource;
pub use method::MethodSettings;
pub use parts::PartsSettings;
pub(crate) use parts::{PARTS, Parts};
pub use second_stage::{AnswerKind, SecondStageTable};
pub use stage::StageSettings;
pub(crate) use stage::{OF_METHOD, RANDOM};
pub use start_weights::StartWeights;

use crate::RecipeError;
use crate::recipe::{Recipe, SWEEP};

/// Everything that a training and its test depend on. It is read from layers of [`Settings`]: the library's defaults, a recipe,
/// a file, and words such as `training.epochs=5`, each over the one before.
///
/// ```
/// use dermafuse_recipes::Experiment;
/// use dermafuse_settings::Settings;
///
/// let mut settings = Settings::parse("mine.toml", "recipe = \"fusionm4net\"\n[training]\nepochs = 20")?;
/// settings.set("method.network.backbone=resnet18")?;
/// let experiment = Experiment::read(settings)?;
/// assert_eq!((experiment.training.epochs, experiment.training.batch_size), (20, 32));
///
/// let settings = Settings::parse("mine.toml", "recipe = \"fusionm4net\"\n[training]\nepoch = 20")?;
/// let error = Experiment::read(settings).unwrap_err().to_string();
/// assert!(error.starts_with("mine.toml: line 3, column 1: training: there is no setting `epoch`; the settings here are: epochs,"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What reports call it.
    pub title: String,
    /// Seed of first weights, order, augmentation and dropout: it is added to those of training and second stage. Repeats
    /// and folds count on from it.
    pub seed: u64,
    /// How often everything is done, with another seed each time; folds are dealt anew. At most 1000.
    pub repeats: u64,
    /// The data sets, by names of your own.
    pub data: BTreeMap<String, DataSource>,
    /// Sets that are made of others by a map of classes.
    pub merged: BTreeMap<String, MergedSource>,
    /// Sets that have the tasks of several others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joined: BTreeMap<String, JoinedSource>,
    /// Which cases train, validate and test.
    pub split: PartsSettings,
    /// One more model that learns from all cases, after folds; none is fitted without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_fit: Option<FinalFitSettings>,
    /// The fraction of the training cases that are learnt from, above 0 and at most 1: by class of the first task, whole groups, a smaller
    /// one within a larger one; see [`Split::with_training_fraction`](dermafuse_data::Split::with_training_fraction). Which they are follows from the
    /// seed of the round. Stages on other sets keep all of theirs.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub training_fraction: f64,
    /// What becomes of cases that lack an image.
    pub incomplete: Incomplete,
    /// What answers for a case that has several images of a kind.
    pub several_images: SeveralImages,
    /// The network, what it starts from and how it is judged.
    pub method: MethodSettings,
    /// How the network is trained.
    pub training: TrainingConfig,
    /// Trainings on one data set after the other; none is a single one.
    #[serde(default)]
    pub stages: Vec<StageSettings>,
    /// How branches answer together, and what comes after them.
    pub second_stage: SecondStageTable,
    /// Unions of classes with a question that they answer, by names of your own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupSettings>,
    /// Sets of classes with a stated error rate; none are fitted without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstention: Option<AbstentionSettings>,
    /// How the test cases are answered.
    pub evaluation: EvaluationSettings,
    /// From when on the model calls pictures bad: too small, blurred, too dark and others.
    pub quality: QualityThresholds,
    /// How the model learns to tell how far a case is from those that trained it.
    pub out_of_distribution: OutOfDistributionSettings,
    /// What the model's file says of it to people, in words.
    #[serde(default, skip_serializing_if = "CardTexts::is_empty")]
    pub card: CardTexts,
    /// Where and how it is computed; nothing of it changes the numbers.
    pub machine: MachineSettings,
}

/// How cases are answered and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSettings {
    /// Views that are averaged: 0 (the image as it is), 3, 4 or 6.
    pub views: TestTimeAugmentation,
    /// Whether the features before the last classifier are drawn; those of the first round, where there are several.
    pub features: bool,
    /// Whether the test cases are also answered from each subset of their inputs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub subsets: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn whole() -> f64 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
#[allow(clippy::float_cmp, reason = "all is exactly one")]
fn is_whole(fraction: &f64) -> bool {
    *fraction == 1.0
}

/// Where and how an experiment is computed. The numbers do not depend on it, but for the device's own rounding and for the size of
/// [parts](TrainingConfig::micro_batch_size) that a list of devices stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSettings {
    /// The device, by name: `flex` is the CPU. Of a list, all share each step of a training and the first does everything else; batches have
    /// as many parts as there are devices where `training.micro_batch_size` does not say it.
    pub device: DeviceList,
    /// Threads that decode images.
    pub threads: usize,
    /// Memory for decoded images, in megabytes.
    pub image_cache: usize,
    /// Folder in which the features that frozen encoders give of images are kept from run to run; none are kept without. In words it
    /// starts from the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
}

/// More repeats than anybody has time for.
const MAX_REPEATS: u64 = 1000;

/// How settings of a recipe's file begin that are none of an experiment.
const OF_RECIPES: [&str; 5] = ["about", "rows", "published", "row_groups", "protocols"];

impl Experiment {
    /// Reads an experiment. The setting `recipe` names the one that it starts from: a shipped recipe or another file, whose
    /// path starts from the folder of the one that names it.
    ///
    /// # Errors
    /// Settings that are not known, values that they cannot have, and what contradicts itself; with the place.
    pub fn read(settings: Settings) -> Result<Self, RecipeError> {
        let mut settings = with_recipe(settings)?;
        OF_RECIPES.iter().for_each(|key| drop(settings.take(key)));
        if settings.place(SWEEP).is_some() {
            let reason =
                "a sweep is several experiments; `dermafuse train` chooses one and leaves it as experiment.toml";
            return Err(settings.error(SWEEP, reason).into());
        }
        drop(settings.take(SWEEP));
        Self::from_layers(settings)
    }

    /// Reads an experiment from layers that are complete but for the library's defaults.
    pub(crate) fn from_layers(settings: Settings) -> Result<Self, RecipeError> {
        let mut settings = settings.over(defaults());
        let whole = settings.clone();
        let stages = stage::in_layers(&mut settings)?;
        let mut experiment: Self = settings.get()?;
        experiment.stages = stages;
        for (name, source) in &mut experiment.data {
            source.resolve(&settings, name);
        }
        for (name, merged) in &mut experiment.merged {
            merged.resolve(&settings, name);
        }
        for (name, group) in &mut experiment.groups {
            group.resolve(&settings, name);
        }
        experiment.method.resolve(&settings);
        experiment.split.resolve(&settings);
        if let Some(features) = &mut experiment.machine.features {
            *features = settings.path_of("machine.features", features);
        }
        experiment.check(&settings)?;
        stage::check(&experiment, &whole)?;
        experiment.choose_steps(&settings)?;
        Ok(experiment)
    }

    /// Reads the file of an experiment, which may name a recipe, as the only layer over it.
    ///
    /// # Errors
    /// As [`Experiment::read`].
    pub fn read_file(file: impl AsRef<Path>) -> Result<Self, RecipeError> {
        Self::read(Settings::read(file)?)
    }

    /// The text of a file that says every setting, with which the same experiment is repeated. Its paths are absolute.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut saved = self.clone();
        saved.data.values_mut().for_each(DataSource::make_absolute);
        saved.merged.values_mut().for_each(MergedSource::make_absolute);
        saved.split.make_absolute();
        if let Some(features) = &mut saved.machine.features
            && let Ok(whole) = std::path::absolute(&*features)
        {
            *features = whole;
        }
        saved.method.make_absolute();
        saved.stages.iter_mut().for_each(|stage| stage.method.make_absolute());
        to_toml(&saved)
    }

    /// In which parts another experiment differs, as far as numbers depend on them and are not a matter of chance.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let unseeded = |training: &TrainingConfig| TrainingConfig { seed: 0, ..training.clone() };
        let trainings = |experiment: &Self| -> Vec<TrainingConfig> {
            let stages = experiment.stages.iter().map(|stage| &stage.training);
            stages.chain([&experiment.training]).map(unseeded).collect()
        };
        let is_random = |experiment: &Self| experiment.method.weights == StartWeights::Random;
        let cases_differ = |(name, source): (&String, &DataSource)| {
            other.data.get(name).is_some_and(|other| other.cases != source.cases)
        };
        let tasks_differ = |(name, source): (&String, &DataSource)| {
            let of = |source: &DataSource| (source.tasks.clone(), source.other_tasks);
            other.data.get(name).is_some_and(|other| of(other) != of(source))
        };
        let roles_differ = |(name, source): (&String, &DataSource)| {
            other.data.get(name).is_some_and(|other| other.roles != source.roles)
        };
        let parts = [
            ("data.cases", self.data.iter().any(cases_differ)),
            ("data.tasks", self.data.iter().any(tasks_differ)),
            ("data.roles", self.data.iter().any(roles_differ)),
            ("split", self.split != other.split),
            ("training_fraction", self.training_fraction != other.training_fraction),
            ("incomplete", self.incomplete != other.incomplete),
            ("several_images", self.several_images != other.several_images),
            ("method.network", self.method.network != other.method.network),
            ("method.weights", is_random(self) != is_random(other)),
            ("method.selection", self.method.selection != other.method.selection),
            ("method.metadata", self.method.metadata != other.method.metadata),
            ("method.members", self.method.members != other.method.members),
            ("method.teacher", self.method.teacher.is_some() != other.method.teacher.is_some()),
            ("method.heads", self.method.heads != other.method.heads),
            ("training", trainings(self) != trainings(other)),
            ("second_stage", self.second_stage != other.second_stage),
            ("evaluation.views", self.evaluation.views != other.evaluation.views),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
    }

    /// Chooses the steps of unfreezing that are said by backbone. Where there are stages, those of each stage count.
    fn choose_steps(&mut self, settings: &Settings) -> Result<(), RecipeError> {
        let choose = |training: &mut TrainingConfig, method: &MethodSettings| {
            let chosen = training.clone().for_backbones(&method.network.backbones());
            *training = chosen.map_err(|error| settings.error("training.unfreezing", error.to_string()))?;
            Ok(())
        };
        if self.stages.is_empty() {
            return choose(&mut self.training, &self.method);
        }
        self.stages.iter_mut().try_for_each(|stage| choose(&mut stage.training, &stage.method))
    }

    /// What can be told to be wrong without looking at any data.
    fn check(&self, settings: &Settings) -> Result<(), RecipeError> {
        let error = |key: &str, reason: String| Err(settings.error(key, reason).into());
        if !(1..=MAX_REPEATS).contains(&self.repeats) {
            return error("repeats", format!("from 1 to {MAX_REPEATS}"));
        }
        if let Some((text, reason)) = self.card.fault() {
            return error(&format!("card.{text}"), reason);
        }
        if !(self.training_fraction > 0.0 && self.training_fraction <= 1.0) {
            return error("training_fraction", "above 0 and at most 1".into());
        }
        settings.checked("training", self.training.check())?;
        let (devices, batch) = (self.machine.device.names().len(), self.training.batch_size);
        let each_once = matches!(self.training.sampling, Sampling::EachOnce | Sampling::Weighted { .. });
        if self.training.micro_batch_size.is_none()
            && each_once
            && (batch / devices < 2 || !batch.is_multiple_of(devices))
        {
            let reason = format!(
                "{devices} devices do not share batches of {batch} evenly; say training.micro_batch_size, the cases that a device \
                 computes at once"
            );
            return error("machine.device", reason);
        }
        settings.checked("quality", self.quality.check())?;
        settings.checked("out_of_distribution", self.out_of_distribution.check())?;
        settings.checked("split", self.split.check())?;
        let folds = matches!(self.split, PartsSettings::Folds { .. });
        if folds && !self.stages.is_empty() {
            return error("split", "an experiment with stages has no folds; repeats are possible".into());
        }
        if folds && !self.merged.is_empty() {
            let reason =
                "a merged set has no folds, since its target alone is tested; drawn parts and repeats are possible";
            return error("split", reason.into());
        }
        let kinds = self.method.network.auxiliary_names();
        if let Some(name) = self.training.loss.auxiliary.keys().find(|name| !kinds.contains(&name.as_str())) {
            let key = format!("training.loss.auxiliary.{name}");
            let reason = match &kinds[..] {
                [] => "this network adds no losses by itself".to_owned(),
                known => format!("this network adds the losses {} by itself", known.join(", ")),
            };
            return error(&key, reason);
        }
        data::check(self, settings)?;
        joined::check(self, settings)?;
        final_fit::check(self, settings)?;
        groups::check(self)?;
        abstention::check(self, settings)?;
        second_stage::check(self, settings)?;
        method::check(self, settings)?;
        Ok(())
    }
}

/// The settings over those of the recipe that they name.
pub(crate) fn with_recipe(mut settings: Settings) -> Result<Settings, RecipeError> {
    let mut seen = Vec::new();
    loop {
        let said = settings.clone();
        let Some(named) = settings.take("recipe") else { return Ok(settings) };
        let name: String = named.get_value("recipe")?;
        if seen.contains(&name) {
            return Err(said.error("recipe", format!("`{name}` is a recipe that starts from itself")).into());
        }
        let base = match Recipe::shipped_text(&name) {
            Some(text) => Settings::parse(format!("recipe {name}"), text)?,
            None if name.ends_with(".toml") => Settings::read(said.path_of("recipe", Path::new(&name)))?,
            None => {
                let known = Recipe::shipped_names().join(", ");
                let reason =
                    format!("there is no recipe `{name}`; the recipes are {known}, or the path of a file (.toml)");
                return Err(said.error("recipe", reason).into());
            }
        };
        settings = settings.over(base);
        seen.push(name);
    }
}

/// What every setting is that neither a recipe nor a file says.
fn defaults() -> Settings {
    let mut training = TrainingConfig::as_released(224, 0);
    // Where no image has a box or mask, the plan takes it away.
    training.preprocess.box_margin = Some(Preprocess::DEFAULT_MARGIN);
    let defaults = json!({
        "title": "Experiment",
        "seed": 0,
        "repeats": 1,
        "data": {},
        "merged": {},
        "split": PartsSettings::default(),
        "incomplete": Incomplete::default(),
        "several_images": SeveralImages::default(),
        "method": {
            "weights": "random",
            "selection": crate::Selection::default(),
            "metadata": dermafuse_data::EncoderConfig::default(),
        },
        "training": training,
        "stages": [],
        "second_stage": SecondStageTable::default(),
        "evaluation": { "views": 6, "features": false },
        "quality": QualityThresholds::default(),
        "out_of_distribution": OutOfDistributionSettings::default(),
        "machine": { "device": "flex", "threads": 2, "image_cache": 1000 },
    });
    Settings::parse("defaults", &to_toml(&defaults)).expect("what was written is read")
}

impl From<SettingsError> for RecipeError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}
