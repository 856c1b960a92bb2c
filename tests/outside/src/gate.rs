//! A fusion module: the record decides how much each image feature counts.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use dermafuse::fusion::{FeatureFusion, FusionDescription, FusionError};
use dermafuse::networks::AddressedInit;
use serde::{Deserialize, Serialize};

/// [`Gate`] as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// What every gate is multiplied by.
    pub scale: f64,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { scale: 2.0 }
    }
}

/// `scale · image · sigmoid(W record)`.
#[derive(Module, Debug)]
pub struct Gate {
    gate: Linear,
    scale: f64,
}

impl FusionDescription for GateConfig {
    type Fusion = Gate;

    const KIND: &'static str = "gate";

    fn make(&self, image: usize, metadata: usize, device: &Device) -> Result<Gate, FusionError> {
        if metadata == 0 {
            return Err(FusionError::NoFeatures { module: Self::KIND });
        }
        Ok(Gate { gate: LinearConfig::new(metadata, image).init_addressed(device), scale: self.scale })
    }
}

impl FeatureFusion for Gate {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        image * sigmoid(self.gate.forward(metadata)) * self.scale // [B, L_I]
    }

    fn output_features(&self, image: usize, _metadata: usize) -> Option<usize> {
        Some(image)
    }
}
