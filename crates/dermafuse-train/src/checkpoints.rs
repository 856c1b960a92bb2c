use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use dermafuse_infer::sha256_hex;
use dermafuse_schema::write_whole_file;
use serde::{Deserialize, Serialize};

use crate::{EpochReport, TrainError};

const MANIFEST: &str = "manifest.json";
const LOCK: &str = "LOCK";
/// Checkpoints kept besides the best one.
const KEPT: usize = 2;

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The finished epochs.
    pub history: Vec<EpochReport>,
    /// The best epoch so far, from 1; 0 before the first.
    pub best_epoch: usize,
}

/// A complete snapshot of a run after an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Where the run is.
    pub state: RunState,
    /// The network's parameters in Burn's pack format.
    pub network: Vec<u8>,
    /// The optimizer's state in Burn's pack format.
    pub optimizer: Vec<u8>,
    /// The average of weights so far, like `network`, once there is one.
    pub average: Option<Vec<u8>>,
}

/// The checkpoints of one run: a folder with a sub-folder for each kept epoch.
///
/// A checkpoint is written beside its final place, with a manifest of checksums, synchronised and then renamed, so what
/// has its final name is complete. The last two and the best of each are kept. While the value lives, the folder is locked.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    fingerprint: String,
    /// Holds the lock until dropped.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    fingerprint: String,
    state: RunState,
    sha256: BTreeMap<String, String>,
}

const NETWORK: &str = "network.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const AVERAGE: &str = "average.bpk";

