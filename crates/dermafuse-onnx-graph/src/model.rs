use crate::Element;

/// The set of ONNX operators that files are written for. ONNX Runtime knows it since 1.14, OpenVINO since 2023.
pub const OPSET: i64 = 18;
/// The version of the file format: the one that came with the operators.
pub(crate) const IR_VERSION: i64 = 8;
/// The earliest set of operators of somebody else's file that is brought to [`OPSET`].
pub(crate) const EARLIEST_OPSET: i64 = 13;
/// The latest set of operators that somebody else's file may be written in: what is written here means the same in it.
pub(crate) const LATEST_OPSET: i64 = 23;
/// The most bytes that a file with its weights inside can have: protobuf's limit.
pub const MAX_BYTES: usize = i32::MAX as usize;

/// What an input or output of a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub element: Element,
    /// Its dimensions; `None` is the batch, which may have any size.
    pub shape: Vec<Option<usize>>,
}

/// A model as an ONNX file, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxModel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) inputs: Vec<TensorFacts>,
    pub(crate) outputs: Vec<TensorFacts>,
    pub(crate) opset: i64,
    pub(crate) operators: Vec<(String, usize)>,
}

impl OnnxModel {
    /// The file. The same model has the same bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What it is asked with, in order.
    #[must_use]
    pub fn inputs(&self) -> &[TensorFacts] {
        &self.inputs
    }

    /// What it answers, in order.
    #[must_use]
    pub fn outputs(&self) -> &[TensorFacts] {
        &self.outputs
    }

    /// The set of operators that it is written in: [`OPSET`], or that of a part that somebody else wrote in a later one.
    #[must_use]
    pub const fn opset(&self) -> i64 {
        self.opset
    }

    /// The operators that it is made of, by name, and how many nodes are each.
    #[must_use]
    pub fn operators(&self) -> &[(String, usize)] {
        &self.operators
    }
}
