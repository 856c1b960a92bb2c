//! The contract of all backbones, their parity with PyTorch's, and the reading of weight files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dermafuse_backbones::{
    AnyBackbone, Backbone, BackboneKind, ClassifierWeights, LoadOptions, ParameterGroup, Pretrained, PublishedInput,
    freeze_batch_norm, global_average_pool, load_weights, parameter_count,
};
use dermafuse_tests::{Tensors, formula, uniform, write_safetensors};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde::Deserialize;

const KEEP: LoadOptions = LoadOptions { classifier: ClassifierWeights::Keep };
const DROP: LoadOptions = LoadOptions { classifier: ClassifierWeights::Drop };

fn formula_images([batch, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let values = (0..batch * 3 * height * width).map(|index| (4.0 * uniform("input", index) - 2.0) as f32);
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), [batch, 3, height, width]), device)
}

/// Side of an image that is quick to compute; where the architecture shrinks it fast, one that leaves more than one pixel.
fn small(kind: BackboneKind) -> usize {
    if kind.min_size() > 64 { 2 * kind.min_size() } else { 64 }
}

// ---- Goldens.

#[derive(Deserialize)]
struct Golden {
    num_params: usize,
    /// Counted by PyTorch at 224 pixels.
    gflops: f64,
    /// What torchvision says about its weights; `None` where it has none.
    published: Option<PublishedInput>,
    /// Multiplies the scales of all normalizations.
    norm_gain: f32,
    cases: Vec<Case>,
    training: TrainingStep,
    /// Channels of each normalization: four tensors.
    norms: BTreeMap<String, usize>,
    /// Shapes of all other tensors.
    keys: BTreeMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
struct Case {
    size: [usize; 2],
    stages: Vec<Summary>,
    pooled: Summary,
    logits: Summary,
}

/// Loss and gradient norms of one step on two images, without dropout and stochastic depth.
#[derive(Deserialize)]
struct TrainingStep {
    size: usize,
    labels: Vec<usize>,
    loss: f64,
    /// One for each parameter group.
    gradient_norms: Vec<f64>,
    /// Of all running means together, and of all running variances, after the step.
    running_norms: [f64; 2],
    /// Largest relative error of PyTorch's own step in 32 bits; the numbers above are of 64.
    float32_error: f64,
}

/// Shape and means of a tensor, and each `step`-th of its values.
#[derive(Deserialize)]
struct Summary {
    shape: Vec<usize>,
    mean: f64,
    abs_mean: f64,
    step: usize,
    values: Vec<f64>,
}

impl Summary {
    /// Relative to the value, or to the mean magnitude where the value is smaller.
    const TOLERANCE: f64 = 1e-4;

    fn assert_matches<const D: usize>(&self, what: &str, tensor: Tensor<D>) {
        assert_eq!(tensor.dims().to_vec(), self.shape, "shape of {what}");
        let values: Vec<f64> = tensor.into_data().iter::<f64>().collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let abs_mean = values.iter().map(|value| value.abs()).sum::<f64>() / count;

        let sampled = values.iter().step_by(self.step).zip(&self.values);
        let sampled = sampled.map(|(value, expected)| (*value, *expected));
        for (value, expected) in sampled.chain([(mean, self.mean), (abs_mean, self.abs_mean)]) {
            let allowed = Self::TOLERANCE * expected.abs().max(self.abs_mean);
            assert!((value - expected).abs() <= allowed, "{what}: {value} instead of {expected}");
        }
    }
}

fn golden_folder() -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut candidates = from.map(|folder| folder.join("tests/golden/backbones"));
    candidates.find(|folder| folder.is_dir()).expect("the goldens are in tests/golden/backbones")
}

fn golden(kind: BackboneKind) -> Golden {
    let file = golden_folder().join(kind.name()).join("golden.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).expect("a golden is JSON")
}

// ---- Weight files made on the spot.

fn formula_tensors(keys: &BTreeMap<String, Vec<usize>>) -> Tensors {
    keys.iter().map(|(key, shape)| (key.clone(), (shape.clone(), formula(key, shape)))).collect()
}

impl Golden {
    fn tensors(&self) -> Tensors {
        let mut tensors = formula_tensors(&self.keys);
        for (norm, channels) in &self.norms {
            for vector in ["weight", "bias", "running_mean", "running_var"] {
                let key = format!("{norm}.{vector}");
                let mut values = formula(&key, &[*channels]);
                if vector == "weight" {
                    values.iter_mut().for_each(|value| *value *= self.norm_gain);
                }
                tensors.insert(key, (vec![*channels], values));
            }
        }
        tensors
    }
}

fn formula_filled(kind: BackboneKind, golden: &Golden, device: &Device) -> AnyBackbone {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("formula.safetensors");
    write_safetensors(&golden.tensors(), &file);
    kind.init(Some(1000), device).load_weights(&file, KEEP).unwrap()
}

// ---- Parity.

#[test]
fn outputs_equal_pytorch() {
    let device = Device::flex();
    for kind in BackboneKind::ALL {
        let golden = golden(kind);
        let network = formula_filled(kind, &golden, &device);
        assert_eq!(parameter_count(&network), golden.num_params, "{kind}");
        let folded = network.clone().fold_batch_norm();
        for case in &golden.cases {
            let [height, width] = case.size;
            let images = formula_images([1, height, width], &device);
            let maps = network.forward_stages(images.clone());
            for (index, (map, expected)) in maps.into_iter().zip(&case.stages).enumerate() {
                expected.assert_matches(&format!("{kind} {height}×{width} stage {}", index + 1), map);
            }
            let what = format!("{kind} {height}×{width}");
            let pooled = global_average_pool(network.forward_features(images.clone()));
            case.pooled.assert_matches(&format!("{what} pooled"), pooled);
            case.logits.assert_matches(&format!("{what} logits"), network.forward_logits(images.clone()));
            case.logits.assert_matches(&format!("{what} folded"), folded.forward_logits(images));
        }
    }
}

/// Turns off dropout and stochastic depth, the layers that draw random numbers.
#[derive(Default)]
struct Determined {
    containers: Vec<String>,
}

impl ModuleMapper for Determined {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.containers.pop();
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        match self.containers.last().map(String::as_str) {
            Some("Struct:Dropout" | "Struct:StochasticDepth") => flag.with_value(false),
            _ => flag,
        }
    }
}

