//! One linear layer for each task.
//!
//! Paper: the classifiers `C_I`, `C_M` and `C_IM` of joint-individual fusion (thesis §4.2). Source: the text. Weights:
//! none. Differences: none.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use dermafuse_fusion::linear;
use dermafuse_kernels::{Activation, project};

use crate::NetworkError;

/// `Linear(D→K_t)` for each task `t`. Made by [`LinearHead::init`].
#[derive(Module, Debug)]
pub struct LinearHead {
    tasks: Vec<Linear>,
}

impl LinearHead {
    /// A head with fresh weights for features of length `features`.
    ///
    /// # Errors
    /// No feature or task, or a task of fewer than two classes; more than the limits.
    pub fn init(features: usize, classes: &[usize], device: &Device) -> Result<Self, NetworkError> {
        NetworkError::require_classes(classes)?;
        NetworkError::require_units(&[features])?;
        Ok(Self { tasks: classes.iter().map(|&classes| linear(features, classes, device)).collect() })
    }

    /// # Shapes
    /// `[B, D]` → one `[B, K_t]` for each task.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Vec<Tensor<2>> {
        self.tasks.iter().map(|task| project(task, Activation::Identity, features.clone())).collect() // [B, K_t]
    }
}
