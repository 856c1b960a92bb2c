/// The receiver operating characteristic of one class against the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    /// `(false positive rate, true positive rate)` from (0, 0) to (1, 1), one point for each distinct score.
    pub points: Vec<(f64, f64)>,
    /// Area under it; equal to [`auc`] of the same scores.
    pub area: f64,
}

impl RocCurve {
    /// The curve of `(score, is positive)` pairs; `None` when positives or negatives are missing or a score is NaN.
    #[must_use]
    pub fn of(scores: &[(f64, bool)]) -> Option<Self> {
        let area = auc(scores)?;
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positives = sorted.iter().filter(|(_, positive)| *positive).count();
        let negatives = sorted.len() - positives;
        let (mut true_positives, mut false_positives) = (0_usize, 0_usize);
        let mut points = vec![(0.0, 0.0)];
        for (index, &(score, positive)) in sorted.iter().enumerate() {
            true_positives += usize::from(positive);
            false_positives += usize::from(!positive);
            if sorted.get(index + 1).is_none_or(|next| next.0 != score) {
                points.push((false_positives as f64 / negatives as f64, true_positives as f64 / positives as f64));
            }
        }
        Some(Self { points, area })
    }
}

/// Area under the ROC curve as a rank statistic: the probability that a positive scores higher than a negative, ties
/// counting one half. `None` when positives or negatives are missing or a score is NaN.
///
/// ```
/// use dermafuse_eval::auc;
///
/// assert_eq!(auc(&[(0.9, true), (0.4, true), (0.4, false), (0.1, false)]), Some(0.875));
/// assert_eq!(auc(&[(0.9, true), (0.4, true)]), None);
/// ```
#[must_use]
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let positives = scores.iter().filter(|(_, positive)| *positive).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 || scores.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Twice the rank sum of the positives, so that the average ranks of ties stay integers.
    let mut twice_rank_sum = 0_u128;
    let mut start = 0;
    while start < sorted.len() {
        let tied = sorted[start..].iter().take_while(|(score, _)| *score == sorted[start].0).count();
        let tied_positives = sorted[start..start + tied].iter().filter(|(_, positive)| *positive).count();
        twice_rank_sum += (tied_positives * (2 * start + tied + 1)) as u128;
        start += tied;
    }
    let twice_wins = twice_rank_sum - (positives * (positives + 1)) as u128;
    Some(twice_wins as f64 / (2.0 * positives as f64 * negatives as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_one_half() {
        assert_eq!(auc(&[(0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(auc(&[(0.1, true), (0.5, false)]), Some(0.0));
        // positives 0.8, 0.4; negatives 0.4, 0.4, 0.9: wins 2 + 0, ties 0 + 2, of 6 pairs
        let scores = [(0.8, true), (0.4, true), (0.4, false), (0.4, false), (0.9, false)];
        assert!((auc(&scores).unwrap() - 3.0 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn negative_and_positive_zero_are_one_score() {
        assert_eq!(auc(&[(0.0, true), (-0.0, false)]), Some(0.5));
    }

    #[test]
    fn the_area_under_the_curve_is_the_rank_statistic() {
        let scores = [(0.8, true), (0.4, true), (0.4, false), (0.2, false), (0.9, false), (0.2, true)];
        let curve = RocCurve::of(&scores).unwrap();
        let trapezoid: f64 = curve.points.windows(2).map(|w| (w[1].0 - w[0].0) * (w[1].1 + w[0].1) / 2.0).sum();
        assert!((trapezoid - curve.area).abs() < 1e-15);
        assert_eq!(curve.points.last(), Some(&(1.0, 1.0)));
        assert_eq!(curve.points.len(), 5);
    }

    #[test]
    fn one_class_alone_has_no_area() {
        assert_eq!(auc(&[]), None);
        assert_eq!(auc(&[(0.1, false)]), None);
        assert_eq!(auc(&[(f64::NAN, false), (0.1, true)]), None);
        assert_eq!(RocCurve::of(&[(0.1, true)]), None);
    }
}
