//! A factor and a summand for each channel, then an activation; channel sums; their gradients.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Function, with_function};
use super::lanes::{self, LANES};
use super::{filled, mapped, planes_per_task, values, vectorized};
use crate::activation::Activation;

/// Batch, channels and pixels of a map.
fn sizes(x: &FlexTensor) -> (usize, usize, usize) {
    let [batch, channels, height, width] = x.shape().dims();
    (batch, channels, height * width)
}

pub(super) fn forward(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, activation: Activation) -> FlexTensor {
    let (_, channels, pixels) = sizes(&x);
    let (scale, shift) = (scale.to_contiguous(), shift.to_contiguous());
    let (scale, shift) = (values(&scale), values(&shift));
    with_function!(activation, F => mapped(x, pixels, |index, _, plane| {
        let channel = index % channels;
        apply::<F>(plane, scale[channel], shift[channel]);
    }))
}

fn apply<F: Function>(plane: &mut [f32], scale: f32, shift: f32) {
    vectorized(
        #[inline(always)]
        || {
            for value in plane {
                *value = F::value(*value * scale + shift);
            }
        },
    );
}

pub(super) fn channel_sum(x: FlexTensor) -> FlexTensor {
    let (batch, channels, pixels) = sizes(&x);
    let x = x.to_contiguous();
    let x = values(&x);
    filled([channels], |sums| {
        for_each_channel(sums, batch * pixels, |channel, sum| {
            *sum = channel_planes(x, batch, channels, pixels, channel).map(plane_sum).sum::<f64>() as f32;
        });
    })
}

pub(super) fn channel_moments(x: FlexTensor) -> (FlexTensor, FlexTensor) {
    let (batch, channels, pixels) = sizes(&x);
    let x = x.to_contiguous();
    let x = values(&x);
    let samples = (batch * pixels) as f64;
    let mut variances = vec![0.0_f32; channels];
    let means = filled([channels], |means| {
        let tasks = means.par_iter_mut().zip(&mut variances).with_min_len(planes_per_task(batch * pixels)).enumerate();
        tasks.for_each(|(channel, (mean, variance))| {
            let planes = || channel_planes(x, batch, channels, pixels, channel);
            let center = (planes().map(plane_sum).sum::<f64>() / samples) as f32;
            *mean = center;
            *variance = (planes().map(|plane| plane_square_sum(plane, center)).sum::<f64>() / samples) as f32;
        });
    });
    let variances = filled([channels], |output| output.copy_from_slice(&variances));
    (means, variances)
}

pub(super) fn gradient_sums(
    x: FlexTensor,
    scale: FlexTensor,
    shift: FlexTensor,
    gradient: FlexTensor,
    activation: Activation,
) -> (FlexTensor, FlexTensor) {
    let (batch, channels, pixels) = sizes(&x);
    let [x, scale, shift, gradient] = [x, scale, shift, gradient].map(|tensor| tensor.to_contiguous());
    let [x, scale, shift, gradient] = [&x, &scale, &shift, &gradient].map(values);
    let mut weighted = vec![0.0_f32; channels];
    let sums = filled([channels], |sums| {
        let tasks = sums.par_iter_mut().zip(&mut weighted).with_min_len(planes_per_task(batch * pixels)).enumerate();
        with_function!(activation, F => tasks.for_each(|(channel, (sum, weighted))| {
            let planes = channel_planes(x, batch, channels, pixels, channel);
            let gradients = channel_planes(gradient, batch, channels, pixels, channel);
            let partial = planes.zip(gradients).map(|(x, gradient)| {
                plane_gradient_sums::<F>(x, gradient, scale[channel], shift[channel])
            });
            let total = partial.fold([0.0; 2], |total, partial| [total[0] + partial[0], total[1] + partial[1]]);
            *sum = total[0] as f32;
            *weighted = total[1] as f32;
        }));
    });
    let weighted = filled([channels], |output| output.copy_from_slice(&weighted));
    (sums, weighted)
}

