//! AMFAM and its pieces against PyTorch, in value and gradient, and what is saved of it.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dermafuse::backbones::{AnyBackbone, BackboneKind, parameter_count};
use dermafuse::data::{CaseSet, MetadataEncoder, Preprocess};
use dermafuse::ensemble::TwoStage;
use dermafuse::fusion::ReversalSchedule;
use dermafuse::infer::{Bundle, BundleDescription, MODEL_FILE};
use dermafuse::networks::{
    Amfam, AmfamConfig, AmfamRow, AttentionMap, ColorReduction, Fit, Modality, ModalityBatches,
    ModalityDiscriminatorConfig, MultimodalInput, Network, NetworkConfig, PixelFactor, Reconstruction,
    ReconstructionConfig, Squeeze, reconstruction_loss,
};
use dermafuse::schema::{BranchWeights, Case, FuseSpace, Task, TaskSet};
use dermafuse::train::{
    LossConfig, MultitaskLoss, Observer, RateSchedule, Silent, TrainError, Trainer, TrainingCases, TrainingConfig,
    mean_branch_accuracy,
};
use dermafuse_tests::{
    backbone_by_formula, device_lock, filled_by_formula, golden, gradient_norms, small_set, tensor_by_formula, text_of,
    uniform,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    discriminator: DiscriminatorGolden,
    attention: Vec<AttentionGolden>,
    decoders: Vec<DecoderGolden>,
    losses: Vec<LossGolden>,
    classes: Vec<usize>,
    hidden: usize,
    size: [usize; 2],
    training_size: [usize; 2],
    labels: Vec<Vec<usize>>,
    networks: Vec<NetworkGolden>,
}

type Norms = BTreeMap<String, f64>;

#[derive(Deserialize)]
struct DiscriminatorGolden {
    strength: f64,
    logits: Vec<f64>,
    loss: f64,
    clinical_gradient: Vec<f64>,
    dermoscopic_gradient: Vec<f64>,
    gradient_norms: Norms,
}

#[derive(Deserialize)]
struct AttentionGolden {
    side: Option<usize>,
    output: Vec<f64>,
    gradient: Vec<f64>,
    gradient_norms: Norms,
}

#[derive(Deserialize)]
struct DecoderGolden {
    crop: bool,
    output: Vec<f64>,
    gradient: Vec<f64>,
    gradient_norms: Norms,
}

#[derive(Deserialize)]
struct LossGolden {
    factor: PixelFactor,
    colors: ColorReduction,
    detached: bool,
    loss: f64,
    gradient: Vec<f64>,
    attention_norms: Norms,
    decoder_norms: Norms,
}

#[derive(Deserialize)]
struct NetworkGolden {
    shared: bool,
    batches: ModalityBatches,
    factor: PixelFactor,
    detached: bool,
    colors: ColorReduction,
    strength: f64,
    logits: Vec<f64>,
    auxiliary: BTreeMap<String, f64>,
    loss: f64,
    gradient_norms: Norms,
    running_mean_norm: f64,
}

const GOLDEN: &str = "networks/amfam/golden.json";

/// Compares every `step`th value; the tolerance is relative to the value, or to the mean magnitude of all.
fn assert_close<const D: usize>(what: &str, tensor: Tensor<D>, step: usize, expected: &[f64]) {
    let found: Vec<f64> = tensor.into_data().iter::<f64>().step_by(step).collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    let magnitude = expected.iter().map(|value| value.abs()).sum::<f64>() / expected.len() as f64;
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = 1e-4 * expected.abs().max(magnitude);
        assert!((found - expected).abs() <= allowed, "{what} {}: {found} instead of {expected}", index * step);
    }
}

fn assert_number(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found} instead of {expected}");
}

/// A bias before a normalization has a gradient of zero but for rounding, so small ones are held against the largest.
fn assert_norms(what: &str, found: &Norms, expected: &Norms, tolerance: f64) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    let largest = expected.values().copied().fold(0.0, f64::max);
    for (part, expected) in expected {
        let allowed = tolerance * expected.max(0.01 * largest);
        assert!((found[part] - expected).abs() <= allowed, "{what}: {part}: {} instead of {expected}", found[part]);
    }
}

