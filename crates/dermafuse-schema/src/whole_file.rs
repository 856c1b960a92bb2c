use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that could not be written whole; what the path held before is untouched.
#[derive(Debug, Error)]
#[error("cannot write {} ({bytes} bytes); check the free space and the permissions of its folder", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// How much was to be written.
    pub bytes: usize,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

/// Writes a file so that the path holds either what it held before or all of `bytes`, also after a crash: a scratch file
/// beside it is written, synchronised and renamed.
///
/// # Errors
/// A folder that is missing or not writable, a full disk.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("metrics.json");
/// dermafuse_schema::write_whole_file(&path, b"{}")?;
/// assert_eq!(std::fs::read(&path)?, b"{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_whole_file(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    let scratch = path.with_file_name(name);
    write_and_rename(&scratch, path, bytes).map_err(|source| {
        // The error to tell is the first one; a scratch file that was never made cannot be removed either.
        let _ = fs::remove_file(&scratch);
        WriteError { path: path.to_owned(), bytes: bytes.len(), source }
    })
}

fn write_and_rename(scratch: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(scratch)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(scratch, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("metrics.json");
        let error = write_whole_file(&path, b"12345").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("metrics.json (5 bytes); check the free space"), "{text}");

        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(write_whole_file(&taken, b"1").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
