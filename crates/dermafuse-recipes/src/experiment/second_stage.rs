use dermafuse_ensemble::{Calibration, CalibrationMethod, ClassifierKind, MixSearch, SecondStageInputs, WeightSearch};
use serde::{Deserialize, Serialize};

use crate::{Answer, SecondStageSettings};

/// How branches answer together, and what comes after them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondStageTable {
    /// How branches answer together.
    pub answer: AnswerKind,
    /// The search for their weights, where they are searched: Fusion Scheme 1.
    pub search: WeightSearch,
    /// The classifiers over predictions and metadata, Fusion Scheme 2; none ends after the branches.
    pub classifier: Option<ClassifierKind>,
    /// What the classifiers see: `predictions_and_metadata`, or the `metadata` alone, with the network `uniform_classifier` before them,
    /// which learns nothing.
    #[serde(default, skip_serializing_if = "SecondStageInputs::is_default")]
    pub inputs: SecondStageInputs,
    /// How the probabilities of support vector machines are calibrated; `paper` is libsvm's way.
    pub calibration: Calibration,
    /// The search for the weight between branches and classifiers.
    pub mix: MixSearch,
    /// Seed of the network that learns from half of the training cases; the experiment's is added.
    pub half_seed: u64,
    /// How the probabilities of the answer are calibrated on the validation cases, as the last stage: `temperature`, which keeps every
    /// predicted class, `bias_corrected`, `vector`, `dirichlet` or `isotonic`; `none` leaves them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<CalibrationMethod>,
}

/// How the branches of a network answer together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// The mean of all branches' probabilities.
    #[default]
    All,
    /// The fusion branch, which every network gives last.
    OnlyFusionBranch,
    /// With the weights that are best on the validation cases.
    Search,
}

impl Default for SecondStageTable {
    fn default() -> Self {
        let SecondStageSettings { inputs, calibration, mix, half_seed, .. } = SecondStageSettings::default();
        let (answer, search) = (AnswerKind::default(), WeightSearch::default());
        Self { answer, search, classifier: None, inputs, calibration, mix, half_seed, calibrated: None }
    }
}

impl SecondStageTable {
    pub(crate) fn answer(&self) -> Answer {
        match self.answer {
            AnswerKind::All => Answer::All,
            AnswerKind::OnlyFusionBranch => Answer::OnlyFusionBranch,
            AnswerKind::Search => Answer::Search(self.search.clone()),
        }
    }

    /// The second stage of a round, whose seed is added.
    pub(crate) fn settings(&self, seed: u64) -> Option<SecondStageSettings> {
        let Self { inputs, calibration, mix, half_seed, .. } = *self;
        let half_seed = half_seed.wrapping_add(seed);
        self.classifier.map(|classifier| SecondStageSettings { classifier, inputs, calibration, mix, half_seed })
    }
}
