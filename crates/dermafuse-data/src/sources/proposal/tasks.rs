//! What is to be told: the column of the diagnosis.

use std::cmp::Reverse;
use std::path::Path;

use super::column::{Columns, GuessedColumn, NOTHING};
use super::words::{answer, has_beginning, has_word, is_like_diagnosis, key_of, quoted, tokens};
use crate::DataError;

/// The most classes that a column is thought to have.
const CLASSES: usize = 50;
/// Cases of a class below which it is named.
const FEW: usize = 10;
/// Points from which a column is taken for the diagnosis.
const ENOUGH: i32 = 50;

/// Points from which nothing else is the diagnosis.
const SURE: i32 = 100;

/// A task as it is written.
pub(super) struct TaskGuess {
    pub(super) name: String,
    /// The column, and its table if that is not the one of the cases.
    pub(super) column: Option<(Option<String>, String)>,
    /// The table with a column for each class.
    pub(super) one_hot: Option<String>,
    pub(super) classes: Vec<String>,
    /// Other spellings and what they are.
    pub(super) map: Vec<(String, String)>,
    pub(super) reason: String,
}

/// The class of each case, of the first task.
pub(super) struct Labels {
    pub(super) codes: Vec<u32>,
    pub(super) classes: Vec<String>,
}

pub(super) struct TasksGuess {
    pub(super) tasks: Vec<TaskGuess>,
    /// The columns that they are in.
    pub(super) columns: Vec<(usize, String)>,
    pub(super) labels: Labels,
}

pub(super) fn guess(
    columns: &Columns<'_>,
    table: &Path,
    given: &[usize],
    open: &mut Vec<String>,
) -> Result<TasksGuess, DataError> {
    let mut guess = TasksGuess {
        tasks: Vec::new(),
        columns: Vec::new(),
        labels: Labels { codes: Vec::new(), classes: Vec::new() },
    };
    for &at in given {
        guess.add_column(columns, at, "you said so".into(), open);
    }
    if given.is_empty() {
        let mut scored: Vec<(i32, usize)> = (0..columns.all.len())
            .filter(|&at| !columns.all[at].settled)
            .map(|at| (score(&columns.all[at]), at))
            .filter(|(score, _)| *score >= ENOUGH)
            .collect();
        scored.sort_by_key(|&(score, at)| (Reverse(score), at));
        let hot = one_hot(columns);
        // Columns with the names of diagnoses say more than a column whose name alone may be that of one.
        let is_named = hot
            .iter()
            .any(|hot| 2 * hot.iter().filter(|&&at| is_like_diagnosis(columns.all[at].name)).count() >= hot.len());
        if is_named && scored.first().is_none_or(|(score, _)| *score < SURE) {
            scored.clear();
        }
        match (&scored[..], hot) {
            ([(_, at), others @ ..], _) => {
                let column = &columns.all[*at];
                let reason =
                    format!("its name or its values are those of a diagnosis ({} classes)", spellings(column).len());
                guess.add_column(columns, *at, reason, open);
                if !others.is_empty() {
                    let others: Vec<&str> = others.iter().map(|(_, at)| columns.all[*at].name).collect();
                    open.push(format!(
                        "column `{}` is taken for the diagnosis; {} may be as well: say --role COLUMN=task for what is to be told",
                        column.name,
                        quoted(&others)
                    ));
                }
            }
            ([], Some(hot)) => guess.add_one_hot(columns, &hot, open),
            ([], None) => {
                return Err(DataError::NotGuessed {
                    file: table.into(),
                    what: "which column says the diagnosis".into(),
                    remedy: "name it with --role COLUMN=task; a ground truth in a table of its own is given with --table FILE".into(),
                });
            }
        }
    }
    Ok(guess)
}