/// Sums the squares of gradients by group, or of running statistics by kind.
struct SquareSums<'a> {
    gradients: &'a Gradients,
    groups: Vec<ParameterGroup>,
    name: String,
    of_gradients: Vec<f64>,
    of_statistics: [f64; 2],
}

impl ModuleVisitor for SquareSums<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.name = name.to_string();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let square_sum = |tensor: Tensor<D>| tensor.powi_scalar(2).sum().into_scalar::<f64>();
        match self.name.as_str() {
            "running_mean" => self.of_statistics[0] += square_sum(param.val()),
            "running_var" => self.of_statistics[1] += square_sum(param.val()),
            _ => {
                let gradient = param.val().grad(self.gradients);
                for (group, sum) in self.groups.iter().zip(&mut self.of_gradients) {
                    if let (true, Some(gradient)) = (group.group.matches(&param.id, None), &gradient) {
                        *sum += square_sum(Tensor::from_inner(gradient.clone()));
                    }
                }
            }
        }
    }
}

#[test]
fn training_steps_equal_pytorch() {
    const TOLERANCE: f64 = 1e-3;
    // Many layers and normalizations of a few values amplify rounding, in PyTorch as well: where that takes more than the
    // tolerance (ResNet-50 and -101, nearly Inception-V3), a few times its own error is allowed.
    const OF_FLOAT32_ERROR: f64 = 3.0;

    let device = Device::flex().autodiff();
    for kind in BackboneKind::ALL {
        let golden = golden(kind);
        let step = &golden.training;
        let assert_close = |what: &str, value: f64, expected: f64| {
            let allowed = TOLERANCE.max(OF_FLOAT32_ERROR * step.float32_error) * expected.abs();
            assert!((value - expected).abs() <= allowed, "{what} of {kind}: {value} instead of {expected}");
        };
        let network = formula_filled(kind, &golden, &device).map(&mut Determined::default());

        let logits = network.forward_logits(formula_images([2, step.size, step.size], &device)); // [2, 1000]
        let mut chosen = vec![0.0_f32; 2 * 1000];
        step.labels.iter().enumerate().for_each(|(image, label)| chosen[1000 * image + label] = 0.5);
        let chosen = Tensor::from_data(TensorData::new(chosen, [2, 1000]), &device);
        let loss = (log_softmax(logits, 1) * chosen).sum().neg();
        assert_close("loss", loss.clone().into_scalar::<f64>(), step.loss);

        let gradients = loss.backward();
        let groups = network.parameter_groups();
        let of_gradients = vec![0.0; groups.len()];
        let mut sums =
            SquareSums { gradients: &gradients, groups, name: String::new(), of_gradients, of_statistics: [0.0; 2] };
        network.visit(&mut sums);
        let mut of_parts: Vec<(&str, f64)> = Vec::new();
        for (group, sum) in sums.groups.iter().zip(&sums.of_gradients) {
            match of_parts.last_mut() {
                Some((part, total)) if *part == group.part => *total += sum,
                _ => of_parts.push((group.part, *sum)),
            }
        }
        assert_eq!(of_parts.len(), step.gradient_norms.len(), "{kind}");
        for ((part, sum), expected) in of_parts.into_iter().zip(&step.gradient_norms) {
            assert_close(&format!("gradient norm ({part})"), sum.sqrt(), *expected);
        }

        sums.of_statistics = [0.0; 2];
        network.valid().visit(&mut sums);
        for (sum, expected) in sums.of_statistics.iter().zip(step.running_norms) {
            assert_close("running statistics", sum.sqrt(), expected);
        }
    }
}

