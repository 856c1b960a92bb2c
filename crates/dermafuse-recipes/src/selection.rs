use dermafuse_eval::{Bootstrap, Evaluation, EvaluationOptions};
use dermafuse_schema::{BranchLogits, FuseSpace, Predictions, SchemaError};
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
    /// Balanced accuracy of all branches together, their probabilities averaged: of what JIF(All) predicts.
    JointBalancedAccuracy,
}

impl Selection {
    /// The score of validation logits; higher is better, NaN if nothing is annotated.
    #[must_use]
    pub fn score(self, logits: &BranchLogits) -> f64 {
        match self {
            Self::Accuracy => mean_branch_accuracy(logits),
            Self::BalancedAccuracy => {
                let scores = logits.branches.iter().map(|branch| balanced_accuracy(logits.branch(&branch.name)));
                scores.sum::<f64>() / logits.branches.len() as f64
            }
            Self::JointBalancedAccuracy => {
                balanced_accuracy(logits.fuse(&logits.equal_weights(), FuseSpace::Probabilities))
            }
        }
    }
}

/// The mean over tasks; NaN where there is none.
fn balanced_accuracy(predictions: Result<Predictions, SchemaError>) -> f64 {
    let options = EvaluationOptions { bootstrap: Bootstrap { resamples: 0, seed: 0 }, ..EvaluationOptions::default() };
    let evaluation = predictions.ok().and_then(|predictions| Evaluation::with(&predictions, &options).ok());
    evaluation.and_then(|evaluation| evaluation.overall.balanced_accuracy).unwrap_or(f64::NAN)
}
