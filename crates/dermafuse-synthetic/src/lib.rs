//! Procedurally rendered lesions for DermaFuse, so that every program runs without any patient's picture.
//!
//! [`write()`] makes a folder that the Derm7pt loader reads: images, `meta/meta.csv` and the three index files, plus a
//! file `SYNTHETIC` that says what it is. Each label has a visible cause in the dermoscopic picture and a fainter one
//! in the clinical picture, and the metadata depends on the labels too, so that learning and fusing have something to
//! find. No number measured on these pictures says anything about skin.
//!
//! [`render`] draws one [`Lesion`], [`lesion_mask`] and [`structure_mask`] say where in its picture it and its structures are;
//! [`sample`] draws the cases without writing them. [`pad_ufes_20`] draws photos with a record instead, of which it is known
//! what a classifier can learn from each; [`clinics`] draws photos in class folders, by different cameras; [`layouts`] draws
//! dermoscopic images in the layouts of PH² and of the challenges of ISIC.
//!
//! ```
//! use dermafuse_synthetic::{SyntheticConfig, write};
//!
//! let folder = tempfile::tempdir()?;
//! let config = SyntheticConfig { cases: 24, image_size: (32, 24), ..SyntheticConfig::default() };
//! write(folder.path(), &config)?;
//! let set = dermafuse_data::derm7pt::load(folder.path())?;
//! assert_eq!((set.len(), set.synthetic), (24, true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod canvas;
pub mod clinics;
mod config;
mod files;
pub mod layouts;
mod lesion;
mod masks;
mod noise;
mod non_lesions;
pub mod pad_ufes_20;
mod pairs;
mod render;
mod sample;
mod scene;
mod shape;
mod structures;
mod table;
#[cfg(test)]
mod tests;
mod vessels;
mod view;

pub use config::SyntheticConfig;
pub use lesion::{Diagnosis, Lesion, Pattern, Regression, SyntheticCase, Vessels};
pub use masks::{Structure, lesion_mask, structure_mask};
pub use non_lesions::{NonLesion, write_non_lesions};
pub use pairs::write;
pub use render::render;
pub use sample::sample;
