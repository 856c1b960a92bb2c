//! Images: JPEG, PNG, BMP, WebP, TIFF, decoded strictly and leniently, and resized.

use std::io::Cursor;
use std::path::Path;

use dermafuse::data::{Preprocess, Resampling, Strictness, decode_bytes, resize};
use image::{ImageFormat, RgbImage};

use super::{Target, Verdict, promise};
use crate::mutate::{Corpus, Syntax};

struct Images {
    corpus: Corpus,
    turn: usize,
}

/// Words of headers: markers, chunks, tags.
const WORDS: [&str; 22] = [
    "Exif\0\0II*\0",
    "Exif\0\0MM\0*",
    "http://ns.adobe.com/xap/1.0/\0",
    "tiff:Orientation=\"6\"",
    "<tiff:Orientation>8</tiff:Orientation>",
    "Adobe",
    "ICC_PROFILE\0",
    "JFIF\0",
    "IHDR",
    "IDAT",
    "IEND",
    "PLTE",
    "tRNS",
    "eXIf",
    "iTXt",
    "acTL",
    "fdAT",
    "BM",
    "RIFF",
    "WEBPVP8L",
    "WEBPVP8X",
    "II*\0",
];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let pixels = RgbImage::from_fn(16, 16, |x, y| image::Rgb([x as u8 * 16, y as u8 * 16, (x * y) as u8]));
    let written = |format: ImageFormat| {
        let mut bytes = Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).expect("an image that can be written");
        bytes.into_inner()
    };
    let jpeg = written(ImageFormat::Jpeg);
    let golden: [&[u8]; 6] = [
        include_bytes!("../../../../crates/dermafuse-data/tests/golden/images/progressive.jpg"),
        include_bytes!("../../../../crates/dermafuse-data/tests/golden/images/cmyk.jpg"),
        include_bytes!("../../../../crates/dermafuse-data/tests/golden/images/grey.jpg"),
        include_bytes!("../../../../crates/dermafuse-data/tests/golden/images/subsampled.jpg"),
        include_bytes!("../../../../crates/dermafuse-data/tests/golden/images/palette.png"),
        include_bytes!("../../../../crates/dermafuse-data/tests/golden/images/lossy.webp"),
    ];
    let mut entries = vec![
        with_segment(&jpeg, 0xE1, &exif(6)),
        with_segment(&jpeg, 0xE1, XMP),
        with_segment(&with_segment(&jpeg, 0xE1, &exif(8)), 0xE1, XMP),
        with_segment(&with_segment(&jpeg, 0xE2, b"ICC_PROFILE\0\x01\x01 "), 0xFE, b"a comment"),
        written(ImageFormat::Png),
        written(ImageFormat::Bmp),
        written(ImageFormat::WebP),
        written(ImageFormat::Tiff),
        jpeg,
    ];
    entries.extend(golden.map(<[u8]>::to_vec));
    Box::new(Images { corpus: Corpus { syntax: Syntax::Binary, entries, words: &WORDS, make: None }, turn: 0 })
}

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF><rdf:Description \
    tiff:Orientation=\"6\"/></rdf:RDF></x:xmpmeta>";

/// A directory of one entry.
fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [&b"Exif\0\0II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
}

/// A JPEG file with one segment more, behind its start.
fn with_segment(jpeg: &[u8], marker: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, marker], &length, content, &jpeg[2..]].concat()
}

impl Target for Images {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let mended = mended(input);
        let input = mended.as_deref().unwrap_or(input);
        let strict = decode_bytes("image", input, Strictness::Strict);
        let lenient = decode_bytes("image", input, Strictness::Lenient);
        if let (Ok(strict), Ok(lenient)) = (&strict, &lenient) {
            promise!(strict == lenient, "an image that is whole differs between strict and lenient");
        }
        promise!(strict.is_err() || lenient.is_ok(), "strict accepts what lenient refuses: {lenient:?}");
        let Ok(pixels) = lenient else { return Ok(Verdict::Refused) };
        let area = pixels.width() * pixels.height();
        promise!(area > 0 && pixels.data().len() == 3 * area, "{} bytes for {area} pixels", pixels.data().len());
        self.turn += 1;
        let all = [Resampling::OpenCv, Resampling::Nearest, Resampling::Pillow, Resampling::PillowBicubic];
        let resized = resize(&pixels, 8, all[self.turn % 4]).map_err(|error| format!("not resized: {error}"))?;
        promise!((resized.width(), resized.height()) == (8, 8), "{} x {}", resized.width(), resized.height());
        let numbers = Preprocess::imagenet(8).apply(&pixels).map_err(|error| format!("not prepared: {error}"))?;
        promise!(numbers.iter().all(|number| number.is_finite()), "a number that is not finite");
        Ok(Verdict::Accepted)
    }
}

/// A PNG file with the checksums that its chunks should have, so that changes get past them.
fn mended(input: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = input.starts_with(b"\x89PNG\r\n\x1a\n").then(|| input.to_vec())?;
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let end = at.checked_add(8)?.checked_add(length)?;
        let Some(content) = bytes.get(at + 4..end) else { break };
        let sum = crc32(content).to_be_bytes();
        match bytes.get_mut(end..end + 4) {
            Some(place) => place.copy_from_slice(&sum),
            None => break,
        }
        at = end + 4;
    }
    Some(bytes)
}

/// The checksum of PNG and ZIP.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_accepted() {
        let mut target = target(Path::new(""));
        for (index, entry) in target.corpus().entries.clone().iter().enumerate() {
            assert_eq!(target.run(entry), Ok(Verdict::Accepted), "entry {index}");
        }
    }

    #[test]
    fn checksums_are_mended() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let target = target(Path::new(""));
        let png = target.corpus().entries.iter().find(|entry| entry.starts_with(b"\x89PNG")).unwrap();
        assert_eq!(mended(png).as_ref(), Some(png));
        let mut changed = png.clone();
        changed[24] ^= 1;
        assert_ne!(mended(&changed).unwrap()[29..33], png[29..33]);
    }
}
