use super::distributions::normal_cdf;
use super::{check_enough, check_level};
use crate::EvalError;

/// Step of the quadrature. The trapezoid rule on a smooth integrand that dies out on both sides is exact to rounding
/// once the step is a fraction of its width, which is at least 0.7 here.
const STEP: f64 = 1.0 / 32.0;

/// Beyond this many standard deviations nothing is left to integrate.
const REACH: f64 = 10.0;

/// The probability that the range of `k` independent standard normal numbers exceeds `q`: the studentized range with
/// infinitely many degrees of freedom.
///
/// Exact to about ten digits also far out in the tail, where one minus the distribution function would be 0.
///
/// # Errors
/// Fewer than two numbers.
pub fn studentized_range_survival(q: f64, k: usize) -> Result<f64, EvalError> {
    check_enough("normal numbers of a range", k, 2)?;
    Ok(survival(q, k))
}

/// The `q` that the range of `k` independent standard normal numbers exceeds with the probability `level`.
///
/// # Errors
/// Fewer than two numbers, a level that is not between 0 and 1.
///
/// ```
/// use dermafuse_eval::significance::studentized_range_quantile;
///
/// // Demšar 2006, Table 5: divided by √2, for 8 classifiers at 0.05
/// assert!((studentized_range_quantile(8, 0.05)? / 2_f64.sqrt() - 3.031).abs() < 5e-4);
/// # Ok::<(), dermafuse_eval::EvalError>(())
/// ```
pub fn studentized_range_quantile(k: usize, level: f64) -> Result<f64, EvalError> {
    check_enough("normal numbers of a range", k, 2)?;
    check_level(level)?;
    let (mut low, mut high) = (0.0, 1.0);
    while survival(high, k) > level {
        (low, high) = (high, 2.0 * high);
    }
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return Ok(middle);
        }
        if survival(middle, k) > level { low = middle } else { high = middle }
    }
}

/// k ∫ φ(z) [Φ(z)ᵏ⁻¹ − (Φ(z) − Φ(z − q))ᵏ⁻¹] dz: the largest is z, and the others are below z but not all above z − q.
fn survival(q: f64, k: usize) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q <= 0.0 {
        return 1.0;
    }
    // Nothing representable is left beyond.
    let q = q.min(100.0);
    let others = (k - 1) as f64;
    let steps = ((q + 2.0 * REACH) / STEP).ceil() as usize;
    let integrand = |step: usize| {
        let z = STEP * step as f64 - REACH;
        let below = normal_cdf(z);
        // The difference of two close powers, without cancellation.
        let missed = -(others * (-normal_cdf(z - q) / below).ln_1p()).exp_m1();
        (-z * z / 2.0).exp() * below.powf(others) * missed
    };
    let sum: f64 = (0..=steps).map(integrand).sum();
    (k as f64 * STEP * sum / std::f64::consts::TAU.sqrt()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::distributions::two_sided_normal;
    use super::*;

    #[test]
    fn the_range_of_two_is_their_distance() {
        // |z₁ − z₂| / √2 is a standard normal number without its sign
        for q in [1e-3, 0.5, 2.0, 5.0, 12.0, 30.0] {
            let (ours, exact) = (survival(q, 2), two_sided_normal(q / 2_f64.sqrt()));
            assert!(((ours - exact) / exact).abs() < 1e-10, "{q}: {ours:e} and {exact:e}");
        }
        let exact = 1.959_963_984_540_054 * 2_f64.sqrt();
        assert!((studentized_range_quantile(2, 0.05).unwrap() - exact).abs() < 1e-10);
    }

    /// Demšar 2006, Table 5: quantiles divided by √2 for 2 to 10 classifiers.
    #[test]
    fn the_printed_critical_values_are_reproduced() {
        let printed = [
            (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
            (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
        ];
        for (level, values) in printed {
            for (k, value) in (2..).zip(values) {
                let ours = studentized_range_quantile(k, level).unwrap() / 2_f64.sqrt();
                assert!((ours - value).abs() < 1.01e-3, "{k} at {level}: {ours} and {value}");
            }
        }
    }

    #[test]
    fn the_ends_are_certain() {
        assert_eq!((survival(0.0, 5), survival(f64::INFINITY, 5)), (1.0, 0.0));
        assert!((survival(1e-6, 3) - 1.0).abs() < 1e-10);
        assert!(survival(f64::NAN, 3).is_nan());
        assert!(studentized_range_quantile(1, 0.05).is_err() && studentized_range_survival(1.0, 0).is_err());
        for level in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(studentized_range_quantile(3, level).is_err(), "{level}");
        }
        assert!(studentized_range_quantile(3, f64::MIN_POSITIVE).unwrap().is_finite());
    }
}
