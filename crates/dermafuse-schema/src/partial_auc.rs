/// The part of the area under the ROC curve that lies above a sensitivity, as the ISIC 2024 challenge scores it: the integral of the
/// specificity over the sensitivities from `least_sensitivity` to 1. With 0.8 it lies between 0 and 0.2, and scores that say nothing have
/// 0.02. The curve is a line between the points of distinct scores, as everywhere. `None` when positives or negatives are missing or a
/// score is NaN.
///
/// Source: Kurtansky et al., *The SLICE-3D dataset*, Scientific Data 11, 2024; McClish, Medical Decision Making 9, 1989.
///
/// # Panics
/// If `least_sensitivity` is not from 0 to 1.
///
/// ```
/// use dermafuse_schema::partial_auc;
///
/// let perfect = partial_auc(&[(0.9, true), (0.1, false)], 0.8).unwrap();
/// assert!((perfect - 0.2).abs() < 1e-12);
/// let nothing = partial_auc(&[(0.5, true), (0.5, false)], 0.8).unwrap();
/// assert!((nothing - 0.02).abs() < 1e-12);
/// ```
#[must_use]
pub fn partial_auc(scores: &[(f64, bool)], least_sensitivity: f64) -> Option<f64> {
    assert!((0.0..=1.0).contains(&least_sensitivity), "{least_sensitivity} is no sensitivity");
    let positives = scores.iter().filter(|(_, positive)| *positive).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 || scores.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut alarms) = (0_usize, 0_usize);
    // Sensitivity and specificity at the last point.
    let (mut from, mut area) = ((0.0, 1.0), 0.0);
    for (at, &(score, positive)) in sorted.iter().enumerate() {
        found += usize::from(positive);
        alarms += usize::from(!positive);
        if sorted.get(at + 1).is_some_and(|next| next.0 == score) {
            continue;
        }
        let to = (found as f64 / positives as f64, 1.0 - alarms as f64 / negatives as f64);
        if to.0 > least_sensitivity && to.0 > from.0 {
            let start = if from.0 < least_sensitivity { least_sensitivity } else { from.0 };
            let part = (start - from.0) / (to.0 - from.0);
            let specificity = from.1 + part * (to.1 - from.1);
            area += (to.0 - start) * (specificity + to.1) / 2.0;
        }
        from = to;
    }
    Some(area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_area_above_a_sensitivity_by_hand() {
        // Sensitivity 1/2 at specificity 1, then 1/2 at 1/2, then 1 at 1/2.
        let scores = [(0.9, true), (0.8, false), (0.7, true), (0.1, false)];
        assert!((partial_auc(&scores, 0.0).unwrap() - 0.75).abs() < 1e-12);
        assert!((partial_auc(&scores, 0.5).unwrap() - 0.25).abs() < 1e-12);
        assert!((partial_auc(&scores, 0.8).unwrap() - 0.1).abs() < 1e-12);
        // A tie of a positive and a negative is a line: from (0, 1) to (1, 0).
        let tied = [(0.5, true), (0.5, false)];
        assert!((partial_auc(&tied, 0.5).unwrap() - 0.125).abs() < 1e-12);
        assert_eq!(partial_auc(&tied, 1.0), Some(0.0));
        assert_eq!(partial_auc(&[(0.5, true)], 0.8), None);
        assert_eq!(partial_auc(&[(f64::NAN, true), (0.5, false)], 0.8), None);
    }
}
