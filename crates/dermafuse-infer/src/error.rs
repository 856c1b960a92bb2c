use std::path::PathBuf;

use dermafuse_data::DataError;
use dermafuse_ensemble::EnsembleError;
use dermafuse_networks::NetworkError;
use dermafuse_schema::{SchemaError, WriteError};
use thiserror::Error;

/// What can go wrong between samples and predictions.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InferError {
    /// Images or metadata could not be read or encoded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Outputs do not fit together or are not finite.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Features that are not finite.
    #[error("a feature of case `{case}` is {value}; are the weights damaged?")]
    NonFiniteFeatures {
        /// The case.
        case: String,
        /// The value.
        value: f32,
    },
    /// The network's configuration or weights are wrong.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The second stage could not be applied.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A bundle's folder or file could not be made or read.
    #[error("cannot access {}; is it a model bundle?", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A bundle's description is not what this version writes.
    #[error("{} is not a description of a model bundle", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A bundle of another format version.
    #[error("bundle {} has format {found}, this version reads format {expected}", path.display())]
    Format {
        /// The bundle.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The format that is read.
        expected: u32,
    },
    /// Weights whose checksum is not the one that was written.
    #[error("{} is damaged: its SHA-256 is {found}, the bundle says {expected}; copy the bundle again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// What the bundle says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// Weights that do not fit the network of the bundle.
    #[error("weights {} do not fit the bundle's network: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A test-time augmentation that does not exist.
    #[error("unknown test-time augmentation `{found}`; use 0, 3, 4 or 6 (views)")]
    TestTimeAugmentation {
        /// What was asked for.
        found: String,
    },
    /// A data set whose tasks are not the model's.
    #[error("the data set's tasks {found:?} are not the model's {expected:?}; use a model trained for this data set")]
    Tasks {
        /// The model's tasks with their classes.
        expected: Vec<String>,
        /// The data set's.
        found: Vec<String>,
    },
}
