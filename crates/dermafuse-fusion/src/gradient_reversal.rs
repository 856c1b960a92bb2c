//! Gradient reversal: the identity whose gradient has the opposite sign, so that what follows learns against what is before.
//!
//! Paper: Ganin and Lempitsky, *Unsupervised Domain Adaptation by Backpropagation* (ICML 2015). Source: the equations.
//! Weights: none. Differences: none.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Passes a tensor on unchanged; on the way back its gradient is multiplied by `−strength`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_fusion::reverse_gradient;
///
/// let features = Tensor::<1>::from_data([3.0, -2.0], &Device::flex());
/// let same = reverse_gradient(features, 0.5).into_data().try_to_vec::<f32>().unwrap();
/// assert_eq!(same, [3.0, -2.0]);
/// ```
#[must_use]
pub fn reverse_gradient<const D: usize>(tensor: Tensor<D>, strength: f64) -> Tensor<D> {
    let constant = tensor.clone().detach();
    constant.clone() + (constant - tensor) * strength
}

/// How strongly a gradient is reversed in the course of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReversalSchedule {
    /// Always alike.
    Constant {
        /// The strength; 1 where the paper leaves it to the weight of the loss.
        #[serde(default = "one")]
        strength: f64,
    },
    /// `2 / (1 + exp(−steepness · p)) − 1` at the share `p` of the training that is done: from 0 to almost 1.
    Ganin {
        /// 10 in the paper.
        #[serde(default = "ten")]
        steepness: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn ten() -> f64 {
    10.0
}

impl Default for ReversalSchedule {
    /// Constant, of strength 1.
    fn default() -> Self {
        Self::Constant { strength: 1.0 }
    }
}

impl ReversalSchedule {
    /// The schedule of Ganin and Lempitsky.
    pub const GANIN: Self = Self::Ganin { steepness: 10.0 };

    /// The strength when the share `progress` of the training, 0 to 1, is done.
    ///
    /// ```
    /// use dermafuse_fusion::ReversalSchedule;
    ///
    /// assert_eq!(ReversalSchedule::default().strength(0.3), 1.0);
    /// assert_eq!(ReversalSchedule::GANIN.strength(0.0), 0.0);
    /// assert!((ReversalSchedule::GANIN.strength(1.0) - 0.99991).abs() < 1e-5);
    /// ```
    #[must_use]
    pub fn strength(self, progress: f64) -> f64 {
        match self {
            Self::Constant { strength } => strength,
            Self::Ganin { steepness } => 2.0 / (1.0 + (-steepness * progress).exp()) - 1.0,
        }
    }
}
