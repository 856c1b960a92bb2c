//! The one library of an engine that a process can have, and what the crates behind engines do with one that lies.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use crate::EngineError;
use crate::engine_library::EngineLibrary;

/// The place of an engine's library in the process: there is one, since its functions have one place.
#[derive(Debug)]
pub(crate) struct ProcessLibrary<T> {
    loaded: OnceLock<Loaded<T>>,
    /// Held by who loads it: the file whose functions took the place although they are of no use, and why they are not.
    unusable: Mutex<Option<(PathBuf, String)>>,
}

/// A library that works.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    pub(crate) path: PathBuf,
    pub(crate) value: T,
}

/// Why a library does not work.
#[derive(Debug)]
pub(crate) enum StartError {
    /// Nothing of it stays in the process: another one can be loaded.
    Refused(String),
    /// Its functions have taken the place.
    Stays(String),
}

impl<T> ProcessLibrary<T> {
    pub(crate) const fn new() -> Self {
        Self { loaded: OnceLock::new(), unusable: Mutex::new(None) }
    }

    /// The library, which `start` loads from its file if that was not done.
    ///
    /// # Errors
    /// A program or a processor in which it does not run; no library; one that cannot be used; another one than is in the process already.
    pub(crate) fn get(
        &self,
        library: &EngineLibrary,
        given: Option<&Path>,
        start: impl FnOnce(&Path) -> Result<T, StartError>,
    ) -> Result<&Loaded<T>, EngineError> {
        library.check_machine()?;
        let mut unusable = self.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        let other = |loaded: &Path, asked: &Path, unusable: Option<&str>| EngineError::OtherLibrary {
            engine: library.engine,
            loaded: loaded.into(),
            asked: asked.into(),
            unusable: unusable.map(Into::into),
        };
        if let Some(loaded) = self.loaded.get() {
            // Only a place that was named must be that of the library.
            return match given {
                Some(asked) => match library.locate(Some(asked))? {
                    path if path == loaded.path => Ok(loaded),
                    asked => Err(other(&loaded.path, &asked, None)),
                },
                None => Ok(loaded),
            };
        }
        let path = library.find(given)?;
        if let Some((taken, reason)) = &*unusable {
            return Err(match path == *taken {
                true => library.refused(&path, reason.clone()),
                false => other(taken, &path, Some(reason)),
            });
        }
        match start(&path) {
            Ok(value) => Ok(self.loaded.get_or_init(|| Loaded { path, value })),
            Err(StartError::Refused(reason)) => Err(library.refused(&path, reason)),
            Err(StartError::Stays(reason)) => {
                *unusable = Some((path.clone(), reason.clone()));
                Err(library.refused(&path, reason))
            }
        }
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What a crate gives; nothing where it panics, which it does at libraries that are not what they say. Such a panic prints nothing: what
/// it means is said by the error that is made of it. Those of other threads are printed as ever.
pub(crate) fn without_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                usual(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(false);
    result.ok()
}
