//! Light; levels as ImageNet-C has them.

use super::byte;
use crate::RgbPixels;

/// What is added to the value of a colour, as a share of white.
const BRIGHTNESS: [f32; 5] = [0.1, 0.2, 0.3, 0.4, 0.5];
/// What is left of the difference from the mean.
const CONTRAST: [f32; 5] = [0.4, 0.3, 0.2, 0.1, 0.05];

/// Adds to the value of each pixel (the V of HSV, its largest colour) and keeps hue and saturation.
pub(super) fn brightness(pixels: &RgbPixels, level: usize) -> Vec<u8> {
    let more = 255.0 * BRIGHTNESS[level];
    let (colors, _) = pixels.data().as_chunks::<3>();
    colors
        .iter()
        .flat_map(|color| {
            let value = f32::from(color[0].max(color[1]).max(color[2]));
            let brighter = (value + more).min(255.0);
            color.map(|part| match value > 0.0 {
                true => byte(f32::from(part) * brighter / value),
                // Black has no hue: it becomes grey.
                false => byte(brighter),
            })
        })
        .collect()
}

/// Moves each colour towards its mean over the image.
pub(super) fn contrast(pixels: &RgbPixels, level: usize) -> Vec<u8> {
    let (colors, _) = pixels.data().as_chunks::<3>();
    let mut sums = [0_u64; 3];
    for color in colors {
        (0..3).for_each(|part| sums[part] += u64::from(color[part]));
    }
    let means = sums.map(|sum| (sum as f64 / colors.len() as f64) as f32);
    let moved = |part: usize, value: u8| byte((f32::from(value) - means[part]) * CONTRAST[level] + means[part]);
    colors.iter().flat_map(|color| [0, 1, 2].map(|part| moved(part, color[part]))).collect()
}
