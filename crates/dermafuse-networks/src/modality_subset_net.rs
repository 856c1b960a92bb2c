//! A classifier for each subset of the modalities, over the same two backbones.
//!
//! Paper: Kawahara et al., *Seven-Point Checklist and Skin Lesion Classification Using Multitask Multimodal Neural Nets* (IEEE
//! J-BHI 2018): Inception-V3 for each image, pooled features and the record side by side, several losses, each of another subset
//! of the modalities, so that any of them may be missing. Source: its abstract, and its descriptions as a comparator in the thesis
//! and in AMFAM's paper. Weights: those of the backbones. Differences: which subsets have a loss is in none of these texts;
//! [`ModalitySubsetNetConfig::kawahara`] takes all seven, each with the same weight. The backbones' auxiliary classifiers are left
//! out, which published counts (two times 27.16 million) include. Batches that are balanced over all labels belong to the
//! sampling (`Sampling::LabelBalanced`), not to the network.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_WIDTH, require_at_most};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, Modalities, Modality, MultimodalInput,
    Network, NetworkDescription, NetworkError, NetworkOutput, Probe, with_published_weights,
};

/// Subsets that an error lists: one more than there can be is enough.
const SHOWN: usize = 8;

/// What a branch sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModalitySubset {
    /// The clinical photo.
    Clinical,
    /// The dermoscopic image.
    Dermoscopic,
    /// Both images; the branch is called `fusion`, as elsewhere.
    Fusion,
    /// The patient's record.
    Metadata,
    /// The clinical photo and the record.
    ClinicalMetadata,
    /// The dermoscopic image and the record.
    DermoscopicMetadata,
    /// Everything.
    All,
}

impl ModalitySubset {
    /// All subsets; none comes before a part of it.
    pub const EACH: [Self; 7] = [
        Self::Clinical,
        Self::Dermoscopic,
        Self::Metadata,
        Self::ClinicalMetadata,
        Self::DermoscopicMetadata,
        Self::Fusion,
        Self::All,
    ];

    /// The name of the branch.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clinical => "clinical",
            Self::Dermoscopic => "dermoscopic",
            Self::Fusion => "fusion",
            Self::Metadata => "metadata",
            Self::ClinicalMetadata => "clinical_metadata",
            Self::DermoscopicMetadata => "dermoscopic_metadata",
            Self::All => "all",
        }
    }

    /// What is in the subset.
    #[must_use]
    pub const fn modalities(self) -> Modalities {
        let (clinical, dermoscopic, metadata) = match self {
            Self::Clinical => (true, false, false),
            Self::Dermoscopic => (false, true, false),
            Self::Fusion => (true, true, false),
            Self::Metadata => (false, false, true),
            Self::ClinicalMetadata => (true, false, true),
            Self::DermoscopicMetadata => (false, true, true),
            Self::All => (true, true, true),
        };
        Modalities { clinical, dermoscopic, metadata }
    }
}

/// Configuration of a [`ModalitySubsetNet`] with built-in backbones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModalitySubsetNetConfig {
    /// Architecture of both backbones; Inception-V3 in the paper.
    pub backbone: BackboneKind,
    /// Length `M` of the encoded metadata, `MetadataEncoder::width`; of no importance where no subset has the record.
    pub metadata: usize,
    /// The subsets, each with a branch of equal weight.
    pub subsets: Vec<ModalitySubset>,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

/// Two backbones, and for each subset linear classifiers over its features, side by side. A case that lacks a modality is
/// answered by the classifier of exactly what it has, or by those of the largest subsets that it has
/// ([`Network::answering`]).
///
/// Made by [`ModalitySubsetNetConfig::init`] or [`ModalitySubsetNet::new`].
#[derive(Module, Debug)]
pub struct ModalitySubsetNet<B: Backbone> {
    clinical: B,
    dermoscopic: B,
    /// One for each subset.
    heads: Vec<LinearHead>,
    #[module(skip)]
    subsets: Vec<ModalitySubset>,
}

