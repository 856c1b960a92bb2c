use ndarray::{Array2, ArrayView2};

use crate::error::{EnsembleError, Result};

/// A checked table of labelled records: at least two, all finite, labels in range, columns of one length.
pub(crate) struct Training<'a> {
    /// `[N, F]` in rows that lie together in memory.
    pub(crate) records: Array2<f64>,
    pub(crate) labels: &'a [usize],
    pub(crate) classes: usize,
    /// `[N]`, or nothing where the classifier has no use for them.
    pub(crate) groups: Vec<&'a str>,
}

impl<'a> Training<'a> {
    pub(crate) fn new(
        records: ArrayView2<'_, f64>,
        labels: &'a [usize],
        classes: usize,
        groups: Option<&'a [String]>,
    ) -> Result<Self> {
        let training = Self::with_missing(records, labels, classes)?;
        let expected = records.nrows();
        check_rows("groups", expected, groups.map_or(expected, <[String]>::len))?;
        check_finite(records)?;
        Ok(Self { groups: groups.unwrap_or_default().iter().map(String::as_str).collect(), ..training })
    }

    /// The same for a classifier without use for groups that takes NaN for a feature that is missing.
    pub(crate) fn with_missing(records: ArrayView2<'_, f64>, labels: &'a [usize], classes: usize) -> Result<Self> {
        let expected = records.nrows();
        check_rows("labels", expected, labels.len())?;
        if expected < 2 {
            return Err(EnsembleError::TooFewRecords { task: "the table".into(), found: expected });
        }
        if let Some((row, &label)) = labels.iter().enumerate().find(|(_, label)| **label >= classes) {
            return Err(EnsembleError::Label { row, label, classes });
        }
        check_not_infinite(records)?;
        Ok(Self { records: records.as_standard_layout().into_owned(), labels, classes, groups: Vec::new() })
    }

    /// Number of records of each class.
    pub(crate) fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        self.labels.iter().for_each(|&label| counts[label] += 1);
        counts
    }

    /// Classes that have a record, ascending.
    pub(crate) fn present(&self) -> Vec<usize> {
        let counts = self.counts();
        (0..self.classes).filter(|&class| counts[class] > 0).collect()
    }
}

pub(crate) fn check_rows(what: &str, expected: usize, found: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(EnsembleError::Rows { what: what.into(), expected, found })
}

/// Checks records that are to be predicted.
pub(crate) fn check_width(records: ArrayView2<'_, f64>, expected: usize) -> Result<()> {
    check_known_width(records, expected)?;
    check_finite(records)
}

/// The same for a classifier that takes NaN for a feature that is missing.
pub(crate) fn check_known_width(records: ArrayView2<'_, f64>, expected: usize) -> Result<()> {
    if records.ncols() != expected {
        return Err(EnsembleError::Width { expected, found: records.ncols() });
    }
    check_not_infinite(records)
}

fn check_not_infinite(records: ArrayView2<'_, f64>) -> Result<()> {
    match records.indexed_iter().find(|(_, value)| value.is_infinite()) {
        None => Ok(()),
        Some(((row, column), &value)) => Err(EnsembleError::NotFinite { row, column, value }),
    }
}

pub(crate) fn check_finite(records: ArrayView2<'_, f64>) -> Result<()> {
    match records.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some(((row, column), &value)) => Err(EnsembleError::NotFinite { row, column, value }),
    }
}
