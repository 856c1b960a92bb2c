//! The closed list of built-in fusion modules: described as data, chosen at run time.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name_or_table::{FromTable, NameOrTable};
use crate::{
    Concat, FeatureFusion, FeatureWeights, FusionError, MetaBlock, MetaBlockConfig, MetaNet, MetaNetConfig, Mmfa,
    MmfaConfig, MutualAttention, MutualAttentionConfig, TiledMutualAttention, TiledMutualAttentionConfig,
};

/// A module that fuses an image with metadata, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FusionKind {
    /// Concatenation.
    Concat,
    /// MetaBlock.
    MetaBlock(MetaBlockConfig),
    /// MetaNet.
    MetaNet(MetaNetConfig),
    /// Mutual attention, in the size of MMFA.
    MutualAttention(MutualAttentionConfig),
    /// Mutual attention as re-implemented from Cai et al.
    TiledMutualAttention(TiledMutualAttentionConfig),
    /// MMFA.
    Mmfa(MmfaConfig),
}

/// A fusion module chosen at run time. Made by [`FusionKind::init`].
#[derive(Module, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "there is one in a network")]
pub enum AnyFusion {
    /// Concatenation.
    Concat(Concat),
    /// MetaBlock.
    MetaBlock(MetaBlock),
    /// MetaNet.
    MetaNet(MetaNet),
    /// Mutual attention, in the size of MMFA.
    MutualAttention(MutualAttention),
    /// Mutual attention as re-implemented from Cai et al.
    TiledMutualAttention(TiledMutualAttention),
    /// MMFA.
    Mmfa(Mmfa),
}

impl FusionKind {
    /// Every kind with its default configuration; the five of the comparison in the thesis are [`FusionKind::COMPARED`].
    pub const ALL: [&'static str; 6] =
        ["concat", "meta_block", "meta_net", "mutual_attention", "tiled_mutual_attention", "mmfa"];

    /// The names of the five modules that thesis chapter 4 compares, in the order of its tables.
    pub const COMPARED: [&'static str; 5] = ["concat", "meta_block", "meta_net", "mutual_attention", "mmfa"];

    /// The name, as [`FromStr`] reads it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::MetaBlock(_) => "meta_block",
            Self::MetaNet(_) => "meta_net",
            Self::MutualAttention(_) => "mutual_attention",
            Self::TiledMutualAttention(_) => "tiled_mutual_attention",
            Self::Mmfa(_) => "mmfa",
        }
    }

    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// Lengths that the module cannot join.
    pub fn init(&self, image: usize, metadata: usize, device: &Device) -> Result<AnyFusion, FusionError> {
        Ok(match self {
            Self::Concat => AnyFusion::Concat(Concat),
            Self::MetaBlock(config) => AnyFusion::MetaBlock(config.init(image, metadata, device)?),
            Self::MetaNet(config) => AnyFusion::MetaNet(config.init(image, metadata, device)?),
            Self::MutualAttention(config) => AnyFusion::MutualAttention(config.init(image, metadata, device)?),
            Self::TiledMutualAttention(config) => {
                AnyFusion::TiledMutualAttention(config.init(image, metadata, device)?)
            }
            Self::Mmfa(config) => AnyFusion::Mmfa(config.init(image, metadata, device)?),
        })
    }
}

impl AnyFusion {
    fn module(&self) -> &dyn FeatureFusion {
        match self {
            Self::Concat(module) => module,
            Self::MetaBlock(module) => module,
            Self::MetaNet(module) => module,
            Self::MutualAttention(module) => module,
            Self::TiledMutualAttention(module) => module,
            Self::Mmfa(module) => module,
        }
    }
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

impl Serialize for FusionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// From a name, which stands for its default configuration, or a table with `kind`.
impl<'de> Deserialize<'de> for FusionKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable(PhantomData))
    }
}

impl FromTable for FusionKind {
    fn from_table<'de, A: MapAccess<'de>>(table: MapAccessDeserializer<A>) -> Result<Self, A::Error> {
        // The one that is derived.
        Self::deserialize(table)
    }
}

impl fmt::Display for FusionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that no fusion module has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fusion module `{name}`; the modules are {}", FusionKind::ALL.join(", "))]
pub struct UnknownFusion {
    /// The name.
    pub name: String,
}

impl FromStr for FusionKind {
    type Err = UnknownFusion;

    fn from_str(name: &str) -> Result<Self, UnknownFusion> {
        match name.replace('-', "_").as_str() {
            "concat" => Ok(Self::Concat),
            "meta_block" | "metablock" => Ok(Self::MetaBlock(MetaBlockConfig::default())),
            "meta_net" | "metanet" => Ok(Self::MetaNet(MetaNetConfig::default())),
            "mutual_attention" => Ok(Self::MutualAttention(MutualAttentionConfig::default())),
            "tiled_mutual_attention" => Ok(Self::TiledMutualAttention(TiledMutualAttentionConfig::default())),
            "mmfa" => Ok(Self::Mmfa(MmfaConfig::default())),
            _ => Err(UnknownFusion { name: name.to_owned() }),
        }
    }
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
        assert!(error.starts_with("there is no fusion module `sum`; the modules are concat, meta_block"), "{error}");
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
        assert_eq!(error, "MMFA cannot divide a width of 191 into 8 heads");
    }
}
