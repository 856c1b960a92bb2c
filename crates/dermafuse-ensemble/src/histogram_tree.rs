//! A regression tree over binned features, what gradient boosting adds up.
//!
//! scikit-learn's `TreeGrower` of `HistGradientBoostingClassifier` (after LightGBM: Ke et al., NeurIPS 2017): features are cut into at
//! most 255 bins once, a node's cut is found in sums over bins, and of all leaves the one that gains most is cut next. Records that lack a
//! value go to the side that gains more; where no record of the fit lacked it, to the larger side. Differences: sums are of 64 bits, where
//! scikit-learn has gradients of 32; cuts lie a rounding higher
//! ([`crate::cut_place`]).

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cut_place::{is_same_value, threshold_between, with_room};
use crate::error::{EnsembleError, Result};

/// What errors call it.
const WHAT: &str = "boosted tree";
/// The most bins of values; one more is for values that are missing.
pub(crate) const MOST_BINS: usize = 255;
/// The bin of what is missing.
const MISSING: u8 = 255;
/// The most leaves of a tree.
pub(crate) const MOST_LEAVES: usize = 1 << 12;
/// Below this curvature a side has no say, as in scikit-learn.
const LEAST_CURVATURE: f64 = 1e-3;
/// What keeps a division by no curvature finite, as in scikit-learn.
const EPSILON: f64 = 1e-15;
/// By what share a gain must be larger than another, so that the first of equal cuts is taken whatever rounding makes of their sums. Before
/// the first step all records of a class are alike, and equal cuts are frequent.
const SAME_GAIN: f64 = 1e-7;
/// A gain that is not rounding.
const LEAST_GAIN: f64 = 1e-9;

/// How large a [`HistogramTree`] becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Most leaves.
    pub(crate) leaves: usize,
    /// Fewest records of a leaf.
    pub(crate) min_leaf: usize,
    /// What is added to a leaf's curvature.
    pub(crate) l2: f64,
    /// What a leaf's value is multiplied by.
    pub(crate) rate: f64,
}

/// Records in bins.
pub(crate) struct BinnedRecords {
    /// `[F]` the bins of the records, `[N]` each.
    bins: Vec<Vec<u8>>,
    /// `[F]` the largest value of each bin but the last.
    thresholds: Vec<Vec<f64>>,
    /// `[F]` whether a record lacks the value.
    has_missing: Vec<bool>,
    records: usize,
}

/// A cut of a tree.
#[cfg(feature = "onnx")]
pub(crate) struct TreeCut {
    pub(crate) feature: usize,
    pub(crate) threshold: f64,
}

/// A leaf of a tree.
#[cfg(feature = "onnx")]
pub(crate) struct TreeLeaf {
    /// The cuts on the way there, each with whether the feature is at most the threshold.
    pub(crate) way: Vec<(usize, bool)>,
    pub(crate) value: f64,
}

/// A fitted tree: its nodes, the root first, children after their parents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HistogramTree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    /// What it adds to the score.
    Leaf(f64),
    /// Records whose feature is at most the threshold go on at `low`, the others at `high`; those that lack it where `missing_low` says.
    Cut { feature: usize, threshold: f64, missing_low: bool, low: usize, high: usize },
}

/// Sums over records.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    gradient: f64,
    curvature: f64,
    count: usize,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.curvature += other.curvature;
        self.count += other.count;
    }

    fn without(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            curvature: self.curvature - other.curvature,
            count: self.count - other.count,
        }
    }

    /// What the loss falls by when these get the best value of their own, doubled.
    fn worth(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.curvature + l2 + EPSILON)
    }
}

/// The best cut of a node.
#[derive(Clone, Copy, Debug)]
struct Split {
    feature: usize,
    /// The last bin of the lower side.
    bin: u8,
    missing_low: bool,
    gain: f64,
}

/// A leaf that may be cut.
struct Open {
    node: usize,
    rows: Vec<u32>,
    split: Split,
}

