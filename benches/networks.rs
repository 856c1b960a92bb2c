//! Forward passes and training steps of FusionNet, and AMMFM's answer for one case, on the CPU backend, random weights.

use std::hint::black_box;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dermafuse::backbones::BackboneKind;
use dermafuse::networks::{AsymmetricFusionConfig, FusionNetConfig, MultimodalInput, Network, NetworkConfig};

/// Backbone, batch, image side.
const CASES: [(BackboneKind, usize, usize); 3] =
    [(BackboneKind::ResNet18Quarter, 32, 64), (BackboneKind::MobileNetV2, 8, 224), (BackboneKind::ResNet50, 8, 224)];

/// Classes of Derm7pt's tasks.
const CLASSES: [usize; 8] = [5, 3, 3, 3, 2, 3, 2, 3];

fn input(batch: usize, side: usize, device: &Device) -> MultimodalInput {
    let images = || Tensor::random([batch, 3, side, side], Distribution::Default, device);
    MultimodalInput { clinical: Some(images()), dermoscopic: Some(images()), metadata: None }
}

fn networks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fusion_net");
    group.sample_size(10);
    for (backbone, batch, side) in CASES {
        let config = NetworkConfig::FusionNet(FusionNetConfig::new(backbone, CLASSES.to_vec()));
        let device = Device::flex().autodiff();
        let mut network = config.init_seeded(0, &device).expect("a valid configuration");
        let id = format!("{backbone}/b{batch}/{side}/flex");

        let (inference, plain) = (network.valid(), input(batch, side, &Device::flex()));
        group.bench_function(BenchmarkId::new("forward", &id), |bencher| {
            bencher.iter(|| black_box(inference.forward(plain.clone()).branches[2].logits[0].clone().into_data()));
        });

        let (mut optimizer, batch) = (AdamConfig::new().init(), input(batch, side, &device));
        group.bench_function(BenchmarkId::new("training_step", &id), |bencher| {
            bencher.iter(|| {
                let output = network.forward(batch.clone());
                let logits = output.branches.into_iter().flat_map(|branch| branch.logits);
                let loss = logits.map(|logits| logits.powf_scalar(2.0).sum()).reduce(|a, b| a + b).expect("branches");
                let gradients = GradientsParams::from_grads(loss.backward(), &network);
                network = optimizer.step(1e-4, network.clone(), gradients);
            });
        });
    }
    group.finish();
}

/// One pair of images at 224 pixels through AMMFM as it is published: MobileNetV3-Small, SwinV2-T, attention at all stages.
fn one_case(criterion: &mut Criterion) {
    let device = Device::flex();
    let config = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(CLASSES.to_vec()));
    let network = config.init_seeded(0, &device).expect("a valid configuration").into_inference();
    let pair = input(1, 224, &device);
    criterion.bench_function("ammfm/one_case", |bencher| {
        bencher.iter(|| black_box(network.forward(pair.clone()).branches[2].logits[0].clone().into_data()));
    });
}

criterion_group!(benches, networks, one_case);
criterion_main!(benches);
