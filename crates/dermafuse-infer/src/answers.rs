use std::collections::HashMap;

use dermafuse_data::{CaseSet, DataError, ImageCorruption};
use dermafuse_networks::Network;
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{
    BranchLogits, Case, CaseId, ClassSums, FailedCase, Predictions, SchemaError, SeenCases, Shard, Task, TaskSet,
};

use crate::bundle::Bundle;
use crate::model_tasks::absent_classes;
use crate::{InferError, Questions, kinds_of};

/// What a model says of the cases that it was asked about.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The predictions of every stage by name, from the single branches to the last one (see
    /// [`TwoStage::apply`](dermafuse_ensemble::TwoStage::apply)).
    pub stages: Vec<(String, Predictions)>,
    /// The same for each look at the cases, as if it were a case; empty where no case was looked at several times.
    pub looks: Vec<(String, Predictions)>,
    /// The rows of the set that they are of, in order: those that were asked about less those that failed.
    pub rows: Vec<usize>,
    /// The cases that could not be answered, in order.
    pub failed: Vec<FailedCase>,
    /// How many of the answered cases made the model.
    pub seen: SeenCases,
    /// What was left out, assumed or unknown.
    pub notes: Vec<String>,
}

impl Answers {
    /// The predictions of the last stage: the model's answer.
    ///
    /// # Panics
    /// Never for answers that a model gave: there is a stage.
    #[must_use]
    pub fn last(&self) -> &Predictions {
        &self.stages.last().expect("a model has a stage").1
    }

    /// No answer, where no case can be asked about.
    fn none(tasks: &TaskSet, failed: Vec<FailedCase>) -> Self {
        let nothing = Predictions {
            tasks: tasks.clone(),
            ids: Vec::new(),
            labels: Vec::new(),
            probabilities: tasks.iter().map(|task| Array2::zeros((0, task.classes.len()))).collect(),
            basis: Vec::new(),
        };
        let seen = SeenCases { cases: 0, trained: 0, selected: 0, same_data_set: false, known: true };
        Self {
            stages: vec![(String::new(), nothing)],
            looks: Vec::new(),
            rows: Vec::new(),
            failed,
            seen,
            notes: Vec::new(),
        }
    }
}

impl Bundle {
    /// The predictions for the cases at `rows`; `progress` is told how many are done. Fields, tasks and classes are matched
    /// by name. A case that cannot be answered (a damaged image, no image that a branch could look at) is listed with the
    /// reason, and the others are answered.
    ///
    /// # Errors
    /// A data set with other tasks, or with classes or fields that the model does not know; no case that could be
    /// answered; logits that are not finite.
    pub fn predict(&self, set: &CaseSet, rows: &[usize], progress: impl FnMut(usize)) -> Result<Answers, InferError> {
        self.predict_beside(set, rows, &[], None, progress)
    }

    /// The predictions for the cases at `rows` with their images corrupted, as [`Bundle::predict`] gives them for the images as they
    /// are. Each image is corrupted in its own size before it is prepared; test-time augmentation turns the corrupted image.
    ///
    /// # Errors
    /// As [`Bundle::predict`].
    pub fn predict_corrupted(
        &self,
        set: &CaseSet,
        rows: &[usize],
        corruption: ImageCorruption,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        self.predict_beside(set, rows, &[], Some(corruption), progress)
    }

    /// The predictions for cases whose labels are of coarser classes than the model's: probabilities are added up. The set has the
    /// coarse task first.
    ///
    /// # Errors
    /// As [`Bundle::predict`]; a set with other classes than the sums.
    pub fn predict_sums(
        &self,
        set: &CaseSet,
        rows: &[usize],
        sums: &ClassSums,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        let task = set.tasks[0].clone();
        if task.classes != sums.coarse().classes {
            let name = |task: &Task| vec![format!("{} ({})", task.name, task.classes.join(", "))];
            return Err(InferError::Tasks { expected: name(sums.coarse()), found: name(&task) });
        }
        // The model is asked without labels, which are of other classes.
        let tasks = self.description.tasks.clone();
        let blank = |case: &Case| Case { labels: vec![None; tasks.len()], ..case.clone() };
        let asked = CaseSet { cases: set.cases.iter().map(blank).collect(), tasks: tasks.clone(), ..set.clone() };
        let mut answers = self.predict(&asked, rows, progress)?;
        let labels: HashMap<&CaseId, Option<usize>> =
            set.cases.iter().map(|case| (&case.id, case.labels.first().copied().flatten())).collect();
        for (_, predictions) in answers.stages.iter_mut().chain(&mut answers.looks) {
            *predictions = sums.of(predictions)?;
            for (id, of_case) in predictions.ids.iter().zip(&mut predictions.labels) {
                *of_case = vec![labels.get(id).copied().flatten()];
            }
        }
        let parts = sums.fine().classes.len();
        answers.notes.push(format!(
            "The {parts} classes of the model are added up to {}, as the class map says.",
            sums.coarse().classes.join(", ")
        ));
        Ok(answers)
    }

