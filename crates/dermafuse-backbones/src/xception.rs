//! Xception: residual blocks of depthwise separable convolutions.
//!
//! Paper: Chollet, 2016, <https://arxiv.org/abs/1610.02357>.
//! Source: timm `models/xception.py`, `legacy_xception`, after Cadene's pretrained-models.pytorch; code and ImageNet weights
//! Apache-2.0, the weights ported from Keras.
//! Differences: none. The cuts are timm's: the outputs of blocks 1, 2 and 11 after the ReLU that the next block begins with
//! (128, 256 and 728 channels), and the final map (2048).

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
use dermafuse_kernels::sum_activation;

use crate::backbone::{Backbone, ParameterGroup, Pretrained, global_average_pool, stage_of};
use crate::layers::{Activation, ConvNormAct, ConvNormActConfig, Padding, classes_of, convolve, logits_of};
use crate::stage_sides::{XCEPTION, stage_sides};

/// Figure 5 of the paper, entry flow: channels of the convolutions and of the blocks.
const STEM_CHANNELS: [usize; 2] = [32, 64];
const ENTRY_CHANNELS: [usize; 3] = [128, 256, 728];
/// Middle flow: channels and number of the blocks, separable convolutions in each.
const MIDDLE_CHANNELS: usize = 728;
const MIDDLE_BLOCKS: usize = 8;
const MIDDLE_LAYERS: usize = 3;
/// Exit flow: channels of the block and of the separable convolutions after it.
const EXIT_BLOCK_CHANNELS: usize = 1024;
const EXIT_CHANNELS: [usize; 2] = [1536, 2048];
/// Number of blocks after which stages 1 to 3 end.
const STAGE_ENDS: [usize; 3] = [1, 2, 11];

/// Creates an [`Xception`].
#[derive(Config, Debug)]
pub struct XceptionConfig {
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
}

/// Two convolutions, twelve residual blocks, two separable convolutions, optional classifier.
///
/// Should be created using [`XceptionConfig`].
#[derive(Module, Debug)]
pub struct Xception {
    stem: Vec<ConvNormAct>,
    blocks: Vec<SeparableBlock>,
    exit: Vec<SeparableConv>,
    classifier: Option<Linear>,
}

/// Separable convolutions with ReLUs before them, optional pool, added to the shortcut.
#[derive(Module, Debug)]
struct SeparableBlock {
    layers: Vec<SeparableConv>,
    pool: Option<MaxPool2d>,
    shortcut: Option<ConvNormAct>,
    /// Without it, the first layer sees the input as it is.
    starts_with_relu: bool,
}

/// Depthwise 3×3 convolution → 1×1 convolution → normalization → activation.
#[derive(Module, Debug)]
struct SeparableConv {
    depthwise: Conv2d,
    pointwise: ConvNormAct,
}

impl XceptionConfig {
    /// Initializes the network as timm's constructor does.
    pub fn init(&self, device: &Device) -> Xception {
        let [first, second] = STEM_CHANNELS;
        let layer = |channels| {
            ConvNormActConfig::new(channels, 3).with_padding(Padding::None).with_activation(Activation::Relu)
        };
        let stem = vec![layer([3, first]).with_stride(2).init(device), layer([first, second]).init(device)];

        let mut channels = second;
        let mut blocks = Vec::new();
        for channels_out in ENTRY_CHANNELS {
            let starts_with_relu = !blocks.is_empty();
            blocks.push(init_block(&[channels, channels_out, channels_out], 2, starts_with_relu, device));
            channels = channels_out;
        }
        for _ in 0..MIDDLE_BLOCKS {
            blocks.push(init_block(&[MIDDLE_CHANNELS; MIDDLE_LAYERS + 1], 1, true, device));
        }
        blocks.push(init_block(&[channels, channels, EXIT_BLOCK_CHANNELS], 2, true, device));

        let [wide, widest] = EXIT_CHANNELS;
        let exit = vec![
            init_separable([EXIT_BLOCK_CHANNELS, wide], Activation::Relu, device),
            init_separable([wide, widest], Activation::Relu, device),
        ];
        let classifier = self.num_classes.map(|classes| LinearConfig::new(widest, classes).init_addressed(device));
        Xception { stem, blocks, exit, classifier }
    }
}

