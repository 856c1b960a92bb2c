//! Single shared network: one backbone for both images, which refine each other's maps after every stage.
//!
//! Paper: Tang et al., PEMM, *Single-Shared Network with Prior-Inspired Loss for Parameter-Efficient Multi-Modal Imaging Skin
//! Lesion Classification* (thesis §5.4), with its ablations. Source: the text, and the parameter counts of its tables. Weights:
//! those of the backbone. Differences: the unused ImageNet classifier is left out, which the papers count. DenseNet's maps are
//! its blocks', before the transitions. Whether both images share a batch is not said: [`ModalityBatches`].

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::{AnyMapFusion, MapDependence, MapFusion, MapFusionKind};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::asymmetric_fusion::init_map_fusion;
use crate::limits::require_dropout;
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LossWeights, Modalities, Modality, ModalityBatches,
    MultimodalInput, MultitaskHead, MultitaskHeadConfig, Network, NetworkDescription, NetworkError, NetworkOutput,
    Probe, with_published_weights,
};

/// Configuration of a [`SingleSharedNetwork`] with a built-in backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SingleSharedNetworkConfig {
    /// Architecture that looks at both images.
    pub backbone: BackboneKind,
    /// The attention after the stages; `None` leaves the concatenation of the pooled features.
    pub fusion: Option<MapFusionKind>,
    /// After which of the four stages it is.
    pub stages: [bool; 4],
    /// Whether both images have one head as well.
    pub shared_head: bool,
    /// How the two modalities go through the backbone.
    pub batches: ModalityBatches,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Dropout of the heads; 0.3 as released.
    pub dropout: f64,
    /// Weights of the branches' losses.
    pub loss_weights: LossWeights,
}

/// One backbone, attention after its stages, three heads (or two) over the pooled features of the refined maps of the last
/// stage: `F_clin`, `F_derm` and their concatenation.
///
/// Made by [`SingleSharedNetworkConfig::init`] or [`SingleSharedNetwork::new`].
#[derive(Module, Debug)]
pub struct SingleSharedNetwork<B: Backbone> {
    backbone: B,
    /// One for each stage.
    fusion: Vec<Option<AnyMapFusion>>,
    clinical_head: MultitaskHead,
    /// `None` where the clinical head serves both images.
    dermoscopic_head: Option<MultitaskHead>,
    fusion_head: MultitaskHead,
    #[module(skip)]
    structure: Structure,
}

/// What of the configuration the forward pass asks for.
#[derive(Clone, Copy, Debug)]
struct Structure {
    batches: ModalityBatches,
    dependence: MapDependence,
    loss_weights: LossWeights,
}

impl SingleSharedNetworkConfig {
    /// PEMM: Swin V2-T, shared cross-attention after every stage, and the biased loss with `W` = 0.1.
    #[must_use]
    pub fn pemm(classes: Vec<usize>) -> Self {
        let sca = MapFusionKind::SharedCrossAttention(Default::default());
        Self::new(BackboneKind::SwinV2Tiny, Some(sca), classes)
    }

    /// Any backbone and any attention after every stage; `None` for concatenation alone. The loss is biased as in
    /// [`pemm`](Self::pemm).
    #[must_use]
    pub fn new(backbone: BackboneKind, fusion: Option<MapFusionKind>, classes: Vec<usize>) -> Self {
        Self {
            backbone,
            fusion,
            stages: [true; 4],
            shared_head: false,
            batches: ModalityBatches::default(),
            classes,
            dropout: 0.3,
            loss_weights: LossWeights::biased(0.1),
        }
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used; for weights that a seed fixes see
    /// [`draw_first_weights`](crate::draw_first_weights).
    ///
    /// # Errors
    /// Channels that the attention cannot work with, attention after no stage, class counts, a dropout or loss weights that
    /// make no network.
    pub fn init(&self, device: &Device) -> Result<SingleSharedNetwork<AnyBackbone>, NetworkError> {
        SingleSharedNetwork::new(self.backbone.init(None, device), self, device)
    }
}

impl<B: Backbone> SingleSharedNetwork<B> {
    /// Puts the structure of a configuration around a backbone of your own; the configuration's is ignored.
    ///
    /// # Errors
    /// As [`SingleSharedNetworkConfig::init`].
    pub fn new(backbone: B, config: &SingleSharedNetworkConfig, device: &Device) -> Result<Self, NetworkError> {
        config.loss_weights.check()?;
        let fusion = init_map_fusion(config.fusion.as_ref(), config.stages, [backbone.stage_channels(); 2], device)?;
        let features = backbone.num_features();
        let head = |features| {
            let (classes, dropout) = (config.classes.clone(), config.dropout);
            MultitaskHeadConfig { features, classes, dropout }.init(device)
        };
        let dependences = fusion.iter().flatten().map(MapFusion::dependence);
        let dependence = dependences.fold(MapDependence::NEITHER, MapDependence::or);
        let (batches, loss_weights) = (config.batches, config.loss_weights);
        Ok(Self {
            backbone,
            fusion,
            clinical_head: head(features)?,
            dermoscopic_head: if config.shared_head { None } else { Some(head(features)?) },
            fusion_head: head(2 * features)?,
            structure: Structure { batches, dependence, loss_weights },
        })
    }

    /// The backbone.
    pub fn backbone(&self) -> &B {
        &self.backbone
    }

