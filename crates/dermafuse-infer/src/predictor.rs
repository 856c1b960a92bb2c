use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use dermafuse_data::{
    BatchLoader, CaseImages, CaseLoader, CaseSet, DataError, Failures, ImageBatch, ImageCache, ImageCorruption,
    LoaderConfig, Looks, MetadataEncoder, Preprocess, RowFault,
};
use dermafuse_networks::{MultimodalInput, Network};
use dermafuse_schema::ndarray::{Array2, Array3, Axis};
use dermafuse_schema::{Branch, BranchLogits, FailedCase, SchemaError, SeveralImages};

use crate::{InferError, TestTimeAugmentation, kinds_of, modalities_of, tensors_of};

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
    /// What answers for a case that has several images of a kind.
    pub several_images: SeveralImages,
    /// Makes images worse as they are decoded, before they are prepared; `None` leaves them.
    pub corruption: Option<ImageCorruption>,
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
        let several_images = SeveralImages::default();
        Self {
            network,
            device,
            preprocess,
            augmentation,
            batch_size: 16,
            threads: 2,
            cache: None,
            several_images,
            corruption: None,
        }
    }

    /// The logits of the cases at `rows`; `progress` is told how many are done after each batch.
    ///
    /// A case with one kind of image gets the logits of the branches that need only that kind; the others are marked as not
    /// available ([`Network::answering`] says which). A case with several images of a kind is looked at as [`several_images`](Self::several_images) says.
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
        Ok(self.collect(set, rows, encoder, None, Failures::Stop, progress)?.logits)
    }

    /// The logits of the only case of a set, whose images are these: in files or in memory, as many of each kind as the case
    /// has. They are read on the calling thread; paths in the set are not looked at. With them comes the damage of images that
    /// were accepted all the same (see [`Strictness::Lenient`](dermafuse_data::Strictness::Lenient)).
    ///
    /// # Errors
    /// As [`Predictor::logits`]; a set without a case.
    pub fn logits_of_images(
        &self,
        set: &CaseSet,
        images: &CaseImages,
        encoder: &MetadataEncoder,
    ) -> Result<(BranchLogits, Vec<RowFault>), InferError> {
        let collected = self.collect(set, &[0], encoder, Some(images), Failures::Stop, |_| ())?;
        Ok((collected.logits, collected.accepted))
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
        let Collected { logits, rows, failed, .. } =
            self.collect(set, rows, encoder, None, Failures::Report, progress)?;
        Ok((logits, rows, failed))
    }

    fn collect(
        &self,
        set: &CaseSet,
        rows: &[usize],
        encoder: &MetadataEncoder,
        images: Option<&CaseImages>,
        failures: Failures,
        mut progress: impl FnMut(usize),
    ) -> Result<Collected, InferError> {
        let cohort = set.cohort(rows, encoder)?;
        let infos = self.network.branches();
        let kinds = kinds_of(self.network.modalities());
        let failed_case = |row: usize, error: &dyn std::fmt::Display| FailedCase {
            row,
            id: set.cases[row].id.clone(),
            reason: error.to_string(),
        };
        // What is wrong with each row that is not answered, and what was first.
        let (mut faults, mut first): (HashMap<usize, FailedCase>, Option<InferError>) = (HashMap::new(), None);
        // Where the cases that are asked about stand among `rows`.
        let mut asked = Vec::with_capacity(rows.len());
        // Which branches answer for each of them.
        let mut answering = Vec::with_capacity(rows.len());
        for (at, &row) in rows.iter().enumerate() {
            let case = &set.cases[row];
            let branches = self.network.answering(modalities_of(case, cohort.has_metadata[at]));
            if branches.contains(&true) {
                asked.push(at);
                answering.push(branches);
                continue;
            }
            let error = SchemaError::NoBranch { case: case.id.to_string() };
            if failures == Failures::Stop {
                return Err(error.into());
            }
            faults.insert(row, failed_case(row, &error));
            first.get_or_insert(error.into());
        }
        let asked_rows: Vec<usize> = asked.iter().map(|&at| rows[at]).collect();
        let looks: Vec<usize> =
            asked_rows.iter().map(|&row| self.several_images.looks(&set.cases[row], kinds.clone())).collect();
        let most = looks.iter().copied().max().unwrap_or(1);

        let views = self.augmentation.views();
        let mut branches: Vec<Branch> = infos
            .iter()
            .enumerate()
            .map(|(index, info)| Branch {
                name: info.name.to_owned(),
                available: answering.iter().map(|branches| branches[index]).collect(),
                logits: set
                    .tasks
                    .iter()
                    .map(|task| Array3::zeros((most * views.len(), asked.len(), task.classes.len())))
                    .collect(),
            })
            .collect();
        // Every look in the order in which a loader gives them: the place of its case, and which it is.
        let mut all_looks = looks.iter().enumerate().flat_map(|(at, &looks)| (0..looks).map(move |look| (at, look)));
        // How many looks at each case have been read, and of how many cases all of them.
        let (mut read, mut done) = (vec![0; asked.len()], 0);
        let each = match self.several_images {
            SeveralImages::First => Looks::First,
            SeveralImages::MeanOfProbabilities => Looks::Each,
        };
        let mut accepted = Vec::new();
        self.for_each_batch(set, &asked_rows, images, each, encoder, failures, |batch| {
            accepted.extend(batch.accepted);
            for fault in batch.failed {
                faults.entry(fault.row).or_insert_with(|| failed_case(fault.row, &fault.error));
                first.get_or_insert(InferError::Unreadable(fault.error));
            }
            // Those that could not be read are passed over.
            let mut place_of = |row: usize, look: usize| {
                let found = all_looks.find(|&(at, which)| (asked_rows[at], which) == (row, look));
                found.expect("a batch has looks of the question").0
            };
            let places: Vec<(usize, usize)> =
                batch.rows.iter().zip(&batch.looks).map(|(&row, &look)| (place_of(row, look), look)).collect();
            for &(at, _) in &places {
                read[at] += 1;
                done += usize::from(read[at] == looks[at]);
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
                        let classes = tensor.dims()[1];
                        let values = values(tensor); // [B, K_t]
                        for (&(at, look), row) in places.iter().zip(values.chunks_exact(classes)) {
                            let mut slot = logits.index_axis_mut(Axis(0), look * views.len() + view); // [N, K_t]
                            let mut slot = slot.row_mut(at);
                            slot.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
                        }
                    }
                }
            }
            progress(done);
        })?;

        // A case of which one image cannot be read is not answered from the others.
        let answered: Vec<usize> = (0..asked.len()).filter(|&at| read[at] == looks[at]).collect();
        if let (true, Some(error)) = (answered.is_empty(), first) {
            return Err(error);
        }
        let kept: Vec<usize> = answered.iter().map(|&at| asked[at]).collect();
        let several = if most > 1 { looks } else { Vec::new() };
        let cohort = cohort.select(&asked);
        let mut logits = BranchLogits { tasks: set.tasks.clone(), cohort, branches, looks: several };
        if answered.len() < asked.len() {
            logits = logits.select(&answered);
        }
        logits.check()?;
        let answered_rows = kept.iter().map(|&at| rows[at]).collect();
        let mut is_kept = vec![false; rows.len()];
        kept.iter().for_each(|&at| is_kept[at] = true);
        let failed = rows.iter().zip(is_kept).filter(|(_, is_kept)| !is_kept);
        let failed = failed.filter_map(|(row, _)| faults.get(row).cloned()).collect();
        Ok(Collected { logits, rows: answered_rows, failed, accepted })
    }

    /// The features that the last branch's classifier sees (see
    /// [`NetworkOutput::embedding`](dermafuse_networks::NetworkOutput::embedding)), without test-time augmentation, of the first
    /// look at each case.
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
        let mut done = 0;
        self.for_each_batch(set, rows, None, Looks::First, encoder, Failures::Stop, |batch| {
            let Some(input) = batch.input else { return };
            let embedding = self.network.forward(input).embedding; // [B, D]
            width = embedding.dims()[1];
            features.extend(values(embedding));
            done += batch.rows.len();
            progress(done);
        })?;
        if let Some(at) = features.iter().position(|value| !value.is_finite()) {
            let case = set.cases[rows[at / width]].id.to_string();
            return Err(InferError::NonFiniteFeatures { case, value: features[at] });
        }
        Ok(Array2::from_shape_vec((rows.len(), width), features).expect("a row of features for each case"))
    }

    /// Calls `each` with every batch; `images` are those of the only row, else files are read.
    #[allow(clippy::too_many_arguments, reason = "what is read, of what, and how")]
    fn for_each_batch(
        &self,
        set: &CaseSet,
        rows: &[usize],
        images: Option<&CaseImages>,
        looks: Looks,
        encoder: &MetadataEncoder,
        failures: Failures,
        mut each: impl FnMut(ReadBatch),
    ) -> Result<(), InferError> {
        let modalities = self.network.modalities();
        let mut config = LoaderConfig::new(self.batch_size, self.preprocess.clone());
        (config.clinical, config.dermoscopic) = (modalities.clinical, modalities.dermoscopic);
        config.threads = self.threads;
        (config.failures, config.looks) = (failures, looks);
        config.cache.clone_from(&self.cache);
        config.corruption = self.corruption;
        let batches: Box<dyn Iterator<Item = Result<ImageBatch, DataError>>> = match (images, rows) {
            (None, _) => Box::new(BatchLoader::new(set, rows.to_vec(), config)?),
            (Some(_), []) => Box::new(std::iter::empty()),
            (Some(images), &[row, ..]) => Box::new(CaseLoader::new(set, row, images, config)?),
        };
        for batch in batches {
            let mut batch = batch?;
            let rows = batch.rows.clone();
            let (looks, failed) = (batch.looks.clone(), std::mem::take(&mut batch.failed));
            let accepted = std::mem::take(&mut batch.accepted);
            let input = match rows.len() {
                0 => None,
                _ => {
                    let metadata = set.encoded_metadata(&rows, encoder)?;
                    Some(tensors_of(batch, metadata, modalities, &self.device))
                }
            };
            each(ReadBatch { rows, looks, failed, accepted, input });
        }
        Ok(())
    }
}

/// What a network says of cases.
struct Collected {
    logits: BranchLogits,
    /// The rows that could be answered.
    rows: Vec<usize>,
    /// The others.
    failed: Vec<FailedCase>,
    /// Rows with a damaged image that was accepted.
    accepted: Vec<RowFault>,
}

/// A batch as the network sees it, and what must be known of its cases.
struct ReadBatch {
    rows: Vec<usize>,
    looks: Vec<usize>,
    failed: Vec<RowFault>,
    accepted: Vec<RowFault>,
    /// `None` if no case could be read.
    input: Option<MultimodalInput>,
}

/// The values of a tensor in row-major order.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
