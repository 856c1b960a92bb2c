//! Which weights a grid visits, in the order of its loops.

use dermafuse_schema::BranchLogits;

use super::{Candidates, WeightSearch, WeightSearchVariant};
use crate::error::{EnsembleError, Result};

/// The most combinations of weights that are searched: some 100 bytes are held for each.
const MOST_COMBINATIONS: usize = 20_000_000;
/// The order of the loops in the released code after the names of its branches, outermost first.
const RELEASED_ORDER: [&str; 3] = ["dermoscopic", "clinical", "fusion"];

/// Equally spaced values with both ends, rounded as numpy rounds them.
pub(crate) fn linspace(from: f64, to: f64, steps: usize) -> Vec<f64> {
    let step = (to - from) / steps.saturating_sub(1).max(1) as f64;
    (0..steps).map(|k| if k > 0 && k + 1 == steps { to } else { k as f64 * step + from }).collect()
}

/// Rows of unnormalised weights, one column per branch.
pub(super) struct Combinations {
    pub(super) width: usize,
    pub(super) values: Vec<f64>,
}

impl Combinations {
    /// All combinations in the order of the loops, with columns in the order of the branches.
    pub(super) fn of(search: &WeightSearch, logits: &BranchLogits) -> Result<Self> {
        let branches: Vec<&str> = logits.branches.iter().map(|branch| branch.name.as_str()).collect();
        let order = loop_indices(search, &branches)?;
        let total = search.steps.checked_pow(branches.len() as u32).filter(|total| *total <= MOST_COMBINATIONS);
        let Some(total) = total else {
            let (steps, branches, limit) = (search.steps, branches.len(), MOST_COMBINATIONS);
            return Err(EnsembleError::TooManyWeights { steps, branches, limit });
        };
        if total == 0 {
            let (parameter, value) = ("steps of the weight search".to_owned(), search.steps as f64);
            return Err(EnsembleError::Parameter { parameter, value, expected: "at least 1" });
        }
        let candidates = match search.candidates {
            Candidates::Linear => linspace(0.05, 1.0, search.steps),
            Candidates::Cosine => {
                let angle = |k: usize| std::f64::consts::PI * k as f64 / search.steps as f64;
                (0..search.steps).map(|k| 0.5 * (1.0 + angle(k).cos())).collect()
            }
        };
        let mut combinations = Self { width: branches.len(), values: Vec::with_capacity(total * branches.len()) };
        let visit = Visit { candidates: &candidates, order: &order, variant: search.variant };
        visit.from(0, &mut vec![0.0; branches.len()], &mut combinations.values);
        Ok(combinations)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub(super) fn row(&self, index: usize) -> impl Iterator<Item = f64> + '_ {
        self.values[index * self.width..(index + 1) * self.width].iter().copied()
    }
}

/// Column of each loop's branch, outermost loop first.
fn loop_indices(search: &WeightSearch, branches: &[&str]) -> Result<Vec<usize>> {
    let order: Vec<&str> = match &search.loop_order {
        Some(order) => order.iter().map(String::as_str).collect(),
        None if branches.len() == 3 && RELEASED_ORDER.iter().all(|name| branches.contains(name)) => {
            let [outer, middle, inner] = RELEASED_ORDER;
            match search.variant {
                WeightSearchVariant::Released2021August => vec![outer, inner, middle],
                WeightSearchVariant::Clean | WeightSearchVariant::ReleasedHead => vec![outer, middle, inner],
            }
        }
        None => branches.to_vec(),
    };
    let indices: Option<Vec<usize>> =
        order.iter().map(|name| branches.iter().position(|branch| branch == name)).collect();
    let is_permutation = |indices: &Vec<usize>| {
        indices.len() == branches.len() && (0..branches.len()).all(|branch| indices.contains(&branch))
    };
    indices.filter(is_permutation).ok_or_else(|| EnsembleError::LoopOrder {
        found: order.iter().map(ToString::to_string).collect(),
        branches: branches.iter().map(ToString::to_string).collect(),
    })
}

/// The nested loops over the candidates.
struct Visit<'a> {
    candidates: &'a [f64],
    order: &'a [usize],
    variant: WeightSearchVariant,
}

impl Visit<'_> {
    /// Runs loop `depth` and those inside it; `weights` are the loop variables, which the released code overwrites.
    fn from(&self, depth: usize, weights: &mut Vec<f64>, visited: &mut Vec<f64>) {
        if depth == self.order.len() {
            let sum: f64 = weights.iter().sum();
            if self.variant == WeightSearchVariant::ReleasedHead && sum > 1.0 {
                return;
            }
            if self.variant != WeightSearchVariant::Clean {
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            visited.extend_from_slice(weights);
            return;
        }
        for &candidate in self.candidates {
            weights[self.order[depth]] = candidate;
            self.from(depth + 1, weights, visited);
        }
    }
}
