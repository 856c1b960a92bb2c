//! Mutual attention as a public re-implementation of Cai et al. has it: vectors tiled once a head, full-size layers.
//!
//! Paper: Cai et al., *A Multimodal Transformer to Fuse Images and Metadata for Skin Disease Classification* (The Visual
//! Computer 2022). Source: the re-implementation's structure. Weights: none. Differences: none known. Each modality is a
//! single token, so every softmax is over one element and the queries have no influence; with 65 to 255 million parameters
//! this is for comparison only.

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
use serde::{Deserialize, Serialize};

use crate::{FeatureFusion, FusionError, linear};

/// Configuration of a [`TiledMutualAttention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TiledMutualAttentionConfig {
    /// Heads, and how often each vector is repeated; 3.
    pub heads: usize,
}

impl Default for TiledMutualAttentionConfig {
    fn default() -> Self {
        Self { heads: 3 }
    }
}

/// Two multi-head attentions with swapped queries over one token each. Made by [`TiledMutualAttentionConfig::init`].
#[derive(Module, Debug)]
pub struct TiledMutualAttention {
    image: Tower,
    metadata: Tower,
    heads: usize,
}

/// One modality: its layers before the attention, the attention over its token, and the layer after it.
#[derive(Module, Debug)]
struct Tower {
    perceptron: Vec<Linear>,
    /// From the tiled other modality to the width of this one.
    query: Linear,
    key: Linear,
    value: Linear,
    attention: MultiHeadAttention,
    output: Linear,
}

impl TiledMutualAttentionConfig {
    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// A length or number of heads of 0.
    pub fn init(&self, image: usize, metadata: usize, device: &Device) -> Result<TiledMutualAttention, FusionError> {
        for length in [image, metadata, self.heads] {
            FusionError::require_inputs("tiled mutual attention", length)?;
        }
        FusionError::require_inputs("tiled mutual attention", self.heads * image.max(metadata))?;
        let tower = |own: usize, other: usize| {
            let (width, other) = (self.heads * own, self.heads * other);
            Tower {
                perceptron: (0..3).map(|_| linear(own, own, device)).collect(),
                query: linear(other, width, device),
                key: linear(width, width, device),
                value: linear(width, width, device),
                attention: MultiHeadAttentionConfig::new(width, self.heads).with_dropout(0.0).init_addressed(device),
                output: linear(width, own, device),
            }
        };
        Ok(TiledMutualAttention { image: tower(image, metadata), metadata: tower(metadata, image), heads: self.heads })
    }
}

impl FeatureFusion for TiledMutualAttention {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let (image, metadata) = (self.image.encode(image), self.metadata.encode(metadata)); // [B, L_I], [B, L_M]
        let tile = |vector: &Tensor<2>| vector.clone().repeat_dim(1, self.heads); // [B, h·L]
        let (tiled_image, tiled_metadata) = (tile(&image), tile(&metadata));
        let of_image = self.image.attend(tiled_metadata.clone(), tiled_image.clone()); // [B, L_I]
        let of_metadata = self.metadata.attend(tiled_image, tiled_metadata); // [B, L_M]
        Tensor::cat(vec![image + of_image, metadata + of_metadata], 1) // [B, L_I + L_M]
    }

    fn output_features(&self, image: usize, metadata: usize) -> Option<usize> {
        Some(image + metadata)
    }
}

impl Tower {
    fn encode(&self, features: Tensor<2>) -> Tensor<2> {
        self.perceptron.iter().fold(features, |hidden, layer| layer.forward(hidden).clamp(0.0, 6.0)) // [B, L]
    }

    fn attend(&self, other: Tensor<2>, own: Tensor<2>) -> Tensor<2> {
        let query = self.query.forward(other).unsqueeze_dim::<3>(1); // [B, 1, h·L]
        let key = self.key.forward(own.clone()).unsqueeze_dim::<3>(1); // [B, 1, h·L]
        let value = self.value.forward(own).unsqueeze_dim::<3>(1); // [B, 1, h·L]
        let context = self.attention.forward(MhaInput::new(query, key, value)).context; // [B, 1, h·L]
        self.output.forward(context.squeeze_dim::<2>(1)) // [B, L]
    }
}
