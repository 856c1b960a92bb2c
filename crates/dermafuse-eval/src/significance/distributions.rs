use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI};

use libm::{erfc, lgamma};

/// The standard normal distribution function.
pub(crate) fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z * FRAC_1_SQRT_2)
}

/// The probability of a standard normal number as far from 0 as `z`.
pub(crate) fn two_sided_normal(z: f64) -> f64 {
    erfc(z.abs() * FRAC_1_SQRT_2)
}

/// The probability of a χ² number above `x`: a finite sum of positive terms for whole degrees of freedom, so that a
/// small probability is as exact as a large one (Abramowitz and Stegun 26.4.4 and 26.4.5).
pub(crate) fn chi_squared_survival(x: f64, degrees_of_freedom: usize) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let half = x / 2.0;
    let odd = degrees_of_freedom % 2 == 1;
    // Each term is the one before times x/2 over the next whole (even) or half-whole (odd) number.
    let (mut sum, mut term, mut divisor) = if odd {
        (erfc(half.sqrt()), (-half).exp() * 2.0 * (half / PI).sqrt(), 1.5)
    } else {
        (0.0, (-half).exp(), 1.0)
    };
    for _ in 0..degrees_of_freedom / 2 {
        sum += term;
        term *= half / divisor;
        divisor += 1.0;
    }
    sum.min(1.0)
}

/// The probability of at most `successes` of `n` fair coins.
pub(crate) fn fair_binomial_cdf(successes: usize, n: usize) -> f64 {
    if successes >= n {
        return 1.0;
    }
    let log_factorial = |count: usize| lgamma(count as f64 + 1.0);
    let most = log_factorial(n) - log_factorial(successes) - log_factorial(n - successes) - n as f64 * LN_2;
    let mut term = 1.0;
    let mut sum = term;
    for fewer in (1..=successes).rev() {
        term *= fewer as f64 / (n - fewer + 1) as f64;
        sum += term;
    }
    (sum * most.exp()).min(1.0)
}

/// The probability of a number of Student's distribution above `t`: a finite sum for whole degrees of freedom (Abramowitz and
/// Stegun 26.7.3 and 26.7.4), right to about 1e-15, so a smaller probability may be given as 0.
pub(crate) fn student_survival(t: f64, degrees_of_freedom: usize) -> f64 {
    let degrees = degrees_of_freedom as f64;
    let angle = (t.abs() / degrees.sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = degrees_of_freedom % 2 == 1;
    // Each term is the one before times cos²θ and a ratio of neighbouring numbers.
    let (mut sum, mut term) = (0.0, if odd { cosine } else { 1.0 });
    let mut number = if odd { 1.0 } else { 0.0 };
    while number < degrees - 1.0 {
        sum += term;
        term *= cosine * cosine * (number + 1.0) / (number + 2.0);
        number += 2.0;
    }
    let within = if odd { 2.0 / PI * (angle + sine * sum) } else { sine * sum };
    let above = ((1.0 - within) / 2.0).max(0.0);
    if t < 0.0 { 1.0 - above } else { above }
}

/// The number above which a number of Student's distribution lies with the probability `level`, between 0 and 1.
pub(crate) fn student_quantile(level: f64, degrees_of_freedom: usize) -> f64 {
    if level > 0.5 {
        return -student_quantile(1.0 - level, degrees_of_freedom);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while student_survival(high, degrees_of_freedom) > level && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if student_survival(middle, degrees_of_freedom) > level { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(ours: f64, theirs: f64, tolerance: f64) {
        assert!(((ours - theirs) / theirs).abs() < tolerance, "ours {ours:e}, expected {theirs:e}");
    }

    #[test]
    fn two_degrees_of_freedom_are_an_exponential() {
        for x in [1e-9, 0.5, 3.0, 40.0, 300.0, 1200.0] {
            assert_close(chi_squared_survival(x, 2), (-x / 2.0).exp(), 1e-12);
        }
        assert_eq!(chi_squared_survival(0.0, 7), 1.0);
    }

    #[test]
    fn one_degree_of_freedom_is_a_squared_normal() {
        for z in [0.01_f64, 0.4, 1.96, 5.0, 12.0, 30.0] {
            assert_close(chi_squared_survival(z * z, 1), two_sided_normal(z), 1e-12);
            // P(χ²₃ > z²) = P(|N| > z) + z √(2/π) exp(−z²/2)
            let more = two_sided_normal(z) + z * (2.0 / PI).sqrt() * (-z * z / 2.0).exp();
            assert_close(chi_squared_survival(z * z, 3), more, 1e-12);
        }
        assert_close(normal_cdf(-1.959_963_984_540_054), 0.025, 1e-13);
        assert_eq!(normal_cdf(0.0), 0.5);
    }

    #[test]
    fn coins_are_counted() {
        // (1 + 5 + 10) / 32
        assert_close(fair_binomial_cdf(2, 5), 0.5, 1e-14);
        assert_close(fair_binomial_cdf(0, 60), 0.5_f64.powi(60), 1e-12);
        assert_eq!((fair_binomial_cdf(5, 5), fair_binomial_cdf(0, 0)), (1.0, 1.0));
    }

    #[test]
    fn students_numbers_are_those_of_the_tables() {
        // Quantiles as printed in tables of Student's distribution.
        let printed = [
            (0.05, 1, 6.313752),
            (0.025, 4, 2.776445),
            (0.05, 10, 1.812461),
            (0.01, 3, 4.540703),
            (0.05, 120, 1.657651),
        ];
        for (level, degrees, quantile) in printed {
            assert_close(student_quantile(level, degrees), quantile, 1e-6);
            assert_close(student_survival(quantile, degrees), level, 1e-5);
            assert_close(student_survival(-quantile, degrees), 1.0 - level, 1e-6);
        }
        // One degree of freedom is Cauchy's distribution, many are the normal one.
        assert_close(student_survival(1.0, 1), 0.25, 1e-12);
        assert_close(student_survival(1.5, 1_000_000), 1.0 - normal_cdf(1.5), 1e-5);
        assert_close(student_survival(0.0, 7), 0.5, 1e-12);
    }
}
