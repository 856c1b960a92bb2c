//! Layers over tokens whose features come last.

use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use dermafuse_kernels::Activation;

/// PyTorch's default of a layer normalization, and Burn's.
const EPSILON: f64 = 1e-5;

/// # Shapes
/// `[…, C]` → the same.
///
/// # Panics
/// If the normalization has no offset.
pub(crate) fn normalize<const D: usize>(norm: &LayerNorm, tokens: Tensor<D>) -> Tensor<D> {
    let beta = norm.beta.as_ref().expect("made with an offset").val();
    dermafuse_kernels::layer_norm(tokens, norm.gamma.val(), beta, EPSILON, D - 1)
}

/// A linear layer, then the activation.
///
/// # Shapes
/// `[…, C]` → `[…, C']`.
pub(crate) fn project<const D: usize>(linear: &Linear, activation: Activation, tokens: Tensor<D>) -> Tensor<D> {
    match &linear.bias {
        Some(bias) => dermafuse_kernels::linear(tokens, linear.weight.val(), bias.val(), activation),
        None => activation.forward(linear.forward(tokens)),
    }
}
