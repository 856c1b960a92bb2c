use dermafuse_data::DataError;
use thiserror::Error;

use crate::InferError;

/// Why a [`Model`](crate::Model) gives no answer for a patient.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PatientError {
    /// A field that the model does not have.
    #[error("the model uses no field `{field}`; it uses {}", listed(known))]
    UnknownField {
        /// The field.
        field: String,
        /// The fields that it has.
        known: Vec<String>,
    },
    /// A field that was given twice.
    #[error("field `{field}` is given twice: `{first}` and `{second}`; set it once")]
    FieldTwice {
        /// The field.
        field: String,
        /// The first value.
        first: String,
        /// The second.
        second: String,
    },
    /// A value that the field cannot have.
    #[error("field `{field}` is {expected}, not `{found}`")]
    FieldValue {
        /// The field.
        field: String,
        /// The value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// An image that cannot be read; the error names it.
    #[error(transparent)]
    Image(DataError),
    /// Too little for any answer.
    #[error("the model cannot answer from what is given; give it {}", enough.join(", or "))]
    NotEnough {
        /// What would do, each by itself.
        enough: Vec<String>,
    },
    /// A task that the model does not have.
    #[error("the model has no task `{task}`; it has {}", listed(known))]
    UnknownTask {
        /// The task.
        task: String,
        /// The tasks that it has.
        known: Vec<String>,
    },
    /// A group of classes that the model does not have.
    #[error("the model has no group `{group}`; it has {}", listed(known))]
    UnknownGroup {
        /// The group.
        group: String,
        /// The groups that it has.
        known: Vec<String>,
    },
    /// A class that a task does not have.
    #[error("task `{task}` has no class `{class}`; it has {}", listed(known))]
    UnknownClass {
        /// The task.
        task: String,
        /// The class.
        class: String,
        /// The classes that it has.
        known: Vec<String>,
    },
    /// The model itself fails, such as with numbers that are not finite.
    #[error(transparent)]
    Model(InferError),
}

impl From<InferError> for PatientError {
    fn from(error: InferError) -> Self {
        match error {
            InferError::Data(error) => Self::Image(error),
            other => Self::Model(other),
        }
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
