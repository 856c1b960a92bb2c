use thiserror::Error;

/// Why a graph is no ONNX model, or a file none that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// More than a file can hold.
    #[error(
        "the model would have {found} bytes; an ONNX file with its weights inside holds at most {limit}: export a smaller network"
    )]
    TooLarge {
        /// Bytes that it would have.
        found: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// Two inputs or outputs of one name.
    #[error("two inputs or outputs are called `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// A product that a graph lacks.
    #[error("the network has no product `{name}` with constant weights, for which there are ranges")]
    NoProduct {
        /// Its name.
        name: String,
    },
    /// A file that is no ONNX model.
    #[error("this is no ONNX model: {reason}")]
    NotOnnx {
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor of a file that cannot be read.
    #[error("the tensor `{name}` of the ONNX file cannot be read: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}
