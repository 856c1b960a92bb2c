//! A last model, which learns from all cases once the folds have told how good the method is.

use dermafuse_eval::MeanDeviation;
use dermafuse_infer::{Bundle, ExpectedPerformance, ScoreOverRounds};

use crate::selection::overall;
use crate::{Plan, Progress, RecipeError, RoundResult, Workplace};

/// What a final fit is called.
pub(crate) const FINAL_FIT: &str = "final fit";

impl Plan {
    /// Fits the final model, or reads its result, and writes onto its card what the rounds of the cross-validation let expect of it.
    pub(crate) fn run_final_fit(
        &self,
        rounds: &[RoundResult],
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Option<RoundResult>, RecipeError> {
        let Some(round) = &self.final_fit else { return Ok(None) };
        let mut result = self.run_round(round, place, progress)?;
        let expected = expected_performance(rounds)?;
        match (&mut result.model.0, place.folder) {
            (Some(bundle), _) => {
                expect(bundle, expected);
            }
            (None, Some(folder)) => {
                let file = folder.join(self.model_of(round));
                // More repeats than before may have told more of it, or another process may have trained it, which knew of no rounds.
                let mut bundle = Bundle::load(&file, place.device)?;
                if expect(&mut bundle, expected) {
                    bundle.save(&file)?;
                }
            }
            (None, None) => unreachable!("without a folder a model is held"),
        }
        Ok(Some(result))
    }

    /// What is said of the final fit before it is done: `None` without one.
    #[must_use]
    pub fn final_fit_sentence(&self) -> Option<String> {
        let training = self.final_fit.as_ref()?.stages.last()?;
        let (train, valid) = (training.split.train.len(), training.split.valid.len());
        Some(format!(
            "After the folds a final model is fitted to all cases: {train} train it, {valid} choose its epoch and settings, and none is \
             left to test it."
        ))
    }
}

/// Writes what is expected of a model onto its card; whether anything else stood there.
fn expect(bundle: &mut Bundle, expected: ExpectedPerformance) -> bool {
    let card = bundle.description.card.get_or_insert_default();
    card.expected.replace(expected) != Some(expected)
}

/// The scores of the answers of all rounds.
pub(crate) fn expected_performance(rounds: &[RoundResult]) -> Result<ExpectedPerformance, RecipeError> {
    let answers = rounds.iter().map(|round| overall(&round.rows()?.pop().expect("a round has a stage").1));
    let scores = answers.collect::<Result<Vec<_>, _>>()?;
    let over_rounds = |score: fn(&dermafuse_eval::Overall) -> Option<f64>| {
        let values: Option<Vec<f64>> = scores.iter().map(|overall| score(overall).map(|value| 100.0 * value)).collect();
        let MeanDeviation { mean, deviation, .. } = MeanDeviation::of(&values?)?;
        Some(ScoreOverRounds { mean, deviation })
    };
    Ok(ExpectedPerformance {
        rounds: rounds.len(),
        accuracy: over_rounds(|overall| overall.accuracy),
        balanced_accuracy: over_rounds(|overall| overall.balanced_accuracy),
        auc: over_rounds(|overall| overall.auc),
    })
}
