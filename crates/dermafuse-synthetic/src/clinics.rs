//! Rendered photos in a folder for each class, as clinics with a camera and a set of classes of their own would have
//! them: stand-ins for DermAI, which is private, and for Dermofit, which is licensed.
//!
//! A class has a [`Look`], which is the same in every clinic. What differs is the [`Camera`]: how near it is, its
//! colours, light, sharpness and noise. A network that was trained on one clinic's photos and is shown another's meets
//! such a change. The stand-in for EDRA is [`write`](crate::write())'s set in the layout of Derm7pt.

use std::io;
use std::path::Path;

use dermafuse_data::{DataError, Modality, SYNTHETIC_MARKER};
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::files::{NOTICE, failed, write_file};
use crate::noise::{Stream, derive};
use crate::{Diagnosis, Lesion, Pattern, Regression, Vessels, render};

/// How a class is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// Waxy, with milia-like cysts.
    SeborrheicKeratosis,
    /// Rough and red.
    ActinicKeratosis,
    /// Brown and symmetric, with a network, or blue or without pigment as a few are.
    Nevus,
    /// Pale, with a crown of vessels.
    Molluscum,
    /// Red lacunae.
    Haemangioma,
    /// Red and rough, with thick vessels.
    UncertainNeoplasm,
    /// A pale centre.
    Dermatofibroma,
    /// Even and light brown.
    SolarLentigo,
    /// Skin-coloured.
    Fibroma,
    /// Waxy, with red points.
    Wart,
    /// Rough, with scar-like areas and winding vessels.
    OtherMalignant,
    /// Translucent, with branching vessels.
    BasalCellCarcinoma,
    /// Of several colours, uneven.
    Melanoma,
}

impl Look {
    fn lesion(self, clarity: f32, seed: u64) -> Lesion {
        let mut stream = Stream::new(seed, "look");
        let plain = |diagnosis| Lesion::plain(diagnosis, derive(seed, "lesion"));
        let misc = |subtype| Lesion { subtype, ..plain(Diagnosis::Miscellaneous) };
        let mut lesion = match self {
            Self::SeborrheicKeratosis => plain(Diagnosis::SeborrheicKeratosis),
            Self::ActinicKeratosis => misc("miscellaneous"),
            Self::Nevus => {
                let subtypes = ["clark nevus", "dermal nevus", "blue nevus"];
                let subtype = subtypes[stream.weighted(&[8.0, 1.0, 1.0])];
                let network = if subtype == "clark nevus" { Pattern::Regular } else { Pattern::Absent };
                Lesion { subtype, network, ..plain(Diagnosis::Nevus) }
            }
            Self::Molluscum => Lesion { subtype: "dermal nevus", vessels: Vessels::Wreath, ..plain(Diagnosis::Nevus) },
            Self::Haemangioma => misc("vascular lesion"),
            Self::UncertainNeoplasm => Lesion { vessels: Vessels::Arborizing, ..misc("miscellaneous") },
            Self::Dermatofibroma => misc("dermatofibroma"),
            Self::SolarLentigo => misc("lentigo"),
            Self::Fibroma => Lesion { subtype: "dermal nevus", ..plain(Diagnosis::Nevus) },
            Self::Wart => Lesion { vessels: Vessels::Dotted, ..plain(Diagnosis::SeborrheicKeratosis) },
            Self::OtherMalignant => {
                let (vessels, regression) = (Vessels::LinearIrregular, Regression::WhiteAreas);
                Lesion { vessels, regression, ..misc("miscellaneous") }
            }
            Self::BasalCellCarcinoma => Lesion { vessels: Vessels::Arborizing, ..plain(Diagnosis::BasalCellCarcinoma) },
            Self::Melanoma => {
                let (streaks, pigmentation) = (Pattern::Irregular, Pattern::Irregular);
                Lesion { streaks, pigmentation, veil: stream.chance(0.5), ..plain(Diagnosis::Melanoma) }
            }
        };
        lesion.clarity = 1.0;
        lesion.clinical_clarity = clarity;
        lesion
    }
}

/// What a camera makes of a photo. Ranges are drawn anew for each photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// How much nearer it is than usual, from 1.
    pub zoom: [f32; 2],
    /// Factors on red, green and blue.
    pub tint: [f32; 3],
    /// How much these factors vary, in ±.
    pub tint_spread: f32,
    /// Factor on all light.
    pub exposure: [f32; 2],
    /// Times that it blurs by a pixel.
    pub blur: usize,
    /// Noise, in ± steps of 255.
    pub noise: f32,
    /// JPEG quality.
    pub quality: u8,
}

impl Camera {
    /// A telephone: near and far, any light, noise, strong compression.
    pub const TELEPHONE: Self = Self {
        zoom: [1.0, 1.7],
        tint: [1.06, 1.0, 0.86],
        tint_spread: 0.10,
        exposure: [0.60, 1.05],
        blur: 1,
        noise: 9.0,
        quality: 60,
    };

