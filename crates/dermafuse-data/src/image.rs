//! From an image file to upright RGB pixels of the asked size.

mod buffer;
mod png;

use std::fmt;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use dermafuse_schema::read_regular_file;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits};
use serde::{Deserialize, Serialize};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

pub use self::png::encode_png;

use crate::bilinear::resize_bilinear;
use crate::{DataError, Preprocess};

/// The longest side of an image that is decoded, in pixels.
pub const MAX_SIDE: usize = 10_000;
/// The largest area of an image that is decoded, in pixels.
pub const MAX_PIXELS: usize = 50_000_000;
/// The most bytes that an image file, or its decoded pixels, may take.
pub const MAX_BYTES: u64 = 256 << 20;

/// Upright 8-bit RGB pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbPixels {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl RgbPixels {
    /// Takes rows of interleaved RGB: `[height, width, 3]`.
    ///
    /// # Errors
    /// No pixels, or another number of bytes than `height · width · 3`.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<Self, DataError> {
        let fits = width.checked_mul(height).and_then(|area| area.checked_mul(3)) == Some(data.len());
        if !fits || data.is_empty() {
            let found = format!("{} bytes for {width} x {height}", data.len());
            return Err(DataError::Setting { what: "pixels", found, expected: "3 bytes for each of 1 or more pixels" });
        }
        Ok(Self { width, height, data })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, `[height, width, 3]`.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// How an image is reduced to the network's input size. It is part of a model: mixing the two costs accuracy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Bilinear with antialiasing: Pillow's `BILINEAR`, torchvision's default; equal to Pillow within 1 of 255.
    #[default]
    Pillow,
    /// Bicubic with antialiasing: Pillow's `BICUBIC`; equal to Pillow within 1 of 255.
    PillowBicubic,
    /// Bilinear between the four nearest pixels, no antialiasing: OpenCV's `INTER_LINEAR`; equal to it within 1 of 255.
    OpenCv,
    /// The nearest pixel: Pillow's `NEAREST`, which Keras loads images with; equal to it.
    Nearest,
}

/// Whether damaged images are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strictness {
    /// A damaged or truncated image is an error.
    #[default]
    Strict,
    /// What can be decoded of a damaged JPEG is used; the rest is grey.
    Lenient,
}

impl fmt::Display for Strictness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Strict => "strict",
            Self::Lenient => "lenient",
        })
    }
}

impl FromStr for Strictness {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "strict" => Ok(Self::Strict),
            "lenient" => Ok(Self::Lenient),
            _ => Err(DataError::Setting { what: "decoding", found: name.into(), expected: "`strict` or `lenient`" }),
        }
    }
}

/// Reads a JPEG, PNG or BMP file, whatever its name says, as upright RGB: EXIF orientation is applied, an alpha channel is
/// dropped (not blended), 16 bits are reduced to 8, palettes and greys are expanded.
///
/// # Errors
/// Not a file, empty, of another format, damaged, or larger than [`MAX_SIDE`], [`MAX_PIXELS`] or [`MAX_BYTES`], which
/// is found out before anything large is allocated. Each error names the path.
pub fn decode(path: impl AsRef<Path>, strictness: Strictness) -> Result<RgbPixels, DataError> {
    let path = path.as_ref();
    let bytes = read_regular_file(path, MAX_BYTES)?;
    decode_bytes(path, &bytes, strictness)
}

/// [`decode`] for bytes in memory; `path` is the name for its errors.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_bytes(path: impl AsRef<Path>, bytes: &[u8], strictness: Strictness) -> Result<RgbPixels, DataError> {
    let path = path.as_ref();
    if bytes.is_empty() {
        return Err(DataError::EmptyImage { path: path.into() });
    }
    check_memory(path, bytes.len() as u64)?;
    // A defect of a decoder that panics is, for the caller, a damaged image like any other.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            decode_jpeg(path, bytes, strictness)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            decode_png(path, bytes)
        } else if bytes.starts_with(b"BM") {
            decode_bmp(path, bytes)
        } else {
            Err(DataError::ImageFormat { path: path.into(), start: bytes[..bytes.len().min(8)].to_vec() })
        }
    }));
    decoded.unwrap_or_else(|_| Err(damaged(path, "the decoder gave up")))
}

fn decode_jpeg(path: &Path, bytes: &[u8], strictness: Strictness) -> Result<RgbPixels, DataError> {
    let options = DecoderOptions::default()
        .set_strict_mode(strictness == Strictness::Strict)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| damaged(path, error))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged(path, "no size in the header"))?;
    check_size(path, width, height)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let bytes = decoder.output_buffer_size().ok_or_else(|| damaged(path, "no size in the header"))?;
    // What a lenient decoder leaves out must not show the thread's last image.
    let mut data = match strictness {
        Strictness::Strict => buffer::take(bytes),
        Strictness::Lenient => vec![128; bytes],
    };
    decoder.decode_into(&mut data).map_err(|error| damaged(path, error))?;
    upright(path, width, height, data, orientation)
}

