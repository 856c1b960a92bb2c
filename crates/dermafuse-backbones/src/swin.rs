//! Swin Transformer, first and second version: attention inside windows that shift from block to block.
//!
//! Paper: Liu et al., 2021, <https://arxiv.org/abs/2103.14030>; Liu et al., 2021, <https://arxiv.org/abs/2111.09883>.
//! Source: torchvision `models/swin_transformer.py`; code and ImageNet weights BSD-3-Clause.
//! Differences: none. The stages are the paper's four, before the merging of patches that follows; what is shown of the
//! last is normalized.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use dermafuse_init::{AddressedInit, AddressedParameter};
use dermafuse_kernels::{Windows, sum_activation, window_attention};

use crate::backbone::{Backbone, ParameterGroup, Pretrained, PublishedConstant, STAGES, global_average_pool};
use crate::layers::{
    Activation, LayerNorm, LayerNormConfig, StochasticDepth, StochasticDepthConfig, classes_of, convolve,
    linear_without_offset, logits_of, project,
};
use crate::stage_sides::{SWIN, stage_sides};

/// Table 7 of the first paper: blocks and attention heads of each stage of the tiny network.
const BLOCKS_TINY: [usize; 4] = [2, 2, 6, 2];
const HEADS_TINY: [usize; 4] = [3, 6, 12, 24];
const CHANNELS_TINY: usize = 96;
const WINDOW: usize = 7;
const WINDOW_V2: usize = 8;
const PATCH: usize = 4;
/// Hidden units of a block's perceptron, as a multiple of the channels.
const EXPANSION: usize = 4;
/// Hidden units of the second version's position network.
const POSITION_UNITS: usize = 512;
/// The second version's attention is at most 100 times a cosine; 10 times at first.
const MAX_LOGIT_SCALE: f64 = 100.0;
const FIRST_LOGIT_SCALE: f64 = 10.0;

/// Which paper's blocks a [`Swin`] has.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum SwinVersion {
    /// Dot-product attention with a table of position biases; normalization before each branch.
    V1,
    /// Cosine attention with position biases from a small network; normalization after each branch.
    V2,
}

/// Creates a [`Swin`].
#[derive(Config, Debug)]
pub struct SwinConfig {
    /// Which paper's blocks.
    pub version: SwinVersion,
    /// Side of the attention windows, in pixels of the map.
    pub window: usize,
    /// Blocks of each stage.
    pub blocks: [usize; 4],
    /// Attention heads of each stage.
    pub heads: [usize; 4],
    /// Channels of the first stage; each later stage has twice as many.
    pub channels: usize,
    /// Probability of leaving out the last block's branches in training; earlier ones proportionally less.
    pub stochastic_depth: f64,
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
}

/// Patches, four stages of blocks with merging of patches between them, normalization, optional classifier.
///
/// Should be created using [`SwinConfig`].
#[derive(Module, Debug)]
pub struct Swin {
    stem: Stem,
    stages: Vec<Stage>,
    norm: LayerNorm,
    classifier: Option<Linear>,
    #[module(skip)]
    channels: usize,
    #[module(skip)]
    window: usize,
}

/// Convolution of each 4×4 patch, then normalization.
#[derive(Module, Debug)]
struct Stem {
    conv: Conv2d,
    norm: LayerNorm,
}

/// Blocks of one size, after the merging from the stage before.
#[derive(Module, Debug)]
struct Stage {
    merging: Option<Merging>,
    blocks: Vec<Block>,
}

/// Four neighbours become one pixel of twice the channels.
#[derive(Module, Debug)]
struct Merging {
    reduction: Linear,
    norm: LayerNorm,
    #[module(skip)]
    version: SwinVersion,
}

/// Window attention and a perceptron, each a residual branch.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attention: WindowAttention,
    norm2: LayerNorm,
    expand: Linear,
    project: Linear,
    stochastic_depth: StochasticDepth,
    #[module(skip)]
    version: SwinVersion,
}

/// Multi-head attention among the pixels of a window.
#[derive(Module, Debug)]
struct WindowAttention {
    qkv: Linear,
    project: Linear,
    similarity: Similarity,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    window: usize,
    /// How far windows are moved, before the map's size is looked at.
    #[module(skip)]
    shift: usize,
}

/// How queries and keys are compared.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a handful exist at a time, and Burn's modules cannot be boxed")]
enum Similarity {
    /// Scaled dot product, plus a learned number for each relative position.
    Dot(Dot),
    /// Scaled cosine, plus what a network makes of each relative position.
    Cosine(Cosine),
}

