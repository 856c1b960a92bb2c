//! From text files to values: CSV tables, declarations in TOML, and how people write names and numbers.

pub(crate) mod declaration;
pub(crate) mod oddity;
pub(crate) mod one_hot;
pub(crate) mod spelling;
pub(crate) mod table;
pub(crate) mod unique;
