use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use dermafuse_schema::LesionArea;

use crate::images::image::{Resampling, Strictness};
use crate::images::network_input::{Accepted, decode_resized};
use crate::{DataError, Framing, PatientImage, Preprocess};

/// Decoded and resized images in memory, shared by the loaders of all epochs, up to a limit.
///
/// An image of side `S` takes `3 · S²` bytes: 0.15 MB at 224 px, so Derm7pt's 2,022 images take 0.3 GB. Once the limit
/// is reached, an image takes the place of the same image in another size, if there is one; else it is decoded each time.
#[derive(Debug)]
pub struct ImageCache {
    max_bytes: usize,
    images: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    images: HashMap<Part, Vec<(Form, Arc<Accepted>)>>,
}

/// An image file, and what is cut out of it: the area of the lesion and the bits of its margin.
type Part = (PathBuf, Option<(LesionArea, u64)>);

/// What an image was made into.
type Form = (usize, Framing, Resampling, Strictness);

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

    /// The image as `preprocess` makes it; one that is no file is not kept.
    pub(crate) fn get_or_decode(
        &self,
        image: &PatientImage,
        preprocess: &Preprocess,
    ) -> Result<Arc<Accepted>, DataError> {
        let Some(path) = image.file() else { return Ok(Arc::new(decode_resized(image, preprocess)?)) };
        let &Preprocess { size, framing, resampling, decoding, box_margin, .. } = preprocess;
        let cut = image.lesion().zip(box_margin).map(|(lesion, margin)| (lesion.area.clone(), margin.to_bits()));
        let part = (path.to_owned(), cut);
        let form = (size, framing, resampling, decoding);
        if let Some(image) = self.images.lock().unwrap_or_else(PoisonError::into_inner).get(&part, form) {
            return Ok(image);
        }
        // Not under the lock: two threads may decode the same image once, none waits.
        let image = Arc::new(decode_resized(image, preprocess)?);
        let mut held = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        held.keep(part, form, &image, self.max_bytes);
        Ok(image)
    }
}

impl Held {
    fn get(&self, part: &Part, form: Form) -> Option<Arc<Accepted>> {
        let forms = self.images.get(part)?.iter();
        forms.filter(|(other, _)| *other == form).map(|(_, image)| Arc::clone(image)).next()
    }

    fn keep(&mut self, part: Part, form: Form, image: &Arc<Accepted>, limit: usize) {
        let bytes = |image: &Accepted| image.pixels.data().len();
        if self.get(&part, form).is_some() {
            return;
        }
        let others: usize =
            self.images.get(&part).map_or(0, |others| others.iter().map(|(_, other)| bytes(other)).sum());
        let is_full = self.bytes + bytes(image) > limit;
        if is_full && self.bytes - others + bytes(image) <= limit {
            self.images.remove(&part);
            self.bytes -= others;
        }
        if self.bytes + bytes(image) <= limit {
            self.bytes += bytes(image);
            self.images.entry(part).or_default().push((form, Arc::clone(image)));
        }
    }
}
