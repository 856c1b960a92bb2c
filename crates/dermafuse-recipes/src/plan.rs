//! An experiment with its data: every training that it consists of, checked before the first one begins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use dermafuse_data::{CaseSet, Modality, Split};
use dermafuse_eval::published::PublishedTable;
use dermafuse_infer::{KnownCases, ModelCard};
use dermafuse_networks::NetworkConfig;
use dermafuse_schema::Case;
use dermafuse_train::TrainingConfig;

use crate::experiment::{OF_METHOD, Parts, RANDOM};
use crate::final_fit::FINAL_FIT;
use crate::labelled_tasks::name_round;
use crate::outcome::Outcome;
use crate::printed_rows::{names_in_tables, only_backbone};
use crate::round::{RoundFolder, Start, TRACES, run_round};
use crate::{
    BackboneWeights, Experiment, MethodSettings, NetworkRecipe, PartsSettings, Progress, Protocol, Recipe, RecipeError,
    RoundResult, Row, StartWeights, WantedGroup, Workplace,
};

/// An experiment that is ready to run. Settings can still be changed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The experiment.
    pub experiment: Experiment,
    /// The rounds: one, or one for each repeat and fold.
    pub rounds: Vec<Round>,
    /// The training of a last model that learns from all cases and is tested by none, if one is asked for. Its card says what the rounds
    /// let expect of it.
    pub final_fit: Option<Round>,
    /// What is to be said of the data and their parts.
    pub notes: Vec<String>,
    /// Printed numbers that stand beside ours in the report, where the data set is theirs; see [`Plan::with_published`].
    pub published: Vec<PublishedTable>,
    /// The name that the answer has in these tables.
    pub published_row: Option<String>,
    /// Whether each round keeps its result instead of its checkpoints, as those of comparisons do.
    pub keeps_results: bool,
    /// Tables of folds that are kept beside the results, by file name.
    pub(crate) folds: Vec<(String, dermafuse_data::Folds)>,
}

/// One round: trainings one after the other, of which the last one counts.
#[derive(Clone, Debug)]
pub struct Round {
    /// What it and its folder are called: `fold-1`, `run-2`; empty for the only round. That of a final fit is `final fit`, and it lies in
    /// the folder of the run itself.
    pub name: String,
    /// Its trainings.
    pub stages: Vec<PlannedTraining>,
}

/// One training with its data.
#[derive(Clone, Debug)]
pub struct PlannedTraining {
    /// Its name; empty for the only one.
    pub name: String,
    /// How it is done; the weights of its backbones are those that `start` says.
    pub protocol: Protocol,
    /// The data set, merged if it is.
    pub set: Arc<CaseSet>,
    /// Its parts.
    pub split: Split,
    /// What its backbones start from.
    pub start: StartFrom,
    /// What the model's file says of it to people; how it was trained is added when it is done.
    pub card: ModelCard,
}

/// What backbones start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// Random weights.
    Random,
    /// Files of weights.
    Files(BackboneWeights),
    /// The backbone that the training of that position gave.
    Stage(usize),
}

impl Experiment {
    /// Loads the data and plans every training.
    ///
    /// # Errors
    /// Data that cannot be loaded, and as [`Experiment::plan_for`].
    pub fn plan(&self) -> Result<Plan, RecipeError> {
        self.plan_for(&self.load_sets()?)
    }

