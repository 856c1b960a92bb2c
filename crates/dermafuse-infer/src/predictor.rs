use burn::tensor::{Device, Tensor};
use dermafuse_data::{BatchLoader, CaseSet, LoaderConfig, MetadataEncoder, Preprocess};
use dermafuse_networks::{BranchInfo, MultimodalInput, Network};
use dermafuse_schema::ndarray::{Array3, Axis};
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
        Self { network, device, preprocess, augmentation, batch_size: 16, threads: 2 }
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

        let mut config = LoaderConfig::new(self.batch_size, self.preprocess.clone());
        config.threads = self.threads;
        let mut done = 0;
        for batch in BatchLoader::new(set, rows.to_vec(), config)? {
            let batch = batch?;
            let cases = batch.rows.len();
            for (branch, info) in branches.iter_mut().zip(self.network.branches()) {
                let available = batch.has_clinical.iter().zip(&batch.has_dermoscopic);
                branch
                    .available
                    .extend(available.map(|(&clinical, &dermoscopic)| can_see(info, clinical, dermoscopic)));
            }
            let input = tensors_of(batch, &self.device);
            for (view, transform) in views.iter().enumerate() {
                let output = self.network.forward(MultimodalInput {
                    clinical: transform.apply(input.clinical.clone()),
                    dermoscopic: transform.apply(input.dermoscopic.clone()),
                });
                for (branch, output) in branches.iter_mut().zip(output.branches) {
                    for (logits, tensor) in branch.logits.iter_mut().zip(output.logits) {
                        let mut view = logits.index_axis_mut(Axis(0), view); // [N, K_t]
                        let place = view.iter_mut().skip(done * tensor.dims()[1]);
                        place.zip(values(tensor)).for_each(|(place, value)| *place = value);
                    }
                }
            }
            done += cases;
            progress(done);
        }
        let logits = BranchLogits { tasks: set.tasks.clone(), cohort, branches };
        logits.check()?;
        Ok(logits)
    }
}

fn can_see(branch: &BranchInfo, clinical: bool, dermoscopic: bool) -> bool {
    (clinical || !branch.needs_clinical) && (dermoscopic || !branch.needs_dermoscopic)
}

/// The values of a tensor in row-major order.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
