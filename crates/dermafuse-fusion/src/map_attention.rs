//! Attention between the positions of feature maps, the core of the modules that refine them.
//!
//! Paper: Tang et al., AMMFM (thesis §5.3), Eq. 1; position attention is that of DANet (Fu et al., 2019,
//! <https://arxiv.org/abs/1809.02983>). Source: the equations, and the papers' parameter counts, which fix `C/8` channels of
//! queries and keys, and biases. Weights: none. Differences: see [`MapAttention`], whose options are the readings that the
//! equations allow.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use dermafuse_kernels::{ValueFlow, conv2d, position_attention};
use serde::{Deserialize, Serialize};

use crate::FusionError;

/// How the values and the map of attention weights are multiplied. The rows of the map sum to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapProduct {
    /// `v Mᵀ`: each position receives a weighted mean of the values.
    #[default]
    Transposed,
    /// `v M`, as Eq. 1 is typeset: each position sends its value along its row, and what a position receives is no mean.
    Literal,
}

/// `softmax(q k)` between all positions of a map, and the values that it mixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapAttention {
    /// How many times fewer channels queries and keys have than the map; 8.
    pub reduction: usize,
    /// How values and map are multiplied.
    pub product: MapProduct,
    /// Whether what is added to a map is multiplied by a learnt factor, 0 at first (SAGAN's and DANet's γ). The papers mention
    /// none.
    pub gamma: bool,
}

impl Default for MapAttention {
    /// An eighth of the channels, transposed, without γ.
    fn default() -> Self {
        Self { reduction: 8, product: MapProduct::default(), gamma: false }
    }
}

/// Queries and keys of all positions: `[B, C / 8, N]` each.
pub(crate) type QueriesAndKeys = [Tensor<3>; 2];

/// The 1×1 convolutions that make queries and keys of a map: which of its positions resemble each other.
#[derive(Module, Debug)]
pub(crate) struct Resemblance {
    query: Conv2d,
    key: Conv2d,
}

/// The 1×1 convolution that makes values of a map, and what is done with them.
#[derive(Module, Debug)]
pub(crate) struct Refinement {
    value: Conv2d,
    /// γ.
    factor: Option<Param<Tensor<1>>>,
    #[module(skip)]
    product: MapProduct,
}

impl MapAttention {
    pub(crate) fn init_resemblance(
        &self,
        module: &'static str,
        channels: usize,
        device: &Device,
    ) -> Result<Resemblance, FusionError> {
        let reduced = channels.checked_div(self.reduction).filter(|&reduced| reduced > 0);
        let reduced = reduced.ok_or(FusionError::Channels { module, channels, reduction: self.reduction })?;
        Ok(Resemblance { query: pointwise(channels, reduced, device), key: pointwise(channels, reduced, device) })
    }

    pub(crate) fn init_refinement(
        &self,
        module: &'static str,
        channels: usize,
        device: &Device,
    ) -> Result<Refinement, FusionError> {
        FusionError::require_inputs(module, channels)?;
        Ok(Refinement {
            value: pointwise(channels, channels, device),
            factor: self.gamma.then(|| Initializer::Zeros.init([1], device)),
            product: self.product,
        })
    }
}

/// A 1×1 convolution with PyTorch's default weights: uniform within ±1/√channels, biases too.
fn pointwise(channels: usize, channels_out: usize, device: &Device) -> Conv2d {
    let bound = 1.0 / (channels as f64).sqrt();
    let initializer = Initializer::Uniform { min: -bound, max: bound };
    Conv2dConfig::new([channels, channels_out], [1, 1]).with_initializer(initializer).init(device)
}

/// # Shapes
/// `[B, C, H, W]` → `[B, C', N]`.
fn project(conv: &Conv2d, map: Tensor<4>) -> Tensor<3> {
    let [batch, _, height, width] = map.dims();
    let bias = conv.bias.as_ref().map(|bias| bias.val());
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    conv2d(map, conv.weight.val(), bias, options).reshape([batch as i32, -1, (height * width) as i32]) // [B, C', N]
}

impl Resemblance {
    /// # Shapes
    /// `[B, C, H, W]` → twice `[B, C / 8, N]`.
    pub(crate) fn forward(&self, map: Tensor<4>) -> QueriesAndKeys {
        [project(&self.query, map.clone()), project(&self.key, map)]
    }
}

impl Refinement {
    /// The map plus what the attention finds in it.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, C, H, W]`.
    ///
    /// # Panics
    /// If the queries and keys belong to a map of another size.
    pub(crate) fn forward(&self, map: Tensor<4>, [query, key]: QueriesAndKeys) -> Tensor<4> {
        let shape = map.dims();
        let [_, _, height, width] = shape;
        assert_eq!(
            query.dims()[2],
            height * width,
            "the two maps must have the same size; choose an image side that both backbones divide alike, such as a multiple of 32"
        );
        let flow = match self.product {
            MapProduct::Transposed => ValueFlow::Gather,
            MapProduct::Literal => ValueFlow::Scatter,
        };
        let value = project(&self.value, map.clone()); // [B, C, N]
        let found = position_attention(query, key, value, flow).reshape(shape); // [B, C, H, W]
        match &self.factor {
            Some(factor) => map + found * factor.val().reshape([1, 1, 1, 1]),
            None => map + found,
        }
    }
}
