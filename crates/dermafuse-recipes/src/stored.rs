//! Results that are kept in a file, with the facts that they depend on.

use std::path::Path;

use dermafuse_schema::{read_regular_file, write_whole_file};
use dermafuse_train::{ImageRecord, RunFacts, RunIdentity, RunState};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::RecipeError;

const FORMAT: u32 = 2;
/// A result of a hundred thousand cases takes about 300 MB.
const MAX_BYTES: u64 = 2 << 30;

/// What is in the file of a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored<T> {
    format: u32,
    pub(crate) facts: RunFacts,
    pub(crate) result: T,
}

impl<T: Serialize + DeserializeOwned> Stored<T> {
    pub(crate) fn new(facts: RunFacts, result: T) -> Self {
        Self { format: FORMAT, facts, result }
    }

    /// Reads a file, checked by `check`; `None` if there is none.
    pub(crate) fn read(file: &Path, check: impl FnOnce(&T) -> Result<(), String>) -> Result<Option<Self>, RecipeError> {
        #[derive(Deserialize)]
        struct Version {
            format: Option<u32>,
        }
        if !file.exists() {
            return Ok(None);
        }
        let bytes = read_regular_file(file, MAX_BYTES)?;
        let json = |source| RecipeError::Json { path: file.to_owned(), source };
        let damaged = |reason| RecipeError::Damaged { path: file.to_owned(), reason };
        match serde_json::from_slice::<Version>(&bytes).map_err(json)?.format {
            Some(FORMAT) => {}
            Some(other) => return Err(damaged(format!("it has format {other}, this version reads format {FORMAT}"))),
            None => {
                return Err(damaged(format!(
                    "it has no format, so an earlier version wrote it; this version reads {FORMAT}"
                )));
            }
        }
        let stored: Self = serde_json::from_slice(&bytes).map_err(json)?;
        check(&stored.result).map_err(damaged)?;
        Ok(Some(stored))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), RecipeError> {
        Ok(write_whole_file(file, &serde_json::to_vec(self).expect("results have string keys only"))?)
    }

    /// Refuses the result of a run that differs; `record` is what its images were, `folder` where it lies.
    pub(crate) fn require(
        &self,
        identity: &RunIdentity,
        record: &ImageRecord,
        folder: &Path,
    ) -> Result<(), RecipeError> {
        let differences = identity.differences(&self.facts, record);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(RecipeError::Changed { path: folder.to_owned(), differences }),
        }
    }
}

/// Refuses a history that is none, or whose best epoch is none of it.
pub(crate) fn check_history(history: &[dermafuse_train::EpochReport], best_epoch: usize) -> Result<(), String> {
    let state = RunState { history: history.to_vec(), best_epoch, best_from: 0 };
    if history.is_empty() || history.iter().zip(1..).any(|(report, epoch)| report.epoch != epoch) {
        return Err(format!("its history has {} epochs that do not follow each other from the first", history.len()));
    }
    match (1..=state.history.len()).contains(&best_epoch) {
        true => Ok(()),
        false => Err(format!("it calls epoch {best_epoch} of {} the best", state.history.len())),
    }
}
