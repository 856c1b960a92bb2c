//! Several experiments on the same cases: trained, shared among processes, joined again, and compared.

mod merged_runs;
mod outcome;
mod side_by_side;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dermafuse_schema::{Shard, ShardRecord, write_whole_file};

pub use merged_runs::merge_runs;
pub use outcome::{ComparedRow, ComparisonOutcome, CurvesOfScore, NonInferiorPair};
pub use side_by_side::SideBySide;

use crate::{AnswerKind, Experiment, Plan, PlannedTraining, Progress, RecipeError, Round, RoundResult, Workplace};

/// Where the methods lie in the folder of a comparison.
const METHODS: &str = "methods";
/// A method's experiment in its folder.
const EXPERIMENT: &str = "experiment.toml";

/// Experiments to compare. All learn from and answer the same cases.
///
/// Methods that differ in the answer of their branches alone are trained once.
#[derive(Clone, Debug)]
pub struct MethodComparison {
    /// What reports call it.
    pub title: String,
    /// The methods.
    pub methods: Vec<ComparedMethod>,
}

/// One experiment of a comparison.
#[derive(Clone, Debug)]
pub struct ComparedMethod {
    /// The method, such as `AFF-AAB MN+ST`. The same name on other blocks is the same method.
    pub name: String,
    /// What the method stands on, such as a backbone; empty where there is one for all.
    pub block: String,
    /// Its trainings.
    pub plan: Plan,
}

impl ComparedMethod {
    /// The training of a round that counts.
    pub(crate) fn counted(&self, round: usize) -> &PlannedTraining {
        self.plan.rounds[round].stages.last().expect("a round has a training")
    }

    /// The id of a case as the set says it that it comes from: a merged set puts the name of that before it.
    pub(crate) fn own_id<'a>(&self, id: &'a str) -> &'a str {
        let data = match self.plan.experiment.stages.last() {
            Some(stage) => self.plan.experiment.merged.get(&stage.data),
            None => self.plan.experiment.merged.values().next(),
        };
        data.and_then(|merged| id.strip_prefix(merged.target.as_str())?.strip_prefix(':')).unwrap_or(id)
    }

    /// The classes of each task, in alphabetical order: merged sets may have another.
    fn classes(&self) -> Vec<Vec<&str>> {
        let tasks = &self.counted(0).set.tasks;
        let sorted = tasks.iter().map(|task| {
            let mut classes: Vec<&str> = task.classes.iter().map(String::as_str).collect();
            classes.sort_unstable();
            classes
        });
        sorted.collect()
    }

    /// The test cases of a round, in order.
    fn tested(&self, round: usize) -> Vec<String> {
        let PlannedTraining { set, split, .. } = self.counted(round);
        let ids = split.test.iter().map(|&row| set.cases[row].id.to_string());
        let mut ids: Vec<String> = ids.map(|id| self.own_id(&id).to_owned()).collect();
        ids.sort();
        ids
    }
}

impl MethodComparison {
    /// Plans methods, each with its name and block, and takes care that all have the same cases.
    ///
    /// # Errors
    /// Fewer than two methods; two of the same name and block; experiments on other data or with another number of rounds; and
    /// as [`Experiment::plan`].
    pub fn new(
        title: impl Into<String>,
        methods: Vec<(String, String, Experiment)>,
        place: Workplace<'_>,
    ) -> Result<Self, RecipeError> {
        let mut loaded = Vec::new();
        let mut compared: Vec<ComparedMethod> = Vec::new();
        for (name, block, experiment) in methods {
            if compared.iter().any(|other| other.name == name && other.block == block) {
                return Err(RecipeError::Comparison {
                    reason: format!("there are two methods `{name}` on the same block; change a title"),
                });
            }
            // Sets are loaded once.
            let sets = experiment.load_sets_beside(&mut loaded)?;
            let mut plan = experiment.plan_for(&sets)?;
            plan.keeps_results = true;
            let method = ComparedMethod { name, block, plan };
            let (here, named) = (folder_name(&method), method.name.clone());
            if here.chars().all(|letter| letter == '.') || compared.iter().any(|other| folder_name(other) == here) {
                let reason = format!(
                    "the method `{named}` would have the folder `{here}`, of another method or none; change its title"
                );
                return Err(RecipeError::Comparison { reason });
            }
            compared.push(method);
        }
        if compared.len() < 2 {
            return Err(RecipeError::Comparison { reason: "a comparison takes two methods or more".into() });
        }
        let mut comparison = Self { title: title.into(), methods: compared };
        comparison.share_cases(place)?;
        Ok(comparison)
    }

