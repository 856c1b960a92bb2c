use dermafuse_data::QualityFinding;
use dermafuse_ensemble::ProbabilityFacts;
use dermafuse_schema::{Decision, EngineFacts, SevenPointScore, Task};
use serde::Serialize;

use crate::{Basis, Evidence, GroupAnswer, Note, PatientError, TrainingDistance};

/// What a [`Model`](crate::Model) says of a patient's lesion. Not a diagnosis: research software.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// One for each of the model's tasks, in its order.
    pub(crate) tasks: Vec<TaskAnswer>,
    /// The answers to the questions of the model's groups of classes, such as whether to refer the patient; none for a model without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupAnswer>,
    /// How well the model did for patients like this one; `None` for a model that does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the answer stands on.
    pub basis: Basis,
    /// What must be known of it: what is missing, unknown to the model, or assumed.
    pub notes: Vec<Note>,
    /// What is wrong with the pictures; nothing does not mean that they are good.
    pub findings: Vec<QualityFinding>,
    /// How far the features of the pictures are from those of the training cases; `None` if the model cannot tell, or if a picture that
    /// it looks at is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_distribution: Option<TrainingDistance>,
    /// How the probabilities are calibrated, and how frequent they take the classes to be.
    pub probabilities: ProbabilityFacts,
    /// The seven-point checklist of the most probable classes, if the model has its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seven_point: Option<SevenPointScore>,
    /// What ran the network.
    pub engine: EngineFacts,
}

/// What a model says of one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TaskAnswer {
    /// The task's name, such as `diagnosis`.
    pub name: String,
    /// Its heading for tables.
    pub label: String,
    ranked: Vec<ClassProbability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
}

/// A class and how probable the model calls it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassProbability {
    /// The class's name.
    pub class: String,
    /// Its probability, 0 to 1; those of a task's classes add up to 1.
    pub probability: f64,
}

impl Answer {
    /// The answer to a task, by its name.
    ///
    /// # Errors
    /// A task that the model does not have.
    pub fn task(&self, name: &str) -> Result<&TaskAnswer, PatientError> {
        self.tasks.iter().find(|task| task.name == name).ok_or_else(|| PatientError::UnknownTask {
            task: name.to_owned(),
            known: self.tasks.iter().map(|task| task.name.clone()).collect(),
        })
    }

    /// The answer to the question of a group of classes, by its name.
    ///
    /// # Errors
    /// A group that the model does not have.
    pub fn group(&self, name: &str) -> Result<&GroupAnswer, PatientError> {
        self.groups.iter().find(|group| group.name == name).ok_or_else(|| PatientError::UnknownGroup {
            group: name.to_owned(),
            known: self.groups.iter().map(|group| group.name.clone()).collect(),
        })
    }

    /// The answers to all tasks, in the model's order; at least one.
    #[must_use]
    pub fn tasks(&self) -> &[TaskAnswer] {
        &self.tasks
    }
}

impl TaskAnswer {
    /// The answer to a task with these probabilities of its classes.
    pub(crate) fn new(task: &Task, probabilities: impl IntoIterator<Item = f64>) -> Self {
        let classes = task.classes.iter().zip(probabilities);
        let mut ranked: Vec<ClassProbability> =
            classes.map(|(class, probability)| ClassProbability { class: class.clone(), probability }).collect();
        // Stable: the first of equals is first, as in `Predictions::predicted`.
        ranked.sort_by(|one, other| other.probability.total_cmp(&one.probability));
        Self { name: task.name.clone(), label: task.label.clone(), ranked, decision: None }
    }

    /// The same with what the model's sets of classes decide.
    pub(crate) fn decided(self, decision: Option<Decision>) -> Self {
        Self { decision, ..self }
    }

    /// What is answered by a model that may abstain: the only class of its set for the error rate that it was made with, or the set.
    /// `None` for a model without such sets.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// The most probable class.
    ///
    /// # Panics
    /// Never for a model's answer: a task has classes.
    #[must_use]
    pub fn top(&self) -> &ClassProbability {
        &self.ranked[0]
    }

    /// All classes, the most probable one first; of equally probable ones, the one that the model lists first.
    #[must_use]
    pub fn ranked(&self) -> &[ClassProbability] {
        &self.ranked
    }

    /// The probability of a class; `None` if the task does not have it.
    #[must_use]
    pub fn probability(&self, class: &str) -> Option<f64> {
        self.ranked.iter().find(|ranked| ranked.class == class).map(|ranked| ranked.probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ranked_and_found_by_name() {
        let task = TaskAnswer::new(&Task::new("diagnosis", "DIAG", ["a", "b", "c"]), [0.3, 0.4, 0.3]);
        let ranked: Vec<&str> = task.ranked().iter().map(|ranked| ranked.class.as_str()).collect();
        assert_eq!((ranked, task.top().probability), (vec!["b", "a", "c"], 0.4));
        assert_eq!((task.probability("c"), task.probability("d")), (Some(0.3), None));
        let answer = Answer {
            tasks: vec![task],
            groups: Vec::new(),
            evidence: None,
            basis: Basis::default(),
            notes: Vec::new(),
            findings: Vec::new(),
            out_of_distribution: None,
            probabilities: ProbabilityFacts::default(),
            seven_point: None,
            engine: crate::network_engine::burn_facts(),
        };
        let error = answer.group("referral").unwrap_err().to_string();
        assert!(error.contains("no group `referral`"), "{error}");
        assert_eq!(answer.task("diagnosis").unwrap().top().class, "b");
        let error = answer.task("streaks").unwrap_err().to_string();
        assert_eq!(error, "the model has no task `streaks`; it has diagnosis");
    }
}
