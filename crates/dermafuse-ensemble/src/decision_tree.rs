//! A small classification tree on weighted records, what AdaBoost boosts.
//!
//! scikit-learn's `DecisionTreeClassifier` with the Gini impurity: a node is cut where the weighted impurity of its two parts is
//! smallest, in the middle between two values of a feature. Differences: of cuts that are equally good the one of the first
//! feature and the smallest threshold is taken, where scikit-learn draws one; cuts lie a rounding higher ([`crate::cut_place`]).

use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::cut_place::{is_same_value, threshold_between};
use crate::error::{EnsembleError, Result};

/// What errors call it.
const WHAT: &str = "tree";
/// A node of no more impurity is a leaf.
const PURE: f64 = f64::EPSILON;
/// More nodes than any tree of [`MAX_DEPTH`] levels has.
const MAX_NODES: usize = 1 << (MAX_DEPTH + 1);
/// A deeper tree is no weak learner.
pub(crate) const MAX_DEPTH: usize = 16;

/// How large a [`DecisionTree`] becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeSize {
    /// Most cuts from the root to a leaf.
    pub(crate) depth: usize,
    /// Fewest records of a node that is cut.
    pub(crate) split: usize,
    /// Fewest records of a leaf.
    pub(crate) leaf: usize,
}

/// Records in which trees are grown, with the order of every feature's values.
pub(crate) struct SortedRecords<'a> {
    records: &'a Array2<f64>,
    /// `[N]` class of each record, below `classes`.
    labels: Vec<usize>,
    classes: usize,
    /// For each feature the records by its value.
    order: Vec<Vec<usize>>,
}

/// A fitted tree: its nodes, the root first, children after their parents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DecisionTree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    /// The class of its heaviest records.
    Leaf(usize),
    /// Records whose feature is at most the threshold go on at `low`, the others at `high`.
    Cut { feature: usize, threshold: f64, low: usize, high: usize },
}

/// A leaf and the way to it.
#[cfg(feature = "onnx")]
pub(crate) struct TreeLeaf {
    pub(crate) way: Vec<TreeCut>,
    pub(crate) class: usize,
}

/// A cut on the way to a leaf, and whether the feature is at most the threshold there.
#[cfg(feature = "onnx")]
#[derive(Clone)]
pub(crate) struct TreeCut {
    pub(crate) feature: usize,
    pub(crate) threshold: f64,
    pub(crate) is_low: bool,
}

/// The best cut of a node.
struct Cut {
    feature: usize,
    threshold: f64,
    /// What it leaves pure: `Σ_sides Σ_classes w² / w_side`, to be as large as possible.
    purity: f64,
}

impl<'a> SortedRecords<'a> {
    pub(crate) fn new(records: &'a Array2<f64>, labels: Vec<usize>, classes: usize) -> Self {
        let order = records.columns().into_iter().map(|column| {
            let mut rows: Vec<usize> = (0..column.len()).collect();
            rows.sort_by(|&one, &other| column[one].total_cmp(&column[other]));
            rows
        });
        Self { order: order.collect(), records, labels, classes }
    }

    /// The tree that tells the records' classes apart best by their weights `[N]`.
    pub(crate) fn grow(&self, weights: &[f64], size: TreeSize) -> DecisionTree {
        let mut nodes = vec![Node::Leaf(0)];
        let mut open = vec![(0, vec![true; self.labels.len()], 0)];
        while let Some((at, inside, depth)) = open.pop() {
            let (sums, count) = self.sums(&inside, weights);
            let cut = match depth < size.depth && count >= size.split.max(2 * size.leaf) && impurity(&sums) > PURE {
                true => self.best_cut(&inside, weights, &sums, size.leaf),
                false => None,
            };
            let Some(Cut { feature, threshold, .. }) = cut else {
                nodes[at] = Node::Leaf(heaviest(&sums));
                continue;
            };
            let (low, high) = (nodes.len(), nodes.len() + 1);
            nodes[at] = Node::Cut { feature, threshold, low, high };
            nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
            let side = |is_low: bool| -> Vec<bool> {
                let rows = inside.iter().enumerate();
                rows.map(|(row, &inside)| inside && (self.records[[row, feature]] <= threshold) == is_low).collect()
            };
            open.push((low, side(true), depth + 1));
            open.push((high, side(false), depth + 1));
        }
        DecisionTree { nodes }
    }

