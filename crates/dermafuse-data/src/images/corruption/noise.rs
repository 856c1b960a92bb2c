//! Noise; levels as ImageNet-C has them.

use rand_chacha::ChaCha8Rng;

use super::draw::{normal, poisson};
use super::grain::{Change, Grains};
use crate::RgbPixels;
use crate::shuffle::uniform;

/// Deviations, as shares of white.
const GAUSSIAN: [f64; 5] = [0.08, 0.12, 0.18, 0.26, 0.38];
/// Photons that white is.
const SHOT: [f64; 5] = [60.0, 25.0, 12.0, 5.0, 3.0];
/// Shares of the values that are lost.
const IMPULSE: [f64; 5] = [0.03, 0.06, 0.09, 0.17, 0.27];

/// Adds a normal number to each grain and colour.
pub(super) fn gaussian(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let deviation = 255.0 * GAUSSIAN[level];
    Grains::of(pixels).changed(|_, _| Change::Add((deviation * normal(rng)) as f32))
}

/// Draws how many photons of the mean of each grain and colour have come, and adds the difference.
pub(super) fn shot(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let photons = SHOT[level] / 255.0;
    let none: Vec<f64> = (0..=255).map(|mean| libm::exp(-photons * f64::from(mean))).collect();
    Grains::of(pixels).changed(|_, mean| {
        let expected = f64::from(mean);
        let found = f64::from(poisson(photons * expected, none[usize::from(mean)], rng)) / photons;
        Change::Add((found.min(255.0) - expected) as f32)
    })
}

/// Makes grains black or white, each colour on its own.
pub(super) fn impulse(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let lost = IMPULSE[level];
    Grains::of(pixels).changed(|_, _| match uniform(rng, 0.0, 1.0) {
        drawn if drawn < lost / 2.0 => Change::Set(0),
        drawn if drawn < lost => Change::Set(255),
        _ => Change::Keep,
    })
}