/// A sum with formula weights, so that every value has a gradient of its own.
fn weighted(output: Tensor<4>) -> Tensor<1> {
    let shape = output.dims();
    let weights: Vec<f32> = (0..shape.iter().product()).map(|index| uniform("loss", index) as f32).collect();
    (output.clone() * Tensor::from_data(TensorData::new(weights, shape), &output.device())).sum()
}

fn gradient_of<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Tensor<D> {
    Tensor::from_data(leaf.grad(gradients).expect("the leaf has a gradient").into_data(), &Device::flex())
}

fn whole_names(name: &str) -> String {
    name.to_owned()
}

#[test]
fn the_discriminator_learns_and_the_features_learn_against_it() {
    let _lock = device_lock();
    let golden = golden::<Golden>(GOLDEN).discriminator;
    let device = Device::flex().autodiff();
    let reversal = ReversalSchedule::Constant { strength: golden.strength };
    let config = ModalityDiscriminatorConfig { hidden: 8, reversal };
    let model = filled_by_formula(config.init(24, &device).unwrap(), |_| true);
    let clinical = tensor_by_formula("clinical", [3, 24], &device).require_grad();
    let dermoscopic = tensor_by_formula("dermoscopic", [2, 24], &device).require_grad();
    let loss = model.loss(&[(Modality::Clinical, clinical.clone()), (Modality::Dermoscopic, dermoscopic.clone())]);
    assert_close("logits", model.forward(clinical.clone()), 1, &golden.logits);
    assert_number("loss", loss.clone().into_scalar(), golden.loss, 1e-5);

    let gradients = loss.backward();
    let (towards_clinical, towards_dermoscopic) =
        (gradient_of(&clinical, &gradients), gradient_of(&dermoscopic, &gradients));
    assert_close("clinical gradient", towards_clinical.clone(), 1, &golden.clinical_gradient);
    assert_close("dermoscopic gradient", towards_dermoscopic, 1, &golden.dermoscopic_gradient);
    assert_norms("discriminator", &gradient_norms(&model, &gradients, whole_names), &golden.gradient_norms, 1e-4);

    // A step against the gradient that the features receive makes the modalities harder to tell apart.
    let plain = Device::flex();
    let model = model.valid();
    let of = |clinical: Tensor<2>| {
        let dermoscopic = tensor_by_formula("dermoscopic", [2, 24], &plain);
        let features = [(Modality::Clinical, clinical), (Modality::Dermoscopic, dermoscopic)];
        model.loss(&features).into_scalar::<f64>()
    };
    let before = tensor_by_formula("clinical", [3, 24], &plain);
    assert!(of(before.clone() - towards_clinical * 0.01) > of(before));
}

#[test]
fn attention_maps_equal_pytorch() {
    let _lock = device_lock();
    let device = Device::flex().autodiff();
    for golden in golden::<Golden>(GOLDEN).attention {
        let squeeze = golden.side.map_or(Squeeze::Pooled, |side| Squeeze::Depthwise { side });
        let model = filled_by_formula(AttentionMap::init(6, squeeze, &device).unwrap(), |_| true);
        let maps = tensor_by_formula("maps", [2, 6, 4, 4], &device).require_grad();
        let output = model.forward_scaled(maps.clone(), [9, 13]);
        assert_close("attention", output.clone(), 1, &golden.output);
        let gradients = weighted(output).backward();
        assert_close("gradient", gradient_of(&maps, &gradients), 1, &golden.gradient);
        assert_norms("attention", &gradient_norms(&model, &gradients, whole_names), &golden.gradient_norms, 1e-4);
    }
}

