//! MobileNetV2: inverted residual blocks, wide inside and thin between, on depthwise convolutions.
//!
//! Paper: Sandler et al., 2018, <https://arxiv.org/abs/1801.04381>.
//! Source: torchvision `models/mobilenetv2.py`, width 1.0; code and ImageNet weights BSD-3-Clause.
//! Differences: none. The paper has no four stages; the cuts are the last maps of stride 4, 8 and 16 (24, 32 and 96
//! channels) and the final map of stride 32 (1280 channels), i.e. torchvision's `features` 3, 6, 13 and 18.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedDropout;

use crate::backbone::{Backbone, ParameterGroup, Pretrained, global_average_pool, stage_of};
use crate::layers::{
    Activation, ConvNormAct, ConvNormActConfig, InvertedResidual, InvertedResidualConfig, classes_of,
    linear_without_offset, logits_of,
};
use crate::stage_sides::{ROUNDED_UP, stage_sides};

/// One row of Table 2 of the paper: expansion, output channels, repetitions, stride of the first.
const ROWS: [[usize; 4]; 7] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];
const STEM_CHANNELS: usize = 32;
const NUM_FEATURES: usize = 1280;
/// Number of blocks after which stages 1 to 3 end.
const STAGE_ENDS: [usize; 3] = [3, 6, 13];

/// Creates a [`MobileNetV2`].
#[derive(Config, Debug)]
pub struct MobileNetV2Config {
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
    /// Probability of dropping a pooled feature before the classifier.
    #[config(default = 0.2)]
    pub dropout: f64,
}

/// Stem, 17 inverted residual blocks, a 1×1 convolution to 1280 channels, optional classifier.
///
/// Should be created using [`MobileNetV2Config`].
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    last: ConvNormAct,
    dropout: Dropout,
    classifier: Option<Linear>,
}

impl MobileNetV2Config {
    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> MobileNetV2 {
        let stem = ConvNormActConfig::new([3, STEM_CHANNELS], 3)
            .with_stride(2)
            .with_activation(Activation::Relu6)
            .init(device);

        let mut channels = STEM_CHANNELS;
        let mut blocks = Vec::new();
        for [expansion, channels_out, repetitions, first_stride] in ROWS {
            for index in 0..repetitions {
                let stride = if index == 0 { first_stride } else { 1 };
                blocks.push(init_block([channels, channels_out], expansion, stride, device));
                channels = channels_out;
            }
        }

        let last = ConvNormActConfig::new([channels, NUM_FEATURES], 1).with_activation(Activation::Relu6).init(device);
        let dropout = DropoutConfig::new(self.dropout).init();
        let classifier = self.num_classes.map(|classes| init_classifier(classes, device));
        MobileNetV2 { stem, blocks, last, dropout, classifier }
    }
}

fn init_block(
    [channels_in, channels_out]: [usize; 2],
    expansion: usize,
    stride: usize,
    device: &Device,
) -> InvertedResidual {
    InvertedResidualConfig::new([channels_in, channels_in * expansion, channels_out], 3, stride, Activation::Relu6)
        .init(device)
}

/// Normal weights with deviation 0.01, zero biases.
fn init_classifier(classes: usize, device: &Device) -> Linear {
    linear_without_offset([NUM_FEATURES, classes], Initializer::Normal { mean: 0.0, std: 0.01 }, device)
}

impl MobileNetV2 {
    /// The same network for prediction only, with each normalization merged into its convolution.
    pub fn fold_batch_norm(self) -> Self {
        let blocks = self.blocks.into_iter().map(InvertedResidual::fold).collect();
        Self { stem: self.stem.fold(), blocks, last: self.last.fold(), ..self }
    }
}

impl Backbone for MobileNetV2 {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let run = |blocks: &[InvertedResidual], map| blocks.iter().fold(map, |map, block| block.forward(map));
        let [first, second, third] = STAGE_ENDS;
        match stage {
            0 => run(&self.blocks[..first], self.stem.forward(input)), // [B, 24, H/4, W/4]
            1 => run(&self.blocks[first..second], input),              // [B, 32, H/8, W/8]
            2 => run(&self.blocks[second..third], input),              // [B, 96, H/16, W/16]
            _ => self.last.forward(run(&self.blocks[third..], input)), // [B, 1280, H/32, W/32]
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        [24, 32, 96, NUM_FEATURES]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&ROUNDED_UP, image)
    }

    /// Blocks: `stem`, `block0` … `block16`, counted as Keras does (torchvision's `features.1` … `features.17`), `last` (the 1×1
    /// convolution), `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        let named = |(index, block)| ParameterGroup::block(stage_of(index, STAGE_ENDS), format!("block{index}"), block);
        groups.extend(self.blocks.iter().enumerate().map(named));
        groups.push(ParameterGroup::block("stage4", "last", &self.last));
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for MobileNetV2 {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.dropout.forward_addressed(global_average_pool(self.forward_features(images))); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `blocks.3.depthwise.norm.bias` → `features.4.conv.1.1.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let index = |layer: &str| if layer == "norm" { 1 } else { 0 };
        match parts[..] {
            ["stem", layer, name] => format!("features.0.{}.{name}", index(layer)),
            ["last", layer, name] => format!("features.18.{}.{name}", index(layer)),
            ["classifier", name] => format!("classifier.1.{name}"),
            ["blocks", block, part, layer, name] => {
                let block = block.parse::<usize>().unwrap_or_default();
                let place = self.blocks.get(block).map_or(0, |block| block.place(part));
                match part {
                    // Two layers of the block's sequence, not one of two.
                    "project" => format!("features.{}.conv.{}.{name}", block + 1, place + index(layer)),
                    _ => format!("features.{}.conv.{place}.{}.{name}", block + 1, index(layer)),
                }
            }
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
        let network = MobileNetV2Config::new().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "features.0.0.weight"),
            ("blocks.0.depthwise.conv.weight", "features.1.conv.0.0.weight"),
            ("blocks.0.project.conv.weight", "features.1.conv.1.weight"),
            ("blocks.0.project.norm.bias", "features.1.conv.2.bias"),
            ("blocks.3.expand.norm.weight", "features.4.conv.0.1.weight"),
            ("blocks.3.depthwise.norm.bias", "features.4.conv.1.1.bias"),
            ("blocks.3.project.norm.bias", "features.4.conv.3.bias"),
            ("last.norm.running_var", "features.18.1.running_var"),
            ("classifier.weight", "classifier.1.weight"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
