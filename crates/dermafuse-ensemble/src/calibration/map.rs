//! What turns the probabilities of a task into calibrated ones.

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use dermafuse_schema::{SchemaError, softmax};
use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::isotonic::IsotonicSteps;
use super::linear::{self, Family};
use crate::error::{EnsembleError, Result};
#[cfg(feature = "onnx")]
use crate::graph_terms::constant;

/// The least probability of which a temperature takes the logarithm: the smallest number that the machine tells from others.
const LEAST: f64 = f64::MIN_POSITIVE;
/// The least probability of which the maps with parameters for each class take the logarithm.
pub(super) const LEAST_OF_MANY: f64 = 1e-12;
/// The lowest and the highest temperature.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// The temperatures and the parameters of other maps that are read: beyond them, logits need not be finite.
const READ_TEMPERATURES: [f64; 2] = [1e-3, 1e3];
const READ_PARAMETERS: f64 = 1e6;
/// Halvings of the interval of temperatures: far below what matters.
const HALVINGS: usize = 60;

/// How probabilities are calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationMethod {
    /// One temperature for each task: `softmax(ln p / T)` (Guo et al., ICML 2017). The predicted class stays.
    Temperature,
    /// A temperature, and an offset for each class (Alexandari et al., ICML 2020, "bias-corrected temperature scaling").
    BiasCorrected,
    /// A factor and an offset for each class: `softmax(w_c · ln p_c + b_c)` (Guo et al., "vector scaling").
    Vector,
    /// A matrix and offsets: `softmax(W · ln p + b)` (Kull et al., NeurIPS 2019, "Dirichlet calibration").
    Dirichlet,
    /// A rising step function for each class against the rest, its steps joined by lines; the results are scaled to sum to 1
    /// (Zadrozny and Elkan, KDD 2002).
    Isotonic,
}

impl CalibrationMethod {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Temperature, Self::BiasCorrected, Self::Vector, Self::Dirichlet, Self::Isotonic];

    /// Its name, as settings have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::BiasCorrected => "bias_corrected",
            Self::Vector => "vector",
            Self::Dirichlet => "dirichlet",
            Self::Isotonic => "isotonic",
        }
    }

    /// Whether the predicted class always stays the same.
    #[must_use]
    pub fn keeps_predictions(self) -> bool {
        self == Self::Temperature
    }

    /// Whether it moves classes apart from each other, so that what it was fitted on says how frequent they are.
    #[must_use]
    pub fn moves_prevalence(self) -> bool {
        self != Self::Temperature
    }
}

/// What turns the probabilities of a task into calibrated ones, as it was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CalibrationMap {
    /// `softmax(ln p / T)`.
    Temperature {
        /// `T`: above 1 it takes confidence away, below 1 it adds some.
        temperature: f64,
    },
    /// `softmax(ln p / T + b)`.
    BiasCorrected {
        /// `T`.
        temperature: f64,
        /// `[K]` offsets.
        bias: Vec<f64>,
    },
    /// `softmax(w · ln p + b)`, class by class.
    Vector {
        /// `[K]` factors.
        scale: Vec<f64>,
        /// `[K]` offsets.
        bias: Vec<f64>,
    },
    /// `softmax(W · ln p + b)`.
    Dirichlet {
        /// `[K][K]` weights, a row for each class that comes out.
        weights: Vec<Vec<f64>>,
        /// `[K]` offsets.
        bias: Vec<f64>,
    },
    /// Step functions.
    Isotonic {
        /// `[K]` one for each class.
        classes: Vec<IsotonicSteps>,
    },
}