    /// A standard camera, close up: cool and even light, sharp.
    pub const CLOSE_UP: Self = Self {
        zoom: [1.9, 2.2],
        tint: [0.95, 1.0, 1.08],
        tint_spread: 0.02,
        exposure: [1.0, 1.08],
        blur: 0,
        noise: 2.0,
        quality: 92,
    };
}

/// One class of a clinic: the name of its folder, how it is drawn, and how many photos there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The folder.
    pub name: String,
    /// How it is drawn.
    pub look: Look,
    /// Photos.
    pub photos: usize,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The classes.
    pub classes: Vec<Class>,
    /// The camera.
    pub camera: Camera,
    /// Width and height of the photos, in pixels.
    pub image_size: (u32, u32),
    /// The contrast of what tells the classes apart: 1 is clear, smaller is harder.
    pub clarity: f32,
    /// Decides everything that is drawn at random.
    pub seed: u64,
}

/// DermAI's classes with their published numbers of photos.
const DERMAI: [(&str, Look, usize); 13] = [
    ("SebKer", Look::SeborrheicKeratosis, 1186),
    ("ActKer", Look::ActinicKeratosis, 519),
    ("Nev", Look::Nevus, 618),
    ("MolCont", Look::Molluscum, 71),
    ("Haem", Look::Haemangioma, 70),
    ("UncNeop", Look::UncertainNeoplasm, 246),
    ("Drmfib", Look::Dermatofibroma, 141),
    ("SLent", Look::SolarLentigo, 48),
    ("PenFib", Look::Fibroma, 115),
    ("VWat", Look::Wart, 192),
    ("OtMalNeop", Look::OtherMalignant, 116),
    ("BCC", Look::BasalCellCarcinoma, 56),
    ("MM", Look::Melanoma, 52),
];

/// Dermofit's.
const DERMOFIT: [(&str, Look, usize); 10] = [
    ("AK", Look::ActinicKeratosis, 45),
    ("BCC", Look::BasalCellCarcinoma, 239),
    ("ML", Look::Nevus, 331),
    ("SK", Look::SeborrheicKeratosis, 257),
    ("SCC", Look::OtherMalignant, 88),
    ("IEC", Look::OtherMalignant, 78),
    ("PYO", Look::UncertainNeoplasm, 24),
    ("VASC", Look::Haemangioma, 97),
    ("DF", Look::Dermatofibroma, 65),
    ("MEL", Look::Melanoma, 76),
];

/// No class has fewer photos, so that each part of a split gets some.
const LEAST: usize = 8;

impl Config {
    /// A stand-in for DermAI: 13 classes as frequent as published, of about so many photos, by telephone.
    #[must_use]
    pub fn dermai(photos: usize, seed: u64) -> Self {
        Self::of(&DERMAI, photos, Camera::TELEPHONE, 0.8, derive(seed, "dermai"))
    }

    /// A stand-in for Dermofit: ten classes as frequent as published, of about so many photos, close up.
    #[must_use]
    pub fn dermofit(photos: usize, seed: u64) -> Self {
        Self::of(&DERMOFIT, photos, Camera::CLOSE_UP, 1.0, derive(seed, "dermofit"))
    }

    fn of(classes: &[(&str, Look, usize)], photos: usize, camera: Camera, clarity: f32, seed: u64) -> Self {
        let total: usize = classes.iter().map(|(_, _, count)| count).sum();
        let class = |&(name, look, count): &(&str, Look, usize)| {
            let share = (photos as f64 * count as f64 / total as f64).round() as usize;
            Class { name: name.to_owned(), look, photos: share.max(LEAST) }
        };
        Self { classes: classes.iter().map(class).collect(), camera, image_size: (96, 96), clarity, seed }
    }
}

/// Writes a folder for each class below `root`, which is created, and the file `SYNTHETIC`; files of the same name are
/// replaced.
///
/// The same configuration gives the same bytes, on any number of threads.
///
/// # Errors
/// A side of the image size that is 0; a zoom below 1; a file or folder that cannot be written.
pub fn write(root: &Path, config: &Config) -> Result<(), DataError> {
    if config.image_size.0 == 0 || config.image_size.1 == 0 {
        let found = format!("{:?}", config.image_size);
        return Err(DataError::Setting { what: "size of the photos", found, expected: "at least one pixel" });
    }
    let [near, nearest] = config.camera.zoom;
    if !(near >= 1.0 && nearest >= near && nearest <= 8.0) {
        let found = format!("{:?}", config.camera.zoom);
        return Err(DataError::Setting { what: "zoom", found, expected: "from 1 to 8, the nearest last" });
    }
    write_file(&root.join(SYNTHETIC_MARKER), NOTICE.as_bytes())?;
    let photos: Vec<(&Class, usize)> =
        config.classes.iter().flat_map(|class| (0..class.photos).map(move |number| (class, number))).collect();
    photos.par_iter().try_for_each(|(class, number)| {
        let path = root.join(&class.name).join(format!("{number:04}.jpg"));
        let seed = derive(config.seed, &format!("{} {number}", class.name));
        let photo = config.camera.take(&class.look.lesion(config.clarity, seed), config.image_size, seed);
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, config.camera.quality)
            .encode_image(&photo)
            .map_err(|error| failed(&path, io::Error::other(error)))?;
        write_file(&path, &bytes)
    })
}

