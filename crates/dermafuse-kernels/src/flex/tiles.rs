//! The product of some rows with a panel of columns, a tile of both at a time in the processor's registers.
//!
//! Every number is summed in one order, whichever tile it is in: blocks of [`DEPTH`] products, each from its first to its last
//! by fused multiplication and addition, are added to the start one after the other. So what a number is depends on its row,
//! its column and where it starts, and on nothing beside it.

use std::ops::Range;

use pulp::{Arch, Scalar128b, Simd, WithSimd};

use super::activation::Function;
use super::products::{Part, ReborrowMut};

/// Products that are summed before they are added to the rest: few enough that little is lost to rounding.
pub(super) const DEPTH: usize = 256;
/// Vectors of the widest tile's row.
const VECTORS: usize = 3;
/// Numbers of the longest vectors.
const LONGEST: usize = 16;
/// Products that are added one after the other without a look at bounds.
const TOGETHER: usize = 8;
/// Rows of the tallest tile.
const TALLEST: usize = 8;
/// A panel's columns are best a multiple of this, on every machine: what a tile of the longest vectors has.
pub(super) const TILE_COLUMNS: usize = VECTORS * LONGEST;
/// The same of rows.
pub(super) const TILE_ROWS: usize = TALLEST;

/// Rows of numbers, the first numbers of neighbours `pitch` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) shape: [usize; 2],
    pub(super) pitch: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(values: &'a [f32], shape: [usize; 2]) -> Self {
        Self { values, shape, pitch: shape[1] }
    }

    /// Some columns of a row.
    pub(super) fn part(&self, row: usize, first: usize, count: usize) -> &'a [f32] {
        &self.values[row * self.pitch + first..][..count]
    }

    /// Some of the rows.
    pub(super) fn subrows(self, first: usize, count: usize) -> Self {
        Self { values: &self.values[first * self.pitch..], shape: [count, self.shape[1]], pitch: self.pitch }
    }

    /// Some of the columns.
    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        Self { values: &self.values[columns.start..], shape: [self.shape[0], columns.len()], pitch: self.pitch }
    }

    #[inline(always)]
    fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.pitch..][..self.shape[1]]
    }
}

/// What the products are added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// A number for each row.
    OfRows(&'a [f32]),
    /// A number for each column.
    OfColumns(&'a [f32]),
    /// What the result is already.
    Result,
}

impl<'a> Start<'a> {
    /// For the rows after so many.
    pub(super) fn skip_rows(self, count: usize) -> Self {
        match self {
            Self::OfRows(values) => Self::OfRows(&values[count..]),
            other => other,
        }
    }

    /// For the columns after so many.
    pub(super) fn skip_columns(self, count: usize) -> Self {
        match self {
            Self::OfColumns(values) => Self::OfColumns(&values[count..]),
            other => other,
        }
    }
}

/// Numbers between the rows of a panel of so many columns: whole vectors, and an odd number of the longest, so that a column's
/// numbers are not all in the same place of the cache.
pub(super) fn panel_pitch(columns: usize) -> usize {
    (columns.div_ceil(LONGEST) | 1) * LONGEST
}

/// `parts = F(start + left · right)`. The parts are neighbours: their columns are the panel's, one after the other. The panel `right`
/// is `[depth, columns]`, its pitch as [`panel_pitch`] has it; what is between its rows is read, but in no result.
pub(super) fn multiply<F: Function>(left: Rows<'_>, right: Rows<'_>, start: Start<'_>, parts: &mut [Part<'_>]) {
    struct Multiply<'a, 'b, F> {
        left: Rows<'a>,
        right: Rows<'a>,
        start: Start<'a>,
        parts: &'a mut [Part<'b>],
        function: std::marker::PhantomData<F>,
    }

    impl<F: Function> WithSimd for Multiply<'_, '_, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self { left, right, start, parts, .. } = self;
            // As many sums as there are registers for, beside the factors.
            if S::F32_LANES == 1 {
                multiply_with::<_, F, 4, 2, false>(Scalar128b, left, right, start, parts);
            } else if S::REGISTER_COUNT >= 32 {
                multiply_with::<_, F, 8, 3, true>(simd, left, right, start, parts);
            } else {
                multiply_with::<_, F, 4, 2, true>(simd, left, right, start, parts);
            }
        }
    }

    let function = std::marker::PhantomData::<F>;
    Arch::new().dispatch(Multiply { left, right, start, parts, function });
}

