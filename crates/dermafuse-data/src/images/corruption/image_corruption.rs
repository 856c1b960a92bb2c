use dermafuse_schema::{CaseId, Modality};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Corruption, Severity};
use crate::RgbPixels;

/// One corruption of the images of a data set, at one severity. It is made of the image as it was decoded, upright and in its own
/// size, before it is resized to the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageCorruption {
    /// What is wrong with the images.
    pub corruption: Corruption,
    /// How much.
    pub severity: Severity,
    /// The only kind of images that is corrupted; `None` for both.
    pub only: Option<Modality>,
    /// Decides the draws, together with the address of an image.
    pub seed: u64,
}

impl ImageCorruption {
    /// The image of a case, which is the `look`-th of its kind, as it is corrupted; an image of another kind as it is. The draws
    /// depend on the seed, the name of the case, the kind of image, `look`, corruption and severity, so neither on the place
    /// of the case in a set nor on where its files lie.
    #[must_use]
    pub fn apply(&self, pixels: &RgbPixels, case: &CaseId, kind: Modality, look: usize) -> RgbPixels {
        match self.is_of(kind) {
            true => self.corruption.apply(pixels, self.severity, self.address(case, kind, look)),
            false => pixels.clone(),
        }
    }

    /// Whether images of that kind are corrupted.
    #[must_use]
    pub fn is_of(&self, kind: Modality) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    /// The seed of an image: the first eight bytes of a SHA-256 over its address.
    fn address(&self, case: &CaseId, kind: Modality, look: usize) -> u64 {
        let mut digest = Sha256::new();
        digest.update(self.seed.to_le_bytes());
        for name in [case.as_str(), kind.name(), self.corruption.name()] {
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
        }
        digest.update((look as u64).to_le_bytes());
        digest.update([self.severity.get()]);
        digest.finalize().iter().take(8).rev().fold(0, |seed, &byte| seed << 8 | u64::from(byte))
    }
}
