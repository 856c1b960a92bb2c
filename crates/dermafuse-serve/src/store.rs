use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::StatusCode;
use dermafuse_schema::read_regular_file;
use serde::{Deserialize, Serialize};

use crate::{AnswerBody, ApiError, ModelBody, ServeError};

/// The files of a store.
const ANSWERS: &str = "answers.jsonl";
const DIAGNOSES: &str = "diagnoses.jsonl";
const LOCK: &str = "LOCK";
/// The largest file that is read.
const MOST_BYTES: u64 = 4 << 30;

/// A folder with the answers of a server, a line of JSON each, and the diagnoses that are added to them. It holds probabilities, basis
/// and findings: no image, no field, no name of a patient. Which answer belongs to whom, the clinic's own records know by the
/// answer's id.
///
/// The folder is locked while the value lives. A line that was cut by a crash is ended when the store is opened again.
#[derive(Clone, Debug)]
pub struct AnswerStore(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    answers: File,
    diagnoses: File,
    /// The tasks of each answer, by its id. Answers of one model share theirs.
    known: HashMap<String, Arc<Vec<KnownTask>>>,
    /// Held while the store lives.
    _lock: File,
}

/// A task and its classes.
type KnownTask = (String, Vec<String>);

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// Its id.
    pub id: String,
    /// When it was given, in UTC, such as `2026-03-01T09:30:00Z`.
    pub time: String,
    /// SHA-256 of the model.
    pub model: String,
    /// Its tasks.
    pub tasks: Vec<StoredTask>,
    /// The branches that answered.
    pub basis: String,
    /// The findings about its images, by their words.
    pub findings: Vec<String>,
}

/// The answer to one task as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredTask {
    /// The task.
    pub name: String,
    /// Its short heading.
    pub label: String,
    /// Its classes in the order of the model.
    pub classes: Vec<String>,
    /// Their probabilities.
    pub probabilities: Vec<f64>,
}

/// A diagnosis that was made later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDiagnosis {
    /// The id of the answer.
    pub id: String,
    /// When it was added, in UTC.
    pub time: String,
    /// The task that it is of.
    pub task: String,
    /// The class that was found.
    pub class: String,
}

impl AnswerStore {
    /// Opens a folder, which is made if it is not there.
    ///
    /// # Errors
    /// A folder that cannot be made or written, one that another server writes to, a line that is none of a store.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, ServeError> {
        let folder = folder.as_ref();
        let error = |source| ServeError::Store { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(error)?;
        let lock = OpenOptions::new().create(true).append(true).open(folder.join(LOCK)).map_err(error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ServeError::StoreInUse { path: folder.into() }),
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        let (answers, diagnoses) = (opened(folder, ANSWERS)?, opened(folder, DIAGNOSES)?);
        let mut files = Files { answers, diagnoses, known: HashMap::new(), _lock: lock };
        let mut last: Option<Arc<Vec<KnownTask>>> = None;
        for answer in read_lines::<StoredAnswer>(&folder.join(ANSWERS))?.0 {
            let tasks: Vec<KnownTask> = answer.tasks.into_iter().map(|task| (task.name, task.classes)).collect();
            let tasks = last.filter(|last| **last == tasks).unwrap_or_else(|| Arc::new(tasks));
            files.known.insert(answer.id, Arc::clone(&tasks));
            last = Some(tasks);
        }
        Ok(Self(Arc::new(Mutex::new(files))))
    }

