//! Mutual attention: each modality is asked with the other's query.
//!
//! Paper: Cai et al., *A Multimodal Transformer to Fuse Images and Metadata for Skin Disease Classification* (The
//! Visual Computer 2022), whose code is not published. Source: the idea, in the layers of MMFA (thesis Eq. 4.7, 4.9 and
//! 4.10). Weights: none. Differences: the paper's own layers are tiled and up to 255 million parameters large in the
//! known re-implementation, which is [`TiledMutualAttention`](crate::TiledMutualAttention); this one keeps the size of
//! MMFA.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::feature_attention::{NormalizedLinear, QueryKeyValue};
use crate::{FeatureAttention, FeatureFusion, FusionError};

/// Configuration of a [`MutualAttention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MutualAttentionConfig {
    /// Width of every query, key and value; 96.
    pub width: usize,
    /// The attention.
    pub attention: FeatureAttention,
}

impl Default for MutualAttentionConfig {
    fn default() -> Self {
        Self { width: 96, attention: FeatureAttention::default() }
    }
}

/// Image features plus what the metadata's query finds in them, beside metadata features plus what the image's query finds
/// in these. Made by [`MutualAttentionConfig::init`].
#[derive(Module, Debug)]
pub struct MutualAttention {
    image: QueryKeyValue,
    metadata: QueryKeyValue,
    image_output: NormalizedLinear,
    metadata_output: NormalizedLinear,
    #[module(skip)]
    attention: FeatureAttention,
}

impl MutualAttentionConfig {
    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// A length or width of 0; a width that does not divide into the heads.
    pub fn init(&self, image: usize, metadata: usize, device: &Device) -> Result<MutualAttention, FusionError> {
        FusionError::require_inputs("mutual attention", image)?;
        FusionError::require_inputs("mutual attention", metadata)?;
        self.attention.check("mutual attention", self.width)?;
        Ok(MutualAttention {
            image: QueryKeyValue::init(image, self.width, device),
            metadata: QueryKeyValue::init(metadata, self.width, device),
            image_output: NormalizedLinear::init(self.width, image, device),
            metadata_output: NormalizedLinear::init(self.width, metadata, device),
            attention: self.attention,
        })
    }
}

impl FeatureFusion for MutualAttention {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let [image_query, image_key, image_value] = self.image.forward(image.clone()); // [B, d]
        let [metadata_query, metadata_key, metadata_value] = self.metadata.forward(metadata.clone()); // [B, d]
        let of_image = self.attention.forward(metadata_query, image_key, image_value); // [B, d]
        let of_metadata = self.attention.forward(image_query, metadata_key, metadata_value); // [B, d]
        let image = image + self.image_output.forward(of_image); // [B, L_I]
        let metadata = metadata + self.metadata_output.forward(of_metadata); // [B, L_M]
        Tensor::cat(vec![image, metadata], 1) // [B, L_I + L_M]
    }

    fn output_features(&self, image: usize, metadata: usize) -> Option<usize> {
        Some(image + metadata)
    }
}
