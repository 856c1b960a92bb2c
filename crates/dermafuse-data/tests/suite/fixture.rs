//! Small files and case sets that the tests write themselves.

use std::path::{Path, PathBuf};

use dermafuse_data::CaseSet;
use dermafuse_schema::{Case, Task, TaskSet};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// The formats that are read, in messages.
pub(crate) const READ: &str = match cfg!(feature = "dicom") {
    true => "JPEG, PNG, BMP, WebP, TIFF or 8-bit DICOM",
    false => "JPEG, PNG, BMP, WebP or TIFF",
};

/// A file of the golden folder.
pub(crate) fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images").join(name)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A JPEG of RGB pixels, without chroma subsampling.
pub(crate) fn jpeg(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).write_image(rgb, width, height, ExtendedColorType::Rgb8).unwrap();
    bytes
}

pub(crate) fn png(width: u32, height: u32, color: ExtendedColorType, samples: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes).write_image(samples, width, height, color).unwrap();
    bytes
}

/// A small JPEG in one colour.
pub(crate) fn plain_jpeg(level: u8) -> Vec<u8> {
    jpeg(8, 8, &[level; 8 * 8 * 3])
}

/// Cases of one task with classes `a` and `b`, from (group, label).
pub(crate) fn case_set(cases: &[(usize, Option<usize>)]) -> CaseSet {
    CaseSet {
        name: "test".into(),
        synthetic: false,
        tasks: TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap(),
        fields: vec![],
        cases: cases
            .iter()
            .enumerate()
            .map(|(row, (group, label))| Case {
                group: format!("g{group}").into(),
                labels: vec![*label],
                ..Case::new(row.to_string())
            })
            .collect(),
        split: None,
        notes: vec![],
    }
}