    /// Keeps an answer of a model.
    ///
    /// # Errors
    /// A file that cannot be written, such as on a full disk.
    pub fn add(&self, model: &ModelBody, answer: &AnswerBody) -> io::Result<()> {
        let tasks: Vec<StoredTask> = model
            .tasks
            .iter()
            .filter_map(|task| {
                let given = answer.tasks.iter().find(|given| given.name == task.name)?;
                let of = |class: &String| {
                    given.classes.iter().find(|given| given.name == *class).map(|given| given.probability)
                };
                let probabilities = task.classes.iter().map(of).collect::<Option<_>>()?;
                Some(StoredTask {
                    name: task.name.clone(),
                    label: task.label.clone(),
                    classes: task.classes.clone(),
                    probabilities,
                })
            })
            .collect();
        let known: Vec<KnownTask> = tasks.iter().map(|task| (task.name.clone(), task.classes.clone())).collect();
        let stored = StoredAnswer {
            id: answer.id.clone(),
            time: now(),
            model: answer.model.clone(),
            tasks,
            basis: answer.basis.branches.clone(),
            findings: answer.findings.iter().map(|finding| finding.kind.clone()).collect(),
        };
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        append(&mut files.answers, &stored)?;
        let known = match files.known.values().next() {
            Some(first) if **first == known => Arc::clone(first),
            _ => Arc::new(known),
        };
        files.known.insert(stored.id, known);
        Ok(())
    }

    /// Adds a diagnosis to an answer; of several for one task the last counts.
    ///
    /// # Errors
    /// An id that no answer has, a task or class that it does not have, a file that cannot be written.
    pub fn add_diagnosis(&self, id: &str, task: &str, class: &str) -> Result<StoredDiagnosis, ApiError> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = files
            .known
            .get(id)
            .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "no_answer", "no answer of this id is kept here"))?;
        let names = |names: Vec<&str>| names.join(", ");
        let (_, classes) = known.iter().find(|(name, _)| name == task).ok_or_else(|| {
            let known = names(known.iter().map(|(name, _)| name.as_str()).collect());
            ApiError::input("unknown_task", "task", format!("the answer has no such task; it has {known}"))
        })?;
        if !classes.iter().any(|known| known == class) {
            let known = names(classes.iter().map(String::as_str).collect());
            return Err(ApiError::input(
                "unknown_class",
                "class",
                format!("the task has no such class; it has {known}"),
            ));
        }
        let diagnosis =
            StoredDiagnosis { id: id.to_owned(), time: now(), task: task.to_owned(), class: class.to_owned() };
        append(&mut files.diagnoses, &diagnosis).map_err(|_| ApiError::internal())?;
        Ok(diagnosis)
    }

    /// What a folder holds: answers, diagnoses, and how many lines a crash has cut, which are left out.
    ///
    /// # Errors
    /// A folder without answers; a line that is none of a store, other than the last.
    pub fn read(folder: impl AsRef<Path>) -> Result<(Vec<StoredAnswer>, Vec<StoredDiagnosis>, usize), ServeError> {
        let folder = folder.as_ref();
        let files = [ANSWERS, DIAGNOSES].map(|name| folder.join(name));
        if !files[0].is_file() {
            return Err(ServeError::NoAnswers { path: folder.into() });
        }
        let (answers, cut) = read_lines(&files[0])?;
        let (diagnoses, cut_too) = if files[1].is_file() { read_lines(&files[1])? } else { (Vec::new(), 0) };
        Ok((answers, diagnoses, cut + cut_too))
    }
}

/// A file to add lines to. What a crash has left of a last line is marked as that by an end of line of its own.
fn opened(folder: &Path, name: &str) -> Result<File, ServeError> {
    let path = folder.join(name);
    let open = || -> io::Result<File> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(CUT.as_bytes())?;
            }
        }
        Ok(file)
    };
    open().map_err(|source| ServeError::Store { path: path.clone(), source })
}

/// What follows a line that was cut.
const CUT: &str = " (cut)\n";

