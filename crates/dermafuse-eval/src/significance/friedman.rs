use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::distributions::chi_squared_survival;
use super::ranks::Ranks;
use super::{check_enough, check_finite};
use crate::EvalError;

/// Friedman's test of whether any of several methods differs, each measured on the same blocks (folds, seeds, data
/// sets).
///
/// Ranks the methods within each block, so that only their order counts; the χ² approximation, corrected for ties.
///
/// # Source
/// Friedman, "The use of ranks to avoid the assumption of normality", JASA 32, 1937.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Friedman {
    /// Number of blocks `n`.
    pub blocks: usize,
    /// `[k]` mean rank of each method; rank 1 is the greatest score of a block, equal scores share their ranks.
    pub mean_ranks: Vec<f64>,
    /// χ².
    pub statistic: f64,
    /// k − 1.
    pub degrees_of_freedom: usize,
    /// How probable a statistic as large would be, were all methods the same.
    pub p: f64,
}

impl Friedman {
    /// Tests `[n, k]` scores, one row for each block and one column for each method; greater is better.
    ///
    /// Where every block finds all methods equal, the statistic is 0 and p is 1 (SciPy: NaN). SciPy refuses two
    /// methods; here they are allowed.
    ///
    /// # Errors
    /// Fewer than two methods or two blocks, a score that is not finite.
    ///
    /// ```
    /// use dermafuse_eval::significance::Friedman;
    /// use dermafuse_schema::ndarray::array;
    ///
    /// let friedman = Friedman::of(&array![[70.0, 74.2, 77.1], [68.5, 71.0, 75.9], [69.9, 74.8, 74.0]].view())?;
    /// assert_eq!(friedman.mean_ranks, [3.0, 5.0 / 3.0, 4.0 / 3.0]);
    /// # Ok::<(), dermafuse_eval::EvalError>(())
    /// ```
    pub fn of(scores: &ArrayView2<'_, f64>) -> Result<Self, EvalError> {
        let (n, k) = scores.dim();
        check_enough("methods to compare", k, 2)?;
        check_enough("blocks to compare methods on", n, 2)?;
        check_finite("score", scores)?;
        let (mut sums, mut ties) = (vec![0.0; k], 0.0);
        for block in scores.rows() {
            let negated: Vec<f64> = block.iter().map(|score| -score).collect();
            let ranks = Ranks::of(&negated);
            sums.iter_mut().zip(&ranks.ranks).for_each(|(sum, rank)| *sum += rank);
            ties += ranks.ties;
        }
        let (n_blocks, methods) = (n as f64, k as f64);
        let correction = 1.0 - ties / (n_blocks * (methods * methods * methods - methods));
        // Rank sums are multiples of one half: their squares around the mean are exact, unlike 12/(nk(k+1)) ΣR² −
        // 3n(k+1).
        let expected = n_blocks * (methods + 1.0) / 2.0;
        let squares: f64 = sums.iter().map(|sum| (sum - expected).powi(2)).sum();
        let statistic = if correction > 0.0 && squares > 0.0 {
            12.0 * squares / (n_blocks * methods * (methods + 1.0)) / correction
        } else {
            0.0
        };
        Ok(Self {
            blocks: n,
            mean_ranks: sums.iter().map(|sum| sum / n_blocks).collect(),
            statistic,
            degrees_of_freedom: k - 1,
            p: chi_squared_survival(statistic, k - 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn two_blocks_by_hand() {
        // ranks 2, 1, 3 and 1.5, 1.5, 3: sums 3.5, 2.5, 6 around 4; ties 6 of 2·24
        let friedman = Friedman::of(&array![[0.5, 0.7, 0.2], [0.6, 0.6, 0.1]].view()).unwrap();
        assert_eq!(friedman.mean_ranks, [1.75, 1.25, 3.0]);
        let statistic = 12.0 * (0.25 + 2.25 + 4.0) / (2.0 * 3.0 * 4.0) / (1.0 - 6.0 / 48.0);
        assert!((friedman.statistic - statistic).abs() < 1e-14);
        assert!((friedman.p - (-statistic / 2.0).exp()).abs() < 1e-14);
        assert_eq!((friedman.degrees_of_freedom, friedman.blocks), (2, 2));
    }

    #[test]
    fn methods_that_never_differ_are_the_same() {
        let friedman = Friedman::of(&Array2::from_elem((4, 3), 0.5).view()).unwrap();
        assert_eq!((friedman.statistic, friedman.p), (0.0, 1.0));
        assert_eq!(friedman.mean_ranks, [2.0; 3]);
    }

    #[test]
    fn too_little_or_no_number_is_an_error() {
        let text = Friedman::of(&Array2::zeros((5, 1)).view()).unwrap_err().to_string();
        assert_eq!(text, "methods to compare: found 1, at least 2 are needed");
        assert!(Friedman::of(&Array2::zeros((1, 3)).view()).is_err());
        let text = Friedman::of(&array![[0.5, f64::NAN], [0.5, 0.5]].view()).unwrap_err().to_string();
        assert_eq!(text, "score: NaN is not finite");
    }
}
