//! What lies on the skin or before the lens. Kinds and levels are a choice of ours; lengths are shares of the shorter side, or pixels
//! at a shorter side of 224.

use rand_chacha::ChaCha8Rng;

use super::draw::{between, direction};
use super::{byte, unit};
use crate::RgbPixels;
use crate::shuffle::uniform;

/// Of each level: edges with a ruler, the length of a mark, how much of the skin it hides.
const RULER: [(usize, f32, f32); 5] = [(1, 0.04, 0.5), (1, 0.06, 0.6), (1, 0.08, 0.7), (2, 0.10, 0.8), (2, 0.12, 0.9)];
/// The distance between marks; each fifth is twice as long as the others.
const RULER_SPACE: f32 = 0.045;
/// The distance of the marks from the edge.
const RULER_EDGE: f32 = 0.02;
/// The width of a mark, in pixels at 224.
const RULER_WIDTH: f32 = 1.5;
/// The colour of marks.
const RULER_COLOR: [f32; 3] = [25.0, 25.0, 30.0];

/// Hairs.
const HAIRS: [usize; 5] = [6, 12, 20, 32, 48];
/// The least and greatest length of a hair.
const HAIR_LENGTH: (f32, f32) = (0.5, 1.2);
/// The least and greatest width of a hair, in pixels at 224.
const HAIR_WIDTH: (f32, f32) = (1.0, 2.2);
/// How far the middle of a hair lies beside the line between its ends, as a share of its length, at most.
const HAIR_BEND: f32 = 0.25;
/// The straight pieces that a hair is drawn in.
const HAIR_PIECES: usize = 24;
/// How much of the skin a hair hides.
const HAIR_OPACITY: f32 = 0.9;
/// The colour of hairs.
const HAIR_COLOR: [f32; 3] = [45.0, 32.0, 26.0];

/// The radius of the bright circle, as a share of half the diagonal.
const CIRCLE: [f32; 5] = [0.92, 0.84, 0.76, 0.68, 0.60];
/// The width of the circle's border, as a share of half the diagonal.
const CIRCLE_BORDER: f32 = 0.08;
/// How far the circle lies beside the middle, at most.
const CIRCLE_OFF: f32 = 0.04;
/// What is left of the light outside.
const CIRCLE_OUTSIDE: f32 = 0.04;

/// Bubbles.
const BUBBLES: [usize; 5] = [5, 10, 18, 28, 42];
/// The least and greatest radius of a bubble.
const BUBBLE_RADIUS: (f32, f32) = (0.015, 0.07);
/// How much of the skin the inside, the bright rim, the dark rim around it and the reflection of the lamp hide.
const BUBBLE_OPACITY: [f32; 4] = [0.12, 0.6, 0.4, 0.9];

/// Marks of rulers along edges that are drawn.
pub(super) fn ruler_marks(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (edges, length, opacity) = RULER[level];
    let mut cover = Cover::of(pixels);
    let [width, height, side] = [cover.width as f32, cover.height as f32, cover.side()];
    let first = uniform(rng, 0.0, 4.0) as usize;
    let start = between(0.0, 1.0, rng);
    for edge in 0..edges {
        // The opposite edge is the second.
        let edge = (first + 2 * edge) % 4;
        let along = if edge.is_multiple_of(2) { width } else { height };
        let mut mark = 0_u16;
        while (start + f32::from(mark)) * RULER_SPACE * side < along {
            let place = (start + f32::from(mark)) * RULER_SPACE * side;
            let long = if mark.is_multiple_of(5) { 1.0 } else { 0.5 };
            let [near, far] = [RULER_EDGE * side, (RULER_EDGE + long * length) * side];
            let line = match edge {
                0 => [[place, near], [place, far]],
                1 => [[width - near, place], [width - far, place]],
                2 => [[place, height - near], [place, height - far]],
                _ => [[near, place], [far, place]],
            };
            cover.line(line, RULER_WIDTH * unit(pixels));
            mark += 1;
        }
    }
    cover.painted(pixels, RULER_COLOR, opacity)
}

/// Bent dark lines.
pub(super) fn hair(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut cover = Cover::of(pixels);
    let side = cover.side();
    for _ in 0..HAIRS[level] {
        let middle = [between(0.0, cover.width as f32, rng), between(0.0, cover.height as f32, rng)];
        let [across, down] = direction(0.0, 360.0, rng);
        let half = side * between(HAIR_LENGTH.0, HAIR_LENGTH.1, rng) / 2.0;
        let bend = 2.0 * half * between(-HAIR_BEND, HAIR_BEND, rng);
        let thick = unit(pixels) * between(HAIR_WIDTH.0, HAIR_WIDTH.1, rng);
        // A parabola over the line between its ends.
        let at = |piece: usize| {
            let place = 2.0 * piece as f32 / HAIR_PIECES as f32 - 1.0;
            let (along, beside) = (half * place, bend * (1.0 - place * place));
            [middle[0] + along * across - beside * down, middle[1] + along * down + beside * across]
        };
        (0..HAIR_PIECES).for_each(|piece| cover.line([at(piece), at(piece + 1)], thick));
    }
    cover.painted(pixels, HAIR_COLOR, HAIR_OPACITY)
}