/// Needs the weights that the environment variable points to; the formula-filled twins above always run.
#[test]
fn real_weights_give_their_logits() {
    #[derive(Deserialize)]
    struct Expected {
        logits_first10: Vec<f64>,
        argmax: usize,
        features_mean: f64,
    }

    let Some(folder) = std::env::var_os("DERMAFUSE_REALDATA") else { return };
    let folder = Path::new(&folder).join("weights");
    let device = Device::flex();
    let count = 3 * 224 * 224;
    let ramp: Vec<f32> = (0..count).map(|index| (-2.0 + 4.0 * index as f64 / (count - 1) as f64) as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(ramp, [1, 3, 224, 224]), &device);

    for kind in [BackboneKind::MobileNetV2, BackboneKind::SqueezeNet] {
        let text = std::fs::read_to_string(folder.join(format!("{kind}.expected.json"))).unwrap();
        let expected: Expected = serde_json::from_str(&text).unwrap();
        let file = folder.join(format!("{kind}.torchvision-keys.safetensors"));
        let network = kind.init(Some(1000), &device).load_weights(file, KEEP).unwrap();

        let mean = network.forward_features(images.clone()).mean().into_scalar::<f64>();
        assert!((mean - expected.features_mean).abs() < 1e-4 * expected.features_mean, "{kind}");
        let logits: Vec<f64> = network.forward_logits(images.clone()).into_data().iter::<f64>().collect();
        for (logit, expected) in logits.iter().zip(&expected.logits_first10) {
            assert!((logit - expected).abs() < 1e-3, "{kind}: {logit} instead of {expected}");
        }
        let argmax = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
        assert_eq!(argmax, Some(expected.argmax), "{kind}");
    }

    #[derive(Deserialize)]
    struct ExpectedOfLite {
        logits_first8: Vec<f64>,
        argmax: usize,
        logits_sum: f64,
        logits_l2: f64,
    }
    let lite = |kind: BackboneKind, weights: &str, images: Tensor<4>| -> Vec<f64> {
        let network = kind.init(Some(1000), &device).load_weights(folder.join(weights), KEEP).unwrap();
        network.forward_logits(images).into_data().iter::<f64>().collect()
    };
    let assert_near = |logits: &[f64], expected: &[f64]| {
        for (logit, expected) in logits.iter().zip(expected) {
            assert!((logit - expected).abs() < 1e-4, "EfficientNet-Lite: {logit} instead of {expected}");
        }
    };
    let largest = |logits: &[f64]| (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));

    let text = std::fs::read_to_string(folder.join("efficientnet-lite0.expected.json")).unwrap();
    let expected: ExpectedOfLite = serde_json::from_str(&text).unwrap();
    let logits = lite(BackboneKind::EfficientNetLite0, "efficientnet-lite0-57934424.pth", images);
    assert_near(&logits, &expected.logits_first8);
    assert_eq!(largest(&logits), Some(expected.argmax));
    assert!((logits.iter().sum::<f64>() - expected.logits_sum).abs() < 1e-2);
    let length = logits.iter().map(|logit| logit * logit).sum::<f64>().sqrt();
    assert!((length - expected.logits_l2).abs() < 1e-4 * expected.logits_l2);

    // The package `efficientnet-lite-pytorch` pads every image as one of 260 pixels, TensorFlow and timm by its own size: at 260
    // pixels all agree. The numbers are the package's (and timm's) of torch.linspace(-2, 2, 202800) as 1 × 3 × 260 × 260.
    let expected = [-0.366_982_16, 0.932_000_28, -0.011_591_853, -0.027_745_903, 0.796_932_34, 0.874_983_61];
    let count = 3 * 260 * 260;
    let ramp: Vec<f32> = (0..count).map(|index| (-2.0 + 4.0 * index as f64 / (count - 1) as f64) as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(ramp, [1, 3, 260, 260]), &device);
    let logits = lite(BackboneKind::EfficientNetLite2, "efficientnet-lite2-9656183e.pth", images);
    assert_near(&logits, &expected);
    assert_eq!(largest(&logits), Some(782));
}

// ---- The contract.

#[test]
fn facts_hold() {
    let device = Device::flex();
    for kind in BackboneKind::ALL {
        let network = kind.init(None, &device);
        assert_eq!(parameter_count(&network), kind.num_params_without_classifier(), "{kind}");
        assert_eq!(parameter_count(&kind.init(Some(1000), &device)), kind.num_params(), "{kind}");
        assert_eq!(network.num_features(), kind.num_features(), "{kind}");
        assert_eq!(network.num_classes(), None, "{kind}");
        assert_eq!(kind.init(Some(7), &device).num_classes(), Some(7), "{kind}");
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());

        assert_eq!(network.stage_channels(), kind.stage_channels(), "{kind}");
        assert_eq!(network.stage_strides(), kind.stage_strides(), "{kind}");
        assert_eq!(network.stage_channels()[3], network.num_features(), "{kind}");
        let preprocess = kind.published_input();
        assert!(kind.min_size() <= preprocess.size && preprocess.size <= preprocess.resize, "{kind}");
        let golden = golden(kind);
        assert_eq!(kind.gflops(), golden.gflops, "{kind}");
        if let Some(published) = golden.published {
            assert_eq!(preprocess, published, "{kind}");
        }

        // The goldens have the exact sizes; here, no stage may be off by more than rounding and unpadded convolutions cut.
        let [height, width] = [small(kind), small(kind) + 8];
        let maps = network.forward_stages(Tensor::zeros([2, 3, height, width], &device));
        for (map, (channels, stride)) in
            maps.into_iter().zip(kind.stage_channels().into_iter().zip(kind.stage_strides()))
        {
            let [batch, found, rows, columns] = map.dims();
            assert_eq!([batch, found], [2, channels], "{kind}");
            let cut = [height.div_ceil(stride) - rows, width.div_ceil(stride) - columns];
            assert!(cut.iter().all(|pixels| *pixels <= 5), "{kind} loses {cut:?} at stride {stride}");
        }
    }
}

