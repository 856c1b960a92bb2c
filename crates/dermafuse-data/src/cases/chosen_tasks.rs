use std::str::FromStr;

use dermafuse_schema::{Field, FieldRole, FieldValue, Task, TaskSet};
use serde::{Deserialize, Serialize};

use crate::{CaseSet, DataError};

/// What becomes of the tasks of a set that are not chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherTasks {
    /// Nothing: their labels are not looked at.
    #[default]
    LeftOut,
    /// Metadata fields, of which somebody must have judged the lesion: they are [post-diagnosis](FieldRole::PostDiagnosis), so they
    /// leak, and are inputs only where such fields are asked for.
    Inputs,
}

impl OtherTasks {
    /// Whether this is what nobody has to say.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for OtherTasks {
    type Err = DataError;

    fn from_str(word: &str) -> Result<Self, DataError> {
        match word {
            "left_out" => Ok(Self::LeftOut),
            "inputs" => Ok(Self::Inputs),
            _ => {
                Err(DataError::Setting { what: "other tasks", found: word.into(), expected: "`left_out` or `inputs`" })
            }
        }
    }
}

impl CaseSet {
    /// The same cases with some of the tasks, by name and in the order of the names. The other tasks' labels are left out, or
    /// become metadata fields before those of the set, in its order and with the classes as categories.
    ///
    /// ```
    /// use dermafuse_data::{CaseSet, OtherTasks};
    /// use dermafuse_schema::{Case, Task, TaskSet};
    ///
    /// let tasks = ["diagnosis", "veil"].map(|name| Task::new(name, name, ["no", "yes"]));
    /// let case = Case { labels: vec![Some(1), Some(0)], ..Case::new("1") };
    /// let tasks = TaskSet::new(tasks.into())?;
    /// let (name, cases) = ("mine".to_owned(), vec![case]);
    /// let set = CaseSet { name, synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    ///
    /// let diagnosis = set.with_tasks(&["diagnosis".to_owned()], OtherTasks::Inputs)?;
    /// assert_eq!((diagnosis.tasks.len(), diagnosis.cases[0].labels[0]), (1, Some(1)));
    /// assert_eq!(diagnosis.fields[0].name, "veil");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// No name, a name twice, one that no task of the set has; a task that has the name of a field and would become one too.
    pub fn with_tasks(mut self, names: &[String], others: OtherTasks) -> Result<Self, DataError> {
        let error = |reason: String| Err(DataError::ChosenTasks { set: self.name.clone(), reason });
        let known: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        let mut chosen = Vec::with_capacity(names.len());
        for name in names {
            let Some(place) = self.tasks.index_of(name) else {
                return error(format!("it has no task `{name}`; its tasks are {}", known.join(", ")));
            };
            if chosen.contains(&place) {
                return error(format!("`{name}` is named twice"));
            }
            chosen.push(place);
        }
        if chosen.is_empty() {
            return error(format!("none is chosen; its tasks are {}", known.join(", ")));
        }
        let left: Vec<usize> = (0..self.tasks.len()).filter(|place| !chosen.contains(place)).collect();
        let inputs = match others {
            OtherTasks::LeftOut => Vec::new(),
            OtherTasks::Inputs => left.clone(),
        };
        if let Some(name) = inputs.iter().map(|&place| known[place]).find(|name| self.has_field(name)) {
            return error(format!("the task `{name}` cannot be an input, since a field has its name"));
        }
        let names_of = |places: &[usize]| places.iter().map(|&place| known[place]).collect::<Vec<_>>().join(", ");
        let note = match others {
            _ if left.is_empty() => None,
            OtherTasks::LeftOut => Some(format!("The tasks {} are left out.", names_of(&left))),
            OtherTasks::Inputs => {
                Some(format!("The tasks {} are metadata that somebody judged, not tasks.", names_of(&left)))
            }
        };
        let field = |task: &Task| Field::categorical(&task.name, FieldRole::PostDiagnosis, task.classes.clone());
        let mut fields: Vec<Field> = inputs.iter().map(|&place| field(&self.tasks[place])).collect();
        fields.append(&mut self.fields);
        for case in &mut self.cases {
            let value = |place: &usize| match case.labels.get(*place).copied().flatten() {
                Some(label) => FieldValue::Category(label),
                None => FieldValue::Missing,
            };
            let mut metadata: Vec<FieldValue> = inputs.iter().map(value).collect();
            metadata.append(&mut case.metadata);
            case.metadata = metadata;
            case.labels = chosen.iter().map(|&place| case.labels.get(place).copied().flatten()).collect();
        }
        self.tasks = TaskSet::new(chosen.iter().map(|&place| self.tasks[place].clone()).collect())?;
        self.fields = fields;
        self.notes.extend(note);
        self.check()?;
        Ok(self)
    }

