//! Explanations: class activation maps against the `grad-cam` package, occlusion, and contributions that add up.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseSet, MetadataEncoder, MetadataRoles};
use dermafuse::ensemble::TwoStage;
use dermafuse::eval::{ChecklistScore, SampleCase};
use dermafuse::fusion::FusionKind;
use dermafuse::infer::{
    Answers, Bundle, BundleDescription, CamMethod, ExplainedLogit, Explainer, ImageBaseline, InferError, Input,
    Occlusion, TestTimeAugmentation,
};
use dermafuse::networks::{
    Amfam, AmfamConfig, AmfamRow, AnyNetwork, AsymmetricFusionConfig, FusionNetConfig, JointFusionConfig,
    JointIndividualFusionConfig, MetadataClassifierConfig, MetadataNetworkConfig, Modality, MultimodalInput, Network,
    NetworkConfig, Probe, SingleSharedNetworkConfig,
};
use dermafuse::recipes::Workplace;
use dermafuse::schema::{BranchWeights, FieldValue, FuseSpace, Predictions};
use dermafuse::train::Silent;
use dermafuse_tests::{
    backbone_by_formula, device_lock, filled_by_formula, golden, small_recipe, small_set, tensor_by_formula, text_of,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    hidden: usize,
    classes: usize,
    class: usize,
    size: [usize; 2],
    step: usize,
    networks: BTreeMap<String, NetworkGolden>,
}

#[derive(Deserialize)]
struct NetworkGolden {
    logits: Vec<f64>,
    maps: Vec<MapGolden>,
}

#[derive(Deserialize)]
struct MapGolden {
    stage: usize,
    method: String,
    mean: f64,
    values: Vec<f64>,
}

#[test]
fn class_activation_maps_equal_the_grad_cam_package() {
    let _lock = device_lock();
    let golden: Golden = golden("grad_cam/golden.json");
    let device = Device::flex();
    for (name, expected) in &golden.networks {
        let kind: BackboneKind = name.parse().unwrap();
        let config =
            AmfamConfig { hidden: golden.hidden, ..AmfamConfig::row(AmfamRow::Clinical, kind, vec![golden.classes]) };
        let network = Amfam::new(vec![backbone_by_formula(kind, "clinical", &device)], &config, &device).unwrap();
        let network = filled_by_formula(network, |name| !name.starts_with("backbones."));
        let [height, width] = golden.size;
        let clinical = Some(tensor_by_formula("clinical", [1, 3, height, width], &device));
        let input = MultimodalInput { clinical, dermoscopic: None, metadata: None };
        let logits: Vec<f64> = network.forward(input.clone()).branches[0].logits[0].to_data().iter().collect();
        for (logit, expected) in logits.iter().zip(&expected.logits) {
            assert!((logit - expected).abs() < 1e-3 * expected.abs().max(1.0), "{name}: {logits:?}");
        }

        let explainer = Explainer::new(&network);
        let logit = ExplainedLogit::of_branch("clinical", 0).with_class(golden.class);
        for map in &expected.maps {
            let method = match map.method.as_str() {
                "grad_cam" => CamMethod::GradCam,
                _ => CamMethod::GradCamPlusPlus,
            };
            let heat = explainer.class_activation(&input, Modality::Clinical, map.stage, &logit, method).unwrap();
            let what = format!("{name}, stage {}, {}", map.stage, map.method);
            let values = &heat[0].values;
            assert_eq!(values.dim(), (height, width), "{what}");
            let found: Vec<f64> = values.iter().step_by(golden.step).map(|&value| f64::from(value)).collect();
            assert_eq!(found.len(), map.values.len());
            for (at, (found, expected)) in found.iter().zip(&map.values).enumerate() {
                assert!((found - expected).abs() < 1e-3, "{what}, {at}: {found} instead of {expected}");
            }
            let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
            assert!((mean - map.mean).abs() < 1e-3, "{what}: mean {mean} instead of {}", map.mean);
        }
    }
}

