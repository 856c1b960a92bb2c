use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dermafuse_schema::ndarray::{Array3, ArrayView3};
use dermafuse_schema::{CaseImage, LesionRegion};
use image::{DynamicImage, RgbImage};

use crate::images::image::{MAX_PIXELS, MAX_SIDE, Strictness, decode, decode_bytes};
use crate::{DataError, RgbPixels};

/// A picture of a patient's lesion, wherever it is: a file, the bytes of one in memory, or pixels. Clones share what they hold.
///
/// A path may be given as text; bytes are those of a file that [`decode`] reads, whatever its name was, and are turned upright as
/// the camera says. Pixels are taken as they are: an alpha channel is dropped (not blended), 16 bits are reduced to 8, and what a
/// camera said of their orientation is lost, since `image::open` does not look at it. All of them have the limits of files.
///
/// ```
/// use dermafuse_data::{PatientImage, RgbPixels, Strictness, encode_png};
/// use dermafuse_schema::ndarray::Array3;
///
/// let pixels = RgbPixels::new(2, 1, vec![255, 0, 0, 0, 0, 255])?;
/// let of_bytes = PatientImage::from(encode_png(&pixels));
/// let of_array = PatientImage::from(Array3::from_shape_vec((1, 2, 3), pixels.data().to_vec())?);
/// let raw = PatientImage::rgb(2, 1, pixels.data().to_vec());
/// for image in [&of_bytes, &of_array, &raw] {
///     assert_eq!(image.decode(Strictness::Strict)?, pixels);
/// }
/// let error = PatientImage::rgb(2, 2, vec![0; 7]).named("left arm").decode(Strictness::Strict).unwrap_err();
/// assert_eq!(error.to_string(), "left arm: 7 bytes for 2 x 2 pixels; give 3 bytes for each of 1 or more pixels");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PatientImage {
    name: Option<PathBuf>,
    held: Held,
    lesion: Option<Box<LesionRegion>>,
}

/// What an image is made from.
#[derive(Clone)]
pub(crate) enum Held {
    File(PathBuf),
    Bytes(Arc<Vec<u8>>),
    /// Pixels, or what was given instead.
    Pixels(Result<Arc<RgbPixels>, String>),
}

impl PatientImage {
    /// Rows of interleaved 8-bit RGB: `[height, width, 3]`. That there are as many bytes is checked when the image is read.
    #[must_use]
    pub fn rgb(width: usize, height: usize, data: Vec<u8>) -> Self {
        let found = format!("{} bytes for {width} x {height} pixels", data.len());
        Self::of(Held::Pixels(RgbPixels::new(width, height, data).map(Arc::new).map_err(|_| found)))
    }

    /// The same with a name of its own, which errors say in place of the file's. It is no path and need not be unique.
    #[must_use]
    pub fn named(self, name: impl Into<PathBuf>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The same with where the lesion is: a [`LesionBox`](dermafuse_schema::LesionBox), or a [`LesionArea`](dermafuse_schema::LesionArea)
    /// for the file of a mask. Both are of the image as it is shown, turned upright. What was trained on images that were cut to their
    /// lesions cuts this one too; everything else takes it whole. That it fits is checked when the image is read.
    ///
    /// ```
    /// use dermafuse_data::{LesionMask, PatientImage, Preprocess, RgbPixels};
    /// use dermafuse_schema::LesionBox;
    /// use dermafuse_schema::ndarray::array;
    ///
    /// let image = PatientImage::from(RgbPixels::new(3, 2, (0..18).collect())?);
    /// let cutting = Preprocess { box_margin: Some(0.0), ..Preprocess::imagenet(224) };
    /// let cut = image.clone().with_lesion(LesionBox::new(1, 1, 2, 1)?);
    /// assert_eq!(cutting.seen(&cut)?.data(), [12, 13, 14, 15, 16, 17]);
    /// // A mask in memory is its box.
    /// let mask = LesionMask::new(array![[false, false, false], [false, true, true]])?;
    /// assert_eq!(cutting.seen(&image.clone().with_lesion(mask.bounds()))?, cutting.seen(&cut)?);
    /// let error = cutting.seen(&image.with_lesion(LesionBox::new(1, 1, 3, 1)?)).unwrap_err().to_string();
    /// assert!(error.starts_with("image in memory: the lesion box 1,1,3,1 does not fit: it reaches out"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_lesion(self, lesion: impl Into<LesionRegion>) -> Self {
        Self { lesion: Some(Box::new(lesion.into())), ..self }
    }

