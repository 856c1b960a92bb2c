//! The closed list of built-in fusion modules: described as data, chosen at run time.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_registry::{KindTable, OutsideKind, OutsideModule};
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name_or_table::{FromTable, NameOrTable};
use crate::outside_fusion::{ErasedFusion, ErasedFusionModule};
use crate::table::{built_in, made, settings};
use crate::{
    Concat, FeatureFusion, FeatureWeights, FusionError, MetaBlock, MetaBlockConfig, MetaNet, MetaNetConfig, Mmfa,
    MmfaConfig, MutualAttention, MutualAttentionConfig, TiledMutualAttention, TiledMutualAttentionConfig,
};

// A new module is a row: description, variant, names in text and files, the module and its settings.
built_in! {
    /// A module that fuses an image with metadata, as data.
    FusionKind, unknown UnknownFusion;
    /// A fusion module chosen at run time. Made by [`FusionKind::init`].
    AnyFusion: FeatureFusion;
    /// One of another crate: see [`FusionDescription`](crate::FusionDescription).
    outside ErasedFusion => ErasedFusionModule;
    /// A module with fresh weights for image features of length `first` and metadata of length `second`.
    ///
    /// # Errors
    /// Lengths that the module cannot join.
    init;
    /// Concatenation.
    Concat "concat" = Concat;
    /// MetaBlock.
    MetaBlock "meta_block" | "metablock" = MetaBlock(MetaBlockConfig);
    /// MetaNet.
    MetaNet "meta_net" | "metanet" = MetaNet(MetaNetConfig);
    /// Mutual attention, in the size of MMFA.
    MutualAttention "mutual_attention" = MutualAttention(MutualAttentionConfig);
    /// Mutual attention as re-implemented from Cai et al.
    TiledMutualAttention "tiled_mutual_attention" = TiledMutualAttention(TiledMutualAttentionConfig);
    /// MMFA.
    Mmfa "mmfa" = Mmfa(MmfaConfig);
}

impl FusionKind {
    /// The names of the five modules that thesis chapter 4 compares, in the order of its tables.
    pub const COMPARED: [&'static str; 5] = ["concat", "meta_block", "meta_net", "mutual_attention", "mmfa"];
}

impl FeatureFusion for AnyFusion {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        self.module().forward(image, metadata)
    }

    fn attention(&self, image: Tensor<2>, metadata: Tensor<2>) -> Option<FeatureWeights> {
        self.module().attention(image, metadata)
    }

    fn output_features(&self, image: usize, metadata: usize) -> Option<usize> {
        self.module().output_features(image, metadata)
    }
}

/// A name that no fusion module has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UnknownFusion {
    /// The name.
    pub name: String,
    /// What is wrong with it, with those that are known.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for name in FusionKind::ALL {
            assert_eq!(name.parse::<FusionKind>().unwrap().to_string(), name);
        }
        let error = "sum".parse::<FusionKind>().unwrap_err().to_string();
        assert!(error.starts_with("there is no fusion module `sum`; choose one of concat, meta_block"), "{error}");
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let device = Device::flex();
        let block = "meta_block".parse::<FusionKind>().unwrap();
        let error = block.init(1000, 81, &device).unwrap_err().to_string();
        assert_eq!(error, "MetaBlock divides image features into groups of 32, which 1000 features do not give");
        assert!(matches!(block.init(1024, 0, &device), Err(FusionError::NoFeatures { .. })));
        let odd = FusionKind::Mmfa(MmfaConfig { image_width: 95, ..MmfaConfig::default() });
        let error = odd.init(1280, 128, &device).unwrap_err().to_string();
        assert_eq!(error, "MMFA cannot divide a width of 159 into 8 heads");
    }
}
