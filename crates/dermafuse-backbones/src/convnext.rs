//! ConvNeXt: a residual network with the habits of a transformer, 7×7 depthwise convolutions in place of attention.
//!
//! Paper: Liu et al., 2022, <https://arxiv.org/abs/2201.03545>.
//! Source: torchvision `models/convnext.py`; code and ImageNet weights BSD-3-Clause.
//! Differences: none. The stages are the paper's four, before the downsampling that follows; the normalization after
//! pooling belongs to the classifier, as in torchvision.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
use dermafuse_kernels::{affine_activation, column_after_column, sum_activation};

use crate::backbone::{Backbone, ParameterGroup, Pretrained, STAGES, global_average_pool};
use crate::layers::{
    Activation, LayerNorm, LayerNormConfig, StochasticDepth, StochasticDepthConfig, convolve, linear_without_offset,
    project, project_channels,
};
use crate::stage_sides::{ROUNDED_DOWN, stage_sides};

/// Section 3 of the paper: blocks and channels of each stage.
const BLOCKS_TINY: [usize; 4] = [3, 3, 9, 3];
const BLOCKS_SMALL: [usize; 4] = [3, 3, 27, 3];
const CHANNELS: [usize; 4] = [96, 192, 384, 768];
/// Channels inside a block, as a multiple of those outside.
const EXPANSION: usize = 4;
const KERNEL: usize = 7;
const EPSILON: f64 = 1e-6;
const LAYER_SCALE: f32 = 1e-6;

/// Creates a [`ConvNeXt`].
#[derive(Config, Debug)]
pub struct ConvNeXtConfig {
    /// Blocks of each stage.
    pub blocks: [usize; 4],
    /// Probability of leaving out the last block's branch in training; earlier ones proportionally less.
    pub stochastic_depth: f64,
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
}

/// Stem, four stages of blocks with downsampling between them, optional classifier.
///
/// Should be created using [`ConvNeXtConfig`].
#[derive(Module, Debug)]
pub struct ConvNeXt {
    stem: Stem,
    stages: Vec<Stage>,
    classifier: Option<Classifier>,
}

/// 4×4 convolution of stride 4, then normalization.
#[derive(Module, Debug)]
struct Stem {
    conv: Conv2d,
    norm: LayerNorm,
}

/// Blocks of one size, after the downsampling from the stage before.
#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Downsample>,
    blocks: Vec<Block>,
}

/// Normalization, then 2×2 convolution of stride 2.
#[derive(Module, Debug)]
struct Downsample {
    norm: LayerNorm,
    conv: Conv2d,
}

/// 7×7 depthwise convolution → normalization → linear to four times the channels → GELU → linear back, scaled for each
/// channel and added to the input.
#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    norm: LayerNorm,
    expand: Linear,
    project: Linear,
    /// Without one where it is merged into the layer before it.
    layer_scale: Option<Param<Tensor<3>>>,
    stochastic_depth: StochasticDepth,
}

/// Normalization and linear layer of the pooled features.
#[derive(Module, Debug)]
struct Classifier {
    norm: LayerNorm,
    linear: Linear,
}

impl ConvNeXtConfig {
    /// ConvNeXt-T.
    pub fn tiny() -> Self {
        Self::new(BLOCKS_TINY, 0.1)
    }

    /// ConvNeXt-S.
    pub fn small() -> Self {
        Self::new(BLOCKS_SMALL, 0.4)
    }

    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> ConvNeXt {
        let stem = Stem { conv: init_conv([3, CHANNELS[0]], 4, device), norm: init_norm(CHANNELS[0], device) };

        let total: usize = self.blocks.iter().sum();
        let mut index = 0;
        let mut stages = Vec::with_capacity(4);
        for (stage, (channels, count)) in CHANNELS.into_iter().zip(self.blocks).enumerate() {
            let downsample = (stage > 0).then(|| Downsample {
                norm: init_norm(CHANNELS[stage - 1], device),
                conv: init_conv([CHANNELS[stage - 1], channels], 2, device),
            });
            let blocks = (index..index + count).map(|index| {
                let probability = self.stochastic_depth * index as f64 / (total - 1) as f64;
                init_block(channels, probability, device)
            });
            stages.push(Stage { downsample, blocks: blocks.collect() });
            index += count;
        }

        let [.., features] = CHANNELS;
        let classifier = self.num_classes.map(|classes| Classifier {
            norm: init_norm(features, device),
            linear: linear_without_offset([features, classes], normal(), device),
        });
        ConvNeXt { stem, stages, classifier }
    }
}

