use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_data::{BatchLoader, CaseSet, LoaderConfig};
use dermafuse_networks::{BranchInfo, MultimodalInput, Network};
use dermafuse_schema::{BranchWeights, Case, CaseId, Modality};

use crate::bundle::Bundle;
use crate::{ExplainedLogit, InferError, tensors_of};

impl Bundle {
    /// One case as a data set of its own, from image files and what is known of the patient: names of the model's fields
    /// ([`MetadataEncoder::fields`](dermafuse_data::MetadataEncoder::fields)) with their values as text.
    ///
    /// # Errors
    /// A field that the model does not use, one that is given twice, a category that the field does not have, a number that
    /// is none.
    pub fn single_case(
        &self,
        id: impl Into<CaseId>,
        clinical: &[PathBuf],
        dermoscopic: &[PathBuf],
        metadata: &[(String, String)],
    ) -> Result<CaseSet, InferError> {
        let mut questions = self.questions();
        questions.add(id, clinical, dermoscopic, metadata)?;
        Ok(CaseSet { name: "a single case".into(), ..questions.into_set() })
    }

    /// The cases at `rows` as the network sees them, on its device; an image that is not there is zeros.
    ///
    /// # Errors
    /// No rows, a row that there is not, an image that cannot be read, metadata that does not fit the encoder.
    pub fn input(&self, set: &CaseSet, rows: &[usize]) -> Result<MultimodalInput, InferError> {
        let device = self.device();
        let modalities = self.network.modalities();
        let mut config = LoaderConfig::new(rows.len(), self.description.preprocess.clone());
        (config.clinical, config.dermoscopic) = (modalities.clinical, modalities.dermoscopic);
        let batch = BatchLoader::new(set, rows.to_vec(), config)?.next().expect("rows make a batch")?;
        let metadata = set.encoded_metadata(rows, &self.description.encoder)?;
        Ok(tensors_of(batch, metadata, modalities, &device))
    }

    /// The logit behind the model's answer to a case: that of a task in the branches that the case has, by the branch weights.
    ///
    /// Where the model averages probabilities instead of logits, and for what its second stage adds, this is an approximation.
    ///
    /// # Errors
    /// A case that no branch can answer to.
    pub fn explained_logit(&self, case: &Case, task: usize) -> Result<ExplainedLogit, InferError> {
        let has = |branch: &BranchInfo| {
            (case.has(Modality::Clinical) || !branch.needs.clinical)
                && (case.has(Modality::Dermoscopic) || !branch.needs.dermoscopic)
        };
        let weights = &self.two_stage.branch_weights;
        let weight = |name: &str| {
            let named = weights.names().iter().zip(weights.values()).find(|(other, _)| *other == name);
            named.map_or(0.0, |(_, weight)| *weight)
        };
        let there: Vec<BranchInfo> = self.network.branches().into_iter().filter(has).collect();
        let own = BranchWeights::new(there.iter().map(|branch| (branch.name, weight(branch.name))));
        // As in fusion: branches that all have no weight count alike.
        let branches = match own {
            Ok(branches) => branches,
            Err(_) => BranchWeights::new(there.iter().map(|branch| (branch.name, 1.0)))?,
        };
        Ok(ExplainedLogit { branches, task, class: None })
    }

    /// The network's device, without gradients.
    pub(crate) fn device(&self) -> Device {
        self.network.devices().first().expect("a network has parameters").clone().inner()
    }
}
