use std::collections::BTreeMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::{Predictions, SchemaError, Task, TaskSet};

/// The name of the member of all classes that no other member of a [`ClassGroup`] has.
pub const REST: &str = "rest";

/// Unions of classes of a task, by names such as `soon` and `later`: their probabilities are those of their classes, added up. Some
/// of the unions are the answer "yes" to a question, such as whether a patient is to be referred; an [`OperatingPoint`] says from which
/// probability on the answer is given.
///
/// ```
/// use dermafuse_schema::{ClassGroup, Task};
///
/// let task = Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC", "SK"]);
/// let group = ClassGroup::new("referral", "diagnosis", [("soon", vec!["MEL"]), ("later", vec!["BCC"])], ["soon", "later"])?;
/// assert_eq!(group.members(&task)?, [("later".to_owned(), vec![2]), ("soon".into(), vec![1]), ("rest".into(), vec![0, 3])]);
/// # Ok::<(), dermafuse_schema::SchemaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredGroup", into = "StoredGroup")]
pub struct ClassGroup {
    name: String,
    task: String,
    members: BTreeMap<String, Vec<String>>,
    positive: Vec<String>,
}

/// A [`ClassGroup`] as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredGroup {
    name: String,
    task: String,
    members: BTreeMap<String, Vec<String>>,
    positive: Vec<String>,
}

impl TryFrom<StoredGroup> for ClassGroup {
    type Error = SchemaError;

    fn try_from(stored: StoredGroup) -> Result<Self, SchemaError> {
        Self::new(stored.name, stored.task, stored.members, stored.positive)
    }
}

impl From<ClassGroup> for StoredGroup {
    fn from(group: ClassGroup) -> Self {
        let ClassGroup { name, task, members, positive } = group;
        Self { name, task, members, positive }
    }
}

impl ClassGroup {
    /// A group of a task: the classes of each member by its name, and the members that answer the question with "yes". A group of a
    /// single member may leave `positive` empty: it is that one.
    ///
    /// # Errors
    /// No member, a member without a class, one called `rest`; a class in two members or twice in one; no positive member, one
    /// twice, one that there is not.
    pub fn new<M, C, P>(
        name: impl Into<String>,
        task: impl Into<String>,
        members: impl IntoIterator<Item = (M, Vec<C>)>,
        positive: impl IntoIterator<Item = P>,
    ) -> Result<Self, SchemaError>
    where
        M: Into<String>,
        C: Into<String>,
        P: Into<String>,
    {
        let members: BTreeMap<String, Vec<String>> = members
            .into_iter()
            .map(|(name, classes)| (name.into(), classes.into_iter().map(Into::into).collect()))
            .collect();
        let mut positive: Vec<String> = positive.into_iter().map(Into::into).collect();
        if let (true, [only]) = (positive.is_empty(), &members.keys().collect::<Vec<_>>()[..]) {
            positive.push((*only).clone());
        }
        let group = Self { name: name.into(), task: task.into(), members, positive };
        group.check_members()?;
        Ok(group)
    }

    fn check_members(&self) -> Result<(), SchemaError> {
        let names = || self.members.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        if self.members.is_empty() {
            return self.refused("members", "at least one list of classes, such as soon = [\"MEL\"]");
        }
        for (place, (member, classes)) in self.members.iter().enumerate() {
            if member == REST {
                return self.refused(member, "a name of your own: it stands for the classes in no list");
            }
            if classes.is_empty() {
                return self.refused(member, "a list of at least one class");
            }
            for (at, class) in classes.iter().enumerate() {
                let earlier = self.members.iter().take(place).find(|(_, classes)| classes.contains(class));
                match earlier {
                    Some((other, _)) => {
                        return self.refused(class, &format!("in one list only: it is in {other} and in {member}"));
                    }
                    None if classes[..at].contains(class) => {
                        return self.refused(class, &format!("in {member} once"));
                    }
                    None => {}
                }
            }
        }
        if self.positive.is_empty() {
            let expected = format!("the lists that answer with yes, of {}; say positive = [\"…\"]", names());
            return self.refused("positive", &expected);
        }
        for (at, member) in self.positive.iter().enumerate() {
            if !self.members.contains_key(member) {
                return self.refused(member, &format!("one of the lists, which are {}", names()));
            }
            if self.positive[..at].contains(member) {
                return self.refused(member, "among the positive lists once");
            }
        }
        Ok(())
    }

    fn refused<T>(&self, name: &str, expected: &str) -> Result<T, SchemaError> {
        let (group, name, expected) = (self.name.clone(), name.to_owned(), expected.to_owned());
        Err(SchemaError::ClassGroup { group, name, expected })
    }

