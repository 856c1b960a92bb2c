//! CAFNet: two backbones that guide each other by attention, and a hyper-branch that mixes their maps place by place.
//!
//! Paper: He et al., *Co-attention fusion network for multimodal skin cancer diagnosis* (Pattern Recognition 133, 2023). Weights:
//! those of the backbones. No code of the authors is public; the source is what the texts say:
//!
//! * the paper's abstract: two branches, and a hyper-branch of co-attention fusion modules at all stages; each is a co-attention
//!   block, in which the images guide each other by cross-modal attention, and an attention fusion block, which chooses the ratio of
//!   fusion for each pixel; the loss is deeply supervised, and a combined prediction answers;
//! * the thesis (§5.3, Fig. 5.3): its bidirectional attention block is CAFNet's, and stands in the stages of the backbones;
//! * AMMFM (Tang & Lasser): the backbones are ResNet-50, and the third branch is made of attention and ResNet blocks.
//!
//! Differences, which are readings of ours. The co-attention block is the thesis' [`BidirectionalAttention`], with an eighth of the
//! channels for queries and keys and without a learnt factor ([`MapAttention`] has the other readings); refined maps take the place
//! of those that they were made of, so the next stage goes on from them. The ratio is the softmax of two scores, each of two 1×1
//! convolutions with a quarter of the channels between them; what the images make is mixed in the same way with what the hyper-branch
//! brings from the stage before through a bottleneck residual block. Both are what another group's re-implementation for other images
//! does (Lian et al., Computers in Biology and Medicine 2025), with other sizes. Each of the three branches has one linear layer for
//! each task and a loss of its own, of equal weight; which further places are supervised is not in these texts. The combined
//! prediction is the mean of the three branches' probabilities, which is a setting of the experiment, not of the network.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::{BidirectionalAttention, BidirectionalAttentionConfig, MapAttention};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::attention_fusion::AttentionFusion;
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, LossWeights, Modalities, Modality,
    MultimodalInput, Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// Configuration of a [`CafNet`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CafNetConfig {
    /// Architecture of both backbones; ResNet-50 in the paper.
    pub backbone: BackboneKind,
    /// The attention by which the images guide each other.
    pub attention: MapAttention,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Weights of the branches' losses.
    pub loss_weights: LossWeights,
}

/// `(C_i', D_i') = attention_i(C_i, D_i)`, from which the backbones go on, and `H_i = fusion_i(C_i', D_i', H_{i-1})`; a classifier
/// over each of `GAP(C_4')`, `GAP(D_4')` and `GAP(H_4)`.
///
/// All branches need both images. Made by [`CafNetConfig::init`] or [`CafNet::new`].
#[derive(Module, Debug)]
pub struct CafNet<B: Backbone> {
    clinical: B,
    dermoscopic: B,
    /// One for each stage.
    attention: Vec<BidirectionalAttention>,
    /// One for each stage.
    fusion: Vec<AttentionFusion>,
    clinical_head: LinearHead,
    dermoscopic_head: LinearHead,
    fusion_head: LinearHead,
    #[module(skip)]
    loss_weights: LossWeights,
}

