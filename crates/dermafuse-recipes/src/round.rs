//! One round of an experiment: its trainings in folders, and the result that is kept of each.

use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_data::{CaseSet, Sampling};
use dermafuse_ensemble::{MixSearchResult, TwoStage, WeightSearchResult};
use dermafuse_eval::SubsetEvaluation;
use dermafuse_infer::{Bundle, KnownCases, MODEL_FILE, ModelCard, TrainingSummary, kinds_of};
use dermafuse_networks::{Network, NetworkError};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{BranchLogits, BranchWeights, Field, FittedGroup, FuseSpace, PredictionSets, Predictions};
use dermafuse_train::{ImageRecord, RunIdentity, file_digest};
use serde::{Deserialize, Serialize};

use crate::LearntNetwork;
use crate::plan::{PlannedTraining, StartFrom};
use crate::stored::{Stored, check_history};
use crate::{
    AnswerKind, BackboneWeights, Plan, Progress, RecipeError, Round, TrainingCurve, Workplace, evaluate_subsets,
};

/// The backbone of a stage, in its folder.
const BACKBONE: &str = "backbone.safetensors";
const RESULT: &str = "result.json";
const CHECKPOINTS: &str = "checkpoints";
/// What a training leaves in its folder.
pub(crate) const TRACES: [&str; 3] = [RESULT, CHECKPOINTS, MODEL_FILE];

/// What a training gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundResult {
    /// Logits of the test cases.
    pub test: BranchLogits,
    /// Logits of all looks at the test cases, where some have several images of a kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looks: Option<BranchLogits>,
    /// What happens to them.
    pub two_stage: TwoStage,
    /// The training curves.
    pub curves: Vec<TrainingCurve>,
    /// What the search for branch weights found, if there was one.
    pub weights: Option<WeightSearchResult>,
    /// The weight between the stages that was found, if there are two.
    pub mix: Option<MixSearchResult>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Metadata inputs that are known after a diagnosis only.
    pub leaky_inputs: Vec<String>,
    /// Training cases of each class of the first task.
    pub cases: Vec<usize>,
    /// How often cases of each class were shown in all epochs.
    pub shown: Vec<usize>,
    /// Features of the test cases before the last classifier, `[N, D]`, if they are wanted; of the first round alone.
    pub features: Option<Array2<f32>>,
    /// The groups of classes with the operating points that the validation cases chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<FittedGroup>,
    /// The sets of classes that were fitted to the validation cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_sets: Option<PredictionSets>,
    /// The numbers of the test cases from each subset of their inputs, if they are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsets: Option<SubsetEvaluation>,
    /// SHA-256 of the backbone that is handed on, of stages.
    pub backbone: Option<String>,
    /// The results of the stages before, by name.
    pub earlier: Vec<(String, RoundResult)>,
    /// The model, unless it is in a file.
    #[serde(skip)]
    pub model: HeldModel,
}

/// The model of a round without a folder; a round with one has it in its file. Results are compared by their numbers, so all
/// are equal here.
#[derive(Clone, Debug, Default)]
pub struct HeldModel(pub Option<Bundle>);

impl PartialEq for HeldModel {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The weights that a training starts from, and the digest that an earlier stage's must have.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) files: Option<BackboneWeights>,
    pub(crate) digest: Option<String>,
}

/// Where a training keeps what it has.
#[derive(Clone, Debug)]
pub(crate) struct RoundFolder {
    folder: PathBuf,
    keeps_checkpoints: bool,
    /// What the result has besides.
    extras: Extras,
}

/// What a result has besides logits, where it is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Extras {
    /// The features of the test cases.
    features: bool,
    /// The numbers from each subset of the inputs.
    subsets: bool,
}

impl Extras {
    /// Those of a training of a plan: only the last one has any.
    fn of(plan: &Plan, round: &Round, is_last: bool) -> Self {
        let subsets = is_last && round.is_tested() && plan.experiment.evaluation.subsets;
        Self { features: is_last && plan.keeps_features(round), subsets }
    }
}

