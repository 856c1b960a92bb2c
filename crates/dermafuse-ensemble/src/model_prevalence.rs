use std::fmt;

use dermafuse_schema::TaskSet;
use serde::{Deserialize, Serialize};

use crate::Prevalence;
use crate::error::Result;

/// The class frequencies that a model's probabilities stand on, and those that its answers assume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrevalence {
    /// The class frequencies of the training cases.
    pub training: Prevalence,
    /// The frequencies that the probabilities were learnt with, where the loss or the sampling weighs classes, so that these are not
    /// those of the training cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learnt: Option<Prevalence>,
    /// The class frequencies of the cases that the probabilities were calibrated on, where the calibration moves classes apart from
    /// each other, so that the probabilities stand on these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<Prevalence>,
    /// The mean probabilities of the calibrated answers to the cases that they were calibrated on. Those of rare classes are seldom as
    /// small as the classes are rare, so it is these that a correction starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Prevalence>,
    /// The frequencies that the answers are corrected to; the probabilities stay as they are without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed: Option<AssumedPrevalence>,
}

/// A prevalence that answers are corrected to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssumedPrevalence {
    /// The shares.
    pub prevalence: Prevalence,
    /// Where they are from.
    pub origin: PrevalenceOrigin,
}

/// Where a prevalence is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PrevalenceOrigin {
    /// Somebody stated it.
    Stated,
    /// It was estimated from the answers to cases without labels.
    Estimated {
        /// The number of these cases.
        cases: usize,
    },
    /// It is that of labelled cases of a place.
    Local {
        /// The name of the data set.
        data_set: String,
        /// The number of these cases.
        cases: usize,
    },
}

impl ModelPrevalence {
    /// Of a model that was trained on cases of these frequencies, without a correction.
    #[must_use]
    pub fn of_training(training: Prevalence) -> Self {
        Self { training, learnt: None, calibrated: None, answered: None, assumed: None }
    }

    /// The frequencies that the probabilities stand on before they are calibrated.
    #[must_use]
    pub fn uncalibrated(&self) -> &Prevalence {
        self.learnt.as_ref().unwrap_or(&self.training)
    }

    /// The frequencies that the probabilities stand on before they are corrected.
    #[must_use]
    pub fn stands_on(&self) -> &Prevalence {
        self.calibrated.as_ref().unwrap_or_else(|| self.uncalibrated())
    }

    /// What a correction starts from: the mean of the answers, where it is known, else what they stand on.
    #[must_use]
    pub fn source(&self) -> &Prevalence {
        self.answered.as_ref().unwrap_or_else(|| self.stands_on())
    }

    /// The frequencies that the answers assume.
    #[must_use]
    pub fn of_answers(&self) -> &Prevalence {
        self.assumed.as_ref().map_or_else(|| self.stands_on(), |assumed| &assumed.prevalence)
    }

    /// Checks that all of it is of these tasks and classes.
    ///
    /// # Errors
    /// The first task or class that one of both lacks.
    pub fn check(&self, tasks: &TaskSet) -> Result<()> {
        let assumed = self.assumed.as_ref().map(|assumed| &assumed.prevalence);
        let own = [self.learnt.as_ref(), self.calibrated.as_ref(), self.answered.as_ref()];
        let all = own.into_iter().chain([Some(&self.training), assumed]);
        all.flatten().try_for_each(|prevalence| prevalence.check(tasks))
    }

    /// What the answers assume, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.sentence_with(&self.of_answers().to_string())
    }

    /// The same with the shares of one task, for answers to many.
    #[must_use]
    pub fn sentence_of(&self, task: &str) -> String {
        let shares = self.of_answers().tasks().iter().find(|own| own.task == task).map(ToString::to_string);
        self.sentence_with(&shares.unwrap_or_default())
    }

    fn sentence_with(&self, shares: &str) -> String {
        let from = match (&self.assumed, &self.calibrated, &self.learnt) {
            (Some(assumed), _, _) => assumed.origin.to_string(),
            (None, Some(_), _) => "as among the cases that calibrated the model".to_owned(),
            (None, None, Some(_)) => "as training weighed the classes".to_owned(),
            (None, None, None) => "as among the training cases".to_owned(),
        };
        format!("The probabilities assume classes that are as frequent as this, {from}: {shares}.")
    }
}

impl fmt::Display for PrevalenceOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stated => f.write_str("as was stated"),
            Self::Estimated { cases } => write!(f, "as was estimated from {cases} cases without labels"),
            Self::Local { data_set, cases } => write!(f, "as among {cases} local cases of {data_set}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Task;

    #[test]
    fn the_last_step_says_what_the_answers_assume() {
        let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        let counted = |counts: [f64; 2]| Prevalence::of_counts(&tasks, &[counts.to_vec()]).unwrap();
        let mut model = ModelPrevalence::of_training(counted([3.0, 1.0]));
        let sentence = |model: &ModelPrevalence| model.sentence();
        assert!(sentence(&model).ends_with("as among the training cases: diagnosis: NEV 75.0 %, MEL 25.0 %."));
        model.learnt = Some(counted([1.0, 1.0]));
        assert!(sentence(&model).ends_with("as training weighed the classes: diagnosis: NEV 50.0 %, MEL 50.0 %."));
        model.calibrated = Some(counted([4.0, 1.0]));
        assert!(sentence(&model).contains("as among the cases that calibrated the model: diagnosis: NEV 80.0 %"));
        assert_eq!((model.source(), model.uncalibrated()), (&counted([4.0, 1.0]), &counted([1.0, 1.0])));
        model.answered = Some(counted([7.0, 3.0]));
        assert_eq!((model.source(), model.of_answers()), (&counted([7.0, 3.0]), &counted([4.0, 1.0])));
        let origin = PrevalenceOrigin::Estimated { cases: 120 };
        model.assumed = Some(AssumedPrevalence { prevalence: counted([9.0, 1.0]), origin });
        assert!(sentence(&model).contains("as was estimated from 120 cases without labels: diagnosis: NEV 90.0 %"));
        assert_eq!(model.sentence_of("diagnosis"), model.sentence());
        let text = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<ModelPrevalence>(&text).unwrap(), model);
        model.check(&tasks).unwrap();
        let other = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "BCC"])]).unwrap();
        assert!(model.check(&other).is_err());
    }
}
