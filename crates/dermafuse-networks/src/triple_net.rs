//! TripleNet: a network for each image, and a third one over the maps of both.
//!
//! Paper: Ge et al., *Skin disease recognition using deep saliency features and multimodal learning of dermoscopy and clinical images*
//! (MICCAI 2017). Weights: those of the backbones. Source: what the texts say:
//!
//! * AMFAM (Wang et al. 2022): there are three sub-networks, for the clinical photo, for the dermoscopic image, and for what both
//!   show; saliency maps direct them to the lesion;
//! * AMMFM (Tang & Lasser): each image's features are VGG-16's; they are concatenated, and the joint representation answers;
//! * FusionM4Net (thesis, Table 6.9): the single images and both together are optimized at the same time.
//!
//! Differences. The saliency part is left out: none of the texts says how it is computed or where it enters. Readings of ours: the
//! third network is two 3×3 convolutions as VGG-16's, each with an activation, over the last maps side by side; each of the three has
//! one linear layer for each task over pooled features, where VGG-16 has three; the three losses have equal weight.

use std::path::Path;

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_kernels::Activation;
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::convolution::{convolution, convolve};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, LossWeights, Modalities, Modality,
    MultimodalInput, Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// Configuration of a [`TripleNet`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TripleNetConfig {
    /// Architecture of both backbones; VGG-16 in the paper.
    pub backbone: BackboneKind,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Weights of the branches' losses.
    pub loss_weights: LossWeights,
}

/// Classifiers over `GAP(C)`, `GAP(D)` and `GAP(joint([C | D]))`. Made by [`TripleNetConfig::init`] or [`TripleNet::new`].
#[derive(Module, Debug)]
pub struct TripleNet<B: Backbone> {
    clinical: B,
    dermoscopic: B,
    joint: Vec<Conv2d>,
    clinical_head: LinearHead,
    dermoscopic_head: LinearHead,
    fusion_head: LinearHead,
    #[module(skip)]
    loss_weights: LossWeights,
}

impl TripleNetConfig {
    /// With losses of equal weight.
    #[must_use]
    pub fn new(backbone: BackboneKind, classes: Vec<usize>) -> Self {
        Self { backbone, classes, loss_weights: LossWeights::SUM }
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used; for weights that a seed fixes see
    /// [`draw_first_weights`](crate::draw_first_weights).
    ///
    /// # Errors
    /// Class counts or loss weights that make no network.
    pub fn init(&self, device: &Device) -> Result<TripleNet<AnyBackbone>, NetworkError> {
        let backbone = || self.backbone.init(None, device);
        TripleNet::new(backbone(), backbone(), self, device)
    }
}

impl<B: Backbone> TripleNet<B> {
    /// Puts the structure of a configuration around backbones of your own; the configuration's is ignored. The backbones must not
    /// be clones of each other.
    ///
    /// # Errors
    /// As [`TripleNetConfig::init`].
    pub fn new(clinical: B, dermoscopic: B, config: &TripleNetConfig, device: &Device) -> Result<Self, NetworkError> {
        config.loss_weights.check()?;
        let (of_clinical, of_dermoscopic) = (clinical.num_features(), dermoscopic.num_features());
        let head = |features| LinearHead::init(features, &config.classes, device);
        Ok(Self {
            joint: vec![
                convolution(of_clinical + of_dermoscopic, of_dermoscopic, 3, device),
                convolution(of_dermoscopic, of_dermoscopic, 3, device),
            ],
            clinical_head: head(of_clinical)?,
            dermoscopic_head: head(of_dermoscopic)?,
            fusion_head: head(of_dermoscopic)?,
            clinical,
            dermoscopic,
            loss_weights: config.loss_weights,
        })
    }

    /// The clinical and the dermoscopic backbone.
    pub fn backbones(&self) -> [&B; 2] {
        [&self.clinical, &self.dermoscopic]
    }

    /// What the three heads see.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` twice → `[B, D]` three times.
    ///
    /// # Panics
    /// If the images differ in size.
    #[must_use]
    pub fn forward_features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Tensor<2>; 3] {
        self.features(clinical, dermoscopic, &mut Probe::off())
    }

    fn features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>, probe: &mut Probe) -> [Tensor<2>; 3] {
        let clinical = probe.features(&self.clinical, Modality::Clinical, clinical); // [B, D, h, w]
        let dermoscopic = probe.features(&self.dermoscopic, Modality::Dermoscopic, dermoscopic); // [B, D, h, w]
        let both = Tensor::cat(vec![clinical.clone(), dermoscopic.clone()], 1); // [B, 2·D, h, w]
        let joint = self.joint.iter().fold(both, |map, layer| convolve(layer, Activation::Relu, map)); // [B, D, h, w]
        [clinical, dermoscopic, joint].map(global_average_pool) // [B, D]
    }
}

impl<B: Backbone> Network for TripleNet<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![
            BranchInfo { name: "clinical", needs: Modalities::CLINICAL },
            BranchInfo { name: "dermoscopic", needs: Modalities::DERMOSCOPIC },
            BranchInfo { name: "fusion", needs: Modalities::CLINICAL.and(Modalities::DERMOSCOPIC) },
        ]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        [self.clinical.parameter_groups(), self.dermoscopic.parameter_groups()].concat()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { clinical: freeze.apply(self.clinical), dermoscopic: freeze.apply(self.dermoscopic), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let [clinical, dermoscopic, fused] = self.features(input.clinical(), input.dermoscopic(), probe);
        let LossWeights { clinical: of_clinical, dermoscopic: of_dermoscopic, fusion } = self.loss_weights;
        let branch = |name, logits, loss_weight| BranchOutput { name, logits, loss_weight };
        let branches = vec![
            branch("clinical", self.clinical_head.forward(clinical), of_clinical), // [B, K_t]
            branch("dermoscopic", self.dermoscopic_head.forward(dermoscopic), of_dermoscopic), // [B, K_t]
            branch("fusion", self.fusion_head.forward(fused.clone()), fusion),     // [B, K_t]
        ];
        NetworkOutput::new(branches, fused)
    }
}

impl NetworkDescription for TripleNetConfig {
    type Network = TripleNet<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<TripleNet<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        self.loss_weights.check()
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], _metadata: usize) -> Vec<Self> {
        vec![Self::new(BackboneKind::ResNet18Quarter, classes.to_vec())]
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone; 2]
    }
}

impl DescribedNetwork for TripleNet<AnyBackbone> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn two_vgg_16_and_two_convolutions() {
        let config = TripleNetConfig::new(BackboneKind::Vgg16, vec![5, 3, 3, 3, 2, 3, 2, 3]);
        let joint = 9 * 1024 * 512 + 512 + 9 * 512 * 512 + 512;
        let expected = 2 * BackboneKind::Vgg16.num_params_without_classifier() + joint + 3 * 24 * 513;
        assert_eq!(parameter_count(&config.init(&Device::flex()).unwrap()), expected);
    }

    #[test]
    fn losses_that_make_none_are_refused() {
        let loss_weights = LossWeights { clinical: 0.0, dermoscopic: 0.0, fusion: 0.0 };
        let config = TripleNetConfig { loss_weights, ..TripleNetConfig::new(BackboneKind::ResNet18Quarter, vec![3]) };
        assert!(config.init(&Device::flex()).unwrap_err().to_string().contains("one of them positive"));
    }
}
