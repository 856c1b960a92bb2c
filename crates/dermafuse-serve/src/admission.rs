use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ApiError;

/// The door: as many cases are taken in as threads can answer and the queue may hold. A case is in until its thread is done with
/// it, even if its client has gone.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
}

/// A place, held while it lives.
pub(crate) type Admitted = OwnedSemaphorePermit;

impl Admission {
    pub(crate) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// None is free: nothing waits here, and the client is told when to come again.
    pub(crate) fn admit(&self) -> Result<Admitted, ApiError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| ApiError::busy())
    }
}
