//! The activations of the image networks.

use serde::{Deserialize, Serialize};

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
}
