//! Fusion Scheme 1: the branch weights that make the fused prediction most accurate.
//!
//! Thesis §6.2.3, Alg. 1 and Eq. 6.5. Differences: besides the paper's grid there is a search for the optimum over all
//! weights, and weights can be averaged over samples of the cases, as 203 cases are few to choose from 125,000 weights.

mod arrangement;
mod combinations;
mod exact;
mod grid;
mod refined;
mod resampling;
mod target;
mod targets;

use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace, Interval, SettingFault};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::arrangement::weights_at;
use self::combinations::Combinations;
pub(crate) use self::combinations::linspace;
use self::exact::{Cell, Exact};
use self::refined::Refined;
use self::resampling::{HitValue, Sample};
use crate::error::{EnsembleError, Result};
use crate::objective::{Objective, Scorer};

/// Hits that are counted at once on a grid: combinations by tasks by samples. More samples are scored in turns.
const MOST_COUNTS: usize = 1 << 26;

/// Where the unnormalised candidate weights of each branch come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidates {
    /// Equally spaced from 0.05 to 1, both included.
    #[default]
    Linear,
    /// `0.5 · (1 + cos(πk/n))` for `k = 0..n`: from 1 down towards 0.
    Cosine,
}

/// How the loops over the candidates treat their variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightSearchVariant {
    /// Every combination, normalised to sum to 1.
    #[default]
    Clean,
    /// The code as released in August 2021, by which the published numbers came about: normalising overwrites the loop
    /// variables, so outer weights drift until their own loop advances. Visits every combination but only some 15,000
    /// weights that differ in four decimals. Its loops run dermoscopic, fusion, clinical.
    #[serde(rename = "released_2021_08")]
    Released2021August,
    /// The code at the head of the repository: as [`Released2021August`](Self::Released2021August), and combinations
    /// whose (drifted) sum exceeds 1 are skipped, which leaves 123 of 125,000 for 50 steps.
    ReleasedHead,
}

/// Which weights are compared, and which of equally good ones is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightSearchMethod {
    /// All combinations of the candidates; the first of equals in loop order. The paper's search.
    #[default]
    Grid,
    /// All weights there are, where fused scores are linear in them: averages of probabilities, or of the logits of a single
    /// view. For up to three branches.
    ///
    /// The score is then the same throughout each cell of an arrangement of lines over the triangle of weights. Of the best
    /// cells, the one with the largest inscribed circle is taken, and its centre returned.
    ///
    /// On a line two classes tie, and the first is predicted, as everywhere. Weights on a line are returned only if they score
    /// higher than all cells, which takes ties of several cases at the same place; their margin is 0. Cells narrower than
    /// some 1e-9 count as lines. Where ties might matter that rounding decides, the grid is searched too, so that the score is
    /// never below that of the grid. A case that lacks a branch is compared by the others, as everywhere.
    ///
    Exact,
    /// The grid, then the surroundings of its best points: there, the exact search is applied to the tangents of the
    /// probabilities, again and again. For any space and views, and up to three branches. Not proved optimal, but never
    /// below the grid; of equals the one with the largest margin is taken.
    Refined,
}

/// Whether the weights are found on the cases as they are, or found on several samples of them and averaged.
///
/// Averages depend less on single cases. Averaging the *score* over samples instead would change nothing: the score is a
/// mean over cases, and its average over samples is that of the cases they were drawn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smoothing {
    /// All cases at once.
    #[default]
    None,
    /// The average of the weights found on bootstrap samples. Groups are drawn with replacement, as many as there are, and
    /// bring all their cases.
    Bootstrap {
        /// Number of samples; a sample without any label is left out.
        resamples: usize,
        /// Seed of the draws.
        seed: u64,
    },
    /// The average of the weights found without one fold at a time. Groups are kept together.
    Folds {
        /// Number of folds, at least 2.
        folds: usize,
        /// Seed of the folds.
        seed: u64,
    },
}

