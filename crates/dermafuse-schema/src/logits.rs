use std::collections::BTreeSet;

use ndarray::{Array2, Array3, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use crate::{AnswerBasis, Cohort, Predictions, SchemaError, TaskSet};

/// What one branch of a network says of every case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredBranch")]
pub struct Branch {
    /// Name, such as `clinical`, `dermoscopic`, `fusion`.
    pub name: String,
    /// `[N]` whether the branch had the images it needs for the case. Where it had not, its logits mean nothing.
    pub available: Vec<bool>,
    /// One `[L · V, N, K_t]` array for each task, before softmax: view `v` of look `l` is at `l · V + v`. View 0 is the
    /// untransformed image. Of a case with fewer looks than others the rest means nothing.
    pub logits: Vec<Array3<f32>>,
}

/// The complete output of a network on a cohort: logits of every branch, test-time-augmentation view, case and task.
///
/// Everything that comes after the network starts here, without tensors: single-branch predictions, averages, and
/// the weight search, which needs the logits of each view because fusion happens before softmax.
///
/// What is read from a file has passed [`check`](Self::check).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredLogits")]
pub struct BranchLogits {
    /// The tasks.
    pub tasks: TaskSet,
    /// The cases.
    pub cohort: Cohort,
    /// The branches, in the network's order.
    pub branches: Vec<Branch>,
    /// `[N]` how many looks at each case there were, where some case has several images of a kind; empty where each case was
    /// looked at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<usize>,
}

/// In which space branches are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FuseSpace {
    /// Weighted sum of logits, then softmax, then the mean over views (the released FusionM4Net code).
    #[default]
    Logits,
    /// Weighted sum of each branch's probabilities (thesis Eq. 6.5 read literally).
    Probabilities,
}

/// Non-negative branch weights that sum to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredWeights")]
pub struct BranchWeights {
    names: Vec<String>,
    values: Vec<f64>,
}

impl BranchWeights {
    /// Weights by branch name, scaled to sum to 1.
    ///
    /// # Errors
    /// A weight that is negative or not finite; a branch that is named twice; weights that are all 0 or have no finite sum.
    pub fn new<S: Into<String>>(weights: impl IntoIterator<Item = (S, f64)>) -> Result<Self, SchemaError> {
        let (names, values): (Vec<String>, Vec<f64>) = weights.into_iter().map(|(name, w)| (name.into(), w)).unzip();
        let sum = Self::checked_sum(&names, &values)?;
        Ok(Self { names, values: values.into_iter().map(|weight| weight / sum).collect() })
    }

    /// The sum of weights that can be scaled.
    fn checked_sum(names: &[String], values: &[f64]) -> Result<f64, SchemaError> {
        if let Some(index) = values.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
            let what = format!("weight of branch `{}`", names[index]);
            return Err(SchemaError::Number { what, value: values[index], expected: "a finite number of at least 0" });
        }
        check_names(names)?;
        let sum = values.iter().sum::<f64>() + 0.0; // a sum of nothing is -0
        if !(sum > 0.0 && sum.is_finite()) {
            let what = "sum of branch weights".into();
            return Err(SchemaError::Number { what, value: sum, expected: "positive and finite" });
        }
        Ok(sum)
    }

    /// Branch names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Weights, in the order of the names; they sum to 1.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// Checks that no branch is named twice.
fn check_names<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), SchemaError> {
    let mut seen = BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(SchemaError::Twice { what: "branch", name: name.clone() }),
    }
}

/// [`BranchWeights`] as they were stored.
#[derive(Deserialize)]
struct StoredWeights {
    names: Vec<String>,
    values: Vec<f64>,
}

impl TryFrom<StoredWeights> for BranchWeights {
    type Error = SchemaError;

