//! Whether the rows of one run differ by more than the chance of its test cases: each branch from each other, and the answer from each.

use dermafuse_schema::{Interval, Predictions, SchemaError};
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Resampler, interval};
use crate::comparison::p_text;
use crate::measures::{TaskCases, rows_of_groups};
use crate::metrics::check;
use crate::significance::{McNemar, holm};
use crate::{Bootstrap, EvalError, ReportTable};

/// Paired tests of every two rows on the same cases.
///
/// Of each task, and of each pair of rows: McNemar's test of how often they are right, and the differences of balanced accuracy, macro F1 and
/// macro AUC with a paired bootstrap over `groups` (patients, else lesions; who has many images is drawn with all of them). p is two-sided;
/// Holm's correction is over all pairs of a task, for each measure. McNemar's test takes cases for independent, so it is too sure where
/// patients have several. All speak of the sampling of test cases, not of what another training would give.
///
/// ```
/// use dermafuse_eval::{Bootstrap, RowTests};
/// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::Array2};
///
/// let answers = |right: usize| Predictions {
///     tasks: TaskSet::new(vec![Task::new("malignancy", "MAL", ["benign", "malignant"])]).unwrap(),
///     ids: (0..40).map(|case| case.to_string().into()).collect(),
///     labels: (0..40).map(|case| vec![Some(case % 2)]).collect(),
///     probabilities: vec![Array2::from_shape_fn((40, 2), |(case, class)| {
///         if ((case % 2 == class) == (case < right)) { 0.9 } else { 0.1 }
///     })],
///     basis: vec!["clinical".into(); 40],
/// };
/// let rows = [("P_clinical", &answers(26)), ("P_dermoscopic", &answers(38))];
/// let patients: Vec<String> = (0..40).map(|case| case.to_string()).collect();
/// let tests = RowTests::of(&rows, &patients, &Bootstrap::default())?;
/// let pair = &tests.tasks[0].pairs[0];
/// assert_eq!((pair.mcnemar.first_only, pair.mcnemar.second_only), (0, 12));
/// let difference = pair.balanced_accuracy.value.expect("both classes occur");
/// assert!(pair.mcnemar.p < 0.001 && (difference + 0.3).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowTests {
    /// How samples were drawn.
    pub bootstrap: Bootstrap,
    /// Number of groups that are drawn.
    pub groups: usize,
    /// One entry for each task with annotated cases.
    pub tasks: Vec<TaskRowTests>,
}

/// The tests of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRowTests {
    /// Name of the task.
    pub name: String,
    /// Short heading of the task.
    pub label: String,
    /// Annotated cases.
    pub n: usize,
    /// Every two rows.
    pub pairs: Vec<RowPair>,
}

/// Two rows; differences are the first's less the second's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowPair {
    /// The name of the first row.
    pub first: String,
    /// The name of the second row.
    pub second: String,
    /// Which of them is right more often.
    pub mcnemar: McNemar,
    /// Its p, corrected for the number of pairs.
    pub mcnemar_holm: f64,
    /// Of the mean recall over the classes that occur.
    pub balanced_accuracy: Difference,
    /// Of the mean F1 over the classes that occur or were predicted.
    pub macro_f1: Difference,
    /// Of the mean area under the one-vs-rest ROC curves.
    pub macro_auc: Difference,
}

/// A difference of two rows on the same cases, 0 to 1 either way; `None` where it is undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// On all cases.
    pub value: Option<f64>,
    /// 95 % of those of bootstrap samples.
    pub interval: Option<Interval>,
    /// Twice the share of samples on the other side of 0, at least one sample's share.
    pub p: Option<f64>,
    /// The same, corrected for the number of pairs.
    pub holm: Option<f64>,
}

