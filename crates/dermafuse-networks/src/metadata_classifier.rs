//! A classifier over the patient's record alone: what an image has to add to.
//!
//! Paper: `P_M` of joint-individual fusion (thesis §4.2) on its own. Source: the text. Weights: none. Differences: none.

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_backbones::ParameterGroup;
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::require_dropout;
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, MetadataNetwork, MetadataNetworkConfig,
    Modalities, MultimodalInput, Network, NetworkDescription, NetworkError, NetworkOutput, Probe,
};

/// Configuration of a [`MetadataClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataClassifierConfig {
    /// The network over the record.
    pub metadata: MetadataNetworkConfig,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

/// `C_M(M_M(record))`. Made by [`MetadataClassifierConfig::init`].
#[derive(Module, Debug)]
pub struct MetadataClassifier {
    metadata: MetadataNetwork,
    head: LinearHead,
}

impl MetadataClassifierConfig {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// Class counts or layers that make no network.
    pub fn init(&self, device: &Device) -> Result<MetadataClassifier, NetworkError> {
        let metadata = self.metadata.init(device)?;
        let head = LinearHead::init(self.metadata.features(), &self.classes, device)?;
        Ok(MetadataClassifier { metadata, head })
    }
}

impl Network for MetadataClassifier {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![BranchInfo { name: "metadata", needs: Modalities::METADATA }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        Vec::new()
    }

    fn freeze_backbones(self, _freeze: BackboneFreeze) -> Self {
        self
    }

    fn forward_probed(&self, input: MultimodalInput, _probe: &mut Probe) -> NetworkOutput {
        let features = self.metadata.forward(input.metadata()); // [B, L_M]
        let branch = BranchOutput::new("metadata", self.head.forward(features.clone())); // [B, K_t]
        NetworkOutput::new(vec![branch], features)
    }
}

impl NetworkDescription for MetadataClassifierConfig {
    type Network = MetadataClassifier;

    fn make(&self, device: &Device) -> Result<MetadataClassifier, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        require_dropout(self.metadata.dropout).map_err(|fault| fault.under("metadata"))
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        vec![Self { metadata: MetadataNetworkConfig::new(metadata), classes: classes.to_vec() }]
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata.inputs
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.metadata.inputs = inputs;
    }

    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        Some(&mut self.metadata)
    }
}

impl DescribedNetwork for MetadataClassifier {}
