//! The closed list of built-in networks: described as data, chosen at run time.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, BackboneKind, ParameterGroup, parameter_count};
use dermafuse_init::draw_first_weights;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_PARAMETERS, MAX_SQUEEZE_SIDE, require_at_most};
use crate::map_sizes::require_joinable_at;
use crate::{
    Amfam, AmfamConfig, AsymmetricFusion, AsymmetricFusionConfig, BackboneFreeze, BranchInfo, EmbeddingNet,
    EmbeddingNetConfig, FusionNet, FusionNetConfig, ImageClassifier, ImageClassifierConfig, ImageView, JointFusion,
    JointFusionConfig, JointIndividualFusion, JointIndividualFusionConfig, MetadataClassifier,
    MetadataClassifierConfig, MetadataNetworkConfig, Modalities, ModalitySubsetNet, ModalitySubsetNetConfig,
    MultimodalInput, Network, NetworkError, NetworkOutput, Probe, SingleSharedNetwork, SingleSharedNetworkConfig,
    Squeeze, TFormer, TFormerConfig,
};

/// A built-in network as data: what a bundle saves beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NetworkConfig {
    /// FusionNet, the first stage of FusionM4Net.
    FusionNet(FusionNetConfig),
    /// One image alone.
    ImageClassifier(ImageClassifierConfig),
    /// The patient's record alone.
    MetadataClassifier(MetadataClassifierConfig),
    /// One image and the record, joined.
    JointFusion(JointFusionConfig),
    /// The same with a classifier for each modality beside.
    JointIndividualFusion(JointIndividualFusionConfig),
    /// Two backbones with attention between their stages: AMMFM and its ablations.
    AsymmetricFusion(AsymmetricFusionConfig),
    /// One backbone for both images with attention after its stages: PEMM and its ablations.
    SingleSharedNetwork(SingleSharedNetworkConfig),
    /// Both images, with an adversary and decoders in training.
    Amfam(AmfamConfig),
    /// Two backbones and the record in one perceptron.
    EmbeddingNet(EmbeddingNetConfig),
    /// Two backbones and a classifier for each subset of the modalities.
    ModalitySubsetNet(ModalitySubsetNetConfig),
    /// TFormer.
    #[serde(rename = "tformer")]
    TFormer(TFormerConfig),
}

/// A network chosen at run time. Made by [`NetworkConfig::init`].
#[derive(Module, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a program has a handful of networks")]
pub enum AnyNetwork {
    /// FusionNet with a built-in backbone.
    FusionNet(FusionNet<AnyBackbone>),
    /// One image alone.
    ImageClassifier(ImageClassifier<AnyBackbone>),
    /// The patient's record alone.
    MetadataClassifier(MetadataClassifier),
    /// One image and the record, joined.
    JointFusion(JointFusion<AnyBackbone>),
    /// The same with a classifier for each modality beside.
    JointIndividualFusion(JointIndividualFusion<AnyBackbone>),
    /// Two backbones with attention between their stages.
    AsymmetricFusion(AsymmetricFusion<AnyBackbone, AnyBackbone>),
    /// One backbone for both images with attention after its stages.
    SingleSharedNetwork(SingleSharedNetwork<AnyBackbone>),
    /// Both images, with an adversary and decoders in training.
    Amfam(Amfam<AnyBackbone>),
    /// Two backbones and the record in one perceptron.
    EmbeddingNet(EmbeddingNet<AnyBackbone>),
    /// Two backbones and a classifier for each subset of the modalities.
    ModalitySubsetNet(ModalitySubsetNet<AnyBackbone>),
    /// TFormer.
    TFormer(TFormer),
}

