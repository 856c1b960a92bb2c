//! A map of where the features are that matter: their sum over channels, weighed by channel attention.
//!
//! Paper: Wang et al., AMFAM (Medical Image Analysis 2022), section 3.2.2, which takes the channel part of Roy et al.,
//! *Concurrent Spatial and Channel Squeeze & Excitation* (MICCAI 2018). Source: the text: a convolution that turns the
//! maps into a vector, then layers of c, c/2 and c neurons. Weights: none. Differences: a convolution over the whole
//! map would have 419 million parameters, so the first layer sees pooled features instead; [`Squeeze::Depthwise`]
//! convolves each channel on its own.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, PaddingConfig2d};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::global_average_pool;
use dermafuse_fusion::linear;
use dermafuse_init::AddressedInit;
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::NetworkError;
use crate::limits::MAX_SQUEEZE_SIDE;
use crate::resize::{Interpolation, resize};

/// Kept away from a division by zero where a map is the same everywhere.
const EPSILON: f64 = 1e-8;

/// How the maps become the vector that channel attention begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Squeeze {
    /// The mean of each channel, then a layer of as many neurons as channels.
    #[default]
    Pooled,
    /// A convolution of each channel over the whole map, of this side.
    Depthwise {
        /// Side of the maps, in pixels: 10 for images of 299 pixels and a stride of 32.
        side: usize,
    },
}

/// `m = Σ_k w_k F_k` with `w = sigmoid(FC(relu(FC(relu(squeeze(F))))))`. Made by [`AttentionMap::init`].
#[derive(Module, Debug)]
pub struct AttentionMap {
    pooled: Option<Linear>,
    depthwise: Option<Conv2d>,
    reduce: Linear,
    expand: Linear,
}

impl AttentionMap {
    /// A module with fresh weights for maps of `channels` channels.
    ///
    /// # Errors
    /// Fewer than two channels; a convolution of side 0.
    pub fn init(channels: usize, squeeze: Squeeze, device: &Device) -> Result<Self, NetworkError> {
        let half = channels / 2;
        NetworkError::require_units(&[channels, half])?;
        let (pooled, depthwise) = match squeeze {
            Squeeze::Pooled => (Some(linear(channels, channels, device)), None),
            Squeeze::Depthwise { side } => {
                if !(1..=MAX_SQUEEZE_SIDE).contains(&side) {
                    let (image, expected) = (224, 7);
                    return Err(NetworkError::SqueezeSide { side, limit: MAX_SQUEEZE_SIDE, image, expected });
                }
                let bound = 1.0 / side as f64; // PyTorch's default: 1/√fan-in, for weights and biases
                let config = Conv2dConfig::new([channels, channels], [side, side])
                    .with_groups(channels)
                    .with_padding(PaddingConfig2d::Valid)
                    .with_initializer(Initializer::Uniform { min: -bound, max: bound });
                (None, Some(config.init_addressed(device)))
            }
        };
        let (reduce, expand) = (linear(channels, half, device), linear(half, channels, device));
        Ok(Self { pooled, depthwise, reduce, expand })
    }

    /// The channels' weights, each in 0 to 1.
    ///
    /// # Shapes
    /// `[B, C, h, w]` → `[B, C]`.
    ///
    /// # Panics
    /// If a depthwise squeeze was made for maps of another side.
    #[must_use]
    pub fn channel_weights(&self, maps: Tensor<4>) -> Tensor<2> {
        let [batch, channels, _, _] = maps.dims();
        let mut squeezed = match &self.depthwise {
            Some(convolution) => convolution.forward(maps).reshape([batch, channels]), // [B, C, 1, 1] → [B, C]
            None => global_average_pool(maps),                                         // [B, C]
        };
        if let Some(layer) = &self.pooled {
            squeezed = project(layer, Activation::Identity, squeezed); // [B, C]
        }
        let hidden = project(&self.reduce, Activation::Relu, relu(squeezed)); // [B, C/2]
        sigmoid(project(&self.expand, Activation::Identity, hidden)) // [B, C]
    }

    /// The map at its own size, not scaled.
    ///
    /// # Shapes
    /// `[B, C, h, w]` → `[B, 1, h, w]`.
    #[must_use]
    pub fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let weights = self.channel_weights(maps.clone()); // [B, C]
        let [batch, channels] = weights.dims();
        (maps * weights.reshape([batch, channels, 1, 1])).sum_dim(1) // [B, 1, h, w]
    }

    /// The map at the size of the images (bicubic), scaled to 0 to 1 for each of them.
    ///
    /// # Shapes
    /// `[B, C, h, w]` → `[B, 1, H, W]`.
    #[must_use]
    pub fn forward_scaled(&self, maps: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let map = resize(self.forward(maps), size, Interpolation::Bicubic); // [B, 1, H, W]
        let [batch, _, height, width] = map.dims();
        let flat = map.reshape([batch, height * width]); // [B, H*W]
        let (low, high) = (flat.clone().min_dim(1), flat.clone().max_dim(1)); // [B, 1]
        let scaled = (flat - low.clone()) / (high - low + EPSILON);
        scaled.reshape([batch, 1, height, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn the_published_size_has_the_published_parameters() {
        let device = Device::flex();
        let count = |squeeze| parameter_count(&AttentionMap::init(2048, squeeze, &device).unwrap());
        assert_eq!(count(Squeeze::Pooled), 8_393_728);
        // The convolution's hundred weights and a bias for each channel instead of 2048² + 2048.
        assert_eq!(count(Squeeze::Depthwise { side: 10 }), 8_393_728 - 2048 * 2049 + 2048 * 101);
    }

    #[test]
    fn a_flat_map_is_no_division_by_zero() {
        let device = Device::flex();
        let attention = AttentionMap::init(4, Squeeze::Depthwise { side: 2 }, &device).unwrap();
        let map = attention.forward_scaled(Tensor::ones([2, 4, 2, 2], &device), [5, 6]);
        assert_eq!(map.dims(), [2, 1, 5, 6]);
        assert!(map.into_data().iter::<f32>().all(|value| (0.0..=1.0).contains(&value)));
    }
}