    /// Where the lesion is, if somebody says so.
    #[must_use]
    pub fn lesion(&self) -> Option<&LesionRegion> {
        self.lesion.as_deref()
    }

    /// The name, else the path of the file; `image in memory` where there is neither.
    #[must_use]
    pub fn name(&self) -> Cow<'_, Path> {
        match (&self.name, &self.held) {
            (Some(name), _) | (None, Held::File(name)) => Cow::Borrowed(name),
            (None, _) => Cow::Borrowed(Path::new("image in memory")),
        }
    }

    /// Whether it has a name of its own or that of a file.
    #[must_use]
    pub fn has_name(&self) -> bool {
        self.name.is_some() || matches!(self.held, Held::File(_))
    }

    /// Upright pixels in the image's own size.
    ///
    /// # Errors
    /// Those of [`decode`]; pixels that are none, or more than [`MAX_SIDE`](crate::MAX_SIDE) and
    /// [`MAX_PIXELS`](crate::MAX_PIXELS) allow.
    pub fn decode(&self, strictness: Strictness) -> Result<RgbPixels, DataError> {
        match &self.held {
            Held::File(path) => decode(path, strictness),
            Held::Bytes(bytes) => decode_bytes(self.name(), bytes, strictness),
            Held::Pixels(_) => self.pixels().cloned(),
        }
    }

    fn of(held: Held) -> Self {
        Self { name: None, held, lesion: None }
    }

    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// The path, if it is a file.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.held {
            Held::File(path) => Some(path),
            Held::Bytes(_) | Held::Pixels(_) => None,
        }
    }

    /// The pixels of an image that was given as such, within the limits of files.
    pub(crate) fn pixels(&self) -> Result<&RgbPixels, DataError> {
        let error = |found: String, expected: String| DataError::ImagePixels {
            name: self.name().into_owned(),
            found,
            expected,
        };
        match &self.held {
            Held::Pixels(Ok(pixels)) => {
                let (width, height) = (pixels.width(), pixels.height());
                if width <= MAX_SIDE && height <= MAX_SIDE && width * height <= MAX_PIXELS {
                    return Ok(pixels);
                }
                let expected = format!("reduce it to at most {MAX_SIDE} a side and {MAX_PIXELS} in all");
                Err(error(format!("{width} x {height} pixels"), expected))
            }
            Held::Pixels(Err(found)) => {
                Err(error(found.clone(), "give 3 bytes for each of 1 or more pixels".to_owned()))
            }
            Held::File(_) | Held::Bytes(_) => Err(error("a file".to_owned(), "decode it".to_owned())),
        }
    }
}

impl fmt::Debug for PatientImage {
    /// What it is, without its bytes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.held {
            Held::File(_) => "a file".to_owned(),
            Held::Bytes(bytes) => format!("{} bytes of a file", bytes.len()),
            Held::Pixels(Ok(pixels)) => format!("{} x {} pixels", pixels.width(), pixels.height()),
            Held::Pixels(Err(found)) => format!("no pixels ({found})"),
        };
        write!(formatter, "PatientImage({}: {what})", self.name().display())
    }
}

impl From<&CaseImage> for PatientImage {
    fn from(image: &CaseImage) -> Self {
        Self { lesion: image.lesion.clone(), ..Self::from(&image.path) }
    }
}

impl From<CaseImage> for PatientImage {
    fn from(image: CaseImage) -> Self {
        Self { lesion: image.lesion, ..Self::from(image.path) }
    }
}

impl From<PathBuf> for PatientImage {
    fn from(path: PathBuf) -> Self {
        Self::of(Held::File(path))
    }
}

