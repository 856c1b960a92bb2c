//! Fully connected layers that embed concatenated features, then one linear layer for each task.
//!
//! Paper: the embedding network of Yap et al. (Experimental Dermatology 2018). Source: descriptions as a comparator, which say that
//! it is fully connected and comes after the concatenation. Weights: none. Differences: number and widths of the layers, their
//! activation (ReLU) and dropout are in none of these texts; they are data here, or chosen.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor, activation::relu};
use dermafuse_fusion::linear;
use dermafuse_init::AddressedDropout;
use dermafuse_kernels::{Activation, project};

use crate::limits::require_dropout;
use crate::{LinearHead, NetworkError};

/// `Linear(D→E_1), ReLU, Dropout`, …, `Linear(E_{n−1}→E_n), ReLU, Dropout`, then `Linear(E_n→K_t)` for each task `t`. Made by
/// [`EmbeddingLayers::init`].
#[derive(Module, Debug)]
pub struct EmbeddingLayers {
    layers: Vec<Linear>,
    dropout: Dropout,
    classifier: LinearHead,
}

impl EmbeddingLayers {
    /// Fresh weights for features of length `features` and layers of these widths.
    ///
    /// # Errors
    /// No layer, or one without units; no task, a task of fewer than two classes; a dropout outside 0..1; more than the limits.
    pub fn init(
        features: usize,
        widths: &[usize],
        classes: &[usize],
        dropout: f64,
        device: &Device,
    ) -> Result<Self, NetworkError> {
        NetworkError::require_units(&[features])?;
        NetworkError::require_units(widths)?;
        require_dropout(dropout)?;
        let last = widths.last().copied().unwrap_or(features);
        let classifier = LinearHead::init(last, classes, device)?;
        let inputs = std::iter::once(&features).chain(widths);
        let layers = inputs.zip(widths).map(|(&inputs, &outputs)| linear(inputs, outputs, device)).collect();
        Ok(Self { layers, dropout: DropoutConfig::new(dropout).init(), classifier })
    }

    /// # Shapes
    /// `[B, D]` → one `[B, K_t]` for each task.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Vec<Tensor<2>> {
        let embedding = self.layers.iter().fold(features, |hidden, layer| {
            self.dropout.forward_addressed(relu(project(layer, Activation::Identity, hidden))) // [B, E]
        });
        self.classifier.forward(embedding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use dermafuse_backbones::parameter_count;

    #[test]
    fn two_layers_by_hand() {
        let device = Device::flex();
        let mut head = EmbeddingLayers::init(2, &[2, 1], &[2], 0.5, &device).unwrap().valid();
        let set = |layer: &mut Linear, weight: Vec<f32>, bias: Vec<f32>| {
            let shape = layer.weight.val().dims();
            let weight = burn::tensor::TensorData::new(weight, shape);
            layer.weight = Param::from_tensor(Tensor::from_data(weight, &device));
            layer.bias = Some(Param::from_tensor(Tensor::from_floats(bias.as_slice(), &device)));
        };
        set(&mut head.layers[0], vec![1.0, -1.0, 2.0, 3.0], vec![0.5, 0.0]);
        set(&mut head.layers[1], vec![2.0, 5.0], vec![-1.0]);
        // (1, −2): (1 − 4 + 0.5, −1 − 6) is cut to (0, 0), and −1 to 0. (3, 1): (5.5, 0), then 10.
        let features = Tensor::from_data([[1.0, -2.0], [3.0, 1.0]], &device);
        let embedding = Tensor::from_data([[0.0], [10.0]], &device);
        let [found, expected] = [head.forward(features), head.classifier.forward(embedding)]
            .map(|logits| logits[0].to_data().try_to_vec::<f32>().unwrap());
        assert_eq!(found, expected);
    }

    #[test]
    fn widths_are_counted_and_checked() {
        let device = Device::flex();
        let head = EmbeddingLayers::init(20, &[16, 8], &[5, 3], 0.3, &device).unwrap();
        assert_eq!(parameter_count(&head), 21 * 16 + 17 * 8 + 9 * 8);
        assert!(EmbeddingLayers::init(20, &[], &[5], 0.3, &device).is_err());
        assert!(EmbeddingLayers::init(20, &[16, 0], &[5], 0.3, &device).is_err());
        let error = EmbeddingLayers::init(20, &[16], &[5], 1.0, &device).unwrap_err();
        assert!(matches!(error, NetworkError::Setting(_)), "{error}");
    }
}
