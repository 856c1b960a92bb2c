//! The closed list of built-in modules that refine feature maps: described as data, chosen at run time.

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
use crate::outside_map_fusion::{ErasedMapFusion, ErasedMapFusionModule};
use crate::table::{built_in, made, settings};
use crate::{
    AsymmetricAttention, AsymmetricAttentionConfig, BidirectionalAttention, BidirectionalAttentionConfig,
    CrossAttention, CrossAttentionConfig, FusionError, MapDependence, MapFusion, PositionWeights, SharedCrossAttention,
    SharedCrossAttentionConfig,
};

// A new module is a row: description, variant, names in text and files, the module and its settings.
built_in! {
    /// A module by which the feature maps of two images refine each other, as data.
    MapFusionKind, unknown UnknownMapFusion;
    /// A module chosen at run time. Made by [`MapFusionKind::init`].
    AnyMapFusion: MapFusion;
    /// One of another crate: see [`MapFusionDescription`](crate::MapFusionDescription).
    outside ErasedMapFusion => ErasedMapFusionModule;
    /// A module with fresh weights for clinical maps of `first` channels and dermoscopic ones of `second`.
    ///
    /// # Errors
    /// Channels that the module cannot work with.
    init;
    /// AAB.
    AsymmetricAttention "asymmetric_attention" | "aab" = AsymmetricAttention(AsymmetricAttentionConfig);
    /// BAB.
    BidirectionalAttention "bidirectional_attention" | "bab" = BidirectionalAttention(BidirectionalAttentionConfig);
    /// CA.
    CrossAttention "cross_attention" | "ca" = CrossAttention(CrossAttentionConfig);
    /// SCA.
    SharedCrossAttention "shared_cross_attention" | "sca" = SharedCrossAttention(SharedCrossAttentionConfig);
}

impl MapFusion for AnyMapFusion {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        self.module().forward(clinical, dermoscopic)
    }

    fn attention(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        self.module().attention(clinical, dermoscopic)
    }

    fn dependence(&self) -> MapDependence {
        self.module().dependence()
    }

    fn is_asymmetric(&self) -> bool {
        self.module().is_asymmetric()
    }
}

/// A name that no module has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UnknownMapFusion {
    /// The name.
    pub name: String,
    /// What is wrong with it, with those that are known.
    pub reason: String,
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
        assert!(error.contains("cross_attention, shared_cross_attention; one of another crate"), "{error}");
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
        let mut seen = 0;
        for name in MapFusionKind::ALL {
            for gamma in [true, false] {
                let mut plain = serde_json::to_value(name.parse::<MapFusionKind>().unwrap()).unwrap();
                let Some(attention) = plain.get_mut("attention") else { continue };
                seen += 1;
                attention["gamma"] = gamma.into();
                let kind: MapFusionKind = serde_json::from_value(plain).unwrap();
                let module = kind.init(8, 8, &device).unwrap();
                let (clinical, dermoscopic) = module.forward(map(1.0), map(4.0));
                assert_eq!(changes(clinical, map(1.0)), !gamma && !module.is_asymmetric(), "{name}");
                assert_eq!(changes(dermoscopic, map(4.0)), !gamma, "{name}");
            }
        }
        // Each of the four with its gate and without.
        assert!(seen >= 8, "{seen}");
    }
}
