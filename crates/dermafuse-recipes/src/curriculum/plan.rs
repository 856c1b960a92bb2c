use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dermafuse_data::{CaseSet, DataError, MetadataEncoder, Split};
use dermafuse_infer::{KnownCases, MODEL_FILE};
use dermafuse_networks::ImageView;
use dermafuse_train::{Trainer, TrainingCases};

use super::StageResult;
use super::stage::{folder_of, run_stage};
use crate::{OneStage, Progress, RecipeError, Workplace};

/// A curriculum for data sets: the recipe of every stage. Settings can still be changed before it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The curriculum's name.
    pub name: String,
    /// The stages, in order.
    pub stages: Vec<PlannedStage>,
}

/// One stage of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedStage {
    /// Its name.
    pub name: String,
    /// How it trains; `network.backbone_weights` is replaced by what `start` says.
    pub recipe: OneStage,
    /// The data set, merged if it is.
    pub set: CaseSet,
    /// Its parts.
    pub split: Split,
    /// What the backbone starts from.
    pub start: StartWeights,
}

/// What the backbone of a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartWeights {
    /// Fresh weights.
    Random,
    /// A file of published weights.
    Published(PathBuf),
    /// The backbone that the stage of that position gave.
    Stage(usize),
}

impl Plan {
    /// Checks every stage as far as it can be without training: its settings, its cases, its published weights.
    ///
    /// # Errors
    /// The first thing that makes no training, with the name of the stage.
    pub fn check(&self, device: &Device) -> Result<(), RecipeError> {
        for stage in &self.stages {
            stage.check(device).map_err(|error| stage.error(error))?;
        }
        Ok(())
    }

    /// Trains the stages one after the other, in sub-folders `stage-1-NAME`, `stage-2-NAME` … of the workplace's
    /// folder. A stage that is done leaves its model (`model.safetensors`), its backbone under the publisher's names
    /// (`backbone.safetensors`) and its result (`stage.json`), and is not repeated: stopped anywhere, the curriculum
    /// goes on with the same stage and epoch and ends with the same numbers.
    ///
    /// # Errors
    /// What [`Plan::check`] refuses, before anything is trained; no folder; a folder with a stage of another recipe,
    /// other data or other weights, or with one that is done without `resume`; the error of the stage that failed.
    pub fn run(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<Vec<StageResult>, RecipeError> {
        let folder = place.folder.ok_or(RecipeError::NoFolder)?;
        self.check(place.device)?;
        let mut results: Vec<StageResult> = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            progress.step(&format!("{}: stage {} of {}, {}", self.name, index + 1, self.stages.len(), stage.name));
            let start = match &stage.start {
                StartWeights::Random => None,
                StartWeights::Published(file) => Some((file.clone(), None)),
                StartWeights::Stage(earlier) => {
                    Some((self.backbone(folder, *earlier), Some(results[*earlier].backbone.as_str())))
                }
            };
            let start = start.as_ref().map(|(file, digest)| (file.as_path(), *digest));
            let here = folder_of(folder, index, &stage.name);
            let earlier = self.cases_before(index);
            let result = run_stage(stage, &here, start, &earlier, place, progress);
            results.push(result.map_err(|error| stage.error(error))?);
        }
        Ok(results)
    }

    /// The cases that made the backbone that a stage starts from.
    fn cases_before(&self, stage: usize) -> KnownCases {
        let mut known = KnownCases::default();
        let mut start = &self.stages[stage].start;
        while let StartWeights::Stage(earlier) = start {
            let stage = &self.stages[*earlier];
            known.add(&stage.known_cases());
            start = &stage.start;
        }
        known
    }

    /// The file of a stage's model, below the folder of the run.
    ///
    /// # Panics
    /// If there is no such stage.
    #[must_use]
    pub fn bundle(&self, folder: &Path, stage: usize) -> PathBuf {
        folder_of(folder, stage, &self.stages[stage].name).join(MODEL_FILE)
    }

    /// The file of the backbone that a stage gives, below the folder of the run.
    ///
    /// # Panics
    /// If there is no such stage.
    #[must_use]
    pub fn backbone(&self, folder: &Path, stage: usize) -> PathBuf {
        folder_of(folder, stage, &self.stages[stage].name).join(super::stage::BACKBONE)
    }
}

impl PlannedStage {
    /// The cases of this stage.
    #[must_use]
    pub fn known_cases(&self) -> KnownCases {
        KnownCases::of(&self.set, &self.split)
    }

    fn error(&self, error: RecipeError) -> RecipeError {
        RecipeError::Stage { stage: self.name.clone(), source: Box::new(error) }
    }

    fn check(&self, device: &Device) -> Result<(), RecipeError> {
        self.split.check(&self.set)?;
        let network = &self.recipe.network;
        let mut made = network.network.init(&device.clone().autodiff())?;
        if let StartWeights::Published(file) = &self.start {
            made = made.load_backbone_weights(file)?;
        }
        let encoder = MetadataEncoder::none();
        let (train, valid) = (&*self.split.train, &*self.split.valid);
        let cases = TrainingCases { set: &self.set, train, valid, encoder: &encoder };
        Ok(Trainer::new(network.training.clone()).check(&made, cases)?)
    }
}

/// Refuses a case without the image that is looked at.
pub(super) fn require_images(set: &CaseSet, split: &Split, view: ImageView) -> Result<(), DataError> {
    let parts = [&split.train, &split.valid, &split.test];
    let missing = parts.into_iter().flatten().map(|&row| &set.cases[row]).find(|case| match view {
        ImageView::Clinical => case.clinical.is_none(),
        ImageView::Dermoscopic => case.dermoscopic.is_none(),
    });
    match missing {
        None => Ok(()),
        Some(case) => Err(DataError::Case {
            case: case.id.to_string(),
            what: format!("{} image", view.name()),
            expected: "one, which the stage looks at".into(),
            found: "none".into(),
        }),
    }
}
