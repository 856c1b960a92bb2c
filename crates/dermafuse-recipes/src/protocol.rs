//! From cases to a model: a network, weights for its branches, and if it is asked for a classifier for each task over
//! predictions and metadata, with a weight between the two.
//!
//! Paper: Tang et al., FusionM4Net (Medical Image Analysis 2022); thesis ch. 6. Source: the released code (MLSDR). Every other
//! method is the same without the second stage. Differences: the weight search is free of the released loop bug unless asked for;
//! the classifiers are fitted once with a fixed seed instead of once for each part; the metadata encoder is fitted on the
//! training cases alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dermafuse_backbones::parameter_count;
use dermafuse_data::{CaseSet, EncoderConfig, MetadataEncoder, QualityThresholds, Split};
use dermafuse_ensemble::{
    AnswerCalibration, Calibration, CalibrationMethod, CalibrationOrigin, ClassifierCluster, ClassifierKind,
    ClassifierParams, ClusterParams, FeatureHeads, MixSearch, MixSearchResult, OutOfDistribution,
    OutOfDistributionSettings, PointSearch, Prevalence, SecondStage, SecondStageInputs, TwoStage, WeightSearch,
    WeightSearchResult, fit_operating_point, fit_prediction_sets,
};
use dermafuse_infer::{Bundle, BundleDescription, KnownCases, KnownFeatures, answer_patterns_beside, kinds_of};
use dermafuse_networks::{AnyNetwork, DeepEnsemble, Network, NetworkConfig};
use dermafuse_schema::ndarray::Axis;
use dermafuse_schema::{
    Branch, BranchLogits, BranchWeights, FittedGroup, FuseSpace, PredictionSets, Predictions, SeveralImages,
};
use dermafuse_train::{EpochReport, TrainingCases};
use serde::{Deserialize, Serialize};

use crate::frozen::EncodedCases;
use crate::labelled_tasks::check_labels;
use crate::learnt_prevalence::{learnt_prevalence, prevalence_of};
use crate::performance::{Question, performance};
use crate::preflight::training_cases;
use crate::{
    AbstentionSettings, LearntNetwork, NetworkRecipe, Progress, RecipeError, SelectedCases, WantedGroup, Workplace,
};

/// A protocol with all its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// How the network is made, trained and asked; a second stage learns from another of the same kind. The length of its encoded
    /// metadata is replaced by that of the fitted encoder.
    pub first_stage: NetworkRecipe,
    /// How metadata becomes numbers.
    pub metadata: EncoderConfig,
    /// How the branches answer together.
    pub answer: Answer,
    /// The second stage; data without metadata columns have none.
    pub second_stage: Option<SecondStageSettings>,
    /// From when on the model calls pictures bad.
    #[serde(default)]
    pub quality: QualityThresholds,
    /// How the model learns to tell how far a case is from those that trained it.
    #[serde(default)]
    pub out_of_distribution: OutOfDistributionSettings,
    /// How the last stage's probabilities are calibrated on the validation cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<CalibrationMethod>,
    /// Operating points of the whole classification that are chosen on the validation cases, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub points: BTreeMap<String, PointSearch>,
    /// The point at which the model answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// Unions of classes whose operating points are chosen on the validation cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<WantedGroup>,
    /// Sets of classes with a stated error rate, fitted on the validation cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstention: Option<AbstentionSettings>,
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
/// metadata alone learn from the same half, without a network, and are the answer. Where nothing of the first stage is learnt from the
/// training cases that classifiers see (it is other models' answers, or they see the metadata beside it), they learn from all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondStageSettings {
    /// The classifiers: Fusion Scheme 2.
    pub classifier: ClassifierKind,
    /// Their parameters; as published, if none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<ClassifierParams>,
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
    pub(crate) fn params(&self, seed: u64) -> ClusterParams {
        if let Some(classifier) = &self.params {
            return ClusterParams { classifier: classifier.clone() };
        }
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
            params: None,
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
    /// The training curves by what was learnt from; the first is the model's, or its first member's. None where no network learns.
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
    /// Features of the images of all cases, where encoders are frozen.
    pub(crate) known: Option<Arc<KnownFeatures>>,
}

