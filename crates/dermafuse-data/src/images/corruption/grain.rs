//! Corruptions that come in grains of the size of one pixel at 224: square groups of pixels that change together, so that an
//! image of many pixels does not lose its noise when it is reduced.

use crate::RgbPixels;

use super::{byte, unit};

/// What happens to the values of one colour in a grain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// They stay.
    Keep,
    /// This is added to them.
    Add(f32),
    /// They become this.
    Set(u8),
}

/// An image in square grains, of which those at the right and lower edge may be smaller.
pub(super) struct Grains<'a> {
    pixels: &'a RgbPixels,
    /// The side of a grain, in pixels.
    side: usize,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl<'a> Grains<'a> {
    pub(super) fn of(pixels: &'a RgbPixels) -> Self {
        let side = unit(pixels).round() as usize;
        Self { pixels, side, columns: pixels.width().div_ceil(side), rows: pixels.height().div_ceil(side) }
    }

    /// `[rows, columns, 3]` the mean of each grain, rounded.
    pub(super) fn means(&self) -> Vec<u8> {
        let mut means = Vec::with_capacity(3 * self.rows * self.columns);
        for row in 0..self.rows {
            for column in 0..self.columns {
                let (mut sums, mut count) = ([0_u64; 3], 0);
                self.each_pixel(row, column, |at| {
                    (0..3).for_each(|color| sums[color] += u64::from(self.pixels.data()[at + color]));
                    count += 1;
                });
                means.extend(sums.map(|sum| ((sum + count / 2) / count) as u8));
            }
        }
        means
    }

    /// The image after the changes that `change` says of the mean of each grain and colour, in the order of
    /// [`Grains::means`].
    pub(super) fn changed(&self, mut change: impl FnMut(usize, u8) -> Change) -> Vec<u8> {
        let mut data = self.pixels.data().to_vec();
        for (at, mean) in self.means().into_iter().enumerate() {
            let (grain, color) = (at / 3, at % 3);
            let change = change(at, mean);
            self.each_pixel(grain / self.columns, grain % self.columns, |at| {
                let value = &mut data[at + color];
                match change {
                    Change::Keep => {}
                    Change::Add(more) => *value = byte(f32::from(*value) + more),
                    Change::Set(to) => *value = to,
                }
            });
        }
        data
    }

    /// Calls `each` with the place of the first byte of each pixel of a grain.
    fn each_pixel(&self, row: usize, column: usize, mut each: impl FnMut(usize)) {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        for y in row * self.side..((row + 1) * self.side).min(height) {
            for x in column * self.side..((column + 1) * self.side).min(width) {
                each(3 * (y * width + x));
            }
        }
    }
}
