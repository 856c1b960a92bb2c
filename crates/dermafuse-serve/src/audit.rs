use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use dermafuse_eval::Evaluation;
use dermafuse_schema::{Interval, Predictions, Proportion, Task, TaskSet};
use ndarray::Array2;
use serde::Serialize;

use crate::{AnswerStore, ServeError, StoredAnswer, StoredDiagnosis};

/// The least answers, of a month and before it, that are compared.
const LEAST_CASES: usize = 20;

/// How the answers of a store agree with the diagnoses that were made later, and whether what is predicted changes over time.
///
/// Who gets a diagnosis is chosen by nobody at random: where only suspicious lesions are excised, sensitivity and calibration are
/// those of suspicious lesions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// One for each model that has answered, in the order of their first answers.
    pub models: Vec<AuditedModel>,
    /// What was left out or replaced.
    pub notes: Vec<String>,
}

/// The answers of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedModel {
    /// SHA-256 of the model.
    pub model: String,
    /// How many answers.
    pub answers: usize,
    /// When the first was given, and when the last.
    pub period: [String; 2],
    /// How many answers stand on which branches.
    pub basis: BTreeMap<String, usize>,
    /// How many answers have which finding about their images.
    pub findings: BTreeMap<String, usize>,
    /// One for each task.
    pub tasks: Vec<AuditedTask>,
}

/// The answers to one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedTask {
    /// The task.
    pub task: String,
    /// Answers with a diagnosis.
    pub diagnosed: usize,
    /// The share whose most probable class is the diagnosis, with Wilson's interval.
    pub accuracy: Proportion,
    /// The mean sensitivity over the classes that were diagnosed.
    pub balanced_accuracy: Option<f64>,
    /// Its bootstrap interval.
    pub balanced_accuracy_interval: Option<Interval>,
    /// Mean squared distance of the probabilities from the diagnoses, 0 to 2.
    pub brier: Option<f64>,
    /// Expected calibration error of the most probable class, 15 bins.
    pub calibration_error: Option<f64>,
    /// One for each class.
    pub classes: Vec<AuditedClass>,
    /// One for each month with answers, in UTC.
    pub months: Vec<AuditedMonth>,
}

/// One class of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedClass {
    /// The class.
    pub class: String,
    /// How often it was the most probable one, diagnosed or not.
    pub predicted: Proportion,
    /// The share of its diagnosed cases in which it was the most probable one.
    pub sensitivity: Proportion,
    /// The mean of its probability over the diagnosed cases; calibrated probabilities have the share of its diagnoses.
    pub mean_probability: Option<f64>,
    /// The share of its diagnoses.
    pub diagnosed: Proportion,
}

/// The answers of a month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedMonth {
    /// Such as `2026-03`.
    pub month: String,
    /// How many answers.
    pub answers: usize,
    /// The mean probability of the most probable class.
    pub confidence: f64,
    /// How often each class was the most probable one, in the order of [`AuditedTask::classes`].
    pub predicted: Vec<Proportion>,
    /// The classes whose share differs from that of all months before: Wilson's intervals do not meet, with twenty answers or more on
    /// both sides.
    pub changed: Vec<String>,
}

impl Audit {
    /// Reads a store, also of a server that is running.
    ///
    /// # Errors
    /// No store, a line that is none of a store, numbers that are no probabilities.
    pub fn of(folder: impl AsRef<Path>) -> Result<Self, ServeError> {
        let (answers, diagnoses, cut) = AnswerStore::read(folder)?;
        let mut audit = Self::new(&answers, &diagnoses)?;
        if cut > 0 {
            audit.notes.push(format!("Lines that were cut when a server was stopped, and left out: {cut}."));
        }
        Ok(audit)
    }

