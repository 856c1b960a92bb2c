use std::path::Path;

use dermafuse_data::{
    CaseSet, DataError, class_folders, derm7pt, dermofit, described, ham10000, isic_2019, milk10k, pad_ufes_20, ph2,
};
use serde::{Deserialize, Serialize};

/// How a data set lies in its folder; `docs/datasets.md` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataLayout {
    /// A folder for each class.
    ClassFolders,
    /// Derm7pt `release_v0`.
    Derm7pt,
    /// A file that describes the set.
    Described,
    /// Dermofit.
    Dermofit,
    /// The clinical photos of Derm7pt with the diagnoses as they are written.
    Edra,
    /// HAM10000.
    Ham10000,
    /// ISIC 2019.
    Isic2019,
    /// MILK10k.
    Milk10k,
    /// PAD-UFES-20.
    PadUfes20,
    /// PH².
    Ph2,
}

impl DataLayout {
    /// Loads the data set of a folder.
    ///
    /// # Errors
    /// As its loader.
    pub fn load(self, folder: &Path) -> Result<CaseSet, DataError> {
        match self {
            Self::ClassFolders => class_folders::load(folder),
            Self::Derm7pt => derm7pt::load(folder),
            Self::Described => described::load(folder),
            Self::Dermofit => dermofit::load(folder),
            Self::Edra => derm7pt::load_edra(folder),
            Self::Ham10000 => ham10000::load(folder),
            Self::Isic2019 => isic_2019::load(folder),
            Self::Milk10k => milk10k::load(folder),
            Self::PadUfes20 => pad_ufes_20::load(folder),
            Self::Ph2 => ph2::load(folder),
        }
    }
}
