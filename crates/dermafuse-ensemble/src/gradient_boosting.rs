//! Gradient-boosted trees, what wins tables of clinical records (and the ISIC 2024 challenge).
//!
//! Friedman, *Greedy function approximation: a gradient boosting machine*, Annals of Statistics 29, 2001, over histograms as
//! scikit-learn's `HistGradientBoostingClassifier` does it: each step adds one tree for each class to its score, fitted to the
//! gradient of the log loss (for two classes one tree for the log-odds). Differences: sums are of 64 bits; classes that no record has keep
//! their column, with probability 0; the steps are as many as are asked for, without early stopping; classes weigh equally by
//! default, as for the other classifiers here.

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Attribute, Dim, Element, Graph, Value, Values};
use dermafuse_schema::SettingFault;
#[cfg(feature = "onnx")]
use ndarray::Array3;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::classifier::{FitClassifier, FittedClassifier, TaskRecords};
use crate::error::{EnsembleError, Result};
#[cfg(feature = "onnx")]
use crate::graph_terms::{constant, softmax_spread};
use crate::histogram_tree::{BinnedRecords, Growth, HistogramTree, MOST_BINS, MOST_LEAVES};
use crate::logistic::{check_stored, check_weights, spread};
use crate::svm::{ClassWeights, positive};
use crate::training::{Training, check_known_width};

/// What errors call it.
const WHAT: &str = "gradient boosting";
/// More steps than anybody has time for.
const MOST_STEPS: usize = 100_000;

/// Parameters of a [`GradientBoostingClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GradientBoostingParams {
    /// Steps, each a tree for every class (one tree where there are two).
    pub steps: usize,
    /// What each tree's values are multiplied by.
    pub learning_rate: f64,
    /// Most leaves of a tree, from 2 to 4096.
    pub leaves: usize,
    /// Fewest records of a leaf.
    pub min_leaf: usize,
    /// The penalty on the squares of the leaves' values, 0 or more.
    pub l2: f64,
    /// Most bins that a feature is cut into, from 2 to 255.
    pub bins: usize,
    /// Weights of the classes.
    pub class_weights: ClassWeights,
}

impl Default for GradientBoostingParams {
    /// For tables of some hundred to some thousand records: 100 small trees of 8 leaves, a rate of 0.05, 10 records in a leaf, a penalty
    /// of 1 and balanced classes.
    fn default() -> Self {
        Self {
            steps: 100,
            learning_rate: 0.05,
            leaves: 8,
            min_leaf: 10,
            l2: 1.0,
            bins: MOST_BINS,
            class_weights: ClassWeights::Balanced,
        }
    }
}

/// Boosted trees; made by [`GradientBoostingParams::fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredGradientBoosting")]
pub struct GradientBoostingClassifier {
    classes: usize,
    present: Vec<usize>,
    features: usize,
    /// The scores that trees are added to: one for each present class, for two classes the log-odds of the second, for one none.
    first: Vec<f64>,
    /// `[steps][scores]`
    trees: Vec<Vec<HistogramTree>>,
}

