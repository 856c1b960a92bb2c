//! Kernels for the CPU backend: plain loops over contiguous `f32`, one task for each plane or channel, compiled for the
//! vector units of the machine that runs them.

mod activation;
mod affine;
mod attention;
mod columns;
mod convolution;
mod dense;
mod depth;
mod depthwise;
mod geometry;
mod lanes;
mod layer_norm;
mod linear;
mod panels;
mod planes;
mod position_attention;
mod products;
mod steps;
mod tiles;
mod vectors;
mod winograd;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bytes, DType};
use rayon::prelude::*;

use crate::activation::Activation;
use crate::backend::{Kernels, composed_linear_layer, composed_linear_layer_gradients};
use crate::portable;
use crate::positions::ValueFlow;
use crate::step::AdamStep;
use crate::windows::Windows;

impl Kernels for Flex {
    fn convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        convolution::forward(x, weight, None, options, Activation::Identity)
    }

    fn biased_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        convolution::forward(x, weight, Some(bias), options, activation)
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

    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        case_rows: usize,
        activation: Activation,
    ) -> FloatTensor<Self> {
        match is_f32(&[&x, &weight, &bias]) {
            true => linear::forward(x, weight, bias, case_rows, activation),
            false => composed_linear_layer::<Self>(x, weight, bias, activation),
        }
    }

    fn linear_layer_gradients(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match is_f32(&[&x, &gradient]) {
            true => linear::gradients(x, gradient),
            false => composed_linear_layer_gradients::<Self>(x, gradient),
        }
    }

    fn product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        match is_f32(&[&left, &right]) {
            true => linear::product(left, right),
            false => Self::float_matmul(left, right),
        }
    }

    fn layer_normalization(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        axis: usize,
    ) -> FloatTensor<Self> {
        match is_f32(&[&x, &gamma, &beta]) {
            true => layer_norm::forward(x, gamma, beta, epsilon, axis),
            false => portable::layer_normalization::<Self>(x, gamma, beta, epsilon, axis),
        }
    }

    fn layer_normalization_gradients(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        axis: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match is_f32(&[&x, &gamma, &gradient]) {
            true => layer_norm::gradients(x, gamma, gradient, epsilon, axis),
            false => portable::layer_normalization_gradients::<Self>(x, gamma, gradient, epsilon, axis),
        }
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self> {
        match is_f32(&[&qkv, &scale, &bias]) {
            true => attention::forward(qkv, scale, bias, windows),
            false => portable::attention::forward::<Self>(qkv, scale, bias, windows),
        }
    }

    fn window_attention_gradients(
        qkv: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        windows: Windows,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match is_f32(&[&qkv, &scale, &bias, &gradient]) {
            true => attention::gradients(qkv, scale, bias, gradient, windows),
            false => portable::attention::gradients::<Self>(qkv, scale, bias, gradient, windows),
        }
    }

    fn position_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        flow: ValueFlow,
    ) -> FloatTensor<Self> {
        match is_f32(&[&query, &key, &value]) {
            true => position_attention::forward(query, key, value, flow),
            false => portable::position_attention::forward::<Self>(query, key, value, flow),
        }
    }

    fn position_attention_gradients(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        flow: ValueFlow,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match is_f32(&[&query, &key, &value, &gradient]) {
            true => position_attention::gradients(query, key, value, gradient, flow),
            false => portable::position_attention::gradients::<Self>(query, key, value, gradient, flow),
        }
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

    fn sum_activation(x: FloatTensor<Self>, y: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        match is_f32(&[&x, &y]) {
            true => activation::of_sum(x, y, activation),
            false => portable::activation::<Self>(Self::float_add(x, y), activation),
        }
    }

    fn adam_step(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match is_f32(&[&parameter, &gradient, &first, &second]) {
            true => steps::adam(parameter, gradient, [first, second], step),
            false => portable::adam_step::<Self>(parameter, gradient, first, second, step),
        }
    }

    fn column_after_column(matrix: FloatTensor<Self>) -> FloatTensor<Self> {
        matrix.transpose(0, 1).to_contiguous().transpose(0, 1)
    }

    fn toward(start: FloatTensor<Self>, end: FloatTensor<Self>, share: f64) -> FloatTensor<Self> {
        match is_f32(&[&start, &end]) {
            true => steps::toward(start, end, share),
            false => portable::toward::<Self>(start, end, share),
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
    let shape = shape.into();
    let mut values = zeros(shape.num_elements());
    fill(&mut values);
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// So many zeros. Memory that was used before is cleared on all threads.
fn zeros(count: usize) -> Vec<f32> {
    const BLOCK: usize = 256;
    const LARGE: usize = 1 << 16;
    if count < LARGE {
        return vec![0.0; count];
    }
    let blocks = (0..count.div_ceil(BLOCK)).into_par_iter().with_min_len(TASK / BLOCK).map(|_| [0.0; BLOCK]);
    let mut values = blocks.collect::<Vec<_>>().into_flattened();
    values.truncate(count);
    values
}

/// A tensor's values changed by `work`, a chunk of `size` at a time, several chunks at once where they are worth it: in the
/// given tensor's memory if nobody else holds it, else each chunk is copied just before it is changed.
fn updated(tensor: FlexTensor, size: usize, work: impl Fn(usize, &mut [f32]) + Sync + Send) -> FlexTensor {
    let mut tensor = contiguous(tensor);
    let size = size.max(1);
    if is_its_own(&tensor) {
        update_in_place(&mut tensor, size, work);
        return tensor;
    }
    let source = values(&tensor);
    filled(tensor.layout().shape().clone(), |output| {
        let chunks = output.par_chunks_mut(size).zip(source.par_chunks(size));
        chunks.with_min_len(planes_per_task(size)).enumerate().for_each(|(index, (chunk, source))| {
            chunk.copy_from_slice(source);
            work(index, chunk);
        });
    })
}

/// As [`updated`], for `work` that changes each number for itself. It is given the index of a chunk, and either the whole chunk or a piece
/// of it with how many of the chunk's numbers come before. New memory is written once, without being cleared before.
fn mapped(tensor: FlexTensor, size: usize, work: impl Fn(usize, usize, &mut [f32]) + Sync + Send) -> FlexTensor {
    const BLOCK: usize = 1024;
    let mut tensor = contiguous(tensor);
    let (size, length) = (size.max(1), tensor.layout().num_elements());
    if is_its_own(&tensor) {
        update_in_place(&mut tensor, size, |index, chunk| work(index, 0, chunk));
        return tensor;
    }
    let source = values(&tensor);
    let block = |index: usize| {
        let first = index * BLOCK;
        let count = BLOCK.min(length - first);
        let mut numbers = [0.0; BLOCK];
        numbers[..count].copy_from_slice(&source[first..first + count]);
        let (mut rest, mut place) = (&mut numbers[..count], first);
        while !rest.is_empty() {
            let piece = (size - place % size).min(rest.len());
            let (numbers, others) = rest.split_at_mut(piece);
            work(place / size, place % size, numbers);
            (rest, place) = (others, place + piece);
        }
        numbers
    };
    let blocks = (0..length.div_ceil(BLOCK)).into_par_iter().with_min_len(TASK / BLOCK).map(block);
    let mut values = blocks.collect::<Vec<_>>().into_flattened();
    values.truncate(length);
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(tensor.layout().shape().clone()), DType::F32)
}

/// A contiguous tensor is not cloned: with two holders its memory could not be reused.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// Nobody else holds the contiguous tensor's memory, and nothing else is in it.
fn is_its_own(tensor: &FlexTensor) -> bool {
    tensor.is_unique() && tensor.bytes().len() == tensor.layout().num_elements() * size_of::<f32>()
}

fn update_in_place(tensor: &mut FlexTensor, size: usize, work: impl Fn(usize, &mut [f32]) + Sync + Send) {
    let chunks = tensor.storage_mut::<f32>().par_chunks_mut(size).with_min_len(planes_per_task(size)).enumerate();
    chunks.for_each(|(index, chunk)| work(index, chunk));
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
