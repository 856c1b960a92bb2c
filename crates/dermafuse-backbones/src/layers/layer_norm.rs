//! Layer normalization over any axis, by the kernels of `dermafuse-kernels`.
//!
//! Paper: Ba et al., 2016, <https://arxiv.org/abs/1607.06450>.
//! Source: PyTorch's `LayerNorm`; no weights of its own.
//! Differences: the axis is free, so that a map `[B, C, H, W]` need not be turned first.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

/// Creates a [`LayerNorm`].
#[derive(Config, Debug)]
pub(crate) struct LayerNormConfig {
    /// Length of the axis.
    pub channels: usize,
    /// Added to the variance.
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

/// `(x − mean) / √(variance + epsilon) · gamma + beta`, with the moments of each position over one axis.
///
/// Should be created using [`LayerNormConfig`].
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNormConfig {
    /// Initializes the layer as the identity on normalized values.
    pub(crate) fn init(&self, device: &Device) -> LayerNorm {
        let shape = [self.channels];
        let (gamma, beta) = (Initializer::Ones.init(shape, device), Initializer::Zeros.init(shape, device));
        LayerNorm { gamma, beta, epsilon: self.epsilon }
    }
}

impl LayerNorm {
    /// Normalizes over an axis.
    ///
    /// # Shapes
    ///
    /// any → the same.
    pub(crate) fn forward<const D: usize>(&self, axis: usize, input: Tensor<D>) -> Tensor<D> {
        dermafuse_kernels::layer_norm(input, self.gamma.val(), self.beta.val(), self.epsilon, axis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn the_axis_is_free() {
        let device = Device::flex();
        let reference = burn::nn::LayerNormConfig::new(6).with_epsilon(1e-3).init(&device);
        let layer = LayerNormConfig::new(6).with_epsilon(1e-3).init(&device);
        let input = Tensor::<4>::random([2, 6, 4, 3], Distribution::Default, &device);
        let expected = reference.forward(input.clone().permute([0, 2, 3, 1])).permute([0, 3, 1, 2]);
        let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
        layer.forward(1, input).into_data().assert_approx_eq(&expected.into_data(), tolerance);
    }
}
