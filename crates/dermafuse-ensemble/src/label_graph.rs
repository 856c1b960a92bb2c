//! A fixed graph over the classes of all tasks: what is believed of one task shifts what is believed of the others.
//!
//! Paper: thesis §6.5.3 names dependencies between labels as work to be done and cites Z.-M. Chen et al., *Multi-Label Image
//! Recognition with Graph Convolutional Networks* (CVPR 2019), whose graph has the frequency of each label given another; GIIN
//! (X. Fu et al., IEEE TMI 2022) learns such a graph. Source: the idea. Differences: nothing is learnt here. The edges are counted
//! on the training labels, and one number, found on validation cases, says how far they count; a strength of 0 changes nothing.

use dermafuse_schema::{Predictions, SchemaError, TaskSet};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};
use crate::shares::shares;

/// Probabilities are taken as no smaller, so that their logarithm is finite.
const LEAST: f64 = 1e-12;

/// How much more often than by chance the classes of two tasks come together, for each pair of tasks.
///
/// ```
/// # use dermafuse_ensemble::LabelGraph;
/// # use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
/// let task = |name: &str| Task::new(name, "T", ["absent", "present"]);
/// let tasks = TaskSet::new(vec![task("veil"), task("streaks")])?;
/// // Where there is a veil there are streaks.
/// let labels: Vec<_> = (0..40).map(|case| vec![Some(case % 2), Some(case % 2)]).collect();
/// let graph = LabelGraph::fit(&tasks, &labels, LabelGraph::PRIOR)?;
/// assert!(graph.association(0, 1)[[1, 1]] > 0.5 && graph.association(0, 1)[[1, 0]] < -0.5);
///
/// let unsure = Predictions {
///     tasks,
///     ids: vec!["a".into()],
///     labels: vec![vec![None, None]],
///     probabilities: vec![array![[0.05, 0.95]], array![[0.5, 0.5]]],
///     basis: vec!["dermoscopic".into()],
/// };
/// assert!(graph.smooth(&unsure, 1.0)?.probabilities[1][[0, 1]] > 0.6);
/// assert_eq!(graph.smooth(&unsure, 0.0)?, unsure);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelGraph {
    tasks: TaskSet,
    /// `[T][T]` of `[K_t, K_u]`: the logarithm of how much more often than by chance class `d` of task `u` comes with class `c` of
    /// task `t`. Empty where both are the same task.
    associations: Vec<Vec<Array2<f64>>>,
}

/// A strength that [`LabelGraph::search`] found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelGraphStrength {
    /// The strength; 0 where the graph does not help.
    pub strength: f64,
    /// Mean accuracy at that strength.
    pub score: f64,
    /// Mean accuracy at every strength tried, in order.
    pub curve: Vec<(f64, f64)>,
}

impl LabelGraph {
    /// As many cases in which all tasks are independent are added to those that are counted, unless another number is wanted.
    pub const PRIOR: f64 = 20.0;

    /// Counts how often the classes of two tasks come together. `prior` cases in which they are independent are added, so that pairs
    /// that were hardly seen count little.
    ///
    /// # Errors
    /// Labels that do not fit the tasks; a prior that is not a positive number; no case with a label.
    pub fn fit(tasks: &TaskSet, labels: &[Vec<Option<usize>>], prior: f64) -> Result<Self> {
        if !(prior > 0.0 && prior.is_finite()) {
            let parameter = "prior of the label graph".to_owned();
            return Err(EnsembleError::Parameter { parameter, value: prior, expected: "above 0 and finite" });
        }
        for (case, labels) in labels.iter().enumerate() {
            let fits = labels.len() == tasks.len()
                && labels
                    .iter()
                    .zip(tasks.iter())
                    .all(|(label, task)| label.is_none_or(|label| label < task.classes.len()));
            if !fits {
                let (expected, found) = (tasks.class_counts(), labels.iter().map(|label| label.unwrap_or(0)).collect());
                return Err(SchemaError::Shape { what: format!("labels of case {case}"), expected, found }.into());
            }
        }
        if labels.iter().flatten().all(Option::is_none) {
            return Err(EnsembleError::NoLabels);
        }
        let counts = tasks.class_counts();
        let association = |t: usize, u: usize| {
            if t == u {
                return Array2::zeros((0, 0));
            }
            let mut together = Array2::<f64>::zeros((counts[t], counts[u]));
            for labels in labels {
                if let (Some(c), Some(d)) = (labels[t], labels[u]) {
                    together[[c, d]] += 1.0;
                }
            }
            let total = together.sum();
            // What is not known of both counts as one case of each class.
            let share = |count: f64, classes: usize| (count + 1.0) / (total + classes as f64);
            let rows: Vec<f64> = together.rows().into_iter().map(|row| share(row.sum(), counts[t])).collect();
            let columns: Vec<f64> =
                together.columns().into_iter().map(|column| share(column.sum(), counts[u])).collect();
            Array2::from_shape_fn((counts[t], counts[u]), |(c, d)| {
                let by_chance = rows[c] * columns[d];
                ((together[[c, d]] + prior * by_chance) / ((total + prior) * by_chance)).ln()
            })
        };
        let associations = (0..tasks.len()).map(|t| (0..tasks.len()).map(|u| association(t, u)).collect()).collect();
        Ok(Self { tasks: tasks.clone(), associations })
    }