#[test]
fn decoders_equal_pytorch() {
    let _lock = device_lock();
    let device = Device::flex().autodiff();
    for golden in golden::<Golden>(GOLDEN).decoders {
        let fit = if golden.crop { Fit::Crop } else { Fit::Resize };
        let model = filled_by_formula(Reconstruction::init(5, fit, &device), |_| true);
        let maps = tensor_by_formula("maps", [2, 5, 3, 2], &device).require_grad();
        let output = model.forward(maps.clone(), [75, 60]);
        assert_close("picture", output.clone(), 97, &golden.output);
        let gradients = weighted(output).backward();
        assert_close("gradient", gradient_of(&maps, &gradients), 1, &golden.gradient);
        assert_norms("decoder", &gradient_norms(&model, &gradients, whole_names), &golden.gradient_norms, 1e-4);
    }
}

#[test]
fn the_gradient_of_a_reconstruction_goes_through_the_attention_map_unless_it_is_detached() {
    let _lock = device_lock();
    let device = Device::flex().autodiff();
    for golden in golden::<Golden>(GOLDEN).losses {
        let what = format!("{:?}, detached: {}", golden.factor, golden.detached);
        let attention = filled_by_formula(AttentionMap::init(5, Squeeze::Pooled, &device).unwrap(), |_| true);
        let decoder = filled_by_formula(Reconstruction::init(5, Fit::Resize, &device), |_| true);
        let maps = tensor_by_formula("maps", [2, 5, 3, 2], &device).require_grad();
        let image = tensor_by_formula("image", [2, 3, 60, 44], &device);
        let weights = attention.forward_scaled(maps.clone(), [60, 44]);
        let weights = if golden.detached { weights.detach() } else { weights };
        let picture = decoder.forward(maps.clone(), [60, 44]);
        let loss = reconstruction_loss(picture, image, Some(weights), golden.factor, golden.colors);
        assert_number(&what, loss.clone().into_scalar(), golden.loss, 1e-5);
        let gradients = loss.backward();
        assert_close(&what, gradient_of(&maps, &gradients), 1, &golden.gradient);
        assert_norms(&what, &gradient_norms(&attention, &gradients, whole_names), &golden.attention_norms, 1e-4);
        assert_norms(&what, &gradient_norms(&decoder, &gradients, whole_names), &golden.decoder_norms, 1e-4);
    }
}

fn whole(golden: &NetworkGolden, file: &Golden, device: &Device) -> Amfam<AnyBackbone> {
    let reversal = ReversalSchedule::Constant { strength: golden.strength };
    let config = AmfamConfig {
        shared_backbone: golden.shared,
        batches: golden.batches,
        hidden: file.hidden,
        discriminator: Some(ModalityDiscriminatorConfig { reversal, ..Default::default() }),
        reconstruction: Some(ReconstructionConfig {
            factor: golden.factor,
            detached_attention: golden.detached,
            colors: golden.colors,
            ..ReconstructionConfig::default()
        }),
        ..AmfamConfig::new(BackboneKind::ResNet18, file.classes.clone())
    };
    let names: &[&str] = if golden.shared { &["clinical"] } else { &["clinical", "dermoscopic"] };
    let backbones = names.iter().map(|name| backbone_by_formula(config.backbone, name, device)).collect();
    filled_by_formula(Amfam::new(backbones, &config, device).unwrap(), |name| !name.starts_with("backbones."))
}

fn input(batch: usize, [height, width]: [usize; 2], device: &Device) -> MultimodalInput {
    let images = |name| Some(tensor_by_formula(name, [batch, 3, height, width], device));
    MultimodalInput { clinical: images("clinical"), dermoscopic: images("dermoscopic"), metadata: None }
}