impl CalibrationMap {
    /// Fits a map to the probabilities of cases and their labels: it makes the labels most likely. The matrix methods are held near
    /// "no change" by a normal prior of deviation 1 on every parameter, so that a class without a case stays finite.
    ///
    /// `offsets` are added to the logits after the map: the logarithms of the ratios of a prevalence that answers are
    /// corrected to; 0 for none. Step functions take none into account.
    ///
    /// # Shapes
    /// `probabilities` `[N, K]`, `labels` `[N]` below `K`, `offsets` `[K]`.
    ///
    /// # Errors
    /// Columns of different length, a label out of range, an optimiser that left the finite numbers.
    pub fn fit(
        method: CalibrationMethod,
        probabilities: ArrayView2<'_, f64>,
        labels: &[usize],
        offsets: &[f64],
    ) -> Result<Self> {
        let (cases, classes) = probabilities.dim();
        if labels.len() != cases {
            return Err(EnsembleError::Rows { what: "labels".into(), expected: cases, found: labels.len() });
        }
        if offsets.len() != classes {
            return Err(EnsembleError::Rows { what: "offsets".into(), expected: classes, found: offsets.len() });
        }
        if let Some(row) = labels.iter().position(|&label| label >= classes) {
            return Err(EnsembleError::Label { row, label: labels[row], classes });
        }
        let linear = |family: Family| linear::fit(family, probabilities, labels, offsets);
        Ok(match method {
            CalibrationMethod::Temperature => {
                Self::Temperature { temperature: best_temperature(probabilities, labels, offsets) }
            }
            CalibrationMethod::BiasCorrected => {
                let mut bias = linear(Family::BiasCorrected)?;
                let [coldest, hottest] = TEMPERATURES;
                let inverse = bias.remove(0).clamp(1.0 / hottest, 1.0 / coldest);
                Self::BiasCorrected { temperature: 1.0 / inverse, bias }
            }
            CalibrationMethod::Vector => {
                let mut scale = linear(Family::Vector)?;
                let bias = scale.split_off(classes);
                Self::Vector { scale, bias }
            }
            CalibrationMethod::Dirichlet => {
                let mut weights = linear(Family::Dirichlet)?;
                let bias = weights.split_off(classes * classes);
                Self::Dirichlet { weights: weights.chunks(classes).map(<[f64]>::to_vec).collect(), bias }
            }
            CalibrationMethod::Isotonic => {
                let of_class = |class: usize| {
                    let pairs = probabilities.column(class).into_iter().zip(labels);
                    IsotonicSteps::fit(pairs.map(|(p, label)| (*p, *label == class)).collect())
                };
                Self::Isotonic { classes: (0..classes).map(of_class).collect() }
            }
        })
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> CalibrationMethod {
        match self {
            Self::Temperature { .. } => CalibrationMethod::Temperature,
            Self::BiasCorrected { .. } => CalibrationMethod::BiasCorrected,
            Self::Vector { .. } => CalibrationMethod::Vector,
            Self::Dirichlet { .. } => CalibrationMethod::Dirichlet,
            Self::Isotonic { .. } => CalibrationMethod::Isotonic,
        }
    }

    /// The calibrated probabilities of a case.
    ///
    /// # Shapes
    /// `[K]` to `[K]`.
    ///
    /// # Panics
    /// If there are other than `K` probabilities.
    #[must_use]
    pub fn apply(&self, probabilities: ArrayView1<'_, f64>) -> Vec<f64> {
        let logs = |least: f64| probabilities.iter().map(move |p| p.max(least).ln());
        match self {
            Self::Temperature { temperature } => {
                let logits: Vec<f64> = logs(LEAST).map(|log| log / temperature).collect();
                with_first_place(softmax(&logits), probabilities)
            }
            Self::BiasCorrected { temperature, bias } => {
                softmax(&logs(LEAST_OF_MANY).zip(bias).map(|(log, bias)| log / temperature + bias).collect::<Vec<_>>())
            }
            Self::Vector { scale, bias } => {
                let terms = logs(LEAST_OF_MANY).zip(scale.iter().zip(bias));
                softmax(&terms.map(|(log, (scale, bias))| log * scale + bias).collect::<Vec<_>>())
            }
            Self::Dirichlet { weights, bias } => {
                let logs: Vec<f64> = logs(LEAST_OF_MANY).collect();
                let logit = |(weights, bias): (&Vec<f64>, &f64)| {
                    bias + weights.iter().zip(&logs).map(|(weight, log)| weight * log).sum::<f64>()
                };
                softmax(&weights.iter().zip(bias).map(logit).collect::<Vec<_>>())
            }
            Self::Isotonic { classes } => {
                let mut shares: Vec<f64> =
                    classes.iter().zip(probabilities.iter()).map(|(steps, p)| steps.at(*p)).collect();
                let sum: f64 = shares.iter().sum();
                if sum <= 0.0 {
                    return probabilities.to_vec();
                }
                shares.iter_mut().for_each(|share| *share /= sum);
                shares
            }
        }
    }

    /// The same in ONNX: `[N, K]` probabilities of 64-bit floats to calibrated ones. Of classes that a temperature makes equal but for
    /// the last digit, either may be the first.
    #[cfg(feature = "onnx")]
    pub(crate) fn add_to(&self, graph: &mut Graph, probabilities: Value) -> Value {
        let logs = |graph: &mut Graph, least: f64| {
            let least = graph.scalar_like(probabilities, least);
            let bounded = graph.maximum(probabilities, least);
            graph.unary("Log", bounded)
        };
        let row = |graph: &mut Graph, numbers: &[f64]| constant(graph, numbers, &[1, numbers.len()]);
        match self {
            Self::Temperature { temperature } => {
                let logs = logs(graph, LEAST);
                let temperature = graph.scalar_like(logs, *temperature);
                let logits = graph.divide(logs, temperature);
                graph.softmax(logits, 1)
            }
            Self::BiasCorrected { temperature, bias } => {
                let logs = logs(graph, LEAST_OF_MANY);
                let temperature = graph.scalar_like(logs, *temperature);
                let (logits, bias) = (graph.divide(logs, temperature), row(graph, bias));
                let logits = graph.add(logits, bias);
                graph.softmax(logits, 1)
            }
            Self::Vector { scale, bias } => {
                let logs = logs(graph, LEAST_OF_MANY);
                let (scale, bias) = (row(graph, scale), row(graph, bias));
                let logits = graph.multiply(logs, scale);
                let logits = graph.add(logits, bias);
                graph.softmax(logits, 1)
            }
            Self::Dirichlet { weights, bias } => {
                let logs = logs(graph, LEAST_OF_MANY);
                let classes = bias.len();
                let turned: Vec<f64> = (0..classes).flat_map(|from| weights.iter().map(move |to| to[from])).collect(); // [from, to]
                let (turned, bias) = (constant(graph, &turned, &[classes, classes]), row(graph, bias));
                let logits = graph.matmul(logs, turned);
                let logits = graph.add(logits, bias);
                graph.softmax(logits, 1)
            }
            Self::Isotonic { classes } => {
                let columns: Vec<Value> = classes
                    .iter()
                    .enumerate()
                    .map(|(class, steps)| {
                        let column = graph.slice(probabilities, 1, class..class + 1);
                        steps.add_to(graph, column)
                    })
                    .collect();
                let shares = graph.concat(&columns, 1);
                let sum = graph.reduce("ReduceSum", shares, &[1]);
                let zero = graph.scalar_like(sum, 0.0);
                let is_some = graph.compare("Greater", sum, zero);
                let scaled = graph.divide(shares, sum);
                graph.choose(is_some, scaled, probabilities)
            }
        }
    }

    /// Checks that it is for so many classes, and that its numbers are ones.
    ///
    /// # Errors
    /// The first number or length that is not, with the name of the task.
    pub fn check(&self, task: &str, classes: usize) -> Result<()> {
        let number = |what: &str, value: f64, expected: &'static str| {
            let what = format!("{what} of the calibration of task `{task}`");
            Err(SchemaError::Number { what, value, expected }.into())
        };
        let finite = |what: &str, values: &[f64]| {
            if values.len() != classes {
                let what = format!("{what} of the calibration of task `{task}`");
                return Err(SchemaError::Shape { what, expected: vec![classes], found: vec![values.len()] }.into());
            }
            match values.iter().find(|value| !(-READ_PARAMETERS..=READ_PARAMETERS).contains(*value)) {
                Some(value) => number(what, *value, "within -1,000,000..=1,000,000"),
                None => Ok(()),
            }
        };
        let [least, most] = READ_TEMPERATURES;
        let positive = |temperature: f64| match (least..=most).contains(&temperature) {
            true => Ok(()),
            false => number("temperature", temperature, "within 0.001..=1000"),
        };
        match self {
            Self::Temperature { temperature } => positive(*temperature),
            Self::BiasCorrected { temperature, bias } => {
                positive(*temperature)?;
                finite("offsets", bias)
            }
            Self::Vector { scale, bias } => {
                finite("factors", scale)?;
                finite("offsets", bias)
            }
            Self::Dirichlet { weights, bias } => {
                finite("offsets", bias)?;
                if weights.len() != classes {
                    let what = format!("weights of the calibration of task `{task}`");
                    return Err(SchemaError::Shape { what, expected: vec![classes], found: vec![weights.len()] }.into());
                }
                weights.iter().try_for_each(|row| finite("weights", row))
            }
            Self::Isotonic { classes: steps } => {
                if steps.len() != classes {
                    let what = format!("step functions of the calibration of task `{task}`");
                    return Err(SchemaError::Shape { what, expected: vec![classes], found: vec![steps.len()] }.into());
                }
                steps.iter().try_for_each(|steps| steps.check(task))
            }
        }
    }
}

