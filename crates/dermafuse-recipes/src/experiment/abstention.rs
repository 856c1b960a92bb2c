use dermafuse_schema::{Coverage, check_error_rate};
use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::RecipeError;

/// When a model says a set of classes instead of one: see [`PredictionSets`](dermafuse_schema::PredictionSets).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbstentionSettings {
    /// The probability with which a set may lack the true class, between 0 and 1.
    pub error_rate: f64,
    /// Whose error rate that is: that of all cases together (`marginal`), or of each class (`class_conditional`).
    #[serde(default)]
    pub coverage: Coverage,
}

/// Whether the error rate is one.
pub(super) fn check(experiment: &Experiment, settings: &Settings) -> Result<(), RecipeError> {
    let Some(AbstentionSettings { error_rate, .. }) = experiment.abstention else { return Ok(()) };
    check_error_rate(error_rate)
        .map_err(|_| settings.error("abstention.error_rate", format!("{error_rate} is not between 0 and 1")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_rate_lies_between_0_and_1() {
        let read = |words: &[&str]| {
            let mut settings = Settings::parse("mine.toml", "recipe = \"fusionm4net\"").unwrap();
            words.iter().for_each(|words| settings.set(words).unwrap());
            Experiment::read(settings)
        };
        assert_eq!(read(&[]).unwrap().abstention, None);
        let settings =
            read(&["abstention.error_rate=0.05", "abstention.coverage=class_conditional"]).unwrap().abstention;
        let expected = AbstentionSettings { error_rate: 0.05, coverage: Coverage::ClassConditional };
        assert_eq!(settings, Some(expected));
        let error = read(&["abstention.error_rate=1"]).unwrap_err().to_string();
        assert_eq!(error, "--set abstention.error_rate=1: abstention.error_rate: 1 is not between 0 and 1");
    }
}
