//! The closed list of built-in networks: described as data, chosen at run time.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, BackboneKind, ParameterGroup, parameter_count, require_parameters_fit};
use dermafuse_init::draw_first_weights;
use dermafuse_registry::{KindTable, OutsideKind, OutsideModule};
use dermafuse_schema::SettingFault;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{MAX_PARAMETERS, require_at_most};
use crate::outside_network::{ErasedDescription, ErasedNetwork};
use crate::{
    Amfam, AmfamConfig, AsymmetricFusion, AsymmetricFusionConfig, BackboneFreeze, BranchInfo, CafNet, CafNetConfig,
    DeepEnsemble, DeepEnsembleConfig, DescribedNetwork, EmbeddingNet, EmbeddingNetConfig, FrozenEncoders,
    FrozenEncodersConfig, FusionNet, FusionNetConfig, HcCnn, HcCnnConfig, ImageClassifier, ImageClassifierConfig,
    JointFusion, JointFusionConfig, JointIndividualFusion, JointIndividualFusionConfig, MetadataClassifier,
    MetadataClassifierConfig, MetadataNetworkConfig, Modalities, Modality, ModalitySubsetNet, ModalitySubsetNetConfig,
    MultimodalInput, Network, NetworkDescription, NetworkError, NetworkOutput, OneStageFusion, OneStageFusionConfig,
    Probe, SingleSharedNetwork, SingleSharedNetworkConfig, TFormer, TFormerConfig, TripleNet, TripleNetConfig,
    UniformClassifier, UniformClassifierConfig,
};

/// Turns the table of networks into [`NetworkKind`], [`NetworkConfig`], [`AnyNetwork`] and the macros that ask whichever it is.
macro_rules! built_in {
    ($(
        $(#[doc = $description:literal])+
        $kind:ident $name:literal = $network:ident $(<$($backbone:ident),+>)?, $config:ident;
    )+) => {
        /// A kind of built-in network; as text (and in files) by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum NetworkKind {$(
            $(#[doc = $description])+
            #[serde(rename = $name)]
            $kind,
        )+}

        impl NetworkKind {
            const COUNT: usize = [$(Self::$kind),+].len();

            /// All built-in networks.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$kind),+];

            /// The names of all built-in networks.
            pub(crate) const NAMES: [&'static str; Self::COUNT] = [$($name),+];

            /// The name, e.g. `fusion_net`: the `kind` of its description in files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$kind => $name,)+}
            }

            /// What it is, in a line.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self {$(Self::$kind => concat!($($description),+).trim(),)+}
            }

            /// Small networks of this kind, one for each structure, that look at images of 64 pixels.
            #[must_use]
            pub fn examples(self, classes: &[usize], metadata: usize) -> Vec<NetworkConfig> {
                match self {$(
                    Self::$kind => {
                        $config::examples(classes, metadata).into_iter().map(NetworkConfig::$kind).collect()
                    }
                )+}
            }
        }

        /// A built-in network as data: what a bundle saves beside the weights.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(remote = "Self", tag = "kind")]
        #[non_exhaustive]
        pub enum NetworkConfig {
            $($(#[doc = $description])+
            #[serde(rename = $name)]
            $kind($config),)+
            /// One of another crate: see [`OutsideNetwork`](crate::OutsideNetwork).
            #[serde(rename = "outside!")]
            Outside(OutsideKind<dyn ErasedDescription>),
        }

        impl NetworkConfig {
            /// The name of its kind.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $name,)+
                    Self::Outside(outside) => outside.inner().kind(),
                }
            }

            fn make(&self, device: &Device) -> Result<AnyNetwork, NetworkError> {
                match self {
                    $(Self::$kind(config) => config.make(device).map(AnyNetwork::$kind),)+
                    Self::Outside(outside) => outside.make(device).map(AnyNetwork::Outside),
                }
            }
        }

        /// A network chosen at run time. Made by [`NetworkConfig::init`].
        #[derive(Module, Debug)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant, reason = "a program has a handful of networks")]
        pub enum AnyNetwork {
            $($(#[doc = $description])+
            $kind($network $(<$($backbone),+>)?),)+
            /// One of another crate: see [`OutsideNetwork`](crate::OutsideNetwork).
            Outside(OutsideModule<dyn ErasedNetwork>),
        }

        define_dispatch! { ($) $($kind)+ Outside }
    };
}

