use std::fmt;
use std::str::FromStr;

/// What becomes of a run that is resumed and whose best epoch so far is damaged, while its last one is whole. Without an
/// answer the run is refused, since nobody but its owner can say whether the same numbers are worth the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LostBest {
    /// The run is refused, with these ways on in the message.
    #[default]
    Refuse,
    /// The epochs since the last checkpoint that can stand for all, or all epochs, are trained again: the result is the one
    /// of a run that lost nothing.
    TrainAgain,
    /// The run goes on and gives the best of its last and its coming epochs; that of the lost ones is lost.
    GoOn,
}

/// A word that names no [`LostBest`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` says nothing about a lost best epoch; say refuse, train-again or go-on")]
pub struct UnknownLostBest {
    /// The word.
    pub word: String,
}

impl FromStr for LostBest {
    type Err = UnknownLostBest;

    fn from_str(word: &str) -> Result<Self, UnknownLostBest> {
        let all = [Self::Refuse, Self::TrainAgain, Self::GoOn];
        let known = all.into_iter().find(|known| known.to_string() == word);
        known.ok_or_else(|| UnknownLostBest { word: word.to_owned() })
    }
}

impl fmt::Display for LostBest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refuse => "refuse",
            Self::TrainAgain => "train-again",
            Self::GoOn => "go-on",
        })
    }
}
