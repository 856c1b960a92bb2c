//! The closed list of built-in networks: described as data, chosen at run time.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::AnyBackbone;
use serde::{Deserialize, Serialize};

use crate::{
    BackboneFreeze, BranchInfo, FusionNet, FusionNetConfig, MultimodalInput, Network, NetworkError, NetworkOutput,
};

/// A built-in network as data: what a bundle saves beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "network", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NetworkConfig {
    /// FusionNet, the first stage of FusionM4Net.
    FusionNet(FusionNetConfig),
}

/// A network chosen at run time. Made by [`NetworkConfig::init`].
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum AnyNetwork {
    /// FusionNet with a built-in backbone.
    FusionNet(FusionNet<AnyBackbone>),
}

impl NetworkConfig {
    /// A network whose fresh weights depend on `seed` alone.
    ///
    /// The generator belongs to the device, and on some backends to the whole process: do not draw from it on another
    /// thread meanwhile.
    ///
    /// # Errors
    /// A configuration that makes no network.
    pub fn init_seeded(&self, seed: u64, device: &Device) -> Result<AnyNetwork, NetworkError> {
        device.seed(seed);
        let network = self.init(device)?;
        network.visit(&mut Draw); // parameters are drawn at their first use: use them now, in order
        Ok(network)
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used: for weights that are
    /// about to be replaced by saved ones.
    ///
    /// # Errors
    /// A configuration that makes no network.
    pub fn init(&self, device: &Device) -> Result<AnyNetwork, NetworkError> {
        match self {
            Self::FusionNet(config) => Ok(AnyNetwork::FusionNet(config.init(device)?)),
        }
    }

    /// Classes of each task.
    #[must_use]
    pub fn classes(&self) -> &[usize] {
        match self {
            Self::FusionNet(config) => &config.classes,
        }
    }
}

impl AnyNetwork {
    /// Loads published ImageNet weights into the network's backbones.
    ///
    /// # Errors
    /// As [`dermafuse_backbones::load_weights`].
    pub fn load_backbone_weights(self, file: impl AsRef<Path>) -> Result<Self, NetworkError> {
        match self {
            Self::FusionNet(network) => Ok(Self::FusionNet(network.load_backbone_weights(file)?)),
        }
    }

    /// The backbones, clinical first.
    #[must_use]
    pub fn backbones(&self) -> Vec<&AnyBackbone> {
        match self {
            Self::FusionNet(network) => network.backbones().to_vec(),
        }
    }
}

/// Makes every parameter draw its value.
struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

impl Network for AnyNetwork {
    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        match self {
            Self::FusionNet(network) => Self::FusionNet(network.freeze_backbones(freeze)),
        }
    }

    fn branches(&self) -> &'static [BranchInfo] {
        match self {
            Self::FusionNet(network) => network.branches(),
        }
    }

    fn forward(&self, input: MultimodalInput) -> NetworkOutput {
        match self {
            Self::FusionNet(network) => network.forward(input),
        }
    }
}
