//! Inception-V3: convolutions of several shapes side by side, large kernels split into small ones.
//!
//! Paper: Szegedy et al., 2015, <https://arxiv.org/abs/1512.00567>.
//! Source: torchvision `models/inception.py`; code BSD-3-Clause. torchvision's ImageNet weights are TensorFlow's
//! (Apache-2.0), ported.
//! Differences: the auxiliary classifier, which only training from scratch uses, is left out; loading passes over its
//! tensors (`AuxLogits.`), and parameters are counted without it. The cuts are the maps before the second pool and after
//! the blocks of 35, 17 and 8 pixels, i.e. torchvision's `Conv2d_4a_3x3`, `Mixed_5d`, `Mixed_6e` and `Mixed_7c`.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use dermafuse_init::{AddressedDropout, AddressedParameter};

use crate::backbone::{Backbone, ParameterGroup, Pretrained, global_average_pool, stage_of};
use crate::layers::{
    Activation, ConvNormAct, ConvNormActConfig, Padding, classes_of, linear_without_offset, logits_of,
};
use crate::stage_sides::{INCEPTION, stage_sides};

const NUM_FEATURES: usize = 2048;
/// Standard deviation of all weights; torchvision cuts the distribution at 20 of them, i.e. nowhere.
const WEIGHTS: Initializer = Initializer::Normal { mean: 0.0, std: 0.1 };
const NORM_EPSILON: f64 = 0.001;
/// torchvision's names of the convolutions before the blocks, three in the stem and two in the first stage.
const STEM_NAMES: [&str; 3] = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"];
const STAGE1_NAMES: [&str; 2] = ["Conv2d_3b_1x1", "Conv2d_4a_3x3"];
/// torchvision's names of the blocks, and the number of blocks after which stages 2 and 3 end.
const BLOCK_NAMES: [&str; 11] = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"];
const STAGE_ENDS: [usize; 2] = [3, 8];
/// From images normalized with ImageNet's mean and deviation to 2·image - 1, which the weights were trained on.
const INPUT_SCALE: [f32; 3] = [0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5];
const INPUT_SHIFT: [f32; 3] = [(0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5];

/// Creates an [`InceptionV3`].
#[derive(Config, Debug)]
pub struct InceptionV3Config {
    /// Classes of the classifier; `None` for no classifier.
    #[config(default = "None")]
    pub num_classes: Option<usize>,
    /// Probability of dropping a pooled feature before the classifier.
    #[config(default = 0.5)]
    pub dropout: f64,
    /// Takes images normalized with ImageNet's mean and standard deviation, and undoes that: the published weights were
    /// trained on values between -1 and 1. torchvision sets this with its weights; `false` takes such values as they are.
    #[config(default = true)]
    pub transform_input: bool,
}

/// Five convolutions, eleven blocks of parallel branches, optional classifier.
///
/// Should be created using [`InceptionV3Config`]. Images have at least 75 pixels on each side.
#[derive(Module, Debug)]
pub struct InceptionV3 {
    stem: Vec<ConvNormAct>,
    stage1: Vec<ConvNormAct>,
    pool: MaxPool2d,
    blocks: Vec<Mixed>,
    dropout: Dropout,
    classifier: Option<Linear>,
    transform_input: bool,
}

/// Branches on the same input, their outputs one after the other.
#[derive(Module, Debug)]
struct Mixed {
    branches: Vec<Branch>,
}

/// Optional pool → convolutions → optional last convolutions side by side.
#[derive(Module, Debug)]
struct Branch {
    mean: Option<AvgPool2d>,
    max: Option<MaxPool2d>,
    convs: Vec<ConvNormAct>,
    fork: Vec<ConvNormAct>,
}

/// What a branch is made of; each convolution is kernel height, kernel width, output channels.
struct Plan {
    name: &'static str,
    pool: Pool,
    convs: Vec<[usize; 3]>,
    fork: Vec<[usize; 3]>,
    /// The last convolution has stride 2 and no padding.
    reduces: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Pool {
    None,
    Mean,
    Max,
}

fn branch(name: &'static str, convs: &[[usize; 3]]) -> Plan {
    Plan { name, pool: Pool::None, convs: convs.to_vec(), fork: Vec::new(), reduces: false }
}

impl Plan {
    fn after(self, pool: Pool) -> Self {
        Self { pool, ..self }
    }

    fn reducing(self) -> Self {
        Self { reduces: true, ..self }
    }

    fn forked(self, channels: usize) -> Self {
        Self { fork: vec![[1, 3, channels], [3, 1, channels]], ..self }
    }

    /// Channels that the branch adds to the block's output.
    fn channels_out(&self, channels_in: usize) -> usize {
        match self.fork[..] {
            [] => self.convs.last().map_or(channels_in, |[.., channels]| *channels),
            _ => self.fork.iter().map(|[.., channels]| channels).sum(),
        }
    }
}

/// Figures 5 to 7 of the paper and its two reductions of the map, by block.
fn plans(block: usize) -> Vec<Plan> {
    match BLOCK_NAMES[block] {
        "5b" => mixed_35(32),
        "5c" | "5d" => mixed_35(64),
        "6a" => vec![
            branch("branch3x3", &[[3, 3, 384]]).reducing(),
            branch("branch3x3dbl", &[[1, 1, 64], [3, 3, 96], [3, 3, 96]]).reducing(),
            branch("branch_pool", &[]).after(Pool::Max),
        ],
        "6b" => mixed_17(128),
        "6c" | "6d" => mixed_17(160),
        "6e" => mixed_17(192),
        "7a" => vec![
            branch("branch3x3", &[[1, 1, 192], [3, 3, 320]]).reducing(),
            branch("branch7x7x3", &[[1, 1, 192], [1, 7, 192], [7, 1, 192], [3, 3, 192]]).reducing(),
            branch("branch_pool", &[]).after(Pool::Max),
        ],
        _ => vec![
            branch("branch1x1", &[[1, 1, 320]]),
            branch("branch3x3", &[[1, 1, 384]]).forked(384),
            branch("branch3x3dbl", &[[1, 1, 448], [3, 3, 384]]).forked(384),
            branch("branch_pool", &[[1, 1, 192]]).after(Pool::Mean),
        ],
    }
}

fn mixed_35(pooled: usize) -> Vec<Plan> {
    vec![
        branch("branch1x1", &[[1, 1, 64]]),
        branch("branch5x5", &[[1, 1, 48], [5, 5, 64]]),
        branch("branch3x3dbl", &[[1, 1, 64], [3, 3, 96], [3, 3, 96]]),
        branch("branch_pool", &[[1, 1, pooled]]).after(Pool::Mean),
    ]
}

fn mixed_17(width: usize) -> Vec<Plan> {
    let c = width;
    vec![
        branch("branch1x1", &[[1, 1, 192]]),
        branch("branch7x7", &[[1, 1, c], [1, 7, c], [7, 1, 192]]),
        branch("branch7x7dbl", &[[1, 1, c], [7, 1, c], [1, 7, c], [7, 1, c], [1, 7, 192]]),
        branch("branch_pool", &[[1, 1, 192]]).after(Pool::Mean),
    ]
}

impl InceptionV3Config {
    /// Initializes the network as torchvision's constructor does.
    pub fn init(&self, device: &Device) -> InceptionV3 {
        let stem = vec![
            layer(3, [3, 3, 32]).with_stride(2).with_padding(Padding::None).init(device),
            layer(32, [3, 3, 32]).with_padding(Padding::None).init(device),
            layer(32, [3, 3, 64]).init(device),
        ];
        let stage1 =
            vec![layer(64, [1, 1, 80]).init(device), layer(80, [3, 3, 192]).with_padding(Padding::None).init(device)];
        let pool = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).init();

        let mut channels = 192;
        let mut blocks = Vec::with_capacity(BLOCK_NAMES.len());
        for block in 0..BLOCK_NAMES.len() {
            let plans = plans(block);
            blocks.push(Mixed { branches: plans.iter().map(|plan| init_branch(channels, plan, device)).collect() });
            channels = plans.iter().map(|plan| plan.channels_out(channels)).sum();
        }

        let dropout = DropoutConfig::new(self.dropout).init();
        let classifier = self.num_classes.map(|classes| {
            let mut linear = linear_without_offset([NUM_FEATURES, classes], WEIGHTS, device);
            // PyTorch's default for the biases, which the constructor leaves alone.
            let bound = 1.0 / (NUM_FEATURES as f64).sqrt();
            linear.bias = Some(Initializer::Uniform { min: -bound, max: bound }.init_addressed([classes], device));
            linear
        });
        InceptionV3 { stem, stage1, pool, blocks, dropout, classifier, transform_input: self.transform_input }
    }
}

fn layer(channels_in: usize, [height, width, channels_out]: [usize; 3]) -> ConvNormActConfig {
    ConvNormActConfig::new([channels_in, channels_out], height)
        .with_kernel_width(Some(width))
        .with_initializer(Some(WEIGHTS))
        .with_norm_epsilon(NORM_EPSILON)
        .with_activation(Activation::Relu)
}

fn init_branch(channels_in: usize, plan: &Plan, device: &Device) -> Branch {
    let mean = AvgPool2dConfig::new([3, 3])
        .with_strides([1, 1])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_count_include_pad(true);
    let max = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]);

    let mut channels = channels_in;
    let mut convs = Vec::with_capacity(plan.convs.len());
    for (index, conv) in plan.convs.iter().enumerate() {
        let reduces = plan.reduces && index + 1 == plan.convs.len();
        let (stride, padding) = if reduces { (2, Padding::None) } else { (1, Padding::Half) };
        convs.push(layer(channels, *conv).with_stride(stride).with_padding(padding).init(device));
        channels = conv[2];
    }
    Branch {
        mean: (plan.pool == Pool::Mean).then(|| mean.init()),
        max: (plan.pool == Pool::Max).then(|| max.init()),
        convs,
        fork: plan.fork.iter().map(|conv| layer(channels, *conv).init(device)).collect(),
    }
}

