//! Every network of the table: names, files, shapes, a gradient for every parameter, and what is left of it for inference.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dermafuse_backbones::parameter_count;
use dermafuse_networks::{AnyNetwork, MultimodalInput, Network, NetworkConfig, NetworkKind, NetworkOutput};

const CLASSES: [usize; 2] = [3, 2];
const COLUMNS: usize = 7;
const BATCH: usize = 3;

fn examples() -> impl Iterator<Item = (NetworkKind, NetworkConfig)> {
    let of = |kind: NetworkKind| {
        let examples = kind.examples(&CLASSES, COLUMNS);
        assert!(!examples.is_empty(), "{kind} has no example");
        examples.into_iter().map(move |config| (kind, config))
    };
    NetworkKind::ALL.into_iter().flat_map(of)
}

/// Numbers from -1 to 1 in no order.
fn numbers<const D: usize>(shape: [usize; D], start: usize, device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (start..start + count).map(|index| (index as f32 * 12.9898).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// What the network looks at, and nothing else.
fn input(network: &AnyNetwork, device: &Device) -> MultimodalInput {
    let seen = network.modalities();
    let image = |start| numbers([BATCH, 3, 64, 64], start, device);
    MultimodalInput {
        clinical: seen.clinical.then(|| image(0)),
        dermoscopic: seen.dermoscopic.then(|| image(50_000)),
        metadata: seen.metadata.then(|| numbers([BATCH, COLUMNS], 100_000, device)),
    }
}

/// What a normalisation counts and does not learn.
const BUFFERS: [&str; 2] = ["running_mean", "running_var"];

struct Reached<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    missed: Vec<String>,
    numbers: usize,
}

impl ModuleVisitor for Reached<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.path.last().is_some_and(|name| BUFFERS.contains(&name.as_str())) {
            return;
        }
        match param.val().grad(self.gradients) {
            Some(_) => self.numbers += param.val().shape().num_elements(),
            None => self.missed.push(self.path.join(".")),
        }
    }
}

fn logits(output: &NetworkOutput) -> Vec<Vec<f32>> {
    let of_branches = output.branches.iter().flat_map(|branch| &branch.logits);
    of_branches.map(|logits| logits.to_data().try_to_vec::<f32>().unwrap()).collect()
}

#[test]
fn a_kind_has_one_name_in_text_and_in_files() {
    for (kind, config) in examples() {
        assert_eq!(kind.to_string().parse::<NetworkKind>().unwrap(), kind);
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        assert_eq!(config.kind(), kind.name());
        assert!(!kind.description().is_empty() && !kind.description().contains('\n'), "{kind}");
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["kind"], kind.name());
        assert_eq!(serde_json::from_value::<NetworkConfig>(written).unwrap(), config);
    }
    let error = "resnet".parse::<NetworkKind>().unwrap_err().to_string();
    assert!(
        error.starts_with("there is no network `resnet`; the networks are fusion_net, image_classifier, "),
        "{error}"
    );
}

#[test]
fn a_description_says_what_the_network_is() {
    let device = Device::flex();
    for (_, config) in examples() {
        let network = config.init(&device).unwrap();
        assert_eq!(config.classes(), CLASSES);
        assert_eq!(config.clone().with_classes(vec![4]).classes(), [4]);
        assert_eq!(config.metadata_inputs() > 0, network.modalities().metadata, "{config:?}");
        let longer = config.clone().with_metadata_inputs(9);
        assert_eq!(longer.metadata_inputs(), if network.modalities().metadata { 9 } else { 0 }, "{config:?}");
        assert_eq!(config.auxiliary_names(), network.auxiliary(), "{config:?}");
        assert_eq!(config.backbones().len(), network.backbones().len(), "{config:?}");
        for (kind, backbone) in config.backbones().into_iter().zip(network.backbones()) {
            assert_eq!(kind.num_params_without_classifier(), parameter_count(backbone), "{config:?}");
        }
        for index in 0..config.backbones().len() {
            let Some(view) = config.view_of(index) else { continue };
            let error = network.clone().load_backbone_weights_of(view, "nowhere.safetensors").unwrap_err();
            assert!(matches!(error, dermafuse_networks::NetworkError::Backbone(_)), "{config:?}: {error}");
        }
        let names = network.tensor_names();
        let distinct: BTreeSet<&String> = names.values().collect();
        assert_eq!(distinct.len(), names.len(), "{config:?}: two tensors of one name");
        config.check_images(64).unwrap();
    }
}

#[test]
fn every_branch_has_its_logits_and_every_parameter_a_gradient() {
    let device = Device::flex().autodiff();
    for (kind, config) in examples() {
        let network = config.init_seeded(1, &device).unwrap();
        let output = network.forward(input(&network, &device));
        let names: Vec<&str> = output.branches.iter().map(|branch| branch.name).collect();
        assert_eq!(names, network.branches().iter().map(|branch| branch.name).collect::<Vec<_>>(), "{config:?}");
        assert_eq!(output.embedding.dims()[0], BATCH);
        let losses: Vec<&str> = output.auxiliary.iter().map(|auxiliary| auxiliary.name).collect();
        assert_eq!(losses, network.auxiliary(), "{config:?}");

        let mut terms: Vec<Tensor<1>> = output.auxiliary.into_iter().map(|auxiliary| auxiliary.loss).collect();
        for branch in output.branches {
            for (logits, classes) in branch.logits.into_iter().zip(CLASSES) {
                assert_eq!(logits.dims(), [BATCH, classes], "{config:?}: {}", branch.name);
                terms.push((logits * numbers([BATCH, classes], 7 * terms.len(), &device)).sum());
            }
        }
        if parameter_count(&network) == 0 || kind == NetworkKind::FrozenEncoders {
            continue; // nothing that a gradient could reach, or should
        }
        let gradients = Tensor::cat(terms, 0).sum().backward();
        let mut reached = Reached { gradients: &gradients, path: Vec::new(), missed: Vec::new(), numbers: 0 };
        network.visit(&mut reached);
        assert!(reached.missed.is_empty(), "{config:?}: no gradient reaches {:?}", reached.missed);
        assert_eq!(reached.numbers, parameter_count(&network), "{config:?}");
    }
}

#[test]
fn what_only_training_needs_changes_no_prediction() {
    let device = Device::flex();
    for (_, config) in examples() {
        let network = config.init_seeded(2, &device).unwrap().valid();
        let expected = logits(&network.forward(input(&network, &device)));
        let kept = network.into_inference();
        assert_eq!(logits(&kept.forward(input(&kept, &device))), expected, "{config:?}");
        let described = config.clone().inference().init(&device).unwrap();
        let sorted = |network: &AnyNetwork| network.tensor_names().into_values().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&described), sorted(&kept), "{config:?}");
    }
}
