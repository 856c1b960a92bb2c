use dermafuse_schema::{FuseSpace, Interval, Predictions, SettingFault};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};
use crate::folds::{draw_groups, members};
use crate::objective::{Objective, Scorer};
use crate::shares::shares;
use crate::weight_search::{interval, linspace};

/// More steps than a search takes.
const MOST_STEPS: usize = 1_000_000;
/// More samples than an interval needs.
const MOST_RESAMPLES: usize = 100_000;
/// The seed of the samples behind an interval.
const SEED: u64 = 0;

/// Search for the one weight that mixes two tables of predictions: `i · P_1 + (1 − i) · P_2` (thesis Alg. 2), or their product
/// `P_1^i · P_2^(1 − i)` ([`Predictions::mix_in`]).
///
/// One `i` is shared by all tasks; the score is the mean over the tasks of the objective. Accuracies are compared as fractions and not as
/// they are rounded; of equal scores the first (the smallest `i`) wins. The paper's listing writes `1 − j` for the second weight, which is a slip for `1 − i`.
///
/// ```
/// # use dermafuse_ensemble::MixSearch;
/// # use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
/// let first = Predictions {
///     tasks: TaskSet::new(vec![Task::new("streaks", "STR", ["absent", "present"])])?,
///     ids: vec!["a".into(), "b".into()],
///     labels: vec![vec![Some(0)], vec![Some(1)]],
///     probabilities: vec![array![[0.9, 0.1], [0.6, 0.4]]],
///     basis: vec!["clinical".into(), "clinical".into()],
/// };
/// let mut second = first.clone();
/// second.probabilities = vec![array![[0.45, 0.55], [0.2, 0.8]]];
/// let mix = MixSearch::default().fit(&first, &second)?;
/// assert_eq!(mix.score, 1.0);
/// assert_eq!(first.mix(&second, mix.weight)?.mean_accuracy(), Some(1.0));
/// # Ok::<(), dermafuse_ensemble::EnsembleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixSearch {
    /// Number of equally spaced weights from 0 to 1 inclusive.
    pub steps: usize,
    /// Whether probabilities are mixed, as in the paper, or their logarithms (`logits`).
    #[serde(default = "probabilities", skip_serializing_if = "is_probabilities")]
    pub space: FuseSpace,
    /// What is made as good as possible.
    #[serde(default, skip_serializing_if = "Objective::is_default")]
    pub objective: Objective,
    /// Bootstrap samples of the groups for the interval of the weight; 0 gives none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub resamples: usize,
}

