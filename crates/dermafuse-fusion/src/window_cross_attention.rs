//! Dual cross-attention inside windows: each map's positions look at both maps' positions of their window.
//!
//! Paper: Zhang et al., *TFormer: A Throughout Fusion Transformer for Multi-Modal Skin Lesion Diagnosis* (Computers in Biology
//! and Medicine 2023). Source: the authors' code. Weights: none. Differences: windows are not moved from layer to layer, which
//! the code does where a map has several: at its 224 pixels the only block with two layers sees a single window. Maps that windows
//! do not tile are padded with zeros, as in torchvision's Swin Transformer; the code refuses them.

use burn::module::{Initializer, Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};
use dermafuse_init::AddressedParameter;
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::tokens::normalize;
use crate::{FusionError, MapDependence, MapFusion, linear};

/// Hidden units of a layer's perceptron, as a multiple of the channels.
const EXPANSION: usize = 4;

/// Configuration of a [`WindowCrossAttention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowCrossAttentionConfig {
    /// Attention heads; they divide the channels.
    pub heads: usize,
    /// Layers.
    pub depth: usize,
    /// Side of the windows; 7.
    pub window: usize,
}

/// In each layer `x ← block(x, y) + x`, then `y ← block(y, x) + y`, with a block of attention and perceptron for each map. `x` is
/// the first argument of [`forward`](MapFusion::forward), whichever image it is of. Made by [`WindowCrossAttentionConfig::init`].
#[derive(Module, Debug)]
pub struct WindowCrossAttention {
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    first: Block,
    second: Block,
}

/// Attention and perceptron, each a residual branch.
#[derive(Module, Debug)]
struct Block {
    /// Of both maps.
    norm1: LayerNorm,
    query: Linear,
    key_value: Linear,
    /// A number for each relative position, `[(2w - 1)², heads]`: the same in either map.
    table: Param<Tensor<2>>,
    project: Linear,
    norm2: LayerNorm,
    expand: Linear,
    reduce: Linear,
    heads: usize,
    window: usize,
}

impl WindowCrossAttentionConfig {
    /// Windows of 7.
    #[must_use]
    pub fn new(heads: usize, depth: usize) -> Self {
        Self { heads, depth, window: 7 }
    }

    /// A module with fresh weights for two maps of so many channels.
    ///
    /// # Errors
    /// Channels that the heads do not divide; windows without pixels.
    pub fn init(&self, channels: usize, device: &Device) -> Result<WindowCrossAttention, FusionError> {
        let module = "window cross-attention";
        FusionError::require_inputs(module, self.window)?;
        if self.heads == 0 || channels == 0 || !channels.is_multiple_of(self.heads) {
            return Err(FusionError::Heads { module, width: channels, heads: self.heads });
        }
        let linear = |inputs, outputs| linear(inputs, outputs, device);
        let block = || Block {
            norm1: LayerNormConfig::new(channels).init(device),
            query: linear(channels, channels),
            key_value: linear(channels, 2 * channels),
            table: Initializer::Normal { mean: 0.0, std: 0.02 }
                .init_addressed([(2 * self.window - 1).pow(2), self.heads], device),
            project: linear(channels, channels),
            norm2: LayerNormConfig::new(channels).init(device),
            expand: linear(channels, EXPANSION * channels),
            reduce: linear(EXPANSION * channels, channels),
            heads: self.heads,
            window: self.window,
        };
        let layers = (0..self.depth).map(|_| Layer { first: block(), second: block() });
        Ok(WindowCrossAttention { layers: layers.collect() })
    }
}

impl MapFusion for WindowCrossAttention {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        assert_eq!(clinical.dims(), dermoscopic.dims(), "the two maps must have the same shape");
        let (x, y) = (clinical.permute([0, 2, 3, 1]), dermoscopic.permute([0, 2, 3, 1])); // [B, H, W, C]
        let (x, y) = self.layers.iter().fold((x, y), |(x, y), Layer { first, second }| {
            let x = first.forward(x.clone(), y.clone()) + x; // [B, H, W, C]
            let y = second.forward(y.clone(), x.clone()) + y; // [B, H, W, C]
            (x, y)
        });
        (x.permute([0, 3, 1, 2]), y.permute([0, 3, 1, 2])) // [B, C, H, W]
    }

    fn dependence(&self) -> MapDependence {
        MapDependence::BOTH
    }
}

