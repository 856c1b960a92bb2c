//! Modules that join the features of two modalities, or let their feature maps refine each other.
//!
//! A [`FeatureFusion`] joins two pooled feature vectors; each module of this crate is one file and implements it.
//! [`FusionKind`] names the ones that join an image with metadata. [`reverse_gradient`] joins nothing: it makes features of
//! different modalities alike, by letting them learn against a discriminator.
//!
//! | module | paper | joined length |
//! |---|---|---|
//! | [`Sum`] | FusionM4Net | `L` of both |
//! | [`Concat`] | the common baseline | `L_I + L_M` |
//! | [`MetaBlock`] | Pacheco and Krohling 2021 | `L_I` |
//! | [`MetaNet`] | Li et al. 2020 | `L_I` |
//! | [`MutualAttention`], [`TiledMutualAttention`] | Cai et al. 2022 | `L_I + L_M` |
//! | [`Mmfa`] | JIF-MMFA, thesis ch. 4 | `L_I + L_M` |
//! | [`MetadataTokenAttention`] | TFormer | `L_M` |
//!
//! A [`MapFusion`] refines the feature maps of a clinical photo and a dermoscopic image between the stages of their backbones;
//! [`MapFusionKind`] names them.
//!
//! | module | paper | refines |
//! |---|---|---|
//! | [`AsymmetricAttention`] | AMMFM, thesis §5.3 (AAB) | the dermoscopic map by the clinical one |
//! | [`BidirectionalAttention`] | the same (BAB) | each by the other |
//! | [`WindowCrossAttention`] | TFormer | each by the other, inside windows |
//! | [`CrossAttention`], [`SharedCrossAttention`] | PEMM, thesis §5.4 (CA, SCA) | each by the other, or by itself |
//!
//! # Shapes
//! `[B, C, H, W]`: a batch of maps of `C` channels with `N = H · W` positions. `[B, D]`: a batch of pooled features of length `D`; `L_I` features of the image and `L_M` of the metadata, `h` heads
//! of `s` features.
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

mod asymmetric_attention;
mod bidirectional_attention;
mod concat;
mod cross_attention;
mod error;
mod feature_attention;
mod feature_fusion;
mod gradient_reversal;
mod kind;
mod linear;
mod map_attention;
mod map_fusion;
mod map_kind;
mod meta_block;
mod meta_net;
mod metadata_token_attention;
mod mmfa;
mod mutual_attention;
mod name_or_table;
mod outside_fusion;
mod outside_map_fusion;
mod patch_merging;
mod shared_cross_attention;
#[cfg(test)]
#[allow(unreachable_pub, reason = "it is public where a page shows how it is added")]
mod shift;
mod sum;
mod table;
mod tiled_mutual_attention;
mod tokens;
mod window_cross_attention;

pub use dermafuse_registry::RegistryError;

pub use asymmetric_attention::{AsymmetricAttention, AsymmetricAttentionConfig};
pub use bidirectional_attention::{BidirectionalAttention, BidirectionalAttentionConfig};
pub use concat::Concat;
pub use cross_attention::{CrossAttention, CrossAttentionConfig, MapSource};
pub use error::{FusionError, MAX_WIDTH};
pub use feature_attention::{AttentionProduct, AttentionScale, FeatureAttention};
pub use feature_fusion::{FeatureFusion, FeatureWeights};
pub use gradient_reversal::{ReversalSchedule, reverse_gradient};
pub use kind::{AnyFusion, FusionKind, UnknownFusion};
pub use linear::linear;
pub use map_attention::{MapAttention, MapProduct};
pub use map_fusion::{MapDependence, MapFusion, PositionWeights};
pub use map_kind::{AnyMapFusion, MapFusionKind, UnknownMapFusion};
pub use meta_block::{MetaBlock, MetaBlockConfig};
pub use meta_net::{MetaNet, MetaNetConfig};
pub use metadata_token_attention::MetadataTokenAttention;
pub use mmfa::{Mmfa, MmfaConfig};
pub use mutual_attention::{MutualAttention, MutualAttentionConfig};
pub use outside_fusion::{FusionDescription, register_fusion};
pub use outside_map_fusion::{MapFusionDescription, register_map_fusion};
pub use patch_merging::PatchMerging;
pub use shared_cross_attention::{SharedCrossAttention, SharedCrossAttentionConfig};
pub use sum::Sum;
pub use tiled_mutual_attention::{TiledMutualAttention, TiledMutualAttentionConfig};
pub use window_cross_attention::{WindowCrossAttention, WindowCrossAttentionConfig};