    /// Plans every training for data sets that are loaded, by the names of the experiment.
    ///
    /// # Errors
    /// A set that is not there; parts that cannot be made; weights that are needed and not given; a training part without one of
    /// the classes.
    pub fn plan_for(&self, sets: &[(String, Arc<CaseSet>)]) -> Result<Plan, RecipeError> {
        let names = self.stage_sets();
        let last = names.last().ok_or_else(|| RecipeError::NoSet { name: "data".into() })?;
        let counted = self.set_of(last, sets)?;
        let groups = self.groups.iter().map(|(name, group)| group.wanted_of(name, &counted.tasks));
        let groups: Vec<WantedGroup> = groups.collect::<Result<_, _>>()?;
        let mut notes: Vec<String> = counted.notes.clone();
        let (mut rounds, mut folds, mut final_fit) = (Vec::new(), Vec::new(), None);
        // The last training's model answers.
        let asked = |mut stages: Vec<PlannedTraining>| {
            if let Some(last) = stages.last_mut() {
                last.protocol.groups.clone_from(&groups);
                last.protocol.abstention = self.abstention;
            }
            stages
        };
        // The last training alone has several.
        let members = self.stages.last().map_or(&self.method, |stage| &stage.method).members as u64;
        let mut number = 0;
        for repeat in 0..self.repeats {
            let parts = self.parts_of(last, &counted, repeat)?;
            notes.extend(parts.notes.iter().filter(|_| repeat == 0).cloned());
            let in_repeat = parts.splits.len();
            for whole in &parts.splits {
                let position = if in_repeat == 1 { repeat } else { number };
                // Members of one round have the seeds that follow on its own.
                let seed = self.seed.wrapping_add(position.wrapping_mul(members));
                let name = match (self.repeats, in_repeat) {
                    (1, 1) => String::new(),
                    (_, 1) => format!("run-{}", number + 1),
                    _ => format!("fold-{}", number + 1),
                };
                let split = self.learnt_from(&counted, whole, self.seed.wrapping_add(position))?;
                if rounds.is_empty() && self.training_fraction < 1.0 {
                    let (kept, all) = (split.train.len(), whole.train.len());
                    notes.push(format!("{kept} of {all} training cases are learnt from (training_fraction)."));
                }
                let stages = asked(self.trainings(&names, &counted, &split, sets, seed)?);
                rounds.push(Round { name, stages });
                number += 1;
            }
            if let Parts { folds: Some(table), .. } = parts {
                if let (Some(settings), 0) = (&self.final_fit, repeat) {
                    let split = self.split.final_fit(&counted, &table, settings)?;
                    let stages = asked(self.trainings(&names, &counted, &split, sets, self.seed)?);
                    final_fit = Some(Round { name: FINAL_FIT.to_owned(), stages });
                }
                let name = if repeat == 0 { "folds.csv".to_owned() } else { format!("folds-{}.csv", repeat + 1) };
                folds.push((name, table));
            }
        }
        if self.method.weights == StartWeights::Random && !self.method.network.backbones().is_empty() {
            let all_random = self.stages.iter().all(|stage| stage.weights == RANDOM);
            if self.stages.is_empty() || all_random {
                notes.push("The backbones start from random weights, not from ImageNet's.".into());
            }
        }
        for stage in rounds.iter().take(1).flat_map(|round: &Round| &round.stages) {
            let preprocess = &stage.protocol.first_stage.training.preprocess;
            notes.extend(preprocess.lesion_note(&stage.set.whole(), Modality::BOTH));
        }
        let mut plan = Plan {
            experiment: self.clone(),
            rounds,
            final_fit,
            notes,
            published: Vec::new(),
            published_row: None,
            keeps_results: false,
            folds,
        };
        plan.notes.extend(plan.final_fit_sentence());
        Ok(plan)
    }

    /// The split with the training cases that are learnt from.
    fn learnt_from(&self, set: &CaseSet, split: &Split, seed: u64) -> Result<Split, RecipeError> {
        match self.training_fraction {
            1.0 => Ok(split.clone()),
            fraction => Ok(split.with_training_fraction(set, 0, fraction, seed)?),
        }
    }

