//! Several devices that share each step of a training.
//!
//! Source: PyTorch's `DistributedDataParallel`. Differences: a batch has as many parts as `micro_batch_size` says, whatever the devices
//! are; gradients are added on the first device in the order of the parts, so that the sum does not depend on how many devices there
//! are; the first device makes the step, and the others get all its numbers before the next one; batch normalization's running
//! statistics are those of all parts, one after the other.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, TensorReadError};
use dermafuse_kernels::on_pool;
use dermafuse_networks::{
    BatchStatistic, MultimodalInput, Network, collect_statistics, draw_for_pass, move_statistics,
};

use crate::{MultitaskLoss, Targets};

/// A part of a batch, on the device that computes it.
pub(crate) struct Part {
    /// Its cases among those of the batch.
    pub(crate) cases: Range<usize>,
    /// The seed of what layers draw.
    pub(crate) drawn: u64,
    /// What the network looks at.
    pub(crate) input: MultimodalInput,
    /// What the cases should be predicted as: once for all branches, or for each.
    pub(crate) targets: Vec<Targets>,
}

/// What a device computed of a part.
pub(crate) struct PartResult {
    /// The part's share in the loss of the batch.
    pub(crate) loss: f64,
    /// The network's own losses by name.
    pub(crate) auxiliary: Vec<(&'static str, f64)>,
    /// None of a loss that is not finite.
    gradients: GradientsParams,
    /// What running statistics are moved to afterwards; none where they were moved at once.
    statistics: Vec<BatchStatistic>,
}

/// Why a device gave no result, in its words.
pub(crate) type DeviceFault = String;

impl Part {
    /// Forward pass, losses and gradients on the network's device. Running statistics are moved at once or, with `apart`, afterwards.
    fn compute<N: Network>(
        self,
        network: &N,
        loss: &MultitaskLoss,
        apart: bool,
    ) -> Result<PartResult, TensorReadError> {
        let Self { drawn, input, targets, .. } = self;
        // What layers draw depends on seed, epoch and pass alone. Those of other crates may draw from the device.
        device_of(network).seed(drawn);
        on_pool(|| {
            let forward = || draw_for_pass(drawn, || network.forward(input));
            let (output, statistics) = if apart { collect_statistics(forward) } else { (forward(), Vec::new()) };
            // Burn keeps what a thread adds to running statistics until the same thread comes again; the next pass may be on another
            // one. This puts it into the statistics now.
            let _ = network.valid();
            let loss = match &targets[..] {
                [same] => loss.forward(&output, same),
                each => loss.forward_each(&output, &each.iter().collect::<Vec<_>>()),
            };
            let value = loss.clone().try_into_scalar::<f64>()?;
            let own = output.auxiliary.iter();
            let own = own.map(|own| Ok((own.name, own.loss.clone().try_into_scalar::<f64>()?)));
            let auxiliary = own.collect::<Result<_, TensorReadError>>()?;
            let gradients = match value.is_finite() {
                true => GradientsParams::from_grads(loss.backward(), network),
                false => GradientsParams::new(),
            };
            Ok(PartResult { loss: value, auxiliary, gradients, statistics })
        })
    }
}

/// The devices that share a step: the network's own, and others that each have a replica of the network for the time of the step.
pub(crate) struct Replicas<'a, N> {
    network: &'a N,
    others: Vec<N>,
}

impl<'a, N: Network> Replicas<'a, N> {
    /// Copies the network to each of the other devices.
    ///
    /// # Errors
    /// The number of the device (from 1; the network's own is the first) that does not take it, and why.
    pub(crate) fn of(network: &'a N, devices: &[Device]) -> Result<Self, (usize, DeviceFault)> {
        // `valid` gives a replica running statistics of its own, `train` a graph of its own. Identities of parameters stay.
        let copy = |(at, device): (usize, &Device)| {
            let copied = catch_unwind(AssertUnwindSafe(|| network.valid().to_device(device).train()));
            copied.map_err(|panic| (at + 2, words_of(&*panic)))
        };
        let others = devices.iter().enumerate().map(copy).collect::<Result<_, _>>()?;
        Ok(Self { network, others })
    }

    /// How many devices there are.
    pub(crate) fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The device of that number, from 0.
    pub(crate) fn device(&self, at: usize) -> Device {
        device_of(if at == 0 { self.network } else { &self.others[at - 1] })
    }

    /// Computes at most one part on each device, all at once; the results are in the order of the parts.
    pub(crate) fn compute(&self, parts: Vec<Part>, loss: &MultitaskLoss) -> Vec<Result<PartResult, DeviceFault>> {
        if self.others.is_empty() {
            let alone = |part: Part| part.compute(self.network, loss, false).map_err(|error| error.to_string());
            return parts.into_iter().map(alone).collect();
        }
        let own = &device_of(self.network);
        let on_device = |network: &N, part: Part| {
            let result = part.compute(network, loss, true).map_err(|error| error.to_string())?;
            let gradients = result.gradients.to_device(own, network);
            Ok(PartResult { gradients, ..result })
        };
        thread::scope(|scope| {
            let networks = [self.network].into_iter().chain(&self.others);
            let parts = networks.zip(parts);
            let started: Vec<_> = parts.map(|(network, part)| scope.spawn(move || on_device(network, part))).collect();
            started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| Err(words_of(&*panic)))).collect()
        })
    }
}

/// What the parts of a step add up to, on the first device and in the order in which they are added. This is the one place where what
/// devices have computed is put together: a sum among the devices themselves (`all_reduce`) would take its place.
pub(crate) struct Gathered<N> {
    gradients: GradientsAccumulator<N>,
    statistics: Vec<BatchStatistic>,
}

impl<N: Network> Gathered<N> {
    pub(crate) fn new() -> Self {
        Self { gradients: GradientsAccumulator::new(), statistics: Vec::new() }
    }

    /// Adds what a device has computed of the next part.
    pub(crate) fn add(&mut self, network: &N, result: PartResult) {
        self.gradients.accumulate(network, result.gradients);
        self.statistics.extend(result.statistics);
    }

    /// The network with running statistics that all parts have moved, and the gradients of the batch.
    pub(crate) fn finish(mut self, network: N) -> (N, GradientsParams) {
        (move_statistics(network, &self.statistics), self.gradients.grads())
    }
}

/// The device that a network is on.
pub(crate) fn device_of<N: Network>(network: &N) -> Device {
    network.devices().first().expect("a network has parameters").clone()
}

/// The words of a panic: what Burn cannot do on another device may end in one.
fn words_of(panic: &(dyn Any + Send)) -> DeviceFault {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it ended without a word").to_owned()
}
