//! Image encoders that stand still: pooled features of every image, for classifiers that somebody else fits.
//!
//! Paper: none; linear probes and other heads on frozen features are what everything that is trained should be compared with (Kornblith et
//! al., Do better ImageNet models transfer better?, CVPR 2019). Source: none. Weights: those of the backbones, or an ONNX file that is
//! not part of the network. Differences: none.

use std::fmt;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{MAX_WIDTH, require_at_most};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, Modalities, Modality, MultimodalInput, Network,
    NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// The key of an ONNX encoder in files.
const ONNX: &str = "onnx";

/// Configuration of [`FrozenEncoders`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenEncodersConfig {
    /// What encodes images: an architecture, or `{ onnx = { … } }`.
    pub backbone: EncoderKind,
    /// Another architecture for dermoscopic images; without it one encoder, with one set of weights, sees both kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dermoscopic: Option<BackboneKind>,
    /// The kinds of images that are looked at.
    #[serde(default = "both")]
    pub images: Vec<Modality>,
    /// Length `M` of the encoded metadata, `MetadataEncoder::width`; 0 for images alone.
    #[serde(default)]
    pub metadata: usize,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

fn both() -> Vec<Modality> {
    Modality::BOTH.to_vec()
}

/// Where an encoder comes from. In files an architecture by its name, or a table `{ onnx = { … } }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncoderKind {
    /// An architecture of this library.
    Backbone(BackboneKind),
    /// An ONNX file, which an engine runs.
    Onnx(OnnxEncoderConfig),
}

/// How an ONNX file encodes images; what it is given is prepared as the experiment's `training.preprocess` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxEncoderConfig {
    /// Its input, by name; the only one where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Its output, by name; the only one where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The order of its input's axes.
    #[serde(skip_serializing_if = "ImageLayout::is_default")]
    pub layout: ImageLayout,
    /// What becomes of tokens.
    #[serde(skip_serializing_if = "TokenPooling::is_default")]
    pub tokens: TokenPooling,
    /// What runs it: the name of an engine, maybe with settings, such as `openvino:threads=4`.
    pub engine: String,
    /// Number of features; 0 until the file was looked at.
    #[serde(skip_serializing_if = "is_zero")]
    pub features: usize,
    /// SHA-256 of the file in hexadecimal; empty until the file was looked at.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sha256: String,
}

impl Default for OnnxEncoderConfig {
    /// ONNX Runtime, and the file's only input and output.
    fn default() -> Self {
        Self {
            input: None,
            output: None,
            layout: ImageLayout::default(),
            tokens: TokenPooling::default(),
            engine: "onnxruntime".into(),
            features: 0,
            sha256: String::new(),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The order of the axes of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageLayout {
    /// `[N, 3, H, W]`, as PyTorch has them.
    #[default]
    Nchw,
    /// `[N, H, W, 3]`, as TensorFlow has them.
    Nhwc,
}

impl ImageLayout {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of an encoder's tokens `[N, T, D]`. Features `[N, D]` stay as they are, and of maps `[N, D, H, W]` the mean is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenPooling {
    /// Their mean.
    #[default]
    Mean,
    /// The first, which is the class token of vision transformers.
    First,
}

impl TokenPooling {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for EncoderKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Backbone(kind) => kind.serialize(serializer),
            Self::Onnx(config) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(ONNX, config)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for EncoderKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = EncoderKind;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of an architecture, or a table `{ onnx = { … } }`")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<EncoderKind, E> {
                name.parse().map(EncoderKind::Backbone).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EncoderKind, A::Error> {
                let only = || A::Error::custom("an encoder that is a table has the one key `onnx`");
                match map.next_key::<String>()? {
                    Some(key) if key == ONNX => {}
                    _ => return Err(only()),
                }
                let config = map.next_value()?;
                match map.next_key::<String>()? {
                    None => Ok(EncoderKind::Onnx(config)),
                    Some(_) => Err(only()),
                }
            }
        }

        deserializer.deserialize_any(Words)
    }
}

/// Encoders without classifiers: [`NetworkOutput::embedding`] has the pooled features of all images side by side, clinical first, and every
/// logit is 0. What answers is fitted on the features. Made by [`FrozenEncodersConfig::init`].
///
/// An ONNX file is not part of it: then an engine gives the features, and those of this network are not numbers (NaN), so that nobody takes
/// them for some.
#[derive(Module, Debug)]
pub struct FrozenEncoders<B: Backbone> {
    /// Sees all kinds of images that `dermoscopic` does not; none where an ONNX file does.
    encoder: Option<B>,
    dermoscopic: Option<B>,
    /// `[1]` a logit. It is no parameter; a network without backbones has its device from it.
    logit: Tensor<1>,
    #[module(skip)]
    images: Vec<Modality>,
    #[module(skip)]
    metadata: usize,
    #[module(skip)]
    classes: Vec<usize>,
    /// Features of an image where no backbone says it.
    #[module(skip)]
    features: usize,
}

impl FrozenEncodersConfig {
    /// One backbone for both kinds of images, without a record.
    #[must_use]
    pub fn new(backbone: BackboneKind, classes: Vec<usize>) -> Self {
        Self { backbone: EncoderKind::Backbone(backbone), dermoscopic: None, images: both(), metadata: 0, classes }
    }

