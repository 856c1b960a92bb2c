//! Depthwise convolution: each channel has a kernel of its own.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{apply, with_function};
use super::geometry::Geometry;
use super::planes::{correlate, correlate_with, place};
use super::{filled, planes_per_task, values, vectorized};
use crate::activation::Activation;

/// What follows from a [`Geometry`] and the input's size.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    channels: usize,
    input: [usize; 2],
    output: [usize; 2],
    /// Of the padded input.
    pitch: usize,
    /// Elements of the padded input.
    padded: usize,
}

impl Geometry {
    fn sizes(&self, x: &FlexTensor) -> Sizes {
        let [batch, channels, height, width] = x.shape().dims();
        let rows = height + self.padding[0] + self.end[0];
        let pitch = width + self.padding[1] + self.end[1];
        let output = self.output([height, width]);
        Sizes { batch, channels, input: [height, width], output, pitch, padded: rows * pitch }
    }
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    geometry: Geometry,
    activation: Activation,
) -> FlexTensor {
    let sizes = geometry.sizes(&x);
    let Sizes { batch, channels, input, output, pitch, padded } = sizes;
    let taps = geometry.kernel[0] * geometry.kernel[1];
    let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
    let (x, weight) = (values(&x), values(&weight));
    let bias = bias.map(|bias| bias.to_contiguous());
    let bias = bias.as_ref().map(values);

    filled([batch, channels, output[0], output[1]], |result| {
        let planes = result.par_chunks_mut(output[0] * output[1]).zip(x.par_chunks(input[0] * input[1]));
        let planes = planes.with_min_len(planes_per_task(padded)).enumerate();
        with_function!(activation, F => planes.for_each_init(
            || Scratch::new(padded, padded),
            |scratch, (index, (result, plane))| {
                let channel = index % channels;
                let kernel = &weight[channel * taps..(channel + 1) * taps];
                let bias = bias.map_or(0.0, |bias| bias[channel]);
                vectorized(
                    #[inline(always)]
                    || {
                        place(plane, input, geometry.padding, [1, 1], &mut scratch.padded, pitch);
                        sample(scratch, kernel, bias, geometry, output, pitch, result);
                    },
                );
                apply::<F>(result);
            },
        ));
    })
}

/// Buffers of one thread; the border of `padded` stays zero.
struct Scratch {
    padded: Vec<f32>,
    row: Vec<f32>,
}

impl Scratch {
    fn new(padded: usize, row: usize) -> Self {
        Self { padded: vec![0.0; padded], row: vec![0.0; row] }
    }
}

/// Convolves the padded plane and keeps the positions of the stride.
#[inline(always)]
fn sample(
    scratch: &mut Scratch,
    kernel: &[f32],
    bias: f32,
    geometry: Geometry,
    [height, width]: [usize; 2],
    pitch: usize,
    result: &mut [f32],
) {
    let [down, across] = geometry.stride;
    let count = (width - 1) * across + 1;
    if [down, across] == [1, 1] {
        let total = (height - 1) * pitch + width;
        correlate(&scratch.padded, pitch, kernel, geometry.kernel, bias, &mut scratch.row[..total]);
        for (row, result) in result.chunks_mut(width).enumerate() {
            result.copy_from_slice(&scratch.row[row * pitch..row * pitch + width]);
        }
        return;
    }
    for (row, result) in result.chunks_mut(width).enumerate() {
        let input = &scratch.padded[row * down * pitch..];
        correlate(input, pitch, kernel, geometry.kernel, bias, &mut scratch.row[..count]);
        let kept = scratch.row[..count].iter().step_by(across);
        result.iter_mut().zip(kept).for_each(|(result, value)| *result = *value);
    }
}

/// The gradient, `stride` pixels apart, is convolved with the turned kernel.
pub(super) fn input_gradient(
    x: &FlexTensor,
    weight: FlexTensor,
    gradient: FlexTensor,
    geometry: Geometry,
) -> FlexTensor {
    let Sizes { batch, channels, input, output, .. } = geometry.sizes(x);
    let [rows, columns] = geometry.kernel;
    let taps = rows * columns;
    let pitch = input[1] + columns - 1;
    let padded = (input[0] + rows - 1) * pitch;
    let dense = Geometry { stride: [1, 1], ..geometry.turned() };
    let corner = dense.padding;
    let (weight, gradient) = (weight.to_contiguous(), gradient.to_contiguous());
    let (weight, gradient) = (values(&weight), values(&gradient));

    filled([batch, channels, input[0], input[1]], |result| {
        let planes = result.par_chunks_mut(input[0] * input[1]).zip(gradient.par_chunks(output[0] * output[1]));
        let planes = planes.with_min_len(planes_per_task(padded)).enumerate();
        planes.for_each_init(
            || (Scratch::new(padded, padded), vec![0.0; taps]),
            |(scratch, turned), (index, (result, plane))| {
                let channel = index % channels;
                let kernel = &weight[channel * taps..(channel + 1) * taps];
                turned.iter_mut().zip(kernel.iter().rev()).for_each(|(turned, tap)| *turned = *tap);
                vectorized(
                    #[inline(always)]
                    || {
                        place(plane, output, corner, geometry.stride, &mut scratch.padded, pitch);
                        sample(scratch, turned, 0.0, dense, input, pitch, result);
                    },
                );
            },
        );
    })
}

pub(super) fn weight_gradient(x: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let Sizes { batch, channels, input, output, pitch, padded } = geometry.sizes(&x);
    let [rows, columns] = geometry.kernel;
    let taps = rows * columns;
    let (pixels, gradient_pixels) = (input[0] * input[1], output[0] * output[1]);
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (x, gradient) = (values(&x), values(&gradient));
    let reach = (output[0] - 1) * geometry.stride[0] * pitch + (output[1] - 1) * geometry.stride[1] + 1;

    filled([channels, 1, rows, columns], |result| {
        let kernels = result.par_chunks_mut(taps).with_min_len(planes_per_task(batch * padded)).enumerate();
        kernels.for_each_init(
            || Scratch::new(padded, reach),
            |scratch, (channel, sums)| {
                for image in 0..batch {
                    let index = image * channels + channel;
                    let plane = &x[index * pixels..(index + 1) * pixels];
                    let gradient = &gradient[index * gradient_pixels..(index + 1) * gradient_pixels];
                    vectorized(
                        #[inline(always)]
                        || {
                            place(plane, input, geometry.padding, [1, 1], &mut scratch.padded, pitch);
                            place(gradient, output, [0, 0], geometry.stride, &mut scratch.row, pitch);
                            correlate_with(&scratch.padded, pitch, &scratch.row, geometry.kernel, sums);
                        },
                    );
                }
            },
        );
    })
}