impl RowTests {
    /// The tests of these rows, which are of the same cases in the same order; `groups` `[N]` are the patients of the cases, else their
    /// lesions.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated; rows of other cases; another number of groups.
    pub fn of(rows: &[(&str, &Predictions)], groups: &[String], bootstrap: &Bootstrap) -> Result<Self, EvalError> {
        let Some((_, first)) = rows.first() else {
            return Ok(Self { bootstrap: *bootstrap, groups: 0, tasks: Vec::new() });
        };
        for (name, row) in rows {
            check(row)?;
            let shape = |what: String, expected: usize, found: usize| {
                EvalError::from(SchemaError::Shape { what, expected: vec![expected], found: vec![found] })
            };
            if row.ids != first.ids || row.tasks != first.tasks {
                return Err(shape(
                    format!("row {name}, which is of other cases or tasks: its cases"),
                    first.len(),
                    row.len(),
                ));
            }
            if groups.len() != row.len() {
                return Err(shape("groups of the cases".into(), row.len(), groups.len()));
            }
        }
        let drawn = rows_of_groups(groups);
        let mut resampler = Resampler::new(bootstrap.seed);
        let samples = if drawn.is_empty() { 0 } else { bootstrap.resamples };
        let counts: Vec<Vec<u32>> = (0..samples).map(|_| resampler.counts(&drawn, first.len())).collect();
        let whole = vec![1; first.len()];
        let mut tasks = Vec::new();
        for (index, task) in first.tasks.iter().enumerate() {
            let n = first.labels.iter().filter(|labels| labels[index].is_some()).count();
            if n == 0 {
                continue;
            }
            let means = |row: &Predictions| {
                let cases = TaskCases::new(row, index);
                let of_samples: Vec<[Option<f64>; 4]> = counts.iter().map(|counts| cases.means(counts)).collect();
                (cases.means(&whole), of_samples)
            };
            let means: Vec<_> = rows.iter().map(|(_, row)| means(row)).collect();
            let hits = |row: &Predictions| -> Vec<bool> {
                let labelled = (0..row.len()).filter_map(|case| Some((case, row.labels[case][index]?)));
                labelled.map(|(case, truth)| row.predicted(case, index) == truth).collect()
            };
            let hits: Vec<Vec<bool>> = rows.iter().map(|(_, row)| hits(row)).collect();
            let mut pairs = Vec::new();
            for one in 0..rows.len() {
                for other in one + 1..rows.len() {
                    let ((whole, samples), (whole_other, samples_other)) = (&means[one], &means[other]);
                    let difference = |at: usize| {
                        let of = |pair: (&[Option<f64>; 4], &[Option<f64>; 4])| Some(pair.0[at]? - pair.1[at]?);
                        Difference::of(
                            of((whole, whole_other)),
                            samples.iter().zip(samples_other).filter_map(of).collect(),
                        )
                    };
                    pairs.push(RowPair {
                        first: rows[one].0.to_owned(),
                        second: rows[other].0.to_owned(),
                        mcnemar: McNemar::of_hits(&hits[one], &hits[other])?,
                        mcnemar_holm: f64::NAN,
                        balanced_accuracy: difference(1),
                        macro_f1: difference(2),
                        macro_auc: difference(3),
                    });
                }
            }
            let corrected = holm(&pairs.iter().map(|pair| pair.mcnemar.p).collect::<Vec<_>>())?;
            pairs.iter_mut().zip(corrected).for_each(|(pair, p)| pair.mcnemar_holm = p);
            let measures: [fn(&mut RowPair) -> &mut Difference; 3] =
                [|pair| &mut pair.balanced_accuracy, |pair| &mut pair.macro_f1, |pair| &mut pair.macro_auc];
            for measure in measures {
                let mut defined: Vec<&mut Difference> =
                    pairs.iter_mut().map(measure).filter(|difference| difference.p.is_some()).collect();
                let corrected = holm(&defined.iter().filter_map(|difference| difference.p).collect::<Vec<_>>())?;
                defined.iter_mut().zip(corrected).for_each(|(difference, p)| difference.holm = Some(p));
            }
            tasks.push(TaskRowTests { name: task.name.clone(), label: task.label.clone(), n, pairs });
        }
        Ok(Self { bootstrap: *bootstrap, groups: drawn.len(), tasks })
    }

    /// A table for each task; differences in per cent.
    #[must_use]
    pub fn tables(&self) -> Vec<ReportTable> {
        let of_task = |task: &TaskRowTests| {
            let head = [
                "pair",
                "only the first right",
                "only the second",
                "p",
                "balanced accuracy",
                "p",
                "macro F1",
                "p",
                "macro AUC",
                "p",
            ];
            let caption = format!(
                "{} cases. Which is right: McNemar's test. Differences: the first less the second, per cent, with 95 % of {} bootstrap samples of \
                 {} patients or lesions. p is corrected for the {} pairs (Holm). They speak of the sampling of test cases, not of what another \
                 training would give; cases that several rounds test make p too small.",
                task.n,
                self.bootstrap.resamples,
                self.groups,
                task.pairs.len()
            );
            let mut table = ReportTable::new(format!("{}: do the rows differ?", task.label), head, caption);
            for pair in &task.pairs {
                let mcnemar = &pair.mcnemar;
                let mut cells = vec![
                    format!("{} – {}", pair.first, pair.second),
                    mcnemar.first_only.to_string(),
                    mcnemar.second_only.to_string(),
                    p_text(pair.mcnemar_holm),
                ];
                for difference in [&pair.balanced_accuracy, &pair.macro_f1, &pair.macro_auc] {
                    cells.extend([difference.text(), difference.holm.map_or_else(|| "–".to_owned(), p_text)]);
                }
                table.push(cells);
            }
            table
        };
        self.tasks.iter().filter(|task| !task.pairs.is_empty()).map(of_task).collect()
    }
}

