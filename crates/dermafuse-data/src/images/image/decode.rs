//! From the bytes of an image file to upright pixels.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use dermafuse_schema::{open_regular_file, read_regular_file};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::budget::{BUDGET, Reservation};
use super::format::Format;
use super::header::{self, Header, damaged, damaged_jpeg, from_decoder};
use super::orientation::{Metadata, from_exif, from_xmp};
use super::{MAX_BYTES, RgbPixels, Strictness, buffer, jpeg};
use crate::images::patient_image::{Held, PatientImage};
use crate::{DataError, ImageMeasures, Preprocess};

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
pub(crate) struct Accepted {
    pub(crate) pixels: RgbPixels,
    pub(crate) damage: Option<Arc<DataError>>,
    /// What was measured of them before they were resized, if it was asked for.
    pub(crate) measures: Option<Arc<ImageMeasures>>,
}

/// Decodes and resizes as `preprocess` says; the large pixels in between keep their memory for this thread's next image.
pub(crate) fn decode_resized(image: &PatientImage, preprocess: &Preprocess) -> Result<Accepted, DataError> {
    decode_changed(image, preprocess, 0, None, false)
}

/// [`decode_resized`] with a change of the decoded pixels before they are measured and resized, which takes so many bytes more for
/// each of them.
pub(crate) fn decode_changed(
    image: &PatientImage,
    preprocess: &Preprocess,
    working_bytes: u64,
    change: Option<&dyn Fn(&RgbPixels) -> RgbPixels>,
    measure: bool,
) -> Result<Accepted, DataError> {
    let decoding = preprocess.decoding;
    match image.held() {
        Held::File(path) => {
            let ImageFile { bytes, header, _reservation } = ImageFile::read(path, working_bytes)?;
            let decoded = decode_accepted(path, &bytes, header, decoding)?;
            drop(bytes);
            decoded.changed_and_resized(preprocess, change, measure)
        }
        Held::Bytes(bytes) => {
            let name = &image.name();
            let header = header_of(name, bytes)?;
            let _reservation = BUDGET.reserve(memory(&header, working_bytes));
            decode_accepted(name, bytes, header, decoding)?.changed_and_resized(preprocess, change, measure)
        }
        Held::Pixels(_) => {
            let pixels = image.pixels()?;
            let area = pixels.width as u64 * pixels.height as u64;
            let _reservation = BUDGET.reserve(working_bytes * area);
            let changed = change.map(|change| change(pixels));
            let pixels = changed.as_ref().unwrap_or(pixels);
            let measures = measure.then(|| Arc::new(ImageMeasures::of(pixels)));
            Ok(Accepted { pixels: preprocess.square(pixels)?, damage: None, measures })
        }
    }
}

impl Accepted {
    /// The same pixels after a change, measured if that is asked for, and then of the size that the network takes.
    fn changed_and_resized(
        self,
        preprocess: &Preprocess,
        change: Option<&dyn Fn(&RgbPixels) -> RgbPixels>,
        measure: bool,
    ) -> Result<Self, DataError> {
        let size = preprocess.size;
        let Self { mut pixels, damage, .. } = self;
        if let Some(change) = change {
            let changed = change(&pixels);
            buffer::give(std::mem::replace(&mut pixels, changed).data);
        }
        let measures = measure.then(|| Arc::new(ImageMeasures::of(&pixels)));
        if (pixels.width, pixels.height) == (size, size) {
            return Ok(Self { pixels, damage, measures });
        }
        let resized = preprocess.square(&pixels);
        buffer::give(pixels.data);
        Ok(Self { pixels: resized?, damage, measures })
    }
}

/// Bytes that decoding takes, and so many more for each pixel.
fn memory(header: &Header, working_bytes: u64) -> u64 {
    header.memory + working_bytes * (header.width as u64 * header.height as u64)
}

/// The header of an image file; no more of it is read than that takes.
pub(crate) fn read_header(path: &Path, file: &File) -> Result<Header, DataError> {
    let length = file.metadata().map_err(|source| DataError::Io { path: path.into(), source })?.len();
    caught(path, || Header::read(path, &mut BufReader::new(file), length))
}

fn header_of(path: &Path, bytes: &[u8]) -> Result<Header, DataError> {
    caught(path, || Header::read(path, &mut Cursor::new(bytes), bytes.len() as u64))
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
fn decode_accepted(path: &Path, bytes: &[u8], header: Header, decoding: Strictness) -> Result<Accepted, DataError> {
    match (decode_file(path, bytes, header, Strictness::Strict), decoding) {
        (Err(error @ DataError::ImageDamaged { .. }), Strictness::Lenient) if header.format.holds_jpeg() => {
            let pixels = decode_file(path, bytes, header, Strictness::Lenient)?;
            Ok(Accepted { pixels, damage: Some(Arc::new(error)), measures: None })
        }
        (pixels, _) => Ok(Accepted { pixels: pixels?, damage: None, measures: None }),
    }
}

/// What `work` gives; a defect of a decoder that panics is, for the caller, a damaged image like any other.
pub(super) fn caught<T>(path: &Path, work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged(path, "the decoder gave up")))
}

/// The pixels of a file whose memory is reserved.
fn decode_file(path: &Path, bytes: &[u8], header: Header, strictness: Strictness) -> Result<RgbPixels, DataError> {
    caught(path, || match header.format {
        Format::Jpeg => decode_jpeg(path, bytes, header, strictness),
        Format::Png => {
            let mut decoder = header::png(path, Cursor::new(bytes))?;
            // A compressed packet is known to the decoder alone.
            let packet = decoder.xmp_metadata().ok().flatten();
            let orientation = Metadata::of_png(bytes).orientation();
            decode_with(path, decoder, orientation.or_else(|| packet.as_deref().and_then(from_xmp)))
        }
        Format::Bmp => decode_with(path, header::bmp(path, Cursor::new(bytes))?, None),
        Format::WebP => {
            decode_with(path, header::webp(path, Cursor::new(bytes))?, Metadata::of_webp(bytes).orientation())
        }
        Format::Tiff => {
            let mut decoder = header::tiff(path, Cursor::new(bytes))?;
            let turned = decoder.orientation().ok().filter(|orientation| *orientation != Orientation::NoTransforms);
            let packet = decoder.xmp_metadata().ok().flatten();
            let orientation = from_exif(bytes).or(turned).or_else(|| packet.as_deref().and_then(from_xmp));
            decode_with(path, decoder, orientation)
        }
        #[cfg(feature = "dicom")]
        Format::Dicom => super::dicom::pixels(path, bytes, strictness),
    })
}

fn decode_jpeg(path: &Path, bytes: &[u8], header: Header, strictness: Strictness) -> Result<RgbPixels, DataError> {
    let orientation = jpeg::metadata(bytes).orientation();
    let data = decode_jpeg_samples(path, bytes, header, strictness, ColorSpace::YCbCr)?;
    upright(path, header.width, header.height, data, orientation)
}

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
