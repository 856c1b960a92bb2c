//! The verb `forward`. What it reads and writes:
//!
//! All tensors are 32-bit floats. What is read and written:
//!
//! | | input | output |
//! |---|---|---|
//! | backbone | `images` `[B, 3, H, W]`, normalized | `stage1` … `stage4` (feature maps `[B, C, H', W']`), `features` (`[B, D]`, the pooled last map), with a classifier `logits` (`[B, K]`) |
//! | fusion of features | `image` `[B, L_I]`, `metadata` `[B, L_M]` | `fused` `[B, L]` |
//! | fusion of maps | `clinical` `[B, C_c, H, W]`, `dermoscopic` `[B, C_d, H, W]` | the same, refined |
//! | network | what it looks at of `clinical`, `dermoscopic` `[B, 3, H, W]` and `metadata` `[B, M]` | `BRANCH.TASK` (logits `[B, K]` of a branch and a task, counted from 0), `embedding` (`[B, D]`) |
//!
//! A network is described as `dermafuse show MODEL --json` does under `network`. Weights have the names that PyTorch would give
//! them: fields joined by dots, within a backbone its published names. `--save-weights` writes fresh ones, to be loaded there.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use clap::{ArgGroup, Args};
use dermafuse::backbones::{
    Backbone, BackboneKind, ClassifierWeights, LoadOptions, Pretrained, global_average_pool, load_tensors,
    require_parameters_fit, save_tensors, tensor_names,
};
use dermafuse::fusion::{FeatureFusion, FusionKind, MapFusion, MapFusionKind, UnknownFusion, UnknownMapFusion};
use dermafuse::networks::{Modalities, MultimodalInput, Network, NetworkConfig, draw_first_weights};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::device::DeviceArgument;
use crate::failure::{Failure, ProgramResult};
use crate::terminal::say;

/// Run a backbone, a fusion module or a network on tensors from a file.
///
/// It is for comparing them with another implementation.
///
/// All tensors are 32-bit floats, and both files are safetensors files. A backbone reads `images` ([B, 3, H, W], normalized)
/// and writes `stage1` to `stage4`, `features` and `logits`. A fusion of features reads `image` and `metadata` ([B, L]) and
/// writes `fused`. A fusion of maps reads and writes `clinical` and `dermoscopic` ([B, C, H, W]). A network reads what it looks
/// at of `clinical`, `dermoscopic` and `metadata`, and writes `embedding` and the logits BRANCH.TASK, tasks counted from 0.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("what").required(true)))]
pub(crate) struct Arguments {
    /// A backbone; `dermafuse models` lists them.
    #[arg(long, group = "what")]
    backbone: Option<BackboneKind>,
    /// A fusion module with its default settings; `dermafuse models` lists those of features.
    #[arg(long, group = "what", requires = "features")]
    fusion: Option<FusionName>,
    /// A JSON file that describes a network, as `dermafuse show MODEL --json` does under `network`.
    #[arg(long, value_name = "FILE", group = "what")]
    network: Option<PathBuf>,
    /// What a fusion module joins: the lengths of the image's and the record's features, or the channels of the clinical and
    /// the dermoscopic map.
    #[arg(long, value_delimiter = ',', value_name = "FIRST,SECOND")]
    features: Option<Vec<usize>>,
    /// The weights (.safetensors, .pth, .onnx), under the names that PyTorch would give them; fresh ones if not given.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A safetensors file to which the weights that are used are written.
    #[arg(long, value_name = "FILE")]
    save_weights: Option<PathBuf>,
    /// The seed of fresh weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The number of classes of a backbone's classifier; 0 leaves it out.
    #[arg(long, default_value_t = 1000)]
    classes: usize,
    /// The safetensors file with the input.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The safetensors file that is written.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Merge a backbone's normalization into its convolutions first.
    #[arg(long)]
    fold: bool,
    #[command(flatten)]
    device: DeviceArgument,
}

/// A fusion module of either kind.
#[derive(Clone, Debug)]
enum FusionName {
    OfFeatures(FusionKind),
    OfMaps(MapFusionKind),
}

impl FromStr for FusionName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        name.parse().map(Self::OfFeatures).or_else(|of_features: UnknownFusion| {
            name.parse().map(Self::OfMaps).map_err(|of_maps: UnknownMapFusion| format!("{of_features}; {of_maps}"))
        })
    }
}

