use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use dermafuse_infer::sha256_hex;
use dermafuse_schema::{read_regular_file, write_whole_file};
use serde::{Deserialize, Serialize};

use crate::{EpochReport, ImageRecord, RunFacts, RunIdentity, TrainError};

const MANIFEST: &str = "manifest.json";
const LOCK: &str = "LOCK";
const FORMAT: u32 = 2;
/// A manifest of a hundred thousand epochs is smaller.
const MAX_MANIFEST: u64 = 64 << 20;
/// Checkpoints kept besides the best one.
const KEPT: usize = 2;

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// The finished epochs.
    pub history: Vec<EpochReport>,
    /// The best epoch so far, from 1; 0 before the first.
    pub best_epoch: usize,
    /// How many of the first epochs cannot be the best any more, because their weights were lost.
    #[serde(default)]
    pub best_from: usize,
}

impl RunState {
    /// The best of the first `epochs` epochs, from 1: the first of equals, the last of those without a score; 0 of none.
    #[must_use]
    pub fn best_among(&self, epochs: usize) -> usize {
        let from = if epochs > self.best_from { self.best_from } else { 0 };
        let scores = self.history.iter().enumerate().take(epochs).skip(from);
        let best = scores.fold(None, |best: Option<(usize, Option<f64>)>, (index, report)| match best {
            Some((_, Some(score))) if report.valid_score.is_some_and(|other| other <= score) => best,
            _ => Some((index + 1, report.valid_score)),
        });
        best.map_or(0, |(epoch, _)| epoch)
    }
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
/// A checkpoint is written beside its final place, with a manifest of sizes and checksums, its own among them, synchronised
/// and then renamed, so what has its final name is complete. The last two and the best of each are kept. While the value
/// lives, the folder is locked.
#[derive(Debug)]
pub struct Checkpoints {
    shelf: Shelf,
    /// Holds the lock until dropped.
    _lock: File,
}

/// What is in a folder of checkpoints; only reads.
#[derive(Debug)]
struct Shelf {
    folder: PathBuf,
    identity: RunIdentity,
}

/// What a checkpoint consists of. `sha256` is that of the manifest with an empty `sha256`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    sha256: String,
    facts: RunFacts,
    state: RunState,
    parts: BTreeMap<String, Part>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    bytes: u64,
    sha256: String,
}

const NETWORK: &str = "network.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const AVERAGE: &str = "average.bpk";

impl Checkpoints {
    /// Whether a run may begin or continue in a folder. Nothing is written, not even a folder or a lock.
    ///
    /// # Errors
    /// A folder that another process has locked; one that holds a run, unless it is resumed; a run of other facts, with
    /// what differs.
    pub fn check(folder: impl AsRef<Path>, identity: &RunIdentity, resume: bool) -> Result<(), TrainError> {
        let shelf = Shelf { folder: folder.as_ref().to_owned(), identity: identity.clone() };
        let lock = shelf.folder.join(LOCK);
        if lock.is_file() {
            let file = File::options().read(true).write(true).open(&lock);
            shelf.take_lock(&file.map_err(|source| shelf.io(source))?)?;
        }
        shelf.check(resume)
    }

    /// Opens a folder, which is made if needed, and locks it. What killed processes left half written is removed.
    ///
    /// # Errors
    /// What [`check`](Self::check) refuses; a folder that cannot be made.
    pub fn open(folder: impl AsRef<Path>, identity: RunIdentity, resume: bool) -> Result<Self, TrainError> {
        Self::check(&folder, &identity, resume)?;
        let shelf = Shelf { folder: folder.as_ref().to_owned(), identity };
        let io = |source| shelf.io(source);
        fs::create_dir_all(&shelf.folder).map_err(io)?;
        let lock =
            File::options().create(true).write(true).truncate(false).open(shelf.folder.join(LOCK)).map_err(io)?;
        shelf.take_lock(&lock)?;
        // Another process may have come in between.
        shelf.check(resume)?;
        // Whoever holds the lock is the only one who writes here.
        for half in shelf.half_written()? {
            fs::remove_dir_all(&half).map_err(|source| TrainError::Io { path: half, source })?;
        }
        shelf.identity.images.write(&shelf.folder)?;
        Ok(Self { shelf, _lock: lock })
    }

