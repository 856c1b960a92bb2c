//! The fusion modules against PyTorch: the same formula-filled weights, the same outputs and gradients.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use dermafuse::fusion::{
    AnyFusion, AnyMapFusion, AsymmetricAttentionConfig, FeatureFusion, FusionKind, MapAttention, MapFusion,
    MapFusionKind,
};
use dermafuse_tests::{device_lock, filled_by_formula, gradient_norms, uniform};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    batch: usize,
    /// Every how manieth value is kept.
    step: usize,
    cases: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    image: usize,
    metadata: usize,
    config: FusionKind,
    output: Vec<f64>,
    training: Training,
}

#[derive(Deserialize)]
struct Training {
    output: Vec<f64>,
    image_gradient: Vec<f64>,
    metadata_gradient: Vec<f64>,
    gradient_norms: BTreeMap<String, f64>,
}

fn read<T: for<'de> Deserialize<'de>>(golden: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(golden);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a golden is JSON")
}

fn goldens() -> Goldens {
    read("fusion/golden.json")
}

fn module(golden: &Golden, device: &Device) -> AnyFusion {
    filled_by_formula(golden.config.init(golden.image, golden.metadata, device).unwrap(), |_| true)
}

fn vectors(name: &str, batch: usize, length: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..batch * length).map(|index| (4.0 * uniform(name, index) - 2.0) as f32).collect();
    Tensor::from_data(TensorData::new(values, [batch, length]), device)
}

/// Compares every `step`th value; the tolerance is relative to the value, or to the mean magnitude of all.
fn assert_close<const D: usize>(what: &str, config: &impl Debug, tensor: Tensor<D>, step: usize, expected: &[f64]) {
    let found: Vec<f64> = tensor.into_data().iter::<f64>().step_by(step).collect();
    assert_eq!(found.len(), expected.len(), "{config:?}: {what}");
    let magnitude = expected.iter().map(|value| value.abs()).sum::<f64>() / expected.len() as f64;
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = 1e-4 * expected.abs().max(magnitude);
        let at = index * step;
        assert!((found - expected).abs() <= allowed, "{config:?}: {what} {at}: {found} instead of {expected}");
    }
}

#[test]
fn outputs_in_inference_equal_pytorch() {
    let _lock = device_lock();
    let goldens = goldens();
    let device = Device::flex();
    for golden in &goldens.cases {
        let module = module(golden, &device);
        let image = vectors("image", goldens.batch, golden.image, &device);
        let metadata = vectors("metadata", goldens.batch, golden.metadata, &device);
        let output = module.forward(image, metadata);
        let length = module.output_features(golden.image, golden.metadata);
        assert_eq!(length, Some(output.dims()[1]), "{:?}", golden.config);
        assert_close("output", &golden.config, output, goldens.step, &golden.output);
    }
}

#[test]
fn outputs_and_gradients_in_training_equal_pytorch() {
    let _lock = device_lock();
    let goldens = goldens();
    let device = Device::flex().autodiff();
    for golden in &goldens.cases {
        let (config, step, training) = (&golden.config, goldens.step, &golden.training);
        let module = module(golden, &device);
        let image = vectors("image", goldens.batch, golden.image, &device).require_grad();
        let metadata = vectors("metadata", goldens.batch, golden.metadata, &device).require_grad();
        let output = module.forward(image.clone(), metadata.clone());
        let [batch, length] = output.dims();
        let weights: Vec<f32> = (0..batch * length).map(|index| uniform("loss", index) as f32).collect();
        let weights = Tensor::from_data(TensorData::new(weights, [batch, length]), &device);
        assert_close("output", config, output.clone(), step, &training.output);

        let gradients = (output * weights).sum().backward();
        let gradient = |input: &Tensor<2>| Tensor::<2>::from_data(input.grad(&gradients).unwrap().into_data(), &device);
        assert_close("image gradient", config, gradient(&image), step, &training.image_gradient);
        assert_close("metadata gradient", config, gradient(&metadata), step, &training.metadata_gradient);

        let norms = gradient_norms(&module, &gradients, str::to_owned);
        // The bias before a batch normalisation has a gradient of zero but for rounding.
        let largest = training.gradient_norms.values().copied().fold(0.0, f64::max);
        assert_eq!(norms.keys().collect::<Vec<_>>(), training.gradient_norms.keys().collect::<Vec<_>>(), "{config:?}");
        for (part, expected) in &training.gradient_norms {
            let allowed = 1e-4 * expected.max(0.01 * largest);
            let found = norms[part];
            assert!((found - expected).abs() <= allowed, "{config:?}: {part}: {found} instead of {expected}");
        }
    }
}

#[test]
fn parameters_are_those_of_the_published_formulas() {
    let device = Device::flex();
    let count = |kind: &str, image: usize, metadata: usize| {
        let module = kind.parse::<FusionKind>().unwrap().init(image, metadata, &device).unwrap();
        dermafuse::backbones::parameter_count(&module)
    };
    for (image, block) in [(1024, 5_376), (1280, 6_720), (2048, 10_752), (1536, 8_064)] {
        assert_eq!(count("meta_block", image, 81), block);
    }
    for (image, net) in [(1024, 6_288), (1280, 4_100), (2048, 7_328), (1536, 6_808)] {
        assert_eq!(count("meta_net", image, 81), net);
    }
    assert_eq!(count("concat", 1280, 81), 0);
}

