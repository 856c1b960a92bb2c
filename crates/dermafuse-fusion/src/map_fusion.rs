//! The contract of modules by which the feature maps of two images refine each other.

use burn::tensor::Tensor;

/// Refines the feature maps that two backbones, or one, make of a clinical photo and a dermoscopic image.
pub trait MapFusion {
    /// # Shapes
    /// clinical `[B, C_c, H, W]`, dermoscopic `[B, C_d, H, W]` → the same.
    ///
    /// # Panics
    /// If the maps differ in height or width, or have other channels than the module was made for.
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>);
}
