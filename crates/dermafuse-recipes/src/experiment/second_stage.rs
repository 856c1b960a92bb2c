use std::collections::BTreeMap;

use dermafuse_ensemble::{
    Calibration, CalibrationMethod, ClassifierKind, ClassifierParams, MixSearch, PointSearch, SecondStageInputs,
    WeightSearch,
};
use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{Answer, RecipeError, SecondStageSettings};

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
    /// Their parameters, by the classifier's name, such as `params.logistic.c`; what is not said is as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<ClassifierParams>,
    /// What the classifiers see: `predictions_and_metadata`, the `metadata` alone, with the network `uniform_classifier` before them,
    /// which learns nothing, or `metadata_beside`: the metadata alone, and what the images say is mixed in.
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
    /// Operating points of the whole classification, by names of their own: offsets on the classes that are chosen on the validation
    /// cases for an objective. The model has all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub points: BTreeMap<String, PointSearch>,
    /// The point at which the model answers, until it is asked at another; without one each class is as probable as is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
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
        Self {
            answer,
            search,
            classifier: None,
            params: None,
            inputs,
            calibration,
            mix,
            half_seed,
            calibrated: None,
            points: BTreeMap::new(),
            point: None,
        }
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
        let Self { inputs, calibration, half_seed, .. } = *self;
        let (mix, params, half_seed) = (self.mix.clone(), self.params.clone(), half_seed.wrapping_add(seed));
        let settings = |classifier| SecondStageSettings { classifier, params, inputs, calibration, mix, half_seed };
        self.classifier.map(settings)
    }
}

/// Whether parameters are in range and of the classifier, and the point is one of those that are there.
pub(super) fn check(experiment: &Experiment, settings: &Settings) -> Result<(), RecipeError> {
    let SecondStageTable { search, mix, classifier, params, calibration, points, point, .. } = &experiment.second_stage;
    let error = |key: &str, reason: String| Err(settings.error(key, reason).into());
    settings.checked("second_stage.search", search.check())?;
    settings.checked("second_stage.mix", mix.check())?;
    settings.checked("second_stage.calibration", calibration.check())?;
    settings.checked("second_stage.params", params.as_ref().map_or(Ok(()), ClassifierParams::check))?;
    for (name, search) in points {
        settings.checked(&format!("second_stage.points.{name}"), search.check())?;
    }
    if let Some(kind) = params.as_ref().map(ClassifierParams::kind).filter(|kind| Some(*kind) != *classifier) {
        let classifier = classifier.map_or("none".to_owned(), |classifier| classifier.to_string());
        let reason = format!("these are parameters of `{kind}`, and second_stage.classifier is `{classifier}`");
        return error("second_stage.params", reason);
    }
    match point {
        Some(point) if !points.contains_key(point) => {
            let known: Vec<&str> = points.keys().map(String::as_str).collect();
            let reason = match &known[..] {
                [] => format!(
                    "there is no point `{point}`, nor any other; say second_stage.points.{point} = {{ … }} of it"
                ),
                _ => format!("there is no point `{point}`; the points are {}", known.join(", ")),
            };
            error("second_stage.point", reason)
        }
        _ => Ok(()),
    }
}
