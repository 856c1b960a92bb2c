use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::RgbPixels;

/// The pixels as a PNG file.
///
/// ```
/// use dermafuse_data::{RgbPixels, Strictness, decode_bytes, encode_png};
///
/// let pixels = RgbPixels::new(2, 1, vec![1, 2, 3, 250, 251, 252])?;
/// assert_eq!(decode_bytes("two pixels", &encode_png(&pixels), Strictness::Strict)?, pixels);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[must_use]
pub fn encode_png(pixels: &RgbPixels) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = (pixels.width() as u32, pixels.height() as u32);
    PngEncoder::new(&mut bytes)
        .write_image(pixels.data(), width, height, ExtendedColorType::Rgb8)
        .expect("pixels have the bytes of their size, and memory can be written to");
    bytes
}
