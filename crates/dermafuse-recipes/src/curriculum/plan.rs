use std::path::{Path, PathBuf};

use dermafuse_data::{CaseSet, DataError, Split};
use dermafuse_infer::{KnownCases, MODEL_FILE};
use dermafuse_networks::ImageView;
use dermafuse_train::missing_image;

use super::StageResult;
use super::stage::{Start, check_stage, folder_of, run_stage};
use crate::{NetworkRecipe, OneStage, Progress, RecipeError, Workplace};

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
    /// Checks every stage as far as it can be without training: its settings, its cases and images, its published weights,
    /// and in the workplace's folder, if it has one, what is there of it. Nothing is written.
    ///
    /// # Errors
    /// The first thing that makes no training, with the name of the stage.
    pub fn check(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<(), RecipeError> {
        for stage in &self.stages {
            stage.check(place, progress).map_err(|error| stage.error(error))?;
        }
        let Some(folder) = place.folder else { return Ok(()) };
        let mut results: Vec<StageResult> = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let here = folder_of(folder, index, &stage.name);
            let start = self.start(stage, folder, &results);
            match check_stage(stage, &here, start.as_ref(), place).map_err(|error| stage.error(error))? {
                Some(result) => results.push(result),
                // The later ones start from what is not there yet.
                None => break,
            }
        }
        Ok(())
    }

    /// The file that a stage starts from, and the digest that it must have.
    fn start(&self, stage: &PlannedStage, folder: &Path, results: &[StageResult]) -> Option<Start> {
        match &stage.start {
            StartWeights::Random => None,
            StartWeights::Published(file) => Some(Start { file: file.clone(), digest: None }),
            StartWeights::Stage(earlier) => {
                let digest = Some(results[*earlier].backbone.clone());
                Some(Start { file: self.backbone(folder, *earlier), digest })
            }
        }
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
        self.check(place, progress)?;
        let mut results: Vec<StageResult> = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            progress.step(&format!("{}: stage {} of {}, {}", self.name, index + 1, self.stages.len(), stage.name));
            let start = self.start(stage, folder, &results);
            let here = folder_of(folder, index, &stage.name);
            let earlier = self.cases_before(index);
            let result = run_stage(stage, &here, start.as_ref(), &earlier, place, progress);
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

    fn check(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<(), RecipeError> {
        let backbone_weights = match &self.start {
            StartWeights::Published(file) => Some(file.clone().into()),
            StartWeights::Random | StartWeights::Stage(_) => None,
        };
        let network = NetworkRecipe { backbone_weights, ..self.recipe.network.clone() };
        let recipe = OneStage { network, ..self.recipe.clone() };
        recipe.check(&self.set, &self.split, Workplace { folder: None, ..place }, progress)
    }
}

/// Leaves out the cases without the image that is looked at, and says how many.
pub(super) fn leave_out_incomplete(set: &mut CaseSet, split: &mut Split, view: ImageView) {
    let mut left_out = [0; 3];
    for (count, rows) in left_out.iter_mut().zip([&mut split.train, &mut split.valid, &mut split.test]) {
        let before = rows.len();
        rows.retain(|&row| missing_image(&set.cases[row], view.modalities()).is_none());
        *count = before - rows.len();
    }
    if left_out != [0; 3] {
        let [train, valid, test] = left_out;
        let image = view.name();
        set.notes.push(format!(
            "{train} training, {valid} validation and {test} test cases without a {image} image are left out."
        ));
    }
}

/// Refuses a case without the image that is looked at.
pub(super) fn require_images(set: &CaseSet, split: &Split, view: ImageView) -> Result<(), DataError> {
    let parts = [&split.train, &split.valid, &split.test];
    let missing = parts.into_iter().flatten().map(|&row| &set.cases[row]).find(|case| match view {
        ImageView::Clinical => case.clinical.is_empty(),
        ImageView::Dermoscopic => case.dermoscopic.is_empty(),
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