impl ModalitySubsetNetConfig {
    /// Inception-V3, and a classifier for each subset.
    #[must_use]
    pub fn kawahara(metadata: usize, classes: Vec<usize>) -> Self {
        Self { backbone: BackboneKind::InceptionV3, metadata, subsets: ModalitySubset::EACH.to_vec(), classes }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No subset, or one twice; no metadata column for a subset with the record; class counts that make no head.
    pub fn init(&self, device: &Device) -> Result<ModalitySubsetNet<AnyBackbone>, NetworkError> {
        let backbone = || self.backbone.init(None, device);
        ModalitySubsetNet::new(backbone(), backbone(), self, device)
    }
}

impl<B: Backbone> ModalitySubsetNet<B> {
    /// Puts the structure of a configuration around backbones of your own; the configuration's is ignored. The backbones must not
    /// be clones of each other.
    ///
    /// # Errors
    /// As [`ModalitySubsetNetConfig::init`].
    pub fn new(
        clinical: B,
        dermoscopic: B,
        config: &ModalitySubsetNetConfig,
        device: &Device,
    ) -> Result<Self, NetworkError> {
        let subsets = &config.subsets;
        let is_repeated = |(index, subset): (usize, &ModalitySubset)| subsets[..index].contains(subset);
        if subsets.is_empty() || subsets.iter().enumerate().any(is_repeated) {
            return Err(NetworkError::Subsets {
                subsets: subsets.iter().take(SHOWN).map(|subset| subset.name()).collect(),
            });
        }
        if config.metadata == 0 && subsets.iter().any(|subset| subset.modalities().metadata) {
            return Err(NetworkError::NoMetadata);
        }
        require_at_most("encoded columns", config.metadata, MAX_WIDTH)?;
        let lengths = [clinical.num_features(), dermoscopic.num_features(), config.metadata];
        let head = |subset: &ModalitySubset| {
            let Modalities { clinical, dermoscopic, metadata } = subset.modalities();
            let seen = [clinical, dermoscopic, metadata].into_iter().zip(lengths);
            let features = seen.filter_map(|(is_seen, length)| is_seen.then_some(length)).sum();
            LinearHead::init(features, &config.classes, device)
        };
        let heads = subsets.iter().map(head).collect::<Result<_, _>>()?;
        Ok(Self { clinical, dermoscopic, heads, subsets: subsets.clone() })
    }

    /// The clinical and the dermoscopic backbone.
    pub fn backbones(&self) -> [&B; 2] {
        [&self.clinical, &self.dermoscopic]
    }
}

impl<B: Backbone> Network for ModalitySubsetNet<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        self.subsets.iter().map(|subset| BranchInfo { name: subset.name(), needs: subset.modalities() }).collect()
    }

    fn answers_by_subset(&self) -> bool {
        true
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        [self.clinical.parameter_groups(), self.dermoscopic.parameter_groups()].concat()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { clinical: freeze.apply(self.clinical), dermoscopic: freeze.apply(self.dermoscopic), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let Modalities { clinical, dermoscopic, metadata } = self.modalities();
        let clinical =
            clinical.then(|| global_average_pool(probe.features(&self.clinical, Modality::Clinical, input.clinical()))); // [B, D]
        let dermoscopic = dermoscopic.then(|| {
            global_average_pool(probe.features(&self.dermoscopic, Modality::Dermoscopic, input.dermoscopic()))
        }); // [B, D]
        let metadata = metadata.then(|| input.metadata()); // [B, M]
        let features = self.subsets.iter().map(|subset| {
            let seen = subset.modalities();
            let parts = [(seen.clinical, &clinical), (seen.dermoscopic, &dermoscopic), (seen.metadata, &metadata)];
            let parts = parts.into_iter().filter(|(is_seen, _)| *is_seen).filter_map(|(_, part)| part.clone());
            Tensor::cat(parts.collect(), 1) // [B, …]
        });
        let features: Vec<Tensor<2>> = features.collect();
        let branches = self.subsets.iter().zip(&self.heads).zip(&features).map(|((subset, head), features)| {
            BranchOutput::new(subset.name(), head.forward(features.clone())) // [B, K_t]
        });
        let branches = branches.collect();
        let embedding = features.into_iter().next_back().expect("there is a subset");
        NetworkOutput::new(branches, embedding)
    }
}

impl NetworkDescription for ModalitySubsetNetConfig {
    type Network = ModalitySubsetNet<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<ModalitySubsetNet<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        vec![Self { backbone: BackboneKind::ResNet18Quarter, ..Self::kawahara(metadata, classes.to_vec()) }]
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone; 2]
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.metadata = inputs;
    }
}

