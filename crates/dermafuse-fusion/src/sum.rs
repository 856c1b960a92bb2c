//! Element-wise sum of two feature vectors.
//!
//! Paper: Tang et al., FusionM4Net (Medical Image Analysis 2022), fusion branch. Source: the equation. Weights: none.
//! Differences: none.

use burn::tensor::Tensor;

use crate::FeatureFusion;

/// `a + b`; has no parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum;

impl FeatureFusion for Sum {
    fn forward(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        a + b // [B, D]
    }

    fn output_features(&self, a: usize, b: usize) -> Option<usize> {
        (a == b).then_some(a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_lengths_can_be_summed() {
        assert_eq!(Sum.output_features(512, 512), Some(512));
        assert_eq!(Sum.output_features(512, 1280), None);
    }
}
