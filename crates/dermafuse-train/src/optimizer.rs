use burn::optim::decay::WeightDecayConfig;
use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use dermafuse_backbones::ParameterGroup;
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
    pub(crate) fn init(self, weight_decay: f64) -> ModuleOptimizer {
        let decay = (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay as f32));
        match self {
            Self::Adam => AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay).init(),
            Self::AdamW => AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(weight_decay as f32).init(),
            Self::Sgd { momentum, nesterov } => {
                let momentum = (momentum > 0.0)
                    .then(|| MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(nesterov));
                SgdConfig::new().with_weight_decay(decay).with_momentum(momentum).init()
            }
        }
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
    use burn::tensor::Device;
    use dermafuse_backbones::{Backbone, BackboneKind};

    #[test]
    fn blocks_of_a_part_are_equally_deep() {
        let device = Device::flex();
        let kinds = [BackboneKind::ResNet18Quarter, BackboneKind::SqueezeNet];
        let groups: Vec<_> = kinds.iter().flat_map(|kind| kind.init(None, &device).parameter_groups()).collect();
        assert_eq!(depths(&groups), [4, 3, 3, 2, 2, 1, 1, 0, 0, 4, 3, 3, 2, 2, 1, 1, 0, 0]);
    }
}