impl Split {
    /// Whether it gains more than another, not by rounding.
    fn is_better_than(&self, other: Option<&Self>) -> bool {
        self.gain > other.map_or(LEAST_GAIN, |other| other.gain * (1.0 + SAME_GAIN))
    }
}

impl BinnedRecords {
    /// Cuts every feature into at most `most` bins: between its distinct values, or if there are more, at percentiles.
    pub(crate) fn new(records: ArrayView2<'_, f64>, most: usize) -> Self {
        let of_feature = |feature: usize| {
            let column = records.column(feature);
            let mut known: Vec<f64> = column.iter().copied().filter(|value| !value.is_nan()).collect();
            known.sort_by(f64::total_cmp);
            let thresholds = thresholds(&known, most);
            let bin = |value: &f64| match value.is_nan() {
                true => MISSING,
                false => thresholds.partition_point(|threshold| threshold < value) as u8,
            };
            let bins: Vec<u8> = column.iter().map(bin).collect();
            (bins, thresholds, known.len() < column.len())
        };
        let columns: Vec<_> = (0..records.ncols()).into_par_iter().map(of_feature).collect();
        let (mut bins, mut thresholds, mut has_missing) = (Vec::new(), Vec::new(), Vec::new());
        for (of_records, between, missing) in columns {
            bins.push(of_records);
            thresholds.push(between);
            has_missing.push(missing);
        }
        Self { bins, thresholds, has_missing, records: records.nrows() }
    }

    /// The tree that lowers a loss of these gradients and curvatures `[N]` most, and what it adds to the score of each record.
    pub(crate) fn grow(&self, gradients: &[f64], curvatures: &[f64], growth: Growth) -> (HistogramTree, Vec<f64>) {
        let all: Vec<u32> = (0..self.records as u32).collect();
        let sums = |rows: &[u32]| {
            let mut sums = Sums::default();
            for &row in rows {
                let (gradient, curvature) = (gradients[row as usize], curvatures[row as usize]);
                sums.add(Sums { gradient, curvature, count: 1 });
            }
            sums
        };
        let value = |sums: Sums| -growth.rate * sums.gradient / (sums.curvature + growth.l2 + EPSILON);
        let mut added = vec![0.0; self.records];
        let mut nodes = vec![Node::Leaf(0.0)];
        let mut open: Vec<Open> = Vec::new();
        let mut close_or_keep = |nodes: &mut Vec<Node>, open: &mut Vec<Open>, node: usize, rows: Vec<u32>| {
            let of_node = sums(&rows);
            nodes[node] = Node::Leaf(value(of_node));
            rows.iter().for_each(|&row| added[row as usize] = value(of_node));
            if let Some(split) = self.best_split(&rows, gradients, curvatures, of_node, growth) {
                open.push(Open { node, rows, split });
            }
        };
        close_or_keep(&mut nodes, &mut open, 0, all);
        for _ in 1..growth.leaves {
            // The first of the best.
            let mut best: Option<usize> = None;
            for (at, candidate) in open.iter().enumerate() {
                if candidate.split.is_better_than(best.map(|best| &open[best].split)) {
                    best = Some(at);
                }
            }
            let Some(best) = best else { break };
            let Open { node, rows, split } = open.remove(best);
            let Split { feature, bin, missing_low, .. } = split;
            let is_low = |row: &u32| match self.bins[feature][*row as usize] {
                MISSING => missing_low,
                of_record => of_record <= bin,
            };
            let (below, above): (Vec<u32>, Vec<u32>) = rows.into_iter().partition(is_low);
            let (low, high) = (nodes.len(), nodes.len() + 1);
            // Above the last threshold is nothing but what is missing.
            let threshold = self.thresholds[feature].get(usize::from(bin)).copied().unwrap_or(f64::MAX);
            nodes[node] = Node::Cut { feature, threshold, missing_low, low, high };
            nodes.extend([Node::Leaf(0.0), Node::Leaf(0.0)]);
            close_or_keep(&mut nodes, &mut open, low, below);
            close_or_keep(&mut nodes, &mut open, high, above);
        }
        (HistogramTree { nodes }, added)
    }

