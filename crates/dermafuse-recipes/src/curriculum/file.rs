use std::collections::BTreeMap;

use dermafuse_data::DataSetKind;
use dermafuse_networks::ImageView;
use serde::Deserialize;
use toml::Spanned;

use super::{NetworkSettings, StageSettings};

/// What a curriculum's file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CurriculumFile {
    pub(super) name: Spanned<String>,
    /// Shares of training, validation and test of a set that publishes no split.
    #[serde(default = "split")]
    pub(super) split: [f64; 3],
    #[serde(default)]
    pub(super) network: NetworkSettings,
    /// How each set lies in its folder.
    pub(super) data: BTreeMap<Spanned<String>, Spanned<DataSetKind>>,
    /// Sets that are made of others.
    #[serde(default)]
    pub(super) merged: BTreeMap<Spanned<String>, MergedSet>,
    /// Settings of all stages.
    #[serde(default)]
    pub(super) training: StageSettings,
    pub(super) stages: Vec<StageFile>,
}

fn split() -> [f64; 3] {
    [0.64, 0.16, 0.20]
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MergedSet {
    /// The name of a class map that ships, or a file.
    pub(super) class_map: Spanned<String>,
    /// The set whose cases validate and test; all cases of the others train.
    pub(super) target: Spanned<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StageFile {
    pub(super) name: Spanned<String>,
    pub(super) data: Spanned<String>,
    /// `random`, `published`, or the name of an earlier stage.
    pub(super) weights: Spanned<String>,
    #[serde(default = "clinical")]
    pub(super) view: ImageView,
    #[serde(default)]
    pub(super) training: StageSettings,
}

fn clinical() -> ImageView {
    ImageView::Clinical
}
