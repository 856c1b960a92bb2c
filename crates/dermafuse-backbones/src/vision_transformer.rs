//! Vision Transformer: patches as words, with attention between all of them; also as DINOv2 trained it.
//!
//! Paper: Dosovitskiy et al., 2020, <https://arxiv.org/abs/2010.11929>; Touvron et al., 2020 (DeiT),
//! <https://arxiv.org/abs/2012.12877>; Oquab et al., 2023 (DINOv2), <https://arxiv.org/abs/2304.07193>.
//! Source: timm `models/vision_transformer.py` (Apache-2.0), whose names the tensors have, and DINOv2's `models/vision_transformer.py`,
//! which has the same; weights: Google's ViT-B/16 (Apache-2.0), DeiT-S (Apache-2.0), DINOv2's (Apache-2.0).
//! Differences: the paper has no four stages; here each has a quarter of the blocks, and all have maps of one size, which are the
//! patches without the class token. The last is normalized. What does not fill a patch below or to the right is left out.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::Linear;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_init::{AddressedInit, AddressedParameter};
use dermafuse_kernels::{ValueFlow, linear, position_attention};

use crate::backbone::{Backbone, ParameterGroup, Pretrained, STAGES, global_average_pool};
use crate::layers::{
    Activation, LayerNorm, LayerNormConfig, StochasticDepth, StochasticDepthConfig, classes_of, convolve,
    linear_without_offset, logits_of, project,
};

/// Blocks of the small and the base network (Table 1 of the first paper; DeiT).
const BLOCKS: usize = 12;
/// Channels of an attention head.
const HEAD: usize = 64;
/// Hidden units of a block's perceptron, as a multiple of the channels.
const EXPANSION: usize = 4;
const NORM_EPSILON: f64 = 1e-6;
/// Side of the square of positions that are learnt: 224 pixels of 16, and 518 of 14.
const GRID_16: usize = 14;
const GRID_14: usize = 37;
/// What DINOv2's branches are multiplied by at first.
const FIRST_SCALE: f64 = 1e-5;
/// DINOv2 adds this to the number of patches before it divides by that of positions, against rounding.
const DINO_OFFSET: f64 = 0.1;

/// How positions are resized for images of another side than that of the training.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum PositionResampling {
    /// Cubic with antialiasing, as timm does.
    Antialiased,
    /// Cubic from the nearest four, from places that are a tenth of a patch too near to each other, as DINOv2 does.
    DinoV2,
}

/// What the classifier sees.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum TokenPooling {
    /// The normalized class token.
    ClassToken,
    /// The mean of the normalized patches.
    Mean,
}

/// Creates a [`VisionTransformer`].
#[derive(Config, Debug)]
pub struct VisionTransformerConfig {
    /// Side of a patch, in pixels.
    pub patch: usize,
    /// Channels of a token, a multiple of 64.
    pub channels: usize,
    /// Blocks, a multiple of 4.
    #[config(default = "BLOCKS")]
    pub blocks: usize,
    /// Side of the square of positions that the weights have.
    pub grid: usize,
    /// How positions are resized.
    #[config(default = "PositionResampling::Antialiased")]
    pub resampling: PositionResampling,
    /// What each branch is multiplied by at first, a learnt number for each channel; `None` for no such numbers.
    #[config(default = "None")]
    pub layer_scale: Option<f64>,
    /// What the classifier sees; networks that have the backbone inside see the map, that is, the patches.
    #[config(default = "TokenPooling::ClassToken")]
    pub pooling: TokenPooling,
    /// Probability of leaving out the last block's branches in training; earlier ones proportionally less.
    #[config(default = 0.0)]
    pub stochastic_depth: f64,
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
}

/// Patches with a class token and positions, blocks of attention, normalization, optional classifier.
///
/// What a stage hands on is its map with the class token in a row above it: see [`Backbone::stage_map`].
///
/// Should be created using [`VisionTransformerConfig`].
#[derive(Module, Debug)]
pub struct VisionTransformer {
    stem: Stem,
    blocks: Vec<Block>,
    norm: LayerNorm,
    classifier: Option<Linear>,
    #[module(skip)]
    channels: usize,
    #[module(skip)]
    patch: usize,
    #[module(skip)]
    pooling: TokenPooling,
}

/// Convolution of each patch, the class token before them, and where everything is.
#[derive(Module, Debug)]
struct Stem {
    conv: Conv2d,
    /// `[1, 1, C]`.
    class_token: Param<Tensor<3>>,
    /// Of the class token and of the square of patches, row by row: `[1, 1 + G², C]`.
    positions: Param<Tensor<3>>,
    #[module(skip)]
    grid: usize,
    #[module(skip)]
    resampling: PositionResampling,
}

