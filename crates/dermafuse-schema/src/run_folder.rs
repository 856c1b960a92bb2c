use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ReadError, WriteError, read_regular_file, write_whole_file};

const LOCK: &str = "LOCK";
const RECORD: &str = "run.json";
const FORMAT: u32 = 1;
/// A record is a few words.
const MAX_RECORD: u64 = 64 * 1024;

/// How a program wants a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunMode {
    /// Whether a run in the folder is continued.
    pub resume: bool,
    /// Whether other processes of the program work in the folder at the same time, each on a part of its own.
    pub shared: bool,
}

/// Why a folder is not for a run. Nothing was changed in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunFolderError {
    /// Another process works there.
    #[error("{} is in use by another run; give each run a folder of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A finished run would be overwritten.
    #[error("{} holds a finished run; resume it, or give another folder", path.display())]
    Finished {
        /// The folder.
        path: PathBuf,
    },
    /// A run that was stopped would be overwritten.
    #[error("{} holds a run that is not finished; resume it, or give another folder", path.display())]
    Begun {
        /// The folder.
        path: PathBuf,
    },
    /// A run of something else.
    #[error("{} holds a run of `{found}`, not of `{program}`; give another folder", path.display())]
    OtherProgram {
        /// The folder.
        path: PathBuf,
        /// What ran there.
        found: String,
        /// What was to run.
        program: String,
    },
    /// Files that no run has written.
    #[error("{} holds `{found}` and no run; give a new or empty folder, so that nothing is overwritten", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// A record that says nothing.
    #[error("{} is damaged: {reason}; give another folder", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that should be written once is there with other contents.
    #[error("{} was written with other settings; give each run the same, or another folder", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// A folder that cannot be made or listed.
    #[error("cannot use {} as a folder for a run", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A record that cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The folder that a program writes its results to. While the value lives the folder is locked, so a second program in
/// it is refused; a run that is there is never overwritten unless it is resumed.
///
/// ```
/// use dermafuse_schema::{RunFolder, RunMode};
///
/// let root = tempfile::tempdir()?;
/// let (path, fresh) = (root.path().join("run"), RunMode::default());
/// let mut folder = RunFolder::open(&path, "quickstart", fresh)?;
/// assert!(RunFolder::check(&path, "quickstart", fresh).unwrap_err().to_string().contains("is in use"));
/// folder.begin()?; // until here all can be taken back: dropped, the folder would be gone
/// folder.finish()?;
/// drop(folder);
/// let error = RunFolder::open(&path, "quickstart", fresh).unwrap_err().to_string();
/// assert!(error.ends_with("holds a finished run; resume it, or give another folder"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    program: String,
    made: Made,
    shared: bool,
    /// Holds the lock until dropped.
    lock: File,
}

/// What is taken back if the run does not begin.
#[derive(Debug)]
enum Made {
    /// This folder and all in it.
    Folder(PathBuf),
    /// What is in the folder, which was empty.
    Contents,
    /// Nothing: the run has begun, now or before.
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    program: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Checks are under way; whoever finds it and nobody at work may begin anew.
    Preparing,
    Begun,
    Finished,
}

impl RunFolder {
    /// Whether a program may run in a folder. Nothing is written, not even a folder or a lock.
    ///
    /// # Errors
    /// A folder that is in use, that holds another run or anything else.
    pub fn check(path: impl AsRef<Path>, program: &str, mode: RunMode) -> Result<(), RunFolderError> {
        let path = path.as_ref();
        let lock = path.join(LOCK);
        if lock.is_file() {
            let file = File::options().read(true).write(true).open(&lock);
            take_lock(&file.map_err(|source| io_error(path, source))?, path, mode)?;
        }
        check_contents(path, program, mode).map(drop)
    }

