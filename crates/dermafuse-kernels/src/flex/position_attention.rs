//! Attention between all positions: some rows of the weights at a time are computed, used within the cache, and forgotten.

use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;

use super::attention::{clear, softmax, softmax_gradient};
use super::products::{Matrix, Part, ReborrowMut, add_product, column_parts, matrix, whole};
use super::{filled, values, vectorized};
use crate::positions::ValueFlow;

/// Rows of the weights that are computed together: they should fit into the cache, and be enough for products.
const ROWS: usize = 64;
/// Into how many pieces the rows of a batch are cut at least for sums over them; a constant, so that sums do not depend on
/// the machine.
const PIECES: usize = 16;

/// Sizes of a batch.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    /// Channels of queries and keys.
    depth: usize,
    /// Channels of values.
    channels: usize,
    /// Positions of queries.
    rows: usize,
    /// Positions of keys.
    columns: usize,
}

impl Sizes {
    fn of(query: &FlexTensor, key: &FlexTensor, value: &FlexTensor) -> Self {
        let ([batch, depth, rows], [_, channels, _]) = (query.shape().dims(), value.shape().dims());
        let [_, _, columns] = key.shape().dims();
        Self { batch, depth, channels, rows, columns }
    }

    /// Rows of a piece, of which sums are made apart.
    fn piece(&self) -> usize {
        self.rows.div_ceil(PIECES.div_ceil(self.batch.max(1))).next_multiple_of(ROWS)
    }

    fn pieces(&self) -> usize {
        self.rows.div_ceil(self.piece())
    }
}

/// `[rows, columns]` each.
#[derive(Default)]
struct Buffers {
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

pub(super) fn forward(query: FlexTensor, key: FlexTensor, value: FlexTensor, flow: ValueFlow) -> FlexTensor {
    let (query, key, value) = (query.to_contiguous(), key.to_contiguous(), value.to_contiguous());
    let sizes = Sizes::of(&query, &key, &value);
    let Sizes { batch, depth, channels, rows, columns } = sizes;
    let (query, key) = (images(values(&query), [depth, rows]), images(values(&key), [depth, columns]));
    match flow {
        ValueFlow::Gather => {
            let value = images(values(&value), [channels, columns]);
            filled([batch, channels, rows], |result| {
                let images = result.chunks_exact_mut((channels * rows).max(1)).enumerate();
                let tasks: Vec<_> = images
                    .flat_map(|(image, result)| {
                        let parts = column_parts(whole(result, [channels, rows]), ROWS);
                        parts.into_iter().map(move |(first, part)| (image, first, part))
                    })
                    .collect();
                tasks.into_par_iter().for_each_init(Vec::new, |weights, (image, first, part)| {
                    let count = part.ncols();
                    weigh(query(image).subcols(first, count), key(image), weights);
                    add_product(part, value(image), matrix(weights, [count, columns], columns).transpose());
                });
            })
        }
        ValueFlow::Scatter => {
            let value = images(values(&value), [channels, rows]);
            let size = (channels * columns).max(1);
            // Pieces of one image, whatever the batch: sums depend on no neighbour. One image after the other, so that
            // memory does not grow with their number.
            let alone = Sizes { batch: 1, ..sizes };
            let mut sums = vec![0.0; alone.pieces() * channels * columns];
            filled([batch, channels, columns], |result| {
                for (image, result) in result.chunks_exact_mut(size).enumerate() {
                    let parts = sums.par_chunks_exact_mut(size).enumerate();
                    parts.for_each_init(Vec::new, |weights, (piece, sum)| {
                        sum.fill(0.0);
                        let piece = piece * alone.piece();
                        let last = (piece + alone.piece()).min(rows);
                        for first in (piece..last).step_by(ROWS) {
                            let count = ROWS.min(last - first);
                            weigh(query(image).subcols(first, count), key(image), weights);
                            let (part, weights) =
                                (whole(sum, [channels, columns]), matrix(weights, [count, columns], columns));
                            add_product(part, value(image).subcols(first, count), weights);
                        }
                    });
                    for sum in sums.chunks_exact(size) {
                        result.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
                    }
                }
            })
        }
    }
}

/// Some rows of one image, and where their gradients go.
struct Task<'r> {
    image: usize,
    first: usize,
    /// `[D, n]`.
    to_query: Part<'r>,
    /// `[D, M]`, of these rows alone.
    to_key: Part<'r>,
    /// `[C, M]` of these rows alone where values are gathered, `[C, n]` where they are scattered.
    to_value: Part<'r>,
}

