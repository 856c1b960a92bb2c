//! Forward passes of whole networks by every engine, batch 1 and 8 at 224 pixels, random weights; and what the way to an engine costs
//! beside it: tensors to inputs, outputs to tables.
//!
//! `cargo bench -p dermafuse-benches --bench engines -- [NETWORK …]`
//!
//! The engines are asked in turns, and medians count. One that is not there is left out with a word. `DERMAFUSE_THREADS=N` (2 if it is
//! not set) is for all of them but Burn, which takes one thread for each core. 8-bit integers are computed with ranges of four drawn cases.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseView, Preprocess, derm7pt};
use dermafuse::ensemble::TwoStage;
use dermafuse::infer::{Bundle, BundleDescription, Engine, InferError, NetworkEngine, OnnxSession};
use dermafuse::networks::{
    AsymmetricFusionConfig, FusionNetConfig, ImageClassifierConfig, Modality, MultimodalInput, Network, NetworkConfig,
    SingleSharedNetworkConfig, TFormerConfig,
};
use dermafuse::schema::ndarray::ArrayViewD;
use dermafuse::schema::{BranchWeights, FuseSpace, TaskSet};
use dermafuse::synthetic::{self, SyntheticConfig};
use dermafuse_benches::tasks;

/// Passes of each engine at each batch, after two that are not counted.
const PASSES: usize = 15;
const BATCHES: [usize; 2] = [1, 8];
const SIDE: usize = 224;
/// The engines beside Burn, by their words.
const ENGINES: [&str; 5] =
    ["onnxruntime", "openvino", "openvino:precision=bf16", "onnxruntime:precision=int8", "openvino:precision=int8"];

/// The networks by name.
fn networks(classes: &[usize]) -> Vec<(String, NetworkConfig)> {
    let towers = [
        BackboneKind::ResNet50,
        BackboneKind::MobileNetV2,
        BackboneKind::MobileNetV3Small,
        BackboneKind::EfficientNetB3,
        BackboneKind::ConvNeXtTiny,
        BackboneKind::SwinV2Tiny,
    ];
    let tower = |backbone: BackboneKind| {
        let config = ImageClassifierConfig::new(backbone, Modality::Clinical, classes.to_vec());
        (backbone.to_string(), NetworkConfig::ImageClassifier(config))
    };
    let own = |classes: &[usize]| classes.to_vec();
    let whole = [
        ("fusionnet", NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet50, own(classes)))),
        ("ammfm", NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(own(classes)))),
        ("tformer", NetworkConfig::TFormer(TFormerConfig::new(None, own(classes)))),
        ("pemm", NetworkConfig::SingleSharedNetwork(SingleSharedNetworkConfig::pemm(own(classes)))),
    ];
    towers.into_iter().map(tower).chain(whole.map(|(name, config)| (name.to_owned(), config))).collect()
}

/// A model of the network with random weights.
fn model(tasks: &TaskSet, config: NetworkConfig) -> Bundle {
    let network = config.init_seeded(1, &Device::flex()).expect("a network").valid().into_inference();
    let description = BundleDescription::new(tasks.clone(), config.inference(), Preprocess::imagenet(SIDE));
    let weights = network.branches().into_iter().map(|branch| (branch.name, 1.0));
    let weights = BranchWeights::new(weights).expect("weights of 1");
    let two_stage = TwoStage::new(weights, FuseSpace::Logits, None, 1.0).expect("a stage");
    Bundle::new(description, network, two_stage)
}

/// The same with ranges for 8-bit integers; without them where no engine measures them.
fn measured(mut bundle: Bundle, cases: &CaseView<'_>) -> Bundle {
    for words in ["onnxruntime", "openvino"] {
        let engine = words.parse::<Engine>().expect("an engine");
        match bundle.measure_ranges(&engine, cases, |_| ()) {
            Ok(ranges) => {
                bundle.description.activation_ranges = Some(ranges);
                break;
            }
            Err(error) => println!("no ranges by {words}: {error}"),
        }
    }
    bundle
}

/// Milliseconds.
fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    let result = work();
    let elapsed = begun.elapsed().as_secs_f64() * 1e3;
    drop(result);
    elapsed
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// An engine with a network, and the same without the way to it.
struct Way {
    engine: std::sync::Arc<dyn NetworkEngine>,
    session: std::sync::Arc<dyn OnnxSession>,
}

