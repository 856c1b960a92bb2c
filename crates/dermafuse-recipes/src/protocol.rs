//! From cases to a model: a network, weights for its branches, and if it is asked for a classifier for each task over
//! predictions and metadata, with a weight between the two.
//!
//! Paper: Tang et al., FusionM4Net (Medical Image Analysis 2022); thesis ch. 6. Source: the released code (MLSDR). Every other
//! method is the same without the second stage. Differences: the weight search is free of the released loop bug unless asked for;
//! the classifiers are fitted once with a fixed seed instead of once for each part; the metadata encoder is fitted on the
//! training cases alone.

use std::path::{Path, PathBuf};

use dermafuse_backbones::parameter_count;
use dermafuse_data::{CaseSet, EncoderConfig, MetadataEncoder, Split};
use dermafuse_ensemble::{
    Calibration, ClassifierCluster, ClassifierKind, ClassifierParams, ClusterParams, MixSearch, MixSearchResult,
    SecondStage, SecondStageInputs, TwoStage, WeightSearch, WeightSearchResult,
};
use dermafuse_infer::{Bundle, BundleDescription, KnownCases, kinds_of};
use dermafuse_networks::{AnyNetwork, Network};
use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace, Predictions, SeveralImages};
use dermafuse_train::{EpochReport, Trained, TrainingCases};
use serde::{Deserialize, Serialize};

use crate::labelled_tasks::check_labels;
use crate::preflight::training_cases;
use crate::{NetworkRecipe, Progress, RecipeError, SelectedCases, Workplace};

/// A protocol with all its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// The network, or those of both stages. The length of its encoded metadata is replaced by that of the fitted encoder.
    pub network: NetworkRecipe,
    /// How metadata becomes numbers.
    pub metadata: EncoderConfig,
    /// How the branches answer together.
    pub answer: Answer,
    /// The second stage; data without metadata columns have none.
    pub second_stage: Option<SecondStageSettings>,
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

/// The second stage of FusionM4Net. A network that learnt from half of the training cases answers the other half; its answers
/// and the metadata are what classifiers learn from; the validation cases choose the weight between both stages. Classifiers over the
/// metadata alone learn from the same half, without a network, and are the answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondStageSettings {
    /// The classifiers: Fusion Scheme 2.
    pub classifier: ClassifierKind,
    /// What they see.
    #[serde(default, skip_serializing_if = "SecondStageInputs::is_default")]
    pub inputs: SecondStageInputs,
    /// How the probabilities of support vector machines are calibrated.
    pub calibration: Calibration,
    /// The search for the weight between first and second stage.
    pub mix: MixSearch,
    /// Seed of the network that learns from half of the training cases.
    pub half_seed: u64,
}

impl SecondStageSettings {
    /// The parameters of the classifiers.
    fn params(&self, seed: u64) -> ClusterParams {
        let mut params = ClassifierCluster::params(self.classifier, seed);
        if let ClassifierParams::Svm(svm) = &mut params.classifier {
            svm.calibration = self.calibration;
        }
        params
    }
}

impl Default for SecondStageSettings {
    /// As released, with the steadier calibration.
    fn default() -> Self {
        Self {
            classifier: ClassifierKind::Svm,
            inputs: SecondStageInputs::default(),
            calibration: Calibration::default(),
            mix: MixSearch::default(),
            half_seed: 183,
        }
    }
}

