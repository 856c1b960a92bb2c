//! MMFA: multi-modal fusion attention over the joined queries, keys and values of image and metadata.
//!
//! Paper: Tang et al., joint-individual fusion with MMFA (thesis §4.2.3, Eq. 4.6–4.10). Source: the equations. Weights:
//! none. Differences: widths and heads are not published; the defaults reproduce the published parameter ratios (see
//! `docs/architecture.md`). The readings of Eq. 4.7 are options of [`FeatureAttention`].

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::feature_attention::{NormalizedLinear, QueryKeyValue};
use crate::{FeatureAttention, FeatureFusion, FusionError};

/// Configuration of an [`Mmfa`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MmfaConfig {
    /// Width of the image's query, key and value; 96.
    pub image_width: usize,
    /// Width of the metadata's query, key and value; 96.
    pub metadata_width: usize,
    /// The attention.
    pub attention: FeatureAttention,
}

impl Default for MmfaConfig {
    fn default() -> Self {
        Self { image_width: 96, metadata_width: 96, attention: FeatureAttention::default() }
    }
}

/// Attention over the features of both modalities, added to their concatenation. Made by [`MmfaConfig::init`].
#[derive(Module, Debug)]
pub struct Mmfa {
    image: QueryKeyValue,
    metadata: QueryKeyValue,
    output: NormalizedLinear,
    #[module(skip)]
    attention: FeatureAttention,
}

impl MmfaConfig {
    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// A length or width of 0; widths that do not divide into the heads.
    pub fn init(&self, image: usize, metadata: usize, device: &Device) -> Result<Mmfa, FusionError> {
        FusionError::require_inputs("MMFA", image)?;
        FusionError::require_inputs("MMFA", metadata)?;
        FusionError::require_inputs("MMFA's attention", self.image_width.min(self.metadata_width))?;
        let width = self.image_width + self.metadata_width; // D_T
        self.attention.check("MMFA", width)?;
        Ok(Mmfa {
            image: QueryKeyValue::init(image, self.image_width, device),
            metadata: QueryKeyValue::init(metadata, self.metadata_width, device),
            output: NormalizedLinear::init(width, image + metadata, device),
            attention: self.attention,
        })
    }
}

impl FeatureFusion for Mmfa {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let image_parts = self.image.forward(image.clone()); // [B, d_img] each
        let metadata_parts = self.metadata.forward(metadata.clone()); // [B, d_meta] each
        let mut joined = metadata_parts.into_iter().zip(image_parts).map(|(m, i)| Tensor::cat(vec![m, i], 1));
        let [query, key, value] = std::array::from_fn(|_| joined.next().expect("three parts")); // [B, D_T]
        let attended = self.output.forward(self.attention.forward(query, key, value)); // [B, L_I + L_M]
        attended + Tensor::cat(vec![image, metadata], 1) // [B, L_I + L_M]
    }

    fn output_features(&self, image: usize, metadata: usize) -> Option<usize> {
        Some(image + metadata)
    }
}
