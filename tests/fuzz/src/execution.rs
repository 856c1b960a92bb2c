//! One execution: an input, what the reader says of it, and what went wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::targets::{Target, Verdict};
use crate::{allocator, watch};

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read, and used.
    Accepted,
    /// It was refused with an error.
    Refused,
    /// A promise was broken.
    Broken(String),
    /// A panic.
    Panicked(String),
}

/// An outcome and what it cost.
#[derive(Clone, Debug)]
pub struct Execution {
    /// What became of the input.
    pub outcome: Outcome,
    /// The most bytes on the heap beside those before.
    pub peak: usize,
    /// How long it took.
    pub time: Duration,
}

/// The last panic of the process, on whatever thread.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the message and the place of a panic instead of printing them.
pub fn keep_panics_silent() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("not a text");
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = Some(format!("{place}: {text}"));
        }
    }));
}

/// Executes one input under the cap and the watchdog.
pub fn execute(target: &mut dyn Target, seed: u64, input: &[u8]) -> Execution {
    watch::begin(seed);
    let baseline = allocator::begin();
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| target.run(input)));
    let time = began.elapsed();
    let peak = allocator::end(baseline);
    watch::end();
    let outcome = match result {
        Ok(Ok(Verdict::Accepted)) => Outcome::Accepted,
        Ok(Ok(Verdict::Refused)) => Outcome::Refused,
        Ok(Err(broken)) => Outcome::Broken(broken),
        Err(_) => {
            let last = LAST_PANIC.lock().ok().and_then(|mut last| last.take());
            Outcome::Panicked(last.unwrap_or_else(|| "a panic".into()))
        }
    };
    Execution { outcome, peak, time }
}
