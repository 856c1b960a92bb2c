use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use crate::cohort::check_labels;
use crate::{AnswerBasis, CaseId, FuseSpace, SchemaError, TaskSet, softmax};

/// Class probabilities of every case and task: what every station after the network takes and gives.
///
/// Row `n` of every array belongs to `ids[n]`. What is read from a file has passed [`check`](Self::check).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredPredictions")]
pub struct Predictions {
    /// The tasks.
    pub tasks: TaskSet,
    /// `[N]` identities.
    pub ids: Vec<CaseId>,
    /// `[N][T]` labels, `None` where not annotated.
    pub labels: Vec<Vec<Option<usize>>>,
    /// One `[N, K_t]` array for each task; every row sums to 1.
    pub probabilities: Vec<Array2<f64>>,
    /// `[N]` what the case was predicted from, such as `clinical+dermoscopic+fusion` or `clinical`, so that a
    /// prediction with a missing image says so.
    pub basis: Vec<AnswerBasis>,
}

/// By how much a row may miss a sum of 1: tables rounded to four decimals are read.
const ROUNDED: f64 = 1e-3;

/// The least that a probability counts as where logarithms are mixed ([`Predictions::mix_in`]).
pub const LEAST_FACTOR: f64 = 1e-7;

/// [`Predictions`] as they were stored.
#[derive(Deserialize)]
struct StoredPredictions {
    tasks: TaskSet,
    ids: Vec<CaseId>,
    labels: Vec<Vec<Option<usize>>>,
    probabilities: Vec<Array2<f64>>,
    basis: Vec<AnswerBasis>,
}

impl TryFrom<StoredPredictions> for Predictions {
    type Error = SchemaError;

    fn try_from(stored: StoredPredictions) -> Result<Self, SchemaError> {
        let StoredPredictions { tasks, ids, labels, probabilities, basis } = stored;
        let predictions = Self { tasks, ids, labels, probabilities, basis };
        predictions.check()?;
        Ok(predictions)
    }
}

impl Predictions {
    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Checks that every column has `N` rows, labels are in range, and each row of probabilities sums to 1.
    ///
    /// # Errors
    /// The first thing that does not fit, by task and case.
    pub fn check(&self) -> Result<(), SchemaError> {
        let cases = self.len();
        for (what, found) in [("labels", self.labels.len()), ("bases", self.basis.len())] {
            if found != cases {
                return Err(SchemaError::Shape { what: what.into(), expected: vec![cases], found: vec![found] });
            }
        }
        let ids = self.ids.iter().map(|id| ("case", id.as_str()));
        let parts = self.basis.iter().flat_map(AnswerBasis::parts).map(|part| ("basis", part.name.as_str()));
        if let Some((what, name)) = ids.chain(parts).find(|(_, name)| name.contains('\0')) {
            return Err(SchemaError::Nul { what, name: name.into() });
        }
        check_labels(&self.tasks, &self.ids, &self.labels)?;
        if self.probabilities.len() != self.tasks.len() {
            let (expected, found) = (vec![self.tasks.len()], vec![self.probabilities.len()]);
            return Err(SchemaError::Shape { what: "tasks of the probabilities".into(), expected, found });
        }
        for (task, probabilities) in self.tasks.iter().zip(&self.probabilities) {
            let expected = vec![cases, task.classes.len()];
            if probabilities.shape() != expected {
                let what = format!("probabilities of task `{}`", task.name);
                return Err(SchemaError::Shape { what, expected, found: probabilities.shape().to_vec() });
            }
            for (id, row) in self.ids.iter().zip(probabilities.rows()) {
                let of = || format!("of case `{id}`, task `{}`", task.name);
                if let Some(&value) = row.iter().find(|p| !(0.0..=1.0).contains(*p)) {
                    return Err(SchemaError::Number {
                        what: format!("probability {}", of()),
                        value,
                        expected: "within 0..=1",
                    });
                }
                if (row.sum() - 1.0).abs() > ROUNDED {
                    let what = format!("sum of the probabilities {}", of());
                    return Err(SchemaError::Number { what, value: row.sum(), expected: "1" });
                }
            }
        }
        Ok(())
    }

