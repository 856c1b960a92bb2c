//! One labelled case and task, predicted from any weights.

use dermafuse_schema::{BranchLogits, FuseSpace, softmax};
use ndarray::{Array2, Axis};

/// By how much a bound must be met before it counts: far above rounding errors, far below any logit that matters.
const MARGIN: f64 = 1e-9;

/// One labelled case and task: everything needed to predict its class from any weights.
pub(super) struct Target {
    space: FuseSpace,
    pub(super) case: usize,
    pub(super) task: usize,
    pub(super) label: usize,
    pub(super) classes: usize,
    /// The branches that the case has, `width` of them; weights are theirs alone and sum to 1.
    pub(super) available: Vec<usize>,
    width: usize,
    /// `[views, classes · width]` logits of the views of all looks; in probability space probabilities.
    values: Array2<f64>,
    /// `[classes · width]` the mean of the values over the views.
    mean: Vec<f64>,
    /// `[views, width]` the spread over the classes of the value that a unit of each weight adds, less what all
    /// branches share.
    spreads: Array2<f64>,
    /// Rounding errors stay below this.
    pub(super) margin: f64,
}

/// What is known of the probabilities in a box: value and slopes at its centre, and how far they may stray from that.
pub(super) struct Local {
    /// `[classes]` probabilities at the centre.
    pub(super) probabilities: Vec<f64>,
    /// `[classes · width]` their slopes.
    pub(super) slopes: Vec<f64>,
    /// No difference of two probabilities changes by more than this within the box.
    reach: f64,
    /// No difference of two probabilities deviates by more than this from its tangent within the box.
    error: f64,
    /// `[classes]` working memory.
    row: Vec<f64>,
}

impl Local {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            probabilities: vec![0.0; target.classes],
            slopes: vec![0.0; target.classes * target.width],
            reach: 0.0,
            error: 0.0,
            row: vec![0.0; target.classes],
        }
    }
}