    /// What is run by an engine, if the encoder is an ONNX file.
    #[must_use]
    pub fn onnx(&self) -> Option<&OnnxEncoderConfig> {
        match &self.backbone {
            EncoderKind::Onnx(config) => Some(config),
            EncoderKind::Backbone(_) => None,
        }
    }

    /// The architecture that encodes a kind of image; `None` where an ONNX file does.
    #[must_use]
    pub fn backbone_of(&self, image: Modality) -> Option<BackboneKind> {
        match (image, self.dermoscopic, &self.backbone) {
            (Modality::Dermoscopic, Some(own), _) => Some(own),
            (_, _, EncoderKind::Backbone(kind)) => Some(*kind),
            (_, _, EncoderKind::Onnx(_)) => None,
        }
    }

    /// Encoders with fresh weights, drawn from the device's generator when they are first used.
    ///
    /// # Errors
    /// Class counts that make no tasks; no image, or one twice; a dermoscopic encoder of images that are not looked at, or beside an ONNX
    /// file; more than the limits.
    pub fn init(&self, device: &Device) -> Result<FrozenEncoders<AnyBackbone>, NetworkError> {
        NetworkError::require_classes(&self.classes)?;
        require_at_most("encoded columns", self.metadata, MAX_WIDTH)?;
        if !matches!(self.images[..], [_] | [Modality::Clinical, Modality::Dermoscopic])
            && self.images != [Modality::Dermoscopic, Modality::Clinical]
        {
            return Err(NetworkError::Views { views: self.images.iter().take(3).map(|image| image.name()).collect() });
        }
        let backbone = |kind: BackboneKind| kind.init(None, device);
        let has_both = self.images.len() == 2;
        let (encoder, features) = match &self.backbone {
            EncoderKind::Backbone(kind) => (Some(backbone(*kind)), 0),
            EncoderKind::Onnx(config) => {
                require_at_most("features", config.features, MAX_WIDTH)?;
                (None, config.features)
            }
        };
        if self.dermoscopic.is_some() && (!has_both || encoder.is_none()) {
            return Err(NetworkError::SecondEncoder);
        }
        // Clinical first, whatever the order in the file.
        let images = Modality::BOTH.into_iter().filter(|image| self.images.contains(image)).collect();
        Ok(FrozenEncoders {
            encoder,
            dermoscopic: self.dermoscopic.map(backbone),
            logit: Tensor::zeros([1], device),
            images,
            metadata: self.metadata,
            classes: self.classes.clone(),
            features,
        })
    }
}

impl<B: Backbone> FrozenEncoders<B> {
    /// The kinds of images that are looked at, clinical first.
    #[must_use]
    pub fn images(&self) -> &[Modality] {
        &self.images
    }

    /// The backbone of a kind of image; `None` where an engine runs an ONNX file.
    #[must_use]
    pub fn encoder(&self, image: Modality) -> Option<&B> {
        match (image, &self.dermoscopic) {
            (Modality::Dermoscopic, Some(own)) => Some(own),
            _ => self.encoder.as_ref(),
        }
    }

