use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;

use crate::ApiError;
use crate::admission::Admitted;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads on which everything runs that computes. The async threads only wait. They end after the value, with
/// what they have begun.
#[derive(Debug)]
pub(crate) struct Workers {
    jobs: Sender<Job>,
}

impl Workers {
    /// # Errors
    /// Threads that the operating system does not give.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (jobs, taken) = channel();
        let taken = Arc::new(Mutex::new(taken));
        for at in 0..count {
            let taken = Arc::clone(&taken);
            Builder::new().name(format!("predict-{at}")).spawn(move || work(&taken))?;
        }
        Ok(Self { jobs })
    }

    /// Runs something for a case that was let in. It is not begun if nobody waits for it any more.
    ///
    /// # Errors
    /// That of the work; an internal error where it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        admitted: Admitted,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            // Held until the work is done, whoever has gone.
            let admitted = admitted;
            if !answer.is_closed() {
                let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(ApiError::internal()));
                drop(admitted);
                let _ = answer.send(result);
            }
        };
        self.jobs.send(Box::new(job)).map_err(|_| ApiError::internal())?;
        answered.await.unwrap_or_else(|_| Err(ApiError::internal()))
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn work_runs_on_its_threads_and_a_panic_ends_none() {
        let (workers, admission) = (Workers::start(1).unwrap(), Admission::new(1));
        let name = || Ok(std::thread::current().name().map(str::to_owned));
        assert_eq!(workers.run(admission.admit().unwrap(), name).await.unwrap().unwrap(), "predict-0");
        let panics = || -> Result<(), ApiError> { panic!("a wrong picture") };
        let error = workers.run(admission.admit().unwrap(), panics).await.unwrap_err();
        assert_eq!(error.status(), 500);
        assert!(!error.to_string().contains("picture"), "what happened inside is not told");
        assert_eq!(workers.run(admission.admit().unwrap(), name).await.unwrap().unwrap(), "predict-0");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let (workers, admission) = (Workers::start(1).unwrap(), Admission::new(2));
        let (free, wait) = channel::<()>();
        let first = workers.run(admission.admit().unwrap(), move || wait.recv().map_err(|_| ApiError::internal()));
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let second = workers.run(admission.admit().unwrap(), move || Ok(counted.fetch_add(1, Ordering::SeqCst)));
        assert_eq!(admission.admit().unwrap_err().status(), 503);
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        // Each is asked once, so that both are with the threads.
        assert!(
            timeout(Duration::ZERO, &mut first).await.is_err() && timeout(Duration::ZERO, &mut second).await.is_err()
        );
        drop(second);
        free.send(()).unwrap();
        first.await.unwrap();
        let third = workers.run(admission.admit().unwrap(), || Ok(()));
        third.await.unwrap(); // behind the second
        assert_eq!(begun.load(Ordering::SeqCst), 0);
        assert!(admission.admit().is_ok());
    }
}
