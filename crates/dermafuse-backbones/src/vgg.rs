//! VGG-16: thirteen 3×3 convolutions and three linear layers.
//!
//! Paper: Simonyan and Zisserman, 2014, <https://arxiv.org/abs/1409.1556>.
//! Source: torchvision `models/vgg.py`, `vgg16`; code and ImageNet weights BSD-3-Clause.
//! Differences: none. The paper has five blocks, each followed by a pool; the stem is the first with its pool, the stages
//! are the other four with theirs, i.e. torchvision's `features` 9, 16, 23 and 30. There is no normalization.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, PaddingConfig2d};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
use dermafuse_init::{AddressedDropout, AddressedInit};

use crate::backbone::{Backbone, ParameterGroup, Pretrained, STAGES};
use crate::layers::{Activation, convolve_with, linear_without_offset, project};
use crate::stage_sides::{ROUNDED_DOWN, stage_sides};

/// Column D of Table 1 of the paper: channels and number of the convolutions of each block.
const BLOCKS: [[usize; 2]; 5] = [[64, 2], [128, 2], [256, 3], [512, 3], [512, 3]];
/// Side of the map that the classifier flattens.
const POOLED_SIZE: usize = 7;
const HIDDEN: usize = 4096;

/// Creates a [`Vgg16`].
#[derive(Config, Debug)]
pub struct Vgg16Config {
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
    /// Probability of dropping an output of the classifier's first two layers.
    #[config(default = 0.5)]
    pub dropout: f64,
}

/// Five blocks of convolutions, optional classifier on a map of 7×7.
///
/// Should be created using [`Vgg16Config`].
#[derive(Module, Debug)]
pub struct Vgg16 {
    blocks: Vec<Vec<Conv2d>>,
    pool: MaxPool2d,
    classifier: Option<Classifier>,
}

/// Linear → ReLU → dropout, twice, then linear.
#[derive(Module, Debug)]
struct Classifier {
    hidden: Vec<Linear>,
    dropout: Dropout,
    output: Linear,
}

impl Vgg16Config {
    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> Vgg16 {
        let mut channels = 3;
        let mut blocks = Vec::with_capacity(BLOCKS.len());
        for [channels_out, count] in BLOCKS {
            let mut block = Vec::with_capacity(count);
            for _ in 0..count {
                block.push(init_conv([channels, channels_out], device));
                channels = channels_out;
            }
            blocks.push(block);
        }

        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        let classifier = self.num_classes.map(|classes| {
            let linear = |sizes| linear_without_offset(sizes, Initializer::Normal { mean: 0.0, std: 0.01 }, device);
            let hidden = [[channels * POOLED_SIZE * POOLED_SIZE, HIDDEN], [HIDDEN, HIDDEN]].map(linear).into();
            let output = linear([HIDDEN, classes]);
            Classifier { hidden, dropout: DropoutConfig::new(self.dropout).init(), output }
        });
        Vgg16 { blocks, pool, classifier }
    }
}

/// Normal weights with variance 2 / fan-out, zero biases.
fn init_conv([channels_in, channels_out]: [usize; 2], device: &Device) -> Conv2d {
    let initializer = Initializer::Normal { mean: 0.0, std: (2.0 / (9 * channels_out) as f64).sqrt() };
    let mut conv = Conv2dConfig::new([channels_in, channels_out], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_initializer(initializer)
        .init_addressed(device);
    let zeros: Param<Tensor<1>> = Initializer::Zeros.init([channels_out], device);
    conv.bias = Some(zeros);
    conv
}

impl Vgg16 {
    /// The network itself: it has no normalization.
    pub fn fold_batch_norm(self) -> Self {
        self
    }
}

impl Classifier {
    /// # Shapes
    ///
    /// `[B, 512, H, W]` → `[B, K]`.
    fn forward(&self, map: Tensor<4>) -> Tensor<2> {
        let map = adaptive_avg_pool2d(map, [POOLED_SIZE, POOLED_SIZE]); // [B, 512, 7, 7]
        let features = map.flatten(1, 3); // [B, 25088]
        let hidden = self.hidden.iter().fold(features, |features, linear| {
            self.dropout.forward_addressed(project(linear, Activation::Relu, features)) // [B, 4096]
        });
        project(&self.output, Activation::Identity, hidden) // [B, K]
    }
}

impl Backbone for Vgg16 {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let run = |block: &Vec<Conv2d>, map| {
            let map = block.iter().fold(map, |map, conv| convolve_with(conv, Activation::Relu, map)); // [B, C_i, H, W]
            self.pool.forward(map) // [B, C_i, H/2, W/2]
        };
        let map = match stage {
            0 => run(&self.blocks[0], input), // [B, 64, H/2, W/2]
            _ => input,
        };
        run(&self.blocks[stage + 1], map) // [B, C_i, H/s_i, W/s_i]
    }

    fn stage_channels(&self) -> [usize; 4] {
        [128, 256, 512, 512]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&ROUNDED_DOWN, image)
    }

    /// Blocks: the convolutions, `block1.0` … `block5.2`, and `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let parts = ["stem"].into_iter().chain(STAGES);
        let mut groups = Vec::new();
        for (index, (part, convolutions)) in parts.zip(&self.blocks).enumerate() {
            groups.extend(ParameterGroup::blocks(part, &format!("block{}", index + 1), convolutions));
        }
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for Vgg16 {
    fn num_classes(&self) -> Option<usize> {
        self.classifier.as_ref().map(|classifier| classifier.output.weight.lazy_shape()[1])
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let classifier = self.classifier.as_ref().expect("the network has a classifier");
        classifier.forward(self.forward_features(images)) // [B, K]
    }

    /// `blocks.2.0.bias` → `features.10.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let number = |index: &str| index.parse::<usize>().unwrap_or_default();
        match parts[..] {
            ["blocks", block, conv, name] => {
                // Each convolution is followed by a ReLU, each block by a pool.
                let before: usize = BLOCKS.iter().take(number(block)).map(|[_, count]| 2 * count + 1).sum();
                format!("features.{}.{name}", before + 2 * number(conv))
            }
            // Each linear layer is followed by a ReLU and dropout.
            ["classifier", "hidden", layer, name] => format!("classifier.{}.{name}", 3 * number(layer)),
            ["classifier", "output", name] => format!("classifier.6.{name}"),
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
        let network = Vgg16Config::new().init(&Device::flex());
        for (path, key) in [
            ("blocks.0.0.weight", "features.0.weight"),
            ("blocks.0.1.bias", "features.2.bias"),
            ("blocks.2.0.bias", "features.10.bias"),
            ("blocks.4.2.weight", "features.28.weight"),
            ("classifier.hidden.1.weight", "classifier.3.weight"),
            ("classifier.output.bias", "classifier.6.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
