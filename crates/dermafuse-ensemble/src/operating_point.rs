use dermafuse_schema::{Aim, ClassGroup, FittedGroup, OperatingPoint, Predictions};

use crate::error::Result;

/// Chooses the operating point of a group on validation cases: of all thresholds that reach the aim there, the one at which the other
/// share is largest. For a sensitivity that is the largest threshold, for a specificity the smallest. It lies in the middle
/// between two probabilities of validation cases, so that rounding decides nothing. A group without positive cases, or with nothing
/// else, gets none.
///
/// # Errors
/// A group of other tasks than the predictions'.
///
/// ```
/// use dermafuse_ensemble::fit_operating_point;
/// use dermafuse_schema::{Aim, ClassGroup, Predictions, Task, TaskSet, ndarray::array};
///
/// let valid = Predictions {
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     ids: (0..4).map(|case| case.to_string().into()).collect(),
///     labels: [1, 1, 0, 0].map(|label| vec![Some(label)]).into(),
///     probabilities: vec![array![[0.25, 0.75], [0.75, 0.25], [0.5, 0.5], [0.875, 0.125]]],
///     basis: vec!["clinical".into(); 4],
/// };
/// let group = ClassGroup::new("malignancy", "diagnosis", [("malignant", vec!["MEL"])], ["malignant"])?;
/// let fitted = fit_operating_point(group, Aim::Sensitivity(1.0), &valid)?;
/// let point = fitted.operating_point.unwrap();
/// assert_eq!((point.threshold, point.sensitivity, point.specificity), (0.1875, 1.0, 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fit_operating_point(group: ClassGroup, aim: Aim, valid: &Predictions) -> Result<FittedGroup> {
    let scores = group.scores(valid)?;
    let labelled = scores.into_iter().zip(group.truths(valid)?);
    let labelled: Vec<(f64, bool)> = labelled.filter_map(|(score, truth)| Some((score, truth?))).collect();
    let fitted = FittedGroup { operating_point: chosen(&labelled, aim), group, aim };
    fitted.check(&valid.tasks)?;
    Ok(fitted)
}

/// The operating point of `(score, is positive)` pairs.
fn chosen(labelled: &[(f64, bool)], aim: Aim) -> Option<OperatingPoint> {
    let positives = labelled.iter().filter(|(_, positive)| *positive).count();
    let negatives = labelled.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut scores: Vec<f64> = labelled.iter().map(|(score, _)| *score).collect();
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    // Below all of them, between each two, and above all of them.
    let between = scores.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
    let above = scores.last().map(|last| f64::midpoint(*last, 1.0_f64.max(*last) + 1e-6));
    let thresholds: Vec<f64> = std::iter::once(0.0).chain(between).chain(above).collect();
    let at = |threshold: f64| {
        let count =
            |kind: bool| labelled.iter().filter(|(score, positive)| *positive == kind && *score >= threshold).count();
        let sensitivity = count(true) as f64 / positives as f64;
        let specificity = 1.0 - count(false) as f64 / negatives as f64;
        OperatingPoint { threshold, positives, negatives, sensitivity, specificity }
    };
    // The share of exactly what is wanted must not fail by rounding.
    let reaches = |share: f64, wanted: f64| share >= wanted - 1e-12;
    // With the threshold the sensitivity falls and the specificity rises.
    match aim {
        Aim::Sensitivity(wanted) => {
            let below = thresholds.partition_point(|&threshold| reaches(at(threshold).sensitivity, wanted));
            below.checked_sub(1).map(|place| at(thresholds[place]))
        }
        Aim::Specificity(wanted) => {
            let place = thresholds.partition_point(|&threshold| !reaches(at(threshold).specificity, wanted));
            thresholds.get(place).map(|&threshold| at(threshold))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positives at 0.9, 0.7, 0.4, 0.2; negatives at 0.6, 0.4, 0.3, 0.1.
    const CASES: [(f64, bool); 8] =
        [(0.9, true), (0.7, true), (0.4, true), (0.2, true), (0.6, false), (0.4, false), (0.3, false), (0.1, false)];

    fn point(aim: Aim) -> (f64, f64, f64) {
        let point = chosen(&CASES, aim).unwrap();
        assert_eq!((point.positives, point.negatives), (4, 4));
        ((point.threshold * 1e6).round() / 1e6, point.sensitivity, point.specificity)
    }

    #[test]
    fn the_aim_is_reached_at_the_least_cost() {
        assert_eq!(point(Aim::Sensitivity(1.0)), (0.15, 1.0, 0.25));
        assert_eq!(point(Aim::Sensitivity(0.75)), (0.35, 0.75, 0.5));
        // A share between two that can be reached is rounded up.
        assert_eq!(point(Aim::Sensitivity(0.51)), (0.35, 0.75, 0.5));
        assert_eq!(point(Aim::Sensitivity(0.5)), (0.65, 0.5, 1.0));
        assert_eq!(point(Aim::Specificity(1.0)), (0.65, 0.5, 1.0));
        assert_eq!(point(Aim::Specificity(0.5)), (0.35, 0.75, 0.5));
        assert_eq!(point(Aim::Specificity(0.25)), (0.15, 1.0, 0.25));
    }

    #[test]
    fn no_threshold_needs_a_case_of_both_kinds() {
        assert_eq!(chosen(&[(0.5, true)], Aim::Sensitivity(0.9)), None);
        assert_eq!(chosen(&[(0.5, false)], Aim::Specificity(0.9)), None);
        // Scores that say nothing: everybody, or nobody.
        let same = [(1.0, true), (1.0, false)];
        let all = chosen(&same, Aim::Sensitivity(0.9)).unwrap();
        assert!(all.says_yes(1.0) && all.specificity == 0.0);
        let none = chosen(&same, Aim::Specificity(0.9)).unwrap();
        assert!(!none.says_yes(1.0) && none.sensitivity == 0.0);
    }
}
