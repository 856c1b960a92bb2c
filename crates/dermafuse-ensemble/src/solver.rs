//! The binary C-SVM problem with a Gaussian kernel, and the two ways in which it is solved.

use std::rc::Rc;

use linfa::{Dataset, ParamGuard, traits::Fit};
use linfa_svm::{Svm, SvmParams};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::error::{EnsembleError, Result};

/// A binary problem: some rows of a table, each positive or negative.
pub(crate) struct Problem<'a> {
    /// `[N, F]` the whole table.
    pub(crate) records: ArrayView2<'a, f64>,
    /// `[N, N]` kernel matrix of the whole table, where it was worth computing.
    pub(crate) gram: Option<&'a Array2<f64>>,
    /// `[n]` the rows of the problem.
    pub(crate) rows: &'a [usize],
    /// `[n]` their side.
    pub(crate) positive: &'a [bool],
    /// Cost of a violation on the positive side.
    pub(crate) c_positive: f64,
    /// Cost of a violation on the negative side.
    pub(crate) c_negative: f64,
    /// `γ` of the kernel `exp(−γ‖x − y‖²)`.
    pub(crate) gamma: f64,
    /// Largest violation of the optimality conditions at which the solver stops.
    pub(crate) tolerance: f64,
}

/// The solution: the decision value of `x` is `Σ_i coefficients[i] · k(rows[i], x) − rho`.
#[derive(Debug)]
pub(crate) struct Solution {
    /// Rows of the table that are support vectors.
    pub(crate) rows: Vec<usize>,
    /// Their coefficients `y_i α_i`.
    pub(crate) coefficients: Vec<f64>,
    pub(crate) rho: f64,
}

impl Solution {
    fn new(rows: &[usize], signed_alpha: &[f64], rho: f64) -> Self {
        // linfa's rule for what counts as a support vector
        let support = rows.iter().zip(signed_alpha).filter(|(_, alpha)| alpha.abs() > 100.0 * f64::EPSILON);
        let (rows, coefficients) = support.map(|(&row, &alpha)| (row, alpha)).unzip();
        Self { rows, coefficients, rho }
    }

    /// The decision value of another row of the table that was fitted.
    pub(crate) fn decision(&self, problem: &Problem<'_>, row: usize) -> f64 {
        let support = self.rows.iter().zip(&self.coefficients);
        support.map(|(&other, alpha)| alpha * problem.kernel(row, other)).sum::<f64>() - self.rho
    }
}

impl Problem<'_> {
    /// The kernel of two rows of the table.
    fn kernel(&self, a: usize, b: usize) -> f64 {
        match self.gram {
            Some(gram) => gram[[a, b]],
            None => gaussian(self.records.row(a), self.records.row(b), self.gamma),
        }
    }
}

/// `exp(−γ‖x − y‖²)`.
pub(crate) fn gaussian(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>, gamma: f64) -> f64 {
    let squared = match (x.as_slice(), y.as_slice()) {
        (Some(x), Some(y)) => x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>(),
        _ => x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum(),
    };
    (-gamma * squared).exp()
}

/// The kernel matrix of all rows.
pub(crate) fn gram(records: ArrayView2<'_, f64>, gamma: f64) -> Array2<f64> {
    let mut gram = Array2::zeros((records.nrows(), records.nrows()));
    let mut rows: Vec<_> = gram.rows_mut().into_iter().collect();
    rows.par_iter_mut().enumerate().for_each(|(i, row)| {
        row.iter_mut().enumerate().for_each(|(j, k)| *k = gaussian(records.row(i), records.row(j), gamma));
    });
    gram
}

