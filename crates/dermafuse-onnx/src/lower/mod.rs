//! What each recorded operation is in ONNX.

mod base;
mod elementwise;
mod module;

use std::collections::HashMap;

use burn::tensor::{DType, TensorData, TensorId};
use burn_ir::{OperationIr, ScalarIr, TensorIr};
use dermafuse_onnx_graph::{Dim, Element, Graph, Value, Values};

use crate::dims::{Dims, is_computed};
use crate::error::OnnxError;
use crate::recording::Recording;

/// Why an operation is not written.
pub(crate) struct Unsupported {
    reason: String,
    of_batch: bool,
}

impl Unsupported {
    /// Something that no file written here can say.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), of_batch: false }
    }

    /// Something that depends on the batch.
    pub(crate) fn of_batch(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), of_batch: true }
    }
}

pub(crate) type Lowered = Result<Value, Unsupported>;

/// Writes a recording into a graph, asked with the values; gives those of its outputs.
pub(crate) fn lower(
    graph: &mut Graph,
    recording: Recording,
    dims: &Dims,
    inputs: &[Value],
) -> Result<Vec<Value>, OnnxError> {
    let Recording { operations, values, inputs: ids, outputs, names } = recording;
    let known = ids.iter().copied().zip(inputs.iter().copied()).collect();
    let mut lowering = Lowering { graph, known, values: values.into_iter().collect(), names: &names, dims };
    let mut layers = Layers::new(&names);
    for (at, operation) in operations.iter().filter(|operation| is_computed(operation)).enumerate() {
        layers.see(operation);
        lowering.graph.set_layer(layers.current());
        lowering.operation(at, operation).map_err(|Unsupported { reason, of_batch }| {
            let (operation, layer) = (operation_name(operation), layers.current().to_owned());
            match of_batch {
                true => OnnxError::Batch { operation, layer, reason },
                false => OnnxError::Operation { operation, layer, reason },
            }
        })?;
    }
    lowering.graph.set_layer("");
    let value_of = |id: TensorId| {
        let refused = |unsupported: Unsupported| OnnxError::Recording { reason: unsupported.reason };
        match lowering.known.get(&id) {
            Some(value) => Ok(*value),
            None => lowering.initial(id).map_err(refused),
        }
    };
    outputs.into_iter().map(value_of).collect()
}

/// What a graph knows of a recording so far.
pub(crate) struct Lowering<'a> {
    pub(crate) graph: &'a mut Graph,
    known: HashMap<TensorId, Value>,
    /// What the recording started from and was not used yet.
    values: HashMap<TensorId, TensorData>,
    names: &'a HashMap<TensorId, String>,
    dims: &'a Dims,
}

