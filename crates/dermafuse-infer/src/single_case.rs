use burn::module::Module;
use burn::tensor::Device;
use dermafuse_data::{
    BatchLoader, CaseImages, CaseLoader, CaseSet, CaseView, DataError, ImageBatch, LoaderConfig, Looks,
};
use dermafuse_networks::{BranchInfo, MultimodalInput, Network};
use dermafuse_schema::{BranchWeights, CaseId, CaseImage, SeveralImages};

use crate::bundle::Bundle;
use crate::{ExplainedLogit, InferError, kinds_of, modalities_of, tensors_of};

impl Bundle {
    /// One case as a data set of its own, from image files, with where the lesion is in them if that is known, and what is known of the patient: names of the model's fields
    /// ([`MetadataEncoder::fields`](dermafuse_data::MetadataEncoder::fields)) with their values as text.
    ///
    /// # Errors
    /// A field that the model does not use, one that is given twice, a category that the field does not have, a number that
    /// is none.
    pub fn single_case(
        &self,
        id: impl Into<CaseId>,
        clinical: &[CaseImage],
        dermoscopic: &[CaseImage],
        metadata: &[(String, String)],
    ) -> Result<CaseSet, InferError> {
        let mut questions = self.questions();
        questions.add(id, clinical, dermoscopic, metadata)?;
        Ok(CaseSet { name: "a single case".into(), ..questions.into_set() })
    }

    /// The looks at the case at `row` that its answer comes from, each as the network sees it, on its device: one, unless the
    /// case has several images of a kind (see [`BundleDescription::several_images`](crate::BundleDescription::several_images)).
    ///
    /// # Errors
    /// A row that there is not, and as [`Bundle::input`].
    pub fn inputs(&self, set: &CaseSet, row: usize) -> Result<Vec<MultimodalInput>, InferError> {
        let set = self.in_model_tasks(set)?;
        Ok(each_look(self.input_of(&set.view(vec![row])?, self.looks())?))
    }

    /// The same for the only case of a set, whose images are these, read on the calling thread.
    ///
    /// # Errors
    /// As [`Bundle::input`].
    pub(crate) fn inputs_of_images(
        &self,
        set: &CaseSet,
        images: &CaseImages,
    ) -> Result<Vec<MultimodalInput>, InferError> {
        let config = self.loader_config(&set.view(&[0])?, self.looks());
        let batch = CaseLoader::new(set, 0, images, config)?.next().expect("a case has a look")?;
        Ok(each_look(self.input_of_batch(set, batch)?))
    }

    fn looks(&self) -> Looks {
        match self.description.several_images {
            SeveralImages::First => Looks::First,
            SeveralImages::MeanOfProbabilities => Looks::Each,
        }
    }

    /// The first looks at the cases as the network sees them, on its device; an image that is not there is zeros.
    ///
    /// # Errors
    /// An image that cannot be read, metadata that does not fit the encoder.
    pub fn input(&self, cases: &CaseView<'_>) -> Result<MultimodalInput, InferError> {
        let set = self.in_model_tasks(cases.set())?;
        self.input_of(&set.view(cases.rows())?, Looks::First)
    }

    fn input_of(&self, cases: &CaseView<'_>, looks: Looks) -> Result<MultimodalInput, InferError> {
        let batch = BatchLoader::new(cases, self.loader_config(cases, looks))?.next().expect("cases make a batch")?;
        self.input_of_batch(cases.set(), batch)
    }

    /// Reads all looks at the cases as one batch.
    fn loader_config(&self, cases: &CaseView<'_>, looks: Looks) -> LoaderConfig {
        let modalities = self.network.modalities();
        let all = cases.cases().map(|case| case.looks(kinds_of(modalities))).sum();
        let mut config = LoaderConfig::new(all, self.description.preprocess.clone());
        (config.clinical, config.dermoscopic, config.looks) = (modalities.clinical, modalities.dermoscopic, looks);
        config
    }

    fn input_of_batch(&self, set: &CaseSet, batch: ImageBatch) -> Result<MultimodalInput, InferError> {
        let metadata = set.view(&batch.rows)?.encoded_metadata(&self.description.encoder)?;
        Ok(tensors_of(batch, metadata, self.network.modalities(), &self.device()))
    }

    /// The logit behind the model's answer to the case at `row`: that of a task in the branches that answer for it, by the branch
    /// weights.
    ///
    /// Where the model averages probabilities instead of logits, and for what its second stage adds, this is an approximation.
    ///
    /// # Errors
    /// A row that there is not, metadata that does not fit the encoder, a case that no branch can answer to.
    pub fn explained_logit(&self, set: &CaseSet, row: usize, task: usize) -> Result<ExplainedLogit, InferError> {
        if self.description.heads.is_some() {
            return Err(InferError::NoGradients);
        }
        let set = self.in_model_tasks(set)?;
        let case = set.cases.get(row).ok_or(DataError::Row { row, cases: set.len() })?;
        let has_record = self.description.encoder.matched(&set.fields)?.has_metadata(case)?;
        let answering = self.answering(modalities_of(case, has_record));
        let weights = &self.two_stage.branch_weights;
        let weight = |name: &str| {
            let named = weights.names().iter().zip(weights.values()).find(|(other, _)| *other == name);
            named.map_or(0.0, |(_, weight)| *weight)
        };
        let branches = self.network.branches().into_iter().zip(answering);
        let there: Vec<BranchInfo> = branches.filter_map(|(branch, answers)| answers.then_some(branch)).collect();
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

/// The looks that are the rows of a batch.
fn each_look(whole: MultimodalInput) -> Vec<MultimodalInput> {
    let count = [&whole.clinical, &whole.dermoscopic].into_iter().flatten().map(|images| images.dims()[0]).max();
    let look = |at: usize| MultimodalInput {
        clinical: whole.clinical.clone().map(|images| images.narrow(0, at, 1)), // [1, 3, S, S]
        dermoscopic: whole.dermoscopic.clone().map(|images| images.narrow(0, at, 1)),
        metadata: whole.metadata.clone().map(|metadata| metadata.narrow(0, at, 1)),
    };
    (0..count.unwrap_or(1)).map(look).collect()
}
