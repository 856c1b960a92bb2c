//! ResNet: convolutional stages whose blocks learn a correction to their input.
//!
//! Paper: He et al., 2015, <https://arxiv.org/abs/1512.03385>.
//! Source: torchvision `models/resnet.py`, the "v1.5" of the bottleneck (its stride is in the 3×3 convolution); code and
//! ImageNet weights BSD-3-Clause.
//! Differences: none.

use burn::config::Config;
use burn::module::Module;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
use dermafuse_kernels::sum_activation;

use crate::backbone::{Backbone, ParameterGroup, Pretrained, STAGES, global_average_pool};
use crate::layers::{Activation, ConvNormAct, ConvNormActConfig, classes_of, logits_of};
use crate::stage_sides::{ROUNDED_UP, stage_sides};

/// Table 1 of the paper: blocks of each stage.
const BLOCKS_18: [usize; 4] = [2, 2, 2, 2];
const BLOCKS_34: [usize; 4] = [3, 4, 6, 3];
const BLOCKS_50: [usize; 4] = [3, 4, 6, 3];
const BLOCKS_101: [usize; 4] = [3, 4, 23, 3];
/// Stage widths as multiples of the stem's.
const STAGE_FACTORS: [usize; 4] = [1, 2, 4, 8];
const BOTTLENECK_EXPANSION: usize = 4;

/// Creates a [`ResNet`].
#[derive(Config, Debug)]
pub struct ResNetConfig {
    /// Blocks of each stage.
    pub blocks: [usize; 4],
    /// Blocks of three convolutions (1×1, 3×3, 1×1) instead of two 3×3 ones.
    pub bottleneck: bool,
    /// Channels of the stem, which all others are multiples of; 64 in the paper.
    #[config(default = 64)]
    pub stem_channels: usize,
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
}

/// Stem, four stages of residual blocks, optional classifier.
///
/// Should be created using [`ResNetConfig`].
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNormAct,
    pool: MaxPool2d,
    stages: Vec<Vec<ResidualBlock>>,
    classifier: Option<Linear>,
    #[module(skip)]
    stage_channels: [usize; 4],
}

/// `relu(branch(x) + shortcut(x))`, the shortcut being the identity where the shapes agree.
#[derive(Module, Debug)]
struct ResidualBlock {
    branch: Vec<ConvNormAct>,
    shortcut: Option<ConvNormAct>,
}

impl ResNetConfig {
    /// ResNet-18.
    pub fn resnet18() -> Self {
        Self::new(BLOCKS_18, false)
    }

    /// ResNet-18 with a quarter of its channels: trains from scratch in minutes on a CPU.
    pub fn resnet18_quarter() -> Self {
        Self::resnet18().with_stem_channels(16)
    }

    /// ResNet-34.
    pub fn resnet34() -> Self {
        Self::new(BLOCKS_34, false)
    }

    /// ResNet-50.
    pub fn resnet50() -> Self {
        Self::new(BLOCKS_50, true)
    }

    /// ResNet-101.
    pub fn resnet101() -> Self {
        Self::new(BLOCKS_101, true)
    }

    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> ResNet {
        let stem = ConvNormActConfig::new([3, self.stem_channels], 7)
            .with_stride(2)
            .with_activation(Activation::Relu)
            .init(device);
        let pool = MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init();

        let expansion = if self.bottleneck { BOTTLENECK_EXPANSION } else { 1 };
        let widths = STAGE_FACTORS.map(|factor| factor * self.stem_channels);
        let mut channels = self.stem_channels;
        let mut stages = Vec::with_capacity(4);
        for (stage, width) in widths.into_iter().enumerate() {
            let mut blocks = Vec::with_capacity(self.blocks[stage]);
            for index in 0..self.blocks[stage] {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(self.init_block([channels, width, width * expansion], stride, device));
                channels = width * expansion;
            }
            stages.push(blocks);
        }

        let classifier = self.num_classes.map(|classes| LinearConfig::new(channels, classes).init_addressed(device));
        let stage_channels = widths.map(|width| width * expansion);
        ResNet { stem, pool, stages, classifier, stage_channels }
    }

