//! The same protocol on every fold.

use std::fs;
use std::path::Path;

use dermafuse_data::{CaseSet, Split};
use dermafuse_infer::sha256_hex;
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace, Predictions, write_whole_file};
use dermafuse_train::EpochReport;
use serde::{Deserialize, Serialize};

use crate::{OneStage, Progress, RecipeError, Workplace};

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

/// The file of a fold that is done.
#[derive(Serialize, Deserialize)]
struct Stored {
    fingerprint: String,
    result: FoldResult,
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
        let folds = (0..self.folds.len()).map(|fold| self.run_fold(fold, set, place, progress));
        Ok(CrossValidated { folds: folds.collect::<Result<_, _>>()? })
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
        let Some(folder) = place.folder.map(|folder| folder.join(format!("fold-{}", fold + 1))) else {
            return self.train_and_test(fold, set, place, progress);
        };
        let (file, checkpoints) = (folder.join(RESULT), folder.join(CHECKPOINTS));
        let fingerprint = self.fingerprint(fold, set);
        if file.is_file() {
            let stored = read(&file)?;
            return match (stored.fingerprint == fingerprint, place.resume) {
                (false, _) => Err(RecipeError::Changed { path: folder }),
                (true, false) => Err(RecipeError::Done { path: folder }),
                (true, true) => Ok(stored.result),
            };
        }
        let result = self.train_and_test(fold, set, Workplace { folder: Some(&checkpoints), ..place }, progress)?;
        let stored = Stored { fingerprint, result };
        write_whole_file(&file, &serde_json::to_vec(&stored).expect("results have string keys only"))?;
        // The result says all that is needed of the fold.
        fs::remove_dir_all(&checkpoints).map_err(|source| RecipeError::Io { path: checkpoints, source })?;
        Ok(stored.result)
    }

    fn train_and_test(
        &self,
        fold: usize,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<FoldResult, RecipeError> {
        let split = &self.folds[fold];
        let mut recipe = self.recipe.clone();
        recipe.network.training.seed += fold as u64;
        let outcome = recipe.run(set, split, place, progress)?;
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

    /// Stands for everything that a fold's result depends on, except published weights and pixels.
    fn fingerprint(&self, fold: usize, set: &CaseSet) -> String {
        let part = |rows: &[usize]| -> Vec<_> {
            let cases = rows.iter().filter_map(|&row| set.cases.get(row));
            cases.map(|case| (&case.id, &case.labels, &case.metadata)).collect()
        };
        let split = &self.folds[fold];
        let parts = (part(&split.train), part(&split.valid), part(&split.test));
        // The roles of the fields say which of the metadata are inputs.
        let facts = (&self.recipe, fold, self.keep_features, &set.tasks, &set.fields, parts);
        sha256_hex(&serde_json::to_vec(&facts).expect("configurations have string keys only"))
    }
}

impl FoldResult {
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

fn read(file: &Path) -> Result<Stored, RecipeError> {
    let bytes = fs::read(file).map_err(|source| RecipeError::Io { path: file.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| RecipeError::Json { path: file.to_owned(), source })
}
