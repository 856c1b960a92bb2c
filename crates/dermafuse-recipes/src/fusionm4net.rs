//! FusionM4Net: a network with three branches, weights for them, a classifier for each task over predictions and
//! metadata, and a weight between the two.
//!
//! Paper: Tang et al., FusionM4Net (Medical Image Analysis 2022); thesis ch. 6. Source: the released code (MLSDR).
//! Differences: the weight search is free of the released loop bug unless asked for; the classifiers are fitted once with a
//! fixed seed instead of once for each part.

use burn::tensor::Device;
use dermafuse_data::{CaseSet, MetadataEncoder, MetadataRoles, Split};
use dermafuse_ensemble::{
    ClassifierCluster, ClassifierKind, MixSearch, MixSearchResult, SecondStage, TwoStage, WeightSearch,
    WeightSearchResult,
};
use dermafuse_infer::{Bundle, BundleDescription, KnownCases, TestTimeAugmentation};
use dermafuse_networks::{AnyNetwork, NetworkConfig};
use dermafuse_schema::{BranchLogits, Predictions};
use dermafuse_train::{EpochReport, Incomplete, Trained, TrainingCases, TrainingConfig};
use serde::{Deserialize, Serialize};

use crate::preflight::training_cases;
use crate::{NetworkRecipe, Progress, RecipeError, SelectedCases, Selection, Workplace};

/// The released code seeds the network that learns from all training cases with this number plus the run's.
const FULL_SEED: u64 = 170;
/// And the one that learns from half of them with this.
const HALF_SEED: u64 = 183;

/// The two-stage protocol with all its settings; the network aside, the defaults are those of the released code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionM4Net {
    /// The networks of both stages. The seed of their training is replaced: see `run`.
    pub first_stage: NetworkRecipe,
    /// Number of the run, from 0: the seeds are 170 and 183 plus it.
    pub run: u64,
    /// The search for the weights of the branches: Fusion Scheme 1.
    pub weights: WeightSearch,
    /// Which metadata columns are used.
    pub metadata: MetadataRoles,
    /// The classifiers of the second stage, Fusion Scheme 2; `None` stops at `P_1`, as do data without metadata columns.
    pub classifier: Option<ClassifierKind>,
    /// The search for the weight between first and second stage.
    pub mix: MixSearch,
}

/// What a recipe gives.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The model, ready to be saved.
    pub bundle: Bundle,
    /// Training curves of the network that learnt from all training cases, which is the bundle's.
    pub full_history: Vec<EpochReport>,
    /// Training curves of the network that learnt from half of them; empty without a second stage.
    pub half_history: Vec<EpochReport>,
    /// The branch weights that were found.
    pub weights: WeightSearchResult,
    /// The weight between the stages that was found.
    pub mix: Option<MixSearchResult>,
    /// Logits of the validation cases.
    pub valid: BranchLogits,
    /// Logits of the test cases.
    pub test: BranchLogits,
    /// Test predictions of every stage by name, from `P_clinical` to `P_3`.
    pub rows: Vec<(String, Predictions)>,
    /// What a reader of the predictions should know of the second stage, such as classes that could not be calibrated.
    pub notes: Vec<String>,
}

impl FusionM4Net {
    /// The protocol as released, around a network, at an image size (224 there).
    #[must_use]
    pub fn as_released(network: NetworkConfig, image_size: usize, run: u64) -> Self {
        Self {
            first_stage: NetworkRecipe {
                network,
                backbone_weights: None,
                training: TrainingConfig::as_released(image_size, FULL_SEED + run),
                selection: Selection::default(),
                augmentation: TestTimeAugmentation::default(),
                incomplete: Incomplete::default(),
                several_images: Default::default(),
            },
            run,
            weights: WeightSearch::default(),
            metadata: MetadataRoles::IncludePostDiagnosis,
            classifier: Some(ClassifierKind::default()),
            mix: MixSearch::default(),
        }
    }