/// Attention and a perceptron, each a residual branch behind a normalization.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    scale1: Option<LayerScale>,
    norm2: LayerNorm,
    expand: Linear,
    project: Linear,
    scale2: Option<LayerScale>,
    stochastic_depth: StochasticDepth,
}

/// Multi-head attention among all tokens.
#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    project: Linear,
}

/// A factor for each channel.
#[derive(Module, Debug)]
struct LayerScale {
    gamma: Param<Tensor<1>>,
}

impl VisionTransformerConfig {
    /// ViT-S/16, as timm and DeiT have it.
    pub fn small_16() -> Self {
        Self::new(16, 384, GRID_16)
    }

    /// ViT-B/16.
    pub fn base_16() -> Self {
        Self::new(16, 768, GRID_16)
    }

    /// DINOv2's ViT-S/14.
    pub fn dino_v2_small_14() -> Self {
        Self::new(14, 384, GRID_14).dino_v2()
    }

    /// DINOv2's ViT-B/14.
    pub fn dino_v2_base_14() -> Self {
        Self::new(14, 768, GRID_14).dino_v2()
    }

    fn dino_v2(self) -> Self {
        self.with_layer_scale(Some(FIRST_SCALE)).with_resampling(PositionResampling::DinoV2)
    }

    /// Initializes the network as timm does.
    pub fn init(&self, device: &Device) -> VisionTransformer {
        let Self { patch, channels, grid, .. } = *self;
        let stem = Stem {
            conv: Conv2dConfig::new([3, channels], [patch, patch]).with_stride([patch, patch]).init_addressed(device),
            class_token: Initializer::Normal { mean: 0.0, std: 1e-6 }.init_addressed([1, 1, channels], device),
            positions: normal().init_addressed([1, 1 + grid * grid, channels], device),
            grid,
            resampling: self.resampling,
        };
        let last = self.blocks.saturating_sub(1).max(1) as f64;
        let blocks = (0..self.blocks).map(|index| self.init_block(self.stochastic_depth * index as f64 / last, device));
        let blocks = blocks.collect();
        let norm = init_norm(channels, device);
        let classifier = self.num_classes.map(|classes| linear_without_offset([channels, classes], normal(), device));
        VisionTransformer { stem, blocks, norm, classifier, channels, patch, pooling: self.pooling }
    }

    fn init_block(&self, probability: f64, device: &Device) -> Block {
        let channels = self.channels;
        let linear = |inputs, outputs| linear_without_offset([inputs, outputs], normal(), device);
        let scale = || {
            let init = |value| LayerScale { gamma: Initializer::Constant { value }.init([channels], device) };
            self.layer_scale.map(init)
        };
        Block {
            norm1: init_norm(channels, device),
            attention: Attention { qkv: linear(channels, 3 * channels), project: linear(channels, channels) },
            scale1: scale(),
            norm2: init_norm(channels, device),
            expand: linear(channels, EXPANSION * channels),
            project: linear(EXPANSION * channels, channels),
            scale2: scale(),
            stochastic_depth: StochasticDepthConfig::new(probability).init(),
        }
    }
}

/// Of all linear layers and the positions.
fn normal() -> Initializer {
    Initializer::Normal { mean: 0.0, std: 0.02 }
}

fn init_norm(channels: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(channels).with_epsilon(NORM_EPSILON).init(device)
}

impl VisionTransformer {
    /// The network itself: it has no batch normalization.
    pub fn fold_batch_norm(self) -> Self {
        self
    }

    /// The normalized class token, which was trained to stand for the image.
    ///
    /// # Shapes
    ///
    /// images `[B, 3, H, W]` → `[B, C]`.
    pub fn forward_class_token(&self, images: Tensor<4>) -> Tensor<2> {
        let result = [0, 1, 2, 3].into_iter().fold(images, |map, stage| self.forward_stage(stage, map));
        let [batch, channels, ..] = result.dims();
        let token = self.norm.forward(2, tokens_of(result).narrow(1, 0, 1)); // [B, 1, C]
        token.reshape([batch, channels])
    }

    /// The blocks of a stage.
    fn blocks_of(&self, stage: usize) -> &[Block] {
        let count = self.blocks.len() / 4;
        match stage {
            0..3 => &self.blocks[stage * count..][..count],
            _ => &self.blocks[3 * count..],
        }
    }
}

