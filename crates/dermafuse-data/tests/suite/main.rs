//! What the crate promises, from the outside.

mod class_map;
mod derm7pt;
mod described;
#[cfg(feature = "dicom")]
mod dicom;
mod encoder;
mod files_as_found;
mod fixture;
mod folds;
mod formats;
mod groups;
mod ham10000;
mod image_check;
mod images;
mod isic_2019;
mod isic_2020;
mod isic_parts;
mod lesions;
mod loader;
mod milk10k;
mod near_duplicates;
mod pad_ufes_20;
mod photos;
mod proposal;
mod real_data;
mod split;
mod split_file;
mod tables_as_found;
