//! The process that executes: one target, one input after the other. Whatever it dies of, its supervisor knows the seed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::execution::{execute, keep_panics_silent};
use crate::mutate::input_of;
use crate::tally::Tally;
use crate::targets::Entry;
use crate::watch;

/// How often a worker tells its counts.
const TELLS: Duration = Duration::from_millis(500);

/// What a worker is to execute.
#[derive(Clone, Debug)]
pub struct Task {
    /// The first seed.
    pub first: u64,
    /// From one seed to the next.
    pub step: u64,
    /// How many seeds.
    pub count: u64,
    /// When to stop, however many are left.
    pub time: Option<Duration>,
    /// How long an execution may take.
    pub limit: Duration,
    /// The file that holds the seed of the execution that runs.
    pub record: PathBuf,
}

/// Executes; writes a [`Tally`] of what is new as a line of JSON, twice a second and at the end.
///
/// # Errors
/// A scratch folder or record that cannot be made, a closed `out`.
///
/// # Panics
/// If the target cannot make its corpus.
pub fn run(entry: &Entry, task: &Task, out: &mut dyn Write) -> io::Result<()> {
    let scratch = scratch_folder()?;
    let record = File::create(&task.record)?;
    let mut target = (entry.make)(scratch.path());
    keep_panics_silent();
    watch::start(entry.name, task.limit);
    let began = Instant::now();
    let (mut tally, mut told) = (Tally::default(), Instant::now());
    for turn in 0..task.count {
        let seed = task.first.wrapping_add(turn.wrapping_mul(task.step));
        let input = input_of(entry.name, seed, target.corpus());
        record.write_all_at(&seed.to_le_bytes(), 0)?;
        let execution = execute(&mut *target, seed, &input);
        tally.count(seed, &execution);
        if told.elapsed() > TELLS {
            tell(&mut tally, out)?;
            told = Instant::now();
            if task.time.is_some_and(|time| began.elapsed() > time) {
                break;
            }
        }
    }
    tell(&mut tally, out)
}

fn tell(tally: &mut Tally, out: &mut dyn Write) -> io::Result<()> {
    let line = serde_json::to_string(&std::mem::take(tally)).map_err(io::Error::other)?;
    writeln!(out, "{line}")?;
    out.flush()
}

/// A folder in memory, where the system has one.
///
/// # Errors
/// No folder can be made.
pub fn scratch_folder() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::Builder::new().prefix("fuzz").tempdir_in(memory).or_else(|_| tempfile::tempdir()),
        false => tempfile::tempdir(),
    }
}
