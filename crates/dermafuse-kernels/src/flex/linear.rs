//! Linear layers: products of matrices of any layout.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Function, apply, with_function};
use super::products::{
    Matrix, Part, ReborrowMut, add_product, column_parts, for_each_row, in_row_parts, matrix, pieces, whole,
};
use super::{filled, values, vectorized};
use crate::activation::Activation;

/// Rows that make a task: fewer would read the weight too often.
const ROWS: usize = 256;
/// Columns that make a task where there are few rows.
const COLUMNS: usize = 128;
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

/// `activation(x · weight + bias)`.
pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    activation: Activation,
) -> FlexTensor {
    let (x, weight) = (View::new(x), View::new(weight));
    let (x, weight) = (x.matrix(), weight.matrix());
    let bias = bias.map(|bias| bias.to_contiguous());
    let bias = bias.as_ref().map(values);
    let shape = [x.nrows(), weight.ncols()];
    filled(shape, |result| {
        // Columns only where there are too few rows for all threads.
        let columns = if shape[0] >= ROWS * rayon::current_num_threads() { shape[1] } else { COLUMNS };
        let tasks = column_parts(whole(result, shape), columns);
        let pieces = shape[0].div_ceil(ROWS).max(1);
        with_function!(activation, F => tasks.into_par_iter().for_each(|(column, part)| {
            let weight = weight.subcols(column, part.ncols());
            let bias = bias.map(|bias| &bias[column..column + part.ncols()]);
            in_row_parts(part, pieces, |row, part| {
                let x = x.subrows(row, part.nrows());
                multiply::<F>(part, x, weight, bias);
            });
        }));
    })
}

/// `part = F(left · right + bias)`, with a bias for each column.
fn multiply<F: Function>(mut part: Part<'_>, left: Matrix<'_>, right: Matrix<'_>, bias: Option<&[f32]>) {
    if let Some(bias) = bias {
        for_each_row(&mut part, |_, row| row.copy_from_slice(bias));
    }
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
        let pieces = pieces(tasks.len());
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