impl GradientBoostingParams {
    /// Fits the trees one after the other; they depend on nothing random. A feature that is NaN counts as missing.
    ///
    /// # Shapes
    /// `records` `[N, F]`, `labels` `[N]` below `classes`.
    ///
    /// # Errors
    /// Parameters out of range, columns of different length, fewer than two records, a feature that is infinite, a label out of range.
    ///
    /// ```
    /// use dermafuse_ensemble::GradientBoostingParams;
    /// use dermafuse_schema::ndarray::Array2;
    ///
    /// // One class in the middle of the other: nothing that a linear classifier could learn.
    /// let records = Array2::from_shape_fn((80, 1), |(n, _)| n as f64);
    /// let labels: Vec<usize> = (0..80).map(|n| usize::from((20..60).contains(&n))).collect();
    /// let fitted = GradientBoostingParams::default().fit(records.view(), &labels, 2)?;
    /// let p = fitted.predict(records.view())?;
    /// assert!((0..80).all(|n| p[[n, labels[n]]] > 0.9));
    /// # Ok::<(), dermafuse_ensemble::EnsembleError>(())
    /// ```
    pub fn fit(
        &self,
        records: ArrayView2<'_, f64>,
        labels: &[usize],
        classes: usize,
    ) -> Result<GradientBoostingClassifier> {
        self.check()?;
        let training = Training::with_missing(records, labels, classes)?;
        let class_weights = self.class_weights.resolve(&training)?;
        let (present, features) = (training.present(), records.ncols());
        let own: Vec<usize> = labels.iter().map(|&label| present.partition_point(|&class| class < label)).collect();
        let weights: Vec<f64> = labels.iter().map(|&label| class_weights[label]).collect();
        let (first, trees) = match present.len() {
            1 => (Vec::new(), Vec::new()),
            _ => self.boost(&training.records, &own, &weights, present.len()),
        };
        GradientBoostingClassifier { classes, present, features, first, trees }.checked()
    }

    /// Checks the parameters, as [`fit`](Self::fit) does before anything else.
    ///
    /// # Errors
    /// One that is out of range.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        positive("learning_rate", self.learning_rate)?;
        SettingFault::unless(self.l2.is_finite() && self.l2 >= 0.0, "l2", "finite and at least 0", self.l2)?;
        let counts = [
            ("steps", self.steps, 1, MOST_STEPS),
            ("leaves", self.leaves, 2, MOST_LEAVES),
            ("bins", self.bins, 2, MOST_BINS),
        ];
        for (key, value, least, most) in counts {
            SettingFault::unless((least..=most).contains(&value), key, format!("from {least} to {most}"), value)?;
        }
        SettingFault::unless(self.min_leaf > 0, "min_leaf", "at least 1", self.min_leaf)?;
        self.class_weights.check().map_err(|fault| fault.under("class_weights"))
    }

    /// The first scores and the trees, for labels below `classes`, which are two or more.
    fn boost(
        &self,
        records: &Array2<f64>,
        labels: &[usize],
        weights: &[f64],
        classes: usize,
    ) -> (Vec<f64>, Vec<Vec<HistogramTree>>) {
        let binned = BinnedRecords::new(records.view(), self.bins);
        let Self { leaves, min_leaf, l2, learning_rate: rate, .. } = *self;
        let growth = Growth { leaves, min_leaf, l2, rate };
        let all: f64 = weights.iter().sum();
        let share = |class: usize| {
            let of_class = labels.iter().zip(weights).filter(|(label, _)| **label == class);
            of_class.map(|(_, weight)| weight).sum::<f64>() / all
        };
        let logs: Vec<f64> = (0..classes).map(|class| share(class).ln()).collect();
        let first = match classes {
            2 => vec![logs[1] - logs[0]],
            _ => {
                let mean = logs.iter().sum::<f64>() / classes as f64;
                logs.iter().map(|log| log - mean).collect()
            }
        };
        let mut scores = vec![first.clone(); labels.len()]; // [N][scores]
        let mut trees = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            let probabilities: Vec<Vec<f64>> = scores.iter().map(|scores| probabilities(scores)).collect();
            let grown: Vec<(HistogramTree, Vec<f64>)> = (0..first.len())
                .into_par_iter()
                .map(|score| {
                    // The score of two classes is the second's.
                    let class = if classes == 2 { 1 } else { score };
                    let mut gradients = Vec::with_capacity(labels.len());
                    let mut curvatures = Vec::with_capacity(labels.len());
                    for ((p, &label), weight) in probabilities.iter().zip(labels).zip(weights) {
                        let p = p[class];
                        gradients.push(weight * (p - f64::from(u8::from(label == class))));
                        curvatures.push(weight * p * (1.0 - p));
                    }
                    binned.grow(&gradients, &curvatures, growth)
                })
                .collect();
            let mut step = Vec::with_capacity(grown.len());
            for (score, (tree, added)) in grown.into_iter().enumerate() {
                scores.iter_mut().zip(added).for_each(|(scores, added)| scores[score] += added);
                step.push(tree);
            }
            trees.push(step);
        }
        (first, trees)
    }
}

