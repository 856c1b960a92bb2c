use std::path::PathBuf;

use dermafuse_data::{CaseSet, FoldConfig, FoldGrouping, FoldProtocol, Folds, Split};
use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use crate::RecipeError;

/// Which cases train, validate and test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PartsSettings {
    /// The published parts; for a set without them, parts that are drawn.
    Published {
        /// Shares of training, validation and test of the parts that are drawn; without validation where its share is 0.
        #[serde(default = "shares")]
        shares: [f64; 3],
        /// Seed of the parts that are drawn.
        #[serde(default)]
        seed: u64,
    },
    /// Parts that are drawn, whatever is published: stratified by the first task, groups together.
    Drawn {
        /// Shares of training, validation and test; without validation where its share is 0.
        #[serde(default = "shares")]
        shares: [f64; 3],
        /// Decides who goes where.
        #[serde(default)]
        seed: u64,
    },
    /// Each case is tested once: cross-validation, stratified by the first task.
    Folds {
        /// How many folds.
        #[serde(default = "five")]
        folds: usize,
        /// Whether the cases of a patient or lesion stay together.
        #[serde(default)]
        grouping: FoldGrouping,
        /// Which fold selects.
        #[serde(default)]
        protocol: FoldProtocol,
        /// The share of the cases that is held out first.
        #[serde(default)]
        hold_out: Option<f64>,
        /// Decides who goes where; repeats count on from it.
        #[serde(default)]
        seed: u64,
    },
    /// A file: parts (`split.json`), or a table of folds (`.csv`).
    File {
        /// The file.
        path: PathBuf,
        /// Whether groups that the folds of a table divide are an error.
        #[serde(default)]
        grouping: FoldGrouping,
        /// Which fold of a table selects.
        #[serde(default)]
        protocol: FoldProtocol,
    },
}

fn shares() -> [f64; 3] {
    [0.64, 0.16, 0.20]
}

fn five() -> usize {
    5
}

impl Default for PartsSettings {
    fn default() -> Self {
        Self::Published { shares: shares(), seed: 0 }
    }
}

/// The parts of every round, and what is to be said of them.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// One split for each round of a repeat.
    pub(crate) splits: Vec<Split>,
    /// The folds, if there are any, to be kept beside the results.
    pub(crate) folds: Option<Folds>,
    pub(crate) notes: Vec<String>,
}

/// How the sentence begins that says which folds there are.
pub(crate) const PARTS: &str = "Parts: ";

/// Which folds these are, so that numbers of others are not taken for theirs.
fn sentence(folds: &Folds, protocol: FoldProtocol) -> String {
    let parted = match folds.crossing_groups() {
        0 => "no patient or lesion stands in two of them",
        _ => "a patient or lesion may stand in several of them",
    };
    let chooses = match protocol {
        FoldProtocol::NextFoldSelects => "the fold after the tested one chooses the epoch",
        FoldProtocol::TestFoldSelects => "the tested fold chooses the epoch",
        FoldProtocol::HeldOutTests => "a fold chooses the epoch, and cases outside all folds are tested",
    };
    format!("{PARTS}{} folds; {parted}; {chooses}.", folds.len())
}

impl PartsSettings {
    pub(super) fn make_absolute(&mut self) {
        if let Self::File { path, .. } = self
            && let Ok(whole) = std::path::absolute(&*path)
        {
            *path = whole;
        }
    }

    pub(super) fn resolve(&mut self, settings: &Settings) {
        if let Self::File { path, .. } = self {
            *path = settings.path_of("split.path", path);
        }
    }

    /// The parts of a set in a repeat, counted from 0.
    pub(crate) fn of(&self, set: &CaseSet, repeat: u64) -> Result<Parts, RecipeError> {
        let one = |split: Split| Parts { splits: vec![split], folds: None, notes: Vec::new() };
        let of_folds = |folds: Folds, protocol: FoldProtocol| {
            let held_out = folds.held_out().len();
            let protocol = if held_out == 0 { protocol } else { FoldProtocol::HeldOutTests };
            let mut notes = vec![sentence(&folds, protocol)];
            notes.extend(folds.notes());
            if held_out > 0 {
                notes.push(format!("The {held_out} cases that are held out are tested in every round."));
            }
            let splits = folds.splits(protocol)?;
            notes.extend(splits.iter().take(1).flat_map(Split::leaks).map(ToString::to_string));
            Ok(Parts { splits, folds: Some(folds), notes })
        };
        match self {
            Self::Published { shares, seed } => match &set.split {
                Some(split) => Ok(one(split.clone())),
                None => Ok(one(Split::stratified(set, 0, *shares, *seed)?)),
            },
            Self::Drawn { shares, seed } => Ok(one(Split::stratified(set, 0, *shares, *seed)?)),
            Self::Folds { folds, grouping, protocol, hold_out, seed } => {
                let config = FoldConfig {
                    grouping: *grouping,
                    hold_out: *hold_out,
                    ..FoldConfig::new(*folds, seed.wrapping_add(repeat))
                };
                of_folds(Folds::new(set, &config)?, *protocol)
            }
            Self::File { path, grouping, protocol } => {
                match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
                    true => of_folds(Folds::load(path, set, 0, *grouping)?, *protocol),
                    false => {
                        let loaded = Split::load(path, set)?;
                        Ok(Parts { notes: loaded.notes, ..one(loaded.split) })
                    }
                }
            }
        }
    }
}