impl Camera {
    fn take(&self, lesion: &Lesion, (width, height): (u32, u32), seed: u64) -> RgbImage {
        let mut stream = Stream::new(seed, "camera");
        let zoom = stream.range(self.zoom[0], self.zoom[1]);
        let exposure = stream.range(self.exposure[0], self.exposure[1]);
        let factors = self.tint.map(|tint| exposure * (tint + stream.range(-self.tint_spread, self.tint_spread)));
        let larger = |side: u32| (side as f32 * zoom).round() as u32;
        let whole = render(lesion, Modality::Clinical, (larger(width), larger(height)));
        let (left, top) = ((whole.width() - width) / 2, (whole.height() - height) / 2);
        let mut photo = image::imageops::crop_imm(&whole, left, top, width, height).to_image();
        for _ in 0..self.blur {
            photo = blurred(&photo);
        }
        for pixel in photo.pixels_mut() {
            let grain = self.noise * stream.range(-1.0, 1.0);
            for (value, factor) in pixel.0.iter_mut().zip(factors) {
                *value = (f32::from(*value) * factor + grain).round().clamp(0.0, 255.0) as u8;
            }
        }
        photo
    }
}

/// The mean of each pixel and its eight neighbours, as far as there are.
fn blurred(photo: &RgbImage) -> RgbImage {
    let (width, height) = photo.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let (mut sum, mut count) = ([0_u32; 3], 0_u32);
        for down in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for across in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                sum.iter_mut().zip(photo.get_pixel(across, down).0).for_each(|(sum, value)| *sum += u32::from(value));
                count += 1;
            }
        }
        image::Rgb(sum.map(|sum| (sum / count) as u8))
    })
}

#[cfg(test)]
mod tests {
    use dermafuse_data::{ClassMap, Split, class_folders, derm7pt, dermofit};

    use super::*;
    use crate::SyntheticConfig;

    fn small(config: Config) -> Config {
        Config { image_size: (24, 20), ..config }
    }

    #[test]
    fn the_stand_ins_are_read_and_merged_as_the_sets_that_they_stand_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("dermai"), &small(Config::dermai(150, 1))).unwrap();
        write(&at("dermofit"), &small(Config::dermofit(100, 1))).unwrap();
        let edra = SyntheticConfig { cases: 60, image_size: (24, 20), ..Default::default() };
        crate::write(&at("edra"), &edra).unwrap();
        let mut target = class_folders::load(at("dermai")).unwrap();
        assert!(target.synthetic);
        assert_eq!(target.tasks[0].classes.len(), 13);
        let rows: Vec<usize> = (0..target.len()).collect();
        assert!(target.view(&rows).unwrap().class_counts(0).unwrap().iter().all(|&count| count >= LEAST));
        target.split = Some(Split::stratified(&target, 0, [0.6, 0.2, 0.2], 0).unwrap());
        let (edra, fit) = (derm7pt::load_edra(at("edra")).unwrap(), dermofit::load(at("dermofit")).unwrap());
        let sets = [("dermai", &target), ("edra", &edra), ("dermofit", &fit)];
        let merged = ClassMap::dermai_edra_dermofit().merge(&sets).unwrap();
        assert!(merged.synthetic && merged.len() > target.len() + fit.len());
        ClassMap::edra_groups().merge(&[("edra", &edra)]).unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_cameras_differ() {
        let folder = tempfile::tempdir().unwrap();
        let photo = |name: &str, config: &Config| {
            let root = folder.path().join(name);
            write(&root, config).unwrap();
            std::fs::read(root.join("Nev/0000.jpg")).unwrap()
        };
        let config = small(Config::dermai(100, 3));
        let one = photo("a", &config);
        assert_eq!(one, photo("b", &config));
        assert_ne!(one, photo("c", &small(Config::dermai(100, 4))));
        assert_ne!(one, photo("d", &Config { camera: Camera::CLOSE_UP, ..config.clone() }));

        let mean = |camera: Camera| -> [f64; 3] {
            let lesion = Look::Nevus.lesion(1.0, 7);
            let mut sums = [0.0; 3];
            for seed in 0..20 {
                for pixel in camera.take(&lesion, (24, 20), seed).pixels() {
                    sums.iter_mut().zip(pixel.0).for_each(|(sum, value)| *sum += f64::from(value));
                }
            }
            sums
        };
        let (telephone, close_up) = (mean(Camera::TELEPHONE), mean(Camera::CLOSE_UP));
        assert!(telephone[0] / telephone[2] > 1.15 * close_up[0] / close_up[2], "{telephone:?} {close_up:?}");
        let wrong = Config { camera: Camera { zoom: [0.5, 1.0], ..Camera::TELEPHONE }, ..config };
        assert!(write(folder.path(), &wrong).unwrap_err().to_string().starts_with("zoom: [0.5, 1.0] is not from 1"));
    }
}
