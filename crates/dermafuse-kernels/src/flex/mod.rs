//! Kernels for the CPU backend: plain loops over contiguous `f32`, one task for each plane or channel, compiled for the
//! vector units of the machine that runs them.

mod activation;
mod affine;
mod convolution;
mod dense;
mod depthwise;
mod planes;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::portable;

impl Kernels for Flex {
    fn convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        convolution::forward(x, weight, None, options)
    }

    fn biased_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::forward(x, weight, Some(bias), options)
    }

    fn convolution_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::input_gradient(x, weight, gradient, options)
    }

    fn convolution_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::weight_gradient(x, weight, gradient, options)
    }

    fn channel_sum(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match is_f32(&[&x]) {
            true => affine::channel_sum(x),
            false => portable::channel_sum::<Self>(x),
        }
    }

    fn channel_moments(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match is_f32(&[&x]) {
            true => affine::channel_moments(x),
            false => portable::channel_moments::<Self>(x),
        }
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        match is_f32(&[&x, &scale, &shift]) {
            true => affine::forward(x, scale, shift, activation),
            false => portable::affine::<Self>(x, scale, shift, activation),
        }
    }

    fn affine_gradient_sums(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match is_f32(&[&x, &scale, &shift, &gradient]) {
            true => affine::gradient_sums(x, scale, shift, gradient, activation),
            false => portable::affine_gradient_sums::<Self>(x, scale, shift, gradient, activation),
        }
    }

    fn affine_input_gradient(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        match is_f32(&[&x, &scale, &shift, &gradient]) {
            true => affine::input_gradient(x, scale, shift, gradient, None, activation),
            false => portable::affine_input_gradient::<Self>(x, scale, shift, gradient, activation),
        }
    }

    fn normalize_input_gradient(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        match is_f32(&[&x, &scale, &shift, &gradient]) {
            true => affine::input_gradient(x, scale, shift, gradient, Some((slope, offset)), activation),
            false => portable::normalize_input_gradient::<Self>(x, scale, shift, gradient, slope, offset, activation),
        }
    }

    fn activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        match is_f32(&[&x]) {
            true => activation::forward(x, activation),
            false => portable::activation::<Self>(x, activation),
        }
    }

    fn activation_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        match is_f32(&[&x, &gradient]) {
            true => activation::gradient(x, gradient, activation),
            false => portable::activation_gradient::<Self>(x, gradient, activation),
        }
    }
}

fn is_f32(tensors: &[&FlexTensor]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// A tensor's values in order.
fn values(contiguous: &FlexTensor) -> &[f32] {
    contiguous.as_slice().expect("the tensor was made contiguous and is f32")
}

/// A new tensor, its values written by `fill`; they are zero before.
fn filled(shape: impl Into<Shape>, fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut tensor = FlexTensor::empty(shape.into(), DType::F32);
    fill(tensor.storage_mut());
    tensor
}

/// A tensor with the values that `fill` computes in place: in the given one's memory where nobody else holds it.
fn updated(tensor: FlexTensor, fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut tensor = tensor.to_contiguous();
    let whole = tensor.layout().start_offset() == 0
        && tensor.layout().num_elements() * size_of::<f32>() == tensor.bytes().len();
    if !whole {
        tensor = FlexTensor::from_data(tensor.into_data());
    }
    fill(tensor.storage_mut());
    tensor
}

/// Runs a loop compiled for this machine's vector units; what it calls must be inlined.
#[inline(always)]
fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Elements below which a task is not worth a thread.
const TASK: usize = 1 << 14;

/// How many planes of `elements` each make a task.
fn planes_per_task(elements: usize) -> usize {
    TASK.div_ceil(elements.max(1))
}
