use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use dermafuse::eval::Evaluation;
use dermafuse::recipes::Progress;
use dermafuse::train::{AverageReport, BatchReport, EpochReport, Observer};

/// Without a terminal, lines within an epoch are at least this far apart.
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);

/// Progress as text: one line that is rewritten on a terminal, plain lines now and then elsewhere.
#[derive(Debug)]
pub struct Terminal {
    rewrites: bool,
    step_started: Instant,
    last_plain: Instant,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { rewrites: stdout().is_terminal(), step_started: Instant::now(), last_plain: Instant::now() }
    }
}

impl Terminal {
    fn passing(&mut self, line: &str) {
        if self.rewrites {
            print!("\r\x1b[2K  {line}");
            let _ = stdout().flush(); // progress that cannot be shown is not worth failing for
        } else if self.last_plain.elapsed() > PLAIN_INTERVAL {
            self.last_plain = Instant::now();
            println!("  {line}");
        }
    }

    fn lasting(&mut self, line: &str) {
        self.last_plain = Instant::now();
        match self.rewrites {
            true => println!("\r\x1b[2K  {line}"),
            false => println!("  {line}"),
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
            print!("\r\x1b[2K");
        }
        println!("{title}");
    }

    fn predicted(&mut self, done: usize, total: usize) {
        self.passing(&format!("{done}/{total} cases"));
    }
}

/// Prints accuracy per task, their mean, mean balanced accuracy and mean AUC, in per cent, one row for each evaluation.
pub fn print_table(rows: &[(String, Evaluation)]) {
    let Some((_, first)) = rows.first() else { return };
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.1}", 100.0 * value));
    print!("{:width$}", "");
    first.tasks.iter().for_each(|task| print!(" {:>5}", task.label));
    println!(" | AVG ACC  BAC   AUC");
    for (name, evaluation) in rows {
        print!("{name:width$}");
        evaluation.tasks.iter().for_each(|task| print!(" {:>5}", percent(task.accuracy)));
        let overall = &evaluation.overall;
        println!(
            " | {:>7} {:>5} {:>5}",
            percent(overall.accuracy),
            percent(overall.balanced_accuracy),
            percent(overall.auc)
        );
    }
}
