use serde::{Deserialize, Serialize};

use crate::{Predictions, SchemaError, Task, TaskSet};

/// Whose error rate a [`PredictionSets`] bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// That of all cases together: among 100 patients as they come, at most so many sets lack the truth. Rare classes may fare
    /// worse.
    #[default]
    Marginal,
    /// That of each class: among 100 patients with a melanoma, at most so many sets lack it. Sets are larger, and a class with too few
    /// validation cases is in every one of them.
    ClassConditional,
}

impl Coverage {
    /// What it is called, in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Marginal => "marginal",
            Self::ClassConditional => "class-conditional",
        }
    }
}

/// Sets of classes that hold the true one with a stated probability: a class is in the set of a case if it is at least as probable
/// there as the true class is for all but a share `error_rate` of the validation cases. That is split conformal prediction with the score
/// `1 − p(class)` (least ambiguous sets), of all cases or of each class.
///
/// For validation and new cases drawn alike (exchangeable), the set of a new case lacks its class with a probability of at most
/// `error_rate`, whatever the model is. It promises nothing for patients of another kind.
///
/// # Sources
/// Sadinle, Lei, Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", JASA 114, 2019: the sets, and those
/// by class. Vovk, "Conditional validity of inductive conformal predictors", ACML 2012: validity within classes. Angelopoulos, Bates, "A
/// Gentle Introduction to Conformal Prediction", 2021, section 1: the quantile with its correction for few cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredSets")]
pub struct PredictionSets {
    /// The probability with which a set may lack the truth, between 0 and 1.
    pub error_rate: f64,
    /// Whose error rate that is, in answers.
    pub coverage: Coverage,
    /// The quantiles of each task.
    pub tasks: Vec<TaskQuantiles>,
}

/// The quantiles of the scores of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskQuantiles {
    /// Name of the task.
    pub task: String,
    /// That of all its cases.
    pub all: Quantile,
    /// That of the cases of each class, by the names of the classes.
    pub classes: Vec<(String, Quantile)>,
}

/// The largest score `1 − p` with which a class is in a set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Validation cases that it is of.
    pub cases: usize,
    /// The score, 0 to 1; `None` where there are too few cases for the error rate: then every set has the class.
    pub score: Option<f64>,
}

/// What a model says of a task that may abstain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The only class of the set.
    Label(String),
    /// No answer: several classes are possible, or none is as probable as true classes are elsewhere.
    Abstain {
        /// The classes of the set, in the order of the task; empty where no class is probable enough.
        set: Vec<String>,
    },
}

/// [`PredictionSets`] as they were stored.
#[derive(Deserialize)]
struct StoredSets {
    error_rate: f64,
    coverage: Coverage,
    tasks: Vec<TaskQuantiles>,
}

impl TryFrom<StoredSets> for PredictionSets {
    type Error = SchemaError;

    fn try_from(stored: StoredSets) -> Result<Self, SchemaError> {
        let StoredSets { error_rate, coverage, tasks } = stored;
        let sets = Self { error_rate, coverage, tasks };
        sets.check_numbers()?;
        Ok(sets)
    }
}

impl PredictionSets {
    /// Checks that they are of these tasks and classes, and that their numbers are shares.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn check(&self, tasks: &TaskSet) -> Result<(), SchemaError> {
        self.check_numbers()?;
        let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<Vec<_>>();
        same_names(
            "task",
            &names(&mut tasks.iter().map(|task| &task.name)),
            &names(&mut self.tasks.iter().map(|task| &task.task)),
        )?;
        for (task, quantiles) in tasks.iter().zip(&self.tasks) {
            same_names("class", &task.classes, &names(&mut quantiles.classes.iter().map(|(name, _)| name)))?;
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), SchemaError> {
        check_error_rate(self.error_rate)?;
        for task in &self.tasks {
            let all = std::iter::once(&task.all).chain(task.classes.iter().map(|(_, quantile)| quantile));
            if let Some(value) = all.filter_map(|quantile| quantile.score).find(|score| !(0.0..=1.0).contains(score)) {
                let what = format!("quantile of task `{}`", task.task);
                return Err(SchemaError::Number { what, value, expected: "within 0..=1" });
            }
        }
        Ok(())
    }

    /// For each class of a task whether it is in the set of a case with these probabilities, in the order of the classes.
    ///
    /// # Panics
    /// If the task is out of range, or has another number of classes.
    #[must_use]
    pub fn set(&self, task: usize, probabilities: &[f64], coverage: Coverage) -> Vec<bool> {
        let TaskQuantiles { all, classes, .. } = &self.tasks[task];
        assert_eq!(probabilities.len(), classes.len(), "a probability for each class");
        let of_class = |(probability, (_, own)): (&f64, &(String, Quantile))| {
            let quantile = match coverage {
                Coverage::Marginal => all,
                Coverage::ClassConditional => own,
            };
            quantile.score.is_none_or(|score| 1.0 - probability <= score)
        };
        probabilities.iter().zip(classes).map(of_class).collect()
    }

