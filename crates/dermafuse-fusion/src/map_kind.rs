//! The closed list of built-in modules that refine feature maps: described as data, chosen at run time.

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
    AsymmetricAttention, AsymmetricAttentionConfig, BidirectionalAttention, BidirectionalAttentionConfig,
    CrossAttention, CrossAttentionConfig, FusionError, MapFusion, MapSource, PositionWeights, SharedCrossAttention,
    SharedCrossAttentionConfig,
};

/// A module by which the feature maps of two images refine each other, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum MapFusionKind {
    /// AAB.
    AsymmetricAttention(AsymmetricAttentionConfig),
    /// BAB.
    BidirectionalAttention(BidirectionalAttentionConfig),
    /// CA.
    CrossAttention(CrossAttentionConfig),
    /// SCA.
    SharedCrossAttention(SharedCrossAttentionConfig),
}

/// A module chosen at run time. Made by [`MapFusionKind::init`].
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum AnyMapFusion {
    /// AAB.
    AsymmetricAttention(AsymmetricAttention),
    /// BAB.
    BidirectionalAttention(BidirectionalAttention),
    /// CA.
    CrossAttention(CrossAttention),
    /// SCA.
    SharedCrossAttention(SharedCrossAttention),
}

/// Which of the refined maps depend on the other image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapDependence {
    /// Whether the refined clinical map depends on the dermoscopic image.
    pub of_clinical: bool,
    /// Whether the refined dermoscopic map depends on the clinical photo.
    pub of_dermoscopic: bool,
}

impl MapFusionKind {
    /// Every name.
    pub const ALL: [&'static str; 4] =
        ["asymmetric_attention", "bidirectional_attention", "cross_attention", "shared_cross_attention"];

    /// The name, as [`FromStr`] reads it; that also reads the papers' `aab`, `bab`, `ca` and `sca`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AsymmetricAttention(_) => "asymmetric_attention",
            Self::BidirectionalAttention(_) => "bidirectional_attention",
            Self::CrossAttention(_) => "cross_attention",
            Self::SharedCrossAttention(_) => "shared_cross_attention",
        }
    }

    /// A module with fresh weights for maps of so many channels.
    ///
    /// # Errors
    /// Channels that the module cannot work with.
    pub fn init(&self, clinical: usize, dermoscopic: usize, device: &Device) -> Result<AnyMapFusion, FusionError> {
        Ok(match self {
            Self::AsymmetricAttention(config) => {
                AnyMapFusion::AsymmetricAttention(config.init(clinical, dermoscopic, device)?)
            }
            Self::BidirectionalAttention(config) => {
                AnyMapFusion::BidirectionalAttention(config.init(clinical, dermoscopic, device)?)
            }
            Self::CrossAttention(config) => AnyMapFusion::CrossAttention(config.init(clinical, dermoscopic, device)?),
            Self::SharedCrossAttention(config) => {
                AnyMapFusion::SharedCrossAttention(config.init(clinical, dermoscopic, device)?)
            }
        })
    }

    /// Which of the refined maps depend on the other image.
    #[must_use]
    pub fn dependence(&self) -> MapDependence {
        let crosses = match self {
            Self::AsymmetricAttention(_) => return MapDependence { of_clinical: false, of_dermoscopic: true },
            Self::BidirectionalAttention(_) => true,
            Self::CrossAttention(config) => config.source == MapSource::Cross,
            Self::SharedCrossAttention(config) => config.source == MapSource::Cross,
        };
        MapDependence { of_clinical: crosses, of_dermoscopic: crosses }
    }

    /// Whether one map is refined only: the dermoscopic one.
    #[must_use]
    pub fn is_asymmetric(&self) -> bool {
        matches!(self, Self::AsymmetricAttention(_))
    }
}

impl MapFusion for AnyMapFusion {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        match self {
            Self::AsymmetricAttention(module) => module.forward(clinical, dermoscopic),
            Self::BidirectionalAttention(module) => module.forward(clinical, dermoscopic),
            Self::CrossAttention(module) => module.forward(clinical, dermoscopic),
            Self::SharedCrossAttention(module) => module.forward(clinical, dermoscopic),
        }
    }

    fn attention(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        match self {
            Self::AsymmetricAttention(module) => module.attention(clinical, dermoscopic),
            Self::BidirectionalAttention(module) => module.attention(clinical, dermoscopic),
            Self::CrossAttention(module) => module.attention(clinical, dermoscopic),
            Self::SharedCrossAttention(module) => module.attention(clinical, dermoscopic),
        }
    }
}

