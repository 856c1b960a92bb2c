//! Joint-individual fusion: joint fusion whose image and record also answer on their own.
//!
//! Paper: Tang et al., joint-individual fusion (thesis §4.2.2, Eq. 4.5, JIF; its loss is in §4.3.2). Source: the text.
//! Weights: those of the backbone. Differences: none. The individual losses keep each modality's features useful by
//! themselves: `β` weighs the image's and `1 − β` the record's beside the joint one's.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup};
use dermafuse_fusion::FusionKind;
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, JointFusion, JointFusionConfig, LinearHead,
    MetadataInput, MetadataNetworkConfig, Modalities, Modality, MultimodalInput, Network, NetworkDescription,
    NetworkError, NetworkOutput, Probe,
};

/// Configuration of a [`JointIndividualFusion`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct JointIndividualFusionConfig {
    /// The joint part.
    pub joint: JointFusionConfig,
    /// Weight `β` of the image's loss, in 0..=1; the record's has `1 − β`. 0.5 in the paper.
    pub beta: f64,
}

/// A [`JointIndividualFusionConfig`] in files: one table, like that of joint fusion.
#[derive(Serialize, Deserialize)]
#[serde(rename = "JointIndividualFusionConfig", deny_unknown_fields)]
struct Stored {
    backbone: BackboneKind,
    view: Modality,
    metadata: MetadataNetworkConfig,
    metadata_input: MetadataInput,
    fusion: FusionKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<usize>,
    beta: f64,
}

impl From<Stored> for JointIndividualFusionConfig {
    fn from(stored: Stored) -> Self {
        let Stored { backbone, view, metadata, metadata_input, fusion, classes, beta } = stored;
        Self { joint: JointFusionConfig { backbone, view, metadata, metadata_input, fusion, classes }, beta }
    }
}

impl From<JointIndividualFusionConfig> for Stored {
    fn from(config: JointIndividualFusionConfig) -> Self {
        let JointIndividualFusionConfig { joint, beta } = config;
        let JointFusionConfig { backbone, view, metadata, metadata_input, fusion, classes } = joint;
        Self { backbone, view, metadata, metadata_input, fusion, classes, beta }
    }
}

/// `P_I = C_I(f_I)`, `P_M = C_M(f_M)` and `P_IM = C_IM(F(f_I, f_M))`, with the loss `β L_I + (1 − β) L_M + L_IM`.
///
/// The branches are the image's, `metadata` and `fusion`. JIF(OFB), only the fusion branch, is the last of them; JIF(All) is
/// their mean with equal weights. Made by [`JointIndividualFusionConfig::init`] or [`JointIndividualFusion::new`].
#[derive(Module, Debug)]
pub struct JointIndividualFusion<B: Backbone> {
    joint: JointFusion<B>,
    image_head: LinearHead,
    metadata_head: LinearHead,
    beta: f64,
}

impl JointIndividualFusionConfig {
    /// With the paper's `β` of 0.5.
    #[must_use]
    pub fn new(joint: JointFusionConfig) -> Self {
        Self { joint, beta: 0.5 }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// A `β` outside 0..=1, and as [`JointFusionConfig::init`].
    pub fn init(&self, device: &Device) -> Result<JointIndividualFusion<AnyBackbone>, NetworkError> {
        JointIndividualFusion::new(self.joint.backbone.init(None, device), self, device)
    }
}

impl<B: Backbone> JointIndividualFusion<B> {
    /// Puts the structure of a configuration around a backbone of your own; the configuration's is ignored.
    ///
    /// # Errors
    /// As [`JointIndividualFusionConfig::init`].
    pub fn new(backbone: B, config: &JointIndividualFusionConfig, device: &Device) -> Result<Self, NetworkError> {
        let JointIndividualFusionConfig { joint, beta } = config;
        config.check_settings()?;
        let features = [backbone.num_features(), joint.metadata_features()];
        let joint_part = JointFusion::new(backbone, joint, device)?;
        let head = |features| LinearHead::init(features, &joint.classes, device);
        let [image_head, metadata_head] = features.map(head);
        Ok(Self { joint: joint_part, image_head: image_head?, metadata_head: metadata_head?, beta: *beta })
    }

