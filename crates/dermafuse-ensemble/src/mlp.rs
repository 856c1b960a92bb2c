//! A perceptron with one hidden layer, the second alternative to the SVM in the paper's Table 6.7.
//!
//! scikit-learn's `MLPClassifier` with its defaults: 100 rectified units, Adam, an L2 penalty, and a stop when the
//! training loss has not improved for ten epochs. Differences: two classes have two softmax outputs, not one sigmoid;
//! the random numbers are others.

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use dermafuse_schema::SettingFault;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::classifier::{FitClassifier, FittedClassifier, TaskRecords};
use crate::error::{EnsembleError, Result};
use crate::folds::shuffle;
#[cfg(feature = "onnx")]
use crate::graph_terms::{constant, softmax_spread, table};
use crate::logistic::{check_stored, check_weights, spread};
use crate::svm::positive;
use crate::training::{Training, check_width};

/// What errors call it.
const WHAT: &str = "perceptron";

/// Parameters of an [`MlpClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MlpParams {
    /// Units of the hidden layer.
    pub hidden: usize,
    /// Learning rate of Adam.
    pub learning_rate: f64,
    /// Strength of the L2 penalty on the weights.
    pub alpha: f64,
    /// Records of a batch, at most.
    pub batch: usize,
    /// Most passes over the records.
    pub max_epochs: usize,
    /// By how much the loss must fall for an epoch to count as an improvement.
    pub tolerance: f64,
    /// Epochs without improvement after which the fit stops.
    pub patience: usize,
    /// Seed of the first weights and the batches.
    pub seed: u64,
}

impl Default for MlpParams {
    /// [`MlpParams::new`] with a seed of 0.
    fn default() -> Self {
        Self::new(0)
    }
}

impl MlpParams {
    /// scikit-learn's defaults, which the paper uses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            hidden: 100,
            learning_rate: 1e-3,
            alpha: 1e-4,
            batch: 200,
            max_epochs: 200,
            tolerance: 1e-4,
            patience: 10,
            seed,
        }
    }

    /// Checks the parameters, as [`fit`](Self::fit) does before anything else.
    ///
    /// # Errors
    /// One that is out of range.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        positive("learning_rate", self.learning_rate)?;
        for (key, value) in [("hidden", self.hidden), ("batch", self.batch)] {
            SettingFault::unless(value > 0, key, "at least 1", value)?;
        }
        for (key, value) in [("alpha", self.alpha), ("tolerance", self.tolerance)] {
            SettingFault::unless(value.is_finite() && value >= 0.0, key, "finite and at least 0", value)?;
        }
        Ok(())
    }

    /// Fits the network.
    ///
    /// # Shapes
    /// `records` `[N, F]`, `labels` `[N]` below `classes`.
    ///
    /// # Errors
    /// Parameters out of range, columns of different length, fewer than two records, a feature that is not finite, a
    /// label out of range, a loss that stops being finite.
    pub fn fit(&self, records: ArrayView2<'_, f64>, labels: &[usize], classes: usize) -> Result<MlpClassifier> {
        self.check()?;
        let training = Training::new(records, labels, classes, None)?;
        let present = training.present();
        let targets: Vec<usize> = labels.iter().map(|&label| present.partition_point(|&class| class < label)).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut layers =
            [Layer::new(records.ncols(), self.hidden, &mut rng), Layer::new(self.hidden, present.len(), &mut rng)];
        let mut adam = Adam::new(&layers, self.learning_rate);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        let (mut best, mut without_improvement, mut epochs) = (f64::INFINITY, 0, 0);
        while epochs < self.max_epochs && without_improvement <= self.patience {
            shuffle(&mut order, &mut rng);
            let mut loss = 0.0;
            for batch in order.chunks(self.batch) {
                let x = training.records.select(Axis(0), batch);
                let y: Vec<usize> = batch.iter().map(|&row| targets[row]).collect();
                let (batch_loss, gradients) = loss_and_gradients(&layers, &x, &y, self.alpha);
                loss += batch_loss * batch.len() as f64 / labels.len() as f64;
                adam.step(&mut layers, &gradients);
            }
            if !loss.is_finite() {
                return Err(EnsembleError::Diverged { what: WHAT, iteration: epochs });
            }
            without_improvement = if loss > best - self.tolerance { without_improvement + 1 } else { 0 };
            best = best.min(loss);
            epochs += 1;
        }
        MlpClassifier { classes, present, layers, epochs }.checked()
    }
}

