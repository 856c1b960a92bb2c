//! The data sets that are read, each in a module of its own, and what they have in common.

pub mod class_folders;
pub(crate) mod class_map;
pub mod derm7pt;
pub mod dermofit;
pub mod described;
pub mod ham10000;
pub mod isic_2016;
pub mod isic_2017;
pub mod isic_2018;
pub mod isic_2019;
pub mod isic_2020;
pub mod isic_2024;
pub(crate) mod joined_sets;
pub(crate) mod kind;
pub(crate) mod load_options;
pub(crate) mod malignancy;
pub mod milk10k;
pub(crate) mod model_outputs;
pub(crate) mod official_parts;
pub mod pad_ufes_20;
pub mod ph2;
pub(crate) mod proposal;