    fn best_split(
        &self,
        rows: &[u32],
        gradients: &[f64],
        curvatures: &[f64],
        all: Sums,
        growth: Growth,
    ) -> Option<Split> {
        if rows.len() < 2 * growth.min_leaf {
            return None;
        }
        let of_feature = |feature: usize| -> Option<Split> {
            let mut sums = [Sums::default(); MOST_BINS + 1];
            let bins = &self.bins[feature];
            for &row in rows {
                let row = row as usize;
                let (gradient, curvature) = (gradients[row], curvatures[row]);
                sums[usize::from(bins[row])].add(Sums { gradient, curvature, count: 1 });
            }
            self.best_of_feature(feature, &sums, all, growth)
        };
        // In the order of the features whatever the threads.
        let found: Vec<Option<Split>> = (0..self.bins.len()).into_par_iter().map(of_feature).collect();
        let mut best: Option<Split> = None;
        for split in found.into_iter().flatten() {
            if split.is_better_than(best.as_ref()) {
                best = Some(split);
            }
        }
        best
    }

    fn best_of_feature(&self, feature: usize, sums: &[Sums], all: Sums, growth: Growth) -> Option<Split> {
        let (last, has_missing) = (self.thresholds[feature].len(), self.has_missing[feature]);
        let mut best: Option<Split> = None;
        let mut consider = |low: Sums, bin: usize, missing_low: Option<bool>| {
            let high = all.without(low);
            let is_fit = |side: Sums| side.count >= growth.min_leaf && side.curvature >= LEAST_CURVATURE;
            if !is_fit(low) || !is_fit(high) {
                return;
            }
            let gain = low.worth(growth.l2) + high.worth(growth.l2) - all.worth(growth.l2);
            let missing_low = missing_low.unwrap_or(low.count > high.count);
            let split = Split { feature, bin: bin as u8, missing_low, gain };
            if split.is_better_than(best.as_ref()) {
                best = Some(split);
            }
        };
        let mut low = Sums::default();
        // What is missing goes up, or is the upper side by itself.
        for (bin, of_bin) in sums.iter().enumerate().take(last + usize::from(has_missing)) {
            low.add(*of_bin);
            consider(low, bin, has_missing.then_some(false));
        }
        if has_missing {
            // From above, as in scikit-learn, which matters for equal cuts.
            let mut high = Sums::default();
            for bin in (1..=last).rev() {
                high.add(sums[bin]);
                consider(all.without(high), bin - 1, Some(true));
            }
        }
        best
    }
}

/// The largest values of the bins of sorted values, but for the last bin's.
fn thresholds(known: &[f64], most: usize) -> Vec<f64> {
    let mut distinct = known.to_vec();
    distinct.dedup_by(|next, kept| is_same_value(*kept, *next));
    if distinct.len() <= most {
        return distinct.windows(2).map(|pair| threshold_between(pair[0], pair[1])).collect();
    }
    // The inverse of the distribution function, averaged where it is a whole stretch, as scikit-learn takes it.
    let percentile = |part: usize| match (part * known.len()).is_multiple_of(most) {
        true => {
            let (below, above) = (known[part * known.len() / most - 1], known[part * known.len() / most]);
            if below == above { below } else { below / 2.0 + above / 2.0 }
        }
        false => known[part * known.len() / most],
    };
    let mut found: Vec<f64> = (1..most).map(percentile).map(with_room).collect();
    found.dedup();
    found
}