/// The temperature under which the labels are most likely, within 0.05 and 20. The loss is convex in its inverse, so the place
/// where the slope changes its sign is the only one.
fn best_temperature(probabilities: ArrayView2<'_, f64>, labels: &[usize], offsets: &[f64]) -> f64 {
    let logs: Vec<Vec<f64>> =
        probabilities.rows().into_iter().map(|row| row.iter().map(|p| p.max(LEAST).ln()).collect()).collect();
    // The slope of the loss in the inverse temperature.
    let slope = |inverse: f64| -> f64 {
        let of_case = |(logs, &label): (&Vec<f64>, &usize)| {
            let logits: Vec<f64> = logs.iter().zip(offsets).map(|(log, offset)| inverse * log + offset).collect();
            softmax(&logits).iter().zip(logs).map(|(p, log)| p * log).sum::<f64>() - logs[label]
        };
        logs.iter().zip(labels).map(of_case).sum()
    };
    let [coldest, hottest] = TEMPERATURES;
    let (mut low, mut high) = ((1.0 / hottest).ln(), (1.0 / coldest).ln());
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        match slope(middle.exp()) < 0.0 {
            true => low = middle,
            false => high = middle,
        }
    }
    (-0.5 * (low + high)).exp()
}

/// The probabilities with the class first that is first in `before`: two that differ in the last digits may come out as equal.
fn with_first_place(mut probabilities: Vec<f64>, before: ArrayView1<'_, f64>) -> Vec<f64> {
    let mut first = 0;
    for (class, p) in before.iter().enumerate() {
        if *p > before[first] {
            first = class;
        }
    }
    let most = probabilities.iter().copied().fold(0.0, f64::max);
    if probabilities.iter().position(|p| *p == most) != Some(first) {
        probabilities[first] = most.next_up().min(1.0);
    }
    probabilities
}
