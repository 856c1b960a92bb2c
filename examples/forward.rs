//! Runs a backbone, a fusion module or a whole network on tensors from a file, to compare it with another implementation:
//!
//! ```text
//! cargo run --release --example forward -- --model resnet50 --weights resnet50.safetensors --input in.safetensors --output out.safetensors
//! cargo run --release --example forward -- --fusion mmfa --features 1280,128 --save-weights mmfa.safetensors --input in.safetensors --output out.safetensors
//! cargo run --release --example forward -- --network network.json --weights w.safetensors --input in.safetensors --output out.safetensors
//! ```
//!
//! All tensors are 32-bit floats. What is read and written:
//!
//! | | input | output |
//! |---|---|---|
//! | backbone | `images` `[B, 3, H, W]`, normalized | `stage1` … `stage4` (feature maps `[B, C, H', W']`), `features` (`[B, D]`, the pooled last map), with a classifier `logits` (`[B, K]`) |
//! | fusion module | `image` `[B, L_I]`, `metadata` `[B, L_M]` | `fused` `[B, L]` |
//! | network | what it looks at of `clinical`, `dermoscopic` `[B, 3, H, W]` and `metadata` `[B, M]` | `BRANCH.TASK` (logits `[B, K]` of a branch and a task, counted from 0), `embedding` (`[B, D]`) |
//!
//! A network is described as in the field `network` of a bundle's `bundle.json`. Weights have the names that PyTorch would give
//! them: fields joined by dots, within a backbone its published names. `--save-weights` writes fresh ones, to be loaded there.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use clap::{ArgGroup, Parser};
use dermafuse::backbones::{
    Backbone, BackboneKind, ClassifierWeights, LoadOptions, Pretrained, global_average_pool, load_tensors,
    save_tensors, tensor_names,
};
use dermafuse::fusion::{FeatureFusion, FusionKind};
use dermafuse::networks::{Modalities, MultimodalInput, Network, NetworkConfig};
use dermafuse_examples::{DeviceName, ProgramResult, run};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Writes what a backbone, a fusion module or a network makes of the tensors in a file.
#[derive(Parser)]
#[command(group(ArgGroup::new("what").required(true)))]
struct Arguments {
    /// A backbone; `--example models` lists them
    #[arg(long, group = "what")]
    model: Option<BackboneKind>,
    /// A fusion module with its default settings; `--example models` lists them
    #[arg(long, group = "what", requires = "features")]
    fusion: Option<FusionKind>,
    /// A file that describes a network
    #[arg(long, group = "what")]
    network: Option<PathBuf>,
    /// Lengths of the image's and the record's features that a fusion module joins
    #[arg(long, value_delimiter = ',', value_name = "IMAGE,RECORD")]
    features: Option<Vec<usize>>,
    /// Weights (.safetensors, .pth); fresh ones without
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Safetensors file for the weights that are used
    #[arg(long)]
    save_weights: Option<PathBuf>,
    /// Seed of fresh weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Classes of a backbone's classifier; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    classes: usize,
    /// Safetensors file with the input
    #[arg(long)]
    input: PathBuf,
    /// Safetensors file to write
    #[arg(long)]
    output: PathBuf,
    /// Merge a backbone's normalization into its convolutions first
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
    device.seed(arguments.seed);
    let input = Input::read(&arguments.input, &device)?;
    let results = match arguments {
        Arguments { model: Some(model), .. } => of_backbone(arguments, *model, &input)?,
        Arguments { fusion: Some(fusion), features: Some(features), .. } => {
            of_fusion(arguments, *fusion, features, &input)?
        }
        Arguments { network: Some(file), .. } => of_network(arguments, file, &input)?,
        _ => return Err("name a model, a fusion module or a network".into()),
    };
    for (name, (shape, _)) in &results {
        println!("{name:<10}{shape:?}");
    }
    write(&results, &arguments.output)
}

fn of_backbone(arguments: &Arguments, model: BackboneKind, input: &Input) -> Result<Results, Failure> {
    let images = input.images("images", model.min_size())?;
    let (classes, classifier) = match arguments.classes {
        0 => (None, ClassifierWeights::Drop),
        classes => (Some(classes), ClassifierWeights::Keep),
    };
    let mut network = model.init(classes, &input.device);
    if let Some(weights) = &arguments.weights {
        network = network.load_weights(weights, LoadOptions { classifier })?;
    }
    if let Some(file) = &arguments.save_weights {
        network.save_weights(file)?;
    }
    if arguments.fold {
        network = network.fold_batch_norm();
    }
    let mut results = Results::new();
    for (index, map) in network.forward_stages(images.clone()).into_iter().enumerate() {
        results.insert(format!("stage{}", index + 1), result(map)); // [B, C, H', W']
    }
    results.insert("features".into(), result(global_average_pool(network.forward_features(images.clone())))); // [B, D]
    if classes.is_some() {
        results.insert("logits".into(), result(network.forward_logits(images))); // [B, K]
    }
    Ok(results)
}

