//! Asymmetric fusion: a small backbone for the clinical photo, a large one for the dermoscopic image, and attention between
//! their stages.
//!
//! Paper: Tang et al., AMMFM, the asymmetric multi-modal fusion method (thesis §5.3), with its ablations: symmetric (SFF) or
//! asymmetric (AFF) backbones, concatenation (CAT), bidirectional (BAB) or asymmetric attention blocks (AAB). Source: the text,
//! and the parameter counts of its tables. Weights: those of the backbones. Differences: the unused ImageNet classifiers are
//! left out, which the papers count. Swin's final normalization is part of what every head sees; ConvNeXt's, which follows the
//! pooling, belongs to its classifier and is left out with it. Which map the heads of the single images see is not said:
//! [`HeadMaps`].

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::{AnyMapFusion, MapDependence, MapFusion, MapFusionKind};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::require_dropout;
use crate::map_sizes::{require_joinable, require_joinable_at, require_joinable_kinds};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LossWeights, Modalities, Modality, MultimodalInput,
    MultitaskHead, MultitaskHeadConfig, Network, NetworkDescription, NetworkError, NetworkOutput, Probe,
    with_published_weights,
};

/// Which map of the last stage the heads of the single images see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadMaps {
    /// The one that goes into the last attention block.
    #[default]
    BeforeFusion,
    /// The one that comes out of it.
    AfterFusion,
}

/// Configuration of an [`AsymmetricFusion`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsymmetricFusionConfig {
    /// Architecture that looks at the clinical photo.
    pub clinical: BackboneKind,
    /// Architecture that looks at the dermoscopic image.
    pub dermoscopic: BackboneKind,
    /// The attention between the stages; `None` leaves the concatenation of the pooled features (CAT).
    pub fusion: Option<MapFusionKind>,
    /// After which of the four stages it is.
    pub stages: [bool; 4],
    /// What the heads of the single images see.
    pub head_maps: HeadMaps,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Dropout of the heads; 0.3 as released.
    pub dropout: f64,
    /// Weights of the branches' losses.
    pub loss_weights: LossWeights,
}

/// Two backbones, attention between their stages, three heads.
///
/// A refined map takes the place of the one it was made of: the next stage goes on from it. With an asymmetric block the fusion
/// head sees the pooled dermoscopic map alone, into which the clinical photo has worked; else it sees both, concatenated.
///
/// A branch needs all images that reach its head: after asymmetric attention the dermoscopic branch needs the clinical photo.
///
/// Made by [`AsymmetricFusionConfig::init`] or [`AsymmetricFusion::new`].
#[derive(Module, Debug)]
pub struct AsymmetricFusion<C: Backbone, D: Backbone> {
    clinical: C,
    dermoscopic: D,
    /// One for each stage.
    fusion: Vec<Option<AnyMapFusion>>,
    clinical_head: MultitaskHead,
    dermoscopic_head: MultitaskHead,
    fusion_head: MultitaskHead,
    #[module(skip)]
    structure: Structure,
}

/// What of the configuration the forward pass asks for.
#[derive(Clone, Copy, Debug)]
struct Structure {
    is_asymmetric: bool,
    head_maps: HeadMaps,
    dependence: MapDependence,
    loss_weights: LossWeights,
}

impl AsymmetricFusionConfig {
    /// AMMFM: MobileNetV3-small looks at the photo, Swin V2-T at the dermoscopic image, with asymmetric attention after every
    /// stage.
    #[must_use]
    pub fn ammfm(classes: Vec<usize>) -> Self {
        let aab = MapFusionKind::AsymmetricAttention(Default::default());
        Self::new(BackboneKind::MobileNetV3Small, BackboneKind::SwinV2Tiny, Some(aab), classes)
    }

