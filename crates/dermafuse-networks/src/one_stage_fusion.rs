//! One-stage fusion: pooled features of one image or of both, the record joined to them, and one perceptron over all.
//!
//! Paper: the one-stage rows of FusionM4Net's comparisons (Tang et al., Medical Image Analysis 2022; thesis Fig. 6.2(a), Tables 6.3
//! and 6.8): C-D, C-M, D-M and C-D-M, and MetaBlock and MetaNet in place of concatenation. Source: the text. Weights: those of the
//! backbones. Differences: the text does not describe the classifier; the perceptron of FusionNet's branches stands in. Nor does it
//! say where the fusion modules work when there are two images: here on the features of both side by side. They are given the
//! encoded record itself, as in MetaBlock's code.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::{AnyFusion, FeatureFusion, FusionError, FusionKind};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_WIDTH, require_at_most, require_dropout};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, Modalities, Modality, MultimodalInput, MultitaskHead,
    MultitaskHeadConfig, Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// The images that a network looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenImages {
    /// The clinical photo alone.
    Clinical,
    /// The dermoscopic image alone.
    Dermoscopic,
    /// Both images.
    #[default]
    Both,
}

/// Configuration of a [`OneStageFusion`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneStageFusionConfig {
    /// Architecture of the backbone of each image; ResNet-50 in the paper.
    pub backbone: BackboneKind,
    /// The images it looks at.
    pub images: SeenImages,
    /// Length `M` of the encoded metadata, `MetadataEncoder::width`; `None` leaves the record out.
    pub metadata: Option<usize>,
    /// The module that joins the images' features and the record; concatenation where there is no record.
    pub fusion: FusionKind,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Dropout of the perceptron.
    pub dropout: f64,
}

/// A backbone for each image, and one head over `F([F_clin | F_derm], record)`. Made by [`OneStageFusionConfig::init`] or
/// [`OneStageFusion::new`].
#[derive(Module, Debug)]
pub struct OneStageFusion<B: Backbone> {
    clinical: Option<B>,
    dermoscopic: Option<B>,
    /// `None` where there is no record.
    fusion: Option<AnyFusion>,
    head: MultitaskHead,
}

impl SeenImages {
    /// Whether an image is one of them.
    #[must_use]
    pub fn has(self, view: Modality) -> bool {
        match self {
            Self::Clinical => view == Modality::Clinical,
            Self::Dermoscopic => view == Modality::Dermoscopic,
            Self::Both => true,
        }
    }
}

impl OneStageFusionConfig {
    /// Concatenation, with a dropout of 0.3.
    #[must_use]
    pub fn new(backbone: BackboneKind, images: SeenImages, metadata: Option<usize>, classes: Vec<usize>) -> Self {
        Self { backbone, images, metadata, fusion: FusionKind::Concat, classes, dropout: 0.3 }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No metadata column although the record is looked at; a fusion module other than concatenation without a record, or one that
    /// cannot join these lengths; class counts or a dropout that make no head.
    pub fn init(&self, device: &Device) -> Result<OneStageFusion<AnyBackbone>, NetworkError> {
        let backbone = |view| self.images.has(view).then(|| self.backbone.init(None, device));
        OneStageFusion::new(backbone(Modality::Clinical), backbone(Modality::Dermoscopic), self, device)
    }
}

impl<B: Backbone> OneStageFusion<B> {
    /// Puts the structure of a configuration around backbones of your own, one for each image that is looked at; the
    /// configuration's backbone and images are ignored. The backbones must not be clones of each other.
    ///
    /// # Errors
    /// No backbone, and as [`OneStageFusionConfig::init`].
    pub fn new(
        clinical: Option<B>,
        dermoscopic: Option<B>,
        config: &OneStageFusionConfig,
        device: &Device,
    ) -> Result<Self, NetworkError> {
        let images: usize =
            [&clinical, &dermoscopic].into_iter().flatten().map(|backbone| backbone.num_features()).sum();
        if images == 0 {
            return Err(NetworkError::Views { views: Vec::new() });
        }
        let (fusion, features) = match config.metadata {
            Some(0) => return Err(NetworkError::NoMetadata),
            Some(inputs) => {
                require_at_most("encoded columns", inputs, MAX_WIDTH)?;
                let fusion = config.fusion.init(images, inputs, device)?;
                let features = fusion.output_features(images, inputs).ok_or_else(|| FusionError::Lengths {
                    module: config.fusion.name(),
                    a: images,
                    b: inputs,
                })?;
                (Some(fusion), features)
            }
            None if config.fusion == FusionKind::Concat => (None, images),
            None => return Err(NetworkError::NoRecord { module: config.fusion.name() }),
        };
        let (classes, dropout) = (config.classes.clone(), config.dropout);
        let head = MultitaskHeadConfig { features, classes, dropout }.init(device)?;
        Ok(Self { clinical, dermoscopic, fusion, head })
    }

    /// The backbone of an image, if it is looked at.
    pub fn backbone(&self, view: Modality) -> Option<&B> {
        match view {
            Modality::Clinical => self.clinical.as_ref(),
            Modality::Dermoscopic => self.dermoscopic.as_ref(),
        }
    }

