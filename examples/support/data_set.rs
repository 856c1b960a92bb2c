use std::path::Path;

use clap::ValueEnum;
use dermafuse::data::{
    CaseSet, DataError, EncoderConfig, LoadOptions, Split, derm7pt, described, ham10000, isic_2019, milk10k,
    pad_ufes_20,
};
use dermafuse::networks::ImageView;

/// The data sets that the programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataSetName {
    /// Derm7pt `release_v0`, or a synthetic set in its layout.
    Derm7pt,
    /// MILK10k: pairs of images, eleven diagnoses.
    Milk10k,
    /// PAD-UFES-20: smartphone photos, six diagnoses, a long record.
    #[value(name = "pad-ufes-20")]
    PadUfes20,
    /// ISIC 2019: dermoscopic images, eight diagnoses.
    #[value(name = "isic-2019")]
    Isic2019,
    /// HAM10000, the training set of ISIC 2018: dermoscopic images, seven diagnoses.
    #[value(name = "ham10000")]
    Ham10000,
    /// Your own, described by a TOML file.
    Described,
}

impl DataSetName {
    /// Reads the cases of a folder, or of the file that describes them.
    ///
    /// # Errors
    /// As the data set's loader.
    pub fn load(self, folder: &Path) -> Result<CaseSet, DataError> {
        self.load_with(folder, &LoadOptions::default())
    }

    /// Reads the cases of a folder; the options hold for the sets of one image a case.
    ///
    /// # Errors
    /// As the data set's loader.
    pub fn load_with(self, folder: &Path, options: &LoadOptions) -> Result<CaseSet, DataError> {
        match self {
            Self::Derm7pt => derm7pt::load(folder),
            Self::Milk10k => milk10k::load(folder),
            Self::PadUfes20 => pad_ufes_20::load_with(folder, options),
            Self::Isic2019 => isic_2019::load_with(folder, options),
            Self::Ham10000 => ham10000::load_with(folder, options),
            Self::Described => described::load_with(folder, options),
        }
    }

    /// How the set's metadata becomes numbers unless another way is asked for.
    #[must_use]
    pub fn encoding(self) -> EncoderConfig {
        match self {
            Self::Derm7pt => derm7pt::encoding(),
            Self::Milk10k => milk10k::encoding(),
            Self::PadUfes20 => pad_ufes_20::encoding(),
            Self::Isic2019 => isic_2019::encoding(),
            Self::Ham10000 => ham10000::encoding(),
            Self::Described => EncoderConfig::default(),
        }
    }

    /// The image of a case that methods for one image look at, unless they are told: dermoscopic where there is one.
    #[must_use]
    pub fn view(set: &CaseSet) -> ImageView {
        match set.cases.iter().any(|case| case.dermoscopic.is_some()) {
            true => ImageView::Dermoscopic,
            false => ImageView::Clinical,
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
