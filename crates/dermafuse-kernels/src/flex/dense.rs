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
    let [_, channels_out, out_height, out_width] = gradient.shape().dims();
    let pixels = out_height * out_width;

    let gradient = gradient.to_contiguous().reshape(Shape::new([batch, channels_out, pixels])); // [B, C', P]
    let weight = weight.to_contiguous().reshape(Shape::new([1, channels_out, channels])).transpose(1, 2); // [1, C, C']
    let result = Flex::float_matmul(weight, gradient); // [B, C, P]
    let result = result.reshape(Shape::new([batch, channels, out_height, out_width]));
    if [down, across] == [1, 1] {
        return result;
    }
    let result = values(&result);
    filled([batch, channels, height, width], |spread| {
        let planes = spread.par_chunks_mut(height * width).zip(result.par_chunks(pixels)).with_min_len(8);
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

/// The geometry of a dense convolution whose weight gradient is made here.
pub(super) fn geometry(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Option<Geometry> {
    (options.groups == 1).then(|| plain_geometry(x, weight, options)).flatten()
}

/// For each tap of the kernel a product of the gradient with the input seen through that tap; nothing is copied for it,
/// because both are laid out at the padded input's pitch, so that the taps are the same numbers from another start.
pub(super) fn weight_gradient(x: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, channels_out, out_height, out_width] = gradient.shape().dims();
    let [rows, columns] = geometry.kernel;
    let [down, across] = geometry.stride;
    let [top, left] = geometry.padding;

    // Position (i, j) of the output is `i·down·pitch + j·across` in the padded plane; with the pitch a multiple of `across`
    // that is `across` times the position in a plane of `down·pitch / across` columns.
    let pitch = (width + 2 * left).next_multiple_of(across);
    let columns_out = down * pitch / across;
    let reach = (out_height - 1) * columns_out + out_width;
    // The last tap of the last position, plus what the pitch was rounded up by.
    let plane = ((height + 2 * top) * pitch).max((rows - 1) * pitch + columns - 1 + (reach - 1) * across + 1);

    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (input, gradient) = (values(&x), values(&gradient));
    let padded = filled([batch * channels * plane], |padded| {
        let planes = padded.par_chunks_mut(plane).zip(input.par_chunks(height * width)).with_min_len(4);
        planes.for_each(|(padded, input)| place(input, [height, width], [top, left], [1, 1], padded, pitch));
    });
    let spread = filled([batch * channels_out * reach], |spread| {
        let planes = spread.par_chunks_mut(reach).zip(gradient.par_chunks(out_height * out_width)).with_min_len(4);
        planes.for_each(|(spread, gradient)| {
            place(gradient, [out_height, out_width], [0, 0], [1, 1], spread, columns_out);
        });
    });

    let stride = |value: usize| value as isize;
    let taps = Layout::new(
        Shape::new([batch, rows, columns, reach, channels]),
        vec![stride(channels * plane), stride(pitch), 1, stride(across), stride(plane)],
        0,
    );
    let spread = spread.reshape(Shape::new([batch, 1, 1, channels_out, reach]));
    let products = Flex::float_matmul(spread, padded.with_layout(taps)); // [B, K, K', C', C]
    let sums = Flex::float_sum_dim(products, 0); // [1, K, K', C', C]
    sums.reshape(Shape::new([rows, columns, channels_out, channels])).permute(&[2, 3, 0, 1]).to_contiguous()
}
