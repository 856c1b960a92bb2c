//! Runs a backbone on tensors from a file, to compare it with another implementation:
//!
//! ```text
//! cargo run --release --example forward -- --model resnet50 --weights resnet50.safetensors --input in.safetensors --output out.safetensors
//! ```
//!
//! The input file has one tensor `images`, `[B, 3, H, W]` of 32-bit floats, already normalized. The output file has
//! `stage1` … `stage4` (feature maps `[B, C, H', W']`), `features` (`[B, D]`, the pooled last map) and, if the weights have
//! a classifier, `logits` (`[B, K]`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use dermafuse::backbones::{Backbone, BackboneKind, ClassifierWeights, LoadOptions, Pretrained, global_average_pool};
use dermafuse_examples::{DeviceName, ProgramResult, run};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Writes feature maps, pooled features and logits of the images in a file.
#[derive(Parser)]
struct Arguments {
    /// Architecture; `--example models` lists them
    #[arg(long)]
    model: BackboneKind,
    /// Weights in the published names (.safetensors, .pth)
    #[arg(long)]
    weights: PathBuf,
    /// Classes of the weights' classifier; 0 leaves the classifier out
    #[arg(long, default_value_t = 1000)]
    classes: usize,
    /// Safetensors file with a tensor `images`
    #[arg(long)]
    input: PathBuf,
    /// Safetensors file to write
    #[arg(long)]
    output: PathBuf,
    /// Merge normalization into the convolutions first
    #[arg(long)]
    fold: bool,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceName::Flex)]
    device: DeviceName,
}

fn main() -> ExitCode {
    run(|| forward(&Arguments::parse()))
}

fn forward(arguments: &Arguments) -> ProgramResult {
    let device = arguments.device.device()?;
    let images = read_images(&arguments.input, arguments.model.min_size(), &device)?;

    let (classes, classifier) = match arguments.classes {
        0 => (None, ClassifierWeights::Drop),
        classes => (Some(classes), ClassifierWeights::Keep),
    };
    let mut network = arguments.model.init(classes, &device);
    network = network.load_weights(&arguments.weights, LoadOptions { classifier })?;
    if arguments.fold {
        network = network.fold_batch_norm();
    }

    let mut results = BTreeMap::new();
    for (index, map) in network.forward_stages(images.clone()).into_iter().enumerate() {
        results.insert(format!("stage{}", index + 1), result(map)); // [B, C, H', W']
    }
    results.insert("features".to_string(), result(global_average_pool(network.forward_features(images.clone())))); // [B, D]
    if classes.is_some() {
        results.insert("logits".to_string(), result(network.forward_logits(images))); // [B, K]
    }
    for (name, (shape, _)) in &results {
        println!("{name:<10}{shape:?}");
    }
    write(&results, &arguments.output)
}

fn read_images(file: &Path, min_size: usize, device: &Device) -> Result<Tensor<4>, String> {
    let fail = |reason: String| format!("{}: {reason}", file.display());
    let bytes = std::fs::read(file).map_err(|error| fail(error.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| fail(error.to_string()))?;
    let images = tensors.tensor("images").map_err(|_| fail("has no tensor `images`".to_string()))?;
    let &[batch, 3, height, width] = images.shape() else {
        return Err(fail(format!("`images` has shape {:?} instead of [B, 3, H, W]", images.shape())));
    };
    if images.dtype() != Dtype::F32 {
        return Err(fail(format!("`images` is {:?} instead of F32", images.dtype())));
    }
    if batch == 0 || height < min_size || width < min_size {
        return Err(fail(format!("`images` {:?} is empty or smaller than {min_size} pixels", images.shape())));
    }
    let values = images.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Tensor::from_data(TensorData::new::<f32, _>(values, [batch, 3, height, width]), device))
}

/// Shape and little-endian bytes.
type ResultTensor = (Vec<usize>, Vec<u8>);

fn result<const D: usize>(tensor: Tensor<D>) -> ResultTensor {
    (tensor.dims().to_vec(), tensor.into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect())
}

fn write(results: &BTreeMap<String, ResultTensor>, file: &Path) -> ProgramResult {
    let mut views = BTreeMap::new();
    for (name, (shape, bytes)) in results {
        views.insert(name, TensorView::new(Dtype::F32, shape.clone(), bytes)?);
    }
    let bytes = safetensors::serialize(views, None)?;
    dermafuse::schema::write_whole_file(file, &bytes)?;
    println!("written to {}", file.display());
    Ok(())
}