impl RoundResult {
    /// Test predictions of every stage by name; the last is the answer.
    ///
    /// # Errors
    /// Logits that do not fit together.
    pub fn rows(&self) -> Result<Vec<(String, Predictions)>, RecipeError> {
        Ok(self.two_stage.apply(&self.test)?)
    }

    /// The same for each look at the test cases, as if it were a case.
    ///
    /// # Errors
    /// As [`RoundResult::rows`].
    pub fn rows_of_looks(&self) -> Result<Vec<(String, Predictions)>, RecipeError> {
        match &self.looks {
            Some(looks) => Ok(self.two_stage.apply(&looks.each_look())?),
            None => self.rows(),
        }
    }

    /// The same training with another answer of its branches.
    ///
    /// # Errors
    /// Branches that cannot be weighed.
    pub(crate) fn answered(&self, answer: AnswerKind) -> Result<Self, RecipeError> {
        let branch_weights = match (answer, self.test.branches.last()) {
            (AnswerKind::OnlyFusionBranch, Some(last)) => BranchWeights::new([(last.name.clone(), 1.0)])?,
            _ => self.test.equal_weights(),
        };
        let two_stage = TwoStage::new(branch_weights, FuseSpace::Probabilities, None, 1.0)?;
        // What was fitted to other answers is none of these.
        Ok(Self { two_stage, groups: Vec::new(), prediction_sets: None, subsets: None, ..self.clone() })
    }

    /// What was read is what a training can give.
    fn check(&self) -> Result<(), String> {
        self.test.check().map_err(|error| error.to_string())?;
        self.curves.iter().try_for_each(|curve| check_history(&curve.history, curve.best_epoch))?;
        let rows = self.features.as_ref().map_or(self.test.cohort.len(), Array2::nrows);
        if rows != self.test.cohort.len() {
            return Err(format!("it has features of {rows} cases, not of {}", self.test.cohort.len()));
        }
        let classes = self.test.tasks[0].classes.len();
        if [&self.cases, &self.shown].into_iter().any(|counts| counts.len() != classes) {
            let (cases, shown) = (self.cases.len(), self.shown.len());
            return Err(format!("it counts cases of {cases} and {shown} classes, not of {classes}"));
        }
        self.rows().map_err(|error| error.to_string())?;
        if let Some(looks) = &self.looks {
            looks.check().map_err(|error| error.to_string())?;
            if looks.cohort != self.test.cohort {
                return Err("its looks are at other cases than those that it tests".into());
            }
            self.rows_of_looks().map_err(|error| error.to_string())?;
        }
        let tasks = &self.test.tasks;
        let groups = self.groups.iter().try_for_each(|group| group.check(tasks));
        groups.map_err(|error| error.to_string())?;
        if let Some(sets) = &self.prediction_sets {
            sets.check(tasks).map_err(|error| error.to_string())?;
        }
        self.earlier.iter().try_for_each(|(_, result)| result.check())
    }
}

impl RoundFolder {
    pub(crate) fn of(folder: &Path, plan: &Plan, round: &Round, index: usize) -> Self {
        let keeps_checkpoints = plan.keeps_checkpoints();
        let is_last = index + 1 == round.stages.len();
        let folder = match is_last {
            true => folder.to_owned(),
            false => folder.join(format!("stage-{}-{}", index + 1, round.stages[index].name)),
        };
        Self { folder, keeps_checkpoints, extras: Extras::of(plan, round, is_last) }
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.join(CHECKPOINTS)
    }

    pub(crate) fn backbone(&self) -> PathBuf {
        self.folder.join(BACKBONE)
    }