fn case_set(classes: &[usize], labels: &[Vec<usize>]) -> CaseSet {
    let names = |count: usize| (0..count).map(|class| class.to_string()).collect::<Vec<_>>();
    let tasks = classes.iter().enumerate().map(|(task, &count)| Task::new(task.to_string(), "T", names(count)));
    let case = |(row, labels): (usize, &Vec<usize>)| {
        let labels = labels.iter().copied().map(Some).collect();
        Case { labels, ..Case::new(row.to_string()) }
    };
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
fn the_whole_network_equals_pytorch() {
    let _lock = device_lock();
    let file: Golden = golden(GOLDEN);
    for golden in &file.networks {
        let what = format!("shared: {}, {:?}", golden.shared, golden.batches);
        let device = Device::flex();
        let output = whole(golden, &file, &device).forward(input(1, file.size, &device));
        assert!(output.auxiliary.is_empty(), "nothing but logits in inference");
        assert_close(&what, Tensor::cat(output.branches[0].logits.clone(), 1), 1, &golden.logits);

        let device = device.autodiff();
        let network = whole(golden, &file, &device);
        let output = network.forward(input(file.labels.len(), file.training_size, &device));
        for auxiliary in &output.auxiliary {
            let expected = golden.auxiliary[auxiliary.name];
            assert_number(auxiliary.name, auxiliary.loss.clone().into_scalar(), expected, 1e-4);
        }
        assert_eq!(output.auxiliary.len(), golden.auxiliary.len());
        assert_eq!(network.auxiliary(), ["modality", "reconstruction_clinical", "reconstruction_dermoscopic"]);

        let set = case_set(&file.classes, &file.labels);
        let loss = MultitaskLoss::new(&set.view(&[0, 1, 2, 3]).unwrap(), LossConfig::amfam()).unwrap();
        let rows: Vec<&[Option<usize>]> = set.cases.iter().map(|case| case.labels.as_slice()).collect();
        let total = loss.forward(&output, &loss.targets(&rows, 0..rows.len(), &device));
        assert_number(&what, total.clone().into_scalar(), golden.loss, 1e-4);

        let gradients = total.backward();
        let part = |name: &str| name.split('.').take(2).collect::<Vec<_>>().join(".");
        assert_norms(&what, &gradient_norms(&network, &gradients, part), &golden.gradient_norms, 1e-4);
        let squares = running_means(&network.valid()).iter().map(|value| value * value).sum::<f64>();
        assert_number("running means", squares.sqrt(), golden.running_mean_norm, 1e-4);
    }
}

/// The running means of the backbones' normalizations.
fn running_means(network: &Amfam<AnyBackbone>) -> Vec<f64> {
    use burn::module::{ModuleVisitor, Param};

    #[derive(Default)]
    struct Means {
        name: String,
        values: Vec<f64>,
    }

    impl ModuleVisitor for Means {
        fn enter_module(&mut self, name: &str, _container: &str) {
            name.clone_into(&mut self.name);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.name == "running_mean" {
                self.values.extend(param.val().into_data().iter::<f64>());
            }
        }
    }

    let mut means = Means::default();
    for backbone in network.backbones() {
        backbone.visit(&mut means);
    }
    means.values
}

fn bundle(config: AmfamConfig, set: &CaseSet, device: &Device) -> Bundle {
    let network = NetworkConfig::Amfam(config);
    let description = BundleDescription {
        data_set: set.name.clone(),
        synthetic: true,
        ..BundleDescription::new(set.tasks.clone(), network.clone(), Preprocess::imagenet(33))
    };
    let branch_weights = BranchWeights::new([("fusion", 1.0)]).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Probabilities, None, 1.0).unwrap();
    Bundle::new(description, network.init_seeded(7, device).unwrap(), two_stage)
}

#[test]
fn a_saved_bundle_has_only_what_predicts_and_predicts_the_same() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let device = Device::flex();
    let config = AmfamConfig::new(BackboneKind::ResNet18Quarter, set.tasks.class_counts());
    let bundle = bundle(config.clone(), &set, &device.clone().autodiff());
    let folder = tempfile::tempdir().unwrap();
    bundle.save(folder.path().join(MODEL_FILE)).unwrap();
    let loaded = Bundle::load(folder.path(), &device).unwrap();

    assert_eq!(loaded.description.network, NetworkConfig::Amfam(config.clone().inference()));
    assert!(loaded.network.auxiliary().is_empty());
    let training_parts = parameter_count(&bundle.network) - parameter_count(&loaded.network);
    let channels = 128;
    let attention = 2 * channels * channels + 5 * channels / 2;
    let decoder = 9 * channels * 128 + 2_583_171 - 9 * 2048 * 128;
    assert_eq!(training_parts, channels * 512 + 512 + 512 * 2 + 2 + 2 * (attention + decoder));
    let rows = &split.test[..4];
    let (whole, reduced) = (
        bundle.logits(&set.view(rows).unwrap(), |_| ()).unwrap(),
        loaded.logits(&set.view(rows).unwrap(), |_| ()).unwrap(),
    );
    assert_eq!(whole, reduced);
}

