//! Whether a picture is clinical or dermoscopic: a logistic regression over 32 numbers.

use super::plane::{LUMINANCE, Plane, ZONES, square, zones};
use super::reduced::reduced;
use crate::RgbPixels;

/// How often the luminance is halved, less one.
const LUMINANCE_SCALES: usize = 5;
/// How often the shares of colours are halved, less one.
const SHARE_SCALES: usize = 3;
/// Red and blue: the share of green follows from them.
const COLOURS: [usize; 2] = [0, 2];
const COUNT: usize = 4 * ZONES + 2 * LUMINANCE_SCALES + COLOURS.len() * SHARE_SCALES;
/// What a share is in units of 1/255 of a [`Plane::share`].
const SHARE: f64 = 65_536.0 / 255.0;

/// Tells clinical pictures from dermoscopic ones.
///
/// The score is `intercept + Σ weights · features`, the logarithm of the odds that a picture is dermoscopic. A picture may have a
/// score on the wrong side; of two pictures of one lesion the dermoscopic one mostly has the higher score. `docs/quality.md` says how the
/// shipped weights were fitted, and what they tell right.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewRule {
    /// The score of a picture whose features are all zero.
    pub intercept: f64,
    /// A weight for each of [`ViewRule::features`].
    pub weights: [f64; COUNT],
}

impl ViewRule {
    /// How many features there are.
    pub const FEATURES: usize = COUNT;

    /// Fitted on half of the lesions of MILK10k.
    pub const SHIPPED: Self = Self {
        intercept: -42.0433,
        weights: [
            1.72364,    // luminance, middle
            -29.2006,   // deviation of luminance, middle
            -3.09443,   // share of red, middle
            30.9772,    // share of blue, middle
            -1.24893,   // luminance, inner ring
            -0.0847223, // deviation of luminance, inner ring
            28.9956,    // share of red, inner ring
            30.4817,    // share of blue, inner ring
            25.8515,    // luminance, outer ring
            -29.7813,   // deviation of luminance, outer ring
            2.41899,    // share of red, outer ring
            44.5383,    // share of blue, outer ring
            -17.7307,   // luminance, corners
            -14.5696,   // deviation of luminance, corners
            -22.8803,   // share of red, corners
            5.6223,     // share of blue, corners
            -11.9412,   // Laplacian of luminance, 1/1
            -3.86898,   // slope of luminance, 1/1
            11.8303,    // Laplacian of luminance, 1/2
            0.574897,   // slope of luminance, 1/2
            4.44088,    // Laplacian of luminance, 1/4
            -1.27622,   // slope of luminance, 1/4
            2.31439,    // Laplacian of luminance, 1/8
            -0.998995,  // slope of luminance, 1/8
            0.211679,   // Laplacian of luminance, 1/16
            1.74826,    // slope of luminance, 1/16
            2.3209,     // Laplacian of red, 1/1
            -0.218199,  // Laplacian of red, 1/2
            -1.00217,   // Laplacian of red, 1/4
            0.511419,   // Laplacian of blue, 1/1
            -0.412502,  // Laplacian of blue, 1/2
            0.87579,    // Laplacian of blue, 1/4
        ],
    };

    /// The score for the [features](Self::features) of a picture.
    #[must_use]
    pub fn score(&self, features: &[f64; COUNT]) -> f64 {
        self.weights.iter().zip(features).fold(self.intercept, |score, (weight, feature)| score + weight * feature)
    }

    /// What the rule looks at, on a copy whose longer side has at most 128 pixels:
    ///
    /// * in the middle, two rings around it and the corners: mean and deviation of the luminance, over 255, and the mean shares of red
    ///   and of blue in the sum of the colours;
    /// * on the copy and on four that are half as wide each: `ln(1 + m)` and `ln(1 + s)`, `m` the median of the absolute Laplacian of the
    ///   luminance and `s` the mean of its squared slope;
    /// * for red and for blue, on the copy and on two that are half as wide each: `ln(0.1 + v)`, `v` the variance of the Laplacian of
    ///   255 times its share.
    #[must_use]
    pub fn features(pixels: &RgbPixels) -> [f64; COUNT] {
        features(&reduced(pixels))
    }

    /// What each feature is called.
    #[must_use]
    pub fn names() -> Vec<String> {
        let zones = ["middle", "inner ring", "outer ring", "corners"];
        let of_zone = |zone: &str| {
            ["luminance", "deviation of luminance", "share of red", "share of blue"]
                .map(|what| format!("{what}, {zone}"))
        };
        let scale = |scale: usize| format!("1/{}", 1 << scale);
        let of_scale = |at: usize| ["Laplacian", "slope"].map(|what| format!("{what} of luminance, {}", scale(at)));
        let of_colour =
            |colour: &'static str| (0..SHARE_SCALES).map(move |at| format!("Laplacian of {colour}, {}", scale(at)));
        let zones = zones.into_iter().flat_map(of_zone);
        zones
            .chain((0..LUMINANCE_SCALES).flat_map(of_scale))
            .chain(["red", "blue"].into_iter().flat_map(of_colour))
            .collect()
    }
}

/// [`ViewRule::features`] of a copy.
pub(super) fn features(copy: &RgbPixels) -> [f64; COUNT] {
    let luminance = Plane::luminance(copy);
    let shares = COLOURS.map(|colour| Plane::share(copy, colour));
    let mut features = Vec::with_capacity(COUNT);
    features.extend(of_zones(copy, &luminance, &shares));

    let mut plane = luminance;
    let mut unit = LUMINANCE as f64;
    for _ in 0..LUMINANCE_SCALES {
        features.push(libm::log(1.0 + plane.laplacian().median_size() / unit));
        features.push(libm::log(1.0 + plane.slope() / square(unit)));
        (plane, unit) = (plane.halved(), 4.0 * unit);
    }
    for mut plane in shares {
        let mut unit = SHARE;
        for _ in 0..SHARE_SCALES {
            features.push(libm::log(0.1 + plane.laplacian().variance() / square(unit)));
            (plane, unit) = (plane.halved(), 4.0 * unit);
        }
    }
    features.try_into().expect("each feature was pushed")
}

/// Mean and deviation of the luminance and the mean shares of each zone; a zone without pixels has zeros.
fn of_zones(copy: &RgbPixels, luminance: &Plane, shares: &[Plane; 2]) -> Vec<f64> {
    #[derive(Clone, Copy, Default)]
    struct Sums {
        count: i64,
        luminance: i64,
        squares: i64,
        shares: [i64; 2],
    }
    let mut sums_of = [Sums::default(); ZONES];
    for (at, (light, zone)) in luminance.values.iter().zip(zones(copy)).enumerate() {
        let sums = &mut sums_of[zone];
        sums.count += 1;
        sums.luminance += light;
        sums.squares += light * light;
        sums.shares.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share.values[at]);
    }
    let of_zone = |sums: Sums| {
        let count = sums.count.max(1) as f64;
        let mean = sums.luminance as f64 / count;
        let deviation = (sums.squares as f64 / count - square(mean)).max(0.0).sqrt();
        let white = 255.0 * LUMINANCE as f64;
        let [red, blue] = sums.shares.map(|sum| sum as f64 / count / 65_536.0);
        [mean / white, deviation / white, red, blue]
    };
    sums_of.into_iter().flat_map(of_zone).collect()
}
