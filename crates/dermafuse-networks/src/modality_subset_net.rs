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
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::linear;
use dermafuse_init::AddressedDropout;
use dermafuse_kernels::{Activation, project};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_WIDTH, require_at_most, require_dropout};
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
    /// Both images and the record.
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
    /// The subsets, each with a branch.
    pub subsets: Vec<ModalitySubset>,
    /// How much the loss of each subset counts; as much for all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// Units of a layer with ReLU between the record and the classifiers; `None` gives them the record itself, as the paper does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<usize>,
    /// Probability of dropping a feature before a classifier; 0 in the paper.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
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
    /// Between the record and the heads.
    record: Option<Linear>,
    dropout: Dropout,
    /// One for each subset.
    heads: Vec<LinearHead>,
    #[module(skip)]
    subsets: Vec<ModalitySubset>,
    #[module(skip)]
    weights: Vec<f64>,
}

impl ModalitySubsetNetConfig {
    /// Inception-V3, and a classifier for each subset.
    #[must_use]
    pub fn kawahara(metadata: usize, classes: Vec<usize>) -> Self {
        let (backbone, subsets) = (BackboneKind::InceptionV3, ModalitySubset::EACH.to_vec());
        Self { backbone, metadata, subsets, weights: Vec::new(), record: None, dropout: 0.0, classes }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No subset, or one twice; no metadata column for a subset with the record; class counts, units, weights or a dropout that make
    /// no head.
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
        if !config.weights.is_empty() {
            let are_weights = config.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
            let counts = config.weights.iter().any(|weight| *weight > 0.0);
            if config.weights.len() != subsets.len() || !are_weights || !counts {
                return Err(NetworkError::SubsetWeights {
                    subsets: subsets.len(),
                    weights: config.weights.iter().take(SHOWN).copied().collect(),
                });
            }
        }
        require_dropout(config.dropout)?;
        let sees_record = subsets.iter().any(|subset| subset.modalities().metadata);
        let record = match config.record.filter(|_| sees_record) {
            Some(units) => {
                NetworkError::require_units(&[units])?;
                Some(linear(config.metadata, units, device))
            }
            None => None,
        };
        let of_record = config.record.filter(|_| sees_record).unwrap_or(config.metadata);
        let lengths = [clinical.num_features(), dermoscopic.num_features(), of_record];
        let head = |subset: &ModalitySubset| {
            let Modalities { clinical, dermoscopic, metadata } = subset.modalities();
            let seen = [clinical, dermoscopic, metadata].into_iter().zip(lengths);
            let features = seen.filter_map(|(is_seen, length)| is_seen.then_some(length)).sum();
            LinearHead::init(features, &config.classes, device)
        };
        let heads = subsets.iter().map(head).collect::<Result<_, _>>()?;
        let weights = match config.weights.is_empty() {
            true => vec![1.0; subsets.len()],
            false => config.weights.clone(),
        };
        let dropout = DropoutConfig::new(config.dropout).init();
        Ok(Self { clinical, dermoscopic, record, dropout, heads, subsets: subsets.clone(), weights })
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
        let metadata = metadata.then(|| match &self.record {
            Some(record) => project(record, Activation::Relu, input.metadata()), // [B, U]
            None => input.metadata(),                                            // [B, M]
        });
        let features = self.subsets.iter().map(|subset| {
            let seen = subset.modalities();
            let parts = [(seen.clinical, &clinical), (seen.dermoscopic, &dermoscopic), (seen.metadata, &metadata)];
            let parts = parts.into_iter().filter(|(is_seen, _)| *is_seen).filter_map(|(_, part)| part.clone());
            Tensor::cat(parts.collect(), 1) // [B, …]
        });
        let features: Vec<Tensor<2>> = features.collect();
        let heads = self.subsets.iter().zip(&self.heads).zip(&self.weights).zip(&features);
        let branches = heads.map(|(((subset, head), weight), features)| {
            let logits = head.forward(self.dropout.forward_addressed(features.clone())); // [B, K_t]
            BranchOutput { loss_weight: *weight, ..BranchOutput::new(subset.name(), logits) }
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

/// Whether a number is the default, for descriptions that leave it out.
fn is_zero(number: &f64) -> bool {
    *number == 0.0
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

    #[test]
    fn a_layer_for_the_record_and_weights_for_the_branches() {
        let config = ModalitySubsetNetConfig {
            backbone: BackboneKind::ResNet18Quarter,
            subsets: vec![ModalitySubset::Clinical, ModalitySubset::Dermoscopic, ModalitySubset::All],
            weights: vec![0.5, 0.25, 1.0],
            record: Some(64),
            dropout: 0.3,
            ..ModalitySubsetNetConfig::kawahara(3, vec![11])
        };
        let device = Device::flex();
        let network = config.init(&device).unwrap();
        // Towers, the record's layer, and heads over 128, 128 and 128 + 128 + 64 features.
        let expected = 2 * 702_096 + 4 * 64 + 11 * (129 + 129 + 321);
        assert_eq!(parameter_count(&network), expected);
        let images = Tensor::ones([2, 3, 32, 32], &device);
        let input = MultimodalInput {
            clinical: Some(images.clone()),
            dermoscopic: Some(images),
            metadata: Some(Tensor::ones([2, 3], &device)),
        };
        let output = network.forward(input);
        assert_eq!(output.branches.iter().map(|branch| branch.loss_weight).collect::<Vec<_>>(), config.weights);
        assert_eq!(output.embedding.dims(), [2, 320]);

        let error = |config: ModalitySubsetNetConfig| config.init(&Device::flex()).unwrap_err().to_string();
        let few = ModalitySubsetNetConfig { weights: vec![1.0], ..config.clone() };
        assert_eq!(
            error(few),
            "3 subsets have the loss weights [1.0]; give each one that is not negative, and one that is positive"
        );
        assert!(error(ModalitySubsetNetConfig { weights: vec![0.0; 3], ..config.clone() }).contains("loss weights"));
        assert!(error(ModalitySubsetNetConfig { dropout: 1.0, ..config.clone() }).contains("dropout"));
        assert!(config.init(&Device::flex()).is_ok());
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
