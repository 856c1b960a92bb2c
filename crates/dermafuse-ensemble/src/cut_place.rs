//! Where trees cut between two values of a feature.
//!
//! scikit-learn cuts in the middle. Here records have 64 bits, and what answers from a file may have 32: a cut lies a rounding above the
//! middle, so that a patient whose number is half way between two others (a half between whole numbers) is below it in both.

/// Values that are no further apart than this share of them count as one: no cut lies between two that differ by a rounding. They are made of
/// logits and records of 32-bit floats, each of which is rounded by up to 6e-8 of itself.
const SAME_VALUE: f64 = 1e-6;

/// Whether a value and the next one, which is no smaller, count as one.
pub(crate) fn is_same_value(value: f64, next: f64) -> bool {
    next - value <= SAME_VALUE * next.abs().max(value.abs())
}

/// The threshold between a value and the next one that is not the same: what is at most the threshold is on the value's side.
pub(crate) fn threshold_between(value: f64, next: f64) -> f64 {
    // Half of each, so that nothing overflows; where the middle is the upper value for want of digits, the lower one cuts as well.
    let middle = value / 2.0 + next / 2.0;
    with_room(if middle < next { middle } else { value })
}

/// A threshold above what is at most `end`: a quarter of what tells values apart, so that the next one stays above.
pub(crate) fn with_room(end: f64) -> f64 {
    let above = end + SAME_VALUE / 4.0 * end.abs();
    if above.is_finite() { above } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounding_is_no_difference() {
        let rounded = f64::from(0.3_f32);
        assert!(rounded > 0.3 && is_same_value(0.3, rounded) && is_same_value(0.0, 0.0));
        assert!(!is_same_value(0.3, 0.300_001) && !is_same_value(1e-20, 3e-20) && !is_same_value(-1e-20, 0.0));
    }

    #[test]
    fn what_is_half_way_lies_below_in_32_bits_too() {
        assert!(f64::from(0.4_f32) > 0.4);
        let threshold = threshold_between(0.3, 0.5);
        assert!(f64::from(0.4_f32) < threshold && threshold < 0.400_001, "{threshold}");
        let negative = threshold_between(-0.5, -0.3);
        assert!((-0.4..-0.399_999).contains(&negative) && f64::from(-0.4_f32) < negative, "{negative}");
        assert_eq!([threshold_between(-1.0, 1.0), with_room(f64::MAX)], [0.0, f64::MAX]);
    }

    #[test]
    fn the_next_value_stays_above() {
        for value in [1e-300, 0.3, 1.0, 7e8, 1e300] {
            let next = value * (1.0 + 1.1 * SAME_VALUE);
            assert!(!is_same_value(value, next));
            assert!((value..next).contains(&threshold_between(value, next)), "{value}");
            assert!((-next..-value).contains(&threshold_between(-next, -value)), "-{value}");
        }
    }
}
