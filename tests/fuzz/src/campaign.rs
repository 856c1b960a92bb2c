//! The process that supervises: it divides the seeds among workers, and outlives them.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::mutate::input_of;
use crate::tally::{Finding, Tally, Wrong};
use crate::targets::Entry;
use crate::{watch, worker};

/// Workers that may die over one share of the seeds.
const DEATHS: usize = 50;

/// What is executed of a target.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The program, which is started again for each worker.
    pub program: PathBuf,
    /// The first seed.
    pub seed: u64,
    /// How many inputs.
    pub executions: u64,
    /// When to stop, however many are left.
    pub time: Option<Duration>,
    /// How many workers at a time.
    pub workers: u64,
    /// How long an execution may take.
    pub limit: Duration,
    /// Where inputs go that were found.
    pub findings: PathBuf,
}

impl Campaign {
    /// Executes a target.
    ///
    /// # Errors
    /// A worker that cannot be started, a folder that cannot be written.
    pub fn run(&self, entry: &Entry) -> io::Result<Tally> {
        let scratch = worker::scratch_folder()?;
        let shares = (0..self.workers.max(1)).map(|share| {
            let record = scratch.path().join(format!("record-{share}"));
            move || self.share(entry, share, &record)
        });
        let tallies: Vec<io::Result<Tally>> = std::thread::scope(|scope| {
            let running: Vec<_> = shares.map(|share| scope.spawn(share)).collect();
            running.into_iter().map(|share| share.join().unwrap_or_else(|_| Err(io::Error::other("a panic")))).collect()
        });
        let mut all = Tally::default();
        for tally in tallies {
            all.add(tally?);
        }
        self.keep(entry, &all)?;
        Ok(all)
    }

    /// Every `workers`-th seed, by as many processes as it takes.
    fn share(&self, entry: &Entry, share: u64, record: &Path) -> io::Result<Tally> {
        let (began, step) = (Instant::now(), self.workers.max(1));
        let mut tally = Tally::default();
        let mut first = self.seed.wrapping_add(share);
        let mut left = self.executions.saturating_sub(share).div_ceil(step);
        for _ in 0..DEATHS {
            let time = self.time.map(|time| time.saturating_sub(began.elapsed()));
            if left == 0 || time.is_some_and(|time| time.is_zero()) {
                break;
            }
            std::fs::write(record, first.to_le_bytes())?;
            let task = worker::Task { first, step, count: left, time, limit: self.limit, record: record.into() };
            let Some(mut death) = self.worker(entry, &task, &mut tally)? else { break };
            let seed = std::fs::read(record)?.try_into().map_or(first, u64::from_le_bytes);
            death.seed = seed;
            tally.executions += 1;
            tally.find(death);
            left -= seed.wrapping_sub(first) / step + 1;
            first = seed.wrapping_add(step);
        }
        Ok(tally)
    }

    /// One process; what it died of, if it did.
    fn worker(&self, entry: &Entry, task: &worker::Task, tally: &mut Tally) -> io::Result<Option<Finding>> {
        let mut command = Command::new(&self.program);
        command.arg(entry.name).arg("--work").arg(&task.record);
        command.args(["--seed", &task.first.to_string(), "--step", &task.step.to_string()]);
        command.args(["--executions", &task.count.to_string(), "--limit", &task.limit.as_secs_f64().to_string()]);
        if let Some(time) = task.time {
            command.args(["--seconds", &time.as_secs_f64().to_string()]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (out, mut errors) = (child.stdout.take(), child.stderr.take());
        let listener = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.as_mut().map(|errors| errors.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()) {
            // The last line of a process that died may be cut.
            if let Ok(news) = serde_json::from_str(&line?) {
                tally.add(news);
            }
        }
        let status = child.wait()?;
        let text = listener.join().unwrap_or_default();
        if status.success() {
            return Ok(None);
        }
        let told = [(watch::OVER_CAP, Wrong::OverCap), (watch::TOO_LONG, Wrong::TooLong)];
        let wrong = told.into_iter().find(|(words, _)| text.contains(words)).map_or(Wrong::Died, |(_, wrong)| wrong);
        Ok(Some(Finding { wrong, seed: 0, text: format!("{status}: {}", text.trim()) }))
    }

    /// Writes the inputs of findings, and what was said.
    fn keep(&self, entry: &Entry, tally: &Tally) -> io::Result<()> {
        if tally.findings.is_empty() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.findings)?;
        let scratch = worker::scratch_folder()?;
        let target = (entry.make)(scratch.path());
        for finding in &tally.findings {
            let file = self.findings.join(format!("{}-{}", entry.name, finding.seed));
            std::fs::write(&file, input_of(entry.name, finding.seed, target.corpus()))?;
            std::fs::write(file.with_extension("txt"), format!("{:?}: {}\n", finding.wrong, finding.text))?;
        }
        Ok(())
    }
}
