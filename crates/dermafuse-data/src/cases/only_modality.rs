use dermafuse_schema::Modality;

use crate::CaseSet;

impl CaseSet {
    /// The same cases with the images of one kind each, for studies of a single image with metadata. A case that does
    /// not have that image keeps none.
    #[must_use]
    pub fn with_only(mut self, modality: Modality) -> Self {
        for case in &mut self.cases {
            match modality {
                Modality::Clinical => case.dermoscopic.clear(),
                Modality::Dermoscopic => case.clinical.clear(),
            }
        }
        self
    }
}
