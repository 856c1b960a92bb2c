//! From the best weights of a grid to better ones between them, where fused scores are not linear in the weights.
//!
//! Near any weights, the probabilities are almost their tangents, which are linear, so the exact search finds the best cell of
//! the neighbourhood. Its centre is scored for what it is and, if it is better, becomes the next point of tangency; if not, the
//! neighbourhood shrinks.

use std::ops::ControlFlow;

use dermafuse_schema::{BranchLogits, FuseSpace};
use rayon::prelude::*;

use super::Found;
use super::arrangement::{HalfPlane, Overlap, Polygon, Region, simplex, weights_at};
use super::combinations::Combinations;
use super::exact::MOST_BRANCHES;
use super::resampling::{HitValue, Sample};
use super::targets::Targets;
use crate::error::{EnsembleError, Result};

/// Points of the grid from which the search starts.
const STARTS: usize = 24;
/// No two of them have weights that are all closer than this.
const APART: f64 = 0.02;
/// How far weights may move in the first round.
const REACH: f64 = 0.04;
/// Rounds from each start.
const ROUNDS: usize = 12;
/// Cells of a neighbourhood that are tried, widest first.
const TRIED: usize = 3;

/// A cohort, ready for any sample of it.
pub(super) struct Refined {
    targets: Targets,
}

/// Weights, what they are worth and how far, to first order, they may move before that drops.
#[derive(Clone)]
struct Candidate {
    weights: Vec<f64>,
    worth: u128,
    margin: f64,
    tangents: Vec<Polygon>,
}

impl Candidate {
    fn is_better_than(&self, other: &Self) -> bool {
        (self.worth, self.margin) > (other.worth, other.margin)
    }
}

impl Refined {
    pub(super) fn new(logits: &BranchLogits, space: FuseSpace, value: HitValue) -> Result<Self> {
        let found = logits.branches.len();
        if found > MOST_BRANCHES {
            return Err(EnsembleError::TooManyBranches { found, most: MOST_BRANCHES });
        }
        Ok(Self { targets: Targets::new(logits, space, value) })
    }

    /// The best weights found for a sample, given the scores of a grid on it.
    pub(super) fn best(&self, sample: &Sample, combinations: &Combinations, scores: &[u128]) -> Found {
        let width = self.targets.width;
        if width == 1 {
            return Found { weights: vec![1.0], margin: None, evaluated: scores.len(), ties: 1, cells: Vec::new() };
        }
        let worths = self.targets.worths(sample);
        let starts = starts(combinations, scores);
        let ends: Vec<(Candidate, usize)> =
            starts.into_par_iter().map(|weights| self.climb(weights, &worths)).collect();
        let evaluated = scores.len() + ends.iter().map(|(_, evaluated)| evaluated).sum::<usize>();
        let mut best: Option<&Candidate> = None;
        for (end, _) in &ends {
            if best.is_none_or(|best| end.is_better_than(best)) {
                best = Some(end);
            }
        }
        let ties = ends.iter().filter(|(end, _)| best.is_some_and(|best| best.worth == end.worth)).count();
        let (weights, margin) = best.map(|best| (best.weights.clone(), best.margin)).unwrap_or_default();
        Found { weights, margin: Some(margin), evaluated, ties, cells: Vec::new() }
    }

    /// Follows the best cells from some weights; also says how many weights were scored.
    fn climb(&self, weights: Vec<f64>, worths: &[u128]) -> (Candidate, usize) {
        let mut here = self.candidate(weights, worths);
        let (mut reach, mut evaluated) = (REACH, 1);
        for _ in 0..ROUNDS {
            let neighbours = self.neighbours(&here, reach, worths);
            evaluated += neighbours.len();
            let mut moved = false;
            for there in neighbours {
                if there.is_better_than(&here) {
                    (here, moved) = (there, true);
                }
            }
            if !moved {
                reach *= 0.5;
            }
        }
        (here, evaluated)
    }

    /// The centres of the widest of the best cells of a neighbourhood, as the tangents have them.
    fn neighbours(&self, here: &Candidate, reach: f64, worths: &[u128]) -> Vec<Candidate> {
        let width = self.targets.width;
        let mut borders = simplex(width);
        for branch in 0..width {
            // between weight − reach and weight + reach, as functions that are linear in the weights
            let to = |side: f64| -> Vec<f64> {
                let end = here.weights[branch] + side * reach;
                (0..width).map(|other| side * (end - f64::from(u8::from(other == branch)))).collect()
            };
            borders.extend(
                [1.0, -1.0]
                    .iter()
                    .map(|&side| to(side))
                    .filter(|slopes| slopes.iter().any(|s| *s < 0.0))
                    .map(|slopes| HalfPlane::new(&slopes)),
            );
        }
        let region = Region::whole(width).within(&borders);
        let (mut best, mut pieces) = (here.worth, Vec::new());
        Overlap::new(&here.tangents, worths).search(region.clone(), here.worth, true, |piece, worth| {
            if worth > best {
                pieces.clear();
            }
            best = worth;
            pieces.push(piece);
            ControlFlow::Continue(worth)
        });
        let mut cells: Vec<(f64, Vec<f64>)> = pieces
            .iter()
            .map(|piece| {
                let mut borders = borders.clone();
                for (polygon, _) in here.tangents.iter().zip(worths).filter(|(_, worth)| **worth > 0) {
                    borders.extend(polygon.around(piece.centre()).into_iter().flatten());
                }
                let (centre, margin) = region.within(&borders).largest_circle(&borders);
                (margin, weights_at(width, centre))
            })
            .collect();
        cells.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        cells.dedup_by(|(_, a), (_, b)| a == b);
        cells.into_iter().take(TRIED).map(|(_, weights)| self.candidate(weights, worths)).collect()
    }

