//! EfficientNet: one searched network, scaled in width, depth and resolution together.
//!
//! Paper: Tan and Le, 2019, <https://arxiv.org/abs/1905.11946>.
//! Source: torchvision `models/efficientnet.py`; code BSD-3-Clause. torchvision's ImageNet weights are those of timm
//! (Apache-2.0), ported.
//! Differences: none. The paper has no four stages; the cuts are the last maps of stride 4, 8 and 16 and the final map of
//! stride 32, i.e. torchvision's `features` 2, 3, 5 and 8 (24, 40, 112 and 1280 channels in B0).

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedDropout;

use crate::backbone::{Backbone, ParameterGroup, Pretrained, global_average_pool, stage_of};
use crate::layers::{
    Activation, ConvNormAct, ConvNormActConfig, InvertedResidual, InvertedResidualConfig, classes_of,
    linear_without_offset, logits_of, make_divisible,
};
use crate::stage_sides::{ROUNDED_UP, stage_sides};

/// Table 1 of the paper: expansion, kernel, stride of the first, output channels, repetitions; at scale 1.
pub(crate) const ROWS: [[usize; 5]; 7] = [
    [1, 3, 1, 16, 1],
    [6, 3, 2, 24, 2],
    [6, 5, 2, 40, 2],
    [6, 3, 2, 80, 3],
    [6, 5, 1, 112, 3],
    [6, 5, 2, 192, 4],
    [6, 3, 1, 320, 1],
];
const SILU: Activation = Activation::Silu;
pub(crate) const STEM_CHANNELS: usize = 32;
/// The last convolution multiplies the channels by this.
const LAST_FACTOR: usize = 4;
/// Number of rows after which stages 1 to 3 end.
pub(crate) const STAGE_ENDS: [usize; 3] = [2, 3, 5];

/// Creates an [`EfficientNet`].
#[derive(Config, Debug)]
pub struct EfficientNetConfig {
    /// Factor of all channel numbers, which are then rounded to multiples of 8.
    pub width: f64,
    /// Factor of all repetitions, which are then rounded up.
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

/// Stem, seven rows of inverted residual blocks, a 1×1 convolution, optional classifier.
///
/// Should be created using [`EfficientNetConfig`].
#[derive(Module, Debug)]
pub struct EfficientNet {
    stem: ConvNormAct,
    rows: Vec<Vec<InvertedResidual>>,
    last: ConvNormAct,
    dropout: Dropout,
    classifier: Option<Linear>,
    #[module(skip)]
    stage_channels: [usize; 4],
}

impl EfficientNetConfig {
    /// EfficientNet-B0, for images of 224 pixels.
    pub fn b0() -> Self {
        Self::new(1.0, 1.0, 0.2)
    }

    /// EfficientNet-B1, for images of 240 pixels.
    pub fn b1() -> Self {
        Self::new(1.0, 1.1, 0.2)
    }

    /// EfficientNet-B2, for images of 288 pixels.
    pub fn b2() -> Self {
        Self::new(1.1, 1.2, 0.3)
    }

