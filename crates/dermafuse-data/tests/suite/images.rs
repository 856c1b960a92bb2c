use std::path::Path;

use dermafuse_data::{Resampling, RgbPixels, Strictness, decode, decode_bytes, resize, resize_and_crop};
use image::ExtendedColorType;

use crate::fixture::{READ, golden, jpeg, plain_jpeg, png, write};

fn strict(bytes: &[u8]) -> Result<RgbPixels, String> {
    decode_bytes("x.jpg", bytes, Strictness::Strict).map_err(|error| error.to_string())
}

fn read(name: &str) -> RgbPixels {
    decode(golden(name), Strictness::Strict).unwrap()
}

/// Mean and largest difference.
fn difference(ours: &RgbPixels, theirs: &RgbPixels) -> (f64, u8) {
    assert_eq!((ours.width(), ours.height()), (theirs.width(), theirs.height()));
    let each = || ours.data().iter().zip(theirs.data()).map(|(a, b)| a.abs_diff(*b));
    (each().map(f64::from).sum::<f64>() / ours.data().len() as f64, each().max().unwrap())
}

#[test]
fn resizing_is_pillow_and_opencv_within_one() {
    let wide = read("wide.png");
    for size in [24, 72] {
        for (resampling, name) in [
            (Resampling::Pillow, "pillow"),
            (Resampling::PillowBicubic, "pillow_bicubic"),
            (Resampling::OpenCv, "opencv"),
        ] {
            let ours = resize(&wide, size, resampling).unwrap();
            let (mean, largest) = difference(&ours, &read(&format!("wide.{name}.{size}.png")));
            assert!(mean < 0.5 && largest <= 1, "{name} {size}: mean {mean}, largest {largest}");
        }
    }
}

#[test]
fn the_nearest_pixel_is_pillows() {
    let wide = read("wide.png");
    for size in [24, 72] {
        let ours = resize(&wide, size, Resampling::Nearest).unwrap();
        assert_eq!(difference(&ours, &read(&format!("wide.nearest.{size}.png"))), (0.0, 0), "{size}");
    }
}

#[test]
fn cropping_is_torchvisions_within_one() {
    let wide = read("wide.png");
    let (mean, largest) =
        difference(&resize_and_crop(&wide, 31, 24, Resampling::Pillow).unwrap(), &read("wide.cropped.png"));
    assert!(mean < 0.5 && largest <= 1, "mean {mean}, largest {largest}");
    let text = resize_and_crop(&wide, 31, 32, Resampling::Pillow).unwrap_err().to_string();
    assert_eq!(text, "size of the crop: 32 is not between 1 and the resized image's shorter side");
}

#[test]
fn jpegs_of_every_kind_decode_as_in_pillow() {
    for (name, reference) in
        [("baseline", "baseline"), ("progressive", "baseline"), ("subsampled", "subsampled"), ("grey", "grey")]
    {
        let ours = read(&format!("{name}.jpg"));
        let (mean, largest) = difference(&ours, &read(&format!("{reference}.pillow.png")));
        assert!(mean < 0.5 && largest <= 4, "{name}: mean {mean}, largest {largest}");
    }
    // Conversions from CMYK differ between decoders; the picture must be there.
    let (mean, _) = difference(&read("cmyk.jpg"), &read("wide.png"));
    assert!(mean < 8.0, "cmyk: {mean}");
}

#[test]
fn pngs_of_every_kind_become_rgb() {
    assert_eq!(read("palette.png"), read("palette.pillow.png"));
    let decoded = |color, samples: &[u8]| strict(&png(1, 1, color, samples)).unwrap().data().to_vec();
    assert_eq!(decoded(ExtendedColorType::Rgba8, &[10, 20, 30, 0]), [10, 20, 30]);
    assert_eq!(decoded(ExtendedColorType::L8, &[7]), [7, 7, 7]);
    assert_eq!(decoded(ExtendedColorType::La8, &[7, 9]), [7, 7, 7]);
    let deep: Vec<u8> = [0_u16, 32_896, 65_535].into_iter().flat_map(u16::to_ne_bytes).collect();
    assert_eq!(decoded(ExtendedColorType::Rgb16, &deep), [0, 128, 255]);
    // A PNG under the name of a JPEG is a PNG.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    write(&path, &png(2, 1, ExtendedColorType::Rgb8, &[1, 2, 3, 4, 5, 6]));
    assert_eq!(decode(&path, Strictness::Strict).unwrap().data(), [1, 2, 3, 4, 5, 6]);
}

/// A JPEG of 2 x 3 blocks in the colours A B / C D / E F, with an EXIF orientation.
pub(crate) fn oriented(orientation: u8) -> Vec<u8> {
    const BLOCK: usize = 16;
    let mut rgb = Vec::new();
    for y in 0..3 * BLOCK {
        for x in 0..2 * BLOCK {
            rgb.extend([40 * (y / BLOCK * 2 + x / BLOCK) as u8; 3]);
        }
    }
    let plain = jpeg(32, 48, &rgb);
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&plain[..2], &[0xff, 0xe1], &length, &exif, &plain[2..]].concat()
}

