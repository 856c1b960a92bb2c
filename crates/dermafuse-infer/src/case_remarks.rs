//! What is said of a case beside its answer: the quality of its pictures, and how far it is from the training cases.

use std::fmt;

use dermafuse_data::{ImageMeasures, QualityFinding};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::predictor::CaseMeasures;

/// How far a case is from those that trained a model; see [`OutOfDistribution`](dermafuse_ensemble::OutOfDistribution).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingDistance {
    /// The squared distance over the number of features: about 1 for cases like those of the training.
    pub score: f64,
    /// The per cent of the reference cases that are at most as far away, 0 to 100.
    pub percentile: f64,
    /// Whether it is farther away than the per cent of the reference cases that the model was given.
    pub is_unlike: bool,
}

impl fmt::Display for TrainingDistance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { score, percentile, .. } = self;
        match *percentile < 100.0 {
            true => {
                write!(formatter, "distance {score:.1}, farther away than {percentile:.0} % of the reference cases")
            }
            false => write!(formatter, "distance {score:.1}, farther away than all reference cases"),
        }
    }
}

impl Bundle {
    /// What is wrong with the pictures of a case, by the thresholds of the model.
    pub(crate) fn findings(&self, measures: &CaseMeasures) -> Vec<QualityFinding> {
        let [clinical, dermoscopic] =
            measures.each_ref().map(|images| images.iter().map(AsRef::as_ref).collect::<Vec<&ImageMeasures>>());
        self.description.quality.findings(&clinical, &dermoscopic)
    }

    /// What a distance of the features says; `None` if the model does not know, or for a distance that is no number.
    pub(crate) fn training_distance(&self, score: f64) -> Option<TrainingDistance> {
        let fitted = self.description.out_of_distribution.as_ref().filter(|_| score.is_finite())?;
        let percentile = fitted.percentile(score);
        Some(TrainingDistance { score, percentile, is_unlike: percentile > fitted.note_beyond() })
    }
}