impl InceptionV3 {
    /// The same network for prediction only, with each normalization merged into its convolution.
    pub fn fold_batch_norm(self) -> Self {
        let fold = |layers: Vec<ConvNormAct>| layers.into_iter().map(ConvNormAct::fold).collect();
        let fold_branch = |branch: Branch| Branch { convs: fold(branch.convs), fork: fold(branch.fork), ..branch };
        let fold_block = |block: Mixed| Mixed { branches: block.branches.into_iter().map(fold_branch).collect() };
        let blocks = self.blocks.into_iter().map(fold_block).collect();
        Self { stem: fold(self.stem), stage1: fold(self.stage1), blocks, ..self }
    }

    fn transformed(&self, images: Tensor<4>) -> Tensor<4> {
        if !self.transform_input {
            return images;
        }
        let device = images.device();
        let channels = |values| Tensor::<1>::from_floats(values, &device).reshape([1, 3, 1, 1]);
        images * channels(INPUT_SCALE) + channels(INPUT_SHIFT)
    }
}

impl Mixed {
    /// # Shapes
    ///
    /// `[B, C, H, W]` → `[B, C', H, W]`, or half the size (rounded down) in a block that reduces the map.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        Tensor::cat(self.branches.iter().map(|branch| branch.forward(input.clone())).collect(), 1)
    }
}