pub(super) fn input_gradient(
    x: FlexTensor,
    scale: FlexTensor,
    shift: FlexTensor,
    gradient: FlexTensor,
    statistics: Option<(FlexTensor, FlexTensor)>,
    activation: Activation,
) -> FlexTensor {
    let (_, channels, pixels) = sizes(&x);
    let [x, scale, shift] = [x, scale, shift].map(|tensor| tensor.to_contiguous());
    let [x, scale, shift] = [&x, &scale, &shift].map(values);
    let statistics = statistics.map(|(slope, offset)| (slope.to_contiguous(), offset.to_contiguous()));
    let statistics = statistics.as_ref().map(|(slope, offset)| (values(slope), values(offset)));
    with_function!(activation, F => mapped(gradient, pixels, |index, first, gradient| {
        let channel = index % channels;
        let (slope, offset) = statistics.map_or((0.0, 0.0), |(slope, offset)| (slope[channel], offset[channel]));
        let x = &x[index * pixels + first..][..gradient.len()];
        plane_input_gradient::<F>(x, gradient, [scale[channel], shift[channel], slope, offset]);
    }))
}

/// Runs the work for each channel, in parallel where `elements` of one are worth it.
fn for_each_channel(output: &mut [f32], elements: usize, work: impl Fn(usize, &mut f32) + Sync) {
    let channels = output.par_iter_mut().with_min_len(planes_per_task(elements)).enumerate();
    channels.for_each(|(channel, value)| work(channel, value));
}

/// The planes of one channel, image after image.
fn channel_planes(
    x: &[f32],
    batch: usize,
    channels: usize,
    pixels: usize,
    channel: usize,
) -> impl Iterator<Item = &[f32]> {
    (0..batch).map(move |image| {
        let start = (image * channels + channel) * pixels;
        &x[start..start + pixels]
    })
}

fn plane_sum(plane: &[f32]) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let (chunks, rest) = plane.as_chunks::<LANES>();
            let mut lanes = [0.0_f32; LANES];
            for chunk in chunks {
                for lane in 0..LANES {
                    lanes[lane] += chunk[lane];
                }
            }
            lanes.iter().chain(rest).map(|value| f64::from(*value)).sum()
        },
    )
}

fn plane_square_sum(plane: &[f32], center: f32) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let (chunks, rest) = plane.as_chunks::<LANES>();
            let mut lanes = [0.0_f32; LANES];
            for chunk in chunks {
                for lane in 0..LANES {
                    lanes[lane] += (chunk[lane] - center) * (chunk[lane] - center);
                }
            }
            let rest = rest.iter().map(|value| f64::from((value - center) * (value - center)));
            lanes.iter().map(|lane| f64::from(*lane)).chain(rest).sum()
        },
    )
}

/// Sums of the gradient before the activation, alone and times the input.
fn plane_gradient_sums<F: Function>(x: &[f32], gradient: &[f32], scale: f32, shift: f32) -> [f64; 2] {
    vectorized(
        #[inline(always)]
        || {
            let (chunks, rest) = x.as_chunks::<LANES>();
            let (gradient_chunks, gradient_rest) = gradient.as_chunks::<LANES>();
            let (mut sums, mut weighted) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            for (x, gradient) in chunks.iter().zip(gradient_chunks) {
                for lane in 0..LANES {
                    let before = gradient[lane] * F::slope(x[lane] * scale + shift);
                    sums[lane] += before;
                    weighted[lane] += before * x[lane];
                }
            }
            let mut totals = [&sums, &weighted].map(lanes::exact_total);
            for (x, gradient) in rest.iter().zip(gradient_rest) {
                let before = gradient * F::slope(x * scale + shift);
                totals[0] += f64::from(before);
                totals[1] += f64::from(before * x);
            }
            totals
        },
    )
}

fn plane_input_gradient<F: Function>(x: &[f32], gradient: &mut [f32], [scale, shift, slope, offset]: [f32; 4]) {
    vectorized(
        #[inline(always)]
        || {
            for (gradient, x) in gradient.iter_mut().zip(x) {
                *gradient = *gradient * F::slope(x * scale + shift) * scale + (x * slope + offset);
            }
        },
    );
}
