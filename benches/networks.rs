//! Forward passes and training steps of whole networks on the CPU backend, random weights, pairs of images of 224 pixels: FusionM4Net's two
//! ResNet-50 and AMMFM as it is published. `backbones_reference.py` does the same in PyTorch and puts both into one table.

use std::hint::black_box;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group};
use dermafuse::backbones::BackboneKind;
use dermafuse::devices::restart_with_large_pages;
use dermafuse::networks::{AsymmetricFusionConfig, FusionNetConfig, MultimodalInput, Network, NetworkConfig};
use dermafuse::train::OptimizerKind;
use dermafuse_kernels::on_pool;

/// Classes of Derm7pt's tasks.
const CLASSES: [usize; 8] = [5, 3, 3, 3, 2, 3, 2, 3];
const TRAINING_BATCH: usize = 8;

/// By name, as `backbones_reference.py` has them.
fn configs() -> [(&'static str, NetworkConfig); 2] {
    let fusion_net = FusionNetConfig::new(BackboneKind::ResNet50, CLASSES.to_vec());
    let ammfm = AsymmetricFusionConfig::ammfm(CLASSES.to_vec());
    [("fusionm4net", NetworkConfig::FusionNet(fusion_net)), ("ammfm", NetworkConfig::AsymmetricFusion(ammfm))]
}

fn pairs(batch: usize, device: &Device) -> MultimodalInput {
    let images = || Tensor::random([batch, 3, 224, 224], Distribution::Normal(0.0, 1.0), device);
    MultimodalInput { clinical: Some(images()), dermoscopic: Some(images()), metadata: None }
}

fn networks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("networks");
    group.sample_size(10);
    for (name, config) in configs() {
        let device = Device::flex();
        let inference = config.init_seeded(0, &device).expect("a valid configuration").into_inference();
        for batch in [1, 8] {
            let pairs = pairs(batch, &device);
            group.bench_function(format!("{name}/forward{batch}"), |bencher| {
                let answer = || inference.forward(pairs.clone()).branches[2].logits[0].clone().into_data();
                bencher.iter(|| on_pool(|| black_box(answer())));
            });
        }

        let device = device.autodiff();
        let mut network = config.init_seeded(0, &device).expect("a valid configuration");
        let (mut optimizer, pairs) = (OptimizerKind::Adam.init(0.0), pairs(TRAINING_BATCH, &device));
        group.bench_function(format!("{name}/train{TRAINING_BATCH}"), |bencher| {
            bencher.iter(|| {
                on_pool(|| {
                    let logits = network.forward(pairs.clone()).branches.into_iter().flat_map(|branch| branch.logits);
                    let losses = logits.map(|logits| logits.powf_scalar(2.0).mean());
                    let loss = losses.reduce(|sum, loss| sum + loss).expect("a network has branches");
                    let gradients = GradientsParams::from_grads(loss.backward(), &network);
                    network = optimizer.step(1e-4, network.clone(), gradients);
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, networks);

fn main() {
    // As the program `dermafuse` does where it trains.
    restart_with_large_pages();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
