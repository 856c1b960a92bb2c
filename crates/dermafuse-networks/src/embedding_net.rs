//! EmbeddingNet: pooled features of both images and the record, side by side in one perceptron.
//!
//! Paper: Yap et al., *Multimodal Skin Lesion Classification Using Deep Learning* (Experimental Dermatology 2018). Source: its
//! description as a comparator in the thesis. Weights: those of the backbones. Differences: the sizes of the embedding network are
//! not part of that description; the perceptron of FusionM4Net's heads (512 and 128 units) stands in.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_WIDTH, require_at_most};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, Modalities, Modality, MultimodalInput, MultitaskHead,
    MultitaskHeadConfig, Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
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
    /// Dropout of the perceptron.
    pub dropout: f64,
}

/// Two backbones, and one head over `[F_clin | F_derm | record]`. Made by [`EmbeddingNetConfig::init`] or [`EmbeddingNet::new`].
#[derive(Module, Debug)]
pub struct EmbeddingNet<B: Backbone> {
    clinical: B,
    dermoscopic: B,
    head: MultitaskHead,
    sees_metadata: bool,
}

impl EmbeddingNetConfig {
    /// With a dropout of 0.3.
    #[must_use]
    pub fn new(backbone: BackboneKind, metadata: Option<usize>, classes: Vec<usize>) -> Self {
        Self { backbone, metadata, classes, dropout: 0.3 }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No metadata column although the record is looked at; class counts or a dropout that make no head.
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
        let head = MultitaskHeadConfig { features, classes, dropout }.init(device)?;
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
        let branch = BranchOutput::new("fusion", self.head.forward(fused.clone())); // [B, K_t]
        NetworkOutput::new(vec![branch], fused)
    }
}

impl NetworkDescription for EmbeddingNetConfig {
    type Network = EmbeddingNet<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<EmbeddingNet<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        [Some(metadata), None]
            .map(|metadata| Self::new(BackboneKind::ResNet18Quarter, metadata, classes.to_vec()))
            .to_vec()
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
