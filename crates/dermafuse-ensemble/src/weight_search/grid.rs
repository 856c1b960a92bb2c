//! The scores of many weights at once.
//!
//! Thesis §6.2.3, Alg. 1. The search is exhaustive and exact, but not naive: the normalised weights are sorted into a
//! k-d tree, and for each case and task whole boxes of weights are decided at once where bounds on the probabilities
//! inside the box prove that the predicted class is the same everywhere. Only the few weights that lie on a change of the
//! predicted class are evaluated one by one, with the very arithmetic of [`BranchLogits::fuse`].

use dermafuse_schema::{BranchLogits, FuseSpace};
use rayon::prelude::*;

use super::combinations::Combinations;
use super::resampling::{HitValue, Sample};
use super::target::{Local, Target};
use crate::error::{EnsembleError, Result};

/// Boxes of this many weights or fewer are not split further.
const LEAF: usize = 16;

/// Mean (balanced) accuracy over the tasks for every combination and sample: what `fuse(..)` and `mean_accuracy()` give for each, as
/// multiples of a fraction that all combinations of a sample have in common (see [`HitValue::worths`]).
///
/// # Shapes
/// `[samples][combinations]`
pub(super) fn scores(
    logits: &BranchLogits,
    combinations: &Combinations,
    space: FuseSpace,
    value: HitValue,
    samples: &[Sample],
) -> Result<Vec<Vec<u128>>> {
    let is_unlabelled = |sample: &Sample| sample.labelled(&logits.cohort).iter().all(|total| *total == 0);
    if combinations.len() == 0 || samples.iter().any(is_unlabelled) {
        return Err(EnsembleError::NoLabels);
    }
    let classes = logits.tasks.class_counts();
    let strata = value.strata(&classes);
    // Cases that have the same branches share a tree: the weights they are predicted with are the same.
    let mut patterns: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for case in 0..logits.cohort.len() {
        let available: Vec<usize> =
            (0..logits.branches.len()).filter(|&branch| logits.branches[branch].available[case]).collect();
        match patterns.iter_mut().find(|(pattern, _)| *pattern == available) {
            Some((_, cases)) => cases.push(case),
            None => patterns.push((available, vec![case])),
        }
    }
    let mut hits = vec![vec![vec![0_u32; combinations.len()]; samples.len()]; strata.len()];
    for (available, cases) in &patterns {
        let tree = Tree::new(combinations, available);
        hits.par_iter_mut().zip(&strata).for_each(|(hits, &(task, class))| {
            let mut changes = vec![vec![0_i32; combinations.len() + 1]; samples.len()];
            let mut stretches = Vec::new();
            for &case in cases {
                let Some(label) = logits.cohort.labels[case][task] else { continue };
                if class.is_some_and(|class| class != label) {
                    continue;
                }
                stretches.clear();
                Target::new(logits, available, case, task, label, space).predicted_right(&tree, &mut stretches);
                for (changes, sample) in changes.iter_mut().zip(samples) {
                    let count = sample.counts[case] as i32;
                    for &(from, to) in stretches.iter().filter(|_| count > 0) {
                        changes[from as usize] += count;
                        changes[to as usize] -= count;
                    }
                }
            }
            for (hits, changes) in hits.iter_mut().zip(&changes) {
                let mut correct = 0_i32;
                for (&visited, change) in tree.order.iter().zip(changes) {
                    correct += change;
                    hits[visited as usize] += correct as u32;
                }
            }
        });
    }
    let of_sample = |(at, sample): (usize, &Sample)| {
        let worths = value.worths(&logits.cohort, sample, &classes);
        let worth =
            |index: usize| worths.iter().zip(&hits).map(|(worth, hits)| worth * u128::from(hits[at][index])).sum();
        (0..combinations.len()).into_par_iter().map(worth).collect()
    };
    Ok(samples.iter().enumerate().map(of_sample).collect())
}

