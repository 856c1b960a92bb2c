//! Averages of a network's weights over a run: stochastic weight averaging and the exponential moving average.
//!
//! Paper: Izmailov et al., *Averaging weights leads to wider optima and better generalization* (UAI 2018); Polyak and
//! Juditsky (1992). Source: PyTorch's `AveragedModel` and `update_bn`. Differences: running statistics are averaged like
//! weights until they are refreshed.

use std::collections::HashMap;

use burn::module::{Flag, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use dermafuse_kernels::toward;
use dermafuse_networks::{MultimodalInput, Network, draw_for_pass};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

/// Which average of the weights a run gives back, instead of those of its best epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WeightAveraging {
    /// Stochastic weight averaging: the arithmetic mean of the weights at the ends of the last epochs. The learning rate
    /// follows its schedule.
    LastEpochs {
        /// How many epochs; 50 of 250 in AMMFM.
        epochs: usize,
        /// Whether batch normalisation's running statistics are then computed anew, as the mean over the batches of one
        /// more pass over the training cases.
        refresh_batch_norm: bool,
    },
    /// The exponential moving average over all steps: `decay · average + (1 − decay) · weights`. It is what is validated
    /// after every epoch, and the best of these averages is given back.
    Exponential {
        /// Between 0 and 1; 0.999 remembers about a thousand steps.
        decay: f64,
        /// Whether the first steps are soon forgotten: after `s` steps the decay is at most `(1 + s) / (10 + s)`, as TensorFlow's
        /// `ExponentialMovingAverage` has it with `num_updates`.
        #[serde(default)]
        warm_up: bool,
    },
}

impl WeightAveraging {
    /// How much of a moving average stays in the step after `steps` others.
    pub(crate) fn decay_after(decay: f64, warm_up: bool, steps: usize) -> f64 {
        match warm_up {
            true => decay.min((1 + steps) as f64 / (10 + steps) as f64),
            false => decay,
        }
    }

    /// # Errors
    /// A setting that makes no average.
    pub(crate) fn check(self, epochs: usize, patience: Option<usize>) -> Result<(), SettingFault> {
        match (self, patience) {
            (Self::LastEpochs { .. }, Some(patience)) => {
                Err(SettingFault::new("patience", "none, since the last epochs are averaged", patience))
            }
            (Self::LastEpochs { epochs: last, .. }, None) => {
                let key = "averaging.last_epochs.epochs";
                SettingFault::unless((1..=epochs).contains(&last), key, "at least 1 and at most all epochs", last)
            }
            (Self::Exponential { decay, .. }, _) => {
                let key = "averaging.exponential.decay";
                SettingFault::unless((0.0..1.0).contains(&decay), key, "at least 0 and below 1", decay)
            }
        }
    }
}

/// A network whose weights are an average, in inference mode.
#[derive(Clone, Debug)]
pub(crate) struct Average<N> {
    pub(crate) network: N,
}

impl<N: Network> Average<N> {
    /// The average of one network.
    pub(crate) fn of(network: &N) -> Self {
        Self { network: network.valid() }
    }

    /// Moves all weights and running statistics by a share of the way to those of another network.
    pub(crate) fn approach(self, network: &N, share: f64) -> Self {
        let mut collector = Collector { values: GradientsParams::new() };
        network.valid().visit(&mut collector);
        Self { network: self.network.map(&mut Approach { values: collector.values, share }) }
    }
}

/// Collects tensors by identity. Burn's container for gradients is the one for this too.
struct Collector {
    values: GradientsParams,
}

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.values.register(param.id, param.val());
    }
}

struct Approach {
    values: GradientsParams,
    share: f64,
}

impl ModuleMapper for Approach {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.values.remove::<D>(param.id) {
            Some(value) => param.map(|average| toward(average, value, self.share)),
            None => param,
        }
    }
}