/// The portable formulas.
pub(super) fn gradients(
    query: FlexTensor,
    key: FlexTensor,
    value: FlexTensor,
    gradient: FlexTensor,
    flow: ValueFlow,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let (query, key, value) = (query.to_contiguous(), key.to_contiguous(), value.to_contiguous());
    let gradient = gradient.to_contiguous();
    let sizes = Sizes::of(&query, &key, &value);
    let Sizes { batch, depth, channels, rows, columns } = sizes;
    let (piece, pieces) = (sizes.piece(), sizes.pieces());
    let (query, key) = (images(values(&query), [depth, rows]), images(values(&key), [depth, columns]));
    // What belongs to the rows, and what belongs to the columns.
    let (of_rows, of_columns) = match flow {
        ValueFlow::Gather => (values(&gradient), values(&value)),
        ValueFlow::Scatter => (values(&value), values(&gradient)),
    };
    let (of_rows, of_columns) = (images(of_rows, [channels, rows]), images(of_columns, [channels, columns]));

    let mut to_key = vec![0.0; batch * pieces * depth * columns];
    let mut to_value = match flow {
        ValueFlow::Gather => vec![0.0; batch * pieces * channels * columns],
        ValueFlow::Scatter => vec![0.0; batch * channels * rows],
    };
    let to_query = filled([batch, depth, rows], |to_query| {
        let to_key = to_key.chunks_exact_mut((depth * columns).max(1)).map(|sum| whole(sum, [depth, columns]));
        let to_value: Vec<Part<'_>> = match flow {
            ValueFlow::Gather => {
                let sums = to_value.chunks_exact_mut((channels * columns).max(1));
                sums.map(|sum| whole(sum, [channels, columns])).collect()
            }
            ValueFlow::Scatter => pieces_of(&mut to_value, [channels, rows], piece).map(|(_, _, part)| part).collect(),
        };
        let parts = pieces_of(to_query, [depth, rows], piece).zip(to_key).zip(to_value);
        let tasks: Vec<Task<'_>> = parts
            .map(|(((image, first, to_query), to_key), to_value)| Task { image, first, to_query, to_key, to_value })
            .collect();
        tasks.into_par_iter().for_each_init(Buffers::default, |buffers, task| {
            let Task { image, first: begin, to_query, mut to_key, mut to_value } = task;
            for (offset, to_query) in column_parts(to_query, ROWS) {
                let (first, count) = (begin + offset, to_query.ncols());
                let (query, of_rows) = (query(image).subcols(first, count), of_rows(image).subcols(first, count));
                let Buffers { weights, gradient } = buffers;
                weigh(query, key(image), weights);
                clear(gradient, count * columns);
                add_product(whole(gradient, [count, columns]), of_rows.transpose(), of_columns(image));

                let weight_rows = matrix(weights, [count, columns], columns);
                match flow {
                    ValueFlow::Gather => add_product(to_value.rb_mut(), of_rows, weight_rows),
                    ValueFlow::Scatter => {
                        let part = to_value.rb_mut().subcols_mut(offset, count);
                        add_product(part, of_columns(image), weight_rows.transpose());
                    }
                }
                vectorized(
                    #[inline(always)]
                    || {
                        let rows = gradient.chunks_exact_mut(columns).zip(weights.chunks_exact(columns));
                        for (gradient, weights) in rows {
                            softmax_gradient(gradient, weights);
                        }
                    },
                );
                let scores = matrix(gradient, [count, columns], columns);
                add_product(to_query, key(image), scores.transpose());
                add_product(to_key.rb_mut(), query, scores);
            }
        });
    });
    let to_value = match flow {
        ValueFlow::Gather => summed(to_value, pieces, [batch, channels, columns]),
        ValueFlow::Scatter => summed(to_value, 1, [batch, channels, rows]),
    };
    (to_query, summed(to_key, pieces, [batch, depth, columns]), to_value)
}

/// The matrix of each image of a batch.
fn images<'a>(values: &'a [f32], [rows, columns]: [usize; 2]) -> impl Fn(usize) -> Matrix<'a> + Sync {
    move |image| matrix(&values[image * rows * columns..][..rows * columns], [rows, columns], columns)
}

/// Parts of at most `size` columns of each image of a batch, with the image and the first column.
fn pieces_of(
    values: &mut [f32],
    [rows, columns]: [usize; 2],
    size: usize,
) -> impl Iterator<Item = (usize, usize, Part<'_>)> {
    let images = values.chunks_exact_mut((rows * columns).max(1)).enumerate();
    images.flat_map(move |(image, values)| {
        let parts = column_parts(whole(values, [rows, columns]), size);
        parts.into_iter().map(move |(first, part)| (image, first, part))
    })
}

/// `softmax(queryᵀ · key)`: `[D, n]`, `[D, M]` → `[n, M]`.
fn weigh(query: Matrix<'_>, key: Matrix<'_>, weights: &mut Vec<f32>) {
    let (rows, columns) = (query.ncols(), key.ncols());
    clear(weights, rows * columns);
    add_product(whole(weights, [rows, columns]), query.transpose(), key);
    vectorized(
        #[inline(always)]
        || {
            // A loop, not `for_each`, whose body would be compiled for any machine.
            for row in weights.chunks_exact_mut(columns) {
                softmax(row);
            }
        },
    );
}

/// The sum of every image's pieces.
fn summed(mut values: Vec<f32>, pieces: usize, [batch, rows, columns]: [usize; 3]) -> FlexTensor {
    let size = rows * columns;
    if pieces > 1 {
        for image in 0..batch {
            let (total, others) = values[image * pieces * size..][..pieces * size].split_at_mut(size);
            for piece in others.chunks_exact(size) {
                total.iter_mut().zip(piece).for_each(|(total, value)| *total += value);
            }
            values.copy_within(image * pieces * size..(image * pieces + 1) * size, image * size);
        }
        values.truncate(batch * size);
    }
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::new([batch, rows, columns])), DType::F32)
}