fn decode_png(path: &Path, bytes: &[u8]) -> Result<RgbPixels, DataError> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(|error| damaged(path, error))?;
    let (width, height) = decoder.dimensions();
    check_size(path, width as usize, height as usize)?;
    check_memory(path, decoder.total_bytes())?;
    let orientation = decoder.orientation().ok();
    let image = DynamicImage::from_decoder(decoder).map_err(|error| damaged(path, error))?;
    upright(path, width as usize, height as usize, image.into_rgb8().into_raw(), orientation)
}

fn decode_bmp(path: &Path, bytes: &[u8]) -> Result<RgbPixels, DataError> {
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(|error| damaged(path, error))?;
    let (width, height) = decoder.dimensions();
    check_size(path, width as usize, height as usize)?;
    check_memory(path, decoder.total_bytes())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| damaged(path, error))?;
    upright(path, width as usize, height as usize, image.into_rgb8().into_raw(), None)
}

fn upright(
    path: &Path,
    width: usize,
    height: usize,
    data: Vec<u8>,
    orientation: Option<Orientation>,
) -> Result<RgbPixels, DataError> {
    let pixels = RgbPixels::new(width, height, data).map_err(|error| damaged(path, error))?;
    let Some(orientation) = orientation.filter(|&orientation| orientation != Orientation::NoTransforms) else {
        return Ok(pixels);
    };
    let buffer = image::RgbImage::from_raw(width as u32, height as u32, pixels.data)
        .ok_or_else(|| damaged(path, "pixels do not fit the header"))?;
    let mut image = DynamicImage::ImageRgb8(buffer);
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(RgbPixels { width, height, data: image.into_rgb8().into_raw() })
}

fn check_size(path: &Path, width: usize, height: usize) -> Result<(), DataError> {
    let too_large = width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS;
    if too_large {
        let path = path.into();
        return Err(DataError::ImageTooLarge { path, width, height, max_side: MAX_SIDE, max_pixels: MAX_PIXELS });
    }
    match width * height {
        0 => Err(damaged(path, "no pixels")),
        _ => Ok(()),
    }
}

fn check_memory(path: &Path, bytes: u64) -> Result<(), DataError> {
    match bytes > MAX_BYTES {
        true => Err(DataError::ImageMemory { path: path.into(), bytes, max_bytes: MAX_BYTES }),
        false => Ok(()),
    }
}

fn damaged(path: &Path, reason: impl ToString) -> DataError {
    DataError::ImageDamaged { path: path.into(), reason: reason.to_string() }
}

/// Pixels, and what is wrong with their file if they were [accepted](Strictness::Lenient) all the same.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) pixels: RgbPixels,
    pub(crate) damage: Option<Arc<DataError>>,
}

/// Decodes and resizes as `preprocess` says; the large pixels in between keep their memory for this thread's next image.
pub(crate) fn decode_resized(path: &Path, preprocess: &Preprocess) -> Result<Accepted, DataError> {
    let &Preprocess { size, resampling, decoding, .. } = preprocess;
    let bytes = read_regular_file(path, MAX_BYTES)?;
    // First strictly, so that a sound image has the same pixels under both policies.
    let (pixels, damage) = match (decode_bytes(path, &bytes, Strictness::Strict), decoding) {
        (Err(error @ DataError::ImageDamaged { .. }), Strictness::Lenient) => {
            (decode_bytes(path, &bytes, Strictness::Lenient)?, Some(Arc::new(error)))
        }
        (pixels, _) => (pixels?, None),
    };
    drop(bytes);
    if (pixels.width, pixels.height) == (size, size) {
        return Ok(Accepted { pixels, damage });
    }
    let resized = resize(&pixels, size, resampling);
    buffer::give(pixels.data);
    Ok(Accepted { pixels: resized?, damage })
}

/// Resizes to `size` x `size` pixels; the aspect ratio is not kept.
///
/// # Errors
/// A `size` of 0 or above [`MAX_SIDE`].
pub fn resize(pixels: &RgbPixels, size: usize, resampling: Resampling) -> Result<RgbPixels, DataError> {
    resize_to(pixels, [size, size], resampling)
}

/// Resizes the shorter side to `shorter` pixels, keeping the aspect ratio, and cuts the middle `size` x `size` pixels out:
/// torchvision's `Resize` and `CenterCrop`, which most published ImageNet weights are evaluated with.
///
/// # Errors
/// A `size` of 0 or above `shorter`; a side of the resized image above [`MAX_SIDE`].
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

/// Half of a number, rounded to the even neighbour as Python rounds.
fn half_to_even(number: usize) -> usize {
    let half = number / 2;
    half + (number % 2) * (half % 2)
}

fn resize_to(pixels: &RgbPixels, [width, height]: [usize; 2], resampling: Resampling) -> Result<RgbPixels, DataError> {
    let invalid = |found: String| DataError::Setting { what: "image size", found, expected: "between 1 and 10000" };
    if let Some(side) = [width, height].into_iter().find(|side| *side == 0 || *side > MAX_SIDE) {
        return Err(invalid(side.to_string()));
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