/// Solves a binary problem.
pub(crate) trait BinarySolver: Sync {
    /// The dual solution.
    fn solve(&self, problem: &Problem<'_>) -> Result<Solution>;
}

/// linfa-svm, which holds the kernel matrix of the problem.
pub(crate) struct Linfa;

impl Linfa {
    /// linfa's parameters. Shrinking stays off: in linfa-svm 0.8.1 it can panic or end in a wrong solution. Its
    /// Gaussian kernel is `exp(−‖x − y‖²/eps)`, so `eps = 1/γ`.
    fn params(problem: &Problem<'_>) -> SvmParams<f64, bool> {
        Svm::<f64, bool>::params()
            .eps(problem.tolerance)
            .pos_neg_weights(problem.c_positive, problem.c_negative)
            .gaussian_kernel(1.0 / problem.gamma)
    }
}

impl BinarySolver for Linfa {
    fn solve(&self, problem: &Problem<'_>) -> Result<Solution> {
        let records = problem.records.select(Axis(0), problem.rows);
        let dataset = Dataset::new(records, Array1::from(problem.positive.to_vec()));
        let params = Self::params(problem).check().map_err(|source| EnsembleError::Solver { source })?;
        let svm = params.fit(&dataset).map_err(|source| EnsembleError::Solver { source })?;
        Ok(Solution::new(problem.rows, &svm.alpha, svm.rho))
    }
}

/// Sequential minimal optimisation with second-order working sets (Fan, Chen and Lin, JMLR 6, 2005), the algorithm of
/// linfa and libsvm without shrinking, on kernel rows that are computed when needed (or taken from a shared matrix)
/// and of which the most recently used are kept: memory grows with the number of rows, not with its square.
pub(crate) struct Smo;

/// Kernel rows are kept up to this many bytes.
const ROW_BYTES: usize = 128 << 20;
/// As libsvm: far more steps than a problem of finite numbers needs.
const MOST_STEPS: usize = 10_000_000;

impl BinarySolver for Smo {
    fn solve(&self, problem: &Problem<'_>) -> Result<Solution> {
        let n = problem.rows.len();
        let y: Vec<f64> = problem.positive.iter().map(|&positive| if positive { 1.0 } else { -1.0 }).collect();
        let c: Vec<f64> =
            problem.positive.iter().map(|&p| if p { problem.c_positive } else { problem.c_negative }).collect();
        let mut rows = KernelRows::new(problem);
        let mut alpha = vec![0.0_f64; n];
        let mut gradient = vec![-1.0_f64; n];
        for _ in 0..MOST_STEPS {
            // the largest violation: alpha_i may still move along y_i
            let (mut i, mut up) = (n, f64::NEG_INFINITY);
            for t in 0..n {
                let can_rise = if y[t] > 0.0 { alpha[t] < c[t] } else { alpha[t] > 0.0 };
                if can_rise && -y[t] * gradient[t] >= up {
                    (i, up) = (t, -y[t] * gradient[t]);
                }
            }
            if i == n {
                break;
            }
            let k_i = rows.get(i);
            // its partner: the largest second-order decrease of the objective
            let (mut j, mut down, mut best) = (n, f64::NEG_INFINITY, 0.0);
            for t in 0..n {
                let can_fall = if y[t] > 0.0 { alpha[t] > 0.0 } else { alpha[t] < c[t] };
                if can_fall {
                    let yg = y[t] * gradient[t];
                    down = down.max(yg);
                    if up + yg > 0.0 {
                        let decrease = (up + yg) * (up + yg) / curvature(k_i[t]);
                        if decrease >= best {
                            (j, best) = (t, decrease);
                        }
                    }
                }
            }
            if j == n || up + down < problem.tolerance {
                break;
            }
            let k_j = rows.get(j);
            let (old_i, old_j) = (alpha[i], alpha[j]);
            (alpha[i], alpha[j]) =
                moved([old_i, old_j], [c[i], c[j]], [gradient[i], gradient[j]], y[i] == y[j], curvature(k_i[j]));
            let (step_i, step_j) = (y[i] * (alpha[i] - old_i), y[j] * (alpha[j] - old_j));
            for t in 0..n {
                gradient[t] += y[t] * (k_i[t] * step_i + k_j[t] * step_j);
            }
        }
        let rho = offset(&alpha, &gradient, &y, &c);
        alpha.iter_mut().zip(&y).for_each(|(alpha, y)| *alpha *= y);
        Ok(Solution::new(problem.rows, &alpha, rho))
    }
}

/// `k(i,i) + k(j,j) − 2 k(i,j)` of a Gaussian kernel, kept positive.
fn curvature(kernel: f64) -> f64 {
    (2.0 - 2.0 * kernel).max(1e-12)
}

/// The optimum of two variables in their box, the others fixed. A variable that reaches a bound gets it exactly.
fn moved(alpha: [f64; 2], c: [f64; 2], gradient: [f64; 2], same_side: bool, curvature: f64) -> (f64, f64) {
    if same_side {
        let sum = alpha[0] + alpha[1];
        let first = alpha[0] - (gradient[0] - gradient[1]) / curvature;
        match first.clamp((sum - c[1]).max(0.0), sum.min(c[0])) {
            first if first == sum - c[1] => (first, c[1]),
            first => (first, sum - first),
        }
    } else {
        let difference = alpha[0] - alpha[1];
        let first = alpha[0] - (gradient[0] + gradient[1]) / curvature;
        match first.clamp(difference.max(0.0), (c[1] + difference).min(c[0])) {
            first if first == c[1] + difference => (first, c[1]),
            first => (first, first - difference),
        }
    }
}

/// `rho`: the mean over the free variables, else the middle of what the bound ones allow.
fn offset(alpha: &[f64], gradient: &[f64], y: &[f64], c: &[f64]) -> f64 {
    let (mut low, mut high, mut sum, mut free) = (f64::NEG_INFINITY, f64::INFINITY, 0.0, 0_usize);
    for t in 0..alpha.len() {
        let yg = y[t] * gradient[t];
        if alpha[t] > 0.0 && alpha[t] < c[t] {
            sum += yg;
            free += 1;
        } else if (alpha[t] <= 0.0) == (y[t] > 0.0) {
            high = high.min(yg);
        } else {
            low = low.max(yg);
        }
    }
    if free > 0 { sum / free as f64 } else { 0.5 * (low + high) }
}

/// Kernel rows of a problem, the most recently used of them kept.
struct KernelRows<'a, 'b> {
    problem: &'a Problem<'b>,
    records: Option<Array2<f64>>,
    kept: Vec<Option<(Rc<[f64]>, usize)>>,
    number: usize,
    most: usize,
    clock: usize,
}

impl<'a, 'b> KernelRows<'a, 'b> {
    fn new(problem: &'a Problem<'b>) -> Self {
        let n = problem.rows.len();
        Self {
            problem,
            records: problem.gram.is_none().then(|| problem.records.select(Axis(0), problem.rows)),
            kept: vec![None; n],
            number: 0,
            most: (ROW_BYTES / (8 * n.max(1))).max(2),
            clock: 0,
        }
    }

