//! The networks against PyTorch: the same formula-filled weights, the same logits, loss and gradients.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use dermafuse::backbones::{AnyBackbone, BackboneKind, ClassifierWeights, LoadOptions, SwinConfig, parameter_count};
use dermafuse::data::CaseSet;
use dermafuse::fusion::{FusionKind, MapFusionKind, MmfaConfig};
use dermafuse::networks::{
    AsymmetricFusion, AsymmetricFusionConfig, BranchOutput, CafNet, CafNetConfig, EmbeddingNet, EmbeddingNetConfig,
    FusionNet, FusionNetConfig, HcCnn, HcCnnConfig, HeadKind, ImageClassifierConfig, JointFusionConfig,
    JointIndividualFusion, JointIndividualFusionConfig, Modality, ModalitySubsetNet, ModalitySubsetNetConfig,
    MultimodalInput, Network, NetworkConfig, OneStageFusion, OneStageFusionConfig, SingleSharedNetwork,
    SingleSharedNetworkConfig, TFormer, TFormerConfig, TripleNet, TripleNetConfig,
};
use dermafuse::schema::{Branch, BranchLogits, BranchWeights, Case, Cohort, FuseSpace, Predictions, Task, TaskSet};
use dermafuse::train::{ClassBalancing, LossConfig, LossReduction, MultitaskLoss};
use dermafuse_tests::{
    Tensors, device_lock, filled_by_formula, filled_with_gains, formula, gradient_norms, uniform, write_safetensors,
};
use ndarray::{Array2, Array3};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    classes: Vec<usize>,
    cases: Vec<GoldenCase>,
    decisions: GoldenDecisions,
    training: GoldenTraining,
}

/// Probabilities of all tasks for the first case, by the weights of the thesis.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoldenDecisions {
    /// Of the clinical, the dermoscopic and the fusion branch.
    w: [f64; 3],
    #[serde(rename = "W_1")]
    w_1: f64,
    #[serde(rename = "P_1")]
    p_1: Vec<f64>,
    #[serde(rename = "P_1_literally")]
    p_1_literally: Vec<f64>,
    #[serde(rename = "P_3")]
    p_3: Vec<f64>,
}

