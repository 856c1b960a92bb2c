//! How attention windows lie on a map.

/// What the attention between pixels of different pieces is lowered by: see [`Windows::shift`].
pub(crate) const MASKED: f32 = -100.0;

/// Square windows on a map and the attention inside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Side in pixels, at most the map's height and width, which are multiples of it.
    pub side: usize,
    /// How far the windows are moved down and to the right, less than their side. The map continues on the opposite side;
    /// pixels of a window that are no neighbours in the map are masked: their similarity is lowered by 100.
    pub shift: [usize; 2],
    /// Attention heads; they divide the channels.
    pub heads: usize,
    /// Whether queries and keys are divided by their lengths first.
    pub cosine: bool,
}

impl Windows {
    /// Pixels of a window.
    pub(crate) fn pixels(&self) -> usize {
        self.side * self.side
    }

    /// The pixel of the map (`row · width + column`) that each pixel of each window is: `[n · N]`.
    #[cfg(any(feature = "flex", test))]
    pub(crate) fn places(&self, size: [usize; 2]) -> Vec<usize> {
        let [height, width] = size;
        let [down, right] = self.shift;
        self.map_pixels(size, |row, column| (row + down) % height * width + (column + right) % width)
    }

    /// Which of the pieces that a window joins each of its pixels belongs to, `[n · N]`; empty where windows join none.
    pub(crate) fn pieces(&self, size: [usize; 2]) -> Vec<usize> {
        if self.shift == [0, 0] {
            return Vec::new();
        }
        let of_axis = |axis: usize, place: usize| match self.shift[axis] {
            0 => 0,
            _ if place < size[axis] - self.side => 0,
            shift if place < size[axis] - shift => 1,
            _ => 2,
        };
        self.map_pixels(size, |row, column| 3 * of_axis(0, row) + of_axis(1, column))
    }

    /// A number for each pixel of each window, by its row and column in the moved map.
    fn map_pixels(&self, [height, width]: [usize; 2], of: impl Fn(usize, usize) -> usize) -> Vec<usize> {
        let side = self.side;
        let mut numbers = Vec::with_capacity(height * width);
        for top in (0..height).step_by(side) {
            for left in (0..width).step_by(side) {
                let pixels = (0..side).flat_map(|row| (0..side).map(move |column| (top + row, left + column)));
                numbers.extend(pixels.map(|(row, column)| of(row, column)));
            }
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_continue_on_the_opposite_side() {
        // Windows of 2 moved down by 1 in a map of 4 rows and 2 columns.
        let windows = Windows { side: 2, shift: [1, 0], heads: 1, cosine: false };
        assert_eq!(windows.places([4, 2]), [2, 3, 4, 5, 6, 7, 0, 1]);
        // The last window joins the last row and the first.
        let pieces = windows.pieces([4, 2]);
        assert_eq!(pieces[..4], [0, 0, 0, 0]);
        assert_eq!(pieces[4..], [3, 3, 6, 6]);
        assert!(Windows { shift: [0, 0], ..windows }.pieces([4, 2]).is_empty());
    }
}