/// What a protocol gives.
#[derive(Clone, Debug)]
pub struct ProtocolOutcome {
    /// The model, ready to be saved.
    pub bundle: Bundle,
    /// The training curves by what was learnt from; the first is the model's. None where no network learns.
    pub curves: Vec<TrainingCurve>,
    /// What the search for branch weights found, if there was one.
    pub weights: Option<WeightSearchResult>,
    /// The weight between the stages that was found, if there are two.
    pub mix: Option<MixSearchResult>,
    /// Logits of the validation cases, if they were needed.
    pub valid: Option<BranchLogits>,
    /// Logits of the test cases.
    pub test: BranchLogits,
    /// Logits of all looks at the test cases, where some have several images of a kind.
    pub looks: Option<BranchLogits>,
    /// Test predictions of every stage by name, as [`TwoStage::apply`] gives them; the last is the answer.
    pub rows: Vec<(String, Predictions)>,
    /// What a reader of the predictions should know, such as classes that could not be calibrated.
    pub notes: Vec<String>,
}

/// How a training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingCurve {
    /// What was learnt from: `all training cases` or `half of them`.
    pub name: String,
    /// One report for each epoch.
    pub history: Vec<EpochReport>,
    /// The epoch with the best validation score, from 1; the last one without validation cases.
    pub best_epoch: usize,
}

/// A protocol that is checked and ready.
struct Prepared {
    split: Split,
    encoder: MetadataEncoder,
    /// The network's recipe, with the encoder's length.
    network: NetworkRecipe,
    /// Whether the network has anything to learn.
    learns: bool,
    second_stage: Option<SecondStageSettings>,
    /// What must be said of the parts: that none validates, or of tasks that no case of one has a label of.
    notes: Vec<String>,
}

const FULL: &str = "full";
const HALF: &str = "half";

