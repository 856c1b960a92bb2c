//! Forward passes of whole networks by every engine, batch 1 and 8, random weights: milliseconds, how far an engine's logits are from
//! Burn's, and what the way to an engine costs beside it: tensors to inputs, outputs to tables.
//!
//! `cargo bench -p dermafuse-benches --bench engines -- [differences] [NETWORK …]`
//!
//! The networks are six backbones at 224 pixels and those of the recipes that train one, at their own size, which look at the record of Derm7pt
//! where they look at one. Other backbones that are named have the size of their published weights, and so has every backbone with `backbones` in place
//! of names.
//! With the word `differences` nothing is timed, which takes minutes for all backbones and does not mind what else runs.
//!
//! Each engine is asked in blocks, after a pause: the threads of a library look for work for a while after a pass, and would take a core
//! from the next engine. Blocks take turns, and medians over all count. An engine that is not there is left out with a word.
//! `DERMAFUSE_THREADS=N` (2 if it is not set) is for all of them but Burn, which takes one thread for each core. 8-bit integers are
//! computed with ranges of four drawn cases.

use std::thread::sleep;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseSet, CaseView, MetadataEncoder, MetadataRoles, Preprocess, derm7pt};
use dermafuse::ensemble::TwoStage;
use dermafuse::infer::{Bundle, BundleDescription, Engine, InferError, NetworkEngine, OnnxSession};
use dermafuse::networks::{ImageClassifierConfig, Modality, MultimodalInput, Network, NetworkConfig};
use dermafuse::recipes::Recipe;
use dermafuse::schema::ndarray::ArrayViewD;
use dermafuse::schema::{BranchWeights, FuseSpace, TaskSet};
use dermafuse::synthetic::{self, SyntheticConfig};
use dermafuse_benches::tasks;

/// Blocks of each engine at each batch.
const BLOCKS: usize = 3;
/// Passes of a block, after two that are not counted: so many, or those that begin in [`BLOCK`], but at least two.
const PASSES: usize = 8;
const BLOCK: Duration = Duration::from_secs(2);
/// Before a block.
const PAUSE: Duration = Duration::from_millis(200);
const BATCHES: [usize; 2] = [1, 8];
/// The engines beside Burn, by their words.
const ENGINES: [&str; 5] =
    ["onnxruntime", "openvino", "openvino:precision=bf16", "onnxruntime:precision=int8", "openvino:precision=int8"];

/// A network, by its name, and the side of its images.
struct Subject {
    name: String,
    network: NetworkConfig,
    side: usize,
}

impl Subject {
    fn tower(backbone: BackboneKind, side: usize, classes: &[usize]) -> Self {
        let config = ImageClassifierConfig::new(backbone, Modality::Clinical, classes.to_vec());
        Self { name: backbone.to_string(), network: NetworkConfig::ImageClassifier(config), side }
    }

    fn of_recipe(name: &str, classes: &[usize], record: usize) -> Self {
        let experiment = Recipe::shipped(name).expect("a shipped recipe").experiment().expect("an experiment");
        // Networks that look at no record take no notice of its width.
        let network = experiment.method.network.with_classes(classes.to_vec()).with_metadata_inputs(record);
        Self { name: name.to_owned(), network, side: experiment.training.preprocess.size }
    }
}

/// Those that were asked for.
fn subjects(words: &[String], classes: &[usize], record: usize) -> Vec<Subject> {
    let at_its_size = |backbone: BackboneKind| Subject::tower(backbone, backbone.published_input().size, classes);
    if words.iter().any(|word| word == "backbones") {
        return BackboneKind::ALL.into_iter().map(at_its_size).collect();
    }
    let towers = [
        BackboneKind::ResNet50,
        BackboneKind::MobileNetV2,
        BackboneKind::MobileNetV3Small,
        BackboneKind::EfficientNetB3,
        BackboneKind::ConvNeXtTiny,
        BackboneKind::SwinV2Tiny,
    ];
    let towers = towers.map(|backbone| Subject::tower(backbone, 224, classes));
    let recipes = Recipe::shipped_names().into_iter().map(|name| Subject::of_recipe(name, classes, record));
    // Those that answer by what stands behind them have no logits to compare.
    let recipes = recipes.filter(|subject| {
        !matches!(subject.network, NetworkConfig::FrozenEncoders(_) | NetworkConfig::UniformClassifier(_))
    });
    let all: Vec<Subject> = towers.into_iter().chain(recipes).collect();
    let named = words.iter().filter_map(|word| word.parse().ok());
    let others: Vec<BackboneKind> =
        named.filter(|kind: &BackboneKind| all.iter().all(|subject| subject.name != kind.name())).collect();
    let all = all.into_iter().filter(|subject| words.is_empty() || words.contains(&subject.name));
    all.chain(others.into_iter().map(at_its_size)).collect()
}

/// How the set's records are encoded.
fn encoder(set: &CaseSet) -> MetadataEncoder {
    MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis).expect("an encoder")
}