#[derive(Deserialize)]
struct GoldenCase {
    size: [usize; 2],
    /// For each branch, the logits of all tasks.
    logits: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct GoldenTraining {
    size: [usize; 2],
    labels: Vec<Vec<usize>>,
    loss: f64,
    gradient_norms: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct BackboneGolden {
    /// Channels of each normalization: four tensors.
    norms: BTreeMap<String, usize>,
    /// Shapes of all other tensors.
    keys: BTreeMap<String, Vec<usize>>,
    /// What the scales of normalizations are multiplied by.
    norm_gain: f64,
}

impl BackboneGolden {
    /// All tensors, filled by the formula of `name.key`.
    fn tensors(&self, name: &str) -> Tensors {
        let vectors = ["weight", "bias", "running_mean", "running_var"];
        let of_norms = self.norms.iter().flat_map(|(norm, &channels)| {
            vectors.map(|vector| {
                let gain = if vector == "weight" { self.norm_gain } else { 1.0 };
                (format!("{norm}.{vector}"), vec![channels], gain as f32)
            })
        });
        let others = self.keys.iter().map(|(key, shape)| (key.clone(), shape.clone(), 1.0));
        of_norms
            .chain(others)
            .map(|(key, shape, gain)| {
                let values = formula(&format!("{name}.{key}"), &shape).into_iter().map(|value| value * gain).collect();
                (key, (shape, values))
            })
            .collect()
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &str) -> T {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(path);
    let text = std::fs::read_to_string(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    serde_json::from_str(&text).expect("a golden is JSON")
}

/// A backbone whose tensors are filled by the formula of `tower.key`.
fn tower(name: &str, kind: BackboneKind, device: &Device) -> AnyBackbone {
    let golden = read::<BackboneGolden>(&format!("backbones/{kind}/golden.json"));
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("tower.safetensors");
    write_safetensors(&golden.tensors(name), &file);
    let backbone = match kind {
        // Without the layers that draw random numbers in training.
        BackboneKind::SwinTiny => SwinConfig { stochastic_depth: 0.0, ..SwinConfig::tiny() }.init(device).into(),
        BackboneKind::SwinV2Tiny => SwinConfig { stochastic_depth: 0.0, ..SwinConfig::v2_tiny() }.init(device).into(),
        kind => kind.init(None, device),
    };
    backbone.load_weights(&file, LoadOptions { classifier: ClassifierWeights::Drop }).unwrap()
}

fn network(golden: &Golden, device: &Device) -> FusionNet<AnyBackbone> {
    let towers: (AnyBackbone, AnyBackbone) =
        ["clinical", "dermoscopic"].map(|name| tower(name, BackboneKind::ResNet18, device)).into();
    let network = FusionNet::new(towers.0, towers.1, golden.classes.clone(), 0.0, device).unwrap();
    filled_by_formula(network, |name| name.contains("_head."))
}

fn images(name: &str, batch: usize, [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let pixels: Vec<f32> =
        (0..batch * 3 * height * width).map(|index| (4.0 * uniform(name, index) - 2.0) as f32).collect();
    Tensor::from_data(TensorData::new(pixels, [batch, 3, height, width]), device)
}

/// Encoded metadata of so many columns.
fn record(batch: usize, columns: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..batch * columns).map(|index| (4.0 * uniform("metadata", index) - 2.0) as f32).collect();
    Tensor::from_data(TensorData::new(values, [batch, columns]), device)
}

fn input(batch: usize, size: [usize; 2], device: &Device) -> MultimodalInput {
    MultimodalInput {
        clinical: Some(images("clinical", batch, size, device)),
        dermoscopic: Some(images("dermoscopic", batch, size, device)),
        metadata: None,
    }
}

fn assert_branch(branch: BranchOutput, expected: &[f64]) {
    let logits: Vec<f64> =
        branch.logits.into_iter().flat_map(|task| task.into_data().iter::<f64>().collect::<Vec<_>>()).collect();
    assert_eq!(logits.len(), expected.len());
    let magnitude = expected.iter().map(|value| value.abs()).sum::<f64>() / expected.len() as f64;
    for (value, expected) in logits.iter().zip(expected) {
        let allowed = 1e-4 * expected.abs().max(magnitude);
        assert!((value - expected).abs() <= allowed, "{}: {value} instead of {expected}", branch.name);
    }
}

/// Cases with labels of tasks with so many classes.
fn set_of(classes: &[usize], labels: &[Vec<Option<usize>>]) -> CaseSet {
    let names = |count: usize| (0..count).map(|class| class.to_string()).collect::<Vec<_>>();
    let tasks = classes.iter().enumerate().map(|(t, &count)| Task::new(t.to_string(), "T", names(count)));
    let case =
        |(row, labels): (usize, &Vec<Option<usize>>)| Case { labels: labels.clone(), ..Case::new(row.to_string()) };
    CaseSet {
        name: "a few cases".into(),
        synthetic: false,
        tasks: TaskSet::new(tasks.collect()).unwrap(),
        fields: vec![],
        cases: labels.iter().enumerate().map(case).collect(),
        split: None,
        notes: vec![],
    }
}

#[test]
fn logits_of_all_branches_equal_pytorch() {
    let _lock = device_lock();
    let golden: Golden = read("networks/fusion_net/golden.json");
    let device = Device::flex();
    let network = network(&golden, &device);
    for case in &golden.cases {
        let output = network.forward(input(1, case.size, &device));
        for (branch, expected) in output.branches.into_iter().zip(&case.logits) {
            assert_branch(branch, expected);
        }
    }
}

#[test]
fn loss_and_gradients_of_a_training_step_equal_pytorch() {
    let _lock = device_lock();
    let golden: Golden = read("networks/fusion_net/golden.json");
    let device = Device::flex().autodiff();
    let network = network(&golden, &device);

    let labels: Vec<Vec<Option<usize>>> =
        golden.training.labels.iter().map(|labels| labels.iter().copied().map(Some).collect()).collect();
    let set = set_of(&golden.classes, &labels);
    let loss = MultitaskLoss::new(&set.view(&[0, 1, 2, 3]).unwrap(), LossConfig::default()).unwrap();
    let rows: Vec<&[Option<usize>]> = labels.iter().map(Vec::as_slice).collect();
    let output = network.forward(input(labels.len(), golden.training.size, &device));
    let loss = loss.forward(&output, &loss.targets(&rows, 0..rows.len(), &device));
    let value = loss.clone().into_scalar::<f64>();
    assert!((value - golden.training.loss).abs() < 1e-4 * golden.training.loss, "{value}");

    let gradients = loss.backward();
    let norms = gradient_norms(&network, &gradients, |path| path.split('.').next().unwrap_or(path).to_owned());
    for (part, expected) in &golden.training.gradient_norms {
        let norm = norms[part];
        assert!((norm - expected).abs() < 1e-4 * expected, "{part}: {norm} instead of {expected}");
    }
}

/// What branches say of one case, as their golden has it: for each of them the logits of all tasks.
fn logits_of(names: &[&str], classes: &[usize], logits: &[Vec<f64>]) -> BranchLogits {
    let set = set_of(classes, &[vec![None; classes.len()]]);
    let branch = |(name, logits): (&&str, &Vec<f64>)| {
        let mut logits = logits.iter().map(|&logit| logit as f32);
        let task = |&count: &usize| Array3::from_shape_vec((1, 1, count), logits.by_ref().take(count).collect());
        let logits = classes.iter().map(task).collect::<Result<_, _>>().expect("as many logits as classes");
        Branch { name: (*name).into(), available: vec![true], logits }
    };
    let branches = names.iter().zip(logits).map(branch).collect();
    let cohort = Cohort {
        ids: vec!["0".into()],
        groups: vec!["0".into()],
        labels: vec![vec![None; classes.len()]],
        metadata: Array2::zeros((1, 0)),
        has_metadata: vec![false],
    };
    BranchLogits { tasks: set.tasks, cohort, branches, looks: Vec::new() }
}

fn assert_probabilities(predictions: &Predictions, expected: &[f64]) {
    let found: Vec<f64> = predictions.probabilities.iter().flat_map(|task| task.iter().copied()).collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }
}

#[test]
fn decisions_are_fused_as_the_thesis_says() {
    let golden: Golden = read("networks/fusion_net/golden.json");
    let (names, decisions) = (["clinical", "dermoscopic", "fusion"], &golden.decisions);
    let logits = logits_of(&names, &golden.classes, &golden.cases[0].logits);
    let weights = BranchWeights::new(names.into_iter().zip(decisions.w)).unwrap();
    let first = logits.fuse(&weights, FuseSpace::Logits).unwrap();
    assert_probabilities(&first, &decisions.p_1);
    assert_probabilities(&logits.fuse(&weights, FuseSpace::Probabilities).unwrap(), &decisions.p_1_literally);
    // What the clinical branch says stands for the second stage.
    let second = logits.branch("clinical").unwrap();
    assert_probabilities(&first.mix(&second, decisions.w_1).unwrap(), &decisions.p_3);

    // All classifiers of joint-individual fusion answer alike.
    let golden: JifGolden = read("networks/joint_individual_fusion/golden.json");
    let logits = logits_of(&["image", "metadata", "fusion"], &[golden.classes], &golden.logits);
    let all = logits.fuse(&logits.equal_weights(), FuseSpace::Probabilities).unwrap();
    assert_probabilities(&all, &golden.probabilities);
}

#[derive(Deserialize)]
struct JifGolden {
    inputs: usize,
    classes: usize,
    size: [usize; 2],
    /// For each branch.
    logits: Vec<Vec<f64>>,
    /// The mean of what the branches say.
    probabilities: Vec<f64>,
    training: JifTraining,
}

#[derive(Deserialize)]
struct JifTraining {
    size: [usize; 2],
    labels: Vec<usize>,
    class_weights: Vec<f64>,
    loss: f64,
    gradient_norms: BTreeMap<String, f64>,
}

impl JifGolden {
    fn network(&self, device: &Device) -> JointIndividualFusion<AnyBackbone> {
        let fusion = FusionKind::Mmfa(MmfaConfig { image_width: 96, metadata_width: 96, ..MmfaConfig::default() });
        let view = Modality::Clinical;
        let mut joint = JointFusionConfig::new(BackboneKind::ResNet18, view, self.inputs, fusion, vec![self.classes]);
        joint.metadata.layers = vec![256, 128];
        let config = JointIndividualFusionConfig::new(joint);
        let network =
            JointIndividualFusion::new(tower("clinical", BackboneKind::ResNet18, device), &config, device).unwrap();
        filled_by_formula(network, |name| !name.starts_with("joint.backbone."))
    }

    fn input(&self, batch: usize, size: [usize; 2], device: &Device) -> MultimodalInput {
        MultimodalInput {
            clinical: Some(images("clinical", batch, size, device)),
            dermoscopic: None,
            metadata: Some(record(batch, self.inputs, device)),
        }
    }
}

#[test]
fn joint_individual_fusion_equals_pytorch() {
    let _lock = device_lock();
    let golden: JifGolden = read("networks/joint_individual_fusion/golden.json");
    let device = Device::flex();
    let output = golden.network(&device).forward(golden.input(1, golden.size, &device));
    for (branch, expected) in output.branches.into_iter().zip(&golden.logits) {
        assert_branch(branch, expected);
    }
}

#[test]
fn a_training_step_of_joint_individual_fusion_equals_pytorch() {
    let _lock = device_lock();
    let golden: JifGolden = read("networks/joint_individual_fusion/golden.json");
    let training = &golden.training;
    let device = Device::flex().autodiff();
    let network = golden.network(&device);

    // As many cases of each class as give the weights.
    let counts = training.class_weights.iter().map(|weight| (12.0 / weight) as usize);
    let labels = counts.enumerate().flat_map(|(class, count)| vec![class; count]);
    let case = |(row, label): (usize, usize)| Case { labels: vec![Some(label)], ..Case::new(row.to_string()) };
    let classes = (0..golden.classes).map(|class| class.to_string());
    let set = CaseSet {
        name: "weights".into(),
        synthetic: false,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes)]).unwrap(),
        fields: vec![],
        cases: labels.enumerate().map(case).collect(),
        split: None,
        notes: vec![],
    };
    let config = LossConfig {
        reduction: LossReduction::Paper,
        class_weights: ClassBalancing::Balanced,
        ..LossConfig::default()
    };
    let loss = MultitaskLoss::new(&set.whole(), config).unwrap();
    let labels: Vec<[Option<usize>; 1]> = training.labels.iter().map(|&label| [Some(label)]).collect();
    let labels: Vec<&[Option<usize>]> = labels.iter().map(|labels| labels.as_slice()).collect();
    let output = network.forward(golden.input(labels.len(), training.size, &device));
    let loss = loss.forward(&output, &loss.targets(&labels, 0..labels.len(), &device));
    let value = loss.clone().into_scalar::<f64>();
    assert!((value - training.loss).abs() < 1e-4 * training.loss, "{value} instead of {}", training.loss);

