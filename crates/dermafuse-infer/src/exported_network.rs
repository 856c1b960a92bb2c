//! A model's network as an ONNX file in a library.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use dermafuse_networks::{AnyNetwork, Modalities, Modality, MultimodalInput, Network};
use dermafuse_schema::{EngineFacts, TaskSet};
use ndarray::{Array2, ArrayD, ArrayViewD, Ix2, IxDyn};

#[cfg(feature = "_engines")]
use crate::BundleDescription;
use crate::{Bundle, EngineError, InferError, NetworkEngine, NetworkValues, OnnxSession, Precision, kinds_of};

/// The name of the features that the last classifier sees, among the outputs.
const EMBEDDING: &str = "embedding";
/// The name of the encoded record, among the inputs.
const RECORD: &str = "record";

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

/// The network's ONNX file, in the numbers that are asked for.
///
/// # Errors
/// An operation that cannot be written; 8-bit integers of a model without ranges, or with those of another network; a program without
/// engines.
#[cfg(feature = "_engines")]
pub(crate) fn file_of(bundle: &Bundle, precision: Precision) -> Result<Vec<u8>, InferError> {
    let ranges = match precision {
        Precision::F32 | Precision::Bf16 => None,
        Precision::Int8 => Some(bundle.checked_ranges()?.of_graph()),
    };
    let model = with_shapes(bundle, |shapes| match &ranges {
        None => dermafuse_onnx::export_network(&bundle.network, shapes),
        Some(ranges) => dermafuse_onnx::export_quantised_network(&bundle.network, shapes, ranges),
    });
    Ok(model?.into_bytes())
}

/// The same in 32-bit floats, with outputs that say between which numbers those of its products lie.
///
/// # Errors
/// An operation that cannot be written.
#[cfg(feature = "_engines")]
pub(crate) fn watched_file_of(bundle: &Bundle) -> Result<(Vec<u8>, Vec<dermafuse_onnx::WatchedProduct>), InferError> {
    let (model, products) =
        with_shapes(bundle, |shapes| dermafuse_onnx::export_watched_network(&bundle.network, shapes))?;
    Ok((model.into_bytes(), products))
}

/// Writes the network with what its description does not say.
#[cfg(feature = "_engines")]
fn with_shapes<T>(
    bundle: &Bundle,
    write: impl FnOnce(&dermafuse_onnx::NetworkShapes<'_>) -> Result<T, dermafuse_onnx::OnnxError>,
) -> Result<T, EngineError> {
    let BundleDescription { tasks, preprocess, encoder, .. } = &bundle.description;
    let tasks: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let images = [preprocess.size, preprocess.size];
    Ok(write(&dermafuse_onnx::NetworkShapes { images, record: encoder.width(), tasks: &tasks })?)
}

#[cfg(not(feature = "_engines"))]
pub(crate) fn file_of(_: &Bundle, _: Precision) -> Result<Vec<u8>, InferError> {
    Err(EngineError::NotBuilt { engine: "onnxruntime" }.into())
}

impl ExportedNetwork {
    /// The network in a session of its file.
    ///
    /// # Errors
    /// A file of another network: one that lacks an output, or an input that the network looks at.
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
        let modalities = network.modalities();
        // These do not look at the record themselves, and OpenVINO leaves out an input that nothing looks at.
        let is_blind = matches!(network, AnyNetwork::FrozenEncoders(_) | AnyNetwork::UniformClassifier(_));
        let looks_at =
            kinds_of(modalities).map(Modality::name).chain((modalities.metadata && !is_blind).then_some(RECORD));
        for input in looks_at {
            if !session.inputs().iter().any(|tensor| tensor.name == input) {
                let reason = format!("it has no input `{input}`, which the network looks at");
                return Err(EngineError::Network { engine: session.facts().to_string(), reason });
            }
        }
        Ok(Self { session, modalities, outputs, tasks: tasks.len(), batch_size })
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
        Ok(self.ask(input, with_embedding, &[])?.0)
    }
}

impl ExportedNetwork {
    /// What the network says of a batch, and `more` outputs of its file.
    ///
    /// # Errors
    /// As [`NetworkEngine::run`].
    pub(crate) fn ask(
        &self,
        input: MultimodalInput,
        with_embedding: bool,
        more: &[&str],
    ) -> Result<(NetworkValues, Vec<ArrayD<f32>>), EngineError> {
        let Modalities { clinical, dermoscopic, metadata } = self.modalities;
        let image = |wanted: bool, name, images: Option<Tensor<4>>| Some((name, values(images.filter(|_| wanted)?)));
        let takes_record = metadata && self.session.inputs().iter().any(|tensor| tensor.name == RECORD);
        let record = input.metadata.filter(|_| takes_record).map(|record| (RECORD, values(record)));
        let given: Vec<(&str, TensorData)> =
            [image(clinical, "clinical", input.clinical), image(dermoscopic, "dermoscopic", input.dermoscopic), record]
                .into_iter()
                .flatten()
                .collect();
        let views = given.iter().map(|(name, data)| Ok((*name, self.view(name, data)?)));
        let views = views.collect::<Result<Vec<_>, EngineError>>()?;
        let wanted = self.outputs.iter().map(String::as_str).chain(with_embedding.then_some(EMBEDDING));
        let wanted: Vec<&str> = wanted.chain(more.iter().copied()).collect();
        let mut found = self.session.run(&views, &wanted)?;
        let more = found.split_off(found.len().saturating_sub(more.len()));
        let mut tables = found.into_iter().map(|values| self.table(values));
        let mut logits = Vec::with_capacity(self.outputs.len() / self.tasks.max(1));
        for _ in self.outputs.chunks(self.tasks.max(1)) {
            logits.push(tables.by_ref().take(self.tasks).collect::<Result<Vec<_>, _>>()?);
        }
        Ok((NetworkValues { logits, embedding: tables.next().transpose()? }, more))
    }

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
