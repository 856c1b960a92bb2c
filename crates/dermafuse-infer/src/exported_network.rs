//! A model's network as an ONNX file in a library.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use dermafuse_networks::{AnyNetwork, Modalities, MultimodalInput, Network};
use dermafuse_schema::{EngineFacts, TaskSet};
use ndarray::{Array2, ArrayD, ArrayViewD, Ix2, IxDyn};

use crate::{EngineError, NetworkEngine, NetworkValues, OnnxSession};

/// The name of the features that the last classifier sees, among the outputs.
const EMBEDDING: &str = "embedding";

/// A network that a library runs: the names by which it is asked.
#[derive(Debug)]
pub(crate) struct ExportedNetwork {
    session: Arc<dyn OnnxSession>,
    modalities: Modalities,
    /// `BRANCH/TASK`, the tasks of the first branch first.
    outputs: Vec<String>,
    tasks: usize,
    batch_size: Option<usize>,
}

/// The network's ONNX file.
///
/// # Errors
/// An operation that cannot be written; a program without engines.
#[cfg(feature = "_engines")]
pub(crate) fn file_of(
    network: &AnyNetwork,
    tasks: &TaskSet,
    side: usize,
    record: usize,
) -> Result<Vec<u8>, EngineError> {
    let tasks: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let shapes = dermafuse_onnx::NetworkShapes { images: [side, side], record, tasks: &tasks };
    Ok(dermafuse_onnx::export_network(network, &shapes)?.into_bytes())
}

#[cfg(not(feature = "_engines"))]
pub(crate) fn file_of(_: &AnyNetwork, _: &TaskSet, _: usize, _: usize) -> Result<Vec<u8>, EngineError> {
    Err(EngineError::NotBuilt { engine: "onnxruntime" })
}

impl ExportedNetwork {
    /// The network in a session of its file.
    ///
    /// # Errors
    /// A file of another network.
    pub(crate) fn new(
        session: Arc<dyn OnnxSession>,
        network: &AnyNetwork,
        tasks: &TaskSet,
        batch_size: Option<usize>,
    ) -> Result<Self, EngineError> {
        let branches = network.branches();
        let name = |branch: &str, task: &str| format!("{branch}/{task}");
        let outputs: Vec<String> =
            branches.iter().flat_map(|branch| tasks.iter().map(|task| name(branch.name, &task.name))).collect();
        let classes = tasks.class_counts().into_iter().cycle();
        for (output, classes) in outputs.iter().zip(classes) {
            let found = session.outputs().iter().find(|tensor| tensor.name == *output);
            if !found.is_some_and(|tensor| tensor.allows(&[1, classes])) {
                let reason = match found {
                    Some(found) => format!("its output is {found} instead of {classes} classes"),
                    None => format!("it has no output `{output}`"),
                };
                return Err(EngineError::Network { engine: session.facts().to_string(), reason });
            }
        }
        Ok(Self { session, modalities: network.modalities(), outputs, tasks: tasks.len(), batch_size })
    }
}

impl NetworkEngine for ExportedNetwork {
    fn facts(&self) -> &EngineFacts {
        self.session.facts()
    }

    fn batch_size(&self) -> Option<usize> {
        self.batch_size
    }

    fn run(&self, input: MultimodalInput, with_embedding: bool) -> Result<NetworkValues, EngineError> {
        let Modalities { clinical, dermoscopic, metadata } = self.modalities;
        let image = |wanted: bool, name, images: Option<Tensor<4>>| Some((name, values(images.filter(|_| wanted)?)));
        let record = input.metadata.filter(|_| metadata).map(|record| ("record", values(record)));
        let given: Vec<(&str, TensorData)> =
            [image(clinical, "clinical", input.clinical), image(dermoscopic, "dermoscopic", input.dermoscopic), record]
                .into_iter()
                .flatten()
                .collect();
        let views = given.iter().map(|(name, data)| Ok((*name, self.view(name, data)?)));
        let views = views.collect::<Result<Vec<_>, EngineError>>()?;
        let wanted = self.outputs.iter().map(String::as_str).chain(with_embedding.then_some(EMBEDDING));
        let wanted: Vec<&str> = wanted.collect();
        let mut tables = self.session.run(&views, &wanted)?.into_iter().map(|values| self.table(values));
        let mut logits = Vec::with_capacity(self.outputs.len() / self.tasks.max(1));
        for _ in self.outputs.chunks(self.tasks.max(1)) {
            logits.push(tables.by_ref().take(self.tasks).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(NetworkValues { logits, embedding: tables.next().transpose()? })
    }
}

impl ExportedNetwork {
    /// The numbers of a tensor where they lie.
    fn view<'a>(&self, name: &str, data: &'a TensorData) -> Result<ArrayViewD<'a, f32>, EngineError> {
        let shape: Vec<usize> = data.shape().to_vec();
        let view = data.as_slice::<f32>().ok().and_then(|values| ArrayViewD::from_shape(IxDyn(&shape), values).ok());
        view.ok_or_else(|| EngineError::Run {
            engine: self.facts().to_string(),
            reason: format!("input `{name}` is {:?} instead of 32-bit floats", data.dtype()),
        })
    }

    fn table(&self, values: ArrayD<f32>) -> Result<Array2<f32>, EngineError> {
        let shape = values.shape().to_vec();
        values.into_dimensionality::<Ix2>().map_err(|_| EngineError::Shape {
            engine: self.facts().to_string(),
            what: "an output".into(),
            found: format!("of the shape {shape:?}"),
            expected: "a row for each case".into(),
        })
    }
}

/// The values of a tensor as 32-bit floats.
fn values<const D: usize>(tensor: Tensor<D>) -> TensorData {
    let data = tensor.into_data();
    if data.dtype() == burn::tensor::DType::F32 { data } else { data.convert::<f32>() }
}
