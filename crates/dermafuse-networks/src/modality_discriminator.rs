//! A classifier that tells from features which modality they are of, and whose reversed gradient makes them alike.
//!
//! Paper: Wang et al., AMFAM (Medical Image Analysis 2022), Eq. 1 and section 3.2.1. Source: these; no code is public.
//! Weights: none. Differences: the strength of the reversal is not published; 1, since the loss has a weight of its
//! own.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Tensor};
use dermafuse_fusion::{ReversalSchedule, linear, reverse_gradient};
use serde::{Deserialize, Serialize};

use crate::{Modality, NetworkError};

/// Configuration of a [`ModalityDiscriminator`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModalityDiscriminatorConfig {
    /// Units of the hidden layer; 512.
    pub hidden: usize,
    /// How strongly the gradient is reversed.
    pub reversal: ReversalSchedule,
}

impl Default for ModalityDiscriminatorConfig {
    /// 512 units, a constant reversal of strength 1.
    fn default() -> Self {
        Self { hidden: 512, reversal: ReversalSchedule::default() }
    }
}

/// `Linear(D→512), ReLU, Linear(512→2)` behind a gradient reversal. Made by [`ModalityDiscriminatorConfig::init`].
#[derive(Module, Debug)]
pub struct ModalityDiscriminator {
    hidden: Linear,
    output: Linear,
    #[module(skip)]
    reversal: ReversalSchedule,
    #[module(skip)]
    strength: f64,
}

impl ModalityDiscriminatorConfig {
    /// A discriminator with fresh weights for features of length `features`, at the start of a training.
    ///
    /// # Errors
    /// A hidden layer without units; a reversal that is not finite, or of negative steepness. A constant of negative strength
    /// is no reversal: the features help the discriminator, for comparison.
    pub fn init(&self, features: usize, device: &Device) -> Result<ModalityDiscriminator, NetworkError> {
        NetworkError::require_units(&[self.hidden])?;
        let (name, range, value, fits) = match self.reversal {
            ReversalSchedule::Constant { strength } => {
                ("the reversal's strength", "a finite number", strength, strength.is_finite())
            }
            ReversalSchedule::Ganin { steepness } => {
                ("the reversal's steepness", "0 or more", steepness, steepness.is_finite() && steepness >= 0.0)
            }
        };
        if !fits {
            return Err(NetworkError::Range { name, range, value });
        }
        Ok(ModalityDiscriminator {
            hidden: linear(features, self.hidden, device),
            output: linear(self.hidden, 2, device),
            reversal: self.reversal,
            strength: self.reversal.strength(0.0),
        })
    }
}

impl ModalityDiscriminator {
    /// The class of a modality: 1 for the clinical photo, 0 for the dermoscopic image.
    #[must_use]
    pub fn class_of(view: Modality) -> usize {
        match view {
            Modality::Clinical => 1,
            Modality::Dermoscopic => 0,
        }
    }

    /// The logits of both modalities, dermoscopic first; the gradient reaches the features reversed.
    ///
    /// # Shapes
    /// `[B, D]` → `[B, 2]`.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.hidden.forward(reverse_gradient(features, self.strength))); // [B, 512]
        self.output.forward(hidden) // [B, 2]
    }

    /// The cross-entropy of the modalities, a mean over all features: `L_D`.
    ///
    /// # Shapes
    /// `[B, D]` for each modality → `[1]`.
    ///
    /// # Panics
    /// Without features.
    #[must_use]
    pub fn loss(&self, features: &[(Modality, Tensor<2>)]) -> Tensor<1> {
        let cases: usize = features.iter().map(|(_, features)| features.dims()[0]).sum();
        let terms = features.iter().map(|(view, features)| {
            let log_probabilities = log_softmax(self.forward(features.clone()), 1); // [B, 2]
            log_probabilities.narrow(1, Self::class_of(*view), 1).sum()
        });
        terms.reduce(|sum, term| sum + term).expect("there are features") / -(cases as f64)
    }

    /// The same with the reversal's strength when the share `progress` of the training is done.
    #[must_use]
    pub fn at_progress(self, progress: f64) -> Self {
        Self { strength: self.reversal.strength(progress), ..self }
    }

    /// Whether the reversal's strength changes in the course of a training.
    #[must_use]
    pub fn changes_with_progress(&self) -> bool {
        !matches!(self.reversal, ReversalSchedule::Constant { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn the_published_size_has_the_published_parameters() {
        let discriminator = ModalityDiscriminatorConfig::default().init(2048, &Device::flex()).unwrap();
        assert_eq!(parameter_count(&discriminator), 1_050_114);
    }

    #[test]
    fn a_schedule_starts_at_zero_and_moves() {
        let config = ModalityDiscriminatorConfig { hidden: 4, reversal: ReversalSchedule::GANIN };
        let discriminator = config.init(3, &Device::flex()).unwrap();
        assert_eq!(discriminator.strength, 0.0);
        assert!((discriminator.at_progress(0.5).strength - 0.986_614).abs() < 1e-6);
    }
}
