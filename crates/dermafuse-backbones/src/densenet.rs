//! DenseNet: each layer sees the maps of all layers before it in its block.
//!
//! Paper: Huang et al., 2016, <https://arxiv.org/abs/1608.06993>.
//! Source: torchvision `models/densenet.py`; code and ImageNet weights BSD-3-Clause.
//! Differences: keys are those of torchvision's `state_dict` (`norm1`), and those of its published files (`norm.1`) are
//! read. The stages are the four dense blocks, before the transitions that halve their channels: 256, 512, 1024 and 1024
//! channels in DenseNet-121 (after the transitions 128, 256 and 512), 256, 512, 1792 and 1920 in DenseNet-201 (after them
//! 128, 256 and 896). A transition belongs to the stage that follows; what is shown of the last stage is normalized and
//! activated.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;

use crate::backbone::{Backbone, ParameterGroup, Pretrained, STAGES, global_average_pool};
use crate::layers::{
    Activation, ConvNormAct, ConvNormActConfig, classes_of, convolve, linear_without_offset, logits_of, normalize,
};
use crate::stage_sides::{DENSENET, stage_sides};

/// Table 1 of the paper: layers of each dense block.
const LAYERS_121: [usize; 4] = [6, 12, 24, 16];
const LAYERS_201: [usize; 4] = [6, 12, 48, 32];
/// Maps that each layer adds.
const GROWTH: usize = 32;
/// Channels of a layer's 1×1 convolution, as a multiple of the growth.
const BOTTLENECK_FACTOR: usize = 4;
const STEM_CHANNELS: usize = 64;

/// Creates a [`DenseNet`].
#[derive(Config, Debug)]
pub struct DenseNetConfig {
    /// Layers of each dense block.
    pub layers: [usize; 4],
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
}

/// Stem, four dense blocks with transitions between them, final normalization, optional classifier.
///
/// Should be created using [`DenseNetConfig`].
#[derive(Module, Debug)]
pub struct DenseNet {
    stem: ConvNormAct,
    pool: MaxPool2d,
    stages: Vec<DenseStage>,
    norm: BatchNorm,
    classifier: Option<Linear>,
    #[module(skip)]
    stage_channels: [usize; 4],
}

/// A dense block, after the transition from the block before.
#[derive(Module, Debug)]
struct DenseStage {
    transition: Option<Transition>,
    layers: Vec<DenseLayer>,
}

/// Normalization → ReLU → 1×1 convolution to half the channels → 2×2 mean.
#[derive(Module, Debug)]
struct Transition {
    norm: BatchNorm,
    conv: Conv2d,
    pool: AvgPool2d,
}

/// Normalization → ReLU → 1×1 convolution → normalization → ReLU → 3×3 convolution.
#[derive(Module, Debug)]
struct DenseLayer {
    norm: BatchNorm,
    bottleneck: ConvNormAct,
    conv: Conv2d,
}

impl DenseNetConfig {
    /// DenseNet-121.
    pub fn densenet121() -> Self {
        Self::new(LAYERS_121)
    }

    /// DenseNet-201.
    pub fn densenet201() -> Self {
        Self::new(LAYERS_201)
    }

    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> DenseNet {
        let stem = ConvNormActConfig::new([3, STEM_CHANNELS], 7)
            .with_stride(2)
            .with_activation(Activation::Relu)
            .with_initializer(Some(fan_in_normal(3 * 7 * 7)))
            .init(device);
        let pool = MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init();

        let mut channels = STEM_CHANNELS;
        let mut stage_channels = [0; 4];
        let mut stages = Vec::with_capacity(4);
        for (stage, count) in self.layers.into_iter().enumerate() {
            let transition = (stage > 0).then(|| init_transition(channels, device));
            if transition.is_some() {
                channels /= 2;
            }
            let layers = (0..count).map(|index| init_layer(channels + index * GROWTH, device)).collect();
            channels += count * GROWTH;
            stage_channels[stage] = channels;
            stages.push(DenseStage { transition, layers });
        }

        let norm = BatchNormConfig::new(channels).init(device);
        let classifier = self.num_classes.map(|classes| {
            // PyTorch's default for the weights: uniform up to 1 / sqrt(fan-in).
            let uniform = Initializer::KaimingUniform { gain: 1.0 / 3.0_f64.sqrt(), fan_out_only: false };
            linear_without_offset([channels, classes], uniform, device)
        });
        DenseNet { stem, pool, stages, norm, classifier, stage_channels }
    }
}

/// Variance 2 / fan-in.
fn fan_in_normal(fan_in: usize) -> Initializer {
    Initializer::Normal { mean: 0.0, std: (2.0 / fan_in as f64).sqrt() }
}

