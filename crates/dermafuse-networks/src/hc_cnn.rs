//! HcCNN: two backbones, and a hyper-branch that joins their maps stage by stage.
//!
//! Paper: Bi et al., *Multi-label classification of multi-modality skin lesion via hyper-connected convolutional neural network*
//! (Pattern Recognition 107, 2020). Weights: those of the backbones. No code of the authors is public; the source is what the texts
//! say:
//!
//! * the paper's abstract and highlights: beside the images' branches there is a hyper-branch; its hyper-connected modules carry
//!   the images' features on through the scales; a multi-scale attention block gates them;
//! * AMFAM (Wang et al. 2022): the images' branches are ResNet-50, a fusion block joins their maps, and representations are
//!   concatenated for the final classification; CAFNet's abstract: such fusion is a concatenation followed by convolutions;
//! * AMMFM (Tang & Lasser): the third branch is made of attention and ResNet blocks; the thesis estimates more than 65.0 million
//!   parameters (Table 5.13).
//!
//! Differences, which are readings of ours. The fusion block's convolution is 1×1. A residual block is a bottleneck like those of
//! ResNet-50. Maps are joined after stages 1 to 3, and what comes of the third has the fourth stage's shape; the fourth joins by
//! its pooled features, which stand beside those of the hyper-branch in the classifier. The classifier is one linear layer for each
//! task, and there is no other loss. The attention's gate is the sigmoid of a term over pooled features, with 128 units, and of one over
//! places: that of another group's re-implementation for other images (Lian et al., Computers in Biology and Medicine 2025), which
//! is also where the classifier over all three streams comes from; its larger convolutions and its fusion before the first stage
//! are not followed.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use serde::{Deserialize, Serialize};

use crate::hyper_connection::HyperConnection;
use crate::residual_block::fitted;
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, Modalities, Modality, MultimodalInput,
    Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// Configuration of an [`HcCnn`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HcCnnConfig {
    /// Architecture of both backbones; ResNet-50 in the paper.
    pub backbone: BackboneKind,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

/// `H_i = connection_i([C_i | D_i | H_{i-1}])` for the stages 1 to 3, and a classifier over `[GAP(C_4) | GAP(D_4) | GAP(H_3)]`.
///
/// The backbones go on from their own maps: the hyper-branch changes neither. Made by [`HcCnnConfig::init`] or [`HcCnn::new`].
#[derive(Module, Debug)]
pub struct HcCnn<B: Backbone> {
    clinical: B,
    dermoscopic: B,
    /// One for each of the first three stages.
    hyper: Vec<HyperConnection>,
    head: LinearHead,
}

impl HcCnnConfig {
    /// With a backbone for each image; ResNet-50 in the paper.
    #[must_use]
    pub fn new(backbone: BackboneKind, classes: Vec<usize>) -> Self {
        Self { backbone, classes }
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used; for weights that a seed fixes see
    /// [`draw_first_weights`](crate::draw_first_weights).
    ///
    /// # Errors
    /// Class counts that make no head.
    pub fn init(&self, device: &Device) -> Result<HcCnn<AnyBackbone>, NetworkError> {
        let backbone = || self.backbone.init(None, device);
        HcCnn::new(backbone(), backbone(), self, device)
    }
}

impl<B: Backbone> HcCnn<B> {
    /// Puts the structure of a configuration around backbones of your own; the configuration's is ignored. The backbones must not
    /// be clones of each other.
    ///
    /// # Errors
    /// Backbones with different channels in their stages, and as [`HcCnnConfig::init`].
    pub fn new(clinical: B, dermoscopic: B, config: &HcCnnConfig, device: &Device) -> Result<Self, NetworkError> {
        let (channels, strides) = (clinical.stage_channels(), clinical.stage_strides());
        if dermoscopic.stage_channels() != channels {
            return Err(NetworkError::Channels { expected: channels, found: dermoscopic.stage_channels() });
        }
        let connection = |stage: usize| {
            let maps = if stage == 0 { 2 } else { 3 };
            let stride = (strides[stage + 1] / strides[stage]).max(1);
            HyperConnection::init(maps, channels[stage], channels[stage + 1], stride, device)
        };
        let features = clinical.num_features() + dermoscopic.num_features() + channels[3];
        let head = LinearHead::init(features, &config.classes, device)?;
        Ok(Self { clinical, dermoscopic, hyper: (0..3).map(connection).collect(), head })
    }

    /// The clinical and the dermoscopic backbone.
    pub fn backbones(&self) -> [&B; 2] {
        [&self.clinical, &self.dermoscopic]
    }

    /// What the classifier sees: the pooled features of the photo, of the dermoscopic image and of the hyper-branch.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` twice → `[B, 2·D + C_4]`.
    ///
    /// # Panics
    /// If the images differ in size.
    #[must_use]
    pub fn forward_features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> Tensor<2> {
        self.features(clinical, dermoscopic, &mut Probe::off())
    }

