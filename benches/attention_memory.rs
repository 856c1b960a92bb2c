//! Peak memory of a training step through an attention block between the first stages of two Swin Transformers: 96 channels at 56²,
//! a batch of 24 (or of the number that is given). Each form runs in a process of its own, which reports the most memory that it ever
//! held (`VmHWM`, Linux) and what a GPU's allocator holds at the end. Devices are those of DERMAFUSE_DEVICES, else the CPU.
//!
//! `cargo bench -p dermafuse-benches --bench attention_memory`

use std::process::Command;
use std::time::Instant;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation};
use dermafuse_benches::{devices, megabytes_of_process};
use dermafuse_kernels::{ValueFlow, conv2d, position_attention};

const BATCH: usize = 24;
const CHANNELS: usize = 96;
const SIDE: usize = 56;
/// What is there before; the weights a few rows at a time; all weights, as Burn's operations keep them.
const FORMS: [&str; 3] = ["inputs", "chunked", "naive"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let batch = words.first().map_or(BATCH, |word| word.parse().expect("a batch is a number"));
    if let [_, form, device] = &words[..] {
        let device = device.parse().and_then(|name: dermafuse::devices::DeviceName| name.open());
        return report(form, batch, &device.expect("it was opened before"));
    }
    let program = std::env::current_exe().expect("this program has a path");
    for device in devices() {
        println!("{device}, a batch of {batch}");
        for form in FORMS {
            let words = [&batch.to_string(), form, &device.to_string()];
            let status = Command::new(&program).args(words).status().expect("this program runs");
            if !status.success() {
                println!("{form}: {status}");
            }
        }
    }
}

fn report(form: &str, batch: usize, device: &Device) {
    let begun = Instant::now();
    step(form, batch, device);
    let seconds = begun.elapsed().as_secs_f64();
    let reserved = device.memory_pool_usage().map_or(String::new(), |usage| {
        format!(", the allocator of the device holds {:.0} MB", usage.bytes_reserved as f64 / 1_048_576.0)
    });
    println!("{form}: {:.0} MB at most{reserved}; {seconds:.1} s", megabytes_of_process("VmHWM:"));
}

/// Forward and backward through `D + v(D) · softmax(q(C) k(C))ᵀ`; "inputs" stops before.
fn step(form: &str, batch: usize, device: &Device) {
    let device = device.clone().autodiff();
    let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 0.3), &device).require_grad();
    let (clinical, dermoscopic) = (random([batch, CHANNELS, SIDE, SIDE]), random([batch, CHANNELS, SIDE, SIDE]));
    let weights = [CHANNELS / 8, CHANNELS / 8, CHANNELS].map(|channels| random([channels, CHANNELS, 1, 1]));
    let project = |map: &Tensor<4>, index: usize| {
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let parts = conv2d(map.clone(), weights[index].clone(), None, options);
        let channels = parts.dims()[1];
        parts.reshape([batch, channels, SIDE * SIDE]) // [B, C', N]
    };
    let (query, key, value) = (project(&clinical, 0), project(&clinical, 1), project(&dermoscopic, 2));
    let found = match form {
        "inputs" => return device.sync().expect("the device computes"),
        "chunked" => position_attention(query, key, value, ValueFlow::Gather), // [B, C, N]
        _ => {
            let weights = activation::softmax(query.swap_dims(1, 2).matmul(key), 2); // [B, N, N]
            value.matmul(weights.swap_dims(1, 2)) // [B, C, N]
        }
    };
    let refined = dermoscopic.clone() + found.reshape([batch, CHANNELS, SIDE, SIDE]);
    let gradients = refined.sum().backward();
    // Read, so that a device has computed it.
    for map in [clinical, dermoscopic] {
        let gradient = map.grad(&gradients).expect("the map counts").sum().into_scalar::<f32>();
        assert!(gradient.is_finite(), "{gradient}");
    }
}