/// Walks through a module and notes the path of each trainable parameter with or without a gradient.
struct GradientLists<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    with: Vec<String>,
    without: Vec<String>,
}

impl<'a> GradientLists<'a> {
    fn of<M: Module>(module: &M, gradients: &'a Gradients) -> Self {
        let mut lists = Self { gradients, path: vec![], with: vec![], without: vec![] };
        module.visit(&mut lists);
        lists
    }
}

impl ModuleVisitor for GradientLists<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if path.contains("running_") {
            return;
        }
        let gradient = param.val().grad(self.gradients);
        let reached = gradient.is_some_and(|gradient| gradient.abs().max().into_scalar::<f32>() > 0.0);
        if reached { self.with.push(path) } else { self.without.push(path) }
    }
}

fn gradients_of_logits(network: &AnyBackbone, size: usize, device: &Device) -> Gradients {
    let images = formula_images([2, size, size], device);
    // Different weights for each logit, so that no gradient cancels.
    let weights = Tensor::<1>::from_data([1.0, -0.5, 2.0], device).unsqueeze::<2>();
    (network.forward_logits(images) * weights).sum().backward()
}

#[test]
fn gradients_reach_every_parameter() {
    // Stochastic depth may leave a block out, and a classifier may start with all of its units silent: not each time.
    const DRAWS: usize = 8;
    let device = Device::flex().autodiff();
    for kind in BackboneKind::ALL {
        let mut without: Option<Vec<String>> = None;
        for _ in 0..DRAWS {
            let network = kind.init(Some(3), &device);
            let gradients = gradients_of_logits(&network, small(kind), &device);
            let mut unreached = GradientLists::of(&network, &gradients).without;
            unreached.retain(|path| without.as_ref().is_none_or(|before| before.contains(path)));
            let done = unreached.is_empty();
            without = Some(unreached);
            if done {
                break;
            }
        }
        assert_eq!(without, Some(vec![]), "{kind}");
    }
}

/// The place of the group of each parameter, in the order in which the network has them, which is that from input to output.
struct GroupPlaces {
    groups: Vec<ParameterGroup>,
    places: Vec<usize>,
}

impl ModuleVisitor for GroupPlaces {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let matching = |(_, group): &(usize, &ParameterGroup)| group.group.matches(&param.id, None);
        let places: Vec<usize> = self.groups.iter().enumerate().filter(matching).map(|(place, _)| place).collect();
        assert_eq!(places.len(), 1, "{places:?}");
        self.places.extend(places);
    }
}

#[test]
fn groups_cover_every_parameter_once_in_order() {
    let device = Device::flex();
    for kind in BackboneKind::ALL {
        let network = kind.init(Some(3), &device);
        let mut visitor = GroupPlaces { groups: network.parameter_groups(), places: vec![] };
        network.visit(&mut visitor);
        let GroupPlaces { groups, mut places } = visitor;
        assert!(places.is_sorted(), "{kind}: {places:?}");
        places.dedup();
        assert_eq!(places, (0..groups.len()).collect::<Vec<_>>(), "{kind}: a block without parameters");

        let mut parts: Vec<&str> = groups.iter().map(|group| group.part).collect();
        parts.dedup();
        assert_eq!(parts, ["stem", "stage1", "stage2", "stage3", "stage4", "classifier"], "{kind}");
        let mut names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), groups.len(), "{kind}");
        // A name means one thing: what is called as a part is in that part.
        for name in names {
            assert!(groups.iter().all(|group| group.part != name || group.is_in(name)), "{kind}: {name}");
            let of_part = groups.iter().find(|group| group.name == name && parts.contains(&name));
            assert!(of_part.is_none_or(|group| group.part == name), "{kind}: {name}");
        }
    }
}

