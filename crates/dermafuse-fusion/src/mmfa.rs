//! MMFA: multi-modal fusion attention over the joined queries, keys and values of image and metadata.
//!
//! Paper: Tang et al., joint-individual fusion with MMFA (thesis §4.2.3, Eq. 4.6–4.10). Source: the equations. Weights:
//! none. Differences: widths and heads are not published; with the defaults, and with those of the record's network, five of the
//! six parameter ratios that thesis §4.4.2 prints for five backbones come out, in their order (see `docs/architecture.md`). The
//! readings of Eq. 4.7 are options of [`FeatureAttention`].

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::feature_attention::{NormalizedLinear, QueryKeyValue};
use crate::{FeatureAttention, FeatureFusion, FeatureWeights, FusionError};

/// Configuration of an [`Mmfa`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MmfaConfig {
    /// Width of the image's query, key and value; 128.
    pub image_width: usize,
    /// Width of the metadata's query, key and value; 64.
    pub metadata_width: usize,
    /// The attention.
    pub attention: FeatureAttention,
}

impl Default for MmfaConfig {
    fn default() -> Self {
        Self { image_width: 128, metadata_width: 64, attention: FeatureAttention::default() }
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
        FusionError::require_inputs("MMFA's attention", self.image_width)?;
        FusionError::require_inputs("MMFA's attention", self.metadata_width)?;
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

impl Mmfa {
    /// Queries, keys and values of both modalities, the metadata's first (Eq. 4.8).
    ///
    /// # Shapes
    /// `[B, L_I]` and `[B, L_M]` → three times `[B, D_T]`.
    fn joined(&self, image: Tensor<2>, metadata: Tensor<2>) -> [Tensor<2>; 3] {
        let image_parts = self.image.forward(image); // [B, d_img] each
        let metadata_parts = self.metadata.forward(metadata); // [B, d_meta] each
        let mut joined = metadata_parts.into_iter().zip(image_parts).map(|(m, i)| Tensor::cat(vec![m, i], 1));
        std::array::from_fn(|_| joined.next().expect("three parts"))
    }
}

impl FeatureFusion for Mmfa {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let [query, key, value] = self.joined(image.clone(), metadata.clone()); // [B, D_T]
        let attended = self.output.forward(self.attention.forward(query, key, value)); // [B, L_I + L_M]
        attended + Tensor::cat(vec![image, metadata], 1) // [B, L_I + L_M]
    }

    fn attention(&self, image: Tensor<2>, metadata: Tensor<2>) -> Option<FeatureWeights> {
        let [query, key, _] = self.joined(image, metadata); // [B, D_T]
        Some(FeatureWeights { weights: self.attention.weights(query, key), of_second: self.metadata.width() })
    }

    fn output_features(&self, image: usize, metadata: usize) -> Option<usize> {
        Some(image + metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn weights_are_those_that_the_forward_pass_uses() {
        let device = Device::flex();
        let config = MmfaConfig {
            image_width: 6,
            metadata_width: 2,
            attention: FeatureAttention { heads: 2, ..FeatureAttention::default() },
        };
        let mmfa = config.init(5, 3, &device).unwrap();
        let random = |length| Tensor::<2>::random([2, length], Distribution::Normal(0.0, 1.0), &device);
        let (image, metadata) = (random(5), random(3));
        let FeatureWeights { weights, of_second } = mmfa.attention(image.clone(), metadata.clone()).unwrap();
        assert_eq!((weights.dims(), of_second), ([2, 2, 4, 4], 2));
        let sums: Vec<f32> = weights.clone().sum_dim(3).into_data().iter().collect();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{sums:?}");

        // Eq. 4.6, 4.7 and 4.10 with these weights.
        let [_, _, value] = mmfa.joined(image.clone(), metadata.clone());
        let heads = weights.matmul(value.reshape([2, 2, 4, 1])); // [B, h, s, 1]
        let expected =
            mmfa.output.forward(heads.reshape([2, 8])) + Tensor::cat(vec![image.clone(), metadata.clone()], 1);
        let found = mmfa.forward(image, metadata).into_data();
        found.assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
    }
}
