use dermafuse_schema::{FittedGroup, PatientGroup, Performance, PerformanceRow, Predictions, SchemaError};
use serde::Serialize;

/// What a model says to the question of a group of classes, such as whether to refer a patient.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GroupAnswer {
    /// The group's name, such as `referral`.
    pub name: String,
    /// The task whose classes it unites.
    pub task: String,
    /// The probability of each member, by name; the classes in none come last, as `rest`.
    pub members: Vec<MemberProbability>,
    /// The probability of "yes": that of the positive members together, 0 to 1.
    pub probability: f64,
    /// The probability from which on the answer is "yes"; `None` where the validation cases could not choose one.
    pub threshold: Option<f64>,
    /// The answer; `None` without a threshold.
    pub yes: Option<bool>,
}

/// A member of a group of classes and how probable the model calls it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberProbability {
    /// Its name, such as `soon`.
    pub member: String,
    /// The sum of its classes' probabilities, 0 to 1.
    pub probability: f64,
    /// Whether it answers with "yes".
    pub positive: bool,
}

/// How well the model did on test cases like this patient.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// The task that the accuracies are of.
    pub task: String,
    /// All test cases.
    pub all: PerformanceRow,
    /// The groups that the patient belongs to, by field.
    pub like_this: Vec<PatientGroup>,
    /// What is not known of such patients, a sentence each.
    pub not_known: Vec<String>,
}

impl GroupAnswer {
    /// The answer to the only case of predictions.
    pub(crate) fn of(fitted: &FittedGroup, predictions: &Predictions) -> Result<Self, SchemaError> {
        let group = &fitted.group;
        let task = group.task_of(&predictions.tasks)?;
        let members = group.members(&predictions.tasks[task])?.into_iter().zip(group.probabilities(predictions)?);
        let members = members.map(|((member, _), probability)| {
            let positive = group.positive().contains(&member);
            MemberProbability { member, probability, positive }
        });
        let probability = group.scores(predictions)?[0];
        Ok(Self {
            name: group.name().to_owned(),
            task: group.task().to_owned(),
            members: members.collect(),
            probability,
            threshold: fitted.operating_point.map(|point| point.threshold),
            yes: fitted.operating_point.map(|point| point.says_yes(probability)),
        })
    }
}

impl Evidence {
    /// That of the patient with these values of the model's fields.
    pub(crate) fn of(
        performance: &Performance,
        fields: &[dermafuse_schema::Field],
        values: &[dermafuse_schema::FieldValue],
    ) -> Self {
        Self {
            task: performance.task.clone(),
            all: performance.all.clone(),
            like_this: performance.like(fields, values).into_iter().cloned().collect(),
            not_known: performance.not_known(fields, values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::ndarray::array;
    use dermafuse_schema::{Aim, ClassGroup, OperatingPoint, Task, TaskSet};

    #[test]
    fn a_question_is_answered_at_its_operating_point() {
        let predictions = Predictions {
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC"])]).unwrap(),
            ids: vec!["patient".into()],
            labels: vec![vec![None]],
            probabilities: vec![array![[0.5, 0.25, 0.25]]],
            basis: vec!["clinical".into()],
        };
        let answer = |threshold: Option<f64>| {
            let members = [("soon", vec!["MEL"]), ("later", vec!["BCC"])];
            let group = ClassGroup::new("referral", "diagnosis", members, ["soon", "later"]).unwrap();
            let point = |threshold| OperatingPoint {
                threshold,
                positives: 9,
                negatives: 9,
                sensitivity: 1.0,
                specificity: 0.5,
            };
            let operating_point = threshold.map(point);
            let fitted = FittedGroup { group, aim: Aim::Sensitivity(0.9), operating_point };
            GroupAnswer::of(&fitted, &predictions).unwrap()
        };
        let yes = answer(Some(0.5));
        assert_eq!((yes.probability, yes.yes, yes.threshold), (0.5, Some(true), Some(0.5)));
        let members: Vec<(&str, f64, bool)> =
            yes.members.iter().map(|found| (found.member.as_str(), found.probability, found.positive)).collect();
        assert_eq!(members, [("later", 0.25, true), ("soon", 0.25, true), ("rest", 0.5, false)]);
        assert_eq!(answer(Some(0.6)).yes, Some(false));
        assert_eq!((answer(None).yes, answer(None).threshold), (None, None));
    }
}
