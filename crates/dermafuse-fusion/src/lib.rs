//! Modules that join the features of two modalities.
//!
//! A [`FeatureFusion`] joins two pooled feature vectors; each module of this crate is one file and implements it.
//!
//! # Shapes
//! `[B, D]`: a batch of pooled features of length `D`.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use dermafuse_fusion::{Concat, FeatureFusion, Sum};
//!
//! let device = Device::flex();
//! let (a, b) = (Tensor::<2>::ones([2, 3], &device), Tensor::<2>::ones([2, 3], &device));
//! assert_eq!(Sum.forward(a.clone(), b.clone()).dims(), [2, 3]);
//! assert_eq!(Concat.forward(a, b).dims(), [2, 6]);
//! ```

mod concat;
mod feature_fusion;
mod sum;

pub use concat::Concat;
pub use feature_fusion::FeatureFusion;
pub use sum::Sum;
