//! What an image file says of itself before its pixels: looked at before anything large is read or allocated.

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageError, Limits};

use super::format::Format;
use super::jpeg;
use super::{MAX_BYTES, MAX_PIXELS, MAX_PROGRESSIVE_PIXELS, MAX_SIDE};
use crate::DataError;

/// More pixels than these for each byte cannot stand in a file: a JPEG has a bit for each block of 8 x 8 pixels at least,
/// and the compression of PNG reaches 1032 to 1.
const JPEG_PIXELS_A_BYTE: u64 = 8 * 64;
pub(super) const PNG_BYTES_A_BYTE: u64 = 1032;

/// An image that is within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) format: Format,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Bytes that decoding takes, besides the file's.
    pub(super) memory: u64,
    /// Where the pixels' data start, as far as that is known.
    pub(super) data: u64,
}

impl Header {
    /// Reads the headers of a JPEG of `length` bytes.
    pub(super) fn of_jpeg(path: &Path, file: &mut (impl BufRead + Seek), length: u64) -> Result<Self, DataError> {
        let header = jpeg::read_header(file).map_err(|error| damaged_jpeg(path, error))?;
        let jpeg = header.ok_or_else(|| damaged_jpeg(path, "the headers end before the picture"))?;
        if !jpeg.known {
            let found = "a JPEG that is lossless, hierarchical, arithmetic or not of 8 bits".into();
            let remedy = "save it as a baseline JPEG, or convert it to PNG";
            return Err(DataError::ImageKind { path: path.into(), found, remedy });
        }
        check_size(path, jpeg.width, jpeg.height)?;
        let area = (jpeg.width * jpeg.height) as u64;
        if jpeg.in_scans && area > MAX_PROGRESSIVE_PIXELS as u64 {
            return Err(DataError::ImageProgressive {
                path: path.into(),
                width: jpeg.width,
                height: jpeg.height,
                max_pixels: MAX_PROGRESSIVE_PIXELS,
            });
        }
        // Pixels with coefficients, then pixels twice while they are turned upright.
        let memory = 3 * area + jpeg.coefficients.max(3 * area);
        let (format, width, height, data) = (Format::Jpeg, jpeg.width, jpeg.height, jpeg.data);
        let header = Self { format, width, height, memory, data };
        check_length(path, header, area, length.saturating_mul(JPEG_PIXELS_A_BYTE), length)
    }

    /// What a decoder that stands at its pixels says.
    pub(super) fn of(path: &Path, format: Format, decoder: &impl ImageDecoder) -> Result<Self, DataError> {
        let (width, height) = decoder.dimensions();
        let (width, height) = (width as usize, height as usize);
        check_size(path, width, height)?;
        let decoded = decoder.total_bytes();
        check_memory(path, decoded)?;
        let rgb = 3 * (width * height) as u64;
        let before = match format {
            Format::Tiff => decoded,
            // A lossy frame has three planes, a lossless one four; pixels without alpha are a copy of it.
            Format::WebP if decoder.color_type() == ColorType::Rgb8 => rgb / 3 * 4,
            Format::WebP => rgb / 2,
            _ => 0,
        };
        // Decoded; then as RGB; then turned upright.
        let memory = (before + decoded).max(decoded + rgb).max(2 * rgb);
        Ok(Self { format, width, height, memory, data: 0 })
    }
}

impl Header {
    /// Where the data of the pixels start, as far as that is known.
    pub(crate) fn data(&self) -> u64 {
        self.data
    }

    /// Whether the file is a JPEG.
    pub(crate) fn is_jpeg(&self) -> bool {
        self.format == Format::Jpeg
    }