/// In tiles of `R` rows and `V` vectors; products are added with one rounding if `FUSED`, else with two.
#[inline(always)]
fn multiply_with<S: Simd, F: Function, const R: usize, const V: usize, const FUSED: bool>(
    simd: S,
    left: Rows<'_>,
    right: Rows<'_>,
    start: Start<'_>,
    parts: &mut [Part<'_>],
) {
    let columns = right.shape[1];
    for row in (0..left.shape[0]).step_by(R) {
        let rows = R.min(left.shape[0] - row);
        // Rows beyond the last are computed and left out.
        let factors: [&[f32]; R] = std::array::from_fn(|next| left.row(row + next.min(rows - 1)));
        let mut column = 0;
        while column < columns {
            let place = Place { row, rows, column, columns: columns - column };
            let vectors = match place.columns.div_ceil(S::F32_LANES) {
                1 => 1,
                // Two and two are faster than three and one.
                2 | 4 => 2,
                _ => V,
            };
            match vectors {
                1 => tile::<S, F, R, 1, FUSED>(simd, factors, right, start, place, parts),
                2 => tile::<S, F, R, 2, FUSED>(simd, factors, right, start, place, parts),
                _ => tile::<S, F, R, V, FUSED>(simd, factors, right, start, place, parts),
            }
            column += vectors * S::F32_LANES;
        }
    }
}

/// Where a tile is, and how many rows and columns are left from there.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

#[inline(always)]
fn tile<S: Simd, F: Function, const R: usize, const V: usize, const FUSED: bool>(
    simd: S,
    left: [&[f32]; R],
    right: Rows<'_>,
    start: Start<'_>,
    place: Place,
    parts: &mut [Part<'_>],
) {
    let width = V * S::F32_LANES;
    let count = place.columns.min(width);
    let depth = right.shape[0];
    let last = depth.saturating_sub(1) / DEPTH * DEPTH;
    // Where each column starts with a number of its own, it comes from memory.
    if last == 0
        && !matches!(start, Start::OfColumns(_))
        && let Some((part, from)) = whole_part(parts, place.column, width)
    {
        return whole_tile::<S, F, R, V, FUSED>(simd, left, right, start, place, &mut parts[part], from);
    }

    let mut totals = [0.0; TALLEST * TILE_COLUMNS];
    let totals = &mut totals[..R * width];
    write_start(start, place, count, width, totals, parts);
    for first in (0..last).step_by(DEPTH) {
        let sums = block_sums::<S, R, V, FUSED>(simd, left, first..first + DEPTH, right, place.column);
        for (totals, sums) in totals.chunks_exact_mut(width).zip(&sums) {
            for (total, sum) in S::as_mut_simd_f32s(totals).0.iter_mut().zip(sums) {
                *total = simd.add_f32s(*total, *sum);
            }
        }
    }

    let sums = block_sums::<S, R, V, FUSED>(simd, left, last..depth, right, place.column);
    let whole = whole_part(parts, place.column, width);
    for (next, (sums, totals)) in sums.iter().zip(totals.chunks_exact_mut(width)).enumerate().take(place.rows) {
        let (totals, _) = S::as_mut_simd_f32s(totals);
        match whole {
            Some((part, from)) => {
                let target = &mut row_of(&mut parts[part], place.row + next)[from..from + width];
                for ((target, total), sum) in S::as_mut_simd_f32s(target).0.iter_mut().zip(&*totals).zip(sums) {
                    *target = simd.add_f32s(*total, *sum);
                }
                finish::<F>(target);
            }
            None => {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = simd.add_f32s(*total, *sum);
                }
            }
        }
    }
    if whole.is_none() {
        finish::<F>(totals);
        for (next, totals) in totals.chunks_exact(width).enumerate().take(place.rows) {
            each_part(parts, place.row + next, place.column, count, |first, part| {
                part.copy_from_slice(&totals[first..first + part.len()]);
            });
        }
    }
}

/// A tile of one block whose columns are all in one part, from `from` on.
#[inline(always)]
fn whole_tile<S: Simd, F: Function, const R: usize, const V: usize, const FUSED: bool>(
    simd: S,
    left: [&[f32]; R],
    right: Rows<'_>,
    start: Start<'_>,
    place: Place,
    part: &mut Part<'_>,
    from: usize,
) {
    let sums = block_sums::<S, R, V, FUSED>(simd, left, 0..right.shape[0], right, place.column);
    for (next, sums) in sums.iter().enumerate().take(place.rows) {
        let of_row = simd.splat_f32s(start_of_row(start, place.row + next));
        let target = &mut row_of(part, place.row + next)[from..from + V * S::F32_LANES];
        for (target, sum) in S::as_mut_simd_f32s(target).0.iter_mut().zip(sums) {
            let start = if matches!(start, Start::Result) { *target } else { of_row };
            *target = simd.add_f32s(start, *sum);
        }
        finish::<F>(target);
    }
}

/// What the products of a row are added to, where it is one number for all of them.
#[inline(always)]
fn start_of_row(start: Start<'_>, row: usize) -> f32 {
    match start {
        Start::OfRows(values) => values[row],
        _ => 0.0,
    }
}

/// Applies the activation.
#[inline(always)]
pub(super) fn finish<F: Function>(values: &mut [f32]) {
    if !F::IS_IDENTITY {
        for value in values {
            *value = F::value(*value);
        }
    }
}

#[inline(always)]
fn write_start(start: Start<'_>, place: Place, count: usize, width: usize, totals: &mut [f32], parts: &mut [Part<'_>]) {
    let rows = totals.chunks_exact_mut(width).enumerate().take(place.rows);
    match start {
        Start::Zero => {}
        Start::OfRows(values) => rows.for_each(|(next, totals)| totals.fill(values[place.row + next])),
        Start::OfColumns(values) => {
            let values = &values[place.column..][..count];
            rows.for_each(|(_, totals)| totals[..count].copy_from_slice(values));
        }
        Start::Result => rows.for_each(|(next, totals)| {
            each_part(parts, place.row + next, place.column, count, |first, part| {
                totals[first..first + part.len()].copy_from_slice(part);
            });
        }),
    }
}

