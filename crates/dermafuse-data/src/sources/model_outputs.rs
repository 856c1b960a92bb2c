//! What other models say of the cases of a set: tables of class probabilities or features, joined by case.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Task};
use serde::{Deserialize, Serialize};

use crate::{CaseSet, CaseView, DataError, Table};

/// How far the probabilities of a row may miss a sum of 1: tables rounded to two decimals are read.
const ROUNDED: f64 = 0.05;

/// Where what another model says of the cases stands: a table (`.csv`, `.tsv`) with a row for each case.
///
/// Rows are joined with cases by their ids. A path counts by its last part (`images/PAT_8_15_820.png` is the case
/// `PAT_8_15_820.png`), and where no case is called so, without the ending. Cases without a row have no answer of the model, and rows
/// without a case are passed over; a note counts both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOutputs {
    /// The table.
    pub file: PathBuf,
    /// The column that names the cases.
    #[serde(default = "case")]
    pub case: String,
    /// The column of the probability of each class. A model with classes is a branch of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, String>,
    /// Columns of numbers that become fields of the set, called `MODEL.COLUMN` and computed from the image: features, which a second
    /// stage sees where `method.metadata.roles` includes such fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

fn case() -> String {
    "case".into()
}

/// A model whose class probabilities are fields of a set, `MODEL.CLASS`. It answers where it has said something.
///
/// ```
/// use dermafuse_data::OutsideModel;
/// use dermafuse_schema::Task;
///
/// let task = Task::new("diagnosis", "DIAG", ["NEV", "MEL"]);
/// let model = OutsideModel::of("panderm", &task);
/// assert_eq!(model.fields().map(|field| field.name).collect::<Vec<_>>(), ["panderm.NEV", "panderm.MEL"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideModel {
    /// What it is called, and its branch.
    pub name: String,
    /// The task that it answers.
    pub task: String,
    /// The classes of the task, in order.
    pub classes: Vec<String>,
}

/// What an [`OutsideModel`] says of some cases.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideAnswers {
    /// `[N]` whether it says anything of the case.
    pub available: Vec<bool>,
    /// `[N, K]` logarithms of its probabilities; 0 where it says nothing.
    pub logits: Array2<f32>,
}

impl OutsideModel {
    /// The least that a probability counts as, so that its logarithm is finite.
    pub const LEAST: f64 = 1e-7;

    /// A model of this name that answers a task.
    #[must_use]
    pub fn of(name: impl Into<String>, task: &Task) -> Self {
        Self { name: name.into(), task: task.name.clone(), classes: task.classes.clone() }
    }

    /// The fields that hold what it says, in the order of its classes.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.classes.iter().map(|class| Field::numeric(format!("{}.{class}", self.name), FieldRole::ModelOutput))
    }

    /// What it says of cases, of which fields of its names tell.
    ///
    /// # Shapes
    /// `[N, K]`, `N = cases.len()`.
    ///
    /// # Errors
    /// A set without any of its fields; a case of which it says something of some classes only, or numbers that are no probabilities.
    pub fn answers(&self, cases: &CaseView<'_>) -> Result<OutsideAnswers, DataError> {
        let fields = &cases.set().fields;
        let places: Vec<Option<usize>> =
            self.fields().map(|own| fields.iter().position(|field| field.name == own.name)).collect();
        if places.iter().all(Option::is_none) {
            let names = self.fields().map(|field| field.name).collect::<Vec<_>>().join(", ");
            let (case, what) = (cases.set().name.clone(), format!("what `{}` says", self.name));
            let (expected, found) = (format!("columns {names}"), "none of them in the set".into());
            return Err(DataError::Case { case, what, expected, found });
        }
        let mut logits = Array2::zeros((cases.len(), self.classes.len()));
        let mut available = Vec::with_capacity(cases.len());
        for (case, mut row) in cases.cases().zip(logits.rows_mut()) {
            let probabilities = self.probabilities(case, &places)?;
            available.push(probabilities.is_some());
            for (to, p) in row.iter_mut().zip(probabilities.into_iter().flatten()) {
                *to = p.max(Self::LEAST).ln() as f32;
            }
        }
        Ok(OutsideAnswers { available, logits })
    }

    /// The probabilities of a case, in fields at these places; `None` where nothing is said.
    fn probabilities(&self, case: &Case, places: &[Option<usize>]) -> Result<Option<Vec<f64>>, DataError> {
        let number = |place: &Option<usize>| match place.map(|place| case.metadata[place]) {
            Some(FieldValue::Number(number)) => Some(number),
            _ => None,
        };
        let said: Vec<Option<f64>> = places.iter().map(number).collect();
        if said.iter().all(Option::is_none) {
            return Ok(None);
        }
        let error = |what: String, expected: &str, found: String| {
            Err(DataError::Case { case: case.id.to_string(), what, expected: expected.into(), found })
        };
        if let Some(at) = said.iter().position(Option::is_none) {
            let what = format!("`{}.{}`", self.name, self.classes[at]);
            return error(what, "a probability, as of the other classes", "nothing".into());
        }
        let said: Vec<f64> = said.into_iter().flatten().collect();
        if let Some(at) = said.iter().position(|p| !(0.0..=1.0).contains(p)) {
            let what = format!("`{}.{}`", self.name, self.classes[at]);
            return error(what, "a probability within 0..=1", said[at].to_string());
        }
        let sum: f64 = said.iter().sum();
        if (sum - 1.0).abs() > ROUNDED {
            return error(format!("sum of the probabilities of `{}`", self.name), "1", sum.to_string());
        }
        Ok(Some(said.into_iter().map(|p| p / sum).collect()))
    }
}