    /// What is answered for a case with these probabilities of a task.
    ///
    /// # Panics
    /// As [`set`](Self::set).
    #[must_use]
    pub fn decide(&self, task: usize, probabilities: &[f64]) -> Decision {
        let included = self.set(task, probabilities, self.coverage);
        let classes = self.tasks[task].classes.iter().zip(included).filter(|(_, included)| *included);
        let mut set: Vec<String> = classes.map(|((name, _), _)| name.clone()).collect();
        match set.len() {
            1 => Decision::Label(set.remove(0)),
            _ => Decision::Abstain { set },
        }
    }

    /// `[N][K]` the sets of all cases of a task.
    ///
    /// # Errors
    /// Predictions of other tasks.
    pub fn sets(
        &self,
        predictions: &Predictions,
        task: usize,
        coverage: Coverage,
    ) -> Result<Vec<Vec<bool>>, SchemaError> {
        self.check(&predictions.tasks)?;
        let rows = predictions.probabilities[task].rows();
        Ok(rows.into_iter().map(|row| self.set(task, &row.to_vec(), coverage)).collect())
    }

    /// Which classes have too few validation cases for a quantile of their own, or tasks for any: what a reader must be told.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let needed = cases_needed(self.error_rate);
        for task in &self.tasks {
            if task.all.score.is_none() {
                notes.push(format!(
                    "Task {} has {} validation cases, and an error rate of {} takes {needed}: every set holds all its classes.",
                    task.task, task.all.cases, self.error_rate
                ));
            }
            if self.coverage == Coverage::ClassConditional {
                let few = task.classes.iter().filter(|(_, quantile)| quantile.score.is_none());
                let few: Vec<String> = few.map(|(name, quantile)| format!("{name} ({})", quantile.cases)).collect();
                if !few.is_empty() {
                    notes.push(format!(
                        "Task {}: {} of its classes have fewer than the {needed} validation cases that an error rate of {} by class \
                         takes, and are in every set: {}.",
                        task.task,
                        few.len(),
                        self.error_rate,
                        few.join(", ")
                    ));
                }
            }
        }
        notes
    }
}

/// Refuses quantiles of other tasks or classes than the model's, in its order.
fn same_names(what: &'static str, expected: &[String], found: &[String]) -> Result<(), SchemaError> {
    match found.iter().zip(expected).find(|(found, expected)| found != expected) {
        Some((name, _)) => Err(SchemaError::Unknown { what, name: name.clone(), known: expected.to_vec() }),
        None if found.len() != expected.len() => {
            let what = format!("prediction sets by {what}");
            Err(SchemaError::Shape { what, expected: vec![expected.len()], found: vec![found.len()] })
        }
        None => Ok(()),
    }
}

/// Checks that an error rate is one.
///
/// # Errors
/// Anything but a number between 0 and 1, both left out.
pub fn check_error_rate(value: f64) -> Result<(), SchemaError> {
    match value > 0.0 && value < 1.0 {
        true => Ok(()),
        false => Err(SchemaError::Number { what: "error rate".into(), value, expected: "between 0 and 1" }),
    }
}

/// How many cases a quantile takes: the fewest `n` with `⌈(n + 1)(1 − error_rate)⌉ ≤ n`.
#[must_use]
pub fn cases_needed(error_rate: f64) -> usize {
    ((1.0 / error_rate - 1.0) - 1e-9).ceil().max(1.0) as usize
}

impl TaskQuantiles {
    /// The quantiles of a task from the scores of its cases and of those of each class.
    #[must_use]
    pub fn new(task: &Task, all: Quantile, classes: Vec<Quantile>) -> Self {
        Self { task: task.name.clone(), all, classes: task.classes.iter().cloned().zip(classes).collect() }
    }
}

