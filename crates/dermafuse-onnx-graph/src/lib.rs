//! ONNX files without a tensor library: a [`Graph`] is built node by node and becomes an [`OnnxModel`], the bytes of a file;
//! [`Weights`] are the tensors that a file holds, and what a file of somebody else computes can be a part of a graph ([`OutsideFile`]).
//!
//! The batch may have any size: a [`Dim`] is a number, or a multiple of the batch. Nodes of constants are computed while the graph is
//! built, parts that are one ONNX operator become that operator, and nothing is written that no output needs. The same calls give the same bytes.
//!
//! ```
//! use dermafuse_onnx_graph::{Dim, Element, Graph};
//!
//! let mut graph = Graph::new();
//! let logits = graph.input("logits", Element::F32, vec![Dim::Batch(1), Dim::Fixed(3)]);
//! let probabilities = graph.softmax(logits, 1);
//! graph.output("probabilities", probabilities);
//! let model = graph.into_model("three classes", &[("author".into(), "nobody".into())])?;
//! assert_eq!(model.outputs()[0].name, "probabilities");
//! assert_eq!(model.outputs()[0].shape, [None, Some(3)]); // the batch, classes
//! # Ok::<(), dermafuse_onnx_graph::GraphError>(())
//! ```
//!
//! Format: <https://onnx.ai/onnx/repo-docs/IR.html>; operators: <https://onnx.ai/onnx/operators/>.

mod constant;
mod element;
mod error;
mod evaluate;
mod graph;
mod messages;
mod model;
mod operations;
mod outside;
mod outside_versions;
mod quantise;
mod tidy;
mod weights;

pub use constant::Values;
pub use element::{Dim, Element};
pub use error::GraphError;
pub use graph::{Attribute, Graph, Value};
pub use model::{MAX_BYTES, OPSET, OnnxModel, TensorFacts};
pub use outside::{OutsideFile, OutsidePart, OutsideTensor};
pub use quantise::{ProductRanges, Range, WatchedProduct};
pub use weights::{Weight, Weights};