/// A map with the class token above it as tokens, the class token first.
///
/// # Shapes
///
/// `[B, C, 1 + H, W]` → `[B, 1 + H·W, C]`.
fn tokens_of(result: Tensor<4>) -> Tensor<3> {
    let [batch, channels, rows, width] = result.dims();
    let class = result.clone().narrow(2, 0, 1).narrow(3, 0, 1).reshape([batch, channels, 1]);
    let patches = result.narrow(2, 1, rows - 1).reshape([batch, channels, (rows - 1) * width]);
    Tensor::cat(vec![class, patches], 2).permute([0, 2, 1])
}

/// The reverse; the class token is there once for each column.
///
/// # Shapes
///
/// `[B, 1 + H·W, C]` → `[B, C, 1 + H, W]`.
fn result_of(tokens: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, count, channels] = tokens.dims();
    let tokens = tokens.permute([0, 2, 1]); // [B, C, 1 + H·W]
    let class = tokens.clone().narrow(2, 0, 1).reshape([batch, channels, 1, 1]);
    let patches = tokens.narrow(2, 1, count - 1).reshape([batch, channels, height, width]);
    Tensor::cat(vec![class.repeat_dim(3, width), patches], 2)
}

impl Stem {
    /// # Shapes
    ///
    /// `[B, 3, H, W]` → `[B, 1 + h·w, C]` and `[h, w]`.
    fn forward(&self, images: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let map = convolve(&self.conv, images); // [B, C, h, w]
        let [batch, channels, height, width] = map.dims();
        let patches = map.reshape([batch, channels, height * width]).permute([0, 2, 1]); // [B, h·w, C]
        let class = self.class_token.val().expand([batch, 1, channels]);
        let tokens = Tensor::cat(vec![class, patches], 1); // [B, 1 + h·w, C]
        (tokens + self.positions([height, width]), [height, width])
    }

    /// The positions of a map's patches, the class token's first.
    ///
    /// # Shapes
    ///
    /// → `[1, 1 + h·w, C]`.
    fn positions(&self, [height, width]: [usize; 2]) -> Tensor<3> {
        let (positions, grid) = (self.positions.val(), self.grid);
        if [height, width] == [grid, grid] {
            return positions;
        }
        let [_, _, channels] = positions.dims();
        let device = positions.device();
        let resized = |rows: Tensor<2>, count: usize| {
            let weights = TensorData::new(self.resampling.weights(grid, count), [count, grid]);
            let weights = Tensor::<2>::from_data(weights, &device);
            let zeros = Tensor::zeros([rows.dims()[1]], &device);
            linear(weights, rows, zeros, Activation::Identity) // [count, …]
        };
        let square = positions.clone().narrow(1, 1, grid * grid).reshape([grid, grid * channels]);
        let rows = resized(square, height).reshape([height, grid, channels]); // [h, G, C]
        let columns = rows.permute([1, 0, 2]).reshape([grid, height * channels]);
        let columns = resized(columns, width).reshape([width, height, channels]); // [w, h, C]
        let map = columns.permute([1, 0, 2]).reshape([1, height * width, channels]);
        Tensor::cat(vec![positions.narrow(1, 0, 1), map], 1)
    }
}

impl PositionResampling {
    /// What each of `count` new places has of each of `grid` old ones, `[count, grid]`; rows sum to 1.
    fn weights(self, grid: usize, count: usize) -> Vec<f32> {
        let mut weights = vec![0.0; count * grid];
        for (place, row) in weights.chunks_exact_mut(grid).enumerate() {
            match self {
                Self::Antialiased => {
                    // PyTorch's `_upsample_bicubic2d_aa`, which is Pillow's filter.
                    let scale = grid as f64 / count as f64;
                    let wide = scale.max(1.0);
                    let center = scale * (place as f64 + 0.5);
                    let first = (center - 2.0 * wide + 0.5).max(0.0) as usize;
                    let end = ((center + 2.0 * wide + 0.5) as usize).min(grid);
                    let near = (first..end).map(|old| cubic((old as f64 + 0.5 - center) / wide, -0.5));
                    let near: Vec<f64> = near.collect();
                    let sum: f64 = near.iter().sum();
                    row[first..end].iter_mut().zip(near).for_each(|(weight, value)| *weight = value / sum);
                }
                Self::DinoV2 => {
                    // PyTorch's `_upsample_bicubic2d`, told the factor; what is beyond the edge is the edge.
                    let scale = grid as f64 / (count as f64 + DINO_OFFSET);
                    let center = scale * (place as f64 + 0.5) - 0.5;
                    let left = center.floor();
                    for offset in [-1.0, 0.0, 1.0, 2.0] {
                        let old = (left + offset).clamp(0.0, (grid - 1) as f64) as usize;
                        row[old] += cubic(left + offset - center, -0.75);
                    }
                }
            }
        }
        weights.into_iter().map(|weight| weight as f32).collect()
    }
}

