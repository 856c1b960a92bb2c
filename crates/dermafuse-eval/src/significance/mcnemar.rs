use serde::{Deserialize, Serialize};

use super::check_paired;
use super::distributions::{chi_squared_survival, fair_binomial_cdf};
use crate::EvalError;

/// From this many discordant pairs on, [`McNemar::of`] uses the χ² approximation.
const APPROXIMATE_FROM: usize = 25;

/// McNemar's test of whether one of two classifiers is right more often than the other, on the same cases; two-sided.
///
/// Only the discordant pairs count: cases that one of them has right and the other wrong.
///
/// # Source
/// McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
/// Psychometrika 12, 1947.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Cases that only the first has right.
    pub first_only: usize,
    /// Cases that only the second has right.
    pub second_only: usize,
    /// The smaller of both counts if exact, otherwise χ² with one degree of freedom.
    pub statistic: f64,
    /// Whether p is from the binomial distribution.
    pub exact: bool,
    /// How probable counts as different would be, were both right as often.
    pub p: f64,
}

impl McNemar {
    /// Tests the counts of discordant pairs, exactly below 25 and approximately from there on.
    ///
    /// ```
    /// use dermafuse_eval::significance::McNemar;
    ///
    /// let mcnemar = McNemar::of(1, 4);
    /// assert!((mcnemar.p - 2.0 * 6.0 / 32.0).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn of(first_only: usize, second_only: usize) -> Self {
        let test = if first_only + second_only < APPROXIMATE_FROM { Self::exact } else { Self::chi_squared };
        test(first_only, second_only)
    }

    /// As [`McNemar::of`], from whether each case was right.
    ///
    /// # Errors
    /// Different numbers of cases.
    pub fn of_hits(first: &[bool], second: &[bool]) -> Result<Self, EvalError> {
        check_paired("hits of the second classifier", first.len(), second.len())?;
        let count = |wanted: (bool, bool)| first.iter().zip(second).filter(|(a, b)| (**a, **b) == wanted).count();
        Ok(Self::of(count((true, false)), count((false, true))))
    }

    /// Tests by the binomial distribution.
    #[must_use]
    pub fn exact(first_only: usize, second_only: usize) -> Self {
        let smaller = first_only.min(second_only);
        let p = (2.0 * fair_binomial_cdf(smaller, first_only + second_only)).min(1.0);
        Self { first_only, second_only, statistic: smaller as f64, exact: true, p }
    }

    /// Tests by χ² with continuity correction: (|b − c| − 1)² / (b + c). Without discordant pairs it is 0.
    #[must_use]
    pub fn chi_squared(first_only: usize, second_only: usize) -> Self {
        let total = first_only + second_only;
        let statistic = (first_only.abs_diff(second_only) as f64 - 1.0).powi(2) / total.max(1) as f64;
        let statistic = if total == 0 { 0.0 } else { statistic };
        Self { first_only, second_only, statistic, exact: false, p: chi_squared_survival(statistic, 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pairs_are_counted_and_many_approximated() {
        assert!(McNemar::of(10, 14).exact);
        let many = McNemar::of(10, 15);
        assert_eq!((many.exact, many.statistic), (false, 16.0 / 25.0));
        assert_eq!(McNemar::of(3, 3).p, 1.0);
        assert_eq!((McNemar::of(0, 0).p, McNemar::chi_squared(0, 0).p), (1.0, 1.0));
    }

    #[test]
    fn hits_of_both_or_none_do_not_count() {
        let first = [true, true, false, false, true];
        let second = [true, false, false, true, false];
        let mcnemar = McNemar::of_hits(&first, &second).unwrap();
        assert_eq!((mcnemar.first_only, mcnemar.second_only), (2, 1));
        assert!(McNemar::of_hits(&first, &second[1..]).is_err());
    }
}
