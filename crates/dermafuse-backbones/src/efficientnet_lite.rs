//! EfficientNet-Lite: EfficientNet for small machines, without squeeze-and-excitation and with ReLU6.
//!
//! Paper: none; announced by Google in 2020, <https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html>,
//! after Tan and Le, 2019, <https://arxiv.org/abs/1905.11946>.
//! Source: TensorFlow's `tpu/models/official/efficientnet/lite`, and timm's `tf_efficientnet_lite0` … `4`, whose names the tensors
//! have; those of the package `efficientnet-lite-pytorch` are read too. Code and ImageNet weights Apache-2.0.
//! Differences: first weights are drawn as torchvision's EfficientNet draws them. The stages end where EfficientNet's do. Padding follows
//! from the size of each map, as in TensorFlow and timm; that package pads as the published size needs, so Lite1 to Lite4 give other numbers
//! there for images of other sizes.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedDropout;

use crate::backbone::{Backbone, ParameterGroup, Pretrained, global_average_pool, stage_of};
use crate::efficientnet::{ROWS, STAGE_ENDS, STEM_CHANNELS};
use crate::layers::{
    Activation, ConvNormAct, ConvNormActConfig, InvertedResidual, InvertedResidualConfig, Padding, classes_of,
    linear_without_offset, logits_of, make_divisible,
};
use crate::stage_sides::{ROUNDED_UP, stage_sides};

/// Channels of the last map, whatever the width.
const NUM_FEATURES: usize = 1280;
/// Epsilon and momentum of TensorFlow's normalizations.
const NORM: [f64; 2] = [1e-3, 0.01];

/// Creates an [`EfficientNetLite`].
#[derive(Config, Debug)]
pub struct EfficientNetLiteConfig {
    /// Factor of the channels of the seven rows, which are then rounded to multiples of 8. Stem and last map stay.
    pub width: f64,
    /// Factor of the repetitions of the five rows between the first and the last, which are then rounded up.
    pub depth: f64,
    /// Probability of dropping a pooled feature before the classifier.
    pub dropout: f64,
    /// Probability that training leaves out the branch of the last block; it grows linearly from none at the first.
    #[config(default = 0.2)]
    pub stochastic_depth: f64,
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
}

/// Stem, seven rows of inverted residual blocks, a 1×1 convolution, optional classifier; padded as in TensorFlow.
///
/// Should be created using [`EfficientNetLiteConfig`].
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    stem: ConvNormAct,
    rows: Vec<Vec<InvertedResidual>>,
    last: ConvNormAct,
    dropout: Dropout,
    classifier: Option<Linear>,
    #[module(skip)]
    stage_channels: [usize; 4],
}

impl EfficientNetLiteConfig {
    /// EfficientNet-Lite0, for images of 224 pixels.
    pub fn lite0() -> Self {
        Self::new(1.0, 1.0, 0.2)
    }

    /// EfficientNet-Lite1, for images of 240 pixels.
    pub fn lite1() -> Self {
        Self::new(1.0, 1.1, 0.2)
    }

    /// EfficientNet-Lite2, for images of 260 pixels.
    pub fn lite2() -> Self {
        Self::new(1.1, 1.2, 0.3)
    }

    /// EfficientNet-Lite3, for images of 280 pixels.
    pub fn lite3() -> Self {
        Self::new(1.2, 1.4, 0.3)
    }

    /// EfficientNet-Lite4, for images of 300 pixels.
    pub fn lite4() -> Self {
        Self::new(1.4, 1.8, 0.3)
    }