    /// Leaves out of all methods on a set the cases that one of them leaves out. Methods on other sets, such as one that is merged
    /// of several, must test the same cases.
    fn share_cases(&mut self, place: Workplace<'_>) -> Result<(), RecipeError> {
        let rounds = self.methods[0].plan.rounds.len();
        let error = |reason: String| Err(RecipeError::Comparison { reason });
        let first = self.methods[0].name.clone();
        for method in &self.methods[1..] {
            let (found, name) = (method.plan.rounds.len(), &method.name);
            if found != rounds {
                return error(format!(
                    "`{first}` and `{name}` have {rounds} and {found} rounds; give all methods the same split and repeats"
                ));
            }
            if method.plan.experiment.split != self.methods[0].plan.experiment.split {
                return error(format!(
                    "`{first}` and `{name}` have different parts; give all methods the same `split`"
                ));
            }
        }
        let fingerprints: Vec<_> = self.methods.iter().map(|method| method.counted(0).set.fingerprint()).collect();
        for round in 0..rounds {
            for (index, fingerprint) in fingerprints.iter().enumerate() {
                if fingerprints[..index].contains(fingerprint) {
                    continue;
                }
                let alike: Vec<usize> =
                    (index..fingerprints.len()).filter(|&at| fingerprints[at] == *fingerprint).collect();
                self.share_cases_of(&alike, round, place)?;
            }
            let classes = self.methods[0].classes();
            if let Some(method) = self.methods[1..].iter().find(|method| method.classes() != classes) {
                let name = &method.name;
                return error(format!(
                    "`{first}` and `{name}` tell other classes apart; compare methods of the same tasks"
                ));
            }
            let tested = self.methods[0].tested(round);
            if let Some(method) = self.methods[1..].iter().find(|method| method.tested(round) != tested) {
                let name = &method.name;
                return error(format!("`{first}` and `{name}` test different cases; compare methods of the same set"));
            }
        }
        Ok(())
    }

    /// Leaves out of a round of methods on the same set the cases that one of them leaves out. Each keeps its own training cases of those
    /// that are left: all, or a part of them.
    fn share_cases_of(&mut self, methods: &[usize], round: usize, place: Workplace<'_>) -> Result<(), RecipeError> {
        let own: Vec<Vec<usize>> =
            methods.iter().map(|&at| self.methods[at].counted(round).split.train.clone()).collect();
        // Parts of the training cases lie within each other.
        let whole = (0..own.len()).rev().max_by_key(|&at| own[at].len()).expect("there is a method");
        let mut split = self.methods[methods[whole]].counted(round).split.clone();
        for &at in methods {
            let method = &mut self.methods[at];
            let last = method.counted(round);
            let selected = last.protocol.select_cases(&last.set, &split, place)?;
            split = selected.split;
            let notes: Vec<String> = selected.notes.iter().map(|note| format!("{}: {note}", method.name)).collect();
            method.plan.notes.extend(notes);
        }
        for (&at, own) in methods.iter().zip(own) {
            let counted = self.methods[at].counted(round).set.clone();
            let mut split = split.clone();
            let own: HashSet<usize> = own.into_iter().collect();
            split.train.retain(|row| own.contains(row));
            split.check(&counted)?;
            let stages = &mut self.methods[at].plan.rounds[round].stages;
            // Earlier stages on the same set train on the same cases.
            for stage in stages.iter_mut().filter(|stage| Arc::ptr_eq(&stage.set, &counted)) {
                stage.split = split.clone();
            }
        }
        Ok(())
    }

