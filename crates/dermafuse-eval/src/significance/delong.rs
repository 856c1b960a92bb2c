use serde::{Deserialize, Serialize};

use super::distributions::two_sided_normal;
use super::ranks::Ranks;
use super::{check_enough, check_finite, check_paired};
use crate::{EvalError, Interval};

/// 97.5th percentile of the standard normal distribution.
const NORMAL_97_5: f64 = 1.959_963_984_540_054;

/// An area under the ROC curve with DeLong's variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AucEstimate {
    /// The area, equal to [`auc`](crate::auc) of the same scores.
    pub auc: f64,
    /// Its variance over the sampling of cases.
    pub variance: f64,
    /// 95 % confidence interval: the area ± 1.96 standard deviations, within 0 and 1.
    pub interval: Interval,
}

/// DeLong's test of whether two scores of the same cases have different areas under their ROC curves; two-sided.
///
/// # Sources
/// DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
/// curves: a nonparametric approach", Biometrics 44, 1988. Computed in O(n log n) by Sun, Xu, "Fast implementation of
/// DeLong's algorithm for comparing the areas under correlated receiver operating characteristic curves", IEEE Signal
/// Processing Letters 21, 2014.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeLong {
    /// Area of the first score.
    pub first: AucEstimate,
    /// Area of the second score.
    pub second: AucEstimate,
    /// Covariance of both areas.
    pub covariance: f64,
    /// The difference, first minus second, in standard deviations.
    pub z: f64,
    /// How probable a difference as large would be, were both areas the same.
    pub p: f64,
}

impl DeLong {
    /// Compares the areas of two scores of different cases, such as of two hospitals or of men and women: as
    /// [`DeLong::of`], with no covariance.
    ///
    /// # Errors
    /// As [`AucEstimate::of`]; areas that differ although neither has variance.
    ///
    /// ```
    /// use dermafuse_eval::significance::DeLong;
    ///
    /// let here = [(0.9, true), (0.4, true), (0.6, false), (0.1, false)];
    /// let there = [(0.8, true), (0.7, true), (0.9, false), (0.2, false), (0.1, false)];
    /// let test = DeLong::unpaired(&here, &there)?;
    /// assert_eq!((test.first.auc, test.covariance), (0.75, 0.0));
    /// assert!(test.p > 0.5);
    /// # Ok::<(), dermafuse_eval::EvalError>(())
    /// ```
    pub fn unpaired(first: &[(f64, bool)], second: &[(f64, bool)]) -> Result<Self, EvalError> {
        let (first, second) = (AucEstimate::of(first)?, AucEstimate::of(second)?);
        let (variance, difference) = (first.variance + second.variance, first.auc - second.auc);
        let z = match (variance > 0.0, difference == 0.0) {
            (true, _) => difference / variance.sqrt(),
            (false, true) => 0.0,
            (false, false) => return Err(EvalError::NoVariance { first: first.auc, second: second.auc }),
        };
        Ok(Self { first, second, covariance: 0.0, z, p: two_sided_normal(z) })
    }
}

/// What each case contributes to an area: the share of the cases of the other kind that it is ranked right against.
struct Components {
    of_positives: Vec<f64>,
    of_negatives: Vec<f64>,
}

impl AucEstimate {
    /// The area of `(score, is positive)` pairs.
    ///
    /// # Errors
    /// Fewer than two positives or two negatives, a score that is not finite.
    ///
    /// ```
    /// use dermafuse_eval::significance::AucEstimate;
    ///
    /// let estimate = AucEstimate::of(&[(0.9, true), (0.4, true), (0.6, false), (0.1, false)])?;
    /// assert_eq!((estimate.auc, estimate.variance), (0.75, 0.125));
    /// # Ok::<(), dermafuse_eval::EvalError>(())
    /// ```
    pub fn of(scores: &[(f64, bool)]) -> Result<Self, EvalError> {
        let (values, positive): (Vec<f64>, Vec<bool>) = scores.iter().copied().unzip();
        Ok(Components::of(&values, &positive)?.estimate())
    }
}

impl DeLong {
    /// Compares two scores of the same cases, of which some are positive.
    ///
    /// Areas without a difference and without variance, such as of equal scores, have z = 0 and p = 1.
    ///
    /// # Errors
    /// Columns of different lengths, fewer than two positives or two negatives, a score that is not finite, areas that
    /// differ although their difference has no variance, such as of a perfect and a constant score.
    pub fn of(first: &[f64], second: &[f64], positive: &[bool]) -> Result<Self, EvalError> {
        let components = [Components::of(first, positive)?, Components::of(second, positive)?];
        let [first, second] = components.each_ref().map(Components::estimate);
        let covariance = components[0].covariance(&components[1]);
        let variance = first.variance + second.variance - 2.0 * covariance;
        let difference = first.auc - second.auc;
        // Rounding leaves a trace of the variances where the components are the same.
        let none = variance <= 1e-14 * (first.variance + second.variance);
        let z = match (none, difference == 0.0) {
            (false, _) => difference / variance.sqrt(),
            (true, true) => 0.0,
            (true, false) => return Err(EvalError::NoVariance { first: first.auc, second: second.auc }),
        };
        Ok(Self { first, second, covariance, z, p: two_sided_normal(z) })
    }
}