/// Search for the branch weights with the highest mean accuracy over the tasks, or with the best of another
/// [objective](WeightSearch::objective).
///
/// Accuracies are compared as fractions, by the hits of each task: weights that get different cases right tie when their mean
/// accuracy is the same, though it may be rounded differently.
///
/// ```
/// # use dermafuse_ensemble::{WeightSearch, WeightSearchMethod};
/// # use dermafuse_schema::{Branch, BranchLogits, Cohort, Task, TaskSet, ndarray::{Array2, array}};
/// # let cohort = Cohort {
/// #     ids: vec!["1".into(), "2".into()],
/// #     groups: vec!["1".into(), "2".into()],
/// #     labels: vec![vec![Some(0)], vec![Some(1)]],
/// #     metadata: Array2::zeros((2, 0)),
/// #     has_metadata: vec![false; 2],
/// # };
/// let branch = |name: &str, logits| Branch { name: name.into(), available: vec![true; 2], logits: vec![logits] };
/// let logits = BranchLogits {
///     tasks: TaskSet::new(vec![Task::new("streaks", "STR", ["absent", "present"])])?,
///     cohort,
///     branches: vec![
///         branch("clinical", array![[[3.0, 0.0], [2.0, 0.0]]]), // right about the first case only
///         branch("dermoscopic", array![[[0.0, 1.0], [0.0, 4.0]]]), // right about the second only
///     ],
///     looks: vec![],
/// };
/// let found = WeightSearch::default().fit(&logits)?;
/// assert_eq!((found.score, found.evaluated), (1.0, 2500));
/// assert_eq!(logits.fuse(&found.weights, found.space)?.mean_accuracy(), Some(1.0));
///
/// // The best weights of all: anything between 1/4 and 2/3 on the clinical branch.
/// let exact = WeightSearch { method: WeightSearchMethod::Exact, ..WeightSearch::default() }.fit(&logits)?;
/// assert!((exact.weights.values()[0] - (1.0 / 4.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
/// assert_eq!((exact.score, exact.ties), (1.0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightSearch {
    /// Which weights are compared.
    #[serde(default)]
    pub method: WeightSearchMethod,
    /// Whether weights are averaged over samples of the cases.
    #[serde(default)]
    pub smoothing: Smoothing,
    /// Candidates for each branch, on the grid.
    pub steps: usize,
    /// How the candidates are spaced.
    pub candidates: Candidates,
    /// Clean, or one of the released programs with its mistakes.
    pub variant: WeightSearchVariant,
    /// Whether logits or probabilities are averaged.
    pub space: FuseSpace,
    /// Branch names from the outermost loop to the innermost. `None`: the released order where the branches are named
    /// `dermoscopic`, `clinical` and `fusion`, else the network's order.
    pub loop_order: Option<Vec<String>>,
    /// What is made as good as possible. The exact and the refined search are of accuracies and balanced accuracies; for the others, every
    /// combination of the grid is scored by itself, for which some 20 steps are enough.
    #[serde(default, skip_serializing_if = "Objective::is_default")]
    pub objective: Objective,
}

impl Default for WeightSearch {
    fn default() -> Self {
        Self {
            method: WeightSearchMethod::default(),
            smoothing: Smoothing::default(),
            steps: 50,
            candidates: Candidates::default(),
            variant: WeightSearchVariant::default(),
            space: FuseSpace::default(),
            loop_order: None,
            objective: Objective::default(),
        }
    }
}

impl WeightSearch {
    /// Checks what can be told without cases; [`fit`](Self::fit) looks at the rest.
    ///
    /// # Errors
    /// No steps; samples or folds of which there cannot be so many.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        SettingFault::unless(self.steps > 0, "steps", "at least 1", self.steps)?;
        match self.smoothing {
            Smoothing::None => Ok(()),
            Smoothing::Bootstrap { resamples, .. } => {
                let is_possible = (1..=resampling::MOST_RESAMPLES).contains(&resamples);
                SettingFault::unless(is_possible, "smoothing.bootstrap.resamples", "from 1 to 100000", resamples)
            }
            Smoothing::Folds { folds, .. } => {
                SettingFault::unless(folds >= 2, "smoothing.folds.folds", "at least 2", folds)
            }
        }
    }
}

