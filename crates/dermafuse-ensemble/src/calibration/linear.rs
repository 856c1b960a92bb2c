//! Maps of log-probabilities that are linear in their parameters: convex problems, solved by Newton's method.

use dermafuse_schema::softmax;
use ndarray::{Array1, Array2, ArrayView2};

use super::map::LEAST_OF_MANY;
use crate::error::{EnsembleError, Result};

/// What errors call it.
const WHAT: &str = "calibration";
/// Most steps; ten are enough for what is convex and smooth.
const MOST_STEPS: usize = 100;
/// A step that promises less than this ends the search.
const SMALL_GAIN: f64 = 1e-10;

/// How logits depend on parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// An inverse temperature and `[K]` offsets.
    BiasCorrected,
    /// `[K]` factors and `[K]` offsets.
    Vector,
    /// `[K, K]` weights and `[K]` offsets.
    Dirichlet,
}

impl Family {
    /// The parameters of "no change".
    fn identity(self, classes: usize) -> Vec<f64> {
        let zeros = vec![0.0; classes];
        match self {
            Self::BiasCorrected => [vec![1.0], zeros].concat(),
            Self::Vector => [vec![1.0; classes], zeros].concat(),
            Self::Dirichlet => {
                let weights = (0..classes * classes).map(|at| f64::from(u8::from(at / classes == at % classes)));
                weights.chain(zeros).collect()
            }
        }
    }

    /// What the logit of a class is made of: parameters with what they are multiplied with.
    fn terms(self, logs: &[f64], class: usize) -> Vec<(usize, f64)> {
        let classes = logs.len();
        match self {
            Self::BiasCorrected => vec![(0, logs[class]), (1 + class, 1.0)],
            Self::Vector => vec![(class, logs[class]), (classes + class, 1.0)],
            Self::Dirichlet => {
                let weights = logs.iter().enumerate().map(|(from, log)| (class * classes + from, *log));
                weights.chain([(classes * classes + class, 1.0)]).collect()
            }
        }
    }
}

/// A problem: `Σ_n CE(softmax(logits(θ) + offsets), label) + ½ ‖θ − identity‖²`.
struct Problem<'a> {
    family: Family,
    /// `[N][K]` logarithms of probabilities.
    logs: Vec<Vec<f64>>,
    labels: &'a [usize],
    offsets: &'a [f64],
    identity: Vec<f64>,
}

/// The parameters that make the labels most likely, held near those of "no change".
pub(super) fn fit(
    family: Family,
    probabilities: ArrayView2<'_, f64>,
    labels: &[usize],
    offsets: &[f64],
) -> Result<Vec<f64>> {
    let logs = |row: ndarray::ArrayView1<'_, f64>| row.iter().map(|p| p.max(LEAST_OF_MANY).ln()).collect();
    let logs = probabilities.rows().into_iter().map(logs).collect();
    let identity = family.identity(probabilities.ncols());
    Problem { family, logs, labels, offsets, identity }.minimise()
}

