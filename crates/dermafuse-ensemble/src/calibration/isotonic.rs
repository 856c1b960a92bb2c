#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use dermafuse_schema::SchemaError;
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};
#[cfg(feature = "onnx")]
use crate::graph_terms::constant;

/// A function that never falls, from a probability to the share of cases that are of the class: constant over each step, a line
/// from one step to the next (as scikit-learn's `IsotonicRegression` with `out_of_bounds="clip"`). Difference: of a step without a
/// hit, or with nothing but hits, Laplace's rule of succession says the share. `n` cases do not make anything impossible, and a share
/// of 0 would cost the log loss without bound at the first case that is of the class all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsotonicSteps {
    /// `[P]` probabilities, ascending: the ends of the steps.
    scores: Vec<f64>,
    /// `[P]` shares, never falling.
    shares: Vec<f64>,
}

/// Neighbours that have one share.
struct Block {
    lowest: f64,
    highest: f64,
    cases: f64,
    hits: f64,
}

impl IsotonicSteps {
    /// Fits the function by pooling adjacent violators: among all that never fall it has the least squared error, but for what is said
    /// above of its ends.
    pub(super) fn fit(mut pairs: Vec<(f64, bool)>) -> Self {
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut blocks: Vec<Block> = Vec::new();
        for (score, is_hit) in pairs {
            let hit = f64::from(u8::from(is_hit));
            match blocks.last_mut() {
                // Equal scores have one share.
                Some(last) if last.highest == score && last.lowest == score => {
                    last.cases += 1.0;
                    last.hits += hit;
                }
                _ => blocks.push(Block { lowest: score, highest: score, cases: 1.0, hits: hit }),
            }
        }
        let mut pooled: Vec<Block> = Vec::new();
        for block in blocks {
            pooled.push(block);
            while let [.., before, last] = &pooled[..] {
                if before.hits * last.cases < last.hits * before.cases {
                    break;
                }
                let last = pooled.pop().expect("there are two");
                let before = pooled.last_mut().expect("there are two");
                before.highest = last.highest;
                before.cases += last.cases;
                before.hits += last.hits;
            }
        }
        let (mut scores, mut shares) = (Vec::new(), Vec::new());
        for (at, block) in pooled.iter().enumerate() {
            let share_of = |block: &Block| block.hits / block.cases;
            // The ends stay on their side of the neighbours, so that nothing falls.
            let succession = (block.hits + 1.0) / (block.cases + 2.0);
            let share = if block.hits == 0.0 {
                pooled.get(at + 1).map_or(succession, |next| share_of(next).min(succession))
            } else if block.hits == block.cases {
                at.checked_sub(1).map_or(succession, |before| share_of(&pooled[before]).max(succession))
            } else {
                share_of(block)
            };
            scores.push(block.lowest);
            shares.push(share);
            if block.highest > block.lowest {
                scores.push(block.highest);
                shares.push(share);
            }
        }
        Self { scores, shares }
    }

    /// The share at a probability.
    pub(super) fn at(&self, score: f64) -> f64 {
        let next = self.scores.partition_point(|end| *end <= score);
        match next {
            0 => self.shares.first().copied().unwrap_or(score),
            at if at == self.scores.len() => self.shares[at - 1],
            at => {
                let (from, to) = (self.scores[at - 1], self.scores[at]);
                let part = (score - from) / (to - from);
                self.shares[at - 1] + part * (self.shares[at] - self.shares[at - 1])
            }
        }
    }

    /// The same in ONNX, `[N, 1]` to `[N, 1]`: the first share, and each rise as far as the probability is up its slope.
    #[cfg(feature = "onnx")]
    pub(super) fn add_to(&self, graph: &mut Graph, scores: Value) -> Value {
        let slopes = self.scores.len().saturating_sub(1);
        let first = graph.scalar_like(scores, self.shares.first().copied().unwrap_or_default());
        if slopes == 0 {
            let zero = graph.scalar_like(scores, 0.0);
            let nothing = graph.multiply(scores, zero);
            return graph.add(nothing, first);
        }
        let pairs = |values: &[f64]| -> Vec<f64> { values.windows(2).map(|pair| pair[1] - pair[0]).collect() };
        let from = constant(graph, &self.scores[..slopes], &[1, slopes]);
        let (widths, rises) =
            (constant(graph, &pairs(&self.scores), &[1, slopes]), constant(graph, &pairs(&self.shares), &[slopes, 1]));
        let beyond = graph.subtract(scores, from); // [N, slopes]
        let part = graph.divide(beyond, widths);
        let part = graph.clip(part, Some(0.0), Some(1.0));
        let risen = graph.matmul(part, rises); // [N, 1]
        graph.add(risen, first)
    }

    pub(super) fn check(&self, task: &str) -> Result<()> {
        let why = |why: &str| Err(EnsembleError::Stored { what: "calibration", why: format!("task `{task}`: {why}") });
        if self.scores.is_empty() || self.scores.len() != self.shares.len() {
            return why("a step function has other numbers of scores and shares, or none");
        }
        if let Some(&value) = self.scores.iter().chain(&self.shares).find(|value| !(0.0..=1.0).contains(*value)) {
            let what = format!("step of the calibration of task `{task}`");
            return Err(SchemaError::Number { what, value, expected: "within 0..=1" }.into());
        }
        if self.scores.windows(2).any(|pair| pair[0] >= pair[1]) || self.shares.windows(2).any(|pair| pair[0] > pair[1])
        {
            return why("a step function does not rise");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled_and_lines_lie_between_steps() {
        let pairs = vec![(0.1, false), (0.2, true), (0.3, false), (0.6, true), (0.6, false), (0.9, true)];
        let steps = IsotonicSteps::fit(pairs);
        assert_eq!(steps.scores, [0.1, 0.2, 0.6, 0.9]);
        // One case at either end: a share of 1 in 3, and of 2 in 3.
        assert_eq!(steps.shares, [1.0 / 3.0, 0.5, 0.5, 2.0 / 3.0]);
        assert_eq!([steps.at(0.0), steps.at(0.4), steps.at(0.95)], [1.0 / 3.0, 0.5, 2.0 / 3.0]);
        assert!((steps.at(0.75) - 7.0 / 12.0).abs() < 1e-12 && (steps.at(0.15) - 5.0 / 12.0).abs() < 1e-12);
        steps.check("diagnosis").unwrap();
        // Two cases alone would have a share of 1 in 4; their neighbours' is lower.
        let rare = (0..100).map(|case| (0.5, case == 0)).chain([(0.1, false), (0.2, false)]);
        let rare = IsotonicSteps::fit(rare.collect());
        assert_eq!((rare.scores.as_slice(), rare.shares.as_slice()), (&[0.1, 0.2, 0.5][..], &[0.01; 3][..]));
        rare.check("diagnosis").unwrap();
        let none = IsotonicSteps::fit(vec![(0.1, false), (0.4, false)]);
        assert_eq!((none.at(0.0), none.at(1.0)), (0.25, 0.25));
        let falling = IsotonicSteps { shares: vec![0.0, 0.5, 0.4, 1.0], ..steps };
        assert!(
            falling
                .check("diagnosis")
                .unwrap_err()
                .to_string()
                .contains("task `diagnosis`: a step function does not rise")
        );
    }
}
