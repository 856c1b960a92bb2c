//! Batch normalization that stands still while the rest of a network trains.

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::tensor::Tensor;

/// How Burn calls the layer while it walks through a module.
const BATCH_NORM: &str = "Struct:BatchNorm";

/// Freezes all batch normalization layers of a module: they use their running statistics, which no longer move, and
/// their scales and offsets are not trained. Gradients pass through to the layers before.
///
/// For small batches, and for weights whose normalization was folded into the convolutions.
pub fn freeze_batch_norm<M: Module>(module: M) -> M {
    let mut collector = NormCollector::default();
    module.visit(&mut collector);
    module.freeze_group(ParamGroup::from_ids(collector.ids))
}

/// Like [`freeze_batch_norm`], but scales and offsets go on training.
pub fn fix_batch_norm_statistics<M: Module>(module: M) -> M {
    module.map(&mut StatisticsFixer::default())
}

#[derive(Default)]
struct NormCollector {
    containers: Vec<String>,
    ids: Vec<ParamId>,
}

impl NormCollector {
    fn collect(&mut self, id: ParamId) {
        if self.containers.last().is_some_and(|container| container == BATCH_NORM) {
            self.ids.push(id);
        }
    }
}

impl ModuleVisitor for NormCollector {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.collect(param.id);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.collect(flag.id);
    }
}

#[derive(Default)]
struct StatisticsFixer {
    containers: Vec<String>,
}

impl ModuleMapper for StatisticsFixer {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.containers.pop();
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        match self.containers.last().is_some_and(|container| container == BATCH_NORM) {
            true => flag.with_value(false),
            false => flag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{ConvNormAct, ConvNormActConfig};
    use burn::tensor::{Device, Distribution, Tolerance};

    struct Outcome {
        output: Tensor<4>,
        input_has_gradient: bool,
        weight_has_gradient: bool,
        scale_has_gradient: bool,
    }

    fn run(layer: &ConvNormAct, device: &Device) -> Outcome {
        let input = Tensor::<4>::random([2, 3, 6, 6], Distribution::Default, device).require_grad();
        let output = layer.forward(input.clone());
        let gradients = output.clone().powf_scalar(2.0).sum().backward();
        let mut found = GradientFinder { name: String::new(), with_gradient: vec![], gradients: &gradients };
        layer.visit(&mut found);
        let has = |name: &str| found.with_gradient.iter().any(|found| found == name);
        Outcome {
            output,
            input_has_gradient: input.grad(&gradients).is_some(),
            weight_has_gradient: has("weight"),
            scale_has_gradient: has("gamma"),
        }
    }

    struct GradientFinder<'a> {
        name: String,
        with_gradient: Vec<String>,
        gradients: &'a burn::tensor::Gradients,
    }

    impl ModuleVisitor for GradientFinder<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.name = name.to_string();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.val().grad(self.gradients).is_some() {
                self.with_gradient.push(self.name.clone());
            }
        }
    }

    #[test]
    fn frozen_norms_predict_and_pass_gradients() {
        let device = Device::flex().autodiff();
        let layer = freeze_batch_norm(ConvNormActConfig::new([3, 4], 3).init(&device));
        let outcome = run(&layer, &device);
        assert!(outcome.input_has_gradient && outcome.weight_has_gradient && !outcome.scale_has_gradient);
        // Fresh statistics (mean 0, variance 1) leave the convolution's output as it is: not zero-mean.
        assert!(outcome.output.mean().into_scalar::<f32>().abs() > 1e-4);
    }

    #[test]
    fn fixed_statistics_still_train_the_scale() {
        let device = Device::flex().autodiff();
        let layer = fix_batch_norm_statistics(ConvNormActConfig::new([3, 4], 3).init(&device));
        let input = Tensor::<4>::random([2, 3, 6, 6], Distribution::Default, &device);
        let expected = layer.valid().forward(input.clone().inner()).into_data();
        let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
        layer.forward(input).into_data().assert_approx_eq(&expected, tolerance);
        let outcome = run(&layer, &device);
        assert!(outcome.input_has_gradient && outcome.weight_has_gradient && outcome.scale_has_gradient);
    }
}
