//! The kernels of `dermafuse-kernels` beside Burn's own operations, on the CPU backend.

use std::hint::black_box;

use burn::tensor::module::{batch_norm_train, conv2d as burn_conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use dermafuse_kernels::{Activation, batch_norm_activation, conv2d};

const BATCH: usize = 8;

/// A row: channels in and out, groups, kernel, stride, image side.
struct Row {
    name: &'static str,
    channels: [usize; 2],
    groups: usize,
    kernel: usize,
    stride: usize,
    side: usize,
}

const ROWS: [Row; 8] = [
    Row { name: "depthwise 3x3 144@56", channels: [144, 144], groups: 144, kernel: 3, stride: 1, side: 56 },
    Row { name: "depthwise 3x3/2 144@56", channels: [144, 144], groups: 144, kernel: 3, stride: 2, side: 56 },
    Row { name: "depthwise 5x5 480@14", channels: [480, 480], groups: 480, kernel: 5, stride: 1, side: 14 },
    Row { name: "depthwise 7x7 96@56", channels: [96, 96], groups: 96, kernel: 7, stride: 1, side: 56 },
    Row { name: "1x1 64-256@56", channels: [64, 256], groups: 1, kernel: 1, stride: 1, side: 56 },
    Row { name: "1x1/2 256-512@56", channels: [256, 512], groups: 1, kernel: 1, stride: 2, side: 56 },
    Row { name: "1x1 512-2048@7", channels: [512, 2048], groups: 1, kernel: 1, stride: 1, side: 7 },
    Row { name: "3x3 64-64@56", channels: [64, 64], groups: 1, kernel: 3, stride: 1, side: 56 },
];

fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

type Operation<'a> = &'a dyn Fn(&[Tensor<4>]) -> Tensor<4>;

/// Times an operation forwards, and forwards and backwards into all its inputs.
fn compare(
    group: &mut BenchmarkGroup<'_, WallTime>,
    row: &str,
    inputs: &[Tensor<4>],
    ours: impl Fn(&[Tensor<4>]) -> Tensor<4>,
    burns: impl Fn(&[Tensor<4>]) -> Tensor<4>,
) {
    let tracked: Vec<Tensor<4>> = inputs.iter().map(|input| Tensor::from_inner(input.clone()).require_grad()).collect();
    let both: [(&str, Operation<'_>); 2] = [("ours", &ours), ("burn", &burns)];
    for (whose, operation) in both {
        group.bench_function(format!("{row}/forward/{whose}"), |bencher| {
            bencher.iter(|| black_box(operation(inputs)));
        });
        group.bench_function(format!("{row}/both/{whose}"), |bencher| {
            bencher.iter(|| black_box(operation(&tracked).sum().backward()));
        });
    }
}

fn kernels(criterion: &mut Criterion) {
    let device = Device::flex();
    let mut group = criterion.benchmark_group("kernels");
    group.sample_size(10);

    for Row { name, channels, groups, kernel, stride, side } in ROWS {
        let padding = kernel / 2;
        let options = || ConvOptions::new([stride, stride], [padding, padding], [1, 1], groups);
        let weight = random([channels[1], channels[0] / groups, kernel, kernel], &device);
        let inputs = [random([BATCH, channels[0], side, side], &device), weight];
        compare(
            &mut group,
            name,
            &inputs,
            |inputs| conv2d(inputs[0].clone(), inputs[1].clone(), None, options()),
            |inputs| burn_conv2d(inputs[0].clone(), inputs[1].clone(), None, options()),
        );
    }

    let map = [random([BATCH, 256, 56, 56], &device)];
    let vector = |tensor: &Tensor<4>| Tensor::<1>::ones([256], &tensor.device());
    compare(
        &mut group,
        "batch norm + relu 256@56",
        &map,
        |inputs| {
            let (gamma, beta) = (vector(&inputs[0]), vector(&inputs[0]));
            batch_norm_activation(inputs[0].clone(), gamma, beta, 1e-5, Activation::Relu).output
        },
        |inputs| {
            let (gamma, beta) = (vector(&inputs[0]), vector(&inputs[0]));
            activation::relu(batch_norm_train(inputs[0].clone(), gamma, beta, 1e-5).output)
        },
    );
    for (name, kind) in [("silu", Activation::Silu), ("gelu", Activation::Gelu), ("hard swish", Activation::HardSwish)]
    {
        compare(
            &mut group,
            &format!("{name} 256@56"),
            &map,
            |inputs| kind.forward(inputs[0].clone()),
            |inputs| match kind {
                Activation::Silu => activation::silu(inputs[0].clone()),
                Activation::Gelu => activation::gelu(inputs[0].clone()),
                _ => activation::hard_swish(inputs[0].clone()),
            },
        );
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