    /// Initializes the network.
    pub fn init(&self, device: &Device) -> EfficientNetLite {
        let [epsilon, momentum] = NORM;
        let layer = |channels, kernel| {
            let layer = ConvNormActConfig::new(channels, kernel).with_activation(Activation::Relu6);
            layer.with_norm_epsilon(epsilon).with_norm_momentum(momentum)
        };
        let mut channels = STEM_CHANNELS;
        let stem = layer([3, channels], 3).with_stride(2).with_padding(Padding::Same).init(device);

        let repetitions: Vec<usize> =
            ROWS.iter().enumerate().map(|(row, settings)| self.repetitions(row, settings)).collect();
        let count = repetitions.iter().sum::<usize>() as f64;
        let mut number = 0.0;
        let mut rows = Vec::with_capacity(ROWS.len());
        for ([expansion, kernel, first_stride, channels_out, _], repetitions) in ROWS.into_iter().zip(repetitions) {
            let channels_out = self.channels(channels_out);
            let mut row = Vec::with_capacity(repetitions);
            for index in 0..repetitions {
                let stride = if index == 0 { first_stride } else { 1 };
                let sizes = [channels, channels * expansion, channels_out];
                let block = InvertedResidualConfig::new(sizes, kernel, stride, Activation::Relu6)
                    .with_padding(Padding::Same)
                    .with_norm(NORM)
                    .with_stochastic_depth(self.stochastic_depth * number / count);
                row.push(block.init(device));
                channels = channels_out;
                number += 1.0;
            }
            rows.push(row);
        }

        let last = layer([channels, NUM_FEATURES], 1).init(device);
        let dropout = DropoutConfig::new(self.dropout).init();
        let classifier = self.num_classes.map(|classes| {
            let bound = 1.0 / (classes as f64).sqrt();
            linear_without_offset([NUM_FEATURES, classes], Initializer::Uniform { min: -bound, max: bound }, device)
        });
        let [first, second, third] = STAGE_ENDS.map(|end| self.channels(ROWS[end - 1][3]));
        EfficientNetLite { stem, rows, last, dropout, classifier, stage_channels: [first, second, third, NUM_FEATURES] }
    }

    fn channels(&self, unscaled: usize) -> usize {
        make_divisible(unscaled as f64 * self.width)
    }

    fn repetitions(&self, row: usize, [.., unscaled]: &[usize; 5]) -> usize {
        match row {
            row if row == 0 || row + 1 == ROWS.len() => *unscaled,
            _ => (*unscaled as f64 * self.depth).ceil() as usize,
        }
    }
}

impl EfficientNetLite {
    /// The same network for prediction only, with each normalization merged into its convolution.
    pub fn fold_batch_norm(self) -> Self {
        let fold_row = |row: Vec<InvertedResidual>| row.into_iter().map(InvertedResidual::fold).collect();
        let rows = self.rows.into_iter().map(fold_row).collect();
        Self { stem: self.stem.fold(), rows, last: self.last.fold(), ..self }
    }

    /// The row and the place in it of a block that is counted through all rows.
    fn place(&self, mut block: usize) -> Option<(usize, usize)> {
        for (row, blocks) in self.rows.iter().enumerate() {
            if block < blocks.len() {
                return Some((row, block));
            }
            block -= blocks.len();
        }
        None
    }

    /// `1.0.expand.norm.bias` → `blocks.1.0.bn1.bias`.
    fn block_key(&self, row: usize, index: usize, part: &str, layer: &str, name: &str) -> Option<String> {
        let block = self.rows.get(row)?.get(index)?;
        let convolution = match part {
            "expand" => "conv_pw",
            "depthwise" => "conv_dw",
            // A block without expansion has one 1×1 convolution, and no need to tell two apart.
            _ if block.place("depthwise") == 0 => "conv_pw",
            _ => "conv_pwl",
        };
        let layer = match layer {
            "conv" => convolution.to_owned(),
            _ => format!("bn{}", block.place(part) + 1),
        };
        Some(format!("blocks.{row}.{index}.{layer}.{name}"))
    }
}

impl Backbone for EfficientNetLite {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let run = |rows: &[Vec<InvertedResidual>], map| {
            rows.iter().flatten().fold(map, |map, block: &InvertedResidual| block.forward(map))
        };
        let [first, second, third] = STAGE_ENDS;
        match stage {
            0 => run(&self.rows[..first], self.stem.forward(input)), // [B, C_1, H/4, W/4]
            1 => run(&self.rows[first..second], input),              // [B, C_2, H/8, W/8]
            2 => run(&self.rows[second..third], input),              // [B, C_3, H/16, W/16]
            _ => self.last.forward(run(&self.rows[third..], input)), // [B, C_4, H/32, W/32]
        }
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

