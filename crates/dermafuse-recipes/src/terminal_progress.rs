//! Progress as text on standard error.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dermafuse_train::{AverageReport, BatchReport, EpochReport, Observer};

use crate::Progress;

/// Whether the last line of the terminal is one of passing progress, which the next text replaces.
static PASSING: AtomicBool = AtomicBool::new(false);

/// Begins a line of the terminal anew.
const CLEAR: &str = "\r\x1b[2K";

fn print_line(line: &str) {
    TerminalProgress::clear();
    // Whoever does not read any more is not told; the work goes on.
    let _ = writeln!(stderr(), "{line}");
}

/// Without a terminal, lines of passing progress are at least this far apart.
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);

/// Progress as text on standard error: one line that is rewritten on a terminal, plain lines now and then elsewhere. Each line
/// of a long step says how long it has taken, and about how long the rest takes.
#[derive(Debug)]
pub struct TerminalProgress {
    rewrites: bool,
    step_started: Instant,
    last_plain: Instant,
    pace: Pace,
    /// What was noted: each sentence is said once.
    noted: BTreeSet<String>,
}

/// How fast work gets on, which says how long the rest takes.
#[derive(Debug)]
struct Pace {
    /// What is counted; nothing yet in a new step.
    what: Option<&'static str>,
    started: Instant,
    /// How much was done at that time.
    first: f64,
    last: f64,
}

impl Pace {
    fn new() -> Self {
        Self { what: None, started: Instant::now(), first: 0.0, last: 0.0 }
    }

    /// How long the rest takes, when so much of it is done. Something else that is counted, or the same from its beginning, is
    /// timed anew.
    fn rest(&mut self, what: &'static str, done: f64, total: f64) -> Option<Duration> {
        match self.what {
            None => self.what = Some(what),
            Some(before) if before == what && done >= self.last => {}
            Some(_) => *self = Self { what: Some(what), started: Instant::now(), first: done, last: done },
        }
        self.last = done;
        rest(self.started.elapsed(), done - self.first, total - done)
    }

    /// So much was done before; the rest is timed from here.
    fn resume(&mut self, what: &'static str, done: f64) {
        *self = Self { what: Some(what), started: Instant::now(), first: done, last: done };
    }
}

/// The time that what is left takes, if it goes on as what was done; `None` before anything was.
fn rest(elapsed: Duration, done: f64, left: f64) -> Option<Duration> {
    let seconds = elapsed.as_secs_f64() * left.max(0.0) / done;
    (done > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// `0:35`, `12:05`, `1:02:05`.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

impl Default for TerminalProgress {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            rewrites: stderr().is_terminal(),
            step_started: now,
            last_plain: now,
            pace: Pace::new(),
            noted: BTreeSet::new(),
        }
    }
}

impl TerminalProgress {
    /// Removes the passing line, if there is one, so that other text can be printed.
    pub fn clear() {
        if PASSING.swap(false, Ordering::Relaxed) {
            let _ = stderr().write_all(CLEAR.as_bytes());
        }
    }

    /// Shows a line that the next one replaces; without a terminal, now and then.
    pub fn passing(&mut self, line: &str) {
        if self.rewrites {
            let _ = write!(stderr(), "{CLEAR}  {line}");
            PASSING.store(true, Ordering::Relaxed);
        } else if self.last_plain.elapsed() > PLAIN_INTERVAL {
            self.lasting(line);
        }
    }

    /// Shows a line that stays.
    pub fn lasting(&mut self, line: &str) {
        self.last_plain = Instant::now();
        print_line(&format!("  {line}"));
    }

    /// The time since the step began, and about how long the rest takes if it goes on as what was done.
    pub fn times(&mut self, what: &'static str, done: f64, total: f64) -> String {
        let elapsed = clock(self.step_started.elapsed());
        match self.pace.rest(what, done, total).filter(|_| done < total) {
            Some(rest) => format!("{elapsed} elapsed, about {} left", clock(rest)),
            None => format!("{elapsed} elapsed"),
        }
    }