impl TasksGuess {
    fn add_column(&mut self, columns: &Columns<'_>, at: usize, reason: String, open: &mut Vec<String>) {
        let column = &columns.all[at];
        let mut classes = spellings(column);
        classes.sort_by(|one, other| one.main.cmp(other.main));
        let map = classes
            .iter()
            .flat_map(|class| class.others.iter().map(|other| ((*other).to_owned(), class.main.to_owned())));
        let is_first = self.tasks.is_empty();
        let says_diagnosis =
            has_beginning(column.name, &["diag", "dx"]) || column.seen().any(|value| is_like_diagnosis(value.text));
        let name = if is_first && says_diagnosis { "diagnosis".to_owned() } else { column.name.to_owned() };
        let names: Vec<String> = classes.iter().map(|class| class.main.to_owned()).collect();
        if is_first {
            let class_of = |code: &u32| match column.values.get(*code as usize) {
                None => NOTHING,
                Some(value) => {
                    let is_it = |class: &Spellings<'_>| class.main == value.text || class.others.contains(&value.text);
                    classes.iter().position(is_it).map_or(NOTHING, |class| class as u32)
                }
            };
            // The class of a value is looked up once.
            let of_value: Vec<u32> = (0..column.values.len() as u32).map(|code| class_of(&code)).collect();
            let codes =
                column.codes.iter().map(|code| of_value.get(*code as usize).copied().unwrap_or(NOTHING)).collect();
            self.labels = Labels { codes, classes: names.clone() };
        }
        let rare: Vec<String> = classes
            .iter()
            .filter(|class| class.count < FEW)
            .map(|class| format!("{} ({})", class.main, class.count))
            .collect();
        name_rare(column.name, &rare, "join them with others by `map`, or leave them out by `drop`", open);
        self.tasks.push(TaskGuess {
            name,
            column: Some((columns.table_name(column), column.name.to_owned())),
            one_hot: None,
            map: map.collect(),
            classes: names,
            reason: reason.clone(),
        });
        self.columns.push((at, reason));
    }

    fn add_one_hot(&mut self, columns: &Columns<'_>, hot: &[usize], open: &mut Vec<String>) {
        let first = &columns.all[hot[0]];
        let table = columns.table_name(first).unwrap_or_else(|| "cases".into());
        let is_one = |column: &GuessedColumn<'_>, row: usize| {
            column.values.get(column.codes[row] as usize).is_some_and(|value| value.number == Some(1.0))
        };
        let count = |at: usize| (0..columns.rows).filter(|&row| is_one(&columns.all[at], row)).count();
        let (used, idle): (Vec<usize>, Vec<usize>) = hot.iter().partition(|&&at| count(at) > 0);
        let names = |columns_of: &[usize]| -> Vec<String> {
            columns_of.iter().map(|&at| columns.all[at].name.to_owned()).collect()
        };
        if !idle.is_empty() {
            open.push(format!("classes {}: no case has them, so they are left out", quoted(&names(&idle))));
        }
        let class_of =
            |row: usize| used.iter().position(|&at| is_one(&columns.all[at], row)).map_or(NOTHING, |at| at as u32);
        self.labels = Labels { codes: (0..columns.rows).map(class_of).collect(), classes: names(&used) };
        let rare: Vec<String> = used
            .iter()
            .map(|&at| (columns.all[at].name, count(at)))
            .filter(|(_, count)| *count < FEW)
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        name_rare("diagnosis", &rare, "to join or drop them, write the truth as one column of names", open);
        let reason =
            "it is 1 where the case has this class and 0 elsewhere, and one such column is 1 in each row".to_owned();
        self.columns.extend(used.iter().map(|&at| (at, reason.clone())));
        let idle_reason = "no case has this class";
        self.columns.extend(idle.iter().map(|&at| (at, idle_reason.to_owned())));
        self.tasks.push(TaskGuess {
            name: "diagnosis".into(),
            column: None,
            one_hot: Some(table),
            classes: names(&used),
            map: Vec::new(),
            reason: format!("a column for each class, of which one is 1 in each row ({} classes)", used.len()),
        });
    }
}

fn name_rare(task: &str, rare: &[String], remedy: &str, open: &mut Vec<String>) {
    if !rare.is_empty() {
        open.push(format!("task `{task}`: few cases of {}: too few to be learnt and tested; {remedy}", quoted(rare)));
    }
}

