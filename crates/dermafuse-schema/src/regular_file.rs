use std::fs::{File, FileType};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that could not be read, or that is not read because of what it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Something else under a file's name, of which some would be waited for for ever.
    #[error("{}: {found}, not a regular file; name a file on a disk", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there instead, such as a folder or a pipe.
        found: &'static str,
    },
    /// A file larger than what it should hold can be.
    #[error("{}: {bytes} bytes or more, the limit is {max_bytes}; check that it is the file that is meant", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, as far as it was looked at.
        bytes: u64,
        /// The largest size that is read.
        max_bytes: u64,
    },
}

/// Opens a regular file (or a link to one) of at most `max_bytes` bytes. A folder, a pipe, a socket or a device is refused
/// before it is opened: opening a pipe that nobody writes to never ends.
///
/// # Errors
/// [`ReadError`]: no such file, not a regular file, too large.
pub fn open_regular_file(path: &Path, max_bytes: u64) -> Result<File, ReadError> {
    let io_error = |source| ReadError::Io { path: path.into(), source };
    let check = |facts: std::fs::Metadata| match facts.is_file() {
        false => Err(ReadError::NotAFile { path: path.into(), found: kind_of(facts.file_type()) }),
        true if facts.len() > max_bytes => {
            Err(ReadError::TooLarge { path: path.into(), bytes: facts.len(), max_bytes })
        }
        true => Ok(()),
    };
    check(std::fs::metadata(path).map_err(io_error)?)?;
    let file = File::open(path).map_err(io_error)?;
    // The path may lead elsewhere by now.
    check(file.metadata().map_err(io_error)?)?;
    Ok(file)
}

/// Reads a regular file (or a link to one) of at most `max_bytes` bytes; see [`open_regular_file`]. No more than
/// `max_bytes + 1` bytes are read, also of a file that grows or that hides its size.
///
/// # Errors
/// [`ReadError`]: no such file, not a regular file, too large.
///
/// ```
/// use dermafuse_schema::{ReadError, read_regular_file};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("three.txt");
/// std::fs::write(&path, b"123")?;
/// assert_eq!(read_regular_file(&path, 3)?, b"123");
/// assert!(matches!(read_regular_file(&path, 2), Err(ReadError::TooLarge { bytes: 3, .. })));
/// assert!(matches!(read_regular_file(folder.path(), 3), Err(ReadError::NotAFile { found: "a folder", .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_regular_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
    let file = open_regular_file(path, max_bytes)?;
    let io_error = |source| ReadError::Io { path: path.into(), source };
    let expected = file.metadata().map_err(io_error)?.len().min(max_bytes);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(expected).unwrap_or(usize::MAX)).map_err(|error| io_error(error.into()))?;
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error)?;
    match bytes.len() as u64 {
        read if read > max_bytes => Err(ReadError::TooLarge { path: path.into(), bytes: read, max_bytes }),
        _ => Ok(bytes),
    }
}

fn kind_of(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    match kind.is_dir() {
        true => "a folder",
        false => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path, max_bytes: u64) -> String {
        read_regular_file(path, max_bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_file_is_named_and_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.csv");
        let error = text(&missing, 9);
        assert!(error.contains("missing.csv") && error.contains("check the path"), "{error}");
        let error = text(folder.path(), 9);
        assert!(error.ends_with("a folder, not a regular file; name a file on a disk"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_sockets_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(text(&socket, 9).contains("a socket, not a regular file"));
        // Endless, and of size 0.
        assert!(text(Path::new("/dev/zero"), 9).contains("a device, not a regular file"));
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            assert!(text(&pipe, 9).contains("a pipe, not a regular file"));
            let link = folder.path().join("link.png");
            std::os::unix::fs::symlink(&pipe, &link).unwrap();
            assert!(text(&link, 9).contains("link.png: a pipe"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"12").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("file"), &link).unwrap();
        assert_eq!(read_regular_file(&link, 2).unwrap(), b"12");
        assert_eq!(
            text(&link, 1),
            format!("{}: 2 bytes or more, the limit is 1; check that it is the file that is meant", link.display())
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_hides_its_size_is_read_up_to_the_limit() {
        // Regular, and of size 0 to `stat`.
        let path = Path::new("/proc/self/status");
        assert!(!read_regular_file(path, 1 << 20).unwrap().is_empty());
        assert!(matches!(read_regular_file(path, 10), Err(ReadError::TooLarge { bytes: 11, max_bytes: 10, .. })));
    }
}
