//! The columns of all tables, with their values counted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::JoinedGuess;
use super::words::is_no_answer;
use crate::{DataError, Table};

/// The code of a value that is not recorded.
pub(super) const NOTHING: u32 = u32::MAX;
/// The share of the rows that a further table must know.
const JOINED: f64 = 0.9;

/// A table and what a description calls it; the first one is that of the cases.
pub(super) struct NamedTable {
    pub(super) name: String,
    pub(super) table: Table,
}

/// Every column of every table, by the rows of the table of cases.
pub(super) struct Columns<'t> {
    tables: &'t [NamedTable],
    joins: Vec<Join>,
    pub(super) all: Vec<GuessedColumn<'t>>,
    pub(super) rows: usize,
}

/// How a further table belongs to that of the cases: its key, and the column that holds its values.
#[derive(Clone)]
struct Join {
    table: usize,
    key: String,
    references: String,
}

/// A column with its values, each once.
#[derive(Clone)]
pub(super) struct GuessedColumn<'t> {
    pub(super) name: &'t str,
    /// Which table; 0 is that of the cases.
    pub(super) table: usize,
    pub(super) values: Vec<CountedValue<'t>>,
    /// The value of each row.
    pub(super) codes: Vec<u32>,
    /// Whether it has a role already.
    pub(super) settled: bool,
}

#[derive(Clone)]
pub(super) struct CountedValue<'t> {
    pub(super) text: &'t str,
    pub(super) number: Option<f64>,
    pub(super) count: usize,
}

/// Reads the table of cases and the others.
pub(super) fn read_tables(cases: &Path, others: &[PathBuf]) -> Result<Vec<NamedTable>, DataError> {
    let mut tables = vec![NamedTable { name: "cases".into(), table: Table::read_composed(cases)? }];
    for file in others {
        let stem = file.file_stem().map_or_else(|| "table".into(), |stem| stem.to_string_lossy().to_lowercase());
        let is_taken = |name: &str| tables.iter().any(|table| table.name == name);
        let names = std::iter::once(stem.clone()).chain((2..).map(|number| format!("{stem}-{number}")));
        let name = names.into_iter().find(|name| !is_taken(name)).expect("there are more names than tables");
        tables.push(NamedTable { name, table: Table::read_composed(file)? });
    }
    Ok(tables)
}

impl<'t> Columns<'t> {
    pub(super) fn of(tables: &'t [NamedTable]) -> Result<Self, DataError> {
        let cases = &tables[0].table;
        let mut columns = Self { tables, joins: Vec::new(), all: Vec::new(), rows: cases.len() };
        let every: Vec<Option<usize>> = (0..cases.len()).map(Some).collect();
        columns.add(0, &every);
        for at in 1..tables.len() {
            let (join, rows) = columns.join(at)?;
            columns.joins.push(join);
            columns.add(at, &rows);
        }
        Ok(columns)
    }