fn input(batch: usize, metadata: usize, device: &Device) -> MultimodalInput {
    let images = |name| Some(tensor_by_formula(name, [batch, 3, 48, 64], device));
    MultimodalInput {
        clinical: images("clinical"),
        dermoscopic: images("dermoscopic"),
        metadata: Some(tensor_by_formula("metadata", [batch, metadata], device)),
    }
}

const BACKBONE: BackboneKind = BackboneKind::ResNet18Quarter;

/// A network of each structure with the images that it looks at and the branch that is explained.
fn structures() -> Vec<(NetworkConfig, Vec<Modality>, &'static str)> {
    let (clinical, dermoscopic) = (Modality::Clinical, Modality::Dermoscopic);
    let joint = JointFusionConfig::new(BACKBONE, dermoscopic, 7, FusionKind::Concat, vec![3, 2]);
    let individual = JointIndividualFusionConfig::new(joint.clone());
    let two = AmfamConfig { shared_backbone: false, ..AmfamConfig::new(BACKBONE, vec![3, 2]) };
    vec![
        (NetworkConfig::FusionNet(FusionNetConfig::new(BACKBONE, vec![3, 2])), vec![clinical, dermoscopic], "fusion"),
        (NetworkConfig::JointFusion(joint), vec![dermoscopic], "fusion"),
        (NetworkConfig::JointIndividualFusion(individual), vec![dermoscopic], "fusion"),
        (NetworkConfig::Amfam(AmfamConfig::new(BACKBONE, vec![3, 2])), vec![clinical, dermoscopic], "fusion"),
        (NetworkConfig::Amfam(two), vec![clinical, dermoscopic], "fusion"),
        (
            NetworkConfig::Amfam(AmfamConfig::row(AmfamRow::Dermoscopic, BACKBONE, vec![3, 2])),
            vec![dermoscopic],
            "dermoscopic",
        ),
    ]
}

#[test]
fn every_structure_is_explained_at_every_stage() {
    let _lock = device_lock();
    let device = Device::flex();
    for (config, views, branch) in structures() {
        // In training on an autodiff device, and in inference on a plain one: the map is the same.
        let training = config.init_seeded(5, &device.clone().autodiff()).unwrap();
        let (first, second) = (Explainer::new(&training), Explainer::new(&training.valid()));
        let before = training.valid().forward(input(1, 7, &device)).embedding.into_data();
        for view in [Modality::Clinical, Modality::Dermoscopic] {
            for stage in 0..4 {
                let logit = ExplainedLogit::of_branch(branch, 1);
                let of = |explainer: &Explainer<_>, batch: usize| {
                    let input = input(batch, 7, &device);
                    explainer.class_activation(&input, view, stage, &logit, CamMethod::GradCam)
                };
                if !views.contains(&view) {
                    let error = of(&first, 1).unwrap_err();
                    assert!(matches!(error, InferError::NoFeatureMap { .. }), "{config:?}: {error}");
                    continue;
                }
                let (both, alone) = (of(&first, 2).unwrap(), of(&second, 1).unwrap());
                assert_eq!((both.len(), alone.len()), (2, 1));
                assert_eq!(both[0].values.dim(), (48, 64));
                assert!(both[0].values.iter().all(|value| (0.0..=1.0).contains(value)));
                // The other case of a batch has no influence.
                let apart = both[0].values.iter().zip(&alone[0].values).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f32::max) < 1e-3, "{config:?}, {view:?}, stage {stage}");
            }
            assert_eq!(first.deepest_stage(&input(1, 7, &device), view, 3), views.contains(&view).then_some(2));
        }
        // Explaining moves no running statistics.
        let after = training.valid().forward(input(1, 7, &device)).embedding.into_data();
        assert_eq!(before, after);
    }
}