    /// Keeps weights to the bit that sum to 1 but for rounding, and scales others.
    fn try_from(stored: StoredWeights) -> Result<Self, SchemaError> {
        let StoredWeights { names, values } = stored;
        if names.len() != values.len() {
            let (expected, found) = (vec![names.len()], vec![values.len()]);
            return Err(SchemaError::Shape { what: "values of branch weights".into(), expected, found });
        }
        let sum = Self::checked_sum(&names, &values)?;
        match (sum - 1.0).abs() < 1e-9 {
            true => Ok(Self { names, values }),
            false => Self::new(names.into_iter().zip(values)),
        }
    }
}

/// A [`Branch`] as it was stored.
#[derive(Deserialize)]
struct StoredBranch {
    name: String,
    available: Vec<bool>,
    logits: Vec<Array3<f32>>,
}

impl TryFrom<StoredBranch> for Branch {
    type Error = SchemaError;

    fn try_from(stored: StoredBranch) -> Result<Self, SchemaError> {
        let StoredBranch { name, available, logits } = stored;
        if let Some(array) = logits.iter().find(|array| array.len_of(Axis(1)) != available.len()) {
            let what = format!("cases of the logits of branch `{name}`");
            let (expected, found) = (vec![available.len()], vec![array.len_of(Axis(1))]);
            return Err(SchemaError::Shape { what, expected, found });
        }
        Ok(Self { name, available, logits })
    }
}

/// [`BranchLogits`] as they were stored.
#[derive(Deserialize)]
struct StoredLogits {
    tasks: TaskSet,
    cohort: Cohort,
    branches: Vec<Branch>,
    #[serde(default)]
    looks: Vec<usize>,
}

impl TryFrom<StoredLogits> for BranchLogits {
    type Error = SchemaError;

    fn try_from(stored: StoredLogits) -> Result<Self, SchemaError> {
        let StoredLogits { tasks, cohort, branches, looks } = stored;
        let logits = Self { tasks, cohort, branches, looks };
        logits.check()?;
        Ok(logits)
    }
}

impl BranchLogits {
    /// Number of views `V` of a look (1 without test-time augmentation).
    #[must_use]
    pub fn views(&self) -> usize {
        self.length() / self.most_looks()
    }

    /// How many looks at a case there were.
    ///
    /// # Panics
    /// If the case is out of range.
    #[must_use]
    pub fn looks_of(&self, case: usize) -> usize {
        if self.looks.is_empty() { 1 } else { self.looks[case] }
    }

    /// How many views of a case there are, those of all its looks together. They are the first of its logits. Each call looks
    /// through all cases; who asks about many takes [`views`](Self::views) once.
    ///
    /// # Panics
    /// If the case is out of range.
    #[must_use]
    pub fn views_of(&self, case: usize) -> usize {
        self.looks_of(case) * self.views()
    }

    /// The most looks at a case, `L`.
    fn most_looks(&self) -> usize {
        self.looks.iter().copied().max().unwrap_or(1).max(1)
    }

    /// The length of the axis of looks and views.
    fn length(&self) -> usize {
        self.branches.first().and_then(|branch| branch.logits.first()).map_or(0, |logits| logits.len_of(Axis(0)))
    }