    /// The methods that train; others take the results of one of them.
    fn trained(&self) -> Vec<&ComparedMethod> {
        self.methods.iter().enumerate().filter(|(index, _)| self.trained_as(*index) == *index).map(|(_, m)| m).collect()
    }

    /// The method whose training a method's answers come from: the first that differs from it in the branches' answer at most.
    fn trained_as(&self, index: usize) -> usize {
        let without_answer = |method: &ComparedMethod| {
            let mut experiment = method.plan.experiment.clone();
            if experiment.second_stage.classifier.is_none() && experiment.second_stage.answer != AnswerKind::Search {
                experiment.second_stage.answer = AnswerKind::All;
            }
            experiment.title = String::new();
            experiment
        };
        let wanted = without_answer(&self.methods[index]);
        let same = |method: &ComparedMethod| without_answer(method) == wanted;
        self.methods.iter().position(same).expect("a method is like itself")
    }

    /// The first method that a method is under another name: the same experiment on the same block.
    fn same_as(&self, index: usize) -> Option<&ComparedMethod> {
        let untitled = |method: &ComparedMethod| Experiment { title: String::new(), ..method.plan.experiment.clone() };
        let (method, wanted) = (&self.methods[index], untitled(&self.methods[index]));
        self.methods[..index].iter().find(|other| other.block == method.block && untitled(other) == wanted)
    }

    /// The trainings, in the order in which they are done: rounds within methods, and a final fit behind them.
    fn jobs(&self) -> Vec<(&ComparedMethod, &Round)> {
        let trained = self.trained();
        trained.into_iter().flat_map(|method| method.plan.all_rounds().map(move |round| (method, round))).collect()
    }

    /// How many trainings there are.
    #[must_use]
    pub fn trainings(&self) -> usize {
        self.jobs().len()
    }