    let gradients = loss.backward();
    let norms = gradient_norms(&network, &gradients, |name| {
        let words: Vec<&str> = name.split('.').collect();
        words[..if words[0] == "joint" { 2 } else { 1 }].join(".")
    });
    for (part, expected) in &training.gradient_norms {
        let norm = norms[part];
        // As of the backbones: Burn's 32 bits are within 2.1e-4 of PyTorch's 64 here.
        assert!((norm - expected).abs() < 1e-3 * expected, "{part}: {norm} instead of {expected}");
    }
}

#[derive(Deserialize)]
struct TwoImageGoldens<C> {
    classes: Vec<usize>,
    labels: Vec<Vec<usize>>,
    networks: Vec<TwoImageGolden<C>>,
}

#[derive(Deserialize)]
struct TwoImageGolden<C> {
    config: C,
    /// What the projections of the attention are multiplied by, by name.
    gains: BTreeMap<String, f32>,
    /// Columns of metadata.
    metadata: usize,
    cases: Vec<GoldenCase>,
    training: TwoImageTraining,
}

#[derive(Deserialize)]
struct TwoImageTraining {
    size: [usize; 2],
    /// The sum of the tasks' losses, weighted by branch.
    loss: f64,
    gradient_norms: BTreeMap<String, f64>,
}