fn append<T: Serialize>(file: &mut File, line: &T) -> io::Result<()> {
    let mut line = serde_json::to_string(line).map_err(io::Error::other)?;
    line.push('\n');
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// The lines of a file, and how many were cut.
fn read_lines<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<(Vec<T>, usize), ServeError> {
    let bytes = read_regular_file(path, MOST_BYTES)?;
    let (mut lines, mut cut) = (Vec::new(), 0);
    let whole = bytes.ends_with(b"\n") || bytes.is_empty();
    let count = bytes.split(|&byte| byte == b'\n').count();
    for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let unended = at + 1 == count && !whole;
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(line) => lines.push(line),
            Err(_) if unended || line.ends_with(CUT.trim_end().as_bytes()) => cut += 1,
            Err(error) => {
                let reason = format!("it is no line of a store ({error})");
                return Err(ServeError::StoredLine { path: path.into(), line: at + 1, reason });
            }
        }
    }
    Ok((lines, cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BasisBody, ClassBody, TaskBody, TaskModelBody};

    fn model() -> ModelBody {
        let tasks = vec![TaskModelBody {
            name: "diagnosis".into(),
            label: "DIAG".into(),
            classes: vec!["NEV".into(), "MEL".into()],
        }];
        ModelBody {
            id: "abc".into(),
            data_set: "drawn".into(),
            synthetic: true,
            tasks,
            images: Vec::new(),
            fields: Vec::new(),
            notes: Vec::new(),
            card: Vec::new(),
            max_body_bytes: 0,
            stores_answers: true,
            research_use: String::new(),
        }
    }

    fn answer(id: &str) -> AnswerBody {
        let class = |name: &str, probability| ClassBody { name: name.into(), probability };
        AnswerBody {
            id: id.into(),
            model: "abc".into(),
            tasks: vec![TaskBody {
                name: "diagnosis".into(),
                label: "DIAG".into(),
                classes: vec![class("MEL", 0.75), class("NEV", 0.25)],
                possible: None,
            }],
            groups: Vec::new(),
            evidence: Vec::new(),
            basis: BasisBody {
                images: vec!["clinical".into()],
                fields: vec!["sex".into()],
                branches: "clinical".into(),
            },
            notes: Vec::new(),
            findings: Vec::new(),
            seven_point: None,
            stored: false,
            research_use: String::new(),
        }
    }

    #[test]
    fn answers_and_diagnoses_are_kept_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let store = AnswerStore::open(&path).unwrap();
        store.add(&model(), &answer("1")).unwrap();
        assert!(matches!(AnswerStore::open(&path), Err(ServeError::StoreInUse { .. })));
        drop(store);
        let store = AnswerStore::open(&path).unwrap();
        store.add_diagnosis("1", "diagnosis", "NEV").unwrap();
        store.add(&model(), &answer("2")).unwrap();
        for (id, task, class, status, field) in [
            ("3", "diagnosis", "NEV", 404, None),
            ("../1", "diagnosis", "NEV", 404, None),
            ("1", "veil", "NEV", 422, Some("task")),
            ("1", "diagnosis", "nevus", 422, Some("class")),
        ] {
            let error = store.add_diagnosis(id, task, class).unwrap_err();
            assert_eq!((error.status(), error.field()), (status, field), "{error}");
        }
        let (answers, diagnoses, cut) = AnswerStore::read(&path).unwrap();
        assert_eq!((answers.len(), diagnoses.len(), cut), (2, 1, 0));
        // In the order of the model, not of the answer.
        assert_eq!((&answers[1].tasks[0].classes[0], answers[1].tasks[0].probabilities[0]), (&"NEV".to_owned(), 0.25));
        let text = fs::read_to_string(path.join(ANSWERS)).unwrap();
        assert!(!text.contains("sex"), "{text}");
        assert!(AnswerStore::read(folder.path()).unwrap_err().to_string().contains("holds no stored answers"));
    }

    #[test]
    fn a_line_that_a_crash_has_cut_is_counted_and_loses_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ANSWERS);
        AnswerStore::open(folder.path()).unwrap().add(&model(), &answer("1")).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
        assert_eq!(AnswerStore::read(folder.path()).unwrap().2, 1);
        AnswerStore::open(folder.path()).unwrap().add(&model(), &answer("2")).unwrap();
        let (answers, _, cut) = AnswerStore::read(folder.path()).unwrap();
        assert_eq!((answers.len(), cut), (2, 1));
        fs::write(&path, [&whole[..], b"nonsense\n", &whole[..]].concat()).unwrap();
        let error = AnswerStore::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("answers.jsonl, line 2: it is no line of a store"), "{error}");
    }
}