/// Keys' cubic convolution kernel with its free number.
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    match x {
        x if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
        _ => 0.0,
    }
}

impl Block {
    /// # Shapes
    ///
    /// `[B, N, C]` → `[B, N, C]`.
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let attended = self.attention.forward(self.norm1.forward(2, input.clone()));
        let tokens = input + self.stochastic_depth.forward(scaled(self.scale1.as_ref(), attended));
        let hidden = project(&self.expand, Activation::Gelu, self.norm2.forward(2, tokens.clone())); // [B, N, 4*C]
        let transformed = project(&self.project, Activation::Identity, hidden);
        tokens + self.stochastic_depth.forward(scaled(self.scale2.as_ref(), transformed))
    }
}

fn scaled(scale: Option<&LayerScale>, branch: Tensor<3>) -> Tensor<3> {
    match scale {
        Some(LayerScale { gamma }) => branch * gamma.val().unsqueeze(),
        None => branch,
    }
}

impl Attention {
    /// # Shapes
    ///
    /// `[B, N, C]` → `[B, N, C]`.
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let [batch, count, channels] = input.dims();
        let heads = channels / HEAD;
        let qkv = project(&self.qkv, Activation::Identity, input); // [B, N, 3*C]
        let qkv = qkv.permute([0, 2, 1]); // [B, 3*C, N], each head after head
        let part = |index: usize| {
            let part = qkv.clone().narrow(1, index * channels, channels);
            part.reshape([batch * heads, HEAD, count]) // [B·heads, 64, N]
        };
        let query = part(0) * (HEAD as f64).powf(-0.5);
        let attended = position_attention(query, part(1), part(2), ValueFlow::Gather); // [B·heads, 64, N]
        let attended = attended.reshape([batch, channels, count]).permute([0, 2, 1]); // [B, N, C]
        project(&self.project, Activation::Identity, attended)
    }
}

