use dermafuse_eval::{Bootstrap, Evaluation, EvaluationOptions, Overall};
use dermafuse_schema::{BranchLogits, FuseSpace, Predictions, SchemaError};
use dermafuse_train::mean_branch_accuracy;
use serde::{Deserialize, Serialize};

use crate::RecipeError;

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
    /// Area under the ROC curve of all branches together, the mean over the classes: it moves less than the scores above where a class has
    /// few validation cases.
    JointAuc,
}

impl Selection {
    /// The score of validation logits; higher is better, NaN if nothing is annotated.
    #[must_use]
    pub fn score(self, logits: &BranchLogits) -> f64 {
        match self {
            Self::Accuracy => mean_branch_accuracy(logits),
            Self::BalancedAccuracy => {
                let scores = logits.branches.iter().map(|branch| score_of(logits.branch(&branch.name)));
                scores.sum::<f64>() / logits.branches.len() as f64
            }
            Self::JointBalancedAccuracy => score_of(joint(logits)),
            Self::JointAuc => joint(logits)
                .ok()
                .and_then(|predictions| overall(&predictions).ok())
                .and_then(|overall| overall.auc)
                .unwrap_or(f64::NAN),
        }
    }
}

/// All branches together, their probabilities averaged.
fn joint(logits: &BranchLogits) -> Result<Predictions, SchemaError> {
    logits.fuse(&logits.equal_weights(), FuseSpace::Probabilities)
}

/// The mean over tasks of the mean recall over classes.
pub(crate) fn balanced_accuracy(predictions: &Predictions) -> Result<f64, RecipeError> {
    overall(predictions)?.balanced_accuracy.ok_or(RecipeError::NoScore)
}

/// All numbers without the intervals, which take most of an evaluation's time.
pub(crate) fn evaluation(predictions: &Predictions) -> Result<Evaluation, RecipeError> {
    let options = EvaluationOptions { bootstrap: Bootstrap { resamples: 0, seed: 0 }, ..EvaluationOptions::default() };
    Ok(Evaluation::with(predictions, &options)?)
}

/// The means over the tasks.
pub(crate) fn overall(predictions: &Predictions) -> Result<Overall, RecipeError> {
    Ok(evaluation(predictions)?.overall)
}

/// NaN where there is none.
fn score_of(predictions: Result<Predictions, SchemaError>) -> f64 {
    predictions.ok().and_then(|predictions| balanced_accuracy(&predictions).ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::ndarray::{Array2, Array3};
    use dermafuse_schema::{Branch, Cohort, Task, TaskSet};

    /// Every melanoma is above every naevus, but all are said to be naevi; the second branch knows nothing.
    #[test]
    fn an_area_sees_an_order_where_answers_are_all_the_same() {
        let task = Task::new("diagnosis", "DIAG", ["NEV", "MEL"]);
        let branch = |name: &str, second: [f32; 4]| Branch {
            name: name.into(),
            available: vec![true; 4],
            logits: vec![Array3::from_shape_fn((1, 4, 2), |(_, case, class)| [3.0, second[case]][class])],
        };
        let logits = BranchLogits {
            tasks: TaskSet::new(vec![task]).unwrap(),
            cohort: Cohort {
                ids: ["a", "b", "c", "d"].map(Into::into).into(),
                groups: ["a", "b", "c", "d"].map(Into::into).into(),
                labels: vec![vec![Some(0)], vec![Some(0)], vec![Some(1)], vec![Some(1)]],
                metadata: Array2::zeros((4, 0)),
                has_metadata: vec![false; 4],
            },
            branches: vec![branch("first", [0.0, 0.1, 0.2, 0.3]), branch("second", [0.0; 4])],
            looks: Vec::new(),
        };
        assert_eq!(Selection::JointAuc.score(&logits), 1.0);
        assert_eq!(Selection::JointBalancedAccuracy.score(&logits), 0.5);
        assert_eq!(Selection::Accuracy.score(&logits), 0.5);
    }
}
