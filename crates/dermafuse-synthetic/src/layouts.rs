//! Rendered dermoscopic images in the layouts of PH² and of the challenges ISIC 2016, 2017 and 2018: tables and folders as their
//! archives have them, so that loaders can be tried without a copy.

use std::io;
use std::path::{Path, PathBuf};

use dermafuse_data::{DataError, Modality, SYNTHETIC_MARKER, isic_2018, ph2};
use image::codecs::bmp::BmpEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::files::{NOTICE, failed, write_file, write_table};
use crate::{Diagnosis, Lesion, Pattern, Regression, SyntheticConfig, lesion_mask, render, sample};

const JPEG_QUALITY: u8 = 90;

/// A published layout of dermoscopic images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// PH²: `PH2_dataset.txt`, and for each image a folder with the image and the mask of its lesion.
    Ph2,
    /// ISIC 2016, part 3: two parts, benign or malignant, a ground truth without a header.
    Isic2016,
    /// ISIC 2017, part 3: three parts, three diagnoses, age and sex.
    Isic2017,
    /// ISIC 2018, task 3: three parts, seven diagnoses, the lesions of the training part.
    Isic2018,
}

/// How many images, how large, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How many images. From 60 on, each part of a challenge has images of the common classes.
    pub images: usize,
    /// Width and height of the images, in pixels.
    pub image_size: (u32, u32),
    /// Decides everything that is drawn at random.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { images: 100, image_size: (96, 70), seed: 0 }
    }
}

/// Writes a data set below `root`, which is created; files of the same name are replaced. The same configuration gives the same
/// bytes, on any number of threads.
///
/// # Errors
/// A file or folder that cannot be written.
///
/// # Panics
/// If a side of the image size is zero.
pub fn write(root: &Path, layout: Layout, config: &Config) -> Result<(), DataError> {
    let drawn = lesions(layout, config);
    write_file(&root.join(SYNTHETIC_MARKER), NOTICE.as_bytes())?;
    match layout {
        Layout::Ph2 => write_ph2(root, &drawn, config),
        _ => write_challenge(root, layout, &drawn, config),
    }
}

/// The lesions that a layout has classes for.
fn lesions(layout: Layout, config: &Config) -> Vec<Lesion> {
    use Diagnosis::{Melanoma, Nevus, SeborrheicKeratosis};
    // More than are needed: those that the layout has no class for are left out.
    let cases =
        sample(&SyntheticConfig { cases: 2 * config.images + 40, seed: config.seed, ..SyntheticConfig::default() });
    let has = |lesion: &Lesion| match layout {
        Layout::Ph2 => matches!(lesion.diagnosis, Nevus | Melanoma),
        Layout::Isic2016 | Layout::Isic2017 => matches!(lesion.diagnosis, Nevus | Melanoma | SeborrheicKeratosis),
        Layout::Isic2018 => true,
    };
    cases.into_iter().map(|case| case.lesion).filter(has).take(config.images).collect()
}

/// The picture of a lesion as a file.
fn write_picture(
    path: &Path,
    lesion: &Lesion,
    size: (u32, u32),
    encode: impl Fn(&mut Vec<u8>, &image::RgbImage) -> Result<(), ImageError>,
) -> Result<(), DataError> {
    let mut bytes = Vec::new();
    encode(&mut bytes, &render(lesion, Modality::Dermoscopic, size))
        .map_err(|error| failed(path, io::Error::other(error)))?;
    write_file(path, &bytes)
}

/// The code of the published diagnosis: a nevus with an irregular structure is an atypical one.
fn ph2_code(lesion: &Lesion) -> usize {
    let irregular = [lesion.network, lesion.streaks, lesion.dots].contains(&Pattern::Irregular);
    match lesion.diagnosis {
        Diagnosis::Melanoma => 2,
        _ => usize::from(irregular),
    }
}

/// A row of the published text file. What is drawn of a lesion does not say how symmetric it is: melanomas count as asymmetric.
fn ph2_row(name: &str, lesion: &Lesion) -> String {
    let presence = |present: bool| if present { "P" } else { "A" };
    let code = ph2_code(lesion);
    let network = if lesion.network == Pattern::Irregular { "AT" } else { "T" };
    let dots = match lesion.dots {
        Pattern::Absent => "A",
        Pattern::Regular => "T",
        Pattern::Irregular => "AT",
    };
    let (streaks, regresses) = (lesion.streaks != Pattern::Absent, lesion.regression != Regression::Absent);
    let criteria = [network, dots, presence(streaks), presence(regresses), presence(lesion.veil)].join(" | ");
    let white = matches!(lesion.regression, Regression::WhiteAreas | Regression::Combinations);
    let blue = lesion.veil || matches!(lesion.regression, Regression::BlueAreas | Regression::Combinations);
    // White, red, light brown, dark brown, blue-gray, black.
    let dark = lesion.pigmentation != Pattern::Absent;
    let there = [white, false, true, dark, blue, code == 2 && dark];
    let colors: Vec<String> = (1..).zip(there).filter(|(_, there)| *there).map(|(code, _)| code.to_string()).collect();
    format!("|| {name} ||  || {code} || {code} | {criteria} || {} ||\n", colors.join("  "))
}