impl Protocol {
    /// Follows the protocol. Checkpoints of the trainings are kept in sub-folders `full` and `half` of the workplace's folder, if
    /// it has one.
    ///
    /// # Errors
    /// The error of the step that failed; see [`RecipeError`].
    pub fn run(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<ProtocolOutcome, RecipeError> {
        let prepared = self.prepare(set, split, place, progress)?;
        let Prepared { split, encoder, network, learns, second_stage, notes } = &prepared;
        let cases = training_cases(set, split, encoder);
        let mut curves = Vec::new();
        let full = match learns {
            true => {
                progress.step(match second_stage {
                    Some(_) => "stage 1: network on all training cases",
                    None => "training the network",
                });
                let full = train(network, FULL, network.training.seed, cases, place, progress)?;
                curves.push(TrainingCurve::of("all training cases", &full));
                full.network
            }
            // It has no weights that could be trained.
            false => network.network.init(place.device)?,
        };

        let searches = matches!(self.answer, Answer::Search(_));
        let mut valid = None;
        if *learns && (searches || second_stage.is_some()) {
            progress.step("predicting the validation cases");
            valid = Some(network.logits(&full, set, &split.valid, encoder, place, progress)?);
        }
        let mut found = None;
        let (branch_weights, fuse_space) = match (&self.answer, &valid) {
            (Answer::Search(search), Some(valid)) => {
                progress.step("searching the branch weights");
                let result = search.fit(valid)?;
                let weights = (result.weights.clone(), result.space);
                found = Some(result);
                weights
            }
            (Answer::OnlyFusionBranch, _) => {
                let last = full.branches().pop().expect("a network has branches").name;
                (BranchWeights::new([(last, 1.0)])?, FuseSpace::Probabilities)
            }
            _ => {
                let names = full.branches().into_iter().map(|branch| (branch.name, 1.0));
                (BranchWeights::new(names)?, FuseSpace::Probabilities)
            }
        };
        let mut two_stage = TwoStage { branch_weights, fuse_space, second_stage: None, mix: 1.0 };

        let mut mix = None;
        let fused = |logits: &BranchLogits| logits.fuse(&two_stage.branch_weights, two_stage.fuse_space);
        let fitted = match (second_stage, &valid) {
            (Some(settings), _) if settings.inputs == SecondStageInputs::Metadata => {
                let (_, sub_test) = split.half_in_order();
                progress.step("fitting the classifiers");
                let sub_test = network.logits(&full, set, &sub_test, encoder, place, progress)?;
                let params = settings.params(network.training.seed);
                Some((SecondStage::fit_to_metadata(&params, &fused(&sub_test)?, &sub_test.cohort)?, 0.0))
            }
            (Some(settings), Some(valid)) => {
                let (sub_train, sub_test) = split.half_in_order();
                progress.step("stage 2: network on half of the training cases");
                let half = train(
                    network,
                    HALF,
                    settings.half_seed,
                    TrainingCases { train: &sub_train, ..cases },
                    place,
                    progress,
                )?;
                curves.push(TrainingCurve::of("half of them", &half));

                progress.step("predicting the other half");
                let sub_test = network.logits(&half.network, set, &sub_test, encoder, place, progress)?;
                progress.step("fitting the classifiers");
                let params = settings.params(network.training.seed);
                let fitted = SecondStage::fit(&params, &fused(&sub_test)?, &sub_test.cohort)?;
                let first = fused(valid)?;
                let result = settings.mix.fit(&first, &fitted.apply(&first, &valid.cohort)?)?;
                let weight = result.weight;
                mix = Some(result);
                Some((fitted, weight))
            }
            _ => None,
        };
        if let Some((fitted, weight)) = fitted {
            two_stage = TwoStage { second_stage: Some(fitted), mix: weight, ..two_stage };
        }

        progress.step("predicting the test cases");
        let kinds = kinds_of(full.modalities());
        let (test, looks) = match set.has_several_images(&split.test, kinds.clone()) {
            false => (network.logits(&full, set, &split.test, encoder, place, progress)?, None),
            true => {
                // Each of them is asked about, whatever answers for the case: numbers are given for images too.
                let each = NetworkRecipe { several_images: SeveralImages::MeanOfProbabilities, ..network.clone() };
                let looks = each.logits(&full, set, &split.test, encoder, place, progress)?;
                let test = match network.several_images {
                    SeveralImages::First => looks.first_looks(),
                    SeveralImages::MeanOfProbabilities => looks.clone(),
                };
                (test, Some(looks))
            }
        };
        let rows = two_stage.apply(&test)?;
        let description = BundleDescription {
            data_set: set.name.clone(),
            synthetic: set.synthetic,
            tasks: set.tasks.clone(),
            encoder: encoder.clone(),
            network: network.network.clone(),
            preprocess: network.training.preprocess.clone(),
            augmentation: network.augmentation,
            several_images: network.several_images,
            known_cases: KnownCases::of(set, split),
            card: None,
        };
        let mut notes = notes.clone();
        notes.extend(two_stage.notes());
        let looks_at = split.test.iter().map(|&row| set.cases[row].looks(kinds.clone()));
        notes.extend(network.several_images.note("test cases", looks_at));
        let bundle = Bundle { description, network: full, two_stage };
        Ok(ProtocolOutcome { bundle, curves, weights: found, mix, valid, test, looks, rows, notes })
    }

    /// How many networks are trained: none before a second stage over the metadata alone, two before another, else one.
    #[must_use]
    pub fn trainings(&self) -> usize {
        match self.second_stage.map(|settings| settings.inputs) {
            Some(SecondStageInputs::Metadata) => 0,
            Some(SecondStageInputs::PredictionsAndMetadata) => 2,
            None => 1,
        }
    }

    /// Checks all that can be checked without training, as [`run`](Self::run) does first: cases, their labels, images, network,
    /// weights, settings, the folder. Nothing is written.
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
    pub fn select_cases(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
    ) -> Result<SelectedCases, RecipeError> {
        split.check(set)?;
        let (encoder, network) = self.fitted(set, split)?;
        network.select_cases(set, split, &encoder, place.device)
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
        let SelectedCases { split, notes } = self.select_cases(set, split, place)?;
        notes.iter().for_each(|note| progress.noted(note));
        let (encoder, network) = self.fitted(set, &split)?;
        let second_stage = self.second_stage.filter(|_| encoder.width() > 0);
        let chosen = match (&self.answer, second_stage) {
            (Answer::Search(_), _) => Some("the weights of the branches are searched (second_stage.answer)"),
            (_, Some(_)) => Some("the weight of the second stage is searched (second_stage.classifier)"),
            _ => None,
        };
        if let (true, Some(chosen)) = (split.valid.is_empty(), chosen) {
            return Err(RecipeError::NoValidation { chosen });
        }
        let notes = check_labels(set, &split, network.training.sampling, second_stage.is_some())?;
        notes.iter().for_each(|note| progress.noted(note));
        network.check_images(set, &split, place, progress)?;
        let learns = learns(&network, second_stage, place)?;
        let prepared = Prepared { split, encoder, network, learns, second_stage, notes };
        prepared.check_trainings(set, place)?;
        Ok(prepared)
    }

    /// Checks what lies in the folder of checkpoints, as [`run`](Self::run) does; the images are not looked at.
    pub(crate) fn check_folder(
        &self,
        set: &CaseSet,
        split: &Split,
        checkpoints: &Path,
        place: Workplace<'_>,
    ) -> Result<(), RecipeError> {
        let split = self.select_cases(set, split, place)?.split;
        let (encoder, network) = self.fitted(set, &split)?;
        let second_stage = self.second_stage.filter(|_| encoder.width() > 0);
        let learns = learns(&network, second_stage, place)?;
        let prepared = Prepared { split, encoder, network, learns, second_stage, notes: Vec::new() };
        prepared.check_trainings(set, Workplace { folder: Some(checkpoints), ..place })
    }
}

impl Prepared {
    fn check_trainings(&self, set: &CaseSet, place: Workplace<'_>) -> Result<(), RecipeError> {
        let Self { split, encoder, network, learns, second_stage, .. } = self;
        if !learns {
            return Ok(());
        }
        let cases = training_cases(set, split, encoder);
        let check = |name: &str, seed: u64, cases: TrainingCases<'_>| {
            let folder = folder_of(place, name);
            network.check_training(seed, cases, Workplace { folder: folder.as_deref(), ..place })
        };
        check(FULL, network.training.seed, cases)?;
        if let Some(settings) = second_stage {
            let (sub_train, _) = split.half_in_order();
            check(HALF, settings.half_seed, TrainingCases { train: &sub_train, ..cases })?;
        }
        Ok(())
    }
}