    fn get(&mut self, i: usize) -> Rc<[f64]> {
        self.clock += 1;
        if let Some((row, used)) = &mut self.kept[i] {
            *used = self.clock;
            return Rc::clone(row);
        }
        if self.number == self.most {
            let used = |row: &Option<(Rc<[f64]>, usize)>| row.as_ref().map_or(usize::MAX, |(_, used)| *used);
            if let Some(oldest) = self.kept.iter_mut().min_by_key(|row| used(row)) {
                *oldest = None;
            }
        } else {
            self.number += 1;
        }
        let row: Rc<[f64]> = match (&self.records, self.problem.gram) {
            (Some(records), _) => {
                records.rows().into_iter().map(|other| gaussian(records.row(i), other, self.problem.gamma)).collect()
            }
            (None, Some(gram)) => {
                let row = gram.row(self.problem.rows[i]);
                self.problem.rows.iter().map(|&other| row[other]).collect()
            }
            (None, None) => Rc::from([]),
        };
        self.kept[i] = Some((Rc::clone(&row), self.clock));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svm::tests::table;

    fn problem<'a>(records: ArrayView2<'a, f64>, rows: &'a [usize], positive: &'a [bool]) -> Problem<'a> {
        let (c_positive, c_negative, gamma, tolerance) = (2.0, 0.5, 0.4, 1e-3);
        Problem { records, gram: None, rows, positive, c_positive, c_negative, gamma, tolerance }
    }

    #[test]
    fn shrinking_is_never_on() {
        let (records, labels) = table(10, 3, 2);
        let (rows, positive): (Vec<usize>, Vec<bool>) = labels.iter().map(|&l| l == 0).enumerate().unzip();
        let params = Linfa::params(&problem(records.view(), &rows, &positive)).check().unwrap();
        assert!(!params.solver_params().shrinking);
        assert_eq!(params.solver_params().eps, 1e-3);
        assert_eq!(params.c(), Some((2.0, 0.5)));
    }

    #[test]
    fn both_solvers_find_the_same_decisions() {
        for (n, seed_shift) in [(40, 0), (150, 3)] {
            let (records, labels) = table(n, 6, 3 + seed_shift % 2);
            let rows: Vec<usize> = (0..n).filter(|row| row % 5 != 0).collect();
            let positive: Vec<bool> = rows.iter().map(|&row| labels[row] == 0).collect();
            let on_demand = problem(records.view(), &rows, &positive);
            let matrix = gram(records.view(), on_demand.gamma);
            let shared = Problem { gram: Some(&matrix), ..problem(records.view(), &rows, &positive) };
            let oracle = Linfa.solve(&on_demand).unwrap();
            let found = Smo.solve(&on_demand).unwrap();
            let from_matrix = Smo.solve(&shared).unwrap();
            assert_eq!(found.rows, oracle.rows);
            for row in 0..n {
                let expected = oracle.decision(&on_demand, row);
                assert!((found.decision(&on_demand, row) - expected).abs() < 1e-6);
                assert!((from_matrix.decision(&shared, row) - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn rows_are_evicted_and_computed_again() {
        let (records, labels) = table(30, 4, 2);
        let (rows, positive): (Vec<usize>, Vec<bool>) = labels.iter().map(|&l| l == 0).enumerate().unzip();
        let problem = problem(records.view(), &rows, &positive);
        let mut few = KernelRows { most: 2, ..KernelRows::new(&problem) };
        for i in [0, 1, 2, 0, 5, 1] {
            let row = few.get(i);
            assert!((0..30).all(|j| row[j] == problem.kernel(i, j)));
            assert!(few.kept.iter().flatten().count() <= 2);
        }
    }
}
