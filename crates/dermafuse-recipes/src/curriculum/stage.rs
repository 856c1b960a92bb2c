use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_infer::{KnownCases, MODEL_FILE, sha256_hex};
use dermafuse_schema::{BranchLogits, FuseSpace, Predictions, write_whole_file};
use dermafuse_train::EpochReport;
use serde::{Deserialize, Serialize};

use super::PlannedStage;
use crate::backbone_weights::digest_of;
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
}

/// The file of a stage that was begun, or is done.
#[derive(Serialize, Deserialize)]
struct Stored {
    fingerprint: String,
    result: Option<StageResult>,
}

/// `stage-1-NAME`; stages are counted from 0 in code.
pub(super) fn folder_of(folder: &Path, index: usize, name: &str) -> PathBuf {
    folder.join(format!("stage-{}-{name}", index + 1))
}

/// Trains a stage in its folder, or reads its result. `start` is the file that its backbone starts from, with the
/// digest that it must have, `earlier` the cases that made that backbone.
pub(super) fn run_stage(
    stage: &PlannedStage,
    folder: &Path,
    start: Option<(&Path, Option<&str>)>,
    earlier: &KnownCases,
    place: Workplace<'_>,
    progress: &mut dyn Progress,
) -> Result<StageResult, RecipeError> {
    let digest = start.map(|(file, expected)| expected_digest_of(file, expected)).transpose()?;
    let fingerprint = fingerprint(stage, digest.as_deref());
    let (file, checkpoints) = (folder.join(RESULT), folder.join(CHECKPOINTS));
    match read(&file)? {
        Some(stored) if stored.fingerprint != fingerprint => return Err(RecipeError::Changed { path: folder.into() }),
        Some(Stored { result: Some(_), .. }) if !place.resume => return Err(RecipeError::Done { path: folder.into() }),
        Some(Stored { result: Some(result), .. }) => return Ok(result),
        Some(Stored { result: None, .. }) | None => {}
    }
    fs::create_dir_all(folder).map_err(|source| RecipeError::Io { path: folder.into(), source })?;
    write(&file, &Stored { fingerprint: fingerprint.clone(), result: None })?;

    let backbone_weights = start.map(|(file, _)| file.to_path_buf().into());
    let recipe = OneStage {
        network: NetworkRecipe { backbone_weights, ..stage.recipe.network.clone() },
        ..stage.recipe.clone()
    };
    let mut outcome =
        recipe.run(&stage.set, &stage.split, Workplace { folder: Some(&checkpoints), ..place }, progress)?;
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
        backbone: digest_of(&written)?,
    };
    let stored = Stored { fingerprint, result: Some(result.clone()) };
    write(&file, &stored)?;
    // Bundle, backbone and result say all that is needed of the stage.
    fs::remove_dir_all(&checkpoints).map_err(|source| RecipeError::Io { path: checkpoints, source })?;
    Ok(result)
}

/// Stands for everything that a stage's result depends on, except pixels.
fn fingerprint(stage: &PlannedStage, start: Option<&str>) -> String {
    let part = |rows: &[usize]| -> Vec<_> {
        let cases = rows.iter().filter_map(|&row| stage.set.cases.get(row));
        cases.map(|case| (&case.id, &case.labels)).collect()
    };
    let parts = (part(&stage.split.train), part(&stage.split.valid), part(&stage.split.test));
    let facts = (&stage.recipe, start, &stage.set.tasks, parts);
    sha256_hex(&serde_json::to_vec(&facts).expect("configurations have string keys only"))
}

fn expected_digest_of(file: &Path, expected: Option<&str>) -> Result<String, RecipeError> {
    let digest = digest_of(file)?;
    match expected.is_some_and(|expected| expected != digest) {
        true => Err(RecipeError::ForeignWeights { path: file.into() }),
        false => Ok(digest),
    }
}

fn read(file: &Path) -> Result<Option<Stored>, RecipeError> {
    if !file.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(file).map_err(|source| RecipeError::Io { path: file.into(), source })?;
    serde_json::from_slice(&bytes).map(Some).map_err(|source| RecipeError::Json { path: file.into(), source })
}

fn write(file: &Path, stored: &Stored) -> Result<(), RecipeError> {
    Ok(write_whole_file(file, &serde_json::to_vec(stored).expect("results have string keys only"))?)
}
