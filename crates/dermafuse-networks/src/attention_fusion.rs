//! Attention fusion: two maps, mixed at each place in a ratio that is learnt from both.
//!
//! Paper: He et al., CAFNet (Pattern Recognition 2023), the attention fusion block. Source and readings:
//! [`CafNet`](crate::CafNet).

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use dermafuse_kernels::Activation;

use crate::convolution::{convolution, convolve};
use crate::residual_block::{ResidualBlock, fitted};

/// How many times fewer channels the hidden layer of a score has than its map.
const REDUCTION: usize = 4;

/// `r · X + (1 − r) · Y` with a ratio `r` in 0..1 at each place: `[r, 1 − r] = softmax([score(X), score'(Y)])`.
#[derive(Module, Debug)]
struct FusionRatio {
    first: Score,
    second: Score,
}

/// `Conv1×1, ReLU, Conv1×1` to one channel.
#[derive(Module, Debug)]
struct Score {
    hidden: Conv2d,
    score: Conv2d,
}

/// What the stage before fused, and the ratio in which it goes on.
#[derive(Module, Debug)]
struct Earlier {
    block: ResidualBlock,
    ratio: FusionRatio,
}

/// The maps of two images become one; where there is one of the stage before, it is mixed with that. Made by
/// [`AttentionFusion::init`].
#[derive(Module, Debug)]
pub(crate) struct AttentionFusion {
    images: FusionRatio,
    earlier: Option<Earlier>,
}

impl FusionRatio {
    fn init(channels: usize, device: &Device) -> Self {
        let hidden = (channels / REDUCTION).max(1);
        let score =
            || Score { hidden: convolution(channels, hidden, 1, device), score: convolution(hidden, 1, 1, device) };
        Self { first: score(), second: score() }
    }

    /// # Shapes
    /// `[B, C, H, W]` twice → `[B, C, H, W]`.
    fn forward(&self, first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
        // The softmax of two numbers is the sigmoid of their difference.
        let ratio = sigmoid(self.first.forward(first.clone()) - self.second.forward(second.clone())); // [B, 1, H, W]
        second.clone() + (first - second) * ratio // [B, C, H, W]
    }
}

impl Score {
    /// # Shapes
    /// `[B, C, H, W]` → `[B, 1, H, W]`.
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        convolve(&self.score, Activation::Identity, convolve(&self.hidden, Activation::Relu, map)) // [B, 1, H, W]
    }
}

impl AttentionFusion {
    /// A block with fresh weights for maps of `channels` channels; `earlier` has the channels of the stage before, and how many
    /// times larger its maps are.
    pub(crate) fn init(channels: usize, earlier: Option<(usize, usize)>, device: &Device) -> Self {
        let earlier = earlier.map(|(before, stride)| Earlier {
            block: ResidualBlock::init(before, channels, stride, device),
            ratio: FusionRatio::init(channels, device),
        });
        Self { images: FusionRatio::init(channels, device), earlier }
    }

    /// # Shapes
    /// `[B, C_i, H, W]` twice, and what the stage before fused, `[B, C_{i-1}, H', W']` → `[B, C_i, H, W]`.
    pub(crate) fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>, earlier: Option<Tensor<4>>) -> Tensor<4> {
        let fused = self.images.forward(clinical, dermoscopic); // [B, C_i, H, W]
        match (&self.earlier, earlier) {
            (Some(Earlier { block, ratio }), Some(map)) => {
                let map = fitted(block.forward(map), &fused); // [B, C_i, H, W]
                ratio.forward(fused, map)
            }
            _ => fused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn a_mix_lies_between_its_maps_and_maps_that_are_equal_stay() {
        let device = Device::flex();
        let ratio = FusionRatio::init(8, &device);
        let map = || Tensor::<4>::random([2, 8, 3, 4], Distribution::Normal(0.0, 2.0), &device);
        let (first, second) = (map(), map());
        let mixed = ratio.forward(first.clone(), second.clone());
        let numbers = |map: Tensor<4>| map.into_data().try_to_vec::<f32>().unwrap();
        let pairs = numbers(first.clone()).into_iter().zip(numbers(second));
        for ((first, second), mixed) in pairs.zip(numbers(mixed)) {
            assert!((first.min(second) - 1e-5..=first.max(second) + 1e-5).contains(&mixed), "{first} {second} {mixed}");
        }
        let same = ratio.forward(first.clone(), first.clone()).into_data();
        same.assert_approx_eq(&first.into_data(), Tolerance::<f32>::rel_abs(1e-5, 1e-6));
    }
}