impl Lowering<'_> {
    fn operation(&mut self, at: usize, operation: &OperationIr) -> Result<(), Unsupported> {
        let (out, value) = match operation {
            OperationIr::BaseFloat(base) | OperationIr::BaseInt(base) | OperationIr::BaseBool(base) => {
                self.base(at, base)?
            }
            OperationIr::NumericFloat(_, numeric) | OperationIr::NumericInt(_, numeric) => self.numeric(numeric)?,
            OperationIr::Float(_, float) => self.float(float)?,
            OperationIr::Int(int) => self.int(int)?,
            OperationIr::Bool(bool) => self.bool(bool)?,
            OperationIr::Module(module) => self.module(module)?,
            OperationIr::Activation(activation) => self.activation(activation)?,
            _ => return Err(Unsupported::new("nothing in ONNX is written for it")),
        };
        self.known.insert(out, value);
        Ok(())
    }

    /// The value of a tensor that an operation reads.
    pub(crate) fn value(&mut self, tensor: &TensorIr) -> Lowered {
        match self.known.get(&tensor.id) {
            Some(value) => Ok(*value),
            None => self.initial(tensor.id),
        }
    }

    /// The dimensions of a tensor.
    pub(crate) fn shape(&self, tensor: &TensorIr) -> Vec<Dim> {
        self.dims.shapes.get(&tensor.id).cloned().unwrap_or_else(|| Dim::all_fixed(&tensor.shape))
    }

    /// The ranges of an operation.
    pub(crate) fn ranges(&self, at: usize) -> &[(Dim, Dim)] {
        self.dims.ranges.get(&at).map_or(&[], Vec::as_slice)
    }

    /// A scalar that is used together with a value.
    pub(crate) fn scalar(&mut self, scalar: ScalarIr, like: Value) -> Value {
        self.graph.scalar_like(like, number(scalar))
    }

    /// A tensor that the recording started from.
    fn initial(&mut self, id: TensorId) -> Lowered {
        let Some(data) = self.values.remove(&id) else {
            return Err(Unsupported::new("it reads a tensor that nothing gives"));
        };
        let dims = self.dims.shapes.get(&id).cloned();
        let dims = dims.unwrap_or_else(|| data.shape().iter().map(|&size| Dim::Fixed(size)).collect());
        let sizes: Vec<usize> = data.shape().iter().copied().collect();
        let values = values_of(&data)?;
        let value = match (self.names.get(&id), dims.iter().position(|dim| dim.fixed().is_none())) {
            (Some(name), None) => self.graph.named_constant(name, values, &sizes),
            (None, None) => self.graph.constant(values, &sizes),
            // One that grows with the batch is the same for every case, or no file can say it.
            (_, Some(axis)) => {
                let (values, sizes) = of_one_case(values, sizes, axis)
                    .ok_or_else(|| Unsupported::of_batch("it uses a constant that differs from case to case"))?;
                let one = self.graph.constant(values, &sizes);
                self.graph.expand(one, dims)
            }
        };
        self.known.insert(id, value);
        Ok(value)
    }
}

/// A constant that is the same all along an axis, once.
fn of_one_case(values: Values, sizes: Vec<usize>, axis: usize) -> Option<(Values, Vec<usize>)> {
    let Values::F32(values) = values else { return None };
    let inner: usize = sizes[axis + 1..].iter().product();
    let all = values.chunks(sizes[axis] * inner).map(|chunk| {
        let first = &chunk[..inner];
        chunk.chunks(inner).all(|each| each == first).then(|| first.to_vec())
    });
    let values = all.collect::<Option<Vec<_>>>()?.concat();
    let mut sizes = sizes;
    sizes[axis] = 1;
    Some((Values::F32(values), sizes))
}

fn values_of(data: &TensorData) -> Result<Values, Unsupported> {
    Ok(match data.dtype() {
        DType::F32 => Values::F32(data.iter::<f32>().collect()),
        DType::F64 => Values::F64(data.iter::<f64>().collect()),
        DType::I32 => Values::I32(data.iter::<i32>().collect()),
        DType::I64 => Values::I64(data.iter::<i64>().collect()),
        DType::Bool(_) => Values::Bool(data.iter::<bool>().collect()),
        other => return Err(Unsupported::new(format!("it has {other:?} numbers"))),
    })
}

/// What ONNX calls the numbers of a tensor.
pub(crate) fn element_of(tensor: &TensorIr) -> Result<Element, Unsupported> {
    Ok(match tensor.dtype {
        DType::F32 => Element::F32,
        DType::F64 => Element::F64,
        DType::I32 => Element::I32,
        DType::I64 => Element::I64,
        DType::Bool(_) => Element::Bool,
        other => return Err(Unsupported::new(format!("it has {other:?} numbers"))),
    })
}

pub(crate) fn number(scalar: ScalarIr) -> f64 {
    match scalar {
        ScalarIr::Float(value) => value,
        ScalarIr::Int(value) => value as f64,
        ScalarIr::UInt(value) => value as f64,
        ScalarIr::Bool(value) => f64::from(u8::from(value)),
    }
}

/// Which layer a pass is in: that of the last parameter that was read.
pub(crate) struct Layers<'a> {
    names: &'a HashMap<TensorId, String>,
    current: String,
}