/// Defines the macros that ask whichever network or description it is; it takes the dollar sign to write a macro.
macro_rules! define_dispatch {
    (($dollar:tt) $($kind:ident)+) => {
        /// Evaluates an expression for whichever variant it is of an enum.
        macro_rules! each {
            ($dollar any:ident, $dollar value:expr, $dollar inner:ident => $dollar result:expr) => {
                match $dollar value {$($dollar any::$kind($dollar inner) => $dollar result,)+}
            };
        }

        /// Makes the same variant of the changed one.
        macro_rules! each_again {
            ($dollar any:ident, $dollar value:expr, $dollar inner:ident => $dollar result:expr) => {
                match $dollar value {$($dollar any::$kind($dollar inner) => $dollar any::$kind($dollar result),)+}
            };
        }
    };
}

// The table of everything built in: description, variant, name, network, and what describes it. Enums, names, examples for
// tests and dispatch follow.
built_in! {
    /// FusionNet, the first stage of FusionM4Net.
    FusionNet "fusion_net" = FusionNet<AnyBackbone>, FusionNetConfig;
    /// One image alone.
    ImageClassifier "image_classifier" = ImageClassifier<AnyBackbone>, ImageClassifierConfig;
    /// The patient's record alone.
    MetadataClassifier "metadata_classifier" = MetadataClassifier, MetadataClassifierConfig;
    /// One image and the record, joined.
    JointFusion "joint_fusion" = JointFusion<AnyBackbone>, JointFusionConfig;
    /// One image and the record, joined, with a classifier for each of them beside.
    JointIndividualFusion "joint_individual_fusion" = JointIndividualFusion<AnyBackbone>, JointIndividualFusionConfig;
    /// Two backbones with attention between their stages: AMMFM and its ablations.
    AsymmetricFusion "asymmetric_fusion" = AsymmetricFusion<AnyBackbone, AnyBackbone>, AsymmetricFusionConfig;
    /// One backbone for both images with attention after its stages: PEMM and its ablations.
    SingleSharedNetwork "single_shared_network" = SingleSharedNetwork<AnyBackbone>, SingleSharedNetworkConfig;
    /// Both images, with an adversary and decoders in training.
    Amfam "amfam" = Amfam<AnyBackbone>, AmfamConfig;
    /// Two backbones and the record in one perceptron.
    EmbeddingNet "embedding_net" = EmbeddingNet<AnyBackbone>, EmbeddingNetConfig;
    /// Two backbones and a classifier for each subset of the modalities.
    ModalitySubsetNet "modality_subset_net" = ModalitySubsetNet<AnyBackbone>, ModalitySubsetNetConfig;
    /// Two backbones and a hyper-branch that joins their maps stage by stage.
    HcCnn "hc_cnn" = HcCnn<AnyBackbone>, HcCnnConfig;
    /// Two backbones that guide each other, and a hyper-branch that mixes their maps.
    CafNet "caf_net" = CafNet<AnyBackbone>, CafNetConfig;
    /// Two backbones, and a third network over the maps of both.
    TripleNet "triple_net" = TripleNet<AnyBackbone>, TripleNetConfig;
    /// TFormer.
    TFormer "tformer" = TFormer, TFormerConfig;
    /// One image or both and the record, joined in one stage.
    OneStageFusion "one_stage_fusion" = OneStageFusion<AnyBackbone>, OneStageFusionConfig;
    /// Image encoders that stand still, for classifiers on their features.
    FrozenEncoders "frozen_encoders" = FrozenEncoders<AnyBackbone>, FrozenEncodersConfig;
    /// Several networks of one description, trained from different seeds, that answer together.
    DeepEnsemble "deep_ensemble" = DeepEnsemble, DeepEnsembleConfig;
    /// No network: every class alike, before a second stage that looks at the record alone.
    UniformClassifier "uniform_classifier" = UniformClassifier, UniformClassifierConfig;
}