    /// Its name, such as `referral`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the task whose classes it unites.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The names of the members that answer with "yes".
    #[must_use]
    pub fn positive(&self) -> &[String] {
        &self.positive
    }

    /// Checks that it is a group of these tasks.
    ///
    /// # Errors
    /// A task that there is not, a class that the task does not have, positive members with all its classes.
    pub fn check(&self, tasks: &TaskSet) -> Result<(), SchemaError> {
        self.task_of(tasks).map(drop)
    }

    /// The place of its task among these.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn task_of(&self, tasks: &TaskSet) -> Result<usize, SchemaError> {
        let Some(place) = tasks.index_of(&self.task) else {
            let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            return self.refused(&self.task, &format!("a task of the data, which are {}", known.join(", ")));
        };
        self.positive_classes(&tasks[place])?;
        Ok(place)
    }

    /// The members with the places of their classes in the task, by name; the classes that are in none come last, as [`REST`],
    /// if there are any.
    ///
    /// # Errors
    /// A class that the task does not have.
    pub fn members(&self, task: &Task) -> Result<Vec<(String, Vec<usize>)>, SchemaError> {
        let mut members = Vec::with_capacity(self.members.len() + 1);
        let mut rest: Vec<usize> = (0..task.classes.len()).collect();
        for (name, classes) in &self.members {
            let mut places = Vec::with_capacity(classes.len());
            for class in classes {
                let Some(place) = task.index_of(class) else {
                    let expected = format!("a class of task `{}`, which are {}", task.name, task.classes.join(", "));
                    return self.refused(class, &expected);
                };
                rest.retain(|&other| other != place);
                places.push(place);
            }
            places.sort_unstable();
            members.push((name.clone(), places));
        }
        if !rest.is_empty() {
            members.push((REST.to_owned(), rest));
        }
        Ok(members)
    }

    /// For each class of the task whether it answers with "yes".
    fn positive_classes(&self, task: &Task) -> Result<Vec<bool>, SchemaError> {
        let mut is_positive = vec![false; task.classes.len()];
        for (name, places) in self.members(task)? {
            if self.positive.contains(&name) {
                places.into_iter().for_each(|place| is_positive[place] = true);
            }
        }
        if is_positive.iter().all(|&positive| positive) {
            return self.refused("positive", &format!("some, but not all, of the classes of task `{}`", task.name));
        }
        Ok(is_positive)
    }

    /// The probability of each member for each case.
    ///
    /// # Shapes
    /// `[N, G]`, `G` members in the order of [`members`](Self::members).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn probabilities(&self, predictions: &Predictions) -> Result<Array2<f64>, SchemaError> {
        let task = self.task_of(&predictions.tasks)?;
        let members = self.members(&predictions.tasks[task])?;
        let of_classes = &predictions.probabilities[task];
        Ok(Array2::from_shape_fn((predictions.len(), members.len()), |(case, member)| {
            members[member].1.iter().map(|&class| of_classes[[case, class]]).sum::<f64>().min(1.0)
        }))
    }

    /// `[N]` the probability of "yes" of each case, which is that of the positive members together.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn scores(&self, predictions: &Predictions) -> Result<Vec<f64>, SchemaError> {
        let task = self.task_of(&predictions.tasks)?;
        let is_positive = self.positive_classes(&predictions.tasks[task])?;
        let rows = predictions.probabilities[task].rows();
        Ok(rows.into_iter().map(|row| sum(&is_positive, row.iter())).collect())
    }

    /// The probability of "yes" of one case from the probabilities of the classes of the task, in its order.
    ///
    /// # Errors
    /// A class that the task does not have; another number of probabilities than it has classes.
    pub fn score(&self, task: &Task, probabilities: &[f64]) -> Result<f64, SchemaError> {
        let is_positive = self.positive_classes(task)?;
        if probabilities.len() != is_positive.len() {
            let what = format!("probabilities of task `{}`", task.name);
            return Err(SchemaError::Shape {
                what,
                expected: vec![is_positive.len()],
                found: vec![probabilities.len()],
            });
        }
        Ok(sum(&is_positive, probabilities.iter()))
    }

    /// `[N]` the true answer of each case; `None` where the task is not annotated.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn truths(&self, predictions: &Predictions) -> Result<Vec<Option<bool>>, SchemaError> {
        let task = self.task_of(&predictions.tasks)?;
        let is_positive = self.positive_classes(&predictions.tasks[task])?;
        Ok(predictions.labels.iter().map(|labels| labels[task].map(|label| is_positive[label])).collect())
    }
}