    fn counted(&mut self, done: usize, total: usize, what: &'static str) {
        let times = self.times(what, done as f64, total as f64);
        self.passing(&format!("{done}/{total} {what}  {times}"));
    }
}

/// The word for what a training counts.
const EPOCHS: &str = "epochs";

/// What validation gave, if there was one.
fn validated(loss: Option<f64>, score: Option<f64>) -> Option<String> {
    Some(format!("validation loss {:.4}  score {:.4}", loss?, score?))
}

impl Observer for TerminalProgress {
    fn resumed(&mut self, finished_epochs: usize) {
        self.pace.resume(EPOCHS, finished_epochs as f64);
        self.lasting(&format!("resuming after epoch {finished_epochs}"));
    }

    fn skipped_checkpoint(&mut self, reason: &str) {
        self.lasting(&format!("warning: {reason}; using the checkpoint before"));
    }

    fn batch(&mut self, report: &BatchReport) {
        let BatchReport { epoch, epochs, batch, batches, loss } = *report;
        let done = epoch.saturating_sub(1) as f64 + batch as f64 / batches.max(1) as f64;
        let times = self.times(EPOCHS, done, epochs as f64);
        self.passing(&format!("epoch {epoch}/{epochs}  batch {batch}/{batches}  loss {loss:.4}  {times}"));
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
        let times = self.times(EPOCHS, *epoch as f64, epochs as f64);
        let mark = if best && valid_score.is_some() { "  best so far" } else { "" };
        let validated = validated(*valid_loss, *valid_score).map_or_else(String::new, |text| format!("{text}  "));
        self.lasting(&format!("epoch {epoch:>3}/{epochs}  train loss {train_loss:.4}  {validated}{times}{mark}"));
    }

    fn averaged(&mut self, report: &AverageReport) {
        let AverageReport { epochs, valid_loss, valid_score } = *report;
        let validated = validated(valid_loss, valid_score).map_or_else(String::new, |text| format!(": {text}"));
        self.lasting(&format!("average of the last {epochs} epochs{validated}"));
    }

    fn stopped_early(&mut self, epochs: usize) {
        self.lasting(&format!("stopped after epoch {epochs}: the score does not rise any more"));
    }
}

impl Progress for TerminalProgress {
    fn step(&mut self, title: &str) {
        self.step_started = Instant::now();
        self.pace = Pace::new();
        print_line(title);
    }

    fn noted(&mut self, text: &str) {
        if self.noted.insert(text.to_owned()) {
            self.lasting(&format!("note: {text}"));
        }
    }

    fn looked_at(&mut self, done: usize, total: usize) {
        self.counted(done, total, "images looked at");
    }

    fn predicted(&mut self, done: usize, total: usize) {
        self.counted(done, total, "cases");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_a_clock_writes_them() {
        for (seconds, text) in [(0, "0:00"), (35, "0:35"), (725, "12:05"), (3725, "1:02:05"), (360_000, "100:00:00")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_rest_goes_on_as_what_was_done() {
        let minute = Duration::from_secs(60);
        assert_eq!(rest(minute, 2.0, 6.0), Some(Duration::from_secs(180)));
        assert_eq!(rest(minute, 0.0, 6.0), None);
        assert_eq!(rest(minute, 2.0, -1.0), Some(Duration::ZERO));
    }

    #[test]
    fn what_was_done_before_says_nothing_of_the_pace() {
        let mut pace = Pace::new();
        pace.resume(EPOCHS, 10.0);
        assert_eq!(pace.rest(EPOCHS, 10.0, 20.0), None);
        assert!(pace.rest(EPOCHS, 11.0, 20.0).is_some());
        // Something else, and the same from its beginning.
        assert_eq!(pace.rest("cases", 16.0, 32.0), None);
        assert!(pace.rest("cases", 32.0, 32.0).is_some());
        assert_eq!(pace.rest("cases", 16.0, 32.0), None);
        // The first that is counted in a step is timed from the beginning of the step.
        let mut pace = Pace::new();
        assert!(pace.rest("cases", 16.0, 32.0).is_some());
    }
}