    /// The most probable class of one case and task; the first of equals.
    ///
    /// # Panics
    /// If the case or the task is out of range.
    #[must_use]
    pub fn predicted(&self, case: usize, task: usize) -> usize {
        argmax(self.probabilities[task].row(case))
    }

    /// How many annotated cases have the label as their most probable class, and how many there are.
    ///
    /// # Panics
    /// If the task is out of range.
    #[must_use]
    pub fn hits(&self, task: usize) -> (usize, usize) {
        let (mut hits, mut total) = (0_usize, 0_usize);
        for (case, labels) in self.labels.iter().enumerate() {
            if let Some(label) = labels[task] {
                total += 1;
                hits += usize::from(self.predicted(case, task) == label);
            }
        }
        (hits, total)
    }

    /// The fraction of annotated cases whose most probable class is the label; `None` without annotated cases.
    ///
    /// # Panics
    /// If the task is out of range.
    #[must_use]
    pub fn accuracy(&self, task: usize) -> Option<f64> {
        let (hits, total) = self.hits(task);
        (total > 0).then(|| hits as f64 / total as f64)
    }

    /// The mean of the tasks' accuracies, over the tasks that have annotated cases; `None` when none has.
    #[must_use]
    pub fn mean_accuracy(&self) -> Option<f64> {
        let per_task: Vec<f64> = (0..self.tasks.len()).filter_map(|task| self.accuracy(task)).collect();
        (!per_task.is_empty()).then(|| per_task.iter().sum::<f64>() / per_task.len() as f64)
    }

    /// `weight · self + (1 − weight) · other`, row by row (thesis Eq. 6.6).
    ///
    /// # Errors
    /// A weight outside 0..=1; tables of different cases or tasks.
    pub fn mix(&self, other: &Self, weight: f64) -> Result<Self, SchemaError> {
        if !(0.0..=1.0).contains(&weight) {
            return Err(SchemaError::Number { what: "mixing weight".into(), value: weight, expected: "within 0..=1" });
        }
        self.check_aligned("the first predictions", other, "the second predictions")?;
        let mut mixed = self.clone();
        for (ours, theirs) in mixed.probabilities.iter_mut().zip(&other.probabilities) {
            ours.zip_mut_with(theirs, |p, q| *p = weight * *p + (1.0 - weight) * q);
        }
        for (ours, theirs) in mixed.basis.iter_mut().zip(&other.basis) {
            if theirs.parts().len() > ours.parts().len() {
                ours.clone_from(theirs);
            }
        }
        Ok(mixed)
    }

    /// The same in a space: a weighted mean of probabilities, [`mix`](Self::mix), or of their logarithms, `p ∝ p_1^weight · p_2^(1 − weight)`
    /// (log-linear pooling; Genest and Zidek, Statistical Science 1, 1986). A product is right where both saw different things of a
    /// case, and a mean where they saw the same. In logarithms no probability counts as less than 1e-7, so that one table cannot rule a
    /// class out by itself, and at a weight of 1 or 0 the rows are those of one table to the bit.
    ///
    /// # Errors
    /// As [`mix`](Self::mix).
    pub fn mix_in(&self, space: FuseSpace, other: &Self, weight: f64) -> Result<Self, SchemaError> {
        let mut mixed = self.mix(other, weight)?;
        if space == FuseSpace::Probabilities || weight == 0.0 || weight == 1.0 {
            return Ok(mixed);
        }
        let log = |p: f64| p.max(LEAST_FACTOR).ln();
        for (to, (ours, theirs)) in
            mixed.probabilities.iter_mut().zip(self.probabilities.iter().zip(&other.probabilities))
        {
            for (mut to, (p, q)) in to.rows_mut().into_iter().zip(ours.rows().into_iter().zip(theirs.rows())) {
                let logits: Vec<f64> =
                    p.iter().zip(q).map(|(&p, &q)| weight * log(p) + (1.0 - weight) * log(q)).collect();
                to.iter_mut().zip(softmax(&logits)).for_each(|(to, p)| *to = p);
            }
        }
        Ok(mixed)
    }

