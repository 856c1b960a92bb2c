use dermafuse_data::{Augmentation, Preprocess};
use dermafuse_networks::BackboneFreeze;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How branch and task losses add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReduction {
    /// `0.33 · Σ_branches (1/T) Σ_tasks CE`, as released.
    #[default]
    Released,
    /// `Σ_branches Σ_tasks CE` (thesis Eq. 6.1–6.4); differs by a constant that only Adam's epsilon notices.
    Paper,
}

/// How much the classes of a task weigh in its loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All alike, as released.
    #[default]
    Uniform,
    /// `n / (K · n_c)`: every class has the same total weight.
    Balanced,
    /// The square root of `Balanced`: between the two.
    SquareRoot,
}

/// The recipe of a training run. The defaults are those of the released FusionM4Net code; `threads` alone has no influence
/// on the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Passes over the training cases; 250 as released.
    pub epochs: usize,
    /// Cases in a batch; 32 as released. The last batch of an epoch may be smaller; one of a single case is left out,
    /// since batch normalisation has no statistics for it.
    pub batch_size: usize,
    /// Learning rate of the first epoch; 3e-5 as released. Epoch `e` of `E` (from 0) has `rate/2 · (1 + cos(π e / E))`.
    pub learning_rate: f64,
    /// L2 penalty of Adam; 0 as released.
    pub weight_decay: f64,
    /// Seed of shuffling, augmentation and dropout.
    pub seed: u64,
    /// How images are prepared.
    pub preprocess: Preprocess,
    /// How training images are varied; `None` leaves them as they are.
    pub augmentation: Option<Augmentation>,
    /// How the losses add up.
    pub loss_reduction: LossReduction,
    /// How much each class weighs.
    pub class_weights: ClassWeights,
    /// Which parts of the backbones do not train.
    pub freeze: BackboneFreeze,
    /// Threads that decode images.
    #[serde(skip, default = "default_threads")]
    pub threads: usize,
}

fn default_threads() -> usize {
    2
}

impl TrainingConfig {
    /// The recipe of the released FusionM4Net code at an image size (224 there), with a seed.
    #[must_use]
    pub fn as_released(image_size: usize, seed: u64) -> Self {
        Self {
            epochs: 250,
            batch_size: 32,
            learning_rate: 3e-5,
            weight_decay: 0.0,
            seed,
            preprocess: Preprocess::as_released(image_size),
            augmentation: Some(Augmentation::default()),
            loss_reduction: LossReduction::default(),
            class_weights: ClassWeights::default(),
            freeze: BackboneFreeze::default(),
            threads: default_threads(),
        }
    }

    /// The learning rate of an epoch, counted from 0: cosine from `learning_rate` towards 0.
    ///
    /// ```
    /// let config = dermafuse_train::TrainingConfig::as_released(224, 0);
    /// assert_eq!(config.rate(0), 3e-5);
    /// assert!((config.rate(125) - 1.5e-5).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn rate(&self, epoch: usize) -> f64 {
        let progress = epoch as f64 / self.epochs as f64;
        self.learning_rate / 2.0 * (1.0 + (std::f64::consts::PI * progress).cos())
    }

    /// # Errors
    /// The first setting that makes no training.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let error = |setting, expected, found: String| Err(TrainError::Setting { setting, expected, found });
        if self.epochs == 0 {
            return error("epochs", "at least 1", "0".into());
        }
        if self.batch_size < 2 {
            return error("batch_size", "at least 2 (batch normalisation)", self.batch_size.to_string());
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return error("learning_rate", "positive", self.learning_rate.to_string());
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return error("weight_decay", "at least 0", self.weight_decay.to_string());
        }
        Ok(())
    }
}
