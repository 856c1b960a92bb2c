//! Bidirectional attention block (BAB): each image tells the other where to look.
//!
//! Paper: Tang et al., AMMFM, Fig. 3(a) (thesis §5.3.2.2, Fig. 5.3), the symmetric ablation. Source: the text and the
//! papers' parameter counts. Weights: none. Differences: as [`AsymmetricAttention`](crate::AsymmetricAttention).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::cross_attention::{ModalityAttention, attend, weights};
use crate::{FusionError, MapAttention, MapDependence, MapFusion, MapSource, PositionWeights};

/// Configuration of a [`BidirectionalAttention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BidirectionalAttentionConfig {
    /// The attention of both directions.
    pub attention: MapAttention,
}

/// `C + v(C) · softmax(q(D) k(D))ᵀ` and `D + v(D) · softmax(q(C) k(C))ᵀ`. Made by [`BidirectionalAttentionConfig::init`].
#[derive(Module, Debug)]
pub struct BidirectionalAttention {
    clinical: ModalityAttention,
    dermoscopic: ModalityAttention,
}

impl BidirectionalAttentionConfig {
    /// A module with fresh weights for maps of so many channels.
    ///
    /// # Errors
    /// Too few channels for queries and keys.
    pub fn init(
        &self,
        clinical: usize,
        dermoscopic: usize,
        device: &Device,
    ) -> Result<BidirectionalAttention, FusionError> {
        let init = |channels| ModalityAttention::init(self.attention, "bidirectional attention", channels, device);
        Ok(BidirectionalAttention { clinical: init(clinical)?, dermoscopic: init(dermoscopic)? })
    }
}

impl MapFusion for BidirectionalAttention {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        attend([&self.clinical, &self.dermoscopic], MapSource::Cross, clinical, dermoscopic)
    }

    fn attention(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        weights([&self.clinical, &self.dermoscopic], MapSource::Cross, clinical, dermoscopic)
    }

    fn dependence(&self) -> MapDependence {
        MapDependence::BOTH
    }
}
