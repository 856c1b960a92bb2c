//! Columns that identify rows.

use std::collections::HashMap;

use crate::tables::table::Column;
use crate::{DataError, Table};

/// Checks that a column names each row, and none as another.
pub(crate) fn check_unique(column: Column<'_>) -> Result<(), DataError> {
    let table: &Table = column.table();
    let mut rows: HashMap<&str, usize> = HashMap::with_capacity(table.len());
    for row in 0..table.len() {
        if column.text(row).is_empty() {
            return Err(column.value_error(row, "an identifier"));
        }
        if let Some(other) = rows.insert(column.text(row), row) {
            return Err(column.value_error(row, format!("a name that line {} does not have", table.line(other))));
        }
    }
    Ok(())
}