/// Computes the running statistics of all batch normalisation that is not frozen anew: the mean over the batches of their
/// own statistics, with what layers draw drawn from one seed. The network must be on an autodiff device. Its clones share its
/// statistics, so theirs change too.
pub(crate) fn refresh_batch_norm<N: Network, E>(
    mut network: N,
    batches: impl Iterator<Item = Result<MultimodalInput, E>>,
    drawn: u64,
    mut before_each: impl FnMut(),
) -> Result<N, E> {
    let mut finder = Finder::default();
    network.visit(&mut finder);
    if finder.statistics.is_empty() {
        return Ok(network);
    }
    let _ = network.valid(); // puts updates that wait into the statistics
    // A layer mixes `momentum` of a batch's statistics into the running ones: into zeros, and once into ones to learn it.
    let mut run = |network: N, start: f64, input: MultimodalInput| {
        let network = network.map(&mut Fill { ids: &finder.statistics, start });
        before_each();
        let _ = draw_for_pass(drawn, || network.forward(input));
        let mut reader = Reader { ids: &finder.statistics, values: HashMap::new() };
        network.valid().visit(&mut reader);
        (network, reader.values)
    };
    let (mut sums, mut momenta, mut count) = (HashMap::<ParamId, Vec<f64>>::new(), HashMap::new(), 0_usize);
    for input in batches {
        let input = input?;
        let (next, zero) = run(network, 0.0, input.clone());
        network = next;
        if count == 0 {
            let (next, one) = run(network, 1.0, input);
            network = next;
            let momentum = |id: &ParamId| 1.0 - (one[id][0] - zero[id][0]);
            momenta = zero.keys().map(|id| (*id, momentum(id))).collect();
        }
        for (id, values) in zero {
            let sum = sums.entry(id).or_insert_with(|| vec![0.0; values.len()]);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / momenta[&id]);
        }
        count += 1;
    }
    let mean = |sum: Vec<f64>| sum.into_iter().map(|sum| (sum / count as f64) as f32).collect();
    Ok(network.map(&mut Write { means: sums.into_iter().map(|(id, sum)| (id, mean(sum))).collect() }))
}

/// Names of the running statistics, in Burn as in PyTorch.
const STATISTICS: [&str; 2] = ["running_mean", "running_var"];

/// Finds the running statistics of layers that are in training mode. A layer's flag comes before its statistics.
#[derive(Default)]
struct Finder {
    path: Vec<String>,
    training: Vec<String>,
    statistics: Vec<ParamId>,
}

impl Finder {
    fn layer(&self) -> String {
        self.path.split_last().map_or_else(String::new, |(_, layer)| layer.join("."))
    }
}

impl ModuleVisitor for Finder {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        if flag.val().is_enabled() {
            self.training.push(self.layer());
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let is_statistic = self.path.last().is_some_and(|name| STATISTICS.contains(&name.as_str()));
        if is_statistic && self.training.last() == Some(&self.layer()) {
            self.statistics.push(param.id);
        }
    }
}

struct Fill<'a> {
    ids: &'a [ParamId],
    start: f64,
}

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.ids.contains(&param.id) {
            true => param.map(|value| value.full_like(self.start)),
            false => param,
        }
    }
}

struct Reader<'a> {
    ids: &'a [ParamId],
    values: HashMap<ParamId, Vec<f64>>,
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.ids.contains(&param.id) {
            self.values.insert(param.id, param.val().into_data().iter::<f64>().collect());
        }
    }
}

struct Write {
    means: HashMap<ParamId, Vec<f32>>,
}

impl ModuleMapper for Write {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.means.remove(&param.id) {
            Some(values) => param.map(|value| {
                let data = burn::tensor::TensorData::new(values, value.dims());
                Tensor::from_data(data, &value.device())
            }),
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainError;
    use burn::module::Module;
    use burn::tensor::{Device, Distribution};
    use dermafuse_backbones::BackboneKind;
    use dermafuse_networks::{BackboneFreeze, ImageClassifierConfig, Modality, NetworkConfig};

