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

pub(super) fn square(value: f64) -> f64 {
    value * value
}

/// What a luminance of 1 is in a [`Plane`].
pub(super) const LUMINANCE: i64 = 256;

/// The zones of a picture: the middle, two rings around it, and what lies outside of them, the corners.
pub(super) const ZONES: usize = 4;
/// The corners: outside of the ellipse that touches the four edges.
pub(super) const OUTSIDE: usize = 3;

/// The zone of each pixel: rings end at 0.4, 0.75 and 1 of the ellipse that touches the four edges.
pub(super) fn zones(copy: &RgbPixels) -> Vec<usize> {
    let from_middle = |place: usize, side: usize| (2 * place + 1).abs_diff(side) as u64;
    let (width, height) = (copy.width() as u64, copy.height() as u64);
    // Squares of the distance and of the edge, times the squares of both sides.
    let edge = (width * height).pow(2);
    let ends = [(edge * 4).div_ceil(25), (edge * 9).div_ceil(16), edge];
    let mut zones = Vec::with_capacity(copy.width() * copy.height());
    for y in 0..copy.height() {
        let down = (from_middle(y, copy.height()) * width).pow(2);
        zones.extend((0..copy.width()).map(|x| {
            let distance = (from_middle(x, copy.width()) * height).pow(2) + down;
            ends.iter().filter(|end| distance >= **end).count()
        }));
    }
    zones
}

/// Whole numbers in rows. Of a copy of 128 × 128 pixels, four times halved, sums of squares stay below 2⁶³.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    width: usize,
    height: usize,
    pub(super) values: Vec<i64>,
}

impl Plane {
    /// The luminance in 1/256: `77 red + 150 green + 29 blue`.
    pub(super) fn luminance(pixels: &RgbPixels) -> Self {
        Self::of(pixels, |[red, green, blue]| 77 * red + 150 * green + 29 * blue)
    }

    /// The share of a colour in the sum of the three, in 1/65,536 of it.
    pub(super) fn share(pixels: &RgbPixels, colour: usize) -> Self {
        Self::of(pixels, |pixel| (pixel[colour] << 16) / (pixel.iter().sum::<u32>() + 3))
    }

    fn of(pixels: &RgbPixels, value: impl Fn([u32; 3]) -> u32) -> Self {
        let values = pixels.data().chunks_exact(3);
        let values = values.map(|pixel| i64::from(value([0, 1, 2].map(|colour| u32::from(pixel[colour])))));
        Self { width: pixels.width(), height: pixels.height(), values: values.collect() }
    }

    /// Half as wide and high: sums over 2 × 2 values, so they are four times as large. A side of 1 stays.
    pub(super) fn halved(&self) -> Self {
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        let at = |x: usize, y: usize| self.values[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let sum = |x: usize, y: usize| {
            at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1)
        };
        let values = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| sum(x, y)).collect();
        Self { width, height, values }
    }

    /// The sum of the four neighbours less four times the value, of all values that have four neighbours.
    pub(super) fn laplacian(&self) -> Self {
        let (width, height) = (self.width.saturating_sub(2), self.height.saturating_sub(2));
        let mut values = Vec::with_capacity(width * height);
        for y in 1..=height {
            let row = |y: usize| &self.values[y * self.width..][..self.width];
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            values.extend((1..=width).map(|x| above[x] + below[x] + here[x - 1] + here[x + 1] - 4 * here[x]));
        }
        Self { width, height, values }
    }

    /// The mean square of the differences to the right and to the lower neighbour together; 0 without any.
    pub(super) fn slope(&self) -> f64 {
        let (width, height) = (self.width.saturating_sub(1), self.height.saturating_sub(1));
        let mut sum = 0;
        for y in 0..height {
            let (here, below) = (&self.values[y * self.width..], &self.values[(y + 1) * self.width..]);
            for x in 0..width {
                let (right, down) = (here[x + 1] - here[x], below[x] - here[x]);
                sum += right * right + down * down;
            }
        }
        sum as f64 / (width * height).max(1) as f64
    }

    /// The mean; 0 without values.
    pub(super) fn mean(&self) -> f64 {
        self.values.iter().sum::<i64>() as f64 / self.values.len().max(1) as f64
    }

    /// The mean square of the difference from the mean; 0 without values.
    pub(super) fn variance(&self) -> f64 {
        let squares: i64 = self.values.iter().map(|value| value * value).sum();
        (squares as f64 / self.values.len().max(1) as f64 - square(self.mean())).max(0.0)
    }

    /// The median of the absolute values; 0 without values.
    pub(super) fn median_size(&self) -> f64 {
        let mut sizes: Vec<u64> = self.values.iter().map(|value| value.unsigned_abs()).collect();
        let middle = sizes.len() / 2;
        match sizes.is_empty() {
            true => 0.0,
            false => *sizes.select_nth_unstable(middle).1 as f64,
        }
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
