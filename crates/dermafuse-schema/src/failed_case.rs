use serde::{Deserialize, Serialize};

use crate::CaseId;

/// A case that could not be answered, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCase {
    /// Its row in the set that was asked about.
    pub row: usize,
    /// Its identity.
    pub id: CaseId,
    /// What is wrong with it.
    pub reason: String,
}
