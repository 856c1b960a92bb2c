//! A multilayer perceptron shared by all tasks, then one linear layer for each.
//!
//! Paper: Tang et al., FusionM4Net (Medical Image Analysis 2022). Source: the released code (MLSDR). Weights: none.
//! Differences: none.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor, activation::silu};

use dermafuse_fusion::linear;
use dermafuse_init::{AddressedDropout, CollectedStatistics};
use dermafuse_kernels::{Activation, project};

use crate::NetworkError;
use crate::limits::require_dropout;

/// Hidden sizes of the shared layers.
const HIDDEN: [usize; 2] = [512, 128];

/// Configuration of a [`MultitaskHead`].
#[derive(Clone, Debug, PartialEq)]
pub struct MultitaskHeadConfig {
    /// Length `D` of the pooled features.
    pub features: usize,
    /// Classes of each task.
    pub classes: Vec<usize>,
    /// Dropout after each shared layer; 0.3 as released.
    pub dropout: f64,
}

/// `Linear(D→512), BatchNorm, Swish, Dropout, Linear(512→128), BatchNorm, Swish, Dropout`, then `Linear(128→K_t)` for
/// each task `t`. Made by [`MultitaskHeadConfig::init`].
#[derive(Module, Debug)]
pub struct MultitaskHead {
    linear1: Linear,
    norm1: BatchNorm,
    linear2: Linear,
    norm2: BatchNorm,
    dropout: Dropout,
    tasks: Vec<Linear>,
}

impl MultitaskHeadConfig {
    /// A head with the released dropout of 0.3.
    #[must_use]
    pub fn new(features: usize, classes: Vec<usize>) -> Self {
        Self { features, classes, dropout: 0.3 }
    }

    /// A head with fresh weights (PyTorch's defaults: uniform within ±1/√fan-in).
    ///
    /// # Errors
    /// No task, a task of fewer than two classes, or dropout outside 0..1.
    pub fn init(&self, device: &Device) -> Result<MultitaskHead, NetworkError> {
        NetworkError::require_classes(&self.classes)?;
        NetworkError::require_units(&[self.features])?;
        require_dropout(self.dropout)?;
        let linear = |inputs: usize, outputs: usize| linear(inputs, outputs, device);
        Ok(MultitaskHead {
            linear1: linear(self.features, HIDDEN[0]),
            norm1: BatchNormConfig::new(HIDDEN[0]).init(device),
            linear2: linear(HIDDEN[0], HIDDEN[1]),
            norm2: BatchNormConfig::new(HIDDEN[1]).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
            tasks: self.classes.iter().map(|&classes| linear(HIDDEN[1], classes)).collect(),
        })
    }
}

impl MultitaskHead {
    /// # Shapes
    /// `[B, D]` → one `[B, K_t]` for each task.
    pub fn forward(&self, features: Tensor<2>) -> Vec<Tensor<2>> {
        let hidden = silu(self.norm1.forward_collected(project(&self.linear1, Activation::Identity, features))); // [B, 512]
        let hidden = self.dropout.forward_addressed(hidden);
        let hidden = silu(self.norm2.forward_collected(project(&self.linear2, Activation::Identity, hidden))); // [B, 128]
        let hidden = self.dropout.forward_addressed(hidden);
        self.tasks.iter().map(|task| project(task, Activation::Identity, hidden.clone())).collect() // [B, K_t]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn parameter_counts_are_those_of_the_formula() {
        // 512·D + 70,552 for the eight tasks of the seven-point checklist
        for (features, expected) in [(2048, 1_119_128), (1920, 1_053_592), (768, 463_768), (576, 365_464)] {
            let config = MultitaskHeadConfig::new(features, vec![5, 3, 3, 3, 2, 3, 2, 3]);
            assert_eq!(parameter_count(&config.init(&Device::flex()).unwrap()), expected);
        }
    }

    #[test]
    fn wrong_configurations_are_refused() {
        let device = Device::flex();
        let error = MultitaskHeadConfig::new(8, vec![3, 1]).init(&device).unwrap_err().to_string();
        assert_eq!(
            error,
            "a network needs at least one task, each with two or more classes; found class counts [3, 1]"
        );
        let config = MultitaskHeadConfig { dropout: 1.0, ..MultitaskHeadConfig::new(8, vec![3]) };
        assert!(config.init(&device).unwrap_err().to_string().contains("found 1"));
    }
}
