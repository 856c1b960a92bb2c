use serde::{Deserialize, Serialize};

use crate::{MeanDeviation, ReportTable};

/// How good a method is by how many cases it learnt from: whether more cases would pay.
///
/// ```
/// use dermafuse_eval::LearningCurve;
///
/// let curve = LearningCurve::of([(100, vec![0.50, 0.54]), (200, vec![0.58, 0.60]), (400, vec![0.62])]);
/// // The last doubling gained three points.
/// assert!((curve.points[2].gain.unwrap() - 0.03).abs() < 1e-12);
/// assert!(curve.table("balanced accuracy").to_string().contains("59.0 ± 1.0"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// By rising number of cases.
    pub points: Vec<LearningPoint>,
}

/// What was reached with so many cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningPoint {
    /// Cases that were learnt from.
    pub cases: usize,
    /// The score over several draws of them.
    pub score: MeanDeviation,
    /// What the mean gained over the point before, for a doubling of the cases; `None` for the first.
    pub gain: Option<f64>,
}

impl LearningCurve {
    /// Of the scores of several draws of so many cases each; those without a score are left out.
    #[must_use]
    pub fn of(runs: impl IntoIterator<Item = (usize, Vec<f64>)>) -> Self {
        let mut scored: Vec<(usize, MeanDeviation)> =
            runs.into_iter().filter_map(|(cases, scores)| Some((cases, MeanDeviation::of(&scores)?))).collect();
        scored.sort_by_key(|(cases, _)| *cases);
        let gain = |at: usize| {
            let [(before, low), (cases, high)] = [scored[at.checked_sub(1)?], scored[at]];
            (cases > before).then(|| (high.mean - low.mean) / (cases as f64 / before as f64).log2())
        };
        let point = |at: usize| LearningPoint { cases: scored[at].0, score: scored[at].1, gain: gain(at) };
        Self { points: (0..scored.len()).map(point).collect() }
    }

    /// As a table for a report, in per cent.
    #[must_use]
    pub fn table(&self, score: &str) -> ReportTable {
        let mut table = ReportTable::new(
            "Learning curve",
            ["cases", "draws", score, "gained by a doubling"],
            "Mean and deviation over draws of so many cases, tested on the same others. Per cent.",
        );
        for LearningPoint { cases, score, gain } in &self.points {
            let percent = MeanDeviation { mean: 100.0 * score.mean, deviation: 100.0 * score.deviation, n: score.n };
            let gain = gain.map(|gain| format!("{:+.1}", 100.0 * gain)).unwrap_or_default();
            table.push([cases.to_string(), score.n.to_string(), percent.to_string(), gain]);
        }
        table
    }
}
