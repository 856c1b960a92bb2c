use serde::{Deserialize, Serialize};

/// Decision values that vary less than this are all the same but for rounding.
const LEAST_VARIANCE: f64 = 1e-18;

/// Probability of the positive class as a function of the decision value: `1 / (1 + exp(a·d + b))`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sigmoid {
    pub(crate) a: f64,
    pub(crate) b: f64,
}

impl Sigmoid {
    /// Fits Platt's sigmoid by the Newton method of Lin, Lin and Weng (Machine Learning 68, 2007), as libsvm does.
    ///
    /// The values may repeat every record `repeats` times (once per repetition of the cross-validation): each then
    /// counts `1/repeats`, so that the prior stays that of the records.
    pub(crate) fn fit(decisions: &[f64], positive: &[bool], repeats: usize) -> Self {
        let weight = 1.0 / repeats as f64;
        let positives = positive.iter().filter(|is| **is).count() as f64 * weight;
        let negatives = positive.len() as f64 * weight - positives;
        let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
        let target = |is_positive: bool| if is_positive { high } else { low };
        let loss = |sigmoid: Sigmoid| -> f64 {
            let terms = decisions.iter().zip(positive).map(|(&d, &is_positive)| {
                let (t, f) = (target(is_positive), d * sigmoid.a + sigmoid.b);
                if f >= 0.0 { t * f + (-f).exp().ln_1p() } else { (t - 1.0) * f + f.exp().ln_1p() }
            });
            weight * terms.sum::<f64>()
        };

        let mut sigmoid = Self { a: 0.0, b: ((negatives + 1.0) / (positives + 1.0)).ln() };
        let mut current = loss(sigmoid);
        for _ in 0..100 {
            let (mut h11, mut h22, mut h21, mut g1, mut g2) = (1e-12, 1e-12, 0.0, 0.0, 0.0);
            for (&d, &is_positive) in decisions.iter().zip(positive) {
                let p = sigmoid.probability(d);
                let (d1, d2) = (weight * (target(is_positive) - p), weight * p * (1.0 - p));
                h11 += d * d * d2;
                h22 += d2;
                h21 += d * d2;
                g1 += d * d1;
                g2 += d1;
            }
            if g1.abs() < 1e-5 && g2.abs() < 1e-5 {
                break;
            }
            let determinant = h11 * h22 - h21 * h21;
            let (da, db) = (-(h22 * g1 - h21 * g2) / determinant, -(h11 * g2 - h21 * g1) / determinant);
            let slope = g1 * da + g2 * db;
            let mut step = 1.0;
            let accepted = loop {
                let tried = Self { a: sigmoid.a + step * da, b: sigmoid.b + step * db };
                let reached = loss(tried);
                if reached < current + 1e-4 * step * slope {
                    break Some((tried, reached));
                }
                step /= 2.0;
                if step < 1e-10 {
                    break None;
                }
            };
            match accepted {
                Some((tried, reached)) => (sigmoid, current) = (tried, reached),
                None => break,
            }
        }
        sigmoid
    }

    /// A map of decision values for which there is nothing to fit a sigmoid on: `logit(p) = logit(π) + (d − mean) / deviation`
    /// with the smoothed frequency `π` of the positive class. It rises with the decision value, so it keeps their order.
    pub(crate) fn uncalibrated(decisions: &[f64], positive: &[bool]) -> Self {
        let count = decisions.len().max(1) as f64;
        let mean = decisions.iter().sum::<f64>() / count;
        let variance = decisions.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / count;
        let slope = if variance > LEAST_VARIANCE { 1.0 / variance.sqrt() } else { 1.0 };
        let positives = positive.iter().filter(|is| **is).count() as f64;
        let negatives = positive.len() as f64 - positives;
        Self { a: -slope, b: ((negatives + 1.0) / (positives + 1.0)).ln() + slope * mean }
    }

    /// Whether the probability rises with the decision value, and both numbers are finite.
    pub(crate) fn rises(self) -> bool {
        self.a < 0.0 && self.a.is_finite() && self.b.is_finite()
    }

    /// Probability of the positive class.
    pub(crate) fn probability(self, decision: f64) -> f64 {
        let f = decision * self.a + self.b;
        if f >= 0.0 { (-f).exp() / (1.0 + (-f).exp()) } else { 1.0 / (1.0 + f.exp()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sigmoid_rises_with_the_decision_and_meets_the_prior() {
        let decisions = [-2.0, -1.0, -0.5, 0.3, -0.2, 0.5, 1.0, 2.0];
        let positive = [false, false, false, false, true, true, true, true];
        let sigmoid = Sigmoid::fit(&decisions, &positive, 1);
        assert!(sigmoid.a < 0.0);
        // at the optimum the mean probability is the mean target, here by symmetry of the counts 1/2
        let mean = decisions.iter().map(|d| sigmoid.probability(*d)).sum::<f64>() / 8.0;
        assert!((mean - 0.5).abs() < 1e-5);
    }

    #[test]
    fn without_calibration_the_order_is_kept_and_the_mean_gives_the_frequency() {
        let (decisions, positive) = ([-0.99, -1.0, -1.01, -0.96], [false, false, false, true]);
        let sigmoid = Sigmoid::uncalibrated(&decisions, &positive);
        assert!(sigmoid.rises() && (sigmoid.probability(-0.99) - 1.0 / 3.0).abs() < 1e-9);
        assert!(sigmoid.probability(-0.96) > 0.7 && sigmoid.probability(-1.01) < 0.25);
        let constant = Sigmoid::uncalibrated(&[0.5; 4], &positive);
        assert!(constant.rises() && (constant.probability(0.5) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn repeated_values_change_nothing() {
        let (decisions, positive) = ([-1.0, 0.2, -0.1, 1.5], [false, false, true, true]);
        let once = Sigmoid::fit(&decisions, &positive, 1);
        let thrice = Sigmoid::fit(&decisions.repeat(3), &positive.repeat(3), 3);
        assert!((once.a - thrice.a).abs() < 1e-9 && (once.b - thrice.b).abs() < 1e-9);
    }

    #[test]
    fn constant_decisions_give_the_smoothed_prior() {
        let sigmoid = Sigmoid::fit(&[0.0; 4], &[true, false, false, false], 1);
        assert!((sigmoid.probability(0.0) - (2.0 / 3.0 + 3.0 / 5.0) / 4.0).abs() < 1e-6);
    }
}
