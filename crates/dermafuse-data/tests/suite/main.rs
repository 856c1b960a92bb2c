//! What the crate promises, from the outside.

mod derm7pt;
mod encoder;
mod fixture;
mod images;
mod loader;
mod milk10k;
mod real_data;
mod split;