    /// The newest checkpoint that is whole, or `None` if there is none at all; `skipped` is told why a newer one is not
    /// used.
    ///
    /// # Errors
    /// Checkpoints of another recipe or other data, or none that can be read.
    pub fn latest(&self, mut skipped: impl FnMut(&str)) -> Result<Option<Checkpoint>, TrainError> {
        let mut reasons = Vec::new();
        for epoch in self.shelf.epochs()?.into_iter().rev() {
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
            false => Err(TrainError::Unreadable { path: self.shelf.folder.clone(), reasons }),
        }
    }

    /// The newest checkpoint before an epoch that is whole and whose best epoch is whole too.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn complete_before(&self, epoch: usize) -> Result<Option<Checkpoint>, TrainError> {
        let earlier = self.shelf.epochs()?.into_iter().rev().filter(|&earlier| earlier < epoch);
        let mut whole = earlier.filter_map(|earlier| self.read(earlier).ok());
        Ok(whole.find(|checkpoint| self.read(checkpoint.state.best_epoch).is_ok()))
    }

    /// The checkpoint of an epoch, checked against its manifest.
    ///
    /// # Errors
    /// Files that are missing or damaged, or that belong to another recipe.
    pub fn read(&self, epoch: usize) -> Result<Checkpoint, TrainError> {
        let folder = self.shelf.path_of(epoch);
        let manifest = self.shelf.manifest(epoch)?;
        let read_checked = |name: &str, part: &Part| {
            let bytes = read_regular_file(&folder.join(name), part.bytes)?;
            match bytes.len() as u64 == part.bytes && part.sha256 == sha256_hex(&bytes) {
                true => Ok(bytes),
                false => Err(damaged(&folder.join(name), "its size or SHA-256 is not the manifest's".into())),
            }
        };
        let part = |name: &str| manifest.parts.get(name).map(|part| read_checked(name, part)).transpose();
        let average = part(AVERAGE)?;
        let (network, optimizer) = (part(NETWORK)?, part(OPTIMIZER)?);
        let expected = "a manifest was checked to have both";
        let (network, optimizer) = (network.expect(expected), optimizer.expect(expected));
        Ok(Checkpoint { state: manifest.state, network, optimizer, average })
    }

    /// Writes a checkpoint, then removes those that are no longer needed.
    ///
    /// # Errors
    /// A full or read-only disk; the checkpoints before are untouched.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let epoch = checkpoint.state.history.len();
        let scratch = self.shelf.folder.join(format!("epoch-{epoch:05}.part"));
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
        let place = self.shelf.path_of(epoch);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(io(&place))?;
        }
        fs::rename(&scratch, &place).map_err(io(&place))?;
        synchronise(&self.shelf.folder)?;
        let epochs = self.shelf.epochs()?;
        let (old, recent): (Vec<usize>, Vec<usize>) = epochs.into_iter().partition(|&old| old + KEPT <= epoch);
        // Whichever of the recent ones is continued from, its best epoch is still there.
        let best: Vec<usize> = recent.iter().filter_map(|&recent| self.best_epoch_of(recent)).collect();
        for old in old.into_iter().filter(|old| !best.contains(old)) {
            let path = self.shelf.path_of(old);
            fs::remove_dir_all(&path).map_err(io(&path))?;
        }
        Ok(())
    }

    /// The best epoch that a checkpoint knows of; `None` if its manifest cannot be read.
    fn best_epoch_of(&self, epoch: usize) -> Option<usize> {
        self.shelf.manifest(epoch).ok().map(|manifest| manifest.state.best_epoch)
    }

    fn write_parts(&self, folder: &Path, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let mut parts = BTreeMap::new();
        let average = checkpoint.average.as_ref().map(|average| (AVERAGE, average));
        let all = [(NETWORK, &checkpoint.network), (OPTIMIZER, &checkpoint.optimizer)];
        for (name, bytes) in all.into_iter().chain(average) {
            write_whole_file(&folder.join(name), bytes)?;
            parts.insert(name.to_owned(), Part { bytes: bytes.len() as u64, sha256: sha256_hex(bytes) });
        }
        let (facts, state) = (self.shelf.identity.facts.clone(), checkpoint.state.clone());
        let mut manifest = Manifest { format: FORMAT, sha256: String::new(), facts, state, parts };
        manifest.sha256 = manifest.seal();
        let manifest = serde_json::to_vec_pretty(&manifest).expect("a manifest has string keys only");
        write_whole_file(&folder.join(MANIFEST), &manifest)?;
        synchronise(folder)
    }
}

