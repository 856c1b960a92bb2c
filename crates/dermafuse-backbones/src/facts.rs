//! What is known about an architecture without building it.

use serde::{Deserialize, Serialize};

use crate::published_weights::PublishedWeights;
use crate::stage_sides::{ROUNDED_UP, StageShrinks};

/// What happens to an image before the network, fixed when its weights were trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedInput {
    /// Shorter side that the image is resized to, in pixels.
    pub resize: usize,
    /// How it is resized.
    pub resampling: PublishedResampling,
    /// Height and width of the square cut from the middle: the network's input, in pixels.
    pub size: usize,
    /// Mean of red, green and blue in images scaled to 0…1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
}

impl PublishedInput {
    /// What most of torchvision's ImageNet weights expect.
    pub const IMAGENET: Self = Self {
        resize: 256,
        resampling: PublishedResampling::Bilinear,
        size: 224,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    pub(crate) const fn sizes(self, resize: usize, size: usize) -> Self {
        Self { resize, size, ..self }
    }

    /// The same numbers for all colours.
    pub(crate) const fn grey(self, mean: f32, std: f32) -> Self {
        Self { mean: [mean; 3], std: [std; 3], ..self }
    }

    /// `(x − 127) / 128` of bytes, resized to 32 pixels more than are cut out: EfficientNet-Lite.
    pub(crate) const fn lite(size: usize) -> Self {
        Self::IMAGENET.sizes(size + 32, size).bicubic().grey(127.0 / 255.0, 128.0 / 255.0)
    }

    pub(crate) const fn bicubic(self) -> Self {
        Self { resampling: PublishedResampling::Bicubic, ..self }
    }
}

/// How pixels are interpolated where an image is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedResampling {
    /// Triangle filter.
    Bilinear,
    /// Cubic filter.
    Bicubic,
}

/// Whose names the tensors of the published weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStyle {
    /// Those of torchvision's `state_dict`.
    Torchvision,
    /// Those of the `state_dict` of timm (PyTorch Image Models).
    Timm,
}

/// What is known about an architecture without building it.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// Channels of the four stages.
    pub(crate) channels: [usize; 4],
    pub(crate) strides: [usize; 4],
    pub(crate) shrinks: StageShrinks,
    /// Height and width from which on images of every size are accepted.
    pub(crate) min_size: usize,
    /// Trainable parameters with the classifier of 1000 classes, and without any.
    pub(crate) num_params: [usize; 2],
    /// Billions of multiply-adds for one image of 224 × 224 pixels.
    pub(crate) gflops: f64,
    pub(crate) preprocess: PublishedInput,
    pub(crate) keys: KeyStyle,
    pub(crate) weights: Option<PublishedWeights<'static>>,
}

/// What the rows of the table in `kind.rs` share: their `..` completes a row, and the contract test finds what is left at zero.
pub(crate) const TORCHVISION: Facts = Facts {
    channels: [0; 4],
    strides: [4, 8, 16, 32],
    shrinks: ROUNDED_UP,
    min_size: 32,
    num_params: [0; 2],
    gflops: 0.0,
    preprocess: PublishedInput::IMAGENET,
    keys: KeyStyle::Torchvision,
    weights: None,
};
