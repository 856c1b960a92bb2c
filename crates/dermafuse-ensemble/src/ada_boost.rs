//! AdaBoost of several classes over small trees, a choice in the code that was released with FusionM4Net; no table has it.
//!
//! scikit-learn's `AdaBoostClassifier`, which is SAMME (Zhu, Zou, Rosset, Hastie, *Multi-class AdaBoost*, Statistics and Its
//! Interface 2009): each tree learns from records whose weights have grown wherever the trees before were wrong. Differences: cuts
//! that are equally good are not drawn (see [`decision_tree`](crate::decision_tree)), and where no tree is better than chance
//! but for rounding, which is an error there, every class is as likely as every other.

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Dim, Element, Graph, Value};
use dermafuse_schema::SettingFault;
#[cfg(feature = "onnx")]
use ndarray::Axis;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::classifier::{FitClassifier, FittedClassifier, TaskRecords};
use crate::decision_tree::{DecisionTree, MAX_DEPTH, SortedRecords, TreeSize};
#[cfg(feature = "onnx")]
use crate::decision_tree::{TreeCut, TreeLeaf};
use crate::error::{EnsembleError, Result};
#[cfg(feature = "onnx")]
use crate::graph_terms::{constant, softmax_spread, table};
use crate::logistic::{check_stored, check_weights, spread};
use crate::svm::positive;
use crate::training::{Training, check_width};

/// What errors call it.
const WHAT: &str = "AdaBoost";
/// More trees than anybody has time for.
const MOST_TREES: usize = 100_000;

/// By how much a tree must be better than chance, so that it is not the sum's rounding.
const ROUNDING: f64 = 1e-9;

/// Parameters of an [`AdaBoostClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaBoostParams {
    /// Most trees.
    pub trees: usize,
    /// What each tree's weight is multiplied by.
    pub learning_rate: f64,
    /// Most cuts between the root of a tree and a leaf, from 1 to 16.
    pub depth: usize,
    /// Fewest records of a node that is cut.
    pub min_split: usize,
    /// Fewest records of a leaf.
    pub min_leaf: usize,
}

impl Default for AdaBoostParams {
    /// Those of the code released with FusionM4Net: 200 trees of depth 2, a rate of 0.8, 20 records to cut and 5 in a leaf.
    fn default() -> Self {
        Self { trees: 200, learning_rate: 0.8, depth: 2, min_split: 20, min_leaf: 5 }
    }
}

/// Boosted trees; made by [`AdaBoostParams::fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredAdaBoost")]
pub struct AdaBoostClassifier {
    classes: usize,
    present: Vec<usize>,
    features: usize,
    trees: Vec<DecisionTree>,
    /// One for each tree.
    weights: Vec<f64>,
}

impl AdaBoostParams {
    /// Checks the parameters, as [`fit`](Self::fit) does before anything else.
    ///
    /// # Errors
    /// One that is out of range.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        positive("learning_rate", self.learning_rate)?;
        for (key, value, most) in [("trees", self.trees, MOST_TREES), ("depth", self.depth, MAX_DEPTH)] {
            SettingFault::unless((1..=most).contains(&value), key, format!("from 1 to {most}"), value)?;
        }
        SettingFault::unless(self.min_leaf > 0, "min_leaf", "at least 1", self.min_leaf)
    }

    /// Fits the trees one after the other; they depend on nothing random.
    ///
    /// # Shapes
    /// `records` `[N, F]`, `labels` `[N]` below `classes`.
    ///
    /// # Errors
    /// Parameters out of range, columns of different length, fewer than two records, a feature that is not finite, a
    /// label out of range.
    pub fn fit(&self, records: ArrayView2<'_, f64>, labels: &[usize], classes: usize) -> Result<AdaBoostClassifier> {
        self.check()?;
        let training = Training::new(records, labels, classes, None)?;
        let (present, features) = (training.present(), records.ncols());
        let own: Vec<usize> = labels.iter().map(|&label| present.partition_point(|&class| class < label)).collect();
        let (trees, weights) = match present.len() {
            1 => (Vec::new(), Vec::new()),
            _ => self.boost(&training.records, &own, present.len()),
        };
        AdaBoostClassifier { classes, present, features, trees, weights }.checked()
    }

    /// The trees and their weights, for labels below `classes`, which are two or more.
    fn boost(&self, records: &Array2<f64>, labels: &[usize], classes: usize) -> (Vec<DecisionTree>, Vec<f64>) {
        let size = TreeSize { depth: self.depth, split: self.min_split, leaf: self.min_leaf };
        let sorted = SortedRecords::new(records, labels.to_vec(), classes);
        let (mut trees, mut weights) = (Vec::new(), Vec::new());
        let mut of_records = vec![1.0 / labels.len() as f64; labels.len()];
        for _ in 0..self.trees {
            // A record that is always right would vanish.
            of_records.iter_mut().for_each(|weight| *weight = weight.max(f64::EPSILON));
            let tree = sorted.grow(&of_records, size);
            let is_wrong: Vec<bool> =
                records.rows().into_iter().zip(labels).map(|(row, &label)| tree.class_of(row) != label).collect();
            let all: f64 = of_records.iter().sum();
            let wrong = of_records.iter().zip(&is_wrong).filter(|(_, wrong)| **wrong).map(|(weight, _)| weight);
            let error = wrong.sum::<f64>() / all;
            if error <= 0.0 {
                trees.push(tree);
                weights.push(1.0);
                break;
            }
            // No better than chance. Weights that add up to a half are rounded to a little less.
            if error >= 1.0 - 1.0 / classes as f64 - ROUNDING {
                break;
            }
            let weight = self.learning_rate * (((1.0 - error) / error).ln() + (classes as f64 - 1.0).ln());
            trees.push(tree);
            weights.push(weight);
            for (of_record, _) in of_records.iter_mut().zip(&is_wrong).filter(|(_, wrong)| **wrong) {
                *of_record *= weight.exp();
            }
            let all: f64 = of_records.iter().sum();
            if !all.is_finite() {
                break;
            }
            of_records.iter_mut().for_each(|weight| *weight /= all);
        }
        (trees, weights)
    }
}