    /// Checks that every array has its shape, every logit is finite, every case has a branch and every branch its own name.
    ///
    /// # Errors
    /// The first thing that does not fit, by branch, task and case.
    pub fn check(&self) -> Result<(), SchemaError> {
        self.cohort.check(&self.tasks)?;
        check_names(self.branches.iter().map(|branch| &branch.name))?;
        let (length, cases) = (self.length(), self.cohort.len());
        if !self.looks.is_empty() {
            if self.looks.len() != cases {
                let (expected, found) = (vec![cases], vec![self.looks.len()]);
                return Err(SchemaError::Shape { what: "looks".into(), expected, found });
            }
            if let Some(case) = self.looks.iter().position(|&looks| looks == 0) {
                let what = format!("looks at case `{}`", self.cohort.ids[case]);
                return Err(SchemaError::Number { what, value: 0.0, expected: "1 or more" });
            }
        }
        let views = self.views();
        if !self.branches.is_empty() && !length.is_multiple_of(self.most_looks()) {
            let (expected, found) = (vec![self.most_looks() * views.max(1)], vec![length]);
            return Err(SchemaError::Shape { what: "looks and views".into(), expected, found });
        }
        if views == 0 && cases > 0 && !self.branches.is_empty() {
            return Err(SchemaError::Shape { what: "views".into(), expected: vec![1], found: vec![0] });
        }
        for branch in &self.branches {
            let name = &branch.name;
            if branch.available.len() != cases {
                let what = format!("availability of branch `{name}`");
                return Err(SchemaError::Shape { what, expected: vec![cases], found: vec![branch.available.len()] });
            }
            if branch.logits.len() != self.tasks.len() {
                let what = format!("tasks of branch `{name}`");
                let (expected, found) = (vec![self.tasks.len()], vec![branch.logits.len()]);
                return Err(SchemaError::Shape { what, expected, found });
            }
            for (task, logits) in self.tasks.iter().zip(&branch.logits) {
                let expected = vec![length, cases, task.classes.len()];
                if logits.shape() != expected {
                    let what = format!("logits of branch `{name}`, task `{}`", task.name);
                    return Err(SchemaError::Shape { what, expected, found: logits.shape().to_vec() });
                }
                for ((view, case, _), &value) in logits.indexed_iter() {
                    if branch.available[case] && view < self.looks_of(case) * views && !value.is_finite() {
                        let id = &self.cohort.ids[case];
                        let what = format!("logit of case `{id}`, branch `{name}`, task `{}`", task.name);
                        return Err(SchemaError::Number { what, value: value.into(), expected: "finite" });
                    }
                }
            }
        }
        for (case, id) in self.cohort.ids.iter().enumerate() {
            if !self.branches.iter().any(|branch| branch.available[case]) {
                return Err(SchemaError::NoBranch { case: id.to_string() });
            }
        }
        Ok(())
    }

    /// Equal weights for all branches (the "averaged" rows of thesis Tables 6.5 and 6.6).
    ///
    /// # Panics
    /// If there are no branches, or two of one name.
    #[must_use]
    pub fn equal_weights(&self) -> BranchWeights {
        BranchWeights::new(self.branches.iter().map(|branch| (branch.name.clone(), 1.0)))
            .expect("there are branches with names of their own")
    }

    /// The predictions of one branch alone; a case that lacks it is predicted from the branches that it has.
    ///
    /// # Errors
    /// An unknown branch, or a case without any branch.
    pub fn branch(&self, name: &str) -> Result<Predictions, SchemaError> {
        self.fuse(&BranchWeights::new([(name, 1.0)])?, FuseSpace::Logits)
    }

    /// Weighted fusion of the branches: `Σ_b w_b z_b` for each view, softmax, mean over the views of all looks (or the same
    /// with probabilities in place of logits). Thesis §6.2.3, Fusion Scheme 1.
    ///
    /// A case that lacks a branch is predicted from those it has, with their weights renormalised; when those are all
    /// 0, equally. [`Predictions::basis`] says which were used, and behind `×` how many looks, where there were several.
    ///
    /// # Errors
    /// An unknown branch among the weights, or a case without any branch.
    pub fn fuse(&self, weights: &BranchWeights, space: FuseSpace) -> Result<Predictions, SchemaError> {
        let by_branch = self.weights_by_branch(weights)?;
        let cases = self.cohort.len();
        let mut probabilities: Vec<Array2<f64>> =
            self.tasks.iter().map(|task| Array2::zeros((cases, task.classes.len()))).collect();
        let mut basis = Vec::with_capacity(cases);
        let views_of_look = self.views();
        for case in 0..cases {
            let used = self.case_weights(case, &by_branch)?;
            let views = self.looks_of(case) * views_of_look;
            for (task, fused) in probabilities.iter_mut().enumerate() {
                let mut row = fused.row_mut(case);
                for view in 0..views {
                    let view_logits = |branch: usize| self.branches[branch].logits[task].case_view(view, case);
                    match space {
                        FuseSpace::Logits => {
                            let mut sum = vec![0.0; row.len()];
                            for &(branch, weight) in &used {
                                for (total, &z) in sum.iter_mut().zip(view_logits(branch)) {
                                    *total += weight * f64::from(z);
                                }
                            }
                            row.iter_mut().zip(softmax(&sum)).for_each(|(p, q)| *p += q / views as f64);
                        }
                        FuseSpace::Probabilities => {
                            for &(branch, weight) in &used {
                                let logits: Vec<f64> = view_logits(branch).iter().map(|&z| f64::from(z)).collect();
                                row.iter_mut().zip(softmax(&logits)).for_each(|(p, q)| *p += weight * q / views as f64);
                            }
                        }
                    }
                }
            }
            let names = used.iter().map(|&(branch, _)| self.branches[branch].name.as_str());
            basis.push(AnswerBasis::of_branches(names, self.looks_of(case)));
        }
        Ok(Predictions {
            tasks: self.tasks.clone(),
            ids: self.cohort.ids.clone(),
            labels: self.cohort.labels.clone(),
            probabilities,
            basis,
        })
    }

