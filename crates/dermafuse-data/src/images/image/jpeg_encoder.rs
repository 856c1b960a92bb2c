use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::RgbPixels;
use crate::DataError;

/// The pixels as a JPEG file of a quality from 1 to 100.
///
/// # Errors
/// A side above 65,535 pixels, which the format cannot say.
pub fn encode_jpeg(pixels: &RgbPixels, quality: u8) -> Result<Vec<u8>, DataError> {
    let (width, height) = (pixels.width(), pixels.height());
    if let Some(side) = [width, height].into_iter().find(|side| *side > usize::from(u16::MAX)) {
        let expected = "at most 65535 pixels";
        return Err(DataError::Setting { what: "side of a JPEG", found: side.to_string(), expected });
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
        .write_image(pixels.data(), width as u32, height as u32, ExtendedColorType::Rgb8)
        .expect("pixels have the bytes of their size, and memory can be written to");
    Ok(bytes)
}