/// The numbers of parameters by their path.
fn parameters(network: &AnyNetwork) -> BTreeMap<String, Vec<f64>> {
    #[derive(Default)]
    struct Numbers {
        path: Vec<String>,
        found: BTreeMap<String, Vec<f64>>,
    }
    impl ModuleVisitor for Numbers {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.insert(self.path.join("."), param.val().into_data().iter::<f64>().collect());
        }
    }
    let mut numbers = Numbers::default();
    network.visit(&mut numbers);
    numbers.found
}

/// `mean_i softmax_j(q_i k_j)` of one case by the formula, from the map `[C, N]` and the 1×1 convolutions of that path.
fn looked_at(numbers: &BTreeMap<String, Vec<f64>>, path: &str, map: &[f64], channels: usize) -> Vec<f64> {
    let positions = map.len() / channels;
    let projected = |name: &str| -> Vec<Vec<f64>> {
        let of = |what: &str| {
            let mut found =
                numbers.iter().filter(|(key, _)| key.contains(path) && key.ends_with(&format!("{name}.{what}")));
            let (_, values) = found.next().unwrap_or_else(|| panic!("{path} {name} among {:?}", numbers.keys()));
            assert!(found.next().is_none(), "one {path} {name}");
            values
        };
        let rows = of("weight").chunks(channels).zip(of("bias"));
        rows.map(|(row, bias)| {
            (0..positions)
                .map(|at| bias + (0..channels).map(|c| row[c] * map[c * positions + at]).sum::<f64>())
                .collect()
        })
        .collect()
    };
    let (query, key) = (projected("query"), projected("key"));
    let mut mean = vec![0.0; positions];
    for asks in 0..positions {
        let score = |at: usize| query.iter().zip(&key).map(|(q, k)| q[asks] * k[at]).sum::<f64>();
        let scores: Vec<f64> = (0..positions).map(|at| score(at).exp()).collect();
        let sum: f64 = scores.iter().sum();
        scores.iter().zip(&mut mean).for_each(|(score, mean)| *mean += score / sum / positions as f64);
    }
    mean
}

#[test]
fn attention_is_that_of_the_formulas() {
    let _lock = device_lock();
    let device = Device::flex();
    let (clinical, dermoscopic) = (Modality::Clinical, Modality::Dermoscopic);
    let stage = 2;
    let asymmetric = |name: &str| {
        let fusion = Some(name.parse().unwrap());
        NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::new(BACKBONE, BACKBONE, fusion, vec![3, 2]))
    };
    let shared = |name: &str| {
        let fusion = Some(name.parse().unwrap());
        NetworkConfig::SingleSharedNetwork(SingleSharedNetworkConfig::new(BACKBONE, fusion, vec![3, 2]))
    };
    // For each refined map: whose map makes the weights, and where the projections are.
    let of_both = [(clinical, dermoscopic, "dermoscopic.resemblance"), (dermoscopic, clinical, "clinical.resemblance")];
    let cases = [
        (asymmetric("aab"), vec![(dermoscopic, clinical, ".clinical.")]),
        (asymmetric("bab"), of_both.to_vec()),
        (shared("ca"), of_both.to_vec()),
        (shared("sca"), vec![(clinical, dermoscopic, "resemblance"), (dermoscopic, clinical, "resemblance")]),
    ];
    for (config, expected) in cases {
        let network = config.init_seeded(3, &device).unwrap();
        let explainer = Explainer::new(&network);
        assert_eq!(explainer.deepest_attention(&input(1, 0, &device), 3), Some(stage));
        let both = explainer.position_attention(&input(2, 0, &device), stage).unwrap();
        let alone = explainer.position_attention(&input(1, 0, &device), stage).unwrap();
        assert_eq!(alone.len(), expected.len(), "{config:?}");
        let numbers: BTreeMap<String, Vec<f64>> = parameters(&network)
            .into_iter()
            .filter(|(path, _)| path.contains("fusion.2.") || path.contains("fusion.[2]."))
            .collect();
        for ((refined, source, path), (attention, beside)) in expected.into_iter().zip(alone.iter().zip(&both)) {
            assert_eq!((attention.refined, attention.source, attention.size), (refined, source, [3, 4]));
            let mut probe = Probe::at(source, stage);
            let _ = network.valid().forward_probed(input(1, 0, &device), &mut probe);
            let map: Vec<f64> = probe.into_map().unwrap().into_data().iter().collect();
            let weights = looked_at(&numbers, path, &map, 64);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let heat = &attention.heat[0];
            let (low, high) = weights.iter().fold((1.0_f64, 0.0_f64), |(low, high), &w| (low.min(w), high.max(w)));
            let close = |found: f64, expected: f64| (found - expected).abs() < 1e-4 * high;
            assert!(close(heat.highest, high) && close(heat.lowest, low), "{config:?}: {low} {high}, {heat:?}");
            assert!((attention.contrast(0) - 12.0 * heat.highest).abs() < 1e-9);
            // Where the hottest position is, the image is hottest.
            assert_eq!(heat.values.dim(), (48, 64));
            let hottest = (0..12).find(|&at| weights[at] == high).unwrap();
            let middle = heat.values[[hottest / 4 * 16 + 8, hottest % 4 * 16 + 8]];
            assert!(middle > 0.8, "{middle}");
            // The other case of a batch has no influence.
            assert_eq!(beside.heat.len(), 2);
            assert!(close(beside.heat[0].highest, high));
        }
    }

    let plain = NetworkConfig::FusionNet(FusionNetConfig::new(BACKBONE, vec![3])).init_seeded(1, &device).unwrap();
    let explainer = Explainer::new(&plain);
    assert_eq!(explainer.deepest_attention(&input(1, 0, &device), 1), None);
    let error = explainer.position_attention(&input(1, 0, &device), 1).unwrap_err();
    let expected = "the network has no attention between positions after stage 1; AMMFM and PEMM have some, after their \
                    stages 0 to 3";
    assert_eq!(text_of(&error), expected);
}

