//! EmbeddingNet: pooled features of both images and the record, side by side in one perceptron.
//!
//! Paper: Yap et al., *Multimodal Skin Lesion Classification Using Deep Learning* (Experimental Dermatology 2018). Source: its
//! descriptions as a comparator in the thesis and in AMFAM's paper: the pooled features of a ResNet-50 for each image are put side
//! by side with the record, and a fully connected network follows. Weights: those of the backbones. Differences: the layers of
//! that network are in none of these texts; [`EmbeddingNetConfig::embedding`] says them, or the perceptron of FusionM4Net's heads
//! (512 and 128 units) stands in.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_WIDTH, require_at_most, require_dropout};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, EmbeddingLayers, Modalities, Modality, MultimodalInput,
    MultitaskHead, MultitaskHeadConfig, Network, NetworkDescription, NetworkError, NetworkOutput, Probe,
    with_published_weights,
};

/// Configuration of an [`EmbeddingNet`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingNetConfig {
    /// Architecture of both backbones; ResNet-50 in the paper.
    pub backbone: BackboneKind,
    /// Length `M` of the encoded metadata, `MetadataEncoder::width`; `None` leaves the record out.
    pub metadata: Option<usize>,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Widths of the fully connected layers ([`EmbeddingLayers`]) before the classifiers; without any the perceptron of
    /// FusionM4Net's heads ([`MultitaskHead`]) takes their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<usize>,
    /// Dropout of these layers, or of the perceptron.
    pub dropout: f64,
}

/// What comes after the concatenation.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has one")]
enum EmbeddingHead {
    /// FusionM4Net's.
    Perceptron(MultitaskHead),
    /// Layers of widths of their own.
    Layers(EmbeddingLayers),
}

/// Two backbones, and one head over `[F_clin | F_derm | record]`. Made by [`EmbeddingNetConfig::init`] or [`EmbeddingNet::new`].
#[derive(Module, Debug)]
pub struct EmbeddingNet<B: Backbone> {
    clinical: B,
    dermoscopic: B,
    head: EmbeddingHead,
    sees_metadata: bool,
}

impl EmbeddingNetConfig {
    /// With FusionM4Net's perceptron and a dropout of 0.3.
    #[must_use]
    pub fn new(backbone: BackboneKind, metadata: Option<usize>, classes: Vec<usize>) -> Self {
        Self { backbone, metadata, classes, embedding: Vec::new(), dropout: 0.3 }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No metadata column although the record is looked at; a layer without units; class counts or a dropout that make no head.
    pub fn init(&self, device: &Device) -> Result<EmbeddingNet<AnyBackbone>, NetworkError> {
        let backbone = || self.backbone.init(None, device);
        EmbeddingNet::new(backbone(), backbone(), self, device)
    }
}

impl<B: Backbone> EmbeddingNet<B> {
    /// Puts the structure of a configuration around backbones of your own; the configuration's is ignored. The backbones must not
    /// be clones of each other.
    ///
    /// # Errors
    /// As [`EmbeddingNetConfig::init`].
    pub fn new(
        clinical: B,
        dermoscopic: B,
        config: &EmbeddingNetConfig,
        device: &Device,
    ) -> Result<Self, NetworkError> {
        if config.metadata == Some(0) {
            return Err(NetworkError::NoMetadata);
        }
        require_at_most("encoded columns", config.metadata.unwrap_or(0), MAX_WIDTH)?;
        let features = clinical.num_features() + dermoscopic.num_features() + config.metadata.unwrap_or(0);
        let (classes, dropout) = (config.classes.clone(), config.dropout);
        let head = match config.embedding.as_slice() {
            [] => EmbeddingHead::Perceptron(MultitaskHeadConfig { features, classes, dropout }.init(device)?),
            widths => EmbeddingHead::Layers(EmbeddingLayers::init(features, widths, &classes, dropout, device)?),
        };
        Ok(Self { clinical, dermoscopic, head, sees_metadata: config.metadata.is_some() })
    }

    /// The clinical and the dermoscopic backbone.
    pub fn backbones(&self) -> [&B; 2] {
        [&self.clinical, &self.dermoscopic]
    }
}

impl<B: Backbone> Network for EmbeddingNet<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        let needs = Modalities { clinical: true, dermoscopic: true, metadata: self.sees_metadata };
        vec![BranchInfo { name: "fusion", needs }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        [self.clinical.parameter_groups(), self.dermoscopic.parameter_groups()].concat()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { clinical: freeze.apply(self.clinical), dermoscopic: freeze.apply(self.dermoscopic), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let clinical = global_average_pool(probe.features(&self.clinical, Modality::Clinical, input.clinical())); // [B, D]
        let dermoscopic =
            global_average_pool(probe.features(&self.dermoscopic, Modality::Dermoscopic, input.dermoscopic())); // [B, D]
        let mut features = vec![clinical, dermoscopic];
        if self.sees_metadata {
            features.push(input.metadata()); // [B, M]
        }
        let fused = Tensor::cat(features, 1); // [B, 2·D + M]
        let logits = match &self.head {
            EmbeddingHead::Perceptron(head) => head.forward(fused.clone()),
            EmbeddingHead::Layers(head) => head.forward(fused.clone()),
        }; // [B, K_t]
        let branch = BranchOutput::new("fusion", logits);
        NetworkOutput::new(vec![branch], fused)
    }
}

impl NetworkDescription for EmbeddingNetConfig {
    type Network = EmbeddingNet<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<EmbeddingNet<AnyBackbone>, NetworkError> {
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
        let quarter = |metadata| Self::new(BackboneKind::ResNet18Quarter, metadata, classes.to_vec());
        let own = Self { embedding: vec![16, 8], ..quarter(Some(metadata)) };
        vec![quarter(Some(metadata)), quarter(None), own]
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone; 2]
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata.unwrap_or(0)
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.metadata = self.metadata.map(|_| inputs);
    }
}

impl DescribedNetwork for EmbeddingNet<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        vec![&self.clinical, &self.dermoscopic]
    }

    fn load_backbone_weights_of(self, view: Modality, file: &Path) -> Result<Self, NetworkError> {
        Ok(match view {
            Modality::Clinical => Self { clinical: with_published_weights(self.clinical, file)?, ..self },
            Modality::Dermoscopic => Self { dermoscopic: with_published_weights(self.dermoscopic, file)?, ..self },
        })
    }
}
