//! SqueezeNet: small maps squeezed by 1×1 convolutions before they are expanded.
//!
//! Paper: Iandola et al., 2016, <https://arxiv.org/abs/1602.07360>; version 1.1 is in the authors' repository,
//! <https://github.com/forresti/SqueezeNet/tree/master/SqueezeNet_v1.1>.
//! Source: torchvision `models/squeezenet.py`, version 1.1; code and ImageNet weights BSD-3-Clause.
//! Differences: none. The paper has no four stages; the cuts are the last maps of 128, 256, 384 and 512 channels, i.e.
//! torchvision's `features` 4, 7, 10 and 12, of which the last two have the same stride. There is no normalization.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use dermafuse_init::{AddressedDropout, AddressedInit};

use crate::backbone::{Backbone, ParameterGroup, Pretrained, STAGES, global_average_pool};
use crate::layers::{Activation, convolve_with};
use crate::stage_sides::{SQUEEZENET, stage_sides};

/// Output channels of the first convolution.
const STEM_CHANNELS: usize = 64;
/// Squeezed channels of the fire modules, and channels of each of their two expansions; two modules to a stage.
const FIRES: [[usize; 2]; 8] = [[16, 64], [16, 64], [32, 128], [32, 128], [48, 192], [48, 192], [64, 256], [64, 256]];
const FIRES_IN_STAGE: usize = 2;
/// The paper's number of the first fire module.
const FIRST_FIRE: usize = 2;
/// Position of each fire module among torchvision's `features`, which have pools between them.
const FIRE_PLACES: [usize; 8] = [3, 4, 6, 7, 9, 10, 11, 12];
/// Whether a pool comes before the stage.
const POOLED: [bool; 4] = [true, true, true, false];

/// Creates a [`SqueezeNet`].
#[derive(Config, Debug)]
pub struct SqueezeNetConfig {
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
    /// Probability of dropping a number of the last map before the classifier.
    #[config(default = 0.5)]
    pub dropout: f64,
}

/// Stem, four stages of two fire modules, optional classifier, which is a 1×1 convolution.
///
/// Should be created using [`SqueezeNetConfig`].
#[derive(Module, Debug)]
pub struct SqueezeNet {
    stem: Conv2d,
    pool: MaxPool2d,
    stages: Vec<Vec<Fire>>,
    dropout: Dropout,
    classifier: Option<Conv2d>,
}

/// 1×1 convolution, then a 1×1 and a 3×3 one side by side.
#[derive(Module, Debug)]
struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl SqueezeNetConfig {
    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> SqueezeNet {
        let stem = init_conv(Conv2dConfig::new([3, STEM_CHANNELS], [3, 3]).with_stride([2, 2]), None, device);
        let pool = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_ceil_mode(true).init();

        let mut channels = STEM_CHANNELS;
        let fires: Vec<Fire> = FIRES
            .into_iter()
            .map(|[squeezed, expanded]| {
                let fire = init_fire([channels, squeezed, expanded], device);
                channels = 2 * expanded;
                fire
            })
            .collect();
        let stages = fires.chunks(FIRES_IN_STAGE).map(<[Fire]>::to_vec).collect();

        let dropout = DropoutConfig::new(self.dropout).init();
        let classifier = self.num_classes.map(|classes| {
            let normal = Initializer::Normal { mean: 0.0, std: 0.01 };
            init_conv(Conv2dConfig::new([channels, classes], [1, 1]), Some(normal), device)
        });
        SqueezeNet { stem, pool, stages, dropout, classifier }
    }
}

fn init_fire([channels, squeezed, expanded]: [usize; 3], device: &Device) -> Fire {
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    Fire {
        squeeze: init_conv(Conv2dConfig::new([channels, squeezed], [1, 1]), None, device),
        expand1x1: init_conv(Conv2dConfig::new([squeezed, expanded], [1, 1]), None, device),
        expand3x3: init_conv(Conv2dConfig::new([squeezed, expanded], [3, 3]).with_padding(padding), None, device),
    }
}

/// By default uniform weights with variance 2 / fan-in; zero biases.
fn init_conv(config: Conv2dConfig, weights: Option<Initializer>, device: &Device) -> Conv2d {
    let he = Initializer::KaimingUniform { gain: 2.0_f64.sqrt(), fan_out_only: false };
    let [_, channels_out] = config.channels;
    let mut conv = config.with_initializer(weights.unwrap_or(he)).init_addressed(device);
    let zeros: Param<Tensor<1>> = Initializer::Zeros.init([channels_out], device);
    conv.bias = Some(zeros);
    conv
}

impl SqueezeNet {
    /// The network itself: it has no normalization.
    pub fn fold_batch_norm(self) -> Self {
        self
    }
}

impl Fire {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C', H, W]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let squeezed = convolve_with(&self.squeeze, Activation::Relu, input); // [B, S, H, W]
        let expand = |conv, map| convolve_with(conv, Activation::Relu, map);
        Tensor::cat(vec![expand(&self.expand1x1, squeezed.clone()), expand(&self.expand3x3, squeezed)], 1)
    }
}

impl Backbone for SqueezeNet {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let map = match stage {
            0 => convolve_with(&self.stem, Activation::Relu, input), // [B, 64, H/2, W/2]
            _ => input,
        };
        let map = match POOLED[stage] {
            true => self.pool.forward(map), // [B, C, H/s_i, W/s_i]
            false => map,
        };
        self.stages[stage].iter().fold(map, |map, fire| fire.forward(map)) // [B, C_i, H/s_i, W/s_i]
    }

    fn stage_channels(&self) -> [usize; 4] {
        [128, 256, 384, 512]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 16]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&SQUEEZENET, image)
    }

    /// Blocks: `stem`, `fire2` … `fire9` as in the paper, `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        let mut number = FIRST_FIRE;
        for (part, fires) in STAGES.into_iter().zip(&self.stages) {
            for fire in fires {
                groups.push(ParameterGroup::block(part, format!("fire{number}"), fire));
                number += 1;
            }
        }
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for SqueezeNet {
    fn num_classes(&self) -> Option<usize> {
        self.classifier.as_ref().map(|conv| conv.weight.lazy_shape()[0])
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let classifier = self.classifier.as_ref().expect("the network has a classifier");
        let map = self.dropout.forward_addressed(self.forward_features(images)); // [B, 512, H/16, W/16]
        let map = convolve_with(classifier, Activation::Relu, map); // [B, K, H/16, W/16]
        global_average_pool(map) // [B, K]
    }

    /// `stages.1.0.expand3x3.bias` → `features.6.expand3x3.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let number = |index: &str| index.parse::<usize>().unwrap_or_default();
        match parts[..] {
            ["stem", name] => format!("features.0.{name}"),
            ["classifier", name] => format!("classifier.1.{name}"),
            ["stages", stage, fire, conv, name] => {
                let fire = FIRES_IN_STAGE * number(stage) + number(fire);
                match FIRE_PLACES.get(fire) {
                    Some(place) => format!("features.{place}.{conv}.{name}"),
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
        let network = SqueezeNetConfig::new().init(&Device::flex());
        for (path, key) in [
            ("stem.weight", "features.0.weight"),
            ("stages.0.0.squeeze.weight", "features.3.squeeze.weight"),
            ("stages.1.1.expand1x1.bias", "features.7.expand1x1.bias"),
            ("stages.3.1.expand3x3.weight", "features.12.expand3x3.weight"),
            ("classifier.bias", "classifier.1.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
