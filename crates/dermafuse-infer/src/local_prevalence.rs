//! Answers for a place where classes are as frequent as they are there.

use dermafuse_ensemble::{
    AnswerCalibration, AssumedPrevalence, CalibrationOrigin, ModelPrevalence, PrevalenceEstimate, PrevalenceOrigin,
    TwoStage,
};

use crate::{Answers, Bundle, InferError};

impl Bundle {
    /// What the model knows of prevalence.
    ///
    /// # Errors
    /// A model of an earlier version, which knows nothing of it.
    pub fn prevalence(&self) -> Result<&ModelPrevalence, InferError> {
        self.two_stage.prevalence.as_ref().ok_or(InferError::NoPrevalence)
    }

    /// Assumes from now on that classes are as frequent as is stated, as (task, class, share). The other classes of a task share what is
    /// left in the proportions on which the model's probabilities stand.
    ///
    /// # Errors
    /// A model of an earlier version; tasks, classes or shares as
    /// [`Prevalence::stated`](dermafuse_ensemble::Prevalence::stated) refuses them.
    pub fn assume_prevalence(&mut self, shares: &[(String, String, f64)]) -> Result<(), InferError> {
        let prevalence = self.prevalence()?.source().stated(shares)?;
        self.assume(AssumedPrevalence { prevalence, origin: PrevalenceOrigin::Stated })
    }

    /// Assumes a prevalence from now on.
    ///
    /// # Errors
    /// A model of an earlier version; a prevalence of other tasks or classes.
    pub fn assume(&mut self, assumed: AssumedPrevalence) -> Result<(), InferError> {
        assumed.prevalence.check(&self.description.tasks)?;
        let own = self.two_stage.prevalence.as_mut().ok_or(InferError::NoPrevalence)?;
        own.assumed = Some(assumed);
        Ok(())
    }

    /// The prevalence of a place, estimated from the answers to its cases, which need no labels (see
    /// [`Prevalence::estimate`](dermafuse_ensemble::Prevalence::estimate)), and the answers corrected to it. A prevalence that
    /// the model assumed is left aside.
    ///
    /// # Errors
    /// A model of an earlier version, or whose answers were not calibrated on validation cases; fewer than 50 answers; answers to
    /// other tasks than the model's own.
    pub fn at_estimated_prevalence(&self, answers: Answers) -> Result<(Answers, PrevalenceEstimate), InferError> {
        let mut own = ModelPrevalence { assumed: None, ..self.prevalence()?.clone() };
        if own.answered.is_none() {
            return Err(InferError::NotCalibrated);
        }
        let mut answers = answers;
        TwoStage::correct(&mut answers.stages, &own)?;
        let estimate = own.source().estimate(answers.last())?;
        let origin = PrevalenceOrigin::Estimated { cases: estimate.cases };
        own.assumed = Some(AssumedPrevalence { prevalence: estimate.prevalence.clone(), origin: origin.clone() });
        TwoStage::correct(&mut answers.stages, &own)?;
        if !answers.looks.is_empty() {
            TwoStage::correct(&mut answers.looks, &own)?;
        }
        // What the model assumed of itself is no longer so.
        let earlier =
            self.two_stage.prevalence.as_ref().filter(|own| own.assumed.is_some()).map(ModelPrevalence::sentence);
        answers.notes.retain(|note| Some(note) != earlier.as_ref());
        answers.notes.push(own.sentence());
        let said = self.note_of_thresholds(Some(&own)).filter(|note| !answers.notes.contains(note));
        answers.notes.extend(said);
        answers.probabilities.prevalence = Some(estimate.prevalence.clone());
        answers.probabilities.corrected = Some(origin);
        Ok((answers, estimate))
    }

    /// What must be said where answers are corrected after thresholds were fitted to them; an adapted model fits its own.
    pub(crate) fn note_of_thresholds(&self, prevalence: Option<&ModelPrevalence>) -> Option<String> {
        let is_local = |calibration: &AnswerCalibration| matches!(calibration.origin, CalibrationOrigin::Local { .. });
        let is_adapted = self.two_stage.calibration.as_ref().is_some_and(is_local);
        let assumed = prevalence.and_then(|prevalence| prevalence.assumed.as_ref());
        let has_thresholds = !self.description.groups.is_empty() || self.description.prediction_sets.is_some();
        (has_thresholds && assumed.is_some() && !is_adapted).then(|| {
            "Operating points and sets of classes were fitted before the answers were corrected to another prevalence; their \
             shares need not hold there. `dermafuse adapt` fits them anew."
                .to_owned()
        })
    }
}
