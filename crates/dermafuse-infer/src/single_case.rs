use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_data::{BatchLoader, CaseSet, LoaderConfig};
use dermafuse_networks::{BranchInfo, MultimodalInput, Network};
use dermafuse_schema::{BranchWeights, Case, CaseId, Field, FieldKind, FieldValue};

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
        clinical: Option<&Path>,
        dermoscopic: Option<&Path>,
        metadata: &[(String, String)],
    ) -> Result<CaseSet, InferError> {
        let encoder = &self.description.encoder;
        let fields: Vec<Field> = encoder.fields().cloned().collect();
        let mut values = vec![FieldValue::Missing; fields.len()];
        for (at, (name, text)) in metadata.iter().enumerate() {
            let place =
                fields.iter().position(|field| field.name == *name).ok_or_else(|| InferError::UnknownField {
                    field: name.clone(),
                    known: encoder.field_names().into_iter().map(str::to_owned).collect(),
                })?;
            if let Some((_, first)) = metadata[..at].iter().find(|(earlier, _)| earlier == name) {
                return Err(InferError::FieldTwice { field: name.clone(), first: first.clone(), second: text.clone() });
            }
            values[place] = parse(&fields[place], text)?;
        }
        let case = Case {
            clinical: clinical.map(Path::to_owned),
            dermoscopic: dermoscopic.map(Path::to_owned),
            metadata: values,
            labels: vec![None; self.description.tasks.len()],
            ..Case::new(id)
        };
        Ok(CaseSet {
            name: "a single case".into(),
            synthetic: false,
            tasks: self.description.tasks.clone(),
            fields,
            cases: vec![case],
            split: None,
            notes: Vec::new(),
        })
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
            (case.clinical.is_some() || !branch.needs.clinical)
                && (case.dermoscopic.is_some() || !branch.needs.dermoscopic)
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

fn parse(field: &Field, text: &str) -> Result<FieldValue, InferError> {
    let refused =
        |expected| Err(InferError::FieldValue { field: field.name.clone(), found: text.to_owned(), expected });
    match &field.kind {
        FieldKind::Categorical { categories } => match categories.iter().position(|category| category == text) {
            Some(index) => Ok(FieldValue::Category(index)),
            None => refused(format!("one of {}", categories.join(", "))),
        },
        FieldKind::Numeric => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(FieldValue::Number(number)),
            _ => refused("a number".into()),
        },
    }
}
