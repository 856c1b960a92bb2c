//! Rendered photos with a record, in the layout of PAD-UFES-20, where it is known who knows what: the photo, the record,
//! each of them, or only the two together.
//!
//! # What causes what
//! A diagnosis has a *look* and a *course*: actinic keratosis and squamous cell carcinoma are keratotic, nevus and
//! melanoma melanocytic, seborrheic keratosis and basal cell carcinoma nodular; the second of each pair is malignant.
//! The photo shows one of six *appearances*, the record one of six *profiles*, named like the diagnoses. Appearances are
//! drawn in the clinical view of [`render`]. A profile is in two columns: the region (one of three groups, a look each)
//! and whether it bleeds (the course). Both are always recorded; all else in the record follows from the profile or from
//! nothing, but for `biopsed`, which follows from the diagnosis, as in the real table.
//!
//! [`Shares`] says for which part of the lesions the appearance is that of the diagnosis, and the profile too, or one of
//! them, or neither. What is not of the diagnosis is drawn in proportion to how frequent the diagnoses are. `together` is
//! the part of which fusion is all: the appearance has the look of the diagnosis and says nothing of its course, the
//! profile has its course and says nothing of its look.
//!
//! So the probabilities of diagnosis, appearance and profile are known, and with them how often the best possible
//! classifier of photos, of records or of both is right: [`Config::optimum`]. That of the photo supposes that appearances
//! are told apart without fault, which is harder the smaller and less clear the pictures are. A record's optimum is that
//! of any encoding that keeps region and bleeding apart, such as
//! [`pad_ufes_20::encoding`](dermafuse_data::pad_ufes_20::encoding).

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use dermafuse_data::pad_ufes_20::{CLASSES, PUBLISHED_CLASSES};
use dermafuse_data::{DataError, Modality, SYNTHETIC_MARKER};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageEncoder};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::files::{NOTICE, failed, write_file, write_table};
use crate::noise::Stream;
use crate::{Diagnosis, Lesion, Pattern, Vessels, render};

mod optimum;
mod record;

pub use self::optimum::{Inputs, Optimum};
pub use self::record::{COLUMNS, Record};

/// The look of each of the six [`CLASSES`]: keratotic, melanocytic, nodular.
const LOOKS: [usize; 6] = [0, 2, 1, 1, 0, 2];
/// Whether each of the six is malignant.
const MALIGNANT: [bool; 6] = [false, true, true, false, true, false];

/// Who tells the diagnosis, as parts of all lesions that sum to 1 at most; of the rest, nobody does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// The photo alone.
    pub image: f64,
    /// The record alone.
    pub record: f64,
    /// Each of them.
    pub either: f64,
    /// The two together, neither alone.
    pub together: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { image: 0.25, record: 0.1, either: 0.15, together: 0.4 }
    }
}

/// What to write: how many photos, how large, and who knows what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many photos. About 0.8 lesions and 0.6 patients come to a photo, as in the real set. From 30 photos on, each
    /// diagnosis has at least one lesion, from 150 on at least five.
    pub photos: usize,
    /// Width and height of the photos in pixels, about: each differs by up to a tenth.
    pub image_size: (u32, u32),
    /// Decides everything that is drawn at random.
    pub seed: u64,
    /// How frequent each of the [`CLASSES`] is; need not sum to 1.
    pub diagnoses: [f64; 6],
    /// Who tells the diagnosis.
    pub shares: Shares,
    /// The part of the patients whose history is not recorded at all. (In the real table it is missing mostly where there
    /// was no biopsy, which gives the diagnosis away; here it says nothing.)
    pub missing_history: f64,
    /// The contrast of what tells the appearances apart: 1 is usual, smaller is harder.
    pub clarity: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            photos: 600,
            image_size: (128, 128),
            seed: 0,
            diagnoses: PUBLISHED_CLASSES.map(|count| count as f64),
            shares: Shares::default(),
            missing_history: 0.35,
            clarity: 1.0,
        }
    }
}

