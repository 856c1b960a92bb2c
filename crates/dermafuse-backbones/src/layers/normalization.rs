//! Batch normalization over Burn's [`BatchNorm`] parameters, with PyTorch's running variance.
//!
//! Paper: Ioffe and Szegedy, 2015, <https://arxiv.org/abs/1502.03167>.
//! Source: Burn's layer (its fields, mode and freezing are kept).
//! Weights: none.
//! Differences: the running variance is the unbiased one, as in PyTorch (Burn stores the biased one); the activation that
//! follows is part of the operation, so that a map is read and written once.

use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use dermafuse_init::CollectedStatistics;
use dermafuse_kernels::{Activation, BatchNormOutput, affine_activation, batch_norm_activation};

/// Normalizes each channel, with batch statistics where the layer trains, else with the running ones; then the activation.
///
/// # Shapes
///
/// `[B, C, H, W]` → `[B, C, H, W]`.
pub(crate) fn normalize(norm: &BatchNorm, activation: Activation, input: Tensor<4>) -> Tensor<4> {
    match input.is_autodiff() && norm.training.is_enabled() {
        true => with_batch_statistics(norm, activation, input),
        false => {
            let (scale, shift) = scale_and_shift(norm);
            affine_activation(input, scale, shift, activation)
        }
    }
}

fn with_batch_statistics(norm: &BatchNorm, activation: Activation, input: Tensor<4>) -> Tensor<4> {
    let [batch, _, height, width] = input.dims();
    let samples = (batch * height * width) as f64;
    let unbiased = samples / (samples - 1.0).max(1.0);

    let BatchNormOutput { output, mean, variance } =
        batch_norm_activation(input, norm.gamma.val(), norm.beta.val(), norm.epsilon, activation);
    norm.collect(mean, variance * unbiased);
    output
}

/// The affine map `x · scale + shift` that the layer is once its statistics stand.
///
/// # Shapes
///
/// two vectors `[C]`.
pub(crate) fn scale_and_shift(norm: &BatchNorm) -> (Tensor<1>, Tensor<1>) {
    let scale = norm.gamma.val() / (norm.running_var.value() + norm.epsilon).sqrt();
    let shift = norm.beta.val() - norm.running_mean.value() * scale.clone();
    (scale, shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::nn::BatchNormConfig;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn running_variance_is_unbiased() {
        let device = Device::flex().autodiff();
        let norm = BatchNormConfig::new(1).init(&device);
        let input = Tensor::<4>::from_data([[[[1.0, 3.0]]], [[[5.0, 7.0]]]], &device);
        normalize(&norm, Activation::Identity, input);
        // Mean 4, unbiased variance 20/3, momentum 0.1.
        let mean = norm.running_mean.value_sync().into_scalar::<f32>();
        let variance = norm.running_var.value_sync().into_scalar::<f32>();
        assert!((mean - 0.4).abs() < 1e-6);
        assert!((variance - (0.9 + 2.0 / 3.0)).abs() < 1e-6);
    }

    #[test]
    fn running_statistics_give_burns_values() {
        let device = Device::flex();
        let norm = BatchNormConfig::new(2).init(&device.clone().autodiff());
        let input = Tensor::<4>::from_data([[[[1.0, 3.0]], [[-2.0, 8.0]]]], &device);
        normalize(&norm, Activation::Identity, Tensor::from_inner(input.clone()));
        let norm = norm.valid();
        let expected = norm.forward(input.clone()).into_data();
        normalize(&norm, Activation::Identity, input)
            .into_data()
            .assert_approx_eq(&expected, Tolerance::<f32>::rel_abs(1e-6, 1e-6));
    }
}
