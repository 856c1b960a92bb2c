use dermafuse_schema::Predictions;
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};
use crate::shares::shares;
use crate::weight_search::linspace;

/// More steps than a search takes.
const MOST_STEPS: usize = 1_000_000;

/// Search for the one weight that mixes two tables of predictions: `i · P_1 + (1 − i) · P_2` (thesis Alg. 2).
///
/// One `i` is shared by all tasks; the score is the mean of the tasks' accuracies, compared as a fraction and not as it is
/// rounded; of equal scores the first (the smallest `i`) wins. The paper's listing writes `1 − j` for the second weight, which is a slip for `1 − i`.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixSearch {
    /// Number of equally spaced weights from 0 to 1 inclusive.
    pub steps: usize,
}

impl Default for MixSearch {
    fn default() -> Self {
        Self { steps: 100 }
    }
}

/// What [`MixSearch`] found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixSearchResult {
    /// The weight `W_1` of the first table; the second has `1 − W_1`.
    pub weight: f64,
    /// Mean accuracy at that weight.
    pub score: f64,
    /// Mean accuracy at every weight tried, in order.
    pub curve: Vec<(f64, f64)>,
    /// How many weights reach the score. 0 in files of versions that did not count them.
    #[serde(default)]
    pub ties: usize,
}

impl MixSearch {
    /// Scores every weight on the labelled cases.
    ///
    /// # Errors
    /// Fewer than two steps, tables of different cases or tasks, no label at all.
    pub fn fit(&self, first: &Predictions, second: &Predictions) -> Result<MixSearchResult> {
        if self.steps < 2 {
            let (parameter, value) = ("steps of the mix search".to_owned(), self.steps as f64);
            return Err(EnsembleError::Parameter { parameter, value, expected: "at least 2" });
        }
        if self.steps > MOST_STEPS {
            let (parameter, value) = ("steps of the mix search".to_owned(), self.steps as f64);
            return Err(EnsembleError::Parameter { parameter, value, expected: "at most 1000000" });
        }
        let mut curve = Vec::with_capacity(self.steps);
        let (mut best, mut highest, mut ties) = (0, 0, 0);
        for weight in linspace(0.0, 1.0, self.steps) {
            let mixed = first.mix(second, weight)?;
            let (hits, totals): (Vec<usize>, Vec<usize>) = (0..mixed.tasks.len()).map(|task| mixed.hits(task)).unzip();
            let worth: u128 = hits.iter().zip(shares(&totals)).map(|(&hits, share)| hits as u128 * share).sum();
            if worth > highest {
                (best, highest, ties) = (curve.len(), worth, 0);
            }
            ties += usize::from(worth == highest);
            curve.push((weight, mixed.mean_accuracy().ok_or(EnsembleError::NoLabels)?));
        }
        let (weight, score) = curve[best];
        Ok(MixSearchResult { weight, score, curve, ties })
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
        let mix = MixSearch { steps: 5 }.fit(&first, &second).unwrap();
        assert_eq!(mix.curve, [(0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.5)]);
        assert_eq!((mix.weight, mix.score, mix.ties), (0.0, 1.0, 3));
    }

    #[test]
    fn errors_say_what_to_do() {
        let p = table(array![[0.5, 0.5]], &[None]);
        let message = |steps| MixSearch { steps }.fit(&p, &p).unwrap_err().to_string();
        assert_eq!(message(1), "steps of the mix search is 1; it must be at least 2");
        assert_eq!(message(100), "no case has a label of any task; a search needs annotated cases");
    }
}