impl Serialize for MapFusionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// From a name, which stands for its default configuration, or a table with `kind`.
impl<'de> Deserialize<'de> for MapFusionKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable(PhantomData))
    }
}

impl FromTable for MapFusionKind {
    fn from_table<'de, A: MapAccess<'de>>(table: MapAccessDeserializer<A>) -> Result<Self, A::Error> {
        // The one that is derived.
        Self::deserialize(table)
    }
}

impl fmt::Display for MapFusionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that no module has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no module `{name}` for feature maps; the modules are {}", MapFusionKind::ALL.join(", "))]
pub struct UnknownMapFusion {
    /// The name.
    pub name: String,
}

impl FromStr for MapFusionKind {
    type Err = UnknownMapFusion;

    fn from_str(name: &str) -> Result<Self, UnknownMapFusion> {
        match name.replace('-', "_").as_str() {
            "asymmetric_attention" | "aab" => Ok(Self::AsymmetricAttention(AsymmetricAttentionConfig::default())),
            "bidirectional_attention" | "bab" => {
                Ok(Self::BidirectionalAttention(BidirectionalAttentionConfig::default()))
            }
            "cross_attention" | "ca" => Ok(Self::CrossAttention(CrossAttentionConfig::default())),
            "shared_cross_attention" | "sca" => Ok(Self::SharedCrossAttention(SharedCrossAttentionConfig::default())),
            _ => Err(UnknownMapFusion { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MapAttention;

    #[test]
    fn every_name_is_read_back() {
        for name in MapFusionKind::ALL {
            assert_eq!(name.parse::<MapFusionKind>().unwrap().to_string(), name);
        }
        for (short, name) in ["aab", "bab", "ca", "sca"].into_iter().zip(MapFusionKind::ALL) {
            assert_eq!(short.parse::<MapFusionKind>().unwrap().name(), name);
        }
        let error = "sum".parse::<MapFusionKind>().unwrap_err().to_string();
        assert!(error.ends_with("cross_attention, shared_cross_attention"), "{error}");
    }

    #[test]
    fn channels_that_do_not_fit_are_refused() {
        let device = Device::flex();
        let init = |name: &str, clinical, dermoscopic| {
            let kind: MapFusionKind = name.parse().unwrap();
            kind.init(clinical, dermoscopic, &device).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(init("aab", 16, 1), Ok(()));
        let few = "asymmetric attention divides channels by 8 for its queries and keys, which leaves none of 7";
        assert_eq!(init("aab", 7, 96), Err(few.into()));
        let unequal = "shared cross-attention cannot join features of lengths 16 and 96";
        assert_eq!(init("sca", 16, 96), Err(unequal.into()));
        let attention = MapAttention { reduction: 0, ..MapAttention::default() };
        let kind = MapFusionKind::BidirectionalAttention(BidirectionalAttentionConfig { attention });
        assert!(matches!(kind.init(16, 16, &device), Err(FusionError::Channels { reduction: 0, .. })));
    }

    #[test]
    fn a_gate_is_closed_at_first_and_the_clinical_map_of_the_asymmetric_block_stays() {
        let device = Device::flex();
        let map = |first: f32| Tensor::<4>::from_data([[[[first, 2.0], [3.0, -1.0]]]], &device).repeat_dim(1, 8);
        let changes = |refined: Tensor<4>, map: Tensor<4>| refined.not_equal(map).any().into_scalar::<bool>();
        for name in MapFusionKind::ALL {
            for gamma in [true, false] {
                let attention = MapAttention { gamma, ..MapAttention::default() };
                let kind = match name.parse().unwrap() {
                    MapFusionKind::AsymmetricAttention(_) => {
                        MapFusionKind::AsymmetricAttention(AsymmetricAttentionConfig { attention })
                    }
                    MapFusionKind::BidirectionalAttention(_) => {
                        MapFusionKind::BidirectionalAttention(BidirectionalAttentionConfig { attention })
                    }
                    MapFusionKind::CrossAttention(config) => {
                        MapFusionKind::CrossAttention(CrossAttentionConfig { attention, ..config })
                    }
                    MapFusionKind::SharedCrossAttention(config) => {
                        MapFusionKind::SharedCrossAttention(SharedCrossAttentionConfig { attention, ..config })
                    }
                };
                let module = kind.init(8, 8, &device).unwrap();
                let (clinical, dermoscopic) = module.forward(map(1.0), map(4.0));
                assert_eq!(changes(clinical, map(1.0)), !gamma && !kind.is_asymmetric(), "{name}");
                assert_eq!(changes(dermoscopic, map(4.0)), !gamma, "{name}");
            }
        }
    }
}
