//! FusionNet: two backbones, three branches (clinical, dermoscopic, fusion).
//!
//! Paper: Tang et al., FusionM4Net (Medical Image Analysis 2022), first stage; thesis §6.2.1–6.2.2. Source: the
//! released code (MLSDR). Weights: those of the backbones. Differences: the unused ImageNet classifiers are left out, so
//! two ResNet-50 count 50,373,448 parameters where the papers, counting them, print 54.45 to 54.5 million.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::{FeatureFusion, Sum};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::require_dropout;
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, Modalities, Modality, MultimodalInput, MultitaskHead,
    MultitaskHeadConfig, Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// Configuration of a [`FusionNet`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionNetConfig {
    /// Architecture of both backbones; ResNet-50 in the paper.
    pub backbone: BackboneKind,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Dropout of the heads; 0.3 as released.
    pub dropout: f64,
}

/// Two backbones and three heads over their pooled features `F_clin`, `F_derm` and `F_clin + F_derm`.
///
/// Made by [`FusionNetConfig::init`], or by [`FusionNet::new`] from backbones of your own.
#[derive(Module, Debug)]
pub struct FusionNet<B: Backbone> {
    clinical: B,
    dermoscopic: B,
    clinical_head: MultitaskHead,
    dermoscopic_head: MultitaskHead,
    fusion_head: MultitaskHead,
}

impl FusionNetConfig {
    /// A network with the released dropout of 0.3.
    #[must_use]
    pub fn new(backbone: BackboneKind, classes: Vec<usize>) -> Self {
        Self { backbone, classes, dropout: 0.3 }
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used; for weights that a seed fixes see
    /// [`draw_first_weights`](crate::draw_first_weights).
    ///
    /// # Errors
    /// Class counts or a dropout that make no head.
    pub fn init(&self, device: &Device) -> Result<FusionNet<AnyBackbone>, NetworkError> {
        let backbone = || self.backbone.init(None, device);
        FusionNet::new(backbone(), backbone(), self.classes.clone(), self.dropout, device)
    }
}

impl<B: Backbone> FusionNet<B> {
    /// Puts heads with fresh weights on two backbones. The backbones must not be clones of each other: clones share
    /// parameter identities, and an optimizer would update them as one.
    ///
    /// # Errors
    /// Backbones with features of different lengths; class counts or a dropout that make no head.
    pub fn new(
        clinical: B,
        dermoscopic: B,
        classes: Vec<usize>,
        dropout: f64,
        device: &Device,
    ) -> Result<Self, NetworkError> {
        let lengths = (clinical.num_features(), dermoscopic.num_features());
        let fused = Sum
            .output_features(lengths.0, lengths.1)
            .ok_or(NetworkError::Features { clinical: lengths.0, dermoscopic: lengths.1 })?;
        let head = |features| MultitaskHeadConfig { features, classes: classes.clone(), dropout }.init(device);
        Ok(Self {
            clinical_head: head(lengths.0)?,
            dermoscopic_head: head(lengths.1)?,
            fusion_head: head(fused)?,
            clinical,
            dermoscopic,
        })
    }

    /// Pooled features of both images.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` twice → `[B, D]` twice.
    pub fn forward_features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
        self.features(clinical, dermoscopic, &mut Probe::off())
    }

    fn features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>, probe: &mut Probe) -> (Tensor<2>, Tensor<2>) {
        let clinical = probe.features(&self.clinical, Modality::Clinical, clinical); // [B, D, h, w]
        let dermoscopic = probe.features(&self.dermoscopic, Modality::Dermoscopic, dermoscopic); // [B, D, h, w]
        (global_average_pool(clinical), global_average_pool(dermoscopic)) // [B, D] each
    }

    /// The clinical and the dermoscopic backbone.
    pub fn backbones(&self) -> [&B; 2] {
        [&self.clinical, &self.dermoscopic]
    }
}

impl<B: Backbone> Network for FusionNet<B> {
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
        let (clinical, dermoscopic) = self.features(input.clinical(), input.dermoscopic(), probe); // [B, D] each
        let fused = Sum.forward(clinical.clone(), dermoscopic.clone()); // [B, D]
        let branches = vec![
            BranchOutput::new("clinical", self.clinical_head.forward(clinical)),
            BranchOutput::new("dermoscopic", self.dermoscopic_head.forward(dermoscopic)),
            BranchOutput::new("fusion", self.fusion_head.forward(fused.clone())),
        ];
        NetworkOutput::new(branches, fused)
    }
}

impl NetworkDescription for FusionNetConfig {
    type Network = FusionNet<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<FusionNet<AnyBackbone>, NetworkError> {
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

    fn examples(classes: &[usize], _metadata: usize) -> Vec<Self> {
        vec![Self::new(BackboneKind::ResNet18Quarter, classes.to_vec())]
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone; 2]
    }
}

impl DescribedNetwork for FusionNet<AnyBackbone> {
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
    fn two_resnet50_have_the_papers_parameters_without_the_unused_classifiers() {
        let config = FusionNetConfig::new(BackboneKind::ResNet50, vec![5, 3, 3, 3, 2, 3, 2, 3]);
        let network = config.init(&Device::flex()).unwrap();
        let unused_classifiers = 2 * (2048 * 1000 + 1000);
        assert_eq!(parameter_count(&network), 54_471_448 - unused_classifiers);
    }

    #[test]
    fn backbones_of_different_lengths_are_refused() {
        let device = Device::flex();
        let (a, b) = (BackboneKind::ResNet18.init(None, &device), BackboneKind::MobileNetV2.init(None, &device));
        let error = FusionNet::new(a, b, vec![2], 0.3, &device).unwrap_err().to_string();
        assert!(error.contains("the 512 clinical and 1280 dermoscopic features"), "{error}");
    }
}