#[test]
fn all_eight_exif_orientations_come_out_upright() {
    let table = ["AB/CD/EF", "BA/DC/FE", "FE/DC/BA", "EF/CD/AB", "ACE/BDF", "ECA/FDB", "FDB/ECA", "BDF/ACE"];
    for (orientation, expected) in (1..=8).zip(table) {
        let pixels = strict(&oriented(orientation)).unwrap();
        let rows: Vec<String> = (0..pixels.height() / 16)
            .map(|row| {
                let level = |column| pixels.data()[((row * 16 + 8) * pixels.width() + column * 16 + 8) * 3];
                (0..pixels.width() / 16).map(|column| char::from(b'A' + (level(column) + 20) / 40)).collect()
            })
            .collect();
        assert_eq!(rows.join("/"), expected, "orientation {orientation}");
    }
    assert_eq!(strict(&oriented(9)).unwrap().width(), 32, "an orientation that does not exist is none");
}

#[test]
fn a_jpeg_cut_anywhere_is_refused() {
    for name in ["baseline.jpg", "progressive.jpg", "subsampled.jpg", "grey.jpg"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        strict(&bytes).unwrap();
        for percent in 0..100 {
            let cut = &bytes[..bytes.len() * percent / 100];
            let error = strict(cut).map(|_| ()).unwrap_err();
            assert!(error.starts_with("x.jpg: "), "{name} at {percent} %: {error}");
        }
        let text = strict(&bytes[..bytes.len() / 2]).unwrap_err();
        assert!(text.contains("damaged or truncated image") && text.contains("set `decoding` to `lenient`"), "{text}");
    }
}

#[test]
fn leniency_is_a_choice() {
    let bytes = std::fs::read(golden("baseline.jpg")).unwrap();
    let half = &bytes[..bytes.len() * 3 / 4];
    assert!(strict(half).is_err());
    assert_eq!(decode_bytes("x.jpg", half, Strictness::Lenient).unwrap().width(), read("wide.png").width());
}

#[test]
fn a_png_cut_anywhere_is_refused() {
    let bytes = std::fs::read(golden("wide.png")).unwrap();
    for percent in 0..99 {
        assert!(strict(&bytes[..bytes.len() * percent / 100]).is_err(), "{percent} %");
    }
}

fn bmp(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::bmp::BmpEncoder::new(&mut bytes).encode(rgb, width, height, ExtendedColorType::Rgb8).unwrap();
    bytes
}

#[test]
fn a_bmp_is_read_upright_and_refused_when_cut() {
    let rgb: Vec<u8> = (0..5 * 7 * 3).map(|byte| byte as u8 * 2).collect();
    let bytes = bmp(5, 7, &rgb);
    let pixels = strict(&bytes).unwrap();
    assert_eq!((pixels.width(), pixels.height(), pixels.data()), (5, 7, rgb.as_slice()));
    for cut in 2..bytes.len() {
        assert!(strict(&bytes[..cut]).unwrap_err().contains("damaged or truncated image"), "{cut}");
    }
    let mut forged = bytes;
    forged[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
    assert!(strict(&forged).unwrap_err().contains("the header says 60000 x 7 = 420000 pixels"));
}

#[test]
fn a_forged_header_is_refused_before_memory_is_taken() {
    let mut bytes = plain_jpeg(100);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let text = strict(&bytes).unwrap_err();
    assert!(
        text.starts_with("x.jpg: the header says 65500 x 65500 = 4290250000 pixels; the limits are 16384 a side"),
        "{text}"
    );
    let mut bytes = png(1, 1, ExtendedColorType::Rgb8, &[0; 3]);
    bytes[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    let text = strict(&bytes).unwrap_err();
    assert!(text.contains("the header says 10000 x 10000 = 100000000 pixels"), "{text}");
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn what_is_no_image_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| decode(path, Strictness::Strict).unwrap_err().to_string();
    let inside = folder.path().join("folder.jpg");
    std::fs::create_dir(&inside).unwrap();
    assert!(error(&inside).contains("folder.jpg: a folder, not a regular file"));
    let empty = folder.path().join("empty.jpg");
    write(&empty, b"");
    assert!(error(&empty).ends_with("empty.jpg: the image file is empty (0 bytes); copy it again"));
    let page = folder.path().join("page.jpg");
    write(&page, b"<!doctype html>");
    assert!(error(&page).contains(&format!("page.jpg: not {READ} (it starts with the bytes [3c, 21")));
    let text = error(&folder.path().join("gone.jpg"));
    assert!(text.contains("gone.jpg: No such file"), "{text}");
    for junk in [&b"\xff\xd8\xff"[..], b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0"] {
        assert!(strict(junk).unwrap_err().contains("damaged or truncated image"), "{junk:?}");
    }
}

#[test]
fn extreme_shapes_are_resized() {
    for (width, height) in [(1, 1), (1, 10_000), (10_000, 1)] {
        let pixels = RgbPixels::new(width, height, vec![77; width * height * 3]).unwrap();
        for resampling in [Resampling::Pillow, Resampling::PillowBicubic, Resampling::OpenCv] {
            let resized = resize(&pixels, 5, resampling).unwrap();
            assert!(resized.data().iter().all(|&byte| byte == 77), "{width} x {height}");
        }
    }
    let pixels = RgbPixels::new(2, 2, vec![0; 12]).unwrap();
    let text = resize(&pixels, 0, Resampling::Pillow).unwrap_err().to_string();
    assert_eq!(text, "image size: 0 is not between 1 and 16384");
    assert!(RgbPixels::new(2, 2, vec![0; 11]).is_err());
    assert!(RgbPixels::new(usize::MAX, 2, vec![]).is_err());
}