    /// Blocks: as those of [`EfficientNet`](crate::EfficientNet), `stem`, `mbconv1.0` … `mbconv7.0`, `last`, `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        for (row, blocks) in self.rows.iter().enumerate() {
            groups.extend(ParameterGroup::blocks(stage_of(row, STAGE_ENDS), &format!("mbconv{}", row + 1), blocks));
        }
        groups.push(ParameterGroup::block("stage4", "last", &self.last));
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for EfficientNetLite {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.dropout.forward_addressed(global_average_pool(self.forward_features(images))); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `rows.3.0.project.norm.bias` → `blocks.3.0.bn3.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let number = |text: &str| text.parse::<usize>().unwrap_or(usize::MAX);
        match parts[..] {
            ["stem", "conv", name] => format!("conv_stem.{name}"),
            ["stem", _, name] => format!("bn1.{name}"),
            ["last", "conv", name] => format!("conv_head.{name}"),
            ["last", _, name] => format!("bn2.{name}"),
            ["rows", row, index, part, layer, name] => {
                let key = self.block_key(number(row), number(index), part, layer, name);
                key.unwrap_or_else(|| path.to_owned())
            }
            _ => path.to_owned(),
        }
    }

    /// Names of the package `efficientnet-lite-pytorch`: `_blocks.4._project_conv.weight` → `blocks.2.1.conv_pwl.weight`.
    fn modern_key(&self, key: &str) -> String {
        let parts: Vec<&str> = key.split('.').collect();
        let modern = match parts[..] {
            ["_conv_stem", name] => Some(format!("conv_stem.{name}")),
            ["_bn0", name] => Some(format!("bn1.{name}")),
            ["_conv_head", name] => Some(format!("conv_head.{name}")),
            ["_bn1", name] => Some(format!("bn2.{name}")),
            ["_fc", name] => Some(format!("classifier.{name}")),
            ["_blocks", block, layer, name] => {
                let (part, kind) = match layer {
                    "_expand_conv" => ("expand", "conv"),
                    "_bn0" => ("expand", "norm"),
                    "_depthwise_conv" => ("depthwise", "conv"),
                    "_bn1" => ("depthwise", "norm"),
                    "_project_conv" => ("project", "conv"),
                    "_bn2" => ("project", "norm"),
                    _ => return key.to_owned(),
                };
                let place = block.parse().ok().and_then(|block| self.place(block));
                place.and_then(|(row, index)| self.block_key(row, index, part, kind, name))
            }
            _ => None,
        };
        modern.unwrap_or_else(|| key.to_owned())
    }

    fn classifier_prefix(&self) -> &'static str {
        "classifier."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_follow_timm() {
        let network = EfficientNetLiteConfig::lite0().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "conv_stem.weight"),
            ("stem.norm.running_var", "bn1.running_var"),
            ("rows.0.0.depthwise.conv.weight", "blocks.0.0.conv_dw.weight"),
            ("rows.0.0.project.conv.weight", "blocks.0.0.conv_pw.weight"),
            ("rows.0.0.project.norm.bias", "blocks.0.0.bn2.bias"),
            ("rows.3.2.expand.conv.weight", "blocks.3.2.conv_pw.weight"),
            ("rows.3.2.project.conv.weight", "blocks.3.2.conv_pwl.weight"),
            ("rows.3.2.project.norm.weight", "blocks.3.2.bn3.weight"),
            ("last.norm.running_mean", "bn2.running_mean"),
            ("classifier.weight", "classifier.weight"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }

    #[test]
    fn names_of_the_other_package_are_translated() {
        let network = EfficientNetLiteConfig::lite0().init(&Device::flex());
        for (key, modern) in [
            ("_conv_stem.weight", "conv_stem.weight"),
            ("_bn0.running_mean", "bn1.running_mean"),
            ("_bn1.weight", "bn2.weight"),
            ("_fc.bias", "classifier.bias"),
            ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
            ("_blocks.0._bn1.bias", "blocks.0.0.bn1.bias"),
            ("_blocks.4._project_conv.weight", "blocks.2.1.conv_pwl.weight"),
            ("_blocks.15._bn2.weight", "blocks.6.0.bn3.weight"),
            ("_blocks.16._bn2.weight", "_blocks.16._bn2.weight"),
            ("conv_stem.weight", "conv_stem.weight"),
        ] {
            assert_eq!(network.modern_key(key), modern);
        }
    }

    #[test]
    fn first_and_last_rows_are_not_repeated() {
        let depths =
            |config: EfficientNetLiteConfig| config.init(&Device::flex()).rows.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(depths(EfficientNetLiteConfig::lite0()), [1, 2, 2, 3, 3, 4, 1]);
        assert_eq!(depths(EfficientNetLiteConfig::lite2()), [1, 3, 3, 4, 4, 5, 1]);
        assert_eq!(depths(EfficientNetLiteConfig::lite4()), [1, 4, 4, 6, 6, 8, 1]);
    }
}
