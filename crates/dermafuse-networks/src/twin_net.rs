//! TwinNet: the example of `docs/adding-a-network.md`, which is built for the tests alone.
//!
//! Paper: none. Source: that page, which has this file up to its tests. Weights: none. Differences: none.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use serde::{Deserialize, Serialize};

use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, Modalities, Modality, MultimodalInput,
    Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// Configuration of a [`TwinNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwinNetConfig {
    /// Architecture of the backbone.
    pub backbone: BackboneKind,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

/// `C(GAP(F(clinical)) + GAP(F(dermoscopic)))`.
#[derive(Module, Debug)]
pub struct TwinNet<B: Backbone> {
    backbone: B,
    head: LinearHead,
}

impl<B: Backbone> Network for TwinNet<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![BranchInfo { name: "fusion", needs: Modalities::CLINICAL.and(Modalities::DERMOSCOPIC) }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.backbone.parameter_groups()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { backbone: freeze.apply(self.backbone), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let clinical = global_average_pool(probe.features(&self.backbone, Modality::Clinical, input.clinical()));
        let dermoscopic =
            global_average_pool(probe.features(&self.backbone, Modality::Dermoscopic, input.dermoscopic()));
        let fused = clinical + dermoscopic; // [B, D]
        NetworkOutput::new(vec![BranchOutput::new("fusion", self.head.forward(fused.clone()))], fused)
    }
}

impl NetworkDescription for TwinNetConfig {
    type Network = TwinNet<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<TwinNet<AnyBackbone>, NetworkError> {
        let backbone = self.backbone.init(None, device);
        Ok(TwinNet { head: LinearHead::init(backbone.num_features(), &self.classes, device)?, backbone })
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], _metadata: usize) -> Vec<Self> {
        vec![Self { backbone: BackboneKind::ResNet18Quarter, classes: classes.to_vec() }]
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone]
    }
}

impl DescribedNetwork for TwinNet<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        vec![&self.backbone]
    }

    fn load_backbone_weights_of(self, _view: Modality, file: &Path) -> Result<Self, NetworkError> {
        Ok(Self { backbone: with_published_weights(self.backbone, file)?, ..self })
    }
}

mod tests {
    use super::*;
    use burn::tensor::Tensor;

    #[test]
    fn the_network_of_the_page_adds_both_features() {
        let device = Device::flex();
        let [config] = &TwinNetConfig::examples(&[3, 2], 0)[..] else { panic!("one example") };
        let network = config.make(&device).unwrap();
        let image = || Some(Tensor::random([2, 3, 32, 32], burn::tensor::Distribution::Default, &device));
        let input = MultimodalInput { clinical: image(), dermoscopic: image(), metadata: None };
        let output = network.forward(input);
        assert_eq!(output.branches[0].logits.iter().map(Tensor::dims).collect::<Vec<_>>(), [[2, 3], [2, 2]]);
        assert_eq!(output.embedding.dims(), [2, network.backbone.num_features()]);
        assert_eq!((config.backbones(), DescribedNetwork::backbones(&network).len()), (vec![config.backbone], 1));
    }
}
