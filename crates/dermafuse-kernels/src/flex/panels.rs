//! Products of large matrices: the columns in panels that stay in the cache, each laid out once, on all threads.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::activation::{Function, Identity};
use super::products::{Part, ReborrowMut};
use super::tiles::{self, DEPTH, Rows, Start, TILE_COLUMNS, TILE_ROWS, panel_pitch};
use super::vectorized;

/// Columns of the widest panel.
pub(super) const WIDEST: usize = 10 * TILE_COLUMNS;
/// Numbers of a panel: with the rows that pass over it, it stays in the second cache.
const PANEL: usize = 1 << 18;
/// Multiplications that are worth a task of their own.
const TASK: usize = 1 << 22;
/// Numbers of left rows that are laid out at once.
const LAID_OUT: usize = 1 << 14;
/// Multiplications that are done sooner than a thread wakes.
const SMALL: usize = 1 << 18;

/// Neighbouring columns of a product, and the parts of the result that they are.
pub(super) struct Panel<'a> {
    first: usize,
    columns: usize,
    parts: Vec<Part<'a>>,
}

/// Cuts results, whose columns follow one another, into panels of about one width.
fn panels<'a>(results: Vec<Part<'a>>) -> Vec<Panel<'a>> {
    let columns: usize = results.iter().map(|result| result.ncols()).sum();
    let size = columns.div_ceil(columns.div_ceil(WIDEST).max(1)).next_multiple_of(TILE_COLUMNS);
    let mut panels: Vec<Panel<'a>> = Vec::new();
    let mut first = 0;
    for mut rest in results {
        while rest.ncols() > 0 {
            if panels.last().is_none_or(|panel| panel.columns == size) {
                panels.push(Panel { first, columns: 0, parts: Vec::new() });
            }
            let panel = panels.last_mut().expect("one was added if there was none");
            let count = rest.ncols().min(size - panel.columns);
            let (part, others) = rest.split_at_col_mut(count);
            panel.parts.push(part);
            panel.columns += count;
            first += count;
            rest = others;
        }
    }
    panels
}

/// The left factor of a product, `[rows, depth]`.
pub(super) trait Left: Sync {
    /// Rows and depth.
    fn shape(&self) -> [usize; 2];

    /// How far, from the beginning of a part of the depth, that part is best worked on at once.
    fn reach(&self, depth: Range<usize>) -> usize {
        depth.end
    }

    /// Some columns of some rows where each row's numbers are neighbours in memory already.
    fn in_place(&self, rows: Range<usize>, depth: Range<usize>) -> Option<Rows<'_>>;

    /// Writes some columns of some rows, the rows `pitch` numbers apart.
    fn lay_out(&self, rows: Range<usize>, depth: Range<usize>, target: &mut [f32], pitch: usize);
}

impl Left for Rows<'_> {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn in_place(&self, rows: Range<usize>, depth: Range<usize>) -> Option<Rows<'_>> {
        Some(self.subrows(rows.start, rows.len()).columns(depth))
    }

    fn lay_out(&self, rows: Range<usize>, depth: Range<usize>, target: &mut [f32], pitch: usize) {
        for (row, target) in rows.zip(target.chunks_mut(pitch)) {
            target[..depth.len()].copy_from_slice(self.part(row, depth.start, depth.len()));
        }
    }
}

/// `F(start + left · right)` into results whose columns follow one another. `lay_out` writes some rows of the right factor, some
/// columns of each, the rows as far apart as the last number says.
pub(super) fn multiply<F: Function>(
    left: &impl Left,
    start: Start<'_>,
    results: Vec<Part<'_>>,
    lay_out: impl Fn(Range<usize>, Range<usize>, &mut [f32], usize) + Sync,
) {
    let [_, depth] = left.shape();
    multiply_piece::<F>(left, 0..depth, start, results, lay_out);
}

