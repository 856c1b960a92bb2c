//! Forward passes and training steps of the backbones on the CPU backend, random weights, 224 pixels.
//! `backbones_reference.py` does the same in PyTorch and puts both into one table.

use std::hint::black_box;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group};
use dermafuse::backbones::{BackboneKind, Pretrained};
use dermafuse::devices::restart_with_large_pages;
use dermafuse::train::OptimizerKind;
use dermafuse_kernels::on_pool;

/// By name, as `backbones_reference.py` has them.
const NAMES: [&str; 6] =
    ["resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b3", "convnext_tiny", "swin_v2_t"];
const TRAINING_BATCH: usize = 8;

fn images(batch: usize, device: &Device) -> Tensor<4> {
    Tensor::random([batch, 3, 224, 224], Distribution::Normal(0.0, 1.0), device)
}

fn backbones(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("backbones");
    group.sample_size(10);
    for name in NAMES {
        let kind: BackboneKind = name.parse().expect("a built-in backbone");
        let device = Device::flex().autodiff();
        let mut network = kind.init(Some(1000), &device);

        let inference = network.valid().fold_batch_norm();
        for batch in [1, 8] {
            let images = images(batch, &Device::flex());
            group.bench_function(format!("{name}/forward{batch}"), |bencher| {
                bencher.iter(|| on_pool(|| black_box(inference.forward_logits(images.clone()).into_data())));
            });
        }

        let (mut optimizer, images) = (OptimizerKind::Adam.init(0.0), images(TRAINING_BATCH, &device));
        group.bench_function(format!("{name}/train{TRAINING_BATCH}"), |bencher| {
            bencher.iter(|| {
                on_pool(|| {
                    let loss = network.forward_logits(images.clone()).powf_scalar(2.0).mean();
                    let gradients = GradientsParams::from_grads(loss.backward(), &network);
                    network = optimizer.step(1e-4, network.clone(), gradients);
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, backbones);

fn main() {
    // As the program `dermafuse` does where it trains.
    restart_with_large_pages();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
