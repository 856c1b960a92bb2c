use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use dermafuse_data::{CaseSet, MetadataEncoder, Preprocess};
use dermafuse_ensemble::TwoStage;
use dermafuse_networks::{AnyNetwork, Network, NetworkConfig};
use dermafuse_schema::{BranchLogits, Predictions, TaskSet, write_whole_file};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{InferError, Predictor, TestTimeAugmentation};

const FORMAT: u32 = 1;
const DESCRIPTION: &str = "bundle.json";
const NETWORK: &str = "network.bpk";
const TWO_STAGE: &str = "two_stage.json";

/// Everything about a trained model that is not a number of it: the file `bundle.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundleDescription {
    /// Name of the data set it was trained on.
    pub data_set: String,
    /// Whether that data set is synthetic.
    pub synthetic: bool,
    /// What it predicts.
    pub tasks: TaskSet,
    /// How metadata becomes numbers, as fitted on the training cases.
    pub encoder: MetadataEncoder,
    /// The architecture.
    pub network: NetworkConfig,
    /// How images are prepared.
    pub preprocess: Preprocess,
    /// The views that are averaged.
    pub augmentation: TestTimeAugmentation,
}

/// A trained model: the network, its second stage, and how to feed them. On disk it is a folder of `bundle.json`,
/// `network.bpk` (weights) and `two_stage.json` (branch weights and classifiers).
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What it is.
    pub description: BundleDescription,
    /// The trained network.
    pub network: AnyNetwork,
    /// What happens to its logits.
    pub two_stage: TwoStage,
}

/// `bundle.json`: the description and the checksums of the other files.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    #[serde(flatten)]
    description: BundleDescription,
    network_sha256: String,
    two_stage_sha256: String,
}

impl Bundle {
    /// Writes the bundle into a folder, which is made if needed. `bundle.json` is written last, so a folder that has one
    /// is complete. Parts of the network that only training needs are left out.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), InferError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|source| InferError::Io { path: folder.to_owned(), source })?;
        let network_path = folder.join(NETWORK);
        let network = self
            .network
            .valid()
            .into_inference()
            .into_record()
            .into_bytes()
            .map_err(|error| InferError::Weights { path: network_path.clone(), reason: error.to_string() })?;
        let two_stage = to_json(&self.two_stage);
        let manifest = Manifest {
            format: FORMAT,
            description: BundleDescription {
                network: self.description.network.clone().inference(),
                ..self.description.clone()
            },
            network_sha256: sha256_hex(&network),
            two_stage_sha256: sha256_hex(&two_stage),
        };
        write_whole_file(&network_path, &network)?;
        write_whole_file(&folder.join(TWO_STAGE), &two_stage)?;
        write_whole_file(&folder.join(DESCRIPTION), &to_json(&manifest))?;
        Ok(())
    }

    /// Reads a bundle and puts its network on a device.
    ///
    /// # Errors
    /// A file that is missing, damaged (checksums are compared), of another format, or weights that do not fit.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self, InferError> {
        let folder = folder.as_ref();
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| InferError::Io { path, source })
        };
        let description = |source| InferError::Description { path: folder.join(DESCRIPTION), source };
        let bytes = read(DESCRIPTION)?;
        let format = serde_json::from_slice::<serde_json::Value>(&bytes).map_err(description)?["format"].as_u64();
        if format != Some(FORMAT.into()) {
            let found = format.and_then(|format| u32::try_from(format).ok()).unwrap_or(0);
            return Err(InferError::Format { path: folder.to_owned(), found, expected: FORMAT });
        }
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(description)?;

        let read_checked = |name: &str, expected: &str| {
            let bytes = read(name)?;
            let found = sha256_hex(&bytes);
            match found == expected {
                true => Ok(bytes),
                false => Err(InferError::Checksum { path: folder.join(name), expected: expected.to_owned(), found }),
            }
        };
        let two_stage = read_checked(TWO_STAGE, &manifest.two_stage_sha256)?;
        let two_stage = serde_json::from_slice(&two_stage)
            .map_err(|source| InferError::Description { path: folder.join(TWO_STAGE), source })?;
        let weights = read_checked(NETWORK, &manifest.network_sha256)?;
        let network = manifest.description.network.init(device)?;
        let network = ModuleRecord::from_bytes(Bytes::from_bytes_vec(weights))
            .and_then(|record| network.try_load_record(record))
            .map_err(|error| InferError::Weights { path: folder.join(NETWORK), reason: error.to_string() })?;
        Ok(Self { description: manifest.description, network, two_stage })
    }

    /// The network's logits of the cases at `rows`; `progress` is told how many are done.
    ///
    /// # Errors
    /// A data set with other tasks, and as [`Predictor::logits`].
    pub fn logits(
        &self,
        set: &CaseSet,
        rows: &[usize],
        progress: impl FnMut(usize),
    ) -> Result<BranchLogits, InferError> {
        self.check_tasks(set)?;
        let BundleDescription { encoder, preprocess, augmentation, .. } = &self.description;
        Predictor::new(&self.network, preprocess.clone(), *augmentation).logits(set, rows, encoder, progress)
    }

    /// The predictions of every stage, from the single branches to the last one, by name (see [`TwoStage::apply`]).
    ///
    /// # Errors
    /// As [`logits`](Self::logits), and as [`TwoStage::apply`].
    pub fn predict(
        &self,
        set: &CaseSet,
        rows: &[usize],
        progress: impl FnMut(usize),
    ) -> Result<Vec<(String, Predictions)>, InferError> {
        Ok(self.two_stage.apply(&self.logits(set, rows, progress)?)?)
    }

    pub(crate) fn check_tasks(&self, set: &CaseSet) -> Result<(), InferError> {
        let names =
            |tasks: &TaskSet| tasks.iter().map(|task| format!("{} ({})", task.name, task.classes.join(", "))).collect();
        let tasks = &self.description.tasks;
        match &set.tasks == tasks {
            true => Ok(()),
            false => Err(InferError::Tasks { expected: names(tasks), found: names(&set.tasks) }),
        }
    }
}

/// The SHA-256 of bytes in lower-case hexadecimal.
///
/// ```
/// let empty = dermafuse_infer::sha256_hex(b"");
/// assert!(empty.starts_with("e3b0c44298fc1c14"));
/// ```
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("descriptions have string keys only, so they always serialise")
}