    /// Any two backbones and any attention after every stage; `None` for concatenation alone.
    #[must_use]
    pub fn new(
        clinical: BackboneKind,
        dermoscopic: BackboneKind,
        fusion: Option<MapFusionKind>,
        classes: Vec<usize>,
    ) -> Self {
        Self {
            clinical,
            dermoscopic,
            fusion,
            stages: [true; 4],
            head_maps: HeadMaps::default(),
            classes,
            dropout: 0.3,
            loss_weights: LossWeights::SUM,
        }
    }

    /// A network with fresh weights, drawn from the device's generator when they are first used; for weights that a seed fixes see
    /// [`draw_first_weights`](crate::draw_first_weights).
    ///
    /// # Errors
    /// Backbones whose maps never have the same size where there is attention; channels that the attention cannot work with,
    /// attention after no stage, class counts, a dropout or loss weights that make no network.
    pub fn init(&self, device: &Device) -> Result<AsymmetricFusion<AnyBackbone, AnyBackbone>, NetworkError> {
        if let Some(fusion) = &self.fusion {
            require_joinable_kinds(fusion.name(), [self.clinical, self.dermoscopic], self.stages)?;
        }
        AsymmetricFusion::new(self.clinical.init(None, device), self.dermoscopic.init(None, device), self, device)
    }
}

/// The attention after each chosen stage of two backbones.
pub(crate) fn init_map_fusion(
    kind: Option<&MapFusionKind>,
    stages: [bool; 4],
    [clinical, dermoscopic]: [[usize; 4]; 2],
    device: &Device,
) -> Result<Vec<Option<AnyMapFusion>>, NetworkError> {
    let Some(kind) = kind else { return Ok(vec![None, None, None, None]) };
    if stages == [false; 4] {
        return Err(NetworkError::NoStage { module: kind.name() });
    }
    let channels = clinical.into_iter().zip(dermoscopic);
    stages
        .into_iter()
        .zip(channels)
        .map(|(fuses, (clinical, dermoscopic))| match fuses {
            true => Ok(Some(kind.init(clinical, dermoscopic, device)?)),
            false => Ok(None),
        })
        .collect()
}

impl<C: Backbone, D: Backbone> AsymmetricFusion<C, D> {
    /// Puts the structure of a configuration around backbones of your own; the configuration's are ignored. The backbones must
    /// not be clones of each other.
    ///
    /// # Errors
    /// As [`AsymmetricFusionConfig::init`].
    pub fn new(
        clinical: C,
        dermoscopic: D,
        config: &AsymmetricFusionConfig,
        device: &Device,
    ) -> Result<Self, NetworkError> {
        config.loss_weights.check()?;
        let channels = [clinical.stage_channels(), dermoscopic.stage_channels()];
        if let Some(fusion) = &config.fusion {
            require_joinable(fusion.name(), &clinical, &dermoscopic, config.stages)?;
        }
        let fusion = init_map_fusion(config.fusion.as_ref(), config.stages, channels, device)?;
        let is_asymmetric = fusion.iter().flatten().next().is_some_and(MapFusion::is_asymmetric);
        let (of_clinical, of_dermoscopic) = (clinical.num_features(), dermoscopic.num_features());
        let fused = if is_asymmetric { of_dermoscopic } else { of_clinical + of_dermoscopic };
        let head = |features| {
            let (classes, dropout) = (config.classes.clone(), config.dropout);
            MultitaskHeadConfig { features, classes, dropout }.init(device)
        };
        // Of a single image's head: what comes before the last block, and that block itself only where the head sees it.
        let reaching = if config.head_maps == HeadMaps::AfterFusion { 4 } else { 3 };
        let dependences = fusion.iter().take(reaching).flatten().map(MapFusion::dependence);
        let dependence = dependences.fold(MapDependence::NEITHER, MapDependence::or);
        let (head_maps, loss_weights) = (config.head_maps, config.loss_weights);
        Ok(Self {
            clinical,
            dermoscopic,
            fusion,
            clinical_head: head(of_clinical)?,
            dermoscopic_head: head(of_dermoscopic)?,
            fusion_head: head(fused)?,
            structure: Structure { is_asymmetric, head_maps, dependence, loss_weights },
        })
    }

