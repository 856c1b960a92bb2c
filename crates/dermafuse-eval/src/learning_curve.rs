//! How good a method is by how many cases it learnt from.

use std::collections::{BTreeMap, HashMap};

use dermafuse_schema::Predictions;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Resampler, interval};
use crate::figure::{self, CurveLine};
use crate::measures::TaskCases;
use crate::metrics::check;
use crate::{Bootstrap, EvalError, Interval, MeanDeviation, ReportTable};

/// The scores of [`LearningCurve::of_answers`], in the order of its curves.
pub const CURVE_SCORES: [&str; 4] = ["accuracy", "balanced accuracy", "macro F1", "macro AUC"];

/// How good a method is by how many cases it learnt from: whether more cases would pay.
///
/// ```
/// use dermafuse_eval::LearningCurve;
///
/// let curve = LearningCurve::of([(100, vec![0.50, 0.54]), (200, vec![0.58, 0.60]), (400, vec![0.62])]);
/// // The last doubling gained three points.
/// assert!((curve.points[2].gain.unwrap() - 0.03).abs() < 1e-12);
/// let table = LearningCurve::table("balanced accuracy", &[("ours".to_owned(), curve)]);
/// assert!(table.to_string().contains("59.0 ± 1.0"));
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
    /// 95 % of the mean over bootstrap samples of the patients that are tested; `None` where their answers are not known.
    #[serde(default)]
    pub interval: Option<Interval>,
    /// What the mean gained over the point before, for a doubling of the cases; `None` for the first.
    pub gain: Option<f64>,
    /// 95 % of the gain over the same samples for both points.
    #[serde(default)]
    pub gain_interval: Option<Interval>,
}