/// How a training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingCurve {
    /// What was learnt from: `all training cases` or `half of them`, with the number of an ensemble's member.
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
    first_stage: NetworkRecipe,
    /// Whether the network has anything to learn.
    learns: bool,
    second_stage: Option<SecondStageSettings>,
    /// What must be said of the parts: that none validates, or of tasks that no case of one has a label of.
    notes: Vec<String>,
}

/// The branch of the network that knows nothing.
const UNIFORM_BRANCH: &str = "uniform";
/// The network that knows nothing.
const UNIFORM: &str = "uniform_classifier";
/// Folds in which training cases are answered by classifiers that have not seen their patients.
const STACKED: usize = 5;
const FULL: LearntPart = LearntPart { folder: "full", cases: "all training cases" };
const HALF: LearntPart = LearntPart { folder: "half", cases: "half of them" };

/// What a network learns from.
#[derive(Clone, Copy)]
struct LearntPart {
    /// The sub-folder of its checkpoints.
    folder: &'static str,
    /// The cases.
    cases: &'static str,
}

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
        let Prepared { split, encoder, first_stage, learns, second_stage, notes } = &prepared;
        let cases = training_cases(set, split, encoder)?;
        let mut curves = Vec::new();
        let encoded = match first_stage.is_frozen() {
            true => {
                let all = [&split.train[..], &split.valid, &split.test].concat();
                Some(first_stage.encode(&set.view(all)?, place, progress)?)
            }
            false => None,
        };
        let full = match learns {
            true => {
                if encoded.is_none() {
                    progress.step(match second_stage {
                        Some(_) => "stage 1: network on all training cases",
                        None => "training the network",
                    });
                }
                let seed = first_stage.training.seed;
                let (full, of_full) = learn(first_stage, FULL, seed, &cases, encoded.as_ref(), place, progress)?;
                curves.extend(of_full);
                full
            }
            // It has no weights that could be trained.
            false => LearntNetwork::new(first_stage.network.init(place.device)?, first_stage.network.clone()),
        };

        let searches = matches!(self.answer, Answer::Search(_));
        let has_first_stage = *learns || !first_stage.outside.is_empty();
        let mut valid = None;
        if has_first_stage && (searches || second_stage.is_some()) {
            progress.step("predicting the validation cases");
            valid = Some(first_stage.logits(&full, &cases.valid, encoder, place, progress)?);
        }
        let mut found = None;
        let (branch_weights, fuse_space) = match (&self.answer, &valid) {
            (Answer::Search(search), Some(valid)) => {
                progress.step("searching the branch weights");
                let result = search.fit(&said(valid)?)?;
                let weights = (result.weights.clone(), result.space);
                found = Some(result);
                weights
            }
            (Answer::OnlyFusionBranch, _) => {
                let last = full.network.branches().pop().expect("a network has branches").name;
                (BranchWeights::new([(last, 1.0)])?, FuseSpace::Probabilities)
            }
            _ => {
                let own = full.network.branches().into_iter().filter(|_| *learns || first_stage.outside.is_empty());
                let outside = first_stage.outside.iter().map(|model| model.name.as_str());
                let names = own.map(|branch| branch.name).chain(outside).map(|name| (name, 1.0));
                (BranchWeights::new(names)?, FuseSpace::Probabilities)
            }
        };
        let mut two_stage = TwoStage::new(branch_weights, fuse_space, None, 1.0)?;

        let (mut mix, mut stacked) = (None, None);
        let fused = |logits: &BranchLogits| logits.fuse(&two_stage.branch_weights, two_stage.fuse_space);
        let fitted = match (second_stage, &valid) {
            (Some(settings), _) if settings.inputs == SecondStageInputs::Metadata => {
                let (_, sub_test) = split.half_in_order();
                progress.step("fitting the classifiers");
                let sub_test = first_stage.logits(&full, &set.view(sub_test)?, encoder, place, progress)?;
                let params = settings.params(first_stage.training.seed);
                Some((SecondStage::fit_to_metadata(&params, &fused(&sub_test)?, &sub_test.cohort)?, 0.0))
            }
            (Some(settings), Some(valid)) if !learns || settings.inputs == SecondStageInputs::MetadataBeside => {
                // Nothing that the classifiers see was learnt from these cases.
                progress.step("fitting the classifiers");
                let train = first_stage.logits(&full, &set.view(&split.train)?, encoder, place, progress)?;
                let params = settings.params(first_stage.training.seed);
                let fitted = SecondStage::fit_to(&params, settings.inputs, &fused(&train)?, &train.cohort)?;
                let (mut first, mut groups) = (fused(valid)?, valid.cohort.groups.clone());
                let mut second = fitted.apply(&first, &valid.cohort)?;
                if !learns {
                    // The training cases choose, too: other models' answers were not learnt from them here, and a stage that has not seen
                    // their patients answers each of them.
                    let of_train = fused(&train)?;
                    let (inputs, seed) = (settings.inputs, settings.half_seed);
                    let answers = SecondStage::out_of_fold(&params, inputs, &of_train, &train.cohort, STACKED, seed)?;
                    let rows = said_rows(&train);
                    let more = Stacked {
                        first: of_train.select(&rows),
                        second: answers.select(&rows),
                        groups: rows.iter().map(|&row| train.cohort.groups[row].clone()).collect(),
                    };
                    first = Predictions::concatenate(vec![first, more.first.clone()])?;
                    second = Predictions::concatenate(vec![second, more.second.clone()])?;
                    groups.extend(more.groups.iter().cloned());
                    stacked = Some(more);
                }
                let result = settings.mix.fit_groups(&first, &second, &groups)?;
                let weight = result.weight;
                mix = Some(result);
                Some((fitted, weight))
            }
            (Some(settings), Some(valid)) => {
                let (sub_train, sub_test) = split.half_in_order();
                progress.step("stage 2: network on half of the training cases");
                let (half, of_half) = learn(
                    first_stage,
                    HALF,
                    settings.half_seed,
                    &TrainingCases { train: set.view(sub_train)?, ..cases.clone() },
                    encoded.as_ref(),
                    place,
                    progress,
                )?;
                curves.extend(of_half);

                progress.step("predicting the other half");
                let sub_test = first_stage.logits(&half, &set.view(sub_test)?, encoder, place, progress)?;
                progress.step("fitting the classifiers");
                let params = settings.params(first_stage.training.seed);
                let fitted = SecondStage::fit(&params, &fused(&sub_test)?, &sub_test.cohort)?;
                let first = fused(valid)?;
                let second = fitted.apply(&first, &valid.cohort)?;
                let result = settings.mix.fit_groups(&first, &second, &valid.cohort.groups)?;
                let weight = result.weight;
                mix = Some(result);
                Some((fitted, weight))
            }
            _ => None,
        };
        if let Some((fitted, weight)) = fitted {
            let mix_space = second_stage.as_ref().map_or(two_stage.mix_space, |settings| settings.mix.space);
            two_stage = TwoStage { second_stage: Some(fitted), mix: weight, mix_space, ..two_stage };
        }
        let epochs = curves.first().map_or(0, |curve: &TrainingCurve| curve.history.len());
        let mut prevalence = learnt_prevalence(
            first_stage,
            full.heads.as_deref(),
            second_stage.as_ref(),
            two_stage.mix,
            &set.view(&split.train)?,
            epochs,
        )?;
        if let Some(method) = self.calibrated {
            if valid.is_none() {
                progress.step("predicting the validation cases");
                valid = Some(first_stage.logits(&full, &set.view(&split.valid)?, encoder, place, progress)?);
            }
            progress.step("calibrating the probabilities");
            let outside: Vec<String> = first_stage.outside.iter().map(|model| model.name.clone()).collect();
            let (origin, patterns) = (CalibrationOrigin::Validation, answer_patterns_beside(&full.network, &outside));
            let logits = valid.as_ref().expect("they have been predicted");
            let fitted = AnswerCalibration::fit(method, origin, &two_stage, logits, &patterns, None)?;
            if method.moves_prevalence() {
                prevalence.calibrated = Some(prevalence_of(&set.view(&split.valid)?, &prevalence.training, |_| 1.0)?);
            }
            two_stage.calibration = Some(fitted);
            let (_, answers) = two_stage.apply(logits)?.pop().expect("there is a stage");
            prevalence.answered = Some(Prevalence::of_answers(&answers)?);
        }
        two_stage.prevalence = Some(prevalence);

        if !self.points.is_empty() {
            if valid.is_none() {
                progress.step("predicting the validation cases");
                valid = Some(first_stage.logits(&full, &set.view(&split.valid)?, encoder, place, progress)?);
            }
            progress.step("choosing the points of the classification");
            let logits = valid.as_ref().expect("they have been predicted");
            let (_, mut answers) = two_stage.apply(logits)?.pop().expect("there is a stage");
            let mut groups = logits.cohort.groups.clone();
            // A calibration was fitted to the validation cases alone.
            if let (Some(Stacked { first, second, groups: more }), None) = (&stacked, self.calibrated) {
                let mixed = first.mix_in(two_stage.mix_space, second, two_stage.mix)?;
                answers = Predictions::concatenate(vec![answers, mixed])?;
                groups.extend(more.iter().cloned());
            }
            let points = self.points.iter().map(|(name, search)| search.fit(name, &answers, &groups));
            two_stage.points = points.collect::<Result<_, _>>()?;
            two_stage = two_stage.with_point(self.point.as_deref())?;
        }

        let out_of_distribution = match learns {
            true => self.distance_from(first_stage, &full, set, split, encoder, place, progress)?,
            false => None,
        };

        let mut groups = Vec::new();
        let mut prediction_sets = None;
        if !self.groups.is_empty() || self.abstention.is_some() {
            let logits = match valid.take() {
                Some(logits) => logits,
                None => {
                    progress.step("predicting the validation cases");
                    first_stage.logits(&full, &set.view(&split.valid)?, encoder, place, progress)?
                }
            };
            progress.step("fitting operating points and sets of classes");
            (groups, prediction_sets) = self.fitted_to_answers(&two_stage, &logits)?;
            valid = Some(logits);
        }

        if !split.test.is_empty() {
            progress.step("predicting the test cases");
        }
        let kinds = kinds_of(full.network.modalities());
        let tested = set.view(&split.test)?;
        let (test, looks) = match tested.has_several_images(kinds.clone()) {
            false => (first_stage.logits(&full, &tested, encoder, place, progress)?, None),
            true => {
                // Each of them is asked about, whatever answers for the case: numbers are given for images too.
                let each = NetworkRecipe { several_images: SeveralImages::MeanOfProbabilities, ..first_stage.clone() };
                let looks = each.logits(&full, &tested, encoder, place, progress)?;
                let test = match first_stage.several_images {
                    SeveralImages::First => looks.first_looks(),
                    SeveralImages::MeanOfProbabilities => looks.clone(),
                };
                (test, Some(looks))
            }
        };
        let rows = two_stage.apply(&test)?;
        let mut description = BundleDescription {
            data_set: set.name.clone(),
            synthetic: set.synthetic,
            tasks: set.tasks.clone(),
            encoder: encoder.clone(),
            network: full.config.clone(),
            preprocess: first_stage.training.preprocess.clone(),
            augmentation: first_stage.augmentation,
            several_images: first_stage.several_images,
            modality_dropout: first_stage.training.modality_dropout,
            known_cases: KnownCases::of(set, split),
            quality: self.quality.clone(),
            out_of_distribution,
            activation_ranges: None,
            outside: first_stage.outside.clone(),
            groups,
            prediction_sets,
            performance: None,
            card: None,
            heads: full.heads.as_deref().cloned(),
        };
        let mut notes = notes.clone();
        notes.extend(description.heads.iter().flat_map(FeatureHeads::notes));
        notes.extend(two_stage.notes());
        notes.extend(description.groups.iter().filter_map(FittedGroup::note));
        notes.extend(description.prediction_sets.iter().flat_map(PredictionSets::notes));
        let looks_at = tested.cases().map(|case| case.looks(kinds.clone()));
        notes.extend(first_stage.several_images.note("test cases", looks_at));
        let (_, answers) = rows.last().expect("there is a stage");
        let questions = description.groups.iter().map(|fitted| Question::of(&[(answers, fitted)]));
        let questions: Vec<Question> = questions.collect::<Result<_, _>>()?;
        description.performance = (!tested.is_empty()).then(|| performance(&tested, answers, &questions));
        let LearntNetwork { network, known, file, .. } = full;
        let mut bundle = Bundle::new(description, network, two_stage);
        if let Some(file) = file {
            bundle = bundle.with_encoder_file(file.to_vec())?;
        }
        Ok(ProtocolOutcome { known, bundle, curves, weights: found, mix, valid, test, looks, rows, notes })
    }

    /// How far a case is from those that trained the network, by its features. `None` if it is not wanted, or if fewer than two training
    /// cases have all images that the network looks at.
    #[allow(clippy::too_many_arguments, reason = "each says another thing")]
    fn distance_from(
        &self,
        recipe: &NetworkRecipe,
        network: &LearntNetwork,
        set: &CaseSet,
        split: &Split,
        encoder: &MetadataEncoder,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Option<OutOfDistribution>, RecipeError> {
        let mut kinds = kinds_of(network.network.modalities());
        let is_whole = |row: &&usize| kinds.clone().all(|kind| set.cases[**row].has(kind));
        let whole = |rows: &[usize]| rows.iter().filter(is_whole).copied().collect::<Vec<_>>();
        let (train, valid) = (self.out_of_distribution.fitted_rows(&whole(&split.train)), whole(&split.valid));
        if train.len() < 2 || kinds.next().is_none() {
            return Ok(None);
        }
        progress.step("fitting the distance from the training cases");
        let predictor = recipe.predictor(network, place);
        let rows = [&train[..], &valid].concat();
        let features = predictor.embeddings(&set.view(&rows)?, encoder, |done| progress.predicted(done, rows.len()))?;
        let (of_train, of_valid) = features.view().split_at(Axis(0), train.len());
        let labels: Vec<Option<usize>> = train.iter().map(|&row| set.cases[row].labels[0]).collect();
        Ok(Some(OutOfDistribution::fit(&self.out_of_distribution, of_train, &labels, Some(of_valid))?))
    }

    /// The operating points of the groups, and the sets of classes, from the answers for the validation cases.
    fn fitted_to_answers(
        &self,
        two_stage: &TwoStage,
        valid: &BranchLogits,
    ) -> Result<(Vec<FittedGroup>, Option<PredictionSets>), RecipeError> {
        let (_, answers) = two_stage.apply(valid)?.pop().expect("there is a stage");
        let groups = self.groups.iter().map(|wanted| fit_operating_point(wanted.group.clone(), wanted.aim, &answers));
        let fit = |AbstentionSettings { error_rate, coverage }| fit_prediction_sets(error_rate, coverage, &answers);
        Ok((groups.collect::<Result<_, _>>()?, self.abstention.map(fit).transpose()?))
    }

    /// How many networks are trained: none before a second stage over the metadata alone, two before another, else one; of an ensemble as
    /// many as it has members.
    #[must_use]
    pub fn trainings(&self) -> usize {
        let inputs = self.second_stage.as_ref().map(|settings| settings.inputs);
        match (inputs, self.first_stage.outside.is_empty()) {
            (Some(SecondStageInputs::Metadata), _) => 0,
            // Heads are fitted to features that stand still.
            _ if self.first_stage.is_frozen() => 0,
            // Other models answer, and no network beside them.
            (_, false) if self.first_stage.network.kind() == UNIFORM => 0,
            (Some(SecondStageInputs::PredictionsAndMetadata), _) => 2 * self.first_stage.members(),
            (Some(SecondStageInputs::MetadataBeside) | None, _) => self.first_stage.members(),
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
        let (encoder, first_stage) = self.fitted(set, split)?;
        first_stage.select_cases(set, split, &encoder, place.device)
    }

    /// The encoder of the training cases, and the network's recipe with its length.
    pub(crate) fn fitted(&self, set: &CaseSet, split: &Split) -> Result<(MetadataEncoder, NetworkRecipe), RecipeError> {
        let training = set.view(&split.train)?;
        let encoder = MetadataEncoder::fit(&set.fields, training.cases(), self.metadata)?;
        let network = self.first_stage.network.clone().with_metadata_inputs(encoder.width());
        Ok((encoder, NetworkRecipe { network, ..self.first_stage.clone() }))
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
        let (encoder, first_stage) = self.fitted(set, &split)?;
        let second_stage = self.second_stage.clone().filter(|_| encoder.width() > 0);
        let chosen = match (&self.answer, &second_stage, self.calibrated) {
            (Answer::Search(_), _, _) => Some("the weights of the branches are searched (second_stage.answer)"),
            (_, Some(_), _) => Some("the weight of the second stage is searched (second_stage.classifier)"),
            (_, _, Some(_)) => Some("the probabilities are calibrated (second_stage.calibrated)"),
            _ if !self.points.is_empty() => Some("points of the classification are chosen (second_stage.points)"),
            _ if !self.groups.is_empty() => Some("the operating points of groups of classes are chosen (groups)"),
            _ => self.abstention.map(|_| "sets of classes are fitted (abstention)"),
        };
        if let (true, Some(chosen)) = (split.valid.is_empty(), chosen) {
            return Err(RecipeError::NoValidation { chosen });
        }
        if self.calibrated.is_some() {
            let labels: Vec<_> = split.valid.iter().map(|&row| set.cases[row].labels.clone()).collect();
            AnswerCalibration::check_labels(&labels)?;
        }
        let mut notes = check_labels(set, &split, first_stage.training.sampling, second_stage.is_some())?;
        notes.extend(first_stage.note_of_lesions(set, &split));
        notes.iter().for_each(|note| progress.noted(note));
        first_stage.check_images(set, &split, place, progress)?;
        let learns = learns(&first_stage, second_stage.as_ref(), place)?;
        let prepared = Prepared { split, encoder, first_stage, learns, second_stage, notes };
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
        let (encoder, first_stage) = self.fitted(set, &split)?;
        let second_stage = self.second_stage.clone().filter(|_| encoder.width() > 0);
        let learns = learns(&first_stage, second_stage.as_ref(), place)?;
        let prepared = Prepared { split, encoder, first_stage, learns, second_stage, notes: Vec::new() };
        prepared.check_trainings(set, Workplace { folder: Some(checkpoints), ..place })
    }
}

impl Prepared {
    fn check_trainings(&self, set: &CaseSet, place: Workplace<'_>) -> Result<(), RecipeError> {
        let Self { split, encoder, first_stage, learns, second_stage, .. } = self;
        if !learns {
            return Ok(());
        }
        let cases = training_cases(set, split, encoder)?;
        if let Some(teacher) = first_stage.teacher_model(place.device)? {
            check_teacher(&teacher.description.known_cases, set, split, second_stage.as_ref())?;
        }
        let check = |part: LearntPart, seed: u64, cases: &TrainingCases<'_>| {
            let (member, mut members) = (first_stage.of_member(), Member::all_of(first_stage));
            members.try_for_each(|at| {
                let folder = at.folder_in(part, place);
                member.check_training(at.seed_after(seed), cases, Workplace { folder: folder.as_deref(), ..place })
            })
        };
        check(FULL, first_stage.training.seed, &cases)?;
        if let Some(settings) =
            second_stage.as_ref().filter(|settings| settings.inputs != SecondStageInputs::MetadataBeside)
        {
            let (sub_train, _) = split.half_in_order();
            check(HALF, settings.half_seed, &TrainingCases { train: set.view(sub_train)?, ..cases.clone() })?;
        }
        Ok(())
    }
}

