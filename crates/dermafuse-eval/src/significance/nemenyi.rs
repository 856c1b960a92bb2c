use std::f64::consts::SQRT_2;

use serde::{Deserialize, Serialize};

use super::studentized_range::{studentized_range_quantile, studentized_range_survival};
use super::{check_enough, check_finite};
use crate::EvalError;

/// Nemenyi's test of which methods differ, after [`Friedman`](super::Friedman): two methods do where their mean ranks
/// are a critical difference or more apart. It allows for all pairs being compared.
///
/// # Source
/// Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006, section 3.2.2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nemenyi {
    /// Level of significance.
    pub level: f64,
    /// `[k]` mean rank of each method, 1 is the best.
    pub mean_ranks: Vec<f64>,
    /// q √(k(k + 1) / 6n), where q is the quantile of the studentized range of k over √2.
    pub critical_difference: f64,
    /// `[k][k]` p-values of the pairs; 1 on the diagonal.
    pub p: Vec<Vec<f64>>,
}

impl Nemenyi {
    /// Tests all pairs of methods by their mean ranks over `blocks` blocks.
    ///
    /// # Errors
    /// Fewer than two methods, no block, a rank that is not finite, a level that is not between 0 and 1.
    pub fn of(mean_ranks: &[f64], blocks: usize, level: f64) -> Result<Self, EvalError> {
        check_enough("methods to compare", mean_ranks.len(), 2)?;
        check_enough("blocks to compare methods on", blocks, 1)?;
        check_finite("mean rank", mean_ranks)?;
        let k = mean_ranks.len();
        let deviation = ((k * (k + 1)) as f64 / (6.0 * blocks as f64)).sqrt();
        let q = studentized_range_quantile(k, level)?;
        let p = |a: f64, b: f64| studentized_range_survival((a - b).abs() / deviation * SQRT_2, k);
        let row = |&a: &f64| mean_ranks.iter().map(|&b| p(a, b)).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            level,
            mean_ranks: mean_ranks.to_vec(),
            critical_difference: q / SQRT_2 * deviation,
            p: mean_ranks.iter().map(row).collect::<Result<_, _>>()?,
        })
    }

    /// The largest groups of methods of which no two differ, best first; each is in order of rank and has at least two
    /// methods. A method that differs from all others is in none.
    #[must_use]
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let order = self.order();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut reached = 0;
        for start in 0..order.len() {
            let near =
                |&&method: &&usize| self.mean_ranks[method] - self.mean_ranks[order[start]] < self.critical_difference;
            let end = start + order[start..].iter().take_while(near).count();
            if end > reached && end > start + 1 {
                groups.push(order[start..end].to_vec());
            }
            reached = reached.max(end);
        }
        groups
    }

    /// The methods in order of their mean ranks, best first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.mean_ranks.len()).collect();
        order.sort_by(|&a, &b| self.mean_ranks[a].total_cmp(&self.mean_ranks[b]));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_demsar() {
        // Section 3.2.3: four classifiers, 14 data sets, α = 0.10: CD = 2.291 √(4·5 / 6·14) = 1.12; the worst (3.143)
        // differs from both best (1.964, 2.000), and the third (2.893) from none.
        let ranks = [3.143, 2.000, 2.893, 1.964];
        let nemenyi = Nemenyi::of(&ranks, 14, 0.10).unwrap();
        assert!((nemenyi.critical_difference - 1.12).abs() < 5e-3);
        assert_eq!(nemenyi.groups(), [vec![3, 1, 2], vec![2, 0]]);
        assert_eq!(nemenyi.order(), [3, 1, 2, 0]);
        for a in 0..4 {
            for b in 0..4 {
                let apart = (ranks[a] - ranks[b]).abs() >= nemenyi.critical_difference;
                assert_eq!(nemenyi.p[a][b] <= 0.10, apart, "{a} and {b}");
                assert_eq!(nemenyi.p[a][b], nemenyi.p[b][a]);
            }
            assert_eq!(nemenyi.p[a][a], 1.0);
        }
    }

    #[test]
    fn methods_that_all_differ_are_in_no_group_and_equal_ones_in_one() {
        let apart = Nemenyi::of(&[1.0, 2.0, 3.0], 100, 0.05).unwrap();
        assert!(apart.groups().is_empty());
        let same = Nemenyi::of(&[2.0; 3], 100, 0.05).unwrap();
        assert_eq!(same.groups(), [vec![0, 1, 2]]);
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(Nemenyi::of(&[1.0], 5, 0.05).is_err());
        assert!(Nemenyi::of(&[1.0, 2.0], 0, 0.05).is_err());
        assert!(Nemenyi::of(&[1.0, f64::NAN], 5, 0.05).is_err());
        let text = Nemenyi::of(&[1.0, 2.0], 5, 1.5).unwrap_err().to_string();
        assert_eq!(text, "significance level: 1.5 is not between 0 and 1");
    }
}
