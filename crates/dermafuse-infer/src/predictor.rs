use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use dermafuse_data::{BatchLoader, CaseSet, Failures, ImageCache, LoaderConfig, MetadataEncoder, Preprocess, RowFault};
use dermafuse_networks::{MultimodalInput, Network};
use dermafuse_schema::ndarray::{Array2, Array3, Axis};
use dermafuse_schema::{Branch, BranchLogits, FailedCase, SchemaError};

use crate::{InferError, TestTimeAugmentation, tensors_of};

/// Runs a network over cases and collects the logits of every branch, view and task.
#[derive(Clone, Debug)]
pub struct Predictor<N> {
    /// The network in inference mode (`valid()`).
    network: N,
    device: Device,
    /// How images are prepared: as in training.
    pub preprocess: Preprocess,
    /// The views to average.
    pub augmentation: TestTimeAugmentation,
    /// Cases in one forward pass; changes speed and memory, not results.
    pub batch_size: usize,
    /// Threads that decode images.
    pub threads: usize,
    /// Decoded images in memory, to share with other predictors and trainers.
    pub cache: Option<Arc<ImageCache>>,
}

impl<N: Network> Predictor<N> {
    /// A predictor with 16 cases a batch and two decoding threads. The network is put into inference mode.
    ///
    /// # Panics
    /// If the network has no parameters.
    #[must_use]
    pub fn new(network: &N, preprocess: Preprocess, augmentation: TestTimeAugmentation) -> Self {
        let network = network.valid();
        let device = network.devices().first().expect("a network has parameters").clone().inner();
        Self { network, device, preprocess, augmentation, batch_size: 16, threads: 2, cache: None }
    }

    /// The logits of the cases at `rows`; `progress` is told how many are done after each batch.
    ///
    /// A case with one image gets the logits of the branches that need only that image; the others are marked as not
    /// available.
    ///
    /// # Errors
    /// An image that cannot be read, a case without any image, metadata that does not fit the encoder, logits that are
    /// not finite: each names the case.
    pub fn logits(
        &self,
        set: &CaseSet,
        rows: &[usize],
        encoder: &MetadataEncoder,
        progress: impl FnMut(usize),
    ) -> Result<BranchLogits, InferError> {
        let (logits, _, _) = self.collect(set, rows, encoder, Failures::Stop, progress)?;
        Ok(logits)
    }

    /// The logits of those of the cases at `rows` that can be answered, their rows, and the others with the reason:
    /// an image that cannot be read, no image that any branch could look at. The numbers of a case do not depend on the
    /// others.
    ///
    /// # Errors
    /// No case that can be answered: the error of the first. Metadata that does not fit the encoder, logits that are not
    /// finite.
    pub fn readable_logits(
        &self,
        set: &CaseSet,
        rows: &[usize],
        encoder: &MetadataEncoder,
        progress: impl FnMut(usize),
    ) -> Result<(BranchLogits, Vec<usize>, Vec<FailedCase>), InferError> {
        self.collect(set, rows, encoder, Failures::Report, progress)
    }

    fn collect(
        &self,
        set: &CaseSet,
        rows: &[usize],
        encoder: &MetadataEncoder,
        failures: Failures,
        mut progress: impl FnMut(usize),
    ) -> Result<(BranchLogits, Vec<usize>, Vec<FailedCase>), InferError> {
        let cohort = set.cohort(rows, encoder)?;
        let infos = self.network.branches();
        let failed_case = |row: usize, error: &dyn std::fmt::Display| FailedCase {
            row,
            id: set.cases[row].id.clone(),
            reason: error.to_string(),
        };
        // What is wrong with each row that is not answered, and what was first.
        let (mut failed, mut first): (Vec<FailedCase>, Option<InferError>) = (Vec::new(), None);
        let (mut asked, mut kept) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (at, &row) in rows.iter().enumerate() {
            let case = &set.cases[row];
            if infos.iter().any(|info| info.can_see(case.clinical.is_some(), case.dermoscopic.is_some())) {
                asked.push(row);
                kept.push(at);
                continue;
            }
            let error = SchemaError::NoBranch { case: case.id.to_string() };
            if failures == Failures::Stop {
                return Err(error.into());
            }
            failed.push(failed_case(row, &error));
            first.get_or_insert(error.into());
        }

        let views = self.augmentation.views();
        let mut branches: Vec<Branch> = infos
            .iter()
            .map(|info| Branch {
                name: info.name.to_owned(),
                available: Vec::with_capacity(asked.len()),
                logits: set
                    .tasks
                    .iter()
                    .map(|task| Array3::zeros((views.len(), asked.len(), task.classes.len())))
                    .collect(),
            })
            .collect();
        let mut read = vec![false; asked.len()];
        let mut next = 0;
        self.for_each_batch(set, &asked, encoder, failures, |done, batch| {
            for fault in batch.failed {
                failed.push(failed_case(fault.row, &fault.error));
                first.get_or_insert(InferError::Unreadable(fault.error));
            }
            for (branch, info) in branches.iter_mut().zip(&infos) {
                let cases = batch.has_clinical.iter().zip(&batch.has_dermoscopic);
                branch.available.extend(cases.map(|(&clinical, &dermoscopic)| info.can_see(clinical, dermoscopic)));
            }
            // A batch lists its rows in the order in which they were asked about.
            for row in &batch.rows {
                next += asked[next..].iter().position(|asked| asked == row).expect("a batch has rows of the question");
                read[next] = true;
                next += 1;
            }
            let Some(input) = batch.input else { return };
            for (view, transform) in views.iter().enumerate() {
                let turned = |image: &Option<Tensor<4>>| image.clone().map(|image| transform.apply(image));
                let output = self.network.forward(MultimodalInput {
                    clinical: turned(&input.clinical),
                    dermoscopic: turned(&input.dermoscopic),
                    metadata: input.metadata.clone(),
                });
                for (branch, output) in branches.iter_mut().zip(output.branches) {
                    for (logits, tensor) in branch.logits.iter_mut().zip(output.logits) {
                        let mut view = logits.index_axis_mut(Axis(0), view); // [N, K_t]
                        let place = view.iter_mut().skip(done * tensor.dims()[1]);
                        place.zip(values(tensor)).for_each(|(place, value)| *place = value);
                    }
                }
            }
            progress(done + batch.rows.len());
        })?;

        let answered = read.iter().filter(|&&read| read).count();
        if let (0, Some(error)) = (answered, first) {
            return Err(error);
        }
        for logits in branches.iter_mut().flat_map(|branch| &mut branch.logits) {
            logits.slice_axis_inplace(Axis(1), (0..answered).into());
        }
        let kept: Vec<usize> = kept.into_iter().zip(&read).filter(|(_, read)| **read).map(|(at, _)| at).collect();
        let answered_rows = kept.iter().map(|&at| rows[at]).collect();
        let logits = BranchLogits { tasks: set.tasks.clone(), cohort: cohort.select(&kept), branches };
        logits.check()?;
        let place: HashMap<usize, usize> = rows.iter().enumerate().rev().map(|(at, &row)| (row, at)).collect();
        failed.sort_by_key(|case| place.get(&case.row));
        Ok((logits, answered_rows, failed))
    }

