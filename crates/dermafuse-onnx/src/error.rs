use dermafuse_onnx_graph::GraphError;
use thiserror::Error;

/// Why a network cannot be written as ONNX.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// An operation that is not written as ONNX operators.
    #[error("the operation {operation} of layer `{layer}` cannot be written as ONNX: {reason}")]
    Operation {
        /// What Burn calls it, such as `NumericFloat::CumSum`.
        operation: String,
        /// The layer that it is part of, or the last one before it.
        layer: String,
        /// What is not supported.
        reason: String,
    },
    /// An operation that looks at the size of the batch.
    #[error("the operation {operation} of layer `{layer}` depends on the size of the batch: {reason}")]
    Batch {
        /// What Burn calls it.
        operation: String,
        /// The layer that it is part of, or the last one before it.
        layer: String,
        /// What differs.
        reason: String,
    },
    /// A forward pass that cannot be recorded.
    #[error("the forward pass cannot be recorded: {reason}")]
    Recording {
        /// The reason why it cannot.
        reason: String,
    },
    /// Names of tasks that are not the network's.
    #[error("the network has {found} tasks, and names for {named} were given")]
    Tasks {
        /// Tasks of the network.
        found: usize,
        /// Names that were given.
        named: usize,
    },
    /// A graph that is no file.
    #[error(transparent)]
    Graph(#[from] GraphError),
}
