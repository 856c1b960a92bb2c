//! Attention inside windows: each window is read from the map, attended within the cache, and written back in place.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::exp;
use super::lanes::LANES;
use super::products::{add_product, matrix, whole};
use super::{filled, values, vectorized};
use crate::windows::{MASKED, Windows};

/// Into how many blocks the windows are cut at most for sums over them; a constant, so that sums do not depend on the machine.
const BLOCKS: usize = 64;
/// Least squared length of a query or key that is divided by its length.
const LEAST_SQUARE: f32 = 1e-24;

/// What the attention of all windows shares.
struct Attention<'a> {
    qkv: &'a [f32],
    scale: &'a [f32],
    bias: &'a [f32],
    windows: Windows,
    /// Pixel of the map of each pixel of each window of an image.
    places: Vec<usize>,
    pieces: Vec<usize>,
    channels: usize,
}

/// One window and head at a time, each `[N, C / heads]`; `weights` and what they are made of `[N, N]`.
#[derive(Default)]
struct Buffers {
    query: Vec<f32>,
    /// The queries times the scale.
    scaled: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    /// One over the lengths that queries and keys were divided by.
    inverse_lengths: [Vec<f32>; 2],
    weights: Vec<f32>,
    weights_gradient: Vec<f32>,
    output: Vec<f32>,
    gradients: [Vec<f32>; 3],
}

/// The part of a result that belongs to a pixel, with the pixel's place in its window.
type Pixel<'a> = (usize, &'a mut [f32]);

/// `softmax(query · keyᵀ · scale + bias + mask) · value` in each window and head.
pub(super) fn forward(qkv: FlexTensor, scale: FlexTensor, bias: FlexTensor, windows: Windows) -> FlexTensor {
    let [batch, height, width, _] = qkv.shape().dims();
    let (qkv, scale, bias) = (qkv.to_contiguous(), scale.to_contiguous(), bias.to_contiguous());
    let attention = Attention::new(&qkv, &scale, &bias, windows);
    let (channels, length) = (attention.channels, attention.length());
    filled([batch, height, width, channels], |result| {
        let tasks = attention.pixels_by_window(result, channels);
        tasks.into_par_iter().enumerate().for_each_init(Buffers::default, |buffers, (window, mut pixels)| {
            for head in 0..windows.heads {
                attention.weigh(window, head, buffers);
                let (pixel_count, weights) = (windows.pixels(), &buffers.weights);
                clear(&mut buffers.output, pixel_count * length);
                let weights = matrix(weights, [pixel_count, pixel_count], pixel_count);
                let value = matrix(&buffers.value, [pixel_count, length], length);
                add_product(whole(&mut buffers.output, [pixel_count, length]), weights, value);
                for (place, pixel) in &mut pixels {
                    pixel[head * length..][..length].copy_from_slice(&buffers.output[*place * length..][..length]);
                }
            }
        });
    })
}

/// For `qkv`, `scale` and `bias`. With P the weights and S what the softmax was taken of: ∂V = Pᵀ·∂O, ∂P = ∂O·Vᵀ,
/// ∂S = P ∘ (∂P − Σ P∘∂P), ∂Q = scale · ∂S·K, ∂K = scale · ∂Sᵀ·Q.
pub(super) fn gradients(
    qkv: FlexTensor,
    scale: FlexTensor,
    bias: FlexTensor,
    gradient: FlexTensor,
    windows: Windows,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let shape = qkv.shape();
    let (qkv, scale, bias) = (qkv.to_contiguous(), scale.to_contiguous(), bias.to_contiguous());
    let gradient = gradient.to_contiguous();
    let gradient = values(&gradient);
    let attention = Attention::new(&qkv, &scale, &bias, windows);
    let (heads, pairs) = (windows.heads, windows.pixels() * windows.pixels());

    // Of each block of windows: the bias' gradient, then the scale's.
    let count = shape.num_elements() / (3 * attention.channels * windows.pixels()).max(1);
    let block = count.div_ceil(BLOCKS).max(1);
    let size = heads * (pairs + 1);
    let mut sums = vec![0.0_f32; size * count.div_ceil(block)];
    let to_qkv = filled(shape, |result| {
        let mut tasks = attention.pixels_by_window(result, 3 * attention.channels);
        let blocks = tasks.par_chunks_mut(block).zip(sums.par_chunks_mut(size.max(1))).enumerate();
        blocks.for_each_init(Buffers::default, |buffers, (index, (tasks, sums))| {
            let (to_bias, to_scale) = sums.split_at_mut(heads * pairs);
            for (offset, pixels) in tasks.iter_mut().enumerate() {
                for head in 0..heads {
                    let to_bias = &mut to_bias[head * pairs..][..pairs];
                    let window = index * block + offset;
                    to_scale[head] += attention.add_gradients(window, head, gradient, buffers, to_bias);
                    attention.write_gradients(head, buffers, pixels);
                }
            }
        });
    });
    let total = |first: usize, shape: &[usize]| {
        filled(shape.to_vec(), |total| {
            for sums in sums.chunks_exact(size.max(1)) {
                total.iter_mut().zip(&sums[first..]).for_each(|(total, sum)| *total += sum);
            }
        })
    };
    let pixels = windows.pixels();
    (to_qkv, total(heads * pairs, &[heads]), total(0, &[heads, pixels, pixels]))
}

