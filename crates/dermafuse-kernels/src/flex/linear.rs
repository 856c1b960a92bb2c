//! Linear layers: products of matrices of any layout.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Function, apply, with_function};
use super::products::{
    Matrix, Part, ReborrowMut, add_product, column_parts, for_each_row, in_row_parts, matrix, pieces, whole,
};
use super::vectors::{self, Rows};
use super::{filled, values, vectorized};
use crate::activation::Activation;

/// Rows that make a task: fewer would read the weight too often.
const ROWS: usize = 256;
/// Rows of a case from which tasks have all columns; a constant, so that sums do not depend on the machine.
const MANY_ROWS: usize = 512;
/// Columns that make a task where there are few rows.
const COLUMNS: usize = 192;
/// Rows of a case below which it makes no product of its own: that would read the weight for each case anew.
const FEW_ROWS: usize = 8;
/// Rows whose columns are summed by one thread; a constant, so that sums do not depend on the machine.
const SUMMED_ROWS: usize = 1024;

/// A matrix in a tensor's memory: as it is, turned, or made contiguous.
struct View {
    tensor: FlexTensor,
    turned: bool,
}

impl View {
    fn new(tensor: FlexTensor) -> Self {
        let [rows, columns] = tensor.shape().dims();
        let (down, across) = (tensor.layout().strides()[0], tensor.layout().strides()[1]);
        let is_turned = down == 1 && across >= rows as isize && columns > 1;
        let is_straight = across == 1 && down >= columns as isize && rows > 1;
        match (is_straight, is_turned) {
            (true, _) => Self { tensor, turned: false },
            (_, true) => Self { tensor, turned: true },
            _ => Self { tensor: tensor.to_contiguous(), turned: false },
        }
    }

    /// Rows one after the other, their numbers neighbours.
    fn straight(tensor: FlexTensor) -> Self {
        match Self::new(tensor) {
            Self { tensor, turned: true } => Self { tensor: tensor.to_contiguous(), turned: false },
            straight => straight,
        }
    }

    /// Of a straight one.
    fn rows(&self) -> Rows<'_> {
        let layout = self.tensor.layout();
        let shape: [usize; 2] = self.tensor.shape().dims();
        let pitch = if shape[0] > 1 { layout.strides()[0] as usize } else { shape[1] };
        Rows { values: &self.tensor.storage::<f32>()[layout.start_offset()..], shape, pitch }
    }

    fn matrix(&self) -> Matrix<'_> {
        let [rows, columns] = self.tensor.shape().dims();
        let layout = self.tensor.layout();
        let storage = &self.tensor.storage::<f32>()[layout.start_offset()..];
        let pitch = layout.strides()[usize::from(self.turned)] as usize;
        match self.turned {
            false if rows <= 1 => matrix(&storage[..rows * columns], [rows, columns], columns),
            false => matrix(&storage[..(rows - 1) * pitch + columns], [rows, columns], pitch),
            true => matrix(&storage[..(columns - 1) * pitch + rows], [columns, rows], pitch).transpose(),
        }
    }
}

