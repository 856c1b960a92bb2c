//! A module for feature maps: where they have many channels, each map takes a share of the other.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse::fusion::{FusionError, MapDependence, MapFusion, MapFusionDescription};
use serde::{Deserialize, Serialize};

/// [`Blend`] as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendConfig {
    /// The share of the other map.
    pub share: f64,
    /// Channels up to which maps stay as they are.
    pub apart: usize,
}

impl Default for BlendConfig {
    fn default() -> Self {
        Self { share: 0.5, apart: 0 }
    }
}

/// `C + s (D - C)` and `D + s (C - D)`.
#[derive(Module, Debug)]
pub struct Blend {
    share: f64,
}

impl MapFusionDescription for BlendConfig {
    type Fusion = Blend;

    const KIND: &'static str = "map_blend";

    fn make(&self, clinical: usize, dermoscopic: usize, _device: &Device) -> Result<Blend, FusionError> {
        if clinical != dermoscopic {
            return Err(FusionError::Lengths { module: Self::KIND, a: clinical, b: dermoscopic });
        }
        Ok(Blend { share: if clinical > self.apart { self.share } else { 0.0 } })
    }
}

impl MapFusion for Blend {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let difference = (dermoscopic.clone() - clinical.clone()) * self.share; // [B, C, H, W]
        (clinical + difference.clone(), dermoscopic - difference)
    }

    fn dependence(&self) -> MapDependence {
        if self.share == 0.0 { MapDependence::NEITHER } else { MapDependence::BOTH }
    }
}
