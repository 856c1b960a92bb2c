//! How far a case is from those that a network was trained on: the Mahalanobis distance of its features.
//!
//! Paper: Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks* (NeurIPS 2018),
//! eq. 2: the distance to the nearest class mean under a covariance that the classes share. Differences: one layer, the last; no
//! change of the input; the covariance is kept as in probabilistic principal component analysis (Tipping & Bishop 1999), its
//! largest directions and one variance for all others, so that it is small and can be inverted however few cases there are.

use dermafuse_schema::SettingFault;
use dermafuse_schema::ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::EnsembleError;
use crate::error::Result;

/// Where the reference scores are kept: at 0, 1, …, 100 per cent.
const QUANTILES: usize = 101;
/// Rounds of subspace iteration; ten are enough for the distance to stay the same in four digits.
const ROUNDS: usize = 20;
/// Decides where the search for the largest directions starts.
const SEED: u64 = 0x006f_6f64;
/// The least variance of a direction, as a share of the mean one.
const LEAST_VARIANCE: f64 = 1e-6;

/// How [`OutOfDistribution`] is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutOfDistributionSettings {
    /// The training cases that it is fitted to, at most; 0 if it is not fitted.
    pub cases: usize,
    /// The directions that are kept of the covariance, 1 to 256.
    pub components: usize,
    /// The per cent of reference cases from which on a case is called unlike them, 50 to 100.
    pub note_beyond: f64,
}

impl Default for OutOfDistributionSettings {
    fn default() -> Self {
        Self { cases: 2000, components: 16, note_beyond: 99.0 }
    }
}

impl OutOfDistributionSettings {
    /// Those of the training cases at `rows` that it is fitted to: all, or as many as may be, evenly spread.
    #[must_use]
    pub fn fitted_rows(&self, rows: &[usize]) -> Vec<usize> {
        let count = rows.len().min(self.cases);
        (0..count).map(|at| rows[at * rows.len() / count]).collect()
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first that is out of its range.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        let Self { cases, components, note_beyond } = *self;
        SettingFault::unless(cases != 1, "cases", "0, or at least 2", cases)?;
        SettingFault::unless((1..=256).contains(&components), "components", "from 1 to 256", components)?;
        SettingFault::unless((50.0..=100.0).contains(&note_beyond), "note_beyond", "from 50 to 100", note_beyond)
    }
}

/// The features of a network's training cases, in so few numbers that a distance from them can be told.
///
/// ```
/// use dermafuse_ensemble::{OutOfDistribution, OutOfDistributionSettings};
/// use ndarray::Array2;
///
/// // Two classes on a line, with a little noise across it.
/// let features = Array2::from_shape_fn((40, 3), |(case, feature)| {
///     let noise = ((case * 7 + feature * 5) % 11) as f32 / 50.0;
///     if feature == 0 { (case % 2) as f32 * 4.0 + noise } else { noise }
/// });
/// let labels: Vec<Option<usize>> = (0..40).map(|case| Some(case % 2)).collect();
/// let settings = OutOfDistributionSettings::default();
/// let fitted = OutOfDistribution::fit(&settings, features.view(), &labels, None)?;
/// let near = fitted.score(features.row(3));
/// let far = fitted.score(ndarray::aview1(&[2.0, 2.0, -1.0]));
/// assert!(near < 4.0 && far > 50.0, "{near} {far}");
/// assert_eq!(fitted.percentile(far), 100.0);
/// # Ok::<(), dermafuse_ensemble::EnsembleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutOfDistribution {
    /// `[C][D]` the means of the classes that have training cases.
    centres: Vec<Vec<f32>>,
    /// `[K][D]` orthonormal directions, the largest variance first.
    axes: Vec<Vec<f32>>,
    /// `[K]` the variance within classes along each.
    variances: Vec<f64>,
    /// The mean variance in all other directions.
    rest: f64,
    /// The scores of reference cases at 0, 1, …, 100 per cent.
    quantiles: Vec<f64>,
    /// How many reference cases there were.
    references: usize,
    /// Whether these are cases that did not train the network.
    held_out: bool,
    /// The per cent of reference cases from which on a case is called unlike them.
    note_beyond: f64,
}