    /// The predictions for the cases that the model is asked about, as [`Bundle::predict`] gives them; those that cannot be
    /// asked about are among the failed ones.
    ///
    /// # Errors
    /// No case, no case that could be answered; logits that are not finite.
    pub fn answer(&self, questions: &Questions, progress: impl FnMut(usize)) -> Result<Answers, InferError> {
        let rows = questions.rows();
        match (rows.is_empty(), questions.refused()) {
            (true, []) => Err(InferError::NoCases),
            (true, [first, ..]) => {
                Err(InferError::NothingAsked { id: first.id.to_string(), reason: first.reason.clone() })
            }
            (false, refused) => self.predict_beside(questions.set(), &rows, refused, None, progress),
        }
    }

    /// The same for a share of the cases: those of [`Shard::range`], so that the shares one after the other are all cases in their
    /// order. A share of which no case can be answered says so of each.
    ///
    /// # Errors
    /// Logits that are not finite.
    pub fn answer_share(
        &self,
        questions: &Questions,
        shard: Shard,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        let range = shard.range(questions.len());
        let rows: Vec<usize> = questions.rows().into_iter().filter(|row| range.contains(row)).collect();
        let refused: Vec<FailedCase> =
            questions.refused().iter().filter(|case| range.contains(&case.row)).cloned().collect();
        if rows.is_empty() {
            return Ok(Answers::none(&self.description.tasks, refused));
        }
        match self.predict_beside(questions.set(), &rows, &refused, None, progress) {
            // No case can be answered. The error is that of the first, and each has its own.
            Err(InferError::Unreadable(_) | InferError::Schema(SchemaError::NoBranch { .. })) => {
                let mut failed = refused;
                for row in rows {
                    let reason = match self.predict_beside(questions.set(), &[row], &[], None, |_| {}) {
                        Err(InferError::Unreadable(error)) => error.to_string(),
                        Err(InferError::Schema(error @ SchemaError::NoBranch { .. })) => error.to_string(),
                        Err(error) => return Err(error),
                        Ok(_) => "it could be read at the second try only; ask about it once more".to_owned(),
                    };
                    failed.push(FailedCase { row, id: questions.set().cases[row].id.clone(), reason });
                }
                failed.sort_by_key(|case| case.row);
                Ok(Answers::none(&self.description.tasks, failed))
            }
            answers => answers,
        }
    }

    /// The predictions for the cases at `rows`, and other cases that were refused.
    fn predict_beside(
        &self,
        set: &CaseSet,
        rows: &[usize],
        refused: &[FailedCase],
        corruption: Option<ImageCorruption>,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        let (logits, rows, mut failed) = self.readable_logits(set, rows, corruption, progress)?;
        if !refused.is_empty() {
            failed.extend(refused.iter().cloned());
            failed.sort_by_key(|case| case.row);
        }
        let stages = self.stages_of(&logits)?;
        let looks = match logits.looks.is_empty() {
            true => Vec::new(),
            false => self.stages_of(&logits.each_look())?,
        };
        let description = &self.description;
        let mut notes = self.notes();
        notes.extend(description.encoder.notes(set, &rows)?);
        notes.extend(absent_classes(set, &description.tasks));
        let kinds = kinds_of(self.network.modalities());
        let looks_at = rows.iter().map(|&row| set.cases[row].looks(kinds.clone()));
        notes.extend(description.several_images.note("cases", looks_at));
        if !failed.is_empty() {
            let FailedCase { id, reason, .. } = &failed[0];
            let asked = rows.len() + failed.len();
            notes.push(format!("{} of {asked} cases could not be answered; the first, `{id}`: {reason}", failed.len()));
        }
        let seen = description.known_cases.among(set, &rows);
        Ok(Answers { stages, looks, rows, failed, seen, notes })
    }

    /// What comes after the network, for everything that answers: the predictions of every stage by name, the answer last.
    ///
    /// # Errors
    /// Logits that are not the network's.
    pub(crate) fn stages_of(&self, logits: &BranchLogits) -> Result<Vec<(String, Predictions)>, InferError> {
        Ok(self.two_stage.apply(logits)?)
    }

    fn readable_logits(
        &self,
        set: &CaseSet,
        rows: &[usize],
        corruption: Option<ImageCorruption>,
        progress: impl FnMut(usize),
    ) -> Result<(BranchLogits, Vec<usize>, Vec<FailedCase>), InferError> {
        let set = self.in_model_tasks(set)?;
        if let Some(&row) = rows.iter().find(|&&row| row >= set.len()) {
            return Err(DataError::Row { row, cases: set.len() }.into());
        }
        let mut predictor = self.predictor();
        predictor.corruption = corruption;
        let (logits, rows, failed) = predictor.readable_logits(&set, rows, &self.description.encoder, progress)?;
        Ok((logits, rows, failed))
    }
}