impl CaseSet {
    /// Joins what other models say, by their names: probabilities as fields of role [`ModelOutput`](FieldRole::ModelOutput), which are
    /// inputs of nothing but the models' own branches, features as fields of role [`ImageDerived`](FieldRole::ImageDerived). Gives the
    /// models that have classes.
    ///
    /// # Errors
    /// A table that cannot be read, or without one of the columns; a class that is named and not there, or there and not named; a model
    /// without classes and features; a set of several tasks, where models have classes; a field of a name that is there; two rows of
    /// one case; a value that is no number; no row of any case.
    pub fn join_outputs(&mut self, outputs: &BTreeMap<String, ModelOutputs>) -> Result<Vec<OutsideModel>, DataError> {
        let mut models = Vec::new();
        for (name, outputs) in outputs {
            let setting = |found: String, expected: &'static str| {
                Err(DataError::Setting {
                    what: "outputs of another model",
                    found: format!("`{name}`: {found}"),
                    expected,
                })
            };
            if outputs.classes.is_empty() && outputs.features.is_empty() {
                return setting("neither".into(), "`classes` with their columns, or `features`");
            }
            // (field, column)
            let mut columns: Vec<(Field, String)> = Vec::new();
            if !outputs.classes.is_empty() {
                if self.tasks.len() != 1 {
                    let tasks = self.tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>().join(", ");
                    return setting(tasks, "a set of one task; choose one (data.NAME.tasks)");
                }
                let model = OutsideModel::of(name, &self.tasks[0]);
                if let Some(class) = outputs.classes.keys().find(|class| !model.classes.contains(class)) {
                    return setting(format!("class `{class}`"), "classes of the task");
                }
                if let Some(class) = model.classes.iter().find(|class| !outputs.classes.contains_key(*class)) {
                    return setting(format!("no column of class `{class}`"), "a column for each class of the task");
                }
                let of_classes = model.classes.iter().map(|class| outputs.classes[class].clone());
                columns.extend(model.fields().zip(of_classes));
                models.push(model);
            }
            for column in &outputs.features {
                columns.push((Field::numeric(format!("{name}.{column}"), FieldRole::ImageDerived), column.clone()));
            }
            self.join_table(name, outputs, columns)?;
        }
        Ok(models)
    }

    fn join_table(
        &mut self,
        name: &str,
        outputs: &ModelOutputs,
        columns: Vec<(Field, String)>,
    ) -> Result<(), DataError> {
        if let Some((field, _)) =
            columns.iter().find(|(field, _)| self.fields.iter().any(|known| known.name == field.name))
        {
            return Err(DataError::RepeatedField { field: field.name.clone() });
        }
        let table = Table::read(&outputs.file)?;
        let ids = table.column(&outputs.case)?;
        let values = columns.iter().map(|(_, column)| table.column(column)).collect::<Result<Vec<_>, DataError>>()?;
        let mut rows: HashMap<&str, usize> = HashMap::with_capacity(self.len());
        for (row, case) in self.cases.iter().enumerate() {
            rows.insert(case.id.as_str(), row);
        }
        let mut stems: HashMap<&str, Option<usize>> = HashMap::with_capacity(self.len());
        for (row, case) in self.cases.iter().enumerate() {
            // What two cases are called without their ending is no name.
            stems.entry(stem(case.id.as_str())).and_modify(|row| *row = None).or_insert(Some(row));
        }
        let mut line_of: HashMap<usize, usize> = HashMap::new();
        let mut foreign = 0_usize;
        for line in 0..table.len() {
            let text = ids.text(line);
            let file = text.rsplit(['/', '\\']).next().unwrap_or(text);
            let row = rows.get(text).or_else(|| rows.get(file)).copied();
            match row.or_else(|| stems.get(stem(file)).copied().flatten()) {
                Some(row) if line_of.contains_key(&row) => {
                    let expected = format!("another case than in line {}", table.line(line_of[&row]));
                    return Err(ids.value_error(line, expected));
                }
                Some(row) => drop(line_of.insert(row, line)),
                None => foreign += 1,
            }
        }
        let file = outputs.file.display();
        if line_of.is_empty() {
            let found = match table.len() {
                0 => "no row".to_owned(),
                _ => format!("`{}` in its first row", ids.text(0)),
            };
            let found = format!("`{name}`: {file} has {found}, and a case is called `{}`", self.cases[0].id);
            let expected = "ids of cases in the column that `case` names";
            return Err(DataError::Setting { what: "outputs of another model", found, expected });
        }
        for (row, case) in self.cases.iter_mut().enumerate() {
            for column in &values {
                let value = match line_of.get(&row) {
                    Some(&line) => column.number(line)?.map_or(FieldValue::Missing, FieldValue::Number),
                    None => FieldValue::Missing,
                };
                case.metadata.push(value);
            }
        }
        self.fields.extend(columns.into_iter().map(|(field, _)| field));
        let (known, cases) = (line_of.len(), self.cases.len());
        self.notes.push(match foreign {
            0 => format!("{file}: `{name}` says something of {known} of {cases} cases."),
            _ => format!("{file}: `{name}` says something of {known} of {cases} cases; {foreign} rows are of no case."),
        });
        Ok(())
    }
}

