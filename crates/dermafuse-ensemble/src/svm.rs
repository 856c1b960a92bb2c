//! A multi-class support vector machine with probabilities, as libsvm and scikit-learn's `SVC` build it.
//!
//! One binary machine for each pair of classes, a sigmoid for each fitted on cross-validated decision values (Platt;
//! Lin, Lin and Weng 2007), and the pairs coupled into class probabilities (Wu, Lin and Weng 2004, second method).
//!
//! Differences from `SVC(probability=True)`: the label is the class of the highest probability (scikit-learn predicts by
//! votes and can contradict its own probabilities); by default the calibration folds are stratified, keep groups
//! together and are repeated ten times, so that the probabilities hardly depend on the seed; a sigmoid always rises with
//! the decision value (libsvm's can fall, which turns the classes of a pair round); classes that no record has keep their
//! column, with probability 0.

#[cfg(feature = "onnx")]
mod graph_terms;
mod pair;
mod stored;

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use dermafuse_schema::SettingFault;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::pair::PairFit;
use self::stored::StoredSvm;
use crate::calibration_note::{CalibrationNote, PairCalibration};
use crate::classifier::{FitClassifier, FittedClassifier, TaskRecords};
use crate::coupling::couple;
use crate::error::{EnsembleError, Result};
use crate::platt::Sigmoid;
use crate::solver::{BinarySolver, Linfa, Smo, gaussian, gram};
use crate::training::{Training, check_width};

/// Tables of up to this many rows get one shared kernel matrix (128 MiB at most).
const GRAM_ROWS: usize = 4_000;
/// Binary problems of up to this many rows are left to linfa, which holds their whole kernel matrix.
const LINFA_ROWS: usize = 4_000;
/// libsvm keeps pairwise probabilities this far from 0 and 1.
const LEAST_PROBABILITY: f64 = 1e-7;
/// More repetitions of the calibration than anyone needs.
const MOST_REPEATS: usize = 10_000;

/// `γ` of the kernel `exp(−γ‖x − y‖²)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gamma {
    /// `1 / (F · Var(x))`, the variance taken over all entries of the training records (scikit-learn's `scale`).
    #[default]
    Scale,
    /// A given value.
    Value(f64),
}

/// How the decision values are obtained on which the sigmoids are fitted.
///
/// For a pair of classes where this gives no sigmoid that can be trusted, folds are taken that share the classes equally but
/// divide groups, and where these fail too, the pair is not calibrated: then decision values are mapped as they come, with the
/// pair's frequencies at their mean and a step of 1 in the log-odds for each standard deviation. A sigmoid cannot be trusted
/// if it does not rise with the decision value, if a stratified fold left one class only to fit on, or if a class has fewer
/// groups (records) than there are folds and the sigmoid is flatter than without calibration. [`SvmReport::calibration`] says
/// what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// libsvm's way, and so the paper's: five plain folds, once. The probabilities of two seeds differ visibly.
    Paper,
    /// Folds that share the classes equally and never divide a group, repeated with different divisions.
    Stratified {
        /// Folds of each repetition.
        folds: usize,
        /// Repetitions.
        repeats: usize,
    },
}

impl Default for Calibration {
    fn default() -> Self {
        Self::Stratified { folds: 5, repeats: 10 }
    }
}

impl Calibration {
    fn folds(self) -> usize {
        match self {
            Self::Paper => 5,
            Self::Stratified { folds, .. } => folds,
        }
    }

    fn repeats(self) -> usize {
        match self {
            Self::Paper => 1,
            Self::Stratified { repeats, .. } => repeats,
        }
    }

    /// Checks that there are folds, and repetitions.
    ///
    /// # Errors
    /// Fewer than two folds; no repetition, or more than 10,000.
    pub fn check(self) -> std::result::Result<(), SettingFault> {
        let (folds, repeats) = (self.folds(), self.repeats());
        SettingFault::unless(folds >= 2, "stratified.folds", "at least 2", folds)?;
        let fit = format!("from 1 to {MOST_REPEATS}");
        SettingFault::unless((1..=MOST_REPEATS).contains(&repeats), "stratified.repeats", fit, repeats)
    }
}

/// The weight of each class in the cost of errors of a classifier, scikit-learn's `class_weight`. How the loss of a network weighs
/// classes says `dermafuse_train::ClassBalancing`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every record counts the same.
    #[default]
    Equal,
    /// Inversely proportional to the class's frequency among the records: `N / (classes present · N_class)`.
    Balanced,
    /// One positive weight for each class.
    Values(Vec<f64>),
}