    /// The trainings of a round, whose last one has the split.
    fn trainings(
        &self,
        names: &[String],
        counted: &Arc<CaseSet>,
        split: &Split,
        sets: &[(String, Arc<CaseSet>)],
        seed: u64,
    ) -> Result<Vec<PlannedTraining>, RecipeError> {
        if self.stages.is_empty() {
            let start = self.start_of(&self.method, OF_METHOD)?;
            let protocol = self.protocol(&self.method, &self.training, counted, seed, true);
            let (set, split) = (counted.clone(), split.clone());
            return Ok(vec![PlannedTraining {
                name: String::new(),
                protocol,
                set,
                split,
                start,
                card: self.planned_card(),
            }]);
        }
        let mut made: BTreeMap<&str, (Arc<CaseSet>, Split)> = BTreeMap::new();
        made.insert(names.last().expect("there is a stage"), (counted.clone(), split.clone()));
        let count = self.stages.len();
        let mut trainings = Vec::new();
        for (index, (stage, data)) in self.stages.iter().zip(names).enumerate() {
            // One split for all stages on a set: what a later one tests on, an earlier one has not seen.
            let (set, split) = match made.get(data.as_str()) {
                Some(made) => made.clone(),
                None => {
                    let set = self.set_of(data, sets)?;
                    let split = self.parts_of(data, &set, 0)?.splits.remove(0);
                    made.insert(data, (set.clone(), split.clone()));
                    (set, split)
                }
            };
            let is_last = index + 1 == count;
            let seed = seed.wrapping_add((count - 1 - index) as u64);
            let start = match self.stages[..index].iter().position(|earlier| earlier.name == stage.weights) {
                Some(earlier) => StartFrom::Stage(earlier),
                None => self.start_of(&stage.method, &stage.weights)?,
            };
            let protocol = self.protocol(&stage.method, &stage.training, &set, seed, is_last);
            let card = self.planned_card();
            trainings.push(PlannedTraining { name: stage.name.clone(), protocol, set, split, start, card });
        }
        Ok(trainings)
    }

    /// The card with the makers' words alone.
    fn planned_card(&self) -> ModelCard {
        ModelCard { texts: self.card.clone(), experiment: self.title.clone(), ..ModelCard::default() }
    }

    fn start_of(&self, method: &MethodSettings, weights: &str) -> Result<StartFrom, RecipeError> {
        match weights {
            RANDOM => Ok(StartFrom::Random),
            _ => Ok(method.weights.files(&method.network)?.map_or(StartFrom::Random, StartFrom::Files)),
        }
    }

    fn protocol(
        &self,
        method: &MethodSettings,
        training: &TrainingConfig,
        set: &CaseSet,
        seed: u64,
        is_last: bool,
    ) -> Protocol {
        let mut training = TrainingConfig { seed: training.seed.wrapping_add(seed), ..training.clone() };
        training.threads = self.machine.threads;
        // What never saw a lesion that was cut out takes images whole later on too.
        if !set.cases.iter().any(Case::has_lesion_area) {
            training.preprocess.box_margin = None;
        }
        // What earlier trainings hand on has no teacher, of whose cases later ones would not know.
        let teacher = method.teacher.clone().filter(|_| is_last);
        training.distillation = teacher.as_ref().map(|_| training.distillation.unwrap_or_default());
        if training.micro_batch_size.is_none() {
            training.micro_batch_size = part_for_each(self.machine.device.names().len(), &training, set);
        }
        // What earlier trainings hand on is one backbone.
        let network = if is_last { method.answering_network() } else { method.network.clone() };
        Protocol {
            first_stage: NetworkRecipe {
                network: network.with_classes(set.tasks.class_counts()),
                backbone_weights: None,
                teacher,
                training,
                selection: method.selection,
                augmentation: self.evaluation.views,
                incomplete: self.incomplete,
                several_images: self.several_images,
                outside: self.outside(set),
                heads: method.heads.clone(),
            },
            metadata: method.metadata,
            answer: if is_last { self.second_stage.answer() } else { crate::Answer::All },
            second_stage: if is_last { self.second_stage.settings(seed) } else { None },
            quality: self.quality.clone(),
            out_of_distribution: self.out_of_distribution,
            calibrated: self.second_stage.calibrated.filter(|_| is_last),
            points: if is_last { self.second_stage.points.clone() } else { BTreeMap::new() },
            point: self.second_stage.point.clone().filter(|_| is_last),
            groups: Vec::new(),
            abstention: None,
        }
    }

    /// The parts of a set in a repeat. Those of a merged set are its target's, and came with it; those of a joined set are its
    /// sets' parts together, unless it is dealt into folds or read from a file as a whole.
    fn parts_of(&self, name: &str, set: &CaseSet, repeat: u64) -> Result<Parts, RecipeError> {
        match &set.split {
            Some(split) if self.merged.contains_key(name) || self.joined.contains_key(name) => {
                Ok(Parts { splits: vec![split.clone()], folds: None, notes: Vec::new() })
            }
            _ => self.split.of(set, repeat),
        }
    }