impl Checkpoints {
    /// Opens a folder, which is made if needed, and locks it. `fingerprint` stands for the recipe and the data.
    ///
    /// # Errors
    /// A folder that cannot be made or that another process has locked.
    pub fn open(folder: impl AsRef<Path>, fingerprint: String) -> Result<Self, TrainError> {
        let folder = folder.as_ref().to_owned();
        let io = |source| TrainError::Io { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(io)?;
        let lock = File::options().create(true).write(true).truncate(false).open(folder.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, fingerprint, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(TrainError::Locked { path: folder }),
            Err(TryLockError::Error(source)) => Err(TrainError::Io { path: folder, source }),
        }
    }

    /// The newest checkpoint that is whole, or `None` if there is none at all; `skipped` is told why a newer one is not
    /// used.
    ///
    /// # Errors
    /// Checkpoints of another recipe or other data, or none that can be read.
    pub fn latest(&self, mut skipped: impl FnMut(&str)) -> Result<Option<Checkpoint>, TrainError> {
        let mut epochs = self.epochs()?;
        epochs.sort_unstable();
        let mut reasons = Vec::new();
        for epoch in epochs.into_iter().rev() {
            match self.read(epoch) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error @ TrainError::Changed { .. }) => return Err(error),
                Err(error) => {
                    skipped(&error.to_string());
                    reasons.push(error.to_string());
                }
            }
        }
        match reasons.is_empty() {
            true => Ok(None),
            false => Err(TrainError::Unreadable { path: self.folder.clone(), reasons }),
        }
    }

    /// How many epochs the newest checkpoint has, 0 if there is none.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn finished_epochs(&self) -> Result<usize, TrainError> {
        Ok(self.epochs()?.into_iter().max().unwrap_or(0))
    }

    /// The checkpoint of an epoch, checked against its manifest.
    ///
    /// # Errors
    /// Files that are missing or damaged, or that belong to another recipe.
    pub fn read(&self, epoch: usize) -> Result<Checkpoint, TrainError> {
        let folder = self.path_of(epoch);
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| TrainError::Io { path, source })
        };
        let damaged = |name: &str, reason: String| TrainError::Record { path: folder.join(name), reason };
        let manifest: Manifest = serde_json::from_slice(&read(MANIFEST)?)
            .map_err(|error| damaged(MANIFEST, format!("not a manifest: {error}")))?;
        if manifest.fingerprint != self.fingerprint {
            return Err(TrainError::Changed { path: self.folder.clone() });
        }
        let read_checked = |name: &str| {
            let bytes = read(name)?;
            match manifest.sha256.get(name) == Some(&sha256_hex(&bytes)) {
                true => Ok(bytes),
                false => Err(damaged(name, "its SHA-256 is not the manifest's".into())),
            }
        };
        let average = manifest.sha256.contains_key(AVERAGE).then(|| read_checked(AVERAGE)).transpose()?;
        let (network, optimizer) = (read_checked(NETWORK)?, read_checked(OPTIMIZER)?);
        Ok(Checkpoint { state: manifest.state, network, optimizer, average })
    }

    /// Writes a checkpoint, then removes those that are no longer needed.
    ///
    /// # Errors
    /// A full or read-only disk; the checkpoints before are untouched.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let epoch = checkpoint.state.history.len();
        let scratch = self.folder.join(format!("epoch-{epoch:05}.part"));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TrainError::Io { path, source }
        };
        if scratch.exists() {
            fs::remove_dir_all(&scratch).map_err(io(&scratch))?;
        }
        fs::create_dir_all(&scratch).map_err(io(&scratch))?;
        let result = self.write_parts(&scratch, checkpoint);
        if let Err(error) = result {
            // The error to tell is the first one.
            let _ = fs::remove_dir_all(&scratch);
            return Err(error);
        }
        let place = self.path_of(epoch);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(io(&place))?;
        }
        fs::rename(&scratch, &place).map_err(io(&place))?;
        synchronise(&self.folder)?;
        let epochs = self.epochs()?;
        let (old, recent): (Vec<usize>, Vec<usize>) = epochs.into_iter().partition(|&old| old + KEPT <= epoch);
        // Whichever of the recent ones is continued from, its best epoch is still there.
        let best: Vec<usize> = recent.iter().filter_map(|&recent| self.best_epoch_of(recent)).collect();
        for old in old.into_iter().filter(|old| !best.contains(old)) {
            let path = self.path_of(old);
            fs::remove_dir_all(&path).map_err(io(&path))?;
        }
        Ok(())
    }

    /// The best epoch that a checkpoint knows of; `None` if its manifest cannot be read.
    fn best_epoch_of(&self, epoch: usize) -> Option<usize> {
        let manifest: Manifest = serde_json::from_slice(&fs::read(self.path_of(epoch).join(MANIFEST)).ok()?).ok()?;
        Some(manifest.state.best_epoch)
    }

    fn write_parts(&self, folder: &Path, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let mut sha256 = BTreeMap::new();
        let average = checkpoint.average.as_ref().map(|average| (AVERAGE, average));
        let parts = [(NETWORK, &checkpoint.network), (OPTIMIZER, &checkpoint.optimizer)];
        for (name, bytes) in parts.into_iter().chain(average) {
            write_whole_file(&folder.join(name), bytes)?;
            sha256.insert(name.to_owned(), sha256_hex(bytes));
        }
        let manifest = Manifest { fingerprint: self.fingerprint.clone(), state: checkpoint.state.clone(), sha256 };
        let manifest = serde_json::to_vec_pretty(&manifest).expect("a manifest has string keys only");
        write_whole_file(&folder.join(MANIFEST), &manifest)?;
        synchronise(folder)
    }

    fn path_of(&self, epoch: usize) -> PathBuf {
        self.folder.join(format!("epoch-{epoch:05}"))
    }

    fn epochs(&self) -> Result<Vec<usize>, TrainError> {
        let io = |source| TrainError::Io { path: self.folder.clone(), source };
        let mut epochs = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let epoch = name.to_str().and_then(|name| name.strip_prefix("epoch-")).map(str::parse::<usize>);
            epochs.extend(epoch.and_then(Result::ok));
        }
        Ok(epochs)
    }
}

