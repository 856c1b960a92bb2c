use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::images::image::{Resampling, Strictness};
use crate::images::network_input::{Accepted, decode_resized};
use crate::{DataError, Framing, Preprocess};

/// Decoded and resized images in memory, shared by the loaders of all epochs, up to a limit.
///
/// An image of side `S` takes `3 · S²` bytes: 0.15 MB at 224 px, so Derm7pt's 2,022 images take 0.3 GB. Once the limit
/// is reached, further images are decoded each time.
#[derive(Debug)]
pub struct ImageCache {
    max_bytes: usize,
    images: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    images: HashMap<Key, Arc<Accepted>>,
}

type Key = (PathBuf, usize, Framing, Resampling, Strictness);

impl ImageCache {
    /// An empty cache for at most `max_bytes` bytes of pixels.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, images: Mutex::default() }
    }

    /// Bytes of pixels held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    pub(crate) fn get_or_decode(&self, path: &Path, preprocess: &Preprocess) -> Result<Arc<Accepted>, DataError> {
        let &Preprocess { size, framing, resampling, decoding, .. } = preprocess;
        let key = (path.to_path_buf(), size, framing, resampling, decoding);
        if let Some(image) = self.images.lock().unwrap_or_else(PoisonError::into_inner).images.get(&key) {
            return Ok(Arc::clone(image));
        }
        // Not under the lock: two threads may decode the same image once, none waits.
        let image = Arc::new(decode_resized(&path.into(), preprocess)?);
        let mut held = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = image.pixels.data().len();
        if held.bytes + bytes <= self.max_bytes && held.images.insert(key, Arc::clone(&image)).is_none() {
            held.bytes += bytes;
        }
        Ok(image)
    }
}
