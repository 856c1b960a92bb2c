//! Channels that are weighted by what the whole map contains.
//!
//! Paper: Hu et al., 2017, <https://arxiv.org/abs/1709.01507>.
//! Source: torchvision `ops/misc.py`, `SqueezeExcitation` (BSD-3-Clause).
//! Weights: none of its own.
//! Differences: none.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;

use super::conv_norm_act::Activation;
use super::convolution::convolve_with;

/// Creates a [`SqueezeExcitation`].
#[derive(Config, Debug)]
pub(crate) struct SqueezeExcitationConfig {
    /// Channels of the map, and of the layer between.
    pub channels: [usize; 2],
    /// What follows the first 1×1 convolution.
    pub activation: Activation,
    /// What turns the second's output into weights between 0 and 1.
    pub gate: Activation,
}

/// `x · gate(fc2(activation(fc1(mean(x)))))`, the mean being over height and width.
///
/// Should be created using [`SqueezeExcitationConfig`].
#[derive(Module, Debug)]
pub(crate) struct SqueezeExcitation {
    fc1: Conv2d,
    fc2: Conv2d,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    gate: Activation,
}

impl SqueezeExcitationConfig {
    /// Initializes the layer: normal weights with variance 2 / fan-out, zero biases.
    pub(crate) fn init(&self, device: &Device) -> SqueezeExcitation {
        let [channels, squeezed] = self.channels;
        SqueezeExcitation {
            fc1: pointwise([channels, squeezed], device),
            fc2: pointwise([squeezed, channels], device),
            activation: self.activation,
            gate: self.gate,
        }
    }
}

fn pointwise(channels: [usize; 2], device: &Device) -> Conv2d {
    let [_, fan_out] = channels;
    let initializer = Initializer::Normal { mean: 0.0, std: (2.0 / fan_out as f64).sqrt() };
    let mut conv = Conv2dConfig::new(channels, [1, 1]).with_initializer(initializer).init_addressed(device);
    let zeros: Param<Tensor<1>> = Initializer::Zeros.init([fan_out], device);
    conv.bias = Some(zeros);
    conv
}

impl SqueezeExcitation {
    /// Applies the layer.
    ///
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C, H, W]`.
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let squeezed = input.clone().mean_dims(&[2, 3]); // [B, C, 1, 1]
        let excited = convolve_with(&self.fc1, self.activation, squeezed); // [B, S, 1, 1]
        input * convolve_with(&self.fc2, self.gate, excited) // [B, C, H, W]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_means() {
        let device = Device::flex();
        let config = SqueezeExcitationConfig::new([2, 1], Activation::Relu, Activation::HardSigmoid);
        let mut layer = config.init(&device);
        layer.fc1.weight = Param::from_data([[[[1.0]], [[-1.0]]]], &device);
        layer.fc2.weight = Param::from_data([[[[3.0]]], [[[-30.0]]]], &device);
        // Means 3 and 2 squeeze to 1, which excites to 3 and -30: weights 1 and 0.
        let input = Tensor::from_data([[[[2.0, 4.0]], [[1.0, 3.0]]]], &device);
        let output: Vec<f32> = layer.forward(input).into_data().iter().collect();
        assert_eq!(output, [2.0, 4.0, 0.0, 0.0]);
    }
}
