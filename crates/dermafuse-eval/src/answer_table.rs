#[cfg(feature = "parquet")]
mod parquet_file;

use std::fmt::Write;

use dermafuse_schema::{FailedCase, Predictions, SchemaError, TaskSet};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::export::{WRITES, csv_field};
use crate::metrics::check;

/// Version of the layout of [`AnswerTable::to_json`], raised when a key changes its meaning.
const FORMAT: u32 = 1;
/// The status of a case that was answered.
const ANSWERED: &str = "ok";

/// How an [`AnswerTable`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// One line a case, for spreadsheets.
    #[default]
    Csv,
    /// One JSON object with all cases and the notes.
    Json,
    /// One JSON object a line and case.
    JsonLines,
    /// A Parquet file, where the crate was built with its feature `parquet`.
    Parquet,
}

impl AnswerFormat {
    /// Checks that this build writes the form, so that nobody finds it out after a long work.
    ///
    /// # Errors
    /// Parquet without the Cargo feature `parquet`.
    pub fn check(self) -> Result<(), EvalError> {
        match self {
            Self::Parquet if !cfg!(feature = "parquet") => Err(EvalError::WithoutParquet),
            _ => Ok(()),
        }
    }
}

/// The answers of a model, a line for each case: to cases whose labels nobody knows in the order in which they were asked, or beside
/// the truth ([`AnswerTable::with_truth`]).
///
/// ```
/// use dermafuse_eval::AnswerTable;
/// use dermafuse_schema::{FailedCase, Predictions, Task, TaskSet, ndarray::array};
///
/// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// let answers = Predictions {
///     tasks,
///     ids: vec!["b".into()],
///     labels: vec![vec![None]],
///     probabilities: vec![array![[0.25, 0.75]]],
///     basis: vec!["clinical".into()],
/// };
/// let failed = [FailedCase { row: 0, id: "a".into(), reason: "a.jpg is damaged".into() }];
/// let table = AnswerTable::new(&answers, &[1], &failed)?;
/// assert_eq!(
///     table.to_csv(),
///     "case,basis,status,findings,training_distance,diagnosis,diagnosis:probability,diagnosis=NEV,diagnosis=MEL\n\
///      a,,a.jpg is damaged,,,,,,\n\
///      b,clinical,ok,,,MEL,0.75,0.25,0.75\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerTable {
    /// The tasks of the model.
    tasks: TaskSet,
    /// Whether the truth stands beside the answers.
    has_truth: bool,
    /// The cases, in order.
    cases: Vec<CaseAnswer>,
}

/// What a model says of one case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseAnswer {
    /// The case's identity.
    pub case: String,
    /// What the case was predicted from; `None` where it was not.
    pub basis: Option<String>,
    /// `ok`, or why the case could not be answered.
    pub status: String,
    /// What is wrong with its pictures, a sentence each.
    pub findings: Vec<String>,
    /// How far it is from the cases that trained the model: the per cent of reference cases that are at most as far away. `None` where it
    /// is not known.
    pub training_distance: Option<f64>,
    /// The answer to each task, in order; in JSON an object with the tasks' names as keys. Empty where there is no answer.
    #[serde(serialize_with = "by_task")]
    pub tasks: Vec<TaskAnswer>,
}

/// What is said of an answered case beside its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRemarks {
    /// As [`CaseAnswer::findings`].
    pub findings: Vec<String>,
    /// As [`CaseAnswer::training_distance`].
    pub training_distance: Option<f64>,
}

/// What a model says of one case in one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskAnswer {
    /// The task's name.
    #[serde(skip)]
    pub task: String,
    /// The most probable class.
    pub class: String,
    /// The class that the case is of; `None` where nobody says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<String>,
    /// Its probability.
    pub probability: f64,
    /// The probability of each class, in order; in JSON an object with the classes' names as keys.
    #[serde(serialize_with = "by_class")]
    pub probabilities: Vec<(String, f64)>,
}

#[derive(Serialize)]
struct AnswerFile<'a> {
    format: u32,
    notes: &'a [String],
    cases: &'a [CaseAnswer],
}

impl AnswerTable {
    /// The answers to the cases at `rows`, and the cases that could not be answered, sorted by their rows.
    ///
    /// # Errors
    /// Predictions whose columns do not fit together, another number of rows than predictions.
    pub fn new(answers: &Predictions, rows: &[usize], failed: &[FailedCase]) -> Result<Self, EvalError> {
        Self::with_remarks(answers, rows, failed, &vec![CaseRemarks::default(); answers.len()])
    }