#[derive(Module, Debug)]
struct Dot {
    /// `[(2w - 1)², heads]`.
    table: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Cosine {
    /// Logarithm of the scale, `[heads, 1, 1]`.
    logit_scale: Param<Tensor<3>>,
    hidden: Linear,
    output: Linear,
}

impl SwinConfig {
    /// Swin-T.
    pub fn tiny() -> Self {
        Self::new(SwinVersion::V1, WINDOW, BLOCKS_TINY, HEADS_TINY, CHANNELS_TINY, 0.2)
    }

    /// SwinV2-T, windows of 8.
    pub fn v2_tiny() -> Self {
        Self::new(SwinVersion::V2, WINDOW_V2, BLOCKS_TINY, HEADS_TINY, CHANNELS_TINY, 0.2)
    }

    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> Swin {
        let stem = Stem {
            conv: Conv2dConfig::new([3, self.channels], [PATCH, PATCH])
                .with_stride([PATCH, PATCH])
                .init_addressed(device),
            norm: LayerNormConfig::new(self.channels).init(device),
        };

        let total: usize = self.blocks.iter().sum();
        let mut first = 0;
        let mut stages = Vec::with_capacity(4);
        for (stage, (count, heads)) in self.blocks.into_iter().zip(self.heads).enumerate() {
            let channels = self.channels << stage;
            let merging = (stage > 0).then(|| init_merging(channels, self.version, device));
            let blocks = (0..count).map(|index| {
                let probability = self.stochastic_depth * (first + index) as f64 / (total - 1) as f64;
                let shift = if index % 2 == 0 { 0 } else { self.window / 2 };
                self.init_block(channels, heads, shift, probability, device)
            });
            stages.push(Stage { merging, blocks: blocks.collect() });
            first += count;
        }

        let features = self.channels << 3;
        let norm = LayerNormConfig::new(features).init(device);
        let classifier = self.num_classes.map(|classes| linear_without_offset([features, classes], normal(), device));
        Swin { stem, stages, norm, classifier, channels: self.channels, window: self.window }
    }

    fn init_block(&self, channels: usize, heads: usize, shift: usize, probability: f64, device: &Device) -> Block {
        let linear = |inputs, outputs| linear_without_offset([inputs, outputs], normal(), device);
        let similarity = match self.version {
            SwinVersion::V1 => {
                let positions = (2 * self.window - 1).pow(2);
                Similarity::Dot(Dot { table: normal().init_addressed([positions, heads], device) })
            }
            SwinVersion::V2 => Similarity::Cosine(Cosine {
                logit_scale: Initializer::Constant { value: FIRST_LOGIT_SCALE.ln() }.init([heads, 1, 1], device),
                hidden: linear(2, POSITION_UNITS),
                output: init_linear_without_bias([POSITION_UNITS, heads], device),
            }),
        };
        let attention = WindowAttention {
            qkv: linear(channels, 3 * channels),
            project: linear(channels, channels),
            similarity,
            heads,
            window: self.window,
            shift,
        };
        Block {
            norm1: LayerNormConfig::new(channels).init(device),
            attention,
            norm2: LayerNormConfig::new(channels).init(device),
            expand: linear(channels, EXPANSION * channels),
            project: linear(EXPANSION * channels, channels),
            stochastic_depth: StochasticDepthConfig::new(probability).init(),
            version: self.version,
        }
    }
}

/// Of all linear layers and position tables.
fn normal() -> Initializer {
    Initializer::Normal { mean: 0.0, std: 0.02 }
}

fn init_linear_without_bias([inputs, outputs]: [usize; 2], device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).with_bias(false).with_initializer(normal()).init_addressed(device)
}

/// `channels` are those of the stage that follows.
fn init_merging(channels: usize, version: SwinVersion, device: &Device) -> Merging {
    let normalized = match version {
        SwinVersion::V1 => 2 * channels,
        SwinVersion::V2 => channels,
    };
    Merging {
        reduction: init_linear_without_bias([2 * channels, channels], device),
        norm: LayerNormConfig::new(normalized).init(device),
        version,
    }
}

impl Swin {
    /// The network itself: it has no batch normalization.
    pub fn fold_batch_norm(self) -> Self {
        self
    }

    /// What comes before the blocks of a stage (0 to 3): the stem, or the merging of patches. The original implementation counts
    /// a merging to the stage before it; networks that look at maps where it does take them from here.
    ///
    /// # Shapes
    ///
    /// images `[B, 3, H, W]` → `[B, C, H / 4, W / 4]` (rounded down), or a map `[B, C, H, W]` → `[B, 2 * C, H / 2, W / 2]`
    /// (rounded up).
    ///
    /// # Panics
    ///
    /// If there is no such stage.
    pub fn forward_entry(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let map = match &self.stages[stage].merging {
            None => self.stem.forward(input),
            Some(merging) => merging.forward(input.permute([0, 2, 3, 1])), // [B, H/2, W/2, 2*C]
        };
        map.permute([0, 3, 1, 2]) // [B, C_i, H/s_i, W/s_i]
    }

