//! All labelled cases and tasks, scored for one set of weights at a time.

use dermafuse_schema::{BranchLogits, Cohort, FuseSpace};

use super::arrangement::Polygon;
use super::resampling::{HitValue, Sample};
use super::target::{Local, Target};

/// Every labelled case and task of a cohort.
pub(super) struct Targets {
    pub(super) targets: Vec<Target>,
    /// Number of branches.
    pub(super) width: usize,
    value: HitValue,
    classes: Vec<usize>,
    cohort: Cohort,
}

/// By how much a comparison is shifted against the label or in its favour, in units of a target's margin.
#[derive(Clone, Copy)]
pub(super) enum Shift {
    /// Only what is right whatever the rounding.
    Clear = -1,
    /// As computed.
    Plain = 0,
    /// All that may be right by rounding.
    Possible = 1,
}

impl Targets {
    pub(super) fn new(logits: &BranchLogits, space: FuseSpace, value: HitValue) -> Self {
        let cohort = &logits.cohort;
        let mut targets = Vec::new();
        for (case, labels) in cohort.labels.iter().enumerate() {
            let available: Vec<usize> =
                (0..logits.branches.len()).filter(|&branch| logits.branches[branch].available[case]).collect();
            for (task, label) in labels.iter().enumerate() {
                if let &Some(label) = label {
                    targets.push(Target::new(logits, &available, case, task, label, space));
                }
            }
        }
        let classes = logits.tasks.class_counts();
        Self { targets, width: logits.branches.len(), value, classes, cohort: cohort.clone() }
    }

    /// What each target is worth in a sample: fractions of the mean over the tasks of the accuracy, or of the balanced one, as multiples
    /// of one common fraction; see [`HitValue::worths`].
    pub(super) fn worths(&self, sample: &Sample) -> Vec<u128> {
        let strata = self.value.strata(&self.classes);
        let worths = self.value.worths(&self.cohort, sample, &self.classes);
        let worth = |target: &Target| {
            let of = strata
                .iter()
                .position(|(task, class)| *task == target.task && class.is_none_or(|class| class == target.label));
            u128::from(sample.counts[target.case]) * of.map_or(0, |stratum| worths[stratum])
        };
        self.targets.iter().map(worth).collect()
    }

    /// Which targets are predicted right with these weights, which need not sum to 1: to the bit as
    /// [`BranchLogits::fuse`] predicts them.
    pub(super) fn right<'a>(&'a self, weights: &[f64]) -> impl Iterator<Item = bool> + 'a {
        let sum: f64 = weights.iter().sum();
        let weights: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
        self.targets.iter().map(move |target| target.class_at(&target.used_weights(&weights)) == target.label)
    }

    /// The worth of the targets that are predicted right.
    pub(super) fn worth(&self, weights: &[f64], worths: &[u128]) -> u128 {
        self.right(weights).zip(worths).filter(|(right, _)| *right).map(|(_, worth)| worth).sum()
    }

    /// Where each target is predicted right, for scores that are linear in the weights.
    ///
    /// Comparisons are made with the weights as they are and not renormalised for the branches that the case has: that
    /// changes them by a positive factor only. Where none of the weights is on those branches, [`BranchLogits::fuse`] weighs
    /// them equally, which is not linear. That is the case at a corner of the triangle, which then belongs to no polygon, or
    /// along a side for a case with one branch, whose prediction does not depend on the weights.
    pub(super) fn polygons(&self, shift: Shift) -> Vec<Polygon> {
        let of = |target: &Target| {
            let rivals = (0..target.classes).filter(|class| *class != target.label);
            Polygon::new(rivals.map(|class| {
                let mut comparison = vec![0.0; self.width];
                // the first of equal classes is predicted
                let by = match target.always_ties(class) {
                    true => {
                        if target.label < class {
                            1.0
                        } else {
                            -1.0
                        }
                    }
                    false => shift as i8 as f64 * target.margin,
                };
                for (&branch, lead) in target.available.iter().zip(target.lead(class)) {
                    comparison[branch] = lead + by;
                }
                comparison
            }))
        };
        self.targets.iter().map(of).collect()
    }

    /// Where each target is predicted right near some weights, by the tangents of its probabilities there.
    pub(super) fn tangent_polygons(&self, weights: &[f64]) -> Vec<Polygon> {
        let of = |target: &Target| {
            let centre = target.used_weights(weights);
            let mut local = Local::new(target);
            target.look_around(&centre, &vec![0.0; centre.len()], &mut local);
            let slopes = |class: usize| &local.slopes[class * centre.len()..(class + 1) * centre.len()];
            let rivals = (0..target.classes).filter(|class| *class != target.label);
            Polygon::new(rivals.map(|class| {
                let apart: Vec<f64> = slopes(target.label).iter().zip(slopes(class)).map(|(a, b)| a - b).collect();
                let at_centre = local.probabilities[target.label] - local.probabilities[class];
                // a constant is that much on each of the weights that sum to 1
                let constant = at_centre - apart.iter().zip(&centre).map(|(slope, weight)| slope * weight).sum::<f64>();
                let mut comparison = vec![0.0; self.width];
                for (&branch, slope) in target.available.iter().zip(&apart) {
                    comparison[branch] = constant + slope;
                }
                comparison
            }))
        };
        self.targets.iter().map(of).collect()
    }
}