/// As [`multiply`], of a part of the depth.
pub(super) fn multiply_piece<F: Function>(
    left: &impl Left,
    depth: Range<usize>,
    start: Start<'_>,
    results: Vec<Part<'_>>,
    lay_out: impl Fn(Range<usize>, Range<usize>, &mut [f32], usize) + Sync,
) {
    let [rows, _] = left.shape();
    let panels = panels(results);
    let columns: usize = panels.iter().map(|panel| panel.columns).sum();
    let work = |panel: Panel<'_>| {
        let Panel { first, columns, mut parts } = panel;
        let pitch = panel_pitch(columns);
        // Whole blocks of a sum.
        let chunk = (PANEL / pitch / DEPTH).max(1) * DEPTH;
        let (mut begin, mut start) = (depth.start, start.skip_columns(first));
        loop {
            let end = left.reach(begin..depth.end.min(begin + chunk));
            with_scratch((end - begin) * pitch, |values| {
                lay_out(begin..end, first..first + columns, values, pitch);
                let right = Rows { values, shape: [end - begin, columns], pitch };
                let parts = parts.iter_mut().map(|part| part.rb_mut()).collect();
                match end == depth.end {
                    true => multiply_rows::<F>(left, 0..rows, begin..end, right, start, parts),
                    false => multiply_rows::<Identity>(left, 0..rows, begin..end, right, start, parts),
                }
            });
            if end == depth.end {
                break;
            }
            (begin, start) = (end, Start::Result);
        }
    };
    match rows * depth.len() * columns <= SMALL {
        true => panels.into_iter().for_each(work),
        // On a thread of the pool: else each step would wait for one to wake.
        false => rayon::scope(|_| panels.into_par_iter().for_each(work)),
    }
}

/// Halves the rows as long as they are worth it. `start` begins with the first of them.
fn multiply_rows<F: Function>(
    left: &impl Left,
    rows: Range<usize>,
    depth: Range<usize>,
    right: Rows<'_>,
    start: Start<'_>,
    mut parts: Vec<Part<'_>>,
) {
    let count = rows.len();
    if count <= TILE_ROWS || count * depth.len() * right.shape[1] <= TASK {
        if let Some(left) = left.in_place(rows.clone(), depth.clone()) {
            return tiles::multiply::<F>(left, right, start, &mut parts);
        }
        let pitch = panel_pitch(depth.len());
        // Whole tiles, so few that they stay in the second cache beside the panel.
        let together = (LAID_OUT / pitch).max(1).next_multiple_of(TILE_ROWS);
        with_scratch(together.min(count) * pitch, |values| {
            for first in (0..count).step_by(together) {
                let (here, begin) = (together.min(count - first), rows.start + first);
                left.lay_out(begin..begin + here, depth.clone(), values, pitch);
                let left = Rows { values, shape: [here, depth.len()], pitch };
                let mut parts: Vec<Part<'_>> =
                    parts.iter_mut().map(|part| part.rb_mut().subrows_mut(first, here)).collect();
                tiles::multiply::<F>(left, right, start.skip_rows(first), &mut parts);
            }
        });
        return;
    }
    let half = (count / 2).next_multiple_of(TILE_ROWS);
    let (above, below) = parts.into_iter().map(|part| part.split_at_row_mut(half)).unzip();
    let middle = rows.start + half;
    rayon::join(
        || multiply_rows::<F>(left, rows.start..middle, depth.clone(), right, start, above),
        || multiply_rows::<F>(left, middle..rows.end, depth.clone(), right, start.skip_rows(half), below),
    );
}

thread_local! {
    /// What a thread has laid out factors in: kept, as fresh memory costs more than filling it.
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers of a cache's line.
const LINE: usize = 16;

/// Lends memory for so many numbers, at the beginning of a line. What is in it is left from before.
pub(super) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if scratch.len() < length + LINE {
        scratch = vec![0.0; length + LINE];
    }
    let first = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let result = work(&mut scratch[first..first + length]);
    SCRATCH.with_borrow_mut(|kept| kept.push(scratch));
    result
}

