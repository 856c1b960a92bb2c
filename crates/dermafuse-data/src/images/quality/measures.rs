use super::plane::{LUMINANCE, OUTSIDE, Plane, square, zones};
use super::reduced::{area_means, reduced};
use super::view_rule::{ViewRule, features};
use crate::RgbPixels;

/// The side of the thumbnails by which pictures are compared, in pixels.
const THUMBNAIL: usize = 16;
/// How much larger red is than the smallest colour, in skin.
const REDNESS: u8 = 8;
/// The least luminance of what can be told to be skin.
const SKIN_LUMINANCE: u8 = 30;
/// What is added to the mean luminance that a sharpness is relative to, so that black pictures have one.
pub(super) const FLOOR: f64 = 16.0;

/// What is measured of one picture before a network sees it.
///
/// Luminances and colours are from 0 to 255. Where it says "in the middle", the ellipse that touches the four edges is meant: the
/// corners of a picture through a dermatoscope are often black.
///
/// ```
/// use dermafuse_data::{ImageMeasures, RgbPixels};
///
/// let skin = ImageMeasures::of(&RgbPixels::new(200, 150, [210, 160, 140].repeat(200 * 150))?);
/// assert_eq!((skin.width, skin.height), (200, 150));
/// assert_eq!((skin.skin, skin.range, skin.sharpness), (1.0, 0.0, 0.0)); // of the colour of skin, and without any detail
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImageMeasures {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// The median luminance in the middle.
    pub brightness: f64,
    /// The luminance in the middle that 1 % of the pixels are below.
    pub darkest: f64,
    /// The luminance in the middle that 1 % of the pixels are above.
    pub brightest: f64,
    /// The difference between the values that 1 % of the pixels are above and below, of the colour where it is largest.
    pub range: f64,
    /// The share of the pixels in the middle that have a colour of skin, 0 to 1: red is the largest colour, by more than 8 above the
    /// smallest, and the luminance is above 30.
    pub skin: f64,
    /// The variance of the Laplacian of the luminance, over the square of (its mean + 16), in 10⁻⁴.
    pub sharpness: f64,
    /// What [`ViewRule`] says: above 0 it is more like a dermoscopic picture, below 0 more like a clinical one.
    pub dermoscopic: f64,
    /// The picture reduced to 16 × 16 pixels, to be compared with another.
    pub(super) thumbnail: Vec<u8>,
}

impl ImageMeasures {
    /// Measures decoded pixels.
    #[must_use]
    pub fn of(pixels: &RgbPixels) -> Self {
        let copy = reduced(pixels);
        let (luminance, zones) = (Plane::luminance(&copy), zones(&copy));
        let (mut luminances, mut colours) = (Histogram::default(), <[Histogram; 3]>::default());
        let mut skin = 0_u64;
        for (at, pixel) in copy.data().chunks_exact(3).enumerate() {
            pixel.iter().zip(&mut colours).for_each(|(value, histogram)| histogram.add(*value));
            if zones[at] >= OUTSIDE {
                continue;
            }
            let light = (luminance.values[at] / LUMINANCE) as u8;
            luminances.add(light);
            let &[red, green, blue] = pixel else { unreachable!("a pixel has three colours") };
            let least = green.min(blue);
            let is_skin = red >= green.max(blue) && red.saturating_sub(least) > REDNESS && light > SKIN_LUMINANCE;
            skin += u64::from(is_skin);
        }
        let range = colours.iter().map(|colour| colour.percentile(99) - colour.percentile(1)).fold(0.0, f64::max);
        Self {
            width: pixels.width(),
            height: pixels.height(),
            brightness: luminances.percentile(50),
            darkest: luminances.percentile(1),
            brightest: luminances.percentile(99),
            range,
            skin: skin as f64 / luminances.count.max(1) as f64,
            sharpness: 1e4 * luminance.laplacian().variance() / square(luminance.mean() + FLOOR * LUMINANCE as f64),
            dermoscopic: ViewRule::SHIPPED.score(&features(&copy)),
            thumbnail: area_means(&copy, THUMBNAIL, THUMBNAIL).data().to_vec(),
        }
    }

    /// The shorter side in pixels.
    #[must_use]
    pub fn shorter_side(&self) -> usize {
        self.width.min(self.height)
    }

    /// How much another picture differs from it: the mean difference of a colour, 0 to 255, after both were reduced to 16 × 16
    /// pixels. The two pictures of a lesion of MILK10k differ by more than 7; a picture that was stored again, in another size or as a
    /// JPEG of quality 25, by less than 2.
    #[must_use]
    pub fn difference(&self, other: &Self) -> f64 {
        let differences =
            self.thumbnail.iter().zip(&other.thumbnail).map(|(one, other)| u64::from(one.abs_diff(*other)));
        differences.sum::<u64>() as f64 / self.thumbnail.len() as f64
    }
}

/// How often each byte was there.
struct Histogram {
    counts: [u64; 256],
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; 256], count: 0 }
    }
}

impl Histogram {
    fn add(&mut self, value: u8) {
        self.counts[usize::from(value)] += 1;
        self.count += 1;
    }

    /// The smallest value that so many per cent of the values do not exceed; 0 without values.
    fn percentile(&self, percent: u64) -> f64 {
        let (wanted, mut seen) = ((self.count * percent).div_ceil(100).max(1), 0);
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.unwrap_or(0) as f64
    }
}