#[test]
fn attention_of_features_is_shared_by_each_heads_own() {
    let _lock = device_lock();
    let device = Device::flex();
    let dermoscopic = Modality::Dermoscopic;
    let joint = |fusion| JointFusionConfig::new(BACKBONE, dermoscopic, 7, fusion, vec![3]);
    let mmfa: FusionKind = "mmfa".parse().unwrap();
    for config in [
        NetworkConfig::JointFusion(joint(mmfa.clone())),
        NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint(mmfa))),
    ] {
        let network = config.init_seeded(2, &device).unwrap();
        let found = Explainer::new(&network).feature_attention(&input(2, 7, &device)).unwrap();
        assert_eq!(found.len(), 2);
        for features in &found {
            assert_eq!((features.weights.dim(), features.of_record), ((8, 24), 64));
            assert!(features.weights.rows().into_iter().all(|head| (head.sum() - 1.0).abs() < 1e-5));
        }
        assert_ne!(found[0], found[1]);
    }
    let concat = NetworkConfig::JointFusion(joint(FusionKind::Concat)).init_seeded(2, &device).unwrap();
    let error = Explainer::new(&concat).feature_attention(&input(1, 7, &device)).unwrap_err();
    assert!(text_of(&error).starts_with("the network has no attention between features; joint and"), "{error}");
}

