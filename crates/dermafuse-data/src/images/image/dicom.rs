//! Dermoscopic pictures as DICOM objects: one of 8 bits, grey or RGB, as it is or as a baseline JPEG.

mod outline;
mod tags;

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use dermafuse_schema::open_regular_file;
use dicom_object::file::ReadPreamble;
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, OpenFileOptions, Tag};
use zune_jpeg::zune_core::colorspace::ColorSpace;

use self::outline::{Outline, Pixels, fragments};
use super::format::{Format, is_dicom};
use super::header::{Header, caught, check_length, check_size, damaged};
use super::jpeg_samples::decode_jpeg_samples;
use super::{MAX_BYTES, RgbPixels, Strictness};
use crate::DataError;

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
/// Identifiers of other transfer syntaxes, by their start, and what they are called.
const COMPRESSIONS: [(&str, &str); 9] = [
    ("1.2.840.10008.1.2.4.51", "JPEG Extended"),
    ("1.2.840.10008.1.2.4.57", "lossless JPEG"),
    ("1.2.840.10008.1.2.4.70", "lossless JPEG"),
    ("1.2.840.10008.1.2.4.8", "JPEG-LS"),
    ("1.2.840.10008.1.2.4.9", "JPEG 2000"),
    ("1.2.840.10008.1.2.4.20", "HTJ2K"),
    ("1.2.840.10008.1.2.4.11", "JPEG XL"),
    ("1.2.840.10008.1.2.4.10", "MPEG video"),
    ("1.2.840.10008.1.2.5", "RLE"),
];

const REMEDY: &str = "convert it to PNG, e.g. with `dcmj2pnm --write-png photo.dcm photo.png`";
const DECOMPRESS: &str = "decompress it, e.g. with `gdcmconv --raw photo.dcm plain.dcm`, or convert it to PNG";

/// The headers of a JPEG are looked for in so many first bytes.
const JPEG_HEADERS: u64 = 1 << 20;

/// What a DICOM object says of the patient. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DicomMetadata {
    /// The age in years (`PatientAge`): `045Y` is 45, `018M` is 1.5.
    pub age: Option<f64>,
    /// The sex as it is written (`PatientSex`): `M`, `F` or `O`.
    pub sex: Option<String>,
    /// Where the lesion is: the meaning of the first code in `AnatomicRegionSequence`, or else `BodyPartExamined`. A text that
    /// changes its character set by escapes (ISO 2022) is passed over.
    pub body_site: Option<String>,
}

/// Reads age, sex and site from a DICOM object, with a picture of any kind or none.
///
/// # Errors
/// Not a regular file, larger than [`MAX_BYTES`], not a DICOM object, damaged, its elements deflated or in big-endian form.
///
/// ```no_run
/// let metadata = dermafuse_data::read_dicom_metadata("ISIC_0015719.dcm")?;
/// if let (Some(age), Some(site)) = (metadata.age, metadata.body_site) {
///     println!("{site}, at {age:.0}");
/// }
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
pub fn read_dicom_metadata(path: impl AsRef<Path>) -> Result<DicomMetadata, DataError> {
    let path = path.as_ref();
    let file = open_regular_file(path, MAX_BYTES)?;
    let length = file.metadata().map_err(|source| DataError::Io { path: path.into(), source })?.len();
    caught(path, || metadata(path, &mut BufReader::new(file), length))
}

fn metadata(path: &Path, file: &mut (impl BufRead + Seek), length: u64) -> Result<DicomMetadata, DataError> {
    let mut start = Vec::new();
    file.by_ref().take(132).read_to_end(&mut start).map_err(|source| DataError::Io { path: path.into(), source })?;
    if !is_dicom(&start) {
        let reason = "it is not a DICOM object (`DICM` does not stand at byte 128)".into();
        return Err(DataError::ImageDamaged {
            path: path.into(),
            reason,
            remedy: "copy it again, or name another file",
        });
    }
    let values = Values::read(path, &Outline::read(path, file, length)?)?;
    Ok(DicomMetadata {
        age: values.text(tags::PATIENT_AGE).and_then(|age| years(&age)),
        sex: values.text(tags::PATIENT_SEX),
        body_site: values.text(tags::CODE_MEANING).or_else(|| values.text(tags::BODY_PART_EXAMINED)),
    })
}

/// `045Y`, `018M`, `006W` or `010D` in years.
fn years(age: &str) -> Option<f64> {
    let (number, unit) = age.split_at_checked(age.len().checked_sub(1)?)?;
    let number: u16 = number.trim().parse().ok()?;
    let in_a_year = match unit {
        "Y" => 1.0,
        "M" => 12.0,
        "W" => 52.18,
        "D" => 365.25,
        _ => return None,
    };
    Some(f64::from(number) / in_a_year)
}

/// The values of an object that are looked at.
struct Values(DefaultDicomObject);

