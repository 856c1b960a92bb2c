//! Arguments that choose the cases of a data set.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dermafuse::data::{CaseSet, CaseView, LoadedSplit, Split, TableChanges};

use crate::failure::Failure;

/// A part of a data set.
#[derive(Args, Clone, Debug)]
pub(crate) struct PartArguments {
    /// Which cases: a part of the published (or given) split, or all.
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,
    #[command(flatten)]
    split: SplitArguments,
}

/// What says which part of a data set a case is in.
#[derive(Args, Clone, Debug)]
pub(crate) struct SplitArguments {
    /// A split that a run has saved; it is needed for a part of a data set that publishes no split.
    #[arg(long, value_name = "FILE")]
    split: Option<PathBuf>,
    /// Accept a table that has changed since the split was made: cases that it lacks are left out, and other labels are taken.
    #[arg(long)]
    changed_table: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    /// The training part.
    Train,
    /// The validation part.
    Valid,
    /// The test part.
    Test,
    /// All cases.
    All,
}

impl PartArguments {
    /// The cases of the part that was asked for, and what must be said of them.
    ///
    /// # Errors
    /// A split that cannot be read, or that there is not.
    pub(crate) fn cases<'a>(&self, set: &'a CaseSet) -> Result<(CaseView<'a>, Vec<String>), Failure> {
        let (split, notes) = self.split.load(set)?;
        let cases = match (self.part, split) {
            (Part::All, _) => set.whole(),
            (Part::Train, Some(split)) => set.view(split.train)?,
            (Part::Valid, Some(split)) => validation(set, split)?,
            (Part::Test, Some(split)) if split.test.is_empty() => {
                return Err("the split has no test part: it is that of a final fit, which learnt from all cases".into());
            }
            (Part::Test, Some(split)) => set.view(split.test)?,
            (_, None) => return Err("the data set publishes no split: give --split FILE, or --part all".into()),
        };
        Ok((cases, notes))
    }
}

impl SplitArguments {
    /// The validation cases, and what must be said of them.
    ///
    /// # Errors
    /// A split that cannot be read, that there is not, or that has no validation part.
    #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
    pub(crate) fn validation<'a>(&self, set: &'a CaseSet) -> Result<(CaseView<'a>, Vec<String>), Failure> {
        match self.load(set)? {
            (Some(split), notes) => Ok((validation(set, split)?, notes)),
            (None, _) => {
                Err("the data set publishes no split: give that of the model's training with --split FILE".into())
            }
        }
    }

    /// The split that was given, or that of the set, and what must be said of it.
    fn load(&self, set: &CaseSet) -> Result<(Option<Split>, Vec<String>), Failure> {
        let Some(path) = &self.split else { return Ok((set.split.clone(), Vec::new())) };
        let changes = if self.changed_table { TableChanges::Allow } else { TableChanges::Refuse };
        let LoadedSplit { split, notes } = Split::load_with(path, set, changes)?;
        Ok((Some(split), notes))
    }
}

fn validation(set: &CaseSet, split: Split) -> Result<CaseView<'_>, Failure> {
    if split.valid.is_empty() {
        return Err("the split has no validation part".into());
    }
    Ok(set.view(split.valid)?)
}