#[test]
fn what_cannot_be_explained_is_an_error() {
    let _lock = device_lock();
    let device = Device::flex();
    let config = MetadataClassifierConfig { metadata: MetadataNetworkConfig::new(7), classes: vec![3, 2] };
    let network = NetworkConfig::MetadataClassifier(config).init_seeded(1, &device).unwrap();
    let logit = ExplainedLogit::of_branch("metadata", 0);
    let view = Modality::Clinical;
    let error = Explainer::new(&network)
        .class_activation(&input(1, 7, &device), view, 3, &logit, CamMethod::GradCam)
        .unwrap_err();
    assert_eq!(text_of(&error), "the network has no feature map of stage 3 of the clinical image; stages are 0 to 3");

    let network = FusionNetConfig::new(BACKBONE, vec![3, 2]).init(&device).unwrap();
    let explainer = Explainer::new(&network);
    let error = |logit: ExplainedLogit, stage: usize| {
        let map = explainer.class_activation(&input(1, 7, &device), view, stage, &logit, CamMethod::GradCam);
        text_of(&map.unwrap_err())
    };
    assert!(error(ExplainedLogit::of_branch("metadata", 0), 3).contains("fusion"));
    assert_eq!(error(ExplainedLogit::of_branch("fusion", 2), 3), "task 2 is out of range, there are 2");
    assert_eq!(error(ExplainedLogit::of_branch("fusion", 1).with_class(2), 3), "class 2 is out of range, there are 2");
    assert!(error(ExplainedLogit::of_branch("fusion", 1), 4).contains("stage 4"));
    let hidden = Occlusion { stride: 9, patch: 8, ..Occlusion::of_size(64) };
    let logit = ExplainedLogit::of_branch("fusion", 0);
    let error = explainer.occlusion(&input(1, 7, &device), view, &logit, &hidden).unwrap_err();
    assert_eq!(text_of(&error), "the stride of an occlusion must be 1 to the side of the hidden square, found 9");
    let error = explainer.occlusion(&input(2, 7, &device), view, &logit, &Occlusion::of_size(64)).unwrap_err();
    assert!(text_of(&error).starts_with("cases of an occlusion must be 1"), "{error}");
}

#[test]
fn occlusion_is_the_fall_of_the_probability() {
    let _lock = device_lock();
    let device = Device::flex();
    let network = FusionNetConfig::new(BACKBONE, vec![3]).init(&device).unwrap();
    let network = filled_by_formula(network, |name| name.contains("_head."));
    let whole = input(1, 7, &device);
    let probabilities = |input: MultimodalInput| -> Vec<f64> {
        let logits = network.forward(input).branches[2].logits[0].clone();
        burn::tensor::activation::softmax(logits, 1).into_data().iter().collect()
    };
    let before = probabilities(whole.clone());
    let class = (0..3).max_by(|&a, &b| before[a].total_cmp(&before[b])).unwrap();

    // Squares beside each other hide every pixel once, so the map is the fall of each square.
    let occlusion = Occlusion { patch: 16, stride: 16, fill: ImageBaseline::Zeros, batch_size: 5 };
    let logit = ExplainedLogit::of_branch("fusion", 0);
    let heat = Explainer::new(&network).occlusion(&whole, Modality::Clinical, &logit, &occlusion).unwrap();
    let mut falls = Vec::new();
    for (top, left) in (0..3).flat_map(|row| (0..4).map(move |column| (16 * row, 16 * column))) {
        let clinical = whole.clinical.clone().unwrap();
        let hidden =
            clinical.slice_assign([0..1, 0..3, top..top + 16, left..left + 16], Tensor::zeros([1, 3, 16, 16], &device));
        let after = probabilities(MultimodalInput { clinical: Some(hidden), ..whole.clone() });
        falls.push(((top, left), before[class] - after[class]));
    }
    let largest = falls.iter().map(|(_, fall)| *fall).fold(0.0, f64::max);
    assert!(largest > 0.0 && (heat.highest - largest).abs() < 1e-5, "{} {largest}", heat.highest);
    for ((top, left), fall) in falls {
        let expected = (fall.max(0.0) / largest) as f32;
        for corner in [[top, left], [top + 15, left + 15]] {
            assert!((heat.values[corner] - expected).abs() < 1e-3, "{corner:?}: {} {expected}", heat.values[corner]);
        }
    }
}

/// A bundle of an untrained network whose branches answer together.
fn bundle(network: NetworkConfig, set: &CaseSet, encoder: MetadataEncoder, weights: &[(&str, f64)]) -> Bundle {
    let network = network.with_metadata_inputs(encoder.width());
    let description = BundleDescription {
        data_set: set.name.clone(),
        synthetic: true,
        encoder,
        augmentation: TestTimeAugmentation::Three,
        ..BundleDescription::new(set.tasks.clone(), network.clone(), dermafuse::data::Preprocess::imagenet(32))
    };
    let branch_weights = BranchWeights::new(weights.iter().copied()).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    Bundle::new(description, network.init_seeded(11, &Device::flex()).unwrap(), two_stage)
}

