//! From the bytes of an image file to upright pixels.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use dermafuse_schema::{open_regular_file, read_regular_file};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};
use zune_jpeg::zune_core::colorspace::ColorSpace;

use super::budget::{BUDGET, Reservation};
#[cfg(feature = "dicom")]
use super::dicom;
use super::format::{Format, SNIFFED, sniff};
use super::header::{self, Header, PNG_BYTES_A_BYTE, caught, check_length, check_memory, damaged, from_decoder};
use super::jpeg_samples::decode_jpeg_samples;
use super::orientation::{Metadata, from_exif, from_xmp};
use super::{MAX_BYTES, RgbPixels, Strictness, jpeg};
use crate::DataError;

/// Files up to this size are read before their memory is asked for; of larger ones only the header is.
const SMALL_FILE: u64 = 4 << 20;

/// Reads a JPEG, PNG, BMP, WebP or TIFF file (of several pages, the first), whatever its name says, as upright RGB: EXIF
/// or XMP orientation is applied, an alpha channel is dropped (not blended), 16 bits are reduced to 8, palettes and greys
/// are expanded. With the feature `dicom` a DICOM object of one picture is read too: 8 bits, grey or RGB, not compressed or as
/// a baseline JPEG.
///
/// All threads together decode within [`DECODING_BUDGET`](crate::DECODING_BUDGET); one whose image would exceed it waits.
///
/// # Errors
/// Not a regular file, empty, of another format, damaged, or larger than [`MAX_SIDE`](crate::MAX_SIDE),
/// [`MAX_PIXELS`](crate::MAX_PIXELS), [`MAX_PROGRESSIVE_PIXELS`](crate::MAX_PROGRESSIVE_PIXELS) or [`MAX_BYTES`], which is
/// found out before anything large is allocated. Each error names the path.
pub fn decode(path: impl AsRef<Path>, strictness: Strictness) -> Result<RgbPixels, DataError> {
    let path = path.as_ref();
    let image = ImageFile::read(path, 0)?;
    Ok(decode_accepted(path, &image.bytes, image.header, strictness)?.pixels)
}

/// [`decode`] for bytes in memory; `path` is the name for its errors.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_bytes(path: impl AsRef<Path>, bytes: &[u8], strictness: Strictness) -> Result<RgbPixels, DataError> {
    let path = path.as_ref();
    let header = header_of(path, bytes)?;
    let _reservation = BUDGET.reserve(header.memory);
    Ok(decode_accepted(path, bytes, header, strictness)?.pixels)
}

/// Pixels, and what is wrong with their file if they were [accepted](Strictness::Lenient) all the same.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) pixels: RgbPixels,
    pub(crate) damage: Option<Arc<DataError>>,
}

/// What `then` makes of a file's pixels. So long the budget keeps what they take, and so many bytes more for each of them.
pub(crate) fn decode_file_then<T>(
    path: &Path,
    working_bytes: u64,
    decoding: Strictness,
    then: impl FnOnce(Decoded) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let ImageFile { bytes, header, _reservation } = ImageFile::read(path, working_bytes)?;
    let decoded = decode_accepted(path, &bytes, header, decoding)?;
    drop(bytes);
    then(decoded)
}

/// [`decode_file_then`] for bytes in memory; `name` is for the errors.
pub(crate) fn decode_bytes_then<T>(
    name: &Path,
    bytes: &[u8],
    working_bytes: u64,
    decoding: Strictness,
    then: impl FnOnce(Decoded) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let header = header_of(name, bytes)?;
    let _reservation = BUDGET.reserve(memory(&header, working_bytes));
    then(decode_accepted(name, bytes, header, decoding)?)
}

/// Bytes that decoding takes, and so many more for each pixel.
fn memory(header: &Header, working_bytes: u64) -> u64 {
    header.memory + working_bytes * (header.width as u64 * header.height as u64)
}