    fn has_field(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Case;

    fn set() -> CaseSet {
        let task = |name: &str| Task::new(name, name, ["absent", "present"]);
        let case = |id: &str, labels: [Option<usize>; 3]| Case {
            labels: labels.to_vec(),
            metadata: vec![FieldValue::Number(40.0)],
            ..Case::new(id)
        };
        CaseSet {
            name: "moles".into(),
            synthetic: false,
            tasks: TaskSet::new(["diagnosis", "veil", "streaks"].map(task).to_vec()).unwrap(),
            fields: vec![Field::numeric("age", FieldRole::PreDiagnosis)],
            cases: vec![case("a", [Some(0), Some(1), None]), case("b", [Some(1), None, Some(0)])],
            split: None,
            notes: vec![],
        }
    }

    fn chosen(names: &[&str], others: OtherTasks) -> Result<CaseSet, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        set().with_tasks(&names, others).map_err(|error| error.to_string())
    }

    #[test]
    fn tasks_are_chosen_by_name_and_in_the_order_of_the_names() {
        let set = chosen(&["streaks", "diagnosis"], OtherTasks::LeftOut).unwrap();
        assert_eq!(set.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["streaks", "diagnosis"]);
        assert_eq!(set.cases[0].labels, [None, Some(0)]);
        assert_eq!(set.cases[1].labels, [Some(0), Some(1)]);
        assert_eq!((set.fields.len(), set.cases[0].metadata.len()), (1, 1));
        assert_eq!(set.notes, ["The tasks veil are left out."]);
        assert!(chosen(&["diagnosis", "veil", "streaks"], OtherTasks::Inputs).unwrap().notes.is_empty());
    }

    #[test]
    fn the_others_become_metadata_that_leak() {
        let set = chosen(&["diagnosis"], OtherTasks::Inputs).unwrap();
        let fields: Vec<_> = set.fields.iter().map(|field| (field.name.as_str(), field.role)).collect();
        let judged = FieldRole::PostDiagnosis;
        assert_eq!(fields, [("veil", judged), ("streaks", judged), ("age", FieldRole::PreDiagnosis)]);
        let age = FieldValue::Number(40.0);
        assert_eq!(set.cases[0].metadata, [FieldValue::Category(1), FieldValue::Missing, age]);
        assert_eq!(set.cases[1].metadata, [FieldValue::Missing, FieldValue::Category(0), age]);
        assert_eq!(set.notes, ["The tasks veil, streaks are metadata that somebody judged, not tasks."]);
    }

    #[test]
    fn what_cannot_be_chosen_is_refused() {
        let error = |names: &[&str]| chosen(names, OtherTasks::LeftOut).unwrap_err();
        let known = "its tasks are diagnosis, veil, streaks";
        assert_eq!(
            error(&["diagnose"]),
            format!("the tasks of `moles` cannot be chosen: it has no task `diagnose`; {known}")
        );
        assert_eq!(error(&["veil", "veil"]), "the tasks of `moles` cannot be chosen: `veil` is named twice");
        assert_eq!(error(&[]), format!("the tasks of `moles` cannot be chosen: none is chosen; {known}"));
        let mut twice = set();
        twice.fields[0].name = "veil".into();
        let error = twice.with_tasks(&["diagnosis".into()], OtherTasks::Inputs).unwrap_err().to_string();
        assert!(error.ends_with("the task `veil` cannot be an input, since a field has its name"), "{error}");
    }
}
