//! How frequent classes are where a model is used.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use dermafuse::infer::{Answers, Bundle};
use dermafuse::settings::Settings;

use crate::failure::Failure;

/// The word for a prevalence that is estimated from the cases themselves.
const ESTIMATE: &str = "estimate";

/// Shares of classes, as (task, class, share).
pub(crate) type Shares = Vec<(String, String, f64)>;

/// A prevalence as it is given: stated in words, in a file, or estimated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PrevalenceArgument {
    /// `TASK.CLASS=SHARE,…`
    Stated(Shares),
    /// A TOML file with a table for each task.
    File(PathBuf),
    /// From the answers to the cases that are asked about.
    Estimate,
}

impl FromStr for PrevalenceArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == ESTIMATE {
            return Ok(Self::Estimate);
        }
        if text.ends_with(".toml") {
            return Ok(Self::File(text.into()));
        }
        let one = |words: &str| {
            let expected =
                || format!("`{words}`: give TASK.CLASS=SHARE, such as diagnosis.MEL=0.05, a .toml file, or estimate");
            let (name, share) = words.rsplit_once('=').ok_or_else(expected)?;
            let (task, class) = name.split_once('.').ok_or_else(expected)?;
            let share = share.trim().parse().map_err(|_| expected())?;
            Ok((task.trim().to_owned(), class.trim().to_owned(), share))
        };
        text.split(',').map(one).collect::<Result<_, String>>().map(Self::Stated)
    }
}

impl PrevalenceArgument {
    /// The shares; `None` where they are to be estimated.
    ///
    /// # Errors
    /// A file that cannot be read, or that has other than numbers in a table for each task.
    pub(crate) fn shares(&self) -> Result<Option<Shares>, Failure> {
        match self {
            Self::Estimate => Ok(None),
            Self::Stated(shares) => Ok(Some(shares.clone())),
            Self::File(file) => {
                let tables: BTreeMap<String, BTreeMap<String, f64>> = Settings::read(file)?.get()?;
                let of_task = |(task, classes): (String, BTreeMap<String, f64>)| {
                    classes.into_iter().map(move |(class, share)| (task.clone(), class, share))
                };
                Ok(Some(tables.into_iter().flat_map(of_task).collect()))
            }
        }
    }
}

/// Makes the model assume what is given; an estimate is made of its answers, by [`estimated`].
///
/// # Errors
/// A model that knows nothing of prevalence; shares that are none.
pub(crate) fn assume(bundle: &mut Bundle, given: Option<&PrevalenceArgument>) -> Result<(), Failure> {
    match given.map(PrevalenceArgument::shares).transpose()?.flatten() {
        Some(shares) => Ok(bundle.assume_prevalence(&shares)?),
        None => Ok(()),
    }
}

/// The word for no operating point of the whole classification.
const NO_POINT: &str = "none";

/// Makes the model answer at a point, if one is named.
///
/// # Errors
/// As [`Bundle::decide_at`].
pub(crate) fn decide(bundle: &mut Bundle, point: Option<&str>) -> Result<(), Failure> {
    match point {
        Some(point) => Ok(bundle.decide_at((point != NO_POINT).then_some(point))?),
        None => Ok(()),
    }
}

/// The answers at the prevalence that they speak for, if it is to be estimated.
///
/// # Errors
/// As [`Bundle::at_estimated_prevalence`].
pub(crate) fn estimated(
    bundle: &Bundle,
    given: Option<&PrevalenceArgument>,
    answers: Answers,
) -> Result<Answers, Failure> {
    match given {
        Some(PrevalenceArgument::Estimate) => Ok(bundle.at_estimated_prevalence(answers)?.0),
        _ => Ok(answers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_words_a_file_or_estimated() {
        let parsed = |text: &str| text.parse::<PrevalenceArgument>();
        let expected = vec![("diagnosis".to_owned(), "MEL".to_owned(), 0.05), ("diagnosis".into(), "NEV".into(), 0.9)];
        assert_eq!(
            parsed("diagnosis.MEL=0.05, diagnosis.NEV=0.9").unwrap(),
            PrevalenceArgument::Stated(expected.clone())
        );
        assert_eq!(parsed("estimate").unwrap(), PrevalenceArgument::Estimate);
        assert!(parsed("MEL=0.05").unwrap_err().starts_with("`MEL=0.05`: give TASK.CLASS=SHARE"));
        assert!(parsed("diagnosis.MEL=five").is_err());

        let file = std::env::temp_dir().join(format!("prevalence-{}.toml", std::process::id()));
        std::fs::write(&file, "[diagnosis]\nMEL = 0.05\nNEV = 0.9\n").unwrap();
        let given = parsed(file.to_str().unwrap()).unwrap();
        assert_eq!(given.shares().unwrap().unwrap(), expected);
        std::fs::write(&file, "[diagnosis]\nMEL = \"five\"\n").unwrap();
        assert!(given.shares().unwrap_err().to_string().contains("MEL"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(PrevalenceArgument::Estimate.shares().unwrap(), None);
    }
}