    /// Whether a training may go on here, and its result if it is done. Nothing is written.
    pub(crate) fn check(
        &self,
        training: &PlannedTraining,
        start: &Start,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Option<RoundResult>, RecipeError> {
        if let Some(result) = self.done(training, start, place)? {
            return Ok(Some(result));
        }
        training.check(place, progress)?;
        let checkpoints = self.checkpoints();
        training.protocol_from(start).check_folder(&training.set, &training.split, &checkpoints, place)?;
        Ok(None)
    }

    /// The result of a training that is done.
    fn done(
        &self,
        training: &PlannedTraining,
        start: &Start,
        place: Workplace<'_>,
    ) -> Result<Option<RoundResult>, RecipeError> {
        if self.keeps_checkpoints {
            return Ok(None);
        }
        let Some(stored) = Stored::read(&self.folder.join(RESULT), RoundResult::check)? else { return Ok(None) };
        let record = ImageRecord::read(&self.folder);
        let identity = identity(training, start, self.extras, &record, place)?;
        stored.require(&identity, &record, &self.folder)?;
        match place.resume {
            true => Ok(Some(stored.result)),
            false => Err(RecipeError::Done { path: self.folder.clone() }),
        }
    }
}

/// Does a round, with or without a folder.
pub(crate) fn run_round(
    plan: &Plan,
    round: &Round,
    folder: Option<&Path>,
    place: Workplace<'_>,
    progress: &mut dyn Progress,
) -> Result<RoundResult, RecipeError> {
    if folder.is_none() && round.stages.len() > 1 {
        return Err(RecipeError::NoFolder);
    }
    let mut earlier: Vec<(String, RoundResult)> = Vec::new();
    let count = round.stages.len();
    for (index, training) in round.stages.iter().enumerate() {
        if count > 1 {
            progress.step(&format!("stage {} of {count}, {}", index + 1, training.name));
        }
        let is_last = index + 1 == count;
        let here = folder.map(|folder| RoundFolder::of(folder, plan, round, index));
        let start = match (&training.start, folder) {
            (StartFrom::Stage(stage), Some(folder)) => plan.start_after(folder, round, *stage, &earlier[*stage].1),
            _ => training.start_without_stages(),
        };
        let mut known = known_before(round, index);
        let teacher = training.protocol.first_stage.teacher_model(place.device);
        if let Some(model) = teacher.map_err(|error| training.error(error))? {
            known.add(&model.description.known_cases);
        }
        let extras = Extras::of(plan, round, is_last);
        let run = TrainingRun { training, folder: here, start, known, extras, hands_on: !is_last };
        let result = run.result(place, progress).map_err(|error| training.error(error))?;
        match is_last {
            true => return Ok(RoundResult { earlier, ..result }),
            false => earlier.push((training.name.clone(), result)),
        }
    }
    unreachable!("a round has a training")
}

/// The cases that made the backbone that a training starts from.
pub(crate) fn known_before(round: &Round, index: usize) -> KnownCases {
    let mut known = KnownCases::default();
    let mut start = &round.stages[index].start;
    while let StartFrom::Stage(earlier) = start {
        let training = &round.stages[*earlier];
        known.add(&training.known_cases());
        start = &training.start;
    }
    known
}

/// One training of a round.
struct TrainingRun<'a> {
    training: &'a PlannedTraining,
    /// Where it keeps what it has, if anywhere.
    folder: Option<RoundFolder>,
    start: Start,
    /// The cases that made the backbone that it starts from, and its teacher.
    known: KnownCases,
    /// What is wanted besides the answers for the test cases.
    extras: Extras,
    /// Whether a later stage starts from its backbone.
    hands_on: bool,
}

