#[cfg(feature = "flex")]
use std::sync::{Mutex, TryLockError};

/// Does work with many operations in it, such as a step of training, on a thread of the pool that the CPU's kernels share (`rayon`'s),
/// where each of them begins at once. From any other thread an operation first waits for a thread to wake, which for small maps
/// takes as long as the operation.
///
/// Work that comes while other work has the pool, or that is on a thread of a pool already, stays where it is, so that no thread takes up
/// one such work while it waits in another. The numbers are the same either way. On other devices than the CPU it makes no difference.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_kernels::on_pool;
///
/// let sum = on_pool(|| Tensor::<2>::ones([3, 4], &Device::flex()).sum().into_scalar::<f32>());
/// assert_eq!(sum, 12.0);
/// ```
pub fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "flex")]
    {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = match TURN.try_lock() {
            Ok(turn) => Some(turn),
            // Earlier work has panicked; it left nothing behind.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if turn.is_some() && rayon::current_thread_index().is_none() {
            return rayon::scope(|_| work());
        }
    }
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test at a time: another one's work may have the pool.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn work_is_on_the_pool_and_work_inside_of_it_stays() {
        let _alone = ALONE.lock();
        let (outer, inner) = on_pool(|| {
            let index = rayon::current_thread_index;
            (index(), on_pool(index))
        });
        assert!(outer.is_some() && inner == outer);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_next_work_runs() {
        let _alone = ALONE.lock();
        std::panic::catch_unwind(|| on_pool(|| panic!("as work does"))).unwrap_err();
        assert!(on_pool(rayon::current_thread_index).is_some());
    }

    #[test]
    fn work_beside_other_work_is_done_too() {
        let _alone = ALONE.lock();
        let sum = |range: std::ops::Range<u64>| on_pool(|| range.sum::<u64>());
        let sums: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u64).map(|thread| scope.spawn(move || sum(0..thread * 1000))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(sums, (0..8).map(|thread| sum(0..thread * 1000)).collect::<Vec<_>>());
    }
}