/// A block whose layers have these channels between them.
fn init_block(channels: &[usize], stride: usize, starts_with_relu: bool, device: &Device) -> SeparableBlock {
    let [first, .., last] = *channels else { unreachable!("a block has at least one layer") };
    let layers = channels.windows(2).map(|pair| init_separable([pair[0], pair[1]], Activation::Identity, device));
    let pool =
        MaxPool2dConfig::new([3, 3]).with_strides([stride, stride]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    SeparableBlock {
        layers: layers.collect(),
        pool: (stride != 1).then(|| pool.init()),
        shortcut: (stride != 1 || first != last)
            .then(|| ConvNormActConfig::new([first, last], 1).with_stride(stride).init(device)),
        starts_with_relu,
    }
}

fn init_separable([channels_in, channels_out]: [usize; 2], activation: Activation, device: &Device) -> SeparableConv {
    // PyTorch's fan-out of a depthwise convolution counts all channels.
    let initializer = Initializer::Normal { mean: 0.0, std: (2.0 / (9 * channels_in) as f64).sqrt() };
    let depthwise = Conv2dConfig::new([channels_in, channels_in], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_groups(channels_in)
        .with_bias(false)
        .with_initializer(initializer)
        .init_addressed(device);
    let pointwise = ConvNormActConfig::new([channels_in, channels_out], 1).with_activation(activation).init(device);
    SeparableConv { depthwise, pointwise }
}

impl Xception {
    /// The same network for prediction only, with each normalization merged into its convolution.
    pub fn fold_batch_norm(self) -> Self {
        let fold_block = |block: SeparableBlock| SeparableBlock {
            layers: block.layers.into_iter().map(SeparableConv::fold).collect(),
            shortcut: block.shortcut.map(ConvNormAct::fold),
            ..block
        };
        Self {
            stem: self.stem.into_iter().map(ConvNormAct::fold).collect(),
            blocks: self.blocks.into_iter().map(fold_block).collect(),
            exit: self.exit.into_iter().map(SeparableConv::fold).collect(),
            classifier: self.classifier,
        }
    }
}

impl SeparableBlock {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C', H / stride, W / stride]` (rounded up).
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(input.clone()), // [B, C', H', W']
            None => input.clone(),
        };
        let map = self.layers.iter().enumerate().fold(input, |map, (index, layer)| {
            let map = if index > 0 || self.starts_with_relu { Activation::Relu.forward(map) } else { map };
            layer.forward(map) // [B, C', H, W]
        });
        let map = match &self.pool {
            Some(pool) => pool.forward(map), // [B, C', H', W']
            None => map,
        };
        sum_activation(map, shortcut, Activation::Identity)
    }
}

impl SeparableConv {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C', H, W]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.pointwise.forward(convolve(&self.depthwise, input))
    }

    fn fold(self) -> Self {
        Self { pointwise: self.pointwise.fold(), ..self }
    }
}

