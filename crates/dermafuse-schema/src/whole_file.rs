use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

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

/// A scratch file that nobody holds is a leftover after this time, where the system has no locks for files.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes a file so that the path holds either what it held before or all of `bytes`, also after a crash: a scratch file
/// beside it is written, synchronised and renamed.
///
/// The scratch file is locked while it is written. Those that a killed process left behind in the folder, whose lock is
/// free, are removed when a process first writes there.
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
    write_aside(path, bytes, |scratch, path| fs::rename(scratch, path))
}

/// Writes a file as [`write_whole_file`] does, and only where there is none: what is there, or what another process puts there
/// meanwhile, is not replaced.
///
/// # Errors
/// As [`write_whole_file`]; a path at which there is something, whose [`source`](WriteError::source) has the kind
/// [`io::ErrorKind::AlreadyExists`].
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.safetensors");
/// dermafuse_schema::write_new_file(&path, b"first")?;
/// let error = dermafuse_schema::write_new_file(&path, b"second").unwrap_err();
/// assert_eq!(error.source.kind(), std::io::ErrorKind::AlreadyExists);
/// assert_eq!(std::fs::read(&path)?, b"first");
/// assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_new_file(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_aside(path, bytes, |scratch, path| {
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // A second name is refused where there is a file already; a new name for the only file would replace it.
        match fs::hard_link(scratch, path) {
            Ok(()) => fs::remove_file(scratch),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // Some file systems have no second names.
            Err(_) => fs::rename(scratch, path),
        }
    })
}

/// Writes a scratch file beside the path and lets `put` give it the path's name.
fn write_aside(path: &Path, bytes: &[u8], put: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<(), WriteError> {
    let mut file = WholeFile::create(path).map_err(|error| WriteError { bytes: bytes.len(), ..error })?;
    file.append(bytes)?;
    file.put(put)
}

/// A file that is too large for the memory, written piece by piece: until [`finish`](WholeFile::finish) the path holds what it held
/// before, as with [`write_whole_file`]. Dropped before that, nothing is left of it.
///
/// ```
/// use dermafuse_schema::WholeFile;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("answers.csv");
/// let mut file = WholeFile::create(&path)?;
/// file.append(b"case\n")?;
/// file.append(b"a\n")?;
/// assert!(!path.exists());
/// file.finish()?;
/// assert_eq!(std::fs::read(&path)?, b"case\na\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    scratch: PathBuf,
    /// Holds the scratch file's lock; `None` once the path has its name.
    file: Option<BufWriter<File>>,
    bytes: usize,
}

impl WholeFile {
    /// Begins a file for that path.
    ///
    /// # Errors
    /// A folder that is missing or not writable.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        remove_leftovers_once(path.parent().unwrap_or(Path::new("")));
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        // Two threads that write the same file do not write the same scratch file.
        name.push(format!(".{}-{}.part", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let scratch = path.with_file_name(name);
        match locked_scratch(&scratch) {
            Ok(file) => {
                let file = Some(BufWriter::with_capacity(1 << 16, file));
                Ok(Self { path: path.to_owned(), scratch, file, bytes: 0 })
            }
            Err(source) => Err(WriteError { path: path.to_owned(), bytes: 0, source }),
        }
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// A full disk.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.bytes += bytes.len();
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(|source| self.error(source))
    }

    /// Gives the path all that was written.
    ///
    /// # Errors
    /// A full disk, a path that cannot be replaced.
    pub fn finish(self) -> Result<(), WriteError> {
        self.put(|scratch, path| fs::rename(scratch, path))
    }

    fn put(mut self, put: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<(), WriteError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let done = file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
            file.sync_all()?;
            put(&self.scratch, &self.path)
        });
        done.map_err(|source| {
            // The error to tell is the first one.
            let _ = fs::remove_file(&self.scratch);
            self.error(source)
        })
    }

    fn error(&self, source: io::Error) -> WriteError {
        WriteError { path: self.path.clone(), bytes: self.bytes, source }
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is still in memory is not wanted any more.
            let _ = file.into_parts();
            let _ = fs::remove_file(&self.scratch);
        }
    }
}

/// A new scratch file, locked: so others tell it from one that a dead process left.
fn locked_scratch(scratch: &Path) -> io::Result<File> {
    loop {
        let file = File::create(scratch)?;
        // Where there are no locks, age alone tells.
        let locked = file.lock().is_ok();
        // Who removes leftovers may have taken it for one before it was locked.
        if !locked || fs::exists(scratch)? {
            return Ok(file);
        }
    }
}

/// Removes the scratch files that killed processes left in a folder, the first time that this process writes there.
fn remove_leftovers_once(folder: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let first = SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
    if first {
        remove_leftovers(folder);
    }
}

/// What cannot be listed or removed stays: it is in nobody's way.
fn remove_leftovers(folder: &Path) {
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(is_scratch_name) {
            continue;
        }
        // Removed while it is locked: a writer that has just made it waits, and then sees that it is gone.
        if let Some(_lock) = left_behind(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// `.NAME.PID-COUNT.part`, or without the count.
fn is_scratch_name(name: &str) -> bool {
    let Some((stem, process)) =
        name.strip_prefix('.').and_then(|name| name.strip_suffix(".part")).and_then(|name| name.rsplit_once('.'))
    else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (process, count) = process.split_once('-').unwrap_or((process, "0"));
    !stem.is_empty() && digits(process) && digits(count)
}

/// A scratch file that nobody writes to any more, locked where there are locks. A living writer holds its lock, on this machine, in another
/// container or on another host; process numbers would not tell these apart.
fn left_behind(scratch: &Path) -> Option<File> {
    if !fs::symlink_metadata(scratch).is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let file = File::options().write(true).open(scratch).ok()?;
    let is_left = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => {
            let age = |modified| SystemTime::now().duration_since(modified).ok();
            let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
            modified.and_then(age).is_some_and(|age| age > LEFT_BEHIND)
        }
    };
    is_left.then_some(file)
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

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let own = format!(".old.json.{}.part", std::process::id()); // a container's processes have the same number
        let others = [".part", "a.1.part", ".a.x1.part", ".a.1-.part", ".notes.part"];
        for name in [".old.json.4711.part", ".old.json.4711-3.part", &own].into_iter().chain(others) {
            fs::write(path(name), b"half").unwrap();
        }
        fs::create_dir(path(".folder.1.part")).unwrap();
        let living = locked_scratch(&path(".new.json.1-1.part")).unwrap();
        write_whole_file(&path("first.json"), b"{}").unwrap();
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = [&others[..], &[".folder.1.part", ".new.json.1-1.part", "first.json"]].concat();
        expected.sort_unstable();
        assert_eq!(left, expected);

        drop(living);
        remove_leftovers(folder.path());
        assert!(!path(".new.json.1-1.part").exists());
    }

    #[test]
    fn threads_that_write_while_another_removes_leftovers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    scope.spawn(move || {
                        for _ in 0..50 {
                            write_whole_file(&path.join("same.json"), format!("{writer}").as_bytes()).unwrap();
                        }
                    })
                })
                .collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                remove_leftovers(path);
            }
        });
        assert_eq!(fs::read(path.join("same.json")).unwrap().len(), 1);
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    }
}