    /// The weight of each class inside, and the number of records.
    fn sums(&self, inside: &[bool], weights: &[f64]) -> (Vec<f64>, usize) {
        let (mut sums, mut count) = (vec![0.0; self.classes], 0);
        for row in (0..inside.len()).filter(|&row| inside[row]) {
            sums[self.labels[row]] += weights[row];
            count += 1;
        }
        (sums, count)
    }

    fn best_cut(&self, inside: &[bool], weights: &[f64], sums: &[f64], leaf: usize) -> Option<Cut> {
        let mut best: Option<Cut> = None;
        for (feature, order) in self.order.iter().enumerate() {
            let rows: Vec<usize> = order.iter().copied().filter(|&row| inside[row]).collect();
            let (mut low, mut high) = (vec![0.0; self.classes], sums.to_vec());
            for (before, pair) in rows.windows(2).enumerate() {
                let label = self.labels[pair[0]];
                low[label] += weights[pair[0]];
                high[label] -= weights[pair[0]];
                let [value, next] = [pair[0], pair[1]].map(|row| self.records[[row, feature]]);
                let smaller = (before + 1).min(rows.len() - before - 1);
                if is_same_value(value, next) || smaller < leaf {
                    continue;
                }
                let purity = purity(&low) + purity(&high);
                if best.as_ref().is_none_or(|best| purity > best.purity) {
                    best = Some(Cut { feature, threshold: threshold_between(value, next), purity });
                }
            }
        }
        best
    }
}

/// `Σ w² / Σ w`; nothing where there is no weight.
fn purity(sums: &[f64]) -> f64 {
    let all: f64 = sums.iter().sum();
    if all > 0.0 { sums.iter().map(|sum| sum * sum).sum::<f64>() / all } else { 0.0 }
}

/// Gini's, from 0 to 1.
fn impurity(sums: &[f64]) -> f64 {
    let all: f64 = sums.iter().sum();
    1.0 - sums.iter().map(|sum| (sum / all).powi(2)).sum::<f64>()
}

/// The first of the heaviest.
fn heaviest(sums: &[f64]) -> usize {
    let mut best = 0;
    for (class, sum) in sums.iter().enumerate() {
        if *sum > sums[best] {
            best = class;
        }
    }
    best
}