    /// Adds the columns of a table; `rows` is the row that belongs to each of the table of cases.
    fn add(&mut self, table: usize, rows: &[Option<usize>]) {
        let source: &'t Table = &self.tables[table].table;
        for (position, name) in source.headers().iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let mut known: HashMap<&'t str, u32> = HashMap::new();
            let mut values: Vec<CountedValue<'t>> = Vec::new();
            let code = |row: &Option<usize>| {
                let Some(cell) = row.map(|row| source.row(row).cell(position)) else { return NOTHING };
                if cell.text().is_empty() {
                    return NOTHING;
                }
                let code = *known.entry(cell.text()).or_insert_with(|| {
                    values.push(CountedValue { text: cell.text(), number: cell.finite(), count: 0 });
                    values.len() as u32 - 1
                });
                values[code as usize].count += 1;
                code
            };
            let codes = rows.iter().map(code).collect();
            self.all.push(GuessedColumn { name, table, values, codes, settled: false });
        }
    }

    /// How a table is joined, and its row for each of the table of cases.
    fn join(&self, at: usize) -> Result<(Join, Vec<Option<usize>>), DataError> {
        let table: &Table = &self.tables[at].table;
        let mut best: Option<(f64, Join, Vec<Option<usize>>)> = None;
        for key in table.headers() {
            let column = table.column(key)?;
            let rows: HashMap<&str, usize> = (0..table.len()).map(|row| (column.text(row), row)).collect();
            if rows.len() < table.len() || rows.contains_key("") {
                continue;
            }
            for reference in self.all.iter().filter(|column| column.table == 0) {
                let row = |code: &u32| Some(*rows.get(reference.values.get(*code as usize)?.text)?);
                let found: Vec<Option<usize>> = reference.codes.iter().map(row).collect();
                let share = found.iter().flatten().count() as f64 / found.len() as f64;
                // Of two that fit alike, the one of the same name.
                let score = share + if reference.name == key { 0.01 } else { 0.0 };
                if share >= JOINED && best.as_ref().is_none_or(|(other, ..)| score > *other) {
                    let join = Join { table: at, key: key.clone(), references: reference.name.to_owned() };
                    best = Some((score, join, found));
                }
            }
        }
        let (_, join, found) = best.ok_or_else(|| DataError::NotGuessed {
            file: table.file().into(),
            what: "which rows belong to which case: no column has a value of its own in each row that a column of the table of \
                   cases holds in nine of ten rows"
                .into(),
            remedy: "give a table with such a column, or leave it away".into(),
        })?;
        Ok((join, found))
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|column| column.name == name)
    }

    /// Keys of further tables.
    pub(super) fn keys(&self) -> Vec<usize> {
        let is_key = |column: &GuessedColumn<'_>| {
            self.joins.iter().any(|join| join.table == column.table && join.key == column.name)
        };
        (0..self.all.len()).filter(|&at| is_key(&self.all[at])).collect()
    }

    pub(super) fn table_name(&self, column: &GuessedColumn<'_>) -> Option<String> {
        (column.table > 0).then(|| self.tables[column.table].name.clone())
    }

    pub(super) fn joined(&self) -> Vec<JoinedGuess> {
        let joined = |join: &Join| JoinedGuess {
            name: self.tables[join.table].name.clone(),
            file: self.tables[join.table].table.file().to_path_buf(),
            key: join.key.clone(),
            references: join.references.clone(),
        };
        self.joins.iter().map(joined).collect()
    }

    /// Takes words such as `NA` for nothing, in all columns. Gives them back, sorted.
    pub(super) fn set_missing(&mut self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for column in &mut self.all {
            let is_word: Vec<bool> = column.values.iter().map(|value| is_no_answer(value.text)).collect();
            let found = column.values.iter().zip(&is_word).filter(|(_, is)| **is);
            words.extend(found.map(|(value, _)| value.text.to_owned()));
            column.forget(&is_word);
        }
        words.sort();
        words.dedup();
        words
    }

    /// The same columns with these rows alone.
    pub(super) fn of_rows(&self, rows: &[usize]) -> Self {
        let column = |column: &GuessedColumn<'t>| {
            let codes: Vec<u32> = rows.iter().map(|&row| column.codes[row]).collect();
            let mut values = column.values.clone();
            values.iter_mut().for_each(|value| value.count = 0);
            codes.iter().filter(|code| **code != NOTHING).for_each(|&code| values[code as usize].count += 1);
            GuessedColumn { values, codes, ..*column }
        };
        let all = self.all.iter().map(column).collect();
        Self { tables: self.tables, joins: self.joins.clone(), all, rows: rows.len() }
    }
}

impl GuessedColumn<'_> {
    /// Takes these values for nothing.
    pub(super) fn forget(&mut self, forgotten: &[bool]) {
        for code in self.codes.iter_mut().filter(|code| **code != NOTHING && forgotten[**code as usize]) {
            *code = NOTHING;
        }
        for (value, _) in self.values.iter_mut().zip(forgotten).filter(|(_, forgotten)| **forgotten) {
            value.count = 0;
        }
    }

    /// The values that occur.
    pub(super) fn seen(&self) -> impl Iterator<Item = &CountedValue<'_>> {
        self.values.iter().filter(|value| value.count > 0)
    }

    /// How many values occur.
    pub(super) fn distinct(&self) -> usize {
        self.seen().count()
    }

    /// Rows in which something is recorded.
    pub(super) fn recorded(&self) -> usize {
        self.values.iter().map(|value| value.count).sum()
    }

    /// Whether every row has a value, and each another.
    pub(super) fn is_unique(&self) -> bool {
        self.recorded() == self.codes.len() && self.distinct() == self.codes.len()
    }
}
