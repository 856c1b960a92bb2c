use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::images::framing::Framing;
use crate::images::image::{Resampling, Strictness};
use crate::{DataError, RgbPixels};

/// The order of the three colour planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Blue, green, red: images as OpenCV reads them.
    Bgr,
    /// Red, green, blue.
    Rgb,
}

/// How a byte becomes a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// `x / 255`.
    Div255,
    /// `(x / 255 − mean) / std`, channel by channel in the order of the planes.
    MeanStd {
        /// The means, in 0..1.
        mean: [f32; 3],
        /// The deviations, above 0.
        std: [f32; 3],
    },
}

/// The ways in which Keras' applications take images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KerasInput {
    /// RGB from -1 to 1 (mode `tf`): Keras' MobileNetV2, InceptionV3, Xception.
    Symmetric,
    /// BGR from 0 to 255 less ImageNet's mean (mode `caffe`): Keras' ResNet50 and VGG16.
    Caffe,
    /// RGB, ImageNet's mean and deviation (mode `torch`): Keras' DenseNets, what its EfficientNets do inside, and all
    /// weights of torchvision.
    Torch,
}

/// What is done to every image before a network sees it. It belongs to the weights and is stored with them, and what is
/// read is [checked](Preprocess::check) like what is built.
///
/// ```
/// use dermafuse_data::{ChannelOrder, Preprocess, RgbPixels};
///
/// // One orange pixel, enlarged to 1 x 1, that is, left alone.
/// let pixels = RgbPixels::new(1, 1, vec![255, 102, 0])?;
/// assert_eq!(Preprocess::as_released(1).apply(&pixels)?, [0.0, 0.4, 1.0]); // blue, green, red
/// let rgb = Preprocess { channels: ChannelOrder::Rgb, ..Preprocess::as_released(1) };
/// assert_eq!(rgb.apply(&pixels)?, [1.0, 0.4, 0.0]);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Declared")]
pub struct Preprocess {
    /// Side of the square input, in pixels: 1 to [`Preprocess::MAX_SIZE`].
    pub size: usize,
    /// Order of the colour planes.
    pub channels: ChannelOrder,
    /// From bytes to numbers.
    pub normalization: Normalization,
    /// How much is kept around the lesion where a case says where it is, by a box or a mask: this share of the box's longer side, on each
    /// side. The image is cut to that before it becomes a square. `None` takes images whole, whatever is said of them, and so do models of
    /// versions that knew no boxes. From 0 to [`Preprocess::MAX_MARGIN`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_margin: Option<f64>,
    /// How a photo becomes a square.
    #[serde(default, skip_serializing_if = "Framing::is_squash")]
    pub framing: Framing,
    /// How images are resized.
    pub resampling: Resampling,
    /// Whether damaged images are refused.
    pub decoding: Strictness,
}

/// A [`Preprocess`] as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    size: usize,
    channels: ChannelOrder,
    normalization: Normalization,
    #[serde(default)]
    box_margin: Option<f64>,
    #[serde(default)]
    framing: Framing,
    resampling: Resampling,
    #[serde(default)]
    decoding: Strictness,
}

impl TryFrom<Declared> for Preprocess {
    type Error = DataError;

    fn try_from(declared: Declared) -> Result<Self, DataError> {
        let Declared { size, channels, normalization, box_margin, framing, resampling, decoding } = declared;
        let preprocess = Self { size, channels, normalization, box_margin, framing, resampling, decoding };
        preprocess.check()?;
        Ok(preprocess)
    }
}

impl Preprocess {
    /// The largest [`size`](Preprocess::size).
    pub const MAX_SIZE: usize = 4096;
    /// The largest [`box_margin`](Preprocess::box_margin).
    pub const MAX_MARGIN: f64 = 10.0;
    /// The [`box_margin`](Preprocess::box_margin) of experiments that say none, where there are boxes or masks: a tenth of the lesion's
    /// longer side shows its border and the skin around it, and the lesion still fills most of the square.
    pub const DEFAULT_MARGIN: f64 = 0.1;

    /// As in the code that was released with FusionM4Net: read and resized by OpenCV (BGR, bilinear without
    /// antialiasing), divided by 255, no mean or deviation.
    #[must_use]
    pub fn as_released(size: usize) -> Self {
        Self {
            size,
            channels: ChannelOrder::Bgr,
            normalization: Normalization::Div255,
            box_margin: None,
            framing: Framing::Squash,
            resampling: Resampling::OpenCv,
            decoding: Strictness::Strict,
        }
    }

