//! The closed list of built-in backbones, and one module type that holds any of them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, ParameterGroup, Pretrained};
use crate::error::BackboneError;
use crate::mobilenet_v2::{MobileNetV2, MobileNetV2Config};
use crate::resnet::{ResNet, ResNetConfig};
use crate::weights::{LoadOptions, load_weights, save_weights};

/// A built-in architecture; as text (and in files) by its torchvision name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BackboneKind {
    /// ResNet-18.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-18 with a quarter of its channels; no published weights. For quick trials, small machines and tests.
    #[serde(rename = "resnet18_quarter")]
    ResNet18Quarter,
    /// ResNet-34.
    #[serde(rename = "resnet34")]
    ResNet34,
    /// ResNet-50, stride in the 3×3 convolution.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// MobileNetV2, width 1.0.
    #[serde(rename = "mobilenet_v2")]
    MobileNetV2,
}

/// What happens to an image before the network, fixed when its weights were trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Height and width of the network's input, in pixels.
    pub size: usize,
    /// Mean of red, green and blue in images scaled to 0…1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
}

impl Preprocess {
    /// What torchvision's ImageNet weights expect.
    pub const IMAGENET: Self = Self { size: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
}

/// What is known about an architecture without building it.
struct Facts {
    name: &'static str,
    num_features: usize,
    /// Trainable parameters with the classifier of 1000 classes, as torchvision publishes them.
    num_params: usize,
    preprocess: Preprocess,
}

impl BackboneKind {
    /// All built-in architectures.
    pub const ALL: [Self; 5] =
        [Self::ResNet18, Self::ResNet18Quarter, Self::ResNet34, Self::ResNet50, Self::MobileNetV2];

    const fn facts(self) -> Facts {
        let (name, num_features, num_params) = match self {
            Self::ResNet18 => ("resnet18", 512, 11_689_512),
            Self::ResNet18Quarter => ("resnet18_quarter", 128, 831_096),
            Self::ResNet34 => ("resnet34", 512, 21_797_672),
            Self::ResNet50 => ("resnet50", 2048, 25_557_032),
            Self::MobileNetV2 => ("mobilenet_v2", 1280, 3_504_872),
        };
        Facts { name, num_features, num_params, preprocess: Preprocess::IMAGENET }
    }

    /// The torchvision name, e.g. `resnet50`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Channels of the last feature map.
    pub const fn num_features(self) -> usize {
        self.facts().num_features
    }

    /// Trainable parameters as torchvision counts them, with the classifier of 1000 classes.
    pub const fn num_params(self) -> usize {
        self.facts().num_params
    }

    /// Trainable parameters without the classifier.
    pub const fn num_params_without_classifier(self) -> usize {
        self.num_params() - 1000 * (self.num_features() + 1)
    }

    /// The preprocessing of the published weights.
    pub const fn preprocess(self) -> Preprocess {
        self.facts().preprocess
    }

    /// Initializes the network with random weights, drawn from the device's generator; with `num_classes`, it has
    /// torchvision's classifier.
    pub fn init(&self, num_classes: Option<usize>, device: &Device) -> AnyBackbone {
        let resnet = |config: ResNetConfig| AnyBackbone::ResNet(config.with_num_classes(num_classes).init(device));
        match self {
            Self::ResNet18 => resnet(ResNetConfig::resnet18()),
            Self::ResNet18Quarter => resnet(ResNetConfig::resnet18_quarter()),
            Self::ResNet34 => resnet(ResNetConfig::resnet34()),
            Self::ResNet50 => resnet(ResNetConfig::resnet50()),
            Self::MobileNetV2 => {
                let config = MobileNetV2Config::new().with_num_classes(num_classes);
                AnyBackbone::MobileNetV2(config.init(device))
            }
        }
    }
}

impl fmt::Display for BackboneKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for BackboneKind {
    type Err = BackboneError;

    fn from_str(name: &str) -> Result<Self, BackboneError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| BackboneError::UnknownKind { name: name.to_string() })
    }
}

/// A backbone chosen at run time. Should be created using [`BackboneKind::init`].
#[derive(Module, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a handful exist at a time, and Burn's modules cannot be boxed")]
pub enum AnyBackbone {
    /// ResNet-18, -34 or -50.
    ResNet(ResNet),
    /// MobileNetV2.
    MobileNetV2(MobileNetV2),
}

/// Evaluates an expression on the network inside.
macro_rules! inside {
    ($any:expr, $network:ident => $result:expr) => {
        match $any {
            AnyBackbone::ResNet($network) => $result,
            AnyBackbone::MobileNetV2($network) => $result,
        }
    };
}

impl AnyBackbone {
    /// Loads published weights, see [`load_weights`].
    ///
    /// # Errors
    ///
    /// As [`load_weights`].
    pub fn load_weights(self, file: impl AsRef<Path>, options: LoadOptions) -> Result<Self, BackboneError> {
        Ok(match self {
            Self::ResNet(network) => Self::ResNet(load_weights(network, file, options)?),
            Self::MobileNetV2(network) => Self::MobileNetV2(load_weights(network, file, options)?),
        })
    }

    /// Saves the weights under published names, see [`save_weights`].
    ///
    /// # Errors
    ///
    /// As [`save_weights`].
    pub fn save_weights(&self, file: impl AsRef<Path>) -> Result<(), BackboneError> {
        inside!(self, network => save_weights(network, file))
    }

    /// The same network for prediction only, with each normalization merged into its convolution: faster, and
    /// no longer loadable from or savable to published weights.
    pub fn fold_batch_norm(self) -> Self {
        match self {
            Self::ResNet(network) => Self::ResNet(network.fold_batch_norm()),
            Self::MobileNetV2(network) => Self::MobileNetV2(network.fold_batch_norm()),
        }
    }
}

impl Backbone for AnyBackbone {
    fn forward_stages(&self, images: Tensor<4>) -> [Tensor<4>; 4] {
        inside!(self, network => network.forward_stages(images))
    }

    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        inside!(self, network => network.forward_features(images))
    }

    fn num_features(&self) -> usize {
        inside!(self, network => network.num_features())
    }

    fn stage_channels(&self) -> [usize; 4] {
        inside!(self, network => network.stage_channels())
    }

    fn stage_strides(&self) -> [usize; 4] {
        inside!(self, network => network.stage_strides())
    }

    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        inside!(self, network => network.parameter_groups())
    }
}

impl Pretrained for AnyBackbone {
    fn num_classes(&self) -> Option<usize> {
        inside!(self, network => network.num_classes())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        inside!(self, network => network.forward_logits(images))
    }

    /// Accepts the paths of this enum (`ResNet.stem.conv.weight`) and those of the network inside.
    fn published_key(&self, path: &str) -> String {
        let variant = match self {
            Self::ResNet(_) => "ResNet.",
            Self::MobileNetV2(_) => "MobileNetV2.",
        };
        let path = path.strip_prefix(variant).unwrap_or(path);
        inside!(self, network => network.published_key(path))
    }

    fn classifier_prefix(&self) -> &'static str {
        inside!(self, network => network.classifier_prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in BackboneKind::ALL {
            assert_eq!(kind.to_string().parse::<BackboneKind>().unwrap(), kind);
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = "resnet51".parse::<BackboneKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown backbone `resnet51`: use one of resnet18, resnet18_quarter, resnet34, resnet50, mobilenet_v2"
        );
    }
}
