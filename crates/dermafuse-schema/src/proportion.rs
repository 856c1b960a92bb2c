use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::CaseId;

/// 97.5th percentile of the standard normal distribution.
const NORMAL_97_5: f64 = 1.959_963_984_540_054;

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub lower: f64,
    /// 97.5th percentile.
    pub upper: f64,
}

/// A share of cases, with Wilson's 95 % interval.
///
/// A case that was predicted in several repetitions is one case of the interval, and each of its predictions counts in the share.
///
/// # Sources
/// Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927; recommended for few cases and shares
/// near 0 and 1 by Brown, Cai, DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16, 2001.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proportion {
    /// The cases that it is a share of.
    pub cases: usize,
    /// The share, 0 to 1; `None` without cases.
    pub value: Option<f64>,
    /// 95 % interval of the share.
    pub interval: Option<Interval>,
}

impl Proportion {
    /// The share of `hits` among `cases` different cases.
    ///
    /// ```
    /// use dermafuse_schema::Proportion;
    ///
    /// let sensitivity = Proportion::of(20, 20);
    /// assert_eq!(sensitivity.value, Some(1.0));
    /// // All of 20 are found; the true share may still be 84 %.
    /// assert!((sensitivity.interval.unwrap().lower - 0.8389).abs() < 1e-4);
    /// ```
    #[must_use]
    pub fn of(hits: usize, cases: usize) -> Self {
        match cases {
            0 => Self { cases, value: None, interval: None },
            _ => Self::with(hits as f64 / cases as f64, cases),
        }
    }

    /// The share of `(case, is a hit)` pairs.
    #[must_use]
    pub fn of_cases<'a>(pairs: impl Iterator<Item = (&'a CaseId, bool)>) -> Self {
        let (mut ids, mut rows, mut hits) = (HashSet::new(), 0_usize, 0_usize);
        for (id, hit) in pairs {
            ids.insert(id);
            rows += 1;
            hits += usize::from(hit);
        }
        match rows {
            0 => Self::of(0, 0),
            _ => Self::with(hits as f64 / rows as f64, ids.len()),
        }
    }

    fn with(share: f64, cases: usize) -> Self {
        let (n, z2) = (cases as f64, NORMAL_97_5 * NORMAL_97_5);
        let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = NORMAL_97_5 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
        // At the ends the bound is the share itself, whatever rounding says.
        let lower = if share == 0.0 { 0.0 } else { (middle - half).max(0.0) };
        let upper = if share == 1.0 { 1.0 } else { (middle + half).min(1.0) };
        Self { cases, value: Some(share), interval: Some(Interval { lower, upper }) }
    }
}

impl fmt::Display for Proportion {
    /// In per cent: `95.0 (83.5–98.6) of 40`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.interval) {
            (Some(value), Some(Interval { lower, upper })) => {
                let [value, lower, upper] = [value, lower, upper].map(|share| 100.0 * share);
                write!(formatter, "{value:.1} ({lower:.1}–{upper:.1}) of {}", self.cases)
            }
            _ => formatter.write_str("n/a of 0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // As statsmodels' proportion_confint(15, 50, method="wilson") says.
        let interval = Proportion::of(15, 50).interval.unwrap();
        assert!((interval.lower - 0.191_034).abs() < 1e-5 && (interval.upper - 0.437_505).abs() < 1e-5, "{interval:?}");
        let none = Proportion::of(0, 10).interval.unwrap();
        assert!(none.lower == 0.0 && (none.upper - 0.277_533).abs() < 1e-5);
        assert_eq!(Proportion::of(0, 0), Proportion { cases: 0, value: None, interval: None });
        assert_eq!(Proportion::of(38, 40).to_string(), "95.0 (83.5–98.6) of 40");
        assert_eq!(Proportion::of(0, 0).to_string(), "n/a of 0");
    }

    #[test]
    fn repetitions_do_not_make_more_cases() {
        let ids: Vec<CaseId> = (0..20).map(|row| (row % 10).to_string().into()).collect();
        let share = Proportion::of_cases(ids.iter().enumerate().map(|(row, id)| (id, row % 4 != 0)));
        assert_eq!((share.cases, share.value), (10, Some(0.75)));
        assert_eq!(share.interval, Proportion::with(0.75, 10).interval);
    }
}