impl ClassWeights {
    pub(crate) fn resolve(&self, training: &Training<'_>) -> Result<Vec<f64>> {
        let counts = training.counts();
        match self {
            Self::Equal => Ok(vec![1.0; counts.len()]),
            Self::Balanced => {
                let present = counts.iter().filter(|count| **count > 0).count();
                let share = training.labels.len() as f64 / present as f64;
                Ok(counts.iter().map(|&count| share / count.max(1) as f64).collect())
            }
            Self::Values(weights) if weights.len() != counts.len() => {
                Err(EnsembleError::ClassWeights { expected: counts.len(), found: weights.len() })
            }
            Self::Values(weights) => {
                self.check()?;
                Ok(weights.clone())
            }
        }
    }

    pub(crate) fn check(&self) -> std::result::Result<(), SettingFault> {
        let Self::Values(weights) = self else { return Ok(()) };
        let mut weights = weights.iter().enumerate();
        weights.try_for_each(|(class, weight)| positive("", *weight).map_err(|fault| fault.in_list("values", class)))
    }
}

/// Whether a parameter is a positive number.
pub(crate) fn positive(key: &str, value: f64) -> std::result::Result<(), SettingFault> {
    SettingFault::unless(value.is_finite() && value > 0.0, key, "positive and finite", value)
}

/// Which program solves the binary problems; all find the same decision function to within `tolerance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// linfa for the machines that are kept, up to 4,000 rows; for larger ones, and for the many refits of the
    /// calibration, the crate's own solver, which needs no kernel matrix or shares one between all of them.
    #[default]
    Auto,
    /// linfa-svm for everything.
    Linfa,
    /// The crate's own solver for everything.
    Smo,
}

impl Solver {
    fn choose(self, refit: bool, rows: usize) -> &'static dyn BinarySolver {
        match self {
            Self::Auto if refit || rows > LINFA_ROWS => &Smo,
            Self::Auto | Self::Linfa => &Linfa,
            Self::Smo => &Smo,
        }
    }
}

/// Parameters of an [`SvmClassifier`].
///
/// ```
/// # use dermafuse_ensemble::SvmParams;
/// # use dermafuse_schema::ndarray::Array2;
/// let records = Array2::from_shape_fn((40, 2), |(n, f)| (n % 2) as f64 * 3.0 + (n * (f + 3) % 7) as f64 / 7.0);
/// let labels: Vec<usize> = (0..40).map(|n| n % 2).collect();
/// let patients: Vec<String> = (0..40).map(|n| format!("patient {}", n / 2)).collect();
///
/// let svm = SvmParams::new(42).fit(records.view(), &labels, 2, &patients)?;
/// let probabilities = svm.predict(records.view())?;
/// assert!(probabilities[[0, 0]] > 0.9 && probabilities[[1, 1]] > 0.9);
/// # Ok::<(), dermafuse_ensemble::EnsembleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SvmParams {
    /// Cost of an error.
    pub c: f64,
    /// Width of the kernel.
    pub gamma: Gamma,
    /// Largest violation of the optimality conditions at which the solver stops.
    pub tolerance: f64,
    /// Weights of the classes, which multiply `c`.
    pub class_weights: ClassWeights,
    /// How probabilities are calibrated.
    pub calibration: Calibration,
    /// Which program solves the binary problems.
    pub solver: Solver,
    /// Seed of the calibration folds.
    pub seed: u64,
}

impl Default for SvmParams {
    /// [`SvmParams::new`] with a seed of 0.
    fn default() -> Self {
        Self::new(0)
    }
}