fn last(answers: Answers) -> Predictions {
    answers.last().clone()
}

/// Checks contributions against the bundle's own predictions of cases from which inputs were taken.
fn check_contributions(bundle: &Bundle, set: &CaseSet, row: usize) {
    let contributions = bundle.contributions(set, row, ImageBaseline::MeanColor).unwrap();
    let whole = last(bundle.predict(&set.view(vec![row]).unwrap(), |_| ()).unwrap());
    let mut without = Vec::new();
    for input in &contributions.inputs {
        let mut other = set.clone();
        let case = &mut other.cases[row];
        match input {
            Input::Clinical => case.clinical = Vec::new(),
            Input::Dermoscopic => case.dermoscopic = Vec::new(),
            Input::Field(name) => {
                let place = set.fields.iter().position(|field| field.name == *name).unwrap();
                case.metadata[place] = FieldValue::Missing;
            }
        }
        without.push(bundle.predict(&other.view(vec![row]).unwrap(), |_| ()).ok().map(last));
    }
    for (task, shares) in contributions.tasks.iter().enumerate() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-5;
        assert_eq!(shares.class, whole.predicted(0, task));
        let of = |predictions: &Predictions| predictions.probabilities[task][[0, shares.class]];
        assert!(close(shares.probability, of(&whole)), "task {task}");
        let sum: f64 = shares.shapley.iter().sum();
        assert!((sum - (shares.probability - shares.baseline)).abs() < 1e-9, "task {task}: shares add up");
        for (index, (share, other)) in shares.without.iter().zip(&without).enumerate() {
            let name = &contributions.inputs[index];
            match (share, other) {
                (Some(share), Some(other)) => assert!(close(*share, of(other)), "task {task} without {name}"),
                (None, None) => {}
                _ => panic!("task {task} without {name}: {share:?}"),
            }
        }
    }
}

fn pre_diagnosis(set: &CaseSet, rows: &[usize]) -> MetadataEncoder {
    MetadataEncoder::fit(&set.fields, rows.iter().map(|&row| &set.cases[row]), MetadataRoles::PreDiagnosis).unwrap()
}

#[test]
fn contributions_add_up_and_leaving_out_is_what_the_model_does_without() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let classes = set.tasks.class_counts();
    let encoder = pre_diagnosis(&set, &split.train);

    let weights = [("clinical", 0.3), ("dermoscopic", 0.2), ("fusion", 0.5)];
    let network = NetworkConfig::FusionNet(FusionNetConfig::new(BACKBONE, classes.clone()));
    let images_only = bundle(network, &set, encoder.clone(), &weights);
    check_contributions(&images_only, &set, 3);
    let inputs = images_only.contributions(&set, 3, ImageBaseline::Zeros).unwrap().inputs;
    assert_eq!(inputs, [Input::Clinical, Input::Dermoscopic], "the model looks at no record");

    let joint = JointFusionConfig::new(BACKBONE, Modality::Clinical, 0, FusionKind::Concat, classes.clone());
    let individual = NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint));
    let weights = [("clinical", 0.3), ("metadata", 0.2), ("fusion", 0.5)];
    let with_record = bundle(individual, &set, encoder.clone(), &weights);
    check_contributions(&with_record, &set, 5);
    let inputs = with_record.contributions(&set, 5, ImageBaseline::Zeros).unwrap().inputs;
    let names: Vec<String> = inputs.iter().map(ToString::to_string).collect();
    assert_eq!(names[0], "clinical image");
    assert_eq!(names[1..], encoder.field_names()[..]);

    // Without one of its images AMFAM has no answer.
    let amfam = NetworkConfig::Amfam(AmfamConfig::new(BACKBONE, classes));
    let amfam = bundle(amfam, &set, encoder, &[("fusion", 1.0)]);
    check_contributions(&amfam, &set, 0);
    let contributions = amfam.contributions(&set, 0, ImageBaseline::MeanColor).unwrap();
    assert_eq!(contributions.tasks[0].without, [None, None]);
}

