//! Ground truth as the ISIC archive writes it: a row for each item, a column for each class, exactly one 1.

use std::collections::{HashMap, HashSet};

use crate::tables::table::Cell;
use crate::{DataError, Table};

/// What the rows of a ground-truth table are.
pub(crate) struct OneHot<'a> {
    /// The column that names the item.
    pub(crate) id: &'static str,
    /// What an item is called in errors, with its article.
    pub(crate) item: &'static str,
    /// The class columns, in order.
    pub(crate) classes: &'a [&'a str],
    /// A column for "none of the classes", if the table has one: an item with a 1 there has no label.
    pub(crate) unknown: Option<&'a str>,
}

impl OneHot<'_> {
    /// The label of each item that the table names; all of them must be `known`.
    pub(crate) fn read(
        &self,
        table: &Table,
        known: &HashSet<&str>,
    ) -> Result<HashMap<String, Option<usize>>, DataError> {
        let id = table.column(self.id)?;
        let mut columns = self
            .classes
            .iter()
            .enumerate()
            .map(|(class, name)| Ok((Some(class), table.column(name)?)))
            .collect::<Result<Vec<_>, DataError>>()?;
        if let Some(name) = self.unknown.filter(|name| table.headers().iter().any(|header| header == name)) {
            columns.push((None, table.column(name)?));
        }
        let mut labels = HashMap::with_capacity(table.len());
        for row in 0..table.len() {
            if !known.contains(id.text(row)) {
                return Err(id.value_error(row, format!("{} of the metadata table", self.item)));
            }
            let cells = columns.iter().map(|(label, column)| (*label, column.cell(row)));
            let label = one_hot_label(cells, id.cell(row))?;
            if labels.insert(id.text(row).to_owned(), label).is_some() {
                return Err(id.value_error(row, "no second row of the same name"));
            }
        }
        Ok(labels)
    }
}

/// The label of the one cell that holds 1, the others holding 0; where none does, the error is `row`'s.
pub(crate) fn one_hot_label<'a>(
    cells: impl Iterator<Item = (Option<usize>, Cell<'a>)>,
    row: Cell<'_>,
) -> Result<Option<usize>, DataError> {
    let mut said = None;
    for (label, cell) in cells {
        match cell.number()? {
            Some(0.0) => {}
            Some(1.0) if said.is_none() => said = Some(label),
            Some(1.0) => return Err(cell.error("a single 1 in each row")),
            _ => return Err(cell.error("0 or 1")),
        }
    }
    said.ok_or_else(|| row.error("a 1 in one of the class columns of this row"))
}