    /// The cases at `rows`, in that order.
    ///
    /// # Panics
    /// If a row is out of range.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            tasks: self.tasks.clone(),
            ids: rows.iter().map(|&row| self.ids[row].clone()).collect(),
            labels: rows.iter().map(|&row| self.labels[row].clone()).collect(),
            probabilities: self.probabilities.iter().map(|p| p.select(Axis(0), rows)).collect(),
            basis: rows.iter().map(|&row| self.basis[row].clone()).collect(),
        }
    }

    /// The tables of different cases, such as those of the folds of a cross-validation, one after the other.
    ///
    /// # Errors
    /// No table, or tables of different tasks.
    pub fn concatenate(tables: Vec<Self>) -> Result<Self, SchemaError> {
        let mut tables = tables.into_iter();
        let mut all = tables.next().ok_or(SchemaError::NoTasks)?;
        for table in tables {
            if table.tasks != all.tasks {
                let what = "classes of the tasks of another table".into();
                let (expected, found) = (all.tasks.class_counts(), table.tasks.class_counts());
                return Err(SchemaError::Shape { what, expected, found });
            }
            all.ids.extend(table.ids);
            all.labels.extend(table.labels);
            all.basis.extend(table.basis);
            for (ours, theirs) in all.probabilities.iter_mut().zip(&table.probabilities) {
                ours.append(Axis(0), theirs.view()).expect("tables of the same tasks have the same columns");
            }
        }
        Ok(all)
    }

    /// Checks that two tables speak of the same tasks and the same cases in the same order.
    ///
    /// # Errors
    /// Different tasks, a different number of cases, or the first row that differs; `left` and `right` name the tables.
    pub fn check_aligned(&self, left: &str, other: &Self, right: &str) -> Result<(), SchemaError> {
        if self.tasks != other.tasks {
            let what = format!("classes of the tasks of {right} (as in {left})");
            let (expected, found) = (self.tasks.class_counts(), other.tasks.class_counts());
            return Err(SchemaError::Shape { what, expected, found });
        }
        if self.len() != other.len() {
            let what = format!("cases of {right} (as in {left})");
            return Err(SchemaError::Shape { what, expected: vec![self.len()], found: vec![other.len()] });
        }
        match (0..self.len()).find(|&row| self.ids[row] != other.ids[row]) {
            None => Ok(()),
            Some(row) => Err(SchemaError::Misaligned {
                left: left.into(),
                right: right.into(),
                row,
                left_case: self.ids[row].to_string(),
                right_case: other.ids[row].to_string(),
            }),
        }
    }
}

