//! The verb `draw`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dermafuse::data::{DataError, DataSetKind};
use dermafuse::synthetic::layouts::{self, Layout};
use dermafuse::synthetic::{self, SyntheticConfig, clinics, pad_ufes_20};

use crate::failure::{Failure, ProgramResult};
use crate::terminal::{print_error, say};

/// Draw a synthetic data set, which shows nobody.
///
/// It is for trying things without any patient's picture. No number measured on such pictures says anything about skin.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// What is drawn.
    #[arg(value_enum)]
    kind: Kind,
    /// The folder for the data set, new or empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The number of cases; a clinic has at least eight photos of each class.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    /// The seed: another number gives other cases.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How clearly the clinical photos of derm7pt show what the dermoscopic images show, from 0 to 1.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    clinical_clarity: Option<f32>,
    /// The size of the images in pixels; that of the kind if not given.
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    image_size: Option<(u32, u32)>,
}

/// What can be drawn, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Pairs of a clinical and a dermoscopic image with a record and the seven-point checklist, in the layout of Derm7pt.
    Derm7pt,
    /// Photos with a long record, in the layout of PAD-UFES-20.
    #[value(name = "pad-ufes-20")]
    PadUfes20,
    /// Photos of thirteen diagnoses by telephone, in a folder for each class: a stand-in for DermAI.
    Dermai,
    /// Photos of ten diagnoses by a close-up camera, in the layout of Dermofit.
    Dermofit,
    /// Dermoscopic images with criteria and masks, in the layout of PH².
    Ph2,
    /// Dermoscopic images, benign or malignant, in the layout of ISIC 2016.
    #[value(name = "isic-2016")]
    Isic2016,
    /// Dermoscopic images of three diagnoses with age and sex, in the layout of ISIC 2017.
    #[value(name = "isic-2017")]
    Isic2017,
    /// Dermoscopic images of seven diagnoses, in the layout of ISIC 2018.
    #[value(name = "isic-2018")]
    Isic2018,
}

impl Kind {
    /// How it is read again.
    fn read_as(self) -> DataSetKind {
        match self {
            Self::Derm7pt => DataSetKind::Derm7pt,
            Self::PadUfes20 => DataSetKind::PadUfes20,
            Self::Dermai => DataSetKind::ClassFolders,
            Self::Dermofit => DataSetKind::Dermofit,
            Self::Ph2 => DataSetKind::Ph2Criteria,
            Self::Isic2016 => DataSetKind::Isic2016,
            Self::Isic2017 => DataSetKind::Isic2017,
            Self::Isic2018 => DataSetKind::Isic2018,
        }
    }

    fn write(self, arguments: &Arguments) -> Result<(), DataError> {
        let Arguments { folder, cases, seed, image_size, clinical_clarity, .. } = arguments;
        let (cases, seed) = (*cases as usize, *seed);
        match self {
            Self::Derm7pt => {
                let config = SyntheticConfig { cases, seed, ..SyntheticConfig::default() };
                let image_size = image_size.unwrap_or(config.image_size);
                let clinical_clarity = clinical_clarity.unwrap_or(config.clinical_clarity);
                synthetic::write(folder, &SyntheticConfig { image_size, clinical_clarity, ..config })
            }
            Self::PadUfes20 => {
                let config = pad_ufes_20::Config { photos: cases, seed, ..pad_ufes_20::Config::default() };
                let image_size = image_size.unwrap_or(config.image_size);
                pad_ufes_20::write(folder, &pad_ufes_20::Config { image_size, ..config })
            }
            Self::Dermai | Self::Dermofit => {
                let config = match self {
                    Self::Dermai => clinics::Config::dermai(cases, seed),
                    _ => clinics::Config::dermofit(cases, seed),
                };
                let image_size = image_size.unwrap_or(config.image_size);
                clinics::write(folder, &clinics::Config { image_size, ..config })
            }
            Self::Ph2 => write_layout(Layout::Ph2, arguments),
            Self::Isic2016 => write_layout(Layout::Isic2016, arguments),
            Self::Isic2017 => write_layout(Layout::Isic2017, arguments),
            Self::Isic2018 => write_layout(Layout::Isic2018, arguments),
        }
    }
}

fn write_layout(layout: Layout, arguments: &Arguments) -> Result<(), DataError> {
    let Arguments { folder, cases, seed, image_size, .. } = arguments;
    let config = layouts::Config { images: *cases as usize, seed: *seed, ..layouts::Config::default() };
    let image_size = image_size.unwrap_or(config.image_size);
    layouts::write(folder, layout, &layouts::Config { image_size, ..config })
}

pub(crate) fn draw(arguments: &Arguments) -> ProgramResult {
    let Arguments { kind, folder, cases, clinical_clarity, .. } = arguments;
    if clinical_clarity.is_some() && *kind != Kind::Derm7pt {
        return Err("--clinical-clarity is about derm7pt; leave it out".into());
    }
    require_empty(folder)?;
    print_error(format_args!("drawing {cases} cases in {}\n", folder.display()));
    kind.write(arguments)?;
    let read_as = kind.read_as();
    say!("drawn: {} cases; they are read with --data {read_as}={}", read_as.load(folder)?.len(), folder.display());
    Ok(())
}

/// Refuses a folder in which old and new pictures would be mixed.
fn require_empty(folder: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{}: {error}", folder.display()).into()),
    };
    for entry in entries {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            let (folder, name) = (folder.display(), name.to_string_lossy().into_owned());
            return Err(format!("{folder} holds `{name}`; give a new or empty folder").into());
        }
    }
    Ok(())
}

/// A share from 0 to 1.
fn share(text: &str) -> Result<f32, String> {
    let share = text.parse::<f32>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "give a number from 0 to 1".to_owned())
}

/// Width and height in pixels, as `WIDTHxHEIGHT`.
fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse::<u32>().ok().filter(|side| (1..=4096).contains(side));
    let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| "give WIDTHxHEIGHT in pixels, each from 1 to 4096, such as 256x192".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_numbers() {
        assert_eq!(size("256x192"), Ok((256, 192)));
        for wrong in ["256", "0x10", "10x5000", "ax1", "-1x1"] {
            assert!(size(wrong).unwrap_err().starts_with("give WIDTHxHEIGHT"), "{wrong}");
        }
    }

    #[test]
    fn what_can_be_drawn_is_called_as_what_it_stands_for() {
        let names = Kind::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        assert_eq!(
            names,
            ["derm7pt", "pad-ufes-20", "dermai", "dermofit", "ph2", "isic-2016", "isic-2017", "isic-2018"]
        );
    }
}
