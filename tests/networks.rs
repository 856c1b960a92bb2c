//! FusionNet and joint-individual fusion against PyTorch: the same formula-filled weights, the same logits, loss and gradients.

use std::collections::BTreeMap;

use burn::tensor::Device;
use dermafuse::backbones::{AnyBackbone, BackboneKind};
use dermafuse::data::CaseSet;
use dermafuse::networks::{
    BranchOutput, FusionNet, ImageView, JointFusionConfig, JointIndividualFusion, JointIndividualFusionConfig,
    MultimodalInput, Network,
};
use dermafuse::schema::{Case, Task, TaskSet};
use dermafuse::train::{ClassWeights, LossConfig, LossReduction, MultitaskLoss};
use dermafuse_tests::{backbone_by_formula, device_lock, filled_by_formula, golden, gradient_norms, tensor_by_formula};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    classes: Vec<usize>,
    cases: Vec<GoldenCase>,
    training: GoldenTraining,
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

fn network(golden: &Golden, device: &Device) -> FusionNet<AnyBackbone> {
    let towers = (
        backbone_by_formula(BackboneKind::ResNet18, "clinical", device),
        backbone_by_formula(BackboneKind::ResNet18, "dermoscopic", device),
    );
    let network = FusionNet::new(towers.0, towers.1, golden.classes.clone(), 0.0, device).unwrap();
    filled_by_formula(network, |name| name.contains("_head."))
}

fn input(batch: usize, size: [usize; 2], device: &Device) -> MultimodalInput {
    MultimodalInput {
        clinical: Some(tensor_by_formula("clinical", [batch, 3, size[0], size[1]], device)),
        dermoscopic: Some(tensor_by_formula("dermoscopic", [batch, 3, size[0], size[1]], device)),
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

#[test]
fn logits_of_all_branches_equal_pytorch() {
    let _lock = device_lock();
    let golden: Golden = golden("networks/fusion_net/golden.json");
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
    let golden: Golden = golden("networks/fusion_net/golden.json");
    let device = Device::flex().autodiff();
    let network = network(&golden, &device);

    let classes = |count: usize| (0..count).map(|class| class.to_string()).collect::<Vec<_>>();
    let tasks = golden.classes.iter().enumerate().map(|(t, &count)| Task::new(t.to_string(), "T", classes(count)));
    let labels: Vec<Vec<Option<usize>>> =
        golden.training.labels.iter().map(|labels| labels.iter().copied().map(Some).collect()).collect();
    let case =
        |(row, labels): (usize, &Vec<Option<usize>>)| Case { labels: labels.clone(), ..Case::new(row.to_string()) };
    let set = CaseSet {
        name: "four cases".into(),
        synthetic: false,
        tasks: TaskSet::new(tasks.collect()).unwrap(),
        fields: vec![],
        cases: labels.iter().enumerate().map(case).collect(),
        split: None,
        notes: vec![],
    };
    let loss = MultitaskLoss::new(&set, &[0, 1, 2, 3], LossConfig::default()).unwrap();
    let rows: Vec<&[Option<usize>]> = labels.iter().map(Vec::as_slice).collect();
    let output = network.forward(input(labels.len(), golden.training.size, &device));
    let loss = loss.forward(&output, &loss.targets(&rows, 0..rows.len(), &device));
    let value = loss.clone().into_scalar::<f64>();
    assert!((value - golden.training.loss).abs() < 1e-3 * golden.training.loss, "{value}");

    let gradients = loss.backward();
    let norms = gradient_norms(&network, &gradients, |path| path.split('.').next().unwrap_or(path).to_owned());
    for (part, expected) in &golden.training.gradient_norms {
        let norm = norms[part];
        assert!((norm - expected).abs() < 1e-3 * expected, "{part}: {norm} instead of {expected}");
    }
}

#[derive(Deserialize)]
struct JifGolden {
    inputs: usize,
    classes: usize,
    size: [usize; 2],
    /// For each branch.
    logits: Vec<Vec<f64>>,
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
        let fusion = "mmfa".parse().unwrap();
        let view = ImageView::Clinical;
        let joint = JointFusionConfig::new(BackboneKind::ResNet18, view, self.inputs, fusion, vec![self.classes]);
        let config = JointIndividualFusionConfig::new(joint);
        let network = JointIndividualFusion::new(
            backbone_by_formula(BackboneKind::ResNet18, "clinical", device),
            &config,
            device,
        )
        .unwrap();
        filled_by_formula(network, |name| !name.starts_with("joint.backbone."))
    }

    fn input(&self, batch: usize, size: [usize; 2], device: &Device) -> MultimodalInput {
        MultimodalInput {
            clinical: Some(tensor_by_formula("clinical", [batch, 3, size[0], size[1]], device)),
            dermoscopic: None,
            metadata: Some(tensor_by_formula("metadata", [batch, self.inputs], device)),
        }
    }
}

#[test]
fn joint_individual_fusion_equals_pytorch() {
    let _lock = device_lock();
    let golden: JifGolden = golden("networks/joint_individual_fusion/golden.json");
    let device = Device::flex();
    let output = golden.network(&device).forward(golden.input(1, golden.size, &device));
    for (branch, expected) in output.branches.into_iter().zip(&golden.logits) {
        assert_branch(branch, expected);
    }
}

#[test]
fn a_training_step_of_joint_individual_fusion_equals_pytorch() {
    let _lock = device_lock();
    let golden: JifGolden = golden("networks/joint_individual_fusion/golden.json");
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
    let config =
        LossConfig { reduction: LossReduction::Paper, class_weights: ClassWeights::Balanced, ..LossConfig::default() };
    let loss = MultitaskLoss::new(&set, &(0..set.len()).collect::<Vec<_>>(), config).unwrap();
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
        assert!((norm - expected).abs() < 1e-3 * expected, "{part}: {norm} instead of {expected}");
    }
}