impl Backbone for VisionTransformer {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let (tokens, size) = match stage {
            0 => self.stem.forward(input),
            _ => {
                let [_, _, rows, width] = input.dims();
                (tokens_of(input), [rows - 1, width])
            }
        };
        let tokens = self.blocks_of(stage).iter().fold(tokens, |tokens, block| block.forward(tokens));
        result_of(tokens, size) // [B, C, 1 + H/P, W/P]
    }

    fn stage_map(&self, result: Tensor<4>) -> Tensor<4> {
        let [_, _, rows, _] = result.dims();
        result.narrow(2, 1, rows - 1) // [B, C, H/P, W/P]
    }

    fn with_stage_map(&self, result: Tensor<4>, map: Tensor<4>) -> Tensor<4> {
        Tensor::cat(vec![result.narrow(2, 0, 1), map], 2)
    }

    /// Takes the class token off, and normalizes the deepest.
    fn finish_stage(&self, stage: usize, result: Tensor<4>) -> Tensor<4> {
        let map = self.stage_map(result); // [B, C, H/P, W/P]
        match stage {
            3 => self.norm.forward(1, map),
            _ => map,
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        [self.channels; 4]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [self.patch; 4]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        [image / self.patch; 4]
    }

    /// Blocks: `stem` (patches, class token and positions), `blocks.0` … `blocks.11`, `norm`, `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let mut groups = vec![ParameterGroup::of("stem", &self.stem)];
        let stages = STAGES.into_iter().enumerate();
        let blocks = stages.flat_map(|(stage, part)| self.blocks_of(stage).iter().map(move |block| (part, block)));
        let named = |(index, (part, block))| ParameterGroup::block(part, format!("blocks.{index}"), block);
        groups.extend(blocks.enumerate().map(named));
        groups.push(ParameterGroup::block("stage4", "norm", &self.norm));
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for VisionTransformer {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = match self.pooling {
            TokenPooling::ClassToken => self.forward_class_token(images),
            TokenPooling::Mean => global_average_pool(self.forward_features(images)),
        }; // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `blocks.3.attention.project.bias` → `blocks.3.attn.proj.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["stem", "conv", name] => format!("patch_embed.proj.{name}"),
            ["stem", "class_token"] => "cls_token".to_owned(),
            ["stem", "positions"] => "pos_embed".to_owned(),
            ["blocks", block, ref rest @ ..] => {
                let rest = match *rest {
                    ["attention", "project", name] => format!("attn.proj.{name}"),
                    ["attention", layer, name] => format!("attn.{layer}.{name}"),
                    ["expand", name] => format!("mlp.fc1.{name}"),
                    ["project", name] => format!("mlp.fc2.{name}"),
                    ["scale1", _] => "ls1.gamma".to_owned(),
                    ["scale2", _] => "ls2.gamma".to_owned(),
                    _ => rest.join("."),
                };
                format!("blocks.{block}.{rest}")
            }
            ["classifier", name] => format!("head.{name}"),
            _ => path.to_owned(),
        }
    }

    fn classifier_prefix(&self) -> &'static str {
        "head."
    }

    /// What DINOv2 puts in the place of patches that it hides in training.
    fn ignored_prefixes(&self) -> &'static [&'static str] {
        &["mask_token"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn published_keys_follow_timm() {
        let config = VisionTransformerConfig::new(16, 64, 2).with_blocks(4).with_layer_scale(Some(1.0));
        let network = config.init(&Device::flex());
        for (path, key) in [
            ("stem.conv.weight", "patch_embed.proj.weight"),
            ("stem.class_token", "cls_token"),
            ("stem.positions", "pos_embed"),
            ("blocks.3.norm1.weight", "blocks.3.norm1.weight"),
            ("blocks.3.attention.qkv.bias", "blocks.3.attn.qkv.bias"),
            ("blocks.3.attention.project.weight", "blocks.3.attn.proj.weight"),
            ("blocks.3.scale2.weight", "blocks.3.ls2.gamma"),
            ("blocks.3.expand.weight", "blocks.3.mlp.fc1.weight"),
            ("blocks.3.project.bias", "blocks.3.mlp.fc2.bias"),
            ("norm.bias", "norm.bias"),
            ("classifier.weight", "head.weight"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }

    #[test]
    fn resampling_by_hand() {
        for resampling in [PositionResampling::Antialiased, PositionResampling::DinoV2] {
            for (grid, count) in [(14, 6), (14, 20), (37, 16), (4, 1), (1, 3)] {
                for row in resampling.weights(grid, count).chunks_exact(grid) {
                    assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{resampling:?} from {grid} to {count}");
                }
            }
        }
        // Four halved: of the first place, at 1, the distances of 0.5, 1.5 and 2.5 are halved; what the kernel (-0.5) has there is
        // 0.8671875, 0.2265625 and -0.0703125, the first twice, in all 1.890625.
        let halved = PositionResampling::Antialiased.weights(4, 2);
        for (weight, value) in halved.iter().zip([0.8671875, 0.8671875, 0.2265625, -0.0703125]) {
            assert!((weight - value / 1.890625).abs() < 1e-6, "{halved:?}");
        }
        // Two to one: the place is 2 / 1.1 · 0.5 - 0.5, 0.409 of the way and not 0.5.
        let both = PositionResampling::DinoV2.weights(2, 1);
        assert!((both[0] - 0.601_897).abs() < 1e-5 && (both[1] - 0.398_103).abs() < 1e-5, "{both:?}");
    }

    #[test]
    fn a_map_goes_in_and_out_of_a_stage() {
        let device = Device::flex();
        let network = VisionTransformerConfig::new(4, 64, 2).with_blocks(4).init(&device);
        let images = Tensor::random([2, 3, 9, 13], Distribution::Default, &device);
        let result = network.forward_stage(0, images);
        let map = network.stage_map(result.clone());
        assert_eq!((result.dims(), map.dims()), ([2, 64, 3, 3], [2, 64, 2, 3]));
        let back = network.with_stage_map(result.clone(), map.clone());
        assert_eq!(back.into_data(), result.clone().into_data());
        let other = network.with_stage_map(result, map.clone() * 2.0);
        assert_eq!(network.stage_map(other).into_data(), (map * 2.0).into_data());
    }

    #[test]
    fn the_mean_of_patches_is_pooled_where_wanted() {
        let device = Device::flex();
        let config = VisionTransformerConfig::new(4, 64, 2).with_blocks(4).with_num_classes(Some(3));
        let network = config.with_pooling(TokenPooling::Mean).init(&device);
        let images = Tensor::<4>::random([2, 3, 8, 12], Distribution::Default, &device);
        let pooled = global_average_pool(network.forward_features(images.clone()));
        let expected = logits_of(network.classifier.as_ref(), pooled).into_data();
        network.forward_logits(images).into_data().assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-6, 1e-7));
    }
}
