//! The same protocol on every fold.

use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_data::{CaseSet, Split};
use dermafuse_networks::Network;
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace, Predictions};
use dermafuse_train::{EpochReport, ImageRecord, RunIdentity, TrainingConfig};
use serde::{Deserialize, Serialize};

use crate::stored::{Stored, check_history};
use crate::{NetworkRecipe, OneStage, Progress, RecipeError, Workplace};

const RESULT: &str = "fold.json";
const CHECKPOINTS: &str = "checkpoints";

/// A protocol and the folds that it is followed on; fold `k` is trained with the recipe's seed plus `k`.
///
/// With a folder, every fold has a sub-folder `fold-1`, `fold-2` … with its checkpoints while it is trained and its result
/// after that. Folds that are done are read, not repeated, so several processes, one on each device, can share the work:
/// each runs its folds by [`CrossValidation::run_fold`], and a last [`CrossValidation::run`] finds all of them.
#[derive(Clone, Debug)]
pub struct CrossValidation {
    /// The protocol.
    pub recipe: OneStage,
    /// The folds.
    pub folds: Vec<Split>,
    /// Whether the features before the last classifier are kept of the test cases, for pictures.
    pub keep_features: bool,
}

/// What a fold gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldResult {
    /// Logits of the test cases.
    pub test: BranchLogits,
    /// The branch weights of the answer.
    pub weights: BranchWeights,
    /// The space in which they are used.
    pub space: FuseSpace,
    /// The training curves.
    pub history: Vec<EpochReport>,
    /// The epoch that was kept, from 1.
    pub best_epoch: usize,
    /// `[N, D]` features of the test cases, if they are kept.
    pub features: Option<Array2<f32>>,
}

/// The results of all folds.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidated {
    /// The folds, in order.
    pub folds: Vec<FoldResult>,
}

/// The folder of a fold, and what its result depends on.
struct FoldFolder {
    folder: PathBuf,
    identity: RunIdentity,
    /// The images of all folds, as they were when the folds were begun.
    record: ImageRecord,
}

