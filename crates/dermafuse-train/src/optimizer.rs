use burn::optim::decay::WeightDecayConfig;
use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamState, AdaptiveMomentumState, LearningRate, ModuleOptimizer, Optimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::ParameterGroup;
use dermafuse_kernels::{AdamStep, adam_step};
use serde::{Deserialize, Serialize};

use crate::{TrainError, TrainingConfig};

/// How gradients become steps. Moments, momentum and epsilon as in PyTorch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam with an L2 penalty.
    #[default]
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Stochastic gradient descent with an L2 penalty.
    Sgd {
        /// Share of the last step that is added, in 0..1.
        momentum: f64,
        /// Whether the gradient is taken after that share.
        nesterov: bool,
    },
}

impl OptimizerKind {
    /// An optimizer that has made no step yet. Adam is Burn's in one pass over parameter, gradient and moments; what it keeps is
    /// recorded as Burn's is.
    #[must_use]
    pub fn init(self, weight_decay: f64) -> ModuleOptimizer {
        match self {
            Self::Adam => Adam { penalty: weight_decay as f32, decay: 0.0 }.into(),
            Self::AdamW => Adam { penalty: 0.0, decay: weight_decay as f32 }.into(),
            Self::Sgd { momentum, nesterov } => {
                let decay = (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay as f32));
                let momentum = (momentum > 0.0)
                    .then(|| MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(nesterov));
                SgdConfig::new().with_weight_decay(decay).with_momentum(momentum).init()
            }
        }
    }
}

/// Adam with an L2 penalty or with decoupled weight decay; everything else as in PyTorch.
#[derive(Clone, Copy, Debug)]
struct Adam {
    penalty: f32,
    decay: f32,
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let state = state.map(|state| state.momentum).unwrap_or_else(|| {
            let zeros = || gradient.zeros_like();
            AdaptiveMomentumState::new(0, zeros(), zeros())
        });
        let AdaptiveMomentumState { time, moment_1, moment_2, .. } = state;
        let Self { penalty, decay } = *self;
        let step = AdamStep { rate, betas: [0.9, 0.999], epsilon: 1e-8, time: time + 1, penalty, decay };
        let (parameter, [moment_1, moment_2]) = adam_step(parameter, gradient, [moment_1, moment_2], step);
        (parameter, Some(AdamState::new(AdaptiveMomentumState::new(step.time, moment_1, moment_2))))
    }

    fn to_device<const D: usize>(mut state: AdamState<D>, device: &Device) -> AdamState<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

/// The learning rate of every parameter in an epoch, counted from 0, with a factor on all of them.
pub(crate) fn learning_rates(
    config: &TrainingConfig,
    groups: &[ParameterGroup],
    epoch: usize,
    factor: f64,
) -> Result<ModuleLearningRate, TrainError> {
    let (rate, head_rate) = (factor * config.rate(epoch), factor * config.head_rate(epoch));
    if config.backbone_rate == 1.0 && config.layer_decay == 1.0 && head_rate == rate {
        return Ok(rate.into());
    }
    let mut scheduler = ModuleLrSchedulerConfig::new(LrSchedulerConfig::Constant(head_rate));
    for (group, depth) in groups.iter().zip(depths(groups)) {
        let factor = config.backbone_rate * config.layer_decay.powi(depth as i32);
        scheduler = scheduler.with_group(group.group.clone(), LrSchedulerConfig::Constant(rate * factor));
    }
    let refused = |reason: String| TrainError::Setting {
        setting: "learning_rate",
        expected: "one that makes a schedule",
        found: reason,
    };
    Ok(scheduler.init().map_err(refused)?.step())
}

/// How far the part of each parameter group is from the end of its backbone, 0 for the last; backbones follow each other, each
/// stem first.
fn depths(groups: &[ParameterGroup]) -> Vec<usize> {
    let mut depths = vec![0; groups.len()];
    let mut depth = 0;
    for (index, group) in groups.iter().enumerate().rev() {
        depths[index] = depth;
        if index > 0 && groups[index - 1].part != group.part {
            // A stem begins its backbone; what comes before it is the last part of another one.
            depth = if group.part == groups[0].part { 0 } else { depth + 1 };
        }
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, OptimizerRecord};
    use burn::tensor::{Device, Distribution};
    use dermafuse_backbones::{Backbone, BackboneKind};

    /// The weight after some steps, of which some may be made by an optimizer that was recorded and read again.
    fn weight_after(steps: usize, record_after: Option<usize>, init: impl Fn() -> ModuleOptimizer) -> Vec<f32> {
        let device = Device::flex().autodiff();
        device.seed(3);
        let mut layer: Linear = LinearConfig::new(50, 40).init(&device);
        let mut optimizer = init();
        for step in 0..steps {
            if record_after == Some(step) {
                let record = OptimizerRecord::from_bytes(optimizer.to_record().into_bytes().unwrap()).unwrap();
                optimizer = init().load_record(record);
            }
            let x = Tensor::<2>::random([8, 50], Distribution::Normal(0.0, 1.0), &device);
            let gradients = layer.forward(x).powf_scalar(2.0).mean().backward();
            let gradients = GradientsParams::from_grads(gradients, &layer);
            layer = optimizer.step(0.01, layer, gradients);
        }
        layer.weight.val().into_data().iter::<f32>().collect()
    }

    #[test]
    fn adam_is_burns() {
        for decay in [0.0, 0.05] {
            let penalty = (decay > 0.0).then(|| WeightDecayConfig::new(decay as f32));
            let adam = || AdamConfig::new().with_epsilon(1e-8).with_weight_decay(penalty.clone()).init();
            let adamw = || AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(decay as f32).init();
            let both = [
                (OptimizerKind::Adam, weight_after(20, None, adam)),
                (OptimizerKind::AdamW, weight_after(20, None, adamw)),
            ];
            for (kind, burns) in both {
                let ours = weight_after(20, None, || kind.init(decay));
                let furthest = ours.iter().zip(&burns).map(|(ours, burns)| (ours - burns).abs()).fold(0.0, f32::max);
                // AdamW rounds as Adam does where it has no decay; a weight moves by about 0.01 a step.
                let allowed = if kind == OptimizerKind::AdamW && decay == 0.0 { 1e-5 } else { 0.0 };
                assert!(furthest <= allowed, "{kind:?} with {decay}: {furthest}");
                assert_eq!(weight_after(20, Some(7), || kind.init(decay)), ours, "{kind:?}, recorded and read");
            }
        }
    }

    #[test]
    fn blocks_of_a_part_are_equally_deep() {
        let device = Device::flex();
        let kinds = [BackboneKind::ResNet18Quarter, BackboneKind::SqueezeNet];
        let groups: Vec<_> = kinds.iter().flat_map(|kind| kind.init(None, &device).parameter_groups()).collect();
        assert_eq!(depths(&groups), [4, 3, 3, 2, 2, 1, 1, 0, 0, 4, 3, 3, 2, 2, 1, 1, 0, 0]);
    }
}
