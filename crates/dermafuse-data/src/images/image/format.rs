//! Which kinds of image files are read, by name and by content.

use std::path::Path;

use crate::image_formats::IMAGE_EXTENSIONS;

/// Whether a file's name ends like an image that is read, in upper or lower case.
pub(crate) fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| IMAGE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(found)))
}

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    Bmp,
    WebP,
    Tiff,
    #[cfg(feature = "dicom")]
    Dicom,
}

impl Format {
    /// Whether the pixels are, or may be, a JPEG: then what can be decoded of a damaged file is of use.
    pub(super) fn holds_jpeg(self) -> bool {
        match self {
            Self::Jpeg => true,
            #[cfg(feature = "dicom")]
            Self::Dicom => true,
            Self::Png | Self::Bmp | Self::WebP | Self::Tiff => false,
        }
    }
}

/// What a file is that is not read, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) found: &'static str,
    pub(super) remedy: &'static str,
}

/// How many of a file's first bytes [`sniff`] looks at.
pub(super) const SNIFFED: usize = 132;

const HEIC: Foreign = Foreign {
    found: "a HEIC or HEIF photo",
    remedy: "convert it to JPEG or PNG, e.g. with `heif-convert photo.heic photo.jpg`, or let the phone save JPEG",
};
const AVIF: Foreign =
    Foreign { found: "an AVIF image", remedy: "convert it to PNG, e.g. with `magick photo.avif photo.png`" };
const DICOM: Foreign = Foreign {
    found: "a DICOM object",
    remedy: "build with the feature `dicom`, or convert it to PNG, e.g. with `dcmj2pnm --write-png photo.dcm photo.png`",
};
/// Signatures, where they stand, and what they mean.
const FOREIGN: [(usize, &[u8], Foreign); 16] = [
    (0, b"GIF8", Foreign { found: "a GIF image", remedy: "convert it to PNG, e.g. with `magick a.gif[0] a.png`" }),
    (128, b"DICM", DICOM),
    (4, b"ftypavif", AVIF),
    (4, b"ftypavis", AVIF),
    (4, b"ftyphei", HEIC),
    (4, b"ftyphev", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftypmsf1", HEIC),
    (4, b"ftyp", Foreign { found: "a video or a raw photo", remedy: "save a picture of it as JPEG or PNG" }),
    (0, b"\xff\x0a", JPEG_XL),
    (0, b"\0\0\0\x0cJXL ", JPEG_XL),
    (0, b"\0\0\0\x0cjP  ", JPEG_2000),
    (0, b"\xff\x4f\xff\x51", JPEG_2000),
    (0, b"%PDF", Foreign { found: "a PDF document", remedy: "save its picture as JPEG or PNG" }),
    (0, b"8BPS", Foreign { found: "a Photoshop document", remedy: "export it as PNG" }),
    (
        0,
        b"version https://git-lfs",
        Foreign { found: "a Git LFS pointer, not the image itself", remedy: "fetch it with `git lfs pull`" },
    ),
];
const JPEG_XL: Foreign =
    Foreign { found: "a JPEG XL image", remedy: "convert it to JPEG, e.g. with `djxl photo.jxl photo.jpg`" };
const JPEG_2000: Foreign =
    Foreign { found: "a JPEG 2000 image", remedy: "convert it to PNG, e.g. with `magick photo.jp2 photo.png`" };

/// Whether a file that starts like this is a DICOM object.
#[cfg(feature = "dicom")]
pub(super) fn is_dicom(start: &[u8]) -> bool {
    start.get(128..132) == Some(b"DICM")
}

/// What a file is that starts like this: a format that is read, one that is known not to be, or nothing known.
pub(super) fn sniff(start: &[u8]) -> Result<Format, Option<Foreign>> {
    // Mostly, but not always, a marker follows the start of the image.
    if start.starts_with(&[0xff, 0xd8]) {
        Ok(Format::Jpeg)
    } else if start.starts_with(b"\x89PNG\r\n\x1a\n") {
        Ok(Format::Png)
    } else if start.starts_with(b"BM") {
        Ok(Format::Bmp)
    } else if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
        Ok(Format::WebP)
    } else if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| start.starts_with(*magic)) {
        Ok(Format::Tiff)
    } else {
        #[cfg(feature = "dicom")]
        if is_dicom(start) {
            return Ok(Format::Dicom);
        }
        let stands =
            |(at, bytes, _): &&(usize, &[u8], Foreign)| start.get(*at..).is_some_and(|rest| rest.starts_with(bytes));
        Err(FOREIGN.iter().find(stands).map(|(_, _, foreign)| *foreign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_either_case() {
        for name in ["a.jpg", "a.JPG", "x/b.c.Jfif", "a.tif", "a.TIFF", "a.webp", "a.bmp", "a.png"] {
            assert!(has_image_extension(Path::new(name)), "{name}");
        }
        for name in ["a.heic", "a.gif", "jpg", ".jpg", "a.jpg.txt", "a", ""] {
            assert!(!has_image_extension(Path::new(name)), "{name}");
        }
        for name in ["a.dcm", "a.DICOM"] {
            assert_eq!(has_image_extension(Path::new(name)), cfg!(feature = "dicom"), "{name}");
        }
    }

    #[test]
    fn formats_are_told_by_content() {
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Ok(Format::Jpeg));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 "), Ok(Format::WebP));
        assert_eq!(sniff(b"RIFF\0\0\0\0WAVEfmt "), Err(None));
        for start in [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"] {
            assert_eq!(sniff(start), Ok(Format::Tiff));
        }
        let found = |start: &[u8]| sniff(start).unwrap_err().map(|foreign| foreign.found);
        assert_eq!(found(b"\0\0\0\x18ftypheic\0\0\0\0"), Some("a HEIC or HEIF photo"));
        assert_eq!(found(b"\0\0\0\x18ftypmif1"), Some("a HEIC or HEIF photo"));
        assert_eq!(found(b"\0\0\0\x18ftypavif"), Some("an AVIF image"));
        assert_eq!(found(b"\0\0\0\x18ftypmp42"), Some("a video or a raw photo"));
        assert_eq!(found(b"GIF89a"), Some("a GIF image"));
        let dicom = [&[0; 128][..], b"DICM"].concat();
        #[cfg(not(feature = "dicom"))]
        assert_eq!(found(&dicom), Some("a DICOM object"));
        #[cfg(feature = "dicom")]
        assert_eq!(sniff(&dicom), Ok(Format::Dicom));
        assert_eq!(found(b"<!doctype html>"), None);
        assert_eq!(found(b""), None);
        let longest = FOREIGN.iter().map(|(at, bytes, _)| at + bytes.len()).max();
        assert_eq!(longest, Some(SNIFFED));
    }
}