impl<C> TwoImageGolden<C> {
    fn input(&self, batch: usize, size: [usize; 2], device: &Device) -> MultimodalInput {
        let metadata = (self.metadata > 0).then(|| record(batch, self.metadata, device));
        MultimodalInput { metadata, ..input(batch, size, device) }
    }

    /// Fills what is no backbone.
    fn filled<N: Network>(&self, network: N, backbones: &[&str]) -> N {
        filled_with_gains(network, |name| {
            let words: Vec<&str> = name.split('.').collect();
            let gain = words.iter().rev().nth(1).and_then(|word| self.gains.get(*word)).copied();
            (!backbones.contains(&words[0])).then_some(gain.unwrap_or(1.0))
        })
    }
}

/// Compares logits in inference and the loss of a training step to 1e-4, and the norms of its gradients to 1e-3.
fn equals_pytorch<C: Debug, N: Network>(
    goldens: &TwoImageGoldens<C>,
    golden: &TwoImageGolden<C>,
    make: impl Fn(&C, &Device) -> N,
) {
    let config = &golden.config;
    let device = Device::flex();
    let network = make(config, &device);
    for case in &golden.cases {
        let output = network.forward(golden.input(1, case.size, &device));
        assert_eq!(output.branches.len(), case.logits.len());
        for (branch, expected) in output.branches.into_iter().zip(&case.logits) {
            assert_branch(branch, expected);
        }
    }

    let device = device.autodiff();
    let network = make(config, &device);
    let labels: Vec<Vec<Option<usize>>> =
        goldens.labels.iter().map(|labels| labels.iter().copied().map(Some).collect()).collect();
    let set = set_of(&goldens.classes, &labels);
    let losses = LossConfig { reduction: LossReduction::Paper, ..LossConfig::default() };
    let loss = MultitaskLoss::new(&set.whole(), losses).unwrap();
    let rows: Vec<&[Option<usize>]> = labels.iter().map(Vec::as_slice).collect();
    let output = network.forward(golden.input(labels.len(), golden.training.size, &device));
    let loss = loss.forward(&output, &loss.targets(&rows, 0..rows.len(), &device));
    let (value, expected) = (loss.clone().into_scalar::<f64>(), golden.training.loss);
    assert!((value - expected).abs() < 1e-4 * expected, "{config:?}: {value} instead of {expected}");

    let gradients = loss.backward();
    let norms = gradient_norms(&network, &gradients, |name| {
        let words: Vec<&str> = name.split('.').collect();
        words[..if ["fusion", "heads", "hyper"].contains(&words[0]) { 2 } else { 1 }].join(".")
    });
    assert_eq!(norms.keys().collect::<Vec<_>>(), golden.training.gradient_norms.keys().collect::<Vec<_>>());
    for (part, expected) in &golden.training.gradient_norms {
        let norm = norms[part];
        assert!((norm - expected).abs() < 1e-3 * expected, "{config:?}: {part}: {norm} instead of {expected}");
    }
}

