use serde::{Deserialize, Serialize};

use crate::SchemaError;

/// One single-label classification problem: a name and its classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique name, as in the data set's files, such as `pigment_network`.
    pub name: String,
    /// Short heading for tables, such as `PN`.
    pub label: String,
    /// Class names; the index of a class is its label.
    pub classes: Vec<String>,
    /// The class that stands for "nothing there" (`ABS` in the seven-point checklist), left out of averages over
    /// findings such as the 17 AUC values of the field's tables. `None`: every class counts.
    pub reference: Option<usize>,
}

impl Task {
    /// A task in which every class counts.
    pub fn new<C: Into<String>>(
        name: impl Into<String>,
        label: impl Into<String>,
        classes: impl IntoIterator<Item = C>,
    ) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            classes: classes.into_iter().map(Into::into).collect(),
            reference: None,
        }
    }

    /// The same task with `class` as its reference ("absent") class.
    ///
    /// # Panics
    /// If the task has no class of that name.
    #[must_use]
    pub fn with_reference(mut self, class: &str) -> Self {
        self.reference = Some(self.index_of(class).expect("the reference is one of the task's classes"));
        self
    }

    /// The label of a class.
    #[must_use]
    pub fn index_of(&self, class: &str) -> Option<usize> {
        self.classes.iter().position(|name| name == class)
    }
}

/// The tasks of a data set or model, in order: at least one, with unique names, each with two or more classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Task>", into = "Vec<Task>")]
pub struct TaskSet(Vec<Task>);

impl TaskSet {
    /// Checks and keeps the tasks.
    ///
    /// # Errors
    /// No task, a repeated task name, a task with fewer than two distinct classes.
    pub fn new(tasks: Vec<Task>) -> Result<Self, SchemaError> {
        if tasks.is_empty() {
            return Err(SchemaError::NoTasks);
        }
        for (index, task) in tasks.iter().enumerate() {
            let names = task.classes.iter().map(|class| ("class", class)).chain([("task", &task.name)]);
            if let Some((what, name)) = names.into_iter().find(|(_, name)| name.contains('\0')) {
                return Err(SchemaError::Nul { what, name: name.clone() });
            }
            if tasks[..index].iter().any(|other| other.name == task.name) {
                return Err(SchemaError::DuplicateTask { task: task.name.clone() });
            }
            let mut classes = task.classes.clone();
            classes.sort();
            classes.dedup();
            let reference_fits = task.reference.is_none_or(|reference| reference < task.classes.len());
            if classes.len() < 2 || classes.len() != task.classes.len() || !reference_fits {
                return Err(SchemaError::Classes { task: task.name.clone(), classes: task.classes.clone() });
            }
        }
        Ok(Self(tasks))
    }

    /// The tasks in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Task> {
        self.0.iter()
    }

    /// How many tasks there are; never 0.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a task set is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Position of the task of that name.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|task| task.name == name)
    }

    /// The number of classes of each task.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        self.0.iter().map(|task| task.classes.len()).collect()
    }
}

impl std::ops::Index<usize> for TaskSet {
    type Output = Task;

    fn index(&self, index: usize) -> &Task {
        &self.0[index]
    }
}

impl<'a> IntoIterator for &'a TaskSet {
    type Item = &'a Task;
    type IntoIter = std::slice::Iter<'a, Task>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl TryFrom<Vec<Task>> for TaskSet {
    type Error = SchemaError;

    fn try_from(tasks: Vec<Task>) -> Result<Self, SchemaError> {
        Self::new(tasks)
    }
}

impl From<TaskSet> for Vec<Task> {
    fn from(tasks: TaskSet) -> Self {
        tasks.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_set_is_checked_also_when_read() {
        let twice = vec![Task::new("a", "A", ["x", "y"]), Task::new("a", "A", ["x", "y"])];
        assert!(matches!(TaskSet::new(twice), Err(SchemaError::DuplicateTask { .. })));
        assert!(matches!(TaskSet::new(vec![]), Err(SchemaError::NoTasks)));
        let nul = vec![Task::new("a", "A", ["x", "y\0"])];
        assert!(TaskSet::new(nul).unwrap_err().to_string().starts_with(r"class `y\0` has a NUL character"));
        let one_class = r#"[{"name":"a","label":"A","classes":["x","x"],"reference":null}]"#;
        let error = serde_json::from_str::<TaskSet>(one_class).unwrap_err().to_string();
        assert!(error.contains("task `a` needs two or more distinct classes"), "{error}");
    }
}
