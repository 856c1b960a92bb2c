//! Which dimensions of a recording depend on the batch: those that differ between two recordings of the same pass.

use std::collections::HashMap;

use burn::tensor::{Shape, Slice, TensorId};
use burn_ir::{IrVisitorMut, OperationIr, ScalarIr, TensorIr, TensorStatus};
use dermafuse_onnx_graph::Dim;

use crate::error::OnnxError;
use crate::lower::{Layers, operation_name};
use crate::recording::Recording;

/// The sizes of the batch that are recorded. Not 1, which many operations broadcast.
pub(crate) const BATCHES: [usize; 2] = [2, 3];

/// What is known of a recording from two of the same pass.
pub(crate) struct Dims {
    /// The dimensions of every tensor of the first recording.
    pub(crate) shapes: HashMap<TensorId, Vec<Dim>>,
    /// The ranges of each operation that has some: first and end.
    pub(crate) ranges: HashMap<usize, Vec<(Dim, Dim)>>,
}

impl Dims {
    /// Compares two recordings, of [`BATCHES`] cases.
    ///
    /// # Errors
    /// Anything that differs and is no dimension: it depends on the batch in a way that no file can say.
    pub(crate) fn of(first: &Recording, second: &Recording) -> Result<Self, OnnxError> {
        let (mut of_first, mut of_second) = (Parts::default(), Parts::default());
        let (mut shapes, mut ranges) = (HashMap::new(), HashMap::new());
        let mut layers = Layers::new(&first.names);
        let operations = first.operations.iter().filter(|operation| is_computed(operation));
        let others: Vec<&OperationIr> = second.operations.iter().filter(|operation| is_computed(operation)).collect();
        if operations.clone().count() != others.len() {
            let (found, other) = (operations.count(), others.len());
            let reason = format!("two cases take {found} operations, three {other}");
            return Err(OnnxError::Recording { reason });
        }
        for (at, (operation, other)) in operations.zip(others).enumerate() {
            layers.see(operation);
            let refused = |reason: String| {
                let layer = layers.current().to_owned();
                OnnxError::Batch { operation: operation_name(operation), layer, reason }
            };
            let (skeleton, other) = (of_first.skeleton(operation), of_second.skeleton(other));
            if skeleton != other {
                return Err(refused("it is another one, or has other settings, for another number of cases".into()));
            }
            let sizes = of_first.tensors.first().zip(of_second.tensors.first());
            let sliced: Vec<(usize, usize)> =
                sizes.map(|((_, a), (_, b))| a.iter().copied().zip(b.iter().copied()).collect()).unwrap_or_default();
            for ((id, shape), (_, other)) in of_first.tensors.drain(..).zip(of_second.tensors.drain(..)) {
                let pairs = shape.iter().zip(other.iter());
                let dims: Option<Vec<Dim>> = pairs.map(|(&a, &b)| dim_of(a, b)).collect();
                let Some(dims) = dims.filter(|dims| dims.len() == shape.num_dims().max(other.num_dims())) else {
                    return Err(refused(format!("a tensor is {shape:?} for two cases and {other:?} for three")));
                };
                shapes.insert(id, dims);
            }
            // Ranges may be open or count from the end: the sliced tensor, which comes first, says what that is.
            let pairs = of_first.ranges.drain(..).zip(of_second.ranges.drain(..)).zip(sliced);
            let of_operation: Vec<(Dim, Dim)> = pairs
                .map(|((a, b), (size, other))| {
                    let (range, other) = (a.to_range(size), b.to_range(other));
                    let dims = dim_of(range.start, other.start).zip(dim_of(range.end, other.end));
                    dims.ok_or_else(|| refused(format!("it takes {range:?} for two cases and {other:?} for three")))
                })
                .collect::<Result<_, _>>()?;
            if !of_operation.is_empty() {
                ranges.insert(at, of_operation);
            }
        }
        for (ids, others) in [(&first.inputs, &second.inputs), (&first.outputs, &second.outputs)] {
            for (id, other) in ids.iter().zip(others) {
                let (Some(a), Some(b)) = (first.values.get(id), second.values.get(other)) else { continue };
                let dims = a.shape().iter().zip(b.shape().iter()).map(|(&a, &b)| dim_of(a, b)).collect::<Option<_>>();
                shapes.insert(*id, dims.unwrap_or_default());
            }
        }
        Ok(Self { shapes, ranges })
    }

    /// The same for a batch of so many parts as long as the graph's: what grows with the one grows with the other.
    pub(crate) fn times(mut self, times: usize) -> Self {
        let scaled = |dim: &mut Dim| {
            if let Dim::Batch(factor) = dim {
                *factor *= times;
            }
        };
        self.shapes.values_mut().flatten().for_each(scaled);
        self.ranges.values_mut().flatten().for_each(|(start, end)| [start, end].into_iter().for_each(scaled));
        self
    }
}

/// Whether an operation computes something.
pub(crate) fn is_computed(operation: &OperationIr) -> bool {
    !matches!(operation, OperationIr::Init(_) | OperationIr::Drop(_))
}

/// The dimension that has these sizes for the two batches.
fn dim_of(first: usize, second: usize) -> Option<Dim> {
    let [few, many] = BATCHES;
    match first == second {
        true => Some(Dim::Fixed(first)),
        false => (first * many == second * few && first.is_multiple_of(few)).then_some(Dim::Batch(first / few)),
    }
}

/// Takes what may depend on the batch out of operations.
#[derive(Default)]
struct Parts {
    /// Tensors by the order in which they come.
    numbers: HashMap<TensorId, u64>,
    tensors: Vec<(TensorId, Shape)>,
    ranges: Vec<Slice>,
}

impl Parts {
    /// What is left of the operation: the same for any batch.
    fn skeleton(&mut self, operation: &OperationIr) -> OperationIr {
        let mut operation = operation.clone();
        operation.visit_mut(self);
        operation
    }
}

impl IrVisitorMut for Parts {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        let next = self.numbers.len() as u64;
        let number = *self.numbers.entry(tensor.id).or_insert(next);
        let shape = std::mem::replace(&mut tensor.shape, Shape::from(Vec::<usize>::new()));
        self.tensors.push((tensor.id, shape));
        tensor.id = TensorId::new(number);
        tensor.status = TensorStatus::ReadOnly;
    }

    fn visit_scalar_mut(&mut self, _scalar: &mut ScalarIr) {}

    fn visit_range_mut(&mut self, range: &mut Slice) {
        self.ranges.push(*range);
        *range = Slice::new(0, None, range.step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_with_the_batch_is_a_multiple_of_it() {
        assert_eq!(dim_of(7, 7), Some(Dim::Fixed(7)));
        assert_eq!(dim_of(2, 3), Some(Dim::Batch(1)));
        assert_eq!(dim_of(128, 192), Some(Dim::Batch(64)));
        // One more than the batch, and something that shrinks.
        assert_eq!(dim_of(3, 4), None);
        assert_eq!(dim_of(6, 4), None);
    }
}