    /// Checks every training, as the runs do first. Nothing is written.
    ///
    /// # Errors
    /// As [`Plan::check`], with the name of the method.
    pub fn check(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<(), RecipeError> {
        self.check_shard(Shard::WHOLE, place, progress)
    }

    /// The same of a share of all trainings.
    ///
    /// # Errors
    /// As [`MethodComparison::check`].
    pub fn check_shard(
        &self,
        shard: Shard,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        for method in &self.methods {
            method.plan.check_rounds_of(place.folder.map(|folder| folder_of(folder, method)).as_deref())?;
        }
        self.each(&self.share(shard), place, progress, |method, round, place, progress| {
            method.plan.check_round(round, place, progress)
        })
    }

    fn share(&self, shard: Shard) -> Vec<(&ComparedMethod, &Round)> {
        shard.of(&self.jobs()).into_iter().copied().collect()
    }

    /// The names of all trainings, one a line.
    fn work(&self) -> String {
        self.jobs().iter().map(|(method, round)| training_name(method, round)).collect::<Vec<_>>().join("\n")
    }

    /// Does all trainings, one after the other, in sub-folders named after the methods; what is done there is read.
    ///
    /// # Errors
    /// What [`MethodComparison::check`] refuses, before anything is trained; the error of the training that failed.
    pub fn run(&self, place: Workplace<'_>, progress: &mut dyn Progress) -> Result<ComparisonOutcome, RecipeError> {
        self.run_share(Shard::WHOLE, true, place, progress)?;
        let place = Workplace { resume: true, ..place };
        let results = self.results(place, progress)?;
        for (index, method) in self.methods.iter().enumerate().filter(|(index, _)| self.trained_as(*index) == *index) {
            let folder = place.folder.map(|folder| folder_of(folder, method));
            // It is done, and its card now says what the rounds let expect of it.
            method.plan.run_final_fit(&results[index], Workplace { folder: folder.as_deref(), ..place }, progress)?;
        }
        ComparisonOutcome::new(self, results)
    }

    /// Does a share of all trainings: every `count`-th, so that processes can work side by side, in one folder or each in its own
    /// ([`merge_runs`] joins these). Then the folder says that the share is done.
    ///
    /// # Errors
    /// As [`MethodComparison::run`]; no folder.
    pub fn run_shard(
        &self,
        shard: Shard,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        self.run_recorded_share(shard, true, place, progress)
    }

    /// The same, with or without the models, which are large.
    pub(crate) fn run_recorded_share(
        &self,
        shard: Shard,
        keeps_models: bool,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        let folder = place.folder.ok_or(RecipeError::NoFolder)?;
        ShardRecord::remove(shard, folder)?;
        self.run_share(shard, keeps_models, place, progress)?;
        Ok(ShardRecord::new(shard, self.work()).write(folder)?)
    }

    pub(crate) fn run_share(
        &self,
        shard: Shard,
        keeps_models: bool,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        let folder = place.folder.ok_or(RecipeError::NoFolder)?;
        self.check_shard(shard, place, progress)?;
        let jobs = self.share(shard);
        for method in self.trained() {
            let (text, folder) = (method.plan.experiment.to_toml(), folder_of(folder, method));
            fs::create_dir_all(&folder).map_err(|source| RecipeError::Io { path: folder.clone(), source })?;
            write_whole_file(&folder.join(EXPERIMENT), text.as_bytes())?;
        }
        let mut number = 0;
        self.each(&jobs, place, progress, |method, round, place, progress| {
            number += 1;
            let name = training_name(method, round);
            progress.step(&format!("training {number} of {}: {name}", jobs.len()));
            method.plan.run_round(round, place, progress)?;
            let model = place.folder.map(|folder| folder.join(method.plan.model_of(round)));
            match model.filter(|model| !keeps_models && model.is_file()) {
                Some(path) => fs::remove_file(&path).map_err(|source| RecipeError::Io { path, source }),
                None => Ok(()),
            }
        })
    }

    /// The results of all methods, which are done.
    pub(crate) fn results(
        &self,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Vec<RoundResult>>, RecipeError> {
        let mut trained: Vec<Vec<RoundResult>> = Vec::new();
        for (index, method) in self.methods.iter().enumerate() {
            let source = self.trained_as(index);
            let results = match source == index {
                true => {
                    let folder = place.folder.map(|folder| folder_of(folder, method));
                    let place = Workplace { folder: folder.as_deref(), ..place };
                    let rounds = method.plan.rounds.iter();
                    rounds.map(|round| method.plan.run_round(round, place, progress)).collect::<Result<Vec<_>, _>>()?
                }
                false => {
                    let answer_of = |method: &ComparedMethod| method.plan.experiment.second_stage.answer;
                    let answer = answer_of(method);
                    match answer == answer_of(&self.methods[source]) {
                        // The same experiment under another name: with its second stage, if it has one.
                        true => trained[source].clone(),
                        false => {
                            trained[source].iter().map(|result| result.answered(answer)).collect::<Result<_, _>>()?
                        }
                    }
                }
            };
            trained.push(results);
        }
        Ok(trained)
    }

    fn each(
        &self,
        jobs: &[(&ComparedMethod, &Round)],
        place: Workplace<'_>,
        progress: &mut dyn Progress,
        mut follow: impl FnMut(&ComparedMethod, &Round, Workplace<'_>, &mut dyn Progress) -> Result<(), RecipeError>,
    ) -> Result<(), RecipeError> {
        for (method, round) in jobs {
            let folder = place.folder.map(|folder| folder_of(folder, method));
            let place = Workplace { folder: folder.as_deref(), ..place };
            follow(method, round, place, progress)
                .map_err(|source| RecipeError::Method { method: method.name.clone(), source: Box::new(source) })?;
        }
        Ok(())
    }
}

/// The method, what it stands on, and the round.
fn training_name(method: &ComparedMethod, round: &Round) -> String {
    let words = [method.name.as_str(), &method.block, &round.name].into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(", ")
}

fn folder_of(folder: &Path, method: &ComparedMethod) -> PathBuf {
    folder.join(METHODS).join(folder_name(method))
}

/// `aff-aab-mn+st`, with what the method stands on.
fn folder_name(method: &ComparedMethod) -> String {
    let words = if method.block.is_empty() { method.name.clone() } else { format!("{} {}", method.name, method.block) };
    let plain = |letter: char| if letter.is_alphanumeric() || "+-_.()=".contains(letter) { letter } else { '-' };
    words.to_lowercase().chars().map(plain).collect()
}