    fn network() -> dermafuse_networks::AnyNetwork {
        let (backbone, view) = (BackboneKind::ResNet18Quarter, Modality::Clinical);
        let config = NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, view, vec![3]));
        config.init_seeded(0, &Device::flex().autodiff()).unwrap()
    }

    /// All numbers of a network, running statistics too.
    fn numbers<N: Network>(network: &N) -> Vec<f32> {
        struct All(Vec<f32>);
        impl ModuleVisitor for All {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.extend(param.val().into_data().iter::<f32>());
            }
        }
        let mut all = All(Vec::new());
        network.valid().visit(&mut all);
        all.0
    }

    /// The same network with other weights: what training makes of it.
    fn changed<N: Network>(network: &N, amount: f64) -> N {
        struct Add(f64);
        impl ModuleMapper for Add {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|value| value + self.0)
            }
        }
        network.valid().map(&mut Add(amount)).train()
    }

    #[test]
    fn the_average_of_epochs_is_their_arithmetic_mean() {
        let first = network();
        let epochs = [first.clone(), changed(&first, 0.5), changed(&first, -0.25)];
        let mut average = Average::of(&epochs[0]);
        for (before, epoch) in epochs.iter().enumerate().skip(1) {
            average = average.approach(epoch, 1.0 / (before + 1) as f64);
        }
        let all: Vec<Vec<f32>> = epochs.iter().map(numbers).collect();
        for (at, found) in numbers(&average.network).into_iter().enumerate() {
            let mean = all.iter().map(|epoch| f64::from(epoch[at])).sum::<f64>() / 3.0;
            assert!((f64::from(found) - mean).abs() < 1e-6 * mean.abs().max(1.0), "{found} instead of {mean}");
        }
        assert_eq!(numbers(&first), all[0], "the network itself stays as it is");
    }

    #[test]
    fn refreshed_statistics_are_the_mean_over_batches_and_frozen_ones_stay() {
        let device = Device::flex().autodiff();
        let start = network();
        let copy = || start.valid().train(); // clones share their running statistics
        let images = || Tensor::<4>::random([4, 3, 32, 32], Distribution::Default, &device);
        let input = |images| MultimodalInput { clinical: Some(images), dermoscopic: None, metadata: None };
        let batches = [images(), images()];
        let inputs = || batches.iter().map(|images| Ok::<_, TrainError>(input(images.clone())));

        let refreshed = refresh_batch_norm(copy(), inputs(), 0, || ()).unwrap();
        // One batch at a time, from the same start: the mean of two refreshed networks.
        let alone = |at: usize| refresh_batch_norm(copy(), inputs().skip(at).take(1), 0, || ()).unwrap();
        let (first, second) = (numbers(&alone(0)), numbers(&alone(1)));
        let mut moved = 0;
        for ((found, first), (second, before)) in
            numbers(&refreshed).into_iter().zip(first).zip(second.into_iter().zip(numbers(&start)))
        {
            assert!((found - (first + second) / 2.0).abs() < 1e-4 * found.abs().max(0.1), "{found}: {first}, {second}");
            moved += usize::from(found != before);
        }
        assert!(moved > 100, "statistics were computed anew");

        let freeze = BackboneFreeze { groups: 0, batch_norm: true };
        let frozen = refresh_batch_norm(copy().freeze_backbones(freeze), inputs(), 0, || ()).unwrap();
        assert_eq!(numbers(&frozen), numbers(&start));
    }

    #[test]
    fn a_young_average_forgets_fast() {
        let after = |steps| WeightAveraging::decay_after(0.995, true, steps);
        assert_eq!([after(0), after(8), after(10_000)], [0.1, 0.5, 0.995]);
        assert_eq!(WeightAveraging::decay_after(0.995, false, 0), 0.995);
    }

    #[test]
    fn settings_that_make_no_average_are_refused() {
        let last = |epochs| WeightAveraging::LastEpochs { epochs, refresh_batch_norm: true };
        assert!(last(50).check(250, None).is_ok());
        assert!(last(0).check(250, None).is_err() && last(251).check(250, None).is_err());
        let error = last(50).check(250, Some(30)).unwrap_err().to_string();
        assert_eq!(error, "`patience` must be none, since the last epochs are averaged, found 30");
        assert!(WeightAveraging::Exponential { decay: 1.0, warm_up: false }.check(1, None).is_err());
    }
}