impl SvmParams {
    /// The paper's machine (`C = 1`, `γ` scaled, tolerance 1e-3, no class weights) with the steadier calibration.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            c: 1.0,
            gamma: Gamma::default(),
            tolerance: 1e-3,
            class_weights: ClassWeights::default(),
            calibration: Calibration::default(),
            solver: Solver::default(),
            seed,
        }
    }

    /// Checks the parameters, as [`fit`](Self::fit) does before anything else.
    ///
    /// # Errors
    /// One that is out of range.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        positive("c", self.c)?;
        positive("tolerance", self.tolerance)?;
        if let Gamma::Value(gamma) = self.gamma {
            positive("gamma.value", gamma)?;
        }
        self.class_weights.check().map_err(|fault| fault.under("class_weights"))?;
        self.calibration.check().map_err(|fault| fault.under("calibration"))
    }

    /// Fits the machines and their calibration.
    ///
    /// `groups` (patients or lesions) are kept together in the calibration folds. Classes without a record get
    /// probability 0; if all records are of one class, the classifier is constant, and says so.
    ///
    /// # Shapes
    /// `records` `[N, F]`, `labels` `[N]` below `classes`, `groups` `[N]`.
    ///
    /// # Errors
    /// Parameters out of range, columns of different length, fewer than two records, a feature that is not finite, a
    /// label out of range.
    pub fn fit(
        &self,
        records: ArrayView2<'_, f64>,
        labels: &[usize],
        classes: usize,
        groups: &[String],
    ) -> Result<SvmClassifier> {
        self.check()?;
        let training = Training::new(records, labels, classes, Some(groups))?;
        let weights = self.class_weights.resolve(&training)?;
        let gamma = match self.gamma {
            Gamma::Scale => scaled_gamma(training.records.view()),
            Gamma::Value(gamma) => gamma,
        };
        // That of records whose variance has no inverse.
        positive("gamma", gamma)?;

        let present = training.present();
        let matrix =
            (present.len() > 1 && training.labels.len() <= GRAM_ROWS).then(|| gram(training.records.view(), gamma));
        let pairs: Vec<(usize, usize)> = (0..present.len())
            .flat_map(|i| (i + 1..present.len()).map(move |j| (i, j)))
            .map(|(i, j)| (present[i], present[j]))
            .collect();
        let fit = PairFit { params: self, training: &training, gram: matrix.as_ref(), gamma, weights: &weights };
        let fitted = pairs.par_iter().map(|&pair| fit.pair(pair)).collect::<Result<Vec<_>>>()?;

        let mut support: Vec<usize> = fitted.iter().flat_map(|fitted| fitted.solution.rows.iter().copied()).collect();
        support.sort_unstable();
        support.dedup();
        let machines = pairs.iter().zip(&fitted).map(|(&(first, second), fitted)| Machine {
            first,
            second,
            support: fitted.solution.rows.iter().map(|row| support.partition_point(|other| other < row)).collect(),
            coefficients: fitted.solution.coefficients.clone(),
            rho: fitted.solution.rho,
            sigmoid: fitted.sigmoid,
        });
        let fitted_machine = SvmClassifier {
            classes,
            gamma,
            machines: machines.collect(),
            support: training.records.select(Axis(0), &support),
            report: SvmReport {
                records: training.labels.len(),
                support_vectors: support.len(),
                absent: (0..classes).filter(|class| !present.contains(class)).collect(),
                constant: (present.len() == 1).then(|| present[0]),
                calibration: fitted.iter().map(|fitted| fitted.calibration).collect(),
                params: self.clone(),
            },
            present,
        };
        fitted_machine.checked()
    }
}

/// `1 / (F · Var(x))`; 1 where all entries are equal, as in scikit-learn.
fn scaled_gamma(records: ArrayView2<'_, f64>) -> f64 {
    let count = records.len() as f64;
    let mean = records.sum() / count;
    let variance = records.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    if variance > 0.0 { 1.0 / (records.ncols() as f64 * variance) } else { 1.0 }
}

/// A fitted support vector machine with probabilities; made by [`SvmParams::fit`].
///
/// Stored as JSON with serde_json's `float_roundtrip` it gives bit-equal probabilities when read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredSvm")]
pub struct SvmClassifier {
    classes: usize,
    gamma: f64,
    present: Vec<usize>,
    /// `[S, F]` all support vectors.
    support: Array2<f64>,
    machines: Vec<Machine>,
    report: SvmReport,
}

/// The machine of one pair of classes; positive decisions speak for the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Machine {
    first: usize,
    second: usize,
    support: Vec<usize>,
    coefficients: Vec<f64>,
    rho: f64,
    sigmoid: Sigmoid,
}

/// What happened while an [`SvmClassifier`] was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SvmReport {
    /// Records fitted on.
    pub records: usize,
    /// Records that are a support vector of any pair.
    pub support_vectors: usize,
    /// Classes without a record: their probability is always 0.
    pub absent: Vec<usize>,
    /// The only class there was, if the classifier is constant.
    pub constant: Option<usize>,
    /// How each pair of classes was calibrated, in the order of [`SvmClassifier::pairs`]. Empty in files of versions that did
    /// not say.
    #[serde(default)]
    pub calibration: Vec<PairCalibration>,
    /// The parameters, the seed among them.
    pub params: SvmParams,
}

