//! Layer normalization: over neighbouring numbers (rows), or over planes (the channels of a map).

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::lanes::{self, LANES};
use super::{filled, mapped, planes_per_task, updated, values, vectorized};

/// Positions of planes that are looked at together.
const BLOCK: usize = 256;
/// Rows whose gradients are summed by one thread; a constant, so that sums do not depend on the machine.
const SUMMED_ROWS: usize = 256;

/// `[outer, length, inner]`, normalized over `length`.
#[derive(Clone, Copy)]
struct Sizes {
    length: usize,
    inner: usize,
}

impl Sizes {
    fn of(x: &FlexTensor, axis: usize) -> Self {
        let shape = x.shape();
        let inner = shape[axis + 1..].iter().product();
        Self { length: shape[axis], inner }
    }
}

pub(super) fn forward(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, epsilon: f64, axis: usize) -> FlexTensor {
    let sizes = Sizes::of(&x, axis);
    let (gamma, beta) = (gamma.to_contiguous(), beta.to_contiguous());
    let (gamma, beta) = (values(&gamma), values(&beta));
    let epsilon = epsilon as f32;
    if sizes.inner == 1 {
        return updated(x, sizes.length, |_, row| {
            vectorized(
                #[inline(always)]
                || {
                    let (mean, inverse) = row_moments(row, epsilon);
                    for ((value, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                        *value = (*value - mean) * inverse * gamma + beta;
                    }
                },
            );
        });
    }
    let x = if x.is_contiguous() { x } else { x.to_contiguous() };
    let moments = position_moments(values(&x), sizes, epsilon);
    mapped(x, sizes.inner, |index, first, plane| {
        let (image, channel) = (index / sizes.length, index % sizes.length);
        let moments = &moments[image * sizes.inner + first..][..plane.len()];
        let (gamma, beta) = (gamma[channel], beta[channel]);
        vectorized(
            #[inline(always)]
            || {
                for (value, [mean, inverse]) in plane.iter_mut().zip(moments) {
                    *value = (*value - mean) * inverse * gamma + beta;
                }
            },
        );
    })
}

/// Mean and inverse deviation of a row.
#[inline(always)]
fn row_moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let length = row.len() as f32;
    let mean = lane_sum(row, |value| value) / length;
    let variance = lane_sum(row, |value| (value - mean) * (value - mean)) / length;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[inline(always)]
fn lane_sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += of(chunk[lane]);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}

/// Mean and inverse deviation of each position over the channels, image after image.
fn position_moments(x: &[f32], Sizes { length, inner }: Sizes, epsilon: f32) -> Vec<[f32; 2]> {
    let outer = x.len() / (length * inner).max(1);
    let mut moments = vec![[0.0_f32; 2]; outer * inner];
    let blocks = moments.par_chunks_mut(inner).zip(x.par_chunks(length * inner));
    blocks.for_each(|(moments, image)| {
        moments.par_chunks_mut(BLOCK).enumerate().for_each(|(index, moments)| {
            let (mut means, mut squares) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
            let (means, squares) = (&mut means[..moments.len()], &mut squares[..moments.len()]);
            let rows = || image.chunks_exact(inner).map(|plane| &plane[index * BLOCK..][..moments.len()]);
            vectorized(
                #[inline(always)]
                || {
                    for row in rows() {
                        means.iter_mut().zip(row).for_each(|(mean, value)| *mean += *value);
                    }
                    means.iter_mut().for_each(|mean| *mean /= length as f32);
                    for row in rows() {
                        for ((square, mean), value) in squares.iter_mut().zip(&*means).zip(row) {
                            *square += (value - mean) * (value - mean);
                        }
                    }
                },
            );
            for ((moments, mean), square) in moments.iter_mut().zip(means).zip(squares) {
                *moments = [*mean, 1.0 / (*square / length as f32 + epsilon).sqrt()];
            }
        });
    });
    moments
}

