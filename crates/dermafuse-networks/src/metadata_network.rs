//! The network that turns a patient's record into features.
//!
//! Paper: `M_M` of joint-individual fusion (thesis §4.2), "several fully connected layers" whose sizes are not published.
//! Source: two layers of 64 units, with which MMFA's defaults add what thesis §4.4.2 prints (see `docs/architecture.md`). Weights:
//! none. Differences: none known.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use dermafuse_fusion::linear;
use dermafuse_init::{AddressedDropout, CollectedStatistics};
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::NetworkError;
use crate::limits::{MAX_WIDTH, require_at_most, require_dropout};

/// Configuration of a [`MetadataNetwork`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataNetworkConfig {
    /// Length `M` of the encoded metadata: `MetadataEncoder::width`.
    #[serde(default)]
    pub inputs: usize,
    /// Units of each layer; `[64, 64]`. The last is the length of the features, `L_M`; without any, the encoded record is.
    pub layers: Vec<usize>,
    /// Probability of leaving out a unit in training, after each layer; 0 unless small data ask for more.
    #[serde(default)]
    pub dropout: f64,
    /// What stands for a 0 of the encoded metadata: soft labels, as mutual attention proposes (0.1); 0 leaves them hard.
    #[serde(default)]
    pub zero: f64,
}

/// `Linear, BatchNorm, ReLU, Dropout` for each layer. Made by [`MetadataNetworkConfig::init`].
#[derive(Module, Debug)]
pub struct MetadataNetwork {
    linear: Vec<Linear>,
    norm: Vec<BatchNorm>,
    dropout: Dropout,
    zero: f64,
}

impl MetadataNetworkConfig {
    /// Two layers of 64 units, no dropout and hard labels.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self { inputs, layers: vec![64, 64], dropout: 0.0, zero: 0.0 }
    }

    /// Length of the features, `L_M`.
    #[must_use]
    pub fn features(&self) -> usize {
        self.layers.last().copied().unwrap_or(self.inputs)
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No metadata column, a layer without units, a dropout outside 0..1; more than the limits.
    pub fn init(&self, device: &Device) -> Result<MetadataNetwork, NetworkError> {
        if self.inputs == 0 {
            return Err(NetworkError::NoMetadata);
        }
        require_at_most("encoded columns", self.inputs, MAX_WIDTH)?;
        if !self.layers.is_empty() {
            NetworkError::require_units(&self.layers)?;
        }
        if !(0.0..=1.0).contains(&self.zero) {
            return Err(NetworkError::Range {
                name: "the number that stands for a 0",
                range: "0 to 1",
                value: self.zero,
            });
        }
        require_dropout(self.dropout)?;
        let inputs = std::iter::once(&self.inputs).chain(&self.layers);
        let linear = inputs.zip(&self.layers).map(|(&inputs, &outputs)| linear(inputs, outputs, device)).collect();
        let norm = self.layers.iter().map(|&units| BatchNormConfig::new(units).init(device)).collect();
        let dropout = DropoutConfig::new(self.dropout).init();
        Ok(MetadataNetwork { linear, norm, dropout, zero: self.zero })
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
        layers.fold(inputs, |hidden, (linear, norm)| {
            let hidden = norm.forward_collected(project(linear, Activation::Identity, hidden)); // [B, L]
            self.dropout.forward_addressed(relu(hidden))
        })
    }
}
