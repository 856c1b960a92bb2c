//! From the bytes of a JPEG to its pixels, as they stand in the file.

use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::header::{Header, damaged_jpeg};
use super::{Strictness, buffer, jpeg};
use crate::DataError;

/// The pixels of a JPEG as RGB, as they stand in the file. `untold` are the colours of three components of which the file
/// does not say what they are.
pub(super) fn decode_jpeg_samples(
    path: &Path,
    bytes: &[u8],
    header: Header,
    strictness: Strictness,
    untold: ColorSpace,
) -> Result<Vec<u8>, DataError> {
    let bytes = jpeg::without_stray_bytes(bytes);
    let options = DecoderOptions::default()
        .set_strict_mode(strictness == Strictness::Strict)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes.as_ref()), options);
    decoder.decode_headers().map_err(|error| damaged_jpeg(path, error))?;
    if decoder.dimensions() != Some((header.width, header.height)) {
        return Err(damaged_jpeg(path, "two headers that differ in size"));
    }
    if untold == ColorSpace::RGB && decoder.input_colorspace() == Some(ColorSpace::YCbCr) && !jpeg::says_colours(&bytes)
    {
        // The same in and out: as they are.
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::YCbCr));
    }
    let bytes = decoder.output_buffer_size().ok_or_else(|| damaged_jpeg(path, "no size in the header"))?;
    // What a lenient decoder leaves out must not show the thread's last image.
    let mut data = match strictness {
        Strictness::Strict => buffer::take(bytes),
        Strictness::Lenient => vec![128; bytes],
    };
    decoder.decode_into(&mut data).map_err(|error| damaged_jpeg(path, error))?;
    Ok(data)
}