impl fmt::Display for NetworkKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for NetworkKind {
    type Err = NetworkError;

    fn from_str(name: &str) -> Result<Self, NetworkError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| NetworkError::UnknownKind { name: name.to_owned() })
    }
}

impl Serialize for NetworkConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Outside(outside) => outside.serialize(serializer),
            // What is derived.
            _ => Self::serialize(self, serializer),
        }
    }
}

/// From a table with `kind`.
impl<'de> Deserialize<'de> for NetworkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = NetworkConfig;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a network, which is a table with its `kind`")
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<NetworkConfig, A::Error> {
                // What is derived.
                NetworkConfig::deserialize(MapAccessDeserializer::new(KindTable::<dyn ErasedDescription, A>::new(
                    table,
                )))
            }
        }

        deserializer.deserialize_any(Table)
    }
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
    /// [`MAX_PARAMETERS`] in all, the largest tensor of the device for one parameter): nothing large is allocated before.
    pub fn init(&self, device: &Device) -> Result<AnyNetwork, NetworkError> {
        let network = self.make(device)?;
        // Parameters are drawn at their first use: so far they are shapes.
        require_at_most("parameters", parameter_count(&network), MAX_PARAMETERS)?;
        require_parameters_fit(&network)?;
        Ok(network)
    }

    /// Checks the settings, as far as that needs neither classes nor a record.
    ///
    /// # Errors
    /// The first setting that has a value that it cannot have.
    pub fn check_settings(&self) -> Result<(), SettingFault> {
        each!(Self, self, config => NetworkDescription::check_settings(config))
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
        each!(Self, self, config => NetworkDescription::check_images(config, side))
    }

    /// Classes of each task.
    #[must_use]
    pub fn classes(&self) -> &[usize] {
        each!(Self, self, config => config.classes())
    }

    /// The same, to be changed.
    pub(crate) fn classes_mut(&mut self) -> &mut Vec<usize> {
        each!(Self, self, config => config.classes_mut())
    }

    /// The same network for other tasks, with so many classes each.
    #[must_use]
    pub fn with_classes(mut self, classes: Vec<usize>) -> Self {
        *self.classes_mut() = classes;
        self
    }

    /// The architectures of the backbones, clinical first.
    #[must_use]
    pub fn backbones(&self) -> Vec<BackboneKind> {
        each!(Self, self, config => config.backbones())
    }

    /// The only image that one of the backbones looks at; `None` if it looks at both.
    #[must_use]
    pub fn view_of(&self, backbone: usize) -> Option<Modality> {
        each!(Self, self, config => config.view_of(backbone))
    }

    /// Parameters of the network as the papers count them: each backbone's ImageNet classifier too, although nothing uses it, or
    /// what else the authors' code leaves there
    /// ([`published_backbone_parameters`](NetworkDescription::published_backbone_parameters)).
    ///
    /// # Errors
    /// A configuration that makes no network.
    pub fn parameter_count_with_classifiers(&self, device: &Device) -> Result<usize, NetworkError> {
        let network = self.init(device)?;
        let own: usize = network.backbones().into_iter().map(parameter_count).sum();
        let published = self.published_backbone_parameters();
        Ok(parameter_count(&network) - own + published)
    }

    /// Length `M` of the encoded metadata; 0 for networks that look at images alone.
    #[must_use]
    pub fn metadata_inputs(&self) -> usize {
        each!(Self, self, config => config.metadata_inputs())
    }

    /// The names of the losses that the network adds by itself in training.
    #[must_use]
    pub fn auxiliary_names(&self) -> Vec<&'static str> {
        each!(Self, self, config => config.auxiliary())
    }

    /// The network of layers over the record, of networks that have one.
    pub fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        each!(Self, self, config => config.metadata_mut())
    }

    /// Parameters of the backbones as [`NetworkDescription::published_backbone_parameters`] counts them.
    pub(crate) fn published_backbone_parameters(&self) -> usize {
        each!(Self, self, config => config.published_backbone_parameters())
    }

    /// Makes it a network for encoded metadata of another length, as [`with_metadata_inputs`](Self::with_metadata_inputs) does.
    pub(crate) fn set_metadata_inputs(&mut self, inputs: usize) {
        each!(Self, self, config => config.set_metadata_inputs(inputs));
    }

    /// The same network for encoded metadata of another length; networks that look at images alone stay as they are.
    #[must_use]
    pub fn with_metadata_inputs(mut self, inputs: usize) -> Self {
        self.set_metadata_inputs(inputs);
        self
    }

    /// The same network without what only training needs, as [`Network::into_inference`] leaves it.
    #[must_use]
    pub fn inference(self) -> Self {
        each_again!(Self, self, config => config.inference())
    }
}

