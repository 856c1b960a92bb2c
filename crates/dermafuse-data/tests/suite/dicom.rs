//! DICOM objects: those of another writer, of kinds that are not read, damaged and hostile.

use std::path::PathBuf;

use dermafuse_data::{
    DicomMetadata, Modality, RgbPixels, Strictness, check_images, class_folders, decode, decode_bytes,
    read_dicom_metadata,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::fixture::{golden, jpeg, write};

/// The identifier of baseline JPEG, as long as those of the other compressions that are tried.
const JPEG_BASELINE: &[u8] = b"1.2.840.10008.1.2.4.50";
const NAMES: [&str; 4] = ["rgb.dcm", "planes_implicit.dcm", "grey_inverted.dcm", "jpeg.dcm"];

fn path(name: &str) -> PathBuf {
    golden("").join("../dicom").join(name)
}

fn object(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn strict(bytes: &[u8]) -> Result<RgbPixels, String> {
    decode_bytes("x.dcm", bytes, Strictness::Strict).map_err(|error| error.to_string())
}

/// The pixels that `generate.py` writes.
fn formula(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 37 % 251) as u8).collect()
}

fn place(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

fn replaced(bytes: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let at = place(bytes, part);
    [&bytes[..at], by, &bytes[at + part.len()..]].concat()
}

/// An explicit element whose length has two bytes.
fn short(tag: (u16, u16), kind: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u16).to_le_bytes();
    [&tag.0.to_le_bytes()[..], &tag.1.to_le_bytes(), kind, &length, value].concat()
}

/// An explicit element whose length has four bytes, which may be any number.
fn long(tag: (u16, u16), kind: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
    [&tag.0.to_le_bytes()[..], &tag.1.to_le_bytes(), kind, &[0, 0], &length.to_le_bytes(), value].concat()
}

fn item(element: u16, length: u32, value: &[u8]) -> Vec<u8> {
    [&[0xfe, 0xff][..], &element.to_le_bytes(), &length.to_le_bytes(), value].concat()
}

fn number(element: u16, value: u16) -> Vec<u8> {
    short((0x28, element), b"US", &value.to_le_bytes())
}

/// An explicit object of 8-bit samples whose pixel element is `pixels`.
fn made(syntax: &[u8], colour: &[u8], [width, height]: [u16; 2], pixels: &[u8]) -> Vec<u8> {
    let samples = if colour.starts_with(b"MONO") { 1 } else { 3 };
    let elements = [
        short((2, 0x10), b"UI", syntax),
        number(2, samples),
        short((0x28, 4), b"CS", colour),
        number(0x10, height),
        number(0x11, width),
        number(0x100, 8),
        pixels.to_vec(),
    ];
    [vec![0; 128], b"DICM".to_vec(), elements.concat()].concat()
}

fn with_jpeg(colour: &[u8], size: [u16; 2], jpeg: &[u8]) -> Vec<u8> {
    let pieces = [item(0xe000, 0, b""), item(0xe000, jpeg.len() as u32, jpeg), item(0xe0dd, 0, b"")].concat();
    made(JPEG_BASELINE, colour, size, &long((0x7fe0, 0x10), b"OB", u32::MAX, &pieces))
}

#[test]
fn objects_of_another_writer_are_read() {
    let rgb = formula(60);
    assert_eq!(strict(&object("rgb.dcm")), Ok(RgbPixels::new(5, 4, rgb.clone()).unwrap()));
    let planes = (0..20).flat_map(|at| [rgb[at], rgb[20 + at], rgb[40 + at]]).collect();
    assert_eq!(strict(&object("planes_implicit.dcm")), Ok(RgbPixels::new(5, 4, planes).unwrap()));
    let grey: Vec<u8> = formula(12).into_iter().flat_map(|grey| [255 - grey; 3]).collect();
    let inverted = object("grey_inverted.dcm");
    assert_eq!(strict(&inverted), Ok(RgbPixels::new(4, 3, grey).unwrap()));
    let plain = strict(&replaced(&inverted, b"MONOCHROME1", b"MONOCHROME2")).unwrap();
    assert_eq!(plain.data()[..6], [0, 0, 0, 37, 37, 37]);
    let expected = decode(golden("subsampled.jpg"), Strictness::Strict).unwrap();
    assert_eq!(decode(path("jpeg.dcm"), Strictness::Strict).unwrap(), expected);
}