/// What [`WeightSearch`] found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightSearchResult {
    /// The weights, by branch.
    pub weights: BranchWeights,
    /// The space in which they are to be used.
    pub space: FuseSpace,
    /// Mean over the tasks of the objective on labelled cases; of the accuracy, unless another was chosen.
    pub score: f64,
    /// How many combinations were scored (by the exact search: pieces of the triangle), over all samples.
    pub evaluated: usize,
    /// How many combinations (cells, neighbourhoods) reach the score: a plateau says that the weights matter little. 1 for an
    /// average.
    pub ties: usize,
    /// How far the weights may move in any direction, as Euclidean distance, before the score drops or a weight becomes
    /// negative: exact for the exact search, to first order for the refined one, unknown for the grid and for averages.
    #[serde(default)]
    pub margin: Option<f64>,
    /// All cells with the best score, largest margin first, from the exact search without smoothing.
    #[serde(default)]
    pub cells: Vec<WeightCell>,
    /// For each branch 95 % of the weights that were found on the bootstrap samples (2.5th to 97.5th percentile), where weights are
    /// [smoothed](Smoothing::Bootstrap) over some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
}

/// A convex set of weights that all get the same cases right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightCell {
    /// The centre of the largest circle inside.
    pub centre: Vec<f64>,
    /// Its radius: how far these weights may move in any direction, as Euclidean distance.
    pub margin: f64,
    /// The corners of the cell in order, each with one weight for each branch.
    pub corners: Vec<Vec<f64>>,
}

/// What was found on one sample.
struct Found {
    /// One for each branch; they need not sum to 1.
    weights: Vec<f64>,
    margin: Option<f64>,
    evaluated: usize,
    ties: usize,
    cells: Vec<Cell>,
}

impl WeightSearch {
    /// Finds the best weights for the labelled cases.
    ///
    /// # Errors
    /// Inconsistent logits, no branch, no label at all, no candidate, a loop order that is not a permutation of the
    /// branches, more combinations than fit in memory; for the exact and the refined search more than three branches or an objective
    /// that is no accuracy, for the exact search logits of several views; costs that do not fit the tasks; no resamples, fewer than two folds or more than groups.
    pub fn fit(&self, logits: &BranchLogits) -> Result<WeightSearchResult> {
        logits.check()?;
        let scorer = Scorer::new(&self.objective, &logits.tasks)?;
        let value = match self.objective {
            Objective::Accuracy => Some(HitValue::OfTask),
            Objective::BalancedAccuracy => Some(HitValue::OfClass),
            _ => None,
        };
        let samples = self.smoothing.samples(&logits.cohort)?;
        let first_of_grid = |_: &Sample, combinations: &Combinations, scores: &[u128]| {
            let (best, ties) = first_best(scores);
            let (weights, evaluated) = (combinations.row(best).collect(), scores.len());
            Found { weights, margin: None, evaluated, ties, cells: Vec::new() }
        };
        let mut found = match (self.method, value) {
            (WeightSearchMethod::Grid, Some(value)) => self.on_grid(logits, value, &samples, first_of_grid)?,
            (WeightSearchMethod::Grid, None) => self.one_by_one(logits, &scorer, &samples)?,
            (WeightSearchMethod::Exact, Some(value)) => {
                let exact = Exact::new(logits, self.space, value)?;
                let best_of_grid = |sample: &Sample| {
                    let best = |_: &Sample, combinations: &Combinations, scores: &[u128]| -> Vec<f64> {
                        combinations.row(first_best(scores).0).collect()
                    };
                    Ok(self.on_grid(logits, value, std::slice::from_ref(sample), best)?.remove(0))
                };
                samples
                    .par_iter()
                    .map(|sample| exact.best(sample, || best_of_grid(sample)))
                    .collect::<Result<Vec<Found>>>()?
            }
            (WeightSearchMethod::Refined, Some(value)) => {
                let refined = Refined::new(logits, self.space, value)?;
                self.on_grid(logits, value, &samples, |sample, combinations, scores| {
                    refined.best(sample, combinations, scores)
                })?
            }
            (WeightSearchMethod::Exact | WeightSearchMethod::Refined, None) => {
                return Err(EnsembleError::GridAlone { objective: self.objective.name() });
            }
        };
        let intervals = match self.smoothing {
            Smoothing::Bootstrap { .. } => intervals(&found),
            Smoothing::None | Smoothing::Folds { .. } => Vec::new(),
        };
        let Found { weights, margin, evaluated, ties, cells } =
            if let Smoothing::None = self.smoothing { found.remove(0) } else { average(&found) };
        let names = logits.branches.iter().map(|branch| branch.name.clone());
        let weights = BranchWeights::new(names.zip(weights))?;
        let width = logits.branches.len();
        let cells = cells.into_iter().map(|cell| WeightCell {
            centre: weights_at(width, cell.centre),
            margin: cell.margin,
            corners: cell.corners.into_iter().map(|corner| weights_at(width, corner)).collect(),
        });
        Ok(WeightSearchResult {
            score: scorer.score(&logits.fuse(&weights, self.space)?, None).ok_or(EnsembleError::NoLabels)?,
            weights,
            space: self.space,
            evaluated,
            ties,
            margin,
            cells: cells.collect(),
            intervals,
        })
    }

