//! Attention between all positions, made of Burn's operations: some rows of the weights at a time, and none is kept.

use std::ops::Range;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Slice;

use crate::positions::ValueFlow;

/// How many weights are computed at a time: 64 MB of `f32`.
const WEIGHTS: usize = 1 << 24;

pub(crate) fn forward<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    flow: ValueFlow,
) -> FloatTensor<B> {
    let parts = row_ranges::<B>(&query, &key).map(|rows| {
        let weights = weights::<B>(&query, &key, &rows); // [B, n, M]
        match flow {
            ValueFlow::Gather => B::float_matmul(value.clone(), turned::<B>(weights)), // [B, C, n]
            ValueFlow::Scatter => B::float_matmul(columns::<B>(&value, &rows), weights), // [B, C, M]
        }
    });
    match flow {
        ValueFlow::Gather => B::float_cat(parts.collect(), 2), // [B, C, N]
        ValueFlow::Scatter => parts.reduce(B::float_add).expect("there are rows"),
    }
}

/// The same with all rows of the weights at once.
#[cfg(feature = "capture")]
pub(crate) fn whole<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    flow: ValueFlow,
) -> FloatTensor<B> {
    let weights = B::softmax(B::float_matmul(turned::<B>(query), key), 2); // [B, N, M]
    match flow {
        ValueFlow::Gather => B::float_matmul(value, turned::<B>(weights)), // [B, C, N]
        ValueFlow::Scatter => B::float_matmul(value, weights),             // [B, C, M]
    }
}

/// With P the weights and S what the softmax was taken of: ∂S = P ∘ (∂P − Σ P∘∂P), ∂Q = K·∂Sᵀ, ∂K = Q·∂S. Values that are
/// gathered have ∂P = ∂Oᵀ·V and ∂V = ∂O·P, values that are scattered ∂P = Vᵀ·∂O and ∂V = ∂O·Pᵀ.
pub(crate) fn gradients<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    gradient: FloatTensor<B>,
    flow: ValueFlow,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    // A query's gradient is whole after its rows, a key's is a sum over all of them; a value's is either.
    let (mut to_query, mut to_key, mut to_value) = (vec![], None, vec![]);
    let mut value_sum = None;
    for rows in row_ranges::<B>(&query, &key) {
        let weights = weights::<B>(&query, &key, &rows); // [B, n, M]
        // What belongs to the rows, and what belongs to the columns.
        let (of_rows, of_columns) = match flow {
            ValueFlow::Gather => (columns::<B>(&gradient, &rows), value.clone()),
            ValueFlow::Scatter => (columns::<B>(&value, &rows), gradient.clone()),
        };
        match flow {
            ValueFlow::Gather => {
                let part = B::float_matmul(of_rows.clone(), weights.clone()); // [B, C, M]
                value_sum = Some(added::<B>(value_sum, part));
            }
            ValueFlow::Scatter => {
                to_value.push(B::float_matmul(gradient.clone(), turned::<B>(weights.clone()))); // [B, C, n]
            }
        }
        let to_weights = B::float_matmul(turned::<B>(of_rows), of_columns); // [B, n, M]
        let sum = B::float_sum_dim(B::float_mul(weights.clone(), to_weights.clone()), 2);
        let to_scores = B::float_mul(weights, B::float_sub(to_weights, sum)); // [B, n, M]
        to_query.push(B::float_matmul(key.clone(), turned::<B>(to_scores.clone()))); // [B, D, n]
        to_key = Some(added::<B>(to_key, B::float_matmul(columns::<B>(&query, &rows), to_scores))); // [B, D, M]
    }
    let to_value = value_sum.unwrap_or_else(|| B::float_cat(to_value, 2));
    (B::float_cat(to_query, 2), to_key.expect("there are rows"), to_value)
}

fn added<B: Backend>(sum: Option<FloatTensor<B>>, part: FloatTensor<B>) -> FloatTensor<B> {
    match sum {
        Some(sum) => B::float_add(sum, part),
        None => part,
    }
}

/// Rows of the weights that are computed together.
fn row_ranges<B: Backend>(query: &FloatTensor<B>, key: &FloatTensor<B>) -> impl Iterator<Item = Range<usize>> {
    let ([batch, _, rows], [_, _, columns]) = (query.shape().dims(), key.shape().dims());
    let size = (WEIGHTS / (batch * columns).max(1)).clamp(1, rows.max(1));
    (0..rows).step_by(size).map(move |first| first..(first + size).min(rows))
}

/// `softmax(queryᵀ · key)` of some rows, `[B, n, M]`.
fn weights<B: Backend>(query: &FloatTensor<B>, key: &FloatTensor<B>, rows: &Range<usize>) -> FloatTensor<B> {
    B::softmax(B::float_matmul(turned::<B>(columns::<B>(query, rows)), key.clone()), 2)
}

/// `[B, C, N]` → `[B, C, n]`.
fn columns<B: Backend>(x: &FloatTensor<B>, range: &Range<usize>) -> FloatTensor<B> {
    B::float_slice(x.clone(), &[Slice::full(), Slice::full(), Slice::from(range.clone())])
}

/// `[B, R, C]` → `[B, C, R]`.
fn turned<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_swap_dims(x, 1, 2)
}
