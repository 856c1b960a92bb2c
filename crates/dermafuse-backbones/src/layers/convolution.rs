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
    let weight = conv.weight.val();
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [(0, 0); 2],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
        PaddingConfig2d::Same => {
            let ([.., height, width], [.., rows, columns]) = (input.dims(), weight.dims());
            [same(height, rows, conv.stride[0]), same(width, columns, conv.stride[1])]
        }
    };
    let options = ConvOptions::new_with_padding(conv.stride, padding, conv.dilation, conv.groups);
    match &conv.bias {
        Some(bias) => conv2d_activation(input, weight, bias.val(), options, activation),
        None => activation.forward(conv2d(input, weight, None, options)),
    }
}

/// The padding at the beginning and at the end of a side that TensorFlow calls "same": as many outputs as steps begin on the
/// image, and an odd pixel at the end.
fn same(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let seen = (side.div_ceil(stride).max(1) - 1) * stride + kernel;
    let padding = seen.saturating_sub(side);
    (padding / 2, padding.div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Device, Distribution, Tolerance, activation};

    #[test]
    fn same_padding_by_hand() {
        // Three pixels from the first, the third …: of six pixels, the last window lacks one; of five, two.
        assert_eq!((same(6, 3, 2), same(5, 3, 2)), ((0, 1), (1, 1)));
        assert_eq!((same(14, 5, 2), same(7, 5, 2), same(7, 5, 1)), ((1, 2), (2, 2), (2, 2)));
        assert_eq!((same(3, 1, 2), same(1, 3, 2)), ((0, 0), (1, 1)));
    }

    #[test]
    fn the_layers_own_forward_is_equalled() {
        let device = Device::flex();
        let paddings = [PaddingConfig2d::Valid, PaddingConfig2d::Same, PaddingConfig2d::Explicit(1, 0, 1, 0)];
        for padding in paddings.into_iter().chain([PaddingConfig2d::Explicit(0, 1, 2, 1)]) {
            let config = Conv2dConfig::new([4, 6], [3, 1]).with_padding(padding).with_groups(2);
            let conv = config.with_stride([2, 2]).init(&device);
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