impl Shelf {
    fn io(&self, source: std::io::Error) -> TrainError {
        TrainError::Io { path: self.folder.clone(), source }
    }

    fn take_lock(&self, file: &File) -> Result<(), TrainError> {
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(TrainError::Locked { path: self.folder.clone() }),
            Err(TryLockError::Error(source)) => Err(self.io(source)),
        }
    }

    /// Whether a run may begin here, or continue.
    fn check(&self, resume: bool) -> Result<(), TrainError> {
        let epochs = self.epochs()?;
        if let Some(&finished) = epochs.last().filter(|_| !resume) {
            return Err(TrainError::Occupied { path: self.folder.clone(), epochs: finished });
        }
        // Those of damaged checkpoints are read later, and told of.
        let mut newest = epochs.into_iter().rev().map(|epoch| self.manifest(epoch));
        let changed = newest.find(|manifest| matches!(manifest, Ok(_) | Err(TrainError::Changed { .. })));
        changed.map_or(Ok(()), |manifest| manifest.map(drop))
    }

    fn path_of(&self, epoch: usize) -> PathBuf {
        self.folder.join(format!("epoch-{epoch:05}"))
    }

    /// The manifest of an epoch, checked, of a run that this one may continue.
    fn manifest(&self, epoch: usize) -> Result<Manifest, TrainError> {
        let file = self.path_of(epoch).join(MANIFEST);
        let bytes = read_regular_file(&file, MAX_MANIFEST)?;
        let manifest = Manifest::parse(&bytes, epoch).map_err(|reason| damaged(&file, reason))?;
        if manifest.facts == self.identity.facts {
            return Ok(manifest);
        }
        let differences = self.identity.differences(&manifest.facts, &ImageRecord::read(&self.folder));
        match self.identity.may_continue(&differences, &manifest.state) {
            Ok(()) => Ok(manifest),
            Err(because) => Err(TrainError::Changed { path: self.folder.clone(), differences, because }),
        }
    }

    /// The epochs that have a checkpoint, ascending.
    fn epochs(&self) -> Result<Vec<usize>, TrainError> {
        let names = self.names()?;
        let epochs = names.iter().filter_map(|name| name.strip_prefix("epoch-")?.parse::<usize>().ok());
        let mut epochs: Vec<usize> = epochs.collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// The folders that processes were killed in.
    fn half_written(&self) -> Result<Vec<PathBuf>, TrainError> {
        let mut names = self.names()?;
        names.retain(|name| {
            let epoch = name.strip_prefix("epoch-").and_then(|name| name.strip_suffix(".part"));
            epoch.is_some_and(|epoch| epoch.parse::<usize>().is_ok())
        });
        Ok(names.into_iter().map(|name| self.folder.join(name)).collect())
    }

    /// What is in the folder; nothing if there is none.
    fn names(&self) -> Result<Vec<String>, TrainError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.io(source)),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().unwrap_or_default()));
        names.collect::<Result<_, _>>().map_err(|source| self.io(source))
    }
}