/// For the input, gamma and beta. With x̂ the normalized input, r the inverse deviation, g the gradient times gamma:
/// `r · (g − mean(g) − x̂ · mean(g·x̂))`, `Σ gradient·x̂`, `Σ gradient`.
pub(super) fn gradients(
    x: FlexTensor,
    gamma: FlexTensor,
    gradient: FlexTensor,
    epsilon: f64,
    axis: usize,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let sizes = Sizes::of(&x, axis);
    let (x, gamma) = (x.to_contiguous(), gamma.to_contiguous());
    let (x, gamma) = (values(&x), values(&gamma));
    match sizes.inner {
        1 => row_gradients(x, gamma, gradient, epsilon as f32),
        _ => plane_gradients(x, gamma, gradient, sizes, epsilon as f32),
    }
}

fn row_gradients(x: &[f32], gamma: &[f32], gradient: FlexTensor, epsilon: f32) -> (FlexTensor, FlexTensor, FlexTensor) {
    let length = gamma.len();
    let size = (SUMMED_ROWS * length).max(1);
    // Sums for gamma, then for beta, of each block of rows.
    let mut sums = vec![0.0_f32; 2 * length * x.len().div_ceil(size)];
    let shape = gradient.shape();
    let gradient = gradient.to_contiguous();
    let gradient = values(&gradient);
    let result = filled(shape, |result| {
        let blocks = result.par_chunks_mut(size).zip(gradient.par_chunks(size)).zip(x.par_chunks(size));
        blocks.zip(sums.par_chunks_mut((2 * length).max(1))).for_each(|(((result, gradient), x), sums)| {
            let (to_gamma, to_beta) = sums.split_at_mut(length);
            let rows = result.chunks_exact_mut(length).zip(gradient.chunks_exact(length)).zip(x.chunks_exact(length));
            vectorized(
                #[inline(always)]
                || {
                    for ((result, gradient), x) in rows {
                        row_gradient(result, gradient, x, gamma, to_gamma, to_beta, epsilon);
                    }
                },
            );
        });
    });
    let total = |first: usize| {
        filled([length], |total| {
            for sums in sums.chunks_exact((2 * length).max(1)) {
                total.iter_mut().zip(&sums[first..]).for_each(|(total, sum)| *total += sum);
            }
        })
    };
    (result, total(0), total(length))
}

#[inline(always)]
fn row_gradient(
    result: &mut [f32],
    gradient: &[f32],
    x: &[f32],
    gamma: &[f32],
    to_gamma: &mut [f32],
    to_beta: &mut [f32],
    epsilon: f32,
) {
    let (mean, inverse) = row_moments(x, epsilon);
    let length = x.len();
    let (gradient, gamma, result) = (&gradient[..length], &gamma[..length], &mut result[..length]);
    let (to_gamma, to_beta) = (&mut to_gamma[..length], &mut to_beta[..length]);
    for index in 0..length {
        let standardized = (x[index] - mean) * inverse;
        to_gamma[index] += gradient[index] * standardized;
        to_beta[index] += gradient[index];
        result[index] = gradient[index] * gamma[index];
    }
    let center = lane_sum(result, |value| value) / length as f32;
    let (mut lanes, mut slope) = ([0.0_f32; LANES], 0.0);
    let whole = length - length % LANES;
    for start in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            lanes[lane] += result[start + lane] * (x[start + lane] - mean);
        }
    }
    for index in whole..length {
        slope += result[index] * (x[index] - mean);
    }
    let slope = (lanes::total(&lanes) + slope) * inverse / length as f32;
    for (value, x) in result.iter_mut().zip(x) {
        *value = (*value - center - (x - mean) * inverse * slope) * inverse;
    }
}

