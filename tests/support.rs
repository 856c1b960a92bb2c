//! What the test programs share: a small synthetic set on disk, and a recipe that trains on it in seconds.

pub mod chromium;
pub mod engine_library;
pub mod incomplete_cases;
pub mod onnx_checker;
pub mod staged_model;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dermafuse::backbones::{AnyBackbone, BackboneKind, ClassifierWeights, LoadOptions};
use dermafuse::data::{CaseSet, MetadataEncoder, MetadataRoles, Preprocess, Split, derm7pt};
use dermafuse::ensemble::TwoStage;
use dermafuse::infer::{Bundle, BundleDescription};
use dermafuse::networks::{NetworkConfig, OneStageFusionConfig, SeenImages};
use dermafuse::recipes::{Experiment, Protocol, Recipe};
use dermafuse::schema::{BranchWeights, Case, Field, FieldRole, FieldValue, FuseSpace, Task, TaskSet};
use dermafuse::synthetic::{self, SyntheticConfig};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde::Deserialize;

/// Cases of the small set.
pub const CASES: usize = 60;

/// Where the small set was written; once for all tests of a program.
pub fn small_set_folder() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("release_v0");
        let config = SyntheticConfig { cases: CASES, image_size: (64, 48), ..SyntheticConfig::default() };
        synthetic::write(&path, &config).expect("the synthetic set is written");
        (folder, path)
    });
    path
}

/// The small set and its split.
pub fn small_set() -> (CaseSet, Split) {
    let set = derm7pt::load(small_set_folder()).expect("the synthetic set is read");
    let split = set.split.clone().expect("the synthetic set has a split");
    (set, split)
}

/// FusionM4Net on the small set: two epochs at 32 pixels.
pub fn small_experiment() -> Experiment {
    let mut recipe = Recipe::shipped("fusionm4net").expect("it ships");
    recipe.set_data(&format!("derm7pt={}", small_set_folder().display())).expect("a set of the recipe");
    for words in [
        "method.network.backbone=resnet18_quarter",
        "method.weights=random",
        "training.preprocess.size=32",
        "training.epochs=2",
        "training.batch_size=8",
        "training.learning_rate=1e-3",
    ] {
        recipe.set(words).expect("a setting");
    }
    recipe.experiment().expect("a small experiment")
}

/// The protocol of [`small_experiment`] for a set.
pub fn small_recipe(set: &CaseSet) -> Protocol {
    let plan = small_experiment().plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).expect("a plan");
    plan.rounds[0].stages[0].protocol.clone()
}

/// A built example; `cargo test --release --workspace` builds them all before it runs anything.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("this program has a path");
    let target = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let program = target.join("examples").join(name);
    assert!(program.is_file(), "{} is not built; run `cargo test --release --workspace`", program.display());
    Command::new(program)
}

/// A built program of the workspace, as [`example`] is.
pub fn program(name: &str) -> Command {
    let test = std::env::current_exe().expect("this program has a path");
    let target = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let program = target.join(name);
    assert!(program.is_file(), "{} is not built; run `cargo test --release --workspace`", program.display());
    Command::new(program)
}

/// Settings that make one epoch of a shipped recipe small: 32 pixels where the network can, and a tiny backbone where it has one to
/// choose.
pub fn small_settings(recipe: &str) -> Vec<&'static str> {
    let of_recipe = match recipe {
        "ammfm" => vec![
            "method.network.clinical=resnet18_quarter",
            "method.network.dermoscopic=resnet18_quarter",
            "training.averaging.last_epochs.epochs=1",
        ],
        "pemm" => vec!["method.network.backbone=resnet18_quarter", "training.averaging.last_epochs.epochs=1"],
        "amfam" => vec!["method.network.backbone=resnet18_quarter", "training.preprocess.size=33"],
        "jif" => vec!["method.network.backbone=resnet18_quarter", "split={ kind = \"published\" }"],
        // Fewer than 20 cases validate: too few to calibrate.
        "milk10k" => {
            vec!["method.network.backbone=resnet18_quarter", "training.warm_up_steps=2", "second_stage.calibrated=none"]
        }
        "tformer" => vec!["training.preprocess.size=64"],
        "frozen" => {
            vec!["method.network.backbone=resnet18_quarter", "method.heads.components=8", "machine.features=none"]
        }
        "nedelcu" => {
            return vec![
                "method.weights=random",
                "method.network.backbone=resnet18_quarter",
                "training.preprocess.size=32",
                "training.unfreezing.steps.resnet18_quarter=[[\"layer4\"]]",
                "training.unfreezing.epochs_per_step=1",
            ];
        }
        "bring_your_own" => return vec!["split.folds=3", "final_fit={}"],
        _ => vec!["method.network.backbone=resnet18_quarter"],
    };
    SMALL.into_iter().chain(of_recipe).collect()
}

/// One epoch at 32 pixels.
const SMALL: [&str; 6] = [
    "method.weights=random",
    "training.preprocess.size=32",
    "training.epochs=1",
    "training.batch_size=8",
    "training.learning_rate=1e-3",
    "evaluation.views=0",
];