pub(crate) fn forward(arguments: &Arguments) -> ProgramResult {
    let device = arguments.device.device()?;
    let input = Input::read(&arguments.input, &device)?;
    let results = match arguments {
        Arguments { backbone: Some(backbone), .. } => of_backbone(arguments, *backbone, &input)?,
        Arguments { fusion: Some(fusion), features: Some(features), .. } => {
            of_fusion(arguments, fusion, features, &input)?
        }
        Arguments { network: Some(file), .. } => of_network(arguments, file, &input)?,
        _ => return Err("name a backbone, a fusion module or a network".into()),
    };
    for (name, (shape, _)) in &results {
        say!("{name:<10}{shape:?}");
    }
    write(&results, &arguments.output)
}

fn of_backbone(arguments: &Arguments, backbone: BackboneKind, input: &Input) -> Result<Results, Failure> {
    let images = input.images("images", backbone.min_size())?;
    let (classes, classifier) = match arguments.classes {
        0 => (None, ClassifierWeights::Drop),
        classes => (Some(classes), ClassifierWeights::Keep),
    };
    let mut network = backbone.init(classes, &input.device);
    require_parameters_fit(&network)?;
    draw_first_weights(&network, arguments.seed);
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

fn of_fusion(
    arguments: &Arguments,
    fusion: &FusionName,
    features: &[usize],
    input: &Input,
) -> Result<Results, Failure> {
    let &[first, second] = features else { return Err("--features takes two numbers".into()) };
    Ok(match fusion {
        FusionName::OfFeatures(fusion) => {
            let module = with_weights(arguments, fusion.init(first, second, &input.device)?)?;
            let fused = module.forward(input.vectors("image", first)?, input.vectors("metadata", second)?);
            Results::from([("fused".into(), result(fused))])
        }
        FusionName::OfMaps(fusion) => {
            let module = with_weights(arguments, fusion.init(first, second, &input.device)?)?;
            let (clinical, dermoscopic) = input.pair_of_maps(first, second)?;
            let (clinical, dermoscopic) = module.forward(clinical, dermoscopic);
            Results::from([("clinical".into(), result(clinical)), ("dermoscopic".into(), result(dermoscopic))])
        }
    })
}

/// As [`exchanged`], by the module's own names.
fn with_weights<M: Module>(arguments: &Arguments, module: M) -> Result<M, Failure> {
    require_parameters_fit(&module)?;
    draw_first_weights(&module, arguments.seed);
    let names = tensor_names(&module);
    exchanged(arguments, module, names)
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
        self.maps(name, 3, min_size)
    }

    /// # Shapes
    /// `[B, channels, H, W]`.
    fn maps(&self, name: &str, channels: usize, min_size: usize) -> Result<Tensor<4>, String> {
        let (shape, values) = self.tensor(name)?;
        match shape[..] {
            [batch, found, height, width] if found == channels => {
                if batch == 0 || height < min_size || width < min_size {
                    return Err(self.failure(format!("`{name}` {shape:?} is empty or smaller than {min_size} pixels")));
                }
                Ok(Tensor::from_data(TensorData::new(values, [batch, channels, height, width]), &self.device))
            }
            _ => Err(self.failure(format!("`{name}` has shape {shape:?} instead of [B, {channels}, H, W]"))),
        }
    }

    /// # Shapes
    /// clinical `[B, C_c, H, W]`, dermoscopic `[B, C_d, H, W]`.
    fn pair_of_maps(&self, clinical: usize, dermoscopic: usize) -> Result<(Tensor<4>, Tensor<4>), String> {
        let (clinical, dermoscopic) = (self.maps("clinical", clinical, 1)?, self.maps("dermoscopic", dermoscopic, 1)?);
        let ([b, _, h, w], [other_b, _, other_h, other_w]) = (clinical.dims(), dermoscopic.dims());
        if (b, h, w) != (other_b, other_h, other_w) {
            let shapes = format!("{:?} and {:?}", clinical.dims(), dermoscopic.dims());
            return Err(self.failure(format!("`clinical` and `dermoscopic` differ in batch or size: {shapes}")));
        }
        Ok((clinical, dermoscopic))
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
    say!("written to {}", file.display());
    Ok(())
}