/// Blocks whose names a user may write are those that the architecture's publication or torchvision has.
#[test]
fn blocks_are_named() {
    let device = Device::flex();
    let names = |kind: BackboneKind| -> Vec<String> {
        kind.init(None, &device).parameter_groups().into_iter().map(|group| group.name).collect()
    };
    let numbered = |module: &str, count: usize| (0..count).map(|index| format!("{module}.{index}")).collect::<Vec<_>>();
    let stem = || vec!["stem".to_owned()];

    let rows = [2, 3, 3, 5, 5, 6, 2].into_iter().enumerate();
    let rows = rows.flat_map(|(row, count)| numbered(&format!("mbconv{}", row + 1), count)).collect();
    assert_eq!(names(BackboneKind::EfficientNetB3), [stem(), rows, vec!["last".into()]].concat());
    let blocks = (0..17).map(|block| format!("block{block}")).collect();
    assert_eq!(names(BackboneKind::MobileNetV2), [stem(), blocks, vec!["last".into()]].concat());
    let layers = [3, 4, 6, 3].into_iter().enumerate();
    let layers = layers.flat_map(|(layer, count)| numbered(&format!("layer{}", layer + 1), count)).collect();
    assert_eq!(names(BackboneKind::ResNet50), [stem(), layers].concat());

    let of = |kind: BackboneKind, places: [usize; 4]| {
        let names = names(kind);
        (names.len(), places.map(|place| names[place].clone()))
    };
    let named = |count: usize, names: [&str; 4]| (count, names.map(str::to_owned));
    let expected = [
        (BackboneKind::MobileNetV3Small, [0, 1, 11, 12], named(13, ["stem", "block0", "block10", "last"])),
        (BackboneKind::DenseNet121, [0, 6, 7, 62], named(63, ["stem", "denseblock1.5", "transition1", "norm"])),
        (BackboneKind::ConvNeXtTiny, [0, 3, 4, 21], named(22, ["stem", "stage1.2", "downsample1", "stage4.2"])),
        (BackboneKind::SwinTiny, [1, 2, 3, 16], named(17, ["stage1.0", "stage1.1", "merging1", "norm"])),
        (BackboneKind::EfficientNetLite2, [0, 1, 21, 22], named(23, ["stem", "mbconv1.0", "mbconv7.0", "last"])),
        (BackboneKind::ViTSmall16, [0, 1, 12, 13], named(14, ["stem", "blocks.0", "blocks.11", "norm"])),
        (BackboneKind::SqueezeNet, [0, 1, 2, 8], named(9, ["stem", "fire2", "fire3", "fire9"])),
        (BackboneKind::Vgg16, [0, 1, 2, 12], named(13, ["block1.0", "block1.1", "block2.0", "block5.2"])),
        (
            BackboneKind::InceptionV3,
            [0, 4, 5, 15],
            named(16, ["Conv2d_1a_3x3", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_7c"]),
        ),
        (BackboneKind::Xception, [0, 2, 13, 15], named(16, ["conv1", "block1", "block12", "conv4"])),
    ];
    for (kind, places, expected) in expected {
        assert_eq!(of(kind, places), expected, "{kind}");
    }
}

/// A network with a backbone inside, as users write it.
#[derive(Module, Debug)]
struct Tower<B: Backbone> {
    backbone: B,
    head: Linear,
}

#[test]
fn groups_freeze_inside_another_network() {
    let device = Device::flex().autodiff();
    let backbone = BackboneKind::ResNet18.init(None, &device);
    let head = LinearConfig::new(backbone.num_features(), 2).init(&device);
    let mut tower = Tower { backbone, head };
    for group in tower.backbone.parameter_groups() {
        if group.part != "stage4" {
            tower = tower.freeze_group(group.group);
        }
    }
    let pooled = global_average_pool(tower.backbone.forward_features(formula_images([1, 64, 64], &device)));
    let gradients = tower.head.forward(pooled).powi_scalar(2).sum().backward();
    let lists = GradientLists::of(&tower, &gradients);
    assert!(lists.with.iter().all(|path| path.starts_with("head") || path.contains("stages.3")), "{:?}", lists.with);
    assert!(lists.with.iter().any(|path| path.contains("stages.3")));
}

/// The bits of the logits, a row for each image.
fn rows_of_logits(network: &AnyBackbone, images: Tensor<4>) -> Vec<Vec<u32>> {
    let logits = network.forward_logits(images); // [B, K]
    let [_, classes] = logits.dims();
    let bits: Vec<u32> = logits.into_data().iter::<f32>().map(f32::to_bits).collect();
    bits.chunks_exact(classes).map(<[u32]>::to_vec).collect()
}

#[test]
fn an_image_gives_the_same_logits_alone_and_in_every_batch() {
    const ALONE: [usize; 3] = [0, 3, 8];
    let device = Device::flex();
    let with_threads = |threads: usize, network: &AnyBackbone, images: Tensor<4>| {
        let (network, pool) = (network.clone(), rayon::ThreadPoolBuilder::new().num_threads(threads).build());
        pool.expect("threads can be started").install(move || rows_of_logits(&network, images))
    };
    for kind in BackboneKind::ALL {
        let network = kind.init(Some(5), &device.clone().autodiff()).valid();
        let images = formula_images([9, small(kind), small(kind)], &device);
        let image = |index: usize| images.clone().narrow(0, index, 1);
        for (form, network) in [("trained", network.clone()), ("folded", network.fold_batch_norm())] {
            let alone = ALONE.map(|index| rows_of_logits(&network, image(index)).remove(0));
            // A SqueezeNet may start with all classes silent.
            let apart = alone[0] != alone[1] && alone[1] != alone[2];
            assert!(apart || kind == BackboneKind::SqueezeNet, "{kind} tells images apart");
            let batches: &[usize] = if form == "trained" { &[2, 8, 9] } else { &[9] };
            for &batch in batches {
                let together = rows_of_logits(&network, images.clone().narrow(0, 0, batch));
                for (index, alone) in ALONE.iter().zip(&alone).filter(|(index, _)| **index < batch) {
                    assert!(together[*index] == *alone, "{kind}, {form}: image {index} of {batch}");
                }
            }
            for threads in [1, 5] {
                let one = with_threads(threads, &network, image(3));
                assert!(one[0] == alone[1], "{kind}, {form}: an image with {threads} threads");
                let reversed = Tensor::cat((0..4).rev().map(image).collect(), 0);
                let some = with_threads(threads, &network, reversed);
                assert!(some[0] == alone[1] && some[3] == alone[0], "{kind}, {form}: from behind, {threads} threads");
            }
            let hostile = vec![image(0) * f32::NAN, image(3), image(8) * 1e38, image(0)];
            let beside = rows_of_logits(&network, Tensor::cat(hostile, 0));
            assert!(beside[1] == alone[1] && beside[3] == alone[0], "{kind}, {form}: beside numbers that are none");
        }
    }
}

#[test]
fn frozen_batch_norm_predicts_while_convolutions_train() {
    let device = Device::flex().autodiff();
    use BackboneKind::{DenseNet121, MobileNetV2, MobileNetV3Small, ResNet18};
    for kind in [ResNet18, MobileNetV2, MobileNetV3Small, DenseNet121] {
        let network = freeze_batch_norm(kind.init(Some(3), &device));
        let images = formula_images([1, 64, 64], &device);
        let training = network.forward_features(images.clone()).into_data();
        let predicting = network.valid().forward_features(images.inner()).into_data();
        training.assert_approx_eq::<f32>(&predicting, burn::tensor::Tolerance::rel_abs(1e-4, 1e-5));

        let gradients = gradients_of_logits(&network, 64, &device);
        let lists = GradientLists::of(&network, &gradients);
        assert!(lists.with.iter().all(|path| !path.contains(".norm.")), "{kind}");
        assert!(lists.without.iter().all(|path| path.contains(".norm.")), "{kind}: {:?}", lists.without);
    }
}

// ---- Weight files.

/// A network outside the crate, small enough to store checkpoints of it.
#[derive(Module, Debug)]
struct Tiny {
    conv: Conv2d,
    norm: BatchNorm,
    fc: Option<Linear>,
}

impl Tiny {
    fn init(classes: Option<usize>, device: &Device) -> Self {
        Self {
            conv: Conv2dConfig::new([3, 4], [1, 1]).init(device),
            norm: BatchNormConfig::new(4).init(device),
            fc: classes.map(|classes| LinearConfig::new(4, classes).init(device)),
        }
    }

    fn keys() -> BTreeMap<String, Vec<usize>> {
        let vectors = ["conv.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
        let mut keys: BTreeMap<String, Vec<usize>> = vectors.map(|key| (key.to_string(), vec![4])).into();
        keys.insert("conv.weight".to_string(), vec![4, 3, 1, 1]);
        keys.insert("fc.weight".to_string(), vec![9, 4]);
        keys.insert("fc.bias".to_string(), vec![9]);
        keys
    }

    /// Largest difference from the formula.
    fn error(&self) -> f32 {
        let linear = self.fc.as_ref().expect("with classifier");
        let pairs: [(&str, &[usize], Vec<f32>); 5] = [
            ("conv.weight", &[4, 3, 1, 1], self.conv.weight.val().into_data().iter().collect()),
            ("norm.weight", &[4], self.norm.gamma.val().into_data().iter().collect()),
            ("norm.running_var", &[4], self.norm.running_var.value().into_data().iter().collect()),
            ("fc.weight", &[9, 4], linear.weight.val().transpose().into_data().iter().collect()),
            ("fc.bias", &[9], linear.bias.as_ref().expect("has a bias").val().into_data().iter().collect()),
        ];
        let differences = pairs.into_iter().flat_map(|(key, shape, values)| {
            values.into_iter().zip(formula(key, shape)).map(|(value, expected): (f32, f32)| (value - expected).abs())
        });
        differences.fold(0.0, f32::max)
    }
}

impl Backbone for Tiny {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        match stage {
            0 => self.norm.forward(self.conv.forward(input)),
            _ => input,
        }
    }

    fn stage_channels(&self) -> [usize; 4] {
        [4; 4]
    }

    fn stage_strides(&self) -> [usize; 4] {
        [1; 4]
    }

    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        vec![ParameterGroup::of("stem", self)]
    }
}

impl Pretrained for Tiny {
    fn num_classes(&self) -> Option<usize> {
        self.fc.as_ref().map(|linear| linear.weight.dims()[1])
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let linear = self.fc.as_ref().expect("with classifier");
        linear.forward(global_average_pool(self.forward_features(images)))
    }

    fn published_key(&self, path: &str) -> String {
        path.to_string()
    }

    fn classifier_prefix(&self) -> &'static str {
        "fc."
    }
}

