//! Cross-attention (CA) with projections of its own for each modality.
//!
//! Paper: Tang et al., PEMM (thesis §5.4.2.2), the ablation without sharing. Source: the text, which has no equation,
//! and the papers' parameter counts. Weights: none. Differences: the text describes maps of the same modality, the name
//! and the citations maps of the other: [`MapSource`] chooses. With the other's maps this is
//! [`BidirectionalAttention`](crate::BidirectionalAttention), in the words of another paper.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::map_attention::{Refinement, Resemblance};
use crate::{FusionError, MapAttention, MapDependence, MapFusion, PositionWeights};

/// Whose queries and keys make the map that mixes a modality's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapSource {
    /// The other modality's: `C + v(C) · M(D)ᵀ`.
    #[default]
    Cross,
    /// Its own, `C + v(C) · M(C)ᵀ`: self-attention, by which neither modality learns anything of the other.
    #[serde(rename = "self")]
    Own,
}

impl MapSource {
    pub(crate) fn dependence(self) -> MapDependence {
        match self {
            Self::Cross => MapDependence::BOTH,
            Self::Own => MapDependence::NEITHER,
        }
    }
}

/// Configuration of a [`CrossAttention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossAttentionConfig {
    /// Whose map mixes the values.
    pub source: MapSource,
    /// The attention.
    pub attention: MapAttention,
}

/// `C + v_c(C) · M_d(D)ᵀ` and `D + v_d(D) · M_c(C)ᵀ`, or each with its own map. Made by [`CrossAttentionConfig::init`].
#[derive(Module, Debug)]
pub struct CrossAttention {
    clinical: ModalityAttention,
    dermoscopic: ModalityAttention,
    #[module(skip)]
    source: MapSource,
}

/// All projections of one modality's maps.
#[derive(Module, Debug)]
pub(crate) struct ModalityAttention {
    resemblance: Resemblance,
    refinement: Refinement,
}

impl ModalityAttention {
    pub(crate) fn init(
        attention: MapAttention,
        module: &'static str,
        channels: usize,
        device: &Device,
    ) -> Result<Self, FusionError> {
        Ok(Self {
            resemblance: attention.init_resemblance(module, channels, device)?,
            refinement: attention.init_refinement(module, channels, device)?,
        })
    }
}

impl CrossAttentionConfig {
    /// A module with fresh weights for maps of so many channels.
    ///
    /// # Errors
    /// Too few channels for queries and keys.
    pub fn init(&self, clinical: usize, dermoscopic: usize, device: &Device) -> Result<CrossAttention, FusionError> {
        let init = |channels| ModalityAttention::init(self.attention, "cross-attention", channels, device);
        Ok(CrossAttention { clinical: init(clinical)?, dermoscopic: init(dermoscopic)?, source: self.source })
    }
}

impl MapFusion for CrossAttention {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        attend([&self.clinical, &self.dermoscopic], self.source, clinical, dermoscopic)
    }

    fn attention(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        weights([&self.clinical, &self.dermoscopic], self.source, clinical, dermoscopic)
    }

    fn dependence(&self) -> MapDependence {
        self.source.dependence()
    }
}

/// Refines both maps by the projections for each of them.
pub(crate) fn attend(
    [of_clinical, of_dermoscopic]: [&ModalityAttention; 2],
    source: MapSource,
    clinical: Tensor<4>,
    dermoscopic: Tensor<4>,
) -> (Tensor<4>, Tensor<4>) {
    let clinical_map = of_clinical.resemblance.forward(clinical.clone()); // [B, C_c / 8, N] twice
    let dermoscopic_map = of_dermoscopic.resemblance.forward(dermoscopic.clone()); // [B, C_d / 8, N] twice
    let (for_clinical, for_dermoscopic) = match source {
        MapSource::Cross => (dermoscopic_map, clinical_map),
        MapSource::Own => (clinical_map, dermoscopic_map),
    };
    let clinical = of_clinical.refinement.forward(clinical, for_clinical); // [B, C_c, H, W]
    let dermoscopic = of_dermoscopic.refinement.forward(dermoscopic, for_dermoscopic); // [B, C_d, H, W]
    (clinical, dermoscopic)
}

/// The weights by which [`attend`] refines each map, clinical first.
pub(crate) fn weights(
    [of_clinical, of_dermoscopic]: [&ModalityAttention; 2],
    source: MapSource,
    clinical: Tensor<4>,
    dermoscopic: Tensor<4>,
) -> [Option<PositionWeights>; 2] {
    let clinical = of_clinical.resemblance.weights(clinical); // [B, N, N]
    let dermoscopic = of_dermoscopic.resemblance.weights(dermoscopic); // [B, N, N]
    match source {
        MapSource::Cross => [dermoscopic, clinical].map(|weights| Some(PositionWeights { weights, of_other: true })),
        MapSource::Own => [clinical, dermoscopic].map(|weights| Some(PositionWeights { weights, of_other: false })),
    }
}
