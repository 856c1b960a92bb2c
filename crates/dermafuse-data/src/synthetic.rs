//! Procedurally rendered lesions in the layout of the published seven-point data set, so that every program runs
//! without any patient's picture.
//!
//! [`write()`] makes a folder that the Derm7pt loader reads: images, `meta/meta.csv` and the three index files, plus a
//! file `SYNTHETIC` that says what it is. Each label has a visible cause in the dermoscopic picture and a fainter one
//! in the clinical picture, and the metadata depends on the labels too, so that learning and fusing have something to
//! find. No number measured on these pictures says anything about skin.
//!
//! [`render`] draws one [`Lesion`], [`lesion_mask`] and [`structure_mask`] say where in its picture it and its structures are;
//! [`sample`] draws the cases without writing them. [`pad_ufes_20`] draws photos with a record instead, of which it is known
//! what a classifier can learn from each; [`clinics`] draws photos in class folders, by different cameras.

mod body;
mod canvas;
pub mod clinics;
mod lesion;
mod masks;
mod noise;
pub mod pad_ufes_20;
mod render;
mod sample;
mod scene;
mod shape;
mod structures;
mod table;
#[cfg(test)]
mod tests;
mod vessels;

use std::fs;
use std::io;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use self::lesion::{Diagnosis, Lesion, Pattern, Regression, SyntheticCase, Vessels};
pub use self::masks::{Structure, lesion_mask, structure_mask};
pub use self::render::render;
pub use self::sample::sample;

use self::noise::Stream;
use crate::DataError;
pub use crate::Modality;

/// A file of this name in a data set's folder says that the set is synthetic and not to be held against published counts.
pub const SYNTHETIC_MARKER: &str = "SYNTHETIC";

/// What the file `SYNTHETIC` says.
const NOTICE: &str = "These are procedurally rendered pictures, not patients: no image shows skin, no row describes a \
person, and no result on them says anything about medicine.\n";

const JPEG_QUALITY: u8 = 90;

/// What to write: how many cases, how large, how hard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyntheticConfig {
    /// How many cases. From 24 on, every class of every task is in the training part; from about 60 on,
    /// in each part.
    pub cases: usize,
    /// Width and height of the images, in pixels.
    pub image_size: (u32, u32),
    /// Decides everything that is drawn at random.
    pub seed: u64,
    /// The contrast of all structures: 1 is usual, smaller is harder.
    pub clarity: f32,
    /// What of that contrast is left in the clinical pictures.
    pub clinical_clarity: f32,
    /// How much the metadata says about the labels: 1 is usual, 0 is nothing.
    pub metadata_strength: f32,
    /// Whether to add what makes the published files hard to read: names that differ from the table's in case, rows
    /// whose two images are one file, images of different sizes.
    pub with_traps: bool,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            cases: 200,
            image_size: (256, 192),
            seed: 0,
            clarity: 1.0,
            clinical_clarity: 0.35,
            metadata_strength: 1.0,
            with_traps: false,
        }
    }
}

/// Writes a data set below `root`, which is created; files of the same name are replaced.
///
/// The same configuration gives the same bytes, on any number of threads.
///
/// # Errors
/// A file or folder that cannot be written.
///
/// # Panics
/// If a side of the image size is zero.
pub fn write(root: &Path, config: &SyntheticConfig) -> Result<(), DataError> {
    let cases = sample(config);
    let jobs: Vec<Job> = cases.iter().enumerate().map(|(index, case)| Job::new(index, case, config)).collect();
    write_file(&root.join(SYNTHETIC_MARKER), NOTICE.as_bytes())?;
    let mut rows = vec![table::COLUMNS.map(str::to_owned).to_vec()];
    for (index, (case, job)) in cases.iter().zip(&jobs).enumerate() {
        rows.push(table::row(index, case, job.clinic.clone(), job.derm.clone()).to_vec());
    }
    write_table(&root.join("meta/meta.csv"), &rows)?;
    for (name, part) in ["train", "valid", "test"].into_iter().zip(table::split(&cases, config.seed)) {
        let header = std::iter::once(vec!["indexes".to_owned()]);
        let rows: Vec<Vec<String>> = header.chain(part.iter().map(|row| vec![row.to_string()])).collect();
        write_table(&root.join(format!("meta/{name}_indexes.csv")), &rows)?;
    }
    let images = root.join("images");
    jobs.par_iter().flat_map_iter(|job| job.images.iter().map(move |image| (job.lesion, image))).try_for_each(
        |(lesion, (name, modality, size))| {
            let path = images.join(name);
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
                .encode_image(&render(lesion, *modality, *size))
                .map_err(|error| failed(&path, io::Error::other(error)))?;
            write_file(&path, &bytes)
        },
    )
}

/// The pictures of one case: what to draw under which name, and what the table calls them.
struct Job<'a> {
    lesion: &'a Lesion,
    images: Vec<(String, Modality, (u32, u32))>,
    clinic: String,
    derm: String,
}

impl<'a> Job<'a> {
    fn new(index: usize, case: &'a SyntheticCase, config: &SyntheticConfig) -> Self {
        let lesion = &case.lesion;
        let [clinic, derm] = [Modality::Clinical, Modality::Dermoscopic].map(|it| table::image_name(index, it));
        let mut job = Self {
            lesion,
            images: vec![
                (derm.clone(), Modality::Dermoscopic, config.image_size),
                (clinic.clone(), Modality::Clinical, config.image_size),
            ],
            clinic,
            derm,
        };
        if config.with_traps {
            job.set_traps(index, config);
        }
        job
    }

    /// The published oddities in about their published frequency, and each at least once from 12 cases on.
    fn set_traps(&mut self, index: usize, config: &SyntheticConfig) {
        let mut stream = Stream::new(self.lesion.seed, "traps");
        for (name, _, size) in &mut self.images {
            let scale = stream.range(0.9, 1.1);
            *size = ((size.0 as f32 * scale).round().max(1.0) as u32, size.1);
            if index % 17 == 3 {
                let (folder, file) = name.split_once('/').expect("a name has a folder");
                *name = format!("{folder}/{}{}", &file[..1], file[1..].to_lowercase());
            }
        }
        if index % 16 == 5 {
            self.clinic = self.clinic.replace(".jpg", ".JPG");
        }
        if index == 1 {
            self.derm = self.derm.replace("FCL/", "FCl/");
        }
        let shared = (config.cases * 9).div_ceil(1011);
        if index % (config.cases / shared).max(1) == 7 {
            self.clinic.clone_from(&self.derm);
            self.images.truncate(1);
        }
    }
}

fn failed(path: &Path, source: io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), source }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let folder = path.parent().expect("every file lies in the root");
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    fs::write(path, bytes).map_err(|error| failed(path, error))
}

fn write_table(path: &Path, rows: &[Vec<String>]) -> Result<(), DataError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|error| failed(path, error.into()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(path, error.into_error()))?;
    write_file(path, &bytes)
}
