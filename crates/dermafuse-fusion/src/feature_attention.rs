//! Attention between the entries of two feature vectors, the core of MMFA and of mutual attention.
//!
//! Paper: thesis Eq. 4.7, and Eq. 4.9 and 4.10 for the layers before and after it. Source: the equations. Weights:
//! none. Differences: see [`FeatureAttention`], whose options are the readings that the equations allow.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use dermafuse_init::CollectedStatistics;
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::{FusionError, linear};

/// How queries and keys make attention weights. The thesis calls the operator of Eq. 4.7 an element-wise product, writes
/// it as the matrix product of the next equations, and transposes the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionProduct {
    /// `q kᵀ`, `[s, s]` for each head: a feature of the query weighs all features of the key. The only reading in which
    /// transpose and softmax have a meaning.
    #[default]
    Outer,
    /// `k qᵀ`: the same with the key's features as rows, so the softmax is over the query's.
    OuterKeyRows,
    /// `q · k` entry by entry, `[s]` for each head.
    Elementwise,
}

/// Where `√s` divides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionScale {
    /// Inside the softmax, as in Eq. 2.10 of the same thesis and everywhere else.
    #[default]
    Inside,
    /// Outside it, as Eq. 4.7 is typeset.
    Outside,
}

/// Attention between the features of two vectors, head by head (Eq. 4.7): every head is a slice of `s` features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureAttention {
    /// Number of heads.
    pub heads: usize,
    /// How queries and keys meet.
    pub product: AttentionProduct,
    /// Where the scale is applied.
    pub scale: AttentionScale,
}

impl Default for FeatureAttention {
    /// Eight heads, outer product, scale inside.
    fn default() -> Self {
        Self { heads: 8, product: AttentionProduct::default(), scale: AttentionScale::default() }
    }
}

impl FeatureAttention {
    /// # Shapes
    /// `[B, D]` queries, keys and values → `[B, D]`.
    ///
    /// # Panics
    /// If `D` does not divide into the heads.
    #[must_use]
    pub fn forward(&self, query: Tensor<2>, key: Tensor<2>, value: Tensor<2>) -> Tensor<2> {
        let [batch, width] = query.dims();
        let size = width / self.heads; // s
        let (_, outside) = self.scales(size);
        let value = value.reshape([batch, self.heads, 1, size]); // [B, h, 1, s]
        let weighed = self.weights(query, key) * value; // [B, h, s, s], or [B, h, 1, s]
        let heads = match self.product {
            AttentionProduct::Elementwise => weighed,
            // One weighted sum a row. As a product and a sum it is quicker than a thousand tiny matrix products.
            _ => weighed.sum_dim(3), // [B, h, s, 1]
        };
        (heads * outside).reshape([batch, width]) // [B, D]
    }

    /// The weights by which the values of each head are multiplied. A row of an outer product is for a feature of the query, a
    /// column for one of the key (the other way round with [`AttentionProduct::OuterKeyRows`]); the one row of
    /// [`AttentionProduct::Elementwise`] is for the features one by one. Rows sum to 1.
    ///
    /// # Shapes
    /// `[B, D]` queries and keys → `[B, h, s, s]`, or `[B, h, 1, s]` entry by entry.
    ///
    /// # Panics
    /// If `D` does not divide into the heads.
    #[must_use]
    pub fn weights(&self, query: Tensor<2>, key: Tensor<2>) -> Tensor<4> {
        let [batch, width] = query.dims();
        let size = width / self.heads; // s
        let (inside, _) = self.scales(size);
        let heads = |vector: Tensor<2>| vector.reshape([batch, self.heads, size]); // [B, h, s]
        let (query, key) = (heads(query) * inside, heads(key));
        let scores = match self.product {
            AttentionProduct::Elementwise => (query * key).unsqueeze_dim(2), // [B, h, 1, s]
            AttentionProduct::Outer => query.unsqueeze_dim::<4>(3) * key.unsqueeze_dim::<4>(2), // [B, h, s, s]
            AttentionProduct::OuterKeyRows => key.unsqueeze_dim::<4>(3) * query.unsqueeze_dim::<4>(2), // [B, h, s, s]
        };
        softmax(scores, 3)
    }

