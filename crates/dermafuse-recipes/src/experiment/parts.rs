use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use dermafuse_data::{CaseSet, DataError, FoldConfig, FoldGrouping, FoldProtocol, Folds, Split};
use dermafuse_schema::{FieldRole, FieldValue, SettingFault};
use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use super::FinalFitSettings;
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
        /// Whether only cases of which another model says something (`data.NAME.outputs`) are dealt into folds. The others train
        /// in every round but for those of groups that validate or test there.
        #[serde(default, skip_serializing_if = "is_false")]
        answered: bool,
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

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !*value
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

/// The cases of which another model says something.
fn answered_rows(set: &CaseSet) -> Result<Vec<usize>, RecipeError> {
    let said: Vec<usize> =
        (0..set.fields.len()).filter(|&field| set.fields[field].role == FieldRole::ModelOutput).collect();
    let is_said = |row: &usize| said.iter().any(|&field| set.cases[*row].metadata[field] != FieldValue::Missing);
    let rows: Vec<usize> = (0..set.len()).filter(is_said).collect();
    if rows.is_empty() { Err(RecipeError::NothingSaid { set: set.name.clone() }) } else { Ok(rows) }
}

/// The cases at these rows as a set of their own.
fn at_rows(set: &CaseSet, rows: &[usize]) -> CaseSet {
    CaseSet { cases: rows.iter().map(|&row| set.cases[row].clone()).collect(), split: None, ..set.clone() }
}

/// The parts of the whole set by those of the cases at `rows`; the other cases are in none.
fn of_whole(rows: &[usize], split: &Split) -> Split {
    let whole = |part: &[usize]| part.iter().map(|&at| rows[at]).collect::<Vec<_>>();
    let mut of_whole = split.clone();
    (of_whole.train, of_whole.valid, of_whole.test) = (whole(&split.train), whole(&split.valid), whole(&split.test));
    of_whole
}

/// The same, with the other cases: they train, unless their group validates or tests.
fn with_others(set: &CaseSet, rows: &[usize], split: &Split) -> Split {
    let mut split = of_whole(rows, split);
    let held: HashSet<&str> = split.valid.iter().chain(&split.test).map(|&row| set.cases[row].group.as_str()).collect();
    let dealt: HashSet<usize> = rows.iter().copied().collect();
    let is_free = |row: &usize| !dealt.contains(row) && !held.contains(set.cases[*row].group.as_str());
    split.train.extend((0..set.len()).filter(is_free));
    split.train.sort_unstable();
    split
}

/// Whether parts can be drawn by these shares of training, validation and test.
fn check_shares(shares: &[f64; 3]) -> Result<(), SettingFault> {
    let [train, valid, test] = *shares;
    let are_shares = shares.iter().all(|share| share.is_finite() && *share >= 0.0) && train > 0.0 && test > 0.0;
    let expected = "three shares, those of training and test above 0 and that of validation at least 0";
    SettingFault::unless(are_shares, "shares", expected, format!("[{train}, {valid}, {test}]"))
}

impl PartsSettings {
    /// Checks what can be told without cases.
    pub(super) fn check(&self) -> Result<(), SettingFault> {
        match self {
            Self::Published { shares, .. } | Self::Drawn { shares, .. } => check_shares(shares),
            Self::Folds { folds, protocol, hold_out, .. } => {
                if let Some(share) = hold_out {
                    let is_share = *share > 0.0 && *share < 1.0;
                    SettingFault::unless(is_share, "hold_out", "between 0 and 1, both excluded", share)?;
                }
                let tests_them = *protocol == FoldProtocol::HeldOutTests;
                let expected = "given where the held-out cases are tested";
                SettingFault::unless(!tests_them || hold_out.is_some(), "hold_out", expected, "none")?;
                let (least, expected) = match (protocol, hold_out) {
                    (FoldProtocol::NextFoldSelects, None) => {
                        (3, "three or more, where one tests, the next selects and the others train")
                    }
                    _ => (2, "two or more"),
                };
                SettingFault::unless(*folds >= least, "folds", expected, folds)
            }
            Self::File { .. } => Ok(()),
        }
    }

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

    /// The cases that tables of folds are of: all, or those of which another model says something.
    pub(crate) fn dealt<'a>(&self, set: &'a CaseSet) -> Result<Cow<'a, CaseSet>, RecipeError> {
        match self {
            Self::Folds { answered: true, .. } => Ok(Cow::Owned(at_rows(set, &answered_rows(set)?))),
            _ => Ok(Cow::Borrowed(set)),
        }
    }

    /// Whether a file is a table of folds, and not one of parts.
    pub(super) fn is_table(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
    }

    /// The cases of all folds and those that are held out, divided into those that train a final model and those that choose.
    pub(crate) fn final_fit(
        &self,
        set: &CaseSet,
        folds: &Folds,
        settings: &FinalFitSettings,
    ) -> Result<Split, RecipeError> {
        let (answered, seed) = match self {
            Self::Folds { answered, seed, .. } => (*answered, *seed),
            Self::Published { .. } | Self::Drawn { .. } | Self::File { .. } => (false, 0),
        };
        let dealt = if answered { answered_rows(set)? } else { (0..set.len()).collect() };
        let in_folds = (0..folds.len()).flat_map(|fold| folds.rows(fold)).chain(folds.held_out());
        let mut rows: Vec<usize> = in_folds.map(|&at| dealt[at]).collect();
        rows.sort_unstable();
        let share = settings.validation.unwrap_or(1.0 / folds.len() as f64);
        let split = Split::stratified_without_test(&at_rows(set, &rows), 0, share, seed)?;
        Ok(if answered { with_others(set, &rows, &split) } else { of_whole(&rows, &split) })
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
            Self::Folds { folds, grouping, protocol, hold_out, answered, seed } => {
                let config = FoldConfig {
                    grouping: *grouping,
                    hold_out: *hold_out,
                    ..FoldConfig::new(*folds, seed.wrapping_add(repeat))
                };
                match answered {
                    false => of_folds(Folds::new(set, &config)?, *protocol),
                    true => {
                        let rows = answered_rows(set)?;
                        let mut parts = of_folds(Folds::new(&at_rows(set, &rows), &config)?, *protocol)?;
                        parts.splits = parts.splits.iter().map(|split| with_others(set, &rows, split)).collect();
                        parts.notes.push(format!(
                            "{} of {} cases, of which another model says something, are dealt into folds; the others train, but for \
                             those of groups that validate or test.",
                            rows.len(),
                            set.len()
                        ));
                        Ok(parts)
                    }
                }
            }
            Self::File { path, grouping, protocol } => {
                if Self::is_table(path) {
                    return of_folds(Folds::load(path, set, 0, *grouping)?, *protocol);
                }
                let loaded = Split::load(path, set)?;
                if loaded.split.test.is_empty() {
                    return Err(DataError::EmptyPart { part: "test" }.into());
                }
                Ok(Parts { notes: loaded.notes, ..one(loaded.split) })
            }
        }
    }
}
