//! Which column of which table, and the rows that speak of a case.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::Loader;
use super::description::{ColumnName, Description, JoinedTable};
use crate::tables::oddity::Contradictions;
use crate::tables::spelling::on_disk;
use crate::tables::table::{Cell, Row};
use crate::tables::unique::check_unique;
use crate::{DataError, Table};

/// The tables whose columns can be named: that of the cases, being read, and those that are joined.
pub(super) struct Tables<'a> {
    pub(super) cases: (&'a Path, &'a [String]),
    pub(super) joined: &'a [(&'a JoinedTable, Table)],
}

impl Tables<'_> {
    /// The columns that say the patient's sex.
    pub(super) fn sexes(&self) -> Contradictions<Source> {
        let columns = |table: Option<usize>, headers: &[String]| {
            let source = move |(column, name): (usize, &String)| (name.clone(), Source { table, column });
            headers.iter().enumerate().map(source).collect::<Vec<_>>()
        };
        let joined = self.joined.iter().enumerate().flat_map(|(at, (_, table))| columns(Some(at), table.headers()));
        Contradictions::of_sex(columns(None, self.cases.1).into_iter().chain(joined))
    }
}

/// A column of the table of cases, or of one that is joined.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) table: Option<usize>,
    pub(super) column: usize,
}

/// The rows that speak of one case.
pub(super) struct Rows<'a> {
    pub(super) case: Row<'a>,
    pub(super) joined: Vec<Option<Row<'a>>>,
}

impl<'a> Rows<'a> {
    /// `None` where no row of a joined table belongs to the case.
    pub(super) fn cell(&self, source: Source) -> Option<Cell<'a>> {
        match source.table {
            None => Some(self.case.cell(source.column)),
            Some(table) => self.joined[table].map(|row| row.cell(source.column)),
        }
    }

    /// The cell, if something is recorded there.
    pub(super) fn recorded(&self, source: Source, missing: &[String]) -> Option<Cell<'a>> {
        self.cell(source).filter(|cell| !cell.text().is_empty() && missing.iter().all(|missing| missing != cell.text()))
    }

    /// The values of several columns joined by `_`; `None` if one is missing, or there are none.
    pub(super) fn joined_text(&self, sources: &[Source], missing: &[String]) -> Option<Cow<'a, str>> {
        if let [source] = sources {
            return Some(self.recorded(*source, missing)?.text().into());
        }
        let mut text = String::new();
        for (at, source) in sources.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "_" });
            text.push_str(self.recorded(*source, missing)?.text());
        }
        (!sources.is_empty()).then_some(text.into())
    }
}

/// A table that is joined: where its key is in the table of cases, its rows by key, and which of them were used.
pub(super) struct Join<'a> {
    reference: usize,
    rows: HashMap<&'a str, usize>,
    table: &'a Table,
    used: Vec<bool>,
    without: usize,
}

impl<'a> Join<'a> {
    pub(super) fn row(&mut self, case: Row<'_>) -> Option<Row<'a>> {
        match self.rows.get(case.cell(self.reference).text()) {
            Some(&row) => {
                self.used[row] = true;
                Some(self.table.row(row))
            }
            None => {
                self.without += 1;
                None
            }
        }
    }

    pub(super) fn notes(&self, entry: &JoinedTable) -> Vec<String> {
        let file = entry.file.get_ref().display();
        let idle = self.used.iter().filter(|used| !**used).count();
        let mut notes = Vec::new();
        if self.without > 0 {
            notes.push(format!("{} rows of the table of cases have no row in {file}", self.without));
        }
        if idle > 0 {
            notes.push(format!("{idle} rows of {file} belong to no case"));
        }
        notes
    }
}

impl Loader<'_> {
    pub(super) fn joined_tables<'d>(
        &self,
        description: &'d Description,
    ) -> Result<Vec<(&'d JoinedTable, Table)>, DataError> {
        let mut tables: Vec<(&JoinedTable, Table)> = Vec::new();
        for entry in description.tables.iter().filter(|entry| self.labelled || description.describes_cases(entry)) {
            let name = entry.name.get_ref();
            if name == "cases" || tables.iter().any(|(other, _)| other.name.get_ref() == name) {
                let expected = "a name that no other table has (`cases` is that of the cases)";
                return Err(self.declaration.error(entry.name.span(), "table", name, expected));
            }
            let table = Table::read_composed(&on_disk(&self.folder.join(entry.file.get_ref())))
                .map_err(|source| self.declaration.asked(entry.file.span(), source))?;
            tables.push((entry, table));
        }
        Ok(tables)
    }

    fn column(&self, span: Range<usize>, name: &str, (file, headers): (&Path, &[String])) -> Result<usize, DataError> {
        headers.iter().position(|header| header == name).ok_or_else(|| {
            let expected = format!("a column of {}, whose header has: {}", file.display(), headers.join(", "));
            self.declaration.error(span, "column", name, expected)
        })
    }

    pub(super) fn case_column(&self, tables: &Tables<'_>, name: &Spanned<String>) -> Result<usize, DataError> {
        self.column(name.span(), name.get_ref(), tables.cases)
    }

    pub(super) fn table(
        &self,
        tables: &Tables<'_>,
        span: Range<usize>,
        name: &str,
    ) -> Result<Option<usize>, DataError> {
        if name == "cases" {
            return Ok(None);
        }
        match tables.joined.iter().position(|(entry, _)| entry.name.get_ref() == name) {
            Some(table) => Ok(Some(table)),
            None => {
                let names: Vec<&str> = tables.joined.iter().map(|(entry, _)| entry.name.get_ref().as_str()).collect();
                let expected = format!("one of the tables: {}", [vec!["cases"], names].concat().join(", "));
                Err(self.declaration.error(span, "table", name, expected))
            }
        }
    }

    pub(super) fn source(
        &self,
        tables: &Tables<'_>,
        span: Range<usize>,
        name: &ColumnName,
    ) -> Result<Source, DataError> {
        let table = self.table(tables, span.clone(), name.table.as_deref().unwrap_or("cases"))?;
        let header = match table {
            None => tables.cases,
            Some(table) => (tables.joined[table].1.file(), tables.joined[table].1.headers()),
        };
        Ok(Source { table, column: self.column(span, &name.column, header)? })
    }

    pub(super) fn joins<'t>(&self, tables: &'t Tables<'_>, id: usize) -> Result<Vec<Join<'t>>, DataError> {
        let join = |(entry, table): &'t (&JoinedTable, Table)| {
            let key = self.column(entry.key.span(), entry.key.get_ref(), (table.file(), table.headers()))?;
            let key = table.column(&table.headers()[key])?;
            check_unique(key).map_err(|source| self.declaration.asked(entry.key.span(), source))?;
            let reference = entry.references.as_ref().map_or(Ok(id), |name| self.case_column(tables, name))?;
            let rows = (0..table.len()).map(|row| (key.text(row), row)).collect();
            Ok(Join { reference, rows, table, used: vec![false; table.len()], without: 0 })
        };
        tables.joined.iter().map(join).collect()
    }
}