    fn init_block(&self, channels: [usize; 3], stride: usize, device: &Device) -> ResidualBlock {
        let [channels_in, width, channels_out] = channels;
        let layer = |channels, kernel| ConvNormActConfig::new(channels, kernel);
        let branch = match self.bottleneck {
            true => vec![
                layer([channels_in, width], 1).with_activation(Activation::Relu),
                layer([width, width], 3).with_stride(stride).with_activation(Activation::Relu),
                layer([width, channels_out], 1),
            ],
            false => vec![
                layer([channels_in, width], 3).with_stride(stride).with_activation(Activation::Relu),
                layer([width, channels_out], 3),
            ],
        };
        let shortcut = (stride != 1 || channels_in != channels_out)
            .then(|| layer([channels_in, channels_out], 1).with_stride(stride).init(device));
        ResidualBlock { branch: branch.iter().map(|config| config.init(device)).collect(), shortcut }
    }
}

impl ResNet {
    /// The same network for prediction only, with each normalization merged into its convolution.
    pub fn fold_batch_norm(self) -> Self {
        let fold_block = |block: ResidualBlock| ResidualBlock {
            branch: block.branch.into_iter().map(ConvNormAct::fold).collect(),
            shortcut: block.shortcut.map(ConvNormAct::fold),
        };
        let stages = self.stages.into_iter().map(|stage| stage.into_iter().map(fold_block).collect());
        Self { stem: self.stem.fold(), stages: stages.collect(), ..self }
    }
}

impl ResidualBlock {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C', H / stride, W / stride]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(input.clone()), // [B, C', H', W']
            None => input.clone(),
        };
        let correction = self.branch.iter().fold(input, |map, layer| layer.forward(map)); // [B, C', H', W']
        sum_activation(correction, shortcut, Activation::Relu)
    }
}

impl Backbone for ResNet {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let map = match stage {
            0 => self.pool.forward(self.stem.forward(input)), // [B, 64, H/4, W/4]
            _ => input,
        };
        self.stages[stage].iter().fold(map, |map, block| block.forward(map)) // [B, C_i, H/s_i, W/s_i]
    }

    fn stage_channels(&self) -> [usize; 4] {
        self.stage_channels
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&ROUNDED_UP, image)
    }

    /// Blocks: `stem`, `layer1.0` … `layer4.2` as in torchvision, `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        for (index, (part, blocks)) in STAGES.into_iter().zip(&self.stages).enumerate() {
            groups.extend(ParameterGroup::blocks(part, &format!("layer{}", index + 1), blocks));
        }
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for ResNet {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = global_average_pool(self.forward_features(images)); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `stages.1.0.branch.2.norm.gamma` → `layer2.0.bn3.weight`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["stem", "conv", name] => format!("conv1.{name}"),
            ["stem", "norm", name] => format!("bn1.{name}"),
            ["classifier", name] => format!("fc.{name}"),
            ["stages", stage, block, "branch", layer, kind, name] => {
                let kind = if kind == "norm" { "bn" } else { kind };
                format!("layer{}.{block}.{kind}{}.{name}", one_based(stage), one_based(layer))
            }
            ["stages", stage, block, "shortcut", kind, name] => {
                let index = if kind == "norm" { 1 } else { 0 };
                format!("layer{}.{block}.downsample.{index}.{name}", one_based(stage))
            }
            _ => path.to_string(),
        }
    }

    fn classifier_prefix(&self) -> &'static str {
        "fc."
    }
}

/// Module paths count from 0, torchvision's ResNet names from 1.
fn one_based(index: &str) -> usize {
    index.parse::<usize>().map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_follow_torchvision() {
        let network = ResNetConfig::resnet18().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "conv1.weight"),
            ("stem.norm.running_mean", "bn1.running_mean"),
            ("stages.1.0.branch.2.norm.weight", "layer2.0.bn3.weight"),
            ("stages.3.1.branch.0.conv.weight", "layer4.1.conv1.weight"),
            ("stages.2.0.shortcut.conv.weight", "layer3.0.downsample.0.weight"),
            ("stages.2.0.shortcut.norm.bias", "layer3.0.downsample.1.bias"),
            ("classifier.bias", "fc.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
