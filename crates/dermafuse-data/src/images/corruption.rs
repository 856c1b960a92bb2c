//! Common corruptions of images at five severities, for measuring what a model loses by them.
//!
//! Kinds and levels of noise, blur, light and digital corruptions are those of ImageNet-C (Hendrycks & Dietterich 2019,
//! *Benchmarking Neural Network Robustness to Common Corruptions and Perturbations*), whose images have a shorter side of 224
//! pixels; [`unit`] says how lengths are scaled to other sizes. Those of dermoscopy (ruler marks, hair, dark corners, gel bubbles)
//! and their levels are a choice of this crate.
//!
//! The same input gives the same bytes on every machine: random numbers are ChaCha8's, functions beyond the arithmetic of IEEE 754
//! are those of the crate `libm`, and sums are made in one order, by one thread.

mod artefact;
mod blur;
mod digital;
mod draw;
mod grain;
mod image_corruption;
mod light;
mod noise;
mod severity;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::shuffle::stream;
use crate::{DataError, RgbPixels};

pub use self::image_corruption::ImageCorruption;
pub use self::severity::Severity;

/// The shorter side of the images that the levels of ImageNet-C were chosen for, in pixels.
const REFERENCE_SIDE: usize = 224;

/// The bytes that a corruption takes for each pixel beside the pixels themselves, at most.
pub(crate) const WORKING_BYTES: u64 = 18;

/// The purpose "corruption" of a stream of random numbers.
const CORRUPTION: u64 = 0x0063_6f72_7275_7074;

/// What corruptions have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorruptionFamily {
    /// Random numbers in pixels.
    Noise,
    /// Pixels that run into each other.
    Blur,
    /// Too much light, or too little difference.
    Light,
    /// What storing images in too few bytes or pixels does.
    Digital,
    /// What lies on the skin or between it and the lens of a dermatoscope.
    Dermoscopy,
}

impl CorruptionFamily {
    /// All families, in the order of [`Corruption::ALL`].
    pub const ALL: [Self; 5] = [Self::Noise, Self::Blur, Self::Light, Self::Digital, Self::Dermoscopy];

    /// The name, e.g. `noise`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Light => "light",
            Self::Digital => "digital",
            Self::Dermoscopy => "dermoscopy",
        }
    }
}

impl fmt::Display for CorruptionFamily {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Turns the table of corruptions into [`Corruption`].
macro_rules! corruptions {
    ($(#[doc = $description:literal] $kind:ident $name:literal = $family:ident;)+) => {
        /// A way in which an image can be bad; as text (and in files) by its name.
        ///
        /// ```
        /// use dermafuse_data::{Corruption, RgbPixels, Severity};
        ///
        /// let grey = RgbPixels::new(2, 1, vec![100; 6])?;
        /// let bright = "brightness".parse::<Corruption>()?.apply(&grey, Severity::new(2)?, 7);
        /// assert_eq!(bright.data(), [151; 6]); // 0.2 of 255 more
        ///
        /// let error = "rain".parse::<Corruption>().unwrap_err().to_string();
        /// assert!(error.starts_with("unknown corruption `rain`: use one of gaussian_noise, shot_noise, "));
        /// # Ok::<(), dermafuse_data::DataError>(())
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Corruption {$(
            #[doc = $description]
            $kind,
        )+}

        impl Corruption {
            const COUNT: usize = [$(Self::$kind),+].len();

            /// All corruptions, family by family.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$kind),+];

            /// The name, e.g. `gaussian_noise`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$kind => $name,)+}
            }

            /// What it does, in a line.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self {$(Self::$kind => $description.trim(),)+}
            }

            /// The family that it belongs to.
            #[must_use]
            pub const fn family(self) -> CorruptionFamily {
                match self {$(Self::$kind => CorruptionFamily::$family,)+}
            }
        }
    };
}

// A new corruption is a row here, and a line in `apply`.
corruptions! {
    /// Normal noise in each colour, as of a sensor in little light
    GaussianNoise "gaussian_noise" = Noise;
    /// Poisson noise in each colour, as of few photons
    ShotNoise "shot_noise" = Noise;
    /// Values that are black or white at random
    ImpulseNoise "impulse_noise" = Noise;
    /// A disc for each point, as of a lens out of focus
    DefocusBlur "defocus_blur" = Blur;
    /// A tail for each point, as of a camera that moves
    MotionBlur "motion_blur" = Blur;
    /// A normal spot for each point
    GaussianBlur "gaussian_blur" = Blur;
    /// More light
    Brightness "brightness" = Light;
    /// Less difference from the mean colour
    Contrast "contrast" = Light;
    /// Stored as a JPEG of low quality
    JpegCompression "jpeg_compression" = Digital;
    /// Fewer, larger pixels
    Pixelate "pixelate" = Digital;
    /// The marks of a ruler along edges
    RulerMarks "ruler_marks" = Dermoscopy;
    /// Dark hairs
    Hair "hair" = Dermoscopy;
    /// Black outside of a circle, as through the tube of a dermatoscope
    DarkCorners "dark_corners" = Dermoscopy;
    /// Bubbles in the gel under the glass
    GelBubbles "gel_bubbles" = Dermoscopy;
}

impl Corruption {
    /// The corrupted image, of the same size. It depends on the four inputs alone, and the draws on the seed alone: the hairs of a
    /// low severity are among those of a high one.
    #[must_use]
    pub fn apply(self, pixels: &RgbPixels, severity: Severity, seed: u64) -> RgbPixels {
        let level = severity.index();
        let rng = &mut stream(seed, 0, 0, CORRUPTION);
        let data = match self {
            Self::GaussianNoise => noise::gaussian(pixels, level, rng),
            Self::ShotNoise => noise::shot(pixels, level, rng),
            Self::ImpulseNoise => noise::impulse(pixels, level, rng),
            Self::DefocusBlur => blur::defocus(pixels, level),
            Self::MotionBlur => blur::motion(pixels, level, rng),
            Self::GaussianBlur => blur::gaussian(pixels, level),
            Self::Brightness => light::brightness(pixels, level),
            Self::Contrast => light::contrast(pixels, level),
            Self::JpegCompression => digital::jpeg(pixels, level),
            Self::Pixelate => digital::pixelate(pixels, level),
            Self::RulerMarks => artefact::ruler_marks(pixels, level, rng),
            Self::Hair => artefact::hair(pixels, level, rng),
            Self::DarkCorners => artefact::dark_corners(pixels, level, rng),
            Self::GelBubbles => artefact::gel_bubbles(pixels, level, rng),
        };
        RgbPixels::new(pixels.width(), pixels.height(), data).expect("a corruption keeps the number of bytes")
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Corruption {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let named = Self::ALL.into_iter().find(|corruption| corruption.name() == name);
        named.ok_or_else(|| DataError::UnknownCorruption {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).to_vec(),
        })
    }
}

/// How many pixels of an image are as long as one pixel of an image whose shorter side has 224; at least 1, so that smaller images
/// are taken as they are. Lengths of ImageNet-C, and the grains of its noise, are multiplied by it: what a model sees after an
/// image is reduced to its input is then corrupted alike, whatever camera the image is from.
fn unit(pixels: &RgbPixels) -> f32 {
    (pixels.width().min(pixels.height()) as f32 / REFERENCE_SIDE as f32).max(1.0)
}

/// The byte that is nearest to a value.
fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}
