use serde::{Deserialize, Serialize};

use crate::{CalibrationMethod, CalibrationOrigin, Prevalence, PrevalenceOrigin};

/// What must be known of the probabilities of an answer to read them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityFacts {
    /// How they are calibrated; `None`: they are as the model gives them.
    pub calibration: Option<CalibrationFact>,
    /// How frequent they take the classes to be; `None`: a model of an earlier version does not say.
    pub prevalence: Option<Prevalence>,
    /// Where that prevalence is from, if the probabilities were corrected to it; `None`: they were not, and it is that of the cases
    /// that made the model.
    pub corrected: Option<PrevalenceOrigin>,
}

/// How probabilities are calibrated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationFact {
    /// The method.
    pub method: CalibrationMethod,
    /// The cases that it was fitted on.
    pub origin: CalibrationOrigin,
    /// The number of these cases.
    pub cases: usize,
}
