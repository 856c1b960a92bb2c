//! Attention between all positions, made of Burn's operations: some rows of the weights at a time, and none is kept.

use std::ops::Range;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Slice;

use crate::positions::ValueFlow;

/// How many weights are computed at a time: 64 MB of `f32`, half of the largest buffer that every device of WebGPU has.
const WEIGHTS: usize = 1 << 24;

/// How many rows of the weights are computed at a time, of each image of a batch: all of them where they are few.
fn rows_at_a_time([batch, rows, columns]: [usize; 3]) -> usize {
    (WEIGHTS / (batch * columns).max(1)).clamp(1, rows.max(1))
}

/// Batch, positions of queries and positions of keys.
fn sizes<B: Backend>(query: &FloatTensor<B>, key: &FloatTensor<B>) -> [usize; 3] {
    let ([batch, _, rows], [_, _, columns]) = (query.shape().dims(), key.shape().dims());
    [batch, rows, columns]
}

pub(crate) fn forward<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    flow: ValueFlow,
) -> FloatTensor<B> {
    let size = rows_at_a_time(sizes::<B>(&query, &key));
    forward_by::<B>(query, key, value, flow, size)
}

/// [`forward`] with so many rows at a time.
fn forward_by<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    flow: ValueFlow,
    size: usize,
) -> FloatTensor<B> {
    let [_, rows, _] = sizes::<B>(&query, &key);
    let parts = row_ranges(rows, size).map(|rows| {
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
    let size = rows_at_a_time(sizes::<B>(&query, &key));
    gradients_by::<B>(query, key, value, gradient, flow, size)
}

/// [`gradients`] with so many rows at a time.
fn gradients_by<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    gradient: FloatTensor<B>,
    flow: ValueFlow,
    size: usize,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [_, rows, _] = sizes::<B>(&query, &key);
    // A query's gradient is whole after its rows, a key's is a sum over all of them; a value's is either.
    let (mut to_query, mut to_key, mut to_value) = (vec![], None, vec![]);
    let mut value_sum = None;
    for rows in row_ranges(rows, size) {
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

/// All rows, `size` at a time.
fn row_ranges(rows: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_weights_does_not_grow_with_the_positions() {
        for batch in [1, 2, 24, 192] {
            for rows in [1, 7, 49, 196, 784, 3136, 12_544, 50_176] {
                for columns in [1, 49, 3136, 12_544] {
                    let size = rows_at_a_time([batch, rows, columns]);
                    let weights = |size: usize| batch * size * columns;
                    assert!((1..=rows).contains(&size), "{batch} × {rows} × {columns}: {size}");
                    // The least that can be computed is a row of each image, which is linear in the positions.
                    assert!(weights(size) <= WEIGHTS.max(batch * columns), "{batch} × {rows} × {columns}: {size}");
                    // As few parts as this allows.
                    assert!(size == rows || weights(size + 1) > WEIGHTS, "{batch} × {rows} × {columns}: {size}");
                }
            }
        }
        // Maps of 56², a batch of 24: 64 MB at a time in place of 944.
        assert_eq!(rows_at_a_time([24, 3136, 3136]), 222);
        assert_eq!(rows_at_a_time([24, 196, 196]), 196);
        assert_eq!(rows_at_a_time([0, 5, 0]), 5);
    }

    #[cfg(feature = "flex")]
    mod cut {
        use burn::backend::Flex;
        use burn::backend::flex::{FlexDevice, FlexTensor};
        use burn::backend::ops::FloatTensorOps;
        use burn::tensor::{DType, Distribution, FloatDType, Shape};

        use super::*;
        use crate::backend::Kernels;

        fn draw([batch, channels, positions]: [usize; 3], magnitude: f64, dtype: FloatDType) -> FlexTensor {
            let shape = Shape::new([batch, channels, positions]);
            Flex::float_random(shape, Distribution::Normal(0.0, magnitude), &FlexDevice, dtype)
        }

        fn numbers(tensor: FlexTensor) -> Vec<f64> {
            let tensor = tensor.to_contiguous();
            match tensor.dtype() {
                DType::F64 => tensor.storage::<f64>().to_vec(),
                _ => tensor.storage::<f32>().iter().copied().map(f64::from).collect(),
            }
        }

        /// Largest difference, relative to the largest value (at least 1).
        fn assert_near(what: &str, found: FlexTensor, expected: &FlexTensor, tolerance: f64) {
            assert_eq!(found.shape(), expected.shape(), "{what}");
            let (found, expected) = (numbers(found), numbers(expected.clone()));
            let scale = expected.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= tolerance * scale, "{what}: {found} instead of {expected}");
            }
        }

        /// In however many parts the rows are computed, the result is that of all at once, and of the CPU's kernel.
        #[test]
        fn parts_equal_the_whole() {
            let shapes = [
                ([1, 1, 1], [1, 1]),
                ([1, 3, 2], [1, 13]),
                ([2, 1, 5], [13, 1]),
                ([3, 5, 1], [31, 17]),
                ([1, 7, 3], [97, 67]),
                ([2, 4, 6], [211, 211]),
            ];
            for (dtype, [value_bound, gradient_bound]) in
                [(FloatDType::F64, [1e-12, 1e-12]), (FloatDType::F32, [1e-5, 3e-5])]
            {
                for ([batch, depth, channels], [rows, columns]) in shapes {
                    for flow in [ValueFlow::Gather, ValueFlow::Scatter] {
                        let (values, results) = match flow {
                            ValueFlow::Gather => (columns, rows),
                            ValueFlow::Scatter => (rows, columns),
                        };
                        // Small, so that the softmax is smooth: its gradient is a difference.
                        let query = draw([batch, depth, rows], 0.5, dtype);
                        let key = draw([batch, depth, columns], 0.5, dtype);
                        let value = draw([batch, channels, values], 1.0, dtype);
                        let gradient = draw([batch, channels, results], 1.0, dtype);
                        let of = || (query.clone(), key.clone(), value.clone());

                        let (q, k, v) = of();
                        let expected = Flex::position_attention(q, k, v, flow);
                        let (q, k, v) = of();
                        let (to_query, to_key, to_value) =
                            Flex::position_attention_gradients(q, k, v, gradient.clone(), flow);
                        for size in [1, 2, 7, rows.saturating_sub(1).max(1), rows, rows + 3] {
                            let what = format!("{dtype:?} {flow:?} {rows} × {columns} by {size}");
                            let (q, k, v) = of();
                            assert_near(&what, forward_by::<Flex>(q, k, v, flow, size), &expected, value_bound);
                            let (q, k, v) = of();
                            let found = gradients_by::<Flex>(q, k, v, gradient.clone(), flow, size);
                            assert_near(&format!("{what}, query"), found.0, &to_query, gradient_bound);
                            assert_near(&format!("{what}, key"), found.1, &to_key, gradient_bound);
                            assert_near(&format!("{what}, value"), found.2, &to_value, gradient_bound);
                        }
                    }
                }
            }
        }
    }
}