    fn features(&self, mut clinical: Tensor<4>, mut dermoscopic: Tensor<4>, probe: &mut Probe) -> Tensor<2> {
        let mut hyper: Option<Tensor<4>> = None;
        for (stage, connection) in self.hyper.iter().enumerate() {
            clinical = self.clinical.forward_stage(stage, clinical); // [B, C_i, H, W]
            clinical = probe.observe_stage(&self.clinical, Modality::Clinical, stage, clinical);
            dermoscopic = self.dermoscopic.forward_stage(stage, dermoscopic); // [B, C_i, H, W]
            dermoscopic = probe.observe_stage(&self.dermoscopic, Modality::Dermoscopic, stage, dermoscopic);
            let shown = [
                self.clinical.finish_stage(stage, clinical.clone()),
                self.dermoscopic.finish_stage(stage, dermoscopic.clone()),
            ];
            let earlier = hyper.take().map(|map| fitted(map, &shown[0])); // [B, C_i, H, W]
            hyper = Some(connection.forward(shown.into_iter().chain(earlier).collect())); // [B, C_{i+1}, H/2, W/2]
        }
        let clinical = self.clinical.finish_stage(3, self.clinical.forward_stage(3, clinical)); // [B, D, h, w]
        let dermoscopic = self.dermoscopic.finish_stage(3, self.dermoscopic.forward_stage(3, dermoscopic)); // [B, D, h, w]
        let maps = [
            probe.observe(Modality::Clinical, 3, clinical),
            probe.observe(Modality::Dermoscopic, 3, dermoscopic),
            hyper.expect("there are three connections"),
        ];
        Tensor::cat(maps.map(global_average_pool).to_vec(), 1) // [B, 2·D + C_4]
    }
}

impl<B: Backbone> Network for HcCnn<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![BranchInfo { name: "fusion", needs: Modalities::CLINICAL.and(Modalities::DERMOSCOPIC) }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        [self.clinical.parameter_groups(), self.dermoscopic.parameter_groups()].concat()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { clinical: freeze.apply(self.clinical), dermoscopic: freeze.apply(self.dermoscopic), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let features = self.features(input.clinical(), input.dermoscopic(), probe); // [B, 2·D + C_4]
        NetworkOutput::new(vec![BranchOutput::new("fusion", self.head.forward(features.clone()))], features)
    }
}

impl NetworkDescription for HcCnnConfig {
    type Network = HcCnn<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<HcCnn<AnyBackbone>, NetworkError> {
        self.init(device)
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

impl DescribedNetwork for HcCnn<AnyBackbone> {
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
    use dermafuse_backbones::{ResNetConfig, parameter_count};

    #[test]
    fn the_hyper_branch_has_the_size_that_the_thesis_estimates() {
        let config = HcCnnConfig::new(BackboneKind::ResNet50, vec![5, 3, 3, 3, 2, 3, 2, 3]);
        let network = config.init(&Device::flex()).unwrap();
        let norm = |channels: usize| 2 * channels;
        let bottleneck = |inputs: usize, outputs: usize| {
            let width = outputs / 4;
            inputs * width + 9 * width * width + width * outputs + 2 * norm(width) + norm(outputs)
        };
        let connection = |maps: usize, inputs: usize, outputs: usize| {
            let join = maps * inputs * inputs + norm(inputs);
            let block = bottleneck(inputs, outputs) + inputs * outputs + norm(outputs);
            let attention = outputs * 128 + 128 + 128 * outputs + outputs + bottleneck(outputs, outputs);
            join + block + attention
        };
        let hyper = connection(2, 256, 512) + connection(3, 512, 1024) + connection(3, 1024, 2048);
        let expected = 2 * 23_508_032 + hyper + 24 * (3 * 2048 + 1);
        assert_eq!(parameter_count(&network), expected);
        // With the ImageNet classifiers, which the thesis counts: more than 65.0 million.
        assert!(expected + 2 * 2_049_000 > 65_000_000);
    }

    #[test]
    fn backbones_that_round_down_and_images_of_any_size_fit() {
        let device = Device::flex();
        for backbone in [BackboneKind::SqueezeNet, BackboneKind::ResNet18Quarter] {
            let network = HcCnnConfig::new(backbone, vec![3]).init(&device).unwrap().valid();
            let images = Tensor::ones([1, 3, 97, 131], &device);
            let features = network.backbones()[0].num_features() + network.backbones()[1].num_features();
            let channels = network.backbones()[0].stage_channels()[3];
            assert_eq!(network.forward_features(images.clone(), images).dims(), [1, features + channels]);
        }
    }

    #[test]
    fn backbones_of_different_widths_are_refused() {
        let device = Device::flex();
        let config = HcCnnConfig::new(BackboneKind::ResNet18, vec![3]);
        let backbone = |stem| ResNetConfig::resnet18().with_stem_channels(stem).init(&device);
        let error = HcCnn::new(backbone(4), backbone(8), &config, &device).unwrap_err().to_string();
        let expected = "the network needs a backbone with [4, 8, 16, 32] channels in its stages, found [8, 16, 32, 64]";
        assert_eq!(error, expected);
    }
}
