use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_infer::{KnownCases, MODEL_FILE};
use dermafuse_networks::Network;
use dermafuse_schema::{BranchLogits, FuseSpace, Predictions};
use dermafuse_train::{EpochReport, ImageRecord, RunIdentity, file_digest};
use serde::{Deserialize, Serialize};

use super::PlannedStage;
use crate::backbone_weights::weights_fact;
use crate::stored::{Stored, check_history};
use crate::{NetworkRecipe, OneStage, Progress, RecipeError, Workplace};

pub(super) const BACKBONE: &str = "backbone.safetensors";
const RESULT: &str = "stage.json";
const CHECKPOINTS: &str = "checkpoints";

/// What a stage gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageResult {
    /// The name of the stage.
    pub name: String,
    /// Logits of the test cases.
    pub test: BranchLogits,
    /// The training curves.
    pub history: Vec<EpochReport>,
    /// The epoch with the best validation score, from 1.
    pub best_epoch: usize,
    /// Training cases of each class of the first task.
    pub cases: Vec<usize>,
    /// How often cases of each class were shown in all epochs: what oversampling does.
    pub shown: Vec<usize>,
    /// SHA-256 of the backbone's file.
    pub backbone: String,
}

impl StageResult {
    /// The answers for the test cases.
    ///
    /// # Errors
    /// Logits that do not fit together.
    pub fn predictions(&self) -> Result<Predictions, RecipeError> {
        Ok(self.test.fuse(&self.test.equal_weights(), FuseSpace::Probabilities)?)
    }

    /// What was read is what a stage can give.
    fn check(&self) -> Result<(), String> {
        self.test.check().map_err(|error| error.to_string())?;
        check_history(&self.history, self.best_epoch)?;
        let classes = self.test.tasks[0].classes.len();
        match self.cases.len() == classes && self.shown.len() == classes {
            true => Ok(()),
            false => Err(format!(
                "it counts cases of {} and {} classes, not of {classes}",
                self.cases.len(),
                self.shown.len()
            )),
        }
    }
}

/// The file that a stage's backbone starts from.
pub(super) struct Start {
    pub(super) file: PathBuf,
    /// The digest that it must have.
    pub(super) digest: Option<String>,
}

/// `stage-1-NAME`; stages are counted from 0 in code.
pub(super) fn folder_of(folder: &Path, index: usize, name: &str) -> PathBuf {
    folder.join(format!("stage-{}-{name}", index + 1))
}

/// Whether a stage may run in its folder, and its result if it is done. Nothing is written.
pub(super) fn check_stage(
    stage: &PlannedStage,
    folder: &Path,
    start: Option<&Start>,
    place: Workplace<'_>,
) -> Result<Option<StageResult>, RecipeError> {
    let record = ImageRecord::read(folder);
    let identity = identity(stage, start, &record, place)?;
    let check = |result: &Option<StageResult>| result.as_ref().map_or(Ok(()), StageResult::check);
    let Some(stored) = Stored::<Option<StageResult>>::read(&folder.join(RESULT), check)? else { return Ok(None) };
    stored.require(&identity, &record, folder)?;
    match stored.result {
        Some(_) if !place.resume => Err(RecipeError::Done { path: folder.into() }),
        result => Ok(result),
    }
}

/// Trains a stage in its folder, or reads its result; `earlier` are the cases that made the backbone that it starts from.
pub(super) fn run_stage(
    stage: &PlannedStage,
    folder: &Path,
    start: Option<&Start>,
    earlier: &KnownCases,
    place: Workplace<'_>,
    progress: &mut dyn Progress,
) -> Result<StageResult, RecipeError> {
    if let Some(result) = check_stage(stage, folder, start, place)? {
        return Ok(result);
    }
    let identity = identity(stage, start, &ImageRecord::read(folder), place)?;
    let (file, checkpoints) = (folder.join(RESULT), folder.join(CHECKPOINTS));
    let backbone_weights = start.map(|start| start.file.clone().into());
    let recipe = OneStage {
        network: NetworkRecipe { backbone_weights, ..stage.recipe.network.clone() },
        ..stage.recipe.clone()
    };
    let here = Workplace { folder: Some(&checkpoints), ..place };
    recipe.check(&stage.set, &stage.split, here, progress)?;
    fs::create_dir_all(folder).map_err(|source| RecipeError::Io { path: folder.into(), source })?;
    identity.images.write(folder)?;
    Stored::<Option<StageResult>>::new(identity.facts.clone(), None).write(&file)?;

    let mut outcome = recipe.run(&stage.set, &stage.split, here, progress)?;
    outcome.bundle.description.known_cases.add(earlier);
    outcome.bundle.save(folder.join(MODEL_FILE))?;
    let written = folder.join(BACKBONE);
    let network = &outcome.stage.trained.network;
    let backbone = network.backbones().into_iter().next().expect("a curriculum's network has a backbone");
    backbone.save_weights(&written).map_err(dermafuse_networks::NetworkError::from)?;

    let training = &recipe.network.training;
    let epochs = outcome.stage.trained.history.len();
    let result = StageResult {
        name: stage.name.clone(),
        test: outcome.test,
        best_epoch: outcome.stage.trained.best_epoch,
        cases: stage.set.class_counts(0, &stage.split.train)?,
        shown: training.sampling.shown(&stage.set, &stage.split.train, training.seed, epochs)?,
        history: outcome.stage.trained.history,
        backbone: file_digest(&written)?,
    };
    Stored::new(identity.facts, Some(result.clone())).write(&file)?;
    // Bundle, backbone and result say all that is needed of the stage.
    fs::remove_dir_all(&checkpoints).map_err(|source| RecipeError::Io { path: checkpoints, source })?;
    Ok(result)
}

/// Everything that a stage's result depends on.
fn identity(
    stage: &PlannedStage,
    start: Option<&Start>,
    record: &ImageRecord,
    place: Workplace<'_>,
) -> Result<RunIdentity, RecipeError> {
    let PlannedStage { recipe, set, split, .. } = stage;
    let network = NetworkRecipe { backbone_weights: None, ..recipe.network.clone() };
    let mut facts = network.facts()?;
    facts.set("training", &network.training);
    facts.set("augmentation", &network.augmentation);
    facts.set("incomplete", &network.incomplete);
    facts.set("metadata", &recipe.metadata);
    facts.set("answer", &recipe.answer);
    if let Some(start) = start {
        facts.set("weights", &weights_fact(&digest_of(start)?));
    }
    facts.set_digest("data.tasks", &set.tasks);
    facts.set_cases("train", set, &split.train);
    facts.set_cases("valid", set, &split.valid);
    facts.set_cases("test", set, &split.test);
    let rows = [&split.train[..], &split.valid, &split.test].concat();
    let views = network.network.init(place.device)?.modalities();
    let images = ImageRecord::take(set, &rows, views, record)?;
    images.add_to(&mut facts);
    Ok(RunIdentity { facts, images, length: None })
}

fn digest_of(start: &Start) -> Result<String, RecipeError> {
    let digest = file_digest(&start.file)?;
    match start.digest.as_ref().is_some_and(|expected| *expected != digest) {
        true => Err(RecipeError::ForeignWeights { path: start.file.clone() }),
        false => Ok(digest),
    }
}