    /// The same with what is said of each of the answered cases beside its answer, in the order of the answers.
    ///
    /// # Errors
    /// As [`AnswerTable::new`]; another number of remarks than predictions.
    pub fn with_remarks(
        answers: &Predictions,
        rows: &[usize],
        failed: &[FailedCase],
        remarks: &[CaseRemarks],
    ) -> Result<Self, EvalError> {
        check(answers)?;
        for (what, found) in [("rows of the answers", rows.len()), ("remarks on the answers", remarks.len())] {
            if found != answers.len() {
                let (expected, found) = (vec![answers.len()], vec![found]);
                return Err(SchemaError::Shape { what: what.into(), expected, found }.into());
            }
        }
        let answered = rows.iter().zip(remarks).enumerate();
        let answered = answered.map(|(case, (&row, remarks))| (row, CaseAnswer::of(answers, case, remarks, false)));
        let mut cases: Vec<(usize, CaseAnswer)> =
            answered.chain(failed.iter().map(|case| (case.row, CaseAnswer::failed(case)))).collect();
        cases.sort_by_key(|(row, _)| *row);
        let cases = cases.into_iter().map(|(_, case)| case).collect();
        Ok(Self { tasks: answers.tasks.clone(), has_truth: false, cases })
    }

    /// The answers to cases in the order of the predictions, with the truth beside each, and after them the cases that could not be
    /// answered.
    ///
    /// # Errors
    /// Predictions whose columns do not fit together.
    pub fn with_truth(answers: &Predictions, failed: &[FailedCase]) -> Result<Self, EvalError> {
        check(answers)?;
        let answered = (0..answers.len()).map(|case| CaseAnswer::of(answers, case, &CaseRemarks::default(), true));
        let cases = answered.chain(failed.iter().map(CaseAnswer::failed)).collect();
        Ok(Self { tasks: answers.tasks.clone(), has_truth: true, cases })
    }

    /// The cases, in order.
    #[must_use]
    pub fn cases(&self) -> &[CaseAnswer] {
        &self.cases
    }

    /// The bytes of a file with the table; the notes are in the forms that have a place for them.
    ///
    /// # Errors
    /// What [`AnswerFormat::check`] refuses.
    pub fn to_bytes(&self, format: AnswerFormat, notes: &[String]) -> Result<Vec<u8>, EvalError> {
        format.check()?;
        Ok(match format {
            AnswerFormat::Csv => self.to_csv().into_bytes(),
            AnswerFormat::Json => self.to_json(notes).into_bytes(),
            AnswerFormat::JsonLines => self.to_json_lines().into_bytes(),
            #[cfg(feature = "parquet")]
            AnswerFormat::Parquet => parquet_file::bytes(self, notes)?,
            #[cfg(not(feature = "parquet"))]
            AnswerFormat::Parquet => return Err(EvalError::WithoutParquet),
        })
    }

