//! OpenCV's `INTER_LINEAR`: each output pixel from the four source pixels around its centre, in whole numbers.
//!
//! Written out because the general resizer takes three times as long for it: it works on every source row, this on the
//! two that an output row needs.

use super::RgbPixels;

/// Bits of a weight along a column: a blend of two bytes fits 16 bits, which every processor multiplies eight at a time.
const DOWN: u32 = 8;
/// Bits of a weight along a row, as in OpenCV.
const RIGHT: u32 = 11;

/// For each output position, the source position before it, the one after it and the weight of the latter.
fn taps(from: usize, to: usize, bits: u32) -> Vec<(usize, usize, u32)> {
    let scale = from as f64 / to as f64;
    let tap = |at: usize| {
        let centre = ((at as f64 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f64) as f32;
        let before = (centre as usize).min(from - 1);
        let weight = ((centre - before as f32) * (1 << bits) as f32).round() as u32;
        (before, (before + 1).min(from - 1), weight)
    };
    (0..to).map(tap).collect()
}

/// `[H, W, 3]` bytes from pixels of any size.
pub(crate) fn resize_bilinear(pixels: &RgbPixels, [width, height]: [usize; 2]) -> Vec<u8> {
    let (source, _) = pixels.data().as_chunks::<3>();
    let row_at = |row: usize| source[row * pixels.width()..(row + 1) * pixels.width()].as_flattened();
    let columns = taps(pixels.width(), width, RIGHT);
    let rows = taps(pixels.height(), height, DOWN);
    let mut blended = vec![[0_u16; 3]; pixels.width()];
    let mut resized = vec![0; width * height * 3];
    for ((above, below, down), output) in rows.into_iter().zip(resized.chunks_exact_mut(width * 3)) {
        let (upper_weight, lower_weight) = ((1 << DOWN) - down as u16, down as u16);
        for ((blend, &upper), &lower) in blended.as_flattened_mut().iter_mut().zip(row_at(above)).zip(row_at(below)) {
            *blend = u16::from(upper) * upper_weight + u16::from(lower) * lower_weight;
        }
        for (&(left, right, weight), pixel) in columns.iter().zip(output.as_chunks_mut::<3>().0) {
            let (left, right) = (blended[left], blended[right]);
            *pixel = std::array::from_fn(|channel| {
                let sum = u32::from(left[channel]) * ((1 << RIGHT) - weight) + u32::from(right[channel]) * weight;
                ((sum + (1 << (DOWN + RIGHT - 1))) >> (DOWN + RIGHT)) as u8
            });
        }
    }
    resized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_lie_about_pixel_centres_and_stay_inside() {
        // Four to two: centres 0.5 and 2.5. Two to four: −0.25 (clamped), 0.25, 0.75, 1.25 (clamped).
        assert_eq!(taps(4, 2, 8), [(0, 1, 128), (2, 3, 128)]);
        assert_eq!(taps(2, 4, 8), [(0, 1, 0), (0, 1, 64), (0, 1, 192), (1, 1, 0)]);
        assert_eq!(taps(1, 2, 8), [(0, 0, 0), (0, 0, 0)]);
    }
}
