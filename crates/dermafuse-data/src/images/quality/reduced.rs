//! A small copy of a picture: means over areas, in whole numbers.

use crate::RgbPixels;

/// The longer side of the copy that is measured, in pixels.
pub(super) const SIDE: usize = 128;

/// The picture with a longer side of at most [`SIDE`] pixels; a smaller one as it is.
pub(super) fn reduced(pixels: &RgbPixels) -> RgbPixels {
    let (width, height) = (pixels.width(), pixels.height());
    let longer = width.max(height);
    if longer <= SIDE {
        return pixels.clone();
    }
    let side = |length: usize| ((length * SIDE + longer / 2) / longer).max(1);
    area_means(pixels, side(width), side(height))
}

/// The picture in another size: each pixel is the mean of the area that it covers, rounded.
///
/// A pixel of the picture is `width` units wide and one of the copy as many as the picture has columns, so that all overlaps are
/// whole numbers; the same goes for heights.
pub(super) fn area_means(pixels: &RgbPixels, width: usize, height: usize) -> RgbPixels {
    let (columns, rows) = (pixels.width(), pixels.height());
    let line = 3 * columns;
    let area = (columns * rows) as u64;
    let mut data = Vec::with_capacity(3 * width * height);
    let mut sums = vec![0_u32; line];
    for y in 0..height {
        sums.fill(0);
        // At most 255 · 16,384 in each sum.
        for (row, overlap) in overlaps(y, rows, height) {
            let bytes = &pixels.data()[row * line..][..line];
            sums.iter_mut().zip(bytes).for_each(|(sum, byte)| *sum += overlap as u32 * u32::from(*byte));
        }
        for x in 0..width {
            let mut means = [area / 2; 3];
            for (column, overlap) in overlaps(x, columns, width) {
                let pixel = &sums[3 * column..][..3];
                means.iter_mut().zip(pixel).for_each(|(mean, sum)| *mean += overlap as u64 * u64::from(*sum));
            }
            data.extend(means.map(|mean| (mean / area) as u8));
        }
    }
    RgbPixels::new(width, height, data).expect("there are three bytes for each pixel")
}

/// Which of `from` pixels the pixel at `place`, one of `to`, covers, and by how many units.
fn overlaps(place: usize, from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
    let (start, end) = (place * from, (place + 1) * from);
    (start / to..end.div_ceil(to)).map(move |pixel| (pixel, end.min((pixel + 1) * to) - start.max(pixel * to)))
}