impl DecisionTree {
    /// The class of a record of as many features as those of the fit.
    pub(crate) fn class_of(&self, record: ArrayView1<'_, f64>) -> usize {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf(class) => return class,
                Node::Cut { feature, threshold, low, high } => {
                    at = if record[feature] <= threshold { low } else { high };
                }
            }
        }
    }

    /// The leaves, each with the cuts on the way there.
    #[cfg(feature = "onnx")]
    pub(crate) fn leaves(&self) -> Vec<TreeLeaf> {
        let mut leaves = Vec::new();
        let mut open = vec![(0, Vec::new())];
        while let Some((at, way)) = open.pop() {
            match self.nodes[at] {
                Node::Leaf(class) => leaves.push(TreeLeaf { way, class }),
                Node::Cut { feature, threshold, low, high } => {
                    for (next, is_low) in [(low, true), (high, false)] {
                        let mut way = way.clone();
                        way.push(TreeCut { feature, threshold, is_low });
                        open.push((next, way));
                    }
                }
            }
        }
        leaves
    }

    /// Checks that every record ends in a leaf of one of the classes.
    pub(crate) fn check(&self, features: usize, classes: usize) -> Result<()> {
        let error = |why: String| Err(EnsembleError::Stored { what: WHAT, why });
        if self.nodes.is_empty() || self.nodes.len() > MAX_NODES {
            return error(format!("it has {} nodes; there are from 1 to {MAX_NODES}", self.nodes.len()));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            match *node {
                Node::Leaf(class) if class >= classes => {
                    return error(format!("a leaf is of class {class}, and there are {classes}"));
                }
                Node::Leaf(_) => {}
                Node::Cut { feature, threshold, low, high } => {
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
    use ndarray::array;

    const SIZE: TreeSize = TreeSize { depth: 2, split: 2, leaf: 1 };

    #[test]
    fn the_cut_is_in_the_middle_of_the_two_values_that_part_the_weights_best() {
        let records = array![[0.0, 5.0], [1.0, 4.0], [2.0, 3.0], [3.0, 2.0]];
        let sorted = SortedRecords::new(&records, vec![0, 0, 1, 1], 2);
        let tree = sorted.grow(&[0.25; 4], SIZE);
        // Both features part the classes; the first does.
        assert_eq!(tree.nodes[0], Node::Cut { feature: 0, threshold: 1.500_000_375, low: 1, high: 2 });
        assert_eq!(tree.nodes[1..], [Node::Leaf(0), Node::Leaf(1)]);
        assert_eq!(records.rows().into_iter().map(|row| tree.class_of(row)).collect::<Vec<_>>(), [0, 0, 1, 1]);
        tree.check(2, 2).unwrap();

        // A heavy record among light ones of another class.
        let sorted = SortedRecords::new(&records, vec![0, 1, 0, 0], 2);
        let tree = sorted.grow(&[0.1, 0.7, 0.1, 0.1], TreeSize { depth: 1, ..SIZE });
        assert_eq!(tree.nodes[0], Node::Cut { feature: 0, threshold: 1.500_000_375, low: 1, high: 2 });
        assert_eq!(tree.nodes[1..], [Node::Leaf(1), Node::Leaf(0)]);
    }

    #[test]
    fn small_pure_and_equal_nodes_are_leaves() {
        let records = array![[0.0], [1.0], [2.0], [3.0]];
        let leaf = |labels: Vec<usize>, size: TreeSize| {
            SortedRecords::new(&records, labels, 2).grow(&[0.25; 4], size).nodes == [Node::Leaf(0)]
        };
        assert!(leaf(vec![0, 0, 0, 0], SIZE));
        assert!(leaf(vec![0, 0, 1, 1], TreeSize { split: 5, ..SIZE }));
        assert!(leaf(vec![0, 0, 1, 1], TreeSize { leaf: 3, ..SIZE }));
        assert!(leaf(vec![0, 0, 1, 1], TreeSize { depth: 0, ..SIZE }));
        assert!(!leaf(vec![0, 0, 1, 1], TreeSize { split: 4, leaf: 2, ..SIZE }));
        let same = array![[1.0], [1.0]];
        assert_eq!(SortedRecords::new(&same, vec![0, 1], 2).grow(&[0.5; 2], SIZE).nodes, [Node::Leaf(0)]);
    }

    #[test]
    fn what_was_stored_leads_to_a_leaf() {
        let error = |nodes: Vec<Node>| DecisionTree { nodes }.check(2, 3).unwrap_err().to_string();
        let cut = |feature, threshold, low, high| Node::Cut { feature, threshold, low, high };
        assert!(error(vec![]).contains("it has 0 nodes"));
        assert!(error(vec![Node::Leaf(3)]).contains("a leaf is of class 3, and there are 3"));
        let leaves = || [Node::Leaf(0), Node::Leaf(1)];
        let with = |cut: Node| std::iter::once(cut).chain(leaves()).collect::<Vec<_>>();
        assert!(error(with(cut(2, 0.0, 1, 2))).contains("it cuts feature 2 of 2 at 0"));
        assert!(error(with(cut(1, f64::NAN, 1, 2))).contains("at NaN"));
        assert!(error(with(cut(1, 0.0, 0, 2))).contains("a node leads back"));
        assert!(error(with(cut(1, 0.0, 1, 3))).contains("or to no node"));
    }
}