impl From<&PathBuf> for PatientImage {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Path> for PatientImage {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&str> for PatientImage {
    /// The path of a file.
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<String> for PatientImage {
    /// The path of a file.
    fn from(path: String) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<&String> for PatientImage {
    /// The path of a file.
    fn from(path: &String) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<Vec<u8>> for PatientImage {
    /// The bytes of a file.
    fn from(bytes: Vec<u8>) -> Self {
        Self::of(Held::Bytes(Arc::new(bytes)))
    }
}

impl From<Arc<Vec<u8>>> for PatientImage {
    /// The bytes of a file, which are not copied.
    fn from(bytes: Arc<Vec<u8>>) -> Self {
        Self::of(Held::Bytes(bytes))
    }
}

impl From<&[u8]> for PatientImage {
    /// The bytes of a file.
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<&Vec<u8>> for PatientImage {
    /// The bytes of a file.
    fn from(bytes: &Vec<u8>) -> Self {
        bytes.clone().into()
    }
}

impl<const N: usize> From<&[u8; N]> for PatientImage {
    /// The bytes of a file, such as those that `include_bytes!` gives.
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<RgbPixels> for PatientImage {
    fn from(pixels: RgbPixels) -> Self {
        Self::of(Held::Pixels(Ok(Arc::new(pixels))))
    }
}

impl From<RgbImage> for PatientImage {
    fn from(pixels: RgbImage) -> Self {
        let (width, height) = (pixels.width() as usize, pixels.height() as usize);
        Self::rgb(width, height, pixels.into_raw())
    }
}

impl From<DynamicImage> for PatientImage {
    /// Any colours as 8-bit RGB, as files are read.
    fn from(image: DynamicImage) -> Self {
        image.into_rgb8().into()
    }
}

impl From<ArrayView3<'_, u8>> for PatientImage {
    /// `[H, W, 3]`.
    fn from(pixels: ArrayView3<'_, u8>) -> Self {
        let (height, width, channels) = pixels.dim();
        if channels != 3 {
            let found = format!("an array of shape [{height}, {width}, {channels}], not [H, W, 3]");
            return Self::of(Held::Pixels(Err(found)));
        }
        Self::rgb(width, height, pixels.iter().copied().collect())
    }
}

impl From<&Array3<u8>> for PatientImage {
    /// `[H, W, 3]`.
    fn from(pixels: &Array3<u8>) -> Self {
        pixels.view().into()
    }
}

impl From<Array3<u8>> for PatientImage {
    /// `[H, W, 3]`.
    fn from(pixels: Array3<u8>) -> Self {
        pixels.view().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_that_are_none_or_too_many_are_refused_with_the_images_name() {
        let refused = |image: PatientImage| image.decode(Strictness::Strict).unwrap_err().to_string();
        assert_eq!(
            refused(Array3::<u8>::zeros((2, 3, 4)).into()),
            "image in memory: an array of shape [2, 3, 4], not [H, W, 3]; give 3 bytes for each of 1 or more pixels"
        );
        assert!(
            refused(PatientImage::rgb(0, 5, Vec::new()).named("x")).starts_with("x: 0 bytes for 0 x 5 pixels; give")
        );
        let wide = refused(PatientImage::rgb(MAX_SIDE + 1, 1, vec![0; 3 * (MAX_SIDE + 1)]));
        assert!(wide.contains("16385 x 1 pixels; reduce it to at most 16384 a side"), "{wide}");
        assert_eq!(refused(Vec::new().into()), "image in memory: the image file is empty (0 bytes); copy it again");
        assert!(refused("nowhere.jpg".into()).contains("nowhere.jpg"));
    }

    #[test]
    fn arrays_are_read_row_by_row_whatever_their_layout() {
        let rows = Array3::from_shape_fn((2, 3, 3), |(y, x, c)| (100 * y + 10 * x + c) as u8);
        let turned = rows.view().permuted_axes([1, 0, 2]);
        let pixels = PatientImage::from(turned).decode(Strictness::Strict).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (2, 3));
        assert_eq!(&pixels.data()[..9], [0, 1, 2, 100, 101, 102, 10, 11, 12]);
    }

    #[test]
    fn a_dynamic_image_has_the_pixels_of_its_file() {
        let deep = image::ImageBuffer::from_fn(5, 4, |x, y| image::Rgba([x as u16 * 9_000, y as u16 * 15_000, 300, 7]));
        let deep = DynamicImage::ImageRgba16(deep);
        let mut file = std::io::Cursor::new(Vec::new());
        deep.write_to(&mut file, image::ImageFormat::Png).unwrap();
        let of_file = PatientImage::from(file.into_inner()).decode(Strictness::Strict).unwrap();
        assert_eq!(PatientImage::from(deep).decode(Strictness::Strict).unwrap(), of_file);
    }

    #[test]
    fn debugging_prints_no_pixels() {
        let text = format!("{:?}", PatientImage::rgb(1, 1, vec![7, 7, 7]).named("a"));
        assert_eq!(text, "PatientImage(a: 1 x 1 pixels)");
        assert!(!PatientImage::from(b"abc").has_name() && PatientImage::from("a.png").has_name());
    }
}