impl<'a> Attention<'a> {
    fn new(qkv: &'a FlexTensor, scale: &'a FlexTensor, bias: &'a FlexTensor, windows: Windows) -> Self {
        let [_, height, width, triple] = qkv.shape().dims();
        let size = [height, width];
        let (places, pieces) = (windows.places(size), windows.pieces(size));
        let (qkv, scale, bias) = (values(qkv), values(scale), values(bias));
        Self { qkv, scale, bias, windows, places, pieces, channels: triple / 3 }
    }

    /// Channels of a head.
    fn length(&self) -> usize {
        self.channels / self.windows.heads
    }

    /// The image of a window, and the window's pixels in it.
    fn window(&self, index: usize) -> (usize, &[usize]) {
        let (pixels, count) = (self.windows.pixels(), self.places.len() / self.windows.pixels());
        (index / count, &self.places[index % count * pixels..][..pixels])
    }

    /// The pixels of a result with `channels` channels, collected by window.
    fn pixels_by_window<'r>(&self, result: &'r mut [f32], channels: usize) -> Vec<Vec<Pixel<'r>>> {
        let pixels = self.windows.pixels();
        // Window and place of each pixel of the map.
        let mut owners = vec![(0, 0); self.places.len()];
        for (index, place) in self.places.iter().enumerate() {
            owners[*place] = (index / pixels, index % pixels);
        }
        let mut collected = Vec::new();
        for image in result.chunks_exact_mut(self.places.len() * channels) {
            let first = collected.len();
            let count = self.places.len() / pixels;
            collected.extend((0..count).map(|_| Vec::with_capacity(pixels)));
            for (pixel, (window, place)) in image.chunks_exact_mut(channels).zip(&owners) {
                collected[first + window].push((*place, pixel));
            }
        }
        collected
    }

    /// Copies one part (query, key or value) of a window and head.
    fn gather(&self, window: usize, offset: usize, to: &mut Vec<f32>) {
        self.gather_from(self.qkv, 3 * self.channels, window, offset, to);
    }

    fn gather_from(&self, map: &[f32], channels: usize, window: usize, offset: usize, to: &mut Vec<f32>) {
        let (image, places) = self.window(window);
        let image = &map[image * self.places.len() * channels..][..self.places.len() * channels];
        to.clear();
        for place in places {
            to.extend_from_slice(&image[place * channels + offset..][..self.length()]);
        }
    }

    /// Fills the buffers with queries, keys, values, and the weights that the softmax gives.
    fn weigh(&self, window: usize, head: usize, buffers: &mut Buffers) {
        let (pixels, length) = (self.windows.pixels(), self.length());
        let Buffers { query, scaled, key, value, inverse_lengths: [of_query, of_key], weights, .. } = buffers;
        for (part, to) in [&mut *query, &mut *key, value].into_iter().enumerate() {
            self.gather(window, part * self.channels + head * length, to);
        }
        if self.windows.cosine {
            divide_by_lengths(query, length, of_query);
            divide_by_lengths(key, length, of_key);
        }
        let scale = self.scale[head];
        scaled.clear();
        scaled.extend(query.iter().map(|value| value * scale));

        weights.clear();
        weights.extend_from_slice(&self.bias[head * pixels * pixels..][..pixels * pixels]);
        if !self.pieces.is_empty() {
            let pieces = &self.pieces[window % (self.places.len() / pixels) * pixels..][..pixels];
            if pieces.iter().any(|piece| *piece != pieces[0]) {
                for (row, from) in weights.chunks_exact_mut(pixels).zip(pieces) {
                    row.iter_mut()
                        .zip(pieces)
                        .for_each(|(weight, to)| *weight += if from == to { 0.0 } else { MASKED });
                }
            }
        }
        let (scaled, key) = (matrix(scaled, [pixels, length], length), matrix(key, [pixels, length], length));
        add_product(whole(weights, [pixels, pixels]), scaled, key.transpose());
        vectorized(
            #[inline(always)]
            || {
                // A loop, not `for_each`, whose body would be compiled for any machine.
                for row in weights.chunks_exact_mut(pixels) {
                    softmax(row);
                }
            },
        );
    }

    /// Leaves the gradients of query, key and value in the buffers; adds the bias' and returns the scale's.
    fn add_gradients(
        &self,
        window: usize,
        head: usize,
        gradient: &[f32],
        buffers: &mut Buffers,
        to_bias: &mut [f32],
    ) -> f32 {
        let (pixels, length) = (self.windows.pixels(), self.length());
        self.weigh(window, head, buffers);
        self.gather_from(gradient, self.channels, window, head * length, &mut buffers.output);
        let Buffers { query, scaled, key, value, inverse_lengths, weights, weights_gradient, output, gradients } =
            buffers;
        let tall = |values| matrix(values, [pixels, length], length);
        let (square, shape) = ([pixels, pixels], [pixels, length]);

        clear(weights_gradient, pixels * pixels);
        add_product(whole(weights_gradient, square), tall(output), tall(value).transpose());
        gradients.iter_mut().for_each(|gradient| clear(gradient, pixels * length));
        let [to_query, to_key, to_value] = gradients;
        add_product(whole(to_value, shape), matrix(weights, square, pixels).transpose(), tall(output));

        vectorized(
            #[inline(always)]
            || {
                let rows = weights_gradient.chunks_exact_mut(pixels).zip(weights.chunks_exact(pixels));
                for ((gradient, weights), to_bias) in rows.zip(to_bias.chunks_exact_mut(pixels)) {
                    softmax_gradient(gradient, weights);
                    to_bias.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += *value);
                }
            },
        );

        let similarity = matrix(weights_gradient, square, pixels);
        add_product(whole(to_query, shape), similarity, tall(key));
        add_product(whole(to_key, shape), similarity.transpose(), tall(scaled));
        let scale = self.scale[head];
        let to_scale = vectorized(
            #[inline(always)]
            || {
                let to_scale = dot(query, to_query);
                to_query.iter_mut().for_each(|value| *value *= scale);
                to_scale
            },
        );
        if self.windows.cosine {
            divide_gradient_by_lengths(to_query, query, length, &inverse_lengths[0]);
            divide_gradient_by_lengths(to_key, key, length, &inverse_lengths[1]);
        }
        to_scale
    }

    fn write_gradients(&self, head: usize, buffers: &Buffers, pixels: &mut [Pixel<'_>]) {
        let length = self.length();
        for (place, pixel) in pixels {
            for (part, gradient) in buffers.gradients.iter().enumerate() {
                let to = &mut pixel[part * self.channels + head * length..][..length];
                to.copy_from_slice(&gradient[*place * length..][..length]);
            }
        }
    }
}