fn write_ph2(root: &Path, lesions: &[Lesion], config: &Config) -> Result<(), DataError> {
    let name = |index: usize| format!("IMD{:03}", index + 2);
    let mut text =
        "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network | Dots/Globules | \
                    Streaks | Regression Areas | Blue-Whitish Veil || Colors ||\n"
            .to_owned();
    lesions.iter().enumerate().for_each(|(index, lesion)| text += &ph2_row(&name(index), lesion));
    write_file(&root.join("PH2_dataset.txt"), text.as_bytes())?;
    lesions.par_iter().enumerate().try_for_each(|(index, lesion)| {
        let name = name(index);
        let folder = root.join("PH2 Dataset images").join(&name);
        let file = folder.join(format!("{name}_Dermoscopic_Image")).join(format!("{name}.bmp"));
        write_picture(&file, lesion, config.image_size, |bytes, picture| {
            let (width, height) = picture.dimensions();
            BmpEncoder::new(bytes).encode(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
        })?;
        let mask = lesion_mask(lesion, Modality::Dermoscopic, config.image_size);
        let samples: Vec<u8> = mask.iter().map(|&inside| if inside { 255 } else { 0 }).collect();
        let suffix = ph2::MASK_SUFFIX;
        let file = folder.join(format!("{name}{suffix}")).join(format!("{name}{suffix}.bmp"));
        let mut bytes = Vec::new();
        let (width, height) = config.image_size;
        BmpEncoder::new(&mut bytes)
            .encode(&samples, width, height, ExtendedColorType::L8)
            .map_err(|error| failed(&file, io::Error::other(error)))?;
        write_file(&file, &bytes)
    })
}

/// How a challenge calls the files of a part: the ground truth and the folder of images, each between these words.
struct Names {
    truth: fn(&str) -> String,
    images: fn(&str) -> String,
    parts: &'static [&'static str],
}

impl Layout {
    fn names(self) -> Names {
        match self {
            Self::Isic2016 | Self::Ph2 => Names {
                truth: |part| format!("ISBI2016_ISIC_Part3_{part}_GroundTruth.csv"),
                images: |part| format!("ISBI2016_ISIC_Part3_{part}_Data"),
                parts: &["Training", "Test"],
            },
            Self::Isic2017 => Names {
                truth: |part| format!("ISIC-2017_{part}_Part3_GroundTruth.csv"),
                images: |part| format!("ISIC-2017_{part}_Data"),
                parts: &["Training", "Validation", "Test_v2"],
            },
            Self::Isic2018 => Names {
                // Archives unpack into folders of their names.
                truth: |part| format!("ISIC2018_Task3_{part}_GroundTruth/ISIC2018_Task3_{part}_GroundTruth.csv"),
                images: |part| format!("ISIC2018_Task3_{part}_Input"),
                parts: &["Training", "Validation", "Test"],
            },
        }
    }

    /// The class of a lesion: by its number in the loader's list.
    fn class(self, lesion: &Lesion) -> usize {
        let isic_2018 = |name: &str| isic_2018::CLASSES.iter().position(|class| *class == name).unwrap_or(0);
        match (self, lesion.diagnosis) {
            (Self::Isic2016, diagnosis) => usize::from(diagnosis == Diagnosis::Melanoma),
            (Self::Isic2018, Diagnosis::Melanoma) => isic_2018("mel"),
            (Self::Isic2018, Diagnosis::Nevus) => isic_2018("nv"),
            (Self::Isic2018, Diagnosis::BasalCellCarcinoma) => isic_2018("bcc"),
            (Self::Isic2018, Diagnosis::SeborrheicKeratosis) => isic_2018("bkl"),
            (Self::Isic2018, Diagnosis::Miscellaneous) => isic_2018(match lesion.subtype {
                "dermatofibroma" => "df",
                "vascular lesion" => "vasc",
                "miscellaneous" => "akiec",
                _ => "bkl",
            }),
            (_, Diagnosis::Melanoma) => 0,
            (_, Diagnosis::SeborrheicKeratosis) => 2,
            _ => 1,
        }
    }
}