/// The part that has all of some columns, with the first of them in it.
#[inline(always)]
fn whole_part(parts: &[Part<'_>], column: usize, count: usize) -> Option<(usize, usize)> {
    let mut first = 0;
    for (index, part) in parts.iter().enumerate() {
        if column < first + part.ncols() {
            return (column + count <= first + part.ncols()).then_some((index, column - first));
        }
        first += part.ncols();
    }
    None
}

/// A row of a part, whose numbers are neighbours.
#[inline(always)]
pub(super) fn row_of<'a>(part: &'a mut Part<'_>, row: usize) -> &'a mut [f32] {
    let row = part.rb_mut().row_mut(row).try_as_row_major_mut().expect("numbers of a row are neighbours");
    row.as_slice_mut()
}

/// The sums of one block, in registers from the first product to the last.
#[inline(always)]
fn block_sums<S: Simd, const R: usize, const V: usize, const FUSED: bool>(
    simd: S,
    left: [&[f32]; R],
    depth: Range<usize>,
    right: Rows<'_>,
    column: usize,
) -> [[S::f32s; V]; R] {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    let mut panel_rows = right.values[depth.start * right.pitch..depth.end * right.pitch].chunks_exact(right.pitch);
    let mut rows: [&[f32]; R] = [&[]; R];
    for (row, left) in rows.iter_mut().zip(&left) {
        *row = &left[depth.clone()];
    }
    let left = rows;
    // A few products at a time, so that bounds are looked at once for all of them. Loops, as closures would not be inlined.
    let chunks = depth.len() / TOGETHER;
    for index in 0..chunks {
        let mut factors = [&[0.0; TOGETHER]; R];
        for (factors, row) in factors.iter_mut().zip(&left) {
            *factors = row[index * TOGETHER..].first_chunk().expect("rows are of one length");
        }
        for next in 0..TOGETHER {
            let right = panel_rows.next().expect("the panel is as deep as the rows are long");
            let right = S::as_simd_f32s(&right[column..][..V * S::F32_LANES]).0;
            let right: &[S::f32s; V] = right.first_chunk().expect("so many vectors were taken");
            for (sums, factors) in sums.iter_mut().zip(&factors) {
                add_product::<S, V, FUSED>(simd, factors[next], right, sums);
            }
        }
    }
    for index in chunks * TOGETHER..depth.len() {
        let right = panel_rows.next().expect("the panel is as deep as the rows are long");
        let right = S::as_simd_f32s(&right[column..][..V * S::F32_LANES]).0;
        let right: &[S::f32s; V] = right.first_chunk().expect("so many vectors were taken");
        for (sums, row) in sums.iter_mut().zip(&left) {
            add_product::<S, V, FUSED>(simd, row[index], right, sums);
        }
    }
    sums
}

#[inline(always)]
fn add_product<S: Simd, const V: usize, const FUSED: bool>(
    simd: S,
    factor: f32,
    right: &[S::f32s; V],
    sums: &mut [S::f32s; V],
) {
    let factor = simd.splat_f32s(factor);
    for (sum, right) in sums.iter_mut().zip(right) {
        *sum = match FUSED {
            true => simd.mul_add_e_f32s(factor, *right, *sum),
            false => simd.add_f32s(simd.mul_f32s(factor, *right), *sum),
        };
    }
}

/// The pieces of a row that some columns are in, with how many of the columns come before.
#[inline(always)]
fn each_part(parts: &mut [Part<'_>], row: usize, column: usize, count: usize, mut work: impl FnMut(usize, &mut [f32])) {
    let (mut first, mut done) = (0, 0);
    for part in parts {
        let columns = part.ncols();
        if done < count && column + done < first + columns {
            let from = column + done - first;
            let to = columns.min(from + count - done);
            work(done, &mut row_of(part, row)[from..to]);
            done += to - from;
        }
        first += columns;
    }
}

#[cfg(test)]
mod tests {
    use super::super::activation::{Identity, Relu};
    use super::super::products::whole;
    use super::*;

    /// Numbers of no pattern between -1 and 1.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// A number for each row and column.
    type Numbers<'a> = &'a dyn Fn(usize, usize) -> f32;

    /// A number of the product in the order that is promised.
    fn promised(left: &[f32], right: impl Fn(usize) -> f32, start: f32, fused: bool) -> f32 {
        left.chunks(DEPTH).enumerate().fold(start, |total, (block, left)| {
            let products = left.iter().enumerate();
            total
                + products.fold(0.0_f32, |sum, (index, left)| match fused {
                    true => left.mul_add(right(block * DEPTH + index), sum),
                    false => left * right(block * DEPTH + index) + sum,
                })
        })
    }

    /// Runs the product on one kind of vector units.
    struct On<'a, 'b> {
        left: Rows<'a>,
        right: Rows<'a>,
        start: Start<'a>,
        parts: &'a mut [Part<'b>],
    }

    impl WithSimd for On<'_, '_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self { left, right, start, parts } = self;
            multiply_with::<_, Relu, 4, 2, true>(simd, left, right, start, parts);
        }
    }

    #[test]
    fn every_number_is_summed_in_the_promised_order() {
        for (rows, depth, columns) in [(1, 1, 1), (3, 7, 5), (8, 8, 48), (13, 255, 49), (17, 257, 97), (9, 1031, 150)] {
            let (left, pitch) = (numbers(rows * depth, 1), panel_pitch(columns));
            let (right, bias) = (numbers(depth * pitch, 2), numbers(rows + columns, 3));
            let (factors, panel) =
                (Rows::new(&left, [rows, depth]), Rows { values: &right, shape: [depth, columns], pitch });
            let old = numbers(rows * columns, 4);
            let expected = |start: Numbers<'_>, fused| -> Vec<f32> {
                let numbers = (0..rows * columns).map(|index| (index / columns, index % columns));
                let number = |(row, column): (usize, usize)| {
                    let left = &left[row * depth..][..depth];
                    promised(left, |index| right[index * pitch + column], start(row, column), fused)
                };
                numbers.map(number).collect()
            };
            // The columns are those of two parts, as where a panel goes on in the next image.
            let cut = columns / 3;
            let found = |run: &dyn Fn(&mut [Part<'_>])| -> Vec<f32> {
                let mut result = old.clone();
                let (first, second) = whole(&mut result, [rows, columns]).split_at_col_mut(cut);
                run(&mut [first, second]);
                result
            };
            let fused = !matches!(Arch::new(), Arch::Scalar);
            let of_rows = |row: usize, _: usize| bias[row];
            let starts: [(Start<'_>, Numbers<'_>); 4] = [
                (Start::Zero, &|_, _| 0.0),
                (Start::OfRows(&bias), &of_rows),
                (Start::OfColumns(&bias), &|_, column| bias[column]),
                (Start::Result, &|row, column| old[row * columns + column]),
            ];
            for (start, numbers) in starts {
                let result = found(&|parts| multiply::<Identity>(factors, panel, start, parts));
                assert_eq!(result, expected(numbers, fused), "[{rows}, {depth}] · [{depth}, {columns}]");
            }

            let clipped =
                |fused| -> Vec<f32> { expected(&of_rows, fused).iter().map(|number| number.max(0.0)).collect() };
            let start = Start::OfRows(&bias);
            let portable =
                found(&|parts| multiply_with::<_, Relu, 4, 2, false>(Scalar128b, factors, panel, start, parts));
            assert_eq!(portable, clipped(false));
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = pulp::x86::V3::try_new() {
                let shorter = found(&|parts| Simd::vectorize(simd, On { left: factors, right: panel, start, parts }));
                assert_eq!(shorter, clipped(true));
            }
        }
    }
}
