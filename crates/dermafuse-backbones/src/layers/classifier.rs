//! The linear classifier that most architectures end with.
//!
//! Paper: none.
//! Source: Burn's layer; no weights of its own.
//! Differences: none.

use burn::nn::Linear;
use burn::tensor::Tensor;

use super::{Activation, project};

/// Classes of a classifier, if there is one.
pub(crate) fn classes_of(classifier: Option<&Linear>) -> Option<usize> {
    classifier.map(|linear| linear.weight.lazy_shape()[1])
}

/// The logits of pooled features.
///
/// # Shapes
///
/// `[B, C]` → `[B, K]`.
///
/// # Panics
///
/// Without a classifier.
pub(crate) fn logits_of(classifier: Option<&Linear>, features: Tensor<2>) -> Tensor<2> {
    project(classifier.expect("the network has a classifier"), Activation::Identity, features) // [B, K]
}