/// Index of the largest value, the first of equals.
fn argmax(row: ArrayView1<'_, f64>) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Task;
    use ndarray::array;

    fn predictions(p: Array2<f64>, labels: &[Option<usize>]) -> Predictions {
        Predictions {
            tasks: TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap(),
            ids: (0..labels.len()).map(|n| n.to_string().into()).collect(),
            labels: labels.iter().map(|&label| vec![label]).collect(),
            basis: vec!["clinical".into(); labels.len()],
            probabilities: vec![p],
        }
    }

    #[test]
    fn accuracy_counts_annotated_cases_and_takes_the_first_of_equals() {
        let p = predictions(array![[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]], &[Some(0), Some(0), None]);
        assert_eq!(p.accuracy(0), Some(0.5));
        assert_eq!(predictions(array![[0.5, 0.5]], &[None]).mean_accuracy(), None);
    }

    #[test]
    fn mixing_needs_the_same_cases() {
        let p = predictions(array![[0.5, 0.5], [0.2, 0.8]], &[Some(0), Some(0)]);
        let q = predictions(array![[1.0, 0.0], [1.0, 0.0]], &[Some(0), Some(0)]);
        assert_eq!(p.mix(&q, 0.5).unwrap().probabilities[0], array![[0.75, 0.25], [0.6, 0.4]]);
        let error = p.mix(&q.select(&[1, 0]), 0.5).unwrap_err().to_string();
        assert!(error.contains("different cases at row 0: `0` and `1`"), "{error}");
        assert!(p.mix(&q, 1.5).is_err());
    }

    #[test]
    fn a_product_is_a_mean_of_logarithms_and_nothing_is_ruled_out_by_one() {
        let p = predictions(array![[0.8, 0.2], [1.0, 0.0]], &[Some(0), Some(0)]);
        let q = predictions(array![[0.5, 0.5], [0.2, 0.8]], &[Some(0), Some(0)]);
        let half = p.mix_in(FuseSpace::Logits, &q, 0.5).unwrap();
        // √(4 · 1) to 1.
        assert!((half.probabilities[0][[0, 0]] - 2.0 / 3.0).abs() < 1e-12);
        let ratio = (1e7_f64 * 0.25).sqrt();
        assert!((half.probabilities[0][[1, 0]] - ratio / (1.0 + ratio)).abs() < 1e-12);
        half.check().unwrap();
        for (weight, whole) in [(1.0, &p), (0.0, &q)] {
            let mixed = p.mix_in(FuseSpace::Logits, &q, weight).unwrap();
            assert_eq!(mixed.probabilities, whole.probabilities);
        }
        assert_eq!(p.mix_in(FuseSpace::Probabilities, &q, 0.5).unwrap(), p.mix(&q, 0.5).unwrap());
        assert!(p.mix_in(FuseSpace::Logits, &q.select(&[1, 0]), 0.5).is_err());
    }

    #[test]
    fn what_is_read_is_checked() {
        let p = predictions(array![[0.5, 0.5], [0.2, 0.8]], &[Some(0), None]);
        let value = serde_json::to_value(&p).unwrap();
        assert_eq!(serde_json::from_value::<Predictions>(value.clone()).unwrap(), p);
        let error = |change: fn(&mut serde_json::Value)| {
            let mut changed = value.clone();
            change(&mut changed);
            serde_json::from_value::<Predictions>(changed).unwrap_err().to_string()
        };
        assert_eq!(error(|v| v["basis"] = ["clinical"].into()), "bases: expected shape [2], found [1]");
        assert_eq!(
            error(|v| v["probabilities"][0]["data"][3] = 1.5.into()),
            "probability of case `1`, task `t`: 1.5 is not within 0..=1"
        );
        assert_eq!(
            error(|v| v["probabilities"][0]["data"][3] = 0.5.into()),
            "sum of the probabilities of case `1`, task `t`: 0.7 is not 1"
        );
        assert_eq!(
            error(|v| v["probabilities"][0]["dim"] = [4, 1].into()),
            "probabilities of task `t`: expected shape [2, 2], found [4, 1]"
        );
        let label = error(|v| v["labels"][0][0] = 7.into());
        assert_eq!(label, "case `0`: label 7 of task `t` is out of range, the task has 2 classes");
    }

    #[test]
    fn tables_follow_one_another() {
        let p = predictions(array![[0.5, 0.5], [0.2, 0.8]], &[Some(0), None]);
        let all = Predictions::concatenate(vec![p.select(&[1]), p.select(&[0])]).unwrap();
        assert_eq!(all, p.select(&[1, 0]));
        let mut other = p.clone();
        other.tasks = TaskSet::new(vec![Task::new("t", "T", ["a", "c"])]).unwrap();
        assert!(Predictions::concatenate(vec![p, other]).is_err());
        assert!(Predictions::concatenate(vec![]).is_err());
    }
}
