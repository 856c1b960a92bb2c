//! Multinomial logistic regression with an L2 penalty, the alternative to the SVM in the paper's Table 6.7.
//!
//! Minimises `C · Σ_n w_n · CE_n + ½ ‖W‖²` over the classes present (intercepts are not penalised), as scikit-learn's
//! `LogisticRegression(multi_class="multinomial")`. Two classes are the softmax of two rows of weights, as there until
//! version 1.6; later versions fit one row, which is the same model with `C` halved. linfa-logistic has no class
//! weights, which the paper uses, hence an own L-BFGS.

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use std::collections::VecDeque;

use dermafuse_schema::{SettingFault, softmax};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::classifier::{FitClassifier, FittedClassifier, TaskRecords};
use crate::error::{EnsembleError, Result};
#[cfg(feature = "onnx")]
use crate::graph_terms::{constant, softmax_spread, table};
use crate::svm::{ClassWeights, positive};
use crate::training::{Training, check_width};

/// What errors call it.
const WHAT: &str = "logistic regression";
/// More classes than any task has: each needs a column of every prediction.
const MOST_CLASSES: usize = 1 << 16;
/// Pairs of steps and gradient changes that L-BFGS remembers.
const MEMORY: usize = 10;

/// Parameters of a [`LogisticClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogisticParams {
    /// Inverse of the strength of the penalty.
    pub c: f64,
    /// Weights of the classes.
    pub class_weights: ClassWeights,
    /// Most steps of the optimiser.
    pub max_iterations: usize,
    /// The largest component of the gradient at which the optimiser stops, relative to its first gradient.
    pub tolerance: f64,
}

impl Default for LogisticParams {
    /// The paper's: `C = 0.01`, balanced classes.
    fn default() -> Self {
        Self { c: 0.01, class_weights: ClassWeights::Balanced, max_iterations: 1_000, tolerance: 1e-8 }
    }
}

/// A fitted logistic regression; made by [`LogisticParams::fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredLogistic")]
pub struct LogisticClassifier {
    classes: usize,
    present: Vec<usize>,
    /// `[present, F + 1]` weights, the intercepts last.
    weights: Array2<f64>,
    iterations: usize,
}

impl LogisticParams {
    /// Checks the parameters, as [`fit`](Self::fit) does before anything else.
    ///
    /// # Errors
    /// One that is out of range.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        positive("c", self.c)?;
        positive("tolerance", self.tolerance)?;
        self.class_weights.check().map_err(|fault| fault.under("class_weights"))
    }

    /// Fits the weights; they depend on nothing random.
    ///
    /// # Shapes
    /// `records` `[N, F]`, `labels` `[N]` below `classes`.
    ///
    /// # Errors
    /// Parameters out of range, columns of different length, fewer than two records, a feature that is not finite, a
    /// label out of range.
    pub fn fit(&self, records: ArrayView2<'_, f64>, labels: &[usize], classes: usize) -> Result<LogisticClassifier> {
        self.check()?;
        let training = Training::new(records, labels, classes, None)?;
        let class_weights = self.class_weights.resolve(&training)?;
        let present = training.present();
        let mut x = Array2::ones((records.nrows(), records.ncols() + 1));
        x.columns_mut().into_iter().zip(records.columns()).for_each(|(mut to, from)| to.assign(&from));
        let targets =
            labels.iter().map(|&label| (present.partition_point(|&class| class < label), class_weights[label]));
        let problem = Objective { x, targets: targets.collect(), classes: present.len(), c: self.c };
        let (weights, iterations) = problem.minimise(self.max_iterations, self.tolerance)?;
        LogisticClassifier { classes, present, weights, iterations }.checked()
    }
}

struct Objective {
    /// `[N, F + 1]` records with a column of ones.
    x: Array2<f64>,
    /// `[N]` index among the present classes and weight.
    targets: Vec<(usize, f64)>,
    classes: usize,
    c: f64,
}

impl Objective {
    /// The value and the gradient, `[classes, F + 1]`.
    fn at(&self, weights: &Array2<f64>) -> (f64, Array2<f64>) {
        let mut errors = self.x.dot(&weights.t());
        let mut loss = 0.0;
        for (mut row, &(target, weight)) in errors.rows_mut().into_iter().zip(&self.targets) {
            let largest = row.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let log_sum = row.mapv(|z| (z - largest).exp()).sum().ln() + largest;
            loss += weight * (log_sum - row[target]);
            row.mapv_inplace(|z| weight * (z - log_sum).exp());
            row[target] -= weight;
        }
        let mut penalised = weights.clone();
        penalised.column_mut(weights.ncols() - 1).fill(0.0);
        let value = self.c * loss + 0.5 * penalised.mapv(|w| w * w).sum();
        (value, errors.t().dot(&self.x) * self.c + penalised)
    }

