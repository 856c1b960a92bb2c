//! What is being executed, for whoever must end the process: the allocator, and a watchdog for executions without end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What is written where an execution takes too much memory.
pub const OVER_CAP: &str = "over the memory cap";
/// What is written where an execution takes too long.
pub const TOO_LONG: &str = "longer than the limit";

static TARGET: OnceLock<&'static str> = OnceLock::new();
static SEED: AtomicU64 = AtomicU64::new(0);
static RUNNING: AtomicBool = AtomicBool::new(false);
/// When the execution began, in milliseconds since [`epoch`].
static BEGAN: AtomicU64 = AtomicU64::new(0);

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn now() -> u64 {
    epoch().elapsed().as_millis() as u64
}

/// Says which target this process executes, and starts the watchdog.
///
/// # Panics
/// If the system starts no thread.
pub fn start(target: &'static str, limit: Duration) {
    TARGET.get_or_init(|| target);
    epoch();
    let limit = limit.as_millis() as u64;
    let watch = move || {
        loop {
            std::thread::sleep(Duration::from_millis(limit.clamp(20, 1000) / 10));
            if RUNNING.load(Relaxed) && now().saturating_sub(BEGAN.load(Relaxed)) > limit {
                end_process(TOO_LONG);
            }
        }
    };
    std::thread::Builder::new().name("watchdog".into()).spawn(watch).expect("a thread can be started");
}

/// An execution begins.
pub(crate) fn begin(seed: u64) {
    SEED.store(seed, Relaxed);
    BEGAN.store(now(), Relaxed);
    RUNNING.store(true, Relaxed);
}

/// It has ended.
pub(crate) fn end() {
    RUNNING.store(false, Relaxed);
}

/// Ends the process and says why, without the heap.
pub(crate) fn end_process(why: &str) -> ! {
    let mut line = Line { bytes: [0; 200], length: 0 };
    let _ = writeln!(line, "{why}: {} {}", TARGET.get().unwrap_or(&"?"), SEED.load(Relaxed));
    let _ = std::io::stderr().write_all(&line.bytes[..line.length]);
    std::process::abort()
}

/// A line on the stack; what does not fit is cut.
struct Line {
    bytes: [u8; 200],
    length: usize,
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let free = &mut self.bytes[self.length..];
        let taken = text.len().min(free.len());
        free[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}