/// Whether nothing that tests, or chooses what the answers are made of, comes in through a teacher that has learnt from it.
fn check_teacher(
    known: &KnownCases,
    set: &CaseSet,
    split: &Split,
    second_stage: Option<&SecondStageSettings>,
) -> Result<(), RecipeError> {
    let leak = |what: String| Err(RecipeError::TeacherLeaks { what });
    for (part, rows) in [("test", &split.test), ("validation", &split.valid)] {
        let seen = known.among(&set.view(rows)?);
        if !seen.known {
            return leak("cases that its file does not name".into());
        }
        let chosen = if part == "test" { seen.selected } else { 0 };
        if seen.same_data_set && seen.trained + chosen > 0 {
            return leak(format!("{} of the {} {part} cases", seen.trained + chosen, seen.cases));
        }
    }
    match second_stage.map(|settings| settings.inputs) {
        None | Some(SecondStageInputs::Metadata | SecondStageInputs::MetadataBeside) => Ok(()),
        Some(SecondStageInputs::PredictionsAndMetadata) => {
            leak("the half of the training cases whose answers the second stage learns from".into())
        }
    }
}

/// Whether a network has anything to learn. What has not is for a second stage over the metadata alone, and that for nothing else.
fn learns(
    first_stage: &NetworkRecipe,
    second_stage: Option<&SecondStageSettings>,
    place: Workplace<'_>,
) -> Result<bool, RecipeError> {
    let learns = first_stage.is_frozen() || parameter_count(&first_stage.network.init(place.device)?) > 0;
    let is_of_metadata = second_stage.is_some_and(|settings| settings.inputs == SecondStageInputs::Metadata);
    if !first_stage.outside.is_empty() && !is_of_metadata {
        return Ok(learns);
    }
    match learns == is_of_metadata {
        true if learns => Err(RecipeError::InVain { network: first_stage.network.kind().to_owned() }),
        true => Err(RecipeError::NothingLearns { network: first_stage.network.kind().to_owned() }),
        false => Ok(learns),
    }
}