impl Branch {
    /// # Shapes
    ///
    /// As [`Mixed::forward`].
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let map = match (&self.mean, &self.max) {
            (Some(mean), _) => mean.forward(input),
            (_, Some(max)) => max.forward(input),
            _ => input,
        };
        let map = run(&self.convs, map);
        match self.fork[..] {
            [] => map,
            _ => Tensor::cat(self.fork.iter().map(|conv| conv.forward(map.clone())).collect(), 1),
        }
    }
}

fn run(layers: &[ConvNormAct], map: Tensor<4>) -> Tensor<4> {
    layers.iter().fold(map, |map, layer| layer.forward(map))
}

impl Backbone for InceptionV3 {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        let mix = |blocks: &[Mixed], map| blocks.iter().fold(map, |map, block| block.forward(map));
        let [second, third] = STAGE_ENDS;
        // The sizes of an image of 299 pixels.
        match stage {
            0 => {
                let map = run(&self.stem, self.transformed(input)); // [B, 64, 147, 147]
                run(&self.stage1, self.pool.forward(map)) // [B, 192, 71, 71]
            }
            1 => mix(&self.blocks[..second], self.pool.forward(input)), // [B, 288, 35, 35]
            2 => mix(&self.blocks[second..third], input),               // [B, 768, 17, 17]
            _ => mix(&self.blocks[third..], input),                     // [B, 2048, 8, 8]
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        [192, 288, 768, NUM_FEATURES]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [4, 8, 16, 32]
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        stage_sides(&INCEPTION, image)
    }