/// The header of an image file; no more of it is read than that takes.
pub(crate) fn read_header(path: &Path, file: &File) -> Result<Header, DataError> {
    let length = file.metadata().map_err(|source| DataError::Io { path: path.into(), source })?.len();
    caught(path, || read_header_of(path, &mut BufReader::new(file), length))
}

fn header_of(path: &Path, bytes: &[u8]) -> Result<Header, DataError> {
    caught(path, || read_header_of(path, &mut Cursor::new(bytes), bytes.len() as u64))
}

/// Reads the header of a file of `length` bytes; `path` is the name for the errors.
///
/// # Errors
/// An empty file, a format that is not read, limits that are exceeded, a header that is damaged.
fn read_header_of(path: &Path, file: &mut (impl BufRead + Seek), length: u64) -> Result<Header, DataError> {
    let io_error = |source| DataError::Io { path: path.into(), source };
    if length == 0 {
        return Err(DataError::EmptyImage { path: path.into() });
    }
    check_memory(path, length)?;
    let mut start = Vec::with_capacity(SNIFFED);
    file.by_ref().take(SNIFFED as u64).read_to_end(&mut start).map_err(io_error)?;
    file.seek(SeekFrom::Start(0)).map_err(io_error)?;
    match sniff(&start) {
        Ok(Format::Jpeg) => Header::of_jpeg(path, file, length),
        Ok(Format::Png) => {
            let png = Header::of(path, Format::Png, &header::png(path, file)?)?;
            let held = length.saturating_mul(PNG_BYTES_A_BYTE);
            // A bit a pixel at least.
            check_length(path, png, (png.width.div_ceil(8) * png.height) as u64, held, length)
        }
        Ok(Format::Bmp) => Header::of(path, Format::Bmp, &header::bmp(path, file)?),
        Ok(Format::WebP) => Header::of(path, Format::WebP, &header::webp(path, file)?),
        Ok(Format::Tiff) => Header::of(path, Format::Tiff, &header::tiff(path, file)?),
        #[cfg(feature = "dicom")]
        Ok(Format::Dicom) => dicom::header(path, file, length),
        Err(Some(foreign)) => {
            let (found, remedy) = (foreign.found.into(), foreign.remedy);
            Err(DataError::ImageKind { path: path.into(), found, remedy })
        }
        Err(None) => {
            start.truncate(8);
            Err(DataError::ImageFormat { path: path.into(), start })
        }
    }
}

/// A file in memory, with the part of the budget that it and its pixels take.
struct ImageFile {
    bytes: Vec<u8>,
    header: Header,
    _reservation: Reservation<'static>,
}

impl ImageFile {
    /// Reads a file; `working_bytes` are taken for each pixel beside what decoding takes.
    fn read(path: &Path, working_bytes: u64) -> Result<Self, DataError> {
        let file = open_regular_file(path, MAX_BYTES)?;
        let length = file.metadata().map_err(|source| DataError::Io { path: path.into(), source })?.len();
        if length <= SMALL_FILE {
            drop(file);
            let bytes = read_regular_file(path, MAX_BYTES)?;
            let header = header_of(path, &bytes)?;
            return Ok(Self {
                _reservation: BUDGET.reserve(memory(&header, working_bytes) + bytes.len() as u64),
                bytes,
                header,
            });
        }
        let header = read_header(path, &file)?;
        let reservation = BUDGET.reserve(memory(&header, working_bytes) + length);
        let bytes = read_regular_file(path, length)?;
        match header_of(path, &bytes)? == header {
            true => Ok(Self { bytes, header, _reservation: reservation }),
            false => Err(damaged(path, "it changed while it was read")),
        }
    }
}