fn plane_gradients(
    x: &[f32],
    gamma: &[f32],
    gradient: FlexTensor,
    sizes: Sizes,
    epsilon: f32,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let Sizes { length, inner } = sizes;
    let gradient = if gradient.is_contiguous() { gradient } else { gradient.to_contiguous() };
    let moments = position_moments(x, sizes, epsilon);
    let means = position_gradient_means(x, values(&gradient), gamma, &moments, sizes);

    // Sums of each plane, for gamma and for beta.
    let planes = x.len() / inner;
    let mut sums = vec![[0.0_f32; 2]; planes];
    let (x_planes, gradient_planes) = (x.par_chunks_exact(inner), values(&gradient).par_chunks_exact(inner));
    let tasks = sums.par_iter_mut().zip(x_planes).zip(gradient_planes).with_min_len(planes_per_task(inner));
    tasks.enumerate().for_each(|(index, ((sums, x), gradient))| {
        let moments = &moments[index / length * inner..][..inner];
        *sums = vectorized(
            #[inline(always)]
            || plane_sums(x, gradient, moments),
        );
    });
    let total = |which: usize| {
        filled([length], |total| {
            for sums in sums.chunks_exact(length) {
                total.iter_mut().zip(sums).for_each(|(total, sums)| *total += sums[which]);
            }
        })
    };

    let result = mapped(gradient, inner, |index, first, gradient| {
        let (image, gamma, count) = (index / length, gamma[index % length], gradient.len());
        let x = &x[index * inner + first..][..count];
        let [moments, means] = [&moments, &means].map(|of| &of[image * inner + first..][..count]);
        vectorized(
            #[inline(always)]
            || {
                for position in 0..gradient.len() {
                    let [mean, inverse] = moments[position];
                    let [center, slope] = means[position];
                    let standardized = (x[position] - mean) * inverse;
                    gradient[position] = (gradient[position] * gamma - center - standardized * slope) * inverse;
                }
            },
        );
    });
    (result, total(0), total(1))
}

/// Sums of `gradient · x̂` and of `gradient` over a plane.
#[inline(always)]
fn plane_sums(x: &[f32], gradient: &[f32], moments: &[[f32; 2]]) -> [f32; 2] {
    let (mut weighted, mut plain) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let (mut total, mut rest) = ([0.0_f32; 2], x.len() % LANES);
    let whole = x.len() - rest;
    for start in (0..whole).step_by(LANES) {
        let (x, gradient, moments) = (&x[start..][..LANES], &gradient[start..][..LANES], &moments[start..][..LANES]);
        for lane in 0..LANES {
            weighted[lane] += gradient[lane] * (x[lane] - moments[lane][0]) * moments[lane][1];
            plain[lane] += gradient[lane];
        }
    }
    while rest > 0 {
        let position = x.len() - rest;
        total[0] += gradient[position] * (x[position] - moments[position][0]) * moments[position][1];
        total[1] += gradient[position];
        rest -= 1;
    }
    [total[0] + lanes::total(&weighted), total[1] + lanes::total(&plain)]
}

/// Means over the channels of `g` and of `g · x̂`, `g` the gradient times gamma, at each position.
fn position_gradient_means(
    x: &[f32],
    gradient: &[f32],
    gamma: &[f32],
    moments: &[[f32; 2]],
    Sizes { length, inner }: Sizes,
) -> Vec<[f32; 2]> {
    let mut means = vec![[0.0_f32; 2]; moments.len()];
    let images = means.par_chunks_mut(inner).zip(moments.par_chunks(inner));
    let images = images.zip(x.par_chunks(length * inner)).zip(gradient.par_chunks(length * inner));
    images.for_each(|(((means, moments), x), gradient)| {
        let blocks = means.par_chunks_mut(BLOCK).zip(moments.par_chunks(BLOCK)).enumerate();
        blocks.for_each(|(index, (means, moments))| {
            let (mut plain, mut weighted) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
            let count = means.len();
            vectorized(
                #[inline(always)]
                || {
                    for (channel, gamma) in gamma.iter().enumerate() {
                        let start = channel * inner + index * BLOCK;
                        let (x, gradient) = (&x[start..][..count], &gradient[start..][..count]);
                        let (plain, weighted) = (&mut plain[..count], &mut weighted[..count]);
                        let moments = &moments[..count];
                        for position in 0..count {
                            let scaled = gradient[position] * gamma;
                            plain[position] += scaled;
                            weighted[position] += scaled * (x[position] - moments[position][0]);
                        }
                    }
                },
            );
            for (position, means) in means.iter_mut().enumerate() {
                let scale = 1.0 / length as f32;
                *means = [plain[position] * scale, weighted[position] * moments[position][1] * scale];
            }
        });
    });
    means
}