/// The logits of the present classes by their scores.
fn logits(scores: &[f64]) -> Vec<f64> {
    match scores {
        [] => vec![0.0],
        [odds] => vec![0.0, *odds],
        scores => scores.to_vec(),
    }
}

fn probabilities(scores: &[f64]) -> Vec<f64> {
    dermafuse_schema::softmax(&logits(scores))
}

impl GradientBoostingClassifier {
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

    /// Class probabilities. A feature that is NaN counts as missing.
    ///
    /// # Shapes
    /// `[N, F]` to `[N, classes]`.
    ///
    /// # Errors
    /// Records of another width, or a feature that is infinite.
    pub fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_known_width(records, self.features)?;
        let mut table = Array2::zeros((records.nrows(), self.present.len()));
        for (record, mut to) in records.rows().into_iter().zip(table.rows_mut()) {
            let mut scores = self.first.clone();
            for step in &self.trees {
                scores.iter_mut().zip(step).for_each(|(score, tree)| *score += tree.value_of(record));
            }
            to.iter_mut().zip(logits(&scores)).for_each(|(to, logit)| *to = logit);
        }
        spread(WHAT, &table, &self.present, self.classes)
    }

    /// The column of [`logits`] that a score is.
    #[cfg(feature = "onnx")]
    fn column_of(&self, score: usize) -> usize {
        if self.present.len() == 2 { 1 } else { score }
    }

    /// The classifier, if all its parts fit together.
    fn checked(self) -> Result<Self> {
        let Self { classes, present, features, first, trees } = &self;
        let scores = match present.len() {
            0 | 1 => 0,
            2 => 1,
            more => more,
        };
        check_stored(WHAT, *classes, present, &[scores, first.len()])?;
        check_weights(WHAT, first)?;
        if trees.iter().any(|step| step.len() != scores) {
            return Err(EnsembleError::Stored { what: WHAT, why: "a step lacks a tree".into() });
        }
        trees.iter().flatten().try_for_each(|tree| tree.check(*features))?;
        Ok(self)
    }
}

impl FitClassifier for GradientBoostingParams {
    type Fitted = GradientBoostingClassifier;

    fn published(_seed: u64) -> Self {
        Self::default()
    }

    fn fit_to(&self, task: TaskRecords<'_>) -> Result<GradientBoostingClassifier> {
        self.fit(task.records, task.labels, task.classes)
    }
}

