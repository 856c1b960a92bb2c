use std::collections::HashMap;

use dermafuse_schema::{CaseId, Interval};
use serde::{Deserialize, Serialize};

use crate::random::SplitMix64;

/// Percentile bootstrap over cases, for 95 % confidence intervals.
///
/// Cases are drawn with replacement and all tasks of a case go together, and so do all rows of the same identity, where a case
/// was predicted in several repetitions. The intervals speak of the sampling of test cases only, not of the spread between
/// training runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// How many times the cases are drawn; 0 gives no intervals.
    pub resamples: usize,
    /// Seed of the draws; the same seed gives the same intervals.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1000 resamples, seed 0.
    fn default() -> Self {
        Self { resamples: 1000, seed: 0 }
    }
}

/// `(truth, predicted)` of every case of one task with `classes` classes; `None` where not annotated.
pub(crate) struct Outcomes {
    pub(crate) classes: usize,
    pub(crate) pairs: Vec<Option<(usize, usize)>>,
}

impl Bootstrap {
    /// Intervals of the mean accuracy and the mean balanced accuracy over the tasks; `cases` are the rows of each case.
    pub(crate) fn intervals(&self, tasks: &[&Outcomes], cases: &[Vec<usize>]) -> (Option<Interval>, Option<Interval>) {
        if cases.is_empty() {
            return (None, None);
        }
        let mut random = SplitMix64(self.seed);
        let (mut accuracies, mut balanced) = (Vec::new(), Vec::new());
        for _ in 0..self.resamples {
            let drawn = (0..cases.len()).map(|_| &cases[random.below(cases.len())]);
            let drawn: Vec<usize> = drawn.flatten().copied().collect();
            let scores: Vec<(f64, f64)> = tasks.iter().filter_map(|task| task.scores(&drawn)).collect();
            if !scores.is_empty() {
                accuracies.push(scores.iter().map(|(accuracy, _)| accuracy).sum::<f64>() / scores.len() as f64);
                balanced.push(scores.iter().map(|(_, balanced)| balanced).sum::<f64>() / scores.len() as f64);
            }
        }
        (interval(accuracies), interval(balanced))
    }
}

/// Draws groups of rows with replacement.
pub(crate) struct Resampler(SplitMix64);

impl Resampler {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64(seed))
    }

    /// How often each of `rows` rows is drawn when as many of these groups as there are are.
    pub(crate) fn counts(&mut self, groups: &[Vec<usize>], rows: usize) -> Vec<u32> {
        let mut counts = vec![0; rows];
        for _ in 0..groups.len() {
            groups[self.0.below(groups.len())].iter().for_each(|&row| counts[row] += 1);
        }
        counts
    }
}

/// The rows of each case, by its identity, in the order of the first ones.
pub(crate) fn rows_of_cases(ids: &[CaseId]) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut place = HashMap::with_capacity(ids.len());
    for (row, id) in ids.iter().enumerate() {
        let at = *place.entry(id).or_insert(rows.len());
        match rows.get_mut(at) {
            Some(rows) => rows.push(row),
            None => rows.push(vec![row]),
        }
    }
    rows
}

impl Outcomes {
    /// Accuracy and balanced accuracy of the drawn cases; `None` when none is annotated.
    fn scores(&self, drawn: &[usize]) -> Option<(f64, f64)> {
        let mut hits = vec![0_usize; self.classes];
        let mut support = vec![0_usize; self.classes];
        for (truth, predicted) in drawn.iter().filter_map(|&case| self.pairs[case]) {
            support[truth] += 1;
            hits[truth] += usize::from(truth == predicted);
        }
        let total: usize = support.iter().sum();
        if total == 0 {
            return None;
        }
        let recalls: Vec<f64> =
            hits.iter().zip(&support).filter(|(_, n)| **n > 0).map(|(hit, n)| *hit as f64 / *n as f64).collect();
        let accuracy = hits.iter().sum::<usize>() as f64 / total as f64;
        Some((accuracy, recalls.iter().sum::<f64>() / recalls.len() as f64))
    }
}

/// 2.5th and 97.5th percentile with linear interpolation.
pub(crate) fn interval(mut values: Vec<f64>) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let percentile = |fraction: f64| {
        let position = fraction * (values.len() - 1) as f64;
        let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
        below + (above - below) * position.fract()
    };
    Some(Interval { lower: percentile(0.025), upper: percentile(0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_near_the_binomial_one_and_repeats() {
        let pairs = (0..400).map(|case| Some((0, usize::from(case % 4 == 0)))).collect();
        let outcomes = Outcomes { classes: 2, pairs };
        let cases: Vec<Vec<usize>> = (0..400).map(|case| vec![case]).collect();
        let (accuracy, balanced) = Bootstrap::default().intervals(&[&outcomes], &cases);
        let accuracy = accuracy.unwrap();
        let half = 1.96 * (0.75_f64 * 0.25 / 400.0).sqrt();
        assert!((accuracy.lower - (0.75 - half)).abs() < 0.01 && (accuracy.upper - (0.75 + half)).abs() < 0.01);
        assert_eq!(balanced, Some(accuracy));
        assert_eq!(Bootstrap::default().intervals(&[&outcomes], &cases).0, Some(accuracy));
    }

    #[test]
    fn repetitions_do_not_make_more_cases() {
        let ids =
            |times: usize| -> Vec<CaseId> { (0..400 * times).map(|row| (row % 400).to_string().into()).collect() };
        let interval = |times: usize| {
            let pairs = (0..400 * times).map(|row| Some((0, usize::from(row % 4 == 0)))).collect();
            Bootstrap::default().intervals(&[&Outcomes { classes: 2, pairs }], &rows_of_cases(&ids(times)))
        };
        assert_eq!(rows_of_cases(&ids(2))[3], [3, 403]);
        assert_eq!(interval(5), interval(1));
    }

    #[test]
    fn nothing_to_draw_gives_no_interval() {
        let none = Outcomes { classes: 2, pairs: vec![None; 3] };
        assert_eq!(Bootstrap::default().intervals(&[&none], &[vec![0], vec![1], vec![2]]), (None, None));
        let one = Outcomes { classes: 2, pairs: vec![Some((0, 0))] };
        assert_eq!(Bootstrap { resamples: 0, seed: 0 }.intervals(&[&one], &[vec![0]]), (None, None));
        assert_eq!(interval(vec![1.0, 0.0]), Some(Interval { lower: 0.025, upper: 0.975 }));
    }
}
