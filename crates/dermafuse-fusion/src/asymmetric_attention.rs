//! Asymmetric attention block (AAB): the clinical photo tells the dermoscopic image where to look.
//!
//! Paper: Tang et al., AMMFM, Eq. 1 (thesis §5.3.2.2, Eq. 5.1). Source: the equation and the papers' parameter counts.
//! Weights: none. Differences: `v Mᵀ` where the paper typesets `v M`, and no γ; both are options of [`MapAttention`].

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::map_attention::{Refinement, Resemblance};
use crate::{FusionError, MapAttention, MapDependence, MapFusion, PositionWeights};

/// Configuration of an [`AsymmetricAttention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsymmetricAttentionConfig {
    /// The attention.
    pub attention: MapAttention,
}

/// `D + v(D) · softmax(q(C) k(C))ᵀ`, and `C` as it is. Made by [`AsymmetricAttentionConfig::init`].
#[derive(Module, Debug)]
pub struct AsymmetricAttention {
    clinical: Resemblance,
    dermoscopic: Refinement,
}

impl AsymmetricAttentionConfig {
    /// A module with fresh weights for maps of so many channels.
    ///
    /// # Errors
    /// Too few clinical channels for queries and keys; no dermoscopic channels.
    pub fn init(
        &self,
        clinical: usize,
        dermoscopic: usize,
        device: &Device,
    ) -> Result<AsymmetricAttention, FusionError> {
        let module = "asymmetric attention";
        Ok(AsymmetricAttention {
            clinical: self.attention.init_resemblance(module, clinical, device)?,
            dermoscopic: self.attention.init_refinement(module, dermoscopic, device)?,
        })
    }
}

impl MapFusion for AsymmetricAttention {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let map = self.clinical.forward(clinical.clone()); // [B, C_c / 8, N] twice
        (clinical, self.dermoscopic.forward(dermoscopic, map)) // [B, C_c, H, W], [B, C_d, H, W]
    }

    fn attention(&self, clinical: Tensor<4>, _dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        [None, Some(PositionWeights { weights: self.clinical.weights(clinical), of_other: true })] // [B, N, N]
    }

    fn dependence(&self) -> MapDependence {
        MapDependence { of_clinical: false, of_dermoscopic: true }
    }

    fn is_asymmetric(&self) -> bool {
        true
    }
}
