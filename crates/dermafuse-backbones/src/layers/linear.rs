//! Linear layers as classifiers start: without an offset.
//!
//! Paper: none.
//! Source: Burn's [`Linear`]; no weights of its own.
//! Differences: biases start at zero, which Burn's initializers do not offer on their own.

use burn::module::{Initializer, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// A linear layer with weights from the initializer and zero biases.
pub(crate) fn linear_without_offset([inputs, outputs]: [usize; 2], weights: Initializer, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs).with_initializer(weights).init(device);
    let zeros: Param<Tensor<1>> = Initializer::Zeros.init([outputs], device);
    linear.bias = Some(zeros);
    linear
}
