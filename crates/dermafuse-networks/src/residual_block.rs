//! The residual blocks of which hyper-branches are made.
//!
//! Paper: He et al., 2015, <https://arxiv.org/abs/1512.03385>, the bottleneck of ResNet-50. Source: the paper; the stride is in the
//! 3×3 convolution, as in our ResNets. Weights: none. Differences: maps of one backbone's channels become those of its next stage,
//! and their size is fitted where the backbone rounds otherwise.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{Activation, ConvNormAct, ConvNormActConfig};

use crate::resize::{Interpolation, resize};

/// How many times fewer channels the middle of a block has than its end.
const EXPANSION: usize = 4;

/// `Conv1×1, BatchNorm, ReLU, Conv3×3, BatchNorm, ReLU, Conv1×1, BatchNorm`. Made by [`Bottleneck::init`].
#[derive(Module, Debug)]
pub(crate) struct Bottleneck {
    layers: Vec<ConvNormAct>,
}

/// `ReLU(bottleneck(X) + shortcut(X))`. Made by [`ResidualBlock::init`].
#[derive(Module, Debug)]
pub(crate) struct ResidualBlock {
    branch: Bottleneck,
    shortcut: Option<ConvNormAct>,
}

impl Bottleneck {
    /// Layers with fresh weights.
    pub(crate) fn init(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Self {
        let width = (outputs / EXPANSION).max(1);
        let layers = [
            ConvNormActConfig::new([inputs, width], 1).with_activation(Activation::Relu),
            ConvNormActConfig::new([width, width], 3).with_stride(stride).with_activation(Activation::Relu),
            ConvNormActConfig::new([width, outputs], 1),
        ];
        Self { layers: layers.iter().map(|layer| layer.init(device)).collect() }
    }

    /// # Shapes
    /// `[B, C, H, W]` → `[B, C', H / stride, W / stride]` (rounded up).
    pub(crate) fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(map, |map, layer| layer.forward(map)) // [B, C', H/stride, W/stride]
    }
}

impl ResidualBlock {
    /// A block with fresh weights; its shortcut is the identity where the shapes agree.
    pub(crate) fn init(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Self {
        let shortcut = (inputs != outputs || stride != 1)
            .then(|| ConvNormActConfig::new([inputs, outputs], 1).with_stride(stride).init(device));
        Self { branch: Bottleneck::init(inputs, outputs, stride, device), shortcut }
    }

    /// # Shapes
    /// `[B, C, H, W]` → `[B, C', H / stride, W / stride]` (rounded up).
    pub(crate) fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(map.clone()), // [B, C', H/stride, W/stride]
            None => map.clone(),
        };
        Activation::Relu.forward(self.branch.forward(map) + shortcut)
    }
}

/// The map in the size of another. ResNets round as the blocks do; maps of architectures that round otherwise are resized.
///
/// # Shapes
/// `[B, C, h, w]` and `[B, C', H, W]` → `[B, C, H, W]`.
pub(crate) fn fitted(map: Tensor<4>, to: &Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = to.dims();
    resize(map, [height, width], Interpolation::Bilinear)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn a_block_has_the_parameters_of_resnet_50s() {
        // layer2.0 of ResNet-50 has 128 channels inside; the shortcut projects 256 to 512.
        let block = ResidualBlock::init(256, 512, 2, &Device::flex());
        let convolutions = 256 * 128 + 9 * 128 * 128 + 128 * 512 + 256 * 512;
        assert_eq!(parameter_count(&block), convolutions + 2 * (128 + 128 + 512 + 512));
        assert_eq!(block.forward(Tensor::zeros([2, 256, 7, 6], &Device::flex())).dims(), [2, 512, 4, 3]);
        let plain = ResidualBlock::init(8, 8, 1, &Device::flex());
        assert_eq!(parameter_count(&plain), 8 * 2 + 9 * 4 + 2 * 8 + 2 * (2 + 2 + 8));
    }
}
