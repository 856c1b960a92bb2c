//! Multiply-adds that are counted in a recording, against hands and publishers.

use burn::nn::conv::{Conv2dConfig, ConvTranspose2dConfig};
use burn::tensor::module::attention;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{BackboneKind, Pretrained};
use dermafuse_fusion::{CrossAttentionConfig, MapFusion};
use dermafuse_onnx::multiply_adds_of;

#[test]
fn layers_are_counted_by_hand() {
    let device = Device::flex();
    let conv = Conv2dConfig::new([8, 12], [3, 3]).with_stride([2, 2]).with_groups(4).init(&device);
    // 4 × 5 numbers of 12 channels, each of 2 channels and 9 pixels.
    let found = multiply_adds_of(&conv, |conv, device| drop(conv.forward(Tensor::zeros([1, 8, 9, 12], device))));
    assert_eq!(found.unwrap(), 4 * 5 * 12 * 2 * 9);
    let transposed = ConvTranspose2dConfig::new([8, 6], [2, 2]).with_stride([2, 2]).init(&device);
    let found = multiply_adds_of(&transposed, |conv, device| drop(conv.forward(Tensor::zeros([1, 8, 5, 7], device))));
    assert_eq!(found.unwrap(), 5 * 7 * 8 * 6 * 4);
    // Two heads of seven queries: their products with seven keys of 4 numbers, and those of the weights with values.
    let found = multiply_adds_of(&conv, |_, device| {
        let tokens = || Tensor::<4>::zeros([1, 2, 7, 4], device);
        drop(attention(tokens(), tokens(), tokens(), None, None, Default::default()));
    });
    assert_eq!(found.unwrap(), 2 * 7 * 7 * (4 + 4));
}

#[test]
fn a_fusion_block_is_counted_by_hand() {
    let (channels, positions) = (64, 7 * 5);
    let block = CrossAttentionConfig::default().init(channels, channels, &Device::flex()).unwrap();
    let found = multiply_adds_of(&block, |block, device| {
        let map = || Tensor::zeros([1, channels, 7, 5], device);
        drop(block.forward(map(), map()));
    });
    // Of each map queries and keys of an eighth of the channels, values of all, their products at all pairs of positions.
    let projections = positions * channels * (2 * channels / 8 + channels);
    let attention = positions * positions * (channels / 8 + channels);
    assert_eq!(found.unwrap(), 2 * (projections + attention) as u64);
}

#[test]
fn backbones_take_what_their_publishers_say() {
    let device = Device::flex();
    // The largest are left out, whose fresh weights take seconds.
    for kind in BackboneKind::ALL.iter().copied().filter(|kind| kind.num_params() < 30_000_000) {
        let backbone = kind.init(Some(1000), &device);
        let found = multiply_adds_of(&backbone, |backbone, device| {
            drop(backbone.forward_logits(Tensor::zeros([1, 3, 224, 224], device)));
        });
        let spared = match kind {
            // Windows of 8 pad maps of 28, 14 and 7 pixels by 240, 60 and 15 of them, and padding is cut off before the last projection of
            // each block instead of behind it.
            BackboneKind::SwinV2Tiny => 2 * 240 * 192 * 192 + 6 * 60 * 384 * 384 + 2 * 15 * 768 * 768,
            _ => 0,
        };
        let (found, published) = ((found.unwrap() + spared) as f64 / 1e9, kind.gflops());
        assert!((found - published).abs() < 0.0006 + 0.002 * published, "{kind}: {found:.4} and {published}");
    }
}