impl Block {
    /// # Shapes
    /// `[B, H, W, C]` twice → `[B, H, W, C]`.
    fn forward(&self, map: Tensor<4>, other: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = map.dims();
        let windows = |map: Tensor<4>| self.windows(normalize(&self.norm1, map)); // [B·n, N, C]
        let attended = self.attend(windows(map.clone()), windows(other)); // [B·n, N, C]
        let map = map + self.map(attended, [height, width]); // [B, H, W, C]
        let hidden = project(&self.expand, Activation::Gelu, normalize(&self.norm2, map.clone())); // [B, H, W, 4·C]
        map + project(&self.reduce, Activation::Identity, hidden)
    }

    /// # Shapes
    /// `[B·n, N, C]` twice → `[B·n, N, C]`.
    fn attend(&self, own: Tensor<3>, other: Tensor<3>) -> Tensor<3> {
        let [count, pixels, channels] = own.dims();
        let length = channels / self.heads; // d
        let heads = |tokens: Tensor<3>| {
            let [_, tokens_count, _] = tokens.dims();
            tokens.reshape([count, tokens_count, self.heads, length]).swap_dims(1, 2) // [B·n, h, T, d]
        };
        let query = heads(project(&self.query, Activation::Identity, own.clone())) * (length as f64).powf(-0.5);
        let both = project(&self.key_value, Activation::Identity, Tensor::cat(vec![own, other], 1)); // [B·n, 2·N, 2·C]
        let [key, value] = [0, channels].map(|first| heads(both.clone().narrow(2, first, channels))); // [B·n, h, 2·N, d]

        let bias = self.position_bias(&query.device()).unsqueeze::<4>(); // [1, h, N, N]
        let bias = Tensor::cat(vec![bias.clone(), bias], 3); // [1, h, N, 2·N]
        let weights = softmax(query.matmul(key.swap_dims(2, 3)) + bias, 3); // [B·n, h, N, 2·N]
        let tokens = weights.matmul(value).swap_dims(1, 2).reshape([count, pixels, channels]); // [B·n, N, C]
        project(&self.project, Activation::Identity, tokens)
    }

    /// Cuts a map into windows, with zeros below and to the right where they do not tile it.
    ///
    /// # Shapes
    /// `[B, H, W, C]` → `[B·n, N, C]`.
    fn windows(&self, map: Tensor<4>) -> Tensor<3> {
        let [batch, height, width, channels] = map.dims();
        let side = self.window;
        let [below, right] = [height, width].map(|length| length.next_multiple_of(side) - length);
        let map = match (below, right) {
            (0, 0) => map,
            _ => map.pad([(0, 0), (0, below), (0, right), (0, 0)], 0.0), // [B, H', W', C]
        };
        let (rows, columns) = ((height + below) / side, (width + right) / side);
        map.reshape([batch, rows, side, columns, side, channels]).permute([0, 1, 3, 2, 4, 5]).reshape([
            batch * rows * columns,
            side * side,
            channels,
        ])
    }

    /// Puts windows together again.
    ///
    /// # Shapes
    /// `[B·n, N, C]` → `[B, H, W, C]`.
    fn map(&self, windows: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
        let [count, _, channels] = windows.dims();
        let side = self.window;
        let (rows, columns) = (height.div_ceil(side), width.div_ceil(side));
        let batch = count / (rows * columns);
        windows
            .reshape([batch, rows, columns, side, side, channels])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([batch, rows * side, columns * side, channels])
            .narrow(1, 0, height)
            .narrow(2, 0, width)
    }

    /// # Shapes
    /// → `[h, N, N]`.
    fn position_bias(&self, device: &Device) -> Tensor<3> {
        let (side, pixels) = (self.window as i64, self.window * self.window);
        let pairs = (0..side * side).flat_map(|from| (0..side * side).map(move |to| (from, to)));
        let index: Vec<i64> = pairs
            .map(|(from, to)| {
                let (down, right) = (from / side - to / side, from % side - to % side);
                (down + side - 1) * (2 * side - 1) + right + side - 1
            })
            .collect();
        let index = Tensor::<1, Int>::from_data(index.as_slice(), device);
        self.table.val().select(0, index).reshape([pixels, pixels, self.heads]).permute([2, 0, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_size_keeps_its_shape_and_heads_must_divide() {
        let device = Device::flex();
        let module = WindowCrossAttentionConfig::new(2, 1).init(8, &device).unwrap();
        let map = |height, width| Tensor::<4>::zeros([2, 8, height, width], &device);
        for [height, width] in [[7, 14], [3, 9]] {
            let (first, second) = module.forward(map(height, width), map(height, width));
            assert_eq!([first.dims(), second.dims()], [[2, 8, height, width]; 2]);
        }
        let error = WindowCrossAttentionConfig::new(3, 1).init(8, &device).unwrap_err().to_string();
        assert_eq!(error, "window cross-attention cannot divide a width of 8 into 3 heads");
    }
}
