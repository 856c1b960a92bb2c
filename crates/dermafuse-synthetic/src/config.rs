//! What to draw.

use serde::{Deserialize, Serialize};

/// What to write: how many cases, how large, how hard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyntheticConfig {
    /// How many cases. From 24 on, every class of every task is in the training part; from about 60 on,
    /// in each part.
    pub cases: usize,
    /// Width and height of the images, in pixels.
    pub image_size: (u32, u32),
    /// Decides everything that is drawn at random.
    pub seed: u64,
    /// The contrast of all structures: 1 is usual, smaller is harder.
    pub clarity: f32,
    /// What of that contrast is left in the clinical pictures.
    pub clinical_clarity: f32,
    /// How much the metadata says about the labels: 1 is usual, 0 is nothing.
    pub metadata_strength: f32,
    /// Whether to add what makes the published files hard to read: names that differ from the table's in case, rows
    /// whose two images are one file, images of different sizes.
    pub with_traps: bool,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            cases: 200,
            image_size: (256, 192),
            seed: 0,
            clarity: 1.0,
            clinical_clarity: 0.35,
            metadata_strength: 1.0,
            with_traps: false,
        }
    }
}