    /// The blocks of a stage, 0 to 3.
    ///
    /// # Shapes
    ///
    /// `[B, C, H, W]` → the same.
    ///
    /// # Panics
    ///
    /// If there is no such stage.
    pub fn forward_blocks(&self, stage: usize, map: Tensor<4>) -> Tensor<4> {
        let map = map.permute([0, 2, 3, 1]); // [B, H, W, C]
        self.stages[stage].blocks.iter().fold(map, |map, block| block.forward(map)).permute([0, 3, 1, 2])
    }
}

impl Stem {
    /// # Shapes
    ///
    /// `[B, 3, H, W]` → `[B, H / 4, W / 4, C]` (rounded down).
    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.norm.forward(3, convolve(&self.conv, images).permute([0, 2, 3, 1]))
    }
}

impl Merging {
    /// # Shapes
    ///
    /// `[B, H, W, C]` → `[B, H / 2, W / 2, 2 * C]` (rounded up).
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = pad_to_multiple(input, 2);
        let [batch, height, width, channels] = map.dims();
        // Neighbours in the order of torchvision: down before right.
        let map = map.reshape([batch, height / 2, 2, width / 2, 2, channels]).permute([0, 1, 3, 4, 2, 5]).reshape([
            batch,
            height / 2,
            width / 2,
            4 * channels,
        ]);
        match self.version {
            SwinVersion::V1 => project(&self.reduction, Activation::Identity, self.norm.forward(3, map)),
            SwinVersion::V2 => self.norm.forward(3, project(&self.reduction, Activation::Identity, map)),
        }
    }
}

/// Adds zeros below and to the right.
///
/// # Shapes
///
/// `[B, H, W, C]` → `[B, H', W', C]`, the next multiples of `size`.
fn pad_to_multiple(map: Tensor<4>, size: usize) -> Tensor<4> {
    let [batch, height, width, channels] = map.dims();
    let (below, right) = (height.next_multiple_of(size) - height, width.next_multiple_of(size) - width);
    let zeros = |shape: [usize; 4], map: &Tensor<4>| Tensor::zeros(shape, &map.device());
    let map = match below {
        0 => map,
        _ => Tensor::cat(vec![map.clone(), zeros([batch, below, width, channels], &map)], 1),
    };
    match right {
        0 => map,
        _ => Tensor::cat(vec![map.clone(), zeros([batch, height + below, right, channels], &map)], 2),
    }
}

impl Block {
    /// # Shapes
    ///
    /// `[B, H, W, C]` → `[B, H, W, C]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let perceptron = |map| {
            let hidden = project(&self.expand, Activation::Gelu, map); // [B, H, W, 4*C]
            project(&self.project, Activation::Identity, hidden)
        };
        let (attended, input) = match self.version {
            SwinVersion::V1 => (self.attention.forward(self.norm1.forward(3, input.clone())), input),
            SwinVersion::V2 => (self.norm1.forward(3, self.attention.forward(input.clone())), input),
        };
        let map = sum_activation(self.stochastic_depth.forward(attended), input, Activation::Identity);
        let transformed = match self.version {
            SwinVersion::V1 => perceptron(self.norm2.forward(3, map.clone())),
            SwinVersion::V2 => self.norm2.forward(3, perceptron(map.clone())),
        };
        sum_activation(self.stochastic_depth.forward(transformed), map, Activation::Identity)
    }
}

impl WindowAttention {
    /// # Shapes
    ///
    /// `[B, H, W, C]` → `[B, H, W, C]`.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = input.dims();
        let map = pad_to_multiple(input, self.window);
        let [_, padded_height, padded_width, _] = map.dims();
        // A map of one window has nothing to shift.
        let shift = [padded_height, padded_width].map(|side| if self.window >= side { 0 } else { self.shift });
        let cosine = matches!(self.similarity, Similarity::Cosine(_));
        let windows = Windows { side: self.window, shift, heads: self.heads, cosine };