#[test]
fn age_sex_and_site_are_offered() {
    let metadata = |name: &str| read_dicom_metadata(path(name)).unwrap();
    let some = |text: &str| Some(text.to_owned());
    let expected = DicomMetadata { age: Some(45.0), sex: some("F"), body_site: some("Haut über dem Rücken") };
    assert_eq!(metadata("rgb.dcm"), expected);
    assert_eq!(metadata("planes_implicit.dcm"), expected);
    let grey = metadata("grey_inverted.dcm");
    assert_eq!(grey, DicomMetadata { age: Some(1.5), sex: None, body_site: some("Кожа спины") });
    // The meaning changes its character set by escapes.
    let jpeg = metadata("jpeg.dcm");
    assert_eq!(jpeg, DicomMetadata { age: None, sex: some("M"), body_site: some("SKIN") });

    // Also of pictures that are not read, and without one.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.dcm");
    let whole = object("jpeg.dcm");
    write(&file, &replaced(&whole, JPEG_BASELINE, b"1.2.840.10008.1.2.4.90"));
    assert_eq!(read_dicom_metadata(&file).unwrap(), jpeg);
    write(&file, &whole[..place(&whole, &[0xe0, 0x7f, 0x10, 0])]);
    assert_eq!(read_dicom_metadata(&file).unwrap(), jpeg);
    write(&file, &whole[..place(&whole, b"SKIN")]);
    assert!(read_dicom_metadata(&file).unwrap_err().to_string().contains("the DICOM object ends within an element"));
    let text = read_dicom_metadata(golden("wide.png")).unwrap_err().to_string();
    assert!(
        text.contains("wide.png: ") && text.contains("not a DICOM object (`DICM` does not stand at byte 128)"),
        "{text}"
    );
}

