//! What every backbone offers: feature maps, their shapes, and groups of parameters.

use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param, ParamGroup};
use burn::tensor::Tensor;

/// A convolutional or transformer network that turns images into feature maps.
///
/// The bounds are what a generic `struct Network<B: Backbone>` needs to derive `Module`.
pub trait Backbone: Module + ModuleDisplay + Sync {
    /// One of the four stages, 0 to 3 (other numbers have no meaning); the first takes images and includes the stem.
    ///
    /// Its result is what the next stage goes on from: a network that refines the maps between the stages takes the map from it by
    /// [`stage_map`](Self::stage_map) and gives the next one the result [with a refined map](Self::with_stage_map) of the same
    /// shape. What is shown of it, [`finish_stage`](Self::finish_stage) says.
    ///
    /// # Shapes
    ///
    /// images `[B, 3, H, W]` → `[B, C_0, H / s_0, W / s_0]`, or the map of the stage before → `[B, C_i, H / s_i, W / s_i]`, with
    /// `C_i` of [`stage_channels`](Self::stage_channels) and `s_i` of [`stage_strides`](Self::stage_strides). ResNets and
    /// mobile networks round fractions up; architectures with pools of 2×2 round down, and those with unpadded convolutions
    /// lose up to four more pixels. Vision transformers have one row more, for the class token.
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4>;

    /// The map in a stage's result: the result itself, unless the architecture hands on more from stage to stage, as vision
    /// transformers do.
    ///
    /// # Shapes
    ///
    /// `[B, C_i, …]` → `[B, C_i, H / s_i, W / s_i]`.
    fn stage_map(&self, result: Tensor<4>) -> Tensor<4> {
        result
    }

    /// A stage's result with another map of the same shape in it: the map itself, unless [`stage_map`](Self::stage_map) takes a
    /// part.
    ///
    /// # Shapes
    ///
    /// `[B, C_i, …]` and `[B, C_i, H / s_i, W / s_i]` → `[B, C_i, …]`.
    fn with_stage_map(&self, _result: Tensor<4>, map: Tensor<4>) -> Tensor<4> {
        map
    }

    /// What is shown of a stage's result: the map in it, unless the architecture normalizes or activates it outside its stages.
    ///
    /// # Shapes
    ///
    /// What [`forward_stage`](Self::forward_stage) gives → `[B, C_i, H / s_i, W / s_i]`.
    fn finish_stage(&self, _stage: usize, result: Tensor<4>) -> Tensor<4> {
        self.stage_map(result)
    }

    /// Feature maps of the four stages, shallow to deep, finished.
    ///
    /// # Shapes
    ///
    /// images `[B, 3, H, W]` → four maps `[B, C_i, H / s_i, W / s_i]`.
    fn forward_stages(&self, images: Tensor<4>) -> [Tensor<4>; 4] {
        let mut map = images;
        [0, 1, 2, 3].map(|stage| {
            map = self.forward_stage(stage, map.clone()); // [B, C_i, H/s_i, W/s_i]
            self.finish_stage(stage, map.clone())
        })
    }

    /// The last feature map, as the architecture's own classifier sees it before pooling.
    ///
    /// # Shapes
    ///
    /// images `[B, 3, H, W]` → `[B, C, H', W']`, `C` = [`num_features`](Self::num_features).
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        let map = [0, 1, 2, 3].into_iter().fold(images, |map, stage| self.forward_stage(stage, map));
        self.finish_stage(3, map) // [B, C, H', W']
    }

    /// Channels of the last feature map.
    fn num_features(&self) -> usize {
        self.stage_channels()[3]
    }

    /// Channels of the four stages.
    fn stage_channels(&self) -> [usize; 4];

    /// Factors by which the four stages are smaller than the image.
    fn stage_strides(&self) -> [usize; 4];

    /// Sides of the four stages' maps for images of a side: by the strides, fractions rounded up, unless the architecture does
    /// otherwise.
    fn stage_sides(&self, image: usize) -> [usize; 4] {
        let mut before = (1, image);
        self.stage_strides().map(|stride| {
            before = (stride, before.1.div_ceil(stride / before.0));
            before.1
        })
    }

    /// All parameters in disjoint groups, one for each block of the architecture, from the input to the output, so stem first and
    /// classifier (if any) last: for block-wise unfreezing with `freeze_group`/`unfreeze_group` and for learning rates per group.
    /// Their names are unlike each other.
    fn parameter_groups(&self) -> Vec<ParameterGroup>;
}

/// A backbone that was published with ImageNet weights: it has a classifier and the publisher's key names.
pub trait Pretrained: Backbone {
    /// Classes of the classifier, `None` without one.
    fn num_classes(&self) -> Option<usize>;

    /// Classifier logits.
    ///
    /// # Shapes
    ///
    /// images `[B, 3, H, W]` → `[B, K]`.
    ///
    /// # Panics
    ///
    /// Without a classifier, see [`num_classes`](Self::num_classes).
    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2>;

    /// The published name of the tensor at a module path (`stem.conv.weight` → `conv1.weight`).
    fn published_key(&self, path: &str) -> String;

    /// The published name of a tensor that older files spell differently; other names unchanged.
    fn modern_key(&self, key: &str) -> String {
        key.to_string()
    }

    /// What the published names of the classifier's tensors begin with (`fc.`).
    fn classifier_prefix(&self) -> &'static str;

    /// What the names of tensors begin with that published files have and the network has not: a part that was left out
    /// on purpose. Loading passes over them.
    fn ignored_prefixes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Tensors of published files that follow from the architecture. Loading passes over them, saving writes them.
    fn published_constants(&self) -> Vec<PublishedConstant> {
        Vec::new()
    }
}