impl AdaBoostClassifier {
    /// Number of classes, absent ones included.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Classes that had records, ascending; the others have probability 0.
    #[must_use]
    pub fn present(&self) -> &[usize] {
        &self.present
    }

    /// Number of features of a record.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// Number of trees.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Class probabilities: the softmax of the trees' votes, `w` for the class that a tree says and `−w / (K − 1)` for the others,
    /// by the sum of all `w` and by `K − 1`.
    ///
    /// # Shapes
    /// `[N, F]` to `[N, classes]`.
    ///
    /// # Errors
    /// Records of another width, or a feature that is not finite.
    pub fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_width(records, self.features)?;
        let others = (self.present.len() as f64 - 1.0).max(1.0);
        let all = self.weights.iter().sum::<f64>();
        let mut votes = Array2::zeros((records.nrows(), self.present.len()));
        for (tree, weight) in self.trees.iter().zip(&self.weights) {
            for (record, mut of_record) in records.rows().into_iter().zip(votes.rows_mut()) {
                let said = tree.class_of(record);
                of_record.iter_mut().enumerate().for_each(|(class, vote)| {
                    *vote += if class == said { *weight } else { -weight / others };
                });
            }
        }
        if all > 0.0 {
            votes /= all * others;
        }
        spread(WHAT, &votes, &self.present, self.classes)
    }

    /// The classifier, if all its parts fit together.
    fn checked(self) -> Result<Self> {
        let Self { classes, present, features, trees, weights } = &self;
        check_stored(WHAT, *classes, present, &[trees.len(), weights.len()])?;
        check_weights(WHAT, weights)?;
        if let Some(weight) = weights.iter().find(|weight| **weight <= 0.0) {
            return Err(EnsembleError::Stored { what: WHAT, why: format!("a tree has the weight {weight}") });
        }
        trees.iter().try_for_each(|tree| tree.check(*features, present.len()))?;
        Ok(self)
    }
}

impl FitClassifier for AdaBoostParams {
    type Fitted = AdaBoostClassifier;

    fn published(_seed: u64) -> Self {
        Self::default()
    }

    fn fit_to(&self, task: TaskRecords<'_>) -> Result<AdaBoostClassifier> {
        self.fit(task.records, task.labels, task.classes)
    }
}