    /// EfficientNet-B3, for images of 300 pixels.
    pub fn b3() -> Self {
        Self::new(1.2, 1.4, 0.3)
    }

    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> EfficientNet {
        let mut channels = self.channels(STEM_CHANNELS);
        let stem = ConvNormActConfig::new([3, channels], 3).with_stride(2).with_activation(SILU).init(device);

        let repetitions = ROWS.map(|[.., repetitions]| (repetitions as f64 * self.depth).ceil() as usize);
        let count = repetitions.iter().sum::<usize>() as f64;
        let mut number = 0.0;
        let mut rows = Vec::with_capacity(ROWS.len());
        for ([expansion, kernel, first_stride, channels_out, _], repetitions) in ROWS.into_iter().zip(repetitions) {
            let channels_out = self.channels(channels_out);
            let mut row = Vec::with_capacity(repetitions);
            for index in 0..repetitions {
                let stride = if index == 0 { first_stride } else { 1 };
                let stochastic_depth = self.stochastic_depth * number / count;
                let block =
                    InvertedResidualConfig::new([channels, channels * expansion, channels_out], kernel, stride, SILU)
                        .with_squeeze(Some((channels / 4, Activation::Sigmoid)))
                        .with_squeeze_activation(SILU)
                        .with_stochastic_depth(stochastic_depth);
                row.push(block.init(device));
                channels = channels_out;
                number += 1.0;
            }
            rows.push(row);
        }

        let num_features = LAST_FACTOR * channels;
        let last = ConvNormActConfig::new([channels, num_features], 1).with_activation(SILU).init(device);
        let dropout = DropoutConfig::new(self.dropout).init();
        let classifier = self.num_classes.map(|classes| {
            let bound = 1.0 / (classes as f64).sqrt();
            linear_without_offset([num_features, classes], Initializer::Uniform { min: -bound, max: bound }, device)
        });
        let [first, second, third] = STAGE_ENDS.map(|end| self.channels(ROWS[end - 1][3]));
        EfficientNet { stem, rows, last, dropout, classifier, stage_channels: [first, second, third, num_features] }
    }

    fn channels(&self, unscaled: usize) -> usize {
        make_divisible(unscaled as f64 * self.width)
    }
}

impl EfficientNet {
    /// The same network for prediction only, with each normalization merged into its convolution.
    pub fn fold_batch_norm(self) -> Self {
        let fold_row = |row: Vec<InvertedResidual>| row.into_iter().map(InvertedResidual::fold).collect();
        let rows = self.rows.into_iter().map(fold_row).collect();
        Self { stem: self.stem.fold(), rows, last: self.last.fold(), ..self }
    }
}

impl Backbone for EfficientNet {
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

    /// Blocks: `stem`, `mbconv1.0` … `mbconv7.1` (row 7 of Table 1, its second block), `last` (the 1×1 convolution), `classifier`.
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

impl Pretrained for EfficientNet {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.dropout.forward_addressed(global_average_pool(self.forward_features(images))); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `rows.3.0.squeeze.fc1.bias` → `features.4.0.block.2.fc1.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let index = |layer: &str| if layer == "norm" { 1 } else { 0 };
        match parts[..] {
            ["stem", layer, name] => format!("features.0.{}.{name}", index(layer)),
            ["last", layer, name] => format!("features.{}.{}.{name}", ROWS.len() + 1, index(layer)),
            ["classifier", name] => format!("classifier.1.{name}"),
            ["rows", row, block, part, layer, name] => {
                let number = row.parse::<usize>().unwrap_or_default();
                let found = block.parse::<usize>().ok().and_then(|block| self.rows.get(number)?.get(block));
                match found {
                    Some(found) => {
                        let key = found.published_key(part, layer, name);
                        format!("features.{}.{block}.block.{key}", number + 1)
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
        let network = EfficientNetConfig::b0().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "features.0.0.weight"),
            ("rows.0.0.depthwise.conv.weight", "features.1.0.block.0.0.weight"),
            ("rows.0.0.project.norm.bias", "features.1.0.block.2.1.bias"),
            ("rows.3.2.squeeze.fc1.bias", "features.4.2.block.2.fc1.bias"),
            ("last.norm.running_var", "features.8.1.running_var"),
            ("classifier.weight", "classifier.1.weight"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }

    #[test]
    fn scaling_gives_the_published_depths() {
        let depths =
            |config: EfficientNetConfig| config.init(&Device::flex()).rows.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(depths(EfficientNetConfig::b0()), [1, 2, 2, 3, 3, 4, 1]);
        assert_eq!(depths(EfficientNetConfig::b1()), [2, 3, 3, 4, 4, 5, 2]);
        assert_eq!(depths(EfficientNetConfig::b3()), [2, 3, 3, 5, 5, 6, 2]);
    }
}