/// The probabilities of the positive classes together; rounding must not make it more than certain.
fn sum<'a>(is_positive: &[bool], probabilities: impl Iterator<Item = &'a f64>) -> f64 {
    let positive = is_positive.iter().zip(probabilities).filter(|(is_positive, _)| **is_positive);
    positive.map(|(_, probability)| probability).sum::<f64>().min(1.0)
}

/// What the operating point of a group is to reach on the cases that it is chosen on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// At least this share of the positive cases is answered with "yes".
    Sensitivity(f64),
    /// At least this share of the other cases is answered with "no".
    Specificity(f64),
}

impl Aim {
    /// The share that is wanted, whichever of both it is of.
    #[must_use]
    pub fn share(self) -> f64 {
        match self {
            Self::Sensitivity(share) | Self::Specificity(share) => share,
        }
    }

    /// What is wanted, by its name: `sensitivity` or `specificity`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sensitivity(_) => "sensitivity",
            Self::Specificity(_) => "specificity",
        }
    }

    fn check(self) -> Result<(), SchemaError> {
        match self.share() {
            share if share > 0.0 && share <= 1.0 => Ok(()),
            value => Err(SchemaError::Number {
                what: format!("wanted {}", self.name()),
                value,
                expected: "above 0, and at most 1",
            }),
        }
    }
}

/// From which probability on a question is answered with "yes", and what that was worth on the validation cases that it was chosen
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// The smallest probability that is answered with "yes", from 0 to 1; above 1 where nothing is.
    pub threshold: f64,
    /// Positive cases among those that it was chosen on.
    pub positives: usize,
    /// Other cases among them.
    pub negatives: usize,
    /// The share of the positive ones that it answers with "yes".
    pub sensitivity: f64,
    /// The share of the others that it answers with "no".
    pub specificity: f64,
}

impl OperatingPoint {
    /// Whether a probability is answered with "yes".
    #[must_use]
    pub fn says_yes(&self, score: f64) -> bool {
        score >= self.threshold
    }
}

/// A [`ClassGroup`], what its operating point was to reach, and the one that the validation cases gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredFitted")]
pub struct FittedGroup {
    /// The group.
    #[serde(flatten)]
    pub group: ClassGroup,
    /// What was wanted.
    pub aim: Aim,
    /// The operating point; `None` where no validation case is positive, or all are.
    pub operating_point: Option<OperatingPoint>,
}

/// A [`FittedGroup`] as it was stored.
#[derive(Deserialize)]
struct StoredFitted {
    #[serde(flatten)]
    group: ClassGroup,
    aim: Aim,
    operating_point: Option<OperatingPoint>,
}

impl TryFrom<StoredFitted> for FittedGroup {
    type Error = SchemaError;

    fn try_from(stored: StoredFitted) -> Result<Self, SchemaError> {
        let StoredFitted { group, aim, operating_point } = stored;
        let fitted = Self { group, aim, operating_point };
        fitted.check_numbers()?;
        Ok(fitted)
    }
}