/// The pixels of a file whose memory is reserved: first strictly, so that a sound image has the same pixels under both policies.
fn decode_accepted(path: &Path, bytes: &[u8], header: Header, decoding: Strictness) -> Result<Decoded, DataError> {
    match (decode_file(path, bytes, header, Strictness::Strict), decoding) {
        (Err(error @ DataError::ImageDamaged { .. }), Strictness::Lenient) if header.format.holds_jpeg() => {
            let pixels = decode_file(path, bytes, header, Strictness::Lenient)?;
            Ok(Decoded { pixels, damage: Some(Arc::new(error)) })
        }
        (pixels, _) => Ok(Decoded { pixels: pixels?, damage: None }),
    }
}

/// The pixels of a file whose memory is reserved.
fn decode_file(path: &Path, bytes: &[u8], header: Header, strictness: Strictness) -> Result<RgbPixels, DataError> {
    caught(path, || match header.format {
        Format::Jpeg => decode_jpeg(path, bytes, header, strictness),
        Format::Png => {
            decode_with(path, header::png(path, Cursor::new(bytes))?, orientation_of(path, bytes, header.format)?)
        }
        Format::Bmp => decode_with(path, header::bmp(path, Cursor::new(bytes))?, None),
        Format::WebP => {
            decode_with(path, header::webp(path, Cursor::new(bytes))?, orientation_of(path, bytes, header.format)?)
        }
        Format::Tiff => {
            decode_with(path, header::tiff(path, Cursor::new(bytes))?, orientation_of(path, bytes, header.format)?)
        }
        #[cfg(feature = "dicom")]
        Format::Dicom => dicom::pixels(path, bytes, strictness),
    })
}

/// How a file says that its pixels are to be turned.
fn orientation_of(path: &Path, bytes: &[u8], format: Format) -> Result<Option<Orientation>, DataError> {
    Ok(match format {
        Format::Jpeg => jpeg::metadata(bytes).orientation(),
        Format::Png => {
            let mut decoder = header::png(path, Cursor::new(bytes))?;
            // A compressed packet is known to the decoder alone.
            let packet = decoder.xmp_metadata().ok().flatten();
            let orientation = Metadata::of_png(bytes).orientation();
            orientation.or_else(|| packet.as_deref().and_then(from_xmp))
        }
        Format::Bmp => None,
        Format::WebP => Metadata::of_webp(bytes).orientation(),
        Format::Tiff => {
            let mut decoder = header::tiff(path, Cursor::new(bytes))?;
            let turned = decoder.orientation().ok().filter(|orientation| *orientation != Orientation::NoTransforms);
            let packet = decoder.xmp_metadata().ok().flatten();
            from_exif(bytes).or(turned).or_else(|| packet.as_deref().and_then(from_xmp))
        }
        // The picture stands as rows and columns say.
        #[cfg(feature = "dicom")]
        Format::Dicom => None,
    })
}

/// `[width, height]` of the pixels of a file, turned upright; none of them is decoded.
///
/// # Errors
/// As [`decode`], but for damage of the pixels.
pub(crate) fn upright_size(path: &Path) -> Result<[usize; 2], DataError> {
    let bytes = read_regular_file(path, MAX_BYTES)?;
    let header = header_of(path, &bytes)?;
    let turned = caught(path, || orientation_of(path, &bytes, header.format))?;
    Ok(match turned {
        Some(
            Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH,
        ) => [header.height, header.width],
        _ => [header.width, header.height],
    })
}

fn decode_jpeg(path: &Path, bytes: &[u8], header: Header, strictness: Strictness) -> Result<RgbPixels, DataError> {
    let orientation = orientation_of(path, bytes, Format::Jpeg)?;
    let data = decode_jpeg_samples(path, bytes, header, strictness, ColorSpace::YCbCr)?;
    upright(path, header.width, header.height, data, orientation)
}

fn decode_with(
    path: &Path,
    decoder: impl ImageDecoder,
    orientation: Option<Orientation>,
) -> Result<RgbPixels, DataError> {
    let (width, height) = decoder.dimensions();
    let image = DynamicImage::from_decoder(decoder).map_err(|error| from_decoder(path, error))?;
    upright(path, width as usize, height as usize, image.into_rgb8().into_raw(), orientation)
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