impl FittedClassifier for GradientBoostingClassifier {
    fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.predict(records)
    }

    /// All trees side by side, each with as many cuts and leaves as the largest: which cuts say "low", then which leaf agrees with all cuts on
    /// its way. Records in a graph lack no value.
    #[cfg(feature = "onnx")]
    fn add_to(&self, graph: &mut Graph, records: Value) -> Value {
        let batch = graph.shape(records)[0];
        let columns = self.present.len();
        let first = constant(graph, &logits(&self.first), &[1, columns]);
        let trees: Vec<_> =
            self.trees.iter().flat_map(|step| step.iter().map(HistogramTree::ways).enumerate()).collect();
        let most_cuts = trees.iter().map(|(_, (cuts, _))| cuts.len()).max().unwrap_or(0);
        let scores = match most_cuts {
            // What cuts nothing says the same of everyone.
            0 => {
                let mut same = logits(&self.first);
                for (score, (_, leaves)) in &trees {
                    same[self.column_of(*score)] += leaves[0].value;
                }
                let same = constant(graph, &same, &[1, columns]);
                graph.expand(same, vec![batch, Dim::Fixed(columns)])
            }
            _ => {
                let most_leaves = trees.iter().map(|(_, (_, leaves))| leaves.len()).max().unwrap_or(1);
                let mut features = vec![0; trees.len() * most_cuts];
                let mut thresholds = vec![0.0; trees.len() * most_cuts];
                let mut ways = Array3::<f64>::zeros((trees.len(), most_cuts, most_leaves));
                // No record agrees with a leaf that there is not.
                let mut lows = Array2::from_elem((trees.len(), most_leaves), -1.0 - most_cuts as f64);
                let mut values = Array3::<f64>::zeros((trees.len(), most_leaves, columns));
                for (tree, (score, (cuts, leaves))) in trees.iter().enumerate() {
                    for (at, cut) in cuts.iter().enumerate() {
                        features[tree * most_cuts + at] = cut.feature as i64;
                        thresholds[tree * most_cuts + at] = cut.threshold;
                    }
                    for (at, leaf) in leaves.iter().enumerate() {
                        lows[[tree, at]] = 0.0;
                        for &(cut, is_low) in &leaf.way {
                            ways[[tree, cut, at]] = if is_low { 1.0 } else { -1.0 };
                            lows[[tree, at]] += f64::from(u8::from(is_low));
                        }
                        values[[tree, at, self.column_of(*score)]] = leaf.value;
                    }
                }
                let all = trees.len() * most_cuts;
                let numbers = |table: &Array3<f64>| table.iter().copied().collect::<Vec<_>>();
                let features = graph.constant(Values::I64(features), &[all]);
                let thresholds = constant(graph, &thresholds, &[1, all]);
                let ways = constant(graph, &numbers(&ways), &[trees.len(), most_cuts, most_leaves]);
                let lows: Vec<f64> = lows.iter().copied().collect();
                let lows = constant(graph, &lows, &[trees.len(), 1, most_leaves]);
                let values = constant(graph, &numbers(&values), &[trees.len(), most_leaves, columns]);
                let axis = vec![("axis", Attribute::Int(1))];
                let cut = graph.node("Gather", &[records, features], axis, Element::F64, vec![batch, Dim::Fixed(all)]);
                let is_low = graph.compare("LessOrEqual", cut, thresholds);
                let is_low = graph.cast(is_low, Element::F64);
                let is_low = graph.reshape(is_low, vec![batch, Dim::Fixed(trees.len()), Dim::Fixed(most_cuts)]);
                let is_low = graph.transpose(is_low, &[1, 0, 2]); // [trees, N, cuts]
                let agree = graph.matmul(is_low, ways); // [trees, N, leaves]
                let ends = graph.compare("Equal", agree, lows);
                let ends = graph.cast(ends, Element::F64);
                let said = graph.matmul(ends, values); // [trees, N, present]
                let sum = graph.reduce("ReduceSum", said, &[0]);
                let sum = graph.reshape(sum, vec![batch, Dim::Fixed(columns)]);
                graph.add(sum, first)
            }
        };
        softmax_spread(graph, scores, &self.present, self.classes)
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

/// A [`GradientBoostingClassifier`] as it was stored, before it is known to be consistent.
#[derive(Deserialize)]
struct StoredGradientBoosting {
    classes: usize,
    present: Vec<usize>,
    features: usize,
    first: Vec<f64>,
    trees: Vec<Vec<HistogramTree>>,
}

impl TryFrom<StoredGradientBoosting> for GradientBoostingClassifier {
    type Error = EnsembleError;

    fn try_from(stored: StoredGradientBoosting) -> Result<Self> {
        let StoredGradientBoosting { classes, present, features, first, trees } = stored;
        Self { classes, present, features, first, trees }.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svm::tests::table;

    #[test]
    fn one_step_over_two_groups_is_a_newton_step_by_hand() {
        // Two groups of ten: two and eight of class 1; equal weights. The first score is 0.
        let records = Array2::from_shape_fn((20, 1), |(row, _)| (row / 10) as f64);
        let labels: Vec<usize> = (0..20).map(|row| usize::from(if row < 10 { row < 2 } else { row < 18 })).collect();
        let (class_weights, l2) = (ClassWeights::Equal, 0.0);
        let params = GradientBoostingParams { steps: 1, learning_rate: 0.5, l2, class_weights, ..Default::default() };
        let fitted = params.fit(records.view(), &labels, 2).unwrap();
        let p = fitted.predict(records.view()).unwrap();
        // Gradient 10/2 − 2 = 3, curvature 10/4: −0.5 · 3 / 2.5 = −0.6.
        let expected = 1.0 / (1.0 + 0.6_f64.exp());
        assert!((p[[0, 1]] - expected).abs() < 1e-12 && (p[[10, 1]] - (1.0 - expected)).abs() < 1e-12, "{p}");
    }

    #[test]
    fn more_steps_learn_more_and_classes_without_records_have_none() {
        let (records, labels) = table(120, 6, 3);
        let loss = |steps| {
            let params = GradientBoostingParams { steps, ..GradientBoostingParams::default() };
            let p = params.fit(records.view(), &labels, 4).unwrap().predict(records.view()).unwrap();
            assert!(p.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-9 && row[3] == 0.0));
            labels.iter().enumerate().map(|(row, &label)| -p[[row, label]].ln()).sum::<f64>() / 120.0
        };
        let losses = [1, 10, 100].map(loss);
        assert!(losses[0] > losses[1] && losses[1] > losses[2] && losses[2] < 0.35, "{losses:?}");
    }

    #[test]
    fn missing_values_and_one_class_are_no_trouble() {
        let (mut records, labels) = table(60, 3, 2);
        (0..60).step_by(7).for_each(|row| records[[row, 1]] = f64::NAN);
        let fitted = GradientBoostingParams::default().fit(records.view(), &labels, 2).unwrap();
        assert!(fitted.predict(records.view()).unwrap().iter().all(|p| p.is_finite()));
        let nothing = Array2::from_elem((2, 3), f64::NAN);
        let p = fitted.predict(nothing.view()).unwrap();
        assert!(p.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12) && p.row(0) == p.row(1));
        let one = GradientBoostingParams::default().fit(records.view(), &[2; 60], 3).unwrap();
        assert!(one.predict(records.view()).unwrap().column(2).iter().all(|p| *p == 1.0));
    }

    #[test]
    fn what_is_stored_is_read_to_the_bit_and_checked() {
        let (records, labels) = table(60, 3, 3);
        let fitted = GradientBoostingParams { steps: 3, ..Default::default() }.fit(records.view(), &labels, 3).unwrap();
        let text = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<GradientBoostingClassifier>(&text).unwrap(), fitted);
        let mut value = serde_json::to_value(&fitted).unwrap();
        value["trees"][1].as_array_mut().unwrap().pop();
        let error = serde_json::from_value::<GradientBoostingClassifier>(value).unwrap_err().to_string();
        assert!(error.contains("gradient boosting is inconsistent: a step lacks a tree"), "{error}");
    }

    #[test]
    fn errors_name_the_culprit() {
        let (mut records, labels) = table(8, 2, 2);
        let default = GradientBoostingParams::default;
        let message = |params: GradientBoostingParams| params.check().unwrap_err().to_string();
        let params = GradientBoostingParams { steps: 0, ..default() };
        assert_eq!(message(params), "`steps` must be from 1 to 100000, found 0");
        assert_eq!(
            message(GradientBoostingParams { leaves: 1, ..default() }),
            "`leaves` must be from 2 to 4096, found 1"
        );
        assert_eq!(
            message(GradientBoostingParams { bins: 256, ..default() }),
            "`bins` must be from 2 to 255, found 256"
        );
        assert_eq!(
            message(GradientBoostingParams { l2: -1.0, ..default() }),
            "`l2` must be finite and at least 0, found -1"
        );
        records[[3, 1]] = f64::INFINITY;
        let error = default().fit(records.view(), &labels, 2).unwrap_err().to_string();
        assert_eq!(error, "record 3, column 1 is inf; impute or drop non-finite features first");
    }
}
