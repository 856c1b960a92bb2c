use std::collections::BTreeSet;
use std::fmt;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dermafuse::recipes::Progress;
use dermafuse::train::{AverageReport, BatchReport, EpochReport, Observer};

/// Prints a line as `println!` does, but goes on where nobody reads any more: see [`print_text`].
#[macro_export]
macro_rules! say {
    () => { $crate::print_text(format_args!("\n")) };
    ($($words:tt)*) => { $crate::print_text(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints without an end of line, as `print!` does; see [`say`].
#[macro_export]
macro_rules! say_part {
    ($($words:tt)*) => { $crate::print_text(format_args!($($words)*)) };
}

/// Prints to standard output. If that is closed or full, it says so once on standard error and then stays silent: what a
/// program computes and writes to files is worth more than what it says.
pub fn print_text(text: fmt::Arguments<'_>) {
    static SILENT: AtomicBool = AtomicBool::new(false);
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    let mut out = stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && !SILENT.swap(true, Ordering::Relaxed)
    {
        print_error(format_args!("warning: cannot print any more ({error}); the run goes on and writes its files\n"));
    }
}

/// Prints to standard error, if anybody reads it.
pub fn print_error(text: fmt::Arguments<'_>) {
    let _ = stderr().write_fmt(text);
}

/// Without a terminal, lines within an epoch are at least this far apart.
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);

/// Progress as text: one line that is rewritten on a terminal, plain lines now and then elsewhere.
#[derive(Debug)]
pub struct Terminal {
    rewrites: bool,
    step_started: Instant,
    last_plain: Instant,
    /// What was noted: each sentence is said once.
    noted: BTreeSet<String>,
}

impl Default for Terminal {
    fn default() -> Self {
        let now = Instant::now();
        Self { rewrites: stdout().is_terminal(), step_started: now, last_plain: now, noted: BTreeSet::new() }
    }
}

impl Terminal {
    fn passing(&mut self, line: &str) {
        if self.rewrites {
            say_part!("\r\x1b[2K  {line}");
        } else if self.last_plain.elapsed() > PLAIN_INTERVAL {
            self.last_plain = Instant::now();
            say!("  {line}");
        }
    }

    fn lasting(&mut self, line: &str) {
        self.last_plain = Instant::now();
        match self.rewrites {
            true => say!("\r\x1b[2K  {line}"),
            false => say!("  {line}"),
        }
    }

    /// How far a download is.
    #[cfg(feature = "download")]
    pub fn download(&mut self, progress: &dermafuse::backbones::DownloadProgress) {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let received = megabytes(progress.received);
        let line = progress.total.map_or(received.clone(), |total| format!("{received} of {}", megabytes(total)));
        match progress.total == Some(progress.received) {
            true => self.lasting(&line),
            false => self.passing(&line),
        }
    }
}

impl Observer for Terminal {
    fn resumed(&mut self, finished_epochs: usize) {
        self.lasting(&format!("resuming after epoch {finished_epochs}"));
    }

    fn skipped_checkpoint(&mut self, reason: &str) {
        self.lasting(&format!("warning: {reason}; using the checkpoint before"));
    }

    fn batch(&mut self, report: &BatchReport) {
        let BatchReport { epoch, epochs, batch, batches, loss } = report;
        self.passing(&format!("epoch {epoch}/{epochs}  batch {batch}/{batches}  loss {loss:.4}"));
    }

    fn warned(&mut self, text: &str) {
        self.lasting(&format!("warning: {text}"));
    }

    fn auxiliary(&mut self, epoch: usize, losses: &[(&'static str, f64)]) {
        let losses: Vec<String> = losses.iter().map(|(name, loss)| format!("{name} {loss:.4}")).collect();
        self.lasting(&format!("epoch {epoch:>3}  {}", losses.join("  ")));
    }

    fn epoch(&mut self, report: &EpochReport, epochs: usize, best: bool) {
        let EpochReport { epoch, train_loss, valid_loss, valid_score, .. } = report;
        let elapsed = self.step_started.elapsed().as_secs();
        let mark = if best { "  best so far" } else { "" };
        self.lasting(&format!(
            "epoch {epoch:>3}/{epochs}  train loss {train_loss:.4}  validation loss {valid_loss:.4}  score {valid_score:.4}  \
             {elapsed:>4} s{mark}"
        ));
    }

    fn averaged(&mut self, report: &AverageReport) {
        let AverageReport { epochs, valid_loss, valid_score } = report;
        self.lasting(&format!(
            "average of the last {epochs} epochs: validation loss {valid_loss:.4}  score {valid_score:.4}"
        ));
    }

    fn stopped_early(&mut self, epochs: usize) {
        self.lasting(&format!("stopped after epoch {epochs}: the score does not rise any more"));
    }
}

impl Progress for Terminal {
    fn step(&mut self, title: &str) {
        self.step_started = Instant::now();
        if self.rewrites {
            say_part!("\r\x1b[2K");
        }
        say!("{title}");
    }

    fn noted(&mut self, text: &str) {
        if self.noted.insert(text.to_owned()) {
            self.lasting(&format!("note: {text}"));
        }
    }

    fn looked_at(&mut self, done: usize, total: usize) {
        self.passing(&format!("{done}/{total} images looked at"));
    }

    fn predicted(&mut self, done: usize, total: usize) {
        self.passing(&format!("{done}/{total} cases"));
    }
}
