//! Layers over tokens whose features come last.

use burn::nn::LayerNorm;
use burn::tensor::Tensor;

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