impl Difference {
    fn of(value: Option<f64>, samples: Vec<f64>) -> Self {
        let Some(value) = value.filter(|_| !samples.is_empty()) else { return Self { value, ..Self::default() } };
        let share = |count: usize| count as f64 / samples.len() as f64;
        let below = share(samples.iter().filter(|sample| **sample <= 0.0).count());
        let above = share(samples.iter().filter(|sample| **sample >= 0.0).count());
        let p = (2.0 * below.min(above).max(share(1))).min(1.0);
        Self { value: Some(value), interval: interval(samples), p: Some(p), holm: None }
    }

    fn text(&self) -> String {
        let Some(value) = self.value else { return "–".to_owned() };
        let value = format!("{:+.1}", 100.0 * value);
        match &self.interval {
            Some(interval) => format!("{value} ({:+.1} to {:+.1})", 100.0 * interval.lower, 100.0 * interval.upper),
            None => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use dermafuse_schema::{Task, TaskSet};
    use ndarray::Array2;

    use super::*;

    /// Three classes in turns; the first `right` of every 50 cases are answered rightly and surely, the others by the next class.
    fn row(right: usize) -> Predictions {
        let cases = 300;
        let said = |case: usize| if case % 50 < right { case % 3 } else { (case + 1) % 3 };
        Predictions {
            tasks: TaskSet::new(vec![Task::new("d", "D", ["a", "b", "c"])]).unwrap(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            labels: (0..cases).map(|case| vec![(case % 10 != 9).then_some(case % 3)]).collect(),
            probabilities: vec![Array2::from_shape_fn(
                (cases, 3),
                |(case, class)| if said(case) == class { 0.8 } else { 0.1 },
            )],
            basis: vec!["clinical".into(); cases],
        }
    }

    fn each() -> Vec<String> {
        (0..300).map(|case| case.to_string()).collect()
    }

    #[test]
    fn the_better_row_is_told_and_equal_rows_are_not() {
        let (low, high) = (row(25), row(40));
        let rows = [("P_clinical", &low), ("P_dermoscopic", &high), ("P_1", &high)];
        let tests = RowTests::of(&rows, &each(), &Bootstrap { resamples: 400, seed: 1 }).unwrap();
        let [task] = &tests.tasks[..] else { panic!("one task") };
        assert_eq!((task.n, task.pairs.len(), tests.groups), (270, 3, 300));
        // 15 of 50 are right with the second alone, of which every tenth (39 of 25 to 39, 29) is not annotated.
        let [first, _, same] = &task.pairs[..] else { panic!("three pairs") };
        assert_eq!((first.mcnemar.first_only, first.mcnemar.second_only), (0, 6 * 13));
        assert_eq!(first.mcnemar, McNemar::of(0, 78));
        assert!((first.mcnemar_holm - 3.0 * first.mcnemar.p).abs() < 1e-12);
        for difference in [&first.balanced_accuracy, &first.macro_f1, &first.macro_auc] {
            let interval = difference.interval.unwrap();
            assert!(difference.value.unwrap() < -0.2 && interval.upper < 0.0, "{difference:?}");
            assert_eq!((difference.p, difference.holm), (Some(2.0 / 400.0), Some(6.0 / 400.0)));
        }
        assert_eq!((same.mcnemar.p, same.macro_auc.value, same.macro_auc.p), (1.0, Some(0.0), Some(1.0)));
        let table = &tests.tables()[0];
        assert!(format!("{table:?}").contains("P_clinical – P_dermoscopic"), "{table:?}");
    }

    /// One patient with all cases is always drawn whole: there is no spread to judge by.
    #[test]
    fn cases_of_a_patient_are_drawn_together() {
        let (low, high) = (row(25), row(40));
        let rows = [("P_clinical", &low), ("P_1", &high)];
        let tests = RowTests::of(&rows, &vec!["one".to_owned(); 300], &Bootstrap::default()).unwrap();
        let difference = tests.tasks[0].pairs[0].macro_f1;
        let interval = difference.interval.unwrap();
        assert!((interval.lower - interval.upper).abs() < 1e-12 && Some(interval.lower) == difference.value);
    }

    #[test]
    fn rows_of_other_cases_are_refused() {
        let (one, mut other) = (row(25), row(40));
        other.ids[3] = "another".into();
        let error = RowTests::of(&[("P_clinical", &one), ("P_1", &other)], &each(), &Bootstrap::default()).unwrap_err();
        assert!(error.to_string().contains("row P_1, which is of other cases"), "{error}");
        let error = RowTests::of(&[("P_1", &one)], &each()[1..], &Bootstrap::default()).unwrap_err();
        assert!(error.to_string().contains("groups of the cases"), "{error}");
        assert!(RowTests::of(&[], &[], &Bootstrap::default()).unwrap().tables().is_empty());
    }
}