impl AnyNetwork {
    /// Loads published ImageNet weights into all of the network's backbones, if it has any.
    ///
    /// # Errors
    /// More than two backbones, and as [`dermafuse_backbones::load_weights`]; backbones of different architectures take different
    /// files, by [`load_backbone_weights_of`](Self::load_backbone_weights_of).
    pub fn load_backbone_weights(self, file: impl AsRef<Path>) -> Result<Self, NetworkError> {
        let has_two = match self.backbones().len() {
            0 => return Ok(self),
            1 => false,
            2 => true,
            found => return Err(NetworkError::Backbones { found }),
        };
        let Modalities { clinical, dermoscopic, .. } = self.modalities();
        let views = [(clinical, Modality::Clinical), (dermoscopic, Modality::Dermoscopic)];
        let seen = views.into_iter().filter(|(is_seen, _)| *is_seen).take(if has_two { 2 } else { 1 });
        seen.into_iter().try_fold(self, |network, (_, view)| network.load_backbone_weights_of(view, &file))
    }

    /// Loads published ImageNet weights into the backbone that looks at one of the images (and maybe at the other too).
    ///
    /// # Errors
    /// No such backbone, and as [`dermafuse_backbones::load_weights`].
    pub fn load_backbone_weights_of(self, view: Modality, file: impl AsRef<Path>) -> Result<Self, NetworkError> {
        let Modalities { clinical, dermoscopic, .. } = self.modalities();
        let is_seen = match view {
            Modality::Clinical => clinical,
            Modality::Dermoscopic => dermoscopic,
        };
        if !is_seen {
            return Err(NetworkError::NoBackbone { view: view.name() });
        }
        let file = file.as_ref();
        Ok(each_again!(Self, self, network => network.load_backbone_weights_of(view, file)?))
    }

    /// The backbones, clinical first; one that looks at both images once.
    #[must_use]
    pub fn backbones(&self) -> Vec<&AnyBackbone> {
        each!(Self, self, network => DescribedNetwork::backbones(network))
    }
}

impl Network for AnyNetwork {
    fn branches(&self) -> Vec<BranchInfo> {
        each!(Self, self, network => network.branches())
    }

    fn answers_by_subset(&self) -> bool {
        each!(Self, self, network => network.answers_by_subset())
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        each!(Self, self, network => network.backbone_groups())
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        each_again!(Self, self, network => network.freeze_backbones(freeze))
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        each!(Self, self, network => network.forward_probed(input, probe))
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        each!(Self, self, network => network.auxiliary())
    }

    fn at_progress(self, progress: f64) -> Self {
        each_again!(Self, self, network => network.at_progress(progress))
    }

    fn changes_with_progress(&self) -> bool {
        each!(Self, self, network => network.changes_with_progress())
    }

    fn into_inference(self) -> Self {
        each_again!(Self, self, network => network.into_inference())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageClassifierConfig;
    use dermafuse_backbones::BackboneKind;

    #[test]
    fn weights_go_to_a_backbone_that_looks_at_the_image() {
        let config = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, vec![2]);
        let network = NetworkConfig::ImageClassifier(config).init(&Device::flex()).unwrap();
        let load = |view| network.clone().load_backbone_weights_of(view, "nowhere.safetensors").unwrap_err();
        assert!(matches!(load(Modality::Clinical), NetworkError::Backbone(_)));
        let error = load(Modality::Dermoscopic).to_string();
        assert_eq!(error, "no backbone of this network looks at the dermoscopic image");
    }
}