/// One photo, what its table row says, and the causes that the table does not say.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// What is drawn; each photo of a lesion is drawn anew.
    pub lesion: Lesion,
    /// The row of `metadata.csv`.
    pub record: Record,
    /// The diagnosis, as a position in [`CLASSES`].
    pub diagnosis: usize,
    /// The diagnosis that the photo looks like.
    pub appearance: usize,
    /// The diagnosis that the record sounds like.
    pub profile: usize,
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// No photo; a side of 0; shares, frequencies or parts that are negative or not finite; shares that sum to more than
    /// 1; no diagnosis with a frequency above 0; a part of missing histories above 1.
    pub fn check(&self) -> Result<(), DataError> {
        let setting = |what, found: String, expected| Err(DataError::Setting { what, found, expected });
        let Shares { image, record, either, together } = self.shares;
        let shares = [image, record, either, together];
        if self.photos == 0 {
            return setting("number of photos", "0".into(), "1 or more");
        }
        if self.image_size.0 == 0 || self.image_size.1 == 0 {
            return setting("size of the photos", format!("{:?}", self.image_size), "at least one pixel");
        }
        let told: f64 = shares.iter().sum();
        if shares.iter().any(|share| share.is_nan() || *share < 0.0) || told > 1.0 + 1e-9 {
            return setting("shares of who tells the diagnosis", format!("{shares:?}"), "from 0 and at most 1 in all");
        }
        let frequent = self.diagnoses.iter().sum::<f64>();
        let negative = self.diagnoses.iter().any(|share| *share < 0.0);
        if negative || !frequent.is_finite() || frequent == 0.0 {
            return setting("frequencies of the diagnoses", format!("{:?}", self.diagnoses), "from 0, one above 0");
        }
        if !(0.0..=1.0).contains(&self.missing_history) {
            return setting("part of missing histories", self.missing_history.to_string(), "between 0 and 1");
        }
        Ok(())
    }
}

/// Draws the photos of a data set, in the order of its table. Diagnoses, and who tells them, keep their quotas.
///
/// # Errors
/// Settings that [`Config::check`] refuses.
pub fn sample(config: &Config) -> Result<Vec<Photo>, DataError> {
    config.check()?;
    let mut stream = Stream::new(config.seed, "photos");
    // Photos of each lesion, lesion by lesion, patient by patient.
    let mut patients: Vec<Vec<usize>> = Vec::new();
    let mut left = config.photos;
    while left > 0 {
        let lesions = 1 + stream.weighted(&[1018.0, 242.0, 79.0, 25.0, 9.0]);
        let mut photos = Vec::new();
        for _ in 0..lesions {
            let count = (1 + stream.weighted(&[1530.0, 324.0, 31.0, 6.0])).min(left);
            left -= count;
            photos.extend((count > 0).then_some(count));
        }
        patients.push(photos);
    }
    let lesions: usize = patients.iter().map(Vec::len).sum();
    let mut causes = causes(config, lesions, &mut stream).into_iter();
    // Lesion numbers are not unique across patients: the last eighth starts again.
    let numbers = if lesions < 40 { lesions } else { lesions - lesions / 8 };

    let mut photos = Vec::with_capacity(config.photos);
    let mut lesion = 0;
    for (index, counts) in patients.iter().enumerate() {
        let patient = record::Patient::draw(index, config.missing_history as f32, &mut stream);
        for &count in counts {
            let (diagnosis, appearance, profile) = causes.next().expect("as many causes as lesions");
            let number = 1 + lesion % numbers;
            lesion += 1;
            let record = patient.lesion(number, CLASSES[diagnosis], LOOKS[profile], MALIGNANT[profile], &mut stream);
            let first = stream.count(0, 899);
            for photo in 0..count {
                photos.push(Photo {
                    lesion: picture(appearance, config, &mut stream),
                    record: record.photo(first + 17 * photo),
                    diagnosis,
                    appearance,
                    profile,
                });
            }
        }
    }
    stream.shuffle(&mut photos);
    Ok(photos)
}

/// Diagnosis, appearance and profile of each lesion, in random order.
fn causes(config: &Config, lesions: usize, stream: &mut Stream) -> Vec<(usize, usize, usize)> {
    let prior = config.prior();
    let mut counts = quotas(lesions, &prior);
    // No diagnosis is left without a lesion where there are enough of them.
    let least = (lesions / 24).min(5);
    for class in 0..6 {
        let lacking = if prior[class] > 0.0 { least.saturating_sub(counts[class]) } else { 0 };
        let most = (0..6).max_by_key(|&class| counts[class]).unwrap_or(0);
        counts[class] += lacking;
        counts[most] -= lacking;
    }
    let tellers = config.tellers();
    let mut causes = Vec::with_capacity(lesions);
    for (diagnosis, count) in counts.into_iter().enumerate() {
        let told = quotas(count, &tellers.map(|(share, _)| share));
        for ((_, teller), count) in tellers.into_iter().zip(told) {
            let [appearances, profiles] = teller.given(diagnosis, &prior).map(|given| given.map(|p| p as f32));
            causes.extend((0..count).map(|_| (diagnosis, stream.weighted(&appearances), stream.weighted(&profiles))));
        }
    }
    stream.shuffle(&mut causes);
    causes
}

