//! Attention inside windows, made of Burn's operations.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, Shape, Slice, TensorData};

use super::scalar;
use crate::windows::{MASKED, Windows};

/// Least squared length of a query or key that is divided by its length.
const LEAST_SQUARE: f64 = 1e-24;

/// Queries (unit vectors if so wanted), keys, values `[B·n, heads, N, C / heads]`, and what makes the weights.
struct Parts<B: Backend> {
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    /// One over the lengths of queries and keys `[B·n, heads, N, 1]`.
    inverse_lengths: Option<[FloatTensor<B>; 2]>,
    /// `[B·n, heads, N, N]`.
    weights: FloatTensor<B>,
}

/// Sizes of a map `[B, H, W, 3·C]` and its windows.
struct Sizes {
    batch: usize,
    size: [usize; 2],
    /// Channels of a head.
    length: usize,
}

impl Sizes {
    fn of<B: Backend>(qkv: &FloatTensor<B>, windows: &Windows) -> Self {
        let [batch, height, width, channels] = qkv.shape().dims();
        Self { batch, size: [height, width], length: channels / (3 * windows.heads) }
    }
}

pub(crate) fn forward<B: Backend>(
    qkv: FloatTensor<B>,
    scale: FloatTensor<B>,
    bias: FloatTensor<B>,
    windows: Windows,
) -> FloatTensor<B> {
    let sizes = Sizes::of::<B>(&qkv, &windows);
    let Parts { value, weights, .. } = parts::<B>(qkv, scale, bias, &sizes, windows);
    let attended = B::float_matmul(weights, value); // [B*n, heads, N, C/heads]
    merged::<B>(B::float_swap_dims(attended, 1, 2), &sizes, windows)
}

/// The kernels' formulas.
pub(crate) fn gradients<B: Backend>(
    qkv: FloatTensor<B>,
    scale: FloatTensor<B>,
    bias: FloatTensor<B>,
    gradient: FloatTensor<B>,
    windows: Windows,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let Windows { heads, .. } = windows;
    let pixels = windows.pixels();
    let sizes = Sizes::of::<B>(&qkv, &windows);
    let Parts { query, key, value, inverse_lengths, weights } = parts::<B>(qkv, scale.clone(), bias, &sizes, windows);
    let gradient = split::<B>(gradient, &sizes, windows, 1); // [1, B*n, heads, N, C/heads]
    let gradient = part::<B>(gradient, 0);
    let turned = |tensor| B::float_swap_dims(tensor, 2, 3);

    let to_value = B::float_matmul(turned(weights.clone()), gradient.clone());
    let to_weights = B::float_matmul(gradient, turned(value));
    let sum = B::float_sum_dim(B::float_mul(weights.clone(), to_weights.clone()), 3);
    let to_similarity = B::float_mul(weights, B::float_sub(to_weights, sum)); // [B*n, heads, N, N]
    let to_bias = B::float_reshape(B::float_sum_dim(to_similarity.clone(), 0), Shape::new([heads, pixels, pixels]));

    let to_scaled = B::float_matmul(to_similarity.clone(), key.clone()); // ∂(query · scale)
    let along_query = B::float_mul(to_scaled.clone(), query.clone());
    let to_scale = [0, 2, 3].into_iter().fold(along_query, |sum, axis| B::float_sum_dim(sum, axis));
    let to_scale = B::float_reshape(to_scale, Shape::new([heads]));
    let scale = B::float_reshape(scale, Shape::new([1, heads, 1, 1]));
    let to_query = B::float_mul(to_scaled, scale.clone());
    let to_key = B::float_mul(B::float_matmul(turned(to_similarity), query.clone()), scale);
    let (to_query, to_key) = match inverse_lengths {
        Some([of_query, of_key]) => {
            (divided_gradient::<B>(to_query, query, of_query), divided_gradient::<B>(to_key, key, of_key))
        }
        None => (to_query, to_key),
    };

    // Three times [B*n, N, heads, C/heads], side by side.
    let sides = [to_query, to_key, to_value].map(|part| {
        let part = B::float_swap_dims(part, 1, 2);
        let count = part.shape()[0];
        B::float_reshape(part, Shape::new([count, pixels, 1, heads, sizes.length]))
    });
    (merged::<B>(B::float_cat(sides.to_vec(), 2), &sizes, windows), to_scale, to_bias)
}

