use std::fmt;

use serde::{Deserialize, Serialize};

use crate::InferError;

/// The longest text of a card, in bytes.
const MAX_TEXT: usize = 10_000;

/// What a model's file says of it to people: what its makers wrote, and what it was trained on. There is no date in it, so
/// that the same training gives the same bytes.
///
/// ```
/// use dermafuse_infer::{CardTexts, ModelCard};
///
/// let texts = CardTexts { licence: Some("CC BY-NC 4.0".into()), ..CardTexts::default() };
/// let card = ModelCard { texts, ..ModelCard::default() };
/// card.check()?;
/// # Ok::<(), dermafuse_infer::InferError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// What the experiment that made it is called; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub experiment: String,
    /// What its makers wrote.
    pub texts: CardTexts,
    /// How it was trained; `None` for a model that was put together in code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSummary>,
    /// What it can be expected to do, where it learnt from all cases and none is left to test it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedPerformance>,
}

/// What the makers of a model say of it, in their own words: the table `[card]` of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardTexts {
    /// Under which terms the model may be used, which depend on those of its data and of the weights that it started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// For whom and what it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_use: Option<String>,
    /// Where it is known to fail, and for whom it was not tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limitations: Option<String>,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// How a model was trained, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSummary {
    /// The data set.
    pub data_set: String,
    /// Cases that trained it.
    pub training_cases: usize,
    /// Cases that selected its epoch and settings.
    pub selection_cases: usize,
    /// Cases that it was tested on when it was made.
    pub test_cases: usize,
    /// Epochs that were trained; 0 where no network learns.
    pub epochs: usize,
}

/// What a model that learnt from all cases can be expected to do: what the models of the folds did that were made in the same way,
/// each on cases that it had not seen. They learnt from fewer cases.
///
/// ```
/// use dermafuse_infer::{ExpectedPerformance, ScoreOverRounds};
///
/// let accuracy = Some(ScoreOverRounds { mean: 71.25, deviation: 1.5 });
/// let expected = ExpectedPerformance { rounds: 5, accuracy, balanced_accuracy: None, auc: None };
/// assert_eq!(
///     expected.to_string(),
///     "no case is left to test it, so expect what the models of the 5 rounds of cross-validation did, which were made in the same way \
///      and tested on cases that they had not seen: accuracy 71.2 ± 1.5, balanced accuracy n/a, AUC n/a per cent (mean and deviation)"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedPerformance {
    /// Rounds of the cross-validation: as many models as folds in all repeats.
    pub rounds: usize,
    /// Mean accuracy over the tasks; `None` where a round has none.
    pub accuracy: Option<ScoreOverRounds>,
    /// Mean balanced accuracy over the tasks.
    pub balanced_accuracy: Option<ScoreOverRounds>,
    /// Mean AUC over the tasks.
    pub auc: Option<ScoreOverRounds>,
}

/// A score over the rounds of a cross-validation, in per cent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreOverRounds {
    /// The mean of the rounds.
    pub mean: f64,
    /// Their deviation, divided by their number.
    pub deviation: f64,
}

impl CardTexts {
    /// The texts that there are, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { licence, intended_use, limitations, contact } = self;
        let texts =
            [("licence", licence), ("intended_use", intended_use), ("limitations", limitations), ("contact", contact)];
        texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named().next().is_none()
    }

    /// The first text that cannot stand on a card, by its name, and why.
    #[must_use]
    pub fn fault(&self) -> Option<(&'static str, String)> {
        self.named().find_map(|(name, text)| {
            let control = |letter: &char| letter.is_control() && !['\n', '\t'].contains(letter);
            if text.trim().is_empty() {
                return Some((name, "an empty text says nothing; leave it out".to_owned()));
            }
            if text.len() > MAX_TEXT {
                return Some((name, format!("{} bytes of text; at most {MAX_TEXT}", text.len())));
            }
            text.chars().find(control).map(|letter| (name, format!("the control character {letter:?}; take it out")))
        })
    }
}

impl ModelCard {
    /// Checks the texts and what is expected.
    ///
    /// # Errors
    /// A text that is empty, longer than 10,000 bytes, or has control characters other than line ends and tabs; a score that is none.
    pub fn check(&self) -> Result<(), InferError> {
        if let Some((text, reason)) = self.texts.fault() {
            return Err(InferError::Card { text, reason });
        }
        let Some(ExpectedPerformance { accuracy, balanced_accuracy, auc, .. }) = &self.expected else { return Ok(()) };
        let is_share = |value: f64| (0.0..=100.0).contains(&value);
        let is_score = |score: &ScoreOverRounds| is_share(score.mean) && is_share(score.deviation);
        match [accuracy, balanced_accuracy, auc].into_iter().flatten().find(|score| !is_score(score)) {
            None => Ok(()),
            Some(score) => {
                Err(InferError::Card { text: "expected", reason: format!("{score} is no score in per cent") })
            }
        }
    }
}

impl fmt::Display for TrainingSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data_set, training_cases, selection_cases, test_cases, epochs } = self;
        write!(formatter, "{training_cases} cases of {data_set}, {selection_cases} to select, {test_cases} to test; ")?;
        match epochs {
            0 => formatter.write_str("no network was trained"),
            1 => formatter.write_str("1 epoch"),
            epochs => write!(formatter, "{epochs} epochs"),
        }
    }
}

impl fmt::Display for ScoreOverRounds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} ± {:.1}", self.mean, self.deviation)
    }
}

impl fmt::Display for ExpectedPerformance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, accuracy, balanced_accuracy, auc } = self;
        let text = |score: &Option<ScoreOverRounds>| score.map_or_else(|| "n/a".to_owned(), |score| score.to_string());
        write!(
            formatter,
            "no case is left to test it, so expect what the models of the {rounds} rounds of cross-validation did, which were made in the \
             same way and tested on cases that they had not seen: accuracy {}, balanced accuracy {}, AUC {} per cent (mean and deviation)",
            text(accuracy),
            text(balanced_accuracy),
            text(auc)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_says_nothing_or_too_much_is_named() {
        let error = |intended_use: &str| {
            let texts = CardTexts { intended_use: Some(intended_use.into()), ..CardTexts::default() };
            ModelCard { texts, ..ModelCard::default() }.check().unwrap_err().to_string()
        };
        assert_eq!(error(" \n"), "card: intended_use: an empty text says nothing; leave it out");
        assert_eq!(error(&"x".repeat(10_001)), "card: intended_use: 10001 bytes of text; at most 10000");
        assert_eq!(error("a\u{1b}[31m"), "card: intended_use: the control character '\\u{1b}'; take it out");
        let texts = CardTexts { contact: Some("a\n\tb".into()), ..CardTexts::default() };
        assert!(!texts.is_empty() && ModelCard { texts, ..ModelCard::default() }.check().is_ok());
        assert!(serde_json::from_str::<CardTexts>(r#"{"license": "MIT"}"#).is_err());
    }

    #[test]
    fn what_is_expected_is_a_share() {
        let card = |mean: f64| {
            let accuracy = Some(ScoreOverRounds { mean, deviation: 2.0 });
            let expected = ExpectedPerformance { rounds: 3, accuracy, balanced_accuracy: None, auc: None };
            ModelCard { expected: Some(expected), ..ModelCard::default() }
        };
        assert!(card(50.0).check().is_ok());
        assert_eq!(card(101.0).check().unwrap_err().to_string(), "card: expected: 101.0 ± 2.0 is no score in per cent");
        assert!(card(f64::NAN).check().is_err());
    }
}
