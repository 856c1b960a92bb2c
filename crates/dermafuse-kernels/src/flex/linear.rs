//! Linear layers: products of matrices of any layout.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Identity, with_function};
use super::panels::{self, Table};
use super::products::{Matrix, add_product, column_parts, in_row_parts, matrix, pieces, whole};
use super::tiles::{Rows, Start};
use super::vectors;
use super::{filled, values, vectorized};
use crate::activation::Activation;

/// Columns of a weight's gradient that make a task.
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

    fn table(&self) -> Table<'_> {
        let [rows, columns] = self.tensor.shape().dims();
        let layout = self.tensor.layout();
        let values = &self.tensor.storage::<f32>()[layout.start_offset()..];
        let pitch = match self.turned {
            false if rows <= 1 => columns,
            turned => layout.strides()[usize::from(turned)] as usize,
        };
        Table { values, pitch, turned: self.turned }
    }
}

/// `activation(x · weight + bias)`: each number is summed for itself, so what a case gives depends on neither its neighbours nor
/// their number.
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
    let weight = weight.table();
    filled([rows, channels_out], |result| {
        let results = vec![whole(result, [rows, channels_out])];
        let (x, start) = (Rows::new(x, [rows, channels]), Start::OfColumns(bias));
        let lay_out = |rows: Range<usize>, columns: Range<usize>, target: &mut [f32], pitch: usize| {
            weight.lay_out(rows, columns, target, pitch);
        };
        with_function!(activation, F => panels::multiply::<F>(x, start, results, lay_out));
    })
}

/// `left · right`, for gradients.
pub(super) fn product(left: FlexTensor, right: FlexTensor) -> FlexTensor {
    let (left, right) = (View::straight(left), View::new(right));
    let [_, columns] = right.tensor.shape().dims();
    let (left, right) = (left.rows(), right.table());
    let rows = left.shape[0];
    filled([rows, columns], |result| {
        let results = vec![whole(result, [rows, columns])];
        panels::multiply::<Identity>(left, Start::Zero, results, |rows, columns, target, pitch| {
            right.lay_out(rows, columns, target, pitch);
        });
    })
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