impl CrossValidation {
    /// Follows the protocol on every fold, one after the other.
    ///
    /// # Errors
    /// As [`run_fold`](Self::run_fold).
    pub fn run(
        &self,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<CrossValidated, RecipeError> {
        self.check(set, place, progress)?;
        let folds = (0..self.folds.len()).map(|fold| self.run_fold(fold, set, place, progress));
        Ok(CrossValidated { folds: folds.collect::<Result<_, _>>()? })
    }

    /// Checks all that can be checked of every fold without training, as [`run`](Self::run) does first. Nothing is written.
    ///
    /// # Errors
    /// The first thing that makes no training, and folders that [`run_fold`](Self::run_fold) refuses.
    pub fn check(&self, set: &CaseSet, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<(), RecipeError> {
        (0..self.folds.len()).try_for_each(|fold| self.check_fold(fold, set, place, progress))
    }

    /// The same of one fold, counted from 0.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    ///
    /// # Panics
    /// If there is no such fold.
    pub fn check_fold(
        &self,
        fold: usize,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        let recipe = self.recipe_of(fold);
        let Some(root) = place.folder else { return recipe.check(set, &self.folds[fold], place, progress) };
        let files = self.files(fold, set, root, place)?;
        match files.done(place.resume)? {
            Some(_) => Ok(()),
            None => {
                let checkpoints = files.folder.join(CHECKPOINTS);
                recipe.check(set, &self.folds[fold], Workplace { folder: Some(&checkpoints), ..place }, progress)
            }
        }
    }

    /// Follows the protocol on one fold, counted from 0, or reads its result.
    ///
    /// # Errors
    /// A folder that holds the fold of another recipe or other data, or that holds one without `resume`; and the error of
    /// the step that failed.
    ///
    /// # Panics
    /// If there is no such fold.
    pub fn run_fold(
        &self,
        fold: usize,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<FoldResult, RecipeError> {
        progress.step(&format!("fold {} of {}", fold + 1, self.folds.len()));
        let Some(root) = place.folder else { return self.train_and_test(fold, set, place, progress) };
        let files = self.files(fold, set, root, place)?;
        if let Some(result) = files.done(place.resume)? {
            return Ok(result);
        }
        let checkpoints = files.folder.join(CHECKPOINTS);
        let result = self.train_and_test(fold, set, Workplace { folder: Some(&checkpoints), ..place }, progress)?;
        files.identity.images.clone().with(&ImageRecord::read(root)).write(root)?;
        let stored = Stored::new(files.identity.facts, result);
        stored.write(&files.folder.join(RESULT))?;
        // The result says all that is needed of the fold.
        fs::remove_dir_all(&checkpoints).map_err(|source| RecipeError::Io { path: checkpoints, source })?;
        Ok(stored.result)
    }

    /// The recipe of a fold, with its seed.
    fn recipe_of(&self, fold: usize) -> OneStage {
        let NetworkRecipe { training, .. } = &self.recipe.network;
        let training = TrainingConfig { seed: training.seed + fold as u64, ..training.clone() };
        OneStage { network: NetworkRecipe { training, ..self.recipe.network.clone() }, ..self.recipe.clone() }
    }

    fn train_and_test(
        &self,
        fold: usize,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<FoldResult, RecipeError> {
        let recipe = self.recipe_of(fold);
        let split = recipe.select_cases(set, &self.folds[fold], place.device)?.split;
        let outcome = recipe.run(set, &split, place, progress)?;
        let stage = outcome.stage;
        let features = self.keep_features.then(|| {
            let predictor = recipe.network.predictor(&stage.trained.network, place);
            predictor.embeddings(set, &split.test, &stage.encoder, |done| progress.predicted(done, split.test.len()))
        });
        Ok(FoldResult {
            test: outcome.test,
            weights: outcome.bundle.two_stage.branch_weights,
            space: outcome.bundle.two_stage.fuse_space,
            history: stage.trained.history,
            best_epoch: stage.trained.best_epoch,
            features: features.transpose()?,
        })
    }

    /// The folder of a fold, and everything that its result depends on.
    fn files(&self, fold: usize, set: &CaseSet, root: &Path, place: Workplace<'_>) -> Result<FoldFolder, RecipeError> {
        let recipe = self.recipe_of(fold);
        let split = recipe.select_cases(set, &self.folds[fold], place.device)?.split;
        let (_, network) = recipe.fitted(set, &split)?;
        let mut facts = network.facts()?;
        facts.set("training", &network.training);
        facts.set("augmentation", &network.augmentation);
        facts.set("incomplete", &network.incomplete);
        facts.set("metadata", &recipe.metadata);
        facts.set("answer", &recipe.answer);
        facts.set("fold", &(fold + 1));
        facts.set("keep_features", &self.keep_features);
        facts.set_digest("data.tasks", &set.tasks);
        // Their roles say which of the metadata are inputs.
        facts.set_digest("data.fields", &set.fields);
        facts.set_cases("train", set, &split.train);
        facts.set_cases("valid", set, &split.valid);
        facts.set_cases("test", set, &split.test);
        let (record, views) = (ImageRecord::read(root), network.network.init(place.device)?.modalities());
        let rows = [&split.train[..], &split.valid, &split.test].concat();
        let images = ImageRecord::take(set, &rows, views, &record)?;
        images.add_to(&mut facts);
        let identity = RunIdentity { facts, images, length: None };
        Ok(FoldFolder { folder: root.join(format!("fold-{}", fold + 1)), identity, record })
    }
}

impl FoldFolder {
    /// The result of a fold that is done.
    fn done(&self, resume: bool) -> Result<Option<FoldResult>, RecipeError> {
        let Some(stored) = Stored::read(&self.folder.join(RESULT), FoldResult::check)? else { return Ok(None) };
        stored.require(&self.identity, &self.record, &self.folder)?;
        match resume {
            true => Ok(Some(stored.result)),
            false => Err(RecipeError::Done { path: self.folder.clone() }),
        }
    }
}

impl FoldResult {
    /// What was read is what a fold can give.
    fn check(&self) -> Result<(), String> {
        self.test.check().map_err(|error| error.to_string())?;
        check_history(&self.history, self.best_epoch)?;
        let rows = self.features.as_ref().map_or(self.test.cohort.len(), Array2::nrows);
        match rows == self.test.cohort.len() {
            true => self.predictions().map(drop).map_err(|error| error.to_string()),
            false => Err(format!("it has features of {rows} cases, not of {}", self.test.cohort.len())),
        }
    }

    /// The answers for the test cases.
    ///
    /// # Errors
    /// Logits that do not fit the weights.
    pub fn predictions(&self) -> Result<Predictions, RecipeError> {
        Ok(self.test.fuse(&self.weights, self.space)?)
    }
}

impl CrossValidated {
    /// The answers for the test cases of all folds, one fold after the other: out-of-fold predictions, each case answered by
    /// a network that did not learn from it.
    ///
    /// # Errors
    /// Logits that do not fit the weights; folds of different tasks.
    pub fn out_of_fold(&self) -> Result<Predictions, RecipeError> {
        let folds = self.folds.iter().map(FoldResult::predictions).collect::<Result<Vec<_>, _>>()?;
        Ok(Predictions::concatenate(folds)?)
    }

    /// A score of each fold's answers.
    ///
    /// # Errors
    /// The first error of the score.
    pub fn scores<E: From<RecipeError>>(&self, score: impl Fn(&Predictions) -> Result<f64, E>) -> Result<Vec<f64>, E> {
        self.folds.iter().map(|fold| score(&fold.predictions()?)).collect()
    }
}
