//! What the later stations are told of the cases of a set.

use dermafuse_schema::Cohort;
use dermafuse_schema::ndarray::Array2;

use crate::{CaseView, DataError, MetadataEncoder};

impl CaseView<'_> {
    /// The facts about the cases, in order, with their metadata encoded.
    ///
    /// # Shapes
    /// `N = self.len()`, `M = encoder.width()`.
    ///
    /// # Errors
    /// Fields or a case that do not fit the encoder, or labels that do not fit the tasks.
    pub fn cohort(&self, encoder: &MetadataEncoder) -> Result<Cohort, DataError> {
        let metadata = self.encoded_metadata(encoder)?;
        let matched = encoder.matched(&self.set().fields)?;
        let has_metadata = self.cases().map(|case| matched.has_metadata(case)).collect::<Result<_, _>>()?;
        let cohort = Cohort {
            ids: self.cases().map(|case| case.id.clone()).collect(),
            groups: self.cases().map(|case| case.group.as_str().to_owned()).collect(),
            labels: self.cases().map(|case| case.labels.clone()).collect(),
            metadata,
            has_metadata,
        };
        cohort.check(&self.set().tasks)?;
        Ok(cohort)
    }

    /// The encoded metadata of the cases, in order. Of a million cases, take some thousands at a time: the
    /// whole of 40 columns would be 320 MB.
    ///
    /// # Shapes
    /// `[N, M]`, `N = self.len()`, `M = encoder.width()`.
    ///
    /// # Errors
    /// Fields or a case that do not fit the encoder.
    pub fn encoded_metadata(&self, encoder: &MetadataEncoder) -> Result<Array2<f64>, DataError> {
        let matched = encoder.matched(&self.set().fields)?;
        let mut metadata = Array2::zeros((self.len(), encoder.width()));
        for (case, mut encoded) in self.cases().zip(metadata.rows_mut()) {
            let slots = encoded.as_slice_mut().expect("the rows of a fresh matrix are contiguous");
            matched.encode_into(case, slots)?;
        }
        Ok(metadata)
    }
}
