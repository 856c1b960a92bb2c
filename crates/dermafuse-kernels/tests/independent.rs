//! What a case gives is the same to the last bit alone and in every batch, beside any neighbours, with any number of threads.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use dermafuse_kernels::{
    Activation, ValueFlow, Windows, affine_activation, conv2d, conv2d_activation, layer_norm, linear,
    position_attention, window_attention,
};

const BATCHES: [usize; 5] = [2, 3, 8, 16, 17];
const THREADS: [usize; 3] = [1, 2, 5];

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn bits<const D: usize>(x: Tensor<D>) -> Vec<u32> {
    x.into_data().iter::<f32>().map(f32::to_bits).collect()
}

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started").install(work)
}

/// Draws cases of a shape and compares what each gives alone with what it gives in batches: at their beginning and at their
/// end, some of its neighbours not numbers and some huge.
fn assert_independent<const D: usize, const E: usize>(
    what: &str,
    case: [usize; D],
    operation: impl Fn(Tensor<D>) -> Tensor<E> + Sync,
) {
    let cases: Vec<Tensor<D>> = (0..*BATCHES.last().unwrap()).map(|_| random(case)).collect();
    let alone: Vec<Vec<u32>> = cases.iter().map(|case| bits(operation(case.clone()))).collect();
    assert_ne!(alone[0], alone[1], "{what} tells cases apart");
    for threads in THREADS {
        with_threads(threads, || {
            assert_eq!(bits(operation(cases[0].clone())), alone[0], "{what} alone with {threads} threads");
            for batch in BATCHES {
                let together = bits(operation(Tensor::cat(cases[..batch].to_vec(), 0)));
                let each = together.chunks_exact(together.len() / batch);
                for (index, (found, alone)) in each.zip(&alone).enumerate() {
                    assert!(found == alone, "{what}: case {index} of {batch} with {threads} threads");
                }

                let mut hostile = cases[..batch].to_vec();
                hostile[0] = hostile[0].zeros_like() + f32::NAN;
                hostile.iter_mut().skip(1).step_by(2).for_each(|case| *case = case.zeros_like() + 3e38);
                *hostile.last_mut().unwrap() = cases[0].clone();
                let together = bits(operation(Tensor::cat(hostile, 0)));
                let last = &together[together.len() / batch * (batch - 1)..];
                assert!(last == alone[0], "{what}: beside not-a-number in {batch} with {threads} threads");
            }
        });
    }
}

#[test]
fn linear_layers() {
    // Single vectors, a few tokens, as many as windows and maps have; widths of heads and of layers.
    for rows in [1, 2, 7, 8, 49, 196, 600] {
        for (channels, channels_out) in [(1, 3), (13, 5), (96, 300), (1030, 7)] {
            let (weight, bias) = (random([channels, channels_out]), random([channels_out]));
            for activation in [Activation::Identity, Activation::Gelu] {
                assert_independent(&format!("{rows} × {channels} → {channels_out}"), [1, rows, channels], |x| {
                    linear(x, weight.clone(), bias.clone(), activation)
                });
            }
        }
    }
    // A weight that is turned, rows that are no neighbours, and cases that are vectors.
    let (weight, bias) = (random([300, 40]).transpose(), random([300]));
    let layer = |x| linear(x, weight.clone(), bias.clone(), Activation::Relu);
    assert_independent("vectors", [1, 40], layer);
    let layer = |x: Tensor<3>| linear(x.swap_dims(1, 2), weight.clone(), bias.clone(), Activation::Relu);
    assert_independent("few turned rows", [1, 40, 3], layer);
    assert_independent("many turned rows", [1, 40, 50], layer);
}

#[test]
fn convolutions() {
    for (channels, kernel, stride, groups, side) in [
        ([64, 256], 1, 1, 1, 1),
        ([64, 256], 1, 1, 1, 7),
        ([3, 16], 3, 2, 1, 65),
        ([160, 600], 3, 1, 1, 14),
        ([64, 40], 3, 1, 1, 29),
        ([40, 70], 1, 2, 1, 30),
        ([24, 24], 3, 1, 24, 19),
        ([24, 24], 7, 1, 24, 7),
        ([24, 48], 3, 1, 4, 9),
    ] {
        let weight = random([channels[1], channels[0] / groups, kernel, kernel]);
        let bias = random([channels[1]]);
        let options = || ConvOptions::new([stride; 2], [kernel / 2; 2], [1; 2], groups);
        let what = format!("{kernel}×{kernel} convolution of {channels:?} in {groups} groups at {side}");
        let case = [1, channels[0], side, side];
        assert_independent(&what, case, |x| conv2d(x, weight.clone(), None, options()));
        assert_independent(&what, case, |x| {
            conv2d_activation(x, weight.clone(), bias.clone(), options(), Activation::Silu)
        });
    }
}

