//! The norm of all gradients together, and shortening to it.
//!
//! Paper: Pascanu et al., *On the difficulty of training recurrent neural networks* (ICML 2013). Source: PyTorch's
//! `clip_grad_norm_`. Differences: none. Burn's own clipping by norm takes each parameter for itself.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorReadError};

/// Shortens the gradients of a module to a norm of at most `largest`.
///
/// # Errors
/// A device that could not compute them.
pub(crate) fn clip_norm<M: Module>(
    module: &M,
    gradients: &mut GradientsParams,
    largest: f64,
) -> Result<(), TensorReadError> {
    let mut squares = Squares { gradients, sum: None };
    module.visit(&mut squares);
    let Some(sum) = squares.sum else { return Ok(()) };
    let norm = sum.try_into_scalar::<f64>()?.sqrt();
    if norm > largest {
        module.visit(&mut Scale { gradients, factor: largest / (norm + 1e-6) });
    }
    Ok(())
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = (gradient.clone() * gradient).sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    #[test]
    fn the_norm_of_weight_and_bias_together_is_shortened() {
        let device = Device::flex().autodiff();
        let layer = LinearConfig::new(2, 1).init(&device);
        let input = Tensor::<2>::from_data([[3.0, 4.0]], &device);
        for (largest, expected) in [(2.0, 2.0), (100.0, 26.0_f64.sqrt())] {
            // The gradient of the weight is (3, 4), that of the bias 1.
            let gradients = layer.forward(input.clone()).sum().backward();
            let mut gradients = GradientsParams::from_grads(gradients, &layer);
            clip_norm(&layer, &mut gradients, largest).unwrap();
            let weight = gradients.get::<2>(layer.weight.id).unwrap().square().sum().into_scalar::<f64>();
            let bias = gradients.get::<1>(layer.bias.as_ref().unwrap().id).unwrap().square().sum().into_scalar::<f64>();
            assert!(((weight + bias).sqrt() - expected).abs() < 1e-5);
        }
    }
}