#[test]
fn other_kinds_are_named_with_a_way_out() {
    let (rgb, jpeg) = (object("rgb.dcm"), object("jpeg.dcm"));
    let compressed = |end: &[u8; 2]| replaced(&jpeg, JPEG_BASELINE, &[&JPEG_BASELINE[..20], end].concat());
    let frames = |count: &[u8]| [short((0x28, 8), b"IS", count), number(0x10, 4)].concat();
    let explicit = b"1.2.840.10008.1.2.1\0";
    for (bytes, found, remedy) in [
        (compressed(b"90"), "a DICOM object compressed as JPEG 2000", "`gdcmconv --raw photo.dcm plain.dcm`"),
        (compressed(b"80"), "a DICOM object compressed as JPEG-LS", "`gdcmconv --raw"),
        (compressed(b"70"), "a DICOM object compressed as lossless JPEG", "`gdcmconv --raw"),
        (compressed(b"77"), "a DICOM object in the transfer syntax `1.2.840.10008.1.2.4.77`", "`gdcmconv --raw"),
        (replaced(&rgb, explicit, b"1.2.840.10008.1.2.2\0"), "a DICOM object in big-endian form", "--write-png"),
        (
            replaced(&jpeg, JPEG_BASELINE, b"1.2.840.10008.1.2.1.99"),
            "a DICOM object whose elements are deflated",
            "--write-png",
        ),
        (replaced(&rgb, &number(0x10, 4), &frames(b"12")), "a DICOM object of 12 pictures", "--frame 1"),
        (replaced(&rgb, &number(0x100, 8), &number(0x100, 16)), "a DICOM object of 16 bits a sample", "--write-png"),
        (replaced(&rgb, &number(0x101, 8), &number(0x101, 7)), "a DICOM object of 7 bits a sample", "--write-png"),
        (replaced(&rgb, &number(0x103, 0), &number(0x103, 1)), "a DICOM object of samples with a sign", "--write-png"),
        (
            made(explicit, b"PALETTE COLOR ", [2, 2], &long((0x7fe0, 0x10), b"OB", 4, &[0; 4])),
            "a DICOM object of 3 samples as `PALETTE COLOR`",
            "--write-png",
        ),
        (
            made(explicit, b"YBR_FULL", [2, 2], &long((0x7fe0, 0x10), b"OB", 12, &[0; 12])),
            "a DICOM object of 3 samples as `YBR_FULL`",
            "--write-png",
        ),
        (
            made(explicit, b"RGB ", [2, 2], &long((0x42, 0x11), b"OB", 4, b"%PDF")),
            "a DICOM object without a picture",
            "take the object that has the picture",
        ),
    ] {
        let text = strict(&bytes).unwrap_err();
        assert!(text.starts_with(&format!("x.dcm: {found}, which is not read (")) && text.contains(remedy), "{text}");
    }
    assert!(strict(&replaced(&rgb, &number(0x10, 4), &frames(b"1 "))).is_ok());
    for (bytes, said) in [
        (replaced(&rgb, &number(0x10, 4), &short((0x28, 0x10), b"?\0", &[4, 0])), "has no type"),
        (replaced(&rgb, explicit, b"1.2.840.10008.1.2.4\0"), "which is not read"),
        (replaced(&rgb, b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\0\0"), "does not say its transfer syntax"),
        (replaced(&rgb, &number(0x10, 4), b""), "does not say the size of its picture"),
        (replaced(&jpeg, &number(0x10, 45), &number(0x10, 44)), "66 x 45 in place of 66 x 44 pixels"),
        (made(explicit, b"RGB ", [2, 2], &long((0x7fe0, 0x10), b"OB", u32::MAX, b"")), "as the transfer syntax says"),
        (made(JPEG_BASELINE, b"RGB ", [2, 2], &long((0x7fe0, 0x10), b"OB", 0, b"")), "as the transfer syntax says"),
        (with_jpeg(b"RGB ", [2, 2], b"no JPEG "), "the compressed pixels are not a JPEG"),
    ] {
        let text = strict(&bytes).unwrap_err();
        assert!(text.contains(said), "{text}; expected {said}");
    }
}

#[test]
fn colours_of_a_jpeg_are_those_that_it_says_or_the_object_does() {
    let samples: Vec<u8> = formula(64 * 3).into_iter().map(|sample| 60 + sample / 2).collect();
    let plain = jpeg(8, 8, &samples);
    let expected = strict(&plain).unwrap();
    for colour in [&b"YBR_FULL"[..], b"YBR_FULL_422", b"RGB "] {
        assert_eq!(strict(&with_jpeg(colour, [8, 8], &plain)).as_ref(), Ok(&expected), "JFIF is YCbCr");
    }
    // Without the segment of JFIF.
    assert_eq!(plain[2..4], [0xff, 0xe0]);
    let untold = [&plain[..2], &plain[4 + usize::from(plain[5])..]].concat();
    assert_eq!(strict(&untold).as_ref(), Ok(&expected));
    assert_eq!(strict(&with_jpeg(b"YBR_FULL", [8, 8], &untold)).as_ref(), Ok(&expected));
    let raw = strict(&with_jpeg(b"RGB ", [8, 8], &untold)).unwrap();
    for (raw, rgb) in raw.data().chunks(3).zip(expected.data().chunks(3)) {
        let [y, blue, red] = [f64::from(raw[0]), f64::from(raw[1]) - 128.0, f64::from(raw[2]) - 128.0];
        let converted = [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue];
        for (converted, rgb) in converted.into_iter().zip(rgb) {
            assert!((converted.clamp(0.0, 255.0) - f64::from(*rgb)).abs() < 2.5, "{converted} {rgb}");
        }
    }
    // Rows and columns are of the picture as it stands, so what EXIF says is not applied.
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&plain[..2], exif, &plain[2..]].concat();
    assert_ne!(strict(&turned).as_ref(), Ok(&expected));
    assert_eq!(strict(&with_jpeg(b"YBR_FULL", [8, 8], &turned)).as_ref(), Ok(&expected));
}

#[test]
fn what_is_cut_is_refused_and_a_damaged_jpeg_may_be_accepted() {
    for name in NAMES {
        let whole = object(name);
        // The end mark of the pieces may be missing.
        let needed = if name == "jpeg.dcm" { whole.len() - 8 } else { whole.len() };
        for cut in 0..needed {
            let text = strict(&whole[..cut]).unwrap_err();
            assert!(text.starts_with("x.dcm: ") && !text.contains("gave up"), "{name}, {cut}: {text}");
        }
    }
    let mut damaged = object("jpeg.dcm");
    let scan = place(&damaged, &[0xff, 0xda]);
    damaged[scan + 200..scan + 230].fill(0xff);
    let error = strict(&damaged).unwrap_err();
    assert!(error.contains("set `decoding` to `lenient`"), "{error}");
    let pixels = decode_bytes("x.dcm", &damaged, Strictness::Lenient).unwrap();
    assert_eq!((pixels.width(), pixels.height()), (66, 45));
}

#[test]
fn the_limits_of_all_images_hold() {
    let pixels = long((0x7fe0, 0x10), b"OB", 12, &[7; 12]);
    let explicit = b"1.2.840.10008.1.2.1\0";
    let sized = |size| strict(&made(explicit, b"RGB ", size, &pixels)).map(|_| ()).unwrap_err();
    assert!(sized([16_385, 8]).contains("the limits are 16384 a side"));
    assert!(sized([16_384, 16_384]).contains("the limits are 16384 a side"));
    assert!(sized([16_384, 4096]).contains("12 bytes cannot hold the 16384 x 4096 pixels of the header"));
    assert!(sized([0, 4]).contains("no pixels"));
    let small = jpeg(8, 8, &[90; 192]);
    let frame = place(&small, &[0xff, 0xc0]);
    let mut forged = small.clone();
    forged[frame + 5..frame + 9].copy_from_slice(&[0x10, 0, 0x10, 0]);
    assert!(strict(&with_jpeg(b"YBR_FULL", [4096, 4096], &forged)).unwrap_err().contains("bytes cannot hold"));
    // A file that is larger than those that are read at once.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.dcm");
    let samples = formula(1500 * 1000 * 3);
    write(&file, &made(explicit, b"RGB ", [1500, 1000], &long((0x7fe0, 0x10), b"OW", 4_500_000, &samples)));
    assert_eq!(decode(&file, Strictness::Strict).unwrap().data(), samples);
}

#[test]
fn sequences_of_any_kind_and_depth_are_stepped_over() {
    let rgb = object("rgb.dcm");
    let rows = number(0x10, 4);
    let with = |element: &[u8]| strict(&replaced(&rgb, &rows, &[element, &rows].concat()));
    let expected = strict(&rgb);
    // Of unknown type: what is inside is in implicit form, also further down.
    let inside =
        [&[0x10, 0, 0x10, 0][..], &u32::MAX.to_le_bytes(), &item(0xe000, 0, b""), &item(0xe0dd, 0, b"")].concat();
    let implicit = [&[8, 0, 0, 1, 2, 0, 0, 0, b'a', b'b'][..], &inside].concat();
    let unknown = [item(0xe000, u32::MAX, &implicit), item(0xe00d, 0, b""), item(0xe0dd, 0, b"")].concat();
    assert_eq!(with(&long((0x27, 1), b"UN", u32::MAX, &unknown)), expected);
    // A type of a later edition of the standard has a length of four bytes.
    assert_eq!(with(&long((0x27, 1), b"XY", 4, b"abcd")), expected);
    let depth = 300_000;
    let open = [long((0x27, 1), b"SQ", u32::MAX, b""), item(0xe000, u32::MAX, b"")].concat().repeat(depth);
    let close = [item(0xe00d, 0, b""), item(0xe0dd, 0, b"")].concat().repeat(depth);
    assert_eq!(with(&[&open[..], &close].concat()), expected);
    assert!(with(&open).unwrap_err().contains("damaged"));
    assert!(with(&[&open[..], &close[8..]].concat()).unwrap_err().contains("out of place in the DICOM object"));
    // Tags that come again and again.
    let ages = short((0x10, 0x1010), b"AS", &[b'1'; 1000]).repeat(20_000);
    assert_eq!(with(&ages), expected);
}

#[test]
fn mutated_objects_never_make_a_decoder_give_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.dcm");
    let mut generator = ChaCha8Rng::seed_from_u64(16);
    let (mut accepted, mut refused) = (0, 0);
    let mut run = |bytes: &[u8], what: &str| {
        let strict = decode_bytes("x.dcm", bytes, Strictness::Strict);
        let lenient = decode_bytes("x.dcm", bytes, Strictness::Lenient);
        if let (Ok(strict), Ok(lenient)) = (&strict, &lenient) {
            assert_eq!(strict, lenient, "{what}");
        }
        for error in [strict.as_ref().err(), lenient.as_ref().err()].into_iter().flatten() {
            assert!(!error.to_string().contains("gave up"), "{what}: {error}");
        }
        assert!(strict.is_err() || lenient.is_ok(), "{what}");
        if strict.is_ok() { accepted += 1 } else { refused += 1 }
    };
    for name in NAMES {
        let whole = object(name);
        // Every four bytes as a length that is too long, or without end.
        for at in 128..whole.len() - 4 {
            for forged in [0xf000_0000_u32, u32::MAX, 0x7fff_ffff, 0] {
                let mut bytes = whole.clone();
                bytes[at..at + 4].copy_from_slice(&forged.to_le_bytes());
                run(&bytes, &format!("{name}, {forged:x} at {at}"));
            }
        }
        for round in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..1 + generator.next_u32() % 4 {
                let at = generator.next_u32() as usize % bytes.len();
                match generator.next_u32() % 4 {
                    0 => bytes[at] ^= 1 << (generator.next_u32() % 8),
                    1 => bytes[at] = generator.next_u32() as u8,
                    2 => drop(bytes.drain(at..(at + 1 + generator.next_u32() as usize % 16).min(bytes.len()))),
                    _ => {
                        let end = (at + 1 + generator.next_u32() as usize % 64).min(bytes.len());
                        let part = bytes[at..end].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
            }
            run(&bytes, &format!("{name}, round {round}"));
            if round % 10 == 0 {
                write(&file, &bytes);
                if let Err(error) = read_dicom_metadata(&file) {
                    assert!(!error.to_string().contains("gave up"), "{name}, round {round}: {error}");
                }
            }
        }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

#[test]
fn objects_lie_in_data_sets_like_other_images() {
    let folder = tempfile::tempdir().unwrap();
    for (file, name) in [("mel/1.dcm", "rgb.dcm"), ("mel/2.DICOM", "jpeg.dcm"), ("nev/3.dcm", "grey_inverted.dcm")] {
        write(&folder.path().join(file), &object(name));
    }
    let set = class_folders::load(folder.path()).unwrap();
    assert_eq!(set.view(&[0, 1, 2]).unwrap().class_counts(0).unwrap(), [2, 1]);
    let check =
        |strictness| check_images(&set.view(&[0, 1, 2]).unwrap(), &[Modality::Clinical], strictness, 1, |_, _| ());
    assert_eq!(check(Strictness::Strict).unwrap().images, 3);
    let whole = object("jpeg.dcm");
    write(&folder.path().join("mel/2.DICOM"), &whole[..whole.len() - 100]);
    let text = check(Strictness::Lenient).unwrap_err().to_string();
    assert!(text.contains("1 of 3 images") && text.contains("claims more bytes than the file has"), "{text}");
}