    /// Scores weights for what they are.
    fn candidate(&self, weights: Vec<f64>, worths: &[u128]) -> Candidate {
        let width = self.targets.width;
        let sum: f64 = weights.iter().sum();
        let weights: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
        let tangents = self.targets.tangent_polygons(&weights);
        let point = if width == 2 { [weights[0], 0.0] } else { [weights[0], weights[1]] };
        let mut margin = simplex(width).iter().map(|border| border.distance(point)).fold(f64::INFINITY, f64::min);
        let mut worth = 0;
        for ((right, polygon), &of) in
            self.targets.right(&weights).zip(&tangents).zip(worths).filter(|(_, of)| **of > 0)
        {
            if right {
                worth += of;
                let borders = polygon.around(point).map(|borders| borders.iter().map(|border| border.distance(point)));
                margin = borders.map_or(0.0, |distances| distances.fold(margin, f64::min));
            }
        }
        Candidate { weights, worth, margin: margin.max(0.0), tangents }
    }
}

/// The best weights of a grid, none close to another.
fn starts(combinations: &Combinations, scores: &[u128]) -> Vec<Vec<f64>> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(scores[index])); // stable: the first in loop order leads
    let mut starts: Vec<Vec<f64>> = Vec::new();
    for index in order {
        let sum: f64 = combinations.row(index).sum();
        let weights: Vec<f64> = combinations.row(index).map(|weight| weight / sum).collect();
        let close = |start: &Vec<f64>| start.iter().zip(&weights).all(|(a, b)| (a - b).abs() < APART);
        if !starts.iter().any(close) {
            starts.push(weights);
        }
        if starts.len() == STARTS {
            break;
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use crate::weight_search::tests::problem;
    use crate::{WeightSearch, WeightSearchMethod};
    use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Views that differ a little and logits that favour the label.
    fn logits(seed: u64, views: usize, missing: u64) -> BranchLogits {
        let mut logits = problem(&["clinical", "dermoscopic", "fusion"], &[5, 2, 3], 80, views, seed, missing);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for branch in &mut logits.branches {
            for (task, of_task) in branch.logits.iter_mut().enumerate() {
                let first = of_task.clone();
                for ((_, case, class), logit) in of_task.indexed_iter_mut() {
                    let bonus = if logits.cohort.labels[case][task] == Some(class) { 0.8 } else { 0.0 };
                    *logit = first[[0, case, class]] + bonus + (rng.next_u64() >> 40) as f32 / 2.0_f32.powi(23);
                }
            }
        }
        logits
    }

    fn score(logits: &BranchLogits, weights: &[f64]) -> f64 {
        let names = logits.branches.iter().map(|branch| branch.name.clone());
        let weights = BranchWeights::new(names.zip(weights.iter().copied())).unwrap();
        logits.fuse(&weights, FuseSpace::Logits).unwrap().mean_accuracy().unwrap()
    }

    #[test]
    fn it_is_better_than_the_grid_it_starts_from_and_its_margin_holds() {
        let (mut better, mut as_good) = (0, 0);
        for seed in 0..4 {
            let logits = logits(seed, 3, seed % 2);
            let search =
                |method, steps| WeightSearch { method, steps, ..WeightSearch::default() }.fit(&logits).unwrap();
            let (grid, fine) = (search(WeightSearchMethod::Grid, 8), search(WeightSearchMethod::Grid, 60));
            let found = search(WeightSearchMethod::Refined, 8);
            assert!(found.score > grid.score - 1e-12, "{} {}", found.score, grid.score);
            better += usize::from(found.score > grid.score + 1e-12);
            as_good += usize::from(found.score > fine.score - 1e-12);
            let (weights, margin) = (found.weights.values(), found.margin.unwrap());
            assert!(margin > 0.0);
            for k in 0..24 {
                let (sine, cosine) = (std::f64::consts::TAU * f64::from(k) / 24.0).sin_cos();
                let (a, b) = (cosine / 2.0_f64.sqrt(), sine / 6.0_f64.sqrt());
                let direction = [a + b, b - a, -2.0 * b];
                let moved: Vec<f64> = weights.iter().zip(direction).map(|(w, d)| w + 0.9 * margin * d).collect();
                assert!(score(&logits, &moved) > found.score - 1e-12, "{weights:?} {margin}");
            }
        }
        assert!(better >= 3, "{better} of 4 are better than the coarse grid");
        assert!(as_good >= 3, "{as_good} of 4 are as good as a fine grid");
    }

    #[test]
    fn with_one_view_it_all_but_reaches_the_exact_optimum() {
        for seed in 0..4 {
            let logits = logits(seed, 1, seed % 2);
            let search = |method| WeightSearch { method, steps: 20, ..WeightSearch::default() }.fit(&logits).unwrap();
            let (exact, found) = (search(WeightSearchMethod::Exact), search(WeightSearchMethod::Refined));
            assert!(found.score < exact.score + 1e-12);
            assert!(found.score > exact.score - 0.01, "{} {}", found.score, exact.score);
        }
    }
}