    fn backbones_in_order(&self) -> impl Iterator<Item = (Modality, &B)> {
        let views = [Modality::Clinical, Modality::Dermoscopic];
        views.into_iter().filter_map(|view| Some((view, self.backbone(view)?)))
    }
}

impl<B: Backbone> Network for OneStageFusion<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        let needs = Modalities {
            clinical: self.clinical.is_some(),
            dermoscopic: self.dermoscopic.is_some(),
            metadata: self.fusion.is_some(),
        };
        vec![BranchInfo { name: "fusion", needs }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.backbones_in_order().flat_map(|(_, backbone)| backbone.parameter_groups()).collect()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        let frozen = |backbone: Option<B>| backbone.map(|backbone| freeze.apply(backbone));
        Self { clinical: frozen(self.clinical), dermoscopic: frozen(self.dermoscopic), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let features = self.backbones_in_order().map(|(view, backbone)| {
            global_average_pool(probe.features(backbone, view, input.image(view))) // [B, D]
        });
        let images = Tensor::cat(features.collect(), 1); // [B, D] or [B, 2·D]
        let fused = match &self.fusion {
            Some(fusion) => probe.join(fusion, images, input.metadata()), // [B, D_F]
            None => images,
        };
        let branch = BranchOutput::new("fusion", self.head.forward(fused.clone())); // [B, K_t]
        NetworkOutput::new(vec![branch], fused)
    }
}

impl NetworkDescription for OneStageFusionConfig {
    type Network = OneStageFusion<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<OneStageFusion<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        require_dropout(self.dropout)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        let of = |images, metadata| Self::new(BackboneKind::ResNet18Quarter, images, metadata, classes.to_vec());
        let both = of(SeenImages::Both, Some(metadata));
        // The other modules of the table attend to the features of a network over the record.
        let gated = ["meta_block", "meta_net"].map(|name| {
            let fusion = name.parse().expect("a module of the table");
            Self { fusion, ..both.clone() }
        });
        let one = [of(SeenImages::Clinical, Some(metadata)), of(SeenImages::Dermoscopic, Some(metadata))];
        [both, of(SeenImages::Both, None)].into_iter().chain(gated).chain(one).collect()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone; if self.images == SeenImages::Both { 2 } else { 1 }]
    }

    fn view_of(&self, backbone: usize) -> Option<Modality> {
        let views = [Modality::Clinical, Modality::Dermoscopic];
        views.into_iter().filter(|view| self.images.has(*view)).nth(backbone)
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata.unwrap_or(0)
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.metadata = self.metadata.map(|_| inputs);
    }
}

impl DescribedNetwork for OneStageFusion<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        self.backbones_in_order().map(|(_, backbone)| backbone).collect()
    }

    fn load_backbone_weights_of(self, view: Modality, file: &Path) -> Result<Self, NetworkError> {
        let loaded = |backbone: Option<AnyBackbone>| {
            let backbone = backbone.ok_or(NetworkError::NoBackbone { view: view.name() })?;
            with_published_weights(backbone, file).map(Some)
        };
        Ok(match view {
            Modality::Clinical => Self { clinical: loaded(self.clinical)?, ..self },
            Modality::Dermoscopic => Self { dermoscopic: loaded(self.dermoscopic)?, ..self },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn every_row_has_the_parameters_of_its_parts() {
        let device = Device::flex();
        let classes = || vec![5, 3, 3, 3, 2, 3, 2, 3];
        let count = |config: &OneStageFusionConfig| parameter_count(&config.init(&device).unwrap());
        let resnet = BackboneKind::ResNet50.num_params_without_classifier();
        let head = |features: usize| 512 * features + 70_552;
        for (images, metadata, towers) in [
            (SeenImages::Both, None, 2),            // C-D
            (SeenImages::Clinical, Some(20), 1),    // C-M
            (SeenImages::Dermoscopic, Some(20), 1), // D-M
            (SeenImages::Both, Some(20), 2),        // C-D-M
        ] {
            let config = OneStageFusionConfig::new(BackboneKind::ResNet50, images, metadata, classes());
            let expected = towers * resnet + head(towers * 2048 + metadata.unwrap_or(0));
            assert_eq!(count(&config), expected, "{images:?}, {metadata:?}");
        }
        let both = OneStageFusionConfig::new(BackboneKind::ResNet50, SeenImages::Both, Some(20), classes());
        // MetaBlock has 128 groups of the 4,096 features, MetaNet 64 hidden units and 64 groups.
        for (module, own) in [("meta_block", 2 * (20 * 128 + 128 + 2 * 128)), ("meta_net", 21 * 64 + 65 * 64)] {
            let config = OneStageFusionConfig { fusion: module.parse().unwrap(), ..both.clone() };
            assert_eq!(count(&config), 2 * resnet + head(4096) + own, "{module}");
        }
    }

    #[test]
    fn a_module_without_a_record_and_a_network_without_an_image_are_refused() {
        let device = Device::flex();
        let config = OneStageFusionConfig::new(BackboneKind::ResNet18Quarter, SeenImages::Both, None, vec![2]);
        let gated = OneStageFusionConfig { fusion: "meta_net".parse().unwrap(), ..config.clone() };
        let error = gated.init(&device).unwrap_err().to_string();
        assert_eq!(
            error,
            "meta_net joins images and record, and the network looks at no record; add it, or choose concat"
        );
        let error = OneStageFusion::<AnyBackbone>::new(None, None, &config, &device).unwrap_err().to_string();
        assert_eq!(error, "a network looks at each image once and at least at one of them, found []");
    }
}
