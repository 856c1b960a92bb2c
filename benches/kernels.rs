//! The kernels of `dermafuse-kernels` beside Burn's own operations, on the CPU backend.

use std::hint::black_box;

use burn::nn::LayerNormConfig;
use burn::tensor::module::{batch_norm_train, conv2d as burn_conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use dermafuse_kernels::{
    Activation, ValueFlow, Windows, batch_norm_activation, conv2d, layer_norm, linear, position_attention,
    window_attention,
};

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

const ROWS: [Row; 12] = [
    Row { name: "depthwise 3x3 144@56", channels: [144, 144], groups: 144, kernel: 3, stride: 1, side: 56 },
    Row { name: "depthwise 3x3/2 144@56", channels: [144, 144], groups: 144, kernel: 3, stride: 2, side: 56 },
    Row { name: "depthwise 5x5 480@14", channels: [480, 480], groups: 480, kernel: 5, stride: 1, side: 14 },
    Row { name: "depthwise 7x7 96@56", channels: [96, 96], groups: 96, kernel: 7, stride: 1, side: 56 },
    Row { name: "1x1 64-256@56", channels: [64, 256], groups: 1, kernel: 1, stride: 1, side: 56 },
    Row { name: "1x1/2 256-512@56", channels: [256, 512], groups: 1, kernel: 1, stride: 2, side: 56 },
    Row { name: "1x1 512-2048@7", channels: [512, 2048], groups: 1, kernel: 1, stride: 1, side: 7 },
    Row { name: "3x3 64-64@56", channels: [64, 64], groups: 1, kernel: 3, stride: 1, side: 56 },
    Row { name: "3x3 128-128@28", channels: [128, 128], groups: 1, kernel: 3, stride: 1, side: 28 },
    Row { name: "3x3 256-256@14", channels: [256, 256], groups: 1, kernel: 3, stride: 1, side: 14 },
    Row { name: "3x3 512-512@7", channels: [512, 512], groups: 1, kernel: 3, stride: 1, side: 7 },
    Row { name: "3x3 128-32@28", channels: [128, 32], groups: 1, kernel: 3, stride: 1, side: 28 },
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

    let layer = [random([BATCH, 14, 14, 384], &device), random([1, 1, 384, 1536], &device)];
    let weight = |inputs: &[Tensor<4>]| inputs[1].clone().squeeze_dims::<2>(&[0, 1]);
    compare(
        &mut group,
        "linear + gelu 384-1536@14",
        &layer,
        |inputs| {
            let bias = Tensor::zeros([1536], &inputs[0].device());
            linear(inputs[0].clone(), weight(inputs), bias, Activation::Gelu)
        },
        |inputs| {
            let bias = Tensor::<1>::zeros([1536], &inputs[0].device());
            activation::gelu(inputs[0].clone().matmul(inputs[1].clone()) + bias.unsqueeze())
        },
    );
    let map = [random([BATCH, 96, 56, 56], &device)];
    for (name, axis) in [("layer norm of channels 96@56", 1), ("layer norm of rows 56@96x56", 3)] {
        let length = map[0].dims()[axis];
        let vectors = |x: &Tensor<4>| (Tensor::ones([length], &x.device()), Tensor::zeros([length], &x.device()));
        compare(
            &mut group,
            name,
            &map,
            |inputs| {
                let (gamma, beta) = vectors(&inputs[0]);
                layer_norm(inputs[0].clone(), gamma, beta, 1e-5, axis)
            },
            |inputs| {
                let norm = LayerNormConfig::new(length).init(&inputs[0].device());
                norm.forward(inputs[0].clone().swap_dims(axis, 3)).swap_dims(axis, 3)
            },
        );
    }
    let qkv = [random([BATCH, 56, 56, 3 * 96], &device)];
    let windows = Windows { side: 7, shift: [0, 0], heads: 3, cosine: false };
    compare(
        &mut group,
        "attention in 7x7 windows 96@56",
        &qkv,
        |inputs| {
            let device = inputs[0].device();
            window_attention(
                inputs[0].clone(),
                Tensor::ones([3], &device),
                Tensor::zeros([3, 49, 49], &device),
                windows,
            )
        },
        |inputs| burn_window_attention(inputs[0].clone(), windows),
    );
    for (channels, side) in [(96, 56), (192, 28), (768, 7)] {
        let positions = side * side;
        let part = |channels| random([1, BATCH, channels, positions], &device);
        // Small queries and keys, so that not every position finds one other alone.
        let parts = [part(channels / 8) / 4.0, part(channels / 8) / 4.0, part(channels)];
        let part = |inputs: &[Tensor<4>], index: usize| inputs[index].clone().squeeze_dim::<3>(0);
        compare(
            &mut group,
            &format!("attention between positions {channels}@{side}"),
            &parts,
            |inputs| {
                let [query, key, value] = [0, 1, 2].map(|index| part(inputs, index));
                position_attention(query, key, value, ValueFlow::Gather).unsqueeze()
            },
            |inputs| {
                let [query, key, value] = [0, 1, 2].map(|index| part(inputs, index));
                let weights = activation::softmax(query.swap_dims(1, 2).matmul(key), 2); // [B, N, N]
                value.matmul(weights.swap_dims(1, 2)).unsqueeze()
            },
        );
    }
    group.finish();
}

/// Windows that are not moved, the scale 1 and no bias.
fn burn_window_attention(qkv: Tensor<4>, Windows { side, heads, .. }: Windows) -> Tensor<4> {
    let [batch, height, width, channels] = qkv.dims();
    let (rows, columns, length) = (height / side, width / side, channels / (3 * heads));
    let parts = qkv
        .reshape([batch, rows, side, columns, side, channels])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch * rows * columns, side * side, 3, heads, length])
        .permute([2, 0, 3, 1, 4]); // [3, B*n, heads, N, C/heads]
    let [query, key, value] = [0, 1, 2].map(|part| parts.clone().narrow(0, part, 1).squeeze_dim::<4>(0));
    let attended = activation::softmax(query.matmul(key.swap_dims(2, 3)), 3).matmul(value);
    attended
        .swap_dims(1, 2)
        .reshape([batch, rows, columns, side, side, heads * length])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch, height, width, heads * length])
}

criterion_group!(benches, kernels);
criterion_main!(benches);