fn of_fusion(arguments: &Arguments, fusion: FusionKind, features: &[usize], input: &Input) -> Result<Results, Failure> {
    let &[image, record] = features else { return Err("--features takes two lengths".into()) };
    let module = fusion.init(image, record, &input.device)?;
    let names = tensor_names(&module);
    let module = exchanged(arguments, module, names)?;
    let fused = module.forward(input.vectors("image", image)?, input.vectors("metadata", record)?);
    Ok(Results::from([("fused".into(), result(fused))]))
}

fn of_network(arguments: &Arguments, file: &Path, input: &Input) -> Result<Results, Failure> {
    let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let config: NetworkConfig = serde_json::from_slice(&text)
        .map_err(|error| format!("{} does not describe a network: {error}", file.display()))?;
    let network = config.init_seeded(arguments.seed, &input.device)?;
    let names = network.tensor_names();
    let network = exchanged(arguments, network, names)?;
    let Modalities { clinical, dermoscopic, metadata } = network.modalities();
    let smallest = config.backbones().iter().map(|backbone| backbone.min_size()).max().unwrap_or(1);
    let output = network.forward(MultimodalInput {
        clinical: clinical.then(|| input.images("clinical", smallest)).transpose()?,
        dermoscopic: dermoscopic.then(|| input.images("dermoscopic", smallest)).transpose()?,
        metadata: metadata.then(|| input.vectors("metadata", config.metadata_inputs())).transpose()?,
    });
    let mut results = Results::from([("embedding".into(), result(output.embedding))]);
    for branch in output.branches {
        for (task, logits) in branch.logits.into_iter().enumerate() {
            results.insert(format!("{}.{task}", branch.name), result(logits));
        }
    }
    Ok(results)
}

/// The module with the weights that were asked for, which are saved if that was asked for.
fn exchanged<M: Module>(arguments: &Arguments, mut module: M, names: HashMap<ParamId, String>) -> Result<M, Failure> {
    if let Some(weights) = &arguments.weights {
        module = load_tensors(module, names.clone(), weights)?;
    }
    if let Some(file) = &arguments.save_weights {
        save_tensors(&module, &names, file)?;
    }
    Ok(module)
}

type Failure = Box<dyn std::error::Error>;

/// The tensors of the input file.
struct Input {
    file: PathBuf,
    bytes: Vec<u8>,
    device: Device,
}

impl Input {
    fn read(file: &Path, device: &Device) -> Result<Self, String> {
        let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Self { file: file.to_owned(), bytes, device: device.clone() })
    }

    fn failure(&self, reason: impl std::fmt::Display) -> String {
        format!("{}: {reason}", self.file.display())
    }

    /// Shape and values.
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|error| self.failure(error))?;
        let tensor = tensors.tensor(name).map_err(|_| self.failure(format!("has no tensor `{name}`")))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(self.failure(format!("`{name}` is {:?} instead of F32", tensor.dtype())));
        }
        let values = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok((tensor.shape().to_vec(), values))
    }

    /// # Shapes
    /// `[B, 3, H, W]`.
    fn images(&self, name: &str, min_size: usize) -> Result<Tensor<4>, String> {
        let (shape, values) = self.tensor(name)?;
        let &[batch, 3, height, width] = &shape[..] else {
            return Err(self.failure(format!("`{name}` has shape {shape:?} instead of [B, 3, H, W]")));
        };
        if batch == 0 || height < min_size || width < min_size {
            return Err(self.failure(format!("`{name}` {shape:?} is empty or smaller than {min_size} pixels")));
        }
        Ok(Tensor::from_data(TensorData::new(values, [batch, 3, height, width]), &self.device))
    }

    /// # Shapes
    /// `[B, length]`.
    fn vectors(&self, name: &str, length: usize) -> Result<Tensor<2>, String> {
        let (shape, values) = self.tensor(name)?;
        match shape[..] {
            [batch, found] if batch > 0 && found == length => {
                Ok(Tensor::from_data(TensorData::new(values, [batch, length]), &self.device))
            }
            _ => Err(self.failure(format!("`{name}` has shape {shape:?} instead of [B, {length}]"))),
        }
    }
}

/// Shape and little-endian bytes of each tensor, by name.
type Results = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn result<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<u8>) {
    (tensor.dims().to_vec(), tensor.into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect())
}

fn write(results: &Results, file: &Path) -> ProgramResult {
    let mut views = BTreeMap::new();
    for (name, (shape, bytes)) in results {
        views.insert(name, TensorView::new(Dtype::F32, shape.clone(), bytes)?);
    }
    let bytes = safetensors::serialize(views, None)?;
    dermafuse::schema::write_whole_file(file, &bytes)?;
    println!("written to {}", file.display());
    Ok(())
}