impl TrainingRun<'_> {
    /// What lies in the folder, if the training is done there; else trains.
    fn result(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<RoundResult, RecipeError> {
        let Self { training, folder, start, extras, hands_on, .. } = self;
        let Some(here) = folder else {
            let (result, bundle) = self.follow(place, progress)?;
            return Ok(RoundResult { model: HeldModel(Some(bundle)), ..result });
        };
        if let Some(result) = here.done(training, start, place)? {
            // A process that was killed at its very end left them.
            remove_checkpoints(&here.checkpoints())?;
            return Ok(result);
        }
        let RoundFolder { folder, keeps_checkpoints, .. } = here;
        let identity = identity(training, start, *extras, &ImageRecord::read(folder), place)?;
        let checkpoints = here.checkpoints();
        let (mut result, bundle) = self.follow(Workplace { folder: Some(&checkpoints), ..place }, progress)?;
        fs::create_dir_all(folder).map_err(|source| RecipeError::Io { path: folder.clone(), source })?;
        bundle.save(folder.join(MODEL_FILE))?;
        if *hands_on {
            let file = here.backbone();
            let backbones = bundle.network.backbones();
            let backbone = backbones.into_iter().next().expect("a network that hands on has a backbone");
            backbone.save_weights(&file).map_err(NetworkError::from)?;
            result.backbone = Some(file_digest(&file)?);
        }
        if !keeps_checkpoints {
            identity.images.write(folder)?;
            let stored = Stored::new(identity.facts, result);
            stored.write(&folder.join(RESULT))?;
            result = stored.result;
            // Model and result say all that is needed.
            remove_checkpoints(&checkpoints)?;
        }
        Ok(result)
    }

    /// Follows the protocol.
    fn follow(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<(RoundResult, Bundle), RecipeError> {
        let PlannedTraining { name, set, split, .. } = self.training;
        let protocol = self.training.protocol_from(&self.start);
        let selected = protocol.select_cases(set, split, place)?;
        let mut outcome = protocol.run(set, split, place, progress)?;
        outcome.bundle.description.known_cases.add(&self.known);
        let parts = &selected.split;
        outcome.bundle.description.card = Some(ModelCard {
            training: Some(TrainingSummary {
                data_set: set.name.clone(),
                training_cases: parts.train.len(),
                selection_cases: parts.valid.len(),
                test_cases: parts.test.len(),
                // None where no network learns.
                epochs: outcome.curves.first().map_or(0, |curve| curve.history.len()),
            }),
            ..self.training.card.clone()
        });
        let encoder = &outcome.bundle.description.encoder;
        let (train, test) = (set.view(&selected.split.train)?, set.view(&selected.split.test)?);
        let features = self.extras.features.then(|| {
            let learnt = LearntNetwork::of(&outcome.bundle, outcome.known.clone());
            let predictor = protocol.first_stage.predictor(&learnt, place);
            predictor.embeddings(&test, encoder, |done| progress.predicted(done, test.len()))
        });
        let subsets = self.extras.subsets.then(|| evaluate_subsets(&outcome.bundle, &test, progress));
        let config = &protocol.first_stage.training;
        // None where no network learns.
        let epochs = outcome.curves.first().map_or(0, |curve| curve.history.len());
        let cases = train.class_counts(0)?;
        let mut shown_by_task = config.sampling.shown_by_task(&train, config.seed, epochs)?;
        let oversampled = match config.sampling {
            Sampling::EachOnce => None,
            Sampling::ClassBalanced { .. } | Sampling::Weighted { .. } => {
                Some(vec![shown_text(set, 0, &cases, &shown_by_task[0])])
            }
            Sampling::LabelBalanced { .. } => {
                let of_task = |(task, shown): (usize, &Vec<usize>)| {
                    let cases = train.class_counts(task)?;
                    Ok(format!("{}: {}", set.tasks[task].label, shown_text(set, task, &cases, shown)))
                };
                Some(shown_by_task.iter().enumerate().map(of_task).collect::<Result<_, RecipeError>>()?)
            }
        };
        let oversampled = oversampled.map(|texts| {
            let stage = if name.is_empty() { String::new() } else { format!(" of stage {name}") };
            let texts = texts.join(". ");
            format!("Training cases{stage} and how often {epochs} epochs showed them: {texts}.")
        });
        let shown = shown_by_task.swap_remove(0);
        let result = RoundResult {
            cases,
            shown,
            features: features.transpose()?,
            subsets: subsets.transpose()?,
            leaky_inputs: encoder.uses_post_diagnosis().into_iter().map(str::to_owned).collect(),
            notes: selected.notes.iter().cloned().chain(outcome.notes).chain(oversampled).collect(),
            test: outcome.test,
            looks: outcome.looks,
            two_stage: outcome.bundle.two_stage.clone(),
            curves: outcome.curves,
            weights: outcome.weights,
            mix: outcome.mix,
            groups: outcome.bundle.description.groups.clone(),
            prediction_sets: outcome.bundle.description.prediction_sets.clone(),
            backbone: None,
            earlier: Vec::new(),
            model: HeldModel::default(),
        };
        Ok((result, outcome.bundle))
    }
}

fn remove_checkpoints(folder: &Path) -> Result<(), RecipeError> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).map_err(|source| RecipeError::Io { path: folder.into(), source }),
        false => Ok(()),
    }
}