/// The cases of which a branch says something, and the branches that do: without that of a network that knows nothing, which answers where
/// nobody else does.
fn said(logits: &BranchLogits) -> Result<BranchLogits, RecipeError> {
    let mut selected = logits.select(&said_rows(logits));
    selected.branches.retain(|branch| branch.name != UNIFORM_BRANCH);
    selected.check()?;
    Ok(selected)
}

/// The cases of which a branch says something.
fn said_rows(logits: &BranchLogits) -> Vec<usize> {
    let is_said = |branch: &&Branch| branch.name != UNIFORM_BRANCH;
    let said = |row: &usize| logits.branches.iter().filter(is_said).any(|branch| branch.available[*row]);
    (0..logits.cohort.len()).filter(said).collect()
}

/// Training cases that choose weights and points: the first stage's answers, which were not learnt from them, and those of classifiers that
/// have not seen their patients.
struct Stacked {
    first: Predictions,
    second: Predictions,
    groups: Vec<String>,
}

/// One of the networks that are trained apart.
#[derive(Clone, Copy)]
struct Member {
    index: usize,
    count: usize,
    is_of_ensemble: bool,
}

impl Member {
    fn all_of(recipe: &NetworkRecipe) -> impl Iterator<Item = Self> {
        let count = recipe.members();
        let is_of_ensemble = matches!(recipe.network, NetworkConfig::DeepEnsemble(_));
        (0..count).map(move |index| Self { index, count, is_of_ensemble })
    }