    /// The joint part.
    pub fn joint(&self) -> &JointFusion<B> {
        &self.joint
    }
}

impl<B: Backbone> Network for JointIndividualFusion<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        let view = self.joint.view();
        vec![
            BranchInfo { name: view.name(), needs: view.into() },
            BranchInfo { name: "metadata", needs: Modalities::METADATA },
            BranchInfo { name: "fusion", needs: Modalities::from(view).and(Modalities::METADATA) },
        ]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.joint.backbone_groups()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { joint: self.joint.freeze_backbones(freeze), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let features = self.joint.features(input, probe);
        let image = self.image_head.forward(features.image); // [B, K_t]
        let metadata = self.metadata_head.forward(features.metadata); // [B, K_t]
        let fused = self.joint.classify(features.fused.clone()); // [B, K_t]
        let branches = vec![
            BranchOutput { name: self.joint.view().name(), logits: image, loss_weight: self.beta },
            BranchOutput { name: "metadata", logits: metadata, loss_weight: 1.0 - self.beta },
            BranchOutput { name: "fusion", logits: fused, loss_weight: 1.0 },
        ];
        NetworkOutput::new(branches, features.fused)
    }
}

impl NetworkDescription for JointIndividualFusionConfig {
    type Network = JointIndividualFusion<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<JointIndividualFusion<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        self.joint.check_settings()?;
        SettingFault::unless((0.0..=1.0).contains(&self.beta), "beta", "from 0 to 1", self.beta)
    }

    fn classes(&self) -> &[usize] {
        &self.joint.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.joint.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        JointFusionConfig::examples(classes, metadata).into_iter().map(Self::new).collect()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.joint.backbone]
    }

    fn view_of(&self, _backbone: usize) -> Option<Modality> {
        Some(self.joint.view)
    }

    fn metadata_inputs(&self) -> usize {
        self.joint.metadata.inputs
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.joint.metadata.inputs = inputs;
    }

    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        Some(&mut self.joint.metadata)
    }
}

