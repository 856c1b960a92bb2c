//! Matrix products on slices, in parts that threads take.

use faer::linalg::matmul::matmul;
pub(super) use faer::prelude::ReborrowMut;
use faer::{Accum, MatMut, MatRef, Par};

/// A matrix to read: rows and columns may be any distance apart.
pub(super) type Matrix<'a> = MatRef<'a, f32>;
/// A part of a result: numbers of a row are neighbours.
pub(super) type Part<'a> = MatMut<'a, f32>;

/// `[rows, columns]`, rows `pitch` numbers apart.
pub(super) fn matrix(values: &[f32], [rows, columns]: [usize; 2], pitch: usize) -> Matrix<'_> {
    MatRef::from_row_major_slice_with_stride(values, rows, columns, pitch).as_dyn_stride()
}

/// A whole result `[rows, columns]`.
pub(super) fn whole(values: &mut [f32], [rows, columns]: [usize; 2]) -> Part<'_> {
    MatMut::from_row_major_slice_mut(values, rows, columns).as_dyn_stride_mut()
}

/// `part += left · right`, on this thread.
pub(super) fn add_product(part: Part<'_>, left: Matrix<'_>, right: Matrix<'_>) {
    matmul(part, Accum::Add, left, right, 1.0, Par::Seq);
}

/// Parts of at most `size` columns, with their first column.
pub(super) fn column_parts(mut rest: Part<'_>, size: usize) -> Vec<(usize, Part<'_>)> {
    let (columns, mut parts) = (rest.ncols(), Vec::new());
    for first in (0..columns).step_by(size.max(1)) {
        let (part, others) = rest.split_at_col_mut(size.min(columns - first));
        parts.push((first, part));
        rest = others;
    }
    parts
}

/// The rows of a part, one after the other.
pub(super) fn for_each_row(part: &mut Part<'_>, mut work: impl FnMut(usize, &mut [f32])) {
    for index in 0..part.nrows() {
        let row = part.rb_mut().row_mut(index).try_as_row_major_mut().expect("numbers of a row are neighbours");
        work(index, row.as_slice_mut());
    }
}
