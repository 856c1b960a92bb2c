//! Whole networks.

use std::collections::{BTreeMap, HashMap};

use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};
use dermafuse_networks::{AnyNetwork, Modalities, MultimodalInput, Network};
use dermafuse_onnx_graph::{Dim, Element, Graph, OnnxModel, ProductRanges, Value, WatchedProduct};

use crate::dims::{BATCHES, Dims};
use crate::error::OnnxError;
use crate::lower::lower;
use crate::recording::{Recording, id_of, record};

/// What a network's file calls its graph.
const NAME: &str = "network";

/// What a network's description does not say, and its file must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkShapes<'a> {
    /// Height and width of the images, in pixels. A file has one size.
    pub images: [usize; 2],
    /// Length of the encoded metadata; not looked at for networks that look at images alone.
    pub record: usize,
    /// The names of the network's tasks, in its order.
    pub tasks: &'a [&'a str],
}

/// The inputs of a network in a graph, those that it looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkInputs {
    /// `[N, 3, H, W]` clinical photos, normalised.
    pub clinical: Option<Value>,
    /// `[N, 3, H, W]` dermoscopic images, normalised.
    pub dermoscopic: Option<Value>,
    /// `[N, F]` encoded metadata.
    pub record: Option<Value>,
}

/// What a network gives in a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOutputs {
    /// The name of each branch with the logits `[N, K_t]` of each task, in the network's order.
    pub branches: Vec<(&'static str, Vec<Value>)>,
    /// `[N, D]` the features that the last branch's classifier sees.
    pub embedding: Value,
}

/// Writes a network as ONNX, with its weights inside: inputs `clinical` and `dermoscopic` `[N, 3, H, W]`, normalised, and `record`
/// `[N, F]`, encoded metadata, those of them that it looks at; outputs `BRANCH/TASK` `[N, classes]`, the logits, and `embedding` `[N, D]`.
/// The network is written as it predicts; normalization with running statistics becomes part of the convolutions.
///
/// # Errors
/// An operation that cannot be written, or that looks at the size of the batch, by its name and layer; names for another number of
/// tasks; more than 2 GB.
pub fn export_network(network: &AnyNetwork, shapes: &NetworkShapes<'_>) -> Result<OnnxModel, OnnxError> {
    Ok(graph_of(network, shapes)?.into_model(NAME, &[])?)
}

/// The same, with the outputs of [`Graph::watch_products`]: between which numbers those lie that go through the products that can be
/// computed with 8-bit integers. They are of the whole batch.
///
/// # Errors
/// As [`export_network`].
pub fn export_watched_network(
    network: &AnyNetwork,
    shapes: &NetworkShapes<'_>,
) -> Result<(OnnxModel, Vec<WatchedProduct>), OnnxError> {
    let mut graph = graph_of(network, shapes)?;
    let watched = graph.watch_products();
    Ok((graph.into_model(NAME, &[])?, watched))
}

/// The same as [`export_network`], with these products in 8-bit integers; see [`Graph::quantise`].
///
/// # Errors
/// As [`export_network`]; a product that the network does not have.
pub fn export_quantised_network(
    network: &AnyNetwork,
    shapes: &NetworkShapes<'_>,
    ranges: &BTreeMap<String, ProductRanges>,
) -> Result<OnnxModel, OnnxError> {
    let mut graph = graph_of(network, shapes)?;
    graph.quantise(ranges)?;
    Ok(graph.into_model(NAME, &[])?)
}

/// The network with its inputs and outputs.
fn graph_of(network: &AnyNetwork, shapes: &NetworkShapes<'_>) -> Result<Graph, OnnxError> {
    let mut graph = Graph::new();
    let Modalities { clinical, dermoscopic, metadata } = network.modalities();
    let [height, width] = shapes.images;
    let images = vec![Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(height), Dim::Fixed(width)];
    let record = vec![Dim::Batch(1), Dim::Fixed(shapes.record)];
    let mut input =
        |is_there: bool, name: &str, shape: &[Dim]| is_there.then(|| graph.input(name, Element::F32, shape.to_vec()));
    let inputs = NetworkInputs {
        clinical: input(clinical, "clinical", &images),
        dermoscopic: input(dermoscopic, "dermoscopic", &images),
        record: input(metadata, "record", &record),
    };
    let NetworkOutputs { branches, embedding } = add_network(&mut graph, network, &inputs)?;
    for (branch, logits) in branches {
        if logits.len() != shapes.tasks.len() {
            return Err(OnnxError::Tasks { found: logits.len(), named: shapes.tasks.len() });
        }
        for (task, logits) in shapes.tasks.iter().zip(logits) {
            graph.output(&format!("{branch}/{task}"), logits);
        }
    }
    graph.output("embedding", embedding);
    Ok(graph)
}