#[test]
fn all_containers_and_widths_load() {
    let device = Device::flex();
    for (file, allowed) in
        [("zip.pth", 0.0), ("legacy.pth", 0.0), ("parallel.pth", 0.0), ("f16.pth", 1e-3), ("bf16.pth", 8e-3)]
    {
        let file = golden_folder().join("checkpoint").join(file);
        let network = load_weights(Tiny::init(Some(9), &device), &file, KEEP).unwrap();
        assert!(network.error() <= allowed, "{}: {}", file.display(), network.error());
    }
}

#[test]
fn saved_weights_load_again() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let [original, copy] = ["original.safetensors", "copy.safetensors"].map(|name| folder.path().join(name));

    let tensors = golden(BackboneKind::MobileNetV2).tensors();
    write_safetensors(&tensors, &original);
    let network = BackboneKind::MobileNetV2.init(Some(1000), &device).load_weights(&original, KEEP).unwrap();
    network.save_weights(&copy).unwrap();

    let bytes = std::fs::read(&copy).unwrap();
    let saved = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(saved.len(), tensors.len());
    for (key, (shape, values)) in &tensors {
        let view = saved.tensor(key).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!((view.shape(), view.data()), (&shape[..], &bytes[..]), "{key}");
    }
    BackboneKind::MobileNetV2.init(Some(1000), &device).load_weights(&copy, KEEP).unwrap();
}