    /// Number of features of a kind of image.
    #[must_use]
    pub fn features(&self, image: Modality) -> usize {
        self.encoder(image).map_or(self.features, Backbone::num_features)
    }

    /// The pooled features of images of a kind.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` → `[B, D]`.
    #[must_use]
    pub fn encode(&self, image: Modality, images: Tensor<4>) -> Tensor<2> {
        match self.encoder(image) {
            Some(encoder) => global_average_pool(encoder.forward_features(images)), // [B, D, h, w] → [B, D]
            None => Tensor::full([images.dims()[0], self.features(image)], f32::NAN, &images.device()), // [B, D]
        }
    }
}

impl<B: Backbone> Network for FrozenEncoders<B> {
    /// A branch for each kind of image, and `fusion` for all of them and the record, where that is more.
    fn branches(&self) -> Vec<BranchInfo> {
        let own = self.images.iter().map(|&image| BranchInfo { name: image.name(), needs: image.into() });
        let mut branches: Vec<BranchInfo> = own.collect();
        if self.images.len() > 1 || self.metadata > 0 {
            let images = branches.iter().fold(Modalities::default(), |all, branch| all.and(branch.needs));
            let needs = Modalities { metadata: self.metadata > 0, ..images };
            branches.push(BranchInfo { name: "fusion", needs });
        }
        branches
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        [&self.encoder, &self.dermoscopic].into_iter().flatten().flat_map(Backbone::parameter_groups).collect()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        let apply = |backbone: Option<B>| backbone.map(|backbone| freeze.apply(backbone));
        Self { encoder: apply(self.encoder), dermoscopic: apply(self.dermoscopic), ..self }
    }

    /// No map is shown to the probe: no logit depends on one.
    fn forward_probed(&self, input: MultimodalInput, _probe: &mut Probe) -> NetworkOutput {
        let features = self.images.iter().map(|&image| self.encode(image, input.image(image)));
        let embedding = Tensor::cat(features.collect(), 1); // [B, ΣD]
        let batch = embedding.dims()[0];
        let logit = self.logit.clone().reshape([1, 1]);
        let logits = || self.classes.iter().map(|&classes| logit.clone().expand([batch, classes])); // [B, K_t]
        let branches = self.branches();
        let branches = branches.iter().map(|branch| BranchOutput::new(branch.name, logits().collect()));
        NetworkOutput::new(branches.collect(), embedding)
    }
}

impl NetworkDescription for FrozenEncodersConfig {
    type Network = FrozenEncoders<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<FrozenEncoders<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        let shared = Self { metadata, ..Self::new(BackboneKind::ResNet18Quarter, classes.to_vec()) };
        let two = Self { dermoscopic: Some(BackboneKind::ResNet18Quarter), ..shared.clone() };
        let one = Self { images: vec![Modality::Clinical], metadata: 0, ..shared.clone() };
        vec![shared, two, one]
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        let own = match &self.backbone {
            EncoderKind::Backbone(kind) => Some(*kind),
            EncoderKind::Onnx(_) => None,
        };
        own.into_iter().chain(self.dermoscopic).collect()
    }

    fn view_of(&self, backbone: usize) -> Option<Modality> {
        match (&self.images[..], self.dermoscopic) {
            ([only], None) => Some(*only),
            (_, None) => None,
            (_, Some(_)) => Modality::BOTH.get(backbone).copied(),
        }
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        // Of images alone it stays 0.
        if self.metadata > 0 {
            self.metadata = inputs;
        }
    }
}