    /// Pooled features of both images.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` twice → `[B, D]` twice.
    ///
    /// # Panics
    /// If the images differ in size where something joins them.
    #[must_use]
    pub fn forward_features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Tensor<2>; 2] {
        self.features(clinical, dermoscopic, &mut Probe::off())
    }

    fn features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>, probe: &mut Probe) -> [Tensor<2>; 2] {
        let join = |maps: [Tensor<4>; 2]| self.structure.batches.batches(maps.into());
        let part = |batches| -> [Tensor<4>; 2] {
            self.structure.batches.modalities(batches, 2).try_into().expect("two modalities went in")
        };
        let mut batches = join([clinical, dermoscopic]);
        for (stage, fusion) in self.fusion.iter().enumerate() {
            let forward = |batch| self.backbone.forward_stage(stage, batch); // [2·B, C, H, W] or twice [B, C, H, W]
            batches = batches.into_iter().map(forward).collect();
            if fusion.is_none() && probe.is_off() {
                continue;
            }
            let [clinical, dermoscopic] = part(batches); // [B, C, H, W]
            let clinical = probe.observe_stage(&self.backbone, Modality::Clinical, stage, clinical);
            let dermoscopic = probe.observe_stage(&self.backbone, Modality::Dermoscopic, stage, dermoscopic);
            batches = join(match fusion {
                Some(fusion) => {
                    let map = |result: &Tensor<4>| self.backbone.stage_map(result.clone()); // [B, C, H, W]
                    let maps = probe.refine(stage, fusion, map(&clinical), map(&dermoscopic));
                    let clinical = self.backbone.with_stage_map(clinical, maps.0);
                    [clinical, self.backbone.with_stage_map(dermoscopic, maps.1)]
                }
                None => [clinical, dermoscopic],
            });
        }
        part(batches).map(|map| global_average_pool(self.backbone.finish_stage(3, map))) // [B, D]
    }
}

impl<B: Backbone> Network for SingleSharedNetwork<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        let both = Modalities::CLINICAL.and(Modalities::DERMOSCOPIC);
        let MapDependence { of_clinical, of_dermoscopic } = self.structure.dependence;
        let needs = |depends, alone| if depends { both } else { alone };
        vec![
            BranchInfo { name: "clinical", needs: needs(of_clinical, Modalities::CLINICAL) },
            BranchInfo { name: "dermoscopic", needs: needs(of_dermoscopic, Modalities::DERMOSCOPIC) },
            BranchInfo { name: "fusion", needs: both },
        ]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.backbone.parameter_groups()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { backbone: freeze.apply(self.backbone), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let [clinical, dermoscopic] = self.features(input.clinical(), input.dermoscopic(), probe); // [B, D]
        let fused = Tensor::cat(vec![clinical.clone(), dermoscopic.clone()], 1); // [B, 2·D]
        let dermoscopic_head = self.dermoscopic_head.as_ref().unwrap_or(&self.clinical_head);
        let LossWeights { clinical: of_clinical, dermoscopic: of_dermoscopic, fusion } = self.structure.loss_weights;
        let branch = |name, logits, loss_weight| BranchOutput { name, logits, loss_weight };
        let branches = vec![
            branch("clinical", self.clinical_head.forward(clinical), of_clinical), // [B, K_t]
            branch("dermoscopic", dermoscopic_head.forward(dermoscopic), of_dermoscopic), // [B, K_t]
            branch("fusion", self.fusion_head.forward(fused.clone()), fusion),     // [B, K_t]
        ];
        NetworkOutput::new(branches, fused)
    }
}

impl NetworkDescription for SingleSharedNetworkConfig {
    type Network = SingleSharedNetwork<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<SingleSharedNetwork<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        require_dropout(self.dropout)?;
        self.loss_weights.check()
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], _metadata: usize) -> Vec<Self> {
        let fusions = MapFusionKind::ALL.map(|name| Some(name.parse().expect("a module of the table")));
        let of = |fusion| Self::new(BackboneKind::ResNet18Quarter, fusion, classes.to_vec());
        fusions.into_iter().chain([None]).map(of).collect()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone]
    }
}

impl DescribedNetwork for SingleSharedNetwork<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        vec![&self.backbone]
    }

    fn load_backbone_weights_of(self, _view: Modality, file: &Path) -> Result<Self, NetworkError> {
        Ok(Self { backbone: with_published_weights(self.backbone, file)?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn the_way_through_the_backbone_does_not_matter_in_inference() {
        let device = Device::flex();
        let backbone = BackboneKind::ResNet18Quarter;
        let joined = SingleSharedNetworkConfig::new(backbone, "sca".parse().ok(), vec![3, 2]);
        let separate = SingleSharedNetworkConfig { batches: ModalityBatches::Separate, ..joined.clone() };
        let random = || Tensor::random([2, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
        let input = MultimodalInput { clinical: Some(random()), dermoscopic: Some(random()), metadata: None };
        let network = joined.init(&device).unwrap().valid();
        let mut other = network.clone();
        other.structure.batches = separate.batches;
        let [joined, separate] = [network, other].map(|network| network.forward(input.clone()));
        for (joined, separate) in joined.branches.into_iter().zip(separate.branches) {
            for (joined, separate) in joined.logits.into_iter().zip(separate.logits) {
                let difference = (joined - separate).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-5, "{difference}");
            }
        }
    }
}
