use dermafuse_schema::SchemaError;

use crate::EvalError;

/// Adjusts a family of p-values so that the chance of any false finding stays below the level (Holm 1979).
///
/// In order of size, the smallest of m is multiplied by m, the next by m − 1 and so on; none gets smaller than the one
/// before, none larger than 1. Returned in the order given.
///
/// # Errors
/// A value that is no probability.
///
/// ```
/// use dermafuse_eval::significance::holm;
///
/// assert_eq!(holm(&[0.5, 0.0625, 0.25])?, [0.5, 0.1875, 0.5]);
/// # Ok::<(), dermafuse_eval::EvalError>(())
/// ```
pub fn holm(p: &[f64]) -> Result<Vec<f64>, EvalError> {
    if let Some(&value) = p.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(SchemaError::Number { what: "p-value".into(), value, expected: "within 0..=1" }.into());
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut largest) = (vec![0.0; p.len()], 0.0_f64);
    for (place, &index) in order.iter().enumerate() {
        largest = largest.max(p[index] * (p.len() - place) as f64).min(1.0);
        adjusted[index] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_keep_their_order_and_stay_probabilities() {
        // sorted 0.01·4, 0.02·3, 0.025·2 raised to the one before, 0.9
        assert_eq!(holm(&[0.9, 0.01, 0.025, 0.02]).unwrap(), [0.9, 0.04, 0.06, 0.06]);
        assert_eq!(holm(&[0.6, 0.7]).unwrap(), [1.0, 1.0]);
        assert!(holm(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        assert_eq!(holm(&[0.5, 1.5]).unwrap_err().to_string(), "p-value: 1.5 is not within 0..=1");
        assert!(holm(&[f64::NAN]).is_err());
    }
}