    /// Makes the folder if needed and locks it. Until [`begin`](Self::begin) is called, dropping the value takes back what
    /// was made, unless a run that was there is resumed.
    ///
    /// # Errors
    /// What [`check`](Self::check) refuses; a folder that cannot be made.
    pub fn open(path: impl AsRef<Path>, program: &str, mode: RunMode) -> Result<Self, RunFolderError> {
        let path = path.as_ref();
        Self::check(path, program, mode)?;
        let io = |source| io_error(path, source);
        let made = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).last();
        fs::create_dir_all(path).map_err(io)?;
        let file = File::options().create(true).read(true).write(true).truncate(false).open(path.join(LOCK));
        let lock = file.map_err(io)?;
        take_lock(&lock, path, mode)?;
        // Another process may have come in between.
        let found = check_contents(path, program, mode)?;
        let made = match (found, made) {
            (None | Some(State::Preparing), Some(top)) => Made::Folder(top.to_owned()),
            (None | Some(State::Preparing), None) => Made::Contents,
            (Some(State::Begun | State::Finished), _) => Made::Nothing,
        };
        let (path, program, shared) = (path.to_owned(), program.to_owned(), mode.shared);
        let folder = Self { path, program, made, shared, lock };
        if found.is_none() {
            folder.record(State::Preparing)?;
        }
        Ok(folder)
    }

    /// The program whose run a folder holds, if it holds one.
    #[must_use]
    pub fn program_of(path: impl AsRef<Path>) -> Option<String> {
        let bytes = read_regular_file(&path.as_ref().join(RECORD), MAX_RECORD).ok()?;
        serde_json::from_slice::<Record>(&bytes).ok().map(|record| record.program)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every check has passed: what is in the folder stays from now on.
    ///
    /// # Errors
    /// A record that cannot be written.
    pub fn begin(&mut self) -> Result<(), RunFolderError> {
        self.record(State::Begun)?;
        self.made = Made::Nothing;
        Ok(())
    }

    /// All results are written.
    ///
    /// # Errors
    /// A record that cannot be written.
    pub fn finish(&self) -> Result<(), RunFolderError> {
        self.record(State::Finished)
    }

    /// Writes a file that all processes which share the folder write alike.
    ///
    /// # Errors
    /// A file that is there with other contents, or cannot be read or written.
    pub fn write_once(&self, name: &str, bytes: &[u8]) -> Result<(), RunFolderError> {
        let file = self.path.join(name);
        if !file.exists() {
            return Ok(write_whole_file(&file, bytes)?);
        }
        match read_regular_file(&file, u64::MAX)? == bytes {
            true => Ok(()),
            false => Err(RunFolderError::Differs { path: file }),
        }
    }

    fn record(&self, state: State) -> Result<(), RunFolderError> {
        let record = Record { format: FORMAT, program: self.program.clone(), state };
        let bytes = serde_json::to_vec_pretty(&record).expect("a record has string keys only");
        Ok(write_whole_file(&self.path.join(RECORD), &bytes)?)
    }

    /// What cannot be removed stays; the error to tell is the one that stopped the run.
    fn take_back(&self) {
        // What others work on is not ours to take.
        let is_alone = || self.lock.unlock().is_ok() && self.lock.try_lock().is_ok();
        let mode = RunMode { resume: false, shared: self.shared };
        let is_preparing = || matches!(check_contents(&self.path, &self.program, mode), Ok(Some(State::Preparing)));
        if self.shared && !(is_alone() && is_preparing()) {
            return;
        }
        match &self.made {
            Made::Nothing => {}
            Made::Folder(top) => {
                let _ = fs::remove_dir_all(&self.path);
                let above = self.path.ancestors().skip(1).take_while(|folder| folder.starts_with(top));
                above.for_each(|folder| drop(fs::remove_dir(folder)));
            }
            Made::Contents => {
                for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
                    if !is_hidden(&entry) {
                        let path = entry.path();
                        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                    }
                }
            }
        }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        self.take_back();
        // A process that is just being started from another thread has a copy of the file, and would hold the lock until its program runs.
        let _ = self.lock.unlock();
    }
}

fn io_error(path: &Path, source: io::Error) -> RunFolderError {
    RunFolderError::Io { path: path.to_owned(), source }
}

fn take_lock(file: &File, path: &Path, mode: RunMode) -> Result<(), RunFolderError> {
    match if mode.shared { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(RunFolderError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error(path, source)),
    }
}