    /// A declared, merged or joined set.
    fn set_of(&self, name: &str, sets: &[(String, Arc<CaseSet>)]) -> Result<Arc<CaseSet>, RecipeError> {
        let Some(joined) = self.joined.get(name) else { return self.declared_or_merged(name, sets) };
        let mut sources = Vec::new();
        for source in &joined.sets {
            let mut set = CaseSet::clone(&*self.declared_or_merged(source, sets)?);
            set.split = match &self.split {
                PartsSettings::Published { .. } | PartsSettings::Drawn { .. } => {
                    Some(self.parts_of(source, &set, 0)?.splits.remove(0))
                }
                // The parts are those of all cases together.
                PartsSettings::Folds { .. } | PartsSettings::File { .. } => None,
            };
            sources.push((source.as_str(), set));
        }
        let sources: Vec<(&str, &CaseSet)> = sources.iter().map(|(name, set)| (*name, set)).collect();
        Ok(Arc::new(CaseSet::joined(name, &sources, &joined.tasks)?))
    }

    fn declared_or_merged(&self, name: &str, sets: &[(String, Arc<CaseSet>)]) -> Result<Arc<CaseSet>, RecipeError> {
        let given = |wanted: &str| {
            let set = sets.iter().find(|(name, _)| name == wanted).map(|(_, set)| set.clone());
            set.ok_or_else(|| RecipeError::NoSet { name: wanted.to_owned() })
        };
        let Some(merged) = self.merged.get(name) else { return given(name) };
        let map = merged.map()?;
        let mut sources = Vec::new();
        for source in map.sets() {
            let mut set = CaseSet::clone(&*given(source)?);
            // Only the target's cases validate and test.
            set.split = match source == merged.target {
                true => Some(self.split.of(&set, 0)?.splits.remove(0)),
                false => None,
            };
            sources.push((source, set));
        }
        let sources: Vec<(&str, &CaseSet)> = sources.iter().map(|(name, set)| (*name, set)).collect();
        Ok(Arc::new(map.merge(&sources)?))
    }
}

impl Plan {
    /// The same with the numbers that were printed of the recipe, unless its network is another now; another backbone, or
    /// view of it, is none where tables have a row for each backbone. What else differs is noted. `row` is the row that is run; without one it is the method itself.
    #[must_use]
    pub fn with_published(mut self, recipe: &Recipe, row: Option<&Row>) -> Self {
        let row = row.or(recipe.own_row());
        let names = row.map_or_else(Vec::new, |row| names_in_tables(&row.name, &self.experiment.method.network));
        let is_printed = |name: &str| recipe.published().iter().any(|table| table.row(name).is_some());
        // A row that no table prints is the method itself with other settings.
        let of = row.filter(|_| names.iter().any(|name| is_printed(name))).or(recipe.own_row());
        let network = &self.experiment.method.network;
        let backbone = only_backbone(network).filter(|_| names.first().is_some_and(|name| is_printed(name)));
        let mut stands_on = Vec::new();
        if let Some(backbone) = backbone {
            stands_on.push(format!("method.network.backbone={backbone}"));
            // Which image it looks at is the data set's.
            stands_on.extend(network.view_of(0).map(|view| format!("method.network.view={}", view.name())));
        }
        let Some(printed) = recipe.printed_experiment(of, &stands_on) else { return self };
        if printed.method.answering_network() != self.experiment.method.answering_network() {
            return self;
        }
        self.published = recipe.published().to_vec();
        self.published_row = row.map(|row| row.name.clone());
        let own = recipe.printed_experiment(recipe.own_row(), &stands_on);
        let has_stages_of = |own: &Experiment| {
            let second = &printed.second_stage;
            own.method.network == printed.method.network && (second.classifier.is_none() || *second == own.second_stage)
        };
        if !own.is_some_and(|own| has_stages_of(&own)) {
            // Its stages have the names of the method's stages, and are others.
            self.published.iter_mut().for_each(|table| table.rows.retain(|row| names.contains(&row.name)));
        }
        let set = &self.rounds[0].stages.last().expect("a round has a training").set;
        let other = printed.differences(&self.experiment);
        if !set.synthetic && recipe.published_for(&set.name).next().is_some() && !other.is_empty() {
            self.notes.push(format!("The published numbers are of other settings: {}.", other.join(", ")));
        }
        self
    }