        let map = self.queries_keys_values(map); // [B, H', W', 3*C]
        let (scale, bias) = (self.similarity.scale(&map), self.similarity.position_bias(self.window, &map.device()));
        let attended = window_attention(map, scale, bias, windows); // [B, H', W', C]
        project(&self.project, Activation::Identity, attended.narrow(1, 0, height).narrow(2, 0, width))
    }

    /// # Shapes
    ///
    /// `[B, H, W, C]` → `[B, H, W, 3 * C]`.
    fn queries_keys_values(&self, map: Tensor<4>) -> Tensor<4> {
        match (&self.similarity, &self.qkv.bias) {
            // The second version's keys have no offset; the published vector has a place for it all the same.
            (Similarity::Cosine(_), Some(bias)) => {
                let [.., channels] = map.dims();
                let bias = bias.val();
                let zeros = Tensor::zeros([channels], &map.device());
                let (of_query, of_value) =
                    (bias.clone().narrow(0, 0, channels), bias.narrow(0, 2 * channels, channels));
                let bias = Tensor::cat(vec![of_query, zeros, of_value], 0); // [3*C]
                dermafuse_kernels::linear(map, self.qkv.weight.val(), bias, Activation::Identity)
            }
            _ => project(&self.qkv, Activation::Identity, map),
        }
    }
}

impl Similarity {
    /// What the products of queries and keys are multiplied by.
    ///
    /// # Shapes
    ///
    /// `[B, H, W, 3 * C]` → `[heads]`.
    fn scale(&self, qkv: &Tensor<4>) -> Tensor<1> {
        match self {
            Self::Dot(Dot { table }) => {
                let ([.., channels], [_, heads]) = (qkv.dims(), table.lazy_shape().dims());
                Tensor::full([heads], ((channels / (3 * heads)) as f64).powf(-0.5), &qkv.device())
            }
            Self::Cosine(Cosine { logit_scale, .. }) => {
                logit_scale.val().clamp_max(MAX_LOGIT_SCALE.ln()).exp().reshape([-1])
            }
        }
    }

    /// # Shapes
    ///
    /// → `[heads, N, N]`.
    fn position_bias(&self, window: usize, device: &Device) -> Tensor<3> {
        let index: Vec<i64> = position_index(window);
        let index = Tensor::<1, Int>::from_data(TensorData::from(index.as_slice()), device);
        let pixels = window * window;
        let biases = |table: Tensor<2>| {
            let [_, heads] = table.dims();
            table.select(0, index).reshape([pixels, pixels, heads]).permute([2, 0, 1])
        };
        match self {
            Self::Dot(Dot { table }) => biases(table.val()),
            Self::Cosine(Cosine { hidden, output, .. }) => {
                let coordinates = TensorData::new(position_coordinates(window), [(2 * window - 1).pow(2), 2]);
                let coordinates = Tensor::<2>::from_data(coordinates, device);
                let hidden = project(hidden, Activation::Relu, coordinates); // [(2w - 1)², 512]
                biases(Activation::Sigmoid.forward(project(output, Activation::Identity, hidden)) * 16.0)
            }
        }
    }
}

/// For each pair of a window's pixels, the row of the position table.
fn position_index(window: usize) -> Vec<i64> {
    let place = |pixel: usize| [pixel / window, pixel % window].map(|place| place as i64);
    let reach = window as i64 - 1;
    let pairs = (0..window * window).flat_map(|from| (0..window * window).map(move |to| (from, to)));
    pairs
        .map(|(from, to)| {
            let ([row, column], [other_row, other_column]) = (place(from), place(to));
            (row - other_row + reach) * (2 * reach + 1) + column - other_column + reach
        })
        .collect()
}

/// Each relative position, logarithmic and within about −1…1: row and column, `[(2w - 1)², 2]`.
fn position_coordinates(window: usize) -> Vec<f32> {
    let reach = window as i32 - 1;
    let logarithmic = |offset: i32| {
        let wide = 8.0 * offset as f32 / reach as f32;
        wide.signum() * (wide.abs() + 1.0).log2() / 3.0
    };
    let offsets = (-reach..=reach).flat_map(|row| (-reach..=reach).map(move |column| [row, column]));
    offsets.flat_map(|offset| offset.map(logarithmic)).collect()
}

