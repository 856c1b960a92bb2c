//! How time and memory of a training step grow: with the batch, the side of the images, the channels of a convolution, the positions of an
//! attention between all of them. Each row is a process of its own, so that its memory is its own; `RAYON_NUM_THREADS` says on how many
//! threads. `cargo bench --workspace --bench growth -- [batch side channels positions]`

use std::process::Command;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use dermafuse::backbones::{BackboneKind, Pretrained};
use dermafuse::devices::restart_with_large_pages;
use dermafuse::train::OptimizerKind;
use dermafuse_benches::megabytes_of_process;
use dermafuse_kernels::{ValueFlow, conv2d, on_pool, position_attention};

/// What grows, from what to what, and what of the time should stay the same.
struct Growth {
    name: &'static str,
    work: &'static str,
    sizes: &'static [usize],
    unit: &'static str,
    /// Of a size, in units.
    units: fn(usize) -> f64,
    step: fn(usize) -> Box<dyn FnMut() + Send>,
}

const GROWTHS: [Growth; 4] = [
    Growth {
        name: "batch",
        work: "MobileNetV2 at 224 pixels, images in a batch",
        sizes: &[1, 2, 4, 8, 16, 32, 64],
        unit: "image",
        units: |batch| batch as f64,
        step: |batch| backbone(batch, 224),
    },
    Growth {
        name: "side",
        work: "MobileNetV2, a batch of 8, pixels a side",
        sizes: &[64, 96, 128, 160, 224, 320, 384],
        unit: "megapixel",
        units: |side| (8 * side * side) as f64 / 1e6,
        step: |side| backbone(8, side),
    },
    Growth {
        name: "channels",
        work: "a 3×3 convolution at 28², a batch of 8, channels in and out",
        sizes: &[16, 32, 64, 128, 256, 512],
        unit: "GFLOP",
        units: |channels| 3.0 * 2.0 * (8 * 28 * 28 * 9 * channels * channels) as f64 / 1e9,
        step: convolution,
    },
    Growth {
        name: "positions",
        work: "attention between all positions, 96 channels, a batch of 2, positions",
        sizes: &[196, 784, 3136, 6272, 12544],
        unit: "million pairs",
        units: |positions| 2.0 * (positions * positions) as f64 / 1e6,
        step: attention,
    },
];

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn backbone(batch: usize, side: usize) -> Box<dyn FnMut() + Send> {
    let device = Device::flex().autodiff();
    let mut network = BackboneKind::MobileNetV2.init(Some(8), &device);
    let (mut optimizer, images) = (OptimizerKind::Adam.init(0.0), random([batch, 3, side, side], &device));
    Box::new(move || {
        let loss = network.forward_logits(images.clone()).powf_scalar(2.0).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-4, network.clone(), gradients);
    })
}

fn convolution(channels: usize) -> Box<dyn FnMut() + Send> {
    let device = Device::flex().autodiff();
    let x = random([8, channels, 28, 28], &device).require_grad();
    let weight = random([channels, channels, 3, 3], &device).require_grad();
    Box::new(move || {
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        conv2d(x.clone(), weight.clone(), None, options).sum().backward();
    })
}

fn attention(positions: usize) -> Box<dyn FnMut() + Send> {
    let device = Device::flex().autodiff();
    let of = |channels: usize| random([2, channels, positions], &device).require_grad();
    let [query, key, value] = [12, 12, 96].map(of);
    Box::new(move || {
        position_attention(query.clone(), key.clone(), value.clone(), ValueFlow::Gather).sum().backward();
    })
}

/// Milliseconds of a step, the median of some, on the pool as in a training.
fn measured(growth: &Growth, size: usize) {
    let mut step = (growth.step)(size);
    on_pool(&mut step);
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || (begin.elapsed().as_secs_f64() < 0.5 && times.len() < 50) {
        let begin = Instant::now();
        on_pool(&mut step);
        times.push(1000.0 * begin.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let (time, units) = (times[times.len() / 2], (growth.units)(size));
    println!("| {size} | {time:.2} | {:.3} | {:.0} |", time / units, megabytes_of_process("VmHWM:"));
}

fn main() {
    // As the program `dermafuse` does where it trains.
    restart_with_large_pages();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let [name, size] = words.as_slice()
        && let Ok(size) = size.parse()
    {
        let growth = GROWTHS.iter().find(|growth| growth.name == name).expect("a word of this program");
        return measured(growth, size);
    }
    let program = std::env::current_exe().expect("this program has a path");
    for growth in GROWTHS.iter().filter(|growth| words.is_empty() || words.iter().any(|word| word == growth.name)) {
        println!("\n| {} | ms a step | ms for one {} | at most MB |\n|---|---|---|---|", growth.work, growth.unit);
        for size in growth.sizes {
            let status = Command::new(&program).args([growth.name, &size.to_string()]).status();
            let status = status.expect("this program runs");
            if !status.success() {
                println!("| {size} | {status} | | |");
            }
        }
    }
}
