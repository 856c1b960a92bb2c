//! Shift: the example of `docs/adding-a-fusion-module.md`, which is built for the tests alone.
//!
//! Paper: none. Source: that page, which has this file up to its tests. Weights: none. Differences: none.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::{FeatureFusion, FusionError, linear};

/// Configuration of a [`Shift`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftConfig {
    /// Whether the shift can only be upwards.
    pub positive: bool,
}

/// `image + W record`.
#[derive(Module, Debug)]
pub struct Shift {
    shift: Linear,
    positive: bool,
}

impl ShiftConfig {
    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// No metadata.
    pub fn init(&self, image: usize, metadata: usize, device: &Device) -> Result<Shift, FusionError> {
        FusionError::require_inputs("Shift", metadata)?;
        Ok(Shift { shift: linear(metadata, image, device), positive: self.positive })
    }
}

impl FeatureFusion for Shift {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let activation = if self.positive { Activation::Relu } else { Activation::Identity };
        image + project(&self.shift, activation, metadata) // [B, L_I]
    }

    fn output_features(&self, image: usize, _metadata: usize) -> Option<usize> {
        Some(image)
    }
}

mod tests {
    use super::*;

    #[test]
    fn the_module_of_the_page_shifts_the_image() {
        let device = Device::flex();
        let module = ShiftConfig { positive: true }.init(4, 2, &device).unwrap();
        let image = Tensor::<2>::zeros([3, 4], &device);
        let shifted = module.forward(image, Tensor::<2>::ones([3, 2], &device));
        assert_eq!((shifted.dims(), module.output_features(4, 2)), ([3, 4], Some(4)));
        assert!(shifted.min().into_scalar::<f32>() >= 0.0);
        assert!(ShiftConfig::default().init(4, 0, &device).is_err());
    }
}