impl Backbone for Swin {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        self.forward_blocks(stage, self.forward_entry(stage, input)) // [B, C_i, H/s_i, W/s_i]
    }

    /// Normalizes the deepest.
    fn finish_stage(&self, stage: usize, map: Tensor<4>) -> Tensor<4> {
        match stage {
            3 => self.norm.forward(3, map.permute([0, 2, 3, 1])).permute([0, 3, 1, 2]), // [B, C, H/32, W/32]
            _ => map,
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|stage| self.channels << stage)
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&SWIN, image)
    }

    /// Blocks: `stem`, `stage1.0`, …, `merging1`, `stage2.0`, …, `norm`, `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        for (index, (part, stage)) in STAGES.into_iter().zip(&self.stages).enumerate() {
            let merging = stage.merging.iter();
            groups.extend(merging.map(|module| ParameterGroup::block(part, format!("merging{index}"), module)));
            groups.extend(ParameterGroup::blocks(part, part, &stage.blocks));
        }
        groups.push(ParameterGroup::block("stage4", "norm", &self.norm));
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for Swin {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = global_average_pool(self.forward_features(images)); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `stages.1.blocks.0.attention.qkv.weight` → `features.3.0.attn.qkv.weight`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        // Stage 0 is layer 1; the later ones come after a layer that merges.
        let layer = |stage: &str| 2 * stage.parse::<usize>().unwrap_or_default();
        match parts[..] {
            ["stem", "conv", name] => format!("features.0.0.{name}"),
            ["stem", _, name] => format!("features.0.2.{name}"),
            ["stages", stage, "merging", ref rest @ ..] => format!("features.{}.{}", layer(stage), rest.join(".")),
            ["stages", stage, "blocks", block, ref rest @ ..] => {
                let rest = match *rest {
                    ["attention", "project", name] => format!("attn.proj.{name}"),
                    ["attention", "similarity", .., "table"] => "attn.relative_position_bias_table".to_string(),
                    ["attention", "similarity", .., "logit_scale"] => "attn.logit_scale".to_string(),
                    ["attention", "similarity", .., "hidden", name] => format!("attn.cpb_mlp.0.{name}"),
                    ["attention", "similarity", .., "output", name] => format!("attn.cpb_mlp.2.{name}"),
                    ["attention", part, name] => format!("attn.{part}.{name}"),
                    ["expand", name] => format!("mlp.0.{name}"),
                    ["project", name] => format!("mlp.3.{name}"),
                    _ => rest.join("."),
                };
                format!("features.{}.{block}.{rest}", layer(stage) + 1)
            }
            ["classifier", name] => format!("head.{name}"),
            _ => path.to_string(),
        }
    }

    fn classifier_prefix(&self) -> &'static str {
        "head."
    }

    fn published_constants(&self) -> Vec<PublishedConstant> {
        let (window, reach) = (self.window, 2 * self.window - 1);
        let mut constants = Vec::new();
        for (stage, blocks) in self.stages.iter().map(|stage| &stage.blocks).enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                let key = |name: &str| format!("features.{}.{index}.attn.{name}", 2 * stage + 1);
                constants.push(PublishedConstant::integers(key("relative_position_index"), position_index(window)));
                if block.version == SwinVersion::V2 {
                    let coordinates = position_coordinates(window);
                    let key = key("relative_coords_table");
                    constants.push(PublishedConstant::floats(key, vec![1, reach, reach, 2], coordinates));
                }
            }
        }
        constants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_follow_torchvision() {
        let network = SwinConfig::v2_tiny().init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "features.0.0.weight"),
            ("stem.norm.bias", "features.0.2.bias"),
            ("stages.0.blocks.1.norm1.weight", "features.1.1.norm1.weight"),
            ("stages.0.blocks.1.attention.qkv.bias", "features.1.1.attn.qkv.bias"),
            ("stages.2.blocks.5.attention.project.weight", "features.5.5.attn.proj.weight"),
            ("stages.0.blocks.0.attention.similarity.Dot.table", "features.1.0.attn.relative_position_bias_table"),
            ("stages.0.blocks.0.attention.similarity.Cosine.logit_scale", "features.1.0.attn.logit_scale"),
            ("stages.0.blocks.0.attention.similarity.Cosine.output.weight", "features.1.0.attn.cpb_mlp.2.weight"),
            ("stages.1.merging.reduction.weight", "features.2.reduction.weight"),
            ("stages.3.blocks.0.expand.bias", "features.7.0.mlp.0.bias"),
            ("stages.3.blocks.0.project.weight", "features.7.0.mlp.3.weight"),
            ("norm.weight", "norm.weight"),
            ("classifier.bias", "head.bias"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }

    #[test]
    fn relative_positions_by_hand() {
        // Pixels of a 2×2 window see offsets −1, 0, 1 in both directions: rows of a 3×3 table.
        assert_eq!(position_index(2)[..4], [4, 3, 1, 0]);
        assert_eq!(position_index(2)[12..], [8, 7, 5, 4]);
        let coordinates = position_coordinates(3);
        assert_eq!(coordinates.len(), 50);
        assert!((coordinates[0] + 9.0_f32.log2() / 3.0).abs() < 1e-6 && coordinates[24] == 0.0);
    }
}
