//! The block of mobile networks: wide inside and thin between, on a depthwise convolution.
//!
//! Paper: Sandler et al., 2018, <https://arxiv.org/abs/1801.04381>; with squeeze-and-excitation: Tan et al., 2018,
//! <https://arxiv.org/abs/1807.11626>.
//! Source: torchvision `models/mobilenetv2.py`, `mobilenetv3.py` and `efficientnet.py` (BSD-3-Clause).
//! Weights: none of its own.
//! Differences: none.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_kernels::sum_activation;

use super::conv_norm_act::{Activation, ConvNormAct, ConvNormActConfig, Padding};
use super::squeeze_excitation::{SqueezeExcitation, SqueezeExcitationConfig};
use super::stochastic_depth::{StochasticDepth, StochasticDepthConfig};

/// Creates an [`InvertedResidual`].
#[derive(Config, Debug)]
pub(crate) struct InvertedResidualConfig {
    /// Channels of the input, inside, and of the output.
    pub channels: [usize; 3],
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// What follows the first two normalizations.
    pub activation: Activation,
    /// Inner channels of the squeeze-and-excitation, and its gate.
    #[config(default = "None")]
    pub squeeze: Option<(usize, Activation)>,
    /// Activation inside the squeeze-and-excitation.
    #[config(default = "Activation::Relu")]
    pub squeeze_activation: Activation,
    /// Probability that training leaves the branch out.
    #[config(default = 0.0)]
    pub stochastic_depth: f64,
    /// What the depthwise convolution has around the map.
    #[config(default = "Padding::Half")]
    pub padding: Padding,
    /// Epsilon and momentum of the normalizations.
    #[config(default = "[1e-5, 0.1]")]
    pub norm: [f64; 2],
}

/// 1×1 expansion → depthwise convolution → squeeze-and-excitation → linear 1×1 projection, added to the input where
/// the shapes agree.
///
/// Should be created using [`InvertedResidualConfig`].
#[derive(Module, Debug)]
pub(crate) struct InvertedResidual {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    squeeze: Option<SqueezeExcitation>,
    project: ConvNormAct,
    stochastic_depth: StochasticDepth,
    residual: bool,
}

impl InvertedResidualConfig {
    /// Initializes the block.
    pub(crate) fn init(&self, device: &Device) -> InvertedResidual {
        let [channels_in, hidden, channels_out] = self.channels;
        let [epsilon, momentum] = self.norm;
        let layer = |channels, kernel| {
            ConvNormActConfig::new(channels, kernel).with_norm_epsilon(epsilon).with_norm_momentum(momentum)
        };
        let expand = (hidden != channels_in)
            .then(|| layer([channels_in, hidden], 1).with_activation(self.activation).init(device));
        let depthwise = layer([hidden, hidden], self.kernel)
            .with_stride(self.stride)
            .with_padding(self.padding)
            .with_groups(hidden)
            .with_activation(self.activation)
            .init(device);
        let squeeze = self.squeeze.map(|(squeezed, gate)| {
            SqueezeExcitationConfig::new([hidden, squeezed], self.squeeze_activation, gate).init(device)
        });
        let project = layer([hidden, channels_out], 1).init(device);
        let stochastic_depth = StochasticDepthConfig::new(self.stochastic_depth).init();
        let residual = self.stride == 1 && channels_in == channels_out;
        InvertedResidual { expand, depthwise, squeeze, project, stochastic_depth, residual }
    }
}

impl InvertedResidual {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C', H / stride, W / stride]` (rounded up).
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = match &self.expand {
            Some(expand) => expand.forward(input.clone()), // [B, t*C, H, W]
            None => input.clone(),
        };
        let map = self.depthwise.forward(map); // [B, t*C, H', W']
        let map = match &self.squeeze {
            Some(squeeze) => squeeze.forward(map),
            None => map,
        };
        let map = self.project.forward(map); // [B, C', H', W']
        match self.residual {
            true => sum_activation(self.stochastic_depth.forward(map), input, Activation::Identity),
            false => map,
        }
    }

    /// Merges each normalization into its convolution.
    pub(crate) fn fold(self) -> Self {
        Self {
            expand: self.expand.map(ConvNormAct::fold),
            depthwise: self.depthwise.fold(),
            project: self.project.fold(),
            ..self
        }
    }

    /// The place of a part in torchvision's `Sequential`, which has no gaps where a part is missing.
    pub(crate) fn place(&self, part: &str) -> usize {
        let parts = [("expand", self.expand.is_some()), ("depthwise", true), ("squeeze", self.squeeze.is_some())];
        parts.iter().take_while(|(name, _)| *name != part).filter(|(_, present)| *present).count()
    }

    /// `depthwise.norm.bias` → `1.1.bias`, `squeeze.fc1.bias` → `2.fc1.bias`: torchvision's names within the block of
    /// MobileNetV3 and EfficientNet.
    pub(crate) fn published_key(&self, part: &str, layer: &str, name: &str) -> String {
        let layer = match layer {
            "conv" => "0",
            "norm" => "1",
            other => other,
        };
        format!("{}.{layer}.{name}", self.place(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_have_no_gaps() {
        let device = Device::flex();
        let config = |hidden| InvertedResidualConfig::new([8, hidden, 8], 3, 1, Activation::Relu);
        let full = config(16).with_squeeze(Some((4, Activation::Sigmoid))).init(&device);
        assert_eq!(full.published_key("squeeze", "fc1", "bias"), "2.fc1.bias");
        assert_eq!(full.published_key("project", "norm", "weight"), "3.1.weight");
        let bare = config(8).init(&device);
        assert_eq!(bare.published_key("depthwise", "conv", "weight"), "0.0.weight");
        assert_eq!(bare.published_key("project", "conv", "weight"), "1.0.weight");
    }
}
