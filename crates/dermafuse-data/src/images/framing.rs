//! How a photo becomes a square.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::images::image::{Resampling, RgbPixels, resize, resize_to};

/// How a photo that is no square becomes the network's square input. It is part of a model, as [`Resampling`] is.
///
/// ```
/// use dermafuse_data::{Framing, RgbPixels};
///
/// let wide = RgbPixels::new(3, 1, vec![10, 10, 10, 20, 20, 20, 30, 30, 30])?;
/// assert_eq!(Framing::Crop.framed(&wide).data(), [20, 20, 20]);
/// let padded = Framing::Pad.framed(&wide);
/// assert_eq!((padded.width(), padded.height()), (3, 3));
/// assert_eq!(padded.data()[..9], [0; 9]);
/// assert_eq!(padded.data()[9..18], *wide.data());
/// assert_eq!(Framing::Squash.framed(&wide), wide);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Both sides are resized to the square's: nothing is lost, and circles become ellipses.
    #[default]
    Squash,
    /// The longer side is resized to the square's, and what is left above and below, or to the left and right, is black.
    Pad,
    /// The square in the middle that is as high or as wide as the photo: shapes and scale stay, and the ends of the longer side are
    /// lost.
    Crop,
}

impl Framing {
    /// Whether it is the default, for files that leave it out.
    pub(crate) fn is_squash(&self) -> bool {
        *self == Self::Squash
    }

    /// The part of a photo that the network sees, at the photo's own resolution: the photo itself where it is squashed.
    #[must_use]
    pub fn framed(self, pixels: &RgbPixels) -> RgbPixels {
        let (width, height) = (pixels.width(), pixels.height());
        match self {
            Self::Squash => pixels.clone(),
            Self::Pad => padded(pixels, width.max(height)),
            Self::Crop => middle(pixels, width.min(height)),
        }
    }

    /// A photo as a square of `size` pixels.
    ///
    /// # Errors
    /// As [`resize`].
    pub(crate) fn square(
        self,
        pixels: &RgbPixels,
        size: usize,
        resampling: Resampling,
    ) -> Result<RgbPixels, DataError> {
        let (width, height) = (pixels.width(), pixels.height());
        match self {
            Self::Pad if width != height => {
                let longest = width.max(height);
                let reduced = |side: usize| ((2 * side * size + longest) / (2 * longest)).max(size.min(1));
                Ok(padded(&resize_to(pixels, [reduced(width), reduced(height)], resampling)?, size))
            }
            Self::Crop if width != height => resize(&middle(pixels, width.min(height)), size, resampling),
            _ => resize(pixels, size, resampling),
        }
    }
}

/// The middle `side` × `side` pixels.
fn middle(pixels: &RgbPixels, side: usize) -> RgbPixels {
    let (left, top) = ((pixels.width() - side) / 2, (pixels.height() - side) / 2);
    let rows = pixels.data().chunks_exact(3 * pixels.width()).skip(top).take(side);
    let data = rows.flat_map(|row| &row[3 * left..3 * (left + side)]).copied().collect();
    RgbPixels::of_rows(side, side, data)
}

/// The pixels in the middle of a black square.
fn padded(pixels: &RgbPixels, side: usize) -> RgbPixels {
    let (width, height) = (pixels.width(), pixels.height());
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let mut data = vec![0; 3 * side * side];
    for (to, from) in data.chunks_exact_mut(3 * side).skip(top).zip(pixels.data().chunks_exact(3 * width)) {
        to[3 * left..3 * (left + width)].copy_from_slice(from);
    }
    RgbPixels::of_rows(side, side, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A photo of `width` × `height` pixels, each with its column and row.
    fn places(width: usize, height: usize) -> RgbPixels {
        let pixels = (0..width * height).flat_map(|at| [(at % width) as u8, (at / width) as u8, 9]);
        RgbPixels::new(width, height, pixels.collect()).unwrap()
    }

    fn pixel(pixels: &RgbPixels, column: usize, row: usize) -> &[u8] {
        &pixels.data()[3 * (row * pixels.width() + column)..][..3]
    }

    #[test]
    fn a_wide_and_a_tall_photo_keep_their_shapes() {
        let (wide, tall) = (places(8, 4), places(4, 8));
        for resampling in [Resampling::Nearest, Resampling::Pillow, Resampling::OpenCv] {
            let cut = Framing::Crop.square(&wide, 4, resampling).unwrap();
            assert_eq!((pixel(&cut, 0, 0), pixel(&cut, 3, 3)), (&[2, 0, 9][..], &[5, 3, 9][..]));
            let cut = Framing::Crop.square(&tall, 4, resampling).unwrap();
            assert_eq!((pixel(&cut, 0, 0), pixel(&cut, 3, 3)), (&[0, 2, 9][..], &[3, 5, 9][..]));
            let padded = Framing::Pad.square(&wide, 8, resampling).unwrap();
            assert_eq!((pixel(&padded, 0, 1), pixel(&padded, 0, 2)), (&[0, 0, 0][..], &[0, 0, 9][..]));
            assert_eq!((pixel(&padded, 7, 5), pixel(&padded, 7, 6)), (&[7, 3, 9][..], &[0, 0, 0][..]));
        }
        let half = Framing::Pad.square(&tall, 4, Resampling::Nearest).unwrap();
        assert_eq!(
            (pixel(&half, 0, 0), pixel(&half, 1, 0), pixel(&half, 3, 0)),
            (&[0; 3][..], &[1, 1, 9][..], &[0; 3][..])
        );
    }

    #[test]
    fn squares_are_resized_whatever_the_framing() {
        let square = places(6, 6);
        let expected = resize(&square, 3, Resampling::Pillow).unwrap();
        for framing in [Framing::Squash, Framing::Pad, Framing::Crop] {
            assert_eq!(framing.square(&square, 3, Resampling::Pillow).unwrap(), expected);
        }
        let line = Framing::Pad.square(&places(9, 1), 3, Resampling::Pillow).unwrap();
        assert_eq!((line.width(), line.height(), pixel(&line, 1, 1)[2]), (3, 3, 9));
    }
}
