//! From an image file to upright RGB pixels of the asked size.

mod bilinear;
mod budget;
mod buffer;
mod decode;
#[cfg(feature = "dicom")]
mod dicom;
mod format;
mod header;
mod jpeg;
mod jpeg_encoder;
mod jpeg_samples;
mod orientation;
mod png;
mod resize;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::budget::DECODING_BUDGET;
pub(crate) use self::budget::with_memory;
pub(crate) use self::buffer::give as give_back;
pub(crate) use self::decode::{Decoded, decode_bytes_then, decode_file_then, read_header, upright_size};
pub use self::decode::{decode, decode_bytes};
#[cfg(feature = "dicom")]
pub use self::dicom::{DicomMetadata, read_dicom_metadata};
pub(crate) use self::format::has_image_extension;
pub(crate) use self::header::Header;
pub use self::jpeg_encoder::encode_jpeg;
pub use self::png::encode_png;
pub(crate) use self::resize::resize_to;
pub use self::resize::{reduce, resize, resize_and_crop};

use crate::DataError;

/// The longest side of an image that is decoded, in pixels.
pub const MAX_SIDE: usize = 16_384;
/// The largest area of an image that is decoded, in pixels: 64 · 1024 · 1024.
pub const MAX_PIXELS: usize = 64 << 20;
/// The largest area of a progressive JPEG that is decoded, in pixels: 40 · 1024 · 1024. Its coefficients are held too, which
/// take twice as much as its pixels.
pub const MAX_PROGRESSIVE_PIXELS: usize = 40 << 20;
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

    /// Rows that are known to be as many as they should.
    pub(crate) fn of_rows(width: usize, height: usize, data: Vec<u8>) -> Self {
        debug_assert_eq!(data.len(), 3 * width * height);
        Self { width, height, data }
    }

    /// The bytes alone.
    pub(crate) fn into_data(self) -> Vec<u8> {
        self.data
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
