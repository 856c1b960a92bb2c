use serde::{Deserialize, Serialize};

use super::distributions::{student_quantile, student_survival};
use super::{check_finite, check_level, check_paired};
use crate::EvalError;

/// Whether a method is not worse than another by more than a margin, on the same cases or rounds: a one-sided paired t-test.
///
/// That two methods do not differ significantly does not say that they are as good: too few cases show no difference at all.
/// This test turns the question round. What it rejects is that the first is worse by the margin or more, and the margin is
/// stated before the scores are seen.
///
/// # Source
/// Piaggio et al., "Reporting of noninferiority and equivalence randomized trials", JAMA 308, 2012, for the way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonInferiority {
    /// By how much the first may be worse, in the unit of the scores.
    pub margin: f64,
    /// Mean of the first less the second.
    pub difference: f64,
    /// The lower end of the difference: it is above this with the probability 1 − level.
    pub lower: f64,
    /// How probable such a difference or a better one would be, were the first worse by exactly the margin.
    pub p: f64,
    /// How many pairs there are.
    pub pairs: usize,
    /// Whether the lower end is above −margin.
    pub holds: bool,
}

impl NonInferiority {
    /// Tests scores of the same cases or rounds, greater is better, at the level 0.05.
    ///
    /// ```
    /// use dermafuse_eval::significance::NonInferiority;
    ///
    /// let small = [76.0, 75.2, 77.1, 74.9, 75.8];
    /// let large = [76.2, 75.1, 77.4, 75.2, 75.9];
    /// let test = NonInferiority::of(&small, &large, 1.0)?;
    /// assert!(test.holds && test.difference < 0.0);
    /// assert!(!NonInferiority::of(&small, &large, 0.2)?.holds);
    /// # Ok::<(), dermafuse_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    /// Columns of different lengths, fewer than two pairs, a number that is not finite, a margin that is not above 0.
    pub fn of(first: &[f64], second: &[f64], margin: f64) -> Result<Self, EvalError> {
        Self::at_level(first, second, margin, 0.05)
    }

    /// As [`NonInferiority::of`], at another level of significance.
    ///
    /// # Errors
    /// As [`NonInferiority::of`]; a level that is not between 0 and 1.
    pub fn at_level(first: &[f64], second: &[f64], margin: f64, level: f64) -> Result<Self, EvalError> {
        check_paired("scores of the second method", first.len(), second.len())?;
        check_finite("scores", first.iter().chain(second))?;
        check_level(level)?;
        check_margin(margin)?;
        super::check_enough("pairs", first.len(), 2)?;
        let differences: Vec<f64> = first.iter().zip(second).map(|(first, second)| first - second).collect();
        let n = differences.len() as f64;
        let difference = differences.iter().sum::<f64>() / n;
        let variance = differences.iter().map(|value| (value - difference).powi(2)).sum::<f64>() / (n - 1.0);
        let error = (variance / n).sqrt();
        let degrees = differences.len() - 1;
        let (lower, p) = match error > 0.0 {
            true => {
                let p = student_survival((difference + margin) / error, degrees);
                (difference - student_quantile(level, degrees) * error, p)
            }
            // All pairs differ alike: there is nothing left to chance.
            false => (difference, if difference > -margin { 0.0 } else { 1.0 }),
        };
        Ok(Self { margin, difference, lower, p, pairs: differences.len(), holds: lower > -margin })
    }
}

fn check_margin(margin: f64) -> Result<(), EvalError> {
    if margin.is_finite() && margin > 0.0 {
        return Ok(());
    }
    let what = "margin".into();
    Err(dermafuse_schema::SchemaError::Number { what, value: margin, expected: "above 0" }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_t_test_of_the_difference_and_the_margin() {
        // Differences 1, 2, 3: mean 2, standard error 1/√3; t for 2 degrees of freedom and 0.05 is 2.919986.
        let test = NonInferiority::of(&[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0], 1.0).unwrap();
        assert_eq!((test.difference, test.pairs, test.holds), (2.0, 3, true));
        assert!((test.lower - (2.0 - 2.919_986 / 3.0_f64.sqrt())).abs() < 1e-6, "{test:?}");
        // t = 3·√3 with 2 degrees of freedom: (1 − t/√(2 + t²)) / 2.
        let t = 3.0 * 3.0_f64.sqrt();
        assert!((test.p - (1.0 - t / (2.0 + t * t).sqrt()) / 2.0).abs() < 1e-12, "{test:?}");
        assert_eq!(test.holds, test.p < 0.05);
    }

    #[test]
    fn what_is_not_shown_does_not_hold() {
        let (good, bad) = ([80.0, 60.0, 90.0, 70.0], [70.0, 75.0, 80.0, 78.0]);
        let test = NonInferiority::of(&good, &bad, 5.0).unwrap();
        assert!(!test.holds && test.p > 0.05, "few and scattered pairs show nothing: {test:?}");
        assert!(NonInferiority::of(&[1.0, 1.0], &[1.0, 1.0], 0.5).unwrap().holds);
        assert!(!NonInferiority::of(&[0.0, 0.0], &[1.0, 1.0], 0.5).unwrap().holds);
        for (first, second, margin) in
            [(&[1.0][..], &[1.0][..], 1.0), (&[1.0, 2.0], &[1.0], 1.0), (&[1.0, 2.0], &[1.0, 2.0], 0.0)]
        {
            NonInferiority::of(first, second, margin).unwrap_err();
        }
    }
}
