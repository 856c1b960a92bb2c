//! How much the branches of a network with two images count in its loss.

use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

/// Weights of the three branches' losses. What they are multiplied with besides, and whether a branch's loss is the sum or the
/// mean of its tasks', the loss configuration of the training says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Of the clinical branch; not negative.
    pub clinical: f64,
    /// Of the dermoscopic branch; not negative.
    pub dermoscopic: f64,
    /// Of the branch that sees both images; not negative.
    pub fusion: f64,
}

impl LossWeights {
    /// `L_C + L_D + L_F`, as FusionM4Net and AMMFM have it.
    pub const SUM: Self = Self { clinical: 1.0, dermoscopic: 1.0, fusion: 1.0 };
    /// `(L_C + L_D + L_F) / 3`, the baseline "EQ" of PEMM.
    pub const MEAN: Self = Self { clinical: 1.0 / 3.0, dermoscopic: 1.0 / 3.0, fusion: 1.0 / 3.0 };

    /// PEMM's biased loss `W L_C + (0.5 − W) L_D + 0.5 L_F`, which trusts the clinical photo less: `W` is 0.1 in the paper, and
    /// between 0 and 0.5 in its sweep.
    #[must_use]
    pub fn biased(clinical: f64) -> Self {
        Self { clinical, dermoscopic: 0.5 - clinical, fusion: 0.5 }
    }

    pub(crate) fn check(self) -> Result<(), SettingFault> {
        let weights = [self.clinical, self.dermoscopic, self.fusion];
        let are_weights = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        SettingFault::unless(
            are_weights && weights.iter().any(|&weight| weight > 0.0),
            "loss_weights",
            "of weights that are not negative, one of them positive",
            format!("{weights:?}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_shares_of_a_loss() {
        let LossWeights { clinical, dermoscopic, fusion } = LossWeights::biased(0.1);
        assert_eq!([clinical, dermoscopic, fusion], [0.1, 0.4, 0.5]);
        for weights in [LossWeights::SUM, LossWeights::MEAN, LossWeights::biased(0.0), LossWeights::biased(0.5)] {
            assert!(weights.check().is_ok(), "{weights:?}");
        }
        let error = LossWeights::biased(0.6).check().unwrap_err().to_string();
        assert!(error.starts_with("`loss_weights` must be of weights that are not negative"), "{error}");
        assert!(LossWeights { clinical: 0.0, dermoscopic: 0.0, fusion: 0.0 }.check().is_err());
        assert!(LossWeights { fusion: f64::NAN, ..LossWeights::SUM }.check().is_err());
    }
}
