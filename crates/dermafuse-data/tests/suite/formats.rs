//! Images as cameras, phones and archives write them.

use dermafuse_data::{
    IMAGE_EXTENSIONS, MAX_PIXELS, MAX_PROGRESSIVE_PIXELS, RgbPixels, Strictness, decode, decode_bytes,
};
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::fixture::{READ, golden, jpeg, plain_jpeg, png, write};
use crate::lesions::fits;

fn strict(bytes: &[u8]) -> Result<RgbPixels, String> {
    decode_bytes("x.jpg", bytes, Strictness::Strict).map_err(|error| error.to_string())
}

fn read(name: &str) -> RgbPixels {
    decode(golden(name), Strictness::Strict).unwrap()
}

fn largest_difference(ours: &RgbPixels, theirs: &RgbPixels) -> u8 {
    assert_eq!((ours.width(), ours.height()), (theirs.width(), theirs.height()));
    ours.data().iter().zip(theirs.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// 3 x 2 pixels, none like another.
const SIX: [u8; 18] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160, 170, 180];

fn tiff(color: ExtendedColorType, samples: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    TiffEncoder::new(&mut file).write_image(samples, width, height, color).unwrap();
    file.into_inner()
}

fn webp(color: ExtendedColorType, samples: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    WebPEncoder::new_lossless(&mut bytes).write_image(samples, width, height, color).unwrap();
    bytes
}

#[test]
fn webp_and_tiff_are_read_as_pillow_reads_them() {
    assert_eq!(read("lossless.webp"), read("wide.png"));
    assert!(largest_difference(&read("lossy.webp"), &read("lossy.pillow.png")) <= 2);
    assert_eq!(read("pages.tif"), read("wide.png"), "the first page");
    let six = RgbPixels::new(3, 2, SIX.to_vec()).unwrap();
    assert_eq!(strict(&webp(ExtendedColorType::Rgb8, &SIX, 3, 2)).unwrap(), six);
    assert_eq!(strict(&tiff(ExtendedColorType::Rgb8, &SIX, 3, 2)).unwrap(), six);
}

#[test]
fn greys_alpha_and_deep_pixels_are_as_in_png() {
    let deep: Vec<u8> = [0_u16, 32_896, 65_535, 257, 1000, 40_000].into_iter().flat_map(u16::to_ne_bytes).collect();
    for (color, samples) in [
        (ExtendedColorType::L8, &[7, 200][..]),
        (ExtendedColorType::Rgba8, &[10, 20, 30, 0, 40, 50, 60, 99]),
        (ExtendedColorType::Rgb16, &deep),
        (ExtendedColorType::L16, &deep[2..6]),
    ] {
        let expected = strict(&png(2, 1, color, samples)).unwrap();
        assert_eq!(strict(&tiff(color, samples, 2, 1)).unwrap(), expected, "{color:?}");
    }
    let alpha = [10, 20, 30, 0, 40, 50, 60, 99];
    let expected = strict(&png(2, 1, ExtendedColorType::Rgba8, &alpha)).unwrap();
    assert_eq!(strict(&webp(ExtendedColorType::Rgba8, &alpha, 2, 1)).unwrap(), expected);
}

#[test]
fn webp_and_tiff_that_are_cut_are_refused() {
    let noise: Vec<u8> = (0..64 * 64 * 3).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [
        webp(ExtendedColorType::Rgb8, &noise, 64, 64),
        tiff(ExtendedColorType::Rgb8, &noise, 64, 64),
        std::fs::read(golden("lossy.webp")).unwrap(),
        std::fs::read(golden("lossless.webp")).unwrap(),
    ] {
        strict(&bytes).unwrap();
        for percent in 0..97 {
            let text = strict(&bytes[..bytes.len() * percent / 100]).unwrap_err();
            assert!(text.starts_with("x.jpg: ") && !text.contains("lenient"), "{percent} %: {text}");
        }
    }
}

#[test]
fn formats_that_are_not_read_are_named_with_a_way_out() {
    let file = |start: &[u8]| [start, &[0; 200]].concat();
    for (bytes, found, remedy) in [
        (file(b"\0\0\0\x20ftypheic"), "a HEIC or HEIF photo", "heif-convert"),
        (file(b"\0\0\0\x20ftypmif1"), "a HEIC or HEIF photo", "save JPEG"),
        (file(b"\0\0\0\x20ftypavif"), "an AVIF image", "convert it to PNG"),
        (file(b"GIF89a"), "a GIF image", "convert it to PNG"),
        #[cfg(not(feature = "dicom"))]
        (
            [&[0; 128][..], b"DICM", &[0; 60]].concat(),
            "a DICOM object",
            "build with the feature `dicom`, or convert it to PNG",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), "a Git LFS pointer", "git lfs pull"),
    ] {
        let text = strict(&bytes).unwrap_err();
        assert!(text.starts_with(&format!("x.jpg: {found}")) && text.contains(remedy), "{text}");
        assert!(text.contains(&format!("which is not read ({READ} is)")), "{text}");
    }
    let text = strict(b"<!doctype html>").unwrap_err();
    assert!(text.contains(&format!("not {READ} (it starts with the bytes [3c, 21")), "{text}");
}

