//! Products whose depth is long and whose result is small, as gradients of weights are: sums over all positions of a batch.

use std::ops::Range;

use rayon::prelude::*;

use super::activation::Identity;
use super::panels::{self, Left};
use super::products::whole;
use super::tiles::{DEPTH, Start};
use super::zeros;

/// Numbers of all sums together that are made apart from one another.
const SUMS: usize = 1 << 19;
/// The least depth of a piece: with less, adding up the sums would show.
const LEAST: usize = 768;

/// `left · right` of so many columns, row after row. The depth is cut into pieces that are summed apart, at once, and then added up one
/// after the other. How it is cut hangs on the shapes alone, so the result is the same with any number of threads. `lay_out` writes some
/// rows of the right factor, some columns of each, the rows as far apart as the last number says.
pub(super) fn sum_over_depth(
    left: &impl Left,
    columns: usize,
    result: &mut [f32],
    lay_out: impl Fn(Range<usize>, Range<usize>, &mut [f32], usize) + Sync,
) {
    let [rows, depth] = left.shape();
    let count = rows * columns;
    let pieces = pieces(left, count);
    let product = |piece: Range<usize>, result: &mut [f32]| {
        let results = vec![whole(result, [rows, columns])];
        panels::multiply_piece::<Identity>(left, piece, Start::Zero, results, &lay_out);
    };
    let [first, rest @ ..] = pieces.as_slice() else { return };
    let mut sums = zeros(rest.len() * count);
    rayon::scope(|_| {
        let targets = sums.chunks_mut(count.max(1)).zip(rest);
        let tasks: Vec<(&mut [f32], &Range<usize>)> = [(&mut *result, first)].into_iter().chain(targets).collect();
        tasks.into_par_iter().for_each(|(target, piece)| product(piece.clone(), target));
        if rest.is_empty() || depth == 0 {
            return;
        }
        const BLOCK: usize = 1 << 10;
        result.par_chunks_mut(BLOCK).enumerate().with_min_len(4).for_each(|(block, result)| {
            for sums in sums.chunks_exact(count) {
                let sums = &sums[block * BLOCK..][..result.len()];
                result.iter_mut().zip(sums).for_each(|(result, sum)| *result += *sum);
            }
        });
    });
}

/// The pieces of the depth, for results of so many numbers.
fn pieces(left: &impl Left, numbers: usize) -> Vec<Range<usize>> {
    let [_, depth] = left.shape();
    let most = (SUMS / numbers.max(1)).clamp(1, (depth / LEAST).max(1));
    // Ends where rows end that are neighbours in memory, else whole blocks of a sum.
    let unit = match left.reach(0..depth) {
        reach if reach < depth => reach,
        _ => DEPTH,
    };
    let size = depth.div_ceil(most).next_multiple_of(unit.max(1)).max(1);
    (0..depth.max(1)).step_by(size).map(|first| first..depth.min(first + size)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::panels::{ColumnsOf, Table};
    use super::super::tiles::Rows;
    use super::*;

    /// Whole numbers, so that every order of summing gives the same.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * 7919 + seed * 104_729) % 13) as f32 - 6.0).collect()
    }

    fn product([rows, depth, columns]: [usize; 3]) -> (Vec<f32>, Vec<f32>) {
        let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
        let mut found = vec![f32::NAN; rows * columns];
        sum_over_depth(&Rows::new(&left, [rows, depth]), columns, &mut found, |depth, part, target, pitch| {
            for (index, target) in depth.zip(target.chunks_mut(pitch)) {
                target[..part.len()].copy_from_slice(&right[index * columns..][part.clone()]);
            }
        });
        let number = |index: usize| {
            let (row, column) = (index / columns, index % columns);
            (0..depth).map(|at| left[row * depth + at] * right[at * columns + column]).sum()
        };
        (found, (0..rows * columns).map(number).collect())
    }

    #[test]
    fn every_depth_is_summed_whole() {
        for depth in [0, 1, 255, 256, 257, 767, 768, 1535, 1536, 1537, 5000, 9217] {
            let (found, expected) = product([9, depth, 50]);
            assert_eq!(found, expected, "depth {depth}");
        }
    }

    /// A chunk of a panel of one column is deeper than all that is laid out of left rows at once.
    #[test]
    fn left_rows_of_any_length_are_laid_out() {
        let (depth, rows) = (40_000, 11);
        let (values, right) = (numbers(depth * rows, 5), numbers(depth, 6));
        let left = ColumnsOf { table: Table { values: &values, pitch: rows, turned: false }, shape: [depth, rows] };
        let mut found = vec![f32::NAN; rows];
        panels::multiply_piece::<Identity>(
            &left,
            0..depth,
            Start::Zero,
            vec![whole(&mut found, [rows, 1])],
            |depth, _, target, pitch| {
                for (index, target) in depth.zip(target.chunks_mut(pitch)) {
                    target[0] = right[index];
                }
            },
        );
        let number = |row: usize| (0..depth).map(|at| values[at * rows + row] * right[at]).sum::<f32>();
        assert_eq!(found, (0..rows).map(number).collect::<Vec<_>>());
    }

    #[test]
    fn threads_change_no_bit() {
        let (left, right) = (numbers(13 * 6000, 3), numbers(6000 * 70, 4));
        let left: Vec<f32> = left.iter().map(|number| number / 3.0).collect();
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let mut result = vec![0.0; 13 * 70];
            pool.install(|| {
                sum_over_depth(&Rows::new(&left, [13, 6000]), 70, &mut result, |depth, part, target, pitch| {
                    for (index, target) in depth.zip(target.chunks_mut(pitch)) {
                        target[..part.len()].copy_from_slice(&right[index * 70..][part.clone()]);
                    }
                });
            });
            result.iter().map(|number| number.to_bits()).collect::<Vec<_>>()
        };
        let alone = with_threads(1);
        for threads in [2, 3, 7] {
            assert!(with_threads(threads) == alone, "{threads} threads");
        }
    }
}
