//! What too few bytes or pixels do; levels as ImageNet-C has them.

use std::f64::consts::PI;

use super::grain::{Change, Grains};
use super::{byte, unit};
use crate::RgbPixels;

/// Qualities of the JPEG.
const JPEG: [u32; 5] = [25, 18, 15, 10, 7];
/// Shares of the pixels along a side that are left of 224.
const PIXELATE: [f32; 5] = [0.6, 0.5, 0.4, 0.3, 0.25];

/// The steps of brightness, ITU-T T.81, table K.1.
#[rustfmt::skip]
const BRIGHTNESS_STEPS: [u32; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// The steps of colour, ITU-T T.81, table K.2.
#[rustfmt::skip]
const COLOR_STEPS: [u32; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
];

/// Adds the error that storing the image as a JPEG makes. Of an image of several pixels a [grain](Grains) it is the error of the
/// image of the grains' means, so that blocks are as large in what a model sees.
///
/// Only the steps that lose something are done (4:2:0 colours, blocks of 8 × 8, rounding of their coefficients), since encoders and
/// decoders round differently on different processors.
pub(super) fn jpeg(pixels: &RgbPixels, level: usize) -> Vec<u8> {
    let grains = Grains::of(pixels);
    let stored = stored_as_jpeg(grains.columns, grains.rows, &grains.means(), JPEG[level]);
    grains.changed(|at, mean| Change::Add(f32::from(stored[at]) - f32::from(mean)))
}

/// `[H, W, 3]` pixels after they were stored as a JPEG of that quality and read again.
fn stored_as_jpeg(width: usize, height: usize, data: &[u8], quality: u32) -> Vec<u8> {
    let (colors, _) = data.as_chunks::<3>();
    let plane = |weights: [f32; 3], offset: f32| -> Vec<f32> {
        let mixed = |color: &[u8; 3]| {
            weights[0] * f32::from(color[0]) + weights[1] * f32::from(color[1]) + weights[2] * f32::from(color[2])
        };
        colors.iter().map(|color| f32::from(byte(mixed(color) + offset))).collect()
    };
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let halved = |plane: &[f32]| -> Vec<f32> {
        let mean = |x: usize, y: usize| {
            let (right, below) = ((2 * x + 1).min(width - 1), (2 * y + 1).min(height - 1));
            let [above, below] = [2 * y, below].map(|y| plane[y * width + 2 * x] + plane[y * width + right]);
            f32::from(byte((above + below) / 4.0))
        };
        (0..half_width * half_height).map(|at| mean(at % half_width, at / half_width)).collect()
    };
    let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    let steps = |table: [u32; 64]| table.map(|step| ((step * scale + 50) / 100).clamp(1, 255) as f32);
    let cosines = cosines();

    let mut brightness = plane([0.299, 0.587, 0.114], 0.0);
    rounded_blocks(&mut brightness, width, height, &steps(BRIGHTNESS_STEPS), &cosines);
    let [blue, red] = [[-0.168_736, -0.331_264, 0.5], [0.5, -0.418_688, -0.081_312]].map(|weights| {
        let mut color = halved(&plane(weights, 128.0));
        rounded_blocks(&mut color, half_width, half_height, &steps(COLOR_STEPS), &cosines);
        color
    });
    let mut stored = Vec::with_capacity(data.len());
    for (at, brightness) in brightness.into_iter().enumerate() {
        let half = at / width / 2 * half_width + at % width / 2;
        let (blue, red) = (blue[half] - 128.0, red[half] - 128.0);
        let green = brightness - 0.344_136 * blue - 0.714_136 * red;
        stored.extend([brightness + 1.402 * red, green, brightness + 1.772 * blue].map(byte));
    }
    stored
}

/// Rounds the coefficients of each block of a plane to multiples of their steps. Blocks at the edges go on as the edge.
fn rounded_blocks(plane: &mut [f32], width: usize, height: usize, steps: &[f32; 64], cosines: &[[f32; 8]; 8]) {
    for top in (0..height).step_by(8) {
        for left in (0..width).step_by(8) {
            let mut block = [[0.0_f32; 8]; 8];
            for (y, row) in block.iter_mut().enumerate() {
                for (x, value) in row.iter_mut().enumerate() {
                    *value = plane[(top + y).min(height - 1) * width + (left + x).min(width - 1)] - 128.0;
                }
            }
            // Rows, then columns: each pass leaves the block transposed.
            let mut coefficients = transformed(&transformed(&block, cosines), cosines);
            for (value, step) in coefficients.as_flattened_mut().iter_mut().zip(steps) {
                *value = (*value / step).round() * step;
            }
            let back = transposed(cosines);
            let block = transformed(&transformed(&coefficients, &back), &back);
            for (y, row) in block.iter().enumerate().take(height - top) {
                for (x, value) in row.iter().enumerate().take(width - left) {
                    plane[(top + y) * width + left + x] = f32::from(byte(value + 128.0));
                }
            }
        }
    }
}

/// The transposed product of a block and the transposed matrix.
fn transformed(block: &[[f32; 8]; 8], matrix: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut product = [[0.0; 8]; 8];
    for (y, row) in block.iter().enumerate() {
        for (u, weights) in matrix.iter().enumerate() {
            product[u][y] = row.iter().zip(weights).fold(0.0, |sum, (value, weight)| sum + value * weight);
        }
    }
    product
}

fn transposed(matrix: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    std::array::from_fn(|x| std::array::from_fn(|u| matrix[u][x]))
}

/// The orthonormal cosine transform of eight values, `[frequency][place]`.
fn cosines() -> [[f32; 8]; 8] {
    std::array::from_fn(|u| {
        let height = if u == 0 { 0.125_f64.sqrt() } else { 0.5 };
        std::array::from_fn(|x| (height * libm::cos(((2 * x + 1) * u) as f64 * PI / 16.0)) as f32)
    })
}

/// The mean of each of fewer, larger pixels.
pub(super) fn pixelate(pixels: &RgbPixels, level: usize) -> Vec<u8> {
    let (width, height) = (pixels.width(), pixels.height());
    let share = PIXELATE[level] / unit(pixels);
    let left = |side: usize| ((side as f32 * share) as usize).max(1);
    let (columns, rows) = (left(width), left(height));
    let large = |at: usize| (at / width * rows / height) * columns + at % width * columns / width;

    let (colors, _) = pixels.data().as_chunks::<3>();
    let mut sums = vec![([0_u64; 3], 0_u64); columns * rows];
    for (at, color) in colors.iter().enumerate() {
        let (sum, count) = &mut sums[large(at)];
        (0..3).for_each(|part| sum[part] += u64::from(color[part]));
        *count += 1;
    }
    let mean = |(sum, count): ([u64; 3], u64)| sum.map(|sum| ((sum + count / 2) / count) as u8);
    (0..colors.len()).flat_map(|at| mean(sums[large(at)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Strictness, decode_bytes, encode_jpeg};

    #[test]
    fn what_a_jpeg_loses_is_what_an_encoder_and_a_decoder_lose() {
        // Grey, so that it does not matter how an encoder stores colours; edges that are no multiple of eight.
        let (width, height) = (45, 30);
        let grey = |at: usize| ((at % width * 5) as u8).wrapping_mul(3) ^ (at / width * 7) as u8;
        let data: Vec<u8> = (0..width * height).flat_map(|at| [grey(at); 3]).collect();
        let pixels = RgbPixels::new(width, height, data).unwrap();
        for quality in JPEG {
            let stored = stored_as_jpeg(width, height, pixels.data(), quality);
            let file = encode_jpeg(&pixels, quality as u8).unwrap();
            let decoded = decode_bytes("stored.jpg", &file, Strictness::Strict).unwrap();
            let off = |from: &[u8], to: &[u8]| {
                let off = from.iter().zip(to).map(|(from, to)| f64::from(from.abs_diff(*to)));
                off.sum::<f64>() / from.len() as f64
            };
            // A coefficient that lies half-way may be rounded to either side, which moves its block by a step.
            let (lost, apart) = (off(pixels.data(), &stored), off(&stored, decoded.data()));
            assert!(lost > 5.0 && apart < lost / 10.0, "quality {quality}: {apart} apart, {lost} lost");
        }
    }
}