    /// As torchvision's ImageNet weights expect it: RGB, antialiased, ImageNet's mean and deviation.
    #[must_use]
    pub fn imagenet(size: usize) -> Self {
        let normalization = Normalization::MeanStd { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
        let decoding = Strictness::Strict;
        let (channels, framing) = (ChannelOrder::Rgb, Framing::Squash);
        Self { size, channels, normalization, box_margin: None, framing, resampling: Resampling::Pillow, decoding }
    }

    /// As Keras' applications expect it (`preprocess_input`), with the nearest pixel, which Keras loads images with.
    ///
    /// ```
    /// use dermafuse_data::{KerasInput, Preprocess, RgbPixels};
    ///
    /// let pixels = RgbPixels::new(1, 1, vec![255, 0, 51])?;
    /// let symmetric = Preprocess::keras(KerasInput::Symmetric, 1).apply(&pixels)?;
    /// assert!((symmetric[0] - 1.0).abs() < 1e-6 && (symmetric[2] + 0.6).abs() < 1e-6);
    /// let caffe = Preprocess::keras(KerasInput::Caffe, 1).apply(&pixels)?; // blue first, less the mean
    /// assert!((caffe[0] - (51.0 - 103.939)).abs() < 1e-4 && (caffe[2] - (255.0 - 123.68)).abs() < 1e-4);
    /// # Ok::<(), dermafuse_data::DataError>(())
    /// ```
    #[must_use]
    pub fn keras(input: KerasInput, size: usize) -> Self {
        let (channels, normalization) = match input {
            KerasInput::Symmetric => (ChannelOrder::Rgb, Normalization::MeanStd { mean: [0.5; 3], std: [0.5; 3] }),
            KerasInput::Caffe => {
                let mean = [103.939 / 255.0, 116.779 / 255.0, 123.68 / 255.0];
                (ChannelOrder::Bgr, Normalization::MeanStd { mean, std: [1.0 / 255.0; 3] })
            }
            KerasInput::Torch => {
                let Self { channels, normalization, .. } = Self::imagenet(size);
                (channels, normalization)
            }
        };
        let (framing, resampling) = (Framing::Squash, Resampling::Nearest);
        Self { size, channels, normalization, box_margin: None, framing, resampling, decoding: Strictness::Strict }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// A size of 0 or above [`Preprocess::MAX_SIZE`], a margin below 0 or above [`Preprocess::MAX_MARGIN`], a mean that is not finite, a deviation that is not positive or so
    /// small that pixels would not be finite.
    pub fn check(&self) -> Result<(), SettingFault> {
        let fits = (1..=Self::MAX_SIZE).contains(&self.size);
        SettingFault::unless(fits, "size", "from 1 to 4096 pixels", self.size)?;
        if let Some(margin) = self.box_margin {
            let fits = (0.0..=Self::MAX_MARGIN).contains(&margin);
            SettingFault::unless(fits, "box_margin", "from 0 to 10 times the lesion's longer side", margin)?;
        }
        if let Normalization::MeanStd { mean, std } = self.normalization {
            let finite = |(mean, std): (&f32, &f32)| {
                let ends = [(0.0 - mean) / std, (1.0 - mean) / std];
                mean.is_finite() && std.is_finite() && *std > 0.0 && ends.iter().all(|value| value.is_finite())
            };
            let found = format!("mean {mean:?}, std {std:?}");
            let are_finite = mean.iter().zip(&std).all(finite);
            SettingFault::unless(are_finite, "normalization", "of finite means and positive deviations", found)?;
        }
        Ok(())
    }

    /// Resizes, orders and normalizes an image.
    ///
    /// # Shapes
    /// `[3, S, S]`, `S = size`.
    ///
    /// # Errors
    /// Settings that [`Preprocess::check`] refuses.
    pub fn apply(&self, pixels: &RgbPixels) -> Result<Vec<f32>, DataError> {
        let resized = self.square(pixels)?;
        let mut planes = vec![0.0; 3 * self.size * self.size];
        let tables = self.tables(&[std::array::from_fn(|byte| byte as u8); 3]);
        let area = self.size * self.size;
        for (at, pixel) in resized.data().chunks_exact(3).enumerate() {
            for (plane, &source) in self.sources().iter().enumerate() {
                planes[plane * area + at] = tables[plane][usize::from(pixel[source])];
            }
        }
        Ok(planes)
    }

    /// The square that a photo becomes, as bytes: what an exported ONNX file takes.
    ///
    /// # Shapes
    /// `S × S` pixels, `S = size`.
    ///
    /// # Errors
    /// Settings that [`Preprocess::check`] refuses.
    pub fn square(&self, pixels: &RgbPixels) -> Result<RgbPixels, DataError> {
        self.check()?;
        self.framing.square(pixels, self.size, self.resampling)
    }

    /// Which of R, G, B each plane holds.
    pub(crate) fn sources(&self) -> [usize; 3] {
        match self.channels {
            ChannelOrder::Bgr => [2, 1, 0],
            ChannelOrder::Rgb => [0, 1, 2],
        }
    }

    /// For each plane, the number that each byte becomes after `photometric`, maps from byte to byte for red, green and blue.
    pub(crate) fn tables(&self, photometric: &[[u8; 256]; 3]) -> [[f32; 256]; 3] {
        let sources = self.sources();
        std::array::from_fn(|plane| {
            std::array::from_fn(|byte| {
                let value = f32::from(photometric[sources[plane]][byte]) / 255.0;
                match self.normalization {
                    Normalization::Div255 => value,
                    Normalization::MeanStd { mean, std } => (value - mean[plane]) / std[plane],
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Preprocess, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for decoding in [Strictness::Strict, Strictness::Lenient] {
            for preprocess in [Preprocess::as_released(4096), Preprocess::keras(KerasInput::Caffe, 1)] {
                let preprocess = Preprocess { decoding, ..preprocess };
                assert_eq!(read(&serde_json::to_string(&preprocess).unwrap()).unwrap(), preprocess);
            }
        }
        let json = r#"{"size": 8, "channels": "bgr", "normalization": "div255", "resampling": "open_cv"}"#;
        assert_eq!(read(json).unwrap(), Preprocess::as_released(8), "decoding is strict where it is not said");
    }

    #[test]
    fn framing_is_written_where_it_is_no_squashing() {
        let squashed = serde_json::to_string(&Preprocess::imagenet(8)).unwrap();
        assert!(!squashed.contains("framing"), "files of earlier versions are the same: {squashed}");
        let padded = Preprocess { framing: Framing::Pad, ..Preprocess::imagenet(8) };
        let json = serde_json::to_string(&padded).unwrap();
        assert!(json.contains(r#""framing":"pad""#), "{json}");
        assert_eq!(read(&json).unwrap(), padded);
    }

    #[test]
    fn a_margin_is_written_where_images_are_cut() {
        let whole = serde_json::to_string(&Preprocess::imagenet(8)).unwrap();
        assert!(!whole.contains("box_margin"), "files of earlier versions are the same: {whole}");
        let cut = Preprocess { box_margin: Some(0.25), ..Preprocess::imagenet(8) };
        let json = serde_json::to_string(&cut).unwrap();
        assert!(json.contains(r#""box_margin":0.25"#), "{json}");
        assert_eq!(read(&json).unwrap(), cut);
        for margin in ["-0.1", "10.5", "1e300"] {
            let text = read(&json.replace("0.25", margin)).unwrap_err();
            assert!(text.contains("`box_margin` must be from 0 to 10 times the lesion's longer side"), "{text}");
        }
        let broken = Preprocess { box_margin: Some(f64::NAN), ..Preprocess::imagenet(8) };
        assert!(broken.check().is_err());
    }

    #[test]
    fn what_could_not_be_built_is_not_read() {
        let whole = |size: &str, std: &str| {
            read(&format!(
                r#"{{"size": {size}, "channels": "rgb", "resampling": "pillow",
                    "normalization": {{"mean_std": {{"mean": [0, 0, 0], "std": [1, {std}, 1]}}}}}}"#
            ))
        };
        assert!(whole("4096", "0.5").is_ok());
        for size in ["0", "4097", "10000", "1000000000000"] {
            let text = whole(size, "1").unwrap_err();
            assert!(text.contains(&format!("`size` must be from 1 to 4096 pixels, found {size}")), "{text}");
        }
        for std in ["0", "-1", "1e-45", "1e39"] {
            let text = whole("8", std).unwrap_err();
            assert!(
                text.contains("must be of finite means and positive deviations") || text.contains("out of range"),
                "{text}"
            );
        }
        assert!(whole("-1", "1").is_err());
    }
}
