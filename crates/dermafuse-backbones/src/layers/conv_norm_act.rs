//! Convolution, batch normalization and activation in one layer.
//!
//! Paper: the pattern of Ioffe and Szegedy, 2015, <https://arxiv.org/abs/1502.03167>.
//! Source: torchvision `ops/misc.py`, `Conv2dNormActivation` (BSD-3-Clause).
//! Weights: none of its own.
//! Differences: none.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
pub use dermafuse_kernels::Activation;

use super::convolution::{convolve, convolve_with};
use super::normalization::{normalize, scale_and_shift};

/// Creates a [`ConvNormAct`].
#[derive(Config, Debug)]
pub struct ConvNormActConfig {
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Side of the square kernel, odd.
    pub kernel: usize,
    /// Width of the kernel where it is not square, odd.
    #[config(default = "None")]
    pub kernel_width: Option<usize>,
    /// Step of the kernel in both directions.
    #[config(default = 1)]
    pub stride: usize,
    /// Groups of channels that do not see each other; equal to the channels for a depthwise convolution.
    #[config(default = 1)]
    pub groups: usize,
    /// What is added around the map.
    #[config(default = "Padding::Half")]
    pub padding: Padding,
    /// Added to the variance.
    #[config(default = 1e-5)]
    pub norm_epsilon: f64,
    /// Weight of each batch in the running statistics.
    #[config(default = 0.1)]
    pub norm_momentum: f64,
    /// Weights of the convolution; by default normal with variance 2 / fan-out.
    #[config(default = "None")]
    pub initializer: Option<Initializer>,
    /// What follows the normalization.
    #[config(default = "Activation::Identity")]
    pub activation: Activation,
}

/// The zeros around a map.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Half a kernel on each side, as in PyTorch.
    Half,
    /// None: the map shrinks by the kernel less 1.
    None,
    /// As many as the last window lacks, an odd one below and to the right: TensorFlow's "same". It is `Half` where the step is
    /// 1 or the side is odd; where an even side is halved, windows begin one pixel further to the right.
    Same,
}

/// Convolution without bias → batch normalization → activation.
///
/// Should be created using [`ConvNormActConfig`].
#[derive(Module, Debug)]
pub struct ConvNormAct {
    conv: Conv2d,
    /// `None` once folded into the convolution.
    norm: Option<BatchNorm>,
    #[module(skip)]
    activation: Activation,
}

impl ConvNormActConfig {
    /// Initializes the layer the way most of torchvision's constructors do: normal weights with variance 2 / fan-out,
    /// unit normalization.
    pub fn init(&self, device: &Device) -> ConvNormAct {
        let [_, channels_out] = self.channels;
        let kernel = [self.kernel, self.kernel_width.unwrap_or(self.kernel)];
        // PyTorch's fan-out counts all output channels, also of a grouped convolution; Burn's counts one group.
        let fan_out = (channels_out * kernel[0] * kernel[1]) as f64;
        let he = Initializer::Normal { mean: 0.0, std: (2.0 / fan_out).sqrt() };
        let [down, across] = kernel.map(|side| side / 2);
        let padding = match self.padding {
            Padding::Half => PaddingConfig2d::Explicit(down, across, down, across),
            Padding::None => PaddingConfig2d::Valid,
            Padding::Same => PaddingConfig2d::Same,
        };

        let conv = Conv2dConfig::new(self.channels, kernel)
            .with_stride([self.stride, self.stride])
            .with_groups(self.groups)
            .with_padding(padding)
            .with_bias(false)
            .with_initializer(self.initializer.clone().unwrap_or(he))
            .init_addressed(device);
        let norm = BatchNormConfig::new(channels_out)
            .with_epsilon(self.norm_epsilon)
            .with_momentum(self.norm_momentum)
            .init(device);
        let norm = Some(norm);
        ConvNormAct { conv, norm, activation: self.activation }
    }
}

impl ConvNormAct {
    /// Applies the layer.
    ///
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C', H / stride, W / stride]` (rounded up).
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match &self.norm {
            Some(norm) => normalize(norm, self.activation, convolve(&self.conv, input)), // [B, C', H', W']
            None => convolve_with(&self.conv, self.activation, input),                   // [B, C', H', W']
        }
    }

    /// Merges the normalization's running statistics into the convolution, for faster prediction.
    pub(crate) fn fold(mut self) -> Self {
        let Some(norm) = self.norm.take() else { return self };
        let (scale, shift) = scale_and_shift(&norm);
        let [channels] = scale.dims();

        self.conv.weight = self.conv.weight.map(|weight| weight * scale.clone().reshape([channels, 1, 1, 1]));
        let bias = match self.conv.bias.take() {
            Some(bias) => bias.val() * scale + shift,
            None => shift,
        };
        self.conv.bias = Some(Param::from_tensor(bias));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn odd_sizes_round_up() {
        let device = Device::flex();
        let layer = ConvNormActConfig::new([3, 4], 3).with_stride(2).init(&device);
        assert_eq!(layer.forward(Tensor::zeros([2, 3, 7, 10], &device)).dims(), [2, 4, 4, 5]);
    }

    #[test]
    fn relu6_clips_on_both_sides() {
        let device = Device::flex();
        let layer = ConvNormActConfig::new([1, 1], 1).with_activation(Activation::Relu6).init(&device);
        let output = layer.forward(Tensor::random([1, 1, 8, 8], Distribution::Normal(0.0, 100.0), &device));
        let values = output.into_data().try_to_vec::<f32>().unwrap();
        assert!(values.iter().all(|value| (0.0..=6.0).contains(value)));
        assert!(values.contains(&0.0) && values.contains(&6.0));
    }

    #[test]
    fn folding_keeps_the_output() {
        let device = Device::flex();
        let layer =
            ConvNormActConfig::new([4, 6], 3).with_activation(Activation::Relu).init(&device.clone().autodiff());
        let input = Tensor::<4>::random([2, 4, 5, 5], Distribution::Default, &device);
        layer.forward(Tensor::from_inner(input.clone())); // moves the running statistics
        let layer = layer.valid();
        let expected = layer.forward(input.clone()).into_data();
        layer.fold().forward(input).into_data().assert_approx_eq(&expected, Tolerance::<f32>::rel_abs(1e-5, 1e-6));
    }
}
