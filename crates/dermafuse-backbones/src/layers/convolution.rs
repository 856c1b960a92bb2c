//! Convolution over Burn's [`Conv2d`] parameters, by the kernels of `dermafuse-kernels`.
//!
//! Paper: none.
//! Source: Burn's layer, whose parameters and layout are kept; no weights of its own.
//! Differences: none in the numbers.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use dermafuse_kernels::{Activation, conv2d, conv2d_activation};

/// Applies the convolution.
///
/// # Shapes
///
/// `[B, C, H, W]` → `[B, C', H', W']`.
pub(crate) fn convolve(conv: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    convolve_with(conv, Activation::Identity, input)
}

/// Applies the convolution, then the activation.
///
/// # Shapes
///
/// `[B, C, H, W]` → `[B, C', H', W']`.
pub(crate) fn convolve_with(conv: &Conv2d, activation: Activation, input: Tensor<4>) -> Tensor<4> {
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if [top, left] == [bottom, right] => [top, left],
        // Padding that depends on the input's size or differs between sides: no network here needs speed for it.
        _ => return activation.forward(conv.forward(input)),
    };
    let options = ConvOptions::new(conv.stride, padding, conv.dilation, conv.groups);
    let weight = conv.weight.val();
    match &conv.bias {
        Some(bias) => conv2d_activation(input, weight, bias.val(), options, activation),
        None => activation.forward(conv2d(input, weight, None, options)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Device, Distribution, Tolerance, activation};

    #[test]
    fn the_layers_own_forward_is_equalled() {
        let device = Device::flex();
        let paddings = [PaddingConfig2d::Valid, PaddingConfig2d::Same, PaddingConfig2d::Explicit(1, 0, 1, 0)];
        for padding in paddings.into_iter().chain([PaddingConfig2d::Explicit(0, 1, 2, 1)]) {
            let conv = Conv2dConfig::new([4, 6], [3, 1]).with_padding(padding).with_groups(2).init(&device);
            let input = Tensor::random([2, 4, 9, 8], Distribution::Default, &device);
            let expected = conv.forward(input.clone()).into_data();
            let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
            convolve(&conv, input.clone()).into_data().assert_approx_eq(&expected, tolerance);
            let activated = convolve_with(&conv, Activation::Relu, input).into_data();
            activated
                .assert_approx_eq(&activation::relu(Tensor::<4>::from_data(expected, &device)).into_data(), tolerance);
        }
    }
}
