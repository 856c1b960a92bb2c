//! One pass that moves, interpolates, recolours, reorders and normalizes.

use std::cell::RefCell;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::RgbPixels;

/// What is seen where an image that was moved has no pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outside {
    /// The image, reflected at its border without repeating the border pixel.
    #[default]
    Reflection,
    /// Black.
    Black,
    /// The pixel of the border that is nearest: Keras' `fill_mode="nearest"`.
    Border,
}

/// How pixels between pixels are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpolation {
    Bilinear,
    Nearest,
}

/// `(x, y) ↦ (a x + b y + c, d x + e y + f)`, stored `[a, b, c, d, e, f]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine(pub(crate) [f64; 6]);

impl Affine {
    pub(crate) const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    /// First `self`, then `next`.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (self.0, next.0);
        Self([g * a + h * d, g * b + h * e, g * c + h * f + i, j * a + k * d, j * b + k * e, j * c + k * f + l])
    }
}

/// Coordinates in fixed point with this many fractional bits: exact steps along a row, the same on every machine.
const FRACTION: u32 = 32;
/// Bits of an interpolation weight; OpenCV has five.
const WEIGHT: u32 = 6;
/// Distance of the three channels in a packed pixel: room for a byte and two weights.
const LANE: u32 = 21;

/// Reads `pixels` (square) at `map` of each output pixel, and writes `[3, S, S]`, `S = size`: plane `p` holds channel
/// `sources[p]` looked up in `tables[p]`. Coordinates outside are reflected or moved to the border.
#[allow(clippy::too_many_arguments, reason = "one caller, one inner loop")]
pub(crate) fn sample(
    pixels: &RgbPixels,
    size: usize,
    map: &Affine,
    interpolation: Interpolation,
    outside: Outside,
    sources: [usize; 3],
    tables: &[[f32; 256]; 3],
    planes: &mut [f32],
) {
    let side = pixels.width();
    let (bytes, _) = pixels.data().as_chunks::<3>();
    if *map == Affine::IDENTITY && side == size {
        return write_row(planes, size * size, 0..size * size, bytes.iter().copied(), sources, tables);
    }
    let fixed = |value: f64| (value * (1_u64 << FRACTION) as f64).round() as i64;
    let [a, b, c, d, e, f] = map.0.map(fixed);
    let points = |row: usize| {
        let (x, y) = (b * row as i64 + c, e * row as i64 + f);
        (0..size as i64).map(move |column| (x + a * column, y + d * column))
    };
    let places = |row: usize| row * size..(row + 1) * size;
    match interpolation {
        Interpolation::Nearest => {
            for row in 0..size {
                let pixels = points(row).map(|(x, y)| nearest(bytes, side, outside, x, y));
                write_row(planes, size * size, places(row), pixels, sources, tables);
            }
        }
        Interpolation::Bilinear => PACKED.with_borrow_mut(|packed| {
            packed.clear();
            packed.extend(bytes.iter().map(pack));
            for row in 0..size {
                let pixels = points(row).map(|(x, y)| bilinear(packed, side, outside, x, y));
                write_row(planes, size * size, places(row), pixels, sources, tables);
            }
        }),
    }
}

thread_local! {
    /// Kept from image to image: asking the system for such a block takes as long as filling it.
    static PACKED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Writes pixels to the same places of the three planes.
#[inline]
fn write_row(
    planes: &mut [f32],
    area: usize,
    places: Range<usize>,
    pixels: impl Iterator<Item = [u8; 3]>,
    sources: [usize; 3],
    tables: &[[f32; 256]; 3],
) {
    let (first, rest) = planes.split_at_mut(area);
    let (second, third) = rest.split_at_mut(area);
    let slots = first[places.clone()].iter_mut().zip(&mut second[places.clone()]).zip(&mut third[places]);
    for (((first, second), third), pixel) in slots.zip(pixels) {
        *first = tables[0][usize::from(pixel[sources[0]])];
        *second = tables[1][usize::from(pixel[sources[1]])];
        *third = tables[2][usize::from(pixel[sources[2]])];
    }
}

#[inline]
fn nearest(bytes: &[[u8; 3]], side: usize, outside: Outside, x: i64, y: i64) -> [u8; 3] {
    let half = 1_i64 << (FRACTION - 1);
    bytes[inside((y + half) >> FRACTION, side, outside) * side + inside((x + half) >> FRACTION, side, outside)]
}

#[inline]
fn bilinear(packed: &[u64], side: usize, outside: Outside, x: i64, y: i64) -> [u8; 3] {
    let (left, top) = (x >> FRACTION, y >> FRACTION);
    let corners = if (0..side as i64 - 1).contains(&left) && (0..side as i64 - 1).contains(&top) {
        let upper = top as usize * side + left as usize;
        let lower = upper + side;
        [packed[upper], packed[upper + 1], packed[lower], packed[lower + 1]]
    } else {
        let inside = |at: i64| inside(at, side, outside);
        let (x0, x1) = (inside(left), inside(left + 1));
        let (y0, y1) = (inside(top) * side, inside(top + 1) * side);
        [packed[y0 + x0], packed[y0 + x1], packed[y1 + x0], packed[y1 + x1]]
    };
    let one = 1_u64 << WEIGHT;
    let weight = |at: i64| (at >> (FRACTION - WEIGHT)) as u64 & (one - 1);
    let (right, down) = (weight(x), weight(y));
    // All three channels at once: no lane reaches 2²¹.
    let weights = [(one - right) * (one - down), right * (one - down), (one - right) * down, right * down];
    let half = 1_u64 << (2 * WEIGHT - 1);
    let sum = corners[0] * weights[0]
        + corners[1] * weights[1]
        + corners[2] * weights[2]
        + corners[3] * weights[3]
        + (half | half << LANE | half << (2 * LANE));
    [0, LANE, 2 * LANE].map(|lane| (sum >> (lane + 2 * WEIGHT)) as u8)
}

#[inline]
fn pack(pixel: &[u8; 3]) -> u64 {
    u64::from(pixel[0]) | u64::from(pixel[1]) << LANE | u64::from(pixel[2]) << (2 * LANE)
}

/// The pixel that is read for a coordinate.
#[inline]
fn inside(at: i64, side: usize, outside: Outside) -> usize {
    match outside {
        Outside::Reflection | Outside::Black => reflect(at, side),
        Outside::Border => at.clamp(0, side as i64 - 1) as usize,
    }
}

/// Reflects a coordinate at the first and last pixel without repeating them: `… 2 1 0 1 2 … n−1 n−2 …`.
#[inline]
fn reflect(at: i64, side: usize) -> usize {
    let side = side as i64;
    if (0..side).contains(&at) {
        return at as usize;
    }
    if side == 1 {
        return 0;
    }
    let period = 2 * (side - 1);
    let folded = at.rem_euclid(period);
    folded.min(period - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_does_not_repeat_the_border() {
        let reflected: Vec<usize> = (-4..8).map(|at| reflect(at, 4)).collect();
        assert_eq!(reflected, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(reflect(-9, 1), 0);
    }

    #[test]
    fn maps_compose_in_order() {
        let shift = Affine([1.0, 0.0, 2.0, 0.0, 1.0, 3.0]);
        let double = Affine([2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
        assert_eq!(shift.then(&double).0, [2.0, 0.0, 4.0, 0.0, 2.0, 6.0]);
        assert_eq!(double.then(&shift).0, [2.0, 0.0, 2.0, 0.0, 2.0, 3.0]);
    }
}
