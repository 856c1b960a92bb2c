//! How much a network computes, counted in a recording of its forward pass.

use std::collections::HashMap;

use burn::module::{Module, ParamId};
use burn::tensor::Device;
use burn_ir::{FloatOperationIr, ModuleOperationIr, OperationIr, TensorIr};
use dermafuse_networks::{AnyNetwork, Modalities, Network};

use crate::error::OnnxError;
use crate::network::record_network;
use crate::recording::record;

/// Multiplications, each with its addition, that the whole network takes for one case with images of `[height, width]` pixels and a
/// record of `record` columns: those of convolutions, of linear layers, and of products of matrices, to which the two of attention belong.
/// Sums, gates, activations, normalization and pools are not counted, as is usual. Nothing is computed for it but the recording, which
/// copies the weights.
///
/// ```
/// use burn::tensor::Device;
/// use dermafuse_networks::{MetadataClassifierConfig, MetadataNetworkConfig, NetworkConfig};
/// use dermafuse_onnx::multiply_adds;
///
/// let metadata = MetadataNetworkConfig { layers: vec![16], ..MetadataNetworkConfig::new(10) };
/// let network = NetworkConfig::MetadataClassifier(MetadataClassifierConfig { metadata, classes: vec![5] });
/// let network = network.init_seeded(1, &Device::flex())?;
/// assert_eq!(multiply_adds(&network, [224, 224], 10)?, 10 * 16 + 16 * 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A forward pass that cannot be recorded, such as one that reads numbers of its own.
pub fn multiply_adds(network: &AnyNetwork, images: [usize; 2], record: usize) -> Result<u64, OnnxError> {
    let Modalities { clinical, dermoscopic, metadata } = network.modalities();
    let image = vec![3, images[0], images[1]];
    let inputs = [(clinical, image.clone()), (dermoscopic, image), (metadata, vec![record])];
    let sizes: Vec<Vec<usize>> = inputs.into_iter().filter(|(is_seen, _)| *is_seen).map(|(_, size)| size).collect();
    let names: HashMap<ParamId, String> = HashMap::new();
    Ok(counted(&record_network(network, &names, 1, &sizes)?.operations))
}

/// The same of any module, such as a fusion block, in what `forward` does with it: it is given the module and makes the inputs, both on a
/// device that records.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_onnx::multiply_adds_of;
///
/// let layer = LinearConfig::new(10, 16).init(&Device::flex());
/// let count = multiply_adds_of(&layer, |layer, device| drop(layer.forward(Tensor::<2>::zeros([3, 10], device))))?;
/// assert_eq!(count, 3 * 10 * 16);
/// # Ok::<(), dermafuse_onnx::OnnxError>(())
/// ```
///
/// # Errors
/// As [`multiply_adds`].
pub fn multiply_adds_of<M: Module>(module: &M, forward: impl FnOnce(&M, &Device)) -> Result<u64, OnnxError> {
    let recording = record(module, &HashMap::new(), |module, device| {
        forward(module, device);
        Ok((Vec::new(), Vec::new()))
    })?;
    Ok(counted(&recording.operations))
}

/// Those of all operations.
fn counted(operations: &[OperationIr]) -> u64 {
    operations.iter().map(of_operation).sum()
}

fn of_operation(operation: &OperationIr) -> u64 {
    use ModuleOperationIr as Op;
    match operation {
        OperationIr::Float(_, FloatOperationIr::Matmul(op)) => numbers(&op.out) * last(&op.lhs),
        // [.., I] · [I, O]
        OperationIr::Module(Op::Linear(op)) => numbers(&op.out) * last(&op.x),
        // Each number of the result is a sum over the input channels of its group and the kernel: [O, I / groups, K…].
        OperationIr::Module(Op::Conv1d(op)) => numbers(&op.out) * of_filter(&op.weight),
        OperationIr::Module(Op::Conv2d(op)) => numbers(&op.out) * of_filter(&op.weight),
        OperationIr::Module(Op::Conv3d(op)) => numbers(&op.out) * of_filter(&op.weight),
        OperationIr::Module(Op::DeformableConv2d(op)) => numbers(&op.out) * of_filter(&op.weight),
        // Each number of the input goes to the output channels of its group and the kernel: [I, O / groups, K…].
        OperationIr::Module(Op::ConvTranspose1d(op)) => numbers(&op.x) * of_filter(&op.weight),
        OperationIr::Module(Op::ConvTranspose2d(op)) => numbers(&op.x) * of_filter(&op.weight),
        OperationIr::Module(Op::ConvTranspose3d(op)) => numbers(&op.x) * of_filter(&op.weight),
        // Queries with keys, and the weights of that with values: [B, H, N, D].
        OperationIr::Module(Op::Attention(op)) => {
            let (keys, queries) = (op.key.shape[2] as u64, numbers(&op.query));
            queries * keys + numbers(&op.out) * keys
        }
        _ => 0,
    }
}

fn numbers(tensor: &TensorIr) -> u64 {
    tensor.shape.iter().map(|&size| size as u64).product()
}

fn last(tensor: &TensorIr) -> u64 {
    tensor.shape.iter().last().map_or(1, |&size| size as u64)
}

fn of_filter(weight: &TensorIr) -> u64 {
    weight.shape.iter().skip(1).map(|&size| size as u64).product()
}
