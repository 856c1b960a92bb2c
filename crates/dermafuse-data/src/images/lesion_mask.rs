//! Masks that data sets publish beside their images: where the lesion is.

use std::path::{Path, PathBuf};

use dermafuse_schema::ndarray::{Array2, ArrayView2};
use dermafuse_schema::{LesionBox, open_regular_file};

use crate::images::image::{MAX_BYTES, RgbPixels, Strictness, decode, read_header};
use crate::images::image_folder::{ImageFolder, ImageIndex, Lookup};
use crate::{CaseSet, DataError};

/// Which pixels of an image are lesion, as a physician or a program drew it: `[height, width]`.
///
/// It tells whether a heat map points at the lesion (`dermafuse_eval::Pointing`), and what part of an image to look at.
///
/// ```
/// use dermafuse_data::{LesionMask, RgbPixels};
/// use dermafuse_schema::ndarray::array;
///
/// let mask = LesionMask::new(array![[false, false, false], [false, true, true]])?;
/// assert!((mask.area() - 1.0 / 3.0).abs() < 1e-12);
/// assert_eq!(mask.bounds().xywh(), [1, 1, 2, 1]);
/// let image = RgbPixels::new(3, 2, (0..18).collect())?;
/// assert_eq!(mask.crop(&image, 0.0)?.data(), [12, 13, 14, 15, 16, 17]);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LesionMask {
    inside: Array2<bool>,
}

impl LesionMask {
    /// A mask of pixels, `true` in the lesion.
    ///
    /// # Errors
    /// No pixel is lesion.
    pub fn new(inside: Array2<bool>) -> Result<Self, DataError> {
        match inside.iter().any(|&inside| inside) {
            true => Ok(Self { inside }),
            false => Err(DataError::Setting {
                what: "mask",
                found: format!("{} x {} pixels without any lesion", inside.ncols(), inside.nrows()),
                expected: "a mask of a lesion, which is white",
            }),
        }
    }

    /// Reads a mask from an image: what is not black is lesion, so that masks of labels (0, 1, 2 …) are masks too.
    ///
    /// # Errors
    /// A file that cannot be read or is no image; a JPEG, whose compression leaves dark pixels that are not black around a lesion; an image
    /// that is black.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let refused = |why: &str, expected| {
            Err(DataError::Setting { what: "mask", found: format!("{}, which is {why},", path.display()), expected })
        };
        if read_header(path, &open_regular_file(path, MAX_BYTES)?)?.is_jpeg() {
            return refused("a JPEG", "of a format without loss, such as PNG");
        }
        let pixels = decode(path, Strictness::Strict)?;
        let (width, height) = (pixels.width(), pixels.height());
        let (values, _) = pixels.data().as_chunks::<3>();
        let inside = Array2::from_shape_fn((height, width), |(y, x)| values[y * width + x] != [0; 3]);
        Self::new(inside).or_else(|_| refused("black", "a mask of a lesion, which is not black"))
    }

    /// The pixels, `[height, width]`.
    #[must_use]
    pub fn inside(&self) -> ArrayView2<'_, bool> {
        self.inside.view()
    }

    /// The share of the image that is lesion, above 0 and at most 1.
    #[must_use]
    pub fn area(&self) -> f64 {
        self.inside.iter().filter(|&&inside| inside).count() as f64 / self.inside.len() as f64
    }

    /// The mask at another size, `[height, width]`, by the nearest pixel.
    ///
    /// # Errors
    /// No pixel of that size is lesion.
    pub fn resized(&self, [height, width]: [usize; 2]) -> Result<Self, DataError> {
        let (rows, columns) = self.inside.dim();
        let nearest = |at: usize, new: usize, old: usize| ((2 * at + 1) * old / (2 * new.max(1))).min(old - 1);
        Self::new(Array2::from_shape_fn((height, width), |(y, x)| {
            self.inside[[nearest(y, height, rows), nearest(x, width, columns)]]
        }))
    }

    /// The smallest rectangle around the lesion. [`LesionBox::widened`] gives it a margin.
    ///
    /// # Panics
    /// Never for a mask of an image that is read: beyond a thousand million rows or columns.
    #[must_use]
    pub fn bounds(&self) -> LesionBox {
        let (rows, columns) = self.inside.dim();
        let mut within = [columns, rows, 0, 0]; // left, top, right, bottom
        for ((y, x), _) in self.inside.indexed_iter().filter(|(_, inside)| **inside) {
            within = [within[0].min(x), within[1].min(y), within[2].max(x + 1), within[3].max(y + 1)];
        }
        let [left, top, right, bottom] = within;
        let numbers = [left, top, right - left, bottom - top].map(|number| number as f64);
        LesionBox::of_numbers(numbers).expect("a mask has a pixel that is lesion")
    }

    /// The part of an image of the same size that the lesion is in, with `margin` times its longer side on each side.
    ///
    /// # Errors
    /// An image of another size.
    pub fn crop(&self, pixels: &RgbPixels, margin: f64) -> Result<RgbPixels, DataError> {
        let (rows, columns) = self.inside.dim();
        if (pixels.height(), pixels.width()) != (rows, columns) {
            return Err(DataError::Setting {
                what: "mask",
                found: format!("{columns} x {rows} pixels for an image of {} x {}", pixels.width(), pixels.height()),
                expected: "as large as its image",
            });
        }
        Ok(pixels.part(self.bounds().widened(margin, [columns, rows])))
    }
}