/// Of all convolutions and linear layers; biases start at zero.
fn normal() -> Initializer {
    Initializer::Normal { mean: 0.0, std: 0.02 }
}

fn init_norm(channels: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(channels).with_epsilon(EPSILON).init(device)
}

fn init_conv(channels: [usize; 2], patch: usize, device: &Device) -> Conv2d {
    let config = Conv2dConfig::new(channels, [patch, patch]).with_stride([patch, patch]);
    with_zero_bias(config.with_initializer(normal()).init_addressed(device), channels[1], device)
}

fn with_zero_bias(mut conv: Conv2d, channels: usize, device: &Device) -> Conv2d {
    let zeros: Param<Tensor<1>> = Initializer::Zeros.init([channels], device);
    conv.bias = Some(zeros);
    conv
}

fn init_block(channels: usize, probability: f64, device: &Device) -> Block {
    let padding = KERNEL / 2;
    let conv = Conv2dConfig::new([channels, channels], [KERNEL, KERNEL])
        .with_groups(channels)
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_initializer(normal())
        .init_addressed(device);
    let layer_scale = Initializer::Constant { value: f64::from(LAYER_SCALE) };
    Block {
        conv: with_zero_bias(conv, channels, device),
        norm: init_norm(channels, device),
        expand: linear_without_offset([channels, EXPANSION * channels], normal(), device),
        project: linear_without_offset([EXPANSION * channels, channels], normal(), device),
        layer_scale: Some(layer_scale.init([channels, 1, 1], device)),
        stochastic_depth: StochasticDepthConfig::new(probability).init(),
    }
}

impl ConvNeXt {
    /// The same network for prediction only. It has no batch normalization; each scale of channels is merged into the linear layer
    /// before it.
    pub fn fold_batch_norm(self) -> Self {
        let fold = |stage: Stage| Stage { blocks: stage.blocks.into_iter().map(Block::fold).collect(), ..stage };
        Self { stages: self.stages.into_iter().map(fold).collect(), ..self }
    }
}

impl Stem {
    /// # Shapes
    ///
    /// `[B, 3, H, W]` → `[B, 96, H / 4, W / 4]` (rounded down).
    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.norm.forward(1, convolve(&self.conv, images))
    }
}

impl Stage {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, 2 * C, H / 2, W / 2]` (rounded down), the first stage `[B, C, H, W]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = match &self.downsample {
            Some(Downsample { norm, conv }) => convolve(conv, norm.forward(1, input)), // [B, 2C, H/2, W/2]
            None => input,
        };
        self.blocks.iter().fold(map, |map, block| block.forward(map))
    }
}

impl Block {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C, H, W]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = self.norm.forward(1, convolve(&self.conv, input.clone())); // [B, C, H, W]
        let map = project_channels(&self.expand, Activation::Gelu, map); // [B, 4*C, H, W]
        let map = project_channels(&self.project, Activation::Identity, map); // [B, C, H, W]
        let branch = match &self.layer_scale {
            Some(scale) => {
                let scale = scale.val().flatten::<1>(0, 2); // [C]
                let shift = scale.zeros_like();
                affine_activation(map, scale, shift, Activation::Identity) // [B, C, H, W]
            }
            None => map,
        };
        sum_activation(self.stochastic_depth.forward(branch), input, Activation::Identity)
    }

    /// Merges the scale of channels into the linear layer before it, and lays out both layers' weights for maps.
    fn fold(self) -> Self {
        let Self { expand, mut project, layer_scale, .. } = self;
        if let Some(scale) = layer_scale {
            let scale = scale.val().flatten::<1>(0, 2); // [C]
            project.weight = project.weight.map(|weight| weight * scale.clone().unsqueeze_dim(0)); // [4*C, C]
            project.bias = project.bias.map(|bias| bias.map(|bias| bias * scale));
        }
        let [expand, project] = [expand, project]
            .map(|linear| Linear { weight: linear.weight.map(column_after_column), bias: linear.bias });
        Self { expand, project, layer_scale: None, ..self }
    }
}

