use std::collections::HashMap;

use dermafuse_data::{CaseSet, CaseView, ImageCorruption, QualityFinding, source_beside_others};
use dermafuse_ensemble::{ProbabilityFacts, TwoStage};
use dermafuse_networks::Network;
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{
    BranchLogits, Case, CaseId, ClassSums, EngineFacts, FailedCase, Field, FieldRole, FieldValue, Predictions,
    SchemaError, SeenCases, SeveralImages, Task, TaskSet,
};

use crate::bundle::Bundle;
use crate::model_tasks::absent_classes;
use crate::predictor::Collected;
use crate::{InferError, Note, Questions, TrainingDistance, kinds_of};

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
    /// What is wrong with the pictures of each answered case; nothing of corrupted ones, which are not looked at.
    pub findings: Vec<Vec<QualityFinding>>,
    /// How far each answered case is from those that trained the model. `None` where the model does not know, and of a case that lacks
    /// an image.
    pub distances: Vec<Option<TrainingDistance>>,
    /// What was left out, assumed or unknown.
    pub notes: Vec<String>,
    /// How the probabilities of the last stage are calibrated, and how frequent they take the classes to be.
    pub probabilities: ProbabilityFacts,
    /// What ran the network.
    pub engine: EngineFacts,
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

    /// The same with notes that say of how many cases the pictures have findings, and how many are unlike the training cases.
    fn with_remarks(mut self) -> Self {
        let (cases, ids) = (self.rows.len(), &self.last().ids);
        let mut notes = Vec::new();
        let found: Vec<_> = self.findings.iter().zip(ids).filter(|(findings, _)| !findings.is_empty()).collect();
        if let Some((findings, id)) = found.first() {
            let count = found.len();
            notes.push(format!(
                "something is wrong with the pictures of {count} of {cases} cases; the first, `{id}`: {}",
                findings[0]
            ));
        }
        let unlike = |distance: &TrainingDistance| distance.is_unlike;
        let distances = self.distances.iter().zip(ids);
        let far: Vec<_> = distances.filter_map(|(distance, id)| Some((distance.filter(unlike)?, id))).collect();
        if let Some((distance, id)) = far.first() {
            let count = far.len();
            notes
                .push(format!("{count} of {cases} cases are unlike the training cases; the first, `{id}`: {distance}"));
        }
        self.notes.extend(notes);
        self
    }

    /// No answer, where no case can be asked about.
    fn none(tasks: &TaskSet, failed: Vec<FailedCase>, engine: EngineFacts) -> Self {
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
            findings: Vec::new(),
            distances: Vec::new(),
            notes: Vec::new(),
            probabilities: ProbabilityFacts::default(),
            engine,
        }
    }
}

impl Bundle {
    /// The predictions for the cases; `progress` is told how many are done. Fields, tasks and classes are matched
    /// by name. A case that cannot be answered (a damaged image, no image that a branch could look at) is listed with the
    /// reason, and the others are answered.
    ///
    /// # Errors
    /// A data set with other tasks, or with classes or fields that the model does not know; no case that could be
    /// answered; logits that are not finite.
    pub fn predict(&self, cases: &CaseView<'_>, progress: impl FnMut(usize)) -> Result<Answers, InferError> {
        self.predict_beside(cases, &[], None, progress)
    }

    /// The same with [`Answers::looks`] at all images of the cases also where the first image of each kind answers. Every image is
    /// asked about once, unless one of a case cannot be read.
    ///
    /// # Errors
    /// As [`Bundle::predict`].
    pub fn predict_all_looks(
        &self,
        cases: &CaseView<'_>,
        mut progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        let kinds = kinds_of(self.network.modalities());
        if self.description.several_images != SeveralImages::First || !cases.has_several_images(kinds) {
            return self.predict(cases, progress);
        }
        let mut each = self.clone();
        each.description.several_images = SeveralImages::MeanOfProbabilities;
        let whole = match each.collected(cases, None, &mut progress) {
            Ok(whole) if whole.failed.is_empty() => {
                let looks = self.stages_of(&whole.logits.each_look())?;
                let first = Collected { logits: whole.logits.first_looks(), ..whole };
                return Ok(Answers { looks, ..self.answers_of(cases.set(), first)? });
            }
            whole => whole,
        };
        // A case whose first image can be read is answered, whatever its other images are.
        let mut answers = self.predict(cases, progress)?;
        let (asked, (unread, reason)) = (
            answers.rows.len(),
            match whole {
                Ok(Collected { logits, failed, .. }) => {
                    answers.looks = self.stages_of(&logits.each_look())?;
                    let unread: Vec<FailedCase> =
                        failed.into_iter().filter(|case| answers.rows.contains(&case.row)).collect();
                    (unread.len(), unread.first().map(|first| format!("`{}`: {}", first.id, first.reason)))
                }
                Err(error) => (answers.rows.len(), Some(error.to_string())),
            },
        );
        answers.notes.extend(reason.map(|reason| {
            format!(
                "{unread} of {asked} cases are not among the numbers of each image, since one of their images cannot be read; the \
                 first, {reason}"
            )
        }));
        Ok(answers)
    }

