//! `fuzz`: campaigns over DermaFuse's readers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use dermafuse_fuzz::allocator::Counting;
use dermafuse_fuzz::campaign::Campaign;
use dermafuse_fuzz::execution::{Outcome, execute, keep_panics_silent};
use dermafuse_fuzz::mutate::input_of;
use dermafuse_fuzz::tally::{Tally, Wrong};
use dermafuse_fuzz::targets::{self, Entry};
use dermafuse_fuzz::{watch, worker};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Feeds mutated input to DermaFuse's readers, and says which of it they neither read nor refuse.
///
/// The input of a seed is always the same: `fuzz image --seed 0 --executions 1000` runs the seeds 0 to 999, and
/// `fuzz image --replay 17` one of them again. The exit status is 1 if anything was found.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Targets, or `all`, or `cheap`; without any, they are listed.
    targets: Vec<String>,
    /// Inputs of each target.
    #[arg(long, default_value_t = 10_000)]
    executions: u64,
    /// Stop a target after so many seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Processes at a time.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// How long an execution may take, in seconds.
    #[arg(long, default_value_t = 10.0)]
    limit: f64,
    /// Where inputs go that were found.
    #[arg(long, default_value = "findings")]
    findings: PathBuf,
    /// Execute this seed alone, here, and write its input beside the findings.
    #[arg(long)]
    replay: Option<u64>,
    /// Be a worker with this record: what a campaign starts.
    #[arg(long, hide = true)]
    work: Option<PathBuf>,
    /// From one seed to the next.
    #[arg(long, hide = true, default_value_t = 1)]
    step: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was found.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let entries = targets::named(&arguments.targets)?;
    let (time, limit) =
        (arguments.seconds.map(Duration::try_from_secs_f64), Duration::try_from_secs_f64(arguments.limit)?);
    let time = time.transpose()?;
    if let (Some(record), [entry]) = (&arguments.work, &entries[..]) {
        let (first, step, count) = (arguments.seed, arguments.step, arguments.executions);
        let task = worker::Task { first, step, count, time, limit, record: record.clone() };
        worker::run(entry, &task, &mut std::io::stdout())?;
        return Ok(true);
    }
    if let (Some(seed), [entry]) = (arguments.replay, &entries[..]) {
        return replay(entry, seed, arguments, limit);
    }
    if entries.is_empty() {
        targets::ALL.iter().for_each(|entry| println!("{}{}", entry.name, if entry.cheap { "" } else { " (slow)" }));
        return Ok(true);
    }
    let campaign = Campaign {
        program: std::env::current_exe()?,
        seed: arguments.seed,
        executions: arguments.executions,
        time,
        workers: arguments.threads,
        limit,
        findings: arguments.findings.clone(),
    };
    let mut all = Tally::default();
    println!("{}", heading());
    for entry in entries {
        let began = Instant::now();
        let tally = campaign.run(entry)?;
        println!("{}", row(entry.name, &tally, began.elapsed()));
        for finding in &tally.findings {
            println!("  {:?}, seed {}: {}", finding.wrong, finding.seed, finding.text);
        }
        all.add(tally);
    }
    println!("{} executions, {} findings", all.executions, all.all_found());
    Ok(all.all_found() == 0)
}

fn replay(
    entry: &Entry,
    seed: u64,
    arguments: &Arguments,
    limit: Duration,
) -> Result<bool, Box<dyn std::error::Error>> {
    let scratch = worker::scratch_folder()?;
    let mut target = (entry.make)(scratch.path());
    let input = input_of(entry.name, seed, target.corpus());
    std::fs::create_dir_all(&arguments.findings)?;
    let file = arguments.findings.join(format!("{}-{seed}", entry.name));
    std::fs::write(&file, &input)?;
    println!("{}: {} bytes", file.display(), input.len());
    keep_panics_silent();
    watch::start(entry.name, limit);
    let execution = execute(&mut *target, seed, &input);
    println!("{:?}, {:.1} MiB, {:?}", execution.outcome, mebibytes(execution.peak), execution.time);
    Ok(matches!(execution.outcome, Outcome::Accepted | Outcome::Refused))
}

fn heading() -> String {
    format!(
        "{:<20} {:>10} {:>9} {:>10} {:>8} {:>6} {:>8} {:>6} {:>8} {:>5} {:>9} {:>9}",
        "target",
        "executions",
        "accepted",
        "refused",
        "per s",
        "panics",
        "over cap",
        "broken",
        "too long",
        "died",
        "peak MiB",
        "longest s"
    )
}

fn row(name: &str, tally: &Tally, time: Duration) -> String {
    let found = |wrong| tally.found(wrong);
    format!(
        "{name:<20} {:>10} {:>9} {:>10} {:>8.0} {:>6} {:>8} {:>6} {:>8} {:>5} {:>9.1} {:>9.3}",
        tally.executions,
        tally.accepted,
        tally.refused,
        tally.executions as f64 / time.as_secs_f64().max(1e-9),
        found(Wrong::Panic),
        found(Wrong::OverCap),
        found(Wrong::Broken),
        found(Wrong::TooLong),
        found(Wrong::Died),
        mebibytes(tally.peak),
        tally.longest.as_secs_f64(),
    )
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / (1 << 20) as f64
}