impl Backbone for ConvNeXt {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let map = match stage {
            0 => self.stem.forward(input), // [B, 96, H/4, W/4]
            _ => input,
        };
        self.stages[stage].forward(map) // [B, C_i, H/s_i, W/s_i]
    }

    fn stage_channels(&self) -> [usize; 4] {
        CHANNELS
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&ROUNDED_DOWN, image)
    }

    /// Blocks: `stem`, `stage1.0`, …, `downsample1`, `stage2.0`, …, `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        for (index, (part, stage)) in STAGES.into_iter().zip(&self.stages).enumerate() {
            let downsample = stage.downsample.iter();
            groups.extend(downsample.map(|module| ParameterGroup::block(part, format!("downsample{index}"), module)));
            groups.extend(ParameterGroup::blocks(part, part, &stage.blocks));
        }
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for ConvNeXt {
    fn num_classes(&self) -> Option<usize> {
        self.classifier.as_ref().map(|classifier| classifier.linear.weight.lazy_shape()[1])
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let Classifier { norm, linear } = self.classifier.as_ref().expect("the network has a classifier");
        let features = global_average_pool(self.forward_features(images)); // [B, 768]
        project(linear, Activation::Identity, norm.forward(1, features)) // [B, K]
    }

    /// `stages.1.blocks.0.expand.weight` → `features.3.0.block.3.weight`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        // Stage 0 is layer 1; the later ones come after a layer that reduces.
        let layer = |stage: &str| 2 * stage.parse::<usize>().unwrap_or_default();
        match parts[..] {
            ["stem", "conv", name] => format!("features.0.0.{name}"),
            ["stem", _, name] => format!("features.0.1.{name}"),
            ["stages", stage, "downsample", "norm", name] => format!("features.{}.0.{name}", layer(stage)),
            ["stages", stage, "downsample", _, name] => format!("features.{}.1.{name}", layer(stage)),
            ["stages", stage, "blocks", block, "layer_scale"] => {
                format!("features.{}.{block}.layer_scale", layer(stage) + 1)
            }
            ["stages", stage, "blocks", block, part, name] => {
                let place = match part {
                    "conv" => 0,
                    "norm" => 2,
                    "expand" => 3,
                    _ => 5,
                };
                format!("features.{}.{block}.block.{place}.{name}", layer(stage) + 1)
            }
            ["classifier", "norm", name] => format!("classifier.0.{name}"),
            ["classifier", _, name] => format!("classifier.2.{name}"),
            _ => path.to_string(),
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
        let network = ConvNeXtConfig::tiny().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "features.0.0.weight"),
            ("stem.norm.bias", "features.0.1.bias"),
            ("stages.0.blocks.2.conv.bias", "features.1.2.block.0.bias"),
            ("stages.1.downsample.norm.weight", "features.2.0.weight"),
            ("stages.1.downsample.conv.weight", "features.2.1.weight"),
            ("stages.2.blocks.8.layer_scale", "features.5.8.layer_scale"),
            ("stages.3.blocks.0.norm.bias", "features.7.0.block.2.bias"),
            ("stages.3.blocks.0.expand.weight", "features.7.0.block.3.weight"),
            ("stages.3.blocks.0.project.weight", "features.7.0.block.5.weight"),
            ("classifier.norm.weight", "classifier.0.weight"),
            ("classifier.linear.bias", "classifier.2.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