/// How many cases each class of a task has, and how often they were shown: `NEV 10 cases, 2.0 times each; MEL …`.
fn shown_text(set: &CaseSet, task: usize, cases: &[usize], shown: &[usize]) -> String {
    let classes = set.tasks[task].classes.iter().zip(cases.iter().zip(shown));
    let texts = classes.map(|(class, (cases, shown))| {
        format!("{class} {cases} cases, {:.1} times each", *shown as f64 / (*cases).max(1) as f64)
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// Everything that a training's result depends on.
fn identity(
    training: &PlannedTraining,
    start: &Start,
    extras: Extras,
    record: &ImageRecord,
    place: Workplace<'_>,
) -> Result<RunIdentity, RecipeError> {
    let PlannedTraining { set, split, .. } = training;
    if let (Some(BackboneWeights::OfAll(file)), Some(expected)) = (&start.files, &start.digest)
        && file_digest(file)? != *expected
    {
        return Err(RecipeError::ForeignWeights { path: file.clone() });
    }
    let protocol = training.protocol_from(start);
    let split = protocol.select_cases(set, split, place)?.split;
    let (_, recipe) = protocol.fitted(set, &split)?;
    let mut facts = recipe.facts()?;
    facts.set("training", &recipe.training);
    facts.set("views", &recipe.augmentation);
    facts.set("incomplete", &recipe.incomplete);
    facts.set("metadata", &protocol.metadata);
    facts.set("answer", &protocol.answer);
    facts.set("second_stage", &protocol.second_stage);
    if let Some(method) = &protocol.calibrated {
        facts.set("calibrated", method);
    }
    facts.set("evaluation.features", &extras.features);
    // Where none is asked for, they are no facts.
    if extras.subsets {
        facts.set("evaluation.subsets", &extras.subsets);
    }
    if !protocol.groups.is_empty() {
        facts.set("groups", &protocol.groups);
    }
    if let Some(abstention) = &protocol.abstention {
        facts.set("abstention", abstention);
    }
    // Results of versions that knew neither stay what they are.
    if !protocol.quality.is_default() {
        facts.set("quality", &protocol.quality);
    }
    if protocol.out_of_distribution != Default::default() {
        facts.set("out_of_distribution", &protocol.out_of_distribution);
    }
    facts.set_digest("data.tasks", &set.tasks);
    // Their roles say which of the metadata are inputs.
    let fields: Vec<Field> = set.fields.iter().map(|field| Field { unit: None, ..field.clone() }).collect();
    facts.set_digest("data.fields", &fields);
    let parts = [set.view(&split.train)?, set.view(&split.valid)?, set.view(&split.test)?];
    for (name, part) in ["train", "valid", "test"].into_iter().zip(&parts) {
        facts.set_cases(name, part);
    }
    let views = recipe.network.init(place.device)?.modalities();
    if parts.iter().any(|part| part.has_several_images(kinds_of(views))) {
        facts.set("several_images", &recipe.several_images);
    }
    let images = ImageRecord::take(&parts, views, &recipe.training.preprocess, record)?;
    images.add_to(&mut facts);
    Ok(RunIdentity { facts, images, length: None })
}
