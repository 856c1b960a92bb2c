//! From a patient's image to the pixels that a network takes: decoded, changed if asked for, measured, of the network's size.

use std::sync::Arc;

use crate::DataError;
use crate::images::image::{Decoded, RgbPixels, decode_bytes_then, decode_file_then, give_back, with_memory};
use crate::images::lesion_cut::{CUT_BYTES, LesionCut};
use crate::images::patient_image::{Held, PatientImage};
use crate::images::preprocess::Preprocess;
use crate::images::quality::ImageMeasures;

/// Pixels of the network's size, and what is wrong with their file if it was [accepted](crate::Strictness::Lenient) all the same.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) pixels: RgbPixels,
    pub(crate) damage: Option<Arc<DataError>>,
    /// What was measured of them before they were resized, if it was asked for.
    pub(crate) measures: Option<Arc<ImageMeasures>>,
}

/// Decodes, cuts to the lesion and resizes as `preprocess` says; the large pixels in between keep their memory for this thread's next image.
pub(crate) fn decode_resized(image: &PatientImage, preprocess: &Preprocess) -> Result<Accepted, DataError> {
    decode_changed(image, preprocess, 0, None, false)
}

/// [`decode_resized`] with a change of the decoded pixels, which takes so many bytes more for each of them, before they are measured, cut and
/// resized: a camera knows nothing of lesions.
pub(crate) fn decode_changed(
    image: &PatientImage,
    preprocess: &Preprocess,
    working_bytes: u64,
    change: Option<&dyn Fn(&RgbPixels) -> RgbPixels>,
    measure: bool,
) -> Result<Accepted, DataError> {
    let decoding = preprocess.decoding;
    let cut = LesionCut::of(image, preprocess)?;
    let cut = cut.as_ref();
    let working_bytes = working_bytes + if cut.is_some() { CUT_BYTES } else { 0 };
    let accept = |decoded: Decoded| changed_and_resized(decoded, preprocess, change, cut, measure);
    match image.held() {
        Held::File(path) => decode_file_then(path, working_bytes, decoding, accept),
        Held::Bytes(bytes) => decode_bytes_then(&image.name(), bytes, working_bytes, decoding, accept),
        Held::Pixels(_) => {
            let pixels = image.pixels()?;
            let area = pixels.width() as u64 * pixels.height() as u64;
            with_memory(working_bytes * area, || {
                let changed = change.map(|change| change(pixels));
                let pixels = changed.as_ref().unwrap_or(pixels);
                let measures = measure.then(|| Arc::new(ImageMeasures::of(pixels)));
                let part = cut.map(|cut| cut.cut(pixels)).transpose()?;
                Ok(Accepted { pixels: preprocess.square(part.as_ref().unwrap_or(pixels))?, damage: None, measures })
            })
        }
    }
}

/// The pixels after a change, measured if that is asked for, and then cut and of the size that the network takes.
fn changed_and_resized(
    decoded: Decoded,
    preprocess: &Preprocess,
    change: Option<&dyn Fn(&RgbPixels) -> RgbPixels>,
    cut: Option<&LesionCut<'_>>,
    measure: bool,
) -> Result<Accepted, DataError> {
    let size = preprocess.size;
    let Decoded { mut pixels, damage } = decoded;
    if let Some(change) = change {
        let changed = change(&pixels);
        give_back(std::mem::replace(&mut pixels, changed).into_data());
    }
    let measures = measure.then(|| Arc::new(ImageMeasures::of(&pixels)));
    if let Some(cut) = cut {
        let part = cut.cut(&pixels)?;
        give_back(std::mem::replace(&mut pixels, part).into_data());
    }
    if (pixels.width(), pixels.height()) == (size, size) {
        return Ok(Accepted { pixels, damage, measures });
    }
    let resized = preprocess.square(&pixels);
    give_back(pixels.into_data());
    Ok(Accepted { pixels: resized?, damage, measures })
}