/// Evaluates an expression for whichever network it is.
macro_rules! each {
    ($any:expr, $network:ident => $value:expr) => {
        match $any {
            AnyNetwork::FusionNet($network) => $value,
            AnyNetwork::ImageClassifier($network) => $value,
            AnyNetwork::MetadataClassifier($network) => $value,
            AnyNetwork::JointFusion($network) => $value,
            AnyNetwork::JointIndividualFusion($network) => $value,
            AnyNetwork::AsymmetricFusion($network) => $value,
            AnyNetwork::SingleSharedNetwork($network) => $value,
            AnyNetwork::Amfam($network) => $value,
            AnyNetwork::EmbeddingNet($network) => $value,
            AnyNetwork::ModalitySubsetNet($network) => $value,
            AnyNetwork::TFormer($network) => $value,
        }
    };
}

/// Makes the same network of the changed one.
macro_rules! each_again {
    ($any:expr, $network:ident => $value:expr) => {
        match $any {
            AnyNetwork::FusionNet($network) => AnyNetwork::FusionNet($value),
            AnyNetwork::ImageClassifier($network) => AnyNetwork::ImageClassifier($value),
            AnyNetwork::MetadataClassifier($network) => AnyNetwork::MetadataClassifier($value),
            AnyNetwork::JointFusion($network) => AnyNetwork::JointFusion($value),
            AnyNetwork::JointIndividualFusion($network) => AnyNetwork::JointIndividualFusion($value),
            AnyNetwork::AsymmetricFusion($network) => AnyNetwork::AsymmetricFusion($value),
            AnyNetwork::SingleSharedNetwork($network) => AnyNetwork::SingleSharedNetwork($value),
            AnyNetwork::Amfam($network) => AnyNetwork::Amfam($value),
            AnyNetwork::EmbeddingNet($network) => AnyNetwork::EmbeddingNet($value),
            AnyNetwork::ModalitySubsetNet($network) => AnyNetwork::ModalitySubsetNet($value),
            AnyNetwork::TFormer($network) => AnyNetwork::TFormer($value),
        }
    };
}

