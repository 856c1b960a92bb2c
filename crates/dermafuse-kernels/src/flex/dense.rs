//! Dense convolutions: 1×1 kernels as matrix products, and weight gradients of larger ones.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;
use rayon::prelude::*;

use super::convolution::plain_geometry;
use super::depthwise::Geometry;
use super::planes::place;
use super::{filled, values};

/// Keeps the pixels that a strided 1×1 kernel visits.
fn subsample(x: FlexTensor, [down, across]: [usize; 2]) -> FlexTensor {
    if [down, across] == [1, 1] {
        return x.to_contiguous();
    }
    let [batch, channels, height, width] = x.shape().dims();
    let output = [height.div_ceil(down), width.div_ceil(across)];
    let x = x.to_contiguous();
    let x = values(&x);
    filled([batch, channels, output[0], output[1]], |result| {
        let rows = result.par_chunks_mut(output[1]).with_min_len(64).enumerate();
        rows.for_each(|(index, result)| {
            let (plane, row) = (index / output[0], index % output[0]);
            let source = &x[(plane * height + row * down) * width..][..width];
            result.iter_mut().zip(source.iter().step_by(across)).for_each(|(result, value)| *result = *value);
        });
    })
}

pub(super) fn pointwise_forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    stride: [usize; 2],
) -> FlexTensor {
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    Flex::conv2d(subsample(x, stride), weight, bias, options)
}

pub(super) fn pointwise_input_gradient(
    x: &FlexTensor,
    weight: FlexTensor,
    gradient: FlexTensor,
    [down, across]: [usize; 2],
) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, _, out_height, out_width] = gradient.shape().dims();

    // As a convolution with the turned weight, which Burn does faster than the same matrix product.
    let turned = weight.permute(&[1, 0, 2, 3]).to_contiguous(); // [C, C', 1, 1]
    let result = Flex::conv2d(gradient, turned, None, ConvOptions::new([1, 1], [0, 0], [1, 1], 1)); // [B, C, H', W']
    if [down, across] == [1, 1] {
        return result;
    }
    let result = values(&result);
    filled([batch, channels, height, width], |spread| {
        let planes =
            spread.par_chunks_mut(height * width).zip(result.par_chunks(out_height * out_width)).with_min_len(8);
        planes.for_each(|(spread, plane)| {
            place(plane, [out_height, out_width], [0, 0], [down, across], spread, width);
        });
    })
}

pub(super) fn pointwise_weight_gradient(x: FlexTensor, gradient: FlexTensor, stride: [usize; 2]) -> FlexTensor {
    let x = subsample(x, stride);
    let [batch, channels, height, width] = x.shape().dims();
    let [_, channels_out, _, _] = gradient.shape().dims();
    let pixels = height * width;

    let gradient = gradient.to_contiguous().reshape(Shape::new([batch, channels_out, pixels])); // [B, C', P]
    let x = x.reshape(Shape::new([batch, channels, pixels])); // [B, C, P]
    // A product for each image makes a weight gradient for each image, `C'·C` numbers that are then summed; one product for
    // all images has to move `P·(C + C')` numbers of each image to the place where it wants them.
    let result = match pixels * (channels + channels_out) < channels * channels_out {
        true => {
            let rows = |tensor: FlexTensor, channels: usize| {
                tensor.permute(&[1, 0, 2]).to_contiguous().reshape(Shape::new([channels, batch * pixels]))
            };
            Flex::float_matmul(rows(gradient, channels_out), rows(x, channels).transpose(0, 1)) // [C', C]
        }
        false => Flex::float_sum_dim(Flex::float_matmul(gradient, x.transpose(1, 2)), 0), // [1, C', C]
    };
    result.reshape(Shape::new([channels_out, channels, 1, 1]))
}

/// Channels below which the products of [`weight_gradient`] are too narrow to be fast.
const NARROW: usize = 16;

/// The geometry of a dense convolution whose weight gradient is made here.
pub(super) fn geometry(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Option<Geometry> {
    let [_, channels, _, _] = x.shape().dims();
    (options.groups == 1 && channels >= NARROW).then(|| plain_geometry(x, weight, options)).flatten()
}

/// For each tap of the kernel one product of the gradient with the input seen through that tap; nothing is copied for it:
/// both are laid out at the padded input's pitch, image after image for each channel, so that a tap is the same numbers
/// from another start, and positions that belong to no output have a gradient of zero.
pub(super) fn weight_gradient(x: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, channels_out, out_height, out_width] = gradient.shape().dims();
    let [rows, columns] = geometry.kernel;
    let [down, across] = geometry.stride;
    let [top, left] = geometry.padding;

    // Output (i, j) sees the padded plane from `i·down·pitch + j·across`. With the pitch a multiple of `across`, that is
    // `across` times its position in a plane with `down·pitch / across` columns.
    let pitch = (width + 2 * left).next_multiple_of(across);
    let pitch_out = down * pitch / across;
    let plane_out = ((height + 2 * top) * pitch / across).max(out_height * pitch_out);
    let plane = plane_out * across;
    // So far do taps reach beyond the last position.
    let reach = (rows - 1) * pitch + columns - 1;

    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let padded = by_channel(&x, [height, width], [top, left], plane, pitch, reach); // [C, B*plane + reach]
    let spread = by_channel(&gradient, [out_height, out_width], [0, 0], plane_out, pitch_out, 0); // [C', B*plane_out]

    let stride = |value: usize| value as isize;
    let positions = batch * plane_out;
    let taps = Layout::new(
        Shape::new([rows, columns, positions, channels]),
        vec![stride(pitch), 1, stride(across), stride(batch * plane + reach)],
        0,
    );
    let spread = spread.reshape(Shape::new([1, 1, channels_out, positions]));
    let products = Flex::float_matmul(spread, padded.with_layout(taps)); // [K, K', C', C]
    products.permute(&[2, 3, 0, 1]).to_contiguous() // [C', C, K, K']
}

/// `[B, C, H, W]` → `[C, B*plane + rest]`: each image of a channel in a zeroed plane of that pitch, from the corner on.
fn by_channel(
    x: &FlexTensor,
    size: [usize; 2],
    corner: [usize; 2],
    plane: usize,
    pitch: usize,
    rest: usize,
) -> FlexTensor {
    let [batch, channels, _, _] = x.shape().dims();
    let (x, pixels) = (values(x), size[0] * size[1]);
    filled([channels, batch * plane + rest], |output| {
        output.par_chunks_mut(batch * plane + rest).enumerate().for_each(|(channel, output)| {
            for (image, output) in output.chunks_exact_mut(plane).take(batch).enumerate() {
                let start = (image * channels + channel) * pixels;
                place(&x[start..start + pixels], size, corner, [1, 1], output, pitch);
            }
        });
    })
}