impl CafNetConfig {
    /// With the thesis' attention and losses of equal weight.
    #[must_use]
    pub fn new(backbone: BackboneKind, classes: Vec<usize>) -> Self {
        Self { backbone, attention: MapAttention::default(), classes, loss_weights: LossWeights::SUM }
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used; for weights that a seed fixes see
    /// [`draw_first_weights`](crate::draw_first_weights).
    ///
    /// # Errors
    /// Too few channels for queries and keys; class counts or loss weights that make no network.
    pub fn init(&self, device: &Device) -> Result<CafNet<AnyBackbone>, NetworkError> {
        let backbone = || self.backbone.init(None, device);
        CafNet::new(backbone(), backbone(), self, device)
    }
}

impl<B: Backbone> CafNet<B> {
    /// Puts the structure of a configuration around backbones of your own; the configuration's is ignored. The backbones must not
    /// be clones of each other.
    ///
    /// # Errors
    /// Backbones with different channels in their stages, and as [`CafNetConfig::init`].
    pub fn new(clinical: B, dermoscopic: B, config: &CafNetConfig, device: &Device) -> Result<Self, NetworkError> {
        config.loss_weights.check()?;
        let (channels, strides) = (clinical.stage_channels(), clinical.stage_strides());
        if dermoscopic.stage_channels() != channels {
            return Err(NetworkError::Channels { expected: channels, found: dermoscopic.stage_channels() });
        }
        let attention = BidirectionalAttentionConfig { attention: config.attention };
        let attention = channels.into_iter().map(|channels| attention.init(channels, channels, device));
        let fusion = (0..4).map(|stage| {
            let earlier = (stage > 0).then(|| (channels[stage - 1], (strides[stage] / strides[stage - 1]).max(1)));
            AttentionFusion::init(channels[stage], earlier, device)
        });
        let head = |features| LinearHead::init(features, &config.classes, device);
        Ok(Self {
            attention: attention.collect::<Result<_, _>>()?,
            fusion: fusion.collect(),
            clinical_head: head(clinical.num_features())?,
            dermoscopic_head: head(dermoscopic.num_features())?,
            fusion_head: head(channels[3])?,
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
    /// `[B, 3, H, W]` twice → `[B, D]` twice and `[B, C_4]`.
    ///
    /// # Panics
    /// If the images differ in size.
    #[must_use]
    pub fn forward_features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Tensor<2>; 3] {
        self.features(clinical, dermoscopic, &mut Probe::off())
    }

    fn features(&self, mut clinical: Tensor<4>, mut dermoscopic: Tensor<4>, probe: &mut Probe) -> [Tensor<2>; 3] {
        let mut fused: Option<Tensor<4>> = None;
        for (stage, (attention, fusion)) in self.attention.iter().zip(&self.fusion).enumerate() {
            clinical = self.clinical.forward_stage(stage, clinical);
            dermoscopic = self.dermoscopic.forward_stage(stage, dermoscopic);
            let of_clinical = self.clinical.stage_map(clinical.clone()); // [B, C_i, H, W]
            let of_dermoscopic = self.dermoscopic.stage_map(dermoscopic.clone()); // [B, C_i, H, W]
            let of_clinical = probe.observe(Modality::Clinical, stage, of_clinical);
            let of_dermoscopic = probe.observe(Modality::Dermoscopic, stage, of_dermoscopic);
            let (of_clinical, of_dermoscopic) = probe.refine(stage, attention, of_clinical, of_dermoscopic);
            fused = Some(fusion.forward(of_clinical.clone(), of_dermoscopic.clone(), fused.take())); // [B, C_i, H, W]
            clinical = self.clinical.with_stage_map(clinical, of_clinical);
            dermoscopic = self.dermoscopic.with_stage_map(dermoscopic, of_dermoscopic);
        }
        [
            global_average_pool(self.clinical.finish_stage(3, clinical)), // [B, D]
            global_average_pool(self.dermoscopic.finish_stage(3, dermoscopic)), // [B, D]
            global_average_pool(fused.expect("there are four stages")),   // [B, C_4]
        ]
    }
}

impl<B: Backbone> Network for CafNet<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        let needs = Modalities::CLINICAL.and(Modalities::DERMOSCOPIC);
        ["clinical", "dermoscopic", "fusion"].map(|name| BranchInfo { name, needs }).to_vec()
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

impl NetworkDescription for CafNetConfig {
    type Network = CafNet<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<CafNet<AnyBackbone>, NetworkError> {
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

impl DescribedNetwork for CafNet<AnyBackbone> {
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
    fn the_parameters_are_those_of_the_parts() {
        let config = CafNetConfig::new(BackboneKind::ResNet50, vec![5, 3, 3, 3, 2, 3, 2, 3]);
        let network = config.init(&Device::flex()).unwrap();
        let channels = [256, 512, 1024, 2048];
        let layer = |inputs: usize, outputs: usize| inputs * outputs + outputs;
        let attention = |c: usize| 2 * (2 * layer(c, c / 8) + layer(c, c));
        let ratio = |c: usize| 2 * (layer(c, c / 4) + layer(c / 4, 1));
        let block = |inputs: usize, outputs: usize| {
            let width = outputs / 4;
            let convolutions = inputs * width + 9 * width * width + width * outputs + inputs * outputs;
            convolutions + 2 * (2 * width + 2 * outputs)
        };
        let parts: usize = channels.into_iter().map(|c| attention(c) + ratio(c)).sum();
        let earlier: usize = (1..4).map(|i| block(channels[i - 1], channels[i]) + ratio(channels[i])).sum();
        let expected = 2 * 23_508_032 + parts + earlier + 3 * 24 * 2049;
        assert_eq!(parameter_count(&network), expected);
    }

    #[test]
    fn configurations_that_make_no_network_are_refused() {
        let small = CafNetConfig::new(BackboneKind::ResNet18Quarter, vec![3]);
        let error = |config: CafNetConfig| config.init(&Device::flex()).unwrap_err().to_string();
        let attention = MapAttention { reduction: 17, ..MapAttention::default() };
        assert!(error(CafNetConfig { attention, ..small.clone() }).contains("17"));
        let loss_weights = LossWeights { clinical: -1.0, ..LossWeights::SUM };
        assert!(error(CafNetConfig { loss_weights, ..small }).contains("are not negative"));
    }
}
