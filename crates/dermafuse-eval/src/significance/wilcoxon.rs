use serde::{Deserialize, Serialize};

use super::distributions::two_sided_normal;
use super::ranks::Ranks;
use super::{check_enough, check_finite, check_paired};
use crate::EvalError;

/// The most pairs for which the distribution is counted out.
const EXACT_PAIRS: usize = 25;

/// Wilcoxon's signed-rank test of whether two methods differ, each measured on the same blocks; two-sided.
///
/// Up to 25 pairs without a zero difference, p is exact: the share of the 2ⁿ sign patterns whose rank sum is at most W,
/// doubled. Otherwise it is the normal approximation without continuity correction, with the correction for ties, and
/// zero differences are dropped. These are the rules of SciPy's `wilcoxon` up to version 1.8, under which the field's
/// tables were made. Equal absolute differences share their ranks; the exact distribution, which knows none, is then
/// read at W rounded down.
///
/// # Source
/// Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WilcoxonSignedRank {
    /// Pairs that differ.
    pub pairs: usize,
    /// Pairs that do not differ; they are dropped.
    pub zeros: usize,
    /// W: the smaller of the two rank sums.
    pub statistic: f64,
    /// Whether p is exact.
    pub exact: bool,
    /// How probable a statistic as small would be, were both methods the same; 1 where no pair differs.
    pub p: f64,
}

impl WilcoxonSignedRank {
    /// Tests the scores of two methods on the same blocks.
    ///
    /// # Errors
    /// Different numbers of scores, none, or a score that is not finite.
    ///
    /// ```
    /// use dermafuse_eval::significance::WilcoxonSignedRank;
    ///
    /// let wilcoxon = WilcoxonSignedRank::of(&[74.2, 73.0, 75.1, 74.8, 71.9], &[77.0, 75.5, 76.1, 77.9, 76.0])?;
    /// assert_eq!((wilcoxon.statistic, wilcoxon.p), (0.0, 2.0 / 32.0));
    /// # Ok::<(), dermafuse_eval::EvalError>(())
    /// ```
    pub fn of(first: &[f64], second: &[f64]) -> Result<Self, EvalError> {
        check_paired("scores of the second method", first.len(), second.len())?;
        check_enough("pairs of scores", first.len(), 1)?;
        check_finite("score", first.iter().chain(second))?;
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).filter(|d| *d != 0.0).collect();
        let (n, zeros) = (differences.len(), first.len() - differences.len());
        let ranks = Ranks::of(&differences.iter().map(|d| d.abs()).collect::<Vec<_>>());
        let above =
            ranks.ranks.iter().zip(&differences).filter(|(_, d)| **d > 0.0).fold(0.0, |sum, (rank, _)| sum + rank);
        let total = (n * (n + 1)) as f64 / 2.0;
        let statistic = above.min(total - above);
        let exact = zeros == 0 && n <= EXACT_PAIRS;
        let p = if n == 0 {
            1.0
        } else if exact {
            exact_p(n, statistic)
        } else {
            let variance = (2.0 * total * (2 * n + 1) as f64 - ranks.ties / 2.0) / 24.0;
            two_sided_normal((statistic - total / 2.0) / variance.sqrt())
        };
        Ok(Self { pairs: n, zeros, statistic, exact, p })
    }
}