    /// The bytes that a whole file of this format has near its end.
    pub(crate) fn end_mark(&self) -> Option<&'static [u8]> {
        match self.format {
            Format::Jpeg => Some(&[0xff, 0xd9]),
            Format::Png => Some(b"IEND\xae\x42\x60\x82"),
            Format::Bmp | Format::WebP | Format::Tiff => None,
            #[cfg(feature = "dicom")]
            Format::Dicom => None,
        }
    }

    /// Whether a file without an end mark is as long as its first bytes say; `false` where they say nothing of it.
    pub(crate) fn is_within(&self, file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
        let mut start = [0; 34];
        file.seek(SeekFrom::Start(0))?;
        let mut read = 0;
        while read < start.len() {
            match file.read(&mut start[read..])? {
                0 => return Ok(false),
                count => read += count,
            }
        }
        let number = |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        Ok(match self.format {
            Format::WebP => u64::from(number(4)) + 8 <= length,
            Format::Bmp => {
                let bits = u64::from(u16::from_le_bytes([start[28], start[29]]));
                let row = (self.width as u64 * bits).div_ceil(32) * 4;
                // Not compressed.
                matches!(number(30), 0 | 3) && u64::from(number(10)) + row * self.height as u64 <= length
            }
            // Its elements were stepped through.
            #[cfg(feature = "dicom")]
            Format::Dicom => true,
            _ => false,
        })
    }
}

/// The decoder of a PNG file, at its pixels.
pub(super) fn png<R: BufRead + Seek>(path: &Path, file: R) -> Result<PngDecoder<R>, DataError> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    PngDecoder::with_limits(file, limits).map_err(|error| from_decoder(path, error))
}

/// The decoder of a BMP file, at its pixels.
pub(super) fn bmp<R: BufRead + Seek>(path: &Path, file: R) -> Result<BmpDecoder<R>, DataError> {
    BmpDecoder::new(file).map_err(|error| from_decoder(path, error))
}

/// The decoder of the first page of a TIFF file.
pub(super) fn tiff<R: BufRead + Seek>(path: &Path, file: R) -> Result<TiffDecoder<R>, DataError> {
    TiffDecoder::new(file).map_err(|error| from_decoder(path, error))
}

/// The decoder of a WebP file with one picture.
pub(super) fn webp<R: BufRead + Seek>(path: &Path, file: R) -> Result<WebPDecoder<R>, DataError> {
    let mut decoder = WebPDecoder::new(file).map_err(|error| from_decoder(path, error))?;
    if decoder.has_animation() {
        let remedy = "save one of its pictures, e.g. with `webpmux -get frame 1 a.webp -o b.webp`";
        return Err(DataError::ImageKind { path: path.into(), found: "an animated WebP image".into(), remedy });
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    decoder.set_limits(limits).map_err(|error| from_decoder(path, error))?;
    Ok(decoder)
}

pub(super) fn check_size(path: &Path, width: usize, height: usize) -> Result<(), DataError> {
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

pub(super) fn check_memory(path: &Path, bytes: u64) -> Result<(), DataError> {
    match bytes > MAX_BYTES {
        true => Err(DataError::ImageMemory { path: path.into(), bytes, max_bytes: MAX_BYTES }),
        false => Ok(()),
    }
}

/// Refuses a file too short for its pixels, so that memory follows the file and not a forged header.
pub(super) fn check_length(
    path: &Path,
    header: Header,
    needed: u64,
    held: u64,
    length: u64,
) -> Result<Header, DataError> {
    let Header { width, height, .. } = header;
    match needed > held {
        true => Err(damaged(path, format!("{length} bytes cannot hold the {width} x {height} pixels of the header"))),
        false => Ok(header),
    }
}

/// What a decoder of the `image` crate says, as a damaged image or one that it does not read.
pub(super) fn from_decoder(path: &Path, error: ImageError) -> DataError {
    match error {
        ImageError::Unsupported(kind) => DataError::ImageKind {
            path: path.into(),
            found: format!("an image of a kind that is not read ({kind})"),
            remedy: "convert it to PNG with 8 bits a channel",
        },
        error => damaged(path, error),
    }
}

/// Damage that no policy accepts.
pub(super) fn damaged(path: &Path, reason: impl ToString) -> DataError {
    DataError::ImageDamaged { path: path.into(), reason: reason.to_string(), remedy: "copy it again" }
}

/// Damage of which leniency may accept some.
pub(super) fn damaged_jpeg(path: &Path, reason: impl ToString) -> DataError {
    let remedy = "copy it again, or set `decoding` to `lenient` to accept what is left";
    DataError::ImageDamaged { path: path.into(), reason: reason.to_string(), remedy }
}

/// What `work` gives; a defect of a decoder that panics is, for the caller, a damaged image like any other.
pub(super) fn caught<T>(path: &Path, work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged(path, "the decoder gave up")))
}
