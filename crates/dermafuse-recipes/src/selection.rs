use dermafuse_eval::{Bootstrap, Evaluation, EvaluationOptions};
use dermafuse_schema::BranchLogits;
use dermafuse_train::mean_branch_accuracy;
use serde::{Deserialize, Serialize};

/// By which validation score the best epoch is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Mean accuracy over tasks and branches, as released.
    #[default]
    Accuracy,
    /// Mean balanced accuracy over tasks and branches: for data sets with rare classes.
    BalancedAccuracy,
}

impl Selection {
    /// The score of validation logits; higher is better, NaN if nothing is annotated.
    #[must_use]
    pub fn score(self, logits: &BranchLogits) -> f64 {
        match self {
            Self::Accuracy => mean_branch_accuracy(logits),
            Self::BalancedAccuracy => {
                let options = EvaluationOptions {
                    bootstrap: Bootstrap { resamples: 0, seed: 0 },
                    ..EvaluationOptions::default()
                };
                let scores = logits.branches.iter().map(|branch| {
                    let predictions = logits.branch(&branch.name).ok()?;
                    Evaluation::with(&predictions, &options).ok()?.overall.balanced_accuracy
                });
                scores.map(|score| score.unwrap_or(f64::NAN)).sum::<f64>() / logits.branches.len() as f64
            }
        }
    }
}
