//! One backbone and a classifier over one of the images: what every fusion has to beat.
//!
//! Paper: the image-only rows of joint-individual fusion (thesis §4.2), with a linear head, and the single-modality
//! rows of FusionM4Net, AMMFM and PEMM, with the multilayer perceptron of their branches; Nedelcu et al., with the
//! classifier at every location of the feature map. Source: the text. Weights: those of the backbone. Differences:
//! none.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::{
    AnyHead, BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, HeadKind, Modality, MultimodalInput, Network,
    NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// Configuration of an [`ImageClassifier`] with a built-in backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageClassifierConfig {
    /// Architecture of the backbone.
    pub backbone: BackboneKind,
    /// The image it looks at.
    pub view: Modality,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// The classifier; linear where a file does not say.
    #[serde(default)]
    pub head: HeadKind,
}

/// `C_I(GAP(backbone(image)))`, or `GAP(C_I(backbone(image)))` with the classifier at every location. Made by
/// [`ImageClassifierConfig::init`] or [`ImageClassifier::new`].
#[derive(Module, Debug)]
pub struct ImageClassifier<B: Backbone> {
    backbone: B,
    head: AnyHead,
    #[module(skip)]
    view: Modality,
}

impl ImageClassifierConfig {
    /// With a linear classifier.
    #[must_use]
    pub fn new(backbone: BackboneKind, view: Modality, classes: Vec<usize>) -> Self {
        Self { backbone, view, classes, head: HeadKind::Linear }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// Class counts or a dropout that make no head.
    pub fn init(&self, device: &Device) -> Result<ImageClassifier<AnyBackbone>, NetworkError> {
        ImageClassifier::new(self.backbone.init(None, device), self, device)
    }
}

impl<B: Backbone> ImageClassifier<B> {
    /// Puts the head of a configuration on a backbone of your own; the configuration's is ignored.
    ///
    /// # Errors
    /// As [`ImageClassifierConfig::init`].
    pub fn new(backbone: B, config: &ImageClassifierConfig, device: &Device) -> Result<Self, NetworkError> {
        let head = config.head.init(backbone.num_features(), &config.classes, device)?;
        Ok(Self { backbone, head, view: config.view })
    }

    /// The image that is looked at.
    #[must_use]
    pub fn view(&self) -> Modality {
        self.view
    }

    /// The backbone.
    pub fn backbone(&self) -> &B {
        &self.backbone
    }
}

impl<B: Backbone> Network for ImageClassifier<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![BranchInfo { name: self.view.name(), needs: self.view.into() }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.backbone.parameter_groups()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { backbone: freeze.apply(self.backbone), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let image = input.image(self.view); // [B, 3, H, W]
        let map = probe.features(&self.backbone, self.view, image); // [B, L_I, H', W']
        let branch = BranchOutput::new(self.view.name(), self.head.forward_map(map.clone())); // [B, K_t]
        let features = global_average_pool(map); // [B, L_I]
        NetworkOutput::new(vec![branch], features)
    }
}

impl NetworkDescription for ImageClassifierConfig {
    type Network = ImageClassifier<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<ImageClassifier<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        self.head.check_settings().map_err(|fault| fault.under("head"))
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], _metadata: usize) -> Vec<Self> {
        let heads = [HeadKind::Linear, HeadKind::MLP, HeadKind::PerLocation];
        let plain = Self::new(BackboneKind::ResNet18Quarter, Modality::Clinical, classes.to_vec());
        heads.map(|head| Self { head, ..plain.clone() }).to_vec()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone]
    }

    fn view_of(&self, _backbone: usize) -> Option<Modality> {
        Some(self.view)
    }
}

impl DescribedNetwork for ImageClassifier<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        vec![&self.backbone]
    }

    fn load_backbone_weights_of(self, _view: Modality, file: &Path) -> Result<Self, NetworkError> {
        Ok(Self { backbone: with_published_weights(self.backbone, file)?, ..self })
    }
}
