//! No network at all: every class is as likely as every other. It stands where a second stage looks at the record alone.
//!
//! Paper: row M of FusionM4Net's comparison (Tang et al., thesis Table 6.3), whose support vector machines see nothing but the record.
//! Source: the text. Weights: none. Differences: none.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::ParameterGroup;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_WIDTH, require_at_most};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, Modalities, MultimodalInput, Network,
    NetworkDescription, NetworkError, NetworkOutput, Probe,
};

/// Configuration of a [`UniformClassifier`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniformClassifierConfig {
    /// Length `M` of the encoded metadata, `MetadataEncoder::width`.
    #[serde(default)]
    pub metadata: usize,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

/// A logit of 0 for every class of every task. It has no parameters, so there is nothing to train. Made by
/// [`UniformClassifierConfig::init`].
#[derive(Module, Debug)]
pub struct UniformClassifier {
    /// `[1]` the logit of every class. It is no parameter; the network has its device from it.
    logit: Tensor<1>,
    #[module(skip)]
    classes: Vec<usize>,
}

impl UniformClassifierConfig {
    /// A network of the table that has no weights.
    ///
    /// # Errors
    /// No metadata column, or class counts that make no tasks; more than the limits.
    pub fn init(&self, device: &Device) -> Result<UniformClassifier, NetworkError> {
        NetworkError::require_classes(&self.classes)?;
        if self.metadata == 0 {
            return Err(NetworkError::NoMetadata);
        }
        require_at_most("encoded columns", self.metadata, MAX_WIDTH)?;
        Ok(UniformClassifier { logit: Tensor::zeros([1], device), classes: self.classes.clone() })
    }
}

impl Network for UniformClassifier {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![BranchInfo { name: "uniform", needs: Modalities::METADATA }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        Vec::new()
    }

    fn freeze_backbones(self, _freeze: BackboneFreeze) -> Self {
        self
    }

    fn forward_probed(&self, input: MultimodalInput, _probe: &mut Probe) -> NetworkOutput {
        let metadata = input.metadata(); // [B, M]
        let batch = metadata.dims()[0];
        let logit = self.logit.clone().reshape([1, 1]);
        let logits = self.classes.iter().map(|&classes| logit.clone().expand([batch, classes])); // [B, K_t]
        NetworkOutput::new(vec![BranchOutput::new("uniform", logits.collect())], metadata)
    }
}

impl NetworkDescription for UniformClassifierConfig {
    type Network = UniformClassifier;

    fn make(&self, device: &Device) -> Result<UniformClassifier, NetworkError> {
        self.init(device)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        vec![Self { metadata, classes: classes.to_vec() }]
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.metadata = inputs;
    }
}

impl DescribedNetwork for UniformClassifier {}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn every_class_is_as_likely_as_every_other_and_nothing_is_learnt() {
        let device = Device::flex();
        let network = UniformClassifierConfig { metadata: 4, classes: vec![3, 2] }.init(&device).unwrap();
        assert_eq!(parameter_count(&network), 0);
        assert_eq!(network.devices().first(), Some(&device));
        let metadata = Some(Tensor::ones([5, 4], &device));
        let output = network.forward(MultimodalInput { clinical: None, dermoscopic: None, metadata });
        let [branch] = &output.branches[..] else { panic!("one branch") };
        for (logits, classes) in branch.logits.iter().zip([3, 2]) {
            assert_eq!(logits.dims(), [5, classes]);
            assert_eq!(logits.to_data().try_to_vec::<f32>().unwrap(), vec![0.0; 5 * classes]);
        }
        let none = UniformClassifierConfig { metadata: 0, classes: vec![3, 2] }.init(&device).unwrap_err();
        assert!(matches!(none, NetworkError::NoMetadata));
    }
}