impl Way {
    fn to(bundle: &Bundle, words: &str) -> Result<Self, InferError> {
        let session = bundle.open_network(&words.parse::<Engine>()?)?;
        let with = bundle.clone().with_session(session.clone(), None)?;
        Ok(Self { engine: with.network_engine().expect("it was just set").clone(), session })
    }

    /// Milliseconds of a pass by the way, and of one without it.
    fn measure(&self, input: &MultimodalInput) -> (f64, f64) {
        let data = |name: &'static str, image: &Option<Tensor<4>>| Some((name, image.clone()?.into_data()));
        let given: Vec<(&str, TensorData)> =
            [data("clinical", &input.clinical), data("dermoscopic", &input.dermoscopic)]
                .into_iter()
                .flatten()
                .collect();
        let given: Vec<_> =
            given.iter().filter(|(name, _)| self.session.inputs().iter().any(|own| own.name == *name)).collect();
        let views: Vec<_> = given
            .iter()
            .map(|(name, data)| {
                let shape: Vec<usize> = data.shape().to_vec();
                let values = data.as_slice::<f32>().expect("32-bit floats");
                (*name, ArrayViewD::from_shape(shape, values).expect("its shape"))
            })
            .collect();
        let outputs: Vec<&str> = self
            .session
            .outputs()
            .iter()
            .map(|tensor| tensor.name.as_str())
            .filter(|name| name.contains('/'))
            .collect();
        let with = timed(|| self.engine.run(input.clone(), false).expect("a pass"));
        let without = timed(|| self.session.run(&views, &outputs).expect("a pass"));
        (with, without)
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let threads = std::env::var("DERMAFUSE_THREADS").unwrap_or_else(|_| "2".into());
    let tasks = tasks();
    let folder = tempfile::tempdir().expect("a folder");
    let drawn = folder.path().join("drawn");
    let config = SyntheticConfig { cases: 24, ..SyntheticConfig::default() };
    synthetic::write(&drawn, &config).expect("the drawn set is written");
    let set = derm7pt::load(&drawn).expect("the drawn set is read");
    let cases = set.view(vec![0, 1, 2, 3]).expect("four of its cases");
    println!("ms, batch {BATCHES:?}; in brackets what the way to the engine adds");
    for (name, config) in networks(&tasks.class_counts()) {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        let bundle = measured(model(&tasks, config), &cases);
        let ways: Vec<(&str, Result<Way, InferError>)> = ENGINES
            .into_iter()
            .map(|words| {
                let separator = if words.contains(':') { ',' } else { ':' };
                (words, Way::to(&bundle, &format!("{words}{separator}threads={threads}")))
            })
            .collect();
        for (words, way) in &ways {
            if let Err(error) = way {
                println!("{name}: no {words}: {error}");
            }
        }
        for batch in BATCHES {
            let image = || Some(Tensor::random([batch, 3, SIDE, SIDE], Distribution::Default, &Device::flex()));
            let input = MultimodalInput { clinical: image(), dermoscopic: image(), metadata: None };
            let mut burn = Vec::new();
            let mut times: Vec<Vec<(f64, f64)>> = vec![Vec::new(); ways.len()];
            for pass in 0..PASSES + 2 {
                let own = timed(|| bundle.network.forward(input.clone()).branches[0].logits[0].clone().into_data());
                let found: Vec<_> =
                    ways.iter().map(|(_, way)| way.as_ref().ok().map(|way| way.measure(&input))).collect();
                if pass < 2 {
                    continue;
                }
                burn.push(own);
                times.iter_mut().zip(found).for_each(|(times, found)| times.extend(found));
            }
            let mut line = format!("{name:20} b{batch}  burn {:8.2}", median(burn));
            for ((words, _), times) in ways.iter().zip(times).filter(|(_, times)| !times.is_empty()) {
                let with = median(times.iter().map(|(with, _)| *with).collect());
                let added = median(times.iter().map(|(with, without)| with - without).collect());
                line += &format!("  {words} {with:8.2} ({added:+.2})");
            }
            println!("{line}");
        }
    }
}