/// `dermafuse train` with a recipe at small size on the small set: one epoch at 32 pixels, and settings over that.
pub fn train_small(out: &Path, recipe: &str, settings: &[&str]) -> Command {
    let mut command = program("dermafuse");
    command.args(["train", "--recipe", recipe, "--out"]).arg(out);
    command.arg("--data").arg(format!("derm7pt={}", small_set_folder().display()));
    for setting in SMALL.iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command
}

/// A small network with weights in a file, for programs that need both.
pub fn saved_backbone(folder: &Path, classes: usize) -> (AnyBackbone, PathBuf) {
    let device = Device::flex();
    device.seed(7);
    let network = BackboneKind::ResNet18Quarter.init(Some(classes), &device);
    let file = folder.join("weights.safetensors");
    network.save_weights(&file).expect("the weights are written");
    (network, file)
}

/// A small model that nobody trained, in a file: it looks at both images, sex and age.
pub fn saved_model(folder: &Path) -> PathBuf {
    let tasks = vec![
        Task::new("diagnosis", "DIAG", ["BCC", "NEV", "MEL"]),
        Task::new("blue_whitish_veil", "BWV", ["ABS", "PRS"]).with_reference("ABS"),
    ];
    let tasks = TaskSet::new(tasks).expect("two tasks");
    let sex = Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]);
    let age = Field::numeric("age", FieldRole::PreDiagnosis);
    let case = |sex, age| Case { metadata: vec![FieldValue::Category(sex), FieldValue::Number(age)], ..Case::new("1") };
    let encoder = MetadataEncoder::fit(&[sex, age], &[case(0, 20.0), case(1, 80.0)], MetadataRoles::PreDiagnosis);
    let encoder = encoder.expect("an encoder");
    let config = OneStageFusionConfig::new(
        BackboneKind::ResNet18Quarter,
        SeenImages::Both,
        Some(encoder.width()),
        tasks.class_counts(),
    );
    let network = NetworkConfig::OneStageFusion(config);
    let trained = network.init_seeded(5, &Device::flex()).expect("a network");
    let description = BundleDescription {
        synthetic: true,
        encoder,
        ..BundleDescription::new(tasks, network, Preprocess::imagenet(64))
    };
    let branch_weights = BranchWeights::new([("fusion", 1.0)]).expect("a weight");
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).expect("a stage");
    let file = folder.join("model.safetensors");
    Bundle::new(description, trained, two_stage).save(&file).expect("the model is written");
    file
}

/// Every file below a folder with its contents, and the folders themselves.
pub fn contents_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        match path.is_dir() {
            true => contents.extend(contents_of(&path).into_iter().chain([(path, Vec::new())])),
            false => drop(contents.insert(path.clone(), std::fs::read(&path).expect("a file"))),
        }
    }
    contents
}

/// What a program wrote, with its errors.
pub fn text(output: &Output) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}\n{error}")
}

