//! Peak memory of a training step through an attention block between the first stages of two Swin Transformers: 96 channels at 56²,
//! a batch of 24. Each form runs in a process of its own, which reports the most memory that it ever held (`VmHWM`, Linux).
//!
//! `cargo bench -p dermafuse-benches --bench attention_memory`

use std::process::Command;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation};
use dermafuse_benches::megabytes_of_process;
use dermafuse_kernels::{ValueFlow, conv2d, position_attention};

const BATCH: usize = 24;
const CHANNELS: usize = 96;
const SIDE: usize = 56;
const FORMS: [&str; 3] = ["inputs", "chunked", "naive"];

fn main() {
    let form = std::env::args().nth(1).filter(|form| FORMS.contains(&form.as_str()));
    match form {
        Some(form) => {
            step(&form);
            println!("{form}: {:.0} MB at most", megabytes_of_process("VmHWM:"));
        }
        None => {
            let program = std::env::current_exe().expect("this program has a path");
            for form in FORMS {
                let status = Command::new(&program).arg(form).status().expect("this program runs");
                if !status.success() {
                    println!("{form}: {status}");
                }
            }
        }
    }
}

/// Forward and backward through `D + v(D) · softmax(q(C) k(C))ᵀ`; "inputs" stops before.
fn step(form: &str) {
    let device = Device::flex().autodiff();
    let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 0.3), &device).require_grad();
    let (clinical, dermoscopic) = (random([BATCH, CHANNELS, SIDE, SIDE]), random([BATCH, CHANNELS, SIDE, SIDE]));
    let weights = [CHANNELS / 8, CHANNELS / 8, CHANNELS].map(|channels| random([channels, CHANNELS, 1, 1]));
    let project = |map: &Tensor<4>, index: usize| {
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let parts = conv2d(map.clone(), weights[index].clone(), None, options);
        let channels = parts.dims()[1];
        parts.reshape([BATCH, channels, SIDE * SIDE]) // [B, C', N]
    };
    if form == "inputs" {
        return;
    }
    let (query, key, value) = (project(&clinical, 0), project(&clinical, 1), project(&dermoscopic, 2));
    let found = match form {
        "chunked" => position_attention(query, key, value, ValueFlow::Gather), // [B, C, N]
        _ => {
            let weights = activation::softmax(query.swap_dims(1, 2).matmul(key), 2); // [B, N, N]
            value.matmul(weights.swap_dims(1, 2)) // [B, C, N]
        }
    };
    let refined = dermoscopic + found.reshape([BATCH, CHANNELS, SIDE, SIDE]);
    std::hint::black_box(refined.sum().backward());
}
