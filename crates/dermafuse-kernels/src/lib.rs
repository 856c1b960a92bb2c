//! Convolutions, attention, normalization and activations that make Burn's CPU backend fast for image networks.
//!
//! Each function computes what Burn's own operations compute, in value and gradient. On the `flex` backend it runs a kernel
//! written for it; on every other backend (wgpu, CUDA) it is made of Burn's operations, so code that calls it runs
//! everywhere. The mechanism is Burn's `extension` feature: [`Kernels`] is a trait that backends implement.
//!
//! The kernels are for `f32`; other element types take Burn's operations.
//!
//! # Shapes
//!
//! `[B, C, H, W]`: batch, channels, height, width.
//!
//! # Example
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use dermafuse_kernels::{Activation, affine_activation};
//!
//! let device = Device::flex();
//! let map = Tensor::<4>::from_data([[[[-1.0, 1.0]], [[2.0, 5.0]]]], &device); // [1, 2, 1, 2]
//! let (scale, shift) = (Tensor::from_data([2.0, 1.0], &device), Tensor::from_data([1.0, 0.0], &device));
//! let output = affine_activation(map, scale, shift, Activation::Relu6);
//! assert_eq!(output.into_data().try_to_vec::<f32>().unwrap(), [0.0, 3.0, 2.0, 5.0]);
//! ```

mod activation;
mod autodiff;
mod backend;
#[cfg(feature = "flex")]
mod flex;
mod largest_tensor;
mod pool;
mod portable;
mod positions;
mod step;
mod tensor;
mod windows;

pub use activation::Activation;
pub use backend::Kernels;
pub use largest_tensor::largest_tensor;
pub use pool::on_pool;
pub use positions::ValueFlow;
pub use step::AdamStep;
pub use tensor::{
    BatchNormOutput, adam_step, affine_activation, batch_norm_activation, column_after_column, conv2d,
    conv2d_activation, layer_norm, linear, position_attention, project, sum_activation, toward, window_attention,
};
pub use windows::Windows;