    /// Checks every training as far as it can be without doing it: its settings, its cases and images, its weights, and in
    /// the workplace's folder, if it has one, what is there of it. Nothing is written.
    ///
    /// # Errors
    /// The first thing that makes no training.
    pub fn check(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<(), RecipeError> {
        self.check_rounds_of(place.folder)?;
        self.all_rounds().try_for_each(|round| self.check_round(round, place, progress))
    }

    /// The rounds, and the final fit behind them.
    pub(crate) fn all_rounds(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().chain(&self.final_fit)
    }

    /// Refuses a folder with rounds that the experiment does not have: their results would lie beside those of this one, as if
    /// they were of it. An experiment with more repeats than before goes on.
    pub(crate) fn check_rounds_of(&self, folder: Option<&Path>) -> Result<(), RecipeError> {
        let Some(folder) = folder else { return Ok(()) };
        let names: Vec<&str> = self.rounds.iter().map(Round::folder).collect();
        let planned: Vec<&str> = self.all_rounds().map(Round::folder).collect();
        let found = found_rounds(folder)?;
        let Some(other) = found.iter().find(|name| !planned.contains(&name.as_str())) else { return Ok(()) };
        let count = |names: &[&str]| match names {
            [""] => "a single round".to_owned(),
            [first, .., last] => format!("{} rounds (`{first}` to `{last}`)", names.len()),
            names => format!("the round `{}`", names.concat()),
        };
        let found = match other.is_empty() && found.iter().any(|name| !name.is_empty()) {
            true => "a final fit".to_owned(),
            false => count(&[other.as_str()]),
        };
        Err(RecipeError::OtherRounds { path: folder.to_owned(), found, planned: count(&names) })
    }

    /// The same of one round.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn check_round(
        &self,
        round: &Round,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        let Some(folder) = self.folder_of(round, place) else {
            return round
                .stages
                .iter()
                .try_for_each(|stage| stage.check(place, progress).map_err(|error| stage.error(error)));
        };
        let mut done: Vec<Option<RoundResult>> = Vec::new();
        for (index, stage) in round.stages.iter().enumerate() {
            let here = RoundFolder::of(&folder, self, round, index);
            let start = match &stage.start {
                StartFrom::Stage(earlier) => {
                    done[*earlier].as_ref().map(|result| self.start_after(&folder, round, *earlier, result))
                }
                _ => Some(stage.start_without_stages()),
            };
            let result = match start {
                Some(start) => here.check(stage, &start, place, progress),
                // It starts from what is not there yet.
                None => stage.check(place, progress).map(|()| None),
            };
            done.push(result.map_err(|error| stage.error(error))?);
        }
        Ok(())
    }

    /// What a training starts from after one that is done.
    pub(crate) fn start_after(&self, folder: &Path, round: &Round, earlier: usize, result: &RoundResult) -> Start {
        let file = RoundFolder::of(folder, self, round, earlier).backbone();
        Start { files: Some(file.into()), digest: result.backbone.clone() }
    }

    /// Does everything, one round after the other. With a folder, what is done there is read, not repeated.
    ///
    /// # Errors
    /// What [`Plan::check`] refuses, before anything is trained; the error of the training that failed.
    pub fn run(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<Outcome, RecipeError> {
        self.check(place, progress)?;
        let rounds = self.rounds.iter().map(|round| self.run_round(round, place, progress));
        let rounds = rounds.collect::<Result<Vec<_>, _>>()?;
        let final_fit = self.run_final_fit(&rounds, place, progress)?;
        Outcome::new(self, rounds, final_fit)
    }

    /// Does one round, or reads its result.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run_round(
        &self,
        round: &Round,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<RoundResult, RecipeError> {
        match (round.is_tested(), round.name.is_empty()) {
            (true, true) => {}
            (true, false) => progress.step(&format!("{} of {}", round.name, self.rounds.len())),
            (false, _) => progress.step(&format!("{}: a model of all cases", round.name)),
        }
        let features = place.features.or(self.experiment.machine.features.as_deref());
        let place = Workplace { features, ..place };
        let folder = self.folder_of(round, place);
        let mut result = run_round(self, round, folder.as_deref(), place, progress)?;
        if !round.name.is_empty() && round.is_tested() {
            let earlier = result.earlier.iter_mut().map(|(_, earlier)| &mut earlier.notes);
            earlier.chain([&mut result.notes]).for_each(|notes| name_round(&round.name, notes));
        }
        Ok(result)
    }

    /// Whether the trainings' checkpoints stay: a single training can be extended.
    pub(crate) fn keeps_checkpoints(&self) -> bool {
        let is_single = matches!(&self.rounds[..], [round] if round.name.is_empty() && round.stages.len() == 1);
        is_single && !self.keeps_results
    }

    /// Whether a round's result has the features of its test cases: those of the first are drawn.
    pub(crate) fn keeps_features(&self, round: &Round) -> bool {
        self.experiment.evaluation.features && self.rounds.first().is_some_and(|first| first.name == round.name)
    }

    fn folder_of(&self, round: &Round, place: Workplace<'_>) -> Option<PathBuf> {
        let folder = place.folder?;
        Some(if round.folder().is_empty() { folder.to_owned() } else { folder.join(round.folder()) })
    }

    /// The name of a round's model below the folder of the run.
    #[must_use]
    pub fn model_of(&self, round: &Round) -> PathBuf {
        Path::new(round.folder()).join(dermafuse_infer::MODEL_FILE)
    }
}

impl Round {
    /// Whether cases test its model: none does that of a final fit.
    #[must_use]
    pub fn is_tested(&self) -> bool {
        self.stages.last().is_some_and(|counted| !counted.split.test.is_empty())
    }

