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
    /// Parts of two files in different sets of operators.
    #[error(
        "parts of files in the sets {first} and {last} of ONNX's operators cannot be in one file; bring them to one by \
         `onnx.version_converter.convert_version(onnx.load(FILE), {last})`"
    )]
    TwoOpsets {
        /// The earliest.
        first: i64,
        /// The latest.
        last: i64,
    },
    /// A file in a set of operators that cannot be part of another file.
    #[error(
        "the file is written in the set {found} of ONNX's operators, and those from {earliest} to {latest} can be part of another file; \
         bring it to one by `onnx.save(onnx.version_converter.convert_version(onnx.load(FILE), 18), FILE)` or export it so"
    )]
    OutsideOpset {
        /// The set that it is written in.
        found: i64,
        /// The earliest that is taken.
        earliest: i64,
        /// The latest that is taken.
        latest: i64,
    },
    /// An operator that is not ONNX's own.
    #[error(
        "the file has the operator `{operator}` of `{domain}`, and only those of ONNX itself can be part of another file; export it without an \
         engine's optimizations and with functions inlined (`onnx.inliner.inline_local_functions`)"
    )]
    OutsideOperator {
        /// The operator.
        operator: String,
        /// Whose it is.
        domain: String,
    },
    /// A tensor that a file does not have, or more inputs than one.
    #[error("{what} `{name}` is not what the file computes with; it has {}", known.join(", "))]
    OutsideTensor {
        /// What was asked for: an input or output.
        what: &'static str,
        /// Its name.
        name: String,
        /// Those that it has.
        known: Vec<String>,
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