#[test]
fn a_jpeg_is_read_under_every_name() {
    let folder = tempfile::tempdir().unwrap();
    for extension in IMAGE_EXTENSIONS.iter().chain(&["JFIF", "dat"]) {
        let path = folder.path().join(format!("photo.{extension}"));
        write(&path, &plain_jpeg(90));
        assert_eq!(decode(&path, Strictness::Strict).unwrap().width(), 8, "{extension}");
    }
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    [&[0xff, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
}

fn exif(big: bool, kind: u16, value: u32) -> Vec<u8> {
    let u16 = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let u32 = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let field = if kind == 3 { [u16(value as u16), [0; 2]].concat() } else { u32(value).to_vec() };
    [if big { &b"MM\0*"[..] } else { b"II*\0" }, &u32(8), &u16(1), &u16(0x112), &u16(kind), &u32(1), &field, &[0; 4]]
        .concat()
}

fn xmp(value: u8) -> Vec<u8> {
    format!("<x:xmpmeta><rdf:Description tiff:Orientation=\"{value}\"/></x:xmpmeta>").into_bytes()
}

/// A JPEG of 16 x 8 pixels with segments behind its start.
fn jpeg_with(segments: &[Vec<u8>]) -> Vec<u8> {
    let plain = jpeg(16, 8, &[90; 16 * 8 * 3]);
    [&plain[..2], &segments.concat(), &plain[2..]].concat()
}

fn is_turned(bytes: &[u8]) -> bool {
    let pixels = strict(bytes).unwrap();
    // As much is known of a file that is not decoded.
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("x"), bytes);
    assert!(fits(&folder.path().join("x"), [pixels.width(), pixels.height()]));
    pixels.width() < pixels.height()
}

#[test]
fn orientation_is_read_as_short_or_long_in_both_orders() {
    for big in [false, true] {
        for kind in [3, 4] {
            for value in 1..=8 {
                let app1 = segment(0xe1, &[&b"Exif\0\0"[..], &exif(big, kind, value)].concat());
                assert_eq!(is_turned(&jpeg_with(&[app1])), value >= 5, "big-endian {big}, type {kind}, {value}");
            }
        }
    }
}

#[test]
fn orientation_in_xmp_counts_where_exif_has_none() {
    let app1 = |packet: &[u8]| segment(0xe1, &[&b"http://ns.adobe.com/xap/1.0/\0"[..], packet].concat());
    let exif = |value| segment(0xe1, &[&b"Exif\0\0"[..], &exif(true, 3, value)].concat());
    let element = b"<rdf:Description><tiff:Orientation>8</tiff:Orientation></rdf:Description>";
    assert!(is_turned(&jpeg_with(&[app1(&xmp(6))])));
    assert!(is_turned(&jpeg_with(&[app1(element)])));
    assert!(!is_turned(&jpeg_with(&[app1(&xmp(3))])));
    for segments in [[app1(&xmp(6)), exif(1)], [exif(1), app1(&xmp(6))]] {
        assert!(!is_turned(&jpeg_with(&segments)), "EXIF wins");
    }
    assert!(is_turned(&jpeg_with(&[app1(&xmp(1)), exif(6)])));
    assert!(is_turned(&jpeg_with(&[exif(0), app1(&xmp(6))])), "0 is no orientation");
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn orientation_is_read_in_png_webp_and_tiff() {
    // PNG: chunks behind IHDR, and behind the pixels.
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let named = [&name[..], data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
    };
    let text = [&b"XML:com.adobe.xmp\0\0\0\0\0"[..], &xmp(6)].concat();
    let plain = png(3, 2, ExtendedColorType::Rgb8, &SIX);
    for (chunk, turned) in [
        (chunk(b"eXIf", &exif(false, 4, 6)), true),
        (chunk(b"eXIf", &exif(true, 3, 8)), true),
        (chunk(b"iTXt", &text), true),
        ([chunk(b"iTXt", &text), chunk(b"eXIf", &exif(false, 3, 1))].concat(), false),
    ] {
        for at in [33, plain.len() - 12] {
            assert_eq!(is_turned(&[&plain[..at], &chunk, &plain[at..]].concat()), turned, "at {at}");
        }
    }

    // WebP: an extended file around the lossless picture.
    let simple = webp(ExtendedColorType::Rgb8, &SIX, 3, 2);
    let extended = |chunks: &[(&[u8; 4], Vec<u8>)]| {
        let chunk = |name: &[u8], data: &[u8]| {
            [name, &(data.len() as u32).to_le_bytes(), data, &[0][..data.len() % 2]].concat()
        };
        let flags = chunks.iter().map(|(name, _)| if **name == *b"EXIF" { 8 } else { 4 }).sum();
        let mut body = [&b"WEBP"[..], &chunk(b"VP8X", &[flags, 0, 0, 0, 2, 0, 0, 1, 0, 0]), &simple[12..]].concat();
        chunks.iter().for_each(|(name, data)| body.extend(chunk(&name[..], data)));
        [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
    };
    assert!(!is_turned(&extended(&[])));
    for value in 5..=8 {
        assert!(is_turned(&extended(&[(b"EXIF", exif(value % 2 == 0, 4, value))])));
        assert!(is_turned(&extended(&[(b"EXIF", [&b"Exif\0\0"[..], &exif(true, 3, value)].concat())])));
        assert!(is_turned(&extended(&[(b"XMP ", xmp(value as u8))])));
        assert!(!is_turned(&extended(&[(b"EXIF", exif(true, 3, 1)), (b"XMP ", xmp(value as u8))])));
    }

    // TIFF: its own directory, written by hand.
    let grey = |tags: &[(u16, u16, u32, u32)], tail: &[u8]| {
        let mut tags =
            [&[(256, 3, 1, 3), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)], tags].concat();
        tags.extend([(277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 6)]);
        let pixels = 8 + 2 + 12 * (tags.len() as u32 + 1) + 4;
        tags.push((273, 4, 1, pixels));
        tags.sort_unstable();
        let mut bytes = [&b"II*\0\x08\0\0\0"[..], &(tags.len() as u16).to_le_bytes()].concat();
        for (tag, kind, count, value) in tags {
            let value = if tag == 700 { pixels + 6 } else { value };
            bytes.extend(
                [&tag.to_le_bytes()[..], &u16::to_le_bytes(kind), &u32::to_le_bytes(count), &u32::to_le_bytes(value)]
                    .concat(),
            );
        }
        bytes.extend([0; 4]);
        bytes.extend([1, 2, 3, 4, 5, 6]);
        bytes.extend(tail);
        bytes
    };
    assert_eq!(strict(&grey(&[], b"")).unwrap().data()[..6], [1, 1, 1, 2, 2, 2]);
    assert!(is_turned(&grey(&[(274, 3, 1, 6)], b"")));
    assert!(is_turned(&grey(&[(274, 4, 1, 6)], b"")));
    let packet = xmp(6);
    let length = packet.len() as u32;
    assert!(is_turned(&grey(&[(700, 1, length, 0)], &packet)));
    assert!(!is_turned(&grey(&[(274, 3, 1, 1), (700, 1, length, 0)], &packet)));
}

#[test]
fn bytes_between_jpeg_headers_lose_nothing() {
    for name in ["baseline", "subsampled", "progressive", "grey"] {
        let clean = std::fs::read(golden(&format!("{name}.jpg"))).unwrap();
        let expected = strict(&clean).unwrap();
        for stray in
            [&b"\x12"[..], b"\0\x12", b"\0\0\0\0\0\0\0\0\0", b"\xff\0\xff\0", b"abc\xff\xff\xff", b"\xff\0ab\xff\xd0"]
        {
            // Before each header of the first scan.
            let (mut at, mut bytes) = (2, clean[..2].to_vec());
            loop {
                let end = at + 2 + usize::from(u16::from_be_bytes([clean[at + 2], clean[at + 3]]));
                bytes.extend(stray);
                bytes.extend(&clean[at..end]);
                let scan = clean[at + 1] == 0xda;
                at = end;
                if scan {
                    break;
                }
            }
            bytes.extend(&clean[at..]);
            assert!(strict(&bytes).unwrap() == expected, "{name} {stray:?}");
            // And before the end.
            let end = [&clean[..clean.len() - 2], stray, b"\xff\xd9"].concat();
            assert!(strict(&end).unwrap() == expected, "{name} {stray:?} at the end");
            for percent in 0..100 {
                assert!(strict(&bytes[..bytes.len() * percent / 100]).is_err(), "{name} {stray:?} {percent} %");
            }
        }
    }
}

/// A small JPEG whose header says another size.
fn forged(width: u16, height: u16, marker: u8) -> Vec<u8> {
    let mut bytes = plain_jpeg(100);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 1] = marker;
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

#[test]
fn limits_let_phones_pass_and_name_number_limit_and_remedy() {
    let error = |width, height, marker| strict(&forged(width, height, marker)).map(|_| ()).unwrap_err();
    // 50 and 64 megapixels, and a panorama: refused for what is missing, not for their size.
    for (width, height) in [(8192, 6144), (8160, 6144), (9248, 6936), (16_384, 4096)] {
        assert!(usize::from(width) * usize::from(height) <= MAX_PIXELS);
        let text = error(width, height, 0xc0);
        assert!(text.contains("bytes cannot hold"), "{text}");
    }
    let text = error(12_000, 9000, 0xc0);
    let expected = "x.jpg: the header says 12000 x 9000 = 108000000 pixels; the limits are 16384 a side and 67108864 in all; \
                    reduce it, e.g. with";
    assert!(text.starts_with(expected), "{text}");
    assert!(error(16_385, 8, 0xc0).contains("16384 a side"));

    assert!(error(7296, 5472, 0xc2).contains("bytes cannot hold"));
    let text = error(8192, 6144, 0xc2);
    let expected = format!(
        "x.jpg: the header says 8192 x 6144 = 50331648 pixels of a progressive JPEG; the limit for these is \
         {MAX_PROGRESSIVE_PIXELS}; save it as a baseline JPEG"
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn memory_follows_the_file_and_not_the_header() {
    for (width, height) in [(8192, 6144), (1000, 1000)] {
        let text = strict(&forged(width, height, 0xc0)).map(|_| ()).unwrap_err();
        let expected = format!("bytes cannot hold the {width} x {height} pixels of the header");
        assert!(text.contains(&expected), "{text}");
    }
    let mut bytes = png(1, 1, ExtendedColorType::Rgb8, &[0; 3]);
    bytes[16..24].copy_from_slice(&[0, 0, 0x1f, 0x40, 0, 0, 0x1f, 0x40]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    assert!(strict(&bytes).unwrap_err().contains("bytes cannot hold the 8000 x 8000 pixels"));
    // A picture of one colour, as small as encoders make it, is held.
    let side = 1024;
    let one = vec![255; side * side * 3];
    assert_eq!(strict(&jpeg(side as u32, side as u32, &one)).unwrap().data(), one);
    assert_eq!(strict(&png(side as u32, side as u32, ExtendedColorType::Rgb8, &one)).unwrap().data(), one);
}

#[test]
fn an_image_of_the_largest_area_is_decoded() {
    // 64 megapixels in one colour: 256 KiB of data.
    let bytes = one_colour(8192, 8192);
    let pixels = strict(&bytes).unwrap();
    assert_eq!((pixels.width(), pixels.height()), (8192, 8192));
    assert_eq!(pixels.data()[0], 128);
    assert!(pixels.data().iter().all(|byte| *byte == 128));
}

/// A grey JPEG in one colour: two bits a block, "no difference" and "no more".
fn one_colour(width: u16, height: u16) -> Vec<u8> {
    let frame = [&[8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[1, 1, 0x11, 0]].concat();
    // One code of one bit: 0.
    let codes = |class: u8| [&[class, 1][..], &[0; 15], &[0]].concat();
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0][..], &[1; 64]].concat()),
        segment(0xc0, &frame),
        segment(0xc4, &codes(0x00)),
        segment(0xc4, &codes(0x10)),
        segment(0xda, &[1, 1, 0, 0, 63, 0]),
        vec![0; (2 * blocks).div_ceil(8)],
        vec![0xff, 0xd9],
    ]
    .concat()
}

#[test]
fn many_threads_decode_large_images_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.jpg");
    write(&path, &one_colour(4096, 2048));
    let first_byte = || decode(&path, Strictness::Strict).map(|pixels| pixels.data()[0]);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(first_byte)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap().unwrap(), 128);
        }
    });
}