#[test]
fn asymmetric_fusion_equals_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<AsymmetricFusionConfig> = read("networks/asymmetric_fusion/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let clinical = tower("clinical", config.clinical, device);
            let dermoscopic = tower("dermoscopic", config.dermoscopic, device);
            let network = AsymmetricFusion::new(clinical, dermoscopic, config, device).unwrap();
            golden.filled(network, &["clinical", "dermoscopic"])
        });
    }
}

#[test]
fn single_shared_networks_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<SingleSharedNetworkConfig> = read("networks/single_shared_network/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let backbone = tower("shared", config.backbone, device);
            let network = SingleSharedNetwork::new(backbone, config, device).unwrap();
            golden.filled(network, &["backbone"])
        });
    }
}

#[test]
fn embedding_nets_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<EmbeddingNetConfig> = read("networks/embedding_net/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let [clinical, dermoscopic] = ["clinical", "dermoscopic"].map(|name| tower(name, config.backbone, device));
            let network = EmbeddingNet::new(clinical, dermoscopic, config, device).unwrap();
            golden.filled(network, &["clinical", "dermoscopic"])
        });
    }
}

#[test]
fn one_stage_fusions_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<OneStageFusionConfig> = read("networks/one_stage_fusion/golden.json");
    assert_eq!(goldens.networks.len(), 6);
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let [clinical, dermoscopic] = [Modality::Clinical, Modality::Dermoscopic]
                .map(|view| config.images.has(view).then(|| tower(view.name(), config.backbone, device)));
            let network = OneStageFusion::new(clinical, dermoscopic, config, device).unwrap();
            golden.filled(network, &["clinical", "dermoscopic"])
        });
    }
}

