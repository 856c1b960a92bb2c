//! Chooses the kernel of a convolution by its shape.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::ModuleOps;
use burn::tensor::ops::ConvOptions;

use super::geometry::Geometry;
use super::{dense, depthwise};
use crate::activation::Activation;
use crate::portable;

/// The kernels for a convolution.
enum Kind {
    /// Each channel has a kernel of its own.
    Depthwise(Geometry),
    /// Every output sees every channel.
    Dense(Geometry),
    /// Burn's.
    Other,
}

impl Kind {
    fn of(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Self {
        let [_, channels, _, _] = x.shape().dims();
        let [channels_out, per_group, _, _] = weight.shape().dims();
        let depthwise = options.groups == channels && channels_out == channels && per_group == 1 && channels > 1;
        match Geometry::of(x, weight, options) {
            Some(geometry) if depthwise => Self::Depthwise(geometry),
            Some(geometry) if options.groups == 1 => Self::Dense(geometry),
            _ => Self::Other,
        }
    }
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    options: ConvOptions<2>,
    activation: Activation,
) -> FlexTensor {
    match Kind::of(&x, &weight, &options) {
        Kind::Depthwise(geometry) => depthwise::forward(x, weight, bias, geometry, activation),
        Kind::Dense(geometry) => dense::forward(x, weight, bias, geometry, activation),
        Kind::Other => portable::activation::<Flex>(Flex::conv2d(x, weight, bias, options), activation),
    }
}

pub(super) fn input_gradient(
    x: FlexTensor,
    weight: FlexTensor,
    gradient: FlexTensor,
    options: ConvOptions<2>,
) -> FlexTensor {
    match Kind::of(&x, &weight, &options) {
        Kind::Depthwise(geometry) => depthwise::input_gradient(&x, weight, gradient, geometry),
        Kind::Dense(geometry) => dense::input_gradient(&x, weight, gradient, geometry),
        Kind::Other => Flex::conv2d_x_backward(x, weight, gradient, options),
    }
}

pub(super) fn weight_gradient(
    x: FlexTensor,
    weight: FlexTensor,
    gradient: FlexTensor,
    options: ConvOptions<2>,
) -> FlexTensor {
    match Kind::of(&x, &weight, &options) {
        Kind::Depthwise(geometry) => depthwise::weight_gradient(x, gradient, geometry),
        Kind::Dense(geometry) => dense::weight_gradient(x, gradient, geometry),
        Kind::Other => Flex::conv2d_weight_backward(x, weight, gradient, options),
    }
}
