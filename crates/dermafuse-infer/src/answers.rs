use dermafuse_data::{CaseSet, DataError, ImageCorruption};
use dermafuse_networks::Network;
use dermafuse_schema::{BranchLogits, FailedCase, Predictions, SeenCases};

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
        let stages = self.two_stage.apply(&logits)?;
        let looks = match logits.looks.is_empty() {
            true => Vec::new(),
            false => self.two_stage.apply(&logits.each_look())?,
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
