//! The activations of the image networks.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::backend::Kernels;

/// An element-wise function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Activation {
    /// `x`.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `x · relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `x · Φ(x)` with the normal distribution function, not its tanh approximation.
    Gelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::Relu,
        Self::Relu6,
        Self::Silu,
        Self::HardSwish,
        Self::HardSigmoid,
        Self::Gelu,
        Self::Sigmoid,
    ];

    /// Applies the function, element by element.
    ///
    /// # Shapes
    ///
    /// any → the same.
    pub fn forward<const D: usize>(self, input: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => input,
            _ => Tensor::from_dispatch(Dispatch::activation(input.into_dispatch(), self)),
        }
    }
}