/// A tensor that the publisher stores beside the weights although it follows from the architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedConstant {
    /// Published name.
    pub key: String,
    /// Shape in PyTorch's order of dimensions.
    pub shape: Vec<usize>,
    /// The values.
    pub values: ConstantValues,
}

/// The values of a [`PublishedConstant`], by type.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstantValues {
    /// 64-bit integers.
    Integers(Vec<i64>),
    /// 32-bit floats.
    Floats(Vec<f32>),
}

impl PublishedConstant {
    /// A vector of integers.
    pub fn integers(key: String, values: Vec<i64>) -> Self {
        Self { key, shape: vec![values.len()], values: ConstantValues::Integers(values) }
    }

    /// Floats of some shape.
    pub fn floats(key: String, shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self { key, shape, values: ConstantValues::Floats(values) }
    }
}

/// A block of a backbone: parameters that are frozen, unfrozen or scheduled together.
///
/// The group holds parameter identities, so it works unchanged on a network that has the backbone inside.
///
/// ```
/// use burn::tensor::Device;
/// use dermafuse_backbones::{Backbone, BackboneKind};
///
/// let groups = BackboneKind::ResNet18.init(None, &Device::flex()).parameter_groups();
/// let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
/// assert_eq!(names[..4], ["stem", "layer1.0", "layer1.1", "layer2.0"]);
/// assert!(groups[3].is_in("layer2") && groups[3].is_in("stage2") && !groups[3].is_in("layer1"));
/// ```
#[derive(Clone, Debug)]
pub struct ParameterGroup {
    /// Name of the block within the backbone. Blocks of one module begin with the module's name and a dot: `layer4.0`, `layer4.1`.
    pub name: String,
    /// The part of the backbone that the block is in: `stem`, `stage1` … `stage4`, `classifier`.
    pub part: &'static str,
    /// The parameters, and the training flags of the layers that have one.
    pub group: ParamGroup,
}

impl ParameterGroup {
    /// All parameters of a module as a part of one block, which is called as the part is.
    pub fn of<M: Module>(part: &'static str, module: &M) -> Self {
        Self::block(part, part, module)
    }

    /// All parameters of a module as a block of a part.
    pub fn block<M: Module>(part: &'static str, name: impl Into<String>, module: &M) -> Self {
        Self { name: name.into(), part, group: ParamGroup::ids_from_module(module.clone()) }
    }

    /// The blocks of a module, counted from 0: `layer4.0`, `layer4.1`.
    pub(crate) fn blocks<M: Module>(part: &'static str, module: &str, blocks: &[M]) -> Vec<Self> {
        let named = |(index, block): (usize, &M)| Self::block(part, format!("{module}.{index}"), block);
        blocks.iter().enumerate().map(named).collect()
    }

    pub(crate) fn classifier<M: Module>(classifier: Option<&M>) -> Option<Self> {
        classifier.map(|classifier| Self::of("classifier", classifier))
    }

    /// Whether a name means the block: its own, that of the module that it is in (`layer4` of `layer4.0`), or that of its part.
    #[must_use]
    pub fn is_in(&self, name: &str) -> bool {
        let is_of_module = || self.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.name == name || self.part == name || is_of_module()
    }
}

/// The parts that the stages are.
pub(crate) const STAGES: [&str; 4] = ["stage1", "stage2", "stage3", "stage4"];

/// The part of a block of a list that stages 1 to 3 end after so many blocks of.
pub(crate) fn stage_of(block: usize, ends: [usize; 3]) -> &'static str {
    STAGES[ends.into_iter().filter(|end| block >= *end).count()]
}

/// Mean over height and width.
///
/// # Shapes
///
/// `[B, C, H, W]` → `[B, C]`.
pub fn global_average_pool(map: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]) // [B, C, H*W]
        .mean_dim(2) // [B, C, 1]
        .reshape([batch, channels]) // [B, C]
}

/// Trainable numbers in a module: Burn's own count includes the running statistics of normalization layers,
/// the counts in papers do not.
pub fn parameter_count<M: Module>(module: &M) -> usize {
    let mut counter = ParameterCounter::default();
    module.visit(&mut counter);
    counter.total
}

/// Names of the normalization buffers, in Burn as in PyTorch.
const BUFFERS: [&str; 2] = ["running_mean", "running_var"];

#[derive(Default)]
struct ParameterCounter {
    name: String,
    total: usize,
}

impl ModuleVisitor for ParameterCounter {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.name = name.to_string();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !BUFFERS.contains(&self.name.as_str()) {
            // A description that is read from a file can say anything: what is beyond all counts is too much as well.
            let numbers = param.lazy_shape().to_vec().into_iter().fold(1, usize::saturating_mul);
            self.total = self.total.saturating_add(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{BatchNormConfig, Initializer};
    use burn::tensor::Device;

    #[test]
    fn pooling_averages_each_channel() {
        let map = Tensor::<4>::from_data([[[[1.0, 2.0, 3.0]], [[4.0, 5.0, 9.0]]]], &Device::flex());
        let pooled = global_average_pool(map).into_data().try_to_vec::<f32>();
        assert_eq!(pooled.unwrap(), [2.0, 6.0]);
    }

    #[test]
    fn buffers_are_not_parameters() {
        let norm = BatchNormConfig::new(7).init(&Device::flex());
        assert_eq!(norm.num_params(), 28);
        assert_eq!(parameter_count(&norm), 14);
    }

    #[test]
    fn counts_end_where_numbers_do() {
        let of = |shape: [usize; 2]| Initializer::Zeros.init::<2, _>(shape, &Device::flex());
        assert_eq!(parameter_count(&of([1 << 40, 1 << 40])), usize::MAX);
        assert_eq!(parameter_count(&vec![of([usize::MAX, 1]), of([2, 3])]), usize::MAX);
    }
}