impl FittedGroup {
    /// Checks that it is of these tasks, and that its numbers are shares.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn check(&self, tasks: &TaskSet) -> Result<(), SchemaError> {
        self.check_numbers()?;
        self.group.check(tasks)
    }

    fn check_numbers(&self) -> Result<(), SchemaError> {
        self.aim.check()?;
        let Some(point) = &self.operating_point else { return Ok(()) };
        let number = |what: &str, value: f64, expected| {
            Err(SchemaError::Number { what: format!("{what} of group `{}`", self.group.name), value, expected })
        };
        if !(point.threshold.is_finite() && point.threshold >= 0.0) {
            return number("threshold", point.threshold, "at least 0");
        }
        for (what, value) in [("sensitivity", point.sensitivity), ("specificity", point.specificity)] {
            if !(0.0..=1.0).contains(&value) {
                return number(what, value, "within 0..=1");
            }
        }
        Ok(())
    }

    /// What a reader must be told of the operating point: that there is none.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.operating_point.is_none().then(|| {
            format!(
                "Group {} has no operating point: the validation cases have no positive case, or nothing else. It gives probabilities \
                 alone.",
                self.group.name
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn task() -> Task {
        Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC", "SK"])
    }

    fn referral() -> ClassGroup {
        let members = [("soon", vec!["MEL"]), ("later", vec!["BCC"])];
        ClassGroup::new("referral", "diagnosis", members, ["soon"]).unwrap()
    }

    #[test]
    fn probabilities_are_added_up_and_labels_follow() {
        let predictions = Predictions {
            tasks: TaskSet::new(vec![task()]).unwrap(),
            ids: vec!["1".into(), "2".into(), "3".into()],
            labels: vec![vec![Some(1)], vec![Some(2)], vec![None]],
            probabilities: vec![array![[0.25, 0.5, 0.125, 0.125], [0.0, 0.25, 0.75, 0.0], [0.25; 4]]],
            basis: vec!["clinical".into(); 3],
        };
        let group = referral();
        // By name: later, soon, and the rest.
        let expected = array![[0.125, 0.5, 0.375], [0.75, 0.25, 0.0], [0.25, 0.25, 0.5]];
        assert_eq!(group.probabilities(&predictions).unwrap(), expected);
        assert_eq!(group.scores(&predictions).unwrap(), [0.5, 0.25, 0.25]);
        assert_eq!(group.score(&task(), &[0.25, 0.5, 0.125, 0.125]).unwrap(), 0.5);
        assert_eq!(group.truths(&predictions).unwrap(), [Some(true), Some(false), None]);
        assert!(group.score(&task(), &[0.5, 0.5]).is_err());
    }

    #[test]
    fn what_makes_no_group_is_named() {
        let error = |members: &[(&str, &[&str])], positive: &[&str]| {
            let members = members.iter().map(|(name, classes)| (*name, classes.to_vec()));
            ClassGroup::new("g", "diagnosis", members, positive.iter().copied()).unwrap_err().to_string()
        };
        let twice = error(&[("a", &["MEL"]), ("b", &["BCC", "MEL"])], &["a"]);
        assert_eq!(twice, "group `g`: `MEL` is not in one list only: it is in a and in b");
        assert!(error(&[("a", &["MEL", "MEL"])], &[]).contains("`MEL` is not in a once"));
        assert!(error(&[], &[]).contains("`members`"));
        assert!(error(&[("a", &[])], &[]).contains("`a` is not a list of at least one class"));
        assert!(error(&[("rest", &["MEL"])], &[]).contains("`rest`"));
        assert!(error(&[("a", &["MEL"]), ("b", &["BCC"])], &[]).contains("`positive`"));
        assert!(error(&[("a", &["MEL"])], &["c"]).contains("`c` is not one of the lists, which are a"));
        assert!(error(&[("a", &["MEL"])], &["a", "a"]).contains("once"));

        let tasks = TaskSet::new(vec![task()]).unwrap();
        let of = |group: &ClassGroup| group.check(&tasks).unwrap_err().to_string();
        let unknown = ClassGroup::new("g", "diagnosis", [("a", vec!["SCC"])], ["a"]).unwrap();
        assert_eq!(of(&unknown), "group `g`: `SCC` is not a class of task `diagnosis`, which are NEV, MEL, BCC, SK");
        let task = ClassGroup::new("g", "dx", [("a", vec!["MEL"])], ["a"]).unwrap();
        assert!(of(&task).contains("`dx` is not a task of the data, which are diagnosis"));
        let all = ClassGroup::new("g", "diagnosis", [("a", vec!["NEV", "MEL", "BCC", "SK"])], ["a"]).unwrap();
        assert!(of(&all).contains("some, but not all"));
    }

    #[test]
    fn what_is_read_is_checked() {
        let point = OperatingPoint { threshold: 0.2, positives: 3, negatives: 5, sensitivity: 1.0, specificity: 0.6 };
        let fitted = FittedGroup { group: referral(), aim: Aim::Sensitivity(0.95), operating_point: Some(point) };
        let value = serde_json::to_value(&fitted).unwrap();
        assert_eq!(value["aim"], serde_json::json!({ "sensitivity": 0.95 }));
        assert_eq!(serde_json::from_value::<FittedGroup>(value.clone()).unwrap(), fitted);
        let error = |key: &str, part: serde_json::Value| {
            let mut changed = value.clone();
            changed[key] = part;
            serde_json::from_value::<FittedGroup>(changed).unwrap_err().to_string()
        };
        assert!(error("positive", ["later", "never"].into()).contains("`never`"));
        assert!(
            error("aim", serde_json::json!({ "specificity": 0.0 })).contains("wanted specificity: 0 is not above 0")
        );
        let mut point = value["operating_point"].clone();
        point["sensitivity"] = 1.5.into();
        assert!(error("operating_point", point).contains("sensitivity of group `referral`: 1.5"));
        assert!(point_of(0.2).says_yes(0.2) && !point_of(0.2).says_yes(0.19));
    }

    fn point_of(threshold: f64) -> OperatingPoint {
        OperatingPoint { threshold, positives: 1, negatives: 1, sensitivity: 1.0, specificity: 1.0 }
    }
}
