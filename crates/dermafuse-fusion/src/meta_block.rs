//! MetaBlock: the metadata scale, shift and gate groups of image features.
//!
//! Paper: Pacheco and Krohling, *An Attention-Based Mechanism to Combine Images and Metadata in Deep Learning Models
//! Applied to Skin Cancer Classification* (IEEE J-BHI 2021). Source: the paper's equations and the authors' code.
//! Weights: none. Differences: none.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use dermafuse_init::CollectedStatistics;
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::{FeatureFusion, FusionError, linear};

/// Configuration of a [`MetaBlock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaBlockConfig {
    /// Features in a group, which share a scale and a shift; 32 in the authors' code.
    pub columns: usize,
}

impl Default for MetaBlockConfig {
    fn default() -> Self {
        Self { columns: 32 }
    }
}

/// `sigmoid(tanh(V · T₁) + T₂)`, where `V` holds the image features in groups and the metadata give each group its `T₁`
/// and `T₂`. Made by [`MetaBlockConfig::init`].
#[derive(Module, Debug)]
pub struct MetaBlock {
    scale: Linear,
    scale_norm: BatchNorm,
    shift: Linear,
    shift_norm: BatchNorm,
    columns: usize,
}

impl MetaBlockConfig {
    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// Image features that do not divide into groups of `columns`; no metadata.
    pub fn init(&self, image: usize, metadata: usize, device: &Device) -> Result<MetaBlock, FusionError> {
        FusionError::require_inputs("MetaBlock", metadata)?;
        let groups = FusionError::require_groups("MetaBlock", image, self.columns)?;
        Ok(MetaBlock {
            scale: linear(metadata, groups, device),
            scale_norm: BatchNormConfig::new(groups).init(device),
            shift: linear(metadata, groups, device),
            shift_norm: BatchNormConfig::new(groups).init(device),
            columns: self.columns,
        })
    }
}

impl FeatureFusion for MetaBlock {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let [batch, features] = image.dims();
        let groups = features / self.columns;
        let values = image.reshape([batch, groups, self.columns]); // [B, G, 32]
        let scale = self.scale_norm.forward_collected(project(&self.scale, Activation::Identity, metadata.clone())); // [B, G]
        let shift = self.shift_norm.forward_collected(project(&self.shift, Activation::Identity, metadata)); // [B, G]
        let scaled = (values * scale.unsqueeze_dim::<3>(2)).tanh(); // [B, G, 32]
        sigmoid(scaled + shift.unsqueeze_dim::<3>(2)).reshape([batch, features]) // [B, L_I]
    }

    fn output_features(&self, image: usize, _metadata: usize) -> Option<usize> {
        Some(image)
    }
}
