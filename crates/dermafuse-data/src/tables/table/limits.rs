//! How large a table may be, so that a wrong file is refused and not read into memory.

/// Bytes of a table.
pub(super) const MAX_TABLE_BYTES: u64 = 2 << 30;
/// Bytes of a value.
pub(super) const MAX_VALUE_BYTES: usize = 1_000_000;
/// Columns of a table.
pub(super) const MAX_COLUMNS: usize = 65_536;