/// What a program wrote that must succeed.
///
/// # Panics
/// With what it wrote, if it failed.
pub fn done(mut command: Command) -> String {
    let output = command.output().expect("the program was built");
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

/// What a program wrote that must fail.
///
/// # Panics
/// With what it wrote, if it succeeded.
pub fn refused(mut command: Command) -> String {
    let output = command.output().expect("the program was built");
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

/// Training draws from a generator that the whole process shares: whoever trains and compares holds this.
pub fn device_lock() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error with all its causes, as a program prints it.
pub fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

// ---- The formula that golden/backbones/formula.py fills PyTorch's tensors with.

/// A number in 0..1 for each key and index: FNV-1a of the key, then a 32-bit mix of it with the index.
pub fn uniform(key: &str, index: usize) -> f64 {
    mixed(seed(key), index)
}

fn seed(key: &str) -> u32 {
    key.bytes().fold(0x811C_9DC5_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn mixed(seed: u32, index: usize) -> f64 {
    let mut h = seed.wrapping_add((index as u32).wrapping_mul(0x9E37_79B9));
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^= h >> 16;
    f64::from(h) / 2f64.powi(32)
}

/// The values of a tensor of that name and shape, row-major.
pub fn formula(key: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product::<usize>();
    let seed = seed(key);
    let u = (0..count).map(|index| mixed(seed, index));
    if shape.len() > 1 {
        let bound = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
        u.map(|u| ((2.0 * u - 1.0) * bound) as f32).collect()
    } else if key.ends_with("running_var") {
        u.map(|u| (0.5 + u) as f32).collect()
    } else if key.ends_with("running_mean") || key.ends_with("bias") {
        u.map(|u| (0.2 * u - 0.1) as f32).collect()
    } else {
        u.map(|u| (0.4 + 0.6 * u) as f32).collect()
    }
}

/// All parameters and running statistics of a module, in its order.
pub fn numbers_of<M: Module>(module: &M) -> Vec<f32> {
    struct Collector(Vec<f32>);
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut collector = Collector(Vec::new());
    module.visit(&mut collector);
    collector.0
}

/// A golden below `tests/golden`, read from its JSON.
pub fn golden<T: for<'de> Deserialize<'de>>(path: &str) -> T {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(path);
    let text = std::fs::read_to_string(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    serde_json::from_str(&text).expect("a golden is JSON")
}

#[derive(Deserialize)]
struct BackboneGolden {
    /// Channels of each normalization: four tensors.
    norms: BTreeMap<String, usize>,
    /// Shapes of all other tensors.
    keys: BTreeMap<String, Vec<usize>>,
}

impl BackboneGolden {
    /// Shapes of all tensors.
    fn shapes(self) -> BTreeMap<String, Vec<usize>> {
        let vectors = ["weight", "bias", "running_mean", "running_var"];
        let norms = self
            .norms
            .into_iter()
            .flat_map(|(norm, channels)| vectors.map(|vector| (format!("{norm}.{vector}"), vec![channels])));
        self.keys.into_iter().chain(norms).collect()
    }
}

/// A backbone without classifier whose tensors are filled by the formula of `name.key`; it must have a golden.
pub fn backbone_by_formula(kind: BackboneKind, name: &str, device: &Device) -> AnyBackbone {
    let shapes = golden::<BackboneGolden>(&format!("backbones/{kind}/golden.json")).shapes();
    let tensors: Tensors = shapes
        .into_iter()
        .map(|(key, shape)| {
            let values = formula(&format!("{name}.{key}"), &shape);
            (key, (shape, values))
        })
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backbone.safetensors");
    write_safetensors(&tensors, &file);
    let options = LoadOptions { classifier: ClassifierWeights::Drop };
    kind.init(None, device).load_weights(&file, options).expect("the golden lists all tensors")
}

/// The numbers of a tensor of that name, between -2 and 2, row-major.
pub fn tensor_by_formula<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|index| (4.0 * uniform(name, index) - 2.0) as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Fills parameters of a module by the formula of the names that they have in PyTorch; `fills` is asked which.
#[must_use]
pub fn filled_by_formula<M: Module>(module: M, fills: impl Fn(&str) -> bool) -> M {
    filled_with_gains(module, |name| fills(name).then_some(1.0))
}

/// The same; `gain` says what the formula's values are multiplied by.
#[must_use]
pub fn filled_with_gains<M: Module>(module: M, gain: impl Fn(&str) -> Option<f32>) -> M {
    module.map(&mut Filler { path: Vec::new(), gain })
}

struct Filler<F> {
    path: Vec<String>,
    gain: F,
}

impl<F: Fn(&str) -> Option<f32>> ModuleMapper for Filler<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let key = pytorch_name(&self.path);
        let Some(gain) = (self.gain)(&key) else { return param };
        let values = |shape: &[usize]| formula(&key, shape).into_iter().map(|value| value * gain).collect::<Vec<_>>();
        let shape = param.dims();
        let (device, trains) = (param.device(), param.is_require_grad());
        let filled = param.map(|_| match D {
            2 => {
                let values = values(&[shape[1], shape[0]]); // PyTorch keeps outputs first
                let matrix = Tensor::<2>::from_data(TensorData::new(values, [shape[1], shape[0]]), &device);
                matrix.transpose().reshape(shape)
            }
            _ => Tensor::from_data(TensorData::new(values(&shape), shape), &device),
        });
        filled.set_require_grad(trains)
    }
}

/// The variant of an enum of modules, such as `Mmfa`, is no part of a name in PyTorch.
fn pytorch_name(path: &[String]) -> String {
    let words: Vec<&str> =
        path.iter().map(String::as_str).filter(|word| !word.starts_with(char::is_uppercase)).collect();
    words.join(".").replace("gamma", "weight").replace("beta", "bias")
}

/// The norm of the gradient of each part of a module; `part` names the part of a parameter by the name it has in PyTorch.
pub fn gradient_norms<M: Module>(
    module: &M,
    gradients: &Gradients,
    part: impl Fn(&str) -> String,
) -> BTreeMap<String, f64> {
    let mut norms = Norms { path: Vec::new(), gradients, part, squares: BTreeMap::new() };
    module.visit(&mut norms);
    norms.squares.into_iter().map(|(part, square)| (part, square.sqrt())).collect()
}

struct Norms<'a, F> {
    path: Vec<String>,
    gradients: &'a Gradients,
    part: F,
    squares: BTreeMap<String, f64>,
}

impl<F: Fn(&str) -> String> ModuleVisitor for Norms<'_, F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let square: f64 = gradient.into_data().iter::<f64>().map(|value| value * value).sum();
            *self.squares.entry((self.part)(&pytorch_name(&self.path))).or_default() += square;
        }
    }
}

/// Tensors by name: shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Writes tensors as a weights file in 32 bits.
pub fn write_safetensors(tensors: &Tensors, file: &Path) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(key, (shape, values))| (key, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(key, shape, bytes)| {
        (key.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("bytes fit the shape"))
    });
    serialize_to_file(views, None, file).expect("the folder is writable");
}

// The programs in the documents are compiled, and run where they can be.

#[cfg(doctest)]
#[doc = include_str!("../docs/adding-a-dataset.md")]
struct AddingADataset;

#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct Embedding;