impl<'a> Layers<'a> {
    pub(crate) fn new(names: &'a HashMap<TensorId, String>) -> Self {
        Self { names, current: String::new() }
    }

    pub(crate) fn see(&mut self, operation: &OperationIr) {
        if let Some(name) = operation.inputs().find_map(|tensor| self.names.get(&tensor.id)) {
            name.rsplit_once('.').map_or("", |(layer, _)| layer).clone_into(&mut self.current);
        }
    }

    pub(crate) fn current(&self) -> &str {
        &self.current
    }
}

/// What Burn calls an operation: `NumericFloat::CumSum`.
pub(crate) fn operation_name(operation: &OperationIr) -> String {
    let text = format!("{operation:?}");
    let mut words = text.split(['(', ',', ' ', '{']).filter(|word| !word.is_empty());
    let kind = words.next().unwrap_or_default();
    let is_dtype =
        matches!(operation, OperationIr::NumericFloat(..) | OperationIr::NumericInt(..) | OperationIr::Float(..));
    match words.nth(usize::from(is_dtype)) {
        Some(variant) => format!("{kind}::{variant}"),
        None => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Tensor};
    use dermafuse_backbones::tensor_names;
    use dermafuse_onnx_graph::OnnxModel;

    use super::*;
    use crate::dims::BATCHES;
    use crate::recording::{id_of, record};

    #[derive(Module, Debug)]
    struct Classifier {
        head: Linear,
    }

    /// A layer, then something else.
    fn exported(then: impl Fn(Tensor<2>) -> Tensor<2>) -> Result<OnnxModel, OnnxError> {
        let network = Classifier { head: LinearConfig::new(4, 3).init(&Device::flex()) };
        let names = tensor_names(&network);
        let of = |batch: usize| {
            record(&network, &names, |network, device| {
                let x = Tensor::<2>::from_data(TensorData::new(vec![0.0_f32; 4 * batch], [batch, 4]), device);
                let id = id_of(&x)?;
                Ok((vec![id], vec![id_of(&then(network.head.forward(x)))?]))
            })
        };
        let [first, second] = BATCHES;
        let (first, second) = (of(first)?, of(second)?);
        let dims = Dims::of(&first, &second)?;
        let mut graph = Graph::new();
        let x = graph.input("x", Element::F32, vec![Dim::Batch(1), Dim::Fixed(4)]);
        let outputs = lower(&mut graph, first, &dims, &[x])?;
        graph.output("y", outputs[0]);
        Ok(graph.into_model("classifier", &[])?)
    }

    #[test]
    fn a_layer_is_a_product_and_a_sum() {
        let model = exported(|x| x).unwrap();
        assert_eq!(model.outputs()[0].shape, [None, Some(3)]);
        assert_eq!(model.operators(), [("Add".to_owned(), 1), ("MatMul".to_owned(), 1)]);
    }

    #[test]
    fn what_is_not_written_is_named_with_its_layer() {
        let said = |then: fn(Tensor<2>) -> Tensor<2>| exported(then).unwrap_err().to_string();
        assert_eq!(
            said(|x| x.cumsum(1)),
            "the operation NumericFloat::CumSum of layer `head` cannot be written as ONNX: nothing in ONNX is written for it"
        );
        assert_eq!(
            said(|x| x.mean().reshape([1, 1])),
            "the operation NumericFloat::Mean of layer `head` depends on the size of the batch: it joins all cases"
        );
        let scaled = said(|x| {
            let batch = x.dims()[0] as f64;
            x * batch
        });
        assert!(
            scaled
                .starts_with("the operation NumericFloat::MulScalar of layer `head` depends on the size of the batch")
        );
        let read = said(|x| {
            let first = x.clone().slice([0..1, 0..1]).into_scalar::<f32>();
            x * first
        });
        assert!(read.starts_with("the forward pass cannot be recorded: "), "{read}");
    }
}