    /// The backbone of the clinical photo.
    pub fn clinical(&self) -> &C {
        &self.clinical
    }

    /// The backbone of the dermoscopic image.
    pub fn dermoscopic(&self) -> &D {
        &self.dermoscopic
    }

    /// What the three heads see.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` twice → `[B, D_c]`, `[B, D_d]` and `[B, D_d]` or `[B, D_c + D_d]`.
    ///
    /// # Panics
    /// If two stages with attention between them make maps of different sizes, as with an image side that one backbone rounds
    /// up and the other down.
    #[must_use]
    pub fn forward_features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Tensor<2>; 3] {
        self.features(clinical, dermoscopic, &mut Probe::off())
    }

    fn features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>, probe: &mut Probe) -> [Tensor<2>; 3] {
        let mut refined = (clinical, dermoscopic);
        let mut unrefined = refined.clone();
        for (stage, fusion) in self.fusion.iter().enumerate() {
            let clinical = self.clinical.forward_stage(stage, refined.0);
            let dermoscopic = self.dermoscopic.forward_stage(stage, refined.1);
            let clinical = probe.observe_stage(&self.clinical, Modality::Clinical, stage, clinical);
            let dermoscopic = probe.observe_stage(&self.dermoscopic, Modality::Dermoscopic, stage, dermoscopic);
            unrefined = (clinical.clone(), dermoscopic.clone());
            refined = match fusion {
                Some(fusion) => {
                    let of_clinical = self.clinical.stage_map(clinical.clone()); // [B, C_c, H, W]
                    let of_dermoscopic = self.dermoscopic.stage_map(dermoscopic.clone()); // [B, C_d, H, W]
                    let maps = probe.refine(stage, fusion, of_clinical, of_dermoscopic);
                    let clinical = self.clinical.with_stage_map(clinical, maps.0);
                    (clinical, self.dermoscopic.with_stage_map(dermoscopic, maps.1))
                }
                None => (clinical, dermoscopic),
            };
        }
        let of_clinical = |map| global_average_pool(self.clinical.finish_stage(3, map)); // [B, D_c]
        let of_dermoscopic = |map| global_average_pool(self.dermoscopic.finish_stage(3, map)); // [B, D_d]
        let seen = match self.structure.head_maps {
            HeadMaps::BeforeFusion => unrefined,
            HeadMaps::AfterFusion => refined.clone(),
        };
        let fused = match self.structure.is_asymmetric {
            true => of_dermoscopic(refined.1),
            false => Tensor::cat(vec![of_clinical(refined.0), of_dermoscopic(refined.1)], 1), // [B, D_c + D_d]
        };
        [of_clinical(seen.0), of_dermoscopic(seen.1), fused]
    }
}

impl<C: Backbone, D: Backbone> Network for AsymmetricFusion<C, D> {
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
        [self.clinical.parameter_groups(), self.dermoscopic.parameter_groups()].concat()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { clinical: freeze.apply(self.clinical), dermoscopic: freeze.apply(self.dermoscopic), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let [clinical, dermoscopic, fused] = self.features(input.clinical(), input.dermoscopic(), probe);
        let LossWeights { clinical: of_clinical, dermoscopic: of_dermoscopic, fusion } = self.structure.loss_weights;
        let branch = |name, logits, loss_weight| BranchOutput { name, logits, loss_weight };
        let branches = vec![
            branch("clinical", self.clinical_head.forward(clinical), of_clinical), // [B, K_t]
            branch("dermoscopic", self.dermoscopic_head.forward(dermoscopic), of_dermoscopic), // [B, K_t]
            branch("fusion", self.fusion_head.forward(fused.clone()), fusion),     // [B, K_t]
        ];
        NetworkOutput::new(branches, fused)
    }
}