/// The answers of the rounds that learnt from so many cases.
#[derive(Clone, Debug)]
pub struct AnswersOfCases<'a> {
    /// Cases that were learnt from.
    pub cases: usize,
    /// The answers of each round: of repeats to the same test cases, of folds to others.
    pub rounds: Vec<&'a Predictions>,
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
            gain_of_doubling([before, cases], [low.mean, high.mean])
        };
        let point = |at: usize| LearningPoint {
            cases: scored[at].0,
            score: scored[at].1,
            interval: None,
            gain: gain(at),
            gain_interval: None,
        };
        Self { points: (0..scored.len()).map(point).collect() }
    }

    /// The curves of the [`CURVE_SCORES`], means over tasks and rounds, with intervals over the patients (else lesions) that are tested:
    /// each bootstrap sample draws patients with all their cases, the same ones for all points and rounds. `group_of` says
    /// the patient of a case by the id of the case; a case that it does not name is one by itself.
    ///
    /// The intervals speak of who was tested. What differs from draw to draw of the training cases is in the deviations.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn of_answers(
        answers: &[AnswersOfCases<'_>],
        group_of: &HashMap<String, String>,
        bootstrap: &Bootstrap,
    ) -> Result<[Self; CURVE_SCORES.len()], EvalError> {
        let mut ordered: Vec<&AnswersOfCases<'_>> = answers.iter().collect();
        ordered.sort_by_key(|answers| answers.cases);
        let mut points = Vec::with_capacity(ordered.len());
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for answers in &ordered {
            for predictions in &answers.rounds {
                check(predictions)?;
                for id in &predictions.ids {
                    names.insert(group_of.get(id.as_str()).map_or(id.as_str(), String::as_str), 0);
                }
            }
        }
        // In the order of their names.
        names.values_mut().enumerate().for_each(|(at, group)| *group = at);
        for answers in &ordered {
            let round = |predictions: &&Predictions| RoundCases {
                tasks: (0..predictions.tasks.len()).map(|task| TaskCases::new(predictions, task)).collect(),
                groups: predictions
                    .ids
                    .iter()
                    .map(|id| names[group_of.get(id.as_str()).map_or(id.as_str(), String::as_str)])
                    .collect(),
            };
            points.push(answers.rounds.iter().map(round).collect::<Vec<_>>());
        }
        let once = vec![1; names.len()];
        let whole: Vec<Vec<RoundScores>> = points.iter().map(|rounds| scores_of(rounds, &once)).collect();
        let mut resampler = Resampler::new(bootstrap.seed);
        let groups: Vec<Vec<usize>> = (0..names.len()).map(|group| vec![group]).collect();
        // `[sample][point][score]` means over the rounds.
        let samples: Vec<Vec<RoundScores>> = (0..if groups.is_empty() { 0 } else { bootstrap.resamples })
            .map(|_| {
                let counts = resampler.counts(&groups, groups.len());
                points.iter().map(|rounds| mean_of(&scores_of(rounds, &counts))).collect()
            })
            .collect();
        Ok(std::array::from_fn(|score| {
            let of_rounds = |at: usize| whole[at].iter().filter_map(|scores| scores[score]).collect();
            let mut curve = Self::of((0..ordered.len()).map(|at| (ordered[at].cases, of_rounds(at))));
            // Points without a score are not in the curve.
            let drawn: Vec<usize> =
                (0..ordered.len()).filter(|&at| whole[at].iter().any(|s| s[score].is_some())).collect();
            for (place, point) in curve.points.iter_mut().enumerate() {
                let values = |at: usize| samples.iter().map(move |sample| sample[at][score]);
                point.interval = interval(values(drawn[place]).flatten().collect());
                if let Some(before) = place.checked_sub(1) {
                    let cases = [ordered[drawn[before]].cases, ordered[drawn[place]].cases];
                    let gains = values(drawn[before])
                        .zip(values(drawn[place]))
                        .filter_map(|(low, high)| gain_of_doubling(cases, [low?, high?]));
                    point.gain_interval = interval(gains.collect());
                }
            }
            curve
        }))
    }

    /// Curves of methods as a table for a report, in per cent.
    #[must_use]
    pub fn table(score: &str, curves: &[(String, Self)]) -> ReportTable {
        let mut table = ReportTable::new(
            format!("Learning curve, {score}"),
            ["method", "cases", "draws", score, "95 %", "gained by a doubling", "95 % of it"],
            "Mean and deviation over draws of so many training cases, tested on the same others; 95 % intervals are a bootstrap over the \
             patients or lesions that are tested. Per cent. Where the interval of the last gain holds 0, nothing shows that more cases pay.",
        );
        let percent = |Interval { lower, upper }: Interval, signed: bool| match signed {
            true => format!("{:+.1} to {:+.1}", 100.0 * lower, 100.0 * upper),
            false => format!("{:.1}–{:.1}", 100.0 * lower, 100.0 * upper),
        };
        for (name, curve) in curves {
            for LearningPoint { cases, score, interval, gain, gain_interval } in &curve.points {
                let mean = MeanDeviation { mean: 100.0 * score.mean, deviation: 100.0 * score.deviation, n: score.n };
                table.push([
                    name.clone(),
                    cases.to_string(),
                    score.n.to_string(),
                    mean.to_string(),
                    interval.map(|interval| percent(interval, false)).unwrap_or_default(),
                    gain.map(|gain| format!("{:+.1}", 100.0 * gain)).unwrap_or_default(),
                    gain_interval.map(|interval| percent(interval, true)).unwrap_or_default(),
                ]);
            }
        }
        table
    }

    /// Curves of methods as a picture: the score in per cent over the number of cases, which doubles from tick to tick, with the intervals.
    #[must_use]
    pub fn chart(score: &str, curves: &[(String, Self)]) -> String {
        let lines: Vec<CurveLine> = curves
            .iter()
            .map(|(name, curve)| CurveLine {
                name: name.clone(),
                points: curve
                    .points
                    .iter()
                    .map(|point| {
                        let scaled = |Interval { lower, upper }: Interval| Interval {
                            lower: 100.0 * lower,
                            upper: 100.0 * upper,
                        };
                        (point.cases as f64, 100.0 * point.score.mean, point.interval.map(scaled))
                    })
                    .collect(),
            })
            .collect();
        figure::learning_curve_chart(
            &format!("Learning curve, {score}"),
            "training cases",
            &format!("{score}, per cent"),
            &lines,
        )
    }
}

/// The test cases of a round, and the group of each.
struct RoundCases {
    tasks: Vec<TaskCases>,
    groups: Vec<usize>,
}

/// One value for each of [`CURVE_SCORES`].
type RoundScores = [Option<f64>; CURVE_SCORES.len()];

