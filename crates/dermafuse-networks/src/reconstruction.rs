//! A decoder that draws an image again from its deepest features, so that these keep what the image shows.
//!
//! Paper: Wang et al., AMFAM (Medical Image Analysis 2022), section 3.2.2. Source: the text; no code is public.
//! Weights: none. Differences: how the maps are enlarged is not published; here each pixel is repeated. What 32 times
//! the map's side is too large is resized to the image (bilinear; [`Fit::Crop`] cuts the middle out). There is no
//! activation at the end.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};
use dermafuse_init::CollectedStatistics;
use dermafuse_kernels::Activation;
use serde::{Deserialize, Serialize};

use crate::convolution::{convolution, convolve};
use crate::resize::{Interpolation, resize};

/// Factor and channels of each block.
const BLOCKS: [(usize, usize); 3] = [(4, 128), (4, 128), (2, 64)];
/// Slope of the activation below 0.
const SLOPE: f64 = 0.01;

/// How the decoder's picture gets the image's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It is resized, bilinearly.
    #[default]
    Resize,
    /// Its middle is cut out; where it is smaller than the image, it is resized.
    Crop,
}

/// Three times `enlarge, Conv3×3, BatchNorm, LeakyReLU`, then `Conv3×3` to three colours. Made by [`Reconstruction::init`].
#[derive(Module, Debug)]
pub struct Reconstruction {
    convolutions: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    output: Conv2d,
    #[module(skip)]
    fit: Fit,
}

impl Reconstruction {
    /// A decoder with fresh weights for maps of `channels` channels.
    ///
    /// # Panics
    /// If there are no channels.
    #[must_use]
    pub fn init(channels: usize, fit: Fit, device: &Device) -> Self {
        let inputs = std::iter::once(channels).chain(BLOCKS.map(|(_, outputs)| outputs));
        let pairs: Vec<(usize, usize)> = inputs.zip(BLOCKS.map(|(_, outputs)| outputs)).collect();
        let last = BLOCKS[BLOCKS.len() - 1].1;
        Self {
            convolutions: pairs.iter().map(|&(inputs, outputs)| convolution(inputs, outputs, 3, device)).collect(),
            norms: pairs.iter().map(|&(_, outputs)| BatchNormConfig::new(outputs).init(device)).collect(),
            output: convolution(last, 3, 3, device),
            fit,
        }
    }

    /// # Shapes
    /// `[B, C, h, w]` → `[B, 3, H, W]`, `[H, W] = size`.
    #[must_use]
    pub fn forward(&self, maps: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let layers = self.convolutions.iter().zip(&self.norms).zip(BLOCKS);
        let picture = layers.fold(maps, |maps, ((convolution, norm), (factor, _))| {
            let maps = convolve(convolution, Activation::Identity, enlarge(maps, factor)); // [B, C', f*h, f*w]
            leaky_relu(norm.forward_collected(maps), SLOPE)
        });
        let picture = convolve(&self.output, Activation::Identity, picture); // [B, 3, 32*h, 32*w]
        let [_, _, height, width] = picture.dims();
        match self.fit {
            Fit::Crop if height >= size[0] && width >= size[1] => {
                let (top, left) = ((height - size[0]) / 2, (width - size[1]) / 2);
                picture.narrow(2, top, size[0]).narrow(3, left, size[1]) // [B, 3, H, W]
            }
            _ => resize(picture, size, Interpolation::Bilinear), // [B, 3, H, W]
        }
    }
}

/// Repeats every pixel.
///
/// # Shapes
/// `[B, C, h, w]` → `[B, C, f*h, f*w]`.
fn enlarge(maps: Tensor<4>, factor: usize) -> Tensor<4> {
    let [batch, channels, height, width] = maps.dims();
    maps.reshape([batch, channels, height, 1, width, 1])
        .expand([batch, channels, height, factor, width, factor]) // [B, C, h, f, w, f]
        .reshape([batch, channels, factor * height, factor * width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn the_published_size_has_the_published_parameters() {
        assert_eq!(parameter_count(&Reconstruction::init(2048, Fit::default(), &Device::flex())), 2_583_171);
    }

    #[test]
    fn the_picture_has_the_images_size() {
        let device = Device::flex();
        let maps = Tensor::<4>::ones([1, 2, 3, 2], &device);
        for fit in [Fit::Resize, Fit::Crop] {
            let decoder = Reconstruction::init(2, fit, &device);
            assert_eq!(decoder.forward(maps.clone(), [75, 60]).dims(), [1, 3, 75, 60], "{fit:?}");
            assert_eq!(decoder.forward(maps.clone(), [100, 60]).dims(), [1, 3, 100, 60], "{fit:?}");
        }
    }

    #[test]
    fn every_pixel_is_repeated() {
        let map = Tensor::<4>::from_data([[[[1.0, 2.0]]]], &Device::flex());
        let enlarged: Vec<f32> = enlarge(map, 2).into_data().iter().collect();
        assert_eq!(enlarged, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    }
}