impl DescribedNetwork for ModalitySubsetNet<AnyBackbone> {
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
    fn two_inception_networks_and_seven_heads() {
        let config = ModalitySubsetNetConfig::kawahara(20, vec![5, 3, 3, 3, 2, 3, 2, 3]);
        let seen = [2048, 2048, 20, 2048 + 20, 2048 + 20, 2 * 2048, 2 * 2048 + 20];
        let heads = seen.map(|features| 24 * (features + 1));
        let network = config.init(&Device::flex()).unwrap();
        assert_eq!(parameter_count(&network), 2 * 21_785_568 + heads.into_iter().sum::<usize>());
    }

    /// The names of the branches that answer for a case which has of photo, dermoscopic image and record what is said.
    fn answering(subsets: &[ModalitySubset], [clinical, dermoscopic, metadata]: [bool; 3]) -> Vec<&'static str> {
        let config = ModalitySubsetNetConfig {
            backbone: BackboneKind::ResNet18Quarter,
            subsets: subsets.to_vec(),
            ..ModalitySubsetNetConfig::kawahara(3, vec![2])
        };
        let network = config.init(&Device::flex()).unwrap();
        let answering = network.answering(Modalities { clinical, dermoscopic, metadata });
        let names = network.branches().into_iter().map(|branch| branch.name);
        names.zip(answering).filter_map(|(name, answers)| answers.then_some(name)).collect()
    }

    #[test]
    fn a_case_that_lacks_something_is_answered_by_the_branch_of_what_it_has() {
        use ModalitySubset::{All, Clinical, Dermoscopic, Fusion, Metadata};
        for subset in ModalitySubset::EACH {
            let Modalities { clinical, dermoscopic, metadata } = subset.modalities();
            let there = [clinical, dermoscopic, metadata];
            let expected = match subset {
                All => ModalitySubset::EACH.map(ModalitySubset::name).to_vec(),
                _ => vec![subset.name()],
            };
            assert_eq!(answering(&ModalitySubset::EACH, there), expected);
            // In any order.
            let mut backwards = ModalitySubset::EACH;
            backwards.reverse();
            assert_eq!(answering(&backwards, there), expected.into_iter().rev().collect::<Vec<_>>());
        }
        assert_eq!(answering(&ModalitySubset::EACH, [false; 3]), [""; 0]);
        // Without a branch of exactly what is there, by those that see most of it.
        let some = [Clinical, Dermoscopic, Fusion, All];
        assert_eq!(answering(&some, [true, false, true]), ["clinical"]);
        assert_eq!(answering(&some, [true, true, false]), ["fusion"]);
        assert_eq!(answering(&[Clinical, Metadata, All], [true, false, true]), ["clinical", "metadata"]);
        assert_eq!(answering(&[All], [true, true, false]), [""; 0]);
        // Whatever the network does not look at is not missing.
        assert_eq!(
            answering(&[Clinical, Dermoscopic, Fusion], [true, true, false]),
            ["clinical", "dermoscopic", "fusion"]
        );
    }

    #[test]
    fn a_branch_sees_its_subset_alone() {
        let device = Device::flex();
        let config = ModalitySubsetNetConfig {
            backbone: BackboneKind::ResNet18Quarter,
            subsets: vec![ModalitySubset::DermoscopicMetadata, ModalitySubset::Metadata],
            ..ModalitySubsetNetConfig::kawahara(7, vec![3, 2])
        };
        let network = config.init(&device).unwrap().valid();
        assert_eq!(network.modalities(), Modalities { clinical: false, dermoscopic: true, metadata: true });
        let output = network.forward(MultimodalInput {
            clinical: None,
            dermoscopic: Some(Tensor::zeros([2, 3, 64, 64], &device)),
            metadata: Some(Tensor::zeros([2, 7], &device)),
        });
        assert_eq!(output.embedding.dims(), [2, 7]);
        assert_eq!(output.branches[0].logits[0].dims(), [2, 3]);

        let twice = ModalitySubsetNetConfig { subsets: vec![ModalitySubset::All; 2], ..config.clone() };
        let error = twice.init(&device).unwrap_err().to_string();
        assert_eq!(
            error,
            "a network needs at least one subset of the modalities, none of them twice; found [\"all\", \"all\"]"
        );
        let without = ModalitySubsetNetConfig { metadata: 0, ..config };
        assert!(matches!(without.init(&device), Err(NetworkError::NoMetadata)));
    }
}