impl OutOfDistribution {
    /// Fits it to the features of training cases, `[N, D]`, with their classes in one task; cases without a label are left out,
    /// unless fewer than two have one, which makes all of them one class. The reference scores are those of `held_out`, `[M, D]`: of cases that did not train
    /// the network. Without any, they are those of the training cases, which are too small.
    ///
    /// # Errors
    /// Settings out of their range; fewer than two labelled cases; features that are not finite, or not as many.
    pub fn fit<'a>(
        settings: &OutOfDistributionSettings,
        features: ArrayView2<'a, f32>,
        labels: &[Option<usize>],
        held_out: Option<ArrayView2<'a, f32>>,
    ) -> Result<Self> {
        settings.check().map_err(|fault| fault.under("out_of_distribution"))?;
        if labels.len() != features.nrows() {
            let (expected, found) = (features.nrows(), labels.len());
            return Err(EnsembleError::Rows { what: "labels".into(), expected, found });
        }
        let held_out = held_out.filter(|held_out| held_out.nrows() > 0);
        for table in [Some(features), held_out].into_iter().flatten() {
            require_finite(table)?;
            if table.ncols() != features.ncols() {
                return Err(EnsembleError::Width { expected: features.ncols(), found: table.ncols() });
            }
        }
        let classes = labels.iter().flatten().max().map_or(1, |last| last + 1);
        let unlabelled = labels.iter().flatten().count() < 2;
        let class_of = |row: usize| if unlabelled { Some(0) } else { labels[row] };
        let rows: Vec<(usize, usize)> =
            (0..labels.len()).filter_map(|row| class_of(row).map(|class| (row, class))).collect();
        if rows.len() < 2 || features.ncols() == 0 {
            return Err(EnsembleError::TooFewRecords { task: "the table".into(), found: rows.len() });
        }

        let width = features.ncols();
        let (mut sums, mut counts) = (Array2::<f64>::zeros((classes, width)), vec![0_usize; classes]);
        for &(row, class) in &rows {
            counts[class] += 1;
            sums.row_mut(class).zip_mut_with(&features.row(row), |sum, value| *sum += f64::from(*value));
        }
        for (mut sum, count) in sums.rows_mut().into_iter().zip(&counts) {
            sum /= (*count).max(1) as f64;
        }
        let mut within = Array2::<f64>::zeros((rows.len(), width)); // [N, D]
        for (mut to, &(row, class)) in within.rows_mut().into_iter().zip(&rows) {
            to.assign(&features.row(row).mapv(f64::from));
            to -= &sums.row(class);
        }
        let (axes, variances, rest) = largest_directions(&within, settings.components);
        let narrow = |row: ArrayView1<'_, f64>| row.iter().map(|value| *value as f32).collect::<Vec<f32>>();
        let centres = sums.rows().into_iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(row, _)| narrow(row));
        let mut fitted = Self {
            centres: centres.collect(),
            axes: axes.columns().into_iter().map(narrow).collect(),
            variances,
            rest,
            quantiles: vec![0.0; QUANTILES],
            references: 0,
            held_out: held_out.is_some(),
            note_beyond: settings.note_beyond,
        };
        let of_references = held_out.unwrap_or(features);
        let mut scores: Vec<f64> = of_references.rows().into_iter().map(|row| fitted.score(row)).collect();
        scores.sort_by(f64::total_cmp);
        let last = (scores.len() - 1) as f64;
        fitted.references = scores.len();
        fitted.quantiles = (0..QUANTILES).map(|at| scores[(last * at as f64 / 100.0).round() as usize]).collect();
        fitted.check()?;
        Ok(fitted)
    }

    /// Checks that the parts fit together and that all numbers are in their ranges.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<()> {
        let width = self.features();
        let is_finite = |rows: &[Vec<f32>]| rows.iter().flatten().all(|value| value.is_finite());
        let is_positive = |value: &f64| value.is_finite() && *value > 0.0;
        let wrong = [
            (width == 0, "it has no class mean"),
            (self.centres.iter().chain(&self.axes).any(|row| row.len() != width), "its rows differ in length"),
            (self.axes.len() != self.variances.len(), "it has other numbers of directions and variances"),
            (!is_finite(&self.centres) || !is_finite(&self.axes), "a class mean or a direction is not finite"),
            (!self.variances.iter().chain([&self.rest]).all(is_positive), "a variance is not a positive number"),
            (self.quantiles.len() != QUANTILES, "it has not 101 reference scores"),
            (!self.quantiles.iter().all(|score| score.is_finite()), "a reference score is not finite"),
            (!self.quantiles.is_sorted(), "its reference scores are not sorted"),
            (!(50.0..=100.0).contains(&self.note_beyond), "the per cent that it notes are not from 50 to 100"),
        ];
        match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, why)) => Err(EnsembleError::Stored { what: "the out-of-distribution score", why: why.into() }),
            None => Ok(()),
        }
    }

    /// How many features a case has, `D`.
    #[must_use]
    pub fn features(&self) -> usize {
        self.centres.first().map_or(0, Vec::len)
    }

    /// How many reference cases there were, and whether none of them trained the network.
    #[must_use]
    pub fn references(&self) -> (usize, bool) {
        (self.references, self.held_out)
    }

    /// The per cent of reference cases from which on a case is called unlike them.
    #[must_use]
    pub fn note_beyond(&self) -> f64 {
        self.note_beyond
    }

    /// The squared Mahalanobis distance to the nearest class mean, over the number of features: about 1 for cases like those of the
    /// fit. NaN for features that are not finite.
    ///
    /// # Panics
    /// If there are not as many features as [`features`](Self::features) says.
    #[must_use]
    pub fn score(&self, features: ArrayView1<'_, f32>) -> f64 {
        assert_eq!(features.len(), self.features(), "features are those of the same network");
        let distances = self.centres.iter().map(|centre| self.distance(features, centre));
        distances.fold(f64::NAN, f64::min)
    }

    fn distance(&self, features: ArrayView1<'_, f32>, centre: &[f32]) -> f64 {
        let from: Array1<f64> =
            features.iter().zip(centre).map(|(value, mean)| f64::from(*value) - f64::from(*mean)).collect();
        let (mut rest, mut distance) = (sum(from.iter().map(|value| value * value)), 0.0);
        for (axis, variance) in self.axes.iter().zip(&self.variances) {
            let along = sum(from.iter().zip(axis).map(|(value, part)| value * f64::from(*part)));
            distance += along * along / variance;
            rest -= along * along;
        }
        (distance + rest.max(0.0) / self.rest) / self.features() as f64
    }

    /// How many per cent of the reference cases have a score of at most this, between their quantiles in proportion. NaN for NaN.
    #[must_use]
    pub fn percentile(&self, score: f64) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let above = self.quantiles.partition_point(|quantile| *quantile <= score);
        if above == 0 || above == QUANTILES {
            return if above == 0 { 0.0 } else { 100.0 };
        }
        let (low, high) = (self.quantiles[above - 1], self.quantiles[above]);
        (above - 1) as f64 + (score - low) / (high - low)
    }
}