/// An affine map: `[in, out]` weights and `[out]` biases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Layer {
    weights: Array2<f64>,
    biases: Array1<f64>,
}

impl Layer {
    /// Uniform within `±√(6 / (in + out))` (Glorot and Bengio).
    fn new(inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Self {
        let bound = (6.0 / (inputs + outputs) as f64).sqrt();
        let mut uniform = || bound * ((rng.next_u64() >> 11) as f64 * 2.0_f64.powi(-52) - 1.0);
        Self {
            weights: Array2::from_shape_simple_fn((inputs, outputs), &mut uniform),
            biases: Array1::from_shape_simple_fn(outputs, uniform),
        }
    }

    fn forward(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        x.dot(&self.weights) + &self.biases
    }
}

/// Mean cross-entropy with the penalty, and its gradients.
fn loss_and_gradients(layers: &[Layer; 2], x: &Array2<f64>, y: &[usize], alpha: f64) -> (f64, [Layer; 2]) {
    let n = y.len() as f64;
    let mut hidden = layers[0].forward(x.view()); // [n, H]
    hidden.mapv_inplace(|h| h.max(0.0));
    let mut errors = layers[1].forward(hidden.view()); // [n, K]
    let mut loss = 0.0;
    for (mut row, &target) in errors.rows_mut().into_iter().zip(y) {
        let largest = row.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let log_sum = row.mapv(|z| (z - largest).exp()).sum().ln() + largest;
        loss += (log_sum - row[target]) / n;
        row.mapv_inplace(|z| (z - log_sum).exp() / n);
        row[target] -= 1.0 / n;
    }
    let squares: f64 = layers.iter().flat_map(|layer| &layer.weights).map(|w| w * w).sum();
    let mut back = errors.dot(&layers[1].weights.t()); // [n, H]
    Zip::from(&mut back).and(&hidden).for_each(|b, &h| *b = if h > 0.0 { *b } else { 0.0 });
    let gradient = |input: &Array2<f64>, error: &Array2<f64>, layer: &Layer| Layer {
        weights: input.t().dot(error) + &layer.weights * (alpha / n),
        biases: error.sum_axis(Axis(0)),
    };
    let gradients = [gradient(x, &back, &layers[0]), gradient(&hidden, &errors, &layers[1])];
    (loss + 0.5 * alpha * squares / n, gradients)
}

/// Adam (Kingma and Ba 2015) with its usual constants.
struct Adam {
    rate: f64,
    steps: i32,
    /// First and second moments of each parameter, by layer.
    moments: [Vec<[f64; 2]>; 2],
}

impl Adam {
    fn new(layers: &[Layer; 2], rate: f64) -> Self {
        let zeros = |layer: &Layer| vec![[0.0; 2]; layer.weights.len() + layer.biases.len()];
        Self { rate, steps: 0, moments: [zeros(&layers[0]), zeros(&layers[1])] }
    }

    fn step(&mut self, layers: &mut [Layer; 2], gradients: &[Layer; 2]) {
        self.steps += 1;
        let rate = self.rate * (1.0 - 0.999_f64.powi(self.steps)).sqrt() / (1.0 - 0.9_f64.powi(self.steps));
        for ((layer, gradient), moments) in layers.iter_mut().zip(gradients).zip(&mut self.moments) {
            let values = layer.weights.iter_mut().chain(&mut layer.biases);
            let slopes = gradient.weights.iter().chain(&gradient.biases);
            for ((value, g), [m, v]) in values.zip(slopes).zip(moments) {
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                *value -= rate * *m / (v.sqrt() + 1e-8);
            }
        }
    }
}

/// A fitted perceptron; made by [`MlpParams::fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredMlp")]
pub struct MlpClassifier {
    classes: usize,
    present: Vec<usize>,
    layers: [Layer; 2],
    epochs: usize,
}

impl MlpClassifier {
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
        self.layers[0].weights.nrows()
    }

