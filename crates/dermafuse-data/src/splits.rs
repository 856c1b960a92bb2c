//! Which cases train, select and test: dealing them out, the files that keep it, and what no split may part.

pub(crate) mod deal;
pub(crate) mod fingerprint;
pub(crate) mod folds;
pub(crate) mod groups;
pub(crate) mod identical_images;
pub(crate) mod image_hash;
pub(crate) mod near_duplicates;
pub(crate) mod split_file;
mod training_fraction;
