//! How much memory all images take that are being decoded at one time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The bytes that the files, coefficients and pixels of all images may take that this process decodes at one time; a
/// thread whose image would exceed it waits for the others. An image that takes more by itself is decoded alone.
pub const DECODING_BUDGET: u64 = 512 << 20;

/// What [`DECODING_BUDGET`] is counted in.
pub(super) static BUDGET: Budget = Budget::new(DECODING_BUDGET);

/// What `work` gives, after so many bytes of the budget are free for it.
pub(crate) fn with_memory<T>(bytes: u64, work: impl FnOnce() -> T) -> T {
    let _reservation = BUDGET.reserve(bytes);
    work()
}

/// A number of bytes that threads share, in the order in which they ask for them.
///
/// Whoever holds a part must not ask for another, nor wait for a thread that may: then nobody waits for ever.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    held: u64,
    /// The number that the next who asks draws.
    next: u64,
    /// The number whose turn it is: a large image is not overtaken by small ones for ever.
    turn: u64,
}

impl Budget {
    pub(super) const fn new(bytes: u64) -> Self {
        Self { bytes, state: Mutex::new(State { held: 0, next: 0, turn: 0 }), changed: Condvar::new() }
    }

    /// Waits until `bytes` bytes are free, or, if that is more than there are, until all are.
    pub(super) fn reserve(&self, bytes: u64) -> Reservation<'_> {
        let bytes = bytes.min(self.bytes);
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        while state.turn != number || self.bytes - state.held < bytes {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.held += bytes;
        drop(state);
        // The next in turn may fit too.
        self.changed.notify_all();
        Reservation { budget: self, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.lock().held -= self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn many_threads_never_hold_more_than_there_is_and_all_come_through() {
        let budget = Budget::new(100);
        let (held, peak, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..24_u64 {
                let (budget, held, peak, done) = (&budget, &held, &peak, &done);
                scope.spawn(move || {
                    for round in 0..40 {
                        // From nothing to more than there is.
                        let bytes = (thread * 37 + round * 11) % 130;
                        let _part = budget.reserve(bytes);
                        let now = held.fetch_add(bytes.min(100), Ordering::SeqCst) + bytes.min(100);
                        peak.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        held.fetch_sub(bytes.min(100), Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 24 * 40);
        let peak = peak.into_inner();
        assert!((50..=100).contains(&peak), "a peak of {peak} of 100");
        assert_eq!(budget.lock().held, 0);
    }

    #[test]
    fn a_thread_that_panics_gives_its_part_back() {
        let budget = Budget::new(10);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _part = budget.reserve(10);
            panic!("a decoder gave up");
        }));
        assert!(panicked.is_err());
        drop(budget.reserve(10));
    }

    #[test]
    fn a_large_request_is_not_overtaken() {
        let budget = Budget::new(10);
        let order = Mutex::new(Vec::new());
        let waiting = |count: u64| {
            while budget.lock().next < count {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let first = budget.reserve(6);
            scope.spawn(|| {
                let _part = budget.reserve(10);
                order.lock().unwrap().push("large");
            });
            waiting(2);
            scope.spawn(|| {
                let _part = budget.reserve(1);
                order.lock().unwrap().push("small");
            });
            waiting(3);
            assert!(order.lock().unwrap().is_empty(), "1 of the 4 free bytes must wait for its turn");
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), ["large", "small"]);
    }
}
