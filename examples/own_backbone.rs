//! A backbone that is not built in, in FusionM4Net's network with two towers of it:
//!
//! ```text
//! cargo run --release --example own_backbone
//! ```

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use dermafuse::backbones::{Backbone, ParameterGroup, parameter_count};
use dermafuse::networks::{FusionNet, MultimodalInput, Network, NetworkError};

/// Four convolutions, each half as large as the one before.
#[derive(Module, Debug)]
struct FourConvolutions {
    stages: [Conv2d; 4],
}

impl FourConvolutions {
    fn new(device: &Device) -> Self {
        let stage = |channels| Conv2dConfig::new(channels, [3, 3]).with_stride([2, 2]);
        let padded = |channels| stage(channels).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Self { stages: [[3, 16], [16, 32], [32, 64], [64, 128]].map(|channels| padded(channels).init(device)) }
    }
}

impl Backbone for FourConvolutions {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        relu(self.stages[stage].forward(input)) // [B, C_i, H / 2, W / 2]
    }

    fn stage_channels(&self) -> [usize; 4] {
        [16, 32, 64, 128]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [2, 4, 8, 16]
    }

    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let parts = ["stage1", "stage2", "stage3", "stage4"]; // each of one block
        self.stages.iter().zip(parts).map(|(stage, part)| ParameterGroup::of(part, stage)).collect()
    }
}

fn main() -> Result<(), NetworkError> {
    let device = Device::flex();
    let (clinical, dermoscopic) = (FourConvolutions::new(&device), FourConvolutions::new(&device));
    let network = FusionNet::new(clinical, dermoscopic, vec![5, 2], 0.3, &device)?; // two tasks
    let images = || Some(Tensor::<4>::random([2, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device));
    let output = network.forward(MultimodalInput { clinical: images(), dermoscopic: images(), metadata: None });
    println!("{} parameters", parameter_count(&network));
    for (branch, answer) in network.branches().iter().zip(&output.branches) {
        println!("{}: logits {:?}", branch.name, answer.logits.iter().map(Tensor::dims).collect::<Vec<_>>());
    }
    Ok(())
}