#[test]
fn networks_over_subsets_of_modalities_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<ModalitySubsetNetConfig> = read("networks/modality_subset_net/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let [clinical, dermoscopic] = ["clinical", "dermoscopic"].map(|name| tower(name, config.backbone, device));
            let network = ModalitySubsetNet::new(clinical, dermoscopic, config, device).unwrap();
            golden.filled(network, &["clinical", "dermoscopic"])
        });
    }
}

#[test]
fn hc_cnns_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<HcCnnConfig> = read("networks/hc_cnn/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let [clinical, dermoscopic] = ["clinical", "dermoscopic"].map(|name| tower(name, config.backbone, device));
            let network = HcCnn::new(clinical, dermoscopic, config, device).unwrap();
            golden.filled(network, &["clinical", "dermoscopic"])
        });
    }
}

#[test]
fn caf_nets_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<CafNetConfig> = read("networks/caf_net/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let [clinical, dermoscopic] = ["clinical", "dermoscopic"].map(|name| tower(name, config.backbone, device));
            let network = CafNet::new(clinical, dermoscopic, config, device).unwrap();
            golden.filled(network, &["clinical", "dermoscopic"])
        });
    }
}

#[test]
fn triple_nets_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<TripleNetConfig> = read("networks/triple_net/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let [clinical, dermoscopic] = ["clinical", "dermoscopic"].map(|name| tower(name, config.backbone, device));
            let network = TripleNet::new(clinical, dermoscopic, config, device).unwrap();
            golden.filled(network, &["clinical", "dermoscopic"])
        });
    }
}

#[test]
fn tformers_equal_pytorch() {
    let _lock = device_lock();
    let goldens: TwoImageGoldens<TFormerConfig> = read("networks/tformer/golden.json");
    for golden in &goldens.networks {
        equals_pytorch(&goldens, golden, |config, device| {
            let AnyBackbone::Swin(swin) = tower("shared", BackboneKind::SwinTiny, device) else { panic!("a Swin") };
            golden.filled(TFormer::new(swin, config, device).unwrap(), &["backbone"])
        });
    }
}

#[test]
fn comparators_have_their_published_parameters() {
    let device = Device::flex();
    let classes = vec![5, 3, 3, 3, 2, 3, 2, 3];
    for (metadata, expected) in [(Some(20), 78_238_362), (None, 77_757_210)] {
        // The code's backbone has a classifier of 128 classes that nothing uses.
        let unused = 768 * 128 + 128;
        let plain = TFormerConfig::new(metadata, classes.clone());
        let published = TFormerConfig { unused_classifier: true, ..plain.clone() };
        let count = |config: &TFormerConfig| parameter_count(&config.init(&device).unwrap());
        assert_eq!((count(&published), count(&plain)), (expected, expected - unused), "{metadata:?}");
        // Inference needs none of it.
        assert_eq!(parameter_count(&published.init(&device).unwrap().into_inference()), count(&plain));
        let described = NetworkConfig::TFormer(published.clone()).inference();
        assert_eq!(described, NetworkConfig::TFormer(plain.clone()));
        for config in [plain, published] {
            let counted = NetworkConfig::TFormer(config).parameter_count_with_classifiers(&device).unwrap();
            assert_eq!(counted, expected);
        }
    }
    // Two ResNet-50, and the perceptron: 512·D + 70,552 with D the features of both and the record.
    let config = EmbeddingNetConfig::new(BackboneKind::ResNet50, Some(20), classes);
    let perceptron = 512 * (2 * 2048 + 20) + 70_552;
    assert_eq!(parameter_count(&config.init(&device).unwrap()), 2 * 23_508_032 + perceptron);
}

