//! How often each value is in an image, and what follows from it.

use crate::RgbPixels;

/// The power of Shades of Gray (Finlayson and Trezzi, CIC 2004: 6 is best on their images).
const POWER: i32 = 6;
/// No colour becomes more than so many times lighter or darker.
const MOST: f64 = 4.0;

/// `[3][256]` how many pixels have each value of red, green and blue.
pub(super) struct Histograms([[u32; 256]; 3]);

impl Histograms {
    pub(super) fn of(pixels: &RgbPixels) -> Self {
        let mut counts = [[0; 256]; 3];
        for pixel in pixels.data().as_chunks::<3>().0 {
            counts.iter_mut().zip(pixel).for_each(|(counts, &byte)| counts[usize::from(byte)] += 1);
        }
        Self(counts)
    }

    /// What red, green and blue are multiplied by so that the light is grey: the mean of the estimates of all three over the colour's own,
    /// which is the sixth root of the mean sixth power. A colour that is nowhere stays nowhere.
    pub(super) fn neutral_gains(&self) -> [f32; 3] {
        let of = |counts: &[u32; 256]| mean(counts, |byte| f64::from(byte).powi(POWER)).powf(1.0 / f64::from(POWER));
        let light = self.0.each_ref().map(of);
        let grey = light.iter().sum::<f64>() / 3.0;
        light.map(|colour| if colour > 0.0 { (grey / colour).clamp(1.0 / MOST, MOST) as f32 } else { 1.0 })
    }

    /// The mean red, green and blue of the image when each was multiplied, in bytes.
    pub(super) fn means(&self, gains: [f32; 3]) -> [f32; 3] {
        std::array::from_fn(|colour| mean(&self.0[colour], |byte| f64::from(times(byte, gains[colour]))) as f32)
    }
}

/// A byte multiplied by a gain, rounded and cut to a byte.
pub(super) fn times(byte: u8, gain: f32) -> u8 {
    (f32::from(byte) * gain).round().clamp(0.0, 255.0) as u8
}

/// The mean of a value of the bytes.
fn mean(counts: &[u32; 256], value: impl Fn(u8) -> f64) -> f64 {
    let pixels = counts.iter().map(|&count| u64::from(count)).sum::<u64>().max(1);
    let sum: f64 = (0..=255).zip(counts).map(|(byte, &count)| f64::from(count) * value(byte)).sum();
    sum / pixels as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(pixels: &[[u8; 3]]) -> RgbPixels {
        RgbPixels::new(pixels.len(), 1, pixels.concat()).unwrap()
    }

    #[test]
    fn a_tinted_grey_image_is_grey_again() {
        let tinted = image(&[[120, 100, 80], [60, 50, 40], [180, 150, 120]]);
        let gains = Histograms::of(&tinted).neutral_gains();
        let neutral = |pixel: [u8; 3]| std::array::from_fn::<u8, 3, _>(|colour| times(pixel[colour], gains[colour]));
        assert_eq!(neutral([120, 100, 80]), [100; 3]);
        assert_eq!(neutral([180, 150, 120]), [150; 3]);
        // The light is what is brightest: one bright pixel counts more than many dark ones of another colour.
        let mut pixels = vec![[20, 20, 40]; 30];
        pixels.push([250, 200, 200]);
        let gains = Histograms::of(&image(&pixels)).neutral_gains();
        assert!(gains[0] < 0.9 && gains[1] > 1.0 && (gains[1] - gains[2]).abs() < 0.01, "{gains:?}");
    }

    #[test]
    fn colours_that_are_nowhere_or_next_to_nowhere_are_left_or_bounded() {
        assert_eq!(Histograms::of(&image(&[[0; 3]])).neutral_gains(), [1.0; 3]);
        let gains = Histograms::of(&image(&[[255, 0, 2]])).neutral_gains();
        assert_eq!((gains[1], gains[2]), (1.0, MOST as f32));
    }

    #[test]
    fn means_are_those_of_the_multiplied_image() {
        let histograms = Histograms::of(&image(&[[10, 0, 200], [30, 0, 100]]));
        assert_eq!(histograms.means([1.0; 3]), [20.0, 0.0, 150.0]);
        assert_eq!(histograms.means([2.0, 3.0, 2.0]), [40.0, 0.0, 227.5], "200 becomes 255");
    }
}