impl Problem<'_> {
    fn logits(&self, theta: &[f64], case: usize) -> Vec<f64> {
        let logs = &self.logs[case];
        let terms = |class| self.family.terms(logs, class).into_iter().map(move |(at, factor)| theta[at] * factor);
        (0..logs.len()).map(|class| self.offsets[class] + terms(class).sum::<f64>()).collect()
    }

    fn loss(&self, theta: &[f64]) -> f64 {
        let of_case = |(case, &label): (usize, &usize)| {
            let logits = self.logits(theta, case);
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            largest + logits.iter().map(|z| (z - largest).exp()).sum::<f64>().ln() - logits[label]
        };
        let penalty: f64 = theta.iter().zip(&self.identity).map(|(a, b)| (a - b) * (a - b)).sum();
        self.labels.iter().enumerate().map(of_case).sum::<f64>() + 0.5 * penalty
    }

    /// The gradient and the matrix of second derivatives.
    fn derivatives(&self, theta: &[f64]) -> (Array1<f64>, Array2<f64>) {
        let size = theta.len();
        let mut gradient: Array1<f64> = theta.iter().zip(&self.identity).map(|(a, b)| a - b).collect();
        let mut curvature = Array2::eye(size);
        for (case, &label) in self.labels.iter().enumerate() {
            let p = softmax(&self.logits(theta, case));
            let terms: Vec<_> = (0..p.len()).map(|class| self.family.terms(&self.logs[case], class)).collect();
            // Of the expected terms: their product is what the covariance subtracts.
            let mut mean = vec![0.0; size];
            for (class, of_class) in terms.iter().enumerate() {
                let error = p[class] - f64::from(u8::from(class == label));
                for &(at, factor) in of_class {
                    gradient[at] += error * factor;
                    mean[at] += p[class] * factor;
                    for &(other, second) in of_class {
                        curvature[[at, other]] += p[class] * factor * second;
                    }
                }
            }
            for (at, first) in mean.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                for (other, second) in mean.iter().enumerate() {
                    curvature[[at, other]] -= first * second;
                }
            }
        }
        (gradient, curvature)
    }

    fn minimise(&self) -> Result<Vec<f64>> {
        let mut theta = self.identity.clone();
        let mut loss = self.loss(&theta);
        for iteration in 0..MOST_STEPS {
            let (gradient, curvature) = self.derivatives(&theta);
            let diverged = || EnsembleError::Diverged { what: WHAT, iteration };
            let direction = solved(curvature, &gradient).ok_or_else(diverged)?;
            let gain: f64 = direction.iter().zip(&gradient).map(|(a, b)| a * b).sum();
            if !gain.is_finite() {
                return Err(diverged());
            }
            if gain < SMALL_GAIN {
                break;
            }
            let mut step = 1.0;
            loop {
                let tried: Vec<f64> = theta.iter().zip(&direction).map(|(a, b)| a - step * b).collect();
                let reached = self.loss(&tried);
                if reached < loss - 1e-4 * step * gain {
                    (theta, loss) = (tried, reached);
                    break;
                }
                step *= 0.5;
                if step < 1e-10 {
                    return Ok(theta); // as near as rounding lets it come
                }
            }
        }
        Ok(theta)
    }
}

/// The solution of a system with a symmetric positive definite matrix, by Cholesky's factors; `None` if it is none.
fn solved(mut matrix: Array2<f64>, right: &Array1<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for column in 0..size {
        for row in column..size {
            let mut sum = matrix[[row, column]];
            for at in 0..column {
                sum -= matrix[[row, at]] * matrix[[column, at]];
            }
            if row == column {
                if !(sum > 0.0 && sum.is_finite()) {
                    return None;
                }
                matrix[[row, row]] = sum.sqrt();
            } else {
                matrix[[row, column]] = sum / matrix[[column, column]];
            }
        }
    }
    let mut solution = right.to_vec();
    for row in 0..size {
        for at in 0..row {
            solution[row] -= matrix[[row, at]] * solution[at];
        }
        solution[row] /= matrix[[row, row]];
    }
    for row in (0..size).rev() {
        for at in row + 1..size {
            solution[row] -= matrix[[at, row]] * solution[at];
        }
        solution[row] /= matrix[[row, row]];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        let matrix = ndarray::array![[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]];
        let found = solved(matrix.clone(), &ndarray::array![2.0, -1.0, 4.0]).unwrap();
        let back = matrix.dot(&Array1::from(found));
        assert!((back - ndarray::array![2.0, -1.0, 4.0]).iter().all(|gap| gap.abs() < 1e-12));
        assert_eq!(solved(ndarray::array![[1.0, 2.0], [2.0, 1.0]], &ndarray::array![1.0, 1.0]), None);
    }

    #[test]
    fn the_slopes_are_those_of_the_loss() {
        let logs = vec![vec![-0.2, -2.0, -3.5], vec![-1.0, -1.5, -0.9], vec![-2.5, -0.4, -1.2]];
        let labels = [0, 2, 0];
        for family in [Family::BiasCorrected, Family::Vector, Family::Dirichlet] {
            let identity = family.identity(3);
            let problem = Problem { family, logs: logs.clone(), labels: &labels, offsets: &[0.1, 0.0, -0.3], identity };
            let theta: Vec<f64> =
                problem.identity.iter().enumerate().map(|(at, value)| value + 0.1 * (at as f64).sin()).collect();
            let (gradient, curvature) = problem.derivatives(&theta);
            for at in 0..theta.len() {
                let moved = |by: f64| {
                    let mut moved = theta.clone();
                    moved[at] += by;
                    moved
                };
                let slope = (problem.loss(&moved(1e-5)) - problem.loss(&moved(-1e-5))) / 2e-5;
                assert!((slope - gradient[at]).abs() < 1e-7, "{family:?} {at}");
                let slopes = (problem.derivatives(&moved(1e-5)).0 - problem.derivatives(&moved(-1e-5)).0) / 2e-5;
                assert!((slopes - curvature.row(at)).iter().all(|gap| gap.abs() < 1e-6), "{family:?} {at}");
            }
        }
    }
}
