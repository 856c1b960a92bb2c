use std::fmt;
use std::str::FromStr;

use dermafuse_infer::kinds_of;
use dermafuse_networks::Modalities;
use dermafuse_schema::{Case, Modality};
use serde::{Deserialize, Serialize};

/// What becomes of cases that lack an image which the network looks at. It is decided before the first epoch. A record in which
/// nothing is recorded is no image: it is encoded as zeros, or by a network that answers by subset
/// ([`Network::answers_by_subset`](dermafuse_networks::Network::answers_by_subset)) left to the branches that do without it,
/// whatever is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// A training case that lacks an image is an error, as is a validation or test case that no branch can answer.
    #[default]
    Refuse,
    /// These cases are left out, and counted.
    Skip,
    /// Training cases are used as far as they go: the loss of a branch counts the cases whose images it sees. Only for
    /// networks with a branch that sees enough of every case and without losses of their own. Batch normalisation sees zeros in
    /// place of the image. Validation and test cases that no branch can answer are an error.
    Use,
}

/// A word that names no [`Incomplete`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` says nothing about incomplete cases; say refuse, skip or use")]
pub struct UnknownIncomplete {
    /// The word.
    pub word: String,
}

impl FromStr for Incomplete {
    type Err = UnknownIncomplete;

    fn from_str(word: &str) -> Result<Self, UnknownIncomplete> {
        let all = [Self::Refuse, Self::Skip, Self::Use];
        let known = all.into_iter().find(|known| known.to_string() == word);
        known.ok_or_else(|| UnknownIncomplete { word: word.to_owned() })
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
            Self::Use => "use",
        })
    }
}

/// The first image that a case lacks of those that are looked at.
#[must_use]
pub fn missing_image(case: &Case, looked_at: Modalities) -> Option<&'static str> {
    let missing = kinds_of(looked_at).find(|kind| !case.has(*kind))?;
    Some(match missing {
        Modality::Clinical => "a clinical photo",
        Modality::Dermoscopic => "a dermoscopic image",
    })
}
