//! An image under its heat, reduced to what a screen shows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dermafuse_data::{Resampling, RgbPixels, encode_jpeg, encode_png, reduce};
use dermafuse_eval::figure::heat_overlay;
use ndarray::{ArrayView2, ArrayView3};

use crate::ApiError;

/// The longest side of a picture, in pixels.
const SIDE: usize = 448;
/// How much of the photo the greatest heat hides.
const OPACITY: f64 = 0.6;
/// Quality of the photo as a JPEG.
const QUALITY: u8 = 85;

/// The photo as a JPEG and the photo under its heat as a PNG, both as `data:` URLs.
///
/// # Errors
/// Heat outside 0 to 1.
pub(crate) fn pictures(pixels: &RgbPixels, heat: ArrayView2<'_, f32>) -> Result<[String; 2], ApiError> {
    let pixels = reduce(pixels, SIDE, Resampling::Pillow).map_err(|_| ApiError::internal())?;
    let shape = (pixels.height(), pixels.width(), 3);
    let view = ArrayView3::from_shape(shape, pixels.data()).map_err(|_| ApiError::internal())?;
    let overlay = heat_overlay(view, heat, OPACITY).map_err(|_| ApiError::internal())?;
    let overlay = RgbPixels::new(pixels.width(), pixels.height(), overlay.into_iter().collect());
    let overlay = overlay.map_err(|_| ApiError::internal())?;
    let photo = encode_jpeg(&pixels, QUALITY).map_err(|_| ApiError::internal())?;
    let url = |kind: &str, bytes: &[u8]| format!("data:image/{kind};base64,{}", STANDARD.encode(bytes));
    Ok([url("jpeg", &photo), url("png", &encode_png(&overlay))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_data::{Strictness, decode_bytes};
    use ndarray::Array2;

    #[test]
    fn a_large_photo_is_reduced_in_its_shape() {
        let data: Vec<u8> = (0..900 * 600).flat_map(|at| [(at % 900 / 4) as u8, (at / 900 / 3) as u8, 90]).collect();
        let pixels = RgbPixels::new(900, 600, data).unwrap();
        let pictures = pictures(&pixels, Array2::zeros((7, 7)).view()).unwrap();
        for (url, start) in pictures.iter().zip(["data:image/jpeg;base64,", "data:image/png;base64,"]) {
            let bytes = STANDARD.decode(url.strip_prefix(start).unwrap()).unwrap();
            let decoded = decode_bytes("a picture", &bytes, Strictness::Strict).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (448, 299));
            // Left to right and top to bottom, as it was.
            let of = |x: usize, y: usize| &decoded.data()[3 * (y * 448 + x)..][..2];
            assert!(of(440, 5)[0] > 200 && of(440, 5)[1] < 20 && of(5, 290)[0] < 20 && of(5, 290)[1] > 180);
        }
    }
}