/// Little light outside of a circle near the middle.
pub(super) fn dark_corners(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (width, height) = (pixels.width(), pixels.height());
    let [across, down] = [width as f32 / 2.0, height as f32 / 2.0];
    let diagonal = (across * across + down * down).sqrt();
    let off = 2.0 * CIRCLE_OFF * across.min(down);
    let middle = [across + between(-off, off, rng), down + between(-off, off, rng)];
    let mut data = Vec::with_capacity(pixels.data().len());
    for (at, color) in pixels.data().as_chunks::<3>().0.iter().enumerate() {
        let far = distance([(at % width) as f32 + 0.5, (at / width) as f32 + 0.5], middle) / diagonal;
        let dark = smooth((far - CIRCLE[level]) / CIRCLE_BORDER + 0.5);
        data.extend(color.map(|value| byte(f32::from(value) * (1.0 - (1.0 - CIRCLE_OUTSIDE) * dark))));
    }
    data
}

/// Rings with a bright rim and the reflection of a lamp.
pub(super) fn gel_bubbles(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (width, height) = (pixels.width(), pixels.height());
    let side = width.min(height) as f32;
    let [inside, rim, shadow, lamp] = BUBBLE_OPACITY;
    let mut data = pixels.data().to_vec();
    for _ in 0..BUBBLES[level] {
        let middle = [between(0.0, width as f32, rng), between(0.0, height as f32, rng)];
        // Small ones are more frequent.
        let size = between(0.0, 1.0, rng);
        let radius = side * (BUBBLE_RADIUS.0 + (BUBBLE_RADIUS.1 - BUBBLE_RADIUS.0) * size * size);
        let reflection = [middle[0] - 0.35 * radius, middle[1] - 0.35 * radius];
        let [columns, rows] =
            [(middle[0], width), (middle[1], height)].map(|(at, end)| pixels_around(at, 1.3 * radius, end));
        for y in rows {
            for x in columns.clone() {
                let place = [x as f32 + 0.5, y as f32 + 0.5];
                let far = distance(place, middle) / radius;
                let bright =
                    (inside + (rim - inside) * smooth((far - 0.65) / 0.25)) * (1.0 - smooth((far - 0.95) / 0.1));
                let dark = shadow * smooth((far - 0.95) / 0.1) * (1.0 - smooth((far - 1.05) / 0.2));
                let spot = lamp * (1.0 - smooth((distance(place, reflection) / radius - 0.1) / 0.1));
                for value in &mut data[3 * (y * width + x)..][..3] {
                    let lit = f32::from(*value) * (1.0 - dark);
                    *value = byte(lit + (245.0 - lit) * bright.max(spot));
                }
            }
        }
    }
    data
}

/// How much of each pixel something covers, 0 to 1.
struct Cover {
    width: usize,
    height: usize,
    parts: Vec<f32>,
}

impl Cover {
    fn of(pixels: &RgbPixels) -> Self {
        let (width, height) = (pixels.width(), pixels.height());
        Self { width, height, parts: vec![0.0; width * height] }
    }

    /// The shorter side, in pixels.
    fn side(&self) -> f32 {
        self.width.min(self.height) as f32
    }

    /// Adds a straight line with round ends.
    fn line(&mut self, [from, to]: [[f32; 2]; 2], thick: f32) {
        let reach = thick / 2.0 + 0.5;
        let [columns, rows] = [(0, self.width), (1, self.height)].map(|(axis, end)| {
            let (middle, half) = ((from[axis] + to[axis]) / 2.0, (from[axis] - to[axis]).abs() / 2.0);
            pixels_around(middle, half + reach, end)
        });
        let step = [to[0] - from[0], to[1] - from[1]];
        let length = step[0] * step[0] + step[1] * step[1];
        for y in rows {
            for x in columns.clone() {
                let place = [x as f32 + 0.5, y as f32 + 0.5];
                let along = (place[0] - from[0]) * step[0] + (place[1] - from[1]) * step[1];
                let along = if length > 0.0 { (along / length).clamp(0.0, 1.0) } else { 0.0 };
                let far = distance(place, [from[0] + along * step[0], from[1] + along * step[1]]);
                let part = &mut self.parts[y * self.width + x];
                *part = part.max((reach - far).clamp(0.0, 1.0));
            }
        }
    }

    /// The image with a colour where it is covered.
    fn painted(&self, pixels: &RgbPixels, color: [f32; 3], opacity: f32) -> Vec<u8> {
        let mut data = pixels.data().to_vec();
        for (values, part) in data.as_chunks_mut::<3>().0.iter_mut().zip(&self.parts) {
            if *part > 0.0 {
                for (value, color) in values.iter_mut().zip(color) {
                    *value = byte(f32::from(*value) + (color - f32::from(*value)) * opacity * part);
                }
            }
        }
        data
    }
}

/// The pixels along an axis of `end` pixels whose centres may be within `reach` of a place.
fn pixels_around(place: f32, reach: f32, end: usize) -> std::ops::Range<usize> {
    let limited = |place: f32| (place.max(0.0) as usize).min(end);
    limited((place - reach).floor())..limited((place + reach).ceil())
}

fn distance(from: [f32; 2], to: [f32; 2]) -> f32 {
    let [across, down] = [from[0] - to[0], from[1] - to[1]];
    (across * across + down * down).sqrt()
}

/// 0 up to 0, 1 from 1 on, and a smooth way in between.
fn smooth(value: f32) -> f32 {
    let value = value.clamp(0.0, 1.0);
    value * value * (3.0 - 2.0 * value)
}
