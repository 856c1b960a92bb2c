//! The contract of modules that join two pooled feature vectors.

use burn::tensor::Tensor;

/// The weights of attention between the entries of both vectors, as [`FeatureFusion::attention`] gives them.
#[derive(Clone, Debug)]
pub struct FeatureWeights {
    /// `[B, h, s, s]`: in each head a row for each entry that asks, a column for each that is asked; rows sum to 1. With weights
    /// that are the same for all that ask, `[B, h, 1, s]`.
    pub weights: Tensor<4>,
    /// How many of the `h · s` entries are of the second vector, which come first; the others are of the first vector.
    pub of_second: usize,
}

/// Joins two pooled feature vectors into one.
pub trait FeatureFusion {
    /// # Shapes
    /// `[B, D_a]` and `[B, D_b]` → `[B, D]`, with `D` of [`output_features`](Self::output_features).
    ///
    /// # Panics
    /// If the module cannot join features of these lengths.
    fn forward(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2>;

    /// The weights of the attention between the entries of both vectors; `None` from modules without one. For explanations.
    ///
    /// # Shapes
    /// `[B, D_a]` and `[B, D_b]` → `[B, h, s, s]`.
    ///
    /// # Panics
    /// If the module cannot join features of these lengths.
    fn attention(&self, _a: Tensor<2>, _b: Tensor<2>) -> Option<FeatureWeights> {
        None
    }

    /// The length of the joined vector; `None` if the module cannot join features of these lengths.
    fn output_features(&self, a: usize, b: usize) -> Option<usize>;
}
