//! Concatenation of two feature vectors.
//!
//! Paper: the baseline of every fusion paper. Source: the definition. Weights: none. Differences: none.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::FeatureFusion;

/// `[a | b]`; has no parameters.
#[derive(Module, Debug, Default)]
pub struct Concat;

impl FeatureFusion for Concat {
    fn forward(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        Tensor::cat(vec![a, b], 1) // [B, D_a + D_b]
    }

    fn output_features(&self, a: usize, b: usize) -> Option<usize> {
        Some(a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up() {
        assert_eq!(Concat.output_features(512, 1280), Some(1792));
    }
}