fn parts<B: Backend>(
    qkv: FloatTensor<B>,
    scale: FloatTensor<B>,
    bias: FloatTensor<B>,
    sizes: &Sizes,
    windows: Windows,
) -> Parts<B> {
    let (heads, pixels) = (windows.heads, windows.pixels());
    let (device, dtype) = (qkv.device(), qkv.dtype());
    let qkv = split::<B>(qkv, sizes, windows, 3); // [3, B*n, heads, N, C/heads]
    let [query, key, value] = [0, 1, 2].map(|index| part::<B>(qkv.clone(), index));
    let (query, key, inverse_lengths) = match windows.cosine {
        true => {
            let ((query, of_query), (key, of_key)) = (divided::<B>(query), divided::<B>(key));
            (query, key, Some([of_query, of_key]))
        }
        false => (query, key, None),
    };
    let scale = B::float_reshape(scale, Shape::new([1, heads, 1, 1]));
    let bias = B::float_reshape(bias, Shape::new([1, heads, pixels, pixels]));
    let scaled = B::float_mul(query.clone(), scale);
    let similarity = B::float_add(B::float_matmul(scaled, B::float_swap_dims(key.clone(), 2, 3)), bias);
    let similarity = match mask(sizes.size, windows) {
        Some(mask) => {
            let count = mask.len() / (pixels * pixels);
            let shape = [sizes.batch, count, heads, pixels, pixels];
            let mask = B::float_from_data(TensorData::new(mask, [1, count, 1, pixels, pixels]), &device);
            let mask = if dtype == DType::F32 { mask } else { B::float_cast(mask, dtype.into()) };
            let similarity = B::float_add(B::float_reshape(similarity, Shape::new(shape)), mask);
            B::float_reshape(similarity, Shape::new([sizes.batch * count, heads, pixels, pixels]))
        }
        None => similarity,
    };
    Parts { query, key, value, inverse_lengths, weights: B::softmax(similarity, 3) }
}

/// What is added to the similarity of each pair of a window's pixels, `[n · N · N]`.
fn mask(size: [usize; 2], windows: Windows) -> Option<Vec<f32>> {
    let pieces = windows.pieces(size);
    let of_window = |pieces: &[usize]| -> Vec<f32> {
        let pairs = pieces.iter().flat_map(|from| pieces.iter().map(move |to| from == to));
        pairs.map(|together| if together { 0.0 } else { MASKED }).collect()
    };
    (!pieces.is_empty()).then(|| pieces.chunks_exact(windows.pixels()).flat_map(of_window).collect())
}

/// `[B, H, W, parts·C]` → `[parts, B·n, heads, N, C / heads]`.
fn split<B: Backend>(map: FloatTensor<B>, sizes: &Sizes, windows: Windows, parts: usize) -> FloatTensor<B> {
    let Sizes { batch, size: [height, width], length } = *sizes;
    let Windows { side, heads, shift, .. } = windows;
    let channels = parts * heads * length;
    let map = rolled::<B>(map, shift);
    let map = B::float_reshape(map, Shape::new([batch, height / side, side, width / side, side, channels]));
    let map = B::float_permute(map, &[0, 1, 3, 2, 4, 5]);
    let count = batch * (height / side) * (width / side);
    let map = B::float_reshape(map, Shape::new([count, side * side, parts, heads, length]));
    B::float_permute(map, &[2, 0, 3, 1, 4])
}

/// One of the parts: `[parts, B·n, heads, N, C / heads]` → `[B·n, heads, N, C / heads]`.
fn part<B: Backend>(parts: FloatTensor<B>, index: usize) -> FloatTensor<B> {
    let [_, count, heads, pixels, length] = parts.shape().dims();
    let part = B::float_slice(parts, &[Slice::from(index..index + 1)]);
    B::float_reshape(part, Shape::new([count, heads, pixels, length]))
}

/// `[B·n, N, …]` → `[B, H, W, …]`, the last dimensions as one.
fn merged<B: Backend>(pixels: FloatTensor<B>, sizes: &Sizes, windows: Windows) -> FloatTensor<B> {
    let Sizes { batch, size: [height, width], .. } = *sizes;
    let Windows { side, shift, .. } = windows;
    let channels = pixels.shape().num_elements() / (batch * height * width);
    let map = B::float_reshape(pixels, Shape::new([batch, height / side, width / side, side, side, channels]));
    let map = B::float_permute(map, &[0, 1, 3, 2, 4, 5]);
    let map = B::float_reshape(map, Shape::new([batch, height, width, channels]));
    // Back where it came from.
    rolled::<B>(map, [(height - shift[0]) % height, (width - shift[1]) % width])
}

/// The map `[B, H, W, C]` from row and column `shift` on, then what was before.
fn rolled<B: Backend>(map: FloatTensor<B>, shift: [usize; 2]) -> FloatTensor<B> {
    [1, 2].into_iter().zip(shift).filter(|(_, shift)| *shift > 0).fold(map, |map, (axis, shift)| {
        let length = map.shape()[axis];
        let range = |range: std::ops::Range<usize>| {
            let mut slices = vec![Slice::full(); 4];
            slices[axis] = Slice::from(range);
            B::float_slice(map.clone(), &slices)
        };
        B::float_cat(vec![range(shift..length), range(0..shift)], axis)
    })
}

/// Vectors divided by their lengths, and one over these.
fn divided<B: Backend>(vectors: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let squares = B::float_sum_dim(B::float_mul(vectors.clone(), vectors.clone()), 3);
    let inverse = B::float_recip(B::float_sqrt(B::float_clamp_min(squares, scalar(LEAST_SQUARE))));
    (B::float_mul(vectors, inverse.clone()), inverse)
}

/// `(g − u · (u·g)) / length` of each unit vector u.
fn divided_gradient<B: Backend>(
    gradient: FloatTensor<B>,
    units: FloatTensor<B>,
    inverse_lengths: FloatTensor<B>,
) -> FloatTensor<B> {
    let along = B::float_sum_dim(B::float_mul(gradient.clone(), units.clone()), 3);
    B::float_mul(B::float_sub(gradient, B::float_mul(units, along)), inverse_lengths)
}
