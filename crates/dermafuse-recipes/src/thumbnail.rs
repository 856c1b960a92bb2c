use std::path::Path;

use dermafuse_data::{Resampling, Strictness, decode, encode_jpeg, reduce};
use dermafuse_eval::SampleImage;

/// The longer side of a thumbnail, in pixels.
const SIDE: usize = 144;
/// The quality of its JPEG file.
const QUALITY: u8 = 80;

/// A small copy of an image for a page, in the colours of the file; `None` if it cannot be read, since a page is worth having without it.
pub(crate) fn thumbnail(path: &Path) -> Option<SampleImage> {
    let pixels = decode(path, Strictness::Lenient).ok()?;
    let small = reduce(&pixels, SIDE, Resampling::Pillow).ok()?;
    Some(SampleImage { mime: "image/jpeg".to_owned(), bytes: encode_jpeg(&small, QUALITY).ok()? })
}
