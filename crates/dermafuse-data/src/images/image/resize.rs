//! Reducing images as Pillow, torchvision, OpenCV and Keras do.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::bilinear::resize_bilinear;
use super::{MAX_PIXELS, MAX_SIDE, Resampling, RgbPixels};
use crate::DataError;

/// Resizes to `size` x `size` pixels; the aspect ratio is not kept.
///
/// # Errors
/// A `size` of 0 or above 8192.
pub fn resize(pixels: &RgbPixels, size: usize, resampling: Resampling) -> Result<RgbPixels, DataError> {
    resize_to(pixels, [size, size], resampling)
}

/// Resizes the shorter side to `shorter` pixels, keeping the aspect ratio, and cuts the middle `size` x `size` pixels out:
/// torchvision's `Resize` and `CenterCrop`, which most published ImageNet weights are evaluated with.
///
/// # Errors
/// A `size` of 0 or above `shorter`; a side of the resized image above [`MAX_SIDE`](crate::MAX_SIDE), or its
/// area above [`MAX_PIXELS`](crate::MAX_PIXELS).
pub fn resize_and_crop(
    pixels: &RgbPixels,
    shorter: usize,
    size: usize,
    resampling: Resampling,
) -> Result<RgbPixels, DataError> {
    if size == 0 || size > shorter {
        let expected = "between 1 and the resized image's shorter side";
        return Err(DataError::Setting { what: "size of the crop", found: size.to_string(), expected });
    }
    let side = pixels.width.min(pixels.height);
    let resized = resize_to(pixels, [pixels.width * shorter / side, pixels.height * shorter / side], resampling)?;

    let before = |length: usize| half_to_even(length - size);
    let (left, top) = (before(resized.width), before(resized.height));
    let mut data = Vec::with_capacity(size * size * 3);
    for row in resized.data.chunks_exact(resized.width * 3).skip(top).take(size) {
        data.extend_from_slice(&row[left * 3..(left + size) * 3]);
    }
    Ok(RgbPixels { width: size, height: size, data })
}

/// Reduces the longer side to `longest` pixels, keeping the aspect ratio; a smaller image stays as it is.
///
/// # Errors
/// A `longest` of 0.
///
/// ```
/// use dermafuse_data::{Resampling, RgbPixels, reduce};
///
/// let pixels = RgbPixels::new(6, 4, vec![90; 6 * 4 * 3])?;
/// let small = reduce(&pixels, 3, Resampling::Pillow)?;
/// assert_eq!((small.width(), small.height(), &small.data()[..3]), (3, 2, &[90; 3][..]));
/// assert_eq!(reduce(&pixels, 6, Resampling::Pillow)?, pixels);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
pub fn reduce(pixels: &RgbPixels, longest: usize, resampling: Resampling) -> Result<RgbPixels, DataError> {
    let side = pixels.width.max(pixels.height);
    let reduced = |length: usize| if side <= longest { length } else { (length * longest).div_ceil(side) };
    resize_to(pixels, [reduced(pixels.width), reduced(pixels.height)], resampling)
}

/// Half of a number, rounded to the even neighbour as Python rounds.
fn half_to_even(number: usize) -> usize {
    let half = number / 2;
    half + (number % 2) * (half % 2)
}

/// Resizes to a width and a height.
pub(crate) fn resize_to(
    pixels: &RgbPixels,
    [width, height]: [usize; 2],
    resampling: Resampling,
) -> Result<RgbPixels, DataError> {
    let invalid = |found: String| DataError::Setting { what: "image size", found, expected: "between 1 and 16384" };
    if let Some(side) = [width, height].into_iter().find(|side| *side == 0 || *side > MAX_SIDE) {
        return Err(invalid(side.to_string()));
    }
    if width * height > MAX_PIXELS {
        let (found, expected) = (format!("{width} x {height}"), "at most 67108864 pixels in all");
        return Err(DataError::Setting { what: "image size", found, expected });
    }
    if [pixels.width, pixels.height] == [width, height] {
        return Ok(pixels.clone());
    }
    let filter = match resampling {
        Resampling::OpenCv => {
            return Ok(RgbPixels { width, height, data: resize_bilinear(pixels, [width, height]) });
        }
        Resampling::Nearest => {
            return Ok(RgbPixels { width, height, data: resize_nearest(pixels, [width, height]) });
        }
        Resampling::Pillow => FilterType::Bilinear,
        Resampling::PillowBicubic => FilterType::CatmullRom,
    };
    // Typed for one kind of pixel: the untyped door compiles the resizer for all fifteen kinds, which takes minutes.
    let (from_width, from_height) = (pixels.width as u32, pixels.height as u32);
    let source = TypedImageRef::<U8x3>::from_buffer(from_width, from_height, &pixels.data)
        .map_err(|error| invalid(error.to_string()))?;
    let mut data = vec![0; width * height * 3];
    let mut resized = TypedImage::<U8x3>::from_buffer(width as u32, height as u32, &mut data)
        .map_err(|error| invalid(error.to_string()))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    Resizer::new().resize_typed(&source, &mut resized, &options).map_err(|error| invalid(error.to_string()))?;
    Ok(RgbPixels { width, height, data })
}

/// `[H, W, 3]` bytes: each output pixel is the source pixel that its centre lies on.
fn resize_nearest(pixels: &RgbPixels, [width, height]: [usize; 2]) -> Vec<u8> {
    let source = |at: usize, from: usize, to: usize| (2 * at + 1) * from / (2 * to);
    let columns: Vec<usize> = (0..width).map(|column| source(column, pixels.width, width)).collect();
    let (bytes, _) = pixels.data.as_chunks::<3>();
    let rows = (0..height).map(|row| &bytes[source(row, pixels.height, height) * pixels.width..]);
    rows.flat_map(|row| columns.iter().flat_map(|&column| row[column])).collect()
}
