//! The network that turns a patient's record into features.
//!
//! Paper: `M_M` of joint-individual fusion (thesis §4.2), "several fully connected layers" whose sizes are not published.
//! Source: two layers of 256 and 128 units, which reproduce the published parameter ratios. Weights: none. Differences:
//! none known.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use dermafuse_fusion::linear;
use serde::{Deserialize, Serialize};

use crate::NetworkError;

/// Configuration of a [`MetadataNetwork`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataNetworkConfig {
    /// Length `M` of the encoded metadata: `MetadataEncoder::width`.
    pub inputs: usize,
    /// Units of each layer; `[256, 128]`. The last is the length of the features, `L_M`.
    pub layers: Vec<usize>,
    /// What stands for a 0 of the encoded metadata: soft labels, as mutual attention proposes (0.1); 0 leaves them hard.
    pub zero: f64,
}

/// `Linear, BatchNorm, ReLU` for each layer. Made by [`MetadataNetworkConfig::init`].
#[derive(Module, Debug)]
pub struct MetadataNetwork {
    linear: Vec<Linear>,
    norm: Vec<BatchNorm>,
    zero: f64,
}

impl MetadataNetworkConfig {
    /// Layers of 256 and 128 units and hard labels.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self { inputs, layers: vec![256, 128], zero: 0.0 }
    }

    /// Length of the features, `L_M`.
    #[must_use]
    pub fn features(&self) -> usize {
        self.layers.last().copied().unwrap_or(self.inputs)
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No metadata column, no layer or a layer without units.
    pub fn init(&self, device: &Device) -> Result<MetadataNetwork, NetworkError> {
        if self.inputs == 0 {
            return Err(NetworkError::NoMetadata);
        }
        NetworkError::require_units(&self.layers)?;
        let inputs = std::iter::once(&self.inputs).chain(&self.layers);
        let linear = inputs.zip(&self.layers).map(|(&inputs, &outputs)| linear(inputs, outputs, device)).collect();
        let norm = self.layers.iter().map(|&units| BatchNormConfig::new(units).init(device)).collect();
        Ok(MetadataNetwork { linear, norm, zero: self.zero })
    }
}

impl MetadataNetwork {
    /// # Shapes
    /// `[B, M]` → `[B, L_M]`.
    #[must_use]
    pub fn forward(&self, metadata: Tensor<2>) -> Tensor<2> {
        let inputs = match self.zero {
            0.0 => metadata,
            zero => metadata.clone().mask_fill(metadata.equal_elem(0.0), zero),
        };
        let layers = self.linear.iter().zip(&self.norm);
        layers.fold(inputs, |hidden, (linear, norm)| relu(norm.forward(linear.forward(hidden)))) // [B, L]
    }
}
