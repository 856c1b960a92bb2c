//! The label that the later challenges of ISIC ask for.

use crate::DataError;
use crate::tables::table::Column;

/// The classes, as the challenges count them.
pub(crate) const CLASSES: [&str; 2] = ["benign", "malignant"];

/// The class that a row's `target` (0 or 1) or word says; both, where both are there, must say the same.
pub(crate) fn malignancy(
    target: Option<Column<'_>>,
    word: Option<Column<'_>>,
    row: usize,
) -> Result<Option<usize>, DataError> {
    let target = target.map_or(Ok(None), |target| target.category(row, &["0", "1"]))?;
    let Some(column) = word else { return Ok(target) };
    let said = column.category(row, &CLASSES)?;
    match (target, said) {
        (Some(target), Some(said)) if target != said => {
            Err(column.value_error(row, format!("`{}`, as `target` says", CLASSES[target])))
        }
        (target, said) => Ok(target.or(said)),
    }
}