fn is_hidden(entry: &fs::DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// The state of the run in a folder, if the program may go on with it; `None` in a new or empty folder.
fn check_contents(path: &Path, program: &str, mode: RunMode) -> Result<Option<State>, RunFolderError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(|source| io_error(path, source))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(path, source)),
    };
    let path = path.to_owned();
    let file = path.join(RECORD);
    if !file.exists() {
        let foreign = entries.iter().find(|entry| !is_hidden(entry) && entry.file_name() != LOCK);
        return match foreign.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
            None => Ok(None),
            Some(found) => Err(RunFolderError::Foreign { path, found }),
        };
    }
    let damaged = |reason| RunFolderError::Record { path: file.clone(), reason };
    let bytes = read_regular_file(&file, MAX_RECORD)?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| damaged(format!("not a record: {error}")))?;
    if record.format != FORMAT {
        return Err(damaged(format!("it has format {}, this version reads format {FORMAT}", record.format)));
    }
    if record.program != program {
        let (found, program) = (record.program, program.to_owned());
        return Err(RunFolderError::OtherProgram { path, found, program });
    }
    match record.state {
        State::Finished if !mode.resume => Err(RunFolderError::Finished { path }),
        State::Begun if !mode.resume && !mode.shared => Err(RunFolderError::Begun { path }),
        state => Ok(Some(state)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: RunMode = RunMode { resume: false, shared: false };
    const RESUME: RunMode = RunMode { resume: true, shared: false };
    const SHARED: RunMode = RunMode { resume: false, shared: true };

    /// Names and contents of everything in a folder.
    fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path().is_dir() {
                true => all.extend(contents(&entry.path()).into_iter().chain([(entry.path(), Vec::new())])),
                false => all.push((entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
        all.sort();
        all
    }

    fn refused(path: &Path, program: &str, mode: RunMode) -> String {
        let before = contents(path);
        let (checked, opened) = (RunFolder::check(path, program, mode), RunFolder::open(path, program, mode));
        assert_eq!(contents(path), before, "a refused run changes nothing");
        assert_eq!(checked.unwrap_err().to_string(), opened.as_ref().unwrap_err().to_string());
        opened.unwrap_err().to_string()
    }

    #[test]
    fn a_second_program_is_refused_while_the_first_runs_and_after_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let mut folder = RunFolder::open(&path, "jif", FRESH).unwrap();
        for mode in [FRESH, RESUME, SHARED] {
            assert!(
                refused(&path, "jif", mode).ends_with("is in use by another run; give each run a folder of its own")
            );
        }
        folder.begin().unwrap();
        drop(folder);
        assert!(refused(&path, "jif", FRESH).contains("holds a run that is not finished; resume it"));
        let folder = RunFolder::open(&path, "jif", RESUME).unwrap();
        folder.finish().unwrap();
        drop(folder);
        assert!(refused(&path, "jif", FRESH).contains("holds a finished run; resume it"));
        assert!(refused(&path, "pemm", RESUME).ends_with("holds a run of `jif`, not of `pemm`; give another folder"));
        RunFolder::check(&path, "jif", RESUME).unwrap();
    }

    #[test]
    fn a_folder_is_free_once_its_run_is_over_though_a_copy_of_the_lock_is_open() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = RunFolder::open(root.path(), "jif", FRESH).unwrap();
        folder.begin().unwrap();
        let copy = folder.lock.try_clone().unwrap();
        drop(folder);
        drop(RunFolder::open(root.path(), "jif", RESUME).unwrap());
        drop(copy);
    }

    #[test]
    fn processes_may_share_a_folder_and_exclude_one_that_does_not() {
        let root = tempfile::tempdir().unwrap();
        let mut first = RunFolder::open(root.path(), "jif", SHARED).unwrap();
        first.begin().unwrap();
        drop(RunFolder::open(root.path(), "jif", SHARED).unwrap());
        let second = RunFolder::open(root.path(), "jif", SHARED).unwrap();
        assert!(refused(root.path(), "jif", RESUME).contains("is in use"));
        first.write_once("config.json", b"1").unwrap();
        second.write_once("config.json", b"1").unwrap();
        let error = second.write_once("config.json", b"2").unwrap_err().to_string();
        assert!(error.contains("config.json was written with other settings"), "{error}");
        drop((first, second));
        RunFolder::open(root.path(), "jif", RESUME).unwrap();
    }

    #[test]
    fn who_shares_a_folder_takes_nothing_from_others() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let first = RunFolder::open(&path, "jif", SHARED).unwrap();
        drop(RunFolder::open(&path, "jif", SHARED).unwrap());
        assert!(path.join(RECORD).is_file());
        drop(first);
        assert_eq!(contents(root.path()), []);
    }

    #[test]
    fn what_was_made_is_taken_back_unless_the_run_begins() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/c");
        let folder = RunFolder::open(&path, "jif", FRESH).unwrap();
        fs::create_dir(path.join("data")).unwrap();
        fs::write(path.join("data/1.png"), b"1").unwrap();
        drop(folder);
        assert_eq!(contents(root.path()), []);

        // A folder that was there stays, with what lay in it.
        fs::write(root.path().join(".hidden"), b"1").unwrap();
        let folder = RunFolder::open(root.path(), "jif", FRESH).unwrap();
        fs::write(root.path().join("data"), b"1").unwrap();
        // A process that is killed here leaves a folder in which another may begin.
        std::mem::forget(folder);
        assert!(root.path().join(RECORD).is_file());
        fs::remove_file(root.path().join(LOCK)).unwrap(); // the lock of the one that was forgotten
        drop(RunFolder::open(root.path(), "jif", FRESH).unwrap());
        assert_eq!(contents(root.path()), [(root.path().join(".hidden"), b"1".to_vec())]);
    }

    #[test]
    fn other_files_and_damaged_records_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.doc"), b"1").unwrap();
        assert!(
            refused(root.path(), "jif", RESUME).contains("holds `thesis.doc` and no run; give a new or empty folder")
        );
        let record = root.path().join(RECORD);
        fs::write(&record, b"{").unwrap();
        assert!(refused(root.path(), "jif", RESUME).contains("run.json is damaged: not a record"));
        fs::write(&record, br#"{"format": 9, "program": "jif", "state": "begun"}"#).unwrap();
        assert!(refused(root.path(), "jif", RESUME).contains("it has format 9, this version reads format 1"));
        let error = RunFolder::open(root.path().join("thesis.doc"), "jif", FRESH).unwrap_err().to_string();
        assert!(error.ends_with("thesis.doc as a folder for a run"), "{error}");
    }
}
