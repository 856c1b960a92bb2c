use dermafuse_data::DataError;
use dermafuse_ensemble::EnsembleError;
use dermafuse_infer::InferError;
use dermafuse_networks::NetworkError;
use dermafuse_schema::SchemaError;
use dermafuse_train::TrainError;
use thiserror::Error;

/// What can go wrong in a recipe: the error of the step that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Reading or encoding cases.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Making the network or loading its weights.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Training.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// Predicting, or writing the bundle.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Searching weights or fitting the classifiers.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// Outputs that do not fit together.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl From<TrainError> for RecipeError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}
