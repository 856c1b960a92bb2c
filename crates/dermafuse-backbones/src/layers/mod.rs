//! Layers that several backbones share.

mod conv_norm_act;
mod convolution;
mod normalization;

pub use conv_norm_act::{Activation, ConvNormAct, ConvNormActConfig};