    /// What is multiplied inside and outside of the softmax.
    fn scales(&self, size: usize) -> (f64, f64) {
        let factor = 1.0 / (size as f64).sqrt();
        match self.scale {
            AttentionScale::Inside => (factor, 1.0),
            AttentionScale::Outside => (1.0, factor),
        }
    }

    pub(crate) fn check(&self, module: &'static str, width: usize) -> Result<(), FusionError> {
        FusionError::require_inputs(module, width)?;
        if self.heads == 0 || width == 0 || !width.is_multiple_of(self.heads) {
            return Err(FusionError::Heads { module, width, heads: self.heads });
        }
        Ok(())
    }
}

/// Queries, keys and values of one modality: a linear layer, batch normalisation, and a cut in three (Eq. 4.9).
#[derive(Module, Debug)]
pub(crate) struct QueryKeyValue {
    linear: Linear,
    norm: BatchNorm,
    width: usize,
}

impl QueryKeyValue {
    pub(crate) fn init(inputs: usize, width: usize, device: &Device) -> Self {
        let norm = BatchNormConfig::new(3 * width).init(device);
        Self { linear: linear(inputs, 3 * width, device), norm, width }
    }

    /// The length of each part.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// # Shapes
    /// `[B, L]` → three times `[B, d]`.
    pub(crate) fn forward(&self, features: Tensor<2>) -> [Tensor<2>; 3] {
        let all = self.norm.forward_collected(project(&self.linear, Activation::Identity, features)); // [B, 3d]
        [0, 1, 2].map(|part| all.clone().narrow(1, part * self.width, self.width)) // [B, d]
    }
}

/// A linear layer and batch normalisation, `nn` (Eq. 4.10).
#[derive(Module, Debug)]
pub(crate) struct NormalizedLinear {
    linear: Linear,
    norm: BatchNorm,
}

impl NormalizedLinear {
    pub(crate) fn init(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self { linear: linear(inputs, outputs, device), norm: BatchNormConfig::new(outputs).init(device) }
    }

    /// # Shapes
    /// `[B, D]` → `[B, D']`.
    pub(crate) fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.norm.forward_collected(project(&self.linear, Activation::Identity, features)) // [B, D']
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attend(product: AttentionProduct, scale: AttentionScale) -> Vec<f32> {
        let device = Device::flex();
        let vector = |values: [f32; 4]| Tensor::<2>::from_data([values], &device);
        let (query, key) = (vector([1.0, 2.0, 0.5, -1.0]), vector([0.0, 1.0, 3.0, 1.0]));
        let attention = FeatureAttention { heads: 2, product, scale };
        attention.forward(query, key, vector([1.0, -1.0, 2.0, 4.0])).into_data().iter::<f32>().collect()
    }

    #[test]
    fn the_first_row_of_every_reading_by_hand() {
        let root = 2.0_f32.sqrt();
        let share = |first: f32, second: f32| first.exp() / (first.exp() + second.exp());
        // Head 0: q = (1, 2), k = (0, 1), v = (1, −1).
        let inside = share(0.0, 1.0 / root);
        let cases = [
            (AttentionProduct::Outer, AttentionScale::Inside, inside - (1.0 - inside)),
            (AttentionProduct::Outer, AttentionScale::Outside, (2.0 * share(0.0, 1.0) - 1.0) / root),
            (AttentionProduct::OuterKeyRows, AttentionScale::Inside, 0.0), // key 0 sees both queries alike
            (AttentionProduct::Elementwise, AttentionScale::Inside, share(0.0, 2.0 / root)),
            (AttentionProduct::Elementwise, AttentionScale::Outside, share(0.0, 2.0) / root),
        ];
        for (product, scale, expected) in cases {
            let found = attend(product, scale)[0];
            assert!((found - expected).abs() < 1e-6, "{product:?} {scale:?}: {found} instead of {expected}");
        }
    }
}
