//! Draws of distributions, with the functions of `libm`, which are the same on every machine.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;

use crate::shuffle::uniform;

/// A number of the standard normal distribution (Box & Muller 1958).
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // 1 less a number below 1 is never 0.
    let far = (-2.0 * libm::log(1.0 - uniform(rng, 0.0, 1.0))).sqrt();
    far * libm::cos(TAU * uniform(rng, 0.0, 1.0))
}

/// A number of the Poisson distribution with this mean, by inversion; `none` is the probability of 0, `exp(−mean)`.
pub(super) fn poisson(mean: f64, none: f64, rng: &mut ChaCha8Rng) -> u32 {
    let drawn = uniform(rng, 0.0, 1.0);
    let (mut count, mut probability, mut below) = (0, none, none);
    // Rounding keeps the sum from reaching 1 by some 1e-16; the limit is far beyond all means that are used (60).
    while drawn >= below && count < 1000 {
        count += 1;
        probability *= mean / f64::from(count);
        below += probability;
    }
    count
}

/// A number between two others.
pub(super) fn between(low: f32, high: f32, rng: &mut ChaCha8Rng) -> f32 {
    uniform(rng, f64::from(low), f64::from(high)) as f32
}

/// A direction between two angles, in degrees: its cosine and its sine.
pub(super) fn direction(low: f64, high: f64, rng: &mut ChaCha8Rng) -> [f32; 2] {
    let (sin, cos) = libm::sincos(uniform(rng, low, high).to_radians());
    [cos as f32, sin as f32]
}