    /// Its seed, where the first member has `seed`.
    fn seed_after(self, seed: u64) -> u64 {
        seed.wrapping_add(self.index as u64)
    }

    /// Where its checkpoints are, if any are kept.
    fn folder_in(self, part: LearntPart, place: Workplace<'_>) -> Option<PathBuf> {
        let folder = place.folder?.join(part.folder);
        Some(if self.is_of_ensemble { folder.join(format!("member-{}", self.index + 1)) } else { folder })
    }

    /// What its curve is called.
    fn curve_of(self, part: LearntPart) -> String {
        let which = if self.is_of_ensemble { format!(", member {}", self.index + 1) } else { String::new() };
        part.cases.to_owned() + &which
    }
}

/// Makes a network learn: fits heads where its encoders are frozen, else trains it, or each member of an ensemble by itself.
fn learn(
    first_stage: &NetworkRecipe,
    part: LearntPart,
    seed: u64,
    cases: &TrainingCases<'_>,
    encoded: Option<&EncodedCases>,
    place: Workplace<'_>,
    progress: &mut dyn Progress,
) -> Result<(LearntNetwork, Vec<TrainingCurve>), RecipeError> {
    if let Some(encoded) = encoded {
        return Ok((first_stage.fit_heads(encoded, seed, cases, progress)?, Vec::new()));
    }
    let (recipe, mut networks, mut curves) = (first_stage.of_member(), Vec::new(), Vec::new());
    for member in Member::all_of(first_stage) {
        if member.is_of_ensemble {
            progress.step(&format!("member {} of {}", member.index + 1, member.count));
        }
        let folder = member.folder_in(part, place);
        let place = Workplace { folder: folder.as_deref(), ..place };
        let trained = recipe.train(member.seed_after(seed), cases, place, progress)?;
        curves.push(TrainingCurve {
            name: member.curve_of(part),
            history: trained.history,
            best_epoch: trained.best_epoch,
        });
        networks.push(trained.network);
    }
    let network = match &first_stage.network {
        NetworkConfig::DeepEnsemble(_) => AnyNetwork::DeepEnsemble(DeepEnsemble::of(networks)?),
        _ => networks.pop().expect("one network was trained"),
    };
    Ok((LearntNetwork::new(network, first_stage.network.clone()), curves))
}