impl Components {
    fn of(scores: &[f64], positive: &[bool]) -> Result<Self, EvalError> {
        check_paired("scores of a ROC curve", positive.len(), scores.len())?;
        check_finite("score of a ROC curve", scores)?;
        let only = |kind: bool| -> Vec<f64> {
            scores.iter().zip(positive).filter(|(_, positive)| **positive == kind).map(|(score, _)| *score).collect()
        };
        let (positives, negatives) = (only(true), only(false));
        check_enough("positive cases of a ROC curve", positives.len(), 2)?;
        check_enough("negative cases of a ROC curve", negatives.len(), 2)?;
        // A rank among all minus the rank among its own kind counts the cases of the other kind below, ties one half.
        let together = Ranks::of(&[&positives[..], &negatives[..]].concat()).ranks;
        let (of_positives, of_negatives) = together.split_at(positives.len());
        let below = |all: &[f64], own: &[f64]| -> Vec<f64> {
            all.iter().zip(Ranks::of(own).ranks).map(|(among_all, among_own)| among_all - among_own).collect()
        };
        let (m, n) = (positives.len() as f64, negatives.len() as f64);
        Ok(Self {
            of_positives: below(of_positives, &positives).into_iter().map(|below| below / n).collect(),
            of_negatives: below(of_negatives, &negatives).into_iter().map(|below| 1.0 - below / m).collect(),
        })
    }

    fn estimate(&self) -> AucEstimate {
        let (auc, variance) = (mean(&self.of_positives), self.covariance(self));
        let half = NORMAL_97_5 * variance.sqrt();
        let interval = Interval { lower: (auc - half).max(0.0), upper: (auc + half).min(1.0) };
        AucEstimate { auc, variance, interval }
    }

    fn covariance(&self, other: &Self) -> f64 {
        covariance(&self.of_positives, &other.of_positives) / self.of_positives.len() as f64
            + covariance(&self.of_negatives, &other.of_negatives) / self.of_negatives.len() as f64
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample covariance, with n − 1 in the denominator.
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum::<f64>() / (a.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auc;

    const POSITIVE: [bool; 5] = [true, true, false, false, false];

    #[test]
    fn five_cases_by_hand() {
        // first: positives 0.9, 0.4; negatives 0.4, 0.1, 0.6. V10 = 1, 1.5/3; V01 = 3/4, 1, 1/2
        let first = [0.9, 0.4, 0.4, 0.1, 0.6];
        // second: positives 3, 2; negatives 1, 4, 0. V10 = 2/3, 2/3; V01 = 1, 0, 1
        let second = [3.0, 2.0, 1.0, 4.0, 0.0];
        let delong = DeLong::of(&first, &second, &POSITIVE).unwrap();
        assert!((delong.first.auc - 0.75).abs() < 1e-15 && (delong.second.auc - 2.0 / 3.0).abs() < 1e-15);
        // S10 = 1/8, S01 = 1/16
        assert!((delong.first.variance - (1.0 / 16.0 + 1.0 / 48.0)).abs() < 1e-15);
        // S10 = 0, S01 = 1/3
        assert!((delong.second.variance - 1.0 / 9.0).abs() < 1e-15);
        // S01 = (0·1/3 + 1/4·(−2/3) + (−1/4)·1/3) / 2 = −1/8
        assert!((delong.covariance + 1.0 / 24.0).abs() < 1e-15);
        let z = (0.75 - 2.0 / 3.0) / (1.0 / 12.0 + 1.0 / 9.0 + 1.0 / 12.0_f64).sqrt();
        assert!((delong.z - z).abs() < 1e-12 && (delong.p - two_sided_normal(z)).abs() < 1e-15);
    }

    #[test]
    fn the_area_is_the_rank_statistic_and_the_interval_stays_within_0_and_1() {
        let scores: Vec<(f64, bool)> =
            (0..40_usize).map(|case| (((case * 29) % 23) as f64 + (case % 3 / 2 * 9) as f64, case % 3 == 2)).collect();
        let estimate = AucEstimate::of(&scores).unwrap();
        assert!((estimate.auc - auc(&scores).unwrap()).abs() < 1e-14);
        let Interval { lower, upper } = estimate.interval;
        assert!(lower < estimate.auc && estimate.auc < upper && upper <= 1.0);
        let perfect = AucEstimate::of(&[(0.9, true), (0.8, true), (0.1, false), (0.2, false)]).unwrap();
        assert_eq!((perfect.auc, perfect.variance), (1.0, 0.0));
        assert_eq!(perfect.interval, Interval { lower: 1.0, upper: 1.0 });
    }

    #[test]
    fn equal_scores_do_not_differ_and_differences_without_variance_are_refused() {
        let scores = [0.9, 0.4, 0.4, 0.1, 0.6];
        let same = DeLong::of(&scores, &scores.map(|score| 2.0 * score), &POSITIVE).unwrap();
        assert_eq!((same.z, same.p), (0.0, 1.0));
        let text = DeLong::of(&[1.0, 1.0, 0.0, 0.0, 0.0], &[0.5; 5], &POSITIVE).unwrap_err().to_string();
        assert_eq!(text, "the areas 1 and 0.5 differ, but their difference has no variance to test it by");
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(DeLong::of(&[0.1; 5], &[0.1; 4], &POSITIVE).is_err());
        assert!(DeLong::of(&[f64::NAN; 5], &[0.1; 5], &POSITIVE).is_err());
        let text = AucEstimate::of(&[(0.1, true), (0.2, false), (0.3, false)]).unwrap_err().to_string();
        assert_eq!(text, "positive cases of a ROC curve: found 1, at least 2 are needed");
    }
}