    /// The predictions for the cases with their images corrupted, as [`Bundle::predict`] gives them for the images as they
    /// are. Each image is corrupted in its own size before it is prepared; test-time augmentation turns the corrupted image.
    ///
    /// # Errors
    /// As [`Bundle::predict`].
    pub fn predict_corrupted(
        &self,
        cases: &CaseView<'_>,
        corruption: ImageCorruption,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        self.predict_beside(cases, &[], Some(corruption), progress)
    }

    /// The predictions for cases whose labels are of coarser classes than the model's: probabilities are added up. The set has the
    /// coarse task first.
    ///
    /// # Errors
    /// As [`Bundle::predict`]; a set with other classes than the sums.
    pub fn predict_sums(
        &self,
        cases: &CaseView<'_>,
        sums: &ClassSums,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        self.summed(cases, sums, |asked| self.predict(asked, progress))
    }

    /// The same as [`Bundle::predict_all_looks`].
    ///
    /// # Errors
    /// As [`Bundle::predict_sums`].
    pub fn predict_sums_all_looks(
        &self,
        cases: &CaseView<'_>,
        sums: &ClassSums,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        self.summed(cases, sums, |asked| self.predict_all_looks(asked, progress))
    }

    /// What `predict` gives for the cases without their labels, added up, with the labels.
    fn summed(
        &self,
        cases: &CaseView<'_>,
        sums: &ClassSums,
        predict: impl FnOnce(&CaseView<'_>) -> Result<Answers, InferError>,
    ) -> Result<Answers, InferError> {
        let set = cases.set();
        let task = set.tasks[0].clone();
        if task.classes != sums.coarse().classes {
            let name = |task: &Task| vec![format!("{} ({})", task.name, task.classes.join(", "))];
            return Err(InferError::Tasks { expected: name(sums.coarse()), found: name(&task) });
        }
        // The model is asked without labels, which are of other classes.
        let tasks = self.description.tasks.clone();
        let blank = |case: &Case| Case { labels: vec![None; tasks.len()], ..case.clone() };
        let asked = CaseSet { cases: set.cases.iter().map(blank).collect(), tasks: tasks.clone(), ..set.clone() };
        let mut answers = predict(&asked.view(cases.rows())?)?;
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
        let asked = questions.asked();
        match (asked.is_empty(), questions.refused()) {
            (true, []) => Err(InferError::NoCases),
            (true, [first, ..]) => {
                Err(InferError::NothingAsked { id: first.id.to_string(), reason: first.reason.clone() })
            }
            (false, refused) => Ok(self.predict_beside(&asked, refused, None, progress)?.with_remarks()),
        }
    }

    /// The same for some of the cases, by their rows, which ascend. Where no case of them can be answered, it says so of each.
    ///
    /// # Errors
    /// Logits that are not finite.
    pub fn answer_rows(
        &self,
        questions: &Questions,
        asked: &[usize],
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        let is_asked = |row: usize| asked.binary_search(&row).is_ok();
        let rows: Vec<usize> = questions.asked().rows().iter().copied().filter(|&row| is_asked(row)).collect();
        let refused: Vec<FailedCase> = questions.refused().iter().filter(|case| is_asked(case.row)).cloned().collect();
        if rows.is_empty() {
            return Ok(Answers::none(&self.description.tasks, refused, self.engine_facts()));
        }
        match self.predict_beside(&questions.set().view(&rows)?, &refused, None, progress) {
            // No case can be answered. The error is that of the first, and each has its own.
            Err(InferError::Unreadable(_) | InferError::Schema(SchemaError::NoBranch { .. })) => {
                let mut failed = refused;
                for row in rows {
                    let reason = match self.predict_beside(&questions.set().view(vec![row])?, &[], None, |_| {}) {
                        Err(InferError::Unreadable(error)) => error.to_string(),
                        Err(InferError::Schema(error @ SchemaError::NoBranch { .. })) => error.to_string(),
                        Err(error) => return Err(error),
                        Ok(_) => "it could be read at the second try only; ask about it once more".to_owned(),
                    };
                    failed.push(FailedCase { row, id: questions.set().cases[row].id.clone(), reason });
                }
                failed.sort_by_key(|case| case.row);
                Ok(Answers::none(&self.description.tasks, failed, self.engine_facts()))
            }
            answers => Ok(answers?.with_remarks()),
        }
    }

    /// The predictions for the cases, and other cases that were refused.
    fn predict_beside(
        &self,
        cases: &CaseView<'_>,
        refused: &[FailedCase],
        corruption: Option<ImageCorruption>,
        progress: impl FnMut(usize),
    ) -> Result<Answers, InferError> {
        let mut collected = self.collected(cases, corruption, progress)?;
        if !refused.is_empty() {
            collected.failed.extend(refused.iter().cloned());
            collected.failed.sort_by_key(|case| case.row);
        }
        self.answers_of(cases.set(), collected)
    }

    /// The answers that logits of cases of the set give.
    fn answers_of(&self, set: &CaseSet, collected: Collected) -> Result<Answers, InferError> {
        let Collected { logits, rows, failed, measures, distances, .. } = collected;
        let answered = set.view(&rows)?;
        let stages = self.stages_of(&logits)?;
        let looks = match logits.looks.is_empty() {
            true => Vec::new(),
            false => self.stages_of(&logits.each_look())?,
        };
        let description = &self.description;
        let mut notes = self.notes();
        notes.extend(self.engine_note().map(|engine| Note::RunBy { engine }.to_string()));
        notes.extend(self.calibration_notes(&stages)?);
        // With what was filled from the patients' other lesions.
        let filled = self.in_model_tasks(set)?;
        notes.extend(description.encoder.notes(&filled.view(&rows)?)?);
        notes.extend(other_lesions_note(description.encoder.fields(), &filled.view(&rows)?));
        notes.extend(absent_classes(set, &description.tasks));
        let kinds = kinds_of(self.network.modalities());
        let looks_at = answered.cases().map(|case| case.looks(kinds.clone()));
        notes.extend(description.several_images.note("cases", looks_at));
        notes.extend(description.preprocess.lesion_note(&answered, kinds));
        if !failed.is_empty() {
            let FailedCase { id, reason, .. } = &failed[0];
            let asked = rows.len() + failed.len();
            notes.push(format!("{} of {asked} cases could not be answered; the first, `{id}`: {reason}", failed.len()));
        }
        let seen = description.known_cases.among(&answered);
        let findings = measures.iter().map(|of_case| self.findings(of_case)).collect();
        let distances = distances.into_iter().map(|score| self.training_distance(score?)).collect();
        let probabilities = self.two_stage.facts();
        let engine = self.engine_facts();
        Ok(Answers { stages, looks, rows, failed, seen, findings, distances, notes, probabilities, engine })
    }

    /// What comes after the network, for everything that answers: the predictions of every stage by name, the answer last.
    ///
    /// # Errors
    /// Logits that are not the network's.
    pub(crate) fn stages_of(&self, logits: &BranchLogits) -> Result<Vec<(String, Predictions)>, InferError> {
        Ok(self.two_stage.apply(logits)?)
    }

    /// What must be said of the calibration of the answer in these stages.
    pub(crate) fn calibration_notes(&self, stages: &[(String, Predictions)]) -> Result<Vec<String>, InferError> {
        let uncalibrated = stages.iter().rev().find(|(name, _)| TwoStage::first_name(name) == name);
        Ok(match uncalibrated {
            Some((_, answers)) => self.two_stage.calibration_notes(answers)?,
            None => Vec::new(),
        })
    }

    /// The network's logits of those of the cases that can be answered, their rows, and the others with the reason. Cases, fields and
    /// classes are matched by name with the model's.
    ///
    /// # Errors
    /// As [`Bundle::predict`].
    pub fn readable_logits(
        &self,
        cases: &CaseView<'_>,
        corruption: Option<ImageCorruption>,
        progress: impl FnMut(usize),
    ) -> Result<(BranchLogits, Vec<usize>, Vec<FailedCase>), InferError> {
        let Collected { logits, rows, failed, .. } = self.collected(cases, corruption, progress)?;
        Ok((logits, rows, failed))
    }

    fn collected(
        &self,
        cases: &CaseView<'_>,
        corruption: Option<ImageCorruption>,
        progress: impl FnMut(usize),
    ) -> Result<Collected, InferError> {
        let set = self.in_model_tasks(cases.set())?;
        let mut predictor = self.predictor();
        (predictor.measure, predictor.corruption) = (corruption.is_none(), corruption);
        predictor.collect_readable(&set.view(cases.rows())?, &self.description.encoder, progress)
    }
}

/// What must be said where the model looks at the patients' other lesions: which fields, and of how many cases there are some.
fn other_lesions_note<'a>(fields: impl Iterator<Item = &'a Field>, cases: &CaseView<'_>) -> Option<String> {
    let asked: Vec<&Field> = fields.filter(|field| field.role == FieldRole::OtherLesions).collect();
    let mut sources: Vec<&str> = asked.iter().filter_map(|field| source_beside_others(field)).collect();
    sources.dedup();
    let places: Vec<usize> =
        asked.iter().filter_map(|field| cases.set().fields.iter().position(|known| known.name == field.name)).collect();
    let is_beside = |case: &&Case| places.iter().any(|&place| case.metadata[place] != FieldValue::Missing);
    let beside = cases.cases().filter(is_beside).count();
    (!asked.is_empty()).then(|| {
        format!(
            "Answers depend on the patient's other lesions among these cases ({}): {beside} of {} cases have some, the others are answered \
             as a patient's only lesion.",
            sources.join(", "),
            cases.len()
        )
    })
}