impl FittedClassifier for AdaBoostClassifier {
    fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.predict(records)
    }

    /// All cuts of all trees at once, then which leaf of each tree a record ends in: the one that agrees with all cuts on its way.
    #[cfg(feature = "onnx")]
    fn add_to(&self, graph: &mut Graph, records: Value) -> Value {
        let others = (self.present.len() as f64 - 1.0).max(1.0);
        let all = self.weights.iter().sum::<f64>();
        let leaves: Vec<(TreeLeaf, f64)> = self
            .trees
            .iter()
            .zip(&self.weights)
            .flat_map(|(tree, weight)| tree.leaves().into_iter().map(move |leaf| (leaf, *weight)))
            .collect();
        let scale = if all > 0.0 { all * others } else { 1.0 };
        let cuts: Vec<&TreeCut> = leaves.iter().flat_map(|(leaf, _)| &leaf.way).collect();
        let mut features = Array2::zeros((self.features, cuts.len()));
        let mut ways = Array2::zeros((cuts.len(), leaves.len()));
        let mut votes = Array2::from_elem((leaves.len(), self.present.len()), 0.0);
        let (mut column, mut low) = (0, vec![0.0; leaves.len()]);
        for (at, (leaf, weight)) in leaves.iter().enumerate() {
            for cut in &leaf.way {
                features[[cut.feature, column]] = 1.0;
                ways[[column, at]] = if cut.is_low { 1.0 } else { -1.0 };
                low[at] += f64::from(u8::from(cut.is_low));
                column += 1;
            }
            for class in 0..self.present.len() {
                votes[[at, class]] = if class == leaf.class { *weight } else { -weight / others } / scale;
            }
        }
        let batch = graph.shape(records)[0];
        let votes = match (leaves.is_empty(), cuts.is_empty()) {
            (true, _) => {
                let nothing = constant(graph, &vec![0.0; self.present.len()], &[1, self.present.len()]);
                graph.expand(nothing, vec![batch, Dim::Fixed(self.present.len())])
            }
            // Trees that cut nothing say the same of everyone.
            (false, true) => {
                let sum = votes.sum_axis(Axis(0)).to_vec();
                let same = constant(graph, &sum, &[1, self.present.len()]);
                graph.expand(same, vec![batch, Dim::Fixed(self.present.len())])
            }
            (false, false) => {
                let thresholds: Vec<f64> = cuts.iter().map(|cut| cut.threshold).collect();
                let thresholds = constant(graph, &thresholds, &[1, cuts.len()]);
                let (features, ways, votes) = (table(graph, &features), table(graph, &ways), table(graph, &votes));
                let low = constant(graph, &low, &[1, leaves.len()]);
                let values = graph.matmul(records, features); // [N, cuts]
                let is_low = graph.compare("LessOrEqual", values, thresholds);
                let is_low = graph.cast(is_low, Element::F64);
                let agree = graph.matmul(is_low, ways); // [N, leaves]
                let ends = graph.compare("Equal", agree, low);
                let ends = graph.cast(ends, Element::F64);
                graph.matmul(ends, votes) // [N, present]
            }
        };
        softmax_spread(graph, votes, &self.present, self.classes)
    }

    fn classes(&self) -> usize {
        self.classes()
    }

    fn present(&self) -> &[usize] {
        self.present()
    }

    fn features(&self) -> usize {
        self.features()
    }
}

/// An [`AdaBoostClassifier`] as it was stored, before it is known to be consistent.
#[derive(Deserialize)]
struct StoredAdaBoost {
    classes: usize,
    present: Vec<usize>,
    features: usize,
    trees: Vec<DecisionTree>,
    weights: Vec<f64>,
}

impl TryFrom<StoredAdaBoost> for AdaBoostClassifier {
    type Error = EnsembleError;

    fn try_from(stored: StoredAdaBoost) -> Result<Self> {
        let StoredAdaBoost { classes, present, features, trees, weights } = stored;
        Self { classes, present, features, trees, weights }.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svm::tests::table;

    #[test]
    fn trees_learn_what_the_trees_before_got_wrong() {
        let (records, labels) = table(120, 6, 3);
        let right = |trees| {
            let fitted = AdaBoostParams { trees, ..AdaBoostParams::default() }.fit(records.view(), &labels, 4).unwrap();
            assert!(fitted.trees() <= trees && fitted.present() == [0, 1, 2]);
            let p = fitted.predict(records.view()).unwrap();
            assert!(p.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-9 && row[3] == 0.0));
            let best = |row: usize| (0..3).all(|class| p[[row, class]] <= p[[row, labels[row]]]);
            (0..120).filter(|&row| best(row)).count()
        };
        let (one, many) = (right(1), right(200));
        assert!(many > one && many > 100, "{one} and {many} of 120");
    }

    #[test]
    fn one_class_equal_records_and_a_perfect_tree_are_no_trouble() {
        let (records, _) = table(40, 2, 2);
        let one = AdaBoostParams::default().fit(records.view(), &[2; 40], 3).unwrap();
        assert!(one.predict(records.view()).unwrap().column(2).iter().all(|p| *p == 1.0));
        let labels: Vec<usize> = (0..40).map(|row| row % 2).collect();
        let same = Array2::from_elem((40, 2), 1.0);
        let nothing = AdaBoostParams::default().fit(same.view(), &labels, 2).unwrap();
        assert_eq!(nothing.trees(), 0);
        assert!(nothing.predict(same.view()).unwrap().iter().all(|p| *p == 0.5));
        let apart = Array2::from_shape_fn((40, 1), |(row, _)| (row % 2) as f64);
        let perfect = AdaBoostParams::default().fit(apart.view(), &labels, 2).unwrap();
        assert_eq!(perfect.trees(), 1);
        // A vote of 1 against −1.
        let p = perfect.predict(apart.view()).unwrap();
        assert!((p[[0, 0]] - 1.0 / (1.0 + (-2.0_f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn errors_name_the_culprit() {
        let (records, labels) = table(8, 2, 2);
        let message = |params: AdaBoostParams| params.fit(records.view(), &labels, 2).unwrap_err().to_string();
        let params = AdaBoostParams::default;
        assert_eq!(message(AdaBoostParams { trees: 0, ..params() }), "`trees` must be from 1 to 100000, found 0");
        assert_eq!(message(AdaBoostParams { depth: 17, ..params() }), "`depth` must be from 1 to 16, found 17");
        assert_eq!(
            message(AdaBoostParams { learning_rate: f64::NAN, ..params() }),
            "`learning_rate` must be positive and finite, found NaN"
        );
    }
}
