use dermafuse_backbones::BackboneError;
use thiserror::Error;

/// What can be wrong with a network's configuration or its weights.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A network without a task, or a task with fewer than two classes.
    #[error("a network needs at least one task, each with two or more classes; found class counts {classes:?}")]
    Classes {
        /// Classes of each task.
        classes: Vec<usize>,
    },
    /// A dropout probability outside 0..1.
    #[error("dropout must be at least 0 and below 1, found {dropout}")]
    Dropout {
        /// The value.
        dropout: f64,
    },
    /// The features of two backbones that the fusion cannot join.
    #[error(
        "the {clinical} clinical and {dermoscopic} dermoscopic features cannot be summed; choose one backbone for both"
    )]
    Features {
        /// Length of the clinical features.
        clinical: usize,
        /// Length of the dermoscopic features.
        dermoscopic: usize,
    },
    /// Pretrained weights could not be loaded.
    #[error("cannot load backbone weights")]
    Backbone(#[from] BackboneError),
}