impl Manifest {
    /// Reads what was written, and only that.
    fn parse(bytes: &[u8], epoch: usize) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format: Option<u32>,
        }
        let not_one = |error: serde_json::Error| format!("not a manifest: {error}");
        match serde_json::from_slice::<Version>(bytes).map_err(not_one)?.format {
            Some(FORMAT) => {}
            None => {
                return Err(format!(
                    "it has no format, so an earlier version wrote it; this version reads format {FORMAT}"
                ));
            }
            Some(other) => return Err(format!("it has format {other}, this version reads format {FORMAT}")),
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(not_one)?;
        if manifest.sha256 != manifest.seal() {
            return Err("its SHA-256 is not that of its contents".into());
        }
        let history = &manifest.state.history;
        if epoch == 0 || history.len() != epoch || history.iter().zip(1..).any(|(report, epoch)| report.epoch != epoch)
        {
            return Err(format!("it has a history of {} epochs, not of the first {epoch}", history.len()));
        }
        let RunState { best_epoch, best_from, .. } = manifest.state;
        if best_from >= epoch || best_epoch != manifest.state.best_among(epoch) {
            return Err(format!("it calls epoch {best_epoch} the best, which is not what its scores say"));
        }
        let names: Vec<&str> = manifest.parts.keys().map(String::as_str).collect();
        if !matches!(names[..], [NETWORK, OPTIMIZER] | [AVERAGE, NETWORK, OPTIMIZER]) {
            return Err(format!("it lists {}, not {NETWORK}, {OPTIMIZER} and at most {AVERAGE}", names.join(", ")));
        }
        Ok(manifest)
    }

    /// The SHA-256 of everything but itself.
    fn seal(&self) -> String {
        let open = Self { sha256: String::new(), ..self.clone() };
        sha256_hex(&serde_json::to_vec(&open).expect("a manifest has string keys only"))
    }
}