    /// The table as CSV: `case,basis,status`, `findings` (with `; ` between them) and `training_distance` where the table has no truth,
    /// then for each task its name (the most probable class), `NAME:truth` where the table has it (empty where a case is not
    /// annotated), `NAME:probability` (of the most probable class) and `NAME=CLASS` (of each class). A case that could not be answered
    /// has the reason as its status, and nothing else. Texts that a spreadsheet would run are marked as in
    /// [`predictions_csv`](crate::predictions_csv).
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = String::from("case,basis,status");
        if !self.has_truth {
            text += ",findings,training_distance";
        }
        for task in &self.tasks {
            text += &format!(",{}", csv_field(&task.name));
            if self.has_truth {
                text += &format!(",{}", csv_field(&format!("{}:truth", task.name)));
            }
            text += &format!(",{}", csv_field(&format!("{}:probability", task.name)));
            for class in &task.classes {
                write!(text, ",{}", csv_field(&format!("{}={class}", task.name))).expect(WRITES);
            }
        }
        text.push('\n');
        let columns: usize = self.tasks.iter().map(|task| 2 + usize::from(self.has_truth) + task.classes.len()).sum();
        for CaseAnswer { case, basis, status, findings, training_distance, tasks } in &self.cases {
            let [case, basis, status] = [case, basis.as_deref().unwrap_or_default(), status].map(csv_field);
            write!(text, "{case},{basis},{status}").expect(WRITES);
            if !self.has_truth {
                let distance = training_distance.map_or_else(String::new, |per_cent| per_cent.to_string());
                write!(text, ",{},{distance}", csv_field(&findings.join("; "))).expect(WRITES);
            }
            if tasks.is_empty() {
                text += &",".repeat(columns);
            }
            for TaskAnswer { class, truth, probability, probabilities, .. } in tasks {
                write!(text, ",{}", csv_field(class)).expect(WRITES);
                if self.has_truth {
                    write!(text, ",{}", csv_field(truth.as_deref().unwrap_or_default())).expect(WRITES);
                }
                write!(text, ",{probability}").expect(WRITES);
                probabilities.iter().for_each(|(_, value)| write!(text, ",{value}").expect(WRITES));
            }
            text.push('\n');
        }
        text
    }

    /// The table as JSON: `{"format": 1, "notes": […], "cases": [{"case", "basis", "status", "findings",
    /// "training_distance", "tasks": {NAME: {"class", "probability", "probabilities": {CLASS: …}}}}]}`, and `"truth"` after
    /// `"class"` where it is known and the table has it.
    #[must_use]
    pub fn to_json(&self, notes: &[String]) -> String {
        let file = AnswerFile { format: FORMAT, notes, cases: &self.cases };
        serde_json::to_string_pretty(&file).expect(KEYS) + "\n"
    }

    /// The cases as JSON, one a line.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        self.cases.iter().map(|case| serde_json::to_string(case).expect(KEYS) + "\n").collect()
    }
}

const KEYS: &str = "answers have string keys only, so they always serialise";

impl CaseAnswer {
    fn of(answers: &Predictions, case: usize, remarks: &CaseRemarks, with_truth: bool) -> Self {
        let tasks = answers.tasks.iter().zip(&answers.probabilities).enumerate().map(|(index, (task, table))| {
            let class = answers.predicted(case, index);
            TaskAnswer {
                task: task.name.clone(),
                class: task.classes[class].clone(),
                truth: answers.labels[case][index].filter(|_| with_truth).map(|label| task.classes[label].clone()),
                probability: table[[case, class]],
                probabilities: task.classes.iter().cloned().zip(table.row(case).iter().copied()).collect(),
            }
        });
        Self {
            case: answers.ids[case].to_string(),
            basis: Some(answers.basis[case].to_string()),
            status: ANSWERED.into(),
            findings: remarks.findings.clone(),
            training_distance: remarks.training_distance,
            tasks: tasks.collect(),
        }
    }

    fn failed(case: &FailedCase) -> Self {
        Self {
            case: case.id.to_string(),
            basis: None,
            status: case.reason.clone(),
            findings: Vec::new(),
            training_distance: None,
            tasks: Vec::new(),
        }
    }

    /// Whether the case was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !self.tasks.is_empty()
    }
}

fn by_task<S: Serializer>(tasks: &[TaskAnswer], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tasks.iter().map(|task| (&task.task, task)))
}

