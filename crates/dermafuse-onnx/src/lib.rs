//! Networks as ONNX: [`export_network`] records a forward pass with Burn's capture backend and writes every operation of the recording
//! as ONNX operators, with the weights inside.
//!
//! [`multiply_adds`] counts in such a recording how much a network computes.
//!
//! The pass is recorded for two sizes of the batch. What differs between the two is what depends on the batch, so that the file takes a
//! batch of any size; a network that does anything else with the batch is refused.
//!
//! ```
//! use burn::tensor::Device;
//! use dermafuse_networks::{ImageClassifierConfig, Modality, NetworkConfig};
//! use dermafuse_backbones::BackboneKind;
//! use dermafuse_onnx::{NetworkShapes, export_network};
//!
//! let config = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Dermoscopic, vec![5]);
//! let network = NetworkConfig::ImageClassifier(config).init_seeded(1, &Device::flex())?;
//! let shapes = NetworkShapes { images: [64, 64], record: 0, tasks: &["diagnosis"] };
//! let model = export_network(&network, &shapes)?;
//! assert_eq!(model.inputs()[0].name, "dermoscopic");
//! assert_eq!(model.inputs()[0].shape, [None, Some(3), Some(64), Some(64)]);
//! assert_eq!(model.outputs()[0].name, "dermoscopic/diagnosis");
//! assert_eq!(model.outputs()[0].shape, [None, Some(5)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dims;
mod error;
mod lower;
mod multiply_adds;
mod network;
mod recording;

pub use dermafuse_onnx_graph::{
    Attribute, Dim, Element, Graph, GraphError, OPSET, OnnxModel, OutsideFile, OutsidePart, OutsideTensor,
    ProductRanges, Range, TensorFacts, Value, Values, WatchedProduct,
};

pub use error::OnnxError;
pub use multiply_adds::{multiply_adds, multiply_adds_of};
pub use network::{
    NetworkInputs, NetworkOutputs, NetworkShapes, add_network, export_network, export_quantised_network,
    export_watched_network,
};
