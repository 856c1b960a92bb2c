use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_backbones::{PublishedInput, PublishedResampling};
use dermafuse_data::{DataError, Normalization, Preprocess, Resampling, RgbPixels, resize_and_crop};

/// Prepares an image the way a backbone's published weights were evaluated: shorter side resized, middle cut out,
/// normalized.
///
/// # Shapes
/// an image → `[1, 3, S, S]` with `S` the published size.
///
/// # Errors
/// An image so long that its resized longer side exceeds [`dermafuse_data::MAX_SIDE`].
///
/// ```
/// use burn::tensor::Device;
/// use dermafuse_backbones::BackboneKind;
/// use dermafuse_data::RgbPixels;
/// use dermafuse_infer::published_input;
///
/// let pixels = RgbPixels::new(2, 1, vec![124; 6])?;
/// let input = published_input(&pixels, &BackboneKind::ResNet18.published_input(), &Device::flex())?;
/// assert_eq!(input.dims(), [1, 3, 224, 224]);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
pub fn published_input(
    pixels: &RgbPixels,
    published: &PublishedInput,
    device: &Device,
) -> Result<Tensor<4>, DataError> {
    let resampling = match published.resampling {
        PublishedResampling::Bicubic => Resampling::PillowBicubic,
        _ => Resampling::Pillow,
    };
    let cropped = resize_and_crop(pixels, published.resize, published.size, resampling)?;
    let normalization = Normalization::MeanStd { mean: published.mean, std: published.std };
    let preprocess = Preprocess { normalization, resampling, ..Preprocess::imagenet(published.size) };
    let planes = preprocess.apply(&cropped)?;
    Ok(Tensor::from_data(TensorData::new(planes, [1, 3, published.size, published.size]), device))
}
