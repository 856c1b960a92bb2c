use dermafuse_schema::{Predictions, SMALL_GROUP};
use serde::{Deserialize, Serialize};

use crate::bootstrap::rows_of_cases;
use crate::metrics::{check, outcomes};
use crate::{Bootstrap, EvalError, Evaluation, EvaluationOptions, Interval};

/// A way to divide the cases, such as by sex, age band, body site or inputs at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouping {
    /// Heading, such as `sex`.
    pub name: String,
    /// `[N]` the group of each case; `None` where it is not recorded.
    pub values: Vec<Option<String>>,
}

/// How well each group is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubgroupTable {
    /// Heading of the grouping.
    pub name: String,
    /// Short heading of the task that the first columns are of: the first of the task set.
    pub task: String,
    /// All cases together.
    pub all: SubgroupRow,
    /// One row for each group, by name (numbers by value), cases without a recorded group last.
    pub groups: Vec<SubgroupRow>,
}

/// The numbers of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubgroupRow {
    /// Name of the group; `None` for cases without a recorded value, and for all cases together.
    pub group: Option<String>,
    /// Cases in the group; one that was predicted several times is one.
    pub n: usize,
    /// Whether there are fewer than [`SMALL_GROUP`] cases.
    pub small: bool,
    /// Accuracy of the first task.
    pub accuracy: Option<f64>,
    /// Bootstrap interval of that accuracy.
    pub accuracy_interval: Option<Interval>,
    /// Balanced accuracy of the first task.
    pub balanced_accuracy: Option<f64>,
    /// Bootstrap interval of that balanced accuracy.
    pub balanced_accuracy_interval: Option<Interval>,
    /// AVG ACC: mean accuracy over the tasks.
    pub mean_accuracy: Option<f64>,
    /// Bootstrap interval of the AVG ACC.
    pub mean_accuracy_interval: Option<Interval>,
}

impl Grouping {
    /// The cases by what they were predicted from, so that a missing image shows in the numbers.
    #[must_use]
    pub fn by_basis(predictions: &Predictions) -> Self {
        Self {
            name: "predicted from".into(),
            values: predictions.basis.iter().map(|basis| Some(basis.to_string())).collect(),
        }
    }
}

impl SubgroupTable {
    /// The table of one grouping.
    ///
    /// # Errors
    /// A grouping without one value for each case, or predictions that cannot be evaluated.
    pub fn of(predictions: &Predictions, grouping: &Grouping, bootstrap: &Bootstrap) -> Result<Self, EvalError> {
        check(predictions)?;
        if grouping.values.len() != predictions.len() {
            let (expected, found) = (predictions.len(), grouping.values.len());
            return Err(EvalError::Grouping { grouping: grouping.name.clone(), expected, found });
        }
        let mut names: Vec<Option<&String>> = grouping.values.iter().map(Option::as_ref).collect();
        names.sort_by(|a, b| match (a, b) {
            (Some(a), Some(b)) => leading_number(a).total_cmp(&leading_number(b)).then_with(|| a.cmp(b)),
            (a, b) => a.is_none().cmp(&b.is_none()),
        });
        names.dedup();
        let groups = names.into_iter().map(|name| {
            let rows: Vec<usize> =
                (0..predictions.len()).filter(|&case| grouping.values[case].as_ref() == name).collect();
            SubgroupRow::of(name.cloned(), &predictions.select(&rows), bootstrap)
        });
        Ok(Self {
            name: grouping.name.clone(),
            task: predictions.tasks[0].label.clone(),
            groups: groups.collect::<Result<_, _>>()?,
            all: SubgroupRow::of(None, predictions, bootstrap)?,
        })
    }
}

impl SubgroupRow {
    fn of(group: Option<String>, predictions: &Predictions, bootstrap: &Bootstrap) -> Result<Self, EvalError> {
        let options = EvaluationOptions { bootstrap: *bootstrap, ..EvaluationOptions::default() };
        let evaluation = Evaluation::with(predictions, &options)?;
        let cases = rows_of_cases(&predictions.ids);
        let (accuracy_interval, balanced_accuracy_interval) = bootstrap.intervals(&[&outcomes(predictions, 0)], &cases);
        Ok(Self {
            group,
            n: cases.len(),
            small: cases.len() < SMALL_GROUP,
            accuracy: evaluation.tasks[0].accuracy,
            accuracy_interval,
            balanced_accuracy: evaluation.tasks[0].balanced_accuracy,
            balanced_accuracy_interval,
            mean_accuracy: evaluation.overall.accuracy,
            mean_accuracy_interval: evaluation.overall.accuracy_interval,
        })
    }
}

/// The number a name starts with (`40-59`), so that bands are in order; names without one come after.
fn leading_number(name: &str) -> f64 {
    let end = name.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(name.len());
    name[..end].parse().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Task, TaskSet};
    use ndarray::Array2;

    /// 30 cases, the first 25 right.
    fn predictions() -> Predictions {
        Predictions {
            tasks: TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap(),
            ids: (0..30).map(|case| case.to_string().into()).collect(),
            labels: (0..30).map(|case| vec![Some(usize::from(case >= 25))]).collect(),
            basis: vec!["clinical".into(); 30],
            probabilities: vec![Array2::from_shape_fn((30, 2), |(_, class)| if class == 0 { 0.75 } else { 0.25 })],
        }
    }

    #[test]
    fn groups_are_ordered_flagged_and_the_unrecorded_are_a_row() {
        let group = |case: usize| match case {
            0..2 => Some("100-119".into()),
            2..25 => Some("20-39".into()),
            25..28 => None,
            _ => Some("unsure".into()),
        };
        let grouping = Grouping { name: "age".into(), values: (0..30).map(group).collect() };
        let table = SubgroupTable::of(&predictions(), &grouping, &Bootstrap::default()).unwrap();
        let names: Vec<Option<&str>> = table.groups.iter().map(|row| row.group.as_deref()).collect();
        assert_eq!(names, [Some("20-39"), Some("100-119"), Some("unsure"), None]);
        let counts: Vec<(usize, bool)> = table.groups.iter().map(|row| (row.n, row.small)).collect();
        assert_eq!(counts, [(23, false), (2, true), (2, true), (3, true)]);
        assert_eq!(table.groups[0].accuracy, Some(1.0));
        assert_eq!(table.groups[3].balanced_accuracy, Some(0.0));
        assert_eq!((table.all.n, table.all.balanced_accuracy), (30, Some(0.5)));
        let interval = table.all.mean_accuracy_interval.unwrap();
        assert!(interval.lower < 25.0 / 30.0 && 25.0 / 30.0 < interval.upper);
    }

    #[test]
    fn cases_are_grouped_by_what_they_were_predicted_from() {
        let mut predictions = predictions();
        predictions.basis[29] = "dermoscopic".into();
        let table = SubgroupTable::of(&predictions, &Grouping::by_basis(&predictions), &Bootstrap::default()).unwrap();
        assert_eq!(table.groups.iter().map(|row| row.n).collect::<Vec<_>>(), [29, 1]);
    }

    #[test]
    fn a_grouping_has_one_value_for_each_case() {
        let grouping = Grouping { name: "sex".into(), values: vec![None; 3] };
        let error = SubgroupTable::of(&predictions(), &grouping, &Bootstrap::default()).unwrap_err();
        assert_eq!(error.to_string(), "grouping `sex` has 3 values for 30 cases");
    }
}