#[derive(Deserialize)]
struct MapGoldens {
    /// Batch, height and width.
    size: [usize; 3],
    /// Every how manieth value is kept.
    step: usize,
    cases: Vec<MapGolden>,
}

#[derive(Deserialize)]
struct MapGolden {
    clinical: usize,
    dermoscopic: usize,
    config: MapFusionKind,
    /// Of the clinical and the dermoscopic map, as the gradients.
    outputs: [Vec<f64>; 2],
    gradients: [Vec<f64>; 2],
    gradient_norms: BTreeMap<String, f64>,
}

impl MapGolden {
    fn module(&self, device: &Device) -> AnyMapFusion {
        filled_by_formula(self.config.init(self.clinical, self.dermoscopic, device).unwrap(), |_| true)
    }
}

/// Numbers between 0 and 1.
fn numbers(name: &str, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|index| uniform(name, index) as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn refined_maps_and_gradients_equal_pytorch() {
    let _lock = device_lock();
    let goldens: MapGoldens = read("map_fusion/golden.json");
    let [batch, height, width] = goldens.size;
    let device = Device::flex().autodiff();
    for golden in &goldens.cases {
        let (config, step) = (&golden.config, goldens.step);
        let module = golden.module(&device);
        let shape = |channels| [batch, channels, height, width];
        let input = |name, channels| (numbers(name, shape(channels), &device) * 4.0 - 2.0).detach().require_grad();
        let inputs = [input("clinical", golden.clinical), input("dermoscopic", golden.dermoscopic)];
        let (clinical, dermoscopic) = module.forward(inputs[0].clone(), inputs[1].clone());
        let weights = [("clinical loss", golden.clinical), ("dermoscopic loss", golden.dermoscopic)]
            .map(|(name, channels)| numbers(name, shape(channels), &device));
        let outputs = [clinical, dermoscopic];
        for (output, expected) in outputs.iter().zip(&golden.outputs) {
            assert_close("output", config, output.clone(), step, expected);
        }

        let [of_clinical, of_dermoscopic] = weights;
        let [clinical, dermoscopic] = outputs;
        let gradients = ((clinical * of_clinical).sum() + (dermoscopic * of_dermoscopic).sum()).backward();
        for (input, expected) in inputs.iter().zip(&golden.gradients) {
            assert_close("gradient", config, input.grad(&gradients).unwrap(), step, expected);
        }
        // The gradient of a key's bias is zero but for rounding: it moves all scores of a row alike.
        let largest = golden.gradient_norms.values().copied().fold(0.0, f64::max);
        let norms = gradient_norms(&module, &gradients, str::to_owned);
        assert_eq!(norms.keys().collect::<Vec<_>>(), golden.gradient_norms.keys().collect::<Vec<_>>(), "{config:?}");
        for (part, expected) in &golden.gradient_norms {
            let (found, allowed) = (norms[part], 1e-4 * expected.max(0.01 * largest));
            assert!((found - expected).abs() <= allowed, "{config:?}: {part}: {found} instead of {expected}");
        }
    }
}

#[test]
fn attention_blocks_have_the_papers_parameters() {
    const MOBILE: [usize; 4] = [16, 24, 48, 576];
    const SWIN: [usize; 4] = [96, 192, 384, 768];
    const RESNET50: [usize; 4] = [256, 512, 1024, 2048];
    let device = Device::flex();
    let count = |kind: &MapFusionKind, clinical: [usize; 4], dermoscopic: [usize; 4]| {
        let stages = clinical.into_iter().zip(dermoscopic);
        let modules = stages.map(|(clinical, dermoscopic)| kind.init(clinical, dermoscopic, &device).unwrap());
        modules.map(|module| dermafuse::backbones::parameter_count(&module)).sum::<usize>()
    };
    let kinds = ["aab", "bab", "ca", "sca"].map(|name| name.parse::<MapFusionKind>().unwrap());
    let [aab, bab, ca, sca] = &kinds;
    assert_eq!(count(aab, SWIN, SWIN), 981_000);
    assert_eq!(count(sca, SWIN, SWIN), 981_000);
    for twice in [bab, ca] {
        assert_eq!(count(twice, SWIN, SWIN), 2 * 981_000);
    }
    // Queries and keys of one side, values of the other.
    assert_eq!(count(aab, MOBILE, SWIN), 83_894 + 784_800);
    assert_eq!(count(aab, SWIN, MOBILE), 196_200 + 335_576);
    assert_eq!(count(aab, MOBILE, RESNET50), 83_894 + 5_574_400);
    assert_eq!(count(sca, RESNET50, RESNET50), 1_393_600 + 5_574_400);
    assert_eq!(count(bab, MOBILE, SWIN), 83_894 + 784_800 + 196_200 + 335_576);
    let attention = MapAttention { gamma: true, ..MapAttention::default() };
    let gated = MapFusionKind::AsymmetricAttention(AsymmetricAttentionConfig { attention });
    assert_eq!(count(&gated, SWIN, SWIN), 981_000 + 4);
}