    /// The name of its folder below that of the run; empty where it is that.
    fn folder(&self) -> &str {
        if self.is_tested() { &self.name } else { "" }
    }
}

/// The cases of a part where each of several devices has one of every batch; none of a single device, or of devices that do not divide
/// the batch.
fn part_for_each(devices: usize, training: &TrainingConfig, set: &CaseSet) -> Option<usize> {
    let batch = training.sampling.batch_size(&set.tasks).unwrap_or(training.batch_size);
    (devices > 1 && batch.is_multiple_of(devices)).then_some(batch / devices)
}

/// The names of the rounds whose results or checkpoints a folder has; an empty one is of an experiment with a single round.
fn found_rounds(folder: &Path) -> Result<Vec<String>, RecipeError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RecipeError::Io { path: folder.to_owned(), source }),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| RecipeError::Io { path: folder.to_owned(), source })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if ["run-", "fold-"].iter().any(|kind| name.strip_prefix(kind).is_some_and(is_number)) {
            found.push(name);
        } else if TRACES.contains(&name.as_str()) {
            found.push(String::new());
        }
    }
    found.sort();
    Ok(found)
}

impl PlannedTraining {
    /// The network with the length that the record has here.
    ///
    /// # Errors
    /// Metadata that cannot be encoded.
    pub fn network(&self) -> Result<NetworkConfig, RecipeError> {
        Ok(self.protocol.fitted(&self.set, &self.split)?.1.network)
    }
}

impl PlannedTraining {
    pub(crate) fn error(&self, error: RecipeError) -> RecipeError {
        match self.name.is_empty() {
            true => error,
            false => RecipeError::Stage { stage: self.name.clone(), source: Box::new(error) },
        }
    }

    /// The protocol with the weights that it starts from.
    pub(crate) fn protocol_from(&self, start: &Start) -> Protocol {
        let first_stage = NetworkRecipe { backbone_weights: start.files.clone(), ..self.protocol.first_stage.clone() };
        Protocol { first_stage, ..self.protocol.clone() }
    }

    pub(crate) fn start_without_stages(&self) -> Start {
        let files = match &self.start {
            StartFrom::Files(files) => Some(files.clone()),
            StartFrom::Random | StartFrom::Stage(_) => None,
        };
        Start { files, digest: None }
    }

    /// The cases of this training.
    #[must_use]
    pub fn known_cases(&self) -> KnownCases {
        KnownCases::of(&self.set, &self.split)
    }

    pub(crate) fn check(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<(), RecipeError> {
        let protocol = self.protocol_from(&self.start_without_stages());
        let split = protocol.select_cases(&self.set, &self.split, place)?.split;
        if !self.name.is_empty() {
            // What a later stage starts from has seen all classes of its own.
            self.set.view(&split.train)?.require_all_classes()?;
        }
        protocol.check(&self.set, &self.split, Workplace { folder: None, ..place }, progress)
    }
}