    /// Blocks: those of torchvision, `Conv2d_1a_3x3` … `Mixed_7c`, and `classifier`.
    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        let named = |part, names: &[&str], convolutions: &[ConvNormAct]| {
            let pairs = names.iter().zip(convolutions);
            pairs.map(|(name, convolution)| ParameterGroup::block(part, *name, convolution)).collect::<Vec<_>>()
        };
        let mut groups = named("stem", &STEM_NAMES, &self.stem);
        groups.extend(named("stage1", &STAGE1_NAMES, &self.stage1));
        let [second, third] = STAGE_ENDS;
        for (index, (name, block)) in BLOCK_NAMES.iter().zip(&self.blocks).enumerate() {
            groups.push(ParameterGroup::block(stage_of(index, [0, second, third]), format!("Mixed_{name}"), block));
        }
        groups.extend(ParameterGroup::classifier(self.classifier.as_ref()));
        groups
    }
}

impl Pretrained for InceptionV3 {
    fn num_classes(&self) -> Option<usize> {
        classes_of(self.classifier.as_ref())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.dropout.forward_addressed(global_average_pool(self.forward_features(images))); // [B, C]
        logits_of(self.classifier.as_ref(), features) // [B, K]
    }

    /// `blocks.4.branches.1.convs.2.norm.bias` → `Mixed_6b.branch7x7_3.bn.bias`.
    fn published_key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let number = |index: &str| index.parse::<usize>().unwrap_or_default();
        let kind = |layer| if layer == "norm" { "bn" } else { "conv" };
        match parts[..] {
            ["stem", conv, layer, name] => format!("{}.{}.{name}", STEM_NAMES[number(conv)], kind(layer)),
            ["stage1", conv, layer, name] => format!("{}.{}.{name}", STAGE1_NAMES[number(conv)], kind(layer)),
            ["classifier", name] => format!("fc.{name}"),
            ["blocks", block, "branches", branch, list, conv, layer, name] => {
                let block = number(block);
                let Plan { name: branch, convs, fork, .. } = &plans(block)[number(branch)];
                let conv = number(conv);
                let place = match (list, convs.len() + fork.len()) {
                    ("fork", _) => format!("_{}{}", convs.len() + 1, ["a", "b"][conv]),
                    (_, 1) => String::new(),
                    _ => format!("_{}", conv + 1),
                };
                format!("Mixed_{}.{branch}{place}.{}.{name}", BLOCK_NAMES[block], kind(layer))
            }
            _ => path.to_string(),
        }
    }

    fn classifier_prefix(&self) -> &'static str {
        "fc."
    }

    /// The auxiliary classifier.
    fn ignored_prefixes(&self) -> &'static [&'static str] {
        &["AuxLogits."]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_keys_follow_torchvision() {
        let network = InceptionV3Config::new().init(&Device::flex());
        for (path, key) in [
            ("stem.1.conv.weight", "Conv2d_2a_3x3.conv.weight"),
            ("stage1.1.norm.bias", "Conv2d_4a_3x3.bn.bias"),
            ("blocks.0.branches.0.convs.0.conv.weight", "Mixed_5b.branch1x1.conv.weight"),
            ("blocks.0.branches.3.convs.0.conv.weight", "Mixed_5b.branch_pool.conv.weight"),
            ("blocks.3.branches.0.convs.0.norm.weight", "Mixed_6a.branch3x3.bn.weight"),
            ("blocks.4.branches.1.convs.2.norm.bias", "Mixed_6b.branch7x7_3.bn.bias"),
            ("blocks.9.branches.1.convs.0.conv.weight", "Mixed_7b.branch3x3_1.conv.weight"),
            ("blocks.9.branches.1.fork.1.conv.weight", "Mixed_7b.branch3x3_2b.conv.weight"),
            ("blocks.10.branches.2.fork.0.norm.weight", "Mixed_7c.branch3x3dbl_3a.bn.weight"),
            ("classifier.weight", "fc.weight"),
        ] {
            assert_eq!(network.published_key(path), key);
        }
    }

    #[test]
    fn input_is_brought_to_minus_one_to_one() {
        let device = Device::flex();
        let network = InceptionV3Config::new().init(&device);
        let black = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225];
        let images = Tensor::<1>::from_floats(black, &device).reshape([1, 3, 1, 1]);
        let values: Vec<f32> = network.transformed(images).into_data().iter().collect();
        assert!(values.iter().all(|value| (value + 1.0).abs() < 1e-6), "{values:?}");
    }
}
