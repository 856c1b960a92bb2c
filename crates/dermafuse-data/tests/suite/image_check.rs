//! A look at every image before a long work.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use dermafuse_data::{CaseSet, CaseView, DataError, ImageCheck, Modality, Strictness, check_images};
use image::ExtendedColorType;

use crate::fixture::{case_set, golden, jpeg, png, write};

const BOTH: [Modality; 2] = [Modality::Clinical, Modality::Dermoscopic];

fn check(cases: &CaseView<'_>, modalities: &[Modality], strictness: Strictness) -> Result<ImageCheck, DataError> {
    check_images(cases, modalities, strictness, 2, |_, _| ())
}

fn set_of(paths: &[PathBuf]) -> CaseSet {
    let mut set = case_set(&vec![(0, Some(0)); paths.len()]);
    set.cases.iter_mut().zip(paths).for_each(|(case, path)| case.clinical = vec![path.clone().into()]);
    set
}

#[test]
fn sound_images_of_every_format_pass() {
    let names =
        ["baseline.jpg", "progressive.jpg", "wide.png", "palette.png", "lossy.webp", "lossless.webp", "pages.tif"];
    let mut paths = names.map(golden).to_vec();
    let folder = tempfile::tempdir().unwrap();
    // What cameras write behind the end, up to a film.
    let baseline = std::fs::read(golden("baseline.jpg")).unwrap();
    for behind in [1, 1000, 200_000] {
        paths.push(folder.path().join(format!("{behind}.jpg")));
        write(paths.last().unwrap(), &[&baseline[..], &vec![0; behind]].concat());
    }
    let mut bmp = Vec::new();
    let pixels = [9; 5 * 7 * 3];
    image::codecs::bmp::BmpEncoder::new(&mut bmp).encode(&pixels, 5, 7, ExtendedColorType::Rgb8).unwrap();
    paths.push(folder.path().join("a.bmp"));
    write(paths.last().unwrap(), &bmp);

    let (mut set, count) = (set_of(&paths), AtomicUsize::new(0));
    set.cases[0].dermoscopic = vec![paths[1].clone().into()]; // once only
    let result = check_images(&set.whole(), &BOTH, Strictness::Strict, 3, |done, of| {
        assert!((1..=of).contains(&done) && of == paths.len());
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(result.unwrap(), ImageCheck { images: paths.len(), accepted: vec![] });
    assert_eq!(count.into_inner(), paths.len());
}

#[test]
fn all_bad_images_are_found_and_the_first_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..64 * 64 * 3).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let whole_jpeg = jpeg(64, 64, &noise);
    let whole_png = png(64, 64, ExtendedColorType::Rgb8, &noise);
    let mut paths = vec![golden("wide.png")];
    let mut file = |name: &str, bytes: &[u8]| {
        paths.push(folder.path().join(name));
        write(paths.last().unwrap(), bytes);
    };
    // As a preview in the headers has an end of its own.
    let preview = [&b"\xff\xe5\0\x0a"[..], b"\xff\xd8\xff\xd9\xff\xd9\xff\xd9"].concat();
    let with_preview = [&whole_jpeg[..2], &preview, &whole_jpeg[2..]].concat();
    file("cut.jpg", &whole_jpeg[..whole_jpeg.len() / 2]);
    file("preview.jpg", &with_preview[..with_preview.len() / 2]);
    file("headers.jpg", &whole_jpeg[..100]);
    file("cut.png", &whole_png[..whole_png.len() / 2]);
    file("sixty.png", &whole_png[..60]);
    file("empty.jpg", b"");
    file("page.jpg", b"<!doctype html>");
    file("photo.heic", b"\0\0\0\x20ftypheic\0\0\0\0\0\0\0\0");
    let webp = std::fs::read(golden("lossy.webp")).unwrap();
    file("cut.webp", &webp[..webp.len() - 9]);
    let tiff = std::fs::read(golden("pages.tif")).unwrap();
    file("cut.tif", &tiff[..tiff.len() / 3]);
    paths.push(folder.path().join("gone.jpg"));
    paths.push(folder.path().to_path_buf());
    let bad = paths.len() - 1;

    let set = set_of(&paths);
    let rows: Vec<usize> = (0..set.len()).collect();
    let error = check(&set.whole(), &BOTH, Strictness::Strict).unwrap_err();
    let text = error.to_string();
    let DataError::BadImages { images, faults } = error else { panic!("{text}") };
    assert_eq!((images, faults.len()), (paths.len(), bad));
    assert_eq!(faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), rows[1..]);
    for (fault, path) in faults.iter().zip(&paths[1..]) {
        assert!(fault.error.to_string().contains(&path.display().to_string()), "{}", fault.error);
    }
    assert!(text.starts_with(&format!("{bad} of {} images cannot be read; ", paths.len())), "{text}");
    assert!(text.contains("cut.jpg") && text.contains("sixty.png") && !text.contains("empty.jpg"), "{text}");
    assert!(text.ends_with(&format!("; and {} more", bad - 5)), "{text}");
    // The rest of the set, and the other modality, are sound.
    assert!(check(&set.view(&[0]).unwrap(), &BOTH, Strictness::Strict).is_ok());
    assert_eq!(check(&set.whole(), &[Modality::Dermoscopic], Strictness::Strict).unwrap().images, 0);
    assert!(matches!(set.view(&[99]), Err(DataError::Row { row: 99, .. })));
}

#[test]
fn leniency_lets_cut_jpegs_pass_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(golden("baseline.jpg")).unwrap();
    let cut = folder.path().join("cut.jpg");
    write(&cut, &bytes[..bytes.len() * 3 / 4]);
    let set = set_of(&[golden("wide.png"), cut]);
    let result = check(&set.view(&[0, 1]).unwrap(), &BOTH, Strictness::Lenient).unwrap();
    assert_eq!((result.images, result.accepted.len(), result.accepted[0].row), (2, 1, 1));
    let note = result.note().unwrap();
    assert!(
        note.starts_with("1 of 2 images are damaged and are used as far as they can be decoded, the first: "),
        "{note}"
    );
    assert!(note.contains("cut.jpg: damaged or truncated image"), "{note}");
    assert_eq!(ImageCheck::default().note(), None);
    // A cut PNG is not decoded leniently, so it does not pass.
    let bytes = std::fs::read(golden("wide.png")).unwrap();
    let cut = folder.path().join("cut.png");
    write(&cut, &bytes[..bytes.len() / 2]);
    assert!(check(&set_of(&[cut]).whole(), &BOTH, Strictness::Lenient).is_err());
}