pub(crate) fn probabilities() -> FuseSpace {
    FuseSpace::Probabilities
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(crate) fn is_probabilities(space: &FuseSpace) -> bool {
    *space == FuseSpace::Probabilities
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(resamples: &usize) -> bool {
    *resamples == 0
}

impl Default for MixSearch {
    fn default() -> Self {
        Self { steps: 100, space: probabilities(), objective: Objective::default(), resamples: 0 }
    }
}

/// What [`MixSearch`] found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixSearchResult {
    /// The weight `W_1` of the first table; the second has `1 − W_1`.
    pub weight: f64,
    /// The objective at that weight; the mean accuracy unless another was chosen.
    pub score: f64,
    /// The objective at every weight tried, in order.
    pub curve: Vec<(f64, f64)>,
    /// How many weights reach the score. 0 in files of versions that did not count them.
    #[serde(default)]
    pub ties: usize,
    /// 95 % of the weights that are best on bootstrap samples of the groups (patients, else lesions), where some were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

impl MixSearch {
    /// Checks the settings; [`fit`](Self::fit) does it first.
    ///
    /// # Errors
    /// Fewer than two steps or too many, too many resamples.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        let Self { steps, resamples, .. } = *self;
        SettingFault::unless((2..=MOST_STEPS).contains(&steps), "steps", "from 2 to 1000000", steps)?;
        SettingFault::unless(resamples <= MOST_RESAMPLES, "resamples", "at most 100000", resamples)
    }

    /// Scores every weight on the labelled cases, each of which is a group of its own for the interval.
    ///
    /// # Errors
    /// Fewer than two steps or too many, too many resamples, tables of different cases or tasks, no label at all, costs that do not
    /// fit the tasks.
    pub fn fit(&self, first: &Predictions, second: &Predictions) -> Result<MixSearchResult> {
        let groups: Vec<String> = first.ids.iter().map(ToString::to_string).collect();
        self.fit_groups(first, second, &groups)
    }

    /// The same for cases of groups `[N]` (patients, else lesions), which are drawn together for the interval.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); another number of groups.
    pub fn fit_groups(&self, first: &Predictions, second: &Predictions, groups: &[String]) -> Result<MixSearchResult> {
        self.check().map_err(|fault| fault.under("mix"))?;
        crate::training::check_rows("groups", first.len(), groups.len())?;
        let scorer = Scorer::new(&self.objective, &first.tasks)?;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let members = members(groups);
        let samples: Vec<Vec<u32>> =
            (0..self.resamples).map(|_| draw_groups(&members, groups.len(), &mut random)).collect();
        let mut best_of_samples: Vec<Option<(f64, f64)>> = vec![None; samples.len()];
        let mut curve: Vec<(f64, f64)> = Vec::with_capacity(self.steps);
        let (mut best, mut highest, mut ties) = (0, 0, 0);
        for weight in linspace(0.0, 1.0, self.steps) {
            let mixed = first.mix_in(self.space, second, weight)?;
            let score = scorer.score(&mixed, None).ok_or(EnsembleError::NoLabels)?;
            let (is_better, is_equal) = match self.objective {
                Objective::Accuracy => {
                    let (hits, totals): (Vec<usize>, Vec<usize>) =
                        (0..mixed.tasks.len()).map(|task| mixed.hits(task)).unzip();
                    let worth: u128 = hits.iter().zip(shares(&totals)).map(|(&hits, share)| hits as u128 * share).sum();
                    let compared = (worth > highest, worth == highest);
                    highest = highest.max(worth);
                    compared
                }
                _ => {
                    let before = curve.get(best).map_or(f64::NEG_INFINITY, |(_, score)| *score);
                    (score > before, score == before)
                }
            };
            if is_better {
                (best, ties) = (curve.len(), 1);
            } else {
                ties += usize::from(is_equal);
            }
            curve.push((weight, score));
            for (best, counts) in best_of_samples.iter_mut().zip(&samples) {
                let Some(score) = scorer.score(&mixed, Some(counts)) else { continue };
                if best.is_none_or(|(highest, _)| score > highest) {
                    *best = Some((score, weight));
                }
            }
        }
        let (weight, score) = curve[best];
        let interval = interval(best_of_samples.into_iter().flatten().map(|(_, weight)| weight).collect());
        Ok(MixSearchResult { weight, score, curve, ties, interval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Task, TaskSet};
    use ndarray::{Array2, array};

    fn table(probabilities: Array2<f64>, labels: &[Option<usize>]) -> Predictions {
        Predictions {
            tasks: TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap(),
            ids: (0..labels.len()).map(|n| n.to_string().into()).collect(),
            labels: labels.iter().map(|&label| vec![label]).collect(),
            probabilities: vec![probabilities],
            basis: vec!["clinical".into(); labels.len()],
        }
    }

    #[test]
    fn the_first_of_equal_weights_wins() {
        // case 0 is right below i = 0.5 (the tie itself included: first of equals), case 1 always
        let first = table(array![[0.0, 1.0], [0.0, 1.0]], &[Some(0), Some(1)]);
        let second = table(array![[1.0, 0.0], [0.0, 1.0]], &[Some(0), Some(1)]);
        let mix = MixSearch { steps: 5, ..MixSearch::default() }.fit(&first, &second).unwrap();
        assert_eq!(mix.curve, [(0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.5)]);
        assert_eq!((mix.weight, mix.score, mix.ties), (0.0, 1.0, 3));
    }

    #[test]
    fn errors_say_what_to_do() {
        let p = table(array![[0.5, 0.5]], &[None]);
        let message = |steps| MixSearch { steps, ..MixSearch::default() }.fit(&p, &p).unwrap_err().to_string();
        assert_eq!(message(1), "`mix.steps` must be from 2 to 1000000, found 1");
        assert_eq!(message(100), "no case has a label of any task; a search needs annotated cases");
    }

    /// Two tables, each right of half of the cases and sure there, over a third class.
    fn halves(cases: usize) -> (Predictions, Predictions) {
        let of = |half: usize| {
            let p = Array2::from_shape_fn((cases, 2), |(case, class)| {
                let truth = case / 2 % 2;
                let sure = if case % 2 == half { 0.95 } else { 0.45 };
                if class == truth { sure } else { 1.0 - sure }
            });
            let labels: Vec<Option<usize>> = (0..cases).map(|case| Some(case / 2 % 2)).collect();
            table(p, &labels)
        };
        (of(0), of(1))
    }

    #[test]
    fn products_are_searched_by_any_objective_with_an_interval() {
        let (first, second) = halves(80);
        let groups: Vec<String> = (0..80).map(|case| format!("patient {}", case / 4)).collect();
        for objective in [Objective::BalancedAccuracy, Objective::LogLoss, Objective::MacroF1, Objective::PartialAuc] {
            let search = MixSearch { steps: 21, space: FuseSpace::Logits, objective, resamples: 50 };
            let found = search.fit_groups(&first, &second, &groups).unwrap();
            let mixed = first.mix_in(FuseSpace::Logits, &second, found.weight).unwrap();
            assert_eq!(search.objective.score(&mixed).unwrap(), Some(found.score));
            assert!(found.curve.iter().all(|(_, score)| *score <= found.score));
            let interval = found.interval.unwrap();
            assert!(interval.lower <= found.weight && found.weight <= interval.upper, "{interval:?} {}", found.weight);
            assert_eq!(search.fit_groups(&first, &second, &groups).unwrap(), found);
        }
        // Each table knows half: neither alone is as good as both, and the loss is least in the middle.
        let loss = MixSearch { steps: 21, space: FuseSpace::Logits, objective: Objective::LogLoss, resamples: 0 };
        let found = loss.fit(&first, &second).unwrap();
        assert!((found.weight - 0.5).abs() < 1e-12 && found.interval.is_none(), "{}", found.weight);
        assert!(loss.fit_groups(&first, &second, &groups[1..]).unwrap_err().to_string().contains("groups: 79 rows"));
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        assert_eq!(serde_json::from_str::<MixSearch>(r#"{"steps":100}"#).unwrap(), MixSearch::default());
        assert_eq!(serde_json::to_string(&MixSearch::default()).unwrap(), r#"{"steps":100}"#);
        let found: MixSearchResult = serde_json::from_str(r#"{"weight":0.5,"score":0.5,"curve":[]}"#).unwrap();
        assert_eq!((found.ties, found.interval), (0, None));
    }
}
