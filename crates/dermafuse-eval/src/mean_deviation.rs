use std::fmt;

use serde::{Deserialize, Serialize};

/// A mean over runs with its standard deviation, as tables print it: `74.9 ± 2.3`.
///
/// Prints one decimal, or as many as the format says (`{:.2}`). The values are printed as they are: give per cent to
/// print per cent.
///
/// ```
/// use dermafuse_eval::MeanDeviation;
///
/// let folds = MeanDeviation::of(&[76.1, 73.9, 74.2]).unwrap();
/// assert_eq!(folds.to_string(), "74.7 ± 1.0");
/// assert_eq!(format!("{folds:.2}"), "74.73 ± 0.97");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanDeviation {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the values themselves (n in the denominator), as NumPy and the field's tables have it.
    pub deviation: f64,
    /// Number of values.
    pub n: usize,
}

impl MeanDeviation {
    /// Of the values of some runs; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64;
        Some(Self { mean, deviation: variance.sqrt(), n })
    }
}

impl fmt::Display for MeanDeviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(1);
        write!(f, "{:.decimals$} ± {:.decimals$}", self.mean, self.deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_divides_by_n() {
        let of = MeanDeviation::of(&[1.0, 3.0, 5.0, 7.0]).unwrap();
        assert_eq!((of.mean, of.deviation, of.n), (4.0, 5.0_f64.sqrt(), 4));
        assert_eq!(of.to_string(), "4.0 ± 2.2");
        assert_eq!(MeanDeviation::of(&[0.25]).unwrap().to_string(), "0.2 ± 0.0");
        assert_eq!(MeanDeviation::of(&[]), None);
    }
}