/// Whole numbers in proportion to the shares, adding up to `total`.
fn quotas<const N: usize>(total: usize, shares: &[f64; N]) -> [usize; N] {
    let sum: f64 = shares.iter().sum();
    let (mut so_far, mut given) = (0.0, 0);
    shares.map(|share| {
        so_far += share;
        let upto = ((total as f64 * so_far / sum).round() as usize).clamp(given, total);
        std::mem::replace(&mut given, upto).abs_diff(upto)
    })
}

/// A photo of what looks like one of the diagnoses.
fn picture(appearance: usize, config: &Config, stream: &mut Stream) -> Lesion {
    let (diagnosis, subtype) = match CLASSES[appearance] {
        "ACK" => (Diagnosis::Miscellaneous, "miscellaneous"),
        "BCC" => (Diagnosis::BasalCellCarcinoma, "basal cell carcinoma"),
        "MEL" => (Diagnosis::Melanoma, "melanoma (more than 1.5 mm)"),
        "NEV" => (Diagnosis::Nevus, "clark nevus"),
        "SCC" => (Diagnosis::Miscellaneous, "dermatofibroma"),
        _ => (Diagnosis::SeborrheicKeratosis, "seborrheic keratosis"),
    };
    let mut lesion = Lesion { subtype, ..Lesion::plain(diagnosis, stream.next()) };
    match CLASSES[appearance] {
        "BCC" => lesion.vessels = Vessels::Arborizing,
        "MEL" => {
            lesion.pigmentation = Pattern::Irregular;
            lesion.streaks = Pattern::Irregular;
            lesion.veil = stream.chance(0.5);
        }
        "NEV" => lesion.network = Pattern::Regular,
        "SCC" => lesion.vessels = Vessels::Hairpin,
        _ => {}
    }
    lesion.clarity = config.clarity;
    lesion.clinical_clarity = 1.0;
    lesion
}

/// Writes a data set below `root`, which is created, for [`pad_ufes_20::load`](dermafuse_data::pad_ufes_20::load): `metadata.csv`,
/// the photos in three folders, `SYNTHETIC`, and `causes.csv`, which says of each photo what the table does not: the
/// appearance and the profile. Files of the same name are replaced.
///
/// The same configuration gives the same bytes, on any number of threads.
///
/// # Errors
/// Settings that [`Config::check`] refuses; a file or folder that cannot be written.
pub fn write(root: &Path, config: &Config) -> Result<(), DataError> {
    let photos = sample(config)?;
    write_file(&root.join(SYNTHETIC_MARKER), notice(config).as_bytes())?;
    let header = std::iter::once(COLUMNS.map(str::to_owned).to_vec());
    let rows: Vec<_> = header.chain(photos.iter().map(|photo| photo.record.values().to_vec())).collect();
    write_table(&root.join("metadata.csv"), &rows)?;
    let header = std::iter::once(["img_id", "appearance", "profile"].map(str::to_owned).to_vec());
    let cause = |photo: &Photo| {
        vec![photo.record.image().into(), CLASSES[photo.appearance].into(), CLASSES[photo.profile].into()]
    };
    let rows: Vec<_> = header.chain(photos.iter().map(cause)).collect();
    write_table(&root.join("causes.csv"), &rows)?;
    photos.par_iter().enumerate().try_for_each(|(index, photo)| {
        let folder = format!("imgs_part_{}", 1 + 3 * index / photos.len());
        let path = root.join(folder).join(photo.record.image());
        let picture = DynamicImage::from(render(&photo.lesion, Modality::Clinical, size(&photo.lesion, config)));
        // As in the real set, most have an alpha channel.
        let picture = if index % 6 == 0 { picture } else { DynamicImage::from(picture.to_rgba8()) };
        let mut bytes = Vec::new();
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Sub)
            .write_image(picture.as_bytes(), picture.width(), picture.height(), picture.color().into())
            .map_err(|error| failed(&path, io::Error::other(error)))?;
        write_file(&path, &bytes)
    })
}

fn size(lesion: &Lesion, config: &Config) -> (u32, u32) {
    let mut stream = Stream::new(lesion.seed, "photo");
    let mut side = |side: u32| (side as f32 * stream.range(0.9, 1.1)).round().max(1.0) as u32;
    (side(config.image_size.0), side(config.image_size.1))
}

/// What the file `SYNTHETIC` says: that it is synthetic, and what can be reached.
fn notice(config: &Config) -> String {
    let mut text = format!("{NOTICE}\nThe best that a classifier can reach (accuracy, balanced accuracy), given\n");
    for (name, inputs) in [
        ("nothing", Inputs::Nothing),
        ("the photo", Inputs::Image),
        ("the record", Inputs::Record),
        ("both", Inputs::ImageAndRecord),
    ] {
        let Optimum { accuracy, balanced_accuracy } = config.optimum(inputs);
        let _ = writeln!(text, "    {name}: {accuracy:.3}, {balanced_accuracy:.3}");
    }
    text
}