fn by_class<S: Serializer>(probabilities: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(probabilities.iter().map(|(class, value)| (class, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Task;
    use ndarray::array;

    pub(super) fn answers() -> Predictions {
        let tasks = vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"]), Task::new("veil", "BWV", ["no", "yes"])];
        Predictions {
            tasks: TaskSet::new(tasks).unwrap(),
            ids: vec!["=b".into(), "d".into()],
            labels: vec![vec![None, None], vec![Some(0), None]],
            probabilities: vec![array![[0.25, 0.75], [0.5, 0.5]], array![[1.0, 0.0], [0.125, 0.875]]],
            basis: vec!["clinical".into(), "clinical+dermoscopic".into()],
        }
    }

    pub(super) fn table() -> AnswerTable {
        let failed = [(0, "a"), (2, "c")].map(|(row, id)| FailedCase {
            row,
            id: id.into(),
            reason: format!("{id}.jpg is cut off, or empty"),
        });
        let remarks =
            CaseRemarks { findings: vec!["it is black".into(), "it is small".into()], training_distance: Some(99.5) };
        AnswerTable::with_remarks(&answers(), &[1, 3], &failed, &[CaseRemarks::default(), remarks]).unwrap()
    }

    #[test]
    fn cases_stand_in_the_order_in_which_they_were_asked() {
        let table = table();
        let cases: Vec<(&str, bool)> =
            table.cases().iter().map(|case| (case.case.as_str(), case.is_answered())).collect();
        assert_eq!(cases, [("a", false), ("=b", true), ("c", false), ("d", true)]);
    }

    #[test]
    fn every_form_says_the_same() {
        let table = table();
        let csv = table.to_csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines,
            [
                "case,basis,status,findings,training_distance,diagnosis,diagnosis:probability,diagnosis=NEV,diagnosis=MEL,\
                 veil,veil:probability,veil=no,veil=yes",
                "a,,\"a.jpg is cut off, or empty\",,,,,,,,,,",
                "'=b,clinical,ok,,,MEL,0.75,0.25,0.75,no,1,1,0",
                "c,,\"c.jpg is cut off, or empty\",,,,,,,,,,",
                "d,clinical+dermoscopic,ok,it is black; it is small,99.5,NEV,0.5,0.5,0.5,yes,0.875,0.125,0.875",
            ]
        );
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert!(reader.records().all(|record| record.is_ok_and(|record| record.len() == 13)));

        let json: serde_json::Value = serde_json::from_str(&table.to_json(&["of a test".into()])).unwrap();
        assert_eq!((&json["format"], &json["notes"][0]), (&1.into(), &"of a test".into()));
        assert_eq!(json["cases"][1]["tasks"]["diagnosis"]["class"], "MEL");
        assert_eq!(json["cases"][1]["tasks"]["diagnosis"]["probabilities"]["NEV"], 0.25);
        let of_lines = table.to_json_lines();
        let of_lines: Vec<serde_json::Value> =
            of_lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(json["cases"].as_array().unwrap(), &of_lines);
        assert_eq!(json["cases"][3]["findings"][1], "it is small");
        assert_eq!(
            (&json["cases"][3]["training_distance"], &json["cases"][1]["training_distance"]),
            (&99.5.into(), &().into())
        );
        assert!(of_lines[0]["basis"].is_null() && of_lines[0]["tasks"].as_object().unwrap().is_empty());
    }

    #[test]
    #[cfg(not(feature = "parquet"))]
    fn parquet_needs_a_feature_that_the_error_names() {
        let error = table().to_bytes(AnswerFormat::Parquet, &[]).unwrap_err().to_string();
        assert!(error.contains("`--features parquet`"), "{error}");
        assert!(AnswerFormat::Parquet.check().is_err() && AnswerFormat::Json.check().is_ok());
    }

    #[test]
    fn the_truth_stands_beside_the_answers() {
        let failed = [FailedCase { row: 0, id: "a".into(), reason: "a.jpg is empty".into() }];
        let table = AnswerTable::with_truth(&answers(), &failed).unwrap();
        assert_eq!(
            table.to_csv().lines().collect::<Vec<_>>(),
            [
                "case,basis,status,diagnosis,diagnosis:truth,diagnosis:probability,diagnosis=NEV,diagnosis=MEL,veil,\
                 veil:truth,veil:probability,veil=no,veil=yes",
                "'=b,clinical,ok,MEL,,0.75,0.25,0.75,no,,1,1,0",
                "d,clinical+dermoscopic,ok,NEV,NEV,0.5,0.5,0.5,yes,,0.875,0.125,0.875",
                "a,,a.jpg is empty,,,,,,,,,,",
            ]
        );
        let lines = table.to_json_lines();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[1]["tasks"]["diagnosis"]["truth"], "NEV");
        assert!(lines[0]["tasks"]["diagnosis"]["truth"].is_null());
    }

    #[test]
    fn another_number_of_rows_is_refused() {
        let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        let answers = Predictions {
            tasks,
            ids: vec!["a".into()],
            labels: vec![vec![None]],
            probabilities: vec![array![[0.5, 0.5]]],
            basis: vec!["clinical".into()],
        };
        let error = AnswerTable::new(&answers, &[0, 1], &[]).unwrap_err().to_string();
        assert_eq!(error, "rows of the answers: expected shape [1], found [2]");
        let error = AnswerTable::with_remarks(&answers, &[0], &[], &[]).unwrap_err().to_string();
        assert_eq!(error, "remarks on the answers: expected shape [1], found [0]");
    }
}
