use std::path::Path;

use clap::ValueEnum;
use dermafuse::data::{CaseSet, DataError, Split, derm7pt, milk10k};

/// The data sets that the programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataSetName {
    /// Derm7pt `release_v0`, or a synthetic set in its layout.
    Derm7pt,
    /// MILK10k: pairs of images, eleven diagnoses.
    Milk10k,
}

impl DataSetName {
    /// Reads the cases of a folder.
    ///
    /// # Errors
    /// As the data set's loader.
    pub fn load(self, folder: &Path) -> Result<CaseSet, DataError> {
        match self {
            Self::Derm7pt => derm7pt::load(folder),
            Self::Milk10k => milk10k::load(folder),
        }
    }

    /// The published split, or for a set without one: 64 % training, 16 % validation, 20 % test, stratified by the first
    /// task and grouped.
    ///
    /// # Errors
    /// Too few cases to split.
    pub fn split(set: &CaseSet, seed: u64) -> Result<Split, DataError> {
        match &set.split {
            Some(split) => Ok(split.clone()),
            None => Split::stratified(set, 0, [0.64, 0.16, 0.20], seed),
        }
    }
}
