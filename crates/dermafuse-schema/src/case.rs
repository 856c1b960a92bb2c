use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{FieldValue, Name};

/// The identity of a case: unique in its data set, stable across runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaseId(Name);

impl CaseId {
    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity as a name, which shares its text.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.clone()
    }
}

impl<S: Into<Name>> From<S> for CaseId {
    fn from(id: S) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One lesion at one visit: up to two images, what is known of the patient, and the labels.
///
/// ```
/// use dermafuse_schema::Case;
///
/// let case = Case { labels: vec![Some(2)], ..Case::new("ISIC_0000001") };
/// assert_eq!(case.group, "ISIC_0000001"); // of nobody known: a group of its own
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Unique identity.
    pub id: CaseId,
    /// Cases of one group (a patient where the data set says, else a lesion) never stand on both sides of a split.
    pub group: Name,
    /// The patient, where the data set tells patients apart.
    pub patient: Option<Name>,
    /// The lesion, where the data set tells lesions apart.
    pub lesion: Option<Name>,
    /// The clinical close-up photo, if there is one.
    pub clinical: Option<PathBuf>,
    /// The dermoscopic image, if there is one.
    pub dermoscopic: Option<PathBuf>,
    /// One value for each field of the case set.
    pub metadata: Vec<FieldValue>,
    /// One label for each task of the case set; `None` where the task is not annotated.
    pub labels: Vec<Option<usize>>,
}

impl Case {
    /// A case of which nothing but the identity is known, in a group of its own.
    #[must_use]
    pub fn new(id: impl Into<CaseId>) -> Self {
        let id = id.into();
        Self {
            group: id.name(),
            id,
            patient: None,
            lesion: None,
            clinical: None,
            dermoscopic: None,
            metadata: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Whether any metadata value is recorded.
    #[must_use]
    pub fn has_metadata(&self) -> bool {
        self.metadata.iter().any(|value| *value != FieldValue::Missing)
    }
}