    /// Passes over the records that the fit took.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.epochs
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
        let hidden = self.layers[0].forward(records).mapv_into(|h| h.max(0.0));
        spread(WHAT, &self.layers[1].forward(hidden.view()), &self.present, self.classes)
    }

    /// The perceptron, if each layer takes what the one before gives.
    fn checked(self) -> Result<Self> {
        let Self { classes, present, layers: [first, second], .. } = &self;
        let outputs = [second.weights.ncols(), second.biases.len(), present.len()];
        check_stored(WHAT, *classes, present, &outputs)?;
        check_stored(WHAT, *classes, present, &[first.weights.ncols(), first.biases.len(), second.weights.nrows()])?;
        if first.biases.is_empty() {
            return Err(EnsembleError::Stored { what: WHAT, why: "it has no hidden units".into() });
        }
        for layer in [first, second] {
            check_weights(WHAT, layer.weights.iter().chain(&layer.biases))?;
        }
        Ok(self)
    }
}

impl FitClassifier for MlpParams {
    type Fitted = MlpClassifier;

    fn published(seed: u64) -> Self {
        Self::new(seed)
    }

    fn fit_to(&self, task: TaskRecords<'_>) -> Result<MlpClassifier> {
        self.fit(task.records, task.labels, task.classes)
    }
}

impl FittedClassifier for MlpClassifier {
    fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.predict(records)
    }

    #[cfg(feature = "onnx")]
    fn add_to(&self, graph: &mut Graph, records: Value) -> Value {
        let layer = |graph: &mut Graph, x: Value, layer: &Layer| {
            let (weights, biases) =
                (table(graph, &layer.weights), constant(graph, &layer.biases.to_vec(), &[1, layer.biases.len()]));
            let product = graph.matmul(x, weights);
            graph.add(product, biases)
        };
        let hidden = layer(graph, records, &self.layers[0]);
        let hidden = graph.unary("Relu", hidden);
        let logits = layer(graph, hidden, &self.layers[1]);
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

/// An [`MlpClassifier`] as it was stored, before it is known to be consistent.
#[derive(Deserialize)]
struct StoredMlp {
    classes: usize,
    present: Vec<usize>,
    layers: [Layer; 2],
    epochs: usize,
}

impl TryFrom<StoredMlp> for MlpClassifier {
    type Error = EnsembleError;

    fn try_from(stored: StoredMlp) -> Result<Self> {
        let StoredMlp { classes, present, layers, epochs } = stored;
        Self { classes, present, layers, epochs }.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svm::tests::table;

    #[test]
    fn the_gradients_are_those_of_the_loss() {
        let (x, y) = table(12, 3, 3);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let layers = [Layer::new(3, 4, &mut rng), Layer::new(4, 3, &mut rng)];
        let (_, gradients) = loss_and_gradients(&layers, &x, &y, 0.3);
        for layer in 0..2 {
            for (index, &slope) in gradients[layer].weights.indexed_iter() {
                let moved = |by: f64| {
                    let mut layers = layers.clone();
                    layers[layer].weights[index] += by;
                    loss_and_gradients(&layers, &x, &y, 0.3).0
                };
                assert!(((moved(1e-6) - moved(-1e-6)) / 2e-6 - slope).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_seeded_fit_learns_and_is_the_same_twice_and_when_stored() {
        let (records, labels) = table(120, 6, 3);
        let fit = |seed| MlpParams::new(seed).fit(records.view(), &labels, 3).unwrap();
        let mlp = fit(4);
        assert_eq!(mlp, fit(4));
        assert_ne!(mlp, fit(5));
        let p = mlp.predict(records.view()).unwrap();
        let right = |row: usize| (0..3).all(|class| p[[row, class]] <= p[[row, labels[row]]]);
        assert!((0..120).filter(|&row| right(row)).count() > 90);
        let read: MlpClassifier = serde_json::from_str(&serde_json::to_string(&mlp).unwrap()).unwrap();
        assert_eq!(read.predict(records.view()).unwrap(), p);
    }

    #[test]
    fn errors_name_the_culprit() {
        let (records, labels) = table(8, 2, 2);
        let message = |params: MlpParams| params.fit(records.view(), &labels, 2).unwrap_err().to_string();
        assert_eq!(message(MlpParams { hidden: 0, ..MlpParams::new(0) }), "`hidden` must be at least 1, found 0");
        let learning_rate = f64::INFINITY;
        assert_eq!(
            message(MlpParams { learning_rate, ..MlpParams::new(0) }),
            "`learning_rate` must be positive and finite, found inf"
        );
    }
}