    /// The audit of answers and diagnoses.
    ///
    /// # Errors
    /// Numbers that are no probabilities.
    pub fn new(answers: &[StoredAnswer], diagnoses: &[StoredDiagnosis]) -> Result<Self, ServeError> {
        let mut truth: HashMap<(&str, &str), &str> = HashMap::new();
        let ids: HashSet<&str> = answers.iter().map(|answer| answer.id.as_str()).collect();
        let (mut replaced, mut strange) = (0_usize, 0_usize);
        for StoredDiagnosis { id, task, class, .. } in diagnoses {
            match ids.contains(id.as_str()) {
                true => replaced += usize::from(truth.insert((id, task), class).is_some()),
                false => strange += 1,
            }
        }
        let mut groups: Vec<(&str, Vec<&StoredAnswer>)> = Vec::new();
        for answer in answers {
            match groups.iter_mut().find(|(model, _)| *model == answer.model) {
                Some((_, of_model)) => of_model.push(answer),
                None => groups.push((&answer.model, vec![answer])),
            }
        }
        let models = groups.iter().map(|(model, answers)| AuditedModel::of(model, answers, &truth));
        let models = models.collect::<Result<Vec<_>, _>>()?;
        let counts = [
            (replaced, "Diagnoses that a later one for the same answer replaces"),
            (strange, "Diagnoses of answers that are not in the store, left out"),
        ];
        let notes = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what}: {count}."));
        Ok(Self { notes: notes.collect(), models })
    }
}

impl AuditedModel {
    fn of(model: &str, answers: &[&StoredAnswer], truth: &HashMap<(&str, &str), &str>) -> Result<Self, ServeError> {
        let (mut basis, mut findings) = (BTreeMap::new(), BTreeMap::new());
        for answer in answers {
            *basis.entry(answer.basis.clone()).or_insert(0) += 1;
            for finding in &answer.findings {
                *findings.entry(finding.clone()).or_insert(0) += 1;
            }
        }
        let time = |time: Option<&str>| time.unwrap_or_default().to_owned();
        let times = || answers.iter().map(|answer| answer.time.as_str());
        let mut tasks: Vec<Task> = Vec::new();
        for stored in answers.iter().flat_map(|answer| &answer.tasks) {
            let task = Task::new(&stored.name, &stored.label, stored.classes.iter().cloned());
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        let tasks = tasks.into_iter().map(|task| AuditedTask::of(task, answers, truth));
        Ok(Self {
            model: model.to_owned(),
            answers: answers.len(),
            period: [time(times().min()), time(times().max())],
            basis,
            findings,
            tasks: tasks.collect::<Result<_, _>>()?,
        })
    }
}

impl AuditedTask {
    fn of(task: Task, answers: &[&StoredAnswer], truth: &HashMap<(&str, &str), &str>) -> Result<Self, ServeError> {
        let (mut ids, mut labels, mut basis, mut months, mut values) = (vec![], vec![], vec![], vec![], vec![]);
        for answer in answers {
            let same = |stored: &&crate::StoredTask| stored.name == task.name && stored.classes == task.classes;
            let Some(stored) = answer.tasks.iter().find(same) else { continue };
            let class = truth.get(&(answer.id.as_str(), task.name.as_str()));
            ids.push(answer.id.as_str().into());
            labels.push(vec![class.and_then(|class| task.index_of(class))]);
            basis.push(answer.basis.as_str().into());
            months.push(answer.time.get(..7).unwrap_or(&answer.time));
            values.push(stored.probabilities.clone());
        }
        let (count, classes) = (ids.len(), task.classes.clone());
        // A list of another length leaves rows that `check` refuses by the case.
        let of_row = |row: &Vec<f64>, class: usize| row.get(class).copied().unwrap_or(f64::NAN);
        let probabilities = Array2::from_shape_fn((count, classes.len()), |(row, class)| of_row(&values[row], class));
        let name = task.name.clone();
        let tasks = TaskSet::new(vec![task])?;
        let predictions = Predictions { tasks, ids, labels, probabilities: vec![probabilities], basis };
        predictions.check()?;
        let evaluation = Evaluation::of(&predictions)?;
        let numbers = &evaluation.tasks[0];
        let (hits, diagnosed) = predictions.hits(0);
        let predicted: Vec<usize> = (0..count).map(|row| predictions.predicted(row, 0)).collect();
        let share = |rows: &[usize], class: usize| {
            Proportion::of(rows.iter().filter(|&&row| predicted[row] == class).count(), rows.len())
        };
        let labelled: Vec<usize> = (0..count).filter(|&row| predictions.labels[row][0].is_some()).collect();
        let all: Vec<usize> = (0..count).collect();
        let of_class = |(class, name): (usize, &String)| {
            let own: Vec<usize> =
                labelled.iter().copied().filter(|&row| predictions.labels[row][0] == Some(class)).collect();
            let sum: f64 = labelled.iter().map(|&row| predictions.probabilities[0][[row, class]]).sum();
            AuditedClass {
                class: name.clone(),
                predicted: share(&all, class),
                sensitivity: share(&own, class),
                mean_probability: (!labelled.is_empty()).then(|| sum / labelled.len() as f64),
                diagnosed: Proportion::of(own.len(), labelled.len()),
            }
        };
        let confidence = |row: usize| predictions.probabilities[0][[row, predicted[row]]];
        let mut by_month: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        months.iter().enumerate().for_each(|(row, month)| by_month.entry(month).or_default().push(row));
        let mut before: Vec<usize> = Vec::new();
        let mut of_month = |(month, rows): (&&str, &Vec<usize>)| {
            let shares: Vec<Proportion> = (0..classes.len()).map(|class| share(rows, class)).collect();
            let enough = rows.len() >= LEAST_CASES && before.len() >= LEAST_CASES;
            let differs = |class: &usize| enough && apart(&shares[*class], &share(&before, *class));
            let changed = (0..classes.len()).filter(differs).map(|class| classes[class].clone()).collect();
            before.extend(rows);
            AuditedMonth {
                month: (*month).to_owned(),
                answers: rows.len(),
                confidence: rows.iter().map(|&row| confidence(row)).sum::<f64>() / rows.len() as f64,
                predicted: shares,
                changed,
            }
        };
        Ok(Self {
            task: name,
            diagnosed,
            accuracy: Proportion::of(hits, diagnosed),
            balanced_accuracy: numbers.balanced_accuracy,
            balanced_accuracy_interval: evaluation.overall.balanced_accuracy_interval,
            brier: numbers.brier,
            calibration_error: numbers.calibration_error,
            months: by_month.iter().map(&mut of_month).collect(),
            classes: classes.iter().enumerate().map(of_class).collect(),
        })
    }
}

/// Whether two intervals do not meet.
fn apart(one: &Proportion, other: &Proportion) -> bool {
    match (one.interval, other.interval) {
        (Some(one), Some(other)) => one.lower > other.upper || other.lower > one.upper,
        _ => false,
    }
}

impl fmt::Display for Audit {
    /// Lines for a terminal.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for model in &self.models {
            let [first, last] = &model.period;
            writeln!(formatter, "model {}", model.model)?;
            writeln!(formatter, "  {} answers, {first} to {last}", model.answers)?;
            for (heading, counts) in [("from", &model.basis), ("finding", &model.findings)] {
                for (what, count) in counts {
                    writeln!(formatter, "  {heading} {what}: {count}")?;
                }
            }
            for task in &model.tasks {
                task.lines(formatter)?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(formatter, "{note}"))
    }
}