    /// The associations of the classes of task `of` (rows) with those of task `with` (columns): 0 is chance, above is more often,
    /// natural logarithm. Nothing where both are the same.
    ///
    /// # Panics
    /// If there is no such task.
    #[must_use]
    pub fn association(&self, of: usize, with: usize) -> &Array2<f64> {
        &self.associations[of][with]
    }

    /// Adds to the logarithm of each class's probability `strength` times the mean, over the other tasks, of what their
    /// probabilities say of it, and makes probabilities of that again. At a strength of 0 nothing is changed, to the bit.
    ///
    /// # Errors
    /// Predictions of other tasks; a strength that is negative or not finite.
    pub fn smooth(&self, predictions: &Predictions, strength: f64) -> Result<Predictions> {
        if !(strength >= 0.0 && strength.is_finite()) {
            let parameter = "strength of the label graph".to_owned();
            return Err(EnsembleError::Parameter { parameter, value: strength, expected: "at least 0 and finite" });
        }
        if predictions.tasks != self.tasks {
            let (expected, found) = (self.tasks.class_counts(), predictions.tasks.class_counts());
            return Err(SchemaError::Shape { what: "tasks of the label graph".into(), expected, found }.into());
        }
        predictions.check()?;
        let mut smoothed = predictions.clone();
        if strength == 0.0 || self.tasks.len() < 2 {
            return Ok(smoothed);
        }
        let share = strength / (self.tasks.len() - 1) as f64;
        for (t, table) in smoothed.probabilities.iter_mut().enumerate() {
            let mut scores = predictions.probabilities[t].mapv(|p| p.max(LEAST).ln());
            for (u, others) in predictions.probabilities.iter().enumerate().filter(|(u, _)| *u != t) {
                scores.scaled_add(share, &others.dot(&self.associations[t][u].t())); // [N, K_t]
            }
            for (mut row, scores) in table.rows_mut().into_iter().zip(scores.rows()) {
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let exponentials = scores.mapv(|score| (score - highest).exp());
                row.assign(&(&exponentials / exponentials.sum()));
            }
        }
        Ok(smoothed)
    }

