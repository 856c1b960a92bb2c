//! The contract of modules that join two pooled feature vectors.

use burn::tensor::Tensor;

/// Joins two pooled feature vectors into one.
pub trait FeatureFusion {
    /// # Shapes
    /// `[B, D_a]` and `[B, D_b]` → `[B, D]`, with `D` of [`output_features`](Self::output_features).
    ///
    /// # Panics
    /// If the module cannot join features of these lengths.
    fn forward(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2>;

    /// The length of the joined vector; `None` if the module cannot join features of these lengths.
    fn output_features(&self, a: usize, b: usize) -> Option<usize>;
}
