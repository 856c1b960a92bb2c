//! Patch merging: four neighbours become one pixel of twice the channels.
//!
//! Paper: Liu et al., 2021, <https://arxiv.org/abs/2103.14030>, section 3.1; between the fused maps of TFormer. Source: TFormer's
//! code. Weights: none. Differences: none; maps of an odd size are padded with zeros, as in torchvision.

use burn::module::Module;
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
use dermafuse_kernels::Activation;

use crate::tokens::{normalize, project};

/// Normalization of four neighbours, then a linear layer without offset. Made by [`PatchMerging::init`].
#[derive(Module, Debug)]
pub struct PatchMerging {
    norm: LayerNorm,
    reduction: Linear,
}

impl PatchMerging {
    /// A layer with fresh weights for maps of `channels` channels.
    #[must_use]
    pub fn init(channels: usize, device: &Device) -> Self {
        let bound = 1.0 / (4.0 * channels as f64).sqrt();
        let initializer = Initializer::Uniform { min: -bound, max: bound };
        let reduction = LinearConfig::new(4 * channels, 2 * channels).with_bias(false).with_initializer(initializer);
        Self { norm: LayerNormConfig::new(4 * channels).init(device), reduction: reduction.init_addressed(device) }
    }

    /// # Shapes
    /// `[B, C, H, W]` → `[B, 2·C, H / 2, W / 2]` (rounded up).
    #[must_use]
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = map.dims();
        let (below, right) = (height % 2, width % 2);
        let map = match (below, right) {
            (0, 0) => map,
            _ => map.pad([(0, 0), (0, 0), (0, below), (0, right)], 0.0),
        };
        let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
        // Neighbours in the order of the code: down before right.
        let map = map.reshape([batch, channels, rows, 2, columns, 2]).permute([0, 2, 4, 5, 3, 1]);
        let map = map.reshape([batch, rows, columns, 4 * channels]); // [B, H/2, W/2, 4·C]
        let map = project(&self.reduction, Activation::Identity, normalize(&self.norm, map)); // [B, H/2, W/2, 2·C]
        map.permute([0, 3, 1, 2]) // [B, 2·C, H/2, W/2]
    }
}
