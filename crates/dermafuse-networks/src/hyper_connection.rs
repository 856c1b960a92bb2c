//! Hyper-connection: what two images and an earlier connection show at one stage, joined and carried on to the next.
//!
//! Paper: Bi et al., HcCNN (Pattern Recognition 2020). Source and readings: [`HcCnn`](crate::HcCnn).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{Activation, ConvNormAct, ConvNormActConfig, global_average_pool};
use dermafuse_fusion::linear;
use dermafuse_kernels::project;

use crate::residual_block::{Bottleneck, ResidualBlock};

/// Units of the attention's layer over pooled features.
const HIDDEN: usize = 128;

/// `attention(block(join([C | D | H])))`. Made by [`HyperConnection::init`].
#[derive(Module, Debug)]
pub(crate) struct HyperConnection {
    join: ConvNormAct,
    block: ResidualBlock,
    attention: MultiScaleAttention,
}

/// The gate `σ(W_2 ReLU(W_1 GAP(X)) + bottleneck(X))`: the first term knows the whole map, the second each place of it.
#[derive(Module, Debug)]
struct MultiScaleAttention {
    squeeze: Linear,
    excite: Linear,
    places: Bottleneck,
}

impl HyperConnection {
    /// A connection of so many maps of `channels` channels, with fresh weights, to maps of `next` channels.
    pub(crate) fn init(maps: usize, channels: usize, next: usize, stride: usize, device: &Device) -> Self {
        Self {
            join: ConvNormActConfig::new([maps * channels, channels], 1).with_activation(Activation::Relu).init(device),
            block: ResidualBlock::init(channels, next, stride, device),
            attention: MultiScaleAttention {
                squeeze: linear(next, HIDDEN, device),
                excite: linear(HIDDEN, next, device),
                places: Bottleneck::init(next, next, 1, device),
            },
        }
    }

    /// # Shapes
    /// `[B, C, H, W]` for each map → `[B, C', H / stride, W / stride]` (rounded up).
    pub(crate) fn forward(&self, maps: Vec<Tensor<4>>) -> Tensor<4> {
        let joined = self.join.forward(Tensor::cat(maps, 1)); // [B, C, H, W]
        self.attention.forward(self.block.forward(joined)) // [B, C', H/stride, W/stride]
    }
}

impl MultiScaleAttention {
    /// # Shapes
    /// `[B, C, H, W]` → the same.
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let [batch, channels, _, _] = map.dims();
        let whole = project(&self.squeeze, Activation::Relu, global_average_pool(map.clone())); // [B, 128]
        let whole = project(&self.excite, Activation::Identity, whole).reshape([batch, channels, 1, 1]);
        let gate = sigmoid(self.places.forward(map.clone()) + whole); // [B, C, H, W]
        map * gate
    }
}