#[test]
fn parts_left_out_on_purpose_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("with_auxiliary.safetensors");
    let mut tensors = golden(BackboneKind::InceptionV3).tensors();
    tensors.insert("AuxLogits.fc.bias".to_string(), (vec![2], vec![0.0; 2]));
    write_safetensors(&tensors, &file);
    BackboneKind::InceptionV3.init(Some(1000), &Device::flex()).load_weights(&file, KEEP).unwrap();
}

/// The names in the files that torchvision publishes of DenseNet, which its own loader translates.
#[test]
fn older_spellings_of_names_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("densenet121.safetensors");
    let respelled = |key: String| match key.contains(".denselayer") {
        true => ["norm1", "norm2", "conv1", "conv2"].into_iter().fold(key, |key, layer| {
            let (name, number) = layer.split_at(4);
            key.replace(&format!(".{layer}."), &format!(".{name}.{number}."))
        }),
        false => key,
    };
    let tensors = golden(BackboneKind::DenseNet121).tensors();
    let tensors: Tensors = tensors.into_iter().map(|(key, tensor)| (respelled(key), tensor)).collect();
    assert!(tensors.contains_key("features.denseblock1.denselayer1.norm.1.weight"));
    assert!(tensors.contains_key("features.denseblock4.denselayer16.conv.2.weight"));
    write_safetensors(&tensors, &file);
    BackboneKind::DenseNet121.init(Some(1000), &Device::flex()).load_weights(&file, KEEP).unwrap();
}

/// The names of the package `efficientnet-lite-pytorch`, which counts blocks through and layers from 0.
#[test]
fn the_other_names_of_efficientnet_lite_are_read() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("efficientnet-lite0.safetensors");
    let golden = golden(BackboneKind::EfficientNetLite0);
    let firsts = [0, 1, 3, 5, 8, 11, 15];
    let respelled = |key: &str| {
        let parts: Vec<&str> = key.split('.').collect();
        match parts[..] {
            ["conv_stem", name] => format!("_conv_stem.{name}"),
            ["conv_head", name] => format!("_conv_head.{name}"),
            ["bn1", name] => format!("_bn0.{name}"),
            ["bn2", name] => format!("_bn1.{name}"),
            ["classifier", name] => format!("_fc.{name}"),
            ["blocks", row, index, layer, name] => {
                let block: usize = firsts[row.parse::<usize>().unwrap()] + index.parse::<usize>().unwrap();
                let layer = match (block, layer) {
                    (_, "conv_dw") => "_depthwise_conv",
                    (0, "conv_pw") | (_, "conv_pwl") => "_project_conv",
                    (_, "conv_pw") => "_expand_conv",
                    (0, "bn1") => "_bn1",
                    (0, _) | (_, "bn3") => "_bn2",
                    (_, "bn2") => "_bn1",
                    _ => "_bn0",
                };
                format!("_blocks.{block}.{layer}.{name}")
            }
            _ => panic!("{key}"),
        }
    };
    let tensors: Tensors = golden.tensors().into_iter().map(|(key, tensor)| (respelled(&key), tensor)).collect();
    assert!(tensors.contains_key("_blocks.0._bn2.weight") && tensors.contains_key("_blocks.15._expand_conv.weight"));
    write_safetensors(&tensors, &file);
    let network = BackboneKind::EfficientNetLite0.init(Some(1000), &device).load_weights(&file, KEEP).unwrap();
    let images = formula_images([1, 97, 131], &device);
    golden.cases[1].logits.assert_matches("logits", network.forward_logits(images));
}

/// What DINOv2 publishes has no classifier, and a token that only its training needs.
#[test]
fn weights_of_dino_v2_are_read() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dinov2_vits14_pretrain.safetensors");
    let golden = golden(BackboneKind::DinoV2Small14);
    let mut tensors = golden.tensors();
    tensors.retain(|key, _| !key.starts_with("head."));
    tensors.insert("mask_token".to_owned(), (vec![1, 384], vec![0.0; 384]));
    write_safetensors(&tensors, &file);
    let network = BackboneKind::DinoV2Small14.init(None, &device).load_weights(&file, KEEP).unwrap();
    let map = network.forward_features(formula_images([1, 97, 131], &device));
    golden.cases[1].pooled.assert_matches("pooled", global_average_pool(map));
}

