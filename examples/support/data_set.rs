use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use dermafuse::data::{CaseSet, DataError, DataSetKind, ImageSource, LoadOptions, Split};

/// Where the images are, for sets in which a name may mean several.
#[derive(Args, Clone, Debug, Default)]
pub struct ImagesArgument {
    /// Folder of the images, where the data set has several of one name
    #[arg(long)]
    images: Option<PathBuf>,
}

impl ImagesArgument {
    /// How a data set with its images is loaded.
    #[must_use]
    pub fn options(&self) -> LoadOptions {
        let images = self.images.clone().map_or(ImageSource::BelowRoot, ImageSource::Folder);
        LoadOptions { images, ..LoadOptions::default() }
    }
}

/// Reads the name of a data set; the help lists all of them.
pub fn data_set_kind() -> impl TypedValueParser<Value = DataSetKind> {
    let values = DataSetKind::ALL.map(|kind| PossibleValue::new(kind.name()).help(kind.description()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<DataSetKind>())
}

/// The published split, or for a set without one: 64 % training, 16 % validation, 20 % test, stratified by the first
/// task and grouped.
///
/// # Errors
/// Too few cases to split.
pub fn published_or_stratified_split(set: &CaseSet, seed: u64) -> Result<Split, DataError> {
    match &set.split {
        Some(split) => Ok(split.clone()),
        None => Split::stratified(set, 0, [0.64, 0.16, 0.20], seed),
    }
}
