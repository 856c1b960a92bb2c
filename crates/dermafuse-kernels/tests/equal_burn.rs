//! Each operation equals Burn's own in value and gradient, over shapes, strides, odd sizes and layouts: in `f32`, for which
//! the CPU backend has kernels, and in `f64`, where it takes the defaults that every other backend has.

use burn::tensor::module::{batch_norm_train, conv2d as burn_conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Distribution, Tensor, activation};
use dermafuse_kernels::{
    Activation, AdamStep, ValueFlow, Windows, adam_step, affine_activation, batch_norm_activation, column_after_column,
    conv2d, conv2d_activation, layer_norm, linear, position_attention, sum_activation, toward, window_attention,
};
use proptest::prelude::*;

/// Values in a layout that is not the usual one: a turned view, and a part of a larger tensor.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    arrangement: Arrangement,
    dtype: DType,
}

#[derive(Clone, Copy, Debug)]
enum Arrangement {
    Contiguous,
    Turned,
    Part,
}

const PLAIN: Numbers = Numbers { arrangement: Arrangement::Contiguous, dtype: DType::F32 };

fn random(shape: [usize; 4], numbers: Numbers, device: &Device) -> Tensor<4> {
    let [batch, channels, height, width] = shape;
    let draw = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 2.0), (device, numbers.dtype));
    match numbers.arrangement {
        Arrangement::Contiguous => draw(shape),
        Arrangement::Turned => draw([batch, height, width, channels]).permute([0, 3, 1, 2]),
        Arrangement::Part => draw([batch, channels + 1, height + 2, width]).narrow(1, 1, channels).narrow(2, 1, height),
    }
}

/// Largest difference, relative to the largest expected value.
fn assert_near<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_near_at(largest(&expected), what, found, expected, tolerance);
}

/// Largest magnitude, at least 1.
fn largest<const D: usize>(x: &Tensor<D>) -> f64 {
    x.to_data().iter::<f64>().fold(1.0, |largest, value| largest.max(value.abs()))
}

/// Largest difference, relative to `scale`.
fn assert_near_at<const D: usize>(scale: f64, what: &str, found: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "shape of {what}");
    let found: Vec<f64> = found.into_data().iter::<f64>().collect();
    let expected: Vec<f64> = expected.into_data().iter::<f64>().collect();
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = (found - expected).abs() / scale;
        assert!(difference <= tolerance, "{what}[{index}]: {found} instead of {expected}");
    }
}

/// Differences relative to the magnitude of what each value is a sum of, and to its own: that is what rounding is relative to, while
/// the value may be next to nothing where its terms cancel.
fn assert_near_for_terms<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>, terms: Tensor<D>) {
    const TOLERANCE: f64 = 2e-6;
    assert_eq!((found.dims(), terms.dims()), (expected.dims(), expected.dims()), "shape of {what}");
    let [found, expected, terms] = [found, expected, terms].map(|x| x.into_data().iter::<f64>().collect::<Vec<_>>());
    for (index, ((found, expected), terms)) in found.iter().zip(&expected).zip(&terms).enumerate() {
        let allowed = TOLERANCE * (terms + expected.abs());
        let difference = (found - expected).abs();
        assert!(difference <= allowed, "{what}[{index}]: {found} instead of {expected}, of terms of {terms} in all");
    }
}

/// At most how much the slope of an activation changes from one input to the next: what an input's rounding does to it.
fn curvature(kind: Activation) -> f64 {
    match kind {
        Activation::Identity | Activation::Relu | Activation::Relu6 | Activation::HardSigmoid => 0.0,
        Activation::HardSwish => 1.0 / 3.0,
        Activation::Silu => 0.5,
        Activation::Gelu => 0.8,
        Activation::Sigmoid => 0.1,
    }
}

/// A loss that weighs every output differently.
fn weighed<const D: usize>(output: Tensor<D>, weights: &Tensor<D>) -> Tensor<1> {
    (output * weights.clone()).sum()
}

/// The weights, but none for outputs whose activation is at a kink, but for rounding: the derivative jumps there, so which side's
/// it is says nothing of a kernel.
fn away_from_kinks(weights: &Tensor<4>, before: Tensor<4>, kind: Activation) -> Tensor<4> {
    let kinks: &[f64] = match kind {
        Activation::Relu => &[0.0],
        Activation::Relu6 => &[0.0, 6.0],
        Activation::HardSwish | Activation::HardSigmoid => &[-3.0, 3.0],
        Activation::Identity | Activation::Silu | Activation::Gelu | Activation::Sigmoid => &[],
    };
    let margin = 1e-5 * largest(&before);
    let before = before.detach();
    kinks.iter().fold(weights.clone(), |weights, &kink| {
        let near = (before.clone() - kink).abs().lower_elem(margin);
        weights.mask_fill(near, 0.0)
    })
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let arrangement = prop_oneof![Just(Arrangement::Contiguous), Just(Arrangement::Turned), Just(Arrangement::Part)];
    let dtype = prop_oneof![3 => Just(DType::F32), 1 => Just(DType::F64)];
    (arrangement, dtype).prop_map(|(arrangement, dtype)| Numbers { arrangement, dtype })
}

#[derive(Clone, Debug)]
struct Convolution {
    batch: usize,
    channels: [usize; 2],
    groups: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    /// At the beginning and at the end of both axes.
    padding: [(usize, usize); 2],
    dilation: usize,
    size: [usize; 2],
    bias: bool,
    numbers: Numbers,
}

