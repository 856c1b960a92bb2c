//! Linear layers over Burn's [`Linear`] parameters, by the kernels of `dermafuse-kernels`.
//!
//! Paper: none.
//! Source: Burn's layer, whose parameters and layout are kept; no weights of its own.
//! Differences: biases start at zero, which Burn's initializers do not offer on their own; the activation that follows is
//! part of the operation.

use burn::module::{Initializer, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
use dermafuse_kernels::Activation;
pub(crate) use dermafuse_kernels::project;

/// A linear layer with weights from the initializer and zero biases.
pub(crate) fn linear_without_offset([inputs, outputs]: [usize; 2], weights: Initializer, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs).with_initializer(weights).init_addressed(device);
    let zeros: Param<Tensor<1>> = Initializer::Zeros.init([outputs], device);
    linear.bias = Some(zeros);
    linear
}

/// The layer over the channels of a map, then the activation.
///
/// # Shapes
///
/// `[B, C, H, W]` → `[B, C', H, W]`.
pub(crate) fn project_channels(linear: &Linear, activation: Activation, map: Tensor<4>) -> Tensor<4> {
    let weight = linear.weight.val(); // [C, C']
    let bias = match &linear.bias {
        Some(bias) => bias.val(),
        None => Tensor::zeros([weight.dims()[1]], &weight.device()),
    };
    let [channels, channels_out] = weight.dims();
    // In the layout that it has, which an unsqueezed weight would not keep.
    let kernel = weight.expand([1, 1, channels, channels_out]).permute([3, 2, 0, 1]); // [C', C, 1, 1]
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    dermafuse_kernels::conv2d_activation(map, kernel, bias, options, activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};
    use dermafuse_kernels::column_after_column;

    #[test]
    fn the_layers_own_forward_is_equalled() {
        let device = Device::flex();
        let map = Tensor::<4>::random([2, 5, 4, 3], Distribution::Default, &device);
        for bias in [true, false] {
            let linear = LinearConfig::new(5, 7).with_bias(bias).init(&device);
            let rows = map.clone().permute([0, 2, 3, 1]); // [B, H, W, C]
            let expected = linear.forward(rows.clone());
            let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
            project(&linear, Activation::Identity, rows).into_data().assert_approx_eq(&expected.to_data(), tolerance);
            let expected = expected.permute([0, 3, 1, 2]).into_data();
            let found = project_channels(&linear, Activation::Identity, map.clone()).into_data();
            found.assert_approx_eq(&expected, tolerance);
            let Linear { weight, bias } = linear;
            let laid_out = Linear { weight: weight.map(column_after_column), bias };
            assert_eq!(project_channels(&laid_out, Activation::Identity, map.clone()).into_data(), found);
        }
    }
}
