//! Padded planes: one channel of one image with a border of zeros, read as one long row.
//!
//! With the pitch `W` of a padded plane, the pixel that kernel tap `(i, j)` sees from position `p` is at `p + i·W + j`: a
//! convolution of stride 1 is a sum of shifted copies of one long vector, which vector units like at any plane size. What
//! the right edge of a row then computes belongs to no output and is left out.

use super::lanes::{self, LANES, Lanes};

/// Places a plane into a zeroed padded one, from the row and column `top`, `left`, `spread` pixels apart.
#[inline(always)]
pub(super) fn place(
    plane: &[f32],
    [height, width]: [usize; 2],
    [top, left]: [usize; 2],
    [down, across]: [usize; 2],
    padded: &mut [f32],
    pitch: usize,
) {
    for row in 0..height {
        let source = &plane[row * width..(row + 1) * width];
        let start = (top + row * down) * pitch + left;
        match across {
            1 => padded[start..start + width].copy_from_slice(source),
            _ => {
                let target = padded[start..].iter_mut().step_by(across);
                target.zip(source).for_each(|(target, value)| *target = *value);
            }
        }
    }
}

/// Positions that are computed together: their sums stay in the fastest memory.
const BLOCK: usize = 1024;

/// `output[p] = bias + Σ kernel[i, j] · padded[p + i·pitch + j]`.
#[inline(always)]
pub(super) fn correlate(
    padded: &[f32],
    pitch: usize,
    kernel: &[f32],
    [rows, columns]: [usize; 2],
    bias: f32,
    output: &mut [f32],
) {
    for (block, output) in output.chunks_mut(BLOCK).enumerate() {
        output.fill(bias);
        for row in 0..rows {
            let taps = &kernel[row * columns..(row + 1) * columns];
            let input = &padded[block * BLOCK + row * pitch..];
            match columns {
                3 => add_taps::<3>(input, taps, output),
                5 => add_taps::<5>(input, taps, output),
                7 => add_taps::<7>(input, taps, output),
                _ => (0..columns).for_each(|column| add_taps::<1>(&input[column..], &taps[column..], output)),
            }
        }
    }
}

#[inline(always)]
fn add_taps<const K: usize>(input: &[f32], taps: &[f32], output: &mut [f32]) {
    let count = output.len();
    let taps: [f32; K] = std::array::from_fn(|tap| taps[tap]);
    let shifted: [&[f32]; K] = std::array::from_fn(|tap| &input[tap..tap + count]);
    for position in 0..count {
        let mut sum = output[position];
        for tap in 0..K {
            sum += taps[tap] * shifted[tap][position];
        }
        output[position] = sum;
    }
}

/// `sums[i, j] += Σ gradient[p] · padded[p + i·pitch + j]`.
#[inline(always)]
pub(super) fn correlate_with(
    padded: &[f32],
    pitch: usize,
    gradient: &[f32],
    [rows, columns]: [usize; 2],
    sums: &mut [f32],
) {
    for row in 0..rows {
        let input = &padded[row * pitch..];
        let sums = &mut sums[row * columns..(row + 1) * columns];
        match columns {
            3 => add_dots::<3>(input, gradient, sums),
            5 => add_dots::<5>(input, gradient, sums),
            7 => add_dots::<7>(input, gradient, sums),
            _ => (0..columns).for_each(|column| add_dots::<1>(&input[column..], gradient, &mut sums[column..])),
        }
    }
}

#[inline(always)]
fn add_dots<const K: usize>(input: &[f32], gradient: &[f32], sums: &mut [f32]) {
    let mut lanes = [[0.0; LANES]; K];
    let (chunks, rest) = gradient.as_chunks::<LANES>();
    let windows: [&[Lanes]; K] = std::array::from_fn(|tap| &input[tap..].as_chunks().0[..chunks.len()]);
    for (index, chunk) in chunks.iter().enumerate() {
        for tap in 0..K {
            let window = &windows[tap][index];
            let products: Lanes = std::array::from_fn(|lane| chunk[lane] * window[lane]);
            lanes[tap] = std::array::from_fn(|lane| lanes[tap][lane] + products[lane]);
        }
    }
    let done = chunks.len() * LANES;
    for tap in 0..K {
        let shifted = &input[done + tap..done + tap + rest.len()];
        let tail: f32 = rest.iter().zip(shifted).map(|(gradient, value)| gradient * value).sum();
        sums[tap] += lanes::total(&lanes[tap]) + tail;
    }
}