impl NetworkDescription for AsymmetricFusionConfig {
    type Network = AsymmetricFusion<AnyBackbone, AnyBackbone>;

    fn make(&self, device: &Device) -> Result<AsymmetricFusion<AnyBackbone, AnyBackbone>, NetworkError> {
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
        let of =
            |fusion| Self::new(BackboneKind::ResNet18Quarter, BackboneKind::ResNet18Quarter, fusion, classes.to_vec());
        fusions.into_iter().chain([None]).map(of).collect()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.clinical, self.dermoscopic]
    }

    fn check_images(&self, side: usize) -> Result<(), NetworkError> {
        match self.fusion {
            Some(_) => require_joinable_at(side, [self.clinical, self.dermoscopic], self.stages),
            None => Ok(()),
        }
    }
}

impl DescribedNetwork for AsymmetricFusion<AnyBackbone, AnyBackbone> {
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
    use dermafuse_fusion::{CrossAttentionConfig, MapSource};

    const BOTH: Modalities = Modalities::CLINICAL.and(Modalities::DERMOSCOPIC);

    fn config(fusion: Option<MapFusionKind>) -> AsymmetricFusionConfig {
        let backbone = BackboneKind::ResNet18Quarter;
        AsymmetricFusionConfig::new(backbone, backbone, fusion, vec![3])
    }

    fn needs(config: AsymmetricFusionConfig) -> Vec<Modalities> {
        config.init(&Device::flex()).unwrap().branches().into_iter().map(|branch| branch.needs).collect()
    }

    #[test]
    fn a_branch_needs_the_images_that_reach_its_head() {
        let apart = [Modalities::CLINICAL, Modalities::DERMOSCOPIC, BOTH];
        assert_eq!(needs(config(None)), apart);
        let aab = config("aab".parse().ok());
        assert_eq!(needs(aab.clone()), [Modalities::CLINICAL, BOTH, BOTH]);
        // The heads see what goes into the last block, or what comes out of it.
        let last = AsymmetricFusionConfig { stages: [false, false, false, true], ..aab };
        assert_eq!(needs(last.clone()), apart);
        let after = AsymmetricFusionConfig { head_maps: HeadMaps::AfterFusion, ..last };
        assert_eq!(needs(after), [Modalities::CLINICAL, BOTH, BOTH]);
        assert_eq!(needs(config("bab".parse().ok())), [BOTH; 3]);
        let own = CrossAttentionConfig { source: MapSource::Own, ..CrossAttentionConfig::default() };
        assert_eq!(needs(config(Some(MapFusionKind::CrossAttention(own)))), apart);
    }

    #[test]
    fn configurations_that_make_no_network_are_refused() {
        let aab = config("aab".parse().ok());
        let error = |config: AsymmetricFusionConfig| config.init(&Device::flex()).unwrap_err().to_string();
        let nowhere = AsymmetricFusionConfig { stages: [false; 4], ..aab.clone() };
        let expected = "asymmetric_attention is after no stage of the backbones; choose stages, or no attention";
        assert_eq!(error(nowhere), expected);
        let weights = AsymmetricFusionConfig { loss_weights: LossWeights::biased(0.7), ..aab };
        assert!(error(weights).contains("are not negative"));
        let sca = AsymmetricFusionConfig { dermoscopic: BackboneKind::ResNet18, ..config("sca".parse().ok()) };
        assert_eq!(error(sca), "shared cross-attention cannot join features of lengths 16 and 64");
    }

    #[test]
    #[should_panic(expected = "the two maps must have the same size")]
    fn maps_of_different_sizes_are_refused() {
        let device = Device::flex();
        let network = config("aab".parse().ok()).init(&device).unwrap().valid();
        let images = |side| Tensor::zeros([1, 3, side, side], &device);
        let _ = network.forward_features(images(64), images(96));
    }
}