impl Values {
    fn read(path: &Path, outline: &Outline) -> Result<Self, DataError> {
        // The outline has them in one form, which the reader wants to be told as a file does.
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(EXPLICIT)
            .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.77.1.4")
            .media_storage_sop_instance_uid("1.2.3");
        let mut bytes = b"DICM".to_vec();
        meta.build().and_then(|meta| meta.write(&mut bytes)).map_err(|error| damaged(path, error))?;
        bytes.extend(&outline.values);
        let options = OpenFileOptions::new().read_preamble(ReadPreamble::Never);
        options.from_reader(bytes.as_slice()).map(Self).map_err(|error| damaged(path, error))
    }

    fn text(&self, tag: Tag) -> Option<String> {
        let text = self.0.element(tag).ok()?.to_str().ok()?.trim_matches(['\0', ' ']).to_owned();
        // Escapes change the character set within a text, which the reader leaves as they are.
        if text.is_empty() || text.contains('\u{1b}') { None } else { Some(text) }
    }

    fn number(&self, tag: Tag) -> Option<usize> {
        self.0.element(tag).ok()?.to_int::<u16>().ok().map(usize::from)
    }
}

/// How a picture that is read is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// One byte a pixel.
    Grey { at: u64, length: u64 },
    /// Three bytes a pixel, or one plane after the other.
    Rgb { at: u64, length: u64, planes: bool },
    /// A JPEG in pieces; `untold` are its colours if it does not say them itself.
    Jpeg { at: u64, untold: ColorSpace },
}

/// A picture of a kind that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Picture {
    width: usize,
    height: usize,
    stored: Stored,
    /// Whether 0 is white.
    inverted: bool,
}

impl Picture {
    fn of(path: &Path, outline: &Outline) -> Result<Self, DataError> {
        let kind = |found: String, remedy| Err(DataError::ImageKind { path: path.into(), found, remedy });
        let Some(pixels) = outline.pixels else {
            return kind("a DICOM object without a picture".into(), "take the object that has the picture");
        };
        let values = Values::read(path, outline)?;
        let syntax = outline.syntax.as_str();
        if ![IMPLICIT, EXPLICIT, JPEG_BASELINE].contains(&syntax) {
            let name = COMPRESSIONS.iter().find(|(start, _)| syntax.starts_with(start));
            return match name {
                Some((_, name)) => kind(format!("a DICOM object compressed as {name}"), DECOMPRESS),
                None => kind(format!("a DICOM object in the transfer syntax `{}`", syntax.escape_debug()), DECOMPRESS),
            };
        }
        let frames = values.text(tags::NUMBER_OF_FRAMES).filter(|frames| frames.parse() != Ok(1));
        if let Some(frames) = frames {
            let remedy = "save one of its pictures, e.g. with `dcmj2pnm --write-png --frame 1 photo.dcm photo.png`";
            return kind(format!("a DICOM object of {} pictures", frames.escape_debug()), remedy);
        }
        let [Some(width), Some(height)] = [tags::COLUMNS, tags::ROWS].map(|tag| values.number(tag)) else {
            return Err(damaged(path, "the DICOM object does not say the size of its picture"));
        };
        let bits = [tags::BITS_ALLOCATED, tags::BITS_STORED].map(|tag| values.number(tag).unwrap_or(8));
        if let Some(bits) = bits.into_iter().find(|bits| *bits != 8) {
            return kind(format!("a DICOM object of {bits} bits a sample"), REMEDY);
        }
        if values.number(tags::PIXEL_REPRESENTATION) == Some(1) {
            return kind("a DICOM object of samples with a sign".into(), REMEDY);
        }

        let colour = values.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
        let samples = values.number(tags::SAMPLES_PER_PIXEL).unwrap_or(0);
        let planes = values.number(tags::PLANAR_CONFIGURATION) == Some(1);
        let stored = match (colour.as_str(), samples, pixels) {
            (_, _, Pixels::Fragments { .. }) if syntax != JPEG_BASELINE => None,
            (_, _, Pixels::Plain { .. }) if syntax == JPEG_BASELINE => None,
            ("MONOCHROME1" | "MONOCHROME2", 1, Pixels::Plain { at, length }) => Some(Stored::Grey { at, length }),
            ("RGB", 3, Pixels::Plain { at, length }) => Some(Stored::Rgb { at, length, planes }),
            ("RGB", 3, Pixels::Fragments { at }) => Some(Stored::Jpeg { at, untold: ColorSpace::RGB }),
            ("MONOCHROME1" | "MONOCHROME2", 1, Pixels::Fragments { at })
            | ("YBR_FULL" | "YBR_FULL_422", 3, Pixels::Fragments { at }) => {
                Some(Stored::Jpeg { at, untold: ColorSpace::YCbCr })
            }
            _ => return kind(format!("a DICOM object of {samples} samples as `{}`", colour.escape_debug()), REMEDY),
        };
        let stored = stored.ok_or_else(|| damaged(path, "the pixels are not stored as the transfer syntax says"))?;
        Ok(Self { width, height, stored, inverted: colour == "MONOCHROME1" })
    }
}