impl AuditedTask {
    fn lines(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{value:.3}"));
        let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.1}", 100.0 * value));
        writeln!(formatter, "\n  {}: {} with a diagnosis", self.task, self.diagnosed)?;
        if self.diagnosed > 0 {
            let interval = self.balanced_accuracy_interval.map_or(String::new(), |interval| {
                format!(" ({:.1}–{:.1})", 100.0 * interval.lower, 100.0 * interval.upper)
            });
            writeln!(formatter, "    accuracy            {}", self.accuracy)?;
            writeln!(formatter, "    balanced accuracy   {}{interval}", percent(self.balanced_accuracy))?;
            writeln!(formatter, "    calibration error   {}", number(self.calibration_error))?;
            writeln!(formatter, "    Brier score         {}", number(self.brier))?;
            let width = self.classes.iter().map(|class| class.class.chars().count()).max().unwrap_or(0);
            for class in self.classes.iter().filter(|class| class.diagnosed.cases > 0) {
                writeln!(
                    formatter,
                    "    {:width$}  sensitivity {}; diagnosed {}, mean probability {}",
                    class.class,
                    class.sensitivity,
                    class.diagnosed,
                    percent(class.mean_probability)
                )?;
            }
        }
        for month in &self.months {
            let shares = self.classes.iter().zip(&month.predicted);
            let shares: Vec<String> =
                shares.map(|(class, share)| format!("{} {}", class.class, percent(share.value))).collect();
            let changed = match month.changed.is_empty() {
                true => String::new(),
                false => format!("; changed against the months before: {}", month.changed.join(", ")),
            };
            writeln!(
                formatter,
                "    {}  {} answers, mean confidence {:.2}, predicted {}{changed}",
                month.month,
                month.answers,
                month.confidence,
                shares.join(", ")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoredTask;

    fn answer(id: usize, month: u32, melanoma: f64) -> StoredAnswer {
        StoredAnswer {
            id: id.to_string(),
            time: format!("2026-{month:02}-01T00:00:00Z"),
            model: "abc".into(),
            tasks: vec![StoredTask {
                name: "diagnosis".into(),
                label: "DIAG".into(),
                classes: vec!["NEV".into(), "MEL".into()],
                probabilities: vec![1.0 - melanoma, melanoma],
            }],
            basis: "clinical".into(),
            findings: if id == 0 { vec!["blurred".into()] } else { Vec::new() },
        }
    }

    fn diagnosis(id: usize, class: &str) -> StoredDiagnosis {
        StoredDiagnosis { id: id.to_string(), time: String::new(), task: "diagnosis".into(), class: class.into() }
    }

    #[test]
    fn agreement_and_calibration_follow_from_the_diagnoses() {
        let answers: Vec<StoredAnswer> =
            [0.9, 0.8, 0.3, 0.2, 0.4].into_iter().enumerate().map(|(id, p)| answer(id, 1, p)).collect();
        let diagnoses = [
            diagnosis(0, "MEL"),
            diagnosis(1, "MEL"),
            diagnosis(1, "NEV"), // instead of the one before
            diagnosis(2, "NEV"),
            diagnosis(3, "MEL"),
            diagnosis(77, "MEL"),
        ];
        let audit = Audit::new(&answers, &diagnoses).unwrap();
        let task = &audit.models[0].tasks[0];
        assert_eq!((task.diagnosed, task.accuracy.value, task.balanced_accuracy), (4, Some(0.5), Some(0.5)));
        // 2 · (0.1² + 0.8² + 0.3² + 0.8²) / 4
        assert!((task.brier.unwrap() - 0.69).abs() < 1e-12, "{:?}", task.brier);
        let melanoma = &task.classes[1];
        assert_eq!((melanoma.sensitivity.value, melanoma.sensitivity.cases), (Some(0.5), 2));
        assert!((melanoma.mean_probability.unwrap() - 0.55).abs() < 1e-12);
        assert_eq!((melanoma.predicted.value, melanoma.predicted.cases), (Some(0.4), 5));
        assert_eq!(audit.models[0].findings["blurred"], 1);
        assert_eq!(audit.notes.len(), 2, "{:?}", audit.notes);
        let text = audit.to_string();
        assert!(text.contains("5 answers") && text.contains("accuracy            50.0 (15.0–85.0) of 4"), "{text}");
    }

    #[test]
    fn a_month_that_differs_is_named_and_one_that_may_be_chance_is_not() {
        let mut answers = Vec::new();
        for (month, melanomas) in [(1, 5), (2, 7), (3, 30)] {
            answers.extend(
                (0..40).map(|at| answer(100 * month + at, month as u32, if at < melanomas { 0.9 } else { 0.1 })),
            );
        }
        let audit = Audit::new(&answers, &[]).unwrap();
        let changed: Vec<usize> = audit.models[0].tasks[0].months.iter().map(|month| month.changed.len()).collect();
        assert_eq!(changed, [0, 0, 2]);
        assert!(audit.to_string().contains("changed against the months before: NEV, MEL"), "{audit}");
        assert_eq!(audit.models[0].tasks[0].accuracy.value, None);
    }

    #[test]
    fn stored_numbers_are_checked() {
        assert!(Audit::new(&[answer(0, 1, 1.5)], &[]).is_err());
        let mut short = answer(0, 1, 0.5);
        short.tasks[0].probabilities.pop();
        assert!(Audit::new(&[short], &[]).is_err());
    }
}
