//! Layers that several backbones share.

mod classifier;
mod conv_norm_act;
mod convolution;
mod inverted_residual;
mod layer_norm;
mod linear;
mod make_divisible;
mod normalization;
mod squeeze_excitation;
mod stochastic_depth;

pub(crate) use classifier::{classes_of, logits_of};
pub use conv_norm_act::{Activation, ConvNormAct, ConvNormActConfig, Padding};
pub(crate) use convolution::{convolve, convolve_with};
pub(crate) use inverted_residual::{InvertedResidual, InvertedResidualConfig};
pub(crate) use layer_norm::{LayerNorm, LayerNormConfig};
pub(crate) use linear::{linear_without_offset, project, project_channels};
pub(crate) use make_divisible::make_divisible;
pub(crate) use normalization::normalize;
pub(crate) use stochastic_depth::{StochasticDepth, StochasticDepthConfig};