    /// Tries strengths on labelled cases, which must not be those that the graph was counted on. Of equal scores the first wins, so
    /// give 0 first.
    ///
    /// # Errors
    /// No strength; one that [`smooth`](Self::smooth) refuses; no label at all.
    pub fn search(&self, predictions: &Predictions, strengths: &[f64]) -> Result<LabelGraphStrength> {
        let mut curve = Vec::with_capacity(strengths.len());
        let (mut best, mut highest) = (0, None);
        for &strength in strengths {
            let smoothed = self.smooth(predictions, strength)?;
            let (hits, totals): (Vec<usize>, Vec<usize>) =
                (0..smoothed.tasks.len()).map(|task| smoothed.hits(task)).unzip();
            let worth: u128 = hits.iter().zip(shares(&totals)).map(|(&hits, share)| hits as u128 * share).sum();
            if highest.is_none_or(|highest| worth > highest) {
                (best, highest) = (curve.len(), Some(worth));
            }
            curve.push((strength, smoothed.mean_accuracy().ok_or(EnsembleError::NoLabels)?));
        }
        let &(strength, score) = curve.get(best).ok_or_else(|| {
            let parameter = "number of strengths of the label graph".to_owned();
            EnsembleError::Parameter { parameter, value: 0.0, expected: "at least 1" }
        })?;
        Ok(LabelGraphStrength { strength, score, curve })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Task;
    use ndarray::array;

    fn tasks() -> TaskSet {
        let classes = ["a", "b"];
        TaskSet::new(vec![Task::new("one", "O", classes), Task::new("two", "T", classes)]).unwrap()
    }

    fn predictions(first: Array2<f64>, second: Array2<f64>, labels: Vec<Vec<Option<usize>>>) -> Predictions {
        let ids = (0..labels.len()).map(|row| row.to_string().into()).collect();
        let basis = vec!["x".into(); labels.len()];
        Predictions { tasks: tasks(), ids, labels, probabilities: vec![first, second], basis }
    }

    #[test]
    fn associations_are_those_of_the_counts() {
        // Six cases: (a, a) three times, (b, b) twice, (b, a) once.
        let pairs = [(0, 0), (0, 0), (0, 0), (1, 1), (1, 1), (1, 0)];
        let labels: Vec<_> = pairs.map(|(one, two)| vec![Some(one), Some(two)]).to_vec();
        let graph = LabelGraph::fit(&tasks(), &labels, 2.0).unwrap();
        // Shares with one more case of each class: 4/8 and 4/8, 5/8 and 3/8.
        let expected = |count: f64, one: f64, two: f64| ((count + 2.0 * one * two) / (8.0 * one * two)).ln();
        let found = graph.association(0, 1);
        assert!((found[[0, 0]] - expected(3.0, 0.5, 0.625)).abs() < 1e-12);
        assert!((found[[0, 1]] - expected(0.0, 0.5, 0.375)).abs() < 1e-12);
        assert!((found[[1, 0]] - expected(1.0, 0.5, 0.625)).abs() < 1e-12);
        assert_eq!(graph.association(1, 0), &found.t());
        assert!(graph.association(0, 0).is_empty());
        // A stronger prior says less.
        let weaker = LabelGraph::fit(&tasks(), &labels, 1e6).unwrap();
        assert!(weaker.association(0, 1).iter().all(|value| value.abs() < 1e-3));
    }

    #[test]
    fn independent_labels_change_nothing_and_what_is_unknown_counts_not() {
        let pairs = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let mut labels: Vec<_> = pairs.map(|(one, two)| vec![Some(one), Some(two)]).to_vec();
        labels.push(vec![None, Some(1)]);
        let graph = LabelGraph::fit(&tasks(), &labels, 1.0).unwrap();
        assert!(graph.association(0, 1).iter().all(|value| value.abs() < 1e-12));
        let before = predictions(array![[0.3, 0.7]], array![[0.9, 0.1]], vec![vec![None, None]]);
        let after = graph.smooth(&before, 3.0).unwrap();
        for (after, before) in after.probabilities.iter().zip(&before.probabilities) {
            assert!(after.iter().zip(before).all(|(after, before)| (after - before).abs() < 1e-12));
        }
    }

    #[test]
    fn a_sure_task_decides_for_one_that_is_not() {
        let labels: Vec<_> = (0..100).map(|case| vec![Some(case % 2), Some(case % 2)]).collect();
        let graph = LabelGraph::fit(&tasks(), &labels, LabelGraph::PRIOR).unwrap();
        let truth = vec![vec![Some(1), Some(1)], vec![Some(0), Some(0)]];
        let before = predictions(array![[0.02, 0.98], [0.97, 0.03]], array![[0.55, 0.45], [0.45, 0.55]], truth);
        assert_eq!(before.mean_accuracy(), Some(0.5));
        let found = graph.search(&before, &[0.0, 0.5, 1.0, 2.0]).unwrap();
        assert_eq!((found.score, found.strength, found.curve.len()), (1.0, 0.5, 4));
        let after = graph.smooth(&before, found.strength).unwrap();
        after.check().unwrap();
        // By hand: log 0.45 + 0.5 · (0.02 · a[1, 0] + 0.98 · a[1, 1]) for class b of the second task.
        let a = graph.association(1, 0);
        let score = |class: usize, p: f64| p.ln() + 0.5 * (0.02 * a[[class, 0]] + 0.98 * a[[class, 1]]);
        let (no, yes) = (score(0, 0.55).exp(), score(1, 0.45).exp());
        assert!((after.probabilities[1][[0, 1]] - yes / (no + yes)).abs() < 1e-12);
        // Where nothing helps, nothing is done.
        let right = predictions(array![[0.0, 1.0]], array![[0.1, 0.9]], vec![vec![Some(1), Some(1)]]);
        assert_eq!(graph.search(&right, &[0.0, 1.0]).unwrap().strength, 0.0);
    }

    #[test]
    fn faults_are_named() {
        let labels = vec![vec![Some(0), Some(1)]];
        let error = |result: Result<LabelGraph>| result.unwrap_err().to_string();
        assert!(error(LabelGraph::fit(&tasks(), &labels, 0.0)).contains("prior of the label graph is 0"));
        assert!(error(LabelGraph::fit(&tasks(), &[vec![Some(2), None]], 1.0)).contains("labels of case 0"));
        assert!(error(LabelGraph::fit(&tasks(), &[vec![None, None]], 1.0)).contains("no case has a label"));
        let graph = LabelGraph::fit(&tasks(), &labels, 1.0).unwrap();
        let one = predictions(array![[0.5, 0.5]], array![[0.5, 0.5]], vec![vec![None, None]]);
        assert!(graph.smooth(&one, -1.0).unwrap_err().to_string().contains("strength of the label graph is -1"));
        assert!(graph.search(&one, &[]).unwrap_err().to_string().contains("number of strengths"));
        assert!(matches!(graph.search(&one, &[0.0]), Err(EnsembleError::NoLabels)));
    }
}