    /// The features that the last branch's classifier sees (see
    /// [`NetworkOutput::embedding`](dermafuse_networks::NetworkOutput::embedding)), without test-time augmentation.
    ///
    /// # Shapes
    /// `[N, D]`, `N = rows.len()`.
    ///
    /// # Errors
    /// An image that cannot be read, metadata that does not fit the encoder, features that are not finite.
    pub fn embeddings(
        &self,
        set: &CaseSet,
        rows: &[usize],
        encoder: &MetadataEncoder,
        mut progress: impl FnMut(usize),
    ) -> Result<Array2<f32>, InferError> {
        let (mut features, mut width) = (Vec::new(), 0);
        self.for_each_batch(set, rows, encoder, Failures::Stop, |done, batch| {
            let Some(input) = batch.input else { return };
            let embedding = self.network.forward(input).embedding; // [B, D]
            width = embedding.dims()[1];
            features.extend(values(embedding));
            progress(done + batch.rows.len());
        })?;
        if let Some(at) = features.iter().position(|value| !value.is_finite()) {
            let case = set.cases[rows[at / width]].id.to_string();
            return Err(InferError::NonFiniteFeatures { case, value: features[at] });
        }
        Ok(Array2::from_shape_vec((rows.len(), width), features).expect("a row of features for each case"))
    }

    /// Calls `each` with the number of cases that were read before a batch, and the batch.
    fn for_each_batch(
        &self,
        set: &CaseSet,
        rows: &[usize],
        encoder: &MetadataEncoder,
        failures: Failures,
        mut each: impl FnMut(usize, ReadBatch),
    ) -> Result<(), InferError> {
        let modalities = self.network.modalities();
        let mut config = LoaderConfig::new(self.batch_size, self.preprocess.clone());
        (config.clinical, config.dermoscopic) = (modalities.clinical, modalities.dermoscopic);
        config.threads = self.threads;
        config.failures = failures;
        config.cache.clone_from(&self.cache);
        let mut done = 0;
        for batch in BatchLoader::new(set, rows.to_vec(), config)? {
            let mut batch = batch?;
            let rows = batch.rows.clone();
            let cases = rows.len();
            let failed = std::mem::take(&mut batch.failed);
            let (has_clinical, has_dermoscopic) = (batch.has_clinical.clone(), batch.has_dermoscopic.clone());
            let input = match cases {
                0 => None,
                _ => {
                    let metadata = set.encoded_metadata(&rows, encoder)?;
                    Some(tensors_of(batch, metadata, modalities, &self.device))
                }
            };
            each(done, ReadBatch { rows, has_clinical, has_dermoscopic, failed, input });
            done += cases;
        }
        Ok(())
    }
}

/// A batch as the network sees it, and what must be known of its cases.
struct ReadBatch {
    rows: Vec<usize>,
    has_clinical: Vec<bool>,
    has_dermoscopic: Vec<bool>,
    failed: Vec<RowFault>,
    /// `None` if no case could be read.
    input: Option<MultimodalInput>,
}

/// The values of a tensor in row-major order.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
