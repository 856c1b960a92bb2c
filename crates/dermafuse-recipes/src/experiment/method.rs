use dermafuse_data::EncoderConfig;
use dermafuse_networks::NetworkConfig;
use serde::{Deserialize, Serialize};

use super::StartWeights;
use crate::Selection;

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
}