impl HistogramTree {
    /// What it adds to the score of a record of as many features as those of the fit; NaN is a value that is missing.
    pub(crate) fn value_of(&self, record: ArrayView1<'_, f64>) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf(value) => return value,
                Node::Cut { feature, threshold, missing_low, low, high } => {
                    let value = record[feature];
                    let is_low = if value.is_nan() { missing_low } else { value <= threshold };
                    at = if is_low { low } else { high };
                }
            }
        }
    }

    /// The cuts, and the leaves, each with the cuts on the way there, by their places among the cuts, and whether the way is the low one.
    #[cfg(feature = "onnx")]
    pub(crate) fn ways(&self) -> (Vec<TreeCut>, Vec<TreeLeaf>) {
        let (mut cuts, mut leaves) = (Vec::new(), Vec::new());
        let mut open = vec![(0, Vec::new())];
        while let Some((at, way)) = open.pop() {
            match self.nodes[at] {
                Node::Leaf(value) => leaves.push(TreeLeaf { way, value }),
                Node::Cut { feature, threshold, low, high, .. } => {
                    for (next, is_low) in [(low, true), (high, false)] {
                        open.push((next, [&way[..], &[(cuts.len(), is_low)]].concat()));
                    }
                    cuts.push(TreeCut { feature, threshold });
                }
            }
        }
        (cuts, leaves)
    }

    /// Checks that every record ends in a leaf with a finite value.
    pub(crate) fn check(&self, features: usize) -> Result<()> {
        let error = |why: String| Err(EnsembleError::Stored { what: WHAT, why });
        let most = 2 * MOST_LEAVES;
        if self.nodes.is_empty() || self.nodes.len() > most {
            return error(format!("it has {} nodes; there are from 1 to {most}", self.nodes.len()));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            match *node {
                Node::Leaf(value) if !value.is_finite() => return error(format!("a leaf adds {value}")),
                Node::Leaf(_) => {}
                Node::Cut { feature, threshold, low, high, .. } => {
                    if feature >= features || !threshold.is_finite() {
                        return error(format!("it cuts feature {feature} of {features} at {threshold}"));
                    }
                    if [low, high].into_iter().any(|child| child <= at || child >= self.nodes.len()) {
                        return error("a node leads back, or to no node".into());
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    const GROWTH: Growth = Growth { leaves: 2, min_leaf: 1, l2: 0.0, rate: 1.0 };

    /// But for the little that is added to every curvature.
    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} is not {expected:?}");
    }

    fn leaves(tree: &HistogramTree) -> Vec<f64> {
        let leaf = |node: &Node| if let Node::Leaf(value) = node { Some(*value) } else { None };
        tree.nodes.iter().filter_map(leaf).collect()
    }

    #[test]
    fn no_cut_lies_between_values_that_differ_by_a_rounding() {
        let rounded = f64::from(0.3_f32);
        assert_eq!(thresholds(&[0.3, rounded, rounded, 0.5], 255), [threshold_between(0.3, 0.5)]);
        // Ends of bins that are values have the same room.
        let values: Vec<f64> = (0..1001).map(|at| f64::from(at) / 10.0).collect();
        assert!(thresholds(&values, 4).iter().zip([25.0, 50.0, 75.0]).all(|(end, value)| *end > value));
    }

    #[test]
    fn the_first_cut_is_where_the_loss_falls_most_and_leaves_are_newton_steps() {
        // Gradients −1, −1, 1, 3 of curvature 1: apart between the second and the third, values 1 and −2.
        let records = array![[0.0], [1.0], [2.0], [3.0]];
        let binned = BinnedRecords::new(records.view(), 255);
        let (tree, added) = binned.grow(&[-1.0, -1.0, 1.0, 3.0], &[1.0; 4], GROWTH);
        assert_eq!(
            tree.nodes[0],
            Node::Cut { feature: 0, threshold: 1.500_000_375, missing_low: false, low: 1, high: 2 }
        );
        assert_close(&leaves(&tree), &[1.0, -2.0]);
        assert_close(&added, &[1.0, 1.0, -2.0, -2.0]);
        assert_close(&[tree.value_of(array![1.5].view())], &[1.0]);
        // Half of them with the square of the values in the loss, and a rate.
        let shrunk = binned.grow(&[-1.0, -1.0, 1.0, 3.0], &[1.0; 4], Growth { l2: 2.0, rate: 0.5, ..GROWTH }).0;
        assert_close(&leaves(&shrunk), &[0.25, -0.5]);
        tree.check(1).unwrap();
    }

    #[test]
    fn what_is_missing_goes_where_it_gains_and_may_be_the_whole_side() {
        let nan = f64::NAN;
        let records = array![[0.0], [nan], [2.0], [3.0]];
        let binned = BinnedRecords::new(records.view(), 255);
        // As the last two.
        let (tree, added) = binned.grow(&[-1.0, 1.0, 1.0, 1.0], &[1.0; 4], GROWTH);
        assert_eq!(
            tree.nodes[0],
            Node::Cut { feature: 0, threshold: 1.000_000_25, missing_low: false, low: 1, high: 2 }
        );
        assert_close(&added, &[1.0, -1.0, -1.0, -1.0]);
        // As the first.
        let (tree, _) = binned.grow(&[-1.0, -1.0, 1.0, 1.0], &[1.0; 4], GROWTH);
        assert_eq!(
            tree.nodes[0],
            Node::Cut { feature: 0, threshold: 1.000_000_25, missing_low: true, low: 1, high: 2 }
        );
        // Unlike all others.
        let (tree, added) = binned.grow(&[1.0, -3.0, 1.0, 1.0], &[1.0; 4], GROWTH);
        assert_eq!(tree.nodes[0], Node::Cut { feature: 0, threshold: f64::MAX, missing_low: false, low: 1, high: 2 });
        assert_close(&added, &[-1.0, 3.0, -1.0, -1.0]);
        assert_close(&[tree.value_of(array![1e300].view()), tree.value_of(array![nan].view())], &[-1.0, 3.0]);
    }

    #[test]
    fn many_values_are_cut_at_percentiles() {
        let values: Vec<f64> = (0..1001).map(f64::from).collect();
        assert_eq!(thresholds(&values, 4), [250.000_062_5, 500.000_125, 750.000_187_5]);
        assert_eq!(thresholds(&[1.0, 1.0, 2.0, 4.0], 255), [1.500_000_375, 3.000_000_75]);
        assert_eq!(thresholds(&[], 255), [0.0; 0]);
        let few = BinnedRecords::new(Array2::from_shape_fn((1001, 1), |(row, _)| row as f64).view(), 4);
        let counts: Vec<usize> = (0..4).map(|bin| few.bins[0].iter().filter(|of| **of == bin).count()).collect();
        assert_eq!(counts, [251, 250, 250, 250]);
    }

    #[test]
    fn small_leaves_and_losses_that_do_not_fall_are_no_cuts() {
        let records = array![[0.0], [1.0], [2.0], [3.0]];
        let binned = BinnedRecords::new(records.view(), 255);
        let nodes = |gradients: [f64; 4], growth| binned.grow(&gradients, &[1.0; 4], growth).0.nodes.len();
        assert_eq!(nodes([1.0; 4], GROWTH), 1);
        assert_eq!(nodes([-1.0, 1.0, 1.0, 1.0], Growth { min_leaf: 2, ..GROWTH }), 3);
        assert_eq!(nodes([-1.0, 1.0, 1.0, 1.0], Growth { min_leaf: 3, ..GROWTH }), 1);
        assert_eq!(nodes([-1.0, 1.0, -1.0, 1.0], Growth { leaves: 4, ..GROWTH }), 7);
    }

    #[test]
    fn what_was_stored_leads_to_a_finite_leaf() {
        let error = |nodes: Vec<Node>| HistogramTree { nodes }.check(2).unwrap_err().to_string();
        let cut = |feature, threshold, low, high| Node::Cut { feature, threshold, missing_low: true, low, high };
        assert!(error(vec![]).contains("it has 0 nodes"));
        assert!(error(vec![Node::Leaf(f64::NAN)]).contains("a leaf adds NaN"));
        let with = |cut: Node| vec![cut, Node::Leaf(0.0), Node::Leaf(1.0)];
        assert!(error(with(cut(2, 0.0, 1, 2))).contains("it cuts feature 2 of 2 at 0"));
        assert!(error(with(cut(1, f64::INFINITY, 1, 2))).contains("at inf"));
        assert!(error(with(cut(1, 0.0, 0, 2))).contains("a node leads back"));
        assert!(error(with(cut(1, 0.0, 1, 3))).contains("or to no node"));
    }
}