#[derive(Default)]
struct Recorder(Vec<(usize, Vec<(&'static str, f64)>)>);

impl Observer for Recorder {
    fn auxiliary(&mut self, epoch: usize, losses: &[(&'static str, f64)]) {
        self.0.push((epoch, losses.to_vec()));
    }
}

fn small_training() -> TrainingConfig {
    TrainingConfig { epochs: 2, learning_rate: 1e-3, ..TrainingConfig::amfam(33, 3) }
}

#[test]
fn every_row_of_the_ablation_trains_with_its_losses() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases {
        train: set.view(&split.train[..16]).unwrap(),
        valid: set.view(&split.valid[..4]).unwrap(),
        encoder: &encoder,
    };
    let device = Device::flex().autodiff();
    for row in [AmfamRow::Clinical, AmfamRow::LinearAttention, AmfamRow::Amfam] {
        let mut config = AmfamConfig::row(row, BackboneKind::ResNet18Quarter, set.tasks.class_counts());
        if let Some(discriminator) = &mut config.discriminator {
            discriminator.reversal = ReversalSchedule::GANIN;
        }
        let network = NetworkConfig::Amfam(config).init_seeded(1, &device).unwrap();
        let names = network.auxiliary();
        let mut training = small_training();
        training.loss = training.loss.with_auxiliary_of(&names);
        let mut recorder = Recorder::default();
        let trained =
            Trainer::new(training).fit(network, &cases, mean_branch_accuracy, None, false, &mut recorder).unwrap();
        assert_eq!(trained.history.len(), 2);
        assert_eq!(recorder.0.len(), if names.is_empty() { 0 } else { 2 }, "{row:?}");
        for (_, losses) in &recorder.0 {
            assert_eq!(losses.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
            assert!(losses.iter().all(|(_, loss)| loss.is_finite() && *loss > 0.0), "{losses:?}");
        }
        if row == AmfamRow::Amfam {
            let of = |epoch: usize| recorder.0[epoch].1[1].1;
            assert!(of(1) < of(0), "the decoder learns: {} then {}", of(0), of(1));
        }
    }
}

#[test]
fn a_weight_for_a_loss_that_there_is_not_is_an_error() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases {
        train: set.view(&split.train).unwrap(),
        valid: set.view(&split.valid).unwrap(),
        encoder: &encoder,
    };
    let config = AmfamConfig::row(AmfamRow::Concat, BackboneKind::ResNet18Quarter, set.tasks.class_counts());
    let network = NetworkConfig::Amfam(config).init_seeded(1, &Device::flex().autodiff()).unwrap();
    let error = Trainer::new(small_training())
        .fit(network, &cases, mean_branch_accuracy, None, false, &mut Silent)
        .unwrap_err();
    assert!(matches!(error, TrainError::UnknownAuxiliary { .. }));
    assert_eq!(text_of(&error), "the network adds no loss `modality`, which the recipe weighs; it adds none");
}

#[test]
fn the_recipe_is_the_published_one() {
    let recipe = TrainingConfig::amfam(299, 0);
    assert_eq!((recipe.epochs, recipe.batch_size, recipe.weight_decay), (150, 8, 1e-4));
    assert_eq!((recipe.schedule, recipe.rate(0), recipe.rate(149)), (RateSchedule::Constant, 1e-5, 1e-5));
    let weights = ["modality", "reconstruction_clinical", "reconstruction_dermoscopic", "another"]
        .map(|name| recipe.loss.auxiliary_weight(name));
    assert_eq!(weights, [0.8, 0.4, 0.4, 1.0]);
}
