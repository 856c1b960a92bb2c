//! Chooses the kernel of a convolution by its shape.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::ModuleOps;
use burn::tensor::ops::ConvOptions;

use super::depthwise::{self, Geometry};
use super::{dense, is_f32};

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    options: ConvOptions<2>,
) -> FlexTensor {
    if let Some(geometry) = depthwise_geometry(&x, &weight, &options) {
        return depthwise::forward(x, weight, bias, geometry);
    }
    match is_pointwise(&x, &weight, &options) {
        true => dense::pointwise_forward(x, weight, bias, options.stride),
        false => Flex::conv2d(x, weight, bias, options),
    }
}

pub(super) fn input_gradient(
    x: FlexTensor,
    weight: FlexTensor,
    gradient: FlexTensor,
    options: ConvOptions<2>,
) -> FlexTensor {
    if let Some(geometry) = depthwise_geometry(&x, &weight, &options) {
        return depthwise::input_gradient(&x, weight, gradient, geometry);
    }
    if is_pointwise(&x, &weight, &options) {
        return dense::pointwise_input_gradient(&x, weight, gradient, options.stride);
    }
    Flex::conv2d_x_backward(x, weight, gradient, options)
}

pub(super) fn weight_gradient(
    x: FlexTensor,
    weight: FlexTensor,
    gradient: FlexTensor,
    options: ConvOptions<2>,
) -> FlexTensor {
    if let Some(geometry) = depthwise_geometry(&x, &weight, &options) {
        return depthwise::weight_gradient(x, gradient, geometry);
    }
    if is_pointwise(&x, &weight, &options) {
        return dense::pointwise_weight_gradient(x, gradient, options.stride);
    }
    match dense::geometry(&x, &weight, &options) {
        Some(geometry) => dense::weight_gradient(x, gradient, geometry),
        None => Flex::conv2d_weight_backward(x, weight, gradient, options),
    }
}

/// Undilated, equally padded on opposite sides, padding smaller than the kernel, and the kernel inside the padded input.
pub(super) fn plain_geometry(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Option<Geometry> {
    let [_, _, rows, columns] = weight.shape().dims();
    let padding = options.padding_begin();
    let geometry = Geometry { kernel: [rows, columns], stride: options.stride, padding: [padding[0], padding[1]] };
    let plain = is_f32(&[x, weight])
        && options.dilation == [1, 1]
        && !options.is_asymmetric()
        && padding[0] < rows
        && padding[1] < columns
        && x.shape().num_elements() > 0
        && geometry.fits(x);
    plain.then_some(geometry)
}

fn depthwise_geometry(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Option<Geometry> {
    let [_, channels, _, _] = x.shape().dims();
    let [channels_out, per_group, _, _] = weight.shape().dims();
    let depthwise = options.groups == channels && channels_out == channels && per_group == 1 && channels > 1;
    depthwise.then(|| plain_geometry(x, weight, options)).flatten()
}

/// A dense 1×1 kernel.
fn is_pointwise(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> bool {
    let [_, _, rows, columns] = weight.shape().dims();
    [rows, columns] == [1, 1] && options.groups == 1 && plain_geometry(x, weight, options).is_some()
}