/// As many zeros.
pub(super) fn clear(buffer: &mut Vec<f32>, length: usize) {
    buffer.clear();
    buffer.resize(length, 0.0);
}

fn divide_by_lengths(vectors: &mut [f32], length: usize, inverse_lengths: &mut Vec<f32>) {
    inverse_lengths.clear();
    vectorized(
        #[inline(always)]
        || {
            for vector in vectors.chunks_exact_mut(length) {
                let square = dot(vector, vector);
                let inverse = 1.0 / (if square < LEAST_SQUARE { LEAST_SQUARE } else { square }).sqrt();
                vector.iter_mut().for_each(|value| *value *= inverse);
                inverse_lengths.push(inverse);
            }
        },
    );
}

/// `(g − u · (u·g)) / length` of each unit vector u.
fn divide_gradient_by_lengths(gradients: &mut [f32], units: &[f32], length: usize, inverse_lengths: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            let vectors = gradients.chunks_exact_mut(length).zip(units.chunks_exact(length));
            for ((gradient, unit), inverse) in vectors.zip(inverse_lengths) {
                let along = dot(gradient, unit);
                let values = gradient.iter_mut().zip(unit);
                values.for_each(|(gradient, unit)| *gradient = (*gradient - unit * along) * inverse);
            }
        },
    );
}

#[inline(always)]
pub(super) fn softmax(row: &mut [f32]) {
    let largest = fold(row, f32::NEG_INFINITY, |largest, value| if value > largest { value } else { largest });
    row.iter_mut().for_each(|value| *value = exp(*value - largest));
    let inverse = 1.0 / fold(row, 0.0, |sum, value| sum + value);
    row.iter_mut().for_each(|value| *value *= inverse);
}

/// `weights ∘ (gradient − Σ weights ∘ gradient)`.
#[inline(always)]
pub(super) fn softmax_gradient(gradient: &mut [f32], weights: &[f32]) {
    let sum = dot(gradient, weights);
    gradient.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient = (*gradient - sum) * weight);
}

#[inline(always)]
fn fold(row: &[f32], start: f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = fold(lanes[lane], chunk[lane]);
        }
    }
    let mut result = start;
    for value in rest {
        result = fold(result, *value);
    }
    for value in halves_folded(lanes, &fold) {
        result = fold(result, value);
    }
    result
}

#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    let mut result = 0.0;
    for (left, right) in left_rest.iter().zip(right_rest) {
        result += left * right;
    }
    for value in halves_folded(lanes, |sum, value| sum + value) {
        result += value;
    }
    result
}

/// Lanes folded upon each other until four are left: a chain of single steps would wait for each.
#[inline(always)]
fn halves_folded(lanes: [f32; LANES], fold: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    let eight: [f32; 8] = std::array::from_fn(|lane| fold(lanes[lane], lanes[lane + 8]));
    std::array::from_fn(|lane| fold(eight[lane], eight[lane + 4]))
}
