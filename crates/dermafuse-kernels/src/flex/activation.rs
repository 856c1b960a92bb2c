//! Activations and their derivatives, element by element.

use burn::backend::flex::FlexTensor;

use super::{TASK, mapped, values, vectorized};
use crate::activation::Activation;

/// A function of one number with its derivative, as a type, so that loops over it are compiled for it alone.
pub(super) trait Function: Copy + Send + Sync {
    /// Whether there is nothing to do.
    const IS_IDENTITY: bool = false;

    fn value(x: f32) -> f32;
    /// Derivative at `x`, the input.
    fn slope(x: f32) -> f32;
}

#[derive(Clone, Copy)]
pub(super) struct Identity;
#[derive(Clone, Copy)]
pub(super) struct Relu;
#[derive(Clone, Copy)]
pub(super) struct Relu6;
#[derive(Clone, Copy)]
pub(super) struct Silu;
#[derive(Clone, Copy)]
pub(super) struct HardSwish;
#[derive(Clone, Copy)]
pub(super) struct HardSigmoid;
#[derive(Clone, Copy)]
pub(super) struct Gelu;
#[derive(Clone, Copy)]
pub(super) struct Sigmoid;

impl Function for Identity {
    const IS_IDENTITY: bool = true;

    #[inline(always)]
    fn value(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn slope(_: f32) -> f32 {
        1.0
    }
}

// Comparisons are written so that not-a-number stays not-a-number.
impl Function for Relu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { x }
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { 1.0 }
    }
}

impl Function for Relu6 {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        let x = if x <= 0.0 { 0.0 } else { x };
        if x >= 6.0 { 6.0 } else { x }
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let low = if x <= 0.0 { 0.0 } else { 1.0 };
        if x >= 6.0 { 0.0 } else { low }
    }
}

impl Function for HardSigmoid {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        Relu6::value(x + 3.0) * (1.0 / 6.0)
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        Relu6::slope(x + 3.0) * (1.0 / 6.0)
    }
}

impl Function for HardSwish {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * HardSigmoid::value(x)
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        HardSigmoid::value(x) + x * HardSigmoid::slope(x)
    }
}

impl Function for Sigmoid {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        1.0 / (1.0 + exp(-x))
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let sigmoid = Self::value(x);
        sigmoid * (1.0 - sigmoid)
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * Sigmoid::value(x)
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let sigmoid = Sigmoid::value(x);
        sigmoid * (1.0 + x * (1.0 - sigmoid))
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * normal_distribution(x)
    }
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        const INVERSE_SQRT_TAU: f32 = 0.398_942_3;
        normal_distribution(x) + x * INVERSE_SQRT_TAU * exp(-0.5 * x * x)
    }
}

/// `eˣ` to two units in the last place: 2ⁿ · e^r with |r| ≤ ln 2 / 2, as Cephes does.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Bounds whose powers are normal numbers; beyond them the result is 0 or infinity to all that follows.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    // Adding 1.5 · 2²³ rounds to the nearest integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4;
    let r = r + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
}

/// Φ(x), to 1.5e-7: Abramowitz and Stegun 7.1.26 for erf(x/√2).
#[inline(always)]
fn normal_distribution(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let p = 1.061_405_4;
    let p = p * t - 1.453_152_1;
    let p = p * t + 1.421_413_8;
    let p = p * t - 0.284_496_72;
    let p = p * t + 0.254_829_6;
    let tail = 0.5 * p * t * exp(-z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// Evaluates an expression with `$F` bound to the activation's [`Function`].
macro_rules! with_function {
    ($activation:expr, $F:ident => $result:expr) => {{
        use $crate::flex::activation as functions;
        match $activation {
            $crate::Activation::Identity => {
                type $F = functions::Identity;
                $result
            }
            $crate::Activation::Relu => {
                type $F = functions::Relu;
                $result
            }
            $crate::Activation::Relu6 => {
                type $F = functions::Relu6;
                $result
            }
            $crate::Activation::Silu => {
                type $F = functions::Silu;
                $result
            }
            $crate::Activation::HardSwish => {
                type $F = functions::HardSwish;
                $result
            }
            $crate::Activation::HardSigmoid => {
                type $F = functions::HardSigmoid;
                $result
            }
            $crate::Activation::Gelu => {
                type $F = functions::Gelu;
                $result
            }
            $crate::Activation::Sigmoid => {
                type $F = functions::Sigmoid;
                $result
            }
        }
    }};
}
pub(super) use with_function;

pub(super) fn forward(x: FlexTensor, activation: Activation) -> FlexTensor {
    with_function!(activation, F => mapped(x, TASK, |_, _, chunk| apply::<F>(chunk)))
}

/// In the memory of whichever nobody else holds.
pub(super) fn of_sum(x: FlexTensor, y: FlexTensor, activation: Activation) -> FlexTensor {
    let (x, y) = if x.is_unique() { (x, y) } else { (y, x) };
    let y = y.to_contiguous();
    let y = values(&y);
    with_function!(activation, F => mapped(x, TASK, |index, first, x| {
        let y = &y[index * TASK + first..][..x.len()];
        vectorized(
            #[inline(always)]
            || {
                for (x, y) in x.iter_mut().zip(y) {
                    *x = F::value(*x + *y);
                }
            },
        );
    }))
}

/// Applies the function to every number.
pub(super) fn apply<F: Function>(values: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for value in values {
                *value = F::value(*value);
            }
        },
    );
}

pub(super) fn gradient(x: FlexTensor, gradient: FlexTensor, activation: Activation) -> FlexTensor {
    let x = x.to_contiguous();
    let x = values(&x);
    with_function!(activation, F => mapped(gradient, TASK, |index, first, gradient| {
        multiply_by_slope::<F>(gradient, &x[index * TASK + first..][..gradient.len()]);
    }))
}

fn multiply_by_slope<F: Function>(gradient: &mut [f32], x: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (gradient, x) in gradient.iter_mut().zip(x) {
                *gradient *= F::slope(*x);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_the_libraries() {
        for step in -8600..8700 {
            let x = step as f32 * 0.01;
            let relative = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(relative < 3e-7, "exp({x}) is off by {relative}");
        }
        assert!(exp(-1000.0) < 1e-37 && exp(1000.0) > 1e38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_is_near_its_table() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.841_344_8), (-1.96, 0.024_997_9), (3.0, 0.998_650_1), (-6.0, 1e-9)] {
            assert!((normal_distribution(x) - expected).abs() < 3e-7, "{x}");
        }
    }
}
