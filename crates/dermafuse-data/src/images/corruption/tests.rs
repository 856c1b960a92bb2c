use std::fmt::Write;

use dermafuse_schema::{CaseId, Modality};
use sha2::{Digest, Sha256};

use super::*;

/// A drawn lesion: a dark spot with stripes on skin that gets brighter to the right, of whole numbers alone.
fn drawn(width: usize, height: usize) -> RgbPixels {
    let data = (0..width * height).flat_map(|at| {
        let (x, y) = (at % width, at / width);
        let far = (2 * x).abs_diff(width).pow(2) + (2 * y).abs_diff(height).pow(2);
        let skin = [200 + (x * 40 / width), 150 + (x * 40 / width), 120 + (y * 30 / height)];
        let spot = [90 + x * 5 % 40, 60 + y * 3 % 30, 50 + (x + y) % 20];
        (if far < width.min(height).pow(2) / 2 { spot } else { skin }).map(|value| value as u8)
    });
    RgbPixels::new(width, height, data.collect()).unwrap()
}

fn mean_change(from: &RgbPixels, to: &RgbPixels) -> f64 {
    let changes = from.data().iter().zip(to.data()).map(|(from, to)| f64::from(from.abs_diff(*to)));
    changes.sum::<f64>() / from.data().len() as f64
}

/// The first four bytes of a SHA-256 in hexadecimal.
fn short_hash(pixels: &RgbPixels) -> String {
    Sha256::digest(pixels.data()).iter().take(4).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn each_corruption_gives_the_same_bytes_as_ever() {
    // One image of its own pixels, and one with grains of two.
    let hashes_of = |pixels: &RgbPixels, corruption: Corruption| {
        Severity::ALL.map(|severity| short_hash(&corruption.apply(pixels, severity, 11))).join(" ")
    };
    let (small, large) = (drawn(60, 44), drawn(451, 450));
    let mut found = String::new();
    for corruption in Corruption::ALL {
        writeln!(found, "{corruption}: {} | {}", hashes_of(&small, corruption), hashes_of(&large, corruption)).unwrap();
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&found), lines(include_str!("golden_hashes.txt")));
}

#[test]
fn a_higher_severity_changes_more() {
    for pixels in [drawn(96, 72), drawn(260, 240)] {
        for corruption in Corruption::ALL {
            let changes = Severity::ALL.map(|severity| mean_change(&pixels, &corruption.apply(&pixels, severity, 3)));
            assert!(changes[0] > 0.05, "{corruption}: {changes:?}");
            assert!(changes.windows(2).all(|pair| pair[0] < pair[1]), "{corruption}: {changes:?}");
        }
    }
}

#[test]
fn images_of_any_size_keep_it() {
    for (width, height) in [(1, 1), (1, 9), (300, 2), (17, 450)] {
        let pixels = drawn(width, height);
        for corruption in Corruption::ALL {
            for severity in [Severity::ALL[0], Severity::ALL[4]] {
                let corrupted = corruption.apply(&pixels, severity, 1);
                assert_eq!((corrupted.width(), corrupted.height()), (width, height));
            }
        }
    }
}

#[test]
fn an_image_of_one_color_has_nothing_to_blur_and_no_contrast_to_lose() {
    let plain = RgbPixels::new(40, 30, [180, 120, 90].repeat(1200)).unwrap();
    let same = [
        Corruption::DefocusBlur,
        Corruption::MotionBlur,
        Corruption::GaussianBlur,
        Corruption::Contrast,
        Corruption::Pixelate,
    ];
    for corruption in same {
        assert_eq!(corruption.apply(&plain, Severity::ALL[4], 1), plain, "{corruption}");
    }
}

#[test]
fn noise_has_the_deviation_of_its_level() {
    let grey = RgbPixels::new(100, 100, vec![128; 30_000]).unwrap();
    let deviation = |corruption: Corruption| {
        let noisy = corruption.apply(&grey, Severity::ALL[0], 5);
        let squares = noisy.data().iter().map(|&value| (f64::from(value) - 128.0).powi(2));
        (squares.sum::<f64>() / 30_000.0).sqrt()
    };
    assert!((deviation(Corruption::GaussianNoise) - 0.08 * 255.0).abs() < 0.5);
    // Of 60 photons for white, 128 has 30.1 ± √30.1.
    assert!((deviation(Corruption::ShotNoise) - (128.0 * 255.0 / 60.0_f64).sqrt()).abs() < 0.5);
    let lost = Corruption::ImpulseNoise.apply(&grey, Severity::ALL[4], 5);
    let lost = lost.data().iter().filter(|&&value| value == 0 || value == 255).count();
    assert!((lost as f64 / 30_000.0 - 0.27).abs() < 0.01, "{lost}");
}

#[test]
fn draws_go_by_address() {
    let pixels = drawn(30, 20);
    let corruption =
        |seed| ImageCorruption { corruption: Corruption::GaussianNoise, severity: Severity::ALL[1], only: None, seed };
    let image = |seed, case: &str, kind, look| corruption(seed).apply(&pixels, &CaseId::from(case), kind, look);
    let first = image(1, "a", Modality::Clinical, 0);
    assert_eq!(first, image(1, "a", Modality::Clinical, 0));
    for other in [
        image(2, "a", Modality::Clinical, 0),
        image(1, "b", Modality::Clinical, 0),
        image(1, "a", Modality::Dermoscopic, 0),
        image(1, "a", Modality::Clinical, 1),
    ] {
        assert_ne!(first, other);
    }
    let only = ImageCorruption { only: Some(Modality::Dermoscopic), ..corruption(1) };
    assert_eq!(only.apply(&pixels, &"a".into(), Modality::Clinical, 0), pixels);
    assert_ne!(only.apply(&pixels, &"a".into(), Modality::Dermoscopic, 0), pixels);
}

#[test]
fn names_are_those_of_files() {
    for corruption in Corruption::ALL {
        assert_eq!(corruption.name().parse::<Corruption>().unwrap(), corruption);
        assert_eq!(serde_json::to_string(&corruption).unwrap(), format!("\"{corruption}\""));
    }
    assert!(serde_json::from_str::<Severity>("6").is_err());
}