    /// L-BFGS with a backtracking line search; the objective is convex.
    fn minimise(&self, max_iterations: usize, tolerance: f64) -> Result<(Array2<f64>, usize)> {
        let dot = |a: &Array2<f64>, b: &Array2<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let largest = |g: &Array2<f64>| g.fold(0.0_f64, |most, g| most.max(g.abs()));
        let mut weights = Array2::zeros((self.classes, self.x.ncols()));
        let (mut value, mut gradient) = self.at(&weights);
        let enough = tolerance * largest(&gradient).max(1e-12);
        let mut memory: VecDeque<(Array2<f64>, Array2<f64>, f64)> = VecDeque::new();
        for iteration in 0..max_iterations {
            if largest(&gradient) <= enough {
                return Ok((weights, iteration));
            }
            let mut direction = -&gradient;
            let mut shares = Vec::with_capacity(memory.len());
            for (s, y, sy) in memory.iter().rev() {
                let share = dot(s, &direction) / sy;
                direction.scaled_add(-share, y);
                shares.push(share);
            }
            direction *= match memory.back() {
                Some((_, y, sy)) => sy / dot(y, y),
                None => 1.0 / largest(&gradient).max(1.0),
            };
            for ((s, y, sy), share) in memory.iter().zip(shares.into_iter().rev()) {
                direction.scaled_add(share - dot(y, &direction) / sy, s);
            }
            let slope = dot(&direction, &gradient);
            let mut step = 1.0;
            let (moved, (new_value, new_gradient)) = loop {
                let tried = &weights + &(&direction * step);
                let reached = self.at(&tried);
                if reached.0 <= value + 1e-4 * step * slope {
                    break (tried, reached);
                }
                step *= 0.5;
                if step < 1e-12 {
                    return Ok((weights, iteration)); // as near as rounding lets it come
                }
            };
            if !new_value.is_finite() {
                return Err(EnsembleError::Diverged { what: WHAT, iteration });
            }
            let (s, y) = (&moved - &weights, &new_gradient - &gradient);
            let sy = dot(&s, &y);
            if sy > 0.0 {
                memory.push_back((s, y, sy));
                if memory.len() > MEMORY {
                    memory.pop_front();
                }
            }
            (weights, value, gradient) = (moved, new_value, new_gradient);
        }
        Ok((weights, max_iterations))
    }
}

impl LogisticClassifier {
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
        self.weights.ncols() - 1
    }

    /// Steps that the optimiser took.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Class probabilities.
    ///
    /// # Shapes
    /// `[N, F]` to `[N, classes]`.
    ///
    /// # Errors
    /// Records of another width, or a feature that is not finite.
    pub fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_width(records, self.features())?;
        let (slopes, intercepts) = self.weights.view().split_at(Axis(1), self.features());
        let logits = records.dot(&slopes.t()) + intercepts.column(0);
        spread(WHAT, &logits, &self.present, self.classes)
    }

    /// The classifier, if all its parts fit together.
    fn checked(self) -> Result<Self> {
        let Self { classes, present, weights, .. } = &self;
        check_stored(WHAT, *classes, present, &[weights.nrows(), present.len()])?;
        if weights.ncols() == 0 {
            return Err(EnsembleError::Stored { what: WHAT, why: "it has no intercepts".into() });
        }
        check_weights(WHAT, weights)?;
        Ok(self)
    }
}

impl FitClassifier for LogisticParams {
    type Fitted = LogisticClassifier;

    fn published(_seed: u64) -> Self {
        Self::default()
    }

    fn fit_to(&self, task: TaskRecords<'_>) -> Result<LogisticClassifier> {
        self.fit(task.records, task.labels, task.classes)
    }
}

