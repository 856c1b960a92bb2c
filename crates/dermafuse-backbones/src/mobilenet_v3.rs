//! MobileNetV3: inverted residual blocks found by search, with squeeze-and-excitation and hard swish.
//!
//! Paper: Howard et al., 2019, <https://arxiv.org/abs/1905.02244>.
//! Source: torchvision `models/mobilenetv3.py`, width 1.0; code and ImageNet weights BSD-3-Clause.
//! Differences: none. The paper has no four stages; the cuts are the last maps of stride 4, 8 and 16 and the final map of
//! stride 32, i.e. torchvision's `features` 1, 3, 8 and 12 of the small network (16, 24, 48 and 576 channels), and 3, 6,
//! 12 and 16 of the large one (24, 40, 112 and 960).

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedDropout;

use crate::backbone::{Backbone, ParameterGroup, Pretrained, global_average_pool, stage_of};
use crate::layers::{
    Activation, ConvNormAct, ConvNormActConfig, InvertedResidual, InvertedResidualConfig, linear_without_offset,
    make_divisible, project,
};
use crate::stage_sides::{ROUNDED_UP, stage_sides};

/// One row of Tables 1 and 2 of the paper.
struct Row {
    kernel: usize,
    hidden: usize,
    channels: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
}

const fn row(
    kernel: usize,
    hidden: usize,
    channels: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
) -> Row {
    Row { kernel, hidden, channels, squeeze, activation, stride }
}

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::HardSwish;
/// Table 2 of the paper.
const SMALL: [Row; 11] = [
    row(3, 16, 16, true, RE, 2),
    row(3, 72, 24, false, RE, 2),
    row(3, 88, 24, false, RE, 1),
    row(5, 96, 40, true, HS, 2),
    row(5, 240, 40, true, HS, 1),
    row(5, 240, 40, true, HS, 1),
    row(5, 120, 48, true, HS, 1),
    row(5, 144, 48, true, HS, 1),
    row(5, 288, 96, true, HS, 2),
    row(5, 576, 96, true, HS, 1),
    row(5, 576, 96, true, HS, 1),
];
/// Table 1 of the paper.
const LARGE: [Row; 15] = [
    row(3, 16, 16, false, RE, 1),
    row(3, 64, 24, false, RE, 2),
    row(3, 72, 24, false, RE, 1),
    row(5, 72, 40, true, RE, 2),
    row(5, 120, 40, true, RE, 1),
    row(5, 120, 40, true, RE, 1),
    row(3, 240, 80, false, HS, 2),
    row(3, 200, 80, false, HS, 1),
    row(3, 184, 80, false, HS, 1),
    row(3, 184, 80, false, HS, 1),
    row(3, 480, 112, true, HS, 1),
    row(3, 672, 112, true, HS, 1),
    row(5, 672, 160, true, HS, 2),
    row(5, 960, 160, true, HS, 1),
    row(5, 960, 160, true, HS, 1),
];
const STEM_CHANNELS: usize = 16;
/// The last convolution multiplies the channels by this.
const LAST_FACTOR: usize = 6;
/// Epsilon and momentum of all normalizations.
const NORM: [f64; 2] = [0.001, 0.01];

/// One of the paper's two networks.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum MobileNetV3Size {
    /// 2.5 million parameters.
    Small,
    /// 5.5 million parameters.
    Large,
}

impl MobileNetV3Size {
    const fn rows(self) -> &'static [Row] {
        match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
        }
    }

    /// Number of blocks after which stages 1 to 3 end.
    const fn stage_ends(self) -> [usize; 3] {
        match self {
            Self::Small => [1, 3, 8],
            Self::Large => [3, 6, 12],
        }
    }

    /// Outputs of the classifier's first layer.
    const fn classifier_channels(self) -> usize {
        match self {
            Self::Small => 1024,
            Self::Large => 1280,
        }
    }
}

/// Creates a [`MobileNetV3`].
#[derive(Config, Debug)]
pub struct MobileNetV3Config {
    /// Which of the paper's networks.
    pub size: MobileNetV3Size,
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
    /// Probability of dropping an output of the classifier's first layer.
    #[config(default = 0.2)]
    pub dropout: f64,
}

/// Stem, inverted residual blocks, a 1×1 convolution, optional classifier of two linear layers.
///
/// Should be created using [`MobileNetV3Config`].
#[derive(Module, Debug)]
pub struct MobileNetV3 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    last: ConvNormAct,
    classifier: Option<Classifier>,
    #[module(skip)]
    size: MobileNetV3Size,
}

/// Linear → hard swish → dropout → linear.
#[derive(Module, Debug)]
struct Classifier {
    hidden: Linear,
    dropout: Dropout,
    output: Linear,
}

impl MobileNetV3Config {
    /// MobileNetV3-Small.
    pub fn small() -> Self {
        Self::new(MobileNetV3Size::Small)
    }