impl SvmClassifier {
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
        self.support.ncols()
    }

    /// The kernel's `γ`.
    #[must_use]
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// What happened during the fit.
    #[must_use]
    pub fn report(&self) -> &SvmReport {
        &self.report
    }

    /// The pairs of classes in the order of the columns of [`decision_values`](Self::decision_values).
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.machines.iter().map(|machine| (machine.first, machine.second))
    }

    /// Pairs whose stored sigmoid falls with the decision value: earlier versions could fit one to a class of a single group.
    pub fn turned_round(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.machines.iter().filter(|machine| machine.sigmoid.a > 0.0).map(|machine| (machine.first, machine.second))
    }

    /// Decision values of the pairs of present classes: positive ones speak for the first class of the pair.
    ///
    /// # Shapes
    /// `[N, F]` to `[N, pairs]`.
    ///
    /// # Errors
    /// Records of another width, or a feature that is not finite.
    pub fn decision_values(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_width(records, self.features())?;
        let mut decisions = Array2::zeros((records.nrows(), self.machines.len()));
        for (record, mut row) in records.rows().into_iter().zip(decisions.rows_mut()) {
            row.assign(&ArrayView1::from(&self.decisions(record)));
        }
        Ok(decisions)
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
        let mut probabilities = Array2::zeros((records.nrows(), self.classes));
        for (record, mut row) in records.rows().into_iter().zip(probabilities.rows_mut()) {
            for (&class, p) in self.present.iter().zip(self.coupled(&self.decisions(record))) {
                row[class] = p;
            }
        }
        Ok(probabilities)
    }

    fn decisions(&self, record: ArrayView1<'_, f64>) -> Vec<f64> {
        let kernel: Vec<f64> =
            self.support.rows().into_iter().map(|support| gaussian(support, record, self.gamma)).collect();
        let decision = |machine: &Machine| {
            let terms = machine.support.iter().zip(&machine.coefficients);
            terms.map(|(&support, alpha)| alpha * kernel[support]).sum::<f64>() - machine.rho
        };
        self.machines.iter().map(decision).collect()
    }

    /// Probabilities of the present classes.
    fn coupled(&self, decisions: &[f64]) -> Vec<f64> {
        let k = self.present.len();
        if k == 1 {
            return vec![1.0];
        }
        let mut pairwise = Array2::zeros((k, k));
        let pairs = (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j)));
        for ((i, j), (machine, &decision)) in pairs.zip(self.machines.iter().zip(decisions)) {
            let p = machine.sigmoid.probability(decision).clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY);
            (pairwise[[i, j]], pairwise[[j, i]]) = (p, 1.0 - p);
        }
        if k == 2 { vec![pairwise[[0, 1]], pairwise[[1, 0]]] } else { couple(&pairwise) }
    }
}

impl FitClassifier for SvmParams {
    type Fitted = SvmClassifier;

    fn published(seed: u64) -> Self {
        Self::new(seed)
    }

    fn fit_to(&self, task: TaskRecords<'_>) -> Result<SvmClassifier> {
        self.fit(task.records, task.labels, task.classes, task.groups)
    }
}

impl FittedClassifier for SvmClassifier {
    fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.predict(records)
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

    #[cfg(feature = "onnx")]
    fn add_to(&self, graph: &mut Graph, records: Value) -> Value {
        graph_terms::probabilities(self, graph, records)
    }

    fn support_vectors(&self) -> Option<usize> {
        Some(self.report.support_vectors)
    }

    fn calibration(&self, classes: &[String]) -> Vec<CalibrationNote> {
        CalibrationNote::of(&self.report.calibration, classes)
    }

