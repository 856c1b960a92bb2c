//! What each class of operation of a training step reaches beside a pure product of matrices: forward, into the input and into the
//! weight, each alone. `cargo bench --workspace --bench roofline` prints a table; words after `--` choose rows by name.

use std::hint::black_box;
use std::time::Instant;

use burn::module::Param;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use dermafuse::devices::restart_with_large_pages;
use dermafuse_kernels::{Activation, batch_norm_activation, conv2d, layer_norm, linear};

const BATCH: usize = 8;

/// A convolution: channels in and out, groups, kernel, stride, side of the images.
struct Convolution(&'static str, [usize; 2], usize, usize, usize, usize);

const CONVOLUTIONS: [Convolution; 16] = [
    Convolution("7×7/2 3-64@224 (ResNet)", [3, 64], 1, 7, 2, 224),
    Convolution("1×1 64-64@56", [64, 64], 1, 1, 1, 56),
    Convolution("1×1 64-256@56", [64, 256], 1, 1, 1, 56),
    Convolution("1×1 256-64@56", [256, 64], 1, 1, 1, 56),
    Convolution("1×1 512-128@28", [512, 128], 1, 1, 1, 28),
    Convolution("1×1 256-1024@14", [256, 1024], 1, 1, 1, 14),
    Convolution("1×1 512-2048@7", [512, 2048], 1, 1, 1, 7),
    Convolution("1×1/2 256-512@56", [256, 512], 1, 1, 2, 56),
    Convolution("3×3 64-64@56", [64, 64], 1, 3, 1, 56),
    Convolution("3×3 128-128@28", [128, 128], 1, 3, 1, 28),
    Convolution("3×3 256-256@14", [256, 256], 1, 3, 1, 14),
    Convolution("3×3 512-512@7", [512, 512], 1, 3, 1, 7),
    Convolution("3×3/2 256-256@28", [256, 256], 1, 3, 2, 28),
    Convolution("depthwise 3×3 144@56", [144, 144], 144, 3, 1, 56),
    Convolution("depthwise 5×5 480@14", [480, 480], 480, 5, 1, 14),
    Convolution("depthwise 7×7 96@56", [96, 96], 96, 7, 1, 56),
];

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// The median of some runs, in seconds.
fn seconds(mut work: impl FnMut() -> f64) -> f64 {
    work();
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || (begin.elapsed().as_secs_f64() < 0.3 && times.len() < 200) {
        times.push(work());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn timed<R>(work: impl FnOnce() -> R) -> f64 {
    let begin = Instant::now();
    black_box(work());
    begin.elapsed().as_secs_f64()
}

/// Time of the forward pass, and of the backward pass into each input alone. The sum of the result is what is differentiated, so that
/// the gradient that arrives costs a map to make; this is taken off.
fn passes(inputs: &[Tensor<4>], operation: impl Fn(&[Tensor<4>]) -> Tensor<4>) -> Vec<f64> {
    let mut times = vec![seconds(|| timed(|| operation(inputs)))];
    let output = Param::from_tensor(Tensor::from_inner(operation(inputs))).val();
    let arriving = seconds(|| {
        let sum = output.clone().sum();
        timed(|| sum.backward())
    });
    for wanted in 0..inputs.len() {
        let tracked = inputs.iter().enumerate().map(|(index, input)| {
            let input = Tensor::from_inner(input.clone());
            if index == wanted { input.require_grad() } else { input }
        });
        let tracked: Vec<Tensor<4>> = tracked.collect();
        let backward = seconds(|| {
            let sum = operation(&tracked).sum();
            timed(|| sum.backward())
        });
        times.push((backward - arriving).max(0.0));
    }
    times
}

fn main() {
    // As the program `dermafuse` does where it trains.
    restart_with_large_pages();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let device = Device::flex();

    let product = {
        let (left, right) = (random([1, 1024, 1024], &device), random([1024, 1024], &device));
        let bias = Tensor::zeros([1024], &device);
        let time = seconds(|| timed(|| linear(left.clone(), right.clone(), bias.clone(), Activation::Identity)));
        2.0 * 1024_f64.powi(3) / time / 1e9
    };
    println!("product of 1024³: {product:.0} GFLOP/s\n");
    println!(
        "| products, batch {BATCH} | forward: ms, GFLOP/s | into the input | into the weight |\n|---|---|---|---|"
    );
    for Convolution(name, channels, groups, kernel, stride, side) in CONVOLUTIONS {
        if !wanted(name) {
            continue;
        }
        let padding = kernel / 2;
        let options = || ConvOptions::new([stride, stride], [padding, padding], [1, 1], groups);
        let weight = random([channels[1], channels[0] / groups, kernel, kernel], &device);
        let inputs = [random([BATCH, channels[0], side, side], &device), weight];
        let outputs = BATCH * channels[1] * (side / stride).pow(2);
        let operations = 2.0 * (outputs * channels[0] / groups * kernel * kernel) as f64;
        let times = passes(&inputs, |inputs| conv2d(inputs[0].clone(), inputs[1].clone(), None, options()));
        row(name, &times, operations);
    }
    for (name, rows, channels) in
        [("linear 384-1536, 1,568 rows", 196, [384, 1536]), ("linear 768-3072, 392 rows", 49, [768, 3072])]
    {
        if wanted(name) {
            let inputs =
                [random([BATCH, 1, rows, channels[0]], &device), random([1, 1, channels[0], channels[1]], &device)];
            let times = passes(&inputs, |inputs| {
                let weight = inputs[1].clone().squeeze_dims::<2>(&[0, 1]);
                let bias = Tensor::zeros([channels[1]], &inputs[0].device());
                linear(inputs[0].clone(), weight, bias, Activation::Identity)
            });
            row(name, &times, 2.0 * (BATCH * rows * channels[0] * channels[1]) as f64);
        }
    }

    println!(
        "\n| passes over memory, batch {BATCH} | forward: ms, GB/s of input and output | into the input |\n|---|---|---|"
    );
    let bytes = |shape: [usize; 4]| 4.0 * shape.iter().product::<usize>() as f64;
    for shape in [[BATCH, 256, 56, 56], [BATCH, 2048, 7, 7]] {
        let map = [random(shape, &device)];
        let name = |what: &str| format!("{what}, {} × {}²", shape[1], shape[2]);
        let vectors =
            |x: &Tensor<4>| (Tensor::<1>::ones([shape[1]], &x.device()), Tensor::<1>::zeros([shape[1]], &x.device()));
        type Operation<'a> = &'a dyn Fn(&[Tensor<4>]) -> Tensor<4>;
        let operations: [(&str, Operation<'_>); 5] = [
            ("batch normalization + ReLU", &|inputs| {
                let (gamma, beta) = vectors(&inputs[0]);
                batch_norm_activation(inputs[0].clone(), gamma, beta, 1e-5, Activation::Relu).output
            }),
            ("layer normalization of channels", &|inputs| {
                let (gamma, beta) = vectors(&inputs[0]);
                layer_norm(inputs[0].clone(), gamma, beta, 1e-6, 1)
            }),
            ("ReLU", &|inputs| Activation::Relu.forward(inputs[0].clone())),
            ("GELU", &|inputs| Activation::Gelu.forward(inputs[0].clone())),
            ("a sum with itself", &|inputs| inputs[0].clone() + inputs[0].clone()),
        ];
        for (what, operation) in operations {
            if wanted(what) {
                let times = passes(&map, operation);
                let cells =
                    times.iter().map(|time| format!("{:.2}, {:.1}", 1e3 * time, 2.0 * bytes(shape) / time / 1e9));
                println!("| {} | {} |", name(what), cells.collect::<Vec<_>>().join(" | "));
            }
        }
    }
}

fn row(name: &str, times: &[f64], operations: f64) {
    let cells = times.iter().map(|time| format!("{:.2}, {:.0}", 1e3 * time, operations / time / 1e9));
    println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
}
