//! Whether a picture is one that a network can be asked about: measured on its pixels, before the network sees it.
//!
//! [`ImageMeasures`] are numbers of one picture. [`QualityThresholds`] turn those of a case's pictures into [`QualityFinding`]s:
//! too small, black, white, of one colour, blurred, too dark, too bright, without anything that has the colour of skin, the clinical
//! and the dermoscopic picture exchanged, or twice the same. `docs/quality.md` says how the thresholds were chosen, and how often
//! each finding is wrong on real pictures.
//!
//! Everything is measured on a copy whose longer side has at most 128 pixels. The same pixels give the same bits on every machine:
//! sums are made of whole numbers, and logarithms are those of the crate `libm`.

mod finding;
mod measures;
mod plane;
mod reduced;
#[cfg(test)]
mod tests;
mod thresholds;
mod view_rule;

pub use self::finding::{FindingKind, QualityFinding};
pub use self::measures::ImageMeasures;
pub use self::thresholds::QualityThresholds;
pub use self::view_rule::ViewRule;
