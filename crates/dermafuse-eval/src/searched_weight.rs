use std::fmt;

use serde::Serialize;

use crate::MeanDeviation;

/// A weight that validation cases chose, such as `W_1`, in every round of a run.
///
/// Prints mean and deviation over the rounds, or the only value.
///
/// ```
/// use dermafuse_eval::SearchedWeight;
///
/// let weight = SearchedWeight::of("W_1", vec![70.0, 80.0]).unwrap();
/// assert_eq!(weight.to_string(), "W_1 75.0 ± 5.0");
/// assert_eq!(SearchedWeight::of("W_1", vec![70.0]).unwrap().to_string(), "W_1 70.0");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchedWeight {
    /// What it is the weight of, as in the tables of FusionM4Net: `W_clinical`, `W_1`.
    pub name: String,
    /// Its value in each round, in per cent.
    pub rounds: Vec<f64>,
    /// Mean and standard deviation over the rounds, in per cent.
    pub over_rounds: MeanDeviation,
}

impl SearchedWeight {
    /// Of its values in per cent; `None` without any.
    #[must_use]
    pub fn of(name: impl Into<String>, rounds: Vec<f64>) -> Option<Self> {
        let over_rounds = MeanDeviation::of(&rounds)?;
        Some(Self { name: name.into(), rounds, over_rounds })
    }

    /// All of them in a sentence; `None` without any.
    #[must_use]
    pub fn sentence(weights: &[Self]) -> Option<String> {
        let rounds = weights.iter().map(|weight| weight.rounds.len()).max()?;
        let texts = weights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let over = if rounds > 1 { format!(", mean and deviation over {rounds} rounds") } else { String::new() };
        Some(format!("Weights that the validation cases chose, in per cent{over}: {texts}."))
    }
}

impl fmt::Display for SearchedWeight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rounds[..] {
            [only] => write!(formatter, "{} {only:.1}", self.name),
            _ => write!(formatter, "{} {}", self.name, self.over_rounds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_over_how_many_rounds() {
        let weights = [("W_1", vec![70.0, 80.0]), ("W_2", vec![30.0, 20.0])]
            .map(|(name, rounds)| SearchedWeight::of(name, rounds).unwrap());
        assert_eq!(
            SearchedWeight::sentence(&weights).unwrap(),
            "Weights that the validation cases chose, in per cent, mean and deviation over 2 rounds: W_1 75.0 ± 5.0, W_2 25.0 ± 5.0."
        );
        let once = [SearchedWeight::of("W_1", vec![70.0]).unwrap()];
        let sentence = SearchedWeight::sentence(&once).unwrap();
        assert_eq!(sentence, "Weights that the validation cases chose, in per cent: W_1 70.0.");
        assert_eq!(SearchedWeight::sentence(&[]), None);
        assert_eq!(SearchedWeight::of("W_1", vec![]), None);
    }
}