/// A model of the network with random weights.
fn model(tasks: &TaskSet, subject: &Subject, set: &CaseSet) -> Bundle {
    let config = &subject.network;
    let network = config.init_seeded(1, &Device::flex()).expect("a network").valid().into_inference();
    let description = BundleDescription {
        encoder: if config.metadata_inputs() > 0 { encoder(set) } else { MetadataEncoder::none() },
        ..BundleDescription::new(tasks.clone(), config.clone().inference(), Preprocess::imagenet(subject.side))
    };
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

    /// Milliseconds of passes by the way, and of as many without it, by turns.
    fn measure(&self, input: &MultimodalInput) -> Vec<(f64, f64)> {
        let image = |name: &'static str, image: &Option<Tensor<4>>| Some((name, image.clone()?.into_data()));
        let record = input.metadata.clone().map(|record| ("record", record.into_data()));
        let given: Vec<(&str, TensorData)> =
            [image("clinical", &input.clinical), image("dermoscopic", &input.dermoscopic), record]
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
        let with = || {
            // Nobody else holds them, as in a prediction.
            let input = input.clone();
            let own =
                |image: Option<Tensor<4>>| image.map(|image| Tensor::from_data(image.into_data(), &Device::flex()));
            let record = input.metadata.map(|record| Tensor::from_data(record.into_data(), &Device::flex()));
            let input = MultimodalInput {
                clinical: own(input.clinical),
                dermoscopic: own(input.dermoscopic),
                metadata: record,
            };
            timed(|| self.engine.run(input, false).expect("a pass"))
        };
        let without = || timed(|| self.session.run(&views, &outputs).expect("a pass"));
        block(|pass| if pass % 2 == 0 { (with(), without()) } else { swapped(without(), with()) })
    }
}

fn swapped<T>(first: T, second: T) -> (T, T) {
    (second, first)
}

/// What the passes of a block give.
fn block<T>(mut pass: impl FnMut(usize) -> T) -> Vec<T> {
    sleep(PAUSE);
    (0..2).for_each(|count| drop(pass(count)));
    let begun = Instant::now();
    (0..PASSES).take_while(|count| *count < 2 || begun.elapsed() < BLOCK).map(pass).collect()
}

/// The largest difference of a logit from Burn's, over the largest logit.
fn difference(bundle: &Bundle, way: &Way, input: &MultimodalInput) -> f32 {
    let own = bundle.network.forward(input.clone()).branches;
    let own = own.into_iter().flat_map(|branch| branch.logits).map(|logits| logits.into_data());
    let own: Vec<f32> = own.flat_map(|logits| logits.try_to_vec::<f32>().expect("32-bit floats")).collect();
    let found = way.engine.run(input.clone(), false).expect("a pass").logits;
    let found = found.iter().flatten().flatten();
    let largest = own.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    own.iter().zip(found).fold(0.0_f32, |most, (own, found)| most.max((own - found).abs())) / largest
}

fn main() {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let (untimed, words): (Vec<String>, Vec<String>) = words.partition(|word| word == "differences");
    let blocks = if untimed.is_empty() { BLOCKS } else { 0 };
    let threads = std::env::var("DERMAFUSE_THREADS").unwrap_or_else(|_| "2".into());
    let tasks = tasks();
    let folder = tempfile::tempdir().expect("a folder");
    let drawn = folder.path().join("drawn");
    let config = SyntheticConfig { cases: 24, ..SyntheticConfig::default() };
    synthetic::write(&drawn, &config).expect("the drawn set is written");
    let set = derm7pt::load(&drawn).expect("the drawn set is read");
    let cases = set.view(vec![0, 1, 2, 3]).expect("four of its cases");
    if blocks > 0 {
        println!("ms, batch {BATCHES:?}; what the way to the engine adds;");
    }
    println!("largest difference of a logit over the largest logit");
    for subject in subjects(&words, &tasks.class_counts(), encoder(&set).width()) {
        let (bundle, Subject { name, side, .. }) = (measured(model(&tasks, &subject, &set), &cases), &subject);
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
            let device = Device::flex();
            device.seed(batch as u64);
            let image = || Some(Tensor::random([batch, 3, *side, *side], Distribution::Normal(0.0, 1.0), &device));
            let record = subject.network.metadata_inputs();
            let record = (record > 0).then(|| Tensor::random([batch, record], Distribution::Normal(0.0, 1.0), &device));
            let input = MultimodalInput { clinical: image(), dermoscopic: image(), metadata: record };
            let mut burn = Vec::new();
            let mut times: Vec<Vec<(f64, f64)>> = vec![Vec::new(); ways.len()];
            for _ in 0..blocks {
                // Every answer is computed when a number of one is asked for.
                let own = || bundle.network.forward(input.clone()).branches[0].logits[0].clone().into_data();
                burn.extend(block(|_| timed(own)));
                for (times, (_, way)) in times.iter_mut().zip(&ways) {
                    times.extend(way.iter().flat_map(|way| way.measure(&input)));
                }
            }
            let mut line = format!("{name:20} {side} b{batch}");
            if blocks > 0 {
                line += &format!("  burn {:8.2}", median(burn));
            }
            for ((words, way), times) in ways.iter().zip(times) {
                let Ok(way) = way else { continue };
                let difference = difference(&bundle, way, &input);
                line += &match times.is_empty() {
                    true => format!("  {words} {difference:.1e}"),
                    false => {
                        let with = median(times.iter().map(|(with, _)| *with).collect());
                        let added = median(times.iter().map(|(with, without)| with - without).collect());
                        format!("  {words} {with:8.2} ({added:+.2}, {difference:.1e})")
                    }
                };
            }
            println!("{line}");
        }
    }
}