/// Adds a network to a graph: it is asked with values of the graph and gives others. Their first dimension is the batch, or several
/// times the batch, such as views of the same cases after each other.
///
/// # Errors
/// As [`export_network`]; an input that the network looks at and that is not there.
///
/// # Panics
/// If an input is not of 32-bit floats, or its shape is not that of a batch.
pub fn add_network(
    graph: &mut Graph,
    network: &AnyNetwork,
    inputs: &NetworkInputs,
) -> Result<NetworkOutputs, OnnxError> {
    let Modalities { clinical, dermoscopic, metadata } = network.modalities();
    let wanted = [(clinical, inputs.clinical), (dermoscopic, inputs.dermoscopic), (metadata, inputs.record)];
    let mut given = Vec::new();
    for (is_wanted, value) in wanted {
        match (is_wanted, value) {
            (false, _) => {}
            (true, Some(value)) => given.push(value),
            (true, None) => return Err(OnnxError::Recording { reason: "an input of the network is not there".into() }),
        }
    }
    let sizes: Vec<Vec<usize>> = given
        .iter()
        .map(|value| graph.shape(*value)[1..].iter().map(|dim| dim.fixed().expect("a batch of one size")).collect())
        .collect();
    let names: HashMap<ParamId, String> = network.tensor_names();
    let [first, second] = BATCHES;
    let first = record_network(network, &names, first, &sizes)?;
    let mut second = record_network(network, &names, second, &sizes)?;
    second.values.retain(|id, _| second.inputs.contains(id));
    let times = given.first().map_or(1, |value| match graph.shape(*value)[0] {
        Dim::Batch(times) => times,
        Dim::Fixed(_) => panic!("a network is asked with a batch"),
    });
    let dims = Dims::of(&first, &second)?.times(times);
    drop(second);
    let mut outputs = lower(graph, first, &dims, &given)?.into_iter();
    let infos = network.branches();
    let tasks = (outputs.len() - 1) / infos.len().max(1);
    let branches = infos.iter().map(|info| (info.name, outputs.by_ref().take(tasks).collect())).collect();
    let embedding = outputs.next().expect("the embedding comes last");
    Ok(NetworkOutputs { branches, embedding })
}

/// Records a pass of so many cases; outputs are the logits, branch by branch, and the embedding.
pub(crate) fn record_network(
    network: &AnyNetwork,
    names: &HashMap<ParamId, String>,
    batch: usize,
    sizes: &[Vec<usize>],
) -> Result<Recording, OnnxError> {
    let Modalities { clinical, dermoscopic, metadata } = network.modalities();
    record(network, names, |network, device| {
        let mut sizes = sizes.iter();
        let mut zeros = || {
            let shape: Vec<usize> = std::iter::once(batch).chain(sizes.next().into_iter().flatten().copied()).collect();
            TensorData::new(vec![0.0_f32; shape.iter().product()], shape)
        };
        let mut images = |is_there: bool| is_there.then(|| Tensor::<4>::from_data(zeros(), device));
        let (clinical, dermoscopic) = (images(clinical), images(dermoscopic));
        let record = metadata.then(|| Tensor::<2>::from_data(zeros(), device));
        let mut ids = Vec::new();
        for image in [&clinical, &dermoscopic].into_iter().flatten() {
            ids.push(id_of(image)?);
        }
        if let Some(record) = &record {
            ids.push(id_of(record)?);
        }
        let output = network.forward(MultimodalInput { clinical, dermoscopic, metadata: record });
        let mut outputs = Vec::new();
        for branch in &output.branches {
            for logits in &branch.logits {
                outputs.push(id_of(logits)?);
            }
        }
        outputs.push(id_of(&output.embedding)?);
        Ok((ids, outputs))
    })
}