/// What a DICOM file says of its picture, which lies within the file.
pub(super) fn header(path: &Path, file: &mut (impl BufRead + Seek), length: u64) -> Result<Header, DataError> {
    let picture = Picture::of(path, &Outline::read(path, file, length)?)?;
    let Picture { width, height, .. } = picture;
    check_size(path, width, height)?;
    let area = (width * height) as u64;
    let header = |memory| Header { format: Format::Dicom, width, height, memory, data: 0 };
    match picture.stored {
        Stored::Grey { at, length: claimed } | Stored::Rgb { at, length: claimed, .. } => {
            let samples = if matches!(picture.stored, Stored::Grey { .. }) { 1 } else { 3 };
            let held = claimed.min(length.saturating_sub(at));
            check_length(path, header(3 * area), samples * area, held, held)
        }
        Stored::Jpeg { at, .. } => {
            let pieces = fragments(path, file, length, at)?;
            let jpeg = of_pieces(path, file, &pieces)?;
            if (jpeg.width, jpeg.height) != (width, height) {
                let sizes = format!("{} x {} in place of {width} x {height}", jpeg.width, jpeg.height);
                return Err(damaged(path, format!("the JPEG in the DICOM object has {sizes} pixels")));
            }
            Ok(header(jpeg.memory + total(&pieces)))
        }
    }
}

/// How many bytes these pieces have.
fn total(pieces: &[Range<u64>]) -> u64 {
    pieces.iter().map(|piece| piece.end - piece.start).sum()
}

/// The header of the JPEG in these pieces of a file.
fn of_pieces(path: &Path, file: &mut (impl BufRead + Seek), pieces: &[Range<u64>]) -> Result<Header, DataError> {
    let io_error = |source| DataError::Io { path: path.into(), source };
    let mut start = Vec::new();
    for piece in pieces {
        let wanted = (piece.end - piece.start).min(JPEG_HEADERS - start.len() as u64);
        file.seek(SeekFrom::Start(piece.start)).map_err(io_error)?;
        file.by_ref().take(wanted).read_to_end(&mut start).map_err(io_error)?;
    }
    if !start.starts_with(&[0xff, 0xd8]) {
        return Err(damaged(path, "the compressed pixels are not a JPEG"));
    }
    Header::of_jpeg(path, &mut Cursor::new(start), total(pieces))
}

/// The picture of a file whose [`header`] is known. A rotation in the JPEG's own metadata is not applied: the object's
/// rows and columns say how the picture stands.
pub(super) fn pixels(path: &Path, bytes: &[u8], strictness: Strictness) -> Result<RgbPixels, DataError> {
    let length = bytes.len() as u64;
    let file = &mut Cursor::new(bytes);
    let picture = Picture::of(path, &Outline::read(path, file, length)?)?;
    let (width, height) = (picture.width, picture.height);
    let range = |range: Range<u64>| bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
    let plain = |at: u64, samples: usize| {
        let samples = range(at..at + (width * height * samples) as u64);
        if samples.is_empty() { Err(damaged(path, "unexpected end of the pixels")) } else { Ok(samples) }
    };
    let mut data = match picture.stored {
        Stored::Grey { at, .. } => plain(at, 1)?.iter().flat_map(|&grey| [grey; 3]).collect(),
        Stored::Rgb { at, planes: false, .. } => plain(at, 3)?.to_vec(),
        Stored::Rgb { at, planes: true, .. } => {
            let (red, rest) = plain(at, 3)?.split_at(width * height);
            let (green, blue) = rest.split_at(width * height);
            red.iter().zip(green).zip(blue).flat_map(|((&red, &green), &blue)| [red, green, blue]).collect()
        }
        Stored::Jpeg { at, untold } => {
            let pieces = fragments(path, file, length, at)?;
            let jpeg = of_pieces(path, file, &pieces)?;
            let whole = match pieces.as_slice() {
                [piece] => Cow::Borrowed(range(piece.clone())),
                pieces => Cow::Owned(pieces.iter().map(|piece| range(piece.clone())).collect::<Vec<_>>().concat()),
            };
            decode_jpeg_samples(path, &whole, jpeg, strictness, untold)?
        }
    };
    if picture.inverted {
        data.iter_mut().for_each(|sample| *sample = 255 - *sample);
    }
    RgbPixels::new(width, height, data).map_err(|error| damaged(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_years() {
        assert_eq!(years("045Y"), Some(45.0));
        assert_eq!(years("018M"), Some(1.5));
        assert_eq!(years("000D"), Some(0.0));
        assert_eq!(years("052W").map(f64::round), Some(1.0));
        for age in ["", "Y", "45", "-1Y", "04é", "45y", "99999Y"] {
            assert_eq!(years(age), None, "{age}");
        }
    }
}
