//! What the later stations are told of the cases of a set.

use dermafuse_schema::Cohort;
use dermafuse_schema::ndarray::Array2;

use crate::{CaseSet, DataError, MetadataEncoder};

impl CaseSet {
    /// The facts about the cases at `rows`, in that order, with their metadata encoded.
    ///
    /// # Shapes
    /// `N = rows.len()`, `M = encoder.width()`.
    ///
    /// # Errors
    /// A row that there is not; fields or a case that do not fit the encoder, or labels that do not fit the tasks.
    pub fn cohort(&self, rows: &[usize], encoder: &MetadataEncoder) -> Result<Cohort, DataError> {
        let metadata = self.encoded_metadata(rows, encoder)?;
        let matched = encoder.matched(&self.fields)?;
        let has_metadata = rows.iter().map(|&row| matched.has_metadata(&self.cases[row])).collect::<Result<_, _>>()?;
        let cases = || rows.iter().map(|&row| &self.cases[row]);
        let cohort = Cohort {
            ids: cases().map(|case| case.id.clone()).collect(),
            groups: cases().map(|case| case.group.as_str().to_owned()).collect(),
            labels: cases().map(|case| case.labels.clone()).collect(),
            metadata,
            has_metadata,
        };
        cohort.check(&self.tasks)?;
        Ok(cohort)
    }

    /// The encoded metadata of the cases at `rows`, in that order. Of a million cases, take some thousands at a time: the
    /// whole of 40 columns would be 320 MB.
    ///
    /// # Shapes
    /// `[N, M]`, `N = rows.len()`, `M = encoder.width()`.
    ///
    /// # Errors
    /// A row that there is not; fields or a case that do not fit the encoder.
    pub fn encoded_metadata(&self, rows: &[usize], encoder: &MetadataEncoder) -> Result<Array2<f64>, DataError> {
        self.check_rows(rows)?;
        let matched = encoder.matched(&self.fields)?;
        let mut metadata = Array2::zeros((rows.len(), encoder.width()));
        for (&row, mut encoded) in rows.iter().zip(metadata.rows_mut()) {
            let slots = encoded.as_slice_mut().expect("the rows of a fresh matrix are contiguous");
            matched.encode_into(&self.cases[row], slots)?;
        }
        Ok(metadata)
    }
}