    /// What `choose` makes of the scores of the whole grid on each sample.
    fn on_grid<T>(
        &self,
        logits: &BranchLogits,
        value: HitValue,
        samples: &[Sample],
        choose: impl Fn(&Sample, &Combinations, &[u128]) -> T,
    ) -> Result<Vec<T>> {
        let combinations = Combinations::of(self, logits)?;
        let strata = value.strata(&logits.tasks.class_counts()).len();
        let at_once = (MOST_COUNTS / combinations.len().max(1) / strata).max(1);
        let mut chosen = Vec::with_capacity(samples.len());
        for samples in samples.chunks(at_once) {
            let scores = grid::scores(logits, &combinations, self.space, value, samples)?;
            chosen.extend(samples.iter().zip(&scores).map(|(sample, scores)| choose(sample, &combinations, scores)));
        }
        Ok(chosen)
    }

    /// The best combination of the grid for each sample by an objective that is no count of hits: each is fused once and scored on all
    /// samples.
    fn one_by_one(&self, logits: &BranchLogits, scorer: &Scorer<'_>, samples: &[Sample]) -> Result<Vec<Found>> {
        let combinations = Combinations::of(self, logits)?;
        if combinations.len() == 0 {
            return Err(EnsembleError::NoLabels);
        }
        let scores_of = |index: usize| -> Result<Vec<Option<f64>>> {
            let names = logits.branches.iter().map(|branch| branch.name.clone());
            let fused = logits.fuse(&BranchWeights::new(names.zip(combinations.row(index)))?, self.space)?;
            Ok(samples.iter().map(|sample| scorer.score(&fused, Some(&sample.counts))).collect())
        };
        let scores = (0..combinations.len()).into_par_iter().map(scores_of).collect::<Result<Vec<_>>>()?;
        let of_sample = |sample: usize| {
            let mut best: Option<(usize, f64, usize)> = None;
            for (index, scores) in scores.iter().enumerate() {
                let Some(score) = scores[sample] else { continue };
                best = Some(match best {
                    Some((at, highest, ties)) if score == highest => (at, highest, ties + 1),
                    Some(best) if score < best.1 => best,
                    _ => (index, score, 1),
                });
            }
            let (at, _, ties) = best.ok_or(EnsembleError::NoLabels)?;
            let (weights, evaluated) = (combinations.row(at).collect(), combinations.len());
            Ok(Found { weights, margin: None, evaluated, ties, cells: Vec::new() })
        };
        (0..samples.len()).map(of_sample).collect()
    }
}

/// For each branch 95 % of the weights of the samples.
fn intervals(found: &[Found]) -> Vec<Interval> {
    let branches = found.first().map_or(0, |found| found.weights.len());
    let share = |found: &Found, branch: usize| found.weights[branch] / found.weights.iter().sum::<f64>();
    (0..branches).filter_map(|branch| interval(found.iter().map(|found| share(found, branch)).collect())).collect()
}

/// 2.5th and 97.5th percentile with linear interpolation; `None` of nothing.
pub(crate) fn interval(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let percentile = |fraction: f64| {
        let position = fraction * last as f64;
        let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
        below + (above - below) * position.fract()
    };
    Some(Interval { lower: percentile(0.025), upper: percentile(0.975) })
}

/// The first of the highest scores, and how many are as high.
fn first_best(scores: &[u128]) -> (usize, usize) {
    let (mut best, mut ties) = (0, 0);
    for (index, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            (best, ties) = (index, 1);
        } else {
            ties += usize::from(score == scores[best]);
        }
    }
    (best, ties)
}