/// A file's name without its ending.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::TaskSet;

    fn set() -> CaseSet {
        let case = |id: &str, label| Case { labels: vec![Some(label)], ..Case::new(id) };
        CaseSet {
            name: "set".into(),
            synthetic: true,
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            fields: vec![],
            cases: vec![case("a.png", 0), case("b.png", 1), case("c.png", 0)],
            split: None,
            notes: vec![],
        }
    }

    fn outputs(folder: &std::path::Path, text: &str) -> ModelOutputs {
        let file = folder.join("outputs.csv");
        std::fs::write(&file, text).unwrap();
        let classes = [("NEV".to_owned(), "p0".to_owned()), ("MEL".to_owned(), "p1".to_owned())];
        ModelOutputs { file, case: "file".into(), classes: classes.into(), features: vec!["f".into()] }
    }

    fn joined(text: &str) -> Result<(CaseSet, Vec<OutsideModel>), DataError> {
        let folder = tempfile::tempdir().unwrap();
        let mut set = set();
        let models = set.join_outputs(&[("m".to_owned(), outputs(folder.path(), text))].into())?;
        set.check().unwrap();
        Ok((set, models))
    }

    #[test]
    fn rows_are_joined_by_the_last_part_of_their_path_or_without_its_ending() {
        let text = "file,p1,p0,f\nimages/b.png,0.75,0.25,7\na.jpg,0.125,0.875,\nx.png,0.5,0.5,1\n";
        let (set, models) = joined(text).unwrap();
        let names: Vec<&str> = set.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["m.NEV", "m.MEL", "m.f"]);
        assert_eq!((set.fields[0].role, set.fields[2].role), (FieldRole::ModelOutput, FieldRole::ImageDerived));
        assert_eq!(set.cases[1].metadata[2], FieldValue::Number(7.0));
        assert_eq!((set.cases[0].metadata[2], set.cases[2].metadata[0]), (FieldValue::Missing, FieldValue::Missing));
        assert!(
            set.notes[0].ends_with("`m` says something of 2 of 3 cases; 1 rows are of no case."),
            "{:?}",
            set.notes
        );
        let answers = models[0].answers(&set.view(&[2, 1]).unwrap()).unwrap();
        assert_eq!(answers.available, [false, true]);
        assert_eq!(answers.logits.row(0).to_vec(), [0.0, 0.0]);
        assert!((answers.logits[[1, 1]].exp() - 0.75).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |text: &str| joined(text).unwrap_err().to_string();
        assert!(error("file,p0,f\na.png,1,2\n").contains("p1"));
        assert!(error("file,p0,p1,f\nx.png,1,0,2\n").contains("a case is called `a.png`"));
        let twice = error("file,p0,p1,f\na.png,1,0,2\nother/a.png,1,0,2\n");
        assert!(twice.contains("another case than in line 2"), "{twice}");
        let answers = |text: &str| {
            let (set, models) = joined(text).unwrap();
            models[0].answers(&set.whole()).unwrap_err().to_string()
        };
        assert!(answers("file,p0,p1,f\na.png,1,,2\n").contains("`m.MEL`"));
        assert!(answers("file,p0,p1,f\na.png,1.5,0,2\n").contains("1.5"));
        assert!(answers("file,p0,p1,f\na.png,0.5,0.1,2\n").contains("sum of the probabilities of `m`"));
        let folder = tempfile::tempdir().unwrap();
        let mut own = outputs(folder.path(), "file,p0,p1,f\na.png,1,0,2\n");
        own.classes.remove("MEL");
        let message =
            |own: &ModelOutputs| set().join_outputs(&[("m".to_owned(), own.clone())].into()).unwrap_err().to_string();
        assert!(message(&own).contains("no column of class `MEL`"));
        own.classes.insert("SK".into(), "p1".into());
        assert!(message(&own).contains("class `SK`"));
        (own.classes, own.features) = (BTreeMap::new(), Vec::new());
        assert!(message(&own).contains("neither"));
    }
}
