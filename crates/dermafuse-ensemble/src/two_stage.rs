use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace, Predictions};
use serde::{Deserialize, Serialize};

use crate::cluster::SecondStage;
use crate::error::Result;

/// Everything that turns a network's logits into the rows of the paper's tables: branch weights, cluster and mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoStage {
    /// Weights of the branches, from [`WeightSearch`](crate::WeightSearch).
    pub branch_weights: BranchWeights,
    /// The space in which branches are averaged.
    pub fuse_space: FuseSpace,
    /// The cluster. `None`: a method without metadata, which stops at `P_1`.
    pub second_stage: Option<SecondStage>,
    /// The weight `W_1` of `P_1` in `P_3`, from [`MixSearch`](crate::MixSearch).
    pub mix: f64,
}

impl TwoStage {
    /// The predictions of every row of the tables, in their order and by name: `P_<branch>` for each branch,
    /// `P_1 averaged` (equal branch weights), `P_1`, and with a cluster `P_2`, `P_3 averaged` (half and half) and `P_3`. With
    /// a single branch, which is `P_1`, the rows begin there.
    ///
    /// A case without metadata stops at `P_1`: its rows of `P_2` and `P_3` are those of `P_1`.
    ///
    /// # Errors
    /// Inconsistent logits, an unknown branch among the weights, other tasks or another number of features than the
    /// cluster's, a mix outside 0..=1.
    pub fn apply(&self, logits: &BranchLogits) -> Result<Vec<(String, Predictions)>> {
        logits.check()?;
        let mut rows = Vec::with_capacity(logits.branches.len() + 5);
        if logits.branches.len() > 1 {
            for branch in &logits.branches {
                rows.push((format!("P_{}", branch.name), logits.branch(&branch.name)?));
            }
            rows.push(("P_1 averaged".into(), logits.fuse(&logits.equal_weights(), self.fuse_space)?));
        }
        let first = logits.fuse(&self.branch_weights, self.fuse_space)?;
        match &self.second_stage {
            None => rows.push(("P_1".into(), first)),
            Some(second_stage) => {
                let second = second_stage.apply(&first, &logits.cohort)?;
                let averaged = Self::mixed(&first, &second, 0.5, logits)?;
                let third = Self::mixed(&first, &second, self.mix, logits)?;
                rows.push(("P_1".into(), first));
                rows.push(("P_2".into(), second));
                rows.push(("P_3 averaged".into(), averaged));
                rows.push(("P_3".into(), third));
            }
        }
        Ok(rows)
    }

    /// `weight · P_1 + (1 − weight) · P_2`, to the bit `P_1` where there is no metadata.
    fn mixed(first: &Predictions, second: &Predictions, weight: f64, logits: &BranchLogits) -> Result<Predictions> {
        let mut mixed = first.mix(second, weight)?;
        for case in (0..mixed.len()).filter(|&case| !logits.cohort.has_metadata[case]) {
            for (to, from) in mixed.probabilities.iter_mut().zip(&first.probabilities) {
                to.row_mut(case).assign(&from.row(case));
            }
        }
        Ok(mixed)
    }
}
