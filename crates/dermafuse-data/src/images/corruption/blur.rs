//! Blur; levels as ImageNet-C has them, in pixels at a shorter side of 224. Beyond its border an image goes on as its border.

use rand_chacha::ChaCha8Rng;

use super::draw::direction;
use super::{byte, unit};
use crate::RgbPixels;

/// Radii of the disc; the light smoothing of its border that ImageNet-C adds is left out, since parts of pixels count here.
const DEFOCUS: [f32; 5] = [3.0, 4.0, 6.0, 8.0, 10.0];
/// Radius and deviation of the tail: `2 · radius + 1` places, weighted by half of a normal curve, as ImageMagick's motion blur does.
const MOTION: [(f32, f32); 5] = [(10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)];
/// The direction of the motion is uniform in ± this, in degrees from the horizontal.
const MOTION_DEGREES: f64 = 45.0;
/// Deviations of the spot.
const GAUSSIAN: [f32; 5] = [1.0, 2.0, 3.0, 4.0, 6.0];
/// A normal spot ends at this many deviations.
const GAUSSIAN_END: f32 = 4.0;

/// The mean over a disc around each pixel. The border of the disc counts by the part of each pixel that it covers along the row.
pub(super) fn defocus(pixels: &RgbPixels, level: usize) -> Vec<u8> {
    let (width, height) = (pixels.width(), pixels.height());
    let radius = DEFOCUS[level] * unit(pixels) + 0.5;
    let reach = radius as usize + 1;
    // The sums of each row from its start, with `reach` pixels more at both ends: [H, W + 2 · reach + 1, 3].
    let stride = 3 * (width + 2 * reach + 1);
    let mut sums = vec![0_u32; stride * height];
    for (sums, row) in sums.chunks_exact_mut(stride).zip(pixels.data().chunks_exact(3 * width)) {
        for at in 3..stride {
            let column = (at / 3 - 1).saturating_sub(reach).min(width - 1);
            sums[at] = sums[at - 3] + u32::from(row[3 * column + at % 3]);
        }
    }
    // Of each row of the disc: how far down, the pixels to either side that are whole, and the part of the next.
    let chords: Vec<(isize, usize, f32)> = (-(reach as isize)..=reach as isize)
        .filter_map(|down| {
            let half = (radius * radius - (down * down) as f32).max(0.0).sqrt() - 0.5;
            (half >= 0.0).then(|| (down, half as usize, half - half.floor()))
        })
        .collect();
    let area: f32 = chords.iter().map(|&(_, whole, part)| 1.0 + 2.0 * (whole as f32 + part)).sum();

    let mut data = Vec::with_capacity(pixels.data().len());
    let mut sum = vec![0.0_f32; 3 * width];
    for y in 0..height {
        sum.fill(0.0);
        for &(down, whole, part) in &chords {
            let row = &sums[y.saturating_add_signed(down).min(height - 1) * stride..][..stride];
            let [first, from, to, last] =
                [reach - whole - 1, reach - whole, reach + whole + 1, reach + whole + 2].map(|at| &row[3 * at..]);
            for (at, sum) in sum.iter_mut().enumerate() {
                let edges = (from[at] - first[at]) + (last[at] - to[at]);
                *sum += (to[at] - from[at]) as f32 + part * edges as f32;
            }
        }
        data.extend(sum.iter().map(|sum| byte(sum / area)));
    }
    data
}

/// The mean over a tail from each pixel in a direction that is drawn.
pub(super) fn motion(pixels: &RgbPixels, level: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (width, height, unit) = (pixels.width(), pixels.height(), unit(pixels));
    let (radius, deviation) = (MOTION[level].0 * unit, MOTION[level].1 * unit);
    let [across, down] = direction(-MOTION_DEGREES, MOTION_DEGREES, rng);
    let weights = normal_weights((0..=2 * radius.round() as usize).map(|at| at as f32 / deviation));
    let places: Vec<(usize, isize, f32)> = weights
        .into_iter()
        .enumerate()
        .map(|(at, weight)| ((across * at as f32).round() as usize, (down * at as f32).round() as isize, weight))
        .collect();

    let mut data = Vec::with_capacity(pixels.data().len());
    let mut sum = vec![0.0_f32; 3 * width];
    for y in 0..height {
        sum.fill(0.0);
        for &(across, down, weight) in &places {
            let row = &pixels.data()[3 * width * y.saturating_add_signed(down).min(height - 1)..][..3 * width];
            let inside = 3 * width.saturating_sub(across);
            let (within, beyond) = sum.split_at_mut(inside);
            within
                .iter_mut()
                .zip(&row[3 * width - inside..])
                .for_each(|(sum, &value)| *sum += weight * f32::from(value));
            let border = &row[3 * width - 3..];
            for pixel in beyond.chunks_exact_mut(3) {
                pixel.iter_mut().zip(border).for_each(|(sum, &value)| *sum += weight * f32::from(value));
            }
        }
        data.extend(sum.iter().map(|&sum| byte(sum)));
    }
    data
}

/// The mean over a normal spot around each pixel, first along rows and then along columns.
pub(super) fn gaussian(pixels: &RgbPixels, level: usize) -> Vec<u8> {
    let (width, height) = (pixels.width(), pixels.height());
    let deviation = GAUSSIAN[level] * unit(pixels);
    let reach = (GAUSSIAN_END * deviation).ceil() as usize;
    let weights = normal_weights((0..=2 * reach).map(|at| (at as f32 - reach as f32) / deviation));

    // [H, W, 3], blurred along rows.
    let mut rows = vec![0.0_f32; pixels.data().len()];
    let mut padded = vec![0.0_f32; 3 * (width + 2 * reach)];
    for (blurred, row) in rows.chunks_exact_mut(3 * width).zip(pixels.data().chunks_exact(3 * width)) {
        for (at, value) in padded.iter_mut().enumerate() {
            *value = f32::from(row[3 * (at / 3).saturating_sub(reach).min(width - 1) + at % 3]);
        }
        for (at, weight) in weights.iter().enumerate() {
            blurred.iter_mut().zip(&padded[3 * at..]).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    let mut data = Vec::with_capacity(pixels.data().len());
    let mut sum = vec![0.0_f32; 3 * width];
    for y in 0..height {
        sum.fill(0.0);
        for (at, weight) in weights.iter().enumerate() {
            let row = &rows[3 * width * (y + at).saturating_sub(reach).min(height - 1)..][..3 * width];
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        data.extend(sum.iter().map(|&sum| byte(sum)));
    }
    data
}

/// The normal curve at these numbers of deviations, divided by its sum.
fn normal_weights(deviations: impl Iterator<Item = f32>) -> Vec<f32> {
    let heights: Vec<f32> = deviations.map(|far| libm::expf(-far * far / 2.0)).collect();
    let sum: f32 = heights.iter().sum();
    heights.into_iter().map(|height| height / sum).collect()
}