/// `activation(x · weight + bias)`, each case a product of its own or each row for itself: what a case gives depends on
/// neither its neighbours nor their number.
pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    case_rows: usize,
    activation: Activation,
) -> FlexTensor {
    let (x, bias) = (x.to_contiguous(), bias.to_contiguous());
    let ([rows, channels], [_, channels_out]) = (x.shape().dims(), weight.shape().dims());
    let (x, bias) = (values(&x), values(&bias));
    if case_rows < FEW_ROWS {
        let weight = View::straight(weight);
        return filled([rows, channels_out], |result| {
            with_function!(activation, F => vectors::multiply::<F>(x, weight.rows(), Some(bias), result));
        });
    }

    let weight = View::new(weight);
    let weight = weight.matrix();
    let columns = if case_rows >= MANY_ROWS { channels_out } else { COLUMNS };
    let pieces = case_rows.div_ceil(ROWS);
    filled([rows, channels_out], |result| {
        let cases = result.chunks_exact_mut((case_rows * channels_out).max(1)).enumerate();
        let mut tasks: Vec<(usize, usize, Part<'_>)> = cases
            .flat_map(|(case, result)| {
                let parts = column_parts(whole(result, [case_rows, channels_out]), columns);
                parts.into_iter().map(move |(column, part)| (case, column, part))
            })
            .collect();
        // The same columns of all cases one after the other, while that part of the weight is in the cache.
        tasks.sort_by_key(|(case, column, _)| (*column, *case));
        with_function!(activation, F => tasks.into_par_iter().for_each(|(case, column, part)| {
            let weight = weight.subcols(column, part.ncols());
            let bias = &bias[column..][..part.ncols()];
            let x = matrix(&x[case * case_rows * channels..][..case_rows * channels], [case_rows, channels], channels);
            in_row_parts(part, pieces, |row, part| {
                let x = x.subrows(row, part.nrows());
                multiply::<F>(part, x, weight, bias);
            });
        }));
    })
}

/// `left · right` by the fastest route, for gradients: rows are not told apart.
pub(super) fn product(left: FlexTensor, right: FlexTensor) -> FlexTensor {
    let (left, right) = (View::new(left), View::new(right));
    let (left, right) = (left.matrix(), right.matrix());
    let shape = [left.nrows(), right.ncols()];
    filled(shape, |result| {
        // Columns only where there are few rows.
        let columns = if shape[0] >= MANY_ROWS { shape[1] } else { COLUMNS };
        let tasks = column_parts(whole(result, shape), columns);
        let pieces = shape[0].div_ceil(ROWS).max(1);
        tasks.into_par_iter().for_each(|(column, part)| {
            let right = right.subcols(column, part.ncols());
            in_row_parts(part, pieces, |row, part| {
                let left = left.subrows(row, part.nrows());
                add_product(part, left, right);
            });
        });
    })
}

/// `part = F(left · right + bias)`, with a bias for each column.
fn multiply<F: Function>(mut part: Part<'_>, left: Matrix<'_>, right: Matrix<'_>, bias: &[f32]) {
    for_each_row(&mut part, |_, row| row.copy_from_slice(bias));
    add_product(part.rb_mut(), left, right);
    if !F::IS_IDENTITY {
        for_each_row(&mut part, |_, row| apply::<F>(row));
    }
}

/// Of the weight, `xᵀ · gradient`, and of the bias, the gradient's sum over rows.
pub(super) fn gradients(x: FlexTensor, gradient: FlexTensor) -> (FlexTensor, FlexTensor) {
    let (x, gradient) = (View::new(x), gradient.to_contiguous());
    let [rows, channels_out] = gradient.shape().dims();
    let shape = [x.matrix().ncols(), channels_out];
    let (x, values) = (x.matrix(), values(&gradient));
    let gradient = matrix(values, [rows, channels_out], channels_out);
    let weight = filled(shape, |result| {
        let tasks = column_parts(whole(result, shape), COLUMNS);
        let pieces = pieces(shape[0], rows * COLUMNS);
        tasks.into_par_iter().for_each(|(column, part)| {
            let gradient = gradient.subcols(column, part.ncols());
            in_row_parts(part, pieces, |row, part| {
                let x = x.subcols(row, part.nrows());
                add_product(part, x.transpose(), gradient);
            });
        });
    });
    (weight, column_sums(values, channels_out))
}

fn column_sums(values: &[f32], columns: usize) -> FlexTensor {
    let parts: Vec<Vec<f32>> =
        values.par_chunks((SUMMED_ROWS * columns).max(1)).map(|rows| sum_rows(rows, columns)).collect();
    filled([columns], |total| {
        for part in &parts {
            total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
        }
    })
}

fn sum_rows(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f32; columns];
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(columns) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
            }
        },
    );
    sums
}