    /// The branches that [`fuse`](Self::fuse) uses for a case with these weights, in order: those that are available and have a
    /// weight, or all that are available where none of them has.
    ///
    /// # Errors
    /// An unknown branch among the weights, or a case without any branch.
    ///
    /// # Panics
    /// If the case is out of range.
    pub fn used_branches(&self, case: usize, weights: &BranchWeights) -> Result<Vec<&str>, SchemaError> {
        let used = self.case_weights(case, &self.weights_by_branch(weights)?)?;
        Ok(used.into_iter().map(|(branch, _)| self.branches[branch].name.as_str()).collect())
    }

    /// The cases at `rows`, in that order.
    ///
    /// # Panics
    /// If a row is out of range.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let branches = self.branches.iter().map(|branch| Branch {
            name: branch.name.clone(),
            available: rows.iter().map(|&row| branch.available[row]).collect(),
            logits: branch.logits.iter().map(|logits| logits.select(Axis(1), rows)).collect(),
        });
        let looks: Vec<usize> = rows.iter().map(|&row| self.looks_of(row)).collect();
        let most = looks.iter().copied().max().unwrap_or(1);
        let selected =
            Self { tasks: self.tasks.clone(), cohort: self.cohort.select(rows), branches: branches.collect(), looks };
        match most < self.most_looks() || most == 1 {
            true => selected.with_length(most * self.views()),
            false => selected,
        }
    }

    /// The first look at each case alone.
    #[must_use]
    pub fn first_looks(&self) -> Self {
        let views = self.views();
        Self { looks: vec![1; self.cohort.len()], ..self.clone() }.with_length(views)
    }

    /// Each look as a case of its own, in order. Where there were several, they are called `CASE look 1`, `CASE look 2`, ….
    #[must_use]
    pub fn each_look(&self) -> Self {
        let views = self.views();
        let looks: Vec<(usize, usize)> =
            (0..self.cohort.len()).flat_map(|case| (0..self.looks_of(case)).map(move |look| (case, look))).collect();
        let cases: Vec<usize> = looks.iter().map(|&(case, _)| case).collect();
        let mut cohort = self.cohort.select(&cases);
        for (id, &(case, look)) in cohort.ids.iter_mut().zip(&looks) {
            if self.looks_of(case) > 1 {
                *id = format!("{id} look {}", look + 1).into();
            }
        }
        let branches = self.branches.iter().map(|branch| Branch {
            name: branch.name.clone(),
            available: cases.iter().map(|&case| branch.available[case]).collect(),
            logits: branch
                .logits
                .iter()
                .map(|logits| {
                    Array3::from_shape_fn((views, looks.len(), logits.len_of(Axis(2))), |(view, at, class)| {
                        let (case, look) = looks[at];
                        logits[[look * views + view, case, class]]
                    })
                })
                .collect(),
        });
        Self { tasks: self.tasks.clone(), cohort, branches: branches.collect(), looks: Vec::new() }
    }

    /// The same with so many looks and views; the looks are left out where there is one at each case.
    fn with_length(mut self, length: usize) -> Self {
        for logits in self.branches.iter_mut().flat_map(|branch| &mut branch.logits) {
            logits.slice_axis_inplace(Axis(0), (0..length).into());
        }
        if self.looks.iter().all(|&looks| looks == 1) {
            self.looks.clear();
        }
        self
    }

    fn weights_by_branch(&self, weights: &BranchWeights) -> Result<Vec<f64>, SchemaError> {
        let mut by_branch = vec![0.0; self.branches.len()];
        for (name, &weight) in weights.names.iter().zip(&weights.values) {
            let index = self.branches.iter().position(|branch| &branch.name == name);
            by_branch[index.ok_or_else(|| SchemaError::Unknown {
                what: "branch",
                name: name.clone(),
                known: self.branches.iter().map(|branch| branch.name.clone()).collect(),
            })?] += weight;
        }
        Ok(by_branch)
    }

    /// The branches that the case has, with weights that sum to 1; branches of weight 0 are left out.
    fn case_weights(&self, case: usize, by_branch: &[f64]) -> Result<Vec<(usize, f64)>, SchemaError> {
        let mut used: Vec<(usize, f64)> =
            (0..self.branches.len()).filter(|&b| self.branches[b].available[case]).map(|b| (b, by_branch[b])).collect();
        if used.is_empty() {
            return Err(SchemaError::NoBranch { case: self.cohort.ids[case].to_string() });
        }
        let sum: f64 = used.iter().map(|(_, weight)| weight).sum();
        if sum > 0.0 {
            used.retain(|(_, weight)| *weight > 0.0);
            used.iter_mut().for_each(|(_, weight)| *weight /= sum);
        } else {
            let equal = 1.0 / used.len() as f64;
            used.iter_mut().for_each(|(_, weight)| *weight = equal);
        }
        Ok(used)
    }
}