/// Makes renames in a folder survive a crash; not every system can, and none loses anything by it.
fn synchronise(folder: &Path) -> Result<(), TrainError> {
    match cfg!(unix) {
        true => File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| TrainError::Io { path: folder.to_owned(), source }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(epoch: usize, best_epoch: usize) -> Checkpoint {
        let report = EpochReport { epoch, learning_rate: 0.1, train_loss: 1.0, valid_loss: 1.0, valid_score: 0.5 };
        let state = RunState { history: vec![report; epoch], best_epoch };
        Checkpoint { state, network: vec![epoch as u8; 9], optimizer: vec![1, 2, 3], average: Some(vec![4]) }
    }

    fn open(folder: &Path) -> Checkpoints {
        Checkpoints::open(folder, "recipe".into()).unwrap()
    }

    #[test]
    fn the_last_two_and_the_best_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        for epoch in 1..=5 {
            checkpoints.write(&checkpoint(epoch, 2.min(epoch))).unwrap();
        }
        let mut kept = checkpoints.epochs().unwrap();
        kept.sort_unstable();
        assert_eq!(kept, [2, 4, 5]);
        assert_eq!(checkpoints.latest(|_| ()).unwrap(), Some(checkpoint(5, 2)));
    }

    #[test]
    fn the_best_of_the_one_before_is_kept_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        for (epoch, best) in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 5)] {
            checkpoints.write(&checkpoint(epoch, best)).unwrap();
        }
        fs::remove_file(checkpoints.path_of(5).join(NETWORK)).unwrap();
        let before = checkpoints.latest(|_| ()).unwrap().unwrap();
        assert_eq!((before.state.history.len(), before.state.best_epoch), (4, 2));
        assert_eq!(checkpoints.read(2).unwrap(), checkpoint(2, 2));
        checkpoints.write(&checkpoint(5, 5)).unwrap();
        checkpoints.write(&checkpoint(6, 5)).unwrap();
        let mut kept = checkpoints.epochs().unwrap();
        kept.sort_unstable();
        assert_eq!(kept, [5, 6]);
    }

    #[test]
    fn a_damaged_checkpoint_falls_back_to_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        checkpoints.write(&checkpoint(1, 1)).unwrap();
        checkpoints.write(&checkpoint(2, 1)).unwrap();
        for part in [NETWORK, OPTIMIZER, AVERAGE, MANIFEST] {
            checkpoints.write(&checkpoint(2, 1)).unwrap();
            let path = checkpoints.path_of(2).join(part);
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(&path, bytes).unwrap();
            let mut reasons = Vec::new();
            let found = checkpoints.latest(|reason| reasons.push(reason.to_owned())).unwrap().unwrap();
            assert_eq!(found, checkpoint(1, 1));
            assert!(reasons[0].contains(part), "{reasons:?}");
        }
        fs::remove_file(checkpoints.path_of(1).join(NETWORK)).unwrap();
        let error = checkpoints.latest(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("no checkpoint in ") && error.contains("not a manifest"), "{error}");
    }

    #[test]
    fn a_part_that_was_being_written_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        checkpoints.write(&checkpoint(1, 1)).unwrap();
        fs::create_dir(folder.path().join("epoch-00002.part")).unwrap();
        assert_eq!(checkpoints.latest(|_| ()).unwrap(), Some(checkpoint(1, 1)));
        checkpoints.write(&checkpoint(2, 1)).unwrap();
        assert_eq!(checkpoints.finished_epochs().unwrap(), 2);
    }

    #[test]
    fn another_recipe_or_a_second_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        first.write(&checkpoint(1, 1)).unwrap();
        let error = Checkpoints::open(folder.path(), "recipe".into()).unwrap_err().to_string();
        assert!(error.ends_with("is in use by another run; give each run a folder of its own"), "{error}");
        drop(first);
        let other = Checkpoints::open(folder.path(), "another".into()).unwrap();
        let error = other.latest(|_| ()).unwrap_err().to_string();
        assert!(error.contains("was started with another configuration"), "{error}");
    }
}
