//! What a pass of training draws: the units that dropout leaves out, the branches that a depth of chance leaves out.

use std::cell::RefCell;

use burn::nn::Dropout;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

thread_local! {
    /// Layers are not told which pass they are in.
    static PASS: RefCell<Option<ChaCha12Rng>> = const { RefCell::new(None) };
}

/// Runs a forward pass of training whose layers draw on the host, from the seed of this pass: [`draw_kept`] and
/// [`AddressedDropout::forward_addressed`], called on this thread while `forward` runs, give the same numbers on every device and
/// do not touch the device's generator. They are drawn in the order in which the layers come.
///
/// The numbers are those that Burn's CPU backend draws after `device.seed(seed)`.
///
/// ```
/// use burn::nn::DropoutConfig;
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_init::{AddressedDropout, draw_for_pass};
///
/// let device = Device::flex().autodiff();
/// let dropout = DropoutConfig::new(0.5).init();
/// let pass = |seed| draw_for_pass(seed, || dropout.forward_addressed(Tensor::<1>::ones([32], &device))).into_data();
/// assert_eq!(pass(7), pass(7));
/// assert_ne!(pass(7), pass(8));
/// ```
pub fn draw_for_pass<T>(seed: u64, forward: impl FnOnce() -> T) -> T {
    /// Puts the pass back that this one is inside of, also if the work panics.
    struct Restore(Option<ChaCha12Rng>);
    impl Drop for Restore {
        fn drop(&mut self) {
            PASS.set(self.0.take());
        }
    }
    let _restore = Restore(PASS.replace(Some(ChaCha12Rng::seed_from_u64(seed))));
    forward()
}

/// Ones with the probability `keep`, zeros otherwise; outside of [`draw_for_pass`] from the device's generator.
///
/// # Shapes
///
/// → the shape.
///
/// # Panics
///
/// If `keep` is not in (0, 1).
pub fn draw_kept<const D: usize>(keep: f64, shape: [usize; D], device: &Device) -> Tensor<D> {
    assert!(keep > 0.0 && keep < 1.0, "the probability to keep is in (0, 1), not {keep}");
    PASS.with_borrow_mut(|pass| match pass {
        Some(generator) => {
            // As `rand` draws them: below the share of all 64-bit numbers.
            let limit = (keep * 2.0_f64.powi(64)) as u64;
            let count = shape.iter().product();
            let kept = (0..count).map(|_| f32::from(u8::from(generator.next_u64() < limit)));
            Tensor::from_data(TensorData::new(kept.collect(), shape), device)
        }
        None => Tensor::random(shape, Distribution::Bernoulli(keep), device),
    })
}

/// Dropout whose units are drawn on the host.
pub trait AddressedDropout {
    /// As Burn's `forward`, but inside of [`draw_for_pass`] the host draws which units are left out.
    ///
    /// # Shapes
    ///
    /// any → the same.
    fn forward_addressed<const D: usize>(&self, input: Tensor<D>) -> Tensor<D>;
}

impl AddressedDropout for Dropout {
    fn forward_addressed<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if self.prob == 0.0 || !self.training.is_enabled() || !input.is_autodiff() {
            return input;
        }
        let keep = 1.0 - self.prob;
        let kept = draw_kept(keep, input.dims(), &input.device());
        input * kept * (1.0 / keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::nn::DropoutConfig;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// The generator of Burn's CPU backend belongs to the process.
    fn alone() -> MutexGuard<'static, ()> {
        static GENERATOR: Mutex<()> = Mutex::new(());
        GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn a_pass_draws_what_the_cpu_backend_drew() {
        let _alone = alone();
        let device = Device::flex().autodiff();
        let input = || Tensor::<2>::ones([17, 31], &device);
        for (seed, probability) in [(0, 0.5), (7, 0.1), (u64::MAX, 0.9), (1 << 40, 0.3)] {
            let dropout = DropoutConfig::new(probability).init();
            let twice = |forward: &dyn Fn() -> Tensor<2>| [forward(), forward()].map(Tensor::into_data);
            device.seed(seed);
            let expected = twice(&|| dropout.forward(input()));
            let found = draw_for_pass(seed, || twice(&|| dropout.forward_addressed(input())));
            assert_eq!(found, expected, "{seed}, {probability}");
            assert_ne!(found[0], found[1], "draws go on");
        }
    }

    #[test]
    fn a_pass_leaves_the_devices_generator_alone() {
        let _alone = alone();
        let device = Device::flex().autodiff();
        let next_after = |work: &dyn Fn()| {
            device.seed(3);
            work();
            Tensor::<1>::random([1], Distribution::Default, &device).into_scalar::<f32>()
        };
        let dropout = DropoutConfig::new(0.5).init();
        let input = Tensor::<1>::ones([64], &device);
        let forward = || drop(dropout.forward_addressed(input.clone()));
        let untouched = next_after(&|| ());
        assert_eq!(next_after(&|| draw_for_pass(1, forward)), untouched);
        assert_ne!(next_after(&forward), untouched, "outside of a pass the device draws");
    }

    #[test]
    fn passes_end_with_their_work() {
        let device = Device::flex();
        let draw = || draw_kept(0.5, [64], &device).into_data();
        let alone = draw_for_pass(1, || [draw(), draw()]);
        let around = draw_for_pass(1, || {
            let first = draw();
            draw_for_pass(2, draw);
            [first, draw()]
        });
        assert_eq!(around, alone);
        PASS.with_borrow(|pass| assert!(pass.is_none()));
    }

    #[test]
    fn whoever_predicts_keeps_all() {
        let device = Device::flex();
        let input = Tensor::<1>::ones([64], &device);
        let dropout = DropoutConfig::new(0.5).init();
        let predicted = draw_for_pass(1, || dropout.forward_addressed(input.clone()));
        assert_eq!(predicted.into_data(), input.clone().into_data());
        let training = Tensor::<1>::ones([64], &device.autodiff());
        let frozen = draw_for_pass(1, || dropout.freeze().forward_addressed(training));
        assert_eq!(frozen.into_data(), input.into_data());
    }
}