impl Backbone for Xception {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let run = |blocks: &[SeparableBlock], map| blocks.iter().fold(map, |map, block| block.forward(map));
        let exit = |map| self.exit.iter().fold(map, |map, layer| layer.forward(map));
        let [first, second, third] = STAGE_ENDS;
        match stage {
            0 => {
                let map = self.stem.iter().fold(input, |map, layer| layer.forward(map)); // [B, 64, H/2, W/2]
                run(&self.blocks[..first], map) // [B, 128, H/4, W/4]
            }
            1 => run(&self.blocks[first..second], input), // [B, 256, H/8, W/8]
            2 => run(&self.blocks[second..third], input), // [B, 728, H/16, W/16]
            _ => exit(run(&self.blocks[third..], input)), // [B, 2048, H/32, W/32]
        }
    }

    /// Activates what no activation follows: a block begins with its own.
    fn finish_stage(&self, stage: usize, map: Tensor<4>) -> Tensor<4> {
        match stage {
            3 => map,
            _ => Activation::Relu.forward(map),
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        let [first, second, third] = ENTRY_CHANNELS;
        [first, second, third, EXIT_CHANNELS[1]]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&XCEPTION, image)
    }

    /// Blocks: those of timm, `conv1`, `conv2`, `block1` … `block12`, `conv3`, `conv4`, and `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = Vec::new();
        for (index, convolution) in self.stem.iter().enumerate() {
            groups.push(ParameterGroup::block("stem", format!("conv{}", index + 1), convolution));
        }
        for (index, block) in self.blocks.iter().enumerate() {
            groups.push(ParameterGroup::block(stage_of(index, STAGE_ENDS), format!("block{}", index + 1), block));
        }
        for (index, convolution) in self.exit.iter().enumerate() {
            groups.push(ParameterGroup::block("stage4", format!("conv{}", self.stem.len() + index + 1), convolution));
        }
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for Xception {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = global_average_pool(self.forward_features(images)); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `blocks.1.layers.1.pointwise.norm.bias` → `block2.rep.5.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let number = |index: &str| index.parse::<usize>().unwrap_or_default();
        match parts[..] {
            ["stem", layer, "conv", name] => format!("conv{}.{name}", number(layer) + 1),
            ["stem", layer, _, name] => format!("bn{}.{name}", number(layer) + 1),
            ["exit", layer, "depthwise", name] => format!("conv{}.conv1.{name}", number(layer) + 3),
            ["exit", layer, _, "conv", name] => format!("conv{}.pointwise.{name}", number(layer) + 3),
            ["exit", layer, _, _, name] => format!("bn{}.{name}", number(layer) + 3),
            ["classifier", name] => format!("fc.{name}"),
            ["blocks", block, "shortcut", "conv", name] => format!("block{}.skip.{name}", number(block) + 1),
            ["blocks", block, "shortcut", _, name] => format!("block{}.skipbn.{name}", number(block) + 1),
            ["blocks", block, "layers", layer, ref rest @ ..] => {
                // The sequence of the block is ReLU, convolution, normalization, and so on; the first has no first ReLU.
                let block = number(block);
                let place = 3 * number(layer) + if block == 0 { 0 } else { 1 };
                let rest = match *rest {
                    ["depthwise", name] => format!("{place}.conv1.{name}"),
                    [_, "conv", name] => format!("{place}.pointwise.{name}"),
                    [_, _, name] => format!("{}.{name}", place + 1),
                    _ => rest.join("."),
                };
                format!("block{}.rep.{rest}", block + 1)
            }
            _ => path.to_string(),
        }
    }

    fn classifier_prefix(&self) -> &'static str {
        "fc."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_follow_timm() {
        let network = XceptionConfig::new().init(&Device::flex());
        for (path, key) in [
            ("stem.0.conv.weight", "conv1.weight"),
            ("stem.1.norm.running_var", "bn2.running_var"),
            ("blocks.0.layers.0.depthwise.weight", "block1.rep.0.conv1.weight"),
            ("blocks.0.layers.1.pointwise.norm.bias", "block1.rep.4.bias"),
            ("blocks.1.layers.1.pointwise.norm.bias", "block2.rep.5.bias"),
            ("blocks.3.layers.2.pointwise.conv.weight", "block4.rep.7.pointwise.weight"),
            ("blocks.11.shortcut.conv.weight", "block12.skip.weight"),
            ("blocks.11.shortcut.norm.bias", "block12.skipbn.bias"),
            ("exit.0.depthwise.weight", "conv3.conv1.weight"),
            ("exit.1.pointwise.conv.weight", "conv4.pointwise.weight"),
            ("exit.1.pointwise.norm.weight", "bn4.weight"),
            ("classifier.bias", "fc.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }
}