    fn turned_round(&self) -> Vec<(usize, usize)> {
        self.turned_round().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::CalibrationOutcome;
    use ndarray::array;

    /// Overlapping classes of unequal size, by formula.
    pub(crate) fn table(n: usize, features: usize, classes: usize) -> (Array2<f64>, Vec<usize>) {
        let noise = |i: usize| ((i as f64 * 12.9898).sin() * 43_758.545_3).fract();
        let labels: Vec<usize> = (0..n).map(|row| (row * row / 3 + row) % (classes + 1) % classes).collect();
        let records = Array2::from_shape_fn((n, features), |(row, column)| {
            noise(row * features + column) + if column % classes == labels[row] { 0.8 } else { 0.0 }
        });
        (records, labels)
    }

    pub(crate) fn alone(n: usize) -> Vec<String> {
        (0..n).map(|row| row.to_string()).collect()
    }

    fn fit(params: &SvmParams, n: usize, classes: usize) -> (SvmClassifier, Array2<f64>, Vec<usize>) {
        let (records, labels) = table(n, 6, classes);
        (params.fit(records.view(), &labels, classes, &alone(n)).unwrap(), records, labels)
    }

    #[test]
    fn autotraits() {
        fn has_autotraits<T: Send + Sync + Unpin>() {}
        has_autotraits::<SvmClassifier>();
    }

    #[test]
    fn probabilities_sum_to_1_and_find_the_classes() {
        let (svm, records, labels) = fit(&SvmParams::new(1), 90, 3);
        let p = svm.predict(records.view()).unwrap();
        assert!(p.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-9));
        let right = |row: usize| (0..3).all(|class| p[[row, class]] <= p[[row, labels[row]]]);
        assert!((0..90).filter(|&row| right(row)).count() > 75);
        assert_eq!(svm.pairs().collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
    }

    #[test]
    fn a_stored_machine_gives_the_same_bits() {
        for calibration in [Calibration::Paper, Calibration::default()] {
            let (svm, records, _) = fit(&SvmParams { calibration, ..SvmParams::new(5) }, 60, 4);
            let text = serde_json::to_string(&svm).unwrap();
            let read: SvmClassifier = serde_json::from_str(&text).unwrap();
            assert_eq!(read, svm);
            assert_eq!(read.predict(records.view()).unwrap(), svm.predict(records.view()).unwrap());
        }
        let (svm, ..) = fit(&SvmParams::new(5), 30, 2);
        let mut broken = serde_json::to_value(&svm).unwrap();
        broken["machines"][0]["support"][0] = 999.into();
        assert_eq!(
            serde_json::from_value::<SvmClassifier>(broken).unwrap_err().to_string(),
            "support vector machine is inconsistent: a machine refers to support vectors that are not there; \
             fit it again"
        );
    }

    #[test]
    fn one_seed_gives_the_same_bits_on_any_number_of_threads() {
        let threads = |count| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
            pool.install(|| fit(&SvmParams::new(9), 60, 3).0)
        };
        assert_eq!(threads(1), threads(4));
        assert_ne!(threads(1), fit(&SvmParams::new(10), 60, 3).0);
    }

    #[test]
    fn the_solver_does_not_matter() {
        let of = |solver| fit(&SvmParams { solver, ..SvmParams::new(2) }, 80, 3);
        let (auto, records, _) = of(Solver::Auto);
        for solver in [Solver::Linfa, Solver::Smo] {
            let difference = auto.predict(records.view()).unwrap() - of(solver).0.predict(records.view()).unwrap();
            assert!(difference.iter().all(|d| d.abs() < 1e-5));
        }
    }

    #[test]
    fn repeated_calibration_hardly_depends_on_the_seed() {
        let spread = |calibration| {
            let of = |seed| {
                let (svm, records, _) = fit(&SvmParams { calibration, ..SvmParams::new(seed) }, 90, 3);
                svm.predict(records.view()).unwrap()
            };
            (of(1) - of(2)).iter().map(|d| d.abs()).sum::<f64>() / 270.0
        };
        let (steady, paper) = (spread(Calibration::default()), spread(Calibration::Paper));
        assert!(steady < 0.5 * paper, "{steady} {paper}");
    }

    #[test]
    fn class_weights_move_probability_to_the_class() {
        let mean = |class_weights| {
            let (svm, records, _) = fit(&SvmParams { class_weights, ..SvmParams::new(1) }, 60, 2);
            svm.decision_values(records.view()).unwrap().mean().unwrap()
        };
        let equal = mean(ClassWeights::Equal);
        assert!(mean(ClassWeights::Values(vec![5.0, 1.0])) > equal);
        assert!(mean(ClassWeights::Values(vec![1.0, 5.0])) < equal);
    }

    #[test]
    fn one_class_gives_a_constant_classifier_that_says_so() {
        let (records, _) = table(8, 3, 2);
        let svm = SvmParams::new(0).fit(records.view(), &[1; 8], 3, &alone(8)).unwrap();
        assert_eq!((svm.report().constant, &svm.report().absent[..]), (Some(1), &[0, 2][..]));
        assert_eq!(svm.predict(records.view()).unwrap().row(7), array![0.0, 1.0, 0.0]);
    }