trait CaseView {
    fn case_view(&self, view: usize, case: usize) -> ArrayView1<'_, f32>;
}

impl CaseView for Array3<f32> {
    fn case_view(&self, view: usize, case: usize) -> ArrayView1<'_, f32> {
        self.index_axis(Axis(0), view).index_axis_move(Axis(0), case)
    }
}

/// Softmax of one row of logits: non-negative, summing to 1; stable for large logits.
///
/// ```
/// let p = dermafuse_schema::softmax(&[1000.0, 1000.0]);
/// assert_eq!(p, [0.5, 0.5]);
/// ```
#[must_use]
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut exponentials: Vec<f64> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter_mut().for_each(|e| *e /= sum);
    exponentials
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Task;
    use ndarray::array;

    /// One task of two classes, two views, two cases; the second case has no dermoscopic image.
    fn logits() -> BranchLogits {
        let tasks = TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap();
        let cohort = Cohort {
            ids: vec!["1".into(), "2".into()],
            groups: vec!["1".into(), "2".into()],
            labels: vec![vec![Some(0)], vec![None]],
            metadata: Array2::zeros((2, 0)),
            has_metadata: vec![false; 2],
        };
        let branch =
            |name: &str, available: Vec<bool>, logits| Branch { name: name.into(), available, logits: vec![logits] };
        BranchLogits {
            tasks,
            cohort,
            branches: vec![
                branch("clinical", vec![true, true], array![[[0.0, 2.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]),
                branch("dermoscopic", vec![true, false], array![[[4.0, 0.0], [9.0, 9.0]], [[0.0, 0.0], [9.0, 9.0]]]),
            ],
            looks: vec![],
        }
    }

    #[test]
    fn fusion_is_softmax_of_the_weighted_sum_then_the_mean_over_views() {
        let weights = BranchWeights::new([("clinical", 3.0), ("dermoscopic", 1.0)]).unwrap();
        let fused = logits().fuse(&weights, FuseSpace::Logits).unwrap();
        // view 0: (0.25*4, 0.75*2) = (1, 1.5); view 1: (0, 0)
        let view_0 = 1.0 / (1.0 + 0.5_f64.exp());
        assert!((fused.probabilities[0][[0, 0]] - (view_0 + 0.5) / 2.0).abs() < 1e-12);
        assert_eq!(fused.basis, ["clinical+dermoscopic", "clinical"]);
    }

    /// The same logits as two looks at the first case, of one view each, and one look at the second.
    fn looks() -> BranchLogits {
        BranchLogits { looks: vec![2, 1], ..logits() }
    }

    #[test]
    fn the_looks_at_a_case_are_averaged_as_its_views_are() {
        let weights = BranchWeights::new([("clinical", 3.0), ("dermoscopic", 1.0)]).unwrap();
        let (views, looks) = (logits(), looks());
        looks.check().unwrap();
        assert_eq!((views.views(), looks.views(), looks.views_of(0), looks.views_of(1)), (2, 1, 2, 1));
        for space in [FuseSpace::Logits, FuseSpace::Probabilities] {
            let (of_views, of_looks) = (views.fuse(&weights, space).unwrap(), looks.fuse(&weights, space).unwrap());
            assert_eq!(of_looks.probabilities[0].row(0), of_views.probabilities[0].row(0));
            // What lies beyond the looks at a case has no say.
            let alone = softmax(&[1.0, 0.0]);
            assert_eq!(of_looks.probabilities[0].row(1).to_vec(), alone);
            assert_eq!(of_looks.basis, ["clinical×2+dermoscopic×2", "clinical"]);

            let each = looks.each_look().fuse(&weights, space).unwrap();
            let names: Vec<&str> = each.ids.iter().map(crate::CaseId::as_str).collect();
            assert_eq!(names, ["1 look 1", "1 look 2", "2"]);
            for class in 0..2 {
                let mean = (each.probabilities[0][[0, class]] + each.probabilities[0][[1, class]]) / 2.0;
                assert!((mean - of_looks.probabilities[0][[0, class]]).abs() < 1e-15);
            }
            let first = looks.first_looks().fuse(&weights, space).unwrap();
            assert_eq!(first.probabilities[0].row(0), each.probabilities[0].row(0));
            assert_eq!(first.basis[0], "clinical+dermoscopic");
        }
        let second = looks.select(&[1]);
        assert_eq!((second.looks.len(), second.views(), second.branches[0].logits[0].shape()), (0, 1, &[1, 1, 2][..]));
        assert_eq!(looks.select(&[1, 0]).looks, [1, 2]);
    }

    #[test]
    fn looks_that_do_not_fit_are_refused() {
        let error = |looks: Vec<usize>| BranchLogits { looks, ..logits() }.check().unwrap_err().to_string();
        assert_eq!(error(vec![2]), "looks: expected shape [2], found [1]");
        assert_eq!(error(vec![2, 0]), "looks at case `2`: 0 is not 1 or more");
        assert_eq!(error(vec![4, 1]), "looks and views: expected shape [4], found [2]");
        let text = serde_json::to_string(&looks()).unwrap();
        assert_eq!(serde_json::from_str::<BranchLogits>(&text).unwrap(), looks());
        assert!(!serde_json::to_string(&logits()).unwrap().contains("looks"));
    }

    #[test]
    fn a_missing_branch_renormalises_the_others() {
        let all = logits();
        let weights = BranchWeights::new([("clinical", 0.1), ("dermoscopic", 0.9)]).unwrap();
        let fused = all.fuse(&weights, FuseSpace::Logits).unwrap();
        let alone = all.branch("clinical").unwrap();
        assert_eq!(fused.probabilities[0].row(1), alone.probabilities[0].row(1));
        let dermoscopic_only = all.branch("dermoscopic").unwrap();
        assert_eq!(dermoscopic_only.basis[1], "clinical");
    }

    #[test]
    fn probability_space_averages_probabilities() {
        let all = logits();
        let fused = all.fuse(&all.equal_weights(), FuseSpace::Probabilities).unwrap();
        let mean = (all.branch("clinical").unwrap().probabilities[0][[0, 0]]
            + all.branch("dermoscopic").unwrap().probabilities[0][[0, 0]])
            / 2.0;
        assert!((fused.probabilities[0][[0, 0]] - mean).abs() < 1e-12);
    }

    #[test]
    fn errors_name_the_culprit() {
        let mut all = logits();
        let error = all.branch("thermal").unwrap_err().to_string();
        assert_eq!(error, "unknown branch `thermal`; known: clinical, dermoscopic");
        all.branches[0].logits[0][[0, 0, 1]] = f32::NAN;
        let error = all.check().unwrap_err().to_string();
        assert_eq!(error, "logit of case `1`, branch `clinical`, task `t`: NaN is not finite");
        all = logits();
        all.branches[0].available[1] = false;
        assert!(all.check().unwrap_err().to_string().contains("case `2` has no branch"));
        assert!(BranchWeights::new([("a", -1.0)]).is_err());
        assert!(BranchWeights::new([("a", 0.0)]).is_err());
        assert!(BranchWeights::new([("a", f64::MAX), ("b", f64::MAX)]).is_err());
        let error = BranchWeights::new([("a", 1.0), ("a", 1.0)]).unwrap_err().to_string();
        assert_eq!(error, "branch `a` appears twice; give each once");
        all = logits();
        all.branches[1].name = "clinical".into();
        assert_eq!(all.check().unwrap_err().to_string(), "branch `clinical` appears twice; give each once");
    }

    #[test]
    fn what_is_read_is_checked_as_what_is_made() {
        let read = |text: &str| serde_json::from_str::<BranchWeights>(text).map_err(|error| error.to_string());
        let weights = BranchWeights::new([("a", 0.1), ("b", 0.2), ("c", 0.4)]).unwrap();
        assert_eq!(read(&serde_json::to_string(&weights).unwrap()), Ok(weights));
        assert_eq!(read(r#"{"names":["a","b"],"values":[3,1]}"#).unwrap().values(), [0.75, 0.25]);
        for (text, expected) in [
            (r#"{"names":["a"],"values":[-1]}"#, "weight of branch `a`: -1 is not a finite number of at least 0"),
            (r#"{"names":["a"],"values":[0]}"#, "sum of branch weights: 0 is not positive and finite"),
            (r#"{"names":["a","a"],"values":[1,1]}"#, "branch `a` appears twice"),
            (r#"{"names":["a","b"],"values":[1]}"#, "values of branch weights: expected shape [2], found [1]"),
            (r#"{"names":[],"values":[]}"#, "sum of branch weights: 0 is not positive"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }

        let all = logits();
        let value = serde_json::to_value(&all).unwrap();
        assert_eq!(serde_json::from_value::<BranchLogits>(value.clone()).unwrap(), all);
        let error = |change: fn(&mut serde_json::Value)| {
            let mut changed = value.clone();
            change(&mut changed);
            serde_json::from_value::<BranchLogits>(changed).unwrap_err().to_string()
        };
        let short = error(|v| v["branches"][0]["available"] = [true].into());
        assert_eq!(short, "cases of the logits of branch `clinical`: expected shape [1], found [2]");
        let label = error(|v| v["cohort"]["labels"][0][0] = 2.into());
        assert_eq!(label, "case `1`: label 2 of task `t` is out of range, the task has 2 classes");
        assert_eq!(
            error(|v| v["cohort"]["has_metadata"] = [true].into()),
            "metadata flags: expected shape [2], found [1]"
        );
        let huge = error(|v| v["branches"][0]["logits"][0]["dim"] = [1_u64 << 40, 2, 1 << 20].into());
        assert_eq!(huge, "data and dimension must match in size");
    }
}
