//! MetaNet: the metadata gate groups of image features.
//!
//! Paper: Li et al., *Fusing Metadata and Dermoscopy Images for Skin Disease Diagnosis* (ISBI 2020). Source: the
//! re-implementation published with MetaBlock. Weights: none. Differences: MobileNet's features are gated in as many
//! groups as there are (the re-implementation makes 32 gates for 20 groups and fails).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::{FeatureFusion, FusionError, linear};

/// Configuration of a [`MetaNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaNetConfig {
    /// Hidden units; `None` for those of the re-implementation: 40 for 1,280 image features, as MobileNetV2 has, else 64.
    pub hidden: Option<usize>,
    /// Features in a group, which share a gate; 64, a map of 8 × 8.
    pub columns: usize,
}

impl Default for MetaNetConfig {
    fn default() -> Self {
        Self { hidden: None, columns: 64 }
    }
}

/// `V · sigmoid(W₂ relu(W₁ u))`, where `V` holds the image features in groups and `u` is the metadata. The 1 × 1
/// convolutions of the paper are linear layers here. Made by [`MetaNetConfig::init`].
#[derive(Module, Debug)]
pub struct MetaNet {
    hidden: Linear,
    gate: Linear,
    columns: usize,
}

impl MetaNetConfig {
    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// Image features that do not divide into groups of `columns`; no metadata; no hidden units.
    pub fn init(&self, image: usize, metadata: usize, device: &Device) -> Result<MetaNet, FusionError> {
        FusionError::require_inputs("MetaNet", metadata)?;
        let hidden = self.hidden.unwrap_or(if image == 1280 { 40 } else { 64 });
        FusionError::require_inputs("MetaNet's second layer", hidden)?;
        let groups = FusionError::require_groups("MetaNet", image, self.columns)?;
        Ok(MetaNet {
            hidden: linear(metadata, hidden, device),
            gate: linear(hidden, groups, device),
            columns: self.columns,
        })
    }
}

impl FeatureFusion for MetaNet {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let [batch, features] = image.dims();
        let groups = features / self.columns;
        let gate =
            sigmoid(project(&self.gate, Activation::Identity, project(&self.hidden, Activation::Relu, metadata))); // [B, G]
        let values = image.reshape([batch, groups, self.columns]); // [B, G, 64]
        (values * gate.unsqueeze_dim::<3>(2)).reshape([batch, features]) // [B, L_I]
    }

    fn output_features(&self, image: usize, _metadata: usize) -> Option<usize> {
        Some(image)
    }
}
