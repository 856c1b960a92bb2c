//! Each kernel equals Burn's own operations in value and gradient, over shapes, strides, odd sizes and layouts.

use burn::tensor::module::{batch_norm_train, conv2d as burn_conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation};
use dermafuse_kernels::{Activation, affine_activation, batch_norm_activation, conv2d};
use proptest::prelude::*;

/// Values in a layout that is not the usual one: a turned view, and a part of a larger tensor.
#[derive(Clone, Copy, Debug)]
enum Arrangement {
    Contiguous,
    Turned,
    Part,
}

fn random(shape: [usize; 4], arrangement: Arrangement, device: &Device) -> Tensor<4> {
    let [batch, channels, height, width] = shape;
    let draw = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 2.0), device);
    match arrangement {
        Arrangement::Contiguous => draw(shape),
        Arrangement::Turned => draw([batch, height, width, channels]).permute([0, 3, 1, 2]),
        Arrangement::Part => draw([batch, channels + 1, height + 2, width]).narrow(1, 1, channels).narrow(2, 1, height),
    }
}

/// Largest difference, relative to the largest expected value.
fn assert_near<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "shape of {what}");
    let found: Vec<f64> = found.into_data().iter::<f64>().collect();
    let expected: Vec<f64> = expected.into_data().iter::<f64>().collect();
    let scale = expected.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = (found - expected).abs() / scale;
        assert!(difference <= tolerance, "{what}[{index}]: {found} instead of {expected}");
    }
}

/// A loss that weighs every output differently.
fn weighed<const D: usize>(output: Tensor<D>, weights: &Tensor<D>) -> Tensor<1> {
    (output * weights.clone()).sum()
}

fn arrangement() -> impl Strategy<Value = Arrangement> {
    prop_oneof![Just(Arrangement::Contiguous), Just(Arrangement::Turned), Just(Arrangement::Part)]
}

#[derive(Clone, Debug)]
struct Convolution {
    batch: usize,
    channels: [usize; 2],
    groups: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: usize,
    size: [usize; 2],
    bias: bool,
    arrangement: Arrangement,
}

fn convolution() -> impl Strategy<Value = Convolution> {
    let kind = prop_oneof![Just("depthwise"), Just("pointwise"), Just("dense"), Just("grouped")];
    let kernel = prop_oneof![Just([3, 3]), Just([5, 5]), Just([7, 7]), Just([1, 7]), Just([3, 1]), Just([2, 2])];
    // Up to 24 channels: below 16, weight gradients of dense kernels are Burn's own. Down to 4 pixels: with few pixels for
    // its channels, a 1×1 convolution's weight gradient is one product for the whole batch.
    let sizes = (1_usize..4, 1_usize..25, 1_usize..25, 4_usize..20, 4_usize..20);
    let steps = (1_usize..4, 1_usize..3, 0_usize..4, 0_usize..4, prop_oneof![4 => Just(1_usize), 1 => Just(2)]);
    (kind, kernel, sizes, steps, any::<bool>(), arrangement()).prop_map(
        |(kind, kernel, (batch, c, d, height, width), (down, across, top, left, dilation), bias, arrangement)| {
            let (channels, groups, kernel, dilation) = match kind {
                "depthwise" => ([c + 1, c + 1], c + 1, kernel, dilation),
                "pointwise" => ([c, d], 1, [1, 1], 1),
                "dense" => ([c, d], 1, kernel, dilation),
                _ => ([2 * c, 2 * d], 2, kernel, 1),
            };
            let dilation = if kernel[0].max(kernel[1]) > 3 { 1 } else { dilation };
            let padding = [top.min(kernel[0] / 2), left.min(kernel[1] / 2)];
            // The kernel must fit into the padded image.
            let size = [height.max(dilation * kernel[0]), width.max(dilation * kernel[1])];
            let stride = [down, across];
            Convolution { batch, channels, groups, kernel, stride, padding, dilation, size, bias, arrangement }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions(case in convolution()) {
        let device = Device::flex().autodiff();
        let Convolution { batch, channels, groups, kernel, size, .. } = case;
        let x = random([batch, channels[0], size[0], size[1]], case.arrangement, &device).detach();
        let weight = random([channels[1], channels[0] / groups, kernel[0], kernel[1]], case.arrangement, &device);
        let bias = case.bias.then(|| Tensor::<1>::random([channels[1]], Distribution::Default, &device));
        let options = || ConvOptions::new(case.stride, case.padding, [case.dilation; 2], groups);

        let mut results = vec![];
        let mut weights = None;
        for ours in [true, false] {
            let (x, weight) = (x.clone().require_grad(), weight.clone().detach().require_grad());
            let bias = bias.clone().map(|bias| bias.detach().require_grad());
            let output = match ours {
                true => conv2d(x.clone(), weight.clone(), bias.clone(), options()),
                false => burn_conv2d(x.clone(), weight.clone(), bias.clone(), options()),
            };
            let weights = weights.get_or_insert_with(|| random(output.dims(), case.arrangement, &device)).clone();
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

    #[test]
    fn affine_maps_and_normalization(
        (batch, channels, height, width) in (1_usize..4, 1_usize..6, 1_usize..20, 2_usize..20),
        index in 0..Activation::ALL.len(),
        arrangement in arrangement(),
    ) {
        let device = Device::flex().autodiff();
        let kind = Activation::ALL[index];
        let x = random([batch, channels, height, width], arrangement, &device).detach();
        let weights = random([batch, channels, height, width], arrangement, &device);
        let vector = || Tensor::<1>::random([channels], Distribution::Uniform(0.5, 2.0), &device).detach();
        let (first, second) = (vector(), vector());
        let wide = |vector: &Tensor<1>| vector.clone().reshape([1, channels, 1, 1]);

        for normalized in [true, false] {
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
                let [x, first, second] = [
                    leaves.0.grad(&gradients).unwrap().reshape([-1]),
                    leaves.1.grad(&gradients).unwrap(),
                    leaves.2.grad(&gradients).unwrap(),
                ];
                results.push((output.inner(), x, first, second));
            }
            let expected: (_, Tensor<1>, _, _) = results.pop().unwrap();
            let found = results.pop().unwrap();
            assert_near("output", found.0, expected.0, 1e-5);
            assert_near("input gradient", found.1, expected.1, 3e-5);
            assert_near("scale gradient", found.2, expected.2, 3e-5);
            assert_near("shift gradient", found.3, expected.3, 3e-5);
        }
    }

    #[test]
    fn activations(shape in (1_usize..4, 1_usize..5, 1_usize..40, 1_usize..40), arrangement in arrangement()) {
        let device = Device::flex().autodiff();
        let shape = [shape.0, shape.1, shape.2, shape.3];
        let x = random(shape, arrangement, &device).detach();
        let weights = random(shape, arrangement, &device);
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

#[test]
fn moments_are_those_of_the_batch() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::from_data([[[[1.0, 3.0]]], [[[5.0, 7.0]]]], &device);
    let ones = Tensor::<1>::ones([1], &device);
    let result = batch_norm_activation(x, ones.clone(), ones, 0.0, Activation::Identity);
    assert_eq!(result.mean.into_scalar::<f32>(), 4.0);
    assert_eq!(result.variance.into_scalar::<f32>(), 5.0);
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