impl DescribedNetwork for FrozenEncoders<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        [&self.encoder, &self.dermoscopic].into_iter().flatten().collect()
    }

    fn load_backbone_weights_of(self, view: Modality, file: &Path) -> Result<Self, NetworkError> {
        let load = |backbone: Option<AnyBackbone>| match backbone {
            Some(backbone) => with_published_weights(backbone, file).map(Some),
            None => Err(NetworkError::NoBackbone { view: view.name() }),
        };
        match (view, &self.dermoscopic) {
            (Modality::Dermoscopic, Some(_)) => Ok(Self { dermoscopic: load(self.dermoscopic)?, ..self }),
            _ => Ok(Self { encoder: load(self.encoder)?, ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> FrozenEncodersConfig {
        FrozenEncodersConfig { metadata: 4, ..FrozenEncodersConfig::new(BackboneKind::ResNet18Quarter, vec![3, 2]) }
    }

    #[test]
    fn one_encoder_sees_both_images_and_nothing_is_said_of_classes() {
        let device = Device::flex();
        let network = config().init(&device).unwrap().valid();
        let names: Vec<&str> = network.branches().iter().map(|branch| branch.name).collect();
        assert_eq!(names, ["clinical", "dermoscopic", "fusion"]);
        assert_eq!(network.modalities(), Modalities { clinical: true, dermoscopic: true, metadata: true });
        let image = |value: f32| Some(Tensor::full([2, 3, 64, 64], value, &device));
        let metadata = Some(Tensor::zeros([2, 4], &device));
        let input = MultimodalInput { clinical: image(0.1), dermoscopic: image(0.7), metadata };
        let output = network.forward(input.clone());
        assert_eq!(output.embedding.dims(), [2, 256]);
        let apart = [Modality::Clinical, Modality::Dermoscopic].map(|kind| network.encode(kind, input.image(kind)));
        let together = Tensor::cat(apart.to_vec(), 1);
        let bits = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(bits(output.embedding), bits(together));
        assert!(output.branches.iter().all(|branch| branch.logits.len() == 2));
        assert!(output.branches[2].logits[0].to_data().try_to_vec::<f32>().unwrap().iter().all(|logit| *logit == 0.0));
    }

    #[test]
    fn files_name_an_architecture_or_an_onnx_file() {
        let read = |value| serde_json::from_value::<FrozenEncodersConfig>(value);
        let ours = read(json!({ "backbone": "resnet18" })).unwrap();
        assert_eq!((ours.backbones(), ours.view_of(0)), (vec![BackboneKind::ResNet18], None));
        let onnx = read(json!({ "backbone": { "onnx": { "engine": "openvino", "layout": "nhwc" } }, "classes": [2] }));
        let onnx = onnx.unwrap();
        assert_eq!(onnx.onnx().unwrap().layout, ImageLayout::Nhwc);
        assert!(onnx.backbones().is_empty());
        for config in [ours, onnx.clone()] {
            assert_eq!(read(serde_json::to_value(&config).unwrap()).unwrap(), config);
        }
        for wrong in [json!({ "onnx": {}, "more": 1 }), json!({ "file": "a" }), json!("resnet19"), json!({})] {
            assert!(read(json!({ "backbone": wrong })).is_err());
        }
        // Without an engine there are no numbers, rather than wrong ones.
        let device = Device::flex();
        let mut known = onnx;
        known.backbone =
            EncoderKind::Onnx(OnnxEncoderConfig { features: 5, engine: "openvino".into(), ..Default::default() });
        let network = known.init(&device).unwrap();
        let image = Some(Tensor::zeros([1, 3, 8, 8], &device));
        let output = network.forward(MultimodalInput { clinical: image.clone(), dermoscopic: image, metadata: None });
        assert_eq!(output.embedding.dims(), [1, 10]);
        assert!(output.embedding.to_data().try_to_vec::<f32>().unwrap().iter().all(|value| value.is_nan()));
    }

    #[test]
    fn what_makes_no_encoders_is_refused() {
        let device = Device::flex();
        let error = |config: FrozenEncodersConfig| config.init(&device).unwrap_err().to_string();
        let none = error(FrozenEncodersConfig { images: vec![], ..config() });
        assert!(none.contains("each image once and at least at one of them, found []"), "{none}");
        let twice = error(FrozenEncodersConfig { images: vec![Modality::Clinical; 2], ..config() });
        assert!(twice.contains("[\"clinical\", \"clinical\"]"), "{twice}");
        let second = Some(BackboneKind::ResNet18Quarter);
        let alone = FrozenEncodersConfig { images: vec![Modality::Clinical], dermoscopic: second, ..config() };
        assert!(error(alone).contains("another encoder of dermoscopic images"));
    }
}