#[test]
fn loading_keeps_training_state_and_identities() {
    let device = Device::flex().autodiff();
    let file = golden_folder().join("checkpoint/zip.pth");
    let network = Tiny::init(Some(9), &device);
    let id = network.conv.weight.id;
    let network = load_weights(network, file, KEEP).unwrap();
    assert_eq!(network.conv.weight.id, id);
    assert!(network.conv.weight.val().is_require_grad());
    assert!(!network.norm.running_mean.value().is_require_grad());
}

/// The message of loading a changed weights file into a network with 9 classes, without the folder's name.
fn message(change: impl FnOnce(&mut Tensors)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changed.safetensors");
    let mut tensors = formula_tensors(&Tiny::keys());
    change(&mut tensors);
    write_safetensors(&tensors, &file);
    let network = Tiny::init(Some(9), &Device::flex());
    load_message(network, &file, KEEP)
}

fn load_message(network: Tiny, file: &Path, options: LoadOptions) -> String {
    let error = load_weights(network, file, options).expect_err("the file does not fit");
    let folder = format!("{}/", file.parent().expect("in a folder").display());
    error.to_string().replace(&folder, "")
}

#[test]
fn missing_unused_and_misshapen_tensors_are_listed() {
    assert_eq!(
        message(|tensors| {
            let bias = tensors.remove("norm.bias").unwrap();
            tensors.insert("norm.beta".to_string(), bias);
            tensors.remove("conv.weight");
            tensors.insert("norm.running_var".to_string(), (vec![2, 2], vec![1.0; 4]));
        }),
        "weights file changed.safetensors does not fit the network: \
         missing: conv.weight, norm.bias (the file has norm.beta); unused: norm.beta; \
         wrong shape: norm.running_var (expected [4], found [2, 2])"
    );
}

#[test]
fn classifiers_are_dropped_on_request_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nine_classes.safetensors");
    write_safetensors(&formula_tensors(&Tiny::keys()), &file);
    let device = Device::flex();

    assert_eq!(
        load_message(Tiny::init(None, &device), &file, KEEP),
        "weights file nine_classes.safetensors does not fit the network: unused: fc.bias, fc.weight; \
         these belong to the classifier: ask for as many classes as the file has, or leave the classifier out (0 classes)"
    );
    assert_eq!(
        load_message(Tiny::init(Some(2), &device), &file, KEEP),
        "weights file nine_classes.safetensors does not fit the network: \
         wrong shape: fc.bias (expected [2], found [9]), fc.weight (expected [2, 4], found [9, 4]); \
         these belong to the classifier: ask for as many classes as the file has, or leave the classifier out (0 classes)"
    );
    load_weights(Tiny::init(None, &device), &file, DROP).unwrap();

    let network = Tiny::init(Some(2), &device);
    let before = network.fc.as_ref().unwrap().weight.val().into_data();
    let network = load_weights(network, &file, DROP).unwrap();
    assert_eq!(network.fc.as_ref().unwrap().weight.val().into_data(), before);
}

#[test]
fn unusable_files_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, content: Option<&[u8]>| {
        let file = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        load_message(Tiny::init(Some(9), &Device::flex()), &file, KEEP)
    };

    assert_eq!(load("absent.safetensors", None), "cannot access weights file absent.safetensors");
    assert_eq!(
        load("page.pth", Some(b"<!DOCTYPE html><html><body>Sign in</body></html>")),
        "page.pth is not a weights file but a web page: the download needs a login or has another address; download the file itself"
    );
    assert_eq!(
        load("empty.safetensors", Some(b"")),
        "empty.safetensors is not a weights file: it starts with ``; give a .safetensors, .pth or .pt file"
    );

    let whole = folder.path().join("whole.safetensors");
    write_safetensors(&formula_tensors(&Tiny::keys()), &whole);
    let whole = std::fs::read(whole).unwrap();
    let damaged = "is damaged or incomplete";
    for keep in [9, 100, whole.len() - 1] {
        let message = load("cut.safetensors", Some(&whole[..keep]));
        assert!(message.starts_with(&format!("weights file cut.safetensors {damaged}")), "{message}");
        assert!(message.ends_with("download or export it again"), "{message}");
    }
    for container in ["zip.pth", "legacy.pth"] {
        let whole = std::fs::read(golden_folder().join("checkpoint").join(container)).unwrap();
        for keep in [4, 30, whole.len() / 2, whole.len() - 1] {
            let message = load("cut.pth", Some(&whole[..keep]));
            assert!(message.starts_with(&format!("weights file cut.pth {damaged}")), "{container} {keep}: {message}");
        }
    }
}

#[test]
fn integers_are_not_weights() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quantized.safetensors");
    let bytes = [0_u8; 4];
    let views = [("conv.bias", TensorView::new(Dtype::I8, vec![4], &bytes).unwrap())];
    serialize_to_file(views, None, &file).unwrap();
    assert_eq!(
        load_message(Tiny::init(Some(9), &Device::flex()), &file, KEEP),
        "tensor `conv.bias` in quantized.safetensors is stored as i8: only f16, bf16, f32 and f64 are read"
    );
}