/// To which part the lesions of a class go, one after the other: mostly training, and soon each part.
const DEALT: [usize; 10] = [0, 2, 1, 0, 0, 2, 0, 0, 0, 0];

fn write_challenge(root: &Path, layout: Layout, lesions: &[Lesion], config: &Config) -> Result<(), DataError> {
    let names = layout.names();
    let mut dealt = [0_usize; 16];
    let mut parts: Vec<Vec<(String, &Lesion)>> = vec![Vec::new(); names.parts.len()];
    for (index, lesion) in lesions.iter().enumerate() {
        let class = layout.class(lesion);
        let part = DEALT[dealt[class] % DEALT.len()].min(names.parts.len() - 1);
        dealt[class] += 1;
        parts[part].push((format!("ISIC_{index:07}"), lesion));
    }
    let mut jobs: Vec<(PathBuf, &Lesion)> = Vec::new();
    for (part, (name, cases)) in names.parts.iter().zip(&parts).enumerate() {
        write_table(&root.join((names.truth)(name)), &truth(layout, part, cases))?;
        let folder = root.join((names.images)(name));
        if layout == Layout::Isic2017 {
            write_table(&folder.join(format!("{}_metadata.csv", (names.images)(name))), &record(cases))?;
        }
        if layout == Layout::Isic2018 && part == 0 {
            write_table(&root.join("ISIC2018_Task3_Training_LesionGroupings.csv"), &groupings(cases))?;
        }
        jobs.extend(cases.iter().map(|(id, lesion)| (folder.join(format!("{id}.jpg")), *lesion)));
    }
    jobs.par_iter().try_for_each(|(path, lesion)| {
        write_picture(path, lesion, config.image_size, |bytes, picture| {
            JpegEncoder::new_with_quality(bytes, JPEG_QUALITY).encode_image(picture)
        })
    })
}

/// The ground truth of a part, as the challenge writes it.
fn truth(layout: Layout, part: usize, cases: &[(String, &Lesion)]) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    let one = |there: bool| if there { "1.0" } else { "0.0" };
    let header = match layout {
        Layout::Isic2016 | Layout::Ph2 => None,
        Layout::Isic2017 => Some(words(&["image_id", "melanoma", "seborrheic_keratosis"])),
        Layout::Isic2018 => Some(words(&["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"])),
    };
    let row = |(id, lesion): &(String, &Lesion)| {
        let class = layout.class(lesion);
        match layout {
            Layout::Isic2016 | Layout::Ph2 if part == 0 => words(&[id, ["benign", "malignant"][class]]),
            Layout::Isic2016 | Layout::Ph2 => words(&[id, one(class == 1)]),
            Layout::Isic2017 => words(&[id, one(class == 0), one(class == 2)]),
            Layout::Isic2018 => {
                let name = isic_2018::CLASSES[class];
                let columns = ["mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"].map(|column| one(column == name));
                [vec![id.clone()], words(&columns)].concat()
            }
        }
    };
    header.into_iter().chain(cases.iter().map(row)).collect()
}

/// Age and sex of the images of a part: of every seventh, nothing is recorded.
fn record(cases: &[(String, &Lesion)]) -> Vec<Vec<String>> {
    let header = ["image_id", "age_approximate", "sex"].map(str::to_owned).to_vec();
    let row = |(at, (id, lesion)): (usize, &(String, &Lesion))| {
        let older = if lesion.diagnosis == Diagnosis::Nevus { 0 } else { 20 };
        let age = 25 + older + 5 * (lesion.seed % 7);
        let sex = if lesion.seed.is_multiple_of(2) { "female" } else { "male" };
        match at % 7 {
            6 => vec![id.clone(), "unknown".into(), "unknown".into()],
            _ => vec![id.clone(), age.to_string(), sex.into()],
        }
    };
    [header].into_iter().chain(cases.iter().enumerate().map(row)).collect()
}

/// Lesions of the images of a part: each has one of its own.
fn groupings(cases: &[(String, &Lesion)]) -> Vec<Vec<String>> {
    let header = ["image", "lesion_id", "diagnosis_confirm_type"].map(str::to_owned).to_vec();
    let row =
        |(at, (id, _)): (usize, &(String, &Lesion))| vec![id.clone(), format!("SYN_{at:07}"), "histopathology".into()];
    [header].into_iter().chain(cases.iter().enumerate().map(row)).collect()
}
