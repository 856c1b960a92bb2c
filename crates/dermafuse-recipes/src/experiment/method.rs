use std::path::PathBuf;

use dermafuse_data::EncoderConfig;
use dermafuse_ensemble::HeadSettings;
use dermafuse_networks::{DeepEnsembleConfig, MAX_MEMBERS, NetworkConfig};
use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use super::data::absolute;
use super::{Experiment, StartWeights};
use crate::{RecipeError, Selection};

/// The network, what it starts from and how it is judged in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSettings {
    /// The network; its classes and the length of the record follow from the data.
    pub network: NetworkConfig,
    /// What its backbones start from.
    pub weights: StartWeights,
    /// By which validation score the best epoch is chosen.
    pub selection: Selection,
    /// Which metadata are used, and how they become numbers.
    pub metadata: EncoderConfig,
    /// How heads are fitted on the features of the network `frozen_encoders`; other networks have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<HeadSettings>,
    /// How many networks the last training trains, from as many seeds one after the other; they answer together, as one model. 1 to
    /// [`MAX_MEMBERS`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub members: usize,
    /// The file of a trained model, or the folder of its run, that the network learns from beside the labels, as `training.distillation`
    /// says; an ensemble becomes one network so. Of several stages the last one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_one(number: &usize) -> bool {
    *number == 1
}

impl MethodSettings {
    pub(super) fn make_absolute(&mut self) {
        self.weights.make_absolute();
        self.teacher.iter_mut().for_each(absolute);
    }

    pub(super) fn resolve(&mut self, settings: &Settings) {
        self.weights.resolve(settings);
        if let Some(teacher) = &mut self.teacher {
            *teacher = settings.path_of("method.teacher", teacher);
        }
    }

    /// The network that answers: an ensemble of the method's, where it has several members.
    pub(crate) fn answering_network(&self) -> NetworkConfig {
        match self.members {
            1 => self.network.clone(),
            members => {
                NetworkConfig::DeepEnsemble(DeepEnsembleConfig { member: Box::new(self.network.clone()), members })
            }
        }
    }
}

/// Whether frozen encoders have heads, and no other network has.
pub(super) fn check(experiment: &Experiment, settings: &Settings) -> Result<(), RecipeError> {
    let stages = experiment.stages.iter().map(|stage| (&stage.method, &stage.training));
    for (method, training) in stages.chain([(&experiment.method, &experiment.training)]) {
        let error = |reason: String| Err(settings.error("method.heads", reason).into());
        settings.checked("method.network", method.network.check_settings())?;
        if !(1..=MAX_MEMBERS).contains(&method.members) {
            return Err(settings.error("method.members", format!("from 1 to {MAX_MEMBERS}")).into());
        }
        // As the ensemble says it, of which it would be the member.
        if method.answering_network().check_settings().is_err() {
            let reason = format!("a network `{}` has no members that could be trained apart", method.network.kind());
            return Err(settings.error("method.members", reason).into());
        }
        if training.distillation.is_some() && method.teacher.is_none() {
            let reason = "the file of the trained model that training.distillation learns from";
            return Err(settings.error("method.teacher", reason).into());
        }
        if method.teacher.is_some() && ["frozen_encoders", "uniform_classifier"].contains(&method.network.kind()) {
            let reason = format!("a network `{}` is not trained, so nobody can teach it", method.network.kind());
            return Err(settings.error("method.teacher", reason).into());
        }
        match (&method.network, &method.heads) {
            (NetworkConfig::FrozenEncoders(_), None) => {
                return error("frozen encoders need heads that answer: `candidates`, classifiers to try".into());
            }
            (NetworkConfig::FrozenEncoders(_), Some(heads)) => {
                settings.checked("method.heads", heads.check())?;
            }
            (other, Some(_)) => {
                return error(format!("heads are of the network `frozen_encoders`, and this is `{}`", other.kind()));
            }
            (_, None) => {}
        }
    }
    Ok(())
}