impl FittedClassifier for LogisticClassifier {
    fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.predict(records)
    }

    #[cfg(feature = "onnx")]
    fn add_to(&self, graph: &mut Graph, records: Value) -> Value {
        let (slopes, intercepts) = self.weights.view().split_at(Axis(1), self.features());
        let slopes = table(graph, &slopes.t().to_owned());
        let intercepts = constant(graph, &intercepts.column(0).to_vec(), &[1, self.present.len()]);
        let logits = graph.matmul(records, slopes);
        let logits = graph.add(logits, intercepts);
        softmax_spread(graph, logits, &self.present, self.classes)
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

/// Softmax of the present classes' logits `[N, present]` in their columns of `[N, classes]`.
pub(crate) fn spread(
    what: &'static str,
    logits: &Array2<f64>,
    present: &[usize],
    classes: usize,
) -> Result<Array2<f64>> {
    let mut probabilities = Array2::zeros((logits.nrows(), classes));
    for (row, (logits, mut to)) in logits.rows().into_iter().zip(probabilities.rows_mut()).enumerate() {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(EnsembleError::Unbounded { what, row });
        }
        present.iter().zip(softmax(&logits.to_vec())).for_each(|(&class, p)| to[class] = p);
    }
    Ok(probabilities)
}

/// A [`LogisticClassifier`] as it was stored, before it is known to be consistent.
#[derive(Deserialize)]
struct StoredLogistic {
    classes: usize,
    present: Vec<usize>,
    weights: Array2<f64>,
    iterations: usize,
}

impl TryFrom<StoredLogistic> for LogisticClassifier {
    type Error = EnsembleError;

    fn try_from(stored: StoredLogistic) -> Result<Self> {
        let StoredLogistic { classes, present, weights, iterations } = stored;
        Self { classes, present, weights, iterations }.checked()
    }
}

/// Checks the classes of a classifier, and that the sizes that must be equal are.
pub(crate) fn check_stored(what: &'static str, classes: usize, present: &[usize], equal: &[usize]) -> Result<()> {
    if present.is_empty() || present.iter().any(|&class| class >= classes) || !present.is_sorted_by(|a, b| a < b) {
        return Err(EnsembleError::Stored { what, why: "its classes are out of range or out of order".into() });
    }
    if classes > MOST_CLASSES {
        return Err(EnsembleError::Stored { what, why: format!("{classes} classes are more than {MOST_CLASSES}") });
    }
    if equal.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(EnsembleError::Stored { what, why: "its arrays differ in size".into() });
    }
    Ok(())
}

/// Checks that all weights are finite.
pub(crate) fn check_weights<'a>(what: &'static str, weights: impl IntoIterator<Item = &'a f64>) -> Result<()> {
    match weights.into_iter().find(|weight| !weight.is_finite()) {
        None => Ok(()),
        Some(weight) => Err(EnsembleError::Stored { what, why: format!("a weight is {weight}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svm::tests::table;

    #[test]
    fn the_gradient_is_that_of_the_value() {
        let (records, labels) = table(20, 3, 3);
        let problem = Objective {
            x: records,
            targets: labels.iter().map(|&l| (l, 1.0 + l as f64)).collect(),
            classes: 3,
            c: 0.7,
        };
        let weights = Array2::from_shape_fn((3, 3), |(i, j)| 0.3 * i as f64 - 0.2 * j as f64);
        let (_, gradient) = problem.at(&weights);
        for (index, &slope) in gradient.indexed_iter() {
            let moved = |by: f64| {
                let mut weights = weights.clone();
                weights[index] += by;
                problem.at(&weights).0
            };
            assert!(((moved(1e-5) - moved(-1e-5)) / 2e-5 - slope).abs() < 1e-7);
        }
    }

    #[test]
    fn at_the_optimum_the_mean_probability_is_the_class_frequency() {
        let (records, labels) = table(60, 4, 3);
        let params = LogisticParams { c: 1.0, class_weights: ClassWeights::Equal, ..LogisticParams::default() };
        let fitted = params.fit(records.view(), &labels, 4).unwrap();
        let p = fitted.predict(records.view()).unwrap();
        for class in 0..4 {
            let count = labels.iter().filter(|label| **label == class).count() as f64;
            assert!((p.column(class).sum() - count).abs() < 1e-5);
        }
        assert!(fitted.iterations() < 100, "{}", fitted.iterations());
        assert_eq!(fitted.present(), [0, 1, 2]);
    }

    #[test]
    fn one_class_and_separable_classes_are_no_trouble() {
        let (records, _) = table(6, 2, 2);
        let one = LogisticParams::default().fit(records.view(), &[2; 6], 3).unwrap();
        assert!(one.predict(records.view()).unwrap().column(2).iter().all(|p| *p == 1.0));
        let x = Array2::from_shape_fn((10, 1), |(n, _)| n as f64 * 1e6);
        let separable = LogisticParams { c: 1e6, ..LogisticParams::default() };
        let fitted = separable.fit(x.view(), &[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 2).unwrap();
        assert!(fitted.predict(x.view()).unwrap().iter().all(|p| p.is_finite()));
    }
}