impl DescribedNetwork for JointIndividualFusion<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        DescribedNetwork::backbones(&self.joint)
    }

    fn load_backbone_weights_of(self, view: Modality, file: &Path) -> Result<Self, NetworkError> {
        Ok(Self { joint: self.joint.load_backbone_weights_of(view, file)?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageClassifierConfig, Modality};
    use burn::tensor::Tensor;
    use dermafuse_backbones::{BackboneKind, parameter_count};
    use dermafuse_fusion::FusionKind;

    /// The shares of parameters that JIF-MMFA adds on PAD-UFES-20 (81 columns, six classes), as thesis §4.4.2 prints them for these
    /// backbones: six numbers for five, of which `PRINTED_TOO_MANY` is the one without a backbone.
    const PRINTED: [&str; 6] = ["0.08", "0.22", "0.04", "0.05", "0.08", "0.05"];
    const PRINTED_TOO_MANY: usize = 2;
    const BACKBONES: [BackboneKind; 5] = [
        BackboneKind::DenseNet121,
        BackboneKind::MobileNetV2,
        BackboneKind::ResNet50,
        BackboneKind::EfficientNetB3,
        BackboneKind::Xception,
    ];

    #[test]
    fn mmfa_adds_the_published_shares_of_parameters() {
        let device = Device::flex();
        let mmfa: FusionKind = "mmfa".parse().unwrap();
        let mut printed = PRINTED.to_vec();
        printed.remove(PRINTED_TOO_MANY);
        for (backbone, expected) in BACKBONES.into_iter().zip(printed) {
            let joint = JointFusionConfig::new(backbone, Modality::Clinical, 81, mmfa.clone(), vec![6]);
            let whole = parameter_count(&JointIndividualFusionConfig::new(joint).init(&device).unwrap());
            let image = ImageClassifierConfig::new(backbone, Modality::Clinical, vec![6]);
            let added = whole - parameter_count(&image.init(&device).unwrap());
            // The papers' counts have the classifier of ImageNet, with or without the one that is trained beside it.
            let classifier = 6 * backbone.num_features() + 6;
            for base in [backbone.num_params(), backbone.num_params() + classifier] {
                assert_eq!(format!("{:.2}", added as f64 / base as f64), expected, "{added} of {base}, {backbone}");
            }
        }
    }

    #[test]
    fn no_other_five_of_the_six_printed_shares_belong_together() {
        // What is added is `slope · L + constant` in the length L of the image's features, whatever the widths: the smallest and the
        // largest sum that round to a share bound it on both sides.
        let bounds = |share: &str, backbone: BackboneKind| {
            let share: f64 = share.parse().unwrap();
            [share - 0.005, share + 0.005].map(|bound| bound * backbone.num_params() as f64)
        };
        // Whether a line can pass through all five, as far as pairs of them and equal lengths tell.
        let on_a_line = |shares: &[&str]| {
            let of = |at: usize| (BACKBONES[at].num_features() as f64, bounds(shares[at], BACKBONES[at]));
            let points: Vec<_> = (0..5).map(of).collect();
            let mut slope = [0.0_f64, f64::INFINITY]; // longer features never add less
            for (length, [low, high]) in &points {
                for (other, [other_low, other_high]) in points.iter().filter(|(other, _)| other > length) {
                    slope[0] = slope[0].max((other_low - high) / (other - length));
                    slope[1] = slope[1].min((other_high - low) / (other - length));
                }
            }
            let level = points.iter().filter(|(length, _)| *length == points[2].0).map(|(_, bounds)| bounds);
            let level = level.fold([f64::NEG_INFINITY, f64::INFINITY], |[low, high], bounds| {
                [low.max(bounds[0]), high.min(bounds[1])]
            });
            slope[0] <= slope[1] && level[0] <= level[1]
        };
        // The text names 0.22 as MobileNetV2's, the second, so the one too many comes after it.
        for too_many in 2..6 {
            let mut shares = PRINTED.to_vec();
            shares.remove(too_many);
            assert_eq!(on_a_line(&shares), too_many == PRINTED_TOO_MANY, "{shares:?}");
        }
    }

    #[test]
    fn every_fusion_module_gives_three_branches() {
        let device = Device::flex();
        for name in FusionKind::ALL {
            let fusion = name.parse().unwrap();
            let backbone = BackboneKind::ResNet18Quarter;
            let joint = JointFusionConfig::new(backbone, Modality::Dermoscopic, 7, fusion, vec![3]);
            let network = JointIndividualFusionConfig::new(joint).init(&device).unwrap().valid();
            let output = network.forward(MultimodalInput {
                clinical: None,
                dermoscopic: Some(Tensor::zeros([2, 3, 64, 64], &device)),
                metadata: Some(Tensor::zeros([2, 7], &device)),
            });
            let names: Vec<_> = output.branches.iter().map(|branch| branch.name).collect();
            assert_eq!(names, ["dermoscopic", "metadata", "fusion"]);
            assert!(output.branches.iter().all(|branch| branch.logits[0].dims() == [2, 3]), "{name}");
        }
    }

    #[test]
    fn a_beta_that_is_no_share_is_refused() {
        let joint = JointFusionConfig::new(BackboneKind::ResNet18, Modality::Clinical, 7, FusionKind::Concat, vec![3]);
        let config = JointIndividualFusionConfig { joint, beta: 1.5 };
        let error = config.init(&Device::flex()).unwrap_err().to_string();
        assert_eq!(error, "`beta` must be from 0 to 1, found 1.5");
    }
}