#[test]
fn contributions_include_the_second_stage() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let mut recipe = small_recipe(&set);
    recipe.metadata = MetadataRoles::PreDiagnosis.into();
    recipe.first_stage.training.epochs = 1;
    let device = Device::flex();
    let bundle = recipe.run(&set, &split, Workplace::on(&device), &mut Silent).unwrap().bundle;
    assert!(bundle.two_stage.second_stage.is_some());
    check_contributions(&bundle, &set, split.test[0]);
    let contributions = bundle.contributions(&set, split.test[0], ImageBaseline::MeanColor).unwrap();
    assert!(contributions.inputs.len() > 2, "{:?}", contributions.inputs);
    let records = |shares: &[f64]| shares[2..].iter().any(|share| share.abs() > 1e-6);
    assert!(contributions.tasks.iter().any(|task| records(&task.shapley)), "the record matters to the classifiers");

    // A case given by files and words is the same case.
    let case = &set.cases[split.test[0]];
    let used: Vec<(String, String)> = bundle
        .description
        .encoder
        .fields()
        .filter_map(|field| {
            let place = set.fields.iter().position(|other| other.name == field.name).unwrap();
            Some((field.name.clone(), field.text(&case.metadata[place])?))
        })
        .collect();
    let single = bundle.single_case("one", &case.clinical, &case.dermoscopic, &used).unwrap();
    let of =
        |set: &CaseSet, row: usize| last(bundle.predict(&set.view(vec![row]).unwrap(), |_| ()).unwrap()).probabilities;
    assert_eq!(of(&set, split.test[0]), of(&single, 0));
    let refuse = |name: &str, value: &str| {
        let metadata = [(name.to_owned(), value.to_owned())];
        text_of(&bundle.single_case("one", &case.clinical, &[], &metadata).unwrap_err())
    };
    assert!(refuse("management", "excision").starts_with("the model uses no field `management`; it uses "));
    let twice = [("sex".to_owned(), "male".to_owned()), ("sex".to_owned(), "female".to_owned())];
    let error = bundle.single_case("one", &case.clinical, &[], &twice).unwrap_err();
    assert_eq!(error.to_string(), "field `sex` is given twice: `male` and `female`");
    assert_eq!(refuse("sex", "unknown"), "field `sex` is one of female, male, not `unknown`");
}

#[test]
fn the_checklist_of_a_page_is_the_data_sets() {
    let (set, _) = small_set();
    let rows: Vec<usize> = (0..set.len()).collect();
    // Predictions that are the truth.
    let predictions = Predictions {
        tasks: set.tasks.clone(),
        ids: set.cases.iter().map(|case| case.id.clone()).collect(),
        labels: set.cases.iter().map(|case| case.labels.clone()).collect(),
        probabilities: (0..set.tasks.len())
            .map(|task| {
                let classes = set.tasks[task].classes.len();
                ndarray::Array2::from_shape_fn((set.len(), classes), |(row, class)| {
                    f64::from(u8::from(set.cases[row].labels[task] == Some(class)))
                })
            })
            .collect(),
        basis: vec!["truth".into(); set.len()],
    };
    let mut seen = std::collections::BTreeSet::new();
    for row in rows {
        let labels: Vec<usize> = set.cases[row].labels.iter().map(|label| label.unwrap()).collect();
        let score = ChecklistScore::of(&SampleCase::of(&predictions, row).unwrap()).unwrap();
        assert_eq!(score.points() as usize, dermafuse::data::derm7pt::seven_point_score(&labels));
        seen.insert(score.points());
    }
    assert!(seen.len() > 4, "{seen:?}");
}
