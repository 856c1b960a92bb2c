//! What a pass of training does to the running statistics of batch normalization, kept apart where several passes go on at once.
//!
//! Paper: Ioffe and Szegedy, 2015, <https://arxiv.org/abs/1502.03167>, section 3.1. Source: Burn's `BatchNorm`, whose operations these
//! are. Weights: none. Differences: none.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId, RunningState};
use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use burn::tensor::module::batch_norm_train;

thread_local! {
    /// Layers are not told which pass they are in.
    static COLLECTED: RefCell<Option<Vec<BatchStatistic>>> = const { RefCell::new(None) };
}

/// What a running statistic is moved to: the mean or the variance of each channel in one batch, with the layer's momentum.
#[derive(Clone, Debug)]
pub struct BatchStatistic {
    running: ParamId,
    momentum: f64,
    batch: Tensor<1>,
}

/// `running · (1 − momentum) + batch · momentum`.
fn moved<const D: usize>(running: Tensor<D>, batch: Tensor<D>, momentum: f64) -> Tensor<D> {
    (running * (1.0 - momentum) + batch * momentum).detach()
}

/// Runs a forward pass of training that leaves running statistics as they are, and gives what they would have been moved to, in the
/// order of the layers. [`move_statistics`] does it afterwards, with the same numbers. It is about the layers that use
/// [`CollectedStatistics`], called on this thread while `forward` runs.
///
/// ```
/// use burn::nn::{BatchNorm, BatchNormConfig};
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_init::{CollectedStatistics, collect_statistics, move_statistics};
///
/// let device = Device::flex().autodiff();
/// let norm: BatchNorm = BatchNormConfig::new(1).init(&device);
/// let batch = Tensor::<2>::from_data([[2.0], [4.0]], &device);
/// let (_, statistics) = collect_statistics(|| norm.forward_collected(batch));
/// assert_eq!(norm.running_mean.value_sync().into_scalar::<f32>(), 0.0);
/// let norm = move_statistics(norm, &statistics);
/// assert!((norm.running_mean.value_sync().into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// ```
pub fn collect_statistics<T>(forward: impl FnOnce() -> T) -> (T, Vec<BatchStatistic>) {
    /// Puts back what the pass that this one is inside of has collected, also if the work panics.
    struct Restore(Option<Vec<BatchStatistic>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            COLLECTED.set(self.0.take());
        }
    }
    let _restore = Restore(COLLECTED.replace(Some(Vec::new())));
    let result = forward();
    (result, COLLECTED.take().unwrap_or_default())
}

/// Moves the running statistics of a module to what passes have collected, in that order. Clones share their running statistics, so
/// theirs move too.
pub fn move_statistics<M: Module>(module: M, statistics: &[BatchStatistic]) -> M {
    let mut of_layer = HashMap::<ParamId, Vec<&BatchStatistic>>::new();
    for statistic in statistics {
        of_layer.entry(statistic.running).or_default().push(statistic);
    }
    match of_layer.is_empty() {
        true => module,
        false => module.map(&mut Mover { of_layer }),
    }
}

struct Mover<'a> {
    of_layer: HashMap<ParamId, Vec<&'a BatchStatistic>>,
}

impl ModuleMapper for Mover<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.of_layer.get(&param.id) {
            Some(statistics) => param.map(|running| {
                let (device, shape) = (running.device(), running.dims());
                statistics.iter().fold(running, |running, BatchStatistic { batch, momentum, .. }| {
                    moved(running, batch.clone().to_device(&device).reshape(shape), *momentum)
                })
            }),
            None => param,
        }
    }
}

/// Batch normalization whose statistics [`collect_statistics`] can keep apart.
pub trait CollectedStatistics {
    /// As Burn's `forward`, but inside of [`collect_statistics`] running statistics stay as they are.
    ///
    /// # Shapes
    ///
    /// `[B, C, …]` → the same.
    fn forward_collected<const D: usize>(&self, input: Tensor<D>) -> Tensor<D>;