/// 2 P(rank sum ≤ W) over all sign patterns of the ranks 1 to n, at most 1.
fn exact_p(n: usize, statistic: f64) -> f64 {
    let mut patterns = vec![0_u64; n * (n + 1) / 2 + 1];
    patterns[0] = 1;
    for rank in 1..=n {
        for sum in (rank..patterns.len()).rev() {
            patterns[sum] += patterns[sum - rank];
        }
    }
    let below: u64 = patterns.iter().take(statistic.floor() as usize + 1).sum();
    (2.0 * below as f64 / (1_u64 << n) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Differences of absolute ranks 1 to `n` of which the negative ones sum to `w`.
    fn of_sum(n: usize, mut w: usize) -> WilcoxonSignedRank {
        let mut differences: Vec<f64> = (1..=n).map(|rank| rank as f64).collect();
        for rank in (1..=n).rev() {
            if rank <= w {
                differences[rank - 1] = -(rank as f64);
                w -= rank;
            }
        }
        WilcoxonSignedRank::of(&differences, &vec![0.0; n]).unwrap()
    }

    /// W and p of thesis Tables 4.4 to 4.6: 25 pairs.
    #[test]
    fn the_printed_p_values_are_reproduced() {
        let printed = [
            (0, 5.96e-8, 2),
            (1, 1.19e-7, 2),
            (2, 1.79e-7, 2),
            (4, 4.17e-7, 2),
            (10, 2.563e-6, 3),
            (20, 2.2113e-5, 4),
            (24, 4.5419e-5, 4),
            (26, 6.3658e-5, 4),
            (34, 2.16901e-4, 5),
            (43, 7.14958e-4, 5),
            (51, 1.815677e-3, 6),
            (59, 4.175186e-3, 6),
            (102, 1.07315e-1, 5),
            (118, 2.41066e-1, 5),
            (120, 2.63476e-1, 5),
            (130, 3.95711e-1, 5),
            (138, 5.24913e-1, 5),
            (147, 6.91519e-1, 5),
            (154, 8.32509398e-1, 8),
        ];
        for (w, p, decimals) in printed {
            let ours = of_sum(25, w);
            assert_eq!((ours.statistic, ours.exact, ours.pairs), (w as f64, true, 25));
            assert_eq!(format!("{:.decimals$e}", ours.p), format!("{p:.decimals$e}"), "W = {w}");
        }
    }

    #[test]
    fn sign_patterns_are_counted() {
        // of 16 patterns of 1, 2, 3, 4 the sums 0, 1, 2, 3, 3 are at most 3
        assert_eq!(of_sum(4, 3).p, 2.0 * 5.0 / 16.0);
        assert_eq!(of_sum(4, 5).p, 1.0);
        assert_eq!(of_sum(1, 0).p, 1.0);
    }

    #[test]
    fn ties_round_the_statistic_down() {
        // |d| 1, 1, 2, 3: ranks 1.5, 1.5, 3, 4; negative 1.5, read as 1: patterns {} and {1}
        let ties = WilcoxonSignedRank::of(&[1.0, -1.0, 2.0, 3.0], &[0.0; 4]).unwrap();
        assert_eq!((ties.statistic, ties.p, ties.exact), (1.5, 2.0 * 2.0 / 16.0, true));
    }

    #[test]
    fn zeros_and_many_pairs_are_approximated() {
        // ranks 1 to 4, negative 2: (2 − 5) / √7.5
        let zero = WilcoxonSignedRank::of(&[1.0, -2.0, 3.0, 4.0, 5.0], &[0.0, 0.0, 0.0, 0.0, 5.0]).unwrap();
        assert_eq!((zero.pairs, zero.zeros, zero.exact, zero.statistic), (4, 1, false, 2.0));
        assert!((zero.p - two_sided_normal(3.0 / 7.5_f64.sqrt())).abs() < 1e-15);
        assert!(!of_sum(26, 30).exact);
        let none = WilcoxonSignedRank::of(&[1.0, 2.0], &[1.0, 2.0]).unwrap();
        assert_eq!((none.pairs, none.statistic, none.p), (0, 0.0, 1.0));
    }

    #[test]
    fn the_order_of_the_methods_does_not_matter() {
        let (a, b) = ([0.5, 0.9, 0.3, 0.35], [0.45, 0.8, 0.9, 0.1]);
        assert_eq!(WilcoxonSignedRank::of(&a, &b).unwrap(), WilcoxonSignedRank::of(&b, &a).unwrap());
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(WilcoxonSignedRank::of(&[], &[]).is_err());
        assert!(WilcoxonSignedRank::of(&[1.0, 2.0], &[1.0]).is_err());
        assert!(WilcoxonSignedRank::of(&[1.0, f64::INFINITY], &[1.0, 2.0]).is_err());
    }
}