fn init_conv([channels_in, channels_out]: [usize; 2], kernel: usize, device: &Device) -> Conv2d {
    let padding = kernel / 2;
    Conv2dConfig::new([channels_in, channels_out], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .with_initializer(fan_in_normal(channels_in * kernel * kernel))
        .init_addressed(device)
}

fn init_transition(channels: usize, device: &Device) -> Transition {
    Transition {
        norm: BatchNormConfig::new(channels).init(device),
        conv: init_conv([channels, channels / 2], 1, device),
        pool: AvgPool2dConfig::new([2, 2]).init(),
    }
}

fn init_layer(channels: usize, device: &Device) -> DenseLayer {
    let width = BOTTLENECK_FACTOR * GROWTH;
    let bottleneck = ConvNormActConfig::new([channels, width], 1)
        .with_activation(Activation::Relu)
        .with_initializer(Some(fan_in_normal(channels)))
        .init(device);
    DenseLayer {
        norm: BatchNormConfig::new(channels).init(device),
        bottleneck,
        conv: init_conv([width, GROWTH], 3, device),
    }
}

impl DenseNet {
    /// The same network for prediction only, with the normalizations that follow a convolution merged into it; those
    /// that come first in a layer stay.
    pub fn fold_batch_norm(self) -> Self {
        let fold_layer = |layer: DenseLayer| DenseLayer { bottleneck: layer.bottleneck.fold(), ..layer };
        let fold_stage = |stage: DenseStage| DenseStage {
            layers: stage.layers.into_iter().map(fold_layer).collect(),
            transition: stage.transition,
        };
        let stages = self.stages.into_iter().map(fold_stage).collect();
        Self { stem: self.stem.fold(), stages, ..self }
    }
}

impl DenseStage {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C / 2 + 32·layers, H / 2, W / 2]`, the first stage `[B, C + 32·layers, H, W]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = match &self.transition {
            Some(transition) => transition.forward(input), // [B, C/2, H/2, W/2]
            None => input,
        };
        self.layers.iter().fold(map, |map, layer| {
            let new = layer.forward(map.clone()); // [B, 32, H', W']
            Tensor::cat(vec![map, new], 1)
        })
    }
}

impl Transition {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C / 2, H / 2, W / 2]` (rounded down).
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = normalize(&self.norm, Activation::Relu, input);
        self.pool.forward(convolve(&self.conv, map))
    }
}

impl DenseLayer {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, 32, H, W]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = normalize(&self.norm, Activation::Relu, input);
        let map = self.bottleneck.forward(map); // [B, 128, H, W]
        convolve(&self.conv, map)
    }
}

impl Backbone for DenseNet {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let map = match stage {
            0 => self.pool.forward(self.stem.forward(input)), // [B, 64, H/4, W/4]
            _ => input,
        };
        self.stages[stage].forward(map) // [B, C_i, H/s_i, W/s_i]
    }

    /// Normalizes and activates the deepest.
    fn finish_stage(&self, stage: usize, map: Tensor<4>) -> Tensor<4> {
        match stage {
            3 => normalize(&self.norm, Activation::Relu, map),
            _ => map,
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        self.stage_channels
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&DENSENET, image)
    }

    /// Blocks: `stem`, `denseblock1.0`, …, `transition1`, `denseblock2.0`, …, `norm`, `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        for (index, (part, stage)) in STAGES.into_iter().zip(&self.stages).enumerate() {
            let transition = stage.transition.iter();
            groups.extend(transition.map(|module| ParameterGroup::block(part, format!("transition{index}"), module)));
            groups.extend(ParameterGroup::blocks(part, &format!("denseblock{}", index + 1), &stage.layers));
        }
        groups.push(ParameterGroup::block("stage4", "norm", &self.norm));
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for DenseNet {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = global_average_pool(self.forward_features(images)); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `stages.1.layers.0.bottleneck.norm.bias` → `features.denseblock2.denselayer1.norm2.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let number = |index: &str| index.parse::<usize>().unwrap_or_default();
        match parts[..] {
            ["stem", layer, name] => format!("features.{layer}0.{name}"),
            ["norm", name] => format!("features.norm5.{name}"),
            // The first stage has no transition, so the second's is the first.
            ["stages", stage, "transition", layer, name] => {
                format!("features.transition{}.{layer}.{name}", number(stage))
            }
            ["stages", stage, "layers", layer, ref rest @ ..] => {
                let rest = match *rest {
                    ["norm", name] => format!("norm1.{name}"),
                    ["bottleneck", "conv", name] => format!("conv1.{name}"),
                    ["bottleneck", _, name] => format!("norm2.{name}"),
                    ["conv", name] => format!("conv2.{name}"),
                    _ => rest.join("."),
                };
                format!("features.denseblock{}.denselayer{}.{rest}", number(stage) + 1, number(layer) + 1)
            }
            _ => path.to_string(),
        }
    }

    /// `features.denseblock1.denselayer1.norm.1.weight` → `features.denseblock1.denselayer1.norm1.weight`.
    fn modern_key(&self, key: &str) -> String {
        let parts: Vec<&str> = key.split('.').collect();
        match parts[..] {
            ["features", block, layer, kind @ ("norm" | "conv"), index @ ("1" | "2"), name] => {
                format!("features.{block}.{layer}.{kind}{index}.{name}")
            }
            _ => key.to_string(),
        }
    }

    fn classifier_prefix(&self) -> &'static str {
        "classifier."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_follow_torchvision() {
        let network = DenseNetConfig::densenet121().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "features.conv0.weight"),
            ("stem.norm.running_mean", "features.norm0.running_mean"),
            ("stages.0.layers.0.norm.bias", "features.denseblock1.denselayer1.norm1.bias"),
            ("stages.2.layers.23.bottleneck.conv.weight", "features.denseblock3.denselayer24.conv1.weight"),
            ("stages.2.layers.23.bottleneck.norm.weight", "features.denseblock3.denselayer24.norm2.weight"),
            ("stages.3.layers.1.conv.weight", "features.denseblock4.denselayer2.conv2.weight"),
            ("stages.1.transition.conv.weight", "features.transition1.conv.weight"),
            ("norm.running_var", "features.norm5.running_var"),
            ("classifier.bias", "classifier.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