    /// Moves the running statistics to those of a batch; inside of [`collect_statistics`] they stay as they are.
    ///
    /// # Shapes
    ///
    /// `[C]` both.
    fn collect(&self, mean: Tensor<1>, variance: Tensor<1>);
}

impl CollectedStatistics for BatchNorm {
    fn forward_collected<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let trains = input.device().is_autodiff() && self.training.is_enabled();
        if !trains || COLLECTED.with_borrow(Option::is_none) {
            return self.forward(input);
        }
        let result = batch_norm_train(input, self.gamma.val(), self.beta.val(), self.epsilon);
        self.collect(result.mean, result.variance);
        result.output
    }

    fn collect(&self, mean: Tensor<1>, variance: Tensor<1>) {
        let momentum = self.momentum;
        for (running, batch) in [(&self.running_mean, mean), (&self.running_var, variance)] {
            COLLECTED.with_borrow_mut(|collected| match collected {
                Some(all) => all.push(BatchStatistic { running: id_of(running), momentum, batch: batch.detach() }),
                None => running.update(moved(running.value_sync(), batch, momentum)),
            });
        }
    }
}

/// Burn tells the identity of running statistics to visitors alone.
fn id_of(running: &RunningState<Tensor<1>>) -> ParamId {
    struct Identity(Option<ParamId>);
    impl ModuleVisitor for Identity {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = Some(param.id);
        }
    }
    let mut identity = Identity(None);
    running.visit(&mut identity);
    identity.0.expect("a running statistic is a tensor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::BatchNormConfig;
    use burn::tensor::{Device, Distribution};

    fn statistics_of(norm: &BatchNorm) -> [Vec<f32>; 2] {
        [&norm.running_mean, &norm.running_var].map(|running| running.value_sync().into_data().iter().collect())
    }

    /// Twice through the same layer in a pass, as a backbone that two images share.
    #[test]
    fn statistics_that_are_moved_later_are_those_that_were_moved_at_once() {
        let device = Device::flex().autodiff();
        let batches: Vec<Tensor<3>> =
            (0..6).map(|_| Tensor::random([5, 7, 3], Distribution::Normal(1.0, 3.0), &device)).collect();
        let norm = || BatchNormConfig::new(7).with_momentum(0.3).init(&device);
        let at_once = norm();
        let outputs = batches.iter().map(|batch| at_once.forward(batch.clone()).into_data()).collect::<Vec<_>>();
        let (mut later, mut collected) = (norm(), Vec::new());
        let before = statistics_of(&later);
        for (pass, outputs) in batches.chunks(2).zip(outputs.chunks(2)) {
            let forward = || pass.iter().map(|batch| later.forward_collected(batch.clone()).into_data()).collect();
            let (found, statistics): (Vec<_>, _) = collect_statistics(forward);
            assert_eq!(found, outputs);
            collected.extend(statistics);
        }
        assert_eq!(statistics_of(&later), before);
        later = move_statistics(later, &collected);
        assert_eq!(statistics_of(&later), statistics_of(&at_once));
        assert_ne!(statistics_of(&later), before);
    }

    #[test]
    fn outside_of_a_pass_and_frozen_it_is_burns_layer() {
        let device = Device::flex().autodiff();
        let batch = || Tensor::<2>::from_data([[1.0, 2.0], [5.0, 2.5]], &device);
        let [burns, ours] = [(); 2].map(|()| BatchNormConfig::new(2).init(&device));
        assert_eq!(ours.forward_collected(batch()).into_data(), burns.forward(batch()).into_data());
        assert_eq!(statistics_of(&ours), statistics_of(&burns));
        let frozen = ours.freeze();
        let (found, statistics) = collect_statistics(|| frozen.forward_collected(batch()).into_data());
        assert_eq!(found, frozen.forward(batch()).into_data());
        assert!(statistics.is_empty());
        COLLECTED.with_borrow(|collected| assert!(collected.is_none()));
    }
}