/// Whether a network has anything to learn. What has not is for a second stage over the metadata alone, and that for nothing else.
fn learns(
    network: &NetworkRecipe,
    second_stage: Option<SecondStageSettings>,
    place: Workplace<'_>,
) -> Result<bool, RecipeError> {
    let learns = parameter_count(&network.network.init(place.device)?) > 0;
    let is_of_metadata = second_stage.is_some_and(|settings| settings.inputs == SecondStageInputs::Metadata);
    match learns == is_of_metadata {
        true if learns => Err(RecipeError::InVain { network: network.network.kind().to_owned() }),
        true => Err(RecipeError::NothingLearns { network: network.network.kind().to_owned() }),
        false => Ok(learns),
    }
}

fn folder_of(place: Workplace<'_>, name: &str) -> Option<PathBuf> {
    place.folder.map(|folder| folder.join(name))
}

/// Trains one of the networks, in a sub-folder of its own.
fn train(
    network: &NetworkRecipe,
    name: &str,
    seed: u64,
    cases: TrainingCases<'_>,
    place: Workplace<'_>,
    progress: &mut dyn Progress,
) -> Result<Trained<AnyNetwork>, RecipeError> {
    let folder = folder_of(place, name);
    network.train(seed, cases, Workplace { folder: folder.as_deref(), ..place }, progress)
}

impl TrainingCurve {
    fn of(name: &str, trained: &Trained<AnyNetwork>) -> Self {
        Self { name: name.to_owned(), history: trained.history.clone(), best_epoch: trained.best_epoch }
    }
}
