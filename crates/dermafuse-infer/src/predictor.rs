use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use dermafuse_data::{BatchLoader, CaseSet, ImageCache, LoaderConfig, MetadataEncoder, Preprocess};
use dermafuse_networks::{BranchInfo, MultimodalInput, Network};
use dermafuse_schema::ndarray::{Array2, Array3, Axis};
use dermafuse_schema::{Branch, BranchLogits};

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
        mut progress: impl FnMut(usize),
    ) -> Result<BranchLogits, InferError> {
        let cohort = set.cohort(rows, encoder)?;
        let views = self.augmentation.views();
        let mut branches: Vec<Branch> = self
            .network
            .branches()
            .iter()
            .map(|info| Branch {
                name: info.name.to_owned(),
                available: Vec::with_capacity(rows.len()),
                logits: set
                    .tasks
                    .iter()
                    .map(|task| Array3::zeros((views.len(), rows.len(), task.classes.len())))
                    .collect(),
            })
            .collect();

        self.for_each_batch(set, rows, encoder, |done, images, input| {
            for (branch, info) in branches.iter_mut().zip(self.network.branches()) {
                let cases = images.0.iter().zip(&images.1);
                branch.available.extend(cases.map(|(&clinical, &dermoscopic)| can_see(info, clinical, dermoscopic)));
            }
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
            progress(done + images.0.len());
        })?;
        let logits = BranchLogits { tasks: set.tasks.clone(), cohort, branches };
        logits.check()?;
        Ok(logits)
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
        self.for_each_batch(set, rows, encoder, |done, images, input| {
            let embedding = self.network.forward(input).embedding; // [B, D]
            width = embedding.dims()[1];
            features.extend(values(embedding));
            progress(done + images.0.len());
        })?;
        if let Some(at) = features.iter().position(|value| !value.is_finite()) {
            let case = set.cases[rows[at / width]].id.to_string();
            return Err(InferError::NonFiniteFeatures { case, value: features[at] });
        }
        Ok(Array2::from_shape_vec((rows.len(), width), features).expect("a row of features for each case"))
    }

    /// Calls `each` with the number of cases before a batch, which images its cases have, and the batch.
    fn for_each_batch(
        &self,
        set: &CaseSet,
        rows: &[usize],
        encoder: &MetadataEncoder,
        mut each: impl FnMut(usize, (Vec<bool>, Vec<bool>), MultimodalInput),
    ) -> Result<(), InferError> {
        let modalities = self.network.modalities();
        let mut config = LoaderConfig::new(self.batch_size, self.preprocess.clone());
        (config.clinical, config.dermoscopic) = (modalities.clinical, modalities.dermoscopic);
        config.threads = self.threads;
        config.cache.clone_from(&self.cache);
        let mut done = 0;
        for batch in BatchLoader::new(set, rows.to_vec(), config)? {
            let batch = batch?;
            let cases = batch.rows.len();
            let images = (batch.has_clinical.clone(), batch.has_dermoscopic.clone());
            let metadata = set.encoded_metadata(&batch.rows, encoder)?;
            each(done, images, tensors_of(batch, metadata, modalities, &self.device));
            done += cases;
        }
        Ok(())
    }
}

fn can_see(branch: BranchInfo, clinical: bool, dermoscopic: bool) -> bool {
    (clinical || !branch.needs.clinical) && (dermoscopic || !branch.needs.dermoscopic)
}

/// The values of a tensor in row-major order.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
