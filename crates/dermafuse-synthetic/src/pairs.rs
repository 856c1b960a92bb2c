//! Pairs of pictures in the layout of Derm7pt, as files.

use std::io;
use std::path::Path;

use dermafuse_data::{DataError, Modality, SYNTHETIC_MARKER};
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;

use crate::files::{NOTICE, failed, write_file, write_table};
use crate::noise::Stream;
use crate::{Lesion, SyntheticCase, SyntheticConfig, render, sample, table};

const JPEG_QUALITY: u8 = 90;

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
