use serde::{Deserialize, Serialize};

use crate::CaseSet;

/// The instrument that a picture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// A camera at some distance.
    Clinical,
    /// A dermatoscope on the skin.
    Dermoscopic,
}

impl CaseSet {
    /// The same cases with one of their two images each, for studies of a single image with metadata. A case that does
    /// not have that image keeps none.
    #[must_use]
    pub fn with_only(mut self, modality: Modality) -> Self {
        for case in &mut self.cases {
            match modality {
                Modality::Clinical => case.dermoscopic = None,
                Modality::Dermoscopic => case.clinical = None,
            }
        }
        self
    }
}
