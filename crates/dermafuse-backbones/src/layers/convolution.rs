//! Convolutions whose 1×1 kernels train as matrix products.
//!
//! Paper: none.
//! Source: Burn's [`Conv2d`], whose parameters and layout are kept; no weights of its own.
//! Differences: a dense 1×1 convolution whose weights train is a matrix product, because the weight gradient of Burn's
//! convolution is up to four times slower on the CPU; otherwise Burn's convolution is the faster one. A strided 1×1 kernel
//! first drops the pixels it would skip.

use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, s};

/// Applies the convolution.
///
/// # Shapes
///
/// `[B, C, H, W]` → `[B, C', H', W']`.
pub(crate) fn convolve(conv: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    match conv.kernel_size == [1, 1] && conv.groups == 1 {
        true => pointwise(conv, input),
        false => conv.forward(input),
    }
}

fn pointwise(conv: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let input = subsample(input, conv.stride);
    match input.is_autodiff() && conv.weight.is_require_grad() {
        true => matrix_product(conv, input),
        false => {
            let bias = conv.bias.as_ref().map(Param::val);
            conv2d(input, conv.weight.val(), bias, ConvOptions::new([1, 1], [0, 0], [1, 1], 1))
        }
    }
}

fn matrix_product(conv: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let [batch, channels_in, height, width] = input.dims();
    let [channels_out, ..] = conv.weight.dims();
    let pixels = height * width;

    // A product for each image makes a weight gradient for each image, `C'·C` numbers that are then summed; one product for
    // all images has to move `H·W·(C + C')` numbers of each image to the place where it wants them.
    let output = match pixels * (channels_in + channels_out) < channels_in * channels_out {
        true => {
            let columns = input.swap_dims(0, 1).reshape([channels_in, batch * pixels]); // [C, B*H*W]
            let weight = conv.weight.val().reshape([channels_out, channels_in]); // [C', C]
            let output = weight.matmul(columns); // [C', B*H*W]
            output.reshape([channels_out, batch, height, width]).swap_dims(0, 1) // [B, C', H, W]
        }
        false => {
            let columns = input.reshape([batch, channels_in, pixels]); // [B, C, H*W]
            let weight = conv.weight.val().reshape([1, channels_out, channels_in]); // [1, C', C]
            weight.matmul(columns).reshape([batch, channels_out, height, width]) // [B, C', H, W]
        }
    };
    match &conv.bias {
        Some(bias) => output + bias.val().reshape([1, channels_out, 1, 1]),
        None => output,
    }
}

/// Keeps the pixels that a strided 1×1 kernel visits.
fn subsample(input: Tensor<4>, [down, across]: [usize; 2]) -> Tensor<4> {
    match (down, across) {
        (1, 1) => input,
        _ => input.slice(s![.., .., ..;down as isize, ..;across as isize]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Device, Distribution, Tolerance};

    #[test]
    fn pointwise_equals_the_convolution() {
        let device = Device::flex();
        // The last has so many channels for its few pixels that all images make one product.
        for (channels, stride, bias) in [([5, 7], 1, true), ([5, 7], 2, false), ([5, 7], 3, true), ([40, 48], 3, true)]
        {
            let conv = Conv2dConfig::new(channels, [1, 1]).with_stride([stride, stride]).with_bias(bias).init(&device);
            let input = Tensor::random([2, channels[0], 9, 8], Distribution::Default, &device);
            let expected = conv.forward(input.clone()).into_data();
            let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
            for (conv, input) in [(conv.valid(), input.clone()), (conv.train(), Tensor::from_inner(input))] {
                let output = convolve(&conv, input).into_data();
                output.assert_approx_eq(&expected, tolerance);
            }
        }
    }
}
