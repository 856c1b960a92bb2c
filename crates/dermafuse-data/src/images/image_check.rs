//! A look at every image before a long work begins.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dermafuse_schema::{CaseImage, open_regular_file};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::images::image::{Header, MAX_BYTES, Strictness, decode, read_header};
use crate::images::lesion_cut::check_area;
use crate::{CaseView, DataError, Modality, RowFault};

/// Behind the end of a picture some cameras write more: a preview, a film. The end is looked for in so many last bytes.
const TAIL: u64 = 64 << 10;

/// What [`check_images`] has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageCheck {
    /// How many images there are; a file of which several lesions are named counts for each.
    pub images: usize,
    /// The damaged ones that are [accepted](Strictness::Lenient), each with the first row that names it.
    pub accepted: Vec<RowFault>,
}

impl ImageCheck {
    /// What is to be told of the damaged images that are accepted.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let first = self.accepted.first()?;
        Some(format!(
            "{} of {} images are damaged and are used as far as they can be decoded, the first: {}",
            self.accepted.len(),
            self.images,
            first.error
        ))
    }
}

/// Looks at the images of cases: that each is a file, of a format that is read, within the limits, and whole; and that the box or mask of its
/// lesion, if it has one, fits it.
///
/// Of most files only the beginning and the end are read, so that tens of thousands take little time; a file whose end does
/// not show that it is whole, each TIFF file, and each mask is decoded. Damage in the middle of an image is found when it is used.
/// `progress` is told, from any thread, how many of how many files are done. `threads` of 0 is one a core.
///
/// # Errors
/// Threads that the system refuses; [`DataError::BadImages`] with **all** images that cannot be
/// read, and all boxes and masks that do not fit.
///
/// ```no_run
/// use dermafuse_data::{Modality, Strictness, check_images, derm7pt};
///
/// let set = derm7pt::load("release_v0")?;
/// let both = [Modality::Clinical, Modality::Dermoscopic];
/// let check = check_images(&set.whole(), &both, Strictness::Strict, 0, |done, of| eprint!("\r{done} of {of}"))?;
/// assert_eq!(check.images, 2022);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
pub fn check_images(
    cases: &CaseView<'_>,
    modalities: &[Modality],
    strictness: Strictness,
    threads: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<ImageCheck, DataError> {
    let images = distinct_images(cases, modalities);
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| DataError::Setting {
        what: "number of threads",
        found: format!("{threads} ({error})"),
        expected: "one that the system grants",
    })?;
    let done = AtomicUsize::new(0);
    let results: Vec<Result<Option<DataError>, DataError>> = pool.install(|| {
        let look = |(_, image): &(usize, &CaseImage)| {
            // What cannot be read has no size to hold a box against.
            let result = check_image(&image.path, strictness);
            let result = result.and_then(|damage| check_area(image).map(|()| damage));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, images.len());
            result
        };
        images.par_iter().with_max_len(16).map(look).collect()
    });

    let (mut faults, mut accepted) = (Vec::new(), Vec::new());
    for ((row, _), result) in images.iter().zip(results) {
        let (list, error) = match result {
            Ok(None) => continue,
            Ok(Some(damage)) => (&mut accepted, damage),
            Err(error) => (&mut faults, error),
        };
        list.push(RowFault { row: *row, error: Arc::new(error) });
    }
    match faults.is_empty() {
        true => Ok(ImageCheck { images: images.len(), accepted }),
        false => Err(DataError::BadImages { images: images.len(), faults }),
    }
}

/// Each image with the first row that names it, in the order of the rows; a file of which several lesions are named is several images.
fn distinct_images<'a>(cases: &CaseView<'a>, modalities: &[Modality]) -> Vec<(usize, &'a CaseImage)> {
    let (mut images, mut seen) = (Vec::new(), HashSet::new());
    for (row, case) in cases.iter() {
        for image in Modality::BOTH.iter().filter(|view| modalities.contains(view)).flat_map(|view| case.images(*view))
        {
            if seen.insert(image) {
                images.push((row, image));
            }
        }
    }
    images
}

/// Looks at one image; gives the damage that is accepted.
fn check_image(path: &Path, strictness: Strictness) -> Result<Option<DataError>, DataError> {
    let mut file = open_regular_file(path, MAX_BYTES)?;
    let header = match read_header(path, &file) {
        Err(DataError::ImageDamaged { .. }) => None, // leniency may accept it
        header => Some(header?),
    };
    if let Some(header) = header {
        let io_error = |source| DataError::Io { path: path.into(), source };
        if ends_whole(&mut file, &header).map_err(io_error)? {
            return Ok(None);
        }
    }
    drop(file);
    match decode(path, Strictness::Strict) {
        Ok(_) => Ok(None),
        Err(damage @ DataError::ImageDamaged { .. }) if strictness == Strictness::Lenient => {
            decode(path, Strictness::Lenient).map(|_| Some(damage))
        }
        Err(error) => Err(error),
    }
}

/// Whether the last bytes of a file show that nothing is cut off.
fn ends_whole(file: &mut File, header: &Header) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let Some(mark) = header.end_mark() else { return header.is_within(file, length) };
    // Not in the headers: a preview in there has an end of its own.
    let start = length.saturating_sub(TAIL).max(header.data());
    file.seek(SeekFrom::Start(start.min(length)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(tail.windows(mark.len()).any(|window| window == mark))
}