/// The weights that cases of one availability pattern are predicted with, normalised and sorted into nested boxes.
struct Tree {
    width: usize,
    /// `[P · width]` weights, in the tree's order.
    weights: Vec<f64>,
    /// `[P]` the place of each in the order of the loops.
    order: Vec<u32>,
    /// Boxes; the first is the root.
    nodes: Vec<Node>,
    /// `[nodes · width]` the centre of each box: weights that sum to 1.
    centres: Vec<f64>,
    /// `[nodes · width]` how far the box reaches from its centre.
    halves: Vec<f64>,
}

struct Node {
    from: u32,
    to: u32,
    /// The two halves; 0 and 0 for a leaf.
    children: [u32; 2],
}

impl Tree {
    fn new(combinations: &Combinations, available: &[usize]) -> Self {
        let width = available.len();
        let mut normalised = Vec::with_capacity(combinations.len() * width);
        for index in 0..combinations.len() {
            // the same two divisions as BranchWeights::new and BranchLogits::fuse, so that the bits agree
            let row = &combinations.values[index * combinations.width..(index + 1) * combinations.width];
            let sum: f64 = row.iter().sum();
            let from = normalised.len();
            normalised.extend(available.iter().map(|&branch| row[branch] / sum));
            let sum: f64 = normalised[from..].iter().sum();
            normalised[from..].iter_mut().for_each(|weight| *weight /= sum);
        }
        let mut order: Vec<u32> = (0..combinations.len() as u32).collect();
        let mut tree = Self { width, weights: vec![], order: vec![], nodes: vec![], centres: vec![], halves: vec![] };
        tree.split(&mut order, 0, &normalised);
        tree.weights = order.iter().flat_map(|&row| &normalised[row as usize * width..][..width]).copied().collect();
        tree.order = order;
        tree
    }

    fn split(&mut self, rows: &mut [u32], from: usize, normalised: &[f64]) -> u32 {
        let (width, node) = (self.width, self.nodes.len());
        let bounds: Vec<(f64, f64)> = (0..width)
            .map(|axis| {
                let weights = rows.iter().map(|&row| normalised[row as usize * width + axis]);
                weights.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), w| (low.min(w), high.max(w)))
            })
            .collect();
        // the middle of the box, moved to where weights sum to 1
        let excess = (bounds.iter().map(|(low, high)| 0.5 * (low + high)).sum::<f64>() - 1.0) / width as f64;
        let mut widest = (0, 0.0);
        for (axis, (low, high)) in bounds.into_iter().enumerate() {
            let centre = 0.5 * (low + high) - excess;
            self.centres.push(centre);
            self.halves.push((high - centre).max(centre - low));
            if high - low > widest.1 {
                widest = (axis, high - low);
            }
        }
        self.nodes.push(Node { from: from as u32, to: (from + rows.len()) as u32, children: [0, 0] });
        if rows.len() > LEAF && widest.1 > 0.0 {
            let key = |row: u32| normalised[row as usize * width + widest.0];
            let middle = rows.len() / 2;
            rows.select_nth_unstable_by(middle, |&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)));
            let (lower, upper) = rows.split_at_mut(middle);
            let first = self.split(lower, from, normalised);
            let second = self.split(upper, from + middle, normalised);
            self.nodes[node].children = [first, second];
        }
        node as u32
    }
}

impl Target {
    /// The stretches of the tree whose weights predict the label, `from` included and `to` not.
    fn predicted_right(&self, tree: &Tree, stretches: &mut Vec<(u32, u32)>) {
        let mut local = Local::new(self);
        let mut pending = vec![0_u32];
        while let Some(index) = pending.pop() {
            let node = &tree.nodes[index as usize];
            let corner = index as usize * tree.width;
            let centre = &tree.centres[corner..corner + tree.width];
            let half = &tree.halves[corner..corner + tree.width];
            self.look_around(centre, half, &mut local);
            if let Some(class) = self.constant_class(half, &local) {
                if class == self.label {
                    stretches.push((node.from, node.to));
                }
            } else if node.children != [0, 0] {
                pending.extend(node.children);
            } else {
                for point in node.from..node.to {
                    let at = point as usize * tree.width;
                    let weights = &tree.weights[at..at + tree.width];
                    let class = self.class_near(centre, weights, &mut local);
                    if class.unwrap_or_else(|| self.class_at(weights)) == self.label {
                        stretches.push((point, point + 1));
                    }
                }
            }
        }
    }
}