/// Millions of parameters, as the papers count them.
#[test]
fn every_row_of_the_papers_tables_has_their_parameters() {
    use BackboneKind::{
        ConvNeXtTiny as Cxt, DenseNet201 as Dn201, MobileNetV3Small as Mn, ResNet50 as Rn50, SwinV2Tiny as St,
    };
    let device = Device::flex();
    let classes = || vec![5, 3, 3, 3, 2, 3, 2, 3];
    let block = |name: &str| Some(name.parse::<MapFusionKind>().unwrap());
    let count = |config: NetworkConfig| config.parameter_count_with_classifiers(&device).unwrap();
    let single = |backbone| {
        let config = ImageClassifierConfig::new(backbone, Modality::Clinical, classes());
        count(NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::MLP, ..config }))
    };
    let two = |clinical, dermoscopic, fusion: &Option<MapFusionKind>| {
        let config = AsymmetricFusionConfig::new(clinical, dermoscopic, fusion.clone(), classes());
        count(NetworkConfig::AsymmetricFusion(config))
    };
    let shared = |backbone, fusion: &Option<MapFusionKind>, shared_head| {
        let config = SingleSharedNetworkConfig::new(backbone, fusion.clone(), classes());
        count(NetworkConfig::SingleSharedNetwork(SingleSharedNetworkConfig { shared_head, ..config }))
    };
    let fusion_net = count(NetworkConfig::FusionNet(FusionNetConfig::new(Rn50, classes())));
    assert_eq!(fusion_net, 54_471_448);

    // One image: clinical and dermoscopic rows alike.
    for (backbone, expected) in
        [(St, 28_815_338), (Mn, 2_908_320), (Rn50, 26_676_160), (Cxt, 29_052_896), (Dn201, 21_067_520)]
    {
        assert_eq!(single(backbone), expected, "{backbone}");
    }
    // AMMFM and its ablations.
    let (aab, bab) = (block("aab"), block("bab"));
    for (clinical, dermoscopic, fusion, expected) in [
        (St, St, &None, 58_487_660), // SFF-CAT, also PEMM's baseline
        (Mn, Mn, &None, 6_477_016),
        (Mn, St, &None, 32_482_338), // AFF-CAT
        (Mn, St, &aab, 33_056_120),  // AFF-AAB, AMMFM
        (St, Mn, &aab, 32_620_898),
        (St, St, &bab, 60_449_660), // SFF-BAB
        (St, St, &aab, 59_075_444), // SFF-AAB
        (Mn, St, &bab, 33_882_808), // AFF-BAB
        (Rn50, Rn50, &None, 55_520_024),
        (Mn, Rn50, &aab, 36_361_902),
        (Cxt, Cxt, &None, 58_962_776),
        (Mn, Cxt, &aab, 33_293_678),
    ] {
        assert_eq!(two(clinical, dermoscopic, fusion), expected, "{clinical} + {dermoscopic}, {fusion:?}");
    }
    assert_eq!(AsymmetricFusionConfig::ammfm(classes()), AsymmetricFusionConfig::new(Mn, St, aab, classes()));
    // PEMM and its ablations; the loss has no parameters.
    let (ca, sca) = (block("ca"), block("sca"));
    for (backbone, fusion, shared_head, expected) in [
        (St, &None, false, 30_136_090),
        (St, &ca, false, 32_098_090),
        (St, &sca, false, 31_117_090),
        (St, &sca, true, 30_653_322),
        (Cxt, &sca, false, 31_354_648),
        (Rn50, &sca, false, 36_930_992),
        (Dn201, &sca, false, 33_195_024), // maps before the transitions
    ] {
        assert_eq!(shared(backbone, fusion, shared_head), expected, "{backbone}, {fusion:?}, {shared_head}");
    }
    assert_eq!(SingleSharedNetworkConfig::pemm(classes()), SingleSharedNetworkConfig::new(St, sca, classes()));
}
