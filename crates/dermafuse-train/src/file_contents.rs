use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use dermafuse_infer::sha256_hex;
use dermafuse_schema::{ReadError, read_regular_file};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// A file that was changed less than this before it was read may be changed again without a later time.
const SETTLED: Duration = Duration::from_secs(2);

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileContents {
    /// Stands for path, size and times; `None` for a file that was too young to trust them.
    stamp: Option<String>,
    pub(crate) sha256: String,
}

/// The SHA-256 of a file. One that this process has read is not read again while its path, size and times are the same.
///
/// # Errors
/// A file that cannot be read, or is no regular file.
pub fn file_digest(file: &Path) -> Result<String, TrainError> {
    Ok(FileContents::of(file, u64::MAX, None)?.sha256)
}

impl FileContents {
    /// Reads a file of at most `most` bytes, unless it is as `known` or as this process has read it before.
    pub(crate) fn of(file: &Path, most: u64, known: Option<&Self>) -> Result<Self, ReadError> {
        static READ: Mutex<BTreeMap<PathBuf, FileContents>> = Mutex::new(BTreeMap::new());
        let io = |source| ReadError::Io { path: file.to_owned(), source };
        let stamp = stamp_of(file, &fs::metadata(file).map_err(io)?);
        let held = || READ.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_some() {
            if let Some(known) = known.filter(|known| known.stamp == stamp) {
                return Ok(known.clone());
            }
            if let Some(read) = held().get(file).filter(|read| read.stamp == stamp) {
                return Ok(read.clone());
            }
        }
        let contents = Self { stamp, sha256: sha256_hex(&read_regular_file(file, most)?) };
        if contents.stamp.is_some() {
            held().insert(file.to_owned(), contents.clone());
        }
        Ok(contents)
    }
}

/// Stands for path, size and times of a file, unless they are too young.
fn stamp_of(file: &Path, metadata: &Metadata) -> Option<String> {
    let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let modified = since_epoch(metadata.modified().ok()?)?;
    #[cfg(unix)]
    let changed = {
        use std::os::unix::fs::MetadataExt;
        Duration::new(u64::try_from(metadata.ctime()).ok()?, u32::try_from(metadata.ctime_nsec()).ok()?)
    };
    #[cfg(not(unix))]
    let changed = modified;
    let age = since_epoch(SystemTime::now())?.checked_sub(modified.max(changed))?;
    let stamp = format!("{} {} {modified:?} {changed:?}", file.display(), metadata.len());
    (age > SETTLED).then(|| sha256_hex(stamp.as_bytes())[..32].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_stands_still_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, b"first").unwrap();
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(stamp_of(&file, &metadata), None, "too young");
        std::thread::sleep(SETTLED + Duration::from_millis(200));
        let stamp = stamp_of(&file, &metadata);
        assert!(stamp.is_some());
        let known = FileContents { stamp: stamp.clone(), sha256: "believed".into() };
        assert_eq!(FileContents::of(&file, 100, Some(&known)).unwrap(), known);
        let other = FileContents { stamp: Some("other".into()), ..known };
        let read = FileContents::of(&file, 100, Some(&other)).unwrap();
        assert_eq!((read.sha256, read.stamp), (sha256_hex(b"first"), stamp));
    }
}