/// A matrix whose rows, or if `turned` whose columns, are neighbours in memory, `pitch` numbers apart.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) values: &'a [f32],
    pub(super) pitch: usize,
    pub(super) turned: bool,
}

impl Table<'_> {
    /// The matrix with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { turned: !self.turned, ..self }
    }

    /// Writes some columns of some rows.
    pub(super) fn lay_out(&self, rows: Range<usize>, columns: Range<usize>, target: &mut [f32], pitch: usize) {
        let blocks = target.par_chunks_mut(BLOCK * pitch).enumerate();
        blocks.with_min_len((LAYING / (BLOCK * pitch)).max(1)).take(rows.len().div_ceil(BLOCK)).for_each(
            |(block, target)| {
                let first = rows.start + block * BLOCK;
                let count = BLOCK.min(rows.end - first);
                if self.turned {
                    let source = &self.values[columns.start * self.pitch + first..];
                    transpose(source, self.pitch, [count, columns.len()], target, pitch);
                } else {
                    for (row, target) in target.chunks_mut(pitch).enumerate().take(count) {
                        let source = &self.values[(first + row) * self.pitch + columns.start..][..columns.len()];
                        target[..source.len()].copy_from_slice(source);
                    }
                }
            },
        );
    }
}

/// The left factor whose rows are the columns of a table: `[columns, rows]`.
pub(super) struct ColumnsOf<'a> {
    pub(super) table: Table<'a>,
    /// Rows and columns of the table.
    pub(super) shape: [usize; 2],
}

impl Left for ColumnsOf<'_> {
    fn shape(&self) -> [usize; 2] {
        let [rows, columns] = self.shape;
        [columns, rows]
    }

    fn in_place(&self, rows: Range<usize>, depth: Range<usize>) -> Option<Rows<'_>> {
        let Table { values, pitch, turned } = self.table;
        turned.then(|| Rows {
            values: &values[rows.start * pitch + depth.start..],
            shape: [rows.len(), depth.len()],
            pitch,
        })
    }

    fn lay_out(&self, rows: Range<usize>, depth: Range<usize>, target: &mut [f32], pitch: usize) {
        self.table.transposed().lay_out(rows, depth, target, pitch);
    }
}

/// Rows that are laid out one after the other.
const BLOCK: usize = 32;
/// Numbers that are worth a task of their own, where they are only copied.
const LAYING: usize = 1 << 14;

/// `target[row, column] = source[column, row]`.
pub(super) fn transpose(
    source: &[f32],
    source_pitch: usize,
    [rows, columns]: [usize; 2],
    target: &mut [f32],
    pitch: usize,
) {
    const SIDE: usize = 4;
    /// Rows that are written together: what is read of a column for them is a line of the cache.
    const TOGETHER: usize = 16;
    vectorized(
        #[inline(always)]
        || {
            for first in (0..rows).step_by(TOGETHER) {
                let end = rows.min(first + TOGETHER);
                for column in (0..columns).step_by(SIDE) {
                    for row in (first..end).step_by(SIDE) {
                        if row + SIDE <= end && column + SIDE <= columns {
                            let mut square = [[0.0_f32; SIDE]; SIDE];
                            for (next, square) in square.iter_mut().enumerate() {
                                square.copy_from_slice(&source[(column + next) * source_pitch + row..][..SIDE]);
                            }
                            for next in 0..SIDE {
                                let turned = [square[0][next], square[1][next], square[2][next], square[3][next]];
                                target[(row + next) * pitch + column..][..SIDE].copy_from_slice(&turned);
                            }
                            continue;
                        }
                        for row in row..end.min(row + SIDE) {
                            for column in column..columns.min(column + SIDE) {
                                target[row * pitch + column] = source[column * source_pitch + row];
                            }
                        }
                    }
                }
            }
        },
    );
}