/// The scores of each round when its groups count so often.
fn scores_of(rounds: &[RoundCases], counts: &[u32]) -> Vec<RoundScores> {
    let round = |RoundCases { tasks, groups }: &RoundCases| {
        let counts: Vec<u32> = groups.iter().map(|group| counts[*group]).collect();
        let means: Vec<RoundScores> = tasks.iter().map(|task| task.means(&counts)).collect();
        mean_of(&means)
    };
    rounds.iter().map(round).collect()
}

/// The mean of what is defined, score by score.
fn mean_of(all: &[RoundScores]) -> RoundScores {
    std::array::from_fn(|score| {
        let defined: Vec<f64> = all.iter().filter_map(|scores| scores[score]).collect();
        (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
    })
}

fn gain_of_doubling([before, cases]: [usize; 2], [low, high]: [f64; 2]) -> Option<f64> {
    (cases > before && before > 0).then(|| (high - low) / (cases as f64 / before as f64).log2())
}

#[cfg(test)]
mod tests {
    use dermafuse_schema::{Task, TaskSet};
    use ndarray::Array2;

    use super::*;
    use crate::Evaluation;

    /// Answers to 90 cases of which every `wrong`-th is wrong.
    fn answers(wrong: usize) -> Predictions {
        let truth = |case: usize| case % 3;
        let said = |case: usize| if case.is_multiple_of(wrong) { (truth(case) + 1) % 3 } else { truth(case) };
        let share = |case: usize, class: usize| if said(case) == class { 0.6 } else { 0.2 };
        Predictions {
            tasks: TaskSet::new(vec![Task::new("d", "D", ["a", "b", "c"])]).unwrap(),
            ids: (0..90).map(|case| case.to_string().into()).collect(),
            labels: (0..90).map(|case| vec![Some(truth(case))]).collect(),
            probabilities: vec![Array2::from_shape_fn((90, 3), |(case, class)| share(case, class))],
            basis: vec!["clinical".into(); 90],
        }
    }

    #[test]
    fn points_are_evaluations_and_intervals_hold_them() {
        let tables: Vec<Predictions> = [2, 3, 4, 5].map(answers).into();
        let of = |cases: usize, rounds: Vec<usize>| AnswersOfCases {
            cases,
            rounds: rounds.into_iter().map(|at| &tables[at]).collect(),
        };
        let points = [of(200, vec![2, 3]), of(50, vec![0, 1])];
        let groups: HashMap<String, String> =
            (0..90).map(|case| (case.to_string(), format!("p{}", case / 3))).collect();
        let bootstrap = Bootstrap { resamples: 300, seed: 1 };
        let curves = LearningCurve::of_answers(&points, &groups, &bootstrap).unwrap();
        let overall = |at: usize| Evaluation::of(&tables[at]).unwrap().overall;
        let values =
            |at: usize| [overall(at).accuracy, overall(at).balanced_accuracy, overall(at).macro_f1, overall(at).auc];
        for (score, curve) in curves.iter().enumerate() {
            assert_eq!(curve.points.iter().map(|point| point.cases).collect::<Vec<_>>(), [50, 200]);
            let expected =
                |one: usize, other: usize| (values(one)[score].unwrap() + values(other)[score].unwrap()) / 2.0;
            let [first, last] = [expected(0, 1), expected(2, 3)];
            assert!(
                (curve.points[0].score.mean - first).abs() < 1e-12 && (curve.points[1].score.mean - last).abs() < 1e-12
            );
            // Two doublings.
            assert!((curve.points[1].gain.unwrap() - (last - first) / 2.0).abs() < 1e-12);
            for (value, interval) in [
                (curve.points[0].score.mean, curve.points[0].interval),
                (curve.points[1].gain.unwrap(), curve.points[1].gain_interval),
            ] {
                let Interval { lower, upper } = interval.unwrap();
                assert!(lower < value && value < upper && upper - lower < 0.5, "{lower} {value} {upper}");
            }
        }
        assert_eq!(LearningCurve::of_answers(&points, &groups, &bootstrap).unwrap(), curves);
        let named = [("ours".to_owned(), curves[1].clone())];
        assert!(LearningCurve::table("balanced accuracy", &named).to_string().contains(" to "));
        let chart = LearningCurve::chart("balanced accuracy", &named);
        assert!(chart.contains(">50<") && chart.contains(">200<") && chart.contains("training cases"), "{chart}");
    }
}