impl Target {
    pub(super) fn new(
        logits: &BranchLogits,
        available: &[usize],
        case: usize,
        task: usize,
        label: usize,
        space: FuseSpace,
    ) -> Self {
        let (views, classes, width) = (logits.views_of(case), logits.tasks[task].classes.len(), available.len());
        let mut values = Array2::zeros((views, classes * width));
        for (column, &branch) in available.iter().enumerate() {
            for view in 0..views {
                let logits = logits.branches[branch].logits[task].index_axis(Axis(0), view);
                let mut row: Vec<f64> = logits.row(case).iter().map(|&z| f64::from(z)).collect();
                if space == FuseSpace::Probabilities {
                    row = softmax(&row);
                }
                for (class, value) in row.into_iter().enumerate() {
                    values[[view, class * width + column]] = value;
                }
            }
        }
        let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let mut spreads = Array2::zeros((views, width));
        for (values, mut spreads) in values.rows().into_iter().zip(spreads.rows_mut()) {
            for branch in 0..width {
                let relative = (0..classes).map(|class| {
                    let of = |branch: usize| values[class * width + branch];
                    // weights sum to 1, so what the branches share moves nothing and may be taken off
                    of(branch) - (0..width).map(of).sum::<f64>() / width as f64
                });
                let (low, high) =
                    relative.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), z| (low.min(z), high.max(z)));
                spreads[branch] = high - low;
            }
        }
        let mean = values.mean_axis(Axis(0)).unwrap_or_default().to_vec();
        let (available, margin) = (available.to_vec(), MARGIN * (1.0 + largest));
        Self { space, case, task, label, classes, available, width, values, mean, spreads, margin }
    }

    /// By how much each branch that the case has puts the label above another class, on the mean over the views.
    pub(super) fn lead(&self, other: usize) -> impl Iterator<Item = f64> + '_ {
        let of = |class: usize| &self.mean[class * self.width..(class + 1) * self.width];
        of(self.label).iter().zip(of(other)).map(|(label, other)| label - other)
    }

    /// Whether all branches say of two classes the same in every view, so that they tie with all weights.
    pub(super) fn always_ties(&self, other: usize) -> bool {
        let of = |class: usize| class * self.width..(class + 1) * self.width;
        self.values.rows().into_iter().all(|view| of(self.label).zip(of(other)).all(|(a, b)| view[a] == view[b]))
    }

    /// The weights that the case is predicted with, given those of all branches: to the bit those of
    /// [`BranchLogits::fuse`].
    pub(super) fn used_weights(&self, weights: &[f64]) -> Vec<f64> {
        let mut used: Vec<f64> = self.available.iter().map(|&branch| weights[branch]).collect();
        let sum: f64 = used.iter().sum();
        let equal = 1.0 / used.len() as f64;
        used.iter_mut().for_each(|weight| *weight = if sum > 0.0 { *weight / sum } else { equal });
        used
    }

    /// Probabilities and slopes at the centre of a box, and bounds on how they change inside it.
    ///
    /// Within the box the differences between the logits of a view move by at most `δ = Σ_b half_b · spread_b`. A
    /// probability has a slope of at most `1/4` and a curvature of at most `1/4` in units of that, so the difference of
    /// two probabilities moves by at most `δ/2` and strays from its tangent by at most `½ · δ²/2`.
    pub(super) fn look_around(&self, centre: &[f64], half: &[f64], local: &mut Local) {
        let Local { probabilities, slopes, reach, error, row } = local;
        if self.space == FuseSpace::Probabilities {
            slopes.copy_from_slice(&self.mean);
            for (p, of_branches) in probabilities.iter_mut().zip(self.mean.chunks_exact(self.width)) {
                *p = of_branches.iter().zip(centre).map(|(p, weight)| p * weight).sum();
            }
            (*reach, *error) = (f64::INFINITY, 0.0);
            return;
        }
        probabilities.fill(0.0);
        slopes.fill(0.0);
        (*reach, *error) = (0.0, 0.0);
        for (view, spreads) in self.values.rows().into_iter().zip(self.spreads.rows()) {
            let Some(view) = view.as_slice() else { continue };
            softmax_of_fused(view, centre, row);
            for branch in 0..self.width {
                let average: f64 = row.iter().enumerate().map(|(class, p)| p * view[class * self.width + branch]).sum();
                for (class, p) in row.iter().enumerate() {
                    let place = class * self.width + branch;
                    slopes[place] += p * (view[place] - average);
                }
            }
            probabilities.iter_mut().zip(row.iter()).for_each(|(sum, p)| *sum += p);
            let delta: f64 = half.iter().zip(spreads).map(|(half, spread)| half * spread).sum();
            *reach += (0.5 * delta).min(2.0);
            *error += 0.25 * delta * delta;
        }
        let share = 1.0 / self.values.nrows() as f64;
        probabilities.iter_mut().chain(slopes).chain([reach, error]).for_each(|sum| *sum *= share);
    }

    /// The class predicted by all weights of a box, if that can be proved from its centre.
    pub(super) fn constant_class(&self, half: &[f64], local: &Local) -> Option<usize> {
        let class = first_largest(&local.probabilities);
        let slopes = |class: usize| &local.slopes[class * self.width..(class + 1) * self.width];
        let clear = |other: usize| {
            let difference = local.probabilities[class] - local.probabilities[other] - self.margin;
            if difference > local.reach {
                return true;
            }
            let apart = || slopes(class).iter().zip(slopes(other)).map(|(a, b)| a - b);
            let shared = apart().sum::<f64>() / self.width as f64; // moves nothing, as weights sum to 1
            let along = apart().zip(half).map(|(slope, half)| (slope - shared).abs() * half).sum::<f64>();
            difference > along + local.error
        };
        (0..self.classes).all(|other| other == class || clear(other)).then_some(class)
    }

    /// The class predicted with weights inside the box, if that can be proved from the tangents at its centre.
    pub(super) fn class_near(&self, centre: &[f64], weights: &[f64], local: &mut Local) -> Option<usize> {
        let Local { probabilities, slopes, error, row, .. } = local;
        for ((near, p), slopes) in row.iter_mut().zip(probabilities).zip(slopes.chunks_exact(self.width)) {
            let moved = slopes.iter().zip(weights).zip(centre).map(|((slope, weight), from)| slope * (weight - from));
            *near = *p + moved.sum::<f64>();
        }
        let class = first_largest(row);
        let clear = |other: usize| other == class || row[class] - row[other] > *error + self.margin;
        (0..self.classes).all(clear).then_some(class)
    }

    /// The class that [`BranchLogits::fuse`] predicts with these weights, by the same operations in the same order.
    pub(super) fn class_at(&self, weights: &[f64]) -> usize {
        let mut probabilities = vec![0.0; self.classes];
        let mut row = vec![0.0; self.classes];
        let views = self.values.nrows() as f64;
        for view in self.values.rows() {
            let Some(view) = view.as_slice() else { continue };
            match self.space {
                FuseSpace::Logits => {
                    softmax_of_fused(view, weights, &mut row);
                    probabilities.iter_mut().zip(&row).for_each(|(p, q)| *p += q / views);
                }
                FuseSpace::Probabilities => {
                    for (p, of_branches) in probabilities.iter_mut().zip(view.chunks_exact(self.width)) {
                        of_branches.iter().zip(weights).for_each(|(q, weight)| *p += weight * q / views);
                    }
                }
            }
        }
        first_largest(&probabilities)
    }
}

/// Softmax of the weighted sum of one view's logits, rounded as [`BranchLogits::fuse`] rounds it.
fn softmax_of_fused(view: &[f64], weights: &[f64], row: &mut [f64]) {
    let mut largest = f64::NEG_INFINITY;
    for (sum, of_branches) in row.iter_mut().zip(view.chunks_exact(weights.len())) {
        *sum = of_branches.iter().zip(weights).fold(0.0, |sum, (z, weight)| sum + weight * z);
        largest = largest.max(*sum);
    }
    row.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let total: f64 = row.iter().sum();
    row.iter_mut().for_each(|e| *e /= total);
}

/// Index of the largest value, the first of equals.
fn first_largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