fn convolution() -> impl Strategy<Value = Convolution> {
    let kind = prop_oneof![Just("depthwise"), Just("pointwise"), Just("dense"), Just("grouped")];
    let kernel = prop_oneof![Just([3, 3]), Just([5, 5]), Just([7, 7]), Just([1, 7]), Just([3, 1]), Just([2, 2])];
    let sizes = (1_usize..4, 1_usize..25, 1_usize..25, 4_usize..20, 4_usize..20);
    let steps = (1_usize..4, 1_usize..3, 0_usize..4, 0_usize..4, prop_oneof![4 => Just(1_usize), 1 => Just(2)]);
    // A pixel more below or to the right, as where a padding of one side's length is divided.
    let ends = (0_usize..2, 0_usize..2);
    (kind, kernel, sizes, (steps, ends), any::<bool>(), numbers()).prop_map(
        |(kind, kernel, (batch, c, d, height, width), (steps, ends), bias, numbers)| {
            let (down, across, top, left, dilation) = steps;
            let (channels, groups, kernel, dilation) = match kind {
                "depthwise" => ([c + 1, c + 1], c + 1, kernel, dilation),
                "pointwise" => ([c, d], 1, [1, 1], 1),
                "dense" => ([c, d], 1, kernel, dilation),
                _ => ([2 * c, 2 * d], 2, kernel, 1),
            };
            let dilation = if kernel[0].max(kernel[1]) > 3 { 1 } else { dilation };
            let (top, left) = (top.min(kernel[0] / 2), left.min(kernel[1] / 2));
            let padding = [(top, top + ends.0), (left, left + ends.1)];
            // The kernel must fit into the padded image.
            let size = [height.max(dilation * kernel[0]), width.max(dilation * kernel[1])];
            let stride = [down, across];
            Convolution { batch, channels, groups, kernel, stride, padding, dilation, size, bias, numbers }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions(case in convolution()) {
        let device = Device::flex().autodiff();
        let Convolution { batch, channels, groups, kernel, size, .. } = case;
        let x = random([batch, channels[0], size[0], size[1]], case.numbers, &device).detach();
        let weight = random([channels[1], channels[0] / groups, kernel[0], kernel[1]], case.numbers, &device);
        let bias = case.bias.then(|| Tensor::<1>::random([channels[1]], Distribution::Default, (&device, case.numbers.dtype)));
        let options = || ConvOptions::new_with_padding(case.stride, case.padding, [case.dilation; 2], groups);

        let mut results = vec![];
        let mut weights = None;
        for ours in [true, false] {
            let (x, weight) = (x.clone().require_grad(), weight.clone().detach().require_grad());
            let bias = bias.clone().map(|bias| bias.detach().require_grad());
            let output = match ours {
                true => conv2d(x.clone(), weight.clone(), bias.clone(), options()),
                false => burn_conv2d(x.clone(), weight.clone(), bias.clone(), options()),
            };
            let weights = weights.get_or_insert_with(|| random(output.dims(), case.numbers, &device)).clone();
            let gradients = weighed(output.clone(), &weights).backward();
            let bias = bias.map(|bias| bias.grad(&gradients).unwrap());
            results.push((output.inner(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap(), bias));
        }
        let expected = results.pop().unwrap();
        let found = results.pop().unwrap();
        assert_near("output", found.0, expected.0, 1e-5);
        assert_near("input gradient", found.1, expected.1, 1e-5);
        assert_near("weight gradient", found.2, expected.2, 1e-5);
        if let (Some(found), Some(expected)) = (found.3, expected.3) {
            assert_near("bias gradient", found, expected, 1e-5);
        }
    }

    /// Where no gradient is wanted, the activation is part of the convolution.
    #[test]
    fn activated_convolutions(case in convolution(), index in 0..Activation::ALL.len()) {
        let device = Device::flex();
        let Convolution { batch, channels, groups, kernel, size, .. } = case;
        let kind = Activation::ALL[index];
        let x = random([batch, channels[0], size[0], size[1]], case.numbers, &device);
        let weight = random([channels[1], channels[0] / groups, kernel[0], kernel[1]], case.numbers, &device);
        let bias = Tensor::<1>::random([channels[1]], Distribution::Default, (&device, case.numbers.dtype));
        let options = || ConvOptions::new_with_padding(case.stride, case.padding, [case.dilation; 2], groups);
        let plain = burn_conv2d(x.clone(), weight.clone(), Some(bias.clone()), options());
        // The sums are rounded before a bounded activation makes them small.
        let scale = largest(&plain);
        let found = conv2d_activation(x, weight, bias, options(), kind);
        assert_near_at(scale, "output", found, burn_activation(plain, kind), 1e-5);
    }

    #[test]
    fn linear_layers(
        (batch, rows, columns, channels, channels_out) in (1_usize..3, 1_usize..30, 1_usize..30, 1_usize..40, 1_usize..150),
        index in 0..Activation::ALL.len(),
        numbers in numbers(),
        turned in any::<bool>(),
    ) {
        let device = Device::flex().autodiff();
        let kind = Activation::ALL[index];
        let x = random([batch, rows, columns, channels], numbers, &device).detach();
        let weight = match turned {
            true => random([1, 1, channels_out, channels], numbers, &device).swap_dims(2, 3),
            false => random([1, 1, channels, channels_out], numbers, &device),
        };
        let weight = weight.squeeze_dims::<2>(&[0, 1]).detach();
        let bias = Tensor::<1>::random([channels_out], Distribution::Default, (&device, numbers.dtype)).detach();
        let weights = random([batch, rows, columns, channels_out], numbers, &device);

        let product = x.clone().matmul(weight.clone().unsqueeze());
        let weights = away_from_kinks(&weights, product + bias.clone().unsqueeze(), kind);
        // What is added up, without the signs that let it cancel.
        let (x_size, weight_size) = (x.clone().abs().inner(), weight.clone().abs().inner().unsqueeze::<4>());
        let output_terms = x_size.clone().matmul(weight_size.clone()) + bias.clone().abs().inner().unsqueeze();
        let gradient_terms = weights.clone().abs().inner() * (output_terms.clone() * curvature(kind) + 1.0);
        let count = batch * rows * columns;
        let [x_rows, gradient_rows] = [(x_size, channels), (gradient_terms.clone(), channels_out)]
            .map(|(terms, width)| terms.reshape([count, width]));
        let mut results = vec![];
        for ours in [true, false] {
            let leaves = (x.clone().require_grad(), weight.clone().require_grad(), bias.clone().require_grad());
            let (x, weight, bias) = leaves.clone();
            let output = match ours {
                true => linear(x, weight, bias, kind),
                false => burn_activation(x.matmul(weight.unsqueeze()) + bias.unsqueeze(), kind),
            };
            let gradients = weighed(output.clone(), &weights).backward();
            let (x, weight, bias) = leaves;
            results.push((output.inner(), x.grad(&gradients), weight.grad(&gradients), bias.grad(&gradients)));
        }
        let expected = results.pop().unwrap();
        let found = results.pop().unwrap();
        assert_near_for_terms("output", found.0.clone(), expected.0, output_terms.clone());
        let terms = gradient_terms.matmul(weight_size.swap_dims(2, 3));
        assert_near_for_terms("input gradient", found.1.unwrap(), expected.1.unwrap(), terms);
        let terms = x_rows.swap_dims(0, 1).matmul(gradient_rows.clone());
        assert_near_for_terms("weight gradient", found.2.unwrap(), expected.2.unwrap(), terms);
        let terms = gradient_rows.sum_dim(0).squeeze_dim(0);
        assert_near_for_terms("bias gradient", found.3.unwrap(), expected.3.unwrap(), terms);
        // Where no gradient is wanted, the activation is part of the product.
        let untracked = linear(x.inner(), weight.inner(), bias.inner(), kind);
        assert_near_for_terms("untracked output", untracked, found.0, output_terms);
    }

    #[test]
    fn layer_normalization(
        (batch, channels, height, width) in (1_usize..4, 2_usize..40, 1_usize..20, 2_usize..40),
        axis in 0_usize..4,
        numbers in numbers(),
    ) {
        let device = Device::flex().autodiff();
        let shape = [batch + 1, channels, height + 1, width];
        let x = random(shape, numbers, &device).detach();
        let weights = random(shape, numbers, &device);
        let vector = || Tensor::<1>::random([shape[axis]], Distribution::Uniform(0.5, 2.0), (&device, numbers.dtype)).detach();
        let (gamma, beta) = (vector(), vector());

        let mut results = vec![];
        for ours in [true, false] {
            let leaves = (x.clone().require_grad(), gamma.clone().require_grad(), beta.clone().require_grad());
            let (x, gamma, beta) = leaves.clone();
            let output = match ours {
                true => layer_norm(x, gamma, beta, 1e-2, axis),
                false => {
                    let mut wide = [1; 4];
                    wide[axis] = shape[axis];
                    let centered = x.clone() - x.mean_dim(axis);
                    let deviation = (centered.clone().square().mean_dim(axis) + 1e-2).sqrt();
                    centered / deviation * gamma.reshape(wide) + beta.reshape(wide)
                }
            };
            let gradients = weighed(output.clone(), &weights).backward();
            let (x, gamma, beta) = leaves;
            results.push((output.inner(), x.grad(&gradients), gamma.grad(&gradients), beta.grad(&gradients)));
        }
        let expected = results.pop().unwrap();
        let found = results.pop().unwrap();
        assert_near("output", found.0, expected.0, 1e-5);
        assert_near("input gradient", found.1.unwrap(), expected.1.unwrap(), 3e-5);
        assert_near("gamma gradient", found.2.unwrap(), expected.2.unwrap(), 3e-5);
        assert_near("beta gradient", found.3.unwrap(), expected.3.unwrap(), 3e-5);
    }

    #[test]
    fn attention_inside_windows(
        (batch, rows, columns, side) in (1_usize..3, 1_usize..4, 1_usize..4, 2_usize..5),
        (heads, length, down, right) in (1_usize..4, 3_usize..20, 0_usize..4, 0_usize..4),
        cosine in any::<bool>(),
        numbers in numbers(),
    ) {
        let device = Device::flex().autodiff();
        let windows = Windows { side, shift: [down % side, right % side], heads, cosine };
        let (pixels, channels) = (side * side, heads * length);
        let [height, width] = [rows * side, columns * side];
        // Small, so that the softmax is smooth: its gradient is a difference.
        let qkv = random([batch, height, width, 3 * channels], numbers, &device).div_scalar(4.0).detach();
        let scale = Tensor::<1>::random([heads], Distribution::Uniform(0.1, 2.0), (&device, numbers.dtype)).detach();
        let bias = random([1, heads, pixels, pixels], numbers, &device).squeeze_dim::<3>(0).detach();
        let weights = random([batch, height, width, channels], numbers, &device);

        let mut results = vec![];
        for ours in [true, false] {
            let leaves = (qkv.clone().require_grad(), scale.clone().require_grad(), bias.clone().require_grad());
            let (qkv, scale, bias) = leaves.clone();
            let output = match ours {
                true => window_attention(qkv, scale, bias, windows),
                false => {
                    let [qkv, bias] = [qkv, bias.unsqueeze()].map(|x| x.cast(DType::F64));
                    burn_window_attention(qkv, scale.cast(DType::F64), bias.squeeze_dim(0), windows).cast(numbers.dtype)
                }
            };
            let gradients = weighed(output.clone(), &weights).backward();
            let (qkv, scale, bias) = leaves;
            results.push((output.inner(), qkv.grad(&gradients), scale.grad(&gradients), bias.grad(&gradients)));
        }
        let expected = results.pop().unwrap();
        let found = results.pop().unwrap();
        assert_near("output", found.0, expected.0, 1e-5);
        assert_near("map's gradient", found.1.unwrap(), expected.1.unwrap(), 3e-5);
        assert_near("scale gradient", found.2.unwrap(), expected.2.unwrap(), 3e-5);
        assert_near("bias gradient", found.3.unwrap(), expected.3.unwrap(), 3e-5);
    }

    #[test]
    fn attention_between_all_positions(
        (batch, depth, channels) in (1_usize..4, 1_usize..6, 1_usize..20),
        // Fewer and more rows than are computed together, and than a piece has.
        (rows, columns) in (1_usize..200, 1_usize..90),
        scatters in any::<bool>(),
        numbers in numbers(),
    ) {
        let flow = if scatters { ValueFlow::Scatter } else { ValueFlow::Gather };
        let [positions, results] = if scatters { [rows, columns] } else { [columns, rows] };
        equal_naive_attention([batch, depth, channels], [rows, columns, positions, results], flow, numbers);
    }

    #[test]
    fn affine_maps_and_normalization(
        (batch, channels, height, width) in (1_usize..4, 1_usize..6, 1_usize..20, 2_usize..20),
        index in 0..Activation::ALL.len(),
        numbers in numbers(),
    ) {
        let device = Device::flex().autodiff();
        let kind = Activation::ALL[index];
        let x = random([batch, channels, height, width], numbers, &device).detach();
        let weights = random([batch, channels, height, width], numbers, &device);
        let vector = || Tensor::<1>::random([channels], Distribution::Uniform(0.5, 2.0), (&device, numbers.dtype)).detach();
        let (first, second) = (vector(), vector());
        let wide = |vector: &Tensor<1>| vector.clone().reshape([1, channels, 1, 1]);

        for normalized in [true, false] {
            let before = match normalized {
                true => batch_norm_train(x.clone(), first.clone(), second.clone(), 1e-3).output,
                false => x.clone() * wide(&first) + wide(&second),
            };
            let weights = away_from_kinks(&weights, before, kind);
            let mut results = vec![];
            for ours in [true, false] {
                let leaves = (x.clone().require_grad(), first.clone().require_grad(), second.clone().require_grad());
                let (x, first, second) = leaves.clone();
                let output = match (normalized, ours) {
                    (true, true) => batch_norm_activation(x, first, second, 1e-3, kind).output,
                    (true, false) => burn_activation(batch_norm_train(x, first, second, 1e-3).output, kind),
                    (false, true) => affine_activation(x, first, second, kind),
                    (false, false) => burn_activation(x * wide(&first) + wide(&second), kind),
                };
                let gradients = weighed(output.clone(), &weights).backward();
                let (x, first, second) = leaves;
                results.push((output.inner(), x.grad(&gradients), first.grad(&gradients), second.grad(&gradients)));
            }
            let expected = results.pop().unwrap();
            let found = results.pop().unwrap();
            let [x, weights] = [&x, &weights].map(|x| x.clone().inner());
            let [first, second] = [&first, &second].map(|vector| wide(vector).inner());
            let terms = match normalized {
                true => AffineTerms::of_normalization(x, first, second, weights, curvature(kind)),
                false => AffineTerms::of_map(x, first, second, weights, curvature(kind)),
            };
            assert_near_for_terms("output", found.0, expected.0, terms.output);
            assert_near_for_terms("input gradient", found.1.unwrap(), expected.1.unwrap(), terms.input);
            assert_near_for_terms("scale gradient", found.2.unwrap(), expected.2.unwrap(), terms.scale);
            assert_near_for_terms("shift gradient", found.3.unwrap(), expected.3.unwrap(), terms.shift);
        }
    }

    #[test]
    fn sums_and_what_is_done_to_them(
        shape in (1_usize..4, 1_usize..5, 1_usize..140, 1_usize..40),
        (of_itself, first_is_held) in any::<(bool, bool)>(),
        numbers in numbers(),
    ) {
        let device = Device::flex().autodiff();
        let shape = [shape.0, shape.1, shape.2, shape.3];
        let (x, y) = (random(shape, numbers, &device).detach(), random(shape, numbers, &device).detach());
        for kind in Activation::ALL {
            let other = if of_itself { &x } else { &y };
            let weights = away_from_kinks(&random(shape, numbers, &device), x.clone() + other.clone(), kind);
            let mut results = vec![];
            for ours in [true, false] {
                let (x, y) = (x.clone().require_grad(), y.clone().require_grad());
                // Results of operations, which may be changed in place.
                let first = x.clone() * 1.0;
                let second = if of_itself { first.clone() } else { y.clone() * 1.0 };
                let held = first_is_held.then(|| first.clone());
                let output = match ours {
                    true => sum_activation(first, second, kind),
                    false => burn_activation(first + second, kind),
                };
                let mut total = weighed(output.clone(), &weights);
                if let Some(held) = held {
                    total = total + held.sum();
                }
                let gradients = total.backward();
                results.push((output.inner(), x.grad(&gradients).unwrap(), y.grad(&gradients)));
            }
            let expected = results.pop().unwrap();
            let found = results.pop().unwrap();
            assert_near("output", found.0, expected.0, 1e-5);
            assert_near("gradient of the first", found.1, expected.1, 1e-5);
            match (found.2, expected.2) {
                (Some(found), Some(expected)) => assert_near("gradient of the second", found, expected, 1e-5),
                (found, expected) => assert!(found.is_none() && expected.is_none()),
            }
        }
    }

    #[test]
    fn steps_of_adam_and_of_an_average(
        shape in (1_usize..4, 1_usize..5, 1_usize..140, 1_usize..40),
        (penalty, decay) in (0.0_f32..0.1, 0.0_f32..0.1),
        shared in any::<bool>(),
        numbers in numbers(),
    ) {
        let device = Device::flex();
        let drawn = || random([shape.0, shape.1, shape.2, shape.3], numbers, &device);
        let values = |x: &Tensor<4>| x.to_data().iter::<f64>().collect::<Vec<_>>();
        let mut parameter = drawn();
        let mut moments = [parameter.zeros_like(), parameter.zeros_like()];
        let mut average = drawn();
        let mut expected: Vec<[f64; 4]> =
            values(&parameter).iter().zip(values(&average)).map(|(number, average)| [*number, 0.0, 0.0, average]).collect();
        let mut held = Vec::new();
        for time in 1..5 {
            let gradient = drawn();
            let step = AdamStep { rate: 0.01, betas: [0.9, 0.999], epsilon: 1e-8, time, penalty, decay };
            if shared {
                // Who holds a tensor keeps what is in it.
                let all = [&parameter, &moments[0], &moments[1], &average];
                held.extend(all.map(|tensor| (tensor.clone(), values(tensor))));
            }
            for (all, gradient) in expected.iter_mut().zip(values(&gradient)) {
                let [number, first, second, average] = all;
                let gradient = gradient + f64::from(penalty) * *number;
                *first = 0.9 * *first + 0.1 * gradient;
                *second = 0.999 * *second + 0.001 * gradient * gradient;
                let [first, second] = [*first / (1.0 - 0.9_f64.powi(time as i32)), *second / (1.0 - 0.999_f64.powi(time as i32))];
                *number = *number * (1.0 - 0.01 * f64::from(decay)) - 0.01 * first / (second.sqrt() + 1e-8);
                *average += (*number - *average) * 0.3;
            }
            (parameter, moments) = adam_step(parameter, gradient, moments, step);
            average = toward(average, parameter.clone(), 0.3);
        }
        for (what, found) in [parameter, moments[0].clone(), moments[1].clone(), average].iter().enumerate() {
            for (found, expected) in values(found).iter().zip(&expected) {
                // 0.9 and 0.999 are not exact in f32.
                let difference = (found - expected[what]).abs();
                prop_assert!(difference <= 1e-5 * expected[what].abs().max(1.0), "{found} instead of {}", expected[what]);
            }
        }
        for (tensor, before) in held {
            prop_assert_eq!(values(&tensor), before);
        }
    }

    #[test]
    fn activations(shape in (1_usize..4, 1_usize..5, 1_usize..40, 1_usize..40), numbers in numbers()) {
        let device = Device::flex().autodiff();
        let shape = [shape.0, shape.1, shape.2, shape.3];
        let x = random(shape, numbers, &device);
        // Where x + 3 rounds to 0 or 6, either side's slope is right.
        let at_kink = x.clone().abs().sub_scalar(3.0).abs().lower_elem(1e-5);
        let x = x.mask_fill(at_kink, 1.0).detach();
        let weights = random(shape, numbers, &device);
        for kind in Activation::ALL {
            let mut results = vec![];
            for ours in [true, false] {
                let x = x.clone().require_grad();
                let output = if ours { kind.forward(x.clone()) } else { burn_activation(x.clone(), kind) };
                let gradients = weighed(output.clone(), &weights).backward();
                results.push((output.inner(), x.grad(&gradients).unwrap()));
            }
            let expected = results.pop().unwrap();
            let found = results.pop().unwrap();
            assert_near("output", found.0, expected.0, 1e-5);
            assert_near("gradient", found.1, expected.1, 1e-5);
        }
    }
}

/// What the results of an affine map or of a normalization are sums of, without signs.
struct AffineTerms {
    output: Tensor<4>,
    input: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
}

impl AffineTerms {
    /// Of `x · scale + shift`; the vectors are `[1, C, 1, 1]`.
    fn of_map(x: Tensor<4>, scale: Tensor<4>, shift: Tensor<4>, weights: Tensor<4>, curvature: f64) -> Self {
        let output = x.clone().abs() * scale.clone() + shift;
        let gradient = weights.abs() * (output.clone() * curvature + 1.0);
        let (weighted, sum) = (channel_sum(gradient.clone() * x.abs()), channel_sum(gradient.clone()));
        Self { output, input: gradient * scale, scale: flat(weighted), shift: flat(sum) }
    }

    /// With mean μ, deviation σ and x̂ = (x − μ) / σ, where μ and each x are rounded: by so much more than x̂ as |x| is larger than σ.
    fn of_normalization(x: Tensor<4>, gamma: Tensor<4>, beta: Tensor<4>, weights: Tensor<4>, curvature: f64) -> Self {
        let count = (x.dims().iter().product::<usize>() / x.dims()[1]) as f64;
        let centered = x.clone() - channel_sum(x.clone()) / count;
        let deviation = (channel_sum(centered.clone().square()) / count + 1e-3).sqrt();
        let largest = |x: Tensor<4>| x.abs().max_dim(0).max_dim(2).max_dim(3); // [1, C, 1, 1]
        let condition = largest(x.clone()) / deviation.clone() + 1.0;
        let spread = largest(centered) / deviation.clone();
        let standardized = spread.clone() + condition.clone();
        let output = (gamma.clone() * standardized.clone() + beta) * x.ones_like();
        let gradient = weights.abs() * (output.clone() * curvature + 1.0);
        let sum = channel_sum(gradient.clone());
        let through_moments = sum.clone() / count * (spread.clone() * standardized.clone() + 1.0);
        let input = (gradient * condition + through_moments * standardized.clone()) * gamma / deviation;
        Self { output, input, scale: flat(sum.clone() * standardized), shift: flat(sum) }
    }
}

/// Sums of the channels, `[1, C, 1, 1]`.
fn channel_sum(x: Tensor<4>) -> Tensor<4> {
    x.sum_dim(0).sum_dim(2).sum_dim(3)
}

fn flat(x: Tensor<4>) -> Tensor<1> {
    x.reshape([-1])
}

fn burn_activation(x: Tensor<4>, kind: Activation) -> Tensor<4> {
    match kind {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => activation::silu(x),
        Activation::HardSwish => activation::hard_swish(x),
        Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Gelu => activation::gelu(x),
        Activation::Sigmoid => activation::sigmoid(x),
    }
}

/// Every image of the batch, all its weights at once, in `f64`.
fn equal_naive_attention(
    [batch, depth, channels]: [usize; 3],
    [rows, columns, positions, results]: [usize; 4],
    flow: ValueFlow,
    numbers: Numbers,
) {
    let device = Device::flex().autodiff();
    let draw =
        |channels, positions| random([1, batch, channels, positions], numbers, &device).squeeze_dim::<3>(0).detach();
    // Small, so that the softmax is smooth: its gradient is a difference.
    let (query, key, value) = (draw(depth, rows) / 4.0, draw(depth, columns) / 4.0, draw(channels, positions));
    let leaves = [query, key, value].map(|x| x.detach());
    let weights = draw(channels, results);

    let [found, expected] = [true, false].map(|ours| {
        let leaves = leaves.clone().map(|x| x.require_grad());
        let output = match ours {
            true => {
                let [query, key, value] = leaves.clone();
                position_attention(query, key, value, flow)
            }
            false => {
                let [query, key, value] = leaves.clone().map(|x| x.cast(DType::F64));
                naive_attention(query, key, value, flow).cast(numbers.dtype)
            }
        };
        let gradients = weighed(output.clone(), &weights).backward();
        (output.inner(), leaves.map(|x| x.grad(&gradients).unwrap()))
    });
    assert_near("output", found.0, expected.0, 1e-5);
    for (what, (found, expected)) in ["query", "key", "value"].into_iter().zip(found.1.into_iter().zip(expected.1)) {
        assert_near(&format!("gradient of the {what}"), found, expected, 3e-5);
    }
}

fn naive_attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, flow: ValueFlow) -> Tensor<3> {
    let weights = activation::softmax(query.swap_dims(1, 2).matmul(key), 2); // [B, N, M]
    match flow {
        ValueFlow::Gather => value.matmul(weights.swap_dims(1, 2)),
        ValueFlow::Scatter => value.matmul(weights),
    }
}

/// The default of other backends cuts a batch of this many positions in two.
#[test]
fn attention_over_many_positions_is_cut_without_a_seam() {
    for (flow, dtype) in
        [(ValueFlow::Gather, DType::F32), (ValueFlow::Gather, DType::F64), (ValueFlow::Scatter, DType::F64)]
    {
        equal_naive_attention([2, 2, 3], [2951, 2951, 2951, 2951], flow, Numbers { dtype, ..PLAIN });
    }
}

/// Of single windows and heads, one after the other; pixels are masked if windows that are not moved would part them.
fn burn_window_attention(qkv: Tensor<4>, scale: Tensor<1>, bias: Tensor<3>, windows: Windows) -> Tensor<4> {
    let Windows { side, shift, heads, cosine } = windows;
    let (device, dtype, pixels) = (qkv.device(), qkv.dtype(), side * side);
    let [batch, height, width, channels] = qkv.dims();
    let length = channels / (3 * heads);
    let unit = |x: Tensor<2>| match cosine {
        true => x.clone() / x.square().sum_dim(1).sqrt(),
        false => x,
    };
    let moved = |map: Tensor<4>, sign: i64| map.roll(&shift.map(|shift| sign * shift as i64), &[1_i64, 2]);
    let map = moved(qkv, -1);
    // Whether a row or column of the moved map has come around from the opposite side.
    let around = |place: usize, side: usize, shift: usize| place + shift >= side;

    let window = |image: usize, top: usize, left: usize| {
        let places: Vec<[bool; 2]> = (0..pixels)
            .map(|at| [around(top + at / side, height, shift[0]), around(left + at % side, width, shift[1])])
            .collect();
        let mask: Vec<f32> =
            places.iter().flat_map(|from| places.iter().map(move |to| if from == to { 0.0 } else { -100.0 })).collect();
        let mask = Tensor::<1>::from_data(mask.as_slice(), &device).cast(dtype).reshape([pixels, pixels]);
        let window = map.clone().slice([image..image + 1, top..top + side, left..left + side]);
        let window = window.reshape([pixels, channels]); // [N, 3*C]
        let of_heads = (0..heads).map(|head| {
            let part = |part: usize| window.clone().narrow(1, (part * heads + head) * length, length); // [N, C/heads]
            let similarity =
                unit(part(0)).matmul(unit(part(1)).transpose()) * scale.clone().narrow(0, head, 1).unsqueeze();
            let similarity = similarity + bias.clone().narrow(0, head, 1).squeeze_dim(0) + mask.clone();
            activation::softmax(similarity, 1).matmul(part(2))
        });
        Tensor::cat(of_heads.collect(), 1).reshape([1, side, side, channels / 3])
    };
    let row = |image, top| Tensor::cat((0..width).step_by(side).map(|left| window(image, top, left)).collect(), 2);
    let image = |image| Tensor::cat((0..height).step_by(side).map(|top| row(image, top)).collect(), 1);
    moved(Tensor::cat((0..batch).map(image).collect(), 0), 1)
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let attend = |side, shift, heads| {
        let windows = Windows { side, shift, heads, cosine: false };
        let (scale, bias) = (Tensor::ones([2], &device), Tensor::zeros([2, 4, 4], &device));
        let qkv = Tensor::zeros([1, 4, 6, 12], &device);
        std::panic::catch_unwind(|| window_attention(qkv, scale, bias, windows)).is_ok()
    };
    assert!(attend(2, [1, 0], 2));
    assert!(!attend(3, [0, 0], 2) && !attend(2, [2, 0], 2) && !attend(2, [0, 0], 3) && !attend(0, [0, 0], 2));
}

#[test]
fn moments_are_those_of_the_batch() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::from_data([[[[1.0, 3.0]]], [[[5.0, 7.0]]]], &device);
    let ones = Tensor::<1>::ones([1], &device);
    let result = batch_norm_activation(x, ones.clone(), ones, 0.0, Activation::Identity);
    assert_eq!(result.mean.into_scalar::<f32>(), 4.0);
    assert_eq!(result.variance.into_scalar::<f32>(), 5.0);
}

/// Large enough for every way of cutting the work: parts of columns, parts of rows, and both.
#[test]
fn large_products_are_cut_without_a_seam() {
    let device = Device::flex();
    for (rows, channels, channels_out) in [(1500, 40, 200), (300, 700, 30), (3, 50, 1000)] {
        let x = random([1, 1, rows, channels], PLAIN, &device);
        let weight = random([1, 1, channels, channels_out], PLAIN, &device);
        let zeros = Tensor::zeros([channels_out], &device);
        let found = linear(x.clone(), weight.clone().squeeze_dims(&[0, 1]), zeros, Activation::Identity);
        assert_near("product", found, x.matmul(weight), 1e-5);
    }
    for (channels, side, stride) in [([3, 40], 75, 2), ([150, 20], 40, 1), ([70, 150], 9, 1)] {
        let x = random([2, channels[0], side, side], PLAIN, &device);
        let weight = random([channels[1], channels[0], 3, 3], PLAIN, &device);
        let options = || ConvOptions::new([stride; 2], [1; 2], [1; 2], 1);
        let expected = burn_conv2d(x.clone(), weight.clone(), None, options());
        assert_near("convolution", conv2d(x, weight, None, options()), expected, 1e-5);
    }
}

/// Output and gradients of a convolution of random numbers, against double precision. Rounding is relative to what is summed.
fn assert_exact(shape: [usize; 4], channels_out: usize, kernel: usize, options: impl Fn() -> ConvOptions<2>) {
    let device = Device::flex();
    let x = random(shape, PLAIN, &device);
    let weight = random([channels_out, shape[1], kernel, kernel], PLAIN, &device);
    let exact = |x: Tensor<4>| x.cast(DType::F64);
    let magnitudes = |x: Tensor<4>| exact(x).abs();
    let what = format!("{channels_out} channels of {shape:?}, {kernel}×{kernel}, {:?}", options());

    let tracked = |x: &Tensor<4>| Tensor::from_inner(x.clone()).require_grad();
    let (tracked_x, tracked_weight) = (tracked(&x), tracked(&weight));
    let output = conv2d(tracked_x.clone(), tracked_weight.clone(), None, options());
    let found = output.clone().inner();
    let expected = burn_conv2d(exact(x.clone()), exact(weight.clone()), None, options());
    let terms = burn_conv2d(magnitudes(x.clone()), magnitudes(weight.clone()), None, options());
    assert_near_for_terms(&what, exact(found), expected, terms);

    // Gradients as they are defined: of `Σ output · factors`, in double precision and of magnitudes.
    let factors = random(output.dims(), PLAIN, &device);
    let found = (output * Tensor::from_inner(factors.clone())).sum().backward();
    let gradients = |of: &dyn Fn(Tensor<4>) -> Tensor<4>| {
        let [x, weight] = [&x, &weight].map(|x| Tensor::from_inner(of(x.clone())).require_grad());
        let output = burn_conv2d(x.clone(), weight.clone(), None, options());
        let gradients = (output * Tensor::from_inner(of(factors.clone()))).sum().backward();
        [x, weight].map(|x| x.grad(&gradients).expect("it has a gradient"))
    };
    let (expected, terms) = (gradients(&exact), gradients(&magnitudes));
    let tracked = [("the input", tracked_x), ("the weight", tracked_weight)];
    for (((name, x), expected), terms) in tracked.into_iter().zip(expected).zip(terms) {
        let found = exact(x.grad(&found).expect("it has a gradient"));
        assert_near_for_terms(&format!("gradient of {name} of {what}"), found, expected, terms);
    }
}

/// Convolutions that are made of tiles of 2 by 2 outputs, on maps that end with half a tile, with every padding, and of more tiles and
/// channels than are worked on at once.
#[test]
fn tiles_fit_every_map() {
    let maps = [([28, 29], 1), ([31, 31], 0), ([28, 33], 2), ([57, 58], 1), ([15, 14], 1), ([16, 21], 0)];
    for (size, padding) in maps {
        let many = if size == [16, 21] { [300, 130] } else { [110, 97] };
        for (batch, channels) in [(1, [32, 33]), (3, many)] {
            let options = || ConvOptions::new([1; 2], [padding; 2], [1; 2], 1);
            assert_exact([batch, channels[0], size[0], size[1]], channels[1], 3, options);
        }
    }
}

/// Convolutions whose gradients are summed in several pieces, of one image each and of several, with either factor turned, and handed back
/// to the pixels of several images at once.
#[test]
fn large_convolutions_are_exact() {
    for (shape, channels_out, kernel, stride) in [
        ([3, 20, 40, 41], 70, 1, 1),
        ([3, 70, 40, 41], 20, 1, 1),
        ([9, 60, 11, 12], 50, 1, 1),
        ([5, 30, 15, 15], 500, 1, 1),
        ([2, 520, 12, 13], 24, 1, 1),
        ([3, 3, 65, 63], 20, 7, 2),
        ([7, 40, 9, 9], 90, 3, 1),
        ([13, 20, 13, 13], 24, 3, 1),
        ([11, 130, 15, 13], 24, 3, 2),
        ([3, 10, 61, 60], 50, 3, 2),
        ([5, 40, 23, 22], 70, 1, 2),
        ([3, 4, 40, 40], 30, 4, 4),
    ] {
        assert_exact(shape, channels_out, kernel, || ConvOptions::new([stride; 2], [(kernel - 1) / 2; 2], [1; 2], 1));
    }
}

/// To the last bit: the layout says where a number lies, and nothing else.
#[test]
fn weights_of_pointwise_convolutions_are_read_in_any_layout() {
    let device = Device::flex();
    for [channels, channels_out] in [[5, 7], [1, 7], [5, 1], [1, 1], [64, 96]] {
        let x = random([2, channels, 6, 5], PLAIN, &device);
        let run = |weight: Tensor<4>| conv2d(x.clone(), weight, None, ConvOptions::new([1; 2], [0; 2], [1; 2], 1));
        // A part of a larger matrix, whose rows are further apart than they are long.
        let larger = random([1, 1, channels + 3, channels_out + 2], PLAIN, &device).squeeze_dims::<2>(&[0, 1]);
        let part = larger.slice([1..channels + 1, 2..channels_out + 2]); // [C, C']
        let whole = Tensor::<2>::from_data(part.clone().into_data(), &device);
        let kernel = |matrix: Tensor<2>| matrix.expand([1, 1, channels, channels_out]).permute([3, 2, 0, 1]);
        let contiguous = Tensor::<4>::from_data(kernel(whole.clone()).into_data(), &device); // [C', C, 1, 1]
        let expected = run(contiguous).into_data();
        let turned = whole.clone().unsqueeze::<4>().permute([3, 2, 0, 1]);
        // Rows of inputs, further apart than they are long.
        let zeros = Tensor::<2>::zeros([channels_out, 3], &device);
        let straight = Tensor::cat(vec![whole.clone().transpose(), zeros], 1).slice([0..channels_out, 0..channels]);
        let layouts = [part.clone(), whole, column_after_column(part), straight.transpose()];
        for weight in layouts.map(kernel).into_iter().chain([turned]) {
            assert_eq!(run(weight).into_data(), expected, "{channels} → {channels_out}");
        }
    }
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::random([1, 2, 5, 5], Distribution::Default, &device);
    let weight = Tensor::<4>::random([2, 1, 3, 3], Distribution::Default, &device).require_grad();
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 2);
    let gradients = conv2d(x.clone(), weight.clone(), None, options).sum().backward();
    assert!(x.grad(&gradients).is_none() && weight.grad(&gradients).is_some());
}

#[test]
fn not_a_number_stays_one() {
    let device = Device::flex();
    for kind in Activation::ALL {
        let output = kind.forward(Tensor::<1>::from_data([f32::NAN], &device));
        assert!(output.into_scalar::<f32>().is_nan(), "{kind:?}");
    }
}
