//! Convolution over Burn's [`Conv2d`] parameters, by the kernels of `dermafuse-kernels`.
//!
//! Paper: none.
//! Source: Burn's layer, whose parameters and layout are kept; no weights of its own.
//! Differences: none in the numbers.

use burn::module::Param;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

/// Applies the convolution.
///
/// # Shapes
///
/// `[B, C, H, W]` → `[B, C', H', W']`.
pub(crate) fn convolve(conv: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if [top, left] == [bottom, right] => [top, left],
        // Padding that depends on the input's size or differs between sides: no network here needs speed for it.
        _ => return conv.forward(input),
    };
    let options = ConvOptions::new(conv.stride, padding, conv.dilation, conv.groups);
    dermafuse_kernels::conv2d(input, conv.weight.val(), conv.bias.as_ref().map(Param::val), options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Device, Distribution, Tolerance};

    #[test]
    fn the_layers_own_forward_is_equalled() {
        let device = Device::flex();
        let paddings = [PaddingConfig2d::Valid, PaddingConfig2d::Same, PaddingConfig2d::Explicit(1, 0, 1, 0)];
        for padding in paddings.into_iter().chain([PaddingConfig2d::Explicit(0, 1, 2, 1)]) {
            let conv = Conv2dConfig::new([4, 6], [3, 1]).with_padding(padding).with_groups(2).init(&device);
            let input = Tensor::random([2, 4, 9, 8], Distribution::Default, &device);
            let expected = conv.forward(input.clone()).into_data();
            convolve(&conv, input).into_data().assert_approx_eq(&expected, Tolerance::<f32>::rel_abs(1e-5, 1e-6));
        }
    }
}