    #[test]
    fn an_absent_class_keeps_its_column() {
        let (records, mut labels) = table(40, 4, 2);
        labels.iter_mut().for_each(|label| *label *= 2);
        let svm = SvmParams::new(0).fit(records.view(), &labels, 4, &alone(40)).unwrap();
        let p = svm.predict(records.view()).unwrap();
        assert_eq!(svm.report().absent, [1, 3]);
        assert!(p.column(1).iter().chain(p.column(3)).all(|p| *p == 0.0) && p.column(2).sum() > 1.0);
    }

    #[test]
    fn hostile_tables_still_give_probabilities() {
        let finite = |records: Array2<f64>, labels: &[usize]| {
            for calibration in [Calibration::Paper, Calibration::default()] {
                let params = SvmParams { calibration, ..SvmParams::new(0) };
                let svm = params.fit(records.view(), labels, 2, &alone(labels.len())).unwrap();
                let p = svm.predict(records.view()).unwrap();
                assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{p}");
            }
        };
        finite(Array2::ones((10, 3)), &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]); // constant, contradictory
        finite(Array2::from_shape_fn((10, 2), |(n, _)| n as f64), &[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]); // separable
        finite(table(30, 3, 2).0, &[vec![0; 29], vec![1]].concat()); // one positive: folds without it
        finite(array![[0.0], [1.0]], &[0, 1]);
        let groups = vec!["one patient".to_owned(); 20];
        let (records, labels) = table(20, 3, 2);
        let svm = SvmParams::new(0).fit(records.view(), &labels, 2, &groups).unwrap();
        assert!(svm.predict(records.view()).unwrap().iter().all(|p| p.is_finite()));
        let expected = PairCalibration {
            first: 0,
            second: 1,
            records: [labels.iter().filter(|l| **l == 0).count(), labels.iter().filter(|l| **l == 1).count()],
            groups: [1, 1],
            outcome: CalibrationOutcome::WithoutGroups,
        };
        assert_eq!(svm.report().calibration, [expected]);
    }

    #[test]
    fn errors_name_the_culprit() {
        let (records, labels) = table(6, 2, 2);
        let message = |params: SvmParams, records: &Array2<f64>, labels: &[usize], groups: usize| {
            params.fit(records.view(), labels, 2, &alone(groups)).unwrap_err().to_string()
        };
        let of = |records: &Array2<f64>, labels: &[usize]| message(SvmParams::new(0), records, labels, 6);
        assert_eq!(of(&records, &labels[..4]), "labels: 4 rows, but there are 6 records");
        assert_eq!(message(SvmParams::new(0), &records, &labels, 2), "groups: 2 rows, but there are 6 records");
        assert_eq!(of(&records, &[0, 1, 2, 0, 0, 0]), "record 2 has label 2, but there are 2 classes (0 to 1)");
        let mut broken = records.clone();
        broken[[3, 1]] = f64::NAN;
        let not_finite = "record 3, column 1 is NaN; impute or drop non-finite features first";
        assert_eq!(of(&broken, &labels), not_finite);
        for n in [0, 1] {
            let few = records.select(Axis(0), &(0..n).collect::<Vec<_>>());
            assert_eq!(
                message(SvmParams::new(0), &few, &labels[..n], n),
                format!("the table has {n} labelled records; at least 2 are needed to fit a classifier")
            );
        }
        let bad = |params| message(params, &records, &labels, 6);
        let new = || SvmParams::new(0);
        assert_eq!(bad(SvmParams { c: f64::NAN, ..new() }), "`c` must be positive and finite, found NaN");
        assert_eq!(bad(SvmParams { tolerance: 0.0, ..new() }), "`tolerance` must be positive and finite, found 0");
        let gamma = Gamma::Value(-1.0);
        assert_eq!(bad(SvmParams { gamma, ..new() }), "`gamma.value` must be positive and finite, found -1");
        let calibration = Calibration::Stratified { folds: 1, repeats: 1 };
        assert_eq!(
            bad(SvmParams { calibration, ..new() }),
            "`calibration.stratified.folds` must be at least 2, found 1"
        );
        let class_weights = ClassWeights::Values(vec![1.0]);
        assert_eq!(bad(SvmParams { class_weights, ..new() }), "1 class weights for 2 classes; give one for each class");

        let svm = SvmParams::new(0).fit(records.view(), &labels, 2, &alone(6)).unwrap();
        assert_eq!(
            svm.predict(Array2::zeros((1, 3)).view()).unwrap_err().to_string(),
            "records have 3 features, but the classifier was fitted on 2; encode them the same way"
        );
        assert_eq!(svm.predict(broken.view()).unwrap_err().to_string(), not_finite);
    }
}