fn damaged(path: &Path, reason: String) -> TrainError {
    TrainError::Record { path: path.to_owned(), reason }
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
        let score = |epoch: usize| if epoch == best_epoch { 0.75 } else { 0.5 };
        let report = |epoch| EpochReport {
            epoch,
            learning_rate: 0.1,
            train_loss: 1.0,
            valid_loss: Some(1.0),
            valid_score: Some(score(epoch)),
        };
        let state = RunState { history: (1..=epoch).map(report).collect(), best_epoch, best_from: 0 };
        Checkpoint { state, network: vec![epoch as u8; 9], optimizer: vec![1, 2, 3], average: Some(vec![4]) }
    }

    fn identity(recipe: &str) -> RunIdentity {
        let mut facts = RunFacts::default();
        facts.set("recipe", &recipe);
        RunIdentity::of(facts)
    }

    fn open(folder: &Path) -> Checkpoints {
        Checkpoints::open(folder, identity("first"), true).unwrap()
    }

    #[test]
    fn the_last_two_and_the_best_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        for epoch in 1..=5 {
            checkpoints.write(&checkpoint(epoch, 2.min(epoch))).unwrap();
        }
        assert_eq!(checkpoints.shelf.epochs().unwrap(), [2, 4, 5]);
        assert_eq!(checkpoints.latest(|_| ()).unwrap(), Some(checkpoint(5, 2)));
    }

    #[test]
    fn the_best_of_the_one_before_is_kept_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        for (epoch, best) in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 5)] {
            checkpoints.write(&checkpoint(epoch, best)).unwrap();
        }
        fs::remove_file(checkpoints.shelf.path_of(5).join(NETWORK)).unwrap();
        let before = checkpoints.latest(|_| ()).unwrap().unwrap();
        assert_eq!((before.state.history.len(), before.state.best_epoch), (4, 2));
        assert_eq!(checkpoints.read(2).unwrap(), checkpoint(2, 2));
        checkpoints.write(&checkpoint(5, 5)).unwrap();
        checkpoints.write(&checkpoint(6, 5)).unwrap();
        assert_eq!(checkpoints.shelf.epochs().unwrap(), [5, 6]);
    }

    #[test]
    fn a_damaged_checkpoint_falls_back_to_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        checkpoints.write(&checkpoint(1, 1)).unwrap();
        checkpoints.write(&checkpoint(2, 1)).unwrap();
        for part in [NETWORK, OPTIMIZER, AVERAGE, MANIFEST] {
            checkpoints.write(&checkpoint(2, 1)).unwrap();
            let path = checkpoints.shelf.path_of(2).join(part);
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(&path, bytes).unwrap();
            let mut reasons = Vec::new();
            let found = checkpoints.latest(|reason| reasons.push(reason.to_owned())).unwrap().unwrap();
            assert_eq!(found, checkpoint(1, 1));
            assert!(reasons[0].contains(part), "{reasons:?}");
        }
        fs::remove_file(checkpoints.shelf.path_of(1).join(NETWORK)).unwrap();
        let error = checkpoints.latest(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("no checkpoint in ") && error.contains("not a manifest"), "{error}");
    }

    #[test]
    fn a_part_that_was_being_written_is_ignored_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        checkpoints.write(&checkpoint(1, 1)).unwrap();
        for half in ["epoch-00002.part", "epoch-00007.part"] {
            fs::create_dir(folder.path().join(half)).unwrap();
        }
        assert_eq!(checkpoints.latest(|_| ()).unwrap(), Some(checkpoint(1, 1)));
        checkpoints.write(&checkpoint(2, 1)).unwrap();
        assert_eq!(checkpoints.shelf.epochs().unwrap(), [1, 2]);
        drop(checkpoints);
        open(folder.path());
        assert!(!folder.path().join("epoch-00007.part").exists());
    }

    #[test]
    fn a_manifest_that_was_changed_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(folder.path());
        checkpoints.write(&checkpoint(3, 2)).unwrap();
        let path = checkpoints.shelf.path_of(3).join(MANIFEST);
        let whole: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let reason = |change: &dyn Fn(&mut Manifest), sealed: bool| {
            let mut manifest = whole.clone();
            change(&mut manifest);
            if sealed {
                manifest.sha256 = manifest.seal();
            }
            fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
            checkpoints.read(3).unwrap_err().to_string()
        };
        assert!(
            reason(&|manifest| manifest.state.best_epoch = 3, false)
                .contains("its SHA-256 is not that of its contents")
        );
        type Change<'a> = &'a dyn Fn(&mut Manifest);
        let contradictions: [(Change<'_>, &str); 6] = [
            (&|manifest| manifest.state.best_epoch = 3, "it calls epoch 3 the best"),
            (&|manifest| manifest.state.best_epoch = usize::MAX, "the best, which is not what its scores say"),
            (&|manifest| manifest.state.best_from = 3, "which is not what its scores say"),
            (&|manifest| manifest.state.history.truncate(2), "it has a history of 2 epochs, not of the first 3"),
            (&|manifest| manifest.state.history[1].epoch = 7, "it has a history of 3 epochs, not of the first 3"),
            (&|manifest| drop(manifest.parts.remove(OPTIMIZER)), "it lists average.bpk, network.bpk, not network.bpk"),
        ];
        for (change, expected) in contradictions {
            let text = reason(change, true);
            assert!(text.contains(expected), "{text}");
        }
        let text = reason(&|manifest| manifest.format = 1, true);
        assert!(text.contains("it has format 1, this version reads format 2"), "{text}");
        // A size that the file does not have costs no memory.
        let text = reason(&|manifest| manifest.parts.get_mut(NETWORK).unwrap().bytes = u64::MAX / 2, true);
        assert!(text.contains("its size or SHA-256 is not the manifest's"), "{text}");
        fs::write(&path, br#"{"fingerprint": "0", "state": {}, "sha256": {}}"#).unwrap();
        assert!(checkpoints.read(3).unwrap_err().to_string().contains("so an earlier version wrote it"));
    }

    #[test]
    fn another_recipe_or_a_second_run_is_refused_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        first.write(&checkpoint(1, 1)).unwrap();
        let refused =
            |recipe: &str, resume| Checkpoints::open(folder.path(), identity(recipe), resume).unwrap_err().to_string();
        let error = refused("first", true);
        assert!(error.ends_with("is in use by another run; give each run a folder of its own"), "{error}");
        drop(first);
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        let error = refused("second", true);
        assert!(
            error.contains("was started with another configuration or other data: `recipe` was first and is second"),
            "{error}"
        );
        assert!(refused("first", false).contains("already holds a run of 1 epochs; resume it"));
        assert!(!folder.path().join(LOCK).exists());
        let missing = folder.path().join("a/b");
        Checkpoints::check(&missing, &identity("first"), true).unwrap();
        assert!(!folder.path().join("a").exists());
    }
}
