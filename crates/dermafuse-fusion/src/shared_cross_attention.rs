//! Shared cross-attention (SCA): one set of projections for the maps of both modalities.
//!
//! Paper: Tang et al., PEMM (thesis §5.4.2.2). Source: the text, which has no equation, and the papers' parameter
//! counts. Weights: none. Differences: as [`CrossAttention`](crate::CrossAttention), whose [`MapSource`] chooses
//! between the readings here too.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::cross_attention::{ModalityAttention, attend, weights};
use crate::{FusionError, MapAttention, MapDependence, MapFusion, MapSource, PositionWeights};

/// Configuration of a [`SharedCrossAttention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedCrossAttentionConfig {
    /// Whose map mixes the values.
    pub source: MapSource,
    /// The attention.
    pub attention: MapAttention,
}

/// `C + v(C) · M(D)ᵀ` and `D + v(D) · M(C)ᵀ`, or each with its own map. Made by [`SharedCrossAttentionConfig::init`].
#[derive(Module, Debug)]
pub struct SharedCrossAttention {
    shared: ModalityAttention,
    #[module(skip)]
    source: MapSource,
}

impl SharedCrossAttentionConfig {
    /// A module with fresh weights for two maps of so many channels.
    ///
    /// # Errors
    /// Different channels, or too few for queries and keys.
    pub fn init(
        &self,
        clinical: usize,
        dermoscopic: usize,
        device: &Device,
    ) -> Result<SharedCrossAttention, FusionError> {
        let module = "shared cross-attention";
        if clinical != dermoscopic {
            return Err(FusionError::Lengths { module, a: clinical, b: dermoscopic });
        }
        let shared = ModalityAttention::init(self.attention, module, clinical, device)?;
        Ok(SharedCrossAttention { shared, source: self.source })
    }
}

impl MapFusion for SharedCrossAttention {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        attend([&self.shared, &self.shared], self.source, clinical, dermoscopic)
    }

    fn attention(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        weights([&self.shared, &self.shared], self.source, clinical, dermoscopic)
    }

    fn dependence(&self) -> MapDependence {
        self.source.dependence()
    }
}
