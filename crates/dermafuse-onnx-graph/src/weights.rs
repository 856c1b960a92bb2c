use prost::Message;

use crate::error::GraphError;
use crate::messages::{Model, TensorMessage};

/// A tensor that an ONNX file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its numbers, row-major: as many as the product of the dimensions.
    pub values: Vec<f32>,
}

/// The tensors of 32-bit floats that an ONNX file holds inside, by the names that whoever wrote it gave them.
///
/// PyTorch's exporter keeps the names of parameters (`conv1.weight`) where it does not change them; with constant folding it merges
/// normalizations into convolutions and gives these numbers for names (`onnx::Conv_193`).
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// In the order of the file.
    pub tensors: Vec<Weight>,
}

impl Weights {
    /// The weights of a file.
    ///
    /// # Errors
    /// What is no ONNX model, lies in another file, or has another length than its shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        let not_onnx = |reason: String| GraphError::NotOnnx { reason };
        let model = Model::decode(bytes).map_err(|error| not_onnx(error.to_string()))?;
        let graph = model.graph.ok_or_else(|| not_onnx("it has no graph".into()))?;
        if model.ir_version.is_none() || graph.node.is_empty() {
            return Err(not_onnx("it has no version or no node".into()));
        }
        let floats = graph.initializer.into_iter().filter(|tensor| tensor.data_type == Some(1));
        Ok(Self { tensors: floats.map(weight_of).collect::<Result<_, _>>()? })
    }
}

fn weight_of(tensor: TensorMessage) -> Result<Weight, GraphError> {
    let name = tensor.name.clone().unwrap_or_default();
    let refused = |reason: String| GraphError::Tensor { name: name.clone(), reason };
    if tensor.data_location.unwrap_or_default() != 0 || !tensor.external_data.is_empty() {
        return Err(refused("it lies in another file; export with the weights inside (`external_data=False`)".into()));
    }
    let size = |&size: &i64| usize::try_from(size).map_err(|_| refused(format!("a dimension of {size}")));
    let shape: Vec<usize> = tensor.dims.iter().map(size).collect::<Result<_, _>>()?;
    let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
    let values: Vec<f32> = match &tensor.raw_data {
        Some(raw) if raw.len() % 4 == 0 => {
            raw.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
        }
        Some(raw) => return Err(refused(format!("{} bytes are no 32-bit floats", raw.len()))),
        None => tensor.float_data,
    };
    if count != Some(values.len()) {
        return Err(refused(format!("its shape {shape:?} has another length than its {} numbers", values.len())));
    }
    Ok(Weight { name, shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dim, Element, Graph, Values};

    fn file() -> Vec<u8> {
        let mut graph = Graph::new();
        let x = graph.input("x", Element::F32, vec![Dim::Batch(1), Dim::Fixed(2)]);
        let weight = graph.named_constant("head.weight", Values::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &[2, 3]);
        let y = graph.matmul(x, weight);
        graph.output("y", y);
        graph.into_model("a layer", &[]).unwrap().into_bytes()
    }

    #[test]
    fn named_weights_are_read_back() {
        let Weights { tensors } = Weights::from_bytes(&file()).unwrap();
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(tensors, [Weight { name: "head.weight".into(), shape: vec![2, 3], values }]);
    }

    #[test]
    fn no_damage_is_read_silently() {
        let whole = file();
        for cut in 0..whole.len() {
            // A file that was cut off is refused, or lacks what is after the cut.
            if let Ok(weights) = Weights::from_bytes(&whole[..cut]) {
                assert!(weights.tensors.iter().all(|tensor| tensor.values.len() == 6), "cut at {cut}");
            }
        }
        let error = Weights::from_bytes(b"not a model").unwrap_err().to_string();
        assert!(error.starts_with("this is no ONNX model: "), "{error}");
    }
}