    /// MobileNetV3-Large.
    pub fn large() -> Self {
        Self::new(MobileNetV3Size::Large)
    }

    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> MobileNetV3 {
        let stem = layer([3, STEM_CHANNELS], 3).with_stride(2).init(device);

        let mut channels = STEM_CHANNELS;
        let mut blocks = Vec::new();
        for row in self.size.rows() {
            blocks.push(init_block(channels, row, device));
            channels = row.channels;
        }

        let last = layer([channels, LAST_FACTOR * channels], 1).init(device);
        let classifier = self.num_classes.map(|classes| {
            let (inputs, hidden) = (LAST_FACTOR * channels, self.size.classifier_channels());
            let normal = || Initializer::Normal { mean: 0.0, std: 0.01 };
            Classifier {
                hidden: linear_without_offset([inputs, hidden], normal(), device),
                dropout: DropoutConfig::new(self.dropout).init(),
                output: linear_without_offset([hidden, classes], normal(), device),
            }
        });
        MobileNetV3 { stem, blocks, last, classifier, size: self.size }
    }
}

fn layer(channels: [usize; 2], kernel: usize) -> ConvNormActConfig {
    let [epsilon, momentum] = NORM;
    ConvNormActConfig::new(channels, kernel).with_norm_epsilon(epsilon).with_norm_momentum(momentum).with_activation(HS)
}

fn init_block(channels_in: usize, row: &Row, device: &Device) -> InvertedResidual {
    let squeeze = row.squeeze.then(|| (make_divisible((row.hidden / 4) as f64), Activation::HardSigmoid));
    InvertedResidualConfig::new([channels_in, row.hidden, row.channels], row.kernel, row.stride, row.activation)
        .with_squeeze(squeeze)
        .with_norm(NORM)
        .init(device)
}

impl MobileNetV3 {
    /// The same network for prediction only, with each normalization merged into its convolution.
    pub fn fold_batch_norm(self) -> Self {
        let blocks = self.blocks.into_iter().map(InvertedResidual::fold).collect();
        Self { stem: self.stem.fold(), blocks, last: self.last.fold(), ..self }
    }
}

impl Backbone for MobileNetV3 {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let run = |blocks: &[InvertedResidual], map| blocks.iter().fold(map, |map, block| block.forward(map));
        let [first, second, third] = self.size.stage_ends();
        match stage {
            0 => run(&self.blocks[..first], self.stem.forward(input)), // [B, C_1, H/4, W/4]
            1 => run(&self.blocks[first..second], input),              // [B, C_2, H/8, W/8]
            2 => run(&self.blocks[second..third], input),              // [B, C_3, H/16, W/16]
            _ => self.last.forward(run(&self.blocks[third..], input)), // [B, C_4, H/32, W/32]
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        let rows = self.size.rows();
        let [first, second, third] = self.size.stage_ends().map(|end| rows[end - 1].channels);
        [first, second, third, LAST_FACTOR * rows[rows.len() - 1].channels]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&ROUNDED_UP, image)
    }

    /// Blocks: `stem`, `block0` … `block10` or `block14`, `last` (the 1×1 convolution), `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        let named = |(index, block)| {
            ParameterGroup::block(stage_of(index, self.size.stage_ends()), format!("block{index}"), block)
        };
        groups.extend(self.blocks.iter().enumerate().map(named));
        groups.push(ParameterGroup::block("stage4", "last", &self.last));
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for MobileNetV3 {
    fn num_classes(&self) -> Option<usize> {
        self.classifier.as_ref().map(|classifier| classifier.output.weight.lazy_shape()[1])
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let classifier = self.classifier.as_ref().expect("the network has a classifier");
        let features = global_average_pool(self.forward_features(images)); // [B, C]
        let hidden = project(&classifier.hidden, HS, features); // [B, 1024 or 1280]
        project(&classifier.output, Activation::Identity, classifier.dropout.forward_addressed(hidden)) // [B, K]
    }

    /// `blocks.3.squeeze.fc1.bias` → `features.4.block.2.fc1.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let index = |layer: &str| if layer == "norm" { 1 } else { 0 };
        match parts[..] {
            ["stem", layer, name] => format!("features.0.{}.{name}", index(layer)),
            ["last", layer, name] => format!("features.{}.{}.{name}", self.blocks.len() + 1, index(layer)),
            ["classifier", "hidden", name] => format!("classifier.0.{name}"),
            ["classifier", "output", name] => format!("classifier.3.{name}"),
            ["blocks", block, part, layer, name] => {
                let number = block.parse::<usize>().unwrap_or_default();
                match self.blocks.get(number) {
                    Some(block) => {
                        format!("features.{}.block.{}", number + 1, block.published_key(part, layer, name))
                    }
                    None => path.to_string(),
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
        let network = MobileNetV3Config::small().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "features.0.0.weight"),
            ("blocks.0.depthwise.conv.weight", "features.1.block.0.0.weight"),
            ("blocks.0.squeeze.fc2.weight", "features.1.block.1.fc2.weight"),
            ("blocks.1.project.norm.bias", "features.2.block.2.1.bias"),
            ("blocks.3.project.norm.bias", "features.4.block.3.1.bias"),
            ("last.norm.running_var", "features.12.1.running_var"),
            ("classifier.hidden.weight", "classifier.0.weight"),
            ("classifier.output.bias", "classifier.3.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
