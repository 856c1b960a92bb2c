//! The fusion modules against PyTorch: the same formula-filled weights, the same outputs and gradients.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use dermafuse::fusion::{AnyFusion, FeatureFusion, FusionKind};
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

fn goldens() -> Goldens {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/fusion/golden.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a golden is JSON")
}

fn module(golden: &Golden, device: &Device) -> AnyFusion {
    filled_by_formula(golden.config.init(golden.image, golden.metadata, device).unwrap(), |_| true)
}

fn vectors(name: &str, batch: usize, length: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..batch * length).map(|index| (4.0 * uniform(name, index) - 2.0) as f32).collect();
    Tensor::from_data(TensorData::new(values, [batch, length]), device)
}

/// Compares every `step`th value; the tolerance is relative to the value, or to the mean magnitude of all.
fn assert_close(what: &str, config: &FusionKind, tensor: Tensor<2>, step: usize, expected: &[f64]) {
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

        let norms = gradient_norms(&module, &gradients, |name| {
            ["query", "key", "value"]
                .iter()
                .fold(name.to_owned(), |name, part| name.replace(&format!(".attention.{part}."), ".attention.qkv."))
        });
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
