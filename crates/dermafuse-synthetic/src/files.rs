//! Files as every drawn set has them.

use std::fs;
use std::io;
use std::path::Path;

use dermafuse_data::DataError;

/// What the file `SYNTHETIC` says.
pub(crate) const NOTICE: &str = "These are procedurally rendered pictures, not patients: no image shows skin, no row describes a \
person, and no result on them says anything about medicine.\n";

pub(crate) fn failed(path: &Path, source: io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), source }
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let folder = path.parent().expect("every file lies in the root");
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    fs::write(path, bytes).map_err(|error| failed(path, error))
}

pub(crate) fn write_table(path: &Path, rows: &[Vec<String>]) -> Result<(), DataError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|error| failed(path, error.into()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(path, error.into_error()))?;
    write_file(path, &bytes)
}