impl Quantile {
    /// The quantile of scores: of `n` the `⌈(n + 1)(1 − error_rate)⌉`-th smallest, none where that is more than `n`.
    ///
    /// ```
    /// use dermafuse_schema::Quantile;
    ///
    /// let scores: Vec<f64> = (1..=9).map(|tenth| f64::from(tenth) / 10.0).collect();
    /// assert_eq!(Quantile::of(scores.clone(), 0.2).score, Some(0.8));
    /// assert_eq!(Quantile::of(scores, 0.05).score, None);
    /// ```
    #[must_use]
    pub fn of(mut scores: Vec<f64>, error_rate: f64) -> Self {
        scores.sort_by(f64::total_cmp);
        let cases = scores.len();
        // Rounding must not ask for one case more.
        let rank = ((cases + 1) as f64 * (1.0 - error_rate) - 1e-9).ceil().max(1.0) as usize;
        Self { cases, score: scores.get(rank - 1).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(coverage: Coverage) -> PredictionSets {
        let quantile = |cases, score| Quantile { cases, score };
        let task = Task::new("t", "T", ["a", "b", "c"]);
        let classes = vec![quantile(40, Some(0.25)), quantile(30, Some(0.9)), quantile(3, None)];
        let tasks = vec![TaskQuantiles::new(&task, quantile(73, Some(0.75)), classes)];
        PredictionSets { error_rate: 0.1, coverage, tasks }
    }

    #[test]
    fn a_class_is_in_the_set_if_it_is_probable_enough() {
        let marginal = sets(Coverage::Marginal);
        assert_eq!(marginal.decide(0, &[0.75, 0.125, 0.125]), Decision::Label("a".into()));
        let both = Decision::Abstain { set: vec!["a".into(), "b".into()] };
        assert_eq!(marginal.decide(0, &[0.5, 0.25, 0.25 - 1e-9]), both);
        assert_eq!(marginal.decide(0, &[0.24, 0.24, 0.24]), Decision::Abstain { set: vec![] });
        // By class: `a` has to be rather probable, `b` hardly, and `c` is always there.
        let by_class = sets(Coverage::ClassConditional);
        assert_eq!(by_class.set(0, &[0.7, 0.3, 0.0], Coverage::ClassConditional), [false, true, true]);
        assert_eq!(by_class.decide(0, &[0.7, 0.05, 0.25]), Decision::Label("c".into()));
    }

    #[test]
    fn few_cases_are_said() {
        assert_eq!([0.5, 0.2, 0.1, 0.05, 0.01].map(cases_needed), [1, 4, 9, 19, 99]);
        for error_rate in [0.5, 0.2, 0.1, 0.05, 0.01] {
            let enough = cases_needed(error_rate);
            assert!(Quantile::of(vec![0.5; enough], error_rate).score.is_some(), "{error_rate}");
            assert!(Quantile::of(vec![0.5; enough - 1], error_rate).score.is_none(), "{error_rate}");
        }
        assert_eq!(sets(Coverage::Marginal).notes(), [""; 0]);
        let note = sets(Coverage::ClassConditional).notes().join("\n");
        assert!(
            note.contains("1 of its classes have fewer than the 9 validation cases") && note.ends_with(": c (3)."),
            "{note}"
        );
        let mut none = sets(Coverage::Marginal);
        none.tasks[0].all = Quantile { cases: 2, score: None };
        assert_eq!(
            none.notes(),
            ["Task t has 2 validation cases, and an error rate of 0.1 takes 9: every set holds all its classes."]
        );
    }

    #[test]
    fn what_is_read_is_checked() {
        let value = serde_json::to_value(sets(Coverage::ClassConditional)).unwrap();
        assert_eq!(serde_json::from_value::<PredictionSets>(value.clone()).unwrap(), sets(Coverage::ClassConditional));
        let mut changed = value.clone();
        changed["error_rate"] = 1.0.into();
        let error = serde_json::from_value::<PredictionSets>(changed).unwrap_err().to_string();
        assert_eq!(error, "error rate: 1 is not between 0 and 1");
        let mut changed = value;
        changed["tasks"][0]["classes"][0][1]["score"] = 2.0.into();
        let error = serde_json::from_value::<PredictionSets>(changed).unwrap_err().to_string();
        assert_eq!(error, "quantile of task `t`: 2 is not within 0..=1");
        let tasks = |classes: &[&str]| TaskSet::new(vec![Task::new("t", "T", classes.iter().copied())]).unwrap();
        assert!(sets(Coverage::Marginal).check(&tasks(&["a", "b", "c"])).is_ok());
        let error = |tasks: &TaskSet| sets(Coverage::Marginal).check(tasks).unwrap_err().to_string();
        assert_eq!(error(&tasks(&["a", "b", "d"])), "unknown class `c`; known: a, b, d");
        assert_eq!(error(&tasks(&["a", "b"])), "prediction sets by class: expected shape [2], found [3]");
        let other = TaskSet::new(vec![Task::new("u", "U", ["a", "b", "c"])]).unwrap();
        assert_eq!(error(&other), "unknown task `t`; known: u");
    }
}
