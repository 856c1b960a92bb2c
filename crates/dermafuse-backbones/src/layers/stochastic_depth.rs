//! Residual branches that are left out at random while a network trains.
//!
//! Paper: Huang et al., 2016, <https://arxiv.org/abs/1603.09382>.
//! Source: torchvision `ops/stochastic_depth.py`, mode `row` (BSD-3-Clause).
//! Weights: none.
//! Differences: none.

use burn::config::Config;
use burn::module::{Flag, Module, Param};
use burn::tensor::Tensor;
use dermafuse_init::draw_kept;

/// Creates a [`StochasticDepth`].
#[derive(Config, Debug)]
pub(crate) struct StochasticDepthConfig {
    /// Probability that an image of the batch goes without the branch, below 1.
    pub probability: f64,
}

/// Zero or `x / (1 - probability)`, drawn for each image on the host; `x` while predicting.
///
/// Should be created using [`StochasticDepthConfig`].
#[derive(Module, Debug)]
pub(crate) struct StochasticDepth {
    probability: f64,
    /// Cleared by `freeze`, as dropout's.
    training: Param<Flag>,
}

impl StochasticDepthConfig {
    /// Initializes the layer.
    ///
    /// # Panics
    ///
    /// If the probability is not in [0, 1).
    pub(crate) fn init(&self) -> StochasticDepth {
        assert!((0.0..1.0).contains(&self.probability), "the probability of stochastic depth is in [0, 1)");
        StochasticDepth { probability: self.probability, training: Param::from_bool(true) }
    }
}

impl StochasticDepth {
    /// Applies the layer to the output of a residual branch.
    ///
    /// # Shapes
    ///
    /// `[B, ...]` → `[B, ...]`.
    pub(crate) fn forward<const D: usize>(&self, branch: Tensor<D>) -> Tensor<D> {
        if self.probability == 0.0 || !branch.is_autodiff() || !self.training.is_enabled() {
            return branch;
        }
        let survival = 1.0 - self.probability;
        let mut shape = [1; D];
        shape[0] = branch.dims()[0];
        let kept = draw_kept(survival, shape, &branch.device()); // [B, 1, ...]
        branch * (kept / survival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn images_stay_whole_or_go_whole() {
        let device = Device::flex().autodiff();
        let layer = StochasticDepthConfig::new(0.25).init();
        let branch = Tensor::<4>::ones([400, 2, 1, 3], &device);
        let images: Vec<f32> = layer.forward(branch.clone()).into_data().iter().collect();
        let dropped = images.chunks(6).filter(|image| image.iter().all(|value| *value == 0.0)).count();
        let kept = images.chunks(6).filter(|image| image.iter().all(|value| (value - 4.0 / 3.0).abs() < 1e-6)).count();
        assert_eq!(dropped + kept, 400);
        // Six standard deviations around a quarter.
        assert!((48..=152).contains(&dropped), "{dropped}");
    }

    #[test]
    fn prediction_and_freezing_keep_every_branch() {
        let device = Device::flex().autodiff();
        let layer = StochasticDepthConfig::new(0.9).init();
        let branch = Tensor::<3>::ones([20, 2, 2], &device);
        let expected = branch.clone().into_data();
        assert_eq!(layer.valid().forward(branch.clone().inner()).into_data(), expected);
        assert_eq!(layer.freeze().forward(branch).into_data(), expected);
    }
}
