//! One network, from cases to a model bundle: the protocol of every method without a second stage.
//!
//! Paper: joint and joint-individual fusion (thesis §4.2–4.3). Source: the text. Differences: the metadata encoder is
//! fitted on the training cases alone.

use burn::tensor::Device;
use dermafuse_data::{CaseSet, EncoderConfig, MetadataEncoder, Split};
use dermafuse_ensemble::{TwoStage, WeightSearch};
use dermafuse_infer::{Bundle, BundleDescription, KnownCases};
use dermafuse_networks::{AnyNetwork, Network, NetworkConfig};
use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace, Predictions};
use dermafuse_train::Trained;
use serde::{Deserialize, Serialize};

use crate::preflight::training_cases;
use crate::{NetworkRecipe, Progress, RecipeError, SelectedCases, Workplace};

/// Training one network, choosing how its branches answer together, and testing it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneStage {
    /// The network. The length of its encoded metadata is replaced by that of the fitted encoder.
    pub network: NetworkRecipe,
    /// How metadata becomes numbers.
    pub metadata: EncoderConfig,
    /// How the branches answer together.
    pub answer: Answer,
}

/// How the branches of a network answer together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The mean of all branches' probabilities: JIF(All).
    #[default]
    All,
    /// The fusion branch, which every network gives last: JIF(OFB).
    OnlyFusionBranch,
    /// The weights that are best on the validation cases.
    Search(WeightSearch),
}

/// A network that learnt from the training cases of a split, with what it needs to be asked.
#[derive(Clone, Debug)]
pub struct TrainedStage {
    /// The network of the best epoch, its training curves and which epoch that was.
    pub trained: Trained<AnyNetwork>,
    /// The network's configuration, with the encoder's length.
    pub config: NetworkConfig,
    /// The encoder, fitted on the training cases.
    pub encoder: MetadataEncoder,
}

/// A protocol that is checked and ready.
struct Prepared {
    split: Split,
    encoder: MetadataEncoder,
    /// The network's recipe, with the encoder's length.
    network: NetworkRecipe,
}

/// What the protocol gives.
#[derive(Clone, Debug)]
pub struct OneStageOutcome {
    /// The model, ready to be saved.
    pub bundle: Bundle,
    /// The network, its curves and its encoder.
    pub stage: TrainedStage,
    /// Logits of the test cases.
    pub test: BranchLogits,
    /// Test predictions by name, as [`TwoStage::apply`] gives them; `P_1` is the answer.
    pub rows: Vec<(String, Predictions)>,
}

impl OneStage {
    /// Follows the protocol. Checkpoints are kept in the workplace's folder, if it has one.
    ///
    /// # Errors
    /// The error of the step that failed; see [`RecipeError`].
    pub fn run(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<OneStageOutcome, RecipeError> {
        let prepared = self.prepare(set, split, place, progress)?;
        let stage = Self::train_prepared(set, &prepared, place, progress)?;
        let split = &prepared.split;
        let (weights, space) = match &self.answer {
            Answer::All => (None, FuseSpace::Probabilities),
            Answer::OnlyFusionBranch => {
                let last = stage.branch_names().pop().expect("a network has branches");
                (Some(BranchWeights::new([(last, 1.0)])?), FuseSpace::Probabilities)
            }
            Answer::Search(search) => {
                progress.step("predicting the validation cases");
                let valid = self.logits(&stage, set, &split.valid, place, progress)?;
                progress.step("searching the branch weights");
                let found = search.fit(&valid)?;
                (Some(found.weights), found.space)
            }
        };
        progress.step("predicting the test cases");
        let test = self.logits(&stage, set, &split.test, place, progress)?;
        let branch_weights = weights.unwrap_or_else(|| test.equal_weights());
        let two_stage = TwoStage { branch_weights, fuse_space: space, second_stage: None, mix: 1.0 };
        let rows = two_stage.apply(&test)?;
        let description = BundleDescription {
            data_set: set.name.clone(),
            synthetic: set.synthetic,
            tasks: set.tasks.clone(),
            encoder: stage.encoder.clone(),
            network: stage.config.clone(),
            preprocess: self.network.training.preprocess.clone(),
            augmentation: self.network.augmentation,
            several_images: self.network.several_images,
            known_cases: KnownCases::of(set, split),
        };
        let bundle = Bundle { description, network: stage.trained.network.clone(), two_stage };
        Ok(OneStageOutcome { bundle, stage, test, rows })
    }

    /// Fits the encoder and trains the network on the training cases, choosing the epoch on the validation cases; test
    /// cases are not looked at.
    ///
    /// # Errors
    /// The error of the step that failed; see [`RecipeError`].
    pub fn train(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<TrainedStage, RecipeError> {
        let prepared = self.prepare(set, split, place, progress)?;
        Self::train_prepared(set, &prepared, place, progress)
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
    /// As [`NetworkRecipe::select_cases`]; metadata that cannot be encoded.
    pub fn select_cases(&self, set: &CaseSet, split: &Split, device: &Device) -> Result<SelectedCases, RecipeError> {
        split.check(set)?;
        let (_, network) = self.fitted(set, split)?;
        network.select_cases(set, split, device)
    }

    /// The encoder of the training cases, and the network's recipe with its length.
    pub(crate) fn fitted(&self, set: &CaseSet, split: &Split) -> Result<(MetadataEncoder, NetworkRecipe), RecipeError> {
        let training_cases = split.train.iter().map(|&row| &set.cases[row]);
        let encoder = MetadataEncoder::fit(&set.fields, training_cases, self.metadata)?;
        let network = self.network.network.clone().with_metadata_inputs(encoder.width());
        Ok((encoder, NetworkRecipe { network, ..self.network.clone() }))
    }

    fn prepare(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Prepared, RecipeError> {
        let SelectedCases { split, notes } = self.select_cases(set, split, place.device)?;
        notes.iter().for_each(|note| progress.noted(note));
        let (encoder, network) = self.fitted(set, &split)?;
        network.check_images(set, &split, place, progress)?;
        network.check_training(network.training.seed, training_cases(set, &split, &encoder), place)?;
        Ok(Prepared { split, encoder, network })
    }

    fn train_prepared(
        set: &CaseSet,
        prepared: &Prepared,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<TrainedStage, RecipeError> {
        let Prepared { split, encoder, network } = prepared;
        progress.step("training the network");
        let trained = network.train(network.training.seed, training_cases(set, split, encoder), place, progress)?;
        Ok(TrainedStage { trained, config: network.network.clone(), encoder: encoder.clone() })
    }

    /// The logits of the cases at `rows`.
    ///
    /// # Errors
    /// As [`NetworkRecipe::logits`].
    pub fn logits(
        &self,
        stage: &TrainedStage,
        set: &CaseSet,
        rows: &[usize],
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<BranchLogits, RecipeError> {
        self.network.logits(&stage.trained.network, set, rows, &stage.encoder, place, progress)
    }
}

impl TrainedStage {
    /// The names of the network's branches, in order.
    #[must_use]
    pub fn branch_names(&self) -> Vec<&'static str> {
        self.trained.network.branches().iter().map(|branch| branch.name).collect()
    }
}