fn require_finite(table: ArrayView2<'_, f32>) -> Result<()> {
    match table.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), value)) => Err(EnsembleError::NotFinite { row, column, value: f64::from(*value) }),
        None => Ok(()),
    }
}

/// A sum in one order.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

/// The directions in which centred rows `[N, D]` vary most, `[D, K]`, with the variance along each, the largest first, and the mean
/// variance in all others. By subspace iteration, then by turning the subspace to its own axes.
fn largest_directions(rows: &Array2<f64>, most: usize) -> (Array2<f64>, Vec<f64>, f64) {
    let (cases, width) = rows.dim();
    let kept = most.min(width).min(cases);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut axes = Array2::from_shape_fn((width, kept), |_| (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5);
    orthonormalize(&mut axes);
    for _ in 0..ROUNDS {
        axes = rows.t().dot(&rows.dot(&axes)); // [D, K]
        orthonormalize(&mut axes);
    }
    let along = rows.dot(&axes); // [N, K]
    let (values, turn) = symmetric_eigen(along.t().dot(&along) / cases as f64);
    let axes = axes.dot(&turn);
    let total = sum(rows.iter().map(|value| value * value)) / cases as f64;
    let least = (LEAST_VARIANCE * total / width as f64).max(f64::MIN_POSITIVE.sqrt());
    let others = (width - kept).max(1) as f64;
    let rest = ((total - sum(values.iter().copied())) / others).max(least);
    (axes, values.into_iter().map(|value| value.max(least)).collect(), rest)
}

/// Makes the columns orthonormal, in order; a column that depends on those before it becomes zero.
fn orthonormalize(columns: &mut Array2<f64>) {
    for at in 0..columns.ncols() {
        let mut column = columns.column(at).to_owned();
        let size = column.dot(&column).sqrt();
        // Twice, for the rounding of the first time.
        for _ in 0..2 {
            for earlier in 0..at {
                let earlier = columns.column(earlier);
                let along = earlier.dot(&column);
                column.scaled_add(-along, &earlier);
            }
        }
        let left = column.dot(&column).sqrt();
        let factor = if left > 1e-10 * size { 1.0 / left } else { 0.0 };
        columns.column_mut(at).assign(&(column * factor));
    }
}

/// Eigenvalues of a symmetric matrix, the largest first, and its eigenvectors as columns, by Jacobi's rotations.
fn symmetric_eigen(mut matrix: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let size = matrix.nrows();
    let mut vectors = Array2::<f64>::eye(size);
    for _ in 0..60 {
        let mut changed = false;
        for p in 0..size {
            for q in p + 1..size {
                let off = matrix[[p, q]];
                if off.abs() <= 1e-15 * (matrix[[p, p]].abs() * matrix[[q, q]].abs()).sqrt() + f64::MIN_POSITIVE {
                    continue;
                }
                changed = true;
                let theta = (matrix[[q, q]] - matrix[[p, p]]) / (2.0 * off);
                let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for k in 0..size {
                    let (one, other) = (matrix[[k, p]], matrix[[k, q]]);
                    matrix[[k, p]] = cosine * one - sine * other;
                    matrix[[k, q]] = sine * one + cosine * other;
                }
                for k in 0..size {
                    let (one, other) = (matrix[[p, k]], matrix[[q, k]]);
                    matrix[[p, k]] = cosine * one - sine * other;
                    matrix[[q, k]] = sine * one + cosine * other;
                    let (one, other) = (vectors[[k, p]], vectors[[k, q]]);
                    vectors[[k, p]] = cosine * one - sine * other;
                    vectors[[k, q]] = sine * one + cosine * other;
                }
            }
        }
        if !changed {
            break;
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&one, &other| matrix[[other, other]].total_cmp(&matrix[[one, one]]));
    (order.iter().map(|&at| matrix[[at, at]]).collect(), vectors.select(Axis(1), &order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{array, aview1};

    /// Cases on an ellipse around two class means, and of them how many.
    fn cases(count: usize) -> (Array2<f32>, Vec<Option<usize>>) {
        let features = Array2::from_shape_fn((count, 3), |(case, feature)| {
            let angle = (case / 2) as f32 * 2.399_963;
            let centre = if feature == 0 { (case % 2) as f32 * 20.0 } else { 0.0 };
            centre + [2.0 * angle.cos(), 0.5 * angle.sin(), 0.1 * (2.0 * angle).sin()][feature]
        });
        (features, (0..count).map(|case| Some(case % 2)).collect())
    }

    fn fitted(components: usize) -> OutOfDistribution {
        let (features, labels) = cases(400);
        let settings = OutOfDistributionSettings { components, ..Default::default() };
        OutOfDistribution::fit(&settings, features.view(), &labels, None).unwrap()
    }

    #[test]
    fn all_directions_give_the_distance_of_mahalanobis() {
        let fitted = fitted(3);
        // Variances along the axes: 2, 1/8 and 1/200.
        let expected = [2.0, 0.125, 0.005];
        assert!(fitted.variances.iter().zip(expected).all(|(found, wanted)| (found / wanted - 1.0).abs() < 0.02));
        let score = fitted.score(aview1(&[22.0, 0.5, 0.1]));
        assert!((score / ((4.0 / 2.0 + 0.25 / 0.125 + 0.01 / 0.005) / 3.0) - 1.0).abs() < 0.05, "{score}");
        // Half way between the classes no case lies.
        assert_eq!(fitted.percentile(fitted.score(aview1(&[10.0, 0.0, 0.0]))), 100.0);
    }

    #[test]
    fn directions_that_are_not_kept_count_by_their_mean_variance() {
        let fitted = fitted(1);
        assert!((fitted.rest / 0.065 - 1.0).abs() < 0.02, "{}", fitted.rest);
        let score = fitted.score(aview1(&[0.0, 0.5, 0.0]));
        assert!((score / (0.25 / 0.065 / 3.0) - 1.0).abs() < 0.05, "{score}");
    }

    #[test]
    fn percentiles_are_of_the_reference_cases() {
        let (features, labels) = cases(400);
        let held_out = array![[0.0_f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 2.0, 0.0]];
        let settings = OutOfDistributionSettings::default();
        let fitted = OutOfDistribution::fit(&settings, features.view(), &labels, Some(held_out.view())).unwrap();
        assert_eq!(fitted.references(), (3, true));
        // Of three, the least is the quantile from 0 to 24 per cent.
        assert_eq!(fitted.percentile(fitted.score(held_out.row(0))), 24.0);
        assert_eq!(fitted.percentile(f64::MAX), 100.0);
        assert_eq!(fitted.percentile(-1.0), 0.0);
        assert!(fitted.percentile(f64::NAN).is_nan());
    }

    #[test]
    fn what_is_stored_is_read_and_checked() {
        let fitted = fitted(2);
        let text = serde_json::to_string(&fitted).unwrap();
        let read: OutOfDistribution = serde_json::from_str(&text).unwrap();
        assert_eq!(read, fitted);
        read.check().unwrap();
        type Change = fn(&mut OutOfDistribution);
        let changes: [(&str, Change); 5] = [
            ("its rows differ in length", |it| it.axes[0].truncate(1)),
            ("a variance is not a positive number", |it| it.rest = f64::NAN),
            ("a class mean or a direction is not finite", |it| it.centres[0][0] = f32::INFINITY),
            ("its reference scores are not sorted", |it| it.quantiles.reverse()),
            ("the per cent that it notes are not from 50 to 100", |it| it.note_beyond = f64::NAN),
        ];
        for (why, change) in changes {
            let mut changed = fitted.clone();
            change(&mut changed);
            let text = changed.check().unwrap_err().to_string();
            assert_eq!(text, format!("the out-of-distribution score is inconsistent: {why}; fit it again"));
        }
    }

    #[test]
    fn features_and_settings_that_cannot_be_fitted_are_refused() {
        let (mut features, labels) = cases(10);
        let settings = OutOfDistributionSettings::default();
        let error = |settings: &OutOfDistributionSettings, features: &Array2<f32>, labels: &[Option<usize>]| {
            OutOfDistribution::fit(settings, features.view(), labels, None).unwrap_err().to_string()
        };
        let none = OutOfDistributionSettings { components: 0, ..settings };
        assert_eq!(error(&none, &features, &labels), "`out_of_distribution.components` must be from 1 to 256, found 0");
        let one = OutOfDistributionSettings { cases: 1, ..settings };
        assert_eq!(error(&one, &features, &labels), "`out_of_distribution.cases` must be 0, or at least 2, found 1");
        let nan = OutOfDistributionSettings { note_beyond: f64::NAN, ..settings };
        assert_eq!(
            error(&nan, &features, &labels),
            "`out_of_distribution.note_beyond` must be from 50 to 100, found NaN"
        );
        assert!(error(&settings, &features, &labels[1..]).starts_with("labels: 9 rows"));
        features[[2, 1]] = f32::NAN;
        assert!(error(&settings, &features, &labels).starts_with("record 2, column 1 is NaN"));
    }

    #[test]
    fn cases_are_spread_evenly() {
        let some = |cases| OutOfDistributionSettings { cases, ..Default::default() }.fitted_rows(&[4, 5, 6, 7, 8, 9]);
        assert_eq!(some(3), [4, 6, 8]);
        assert_eq!(some(9), [4, 5, 6, 7, 8, 9]);
        assert!(some(0).is_empty());
    }

    #[test]
    fn features_that_never_vary_are_no_reason_to_fail() {
        let features = Array2::<f32>::ones((5, 4));
        let fitted = OutOfDistribution::fit(&Default::default(), features.view(), &[None; 5], None).unwrap();
        assert_eq!(fitted.score(features.row(0)), 0.0);
        assert_eq!(fitted.percentile(fitted.score(aview1(&[1.0, 1.0, 1.0, 2.0]))), 100.0);
    }
}
