//! Products of single rows with a matrix: every number is summed in the same order, however many rows there are.

use rayon::prelude::*;

use super::activation::{Function, apply};
use super::products::{Part, column_parts, for_each_row, whole};
use super::tiles::Rows;
use super::vectorized;

/// Columns that are computed together: their sums stay in the fastest memory.
const COLUMNS: usize = 256;
/// Rows of the weight that are added in one pass over the sums.
const TOGETHER: usize = 4;

/// `result = F(x · weight + bias)`, x `[R, C]`, weight `[C, C']`: `((bias + x₀·w₀) + x₁·w₁) + …` for each number.
pub(super) fn multiply<F: Function>(x: &[f32], weight: Rows<'_>, bias: Option<&[f32]>, result: &mut [f32]) {
    let [channels, channels_out] = weight.shape;
    let rows = result.len() / channels_out.max(1);
    let tasks = column_parts(whole(result, [rows, channels_out]), COLUMNS);
    tasks.into_par_iter().for_each_init(Vec::new, |sums, (column, mut part)| {
        let count = part.ncols();
        sums.clear();
        match bias {
            Some(bias) => (0..rows).for_each(|_| sums.extend_from_slice(&bias[column..][..count])),
            None => sums.resize(rows * count, 0.0),
        }
        add_products(x, channels, weight, column, count, sums);
        write::<F>(sums, count, &mut part);
    });
}

/// Adds the products of each row of x with some columns of the weight.
fn add_products(x: &[f32], channels: usize, weight: Rows<'_>, column: usize, count: usize, sums: &mut [f32]) {
    let whole = channels - channels % TOGETHER;
    vectorized(
        #[inline(always)]
        || {
            for channel in (0..whole).step_by(TOGETHER) {
                let [a, b, c, d]: [&[f32]; TOGETHER] =
                    std::array::from_fn(|next| weight.part(channel + next, column, count));
                for (x, sums) in x.chunks_exact(channels).zip(sums.chunks_exact_mut(count)) {
                    let factors: [f32; TOGETHER] = std::array::from_fn(|next| x[channel + next]);
                    let (a, b, c, d) = (&a[..sums.len()], &b[..sums.len()], &c[..sums.len()], &d[..sums.len()]);
                    for (index, sum) in sums.iter_mut().enumerate() {
                        let next = *sum + factors[0] * a[index];
                        let next = next + factors[1] * b[index];
                        let next = next + factors[2] * c[index];
                        *sum = next + factors[3] * d[index];
                    }
                }
            }
            for channel in whole..channels {
                let row = weight.part(channel, column, count);
                for (x, sums) in x.chunks_exact(channels).zip(sums.chunks_exact_mut(count)) {
                    let factor = x[channel];
                    sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += factor * weight);
                }
            }
        },
    );
}

fn write<F: Function>(sums: &[f32], count: usize, part: &mut Part<'_>) {
    for_each_row(part, |index, row| {
        row.copy_from_slice(&sums[index * count..][..count]);
        if !F::IS_IDENTITY {
            apply::<F>(row);
        }
    });
}