    /// Follows the protocol. Checkpoints of the trainings are kept in sub-folders `full` and `half` of the folder, if one is
    /// given.
    ///
    /// # Errors
    /// The error of the step that failed; see [`RecipeError`].
    pub fn run(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Outcome, RecipeError> {
        let (split, encoder) = &self.prepare(set, split, place, progress)?;

        progress.step("stage 1: network on all training cases");
        let cases = training_cases(set, split, encoder);
        let full = self.train("full", FULL_SEED, cases, place, progress)?;

        progress.step("predicting the validation cases");
        let valid = self.first_stage.logits(&full.network, set, &split.valid, encoder, place, progress)?;
        progress.step("searching the branch weights");
        let weights = self.weights.fit(&valid)?;
        let mut two_stage = TwoStage {
            branch_weights: weights.weights.clone(),
            fuse_space: weights.space,
            second_stage: None,
            mix: 1.0,
        };

        let (mut half_history, mut mix) = (Vec::new(), None);
        if let Some(classifier) = self.classifier.filter(|_| encoder.width() > 0) {
            let (sub_train, sub_test) = split.half_in_order();
            progress.step("stage 2: network on half of the training cases");
            let half = self.train("half", HALF_SEED, TrainingCases { train: &sub_train, ..cases }, place, progress)?;
            half_history = half.history;

            progress.step("predicting the other half");
            let sub_test = self.first_stage.logits(&half.network, set, &sub_test, encoder, place, progress)?;
            progress.step("fitting the classifiers");
            let params = ClassifierCluster::params(classifier, FULL_SEED + self.run);
            let first = sub_test.fuse(&weights.weights, weights.space)?;
            let second_stage = SecondStage::fit(&params, &first, &sub_test.cohort)?;

            let first = valid.fuse(&weights.weights, weights.space)?;
            let found = self.mix.fit(&first, &second_stage.apply(&first, &valid.cohort)?)?;
            two_stage = TwoStage { second_stage: Some(second_stage), mix: found.weight, ..two_stage };
            mix = Some(found);
        }

        progress.step("predicting the test cases");
        let test = self.first_stage.logits(&full.network, set, &split.test, encoder, place, progress)?;
        let rows = two_stage.apply(&test)?;
        let description = BundleDescription {
            data_set: set.name.clone(),
            synthetic: set.synthetic,
            tasks: set.tasks.clone(),
            encoder: encoder.clone(),
            network: self.first_stage.network.clone(),
            preprocess: self.first_stage.training.preprocess.clone(),
            augmentation: self.first_stage.augmentation,
            several_images: self.first_stage.several_images,
            known_cases: KnownCases::of(set, split),
        };
        let notes = two_stage.notes();
        let bundle = Bundle { description, network: full.network, two_stage };
        Ok(Outcome { bundle, full_history: full.history, half_history, weights, mix, valid, test, rows, notes })
    }

    /// Checks all that can be checked without training, as [`run`](Self::run) does first: cases, images, network, weights,
    /// settings, the folder. Nothing is written.
    ///
    /// # Errors
    /// The first thing that makes no training.
    pub fn check(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        self.prepare(set, split, place, progress).map(drop)
    }

    /// The cases of a split that the protocol is followed on; [`run`](Self::run) selects them by itself.
    ///
    /// # Errors
    /// As [`NetworkRecipe::select_cases`].
    pub fn select_cases(&self, set: &CaseSet, split: &Split, device: &Device) -> Result<SelectedCases, RecipeError> {
        self.first_stage.select_cases(set, split, device)
    }

    /// The cases to follow the protocol on, and the encoder of the training cases.
    fn prepare(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(Split, MetadataEncoder), RecipeError> {
        let SelectedCases { split, notes } = self.select_cases(set, split, place.device)?;
        notes.iter().for_each(|note| progress.noted(note));
        let encoder = MetadataEncoder::fit(&set.fields, split.train.iter().map(|&row| &set.cases[row]), self.metadata)?;
        self.first_stage.check_images(set, &split, place, progress)?;
        let cases = training_cases(set, &split, &encoder);
        let check = |name: &str, seed: u64, cases: TrainingCases<'_>| {
            let folder = place.folder.map(|folder| folder.join(name));
            let place = Workplace { folder: folder.as_deref(), ..place };
            self.first_stage.check_training(seed + self.run, cases, place)
        };
        check("full", FULL_SEED, cases)?;
        if self.classifier.is_some() && encoder.width() > 0 {
            let (sub_train, _) = split.half_in_order();
            check("half", HALF_SEED, TrainingCases { train: &sub_train, ..cases })?;
        }
        Ok((split, encoder))
    }

    /// Trains one of the two networks.
    fn train(
        &self,
        name: &str,
        seed: u64,
        cases: TrainingCases<'_>,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Trained<AnyNetwork>, RecipeError> {
        let folder = place.folder.map(|folder| folder.join(name));
        let place = Workplace { folder: folder.as_deref(), ..place };
        self.first_stage.train(seed + self.run, cases, place, progress)
    }
}