/// Gradients of a weight are sums over a batch: the same with any number of threads.
#[test]
fn gradients_of_convolutions() {
    for (channels, kernel, stride, side) in [
        ([40, 70], 3, 1, 15),
        ([130, 100], 3, 1, 28),
        ([3, 40], 7, 2, 41),
        ([160, 200], 1, 1, 14),
        ([24, 30], 1, 2, 65),
        ([50, 20], 3, 2, 31),
    ] {
        let (x, weight) = (random([5, channels[0], side, side]), random([channels[1], channels[0], kernel, kernel]));
        let options = || ConvOptions::new([stride; 2], [kernel / 2; 2], [1; 2], 1);
        let factors = random(conv2d(x.clone(), weight.clone(), None, options()).dims());
        assert_same_gradients(&format!("{kernel}×{kernel} of {channels:?} at {side}"), || {
            let tracked = |x: &Tensor<4>| Tensor::from_inner(x.clone()).require_grad();
            let (x, weight) = (tracked(&x), tracked(&weight));
            let output = conv2d(x.clone(), weight.clone(), None, options());
            let gradients = (output * Tensor::from_inner(factors.clone())).sum().backward();
            [x, weight].map(|x| bits(x.grad(&gradients).expect("it has a gradient"))).into()
        });
    }
}

#[test]
fn gradients_of_linear_layers() {
    for (rows, channels, channels_out) in [(1, 3, 5), (40, 300, 20), (5000, 60, 90), (3000, 90, 30)] {
        let (x, weight, bias) = (random([1, rows, channels]), random([channels, channels_out]), random([channels_out]));
        let factors = random([1, rows, channels_out]);
        assert_same_gradients(&format!("{rows} × {channels} → {channels_out}"), || {
            let x = Tensor::from_inner(x.clone()).require_grad();
            let weight = Tensor::from_inner(weight.clone()).require_grad();
            let bias = Tensor::from_inner(bias.clone()).require_grad();
            let output = linear(x.clone(), weight.clone(), bias.clone(), Activation::Identity);
            let gradients = (output * Tensor::from_inner(factors.clone())).sum().backward();
            let there = "it has a gradient";
            vec![
                bits(x.grad(&gradients).expect(there)),
                bits(weight.grad(&gradients).expect(there)),
                bits(bias.grad(&gradients).expect(there)),
            ]
        });
    }
}

fn assert_same_gradients(what: &str, gradients: impl Fn() -> Vec<Vec<u32>> + Sync) {
    let alone = with_threads(1, &gradients);
    for threads in THREADS {
        assert!(with_threads(threads, &gradients) == alone, "{what} with {threads} threads");
    }
}

#[test]
fn attention() {
    for (windows, channels, side) in [
        (Windows { side: 7, shift: [3, 3], heads: 3, cosine: false }, 96, 14),
        (Windows { side: 8, shift: [0, 0], heads: 2, cosine: true }, 22, 16),
    ] {
        let pixels = windows.side * windows.side;
        let (scale, bias) = (random([windows.heads]).abs(), random([windows.heads, pixels, pixels]));
        assert_independent("window attention", [1, side, side, 3 * channels], |qkv| {
            window_attention(qkv, scale.clone(), bias.clone(), windows)
        });
    }
    for flow in [ValueFlow::Gather, ValueFlow::Scatter] {
        for positions in [1, 49, 300, 1100] {
            assert_independent(&format!("{flow:?} of {positions} positions"), [1, 17, positions], |x| {
                let part = |first, count| x.clone().narrow(1, first, count);
                position_attention(part(0, 3), part(3, 3), part(6, 11), flow)
            });
        }
    }
}

#[test]
fn normalizations_and_activations() {
    let (scale, shift) = (random([13]), random([13]));
    assert_independent("affine map", [1, 13, 9, 7], |x| {
        affine_activation(x, scale.clone(), shift.clone(), Activation::HardSwish)
    });
    for axis in [1, 3] {
        assert_independent("layer normalization", [1, 13, 9, 13], |x| {
            layer_norm(x, scale.clone(), shift.clone(), 1e-5, axis)
        });
    }
    for kind in Activation::ALL {
        assert_independent(&format!("{kind:?}"), [1, 5, 37], |x: Tensor<3>| kind.forward(x));
    }
}