impl NetworkConfig {
    /// A network whose fresh weights depend on `seed` alone, the same on every device: the host draws each parameter by itself
    /// from the seed and the parameter's path, as [`draw_first_weights`] does. So a network's backbone does not depend on its
    /// heads, and nothing that draws meanwhile changes anything.
    ///
    /// # Errors
    /// A configuration that makes no network.
    pub fn init_seeded(&self, seed: u64, device: &Device) -> Result<AnyNetwork, NetworkError> {
        let network = self.init(device)?;
        draw_first_weights(&network, seed);
        Ok(network)
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used: for weights that are
    /// about to be replaced by saved ones.
    ///
    /// # Errors
    /// A configuration that makes no network, or one beyond the limits ([`MAX_WIDTH`](crate::MAX_WIDTH) of a layer,
    /// [`MAX_PARAMETERS`] in all): nothing large is allocated before.
    pub fn init(&self, device: &Device) -> Result<AnyNetwork, NetworkError> {
        let network = match self {
            Self::FusionNet(config) => config.init(device).map(AnyNetwork::FusionNet),
            Self::ImageClassifier(config) => config.init(device).map(AnyNetwork::ImageClassifier),
            Self::MetadataClassifier(config) => config.init(device).map(AnyNetwork::MetadataClassifier),
            Self::JointFusion(config) => config.init(device).map(AnyNetwork::JointFusion),
            Self::JointIndividualFusion(config) => config.init(device).map(AnyNetwork::JointIndividualFusion),
            Self::AsymmetricFusion(config) => config.init(device).map(AnyNetwork::AsymmetricFusion),
            Self::SingleSharedNetwork(config) => config.init(device).map(AnyNetwork::SingleSharedNetwork),
            Self::Amfam(config) => config.init(device).map(AnyNetwork::Amfam),
            Self::EmbeddingNet(config) => config.init(device).map(AnyNetwork::EmbeddingNet),
            Self::ModalitySubsetNet(config) => config.init(device).map(AnyNetwork::ModalitySubsetNet),
            Self::TFormer(config) => config.init(device).map(AnyNetwork::TFormer),
        }?;
        // Parameters are drawn at their first use: so far they are shapes.
        require_at_most("parameters", parameter_count(&network), MAX_PARAMETERS)?;
        Ok(network)
    }

    /// Whether the network can look at images of a side, in pixels: large enough for its backbones, with maps of equal size where
    /// two of them are joined.
    ///
    /// # Errors
    /// What does not fit, and sides nearby that do.
    pub fn check_images(&self, side: usize) -> Result<(), NetworkError> {
        for kind in self.backbones() {
            if side < kind.min_size() {
                let (backbone, smallest) = (kind.name(), kind.min_size());
                return Err(NetworkError::SmallImages { backbone, smallest, side });
            }
        }
        match self {
            Self::AsymmetricFusion(config) if config.fusion.is_some() => {
                require_joinable_at(side, [config.clinical, config.dermoscopic], config.stages)
            }
            Self::Amfam(AmfamConfig { backbone, reconstruction: Some(reconstruction), .. }) => {
                let [.., expected] = backbone.stage_sides(side);
                match reconstruction.squeeze {
                    Squeeze::Depthwise { side: found } if found != expected => {
                        Err(NetworkError::SqueezeSide { side: found, limit: MAX_SQUEEZE_SIDE, image: side, expected })
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Classes of each task.
    #[must_use]
    pub fn classes(&self) -> &[usize] {
        match self {
            Self::FusionNet(config) => &config.classes,
            Self::ImageClassifier(config) => &config.classes,
            Self::MetadataClassifier(config) => &config.classes,
            Self::JointFusion(config) => &config.classes,
            Self::JointIndividualFusion(config) => &config.joint.classes,
            Self::Amfam(config) => &config.classes,
            Self::AsymmetricFusion(config) => &config.classes,
            Self::SingleSharedNetwork(config) => &config.classes,
            Self::EmbeddingNet(config) => &config.classes,
            Self::ModalitySubsetNet(config) => &config.classes,
            Self::TFormer(config) => &config.classes,
        }
    }

    /// The same network for other tasks, with so many classes each.
    #[must_use]
    pub fn with_classes(mut self, classes: Vec<usize>) -> Self {
        *match &mut self {
            Self::FusionNet(config) => &mut config.classes,
            Self::ImageClassifier(config) => &mut config.classes,
            Self::MetadataClassifier(config) => &mut config.classes,
            Self::JointFusion(config) => &mut config.classes,
            Self::JointIndividualFusion(config) => &mut config.joint.classes,
            Self::Amfam(config) => &mut config.classes,
            Self::AsymmetricFusion(config) => &mut config.classes,
            Self::SingleSharedNetwork(config) => &mut config.classes,
            Self::EmbeddingNet(config) => &mut config.classes,
            Self::ModalitySubsetNet(config) => &mut config.classes,
            Self::TFormer(config) => &mut config.classes,
        } = classes;
        self
    }

    /// The architectures of the backbones, clinical first.
    #[must_use]
    pub fn backbones(&self) -> Vec<BackboneKind> {
        match self {
            Self::FusionNet(config) => vec![config.backbone; 2],
            Self::Amfam(config) => vec![config.backbone; if config.shared_backbone { 1 } else { config.views.len() }],
            Self::EmbeddingNet(config) => vec![config.backbone; 2],
            Self::ModalitySubsetNet(config) => vec![config.backbone; 2],
            Self::TFormer(_) => vec![BackboneKind::SwinTiny],
            Self::AsymmetricFusion(config) => vec![config.clinical, config.dermoscopic],
            Self::SingleSharedNetwork(config) => vec![config.backbone],
            Self::ImageClassifier(config) => vec![config.backbone],
            Self::MetadataClassifier(_) => Vec::new(),
            Self::JointFusion(config) => vec![config.backbone],
            Self::JointIndividualFusion(config) => vec![config.joint.backbone],
        }
    }

    /// Parameters of the network, each backbone's ImageNet classifier counted too, as the papers count them although nothing uses
    /// it.
    ///
    /// # Errors
    /// A configuration that makes no network.
    pub fn parameter_count_with_classifiers(&self, device: &Device) -> Result<usize, NetworkError> {
        let network = self.init(device)?;
        let own: usize = network.backbones().into_iter().map(parameter_count).sum();
        let published: usize = self.backbones().into_iter().map(BackboneKind::num_params).sum();
        Ok(parameter_count(&network) - own + published)
    }

    /// Length `M` of the encoded metadata; 0 for networks that look at images alone.
    #[must_use]
    pub fn metadata_inputs(&self) -> usize {
        match self {
            Self::FusionNet(_)
            | Self::Amfam(_)
            | Self::AsymmetricFusion(_)
            | Self::SingleSharedNetwork(_)
            | Self::ImageClassifier(_) => 0,
            Self::EmbeddingNet(config) => config.metadata.unwrap_or(0),
            Self::ModalitySubsetNet(config) => config.metadata,
            Self::TFormer(config) => config.metadata.unwrap_or(0),
            Self::MetadataClassifier(config) => config.metadata.inputs,
            Self::JointFusion(config) => config.metadata.inputs,
            Self::JointIndividualFusion(config) => config.joint.metadata.inputs,
        }
    }

    /// The names of the losses that the network adds by itself in training.
    #[must_use]
    pub fn auxiliary_names(&self) -> Vec<&'static str> {
        match self {
            Self::Amfam(config) => config.auxiliary(),
            _ => Vec::new(),
        }
    }

    /// The network of layers over the record, of networks that have one.
    pub fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        match self {
            Self::FusionNet(_)
            | Self::Amfam(_)
            | Self::AsymmetricFusion(_)
            | Self::SingleSharedNetwork(_)
            | Self::EmbeddingNet(_)
            | Self::ModalitySubsetNet(_)
            | Self::TFormer(_)
            | Self::ImageClassifier(_) => None,
            Self::MetadataClassifier(config) => Some(&mut config.metadata),
            Self::JointFusion(config) => Some(&mut config.metadata),
            Self::JointIndividualFusion(config) => Some(&mut config.joint.metadata),
        }
    }

    /// The same network for encoded metadata of another length; networks that look at images alone stay as they are.
    #[must_use]
    pub fn with_metadata_inputs(mut self, inputs: usize) -> Self {
        match &mut self {
            Self::EmbeddingNet(config) => config.metadata = config.metadata.map(|_| inputs),
            Self::ModalitySubsetNet(config) => config.metadata = inputs,
            Self::TFormer(config) => config.metadata = config.metadata.map(|_| inputs),
            other => {
                if let Some(metadata) = other.metadata_mut() {
                    metadata.inputs = inputs;
                }
            }
        }
        self
    }

    /// The same network without what only training needs, as [`Network::into_inference`] leaves it.
    #[must_use]
    pub fn inference(self) -> Self {
        match self {
            Self::Amfam(config) => Self::Amfam(config.inference()),
            other => other,
        }
    }
}

impl AnyNetwork {
    /// Loads published ImageNet weights into all of the network's backbones, if it has any.
    ///
    /// # Errors
    /// As [`dermafuse_backbones::load_weights`]; backbones of different architectures take different files, by
    /// [`load_backbone_weights_of`](Self::load_backbone_weights_of).
    pub fn load_backbone_weights(self, file: impl AsRef<Path>) -> Result<Self, NetworkError> {
        let has_two = self.backbones().len() == 2;
        let Modalities { clinical, dermoscopic, .. } = self.modalities();
        let views = [(clinical, ImageView::Clinical), (dermoscopic, ImageView::Dermoscopic)];
        let seen = views.into_iter().filter(|(is_seen, _)| *is_seen).take(if has_two { 2 } else { 1 });
        seen.into_iter().try_fold(self, |network, (_, view)| network.load_backbone_weights_of(view, &file))
    }

    /// Loads published ImageNet weights into the backbone that looks at one of the images (and maybe at the other too).
    ///
    /// # Errors
    /// No such backbone, and as [`dermafuse_backbones::load_weights`].
    pub fn load_backbone_weights_of(self, view: ImageView, file: impl AsRef<Path>) -> Result<Self, NetworkError> {
        let Modalities { clinical, dermoscopic, .. } = self.modalities();
        let is_seen = match view {
            ImageView::Clinical => clinical,
            ImageView::Dermoscopic => dermoscopic,
        };
        if !is_seen {
            return Err(NetworkError::NoBackbone { view: view.name() });
        }
        Ok(match self {
            Self::FusionNet(network) => Self::FusionNet(network.load_backbone_weights_of(view, file)?),
            Self::ImageClassifier(network) => Self::ImageClassifier(network.load_backbone_weights(file)?),
            Self::MetadataClassifier(network) => Self::MetadataClassifier(network),
            Self::JointFusion(network) => Self::JointFusion(network.load_backbone_weights(file)?),
            Self::JointIndividualFusion(network) => Self::JointIndividualFusion(network.load_backbone_weights(file)?),
            Self::AsymmetricFusion(network) => Self::AsymmetricFusion(network.load_backbone_weights_of(view, file)?),
            Self::SingleSharedNetwork(network) => Self::SingleSharedNetwork(network.load_backbone_weights(file)?),
            Self::Amfam(network) => Self::Amfam(network.load_backbone_weights(file)?),
            Self::EmbeddingNet(network) => Self::EmbeddingNet(network.load_backbone_weights_of(view, file)?),
            Self::ModalitySubsetNet(network) => Self::ModalitySubsetNet(network.load_backbone_weights_of(view, file)?),
            Self::TFormer(network) => Self::TFormer(network.load_backbone_weights(file)?),
        })
    }

    /// The backbones, clinical first; one that looks at both images once.
    #[must_use]
    pub fn backbones(&self) -> Vec<&AnyBackbone> {
        match self {
            Self::FusionNet(network) => network.backbones().to_vec(),
            Self::ImageClassifier(network) => vec![network.backbone()],
            Self::MetadataClassifier(_) => Vec::new(),
            Self::JointFusion(network) => vec![network.backbone()],
            Self::JointIndividualFusion(network) => vec![network.joint().backbone()],
            Self::AsymmetricFusion(network) => vec![network.clinical(), network.dermoscopic()],
            Self::SingleSharedNetwork(network) => vec![network.backbone()],
            Self::Amfam(network) => network.backbones(),
            Self::EmbeddingNet(network) => network.backbones().to_vec(),
            Self::ModalitySubsetNet(network) => network.backbones().to_vec(),
            Self::TFormer(network) => vec![network.backbone()],
        }
    }
}

impl Network for AnyNetwork {
    fn branches(&self) -> Vec<BranchInfo> {
        each!(self, network => network.branches())
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        each!(self, network => network.backbone_groups())
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        each_again!(self, network => network.freeze_backbones(freeze))
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        each!(self, network => network.forward_probed(input, probe))
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        each!(self, network => network.auxiliary())
    }

    fn at_progress(self, progress: f64) -> Self {
        each_again!(self, network => network.at_progress(progress))
    }

    fn changes_with_progress(&self) -> bool {
        each!(self, network => network.changes_with_progress())
    }

    fn into_inference(self) -> Self {
        each_again!(self, network => network.into_inference())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageClassifierConfig;
    use dermafuse_backbones::BackboneKind;

    #[test]
    fn weights_go_to_a_backbone_that_looks_at_the_image() {
        let config = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, ImageView::Clinical, vec![2]);
        let network = NetworkConfig::ImageClassifier(config).init(&Device::flex()).unwrap();
        let load = |view| network.clone().load_backbone_weights_of(view, "nowhere.safetensors").unwrap_err();
        assert!(matches!(load(ImageView::Clinical), NetworkError::Backbone(_)));
        let error = load(ImageView::Dermoscopic).to_string();
        assert_eq!(error, "no backbone of this network looks at the dermoscopic image");
    }
}