/// How much a column looks like the diagnosis.
fn score(column: &GuessedColumn<'_>) -> i32 {
    let classes = column.distinct();
    let has_answers = classes == 2 && column.seen().all(|value| answer(value.text).is_some());
    if !(2..=CLASSES).contains(&classes) || 2 * column.recorded() < column.codes.len() {
        return 0;
    }
    let name = column.name;
    let points = |says: bool, points: i32| if says { points } else { 0 };
    let known = column.seen().filter(|value| is_like_diagnosis(value.text)).count() as i32;
    points(has_beginning(name, &["diagnos"]) || has_word(name, &["dx", "diag"]), 100)
        + points(has_word(name, &["label", "target", "truth", "groundtruth"]) || tokens(name) == ["class"], 60)
        + points(has_beginning(name, &["malig", "benign", "melanom", "histo", "patho", "disease", "condition"]), 50)
        + points(!has_answers, 60 * known / classes as i32)
        - points(
            has_word(name, &["type", "method", "date", "family", "level", "difficulty", "by", "source", "secondary"]),
            90,
        )
        - points(has_beginning(name, &["confirm", "history", "licen"]), 90)
        - points(has_word(name, &["full"]), 40)
}

/// Columns of one table that are 0 or 1, of which one is 1 in each row.
fn one_hot(columns: &Columns<'_>) -> Option<Vec<usize>> {
    let tables = columns.all.iter().map(|column| column.table).max().unwrap_or(0);
    (0..=tables).rev().find_map(|table| {
        let is_binary = |column: &GuessedColumn<'_>| {
            let number = |number: Option<f64>| number.is_some_and(|number| number == 0.0 || number == 1.0);
            column.distinct() > 0 && column.seen().all(|value| number(value.number))
        };
        let binary: Vec<usize> = (0..columns.all.len())
            .filter(|&at| columns.all[at].table == table && !columns.all[at].settled && is_binary(&columns.all[at]))
            .collect();
        let named: Vec<usize> = binary.iter().copied().filter(|&at| is_like_diagnosis(columns.all[at].name)).collect();
        [binary, named].into_iter().find(|hot| hot.len() > 1 && is_one_hot(columns, hot))
    })
}

fn is_one_hot(columns: &Columns<'_>, hot: &[usize]) -> bool {
    let (mut ones, mut rows) = (0, 0);
    for row in 0..columns.rows {
        let cells = hot.iter().map(|&at| {
            let column = &columns.all[at];
            column.values.get(column.codes[row] as usize).and_then(|value| value.number)
        });
        let numbers: Vec<f64> = cells.flatten().collect();
        if numbers.is_empty() {
            continue;
        }
        rows += 1;
        match numbers.iter().filter(|number| **number == 1.0).count() {
            0 => {}
            1 => ones += 1,
            _ => return false,
        }
    }
    rows > 0 && 10 * ones >= 9 * rows
}

/// A value, its other spellings, and how many rows have one of them.
pub(super) struct Spellings<'a> {
    pub(super) main: &'a str,
    pub(super) others: Vec<&'a str>,
    pub(super) count: usize,
}

/// The values of a column; those that differ in their writing alone are one, called as most rows have it.
pub(super) fn spellings<'a>(column: &'a GuessedColumn<'_>) -> Vec<Spellings<'a>> {
    let mut values: Vec<(String, &str, usize)> = column
        .seen()
        .map(|value| {
            let key = value.number.map_or_else(|| key_of(value.text), |number| number.to_string());
            (key, value.text, value.count)
        })
        .collect();
    values.sort_by(|one, other| (&one.0, Reverse(one.2), one.1).cmp(&(&other.0, Reverse(other.2), other.1)));
    let mut all: Vec<(String, Spellings<'a>)> = Vec::new();
    for (key, text, count) in values {
        match all.last_mut().filter(|(last, _)| *last == key) {
            Some((_, last)) => {
                last.others.push(text);
                last.count += count;
            }
            None => all.push((key, Spellings { main: text, others: Vec::new(), count })),
        }
    }
    all.into_iter().map(|(_, spellings)| spellings).collect()
}
