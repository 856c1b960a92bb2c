//! One linear layer for each task at every location of the feature map, then the mean over the locations.
//!
//! Paper: Nedelcu et al., "Dense" on a 10×10 map, then global average pooling. Source: the text. Weights: none.
//! Differences: none. Both steps are linear, so the logits equal those of a linear layer on the pooled features; what
//! is gained is a map of each class.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use dermafuse_fusion::linear;
use dermafuse_kernels::{Activation, project};

use crate::NetworkError;

/// `GAP(Linear(D→K_t))` for each task `t`. Made by [`LocationHead::init`].
#[derive(Module, Debug)]
pub struct LocationHead {
    tasks: Vec<Linear>,
}

impl LocationHead {
    /// A head with fresh weights for feature maps of `features` channels.
    ///
    /// # Errors
    /// No task, or a task of fewer than two classes.
    pub fn init(features: usize, classes: &[usize], device: &Device) -> Result<Self, NetworkError> {
        NetworkError::require_classes(classes)?;
        NetworkError::require_units(&[features])?;
        Ok(Self { tasks: classes.iter().map(|&classes| linear(features, classes, device)).collect() })
    }

    /// The logits at every location: how much each of them speaks for each class.
    ///
    /// # Shapes
    /// `[B, D, H, W]` → one `[B, K_t, H, W]` for each task.
    #[must_use]
    pub fn class_maps(&self, map: Tensor<4>) -> Vec<Tensor<4>> {
        let [batch, _, height, width] = map.dims();
        let locations = locations(map); // [B, H*W, D]
        let of_task = |task: &Linear| {
            let logits = project(task, Activation::Identity, locations.clone()).swap_dims(1, 2); // [B, K_t, H*W]
            let classes = logits.dims()[1];
            logits.reshape([batch, classes, height, width]) // [B, K_t, H, W]
        };
        self.tasks.iter().map(of_task).collect()
    }

    /// # Shapes
    /// `[B, D, H, W]` → one `[B, K_t]` for each task.
    #[must_use]
    pub fn forward(&self, map: Tensor<4>) -> Vec<Tensor<2>> {
        let locations = locations(map); // [B, H*W, D]
        let of_task =
            |task: &Linear| project(task, Activation::Identity, locations.clone()).mean_dim(1).squeeze_dim::<2>(1); // [B, K_t]
        self.tasks.iter().map(of_task).collect()
    }

    /// The same for features that were pooled before: a map of one location.
    ///
    /// # Shapes
    /// `[B, D]` → one `[B, K_t]` for each task.
    #[must_use]
    pub fn forward_pooled(&self, features: Tensor<2>) -> Vec<Tensor<2>> {
        self.tasks.iter().map(|task| project(task, Activation::Identity, features.clone())).collect() // [B, K_t]
    }
}

/// `[B, D, H, W]` → `[B, H*W, D]`.
fn locations(map: Tensor<4>) -> Tensor<3> {
    let [batch, features, height, width] = map.dims();
    map.reshape([batch, features, height * width]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::{Distribution, Tolerance};
    use dermafuse_backbones::{global_average_pool, parameter_count};

    #[test]
    fn it_is_the_mean_of_the_logits_of_the_locations() {
        let device = Device::flex();
        let mut head = LocationHead::init(2, &[2], &device).unwrap();
        head.tasks[0].weight = Param::from_data([[1.0, 10.0], [2.0, -1.0]], &device); // [D, K]
        head.tasks[0].bias = Some(Param::from_data([0.5, 0.0], &device));
        // Two channels of 1 × 2 locations: (1, 3) and (2, 4).
        let map = Tensor::<4>::from_data([[[[1.0, 2.0]], [[3.0, 4.0]]]], &device);
        let maps = head.class_maps(map.clone()).remove(0);
        maps.into_data()
            .assert_eq(&Tensor::<4>::from_data([[[[7.5, 10.5]], [[7.0, 16.0]]]], &device).into_data(), true);
        let logits = head.forward(map).remove(0);
        logits.into_data().assert_eq(&Tensor::<2>::from_data([[9.0, 11.5]], &device).into_data(), true);
    }

    #[test]
    fn it_equals_a_linear_layer_on_pooled_features_and_has_its_parameters() {
        let device = Device::flex();
        let head = LocationHead::init(1536, &[13], &device).unwrap();
        assert_eq!(parameter_count(&head), 1536 * 13 + 13); // with EfficientNet-B3's 10,696,232: 10.72 M, methods 7.1
        let map = Tensor::<4>::random([2, 1536, 3, 2], Distribution::Default, &device);
        let per_location = head.forward(map.clone()).remove(0).into_data();
        let pooled = head.forward_pooled(global_average_pool(map)).remove(0).into_data();
        per_location.assert_approx_eq(&pooled, Tolerance::<f32>::rel_abs(1e-4, 1e-5));
        assert!(LocationHead::init(8, &[1], &device).is_err());
    }
}
