//! Attention between the positions of feature maps, the core of the modules that refine them.
//!
//! Paper: Tang et al., AMMFM, Eq. 1 (thesis §5.3.2.2, Eq. 5.1); position attention is that of DANet (Fu et al., 2019,
//! <https://arxiv.org/abs/1809.02983>). Source: the equations, and the papers' parameter counts, which fix `C/8`
//! channels of queries and keys, and biases. Weights: none. Differences: see [`MapAttention`], whose options are the
//! readings that the equations allow.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::softmax;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
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
    /// `v M`, as Eq. 1 (5.1) is typeset: each position sends its value along its row, and what a position receives is no
    /// mean.
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
    Conv2dConfig::new([channels, channels_out], [1, 1]).with_initializer(initializer).init_addressed(device)
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

    /// `softmax(q k)` in whole, a row for each query.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, N, N]`.
    pub(crate) fn weights(&self, map: Tensor<4>) -> Tensor<3> {
        let [query, key] = self.forward(map); // [B, C / 8, N]
        softmax(query.swap_dims(1, 2).matmul(key), 2) // [B, N, N]
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
        let positions = query.dims()[2];
        assert_eq!(
            positions,
            height * width,
            "the two maps must have the same size, but one has {positions} positions and the other {height}×{width}"
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    /// The values of a 1×1 convolution at a position, by hand.
    fn at(conv: &Conv2d, map: &[Vec<f64>], position: usize) -> Vec<f64> {
        let numbers = |tensor: burn::tensor::TensorData| tensor.iter::<f64>().collect::<Vec<_>>();
        let (weight, bias) =
            (numbers(conv.weight.val().into_data()), numbers(conv.bias.as_ref().unwrap().val().into_data()));
        let rows = weight.chunks(map.len()).zip(bias);
        rows.map(|(row, bias)| {
            bias + row.iter().zip(map).map(|(weight, channel)| weight * channel[position]).sum::<f64>()
        })
        .collect()
    }

    #[test]
    fn weights_are_the_formula_and_what_the_forward_pass_uses() {
        let device = Device::flex();
        let (channels, positions) = (16, 6);
        for product in [MapProduct::Transposed, MapProduct::Literal] {
            let attention = MapAttention { product, ..MapAttention::default() };
            let resemblance = attention.init_resemblance("test", channels, &device).unwrap();
            let refinement = attention.init_refinement("test", channels, &device).unwrap();
            let random = || Tensor::<4>::random([1, channels, 2, 3], Distribution::Normal(0.0, 2.0), &device);
            let (own, other) = (random(), random());
            let weights = resemblance.weights(other.clone()); // [1, N, N]

            let values: Vec<f64> = other.clone().into_data().iter().collect();
            let map: Vec<Vec<f64>> = values.chunks(positions).map(<[f64]>::to_vec).collect();
            let found: Vec<f64> = weights.clone().into_data().iter().collect();
            for query in 0..positions {
                let of_query = at(&resemblance.query, &map, query);
                let score =
                    |key| -> f64 { of_query.iter().zip(at(&resemblance.key, &map, key)).map(|(q, k)| q * k).sum() };
                let scores: Vec<f64> = (0..positions).map(|key| score(key).exp()).collect();
                for key in 0..positions {
                    let expected = scores[key] / scores.iter().sum::<f64>();
                    let found = found[query * positions + key];
                    assert!((found - expected).abs() < 1e-5, "{query}, {key}: {found} instead of {expected}");
                }
            }

            let value = project(&refinement.value, own.clone()); // [1, C, N]
            let mixed = match product {
                MapProduct::Transposed => value.matmul(weights.swap_dims(1, 2)),
                MapProduct::Literal => value.matmul(weights),
            };
            let expected = own.clone() + mixed.reshape([1, channels, 2, 3]);
            let refined = refinement.forward(own, resemblance.forward(other));
            refined.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
        }
    }
}