/// The mask of each case of a set, in its order: the image in `folder`, or up to three levels below, that is called as the
/// case's first dermoscopic image with `suffix` behind it. `None` where there is none.
///
/// | data set | suffix |
/// |---|---|
/// | PH² | `_lesion` |
/// | ISIC 2016, 2017, 2018, HAM10000 | `_segmentation` |
///
/// A case without a dermoscopic image goes by its identity. Upper and lower case are the same.
///
/// # Errors
/// A folder that cannot be read; two different masks of one name.
pub fn lesion_masks(set: &CaseSet, folder: impl AsRef<Path>, suffix: &str) -> Result<Vec<Option<PathBuf>>, DataError> {
    let mut index = ImageIndex::new(vec![ImageFolder::list(folder.as_ref())?], true);
    let mut masks = Vec::with_capacity(set.len());
    for case in &set.cases {
        let image = case.dermoscopic.first().and_then(|image| image.path.file_stem()).and_then(|stem| stem.to_str());
        let name = format!("{}{suffix}", image.unwrap_or(case.id.as_str()));
        masks.push(match index.find(&name) {
            Lookup::One(path) | Lookup::OtherCase(path, _) => Some(path),
            Lookup::Nowhere | Lookup::Outside => None,
            Lookup::Several(one, other) => {
                return Err(DataError::Setting {
                    what: "mask",
                    found: format!("{name}, as {} and {} are called,", one.display(), other.display()),
                    expected: "one image; name the folder of the masks",
                });
            }
        });
    }
    Ok(masks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::ndarray::array;

    #[test]
    fn a_margin_ends_at_the_image() {
        let mask = LesionMask::new(array![[false, true, true, false], [false, true, true, false]]).unwrap();
        assert_eq!(mask.bounds().xywh(), [1, 0, 2, 2]);
        let image = RgbPixels::new(4, 2, (0..24).collect()).unwrap();
        let size = |margin| mask.crop(&image, margin).map(|part| [part.width(), part.height()]).unwrap();
        assert_eq!([0.0, 0.5, f64::INFINITY, -1.0].map(size), [[2, 2], [4, 2], [4, 2], [2, 2]]);
    }

    #[test]
    fn a_mask_is_resized_by_the_nearest_pixel() {
        let mask = LesionMask::new(array![[true, false], [false, false]]).unwrap();
        let doubled = mask.resized([4, 4]).unwrap();
        assert_eq!(doubled.area(), 0.25);
        assert_eq!(doubled.resized([2, 2]).unwrap(), mask);
        let mask = LesionMask::new(array![[false, true], [false, false]]).unwrap();
        assert!(mask.resized([1, 1]).unwrap_err().to_string().contains("1 x 1 pixels without any lesion"));
    }

    #[test]
    fn faults_say_what_does_not_fit() {
        let error = LesionMask::new(Array2::from_elem((2, 3), false)).unwrap_err().to_string();
        assert_eq!(error, "mask: 3 x 2 pixels without any lesion is not a mask of a lesion, which is white");
        let mask = LesionMask::new(array![[true]]).unwrap();
        let error = mask.crop(&RgbPixels::new(2, 1, vec![0; 6]).unwrap(), 0.0).unwrap_err().to_string();
        assert_eq!(error, "mask: 1 x 1 pixels for an image of 2 x 1 is not as large as its image");
    }
}
