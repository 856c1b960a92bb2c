//! The distribution that an initializer draws from.

use burn::module::Initializer;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use crate::normal_quantile::normal_quantile;

/// How values spread around their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spread {
    Uniform { min: f64, max: f64 },
    Normal { mean: f64, std: f64 },
}

impl Spread {
    /// What the initializer draws for a parameter of so many inputs and outputs, by the formulas of Burn; nothing for constants, and for
    /// initializers that no layer here uses (orthogonal ones, and those that need numbers of inputs that are not given).
    pub(crate) fn of(initializer: &Initializer, fans: Option<[usize; 2]>) -> Option<Self> {
        let kaiming = |gain: f64, fan_out_only: bool| {
            let [inputs, outputs] = fans?;
            Some(gain / (if fan_out_only { outputs } else { inputs } as f64).sqrt())
        };
        let xavier = |gain: f64| fans.map(|[inputs, outputs]| gain * (2.0 / (inputs + outputs) as f64).sqrt());
        let uniform = |std: f64| Self::Uniform { min: -3.0_f64.sqrt() * std, max: 3.0_f64.sqrt() * std };
        let normal = |std: f64| Self::Normal { mean: 0.0, std };
        match *initializer {
            Initializer::Uniform { min, max } => Some(Self::Uniform { min, max }),
            Initializer::Normal { mean, std } => Some(Self::Normal { mean, std }),
            Initializer::KaimingUniform { gain, fan_out_only } => kaiming(gain, fan_out_only).map(uniform),
            Initializer::KaimingNormal { gain, fan_out_only } => kaiming(gain, fan_out_only).map(normal),
            Initializer::XavierUniform { gain } => xavier(gain).map(uniform),
            Initializer::XavierNormal { gain } => xavier(gain).map(normal),
            Initializer::Constant { .. } | Initializer::Ones | Initializer::Zeros | Initializer::Orthogonal { .. } => {
                None
            }
        }
    }

    /// So many values, each from one draw of 32 bits.
    pub(crate) fn values(self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let value = |unit: f64| match self {
            Self::Uniform { min, max } => min + unit * (max - min),
            Self::Normal { mean, std } => mean + std * normal_quantile(unit),
        };
        let unit = |draw: u32| (f64::from(draw) + 0.5) / (1_u64 << 32) as f64; // inside 0 to 1, never at an end
        (0..count).map(|_| value(unit(rng.next_u32())) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn values(spread: Spread, count: usize) -> Vec<f32> {
        spread.values(count, &mut Address { seed: 3, path: "weight".to_owned() }.generator())
    }

    #[test]
    fn values_have_the_shape_of_their_distribution() {
        const COUNT: usize = 200_000;
        let share = |values: &[f32], limit: f32| {
            values.iter().filter(|value| **value < limit).count() as f64 / values.len() as f64
        };
        let uniform = values(Spread::Uniform { min: -2.0, max: 4.0 }, COUNT);
        assert!(uniform.iter().all(|value| (-2.0..=4.0).contains(value)));
        let normal = values(Spread::Normal { mean: 1.0, std: 3.0 }, COUNT);
        // 0.005 is four and a half standard errors of a share of one half.
        for (values, limit, expected) in [
            (&uniform, -0.5, 0.25),
            (&uniform, 1.0, 0.5),
            (&normal, 1.0, 0.5),
            (&normal, -2.0, 0.158_655),
            (&normal, 7.0, 0.977_250),
        ] {
            let found = share(values, limit);
            assert!((found - expected).abs() < 0.005, "{found} of the values are below {limit}, not {expected}");
        }
    }

    #[test]
    fn spreads_are_those_of_burns_formulas() {
        let fans = Some([12, 6]);
        let half_of = |initializer: Initializer| Spread::of(&initializer, fans);
        let uniform = |max: f64| Some(Spread::Uniform { min: -max, max });
        let kaiming = Initializer::KaimingUniform { gain: 2.0, fan_out_only: false };
        assert_eq!(half_of(kaiming.clone()), uniform(3.0_f64.sqrt() * (2.0 / 12.0_f64.sqrt())));
        assert_eq!(Spread::of(&kaiming, None), None);
        let outwards = Initializer::KaimingNormal { gain: 1.0, fan_out_only: true };
        assert_eq!(half_of(outwards), Some(Spread::Normal { mean: 0.0, std: 1.0 / 6.0_f64.sqrt() }));
        let xavier = Initializer::XavierNormal { gain: 1.0 };
        assert_eq!(half_of(xavier), Some(Spread::Normal { mean: 0.0, std: (2.0 / 18.0_f64).sqrt() }));
        assert_eq!(half_of(Initializer::Zeros), None);
    }

    #[test]
    fn values_never_change() {
        // Trainings are repeated years later. Computed apart from this code, by Python's hashlib and statistics and ChaCha8 by hand.
        let uniform = values(Spread::Uniform { min: 0.0, max: 1.0 }, 4);
        assert_eq!(uniform, [0.995_492_94, 0.572_369_8, 0.426_498_77, 0.067_253_575]);
        let normal = values(Spread::Normal { mean: 0.0, std: 1.0 }, 4);
        for (found, expected) in normal.into_iter().zip([2.611_518_6, 0.182_410_78, -0.185_295_12, -1.496_562_5_f32]) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} instead of {expected}");
        }
    }
}