/// The average of weights that were found on different samples.
fn average(found: &[Found]) -> Found {
    let mut weights = vec![0.0; found.first().map_or(0, |found| found.weights.len())];
    for found in found {
        let sum: f64 = found.weights.iter().sum();
        weights.iter_mut().zip(&found.weights).for_each(|(total, weight)| *total += weight / sum);
    }
    let evaluated = found.iter().map(|found| found.evaluated).sum();
    Found { weights, margin: None, evaluated, ties: 1, cells: Vec::new() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::MixSearch;
    use dermafuse_schema::{Branch, Cohort, Predictions, Task, TaskSet};
    use ndarray::{Array2, Array3, Axis};
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Random logits, quantised so that ties occur; `missing` of 8 branches and labels are absent.
    pub(crate) fn problem(
        names: &[&str],
        classes: &[usize],
        cases: usize,
        views: usize,
        seed: u64,
        missing: u64,
    ) -> BranchLogits {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |bound: u64| rng.next_u64() % bound;
        let tasks = classes
            .iter()
            .enumerate()
            .map(|(task, &count)| Task::new(format!("t{task}"), "T", (0..count).map(|class| format!("c{class}"))));
        let tasks = TaskSet::new(tasks.collect()).unwrap();
        let labels = (0..cases).map(|_| {
            classes.iter().map(|&count| (below(8) >= missing).then(|| below(count as u64) as usize)).collect()
        });
        let cohort = Cohort {
            labels: labels.collect(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            groups: (0..cases).map(|case| case.to_string()).collect(),
            metadata: Array2::zeros((cases, 0)),
            has_metadata: vec![false; cases],
        };
        let branches = names.iter().enumerate().map(|(index, name)| Branch {
            name: (*name).into(),
            available: (0..cases).map(|case| case % names.len() == index || below(8) >= missing).collect(),
            logits: classes
                .iter()
                .map(|&count| Array3::from_shape_simple_fn((views, cases, count), || (below(17) as f32 - 8.0) / 4.0))
                .collect(),
        });
        BranchLogits { branches: branches.collect(), tasks, cohort, looks: vec![] }
    }

    fn of_grid(logits: &BranchLogits, combinations: &Combinations, space: FuseSpace) -> Vec<u128> {
        grid::scores(logits, combinations, space, HitValue::OfTask, &Smoothing::None.samples(&logits.cohort).unwrap())
            .unwrap()
            .remove(0)
    }

    /// The mean accuracy as a multiple of a fraction that is the same for all weights.
    fn exact_score(predictions: &Predictions) -> u128 {
        let counts: Vec<(usize, usize)> = (0..predictions.tasks.len()).map(|task| predictions.hits(task)).collect();
        let totals: Vec<usize> = counts.iter().map(|(_, annotated)| *annotated).collect();
        counts.iter().zip(crate::shares::shares(&totals)).map(|((hits, _), share)| *hits as u128 * share).sum()
    }

    fn reference(search: &WeightSearch, logits: &BranchLogits) -> (Vec<u128>, WeightSearchResult) {
        let combinations = Combinations::of(search, logits).unwrap();
        let weights = |index| {
            let names = logits.branches.iter().map(|branch| branch.name.clone());
            BranchWeights::new(names.zip(combinations.row(index))).unwrap()
        };
        let scores: Vec<u128> = (0..combinations.len())
            .map(|index| exact_score(&logits.fuse(&weights(index), search.space).unwrap()))
            .collect();
        let mut best = 0;
        for index in 0..scores.len() {
            if scores[index] > scores[best] {
                best = index;
            }
        }
        let result = WeightSearchResult {
            weights: weights(best),
            space: search.space,
            score: logits.fuse(&weights(best), search.space).unwrap().mean_accuracy().unwrap(),
            evaluated: scores.len(),
            ties: scores.iter().filter(|score| **score == scores[best]).count(),
            margin: None,
            cells: Vec::new(),
            intervals: Vec::new(),
        };
        (scores, result)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_score_is_that_of_the_plain_search(
            (seed, missing, branches, views, steps) in (any::<u64>(), 0_u64..5, 1_usize..=4, 1_usize..=3, 1_usize..=6),
            space in prop_oneof![Just(FuseSpace::Logits), Just(FuseSpace::Probabilities)],
            candidates in prop_oneof![Just(Candidates::Linear), Just(Candidates::Cosine)],
            variant in prop_oneof![
                3 => Just(WeightSearchVariant::Clean),
                1 => Just(WeightSearchVariant::Released2021August),
                1 => Just(WeightSearchVariant::ReleasedHead),
            ],
        ) {
            let names = &["clinical", "dermoscopic", "fusion", "metadata"][..branches];
            let logits = problem(names, &[5, 2, 3], 12, views, seed, missing);
            let labelled = logits.cohort.labels.iter().flatten().any(Option::is_some);
            let search = WeightSearch { steps: steps + 1, candidates, variant, space, ..WeightSearch::default() };
            let combinations = Combinations::of(&search, &logits).unwrap();
            prop_assume!(labelled && combinations.len() > 0);
            let (expected, result) = reference(&search, &logits);
            prop_assert_eq!(of_grid(&logits, &combinations, space), expected);
            prop_assert_eq!(search.fit(&logits).unwrap(), result);
        }
    }

    #[test]
    fn a_fine_grid_is_exact_too() {
        let mut logits = problem(&["dermoscopic", "clinical", "fusion"], &[5, 3, 2], 10, 3, 7, 1);
        // rows that tie for every weight
        for branch in &mut logits.branches {
            branch.logits[0].index_axis_mut(Axis(1), 0).fill(1.0);
            branch.logits[1].index_axis_mut(Axis(1), 1).columns_mut().into_iter().take(2).for_each(|mut z| z.fill(2.0));
        }
        for space in [FuseSpace::Logits, FuseSpace::Probabilities] {
            let search = WeightSearch { steps: 16, space, ..WeightSearch::default() };
            let (expected, result) = reference(&search, &logits);
            let combinations = Combinations::of(&search, &logits).unwrap();
            assert_eq!(of_grid(&logits, &combinations, space), expected);
            assert_eq!(search.fit(&logits).unwrap(), result);
        }
    }

    fn triples(variant: WeightSearchVariant, steps: usize) -> Vec<[f64; 3]> {
        // branches in loop order of the released code after November 2021
        let logits = problem(&["dermoscopic", "clinical", "fusion"], &[2], 1, 1, 0, 0);
        let search = WeightSearch { steps, variant, ..WeightSearch::default() };
        let combinations = Combinations::of(&search, &logits).unwrap();
        (0..combinations.len())
            .map(|index| {
                let row: Vec<f64> = combinations.row(index).collect();
                let sum: f64 = row.iter().sum();
                [row[0] / sum, row[1] / sum, row[2] / sum]
            })
            .collect()
    }

    fn distinct(triples: &[[f64; 3]], decimals: i32) -> usize {
        let scale = 10.0_f64.powi(decimals);
        let mut rounded: Vec<[i64; 3]> = triples.iter().map(|row| row.map(|w| (w * scale).round() as i64)).collect();
        rounded.sort_unstable();
        rounded.dedup();
        rounded.len()
    }

    fn close(found: [f64; 3], expected: [f64; 3]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-5), "{found:?} is not {expected:?}");
    }

    #[test]
    fn the_clean_grid_visits_what_it_should() {
        let triples = triples(WeightSearchVariant::Clean, 50);
        assert_eq!((triples.len(), distinct(&triples, 12)), (125_000, 124_915));
        let all = triples.iter().flatten();
        let (low, high) = all.fold((1.0_f64, 0.0_f64), |(low, high), w| (low.min(*w), high.max(*w)));
        assert!((low - 0.0244).abs() < 5e-5 && (high - 0.9091).abs() < 5e-5, "{low} {high}");
    }

    #[test]
    fn the_released_searches_drift_as_described() {
        let august = triples(WeightSearchVariant::Released2021August, 50);
        assert_eq!(august.len(), 125_000);
        // loops dermoscopic, fusion, clinical: the innermost weight is the second column here
        close(august[0], [1.0 / 3.0; 3]);
        close(august[1], [0.4529, 0.0943, 0.4529]);
        let to_four = distinct(&august, 4);
        assert!((14_500..15_500).contains(&to_four), "{to_four}");
        let outermost_vanishes = august.iter().filter(|row| row[0] < 0.01).count() as f64 / 125_000.0;
        assert!((outermost_vanishes - 0.84).abs() < 0.005, "{outermost_vanishes}");

        for (steps, visited) in [(25, 50), (50, 123), (100, 295)] {
            assert_eq!(triples(WeightSearchVariant::ReleasedHead, steps).len(), visited, "{steps} steps");
        }
        let head = triples(WeightSearchVariant::ReleasedHead, 50);
        close(head[0], [1.0 / 3.0; 3]);
        close(head[1], [0.4529, 0.4529, 0.0943]);
    }

    #[test]
    fn the_first_maximum_in_loop_order_wins() {
        // dermoscopic decides alone, so any weights do and the first visited are kept
        let mut logits = problem(&["clinical", "dermoscopic"], &[2], 3, 1, 1, 0);
        let dermoscopic = &mut logits.branches[1].logits[0];
        for (case, labels) in logits.cohort.labels.iter().enumerate() {
            dermoscopic.index_axis_mut(Axis(1), case).fill(0.0);
            dermoscopic[[0, case, labels[0].unwrap()]] = 1000.0;
        }
        let search = WeightSearch { steps: 3, ..WeightSearch::default() };
        let found = search.fit(&logits).unwrap();
        assert_eq!((found.weights.values(), found.ties, found.evaluated), (&[0.5, 0.5][..], 9, 9));
    }

    #[test]
    fn scores_that_differ_by_rounding_only_are_ties() {
        // (0.1 + 0.2) + 0.3 is more than (0.3 + 0.2) + 0.1 in floating point
        let hits = [[1, 2, 3], [3, 2, 1]];
        let mut logits = problem(&["a", "b"], &[2; 3], 10, 1, 0, 0);
        logits.cohort.labels = vec![vec![Some(1); 3]; 10];
        for (branch, hits) in logits.branches.iter_mut().zip(hits) {
            for (z, hits) in branch.logits.iter_mut().zip(hits) {
                z.indexed_iter_mut().for_each(|((_, case, class), z)| {
                    *z = if (class == 1) == (case < hits) { 4.0 } else { 0.0 };
                });
            }
        }
        let of = |branch: &str| logits.branch(branch).unwrap();
        assert!(of("a").mean_accuracy() > of("b").mean_accuracy());
        // the loops visit (1, 1), (1, 20), (20, 1) and (1, 1) again
        for space in [FuseSpace::Logits, FuseSpace::Probabilities] {
            let found = WeightSearch { steps: 2, space, ..WeightSearch::default() }.fit(&logits).unwrap();
            assert!(found.weights.values()[1] > 0.9, "{found:?}");
            assert_eq!((found.ties, Some(found.score)), (2, of("b").mean_accuracy()));
        }
        let mix = MixSearch { steps: 2, ..MixSearch::default() }.fit(&of("a"), &of("b")).unwrap();
        assert_eq!((mix.weight, mix.ties), (0.0, 2));
    }

    #[test]
    fn smoothing_averages_what_is_found_on_each_sample() {
        let mut logits = problem(&["clinical", "dermoscopic", "fusion"], &[3, 2], 24, 2, 11, 1);
        logits.cohort.groups = (0..24).map(|case| format!("patient {}", case / 2)).collect();
        for smoothing in [Smoothing::Bootstrap { resamples: 7, seed: 5 }, Smoothing::Folds { folds: 4, seed: 5 }] {
            for method in [WeightSearchMethod::Grid, WeightSearchMethod::Exact, WeightSearchMethod::Refined] {
                let space = FuseSpace::Probabilities;
                let search = WeightSearch { method, space, steps: 6, ..WeightSearch::default() };
                let mut expected = [0.0; 3];
                let samples = smoothing.samples(&logits.cohort).unwrap();
                for sample in &samples {
                    let drawn = sample.counts.iter().enumerate();
                    let rows: Vec<usize> = drawn.flat_map(|(case, &count)| vec![case; count as usize]).collect();
                    let found = search.fit(&logits.select(&rows)).unwrap();
                    let share = samples.len() as f64;
                    expected.iter_mut().zip(found.weights.values()).for_each(|(sum, w)| *sum += w / share);
                }
                let found = WeightSearch { smoothing, ..search }.fit(&logits).unwrap();
                close(found.weights.values().try_into().unwrap(), expected);
                assert_eq!(Some(found.score), logits.fuse(&found.weights, space).unwrap().mean_accuracy());
                assert_eq!((found.ties, found.margin, found.cells), (1, None, vec![]));
            }
        }
    }

    #[test]
    fn other_objectives_find_the_best_of_the_grid() {
        let mut logits = problem(&["clinical", "dermoscopic", "fusion"], &[3, 2], 40, 1, 5, 1);
        logits.cohort.groups = (0..40).map(|case| format!("patient {}", case / 2)).collect();
        let all = [Objective::BalancedAccuracy, Objective::MacroF1, Objective::LogLoss, Objective::PartialAuc];
        for (objective, space) in all.into_iter().zip([FuseSpace::Probabilities, FuseSpace::Logits].into_iter().cycle())
        {
            let search = WeightSearch { steps: 5, space, objective, ..WeightSearch::default() };
            let combinations = Combinations::of(&search, &logits).unwrap();
            let scores = (0..combinations.len()).map(|index| {
                let names = logits.branches.iter().map(|branch| branch.name.clone());
                let weights = BranchWeights::new(names.zip(combinations.row(index))).unwrap();
                search.objective.score(&logits.fuse(&weights, space).unwrap()).unwrap().unwrap()
            });
            let best = scores.fold(f64::NEG_INFINITY, f64::max);
            let found = search.fit(&logits).unwrap();
            assert!((found.score - best).abs() < 1e-12, "{}: {} {best}", search.objective.name(), found.score);
            let is_of_hits = search.objective == Objective::BalancedAccuracy;
            for method in [WeightSearchMethod::Exact, WeightSearchMethod::Refined] {
                match (WeightSearch { method, ..search.clone() }.fit(&logits), is_of_hits) {
                    (Ok(finer), true) => assert!(finer.score >= best - 1e-12, "{} {best}", finer.score),
                    (Err(error), false) => assert!(error.to_string().contains("search the grid"), "{error}"),
                    (result, _) => panic!("{result:?}"),
                }
            }
            // The average lies among the weights of the samples, and so within a wide interval.
            let smoothing = Smoothing::Bootstrap { resamples: 40, seed: 1 };
            let smooth = WeightSearch { smoothing, ..search }.fit(&logits).unwrap();
            assert_eq!(smooth.intervals.len(), 3);
            for (weight, interval) in smooth.weights.values().iter().zip(&smooth.intervals) {
                assert!(interval.lower <= *weight && *weight <= interval.upper, "{weight} {interval:?}");
            }
            assert!(found.intervals.is_empty());
        }
    }

    #[test]
    fn configurations_and_results_without_the_newer_fields_are_read() {
        let search = r#"{"steps":50,"candidates":"linear","variant":"clean","space":"logits","loop_order":null}"#;
        assert_eq!(serde_json::from_str::<WeightSearch>(search).unwrap(), WeightSearch::default());
        let found =
            r#"{"weights":{"names":["a"],"values":[1.0]},"space":"logits","score":0.5,"evaluated":50,"ties":50}"#;
        let found: WeightSearchResult = serde_json::from_str(found).unwrap();
        assert_eq!((found.margin, found.cells), (None, vec![]));
        let smoothing = Smoothing::Bootstrap { resamples: 200, seed: 1 };
        let search = WeightSearch { method: WeightSearchMethod::Exact, smoothing, ..WeightSearch::default() };
        let text = serde_json::to_string(&search).unwrap();
        assert!(
            text.starts_with(r#"{"method":"exact","smoothing":{"bootstrap":{"resamples":200,"seed":1}},"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<WeightSearch>(&text).unwrap(), search);
    }

    #[test]
    fn errors_name_the_culprit() {
        let logits = problem(&["clinical", "dermoscopic"], &[2], 2, 1, 1, 0);
        let message = |search: WeightSearch| search.fit(&logits).unwrap_err().to_string();
        let steps = |steps| WeightSearch { steps, ..WeightSearch::default() };
        assert_eq!(message(steps(0)), "steps of the weight search is 0; it must be at least 1");
        assert_eq!(
            message(steps(5000)),
            "5000 steps for 2 branches are more than 20000000 combinations of weights; take fewer steps or fewer branches"
        );
        let order = WeightSearch { loop_order: Some(vec!["clinical".into()]), ..WeightSearch::default() };
        assert_eq!(
            message(order),
            r#"loop order ["clinical"] must name each of the branches ["clinical", "dermoscopic"] once"#
        );
        let mut unlabelled = logits.clone();
        unlabelled.cohort.labels.iter_mut().flatten().for_each(|label| *label = None);
        let error = steps(3).fit(&unlabelled).unwrap_err();
        assert_eq!(error.to_string(), "no case has a label of any task; a search needs annotated cases");
    }
}
