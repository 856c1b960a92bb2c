//! Linear layers: products of matrices of any layout.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use super::activation::{Identity, with_function};
use super::depth::sum_over_depth;
use super::panels::{self, ColumnsOf, Table};
use super::products::whole;
use super::tiles::{Rows, Start};
use super::vectors;
use super::{filled, values, vectorized};
use crate::activation::Activation;
use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

/// Rows of a case below which it makes no product of its own: that would read the weight for each case anew.
const FEW_ROWS: usize = 8;

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
        with_function!(activation, F => panels::multiply::<F>(&x, start, results, lay_out));
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
        panels::multiply::<Identity>(&left, Start::Zero, results, |rows, columns, target, pitch| {
            right.lay_out(rows, columns, target, pitch);
        });
    })
}

/// Of the weight, `xᵀ · gradient`, and of the bias, the gradient's sum over rows.
pub(super) fn gradients(x: FlexTensor, gradient: FlexTensor) -> (FlexTensor, FlexTensor) {
    let (x, gradient) = (View::new(x), gradient.to_contiguous());
    let ([rows, channels], [_, channels_out]) = (x.tensor.shape().dims(), gradient.shape().dims());
    let left = ColumnsOf { table: x.table(), shape: [rows, channels] };
    let gradient = Table { values: values(&gradient), pitch: channels_out, turned: false };
    // Of some columns over some rows each, summed where these are in the cache; by their first row and column.
    let sums = Mutex::new(BTreeMap::new());
    let weight = filled([channels, channels_out], |result| {
        sum_over_depth(&left, channels_out, result, |rows, columns, target, pitch| {
            gradient.lay_out(rows.clone(), columns.clone(), target, pitch);
            let sum = sum_rows(&target[..rows.len() * pitch], columns.len(), pitch);
            sums.lock().expect("no thread has panicked").insert((rows.start, columns.start), sum);
        });
    });
    let bias = filled([channels_out], |total| {
        for ((_, first), sum) in sums.into_inner().expect("no thread has panicked") {
            total[first..].iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
        }
    });
    (weight, bias)
}

/// The sums of columns over rows that are `pitch` numbers apart.
fn sum_rows(rows: &[f32], columns: usize, pitch: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f32; columns];
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(pitch) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
            }
        },
    );
    sums
}
