//! Whole numbers in rows, of which measures and features are made, and the zones of a picture.

use crate::RgbPixels;

pub(super) fn square(value: f64) -> f64 {
    value * value
}

/// What a luminance of 1 is in a [`Plane`].
pub(super) const LUMINANCE: i64 = 256;

/// The zones of a picture: the middle, two rings around it, and what lies outside of them, the corners.
pub(super) const ZONES: usize = 4;
/// The corners: outside of the ellipse that touches the four edges.
pub(super) const OUTSIDE: usize = 3;

/// The zone of each pixel: rings end at 0.4, 0.75 and 1 of the ellipse that touches the four edges.
pub(super) fn zones(copy: &RgbPixels) -> Vec<usize> {
    let from_middle = |place: usize, side: usize| (2 * place + 1).abs_diff(side) as u64;
    let (width, height) = (copy.width() as u64, copy.height() as u64);
    // Squares of the distance and of the edge, times the squares of both sides.
    let edge = (width * height).pow(2);
    let ends = [(edge * 4).div_ceil(25), (edge * 9).div_ceil(16), edge];
    let mut zones = Vec::with_capacity(copy.width() * copy.height());
    for y in 0..copy.height() {
        let down = (from_middle(y, copy.height()) * width).pow(2);
        zones.extend((0..copy.width()).map(|x| {
            let distance = (from_middle(x, copy.width()) * height).pow(2) + down;
            ends.iter().filter(|end| distance >= **end).count()
        }));
    }
    zones
}

/// Whole numbers in rows. Of a copy of 128 × 128 pixels, four times halved, sums of squares stay below 2⁶³.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    width: usize,
    height: usize,
    pub(super) values: Vec<i64>,
}

impl Plane {
    /// The luminance in 1/256: `77 red + 150 green + 29 blue`.
    pub(super) fn luminance(pixels: &RgbPixels) -> Self {
        Self::of(pixels, |[red, green, blue]| 77 * red + 150 * green + 29 * blue)
    }

    /// The share of a colour in the sum of the three, in 1/65,536 of it.
    pub(super) fn share(pixels: &RgbPixels, colour: usize) -> Self {
        Self::of(pixels, |pixel| (pixel[colour] << 16) / (pixel.iter().sum::<u32>() + 3))
    }

    fn of(pixels: &RgbPixels, value: impl Fn([u32; 3]) -> u32) -> Self {
        let values = pixels.data().chunks_exact(3);
        let values = values.map(|pixel| i64::from(value([0, 1, 2].map(|colour| u32::from(pixel[colour])))));
        Self { width: pixels.width(), height: pixels.height(), values: values.collect() }
    }

    /// Half as wide and high: sums over 2 × 2 values, so they are four times as large. A side of 1 stays.
    pub(super) fn halved(&self) -> Self {
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        let at = |x: usize, y: usize| self.values[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let sum = |x: usize, y: usize| {
            at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1)
        };
        let values = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| sum(x, y)).collect();
        Self { width, height, values }
    }

    /// The sum of the four neighbours less four times the value, of all values that have four neighbours.
    pub(super) fn laplacian(&self) -> Self {
        let (width, height) = (self.width.saturating_sub(2), self.height.saturating_sub(2));
        let mut values = Vec::with_capacity(width * height);
        for y in 1..=height {
            let row = |y: usize| &self.values[y * self.width..][..self.width];
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            values.extend((1..=width).map(|x| above[x] + below[x] + here[x - 1] + here[x + 1] - 4 * here[x]));
        }
        Self { width, height, values }
    }

    /// The mean square of the differences to the right and to the lower neighbour together; 0 without any.
    pub(super) fn slope(&self) -> f64 {
        let (width, height) = (self.width.saturating_sub(1), self.height.saturating_sub(1));
        let mut sum = 0;
        for y in 0..height {
            let (here, below) = (&self.values[y * self.width..], &self.values[(y + 1) * self.width..]);
            for x in 0..width {
                let (right, down) = (here[x + 1] - here[x], below[x] - here[x]);
                sum += right * right + down * down;
            }
        }
        sum as f64 / (width * height).max(1) as f64
    }

    /// The mean; 0 without values.
    pub(super) fn mean(&self) -> f64 {
        self.values.iter().sum::<i64>() as f64 / self.values.len().max(1) as f64
    }

    /// The mean square of the difference from the mean; 0 without values.
    pub(super) fn variance(&self) -> f64 {
        let squares: i64 = self.values.iter().map(|value| value * value).sum();
        (squares as f64 / self.values.len().max(1) as f64 - square(self.mean())).max(0.0)
    }

    /// The median of the absolute values; 0 without values.
    pub(super) fn median_size(&self) -> f64 {
        let mut sizes: Vec<u64> = self.values.iter().map(|value| value.unsigned_abs()).collect();
        let middle = sizes.len() / 2;
        match sizes.is_empty() {
            true => 0.0,
            false => *sizes.select_nth_unstable(middle).1 as f64,
        }
    }
}
