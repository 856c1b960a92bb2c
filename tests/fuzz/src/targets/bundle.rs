//! Whole models, with their checksum made anew so that changes reach the parsers: read, and asked about cases.

use std::path::Path;

use burn::tensor::Device;
use dermafuse::backbones::NamedTensor;
use dermafuse::data::{CaseSet, Preprocess};
use dermafuse::infer::{Bundle, BundleDescription, KnownCases, ModelFile};
use dermafuse::networks::{MetadataClassifierConfig, MetadataNetworkConfig, NetworkConfig};
use serde_json::{Value, json};

use super::{Target, Verdict, accepted, promise, sample, two_stage};
use crate::mutate::{Corpus, Syntax};

struct Bundles {
    corpus: Corpus,
    set: CaseSet,
    device: Device,
    tensors: Vec<NamedTensor>,
}

const WORDS: [&str; 30] = [
    "description",
    "two_stage",
    "tensors",
    "data_set",
    "tasks",
    "encoder",
    "network",
    "preprocess",
    "augmentation",
    "known_cases",
    "metadata_classifier",
    "image_classifier",
    "fusion_net",
    "resnet18_quarter",
    "clinical",
    "metadata",
    "diagnosis",
    "streaks",
    "NEV",
    "sex",
    "age",
    "layers",
    "classes",
    "inputs",
    "svm",
    "logistic",
    "mlp",
    "strict",
    "lenient",
    "observed",
];

fn bundle(set: &CaseSet) -> Bundle {
    let encoder = sample::encoder(set);
    let metadata = MetadataNetworkConfig { layers: vec![4], ..MetadataNetworkConfig::new(encoder.width()) };
    let classes = set.tasks.class_counts();
    let network = NetworkConfig::MetadataClassifier(MetadataClassifierConfig { metadata, classes });
    let split = sample::split(set);
    let description = BundleDescription {
        data_set: set.name.clone(),
        encoder,
        known_cases: KnownCases::of(set, &split),
        ..BundleDescription::new(set.tasks.clone(), network.clone(), Preprocess::as_released(32))
    };
    let logits = sample::logits(set, &["metadata"]);
    let network = network.init_seeded(1, &Device::flex()).expect("layers with units");
    let two_stage = two_stage::second_stages(&logits).remove(0);
    Bundle::new(description, network, two_stage)
}

/// What a file is made of, as one tree.
fn tree(file: &ModelFile) -> Value {
    let tensor = |tensor: &NamedTensor| json!({"name": tensor.name, "shape": tensor.shape, "values": tensor.values});
    let tree = |text: &str| serde_json::from_str::<Value>(text).expect("what was written is JSON");
    let tensors: Vec<Value> = file.tensors.iter().map(tensor).collect();
    json!({"description": tree(&file.description), "two_stage": tree(&file.two_stage), "tensors": tensors})
}

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let set = sample::set();
    let whole = bundle(&set);
    let logits = sample::logits(&set, &["metadata"]);
    let files: Vec<ModelFile> = two_stage::second_stages(&logits)
        .into_iter()
        .map(|two_stage| {
            let parts = Bundle::new(whole.description.clone(), whole.network.clone(), two_stage);
            let bytes = parts.to_bytes().expect("parts that fit together");
            ModelFile::from_bytes(&bytes).expect("what was written")
        })
        .collect();
    let entries = files.iter().map(|file| serde_json::to_vec(&tree(file)).expect("string keys")).collect();
    let corpus = Corpus { syntax: Syntax::Json, entries, words: &WORDS, make: None };
    let tensors = files.into_iter().next().map(|file| file.tensors).unwrap_or_default();
    Box::new(Bundles { corpus, set, device: Device::flex(), tensors })
}

impl Bundles {
    /// The file of a changed tree; of a text that is no tree, a file with that text as its description.
    fn file(&self, input: &[u8]) -> ModelFile {
        let Ok(tree) = serde_json::from_slice::<Value>(input) else {
            let description = String::from_utf8_lossy(input).into_owned();
            return ModelFile {
                description,
                two_stage: "{}".into(),
                tensors: self.tensors.clone(),
                files: Default::default(),
            };
        };
        let text = |key: &str| tree.get(key).map_or_else(String::new, ToString::to_string);
        let tensors = tree.get("tensors").and_then(Value::as_array).map(|all| all.iter().filter_map(tensor).collect());
        let tensors = tensors.unwrap_or_else(|| self.tensors.clone());
        ModelFile { description: text("description"), two_stage: text("two_stage"), tensors, files: Default::default() }
    }
}

fn tensor(tree: &Value) -> Option<NamedTensor> {
    let shape = tree.get("shape")?.as_array()?.iter().map(|size| size.as_u64().map(|size| size as usize));
    let values = tree.get("values")?.as_array()?.iter().map(|value| value.as_f64().map(|value| value as f32));
    let (shape, values) = (shape.collect::<Option<_>>()?, values.collect::<Option<_>>()?);
    Some(NamedTensor { name: tree.get("name")?.as_str()?.to_owned(), shape, values })
}

impl Target for Bundles {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let bytes = accepted!(self.file(input).to_bytes());
        let bundle = accepted!(Bundle::from_bytes(&bytes, &self.device));
        let again = bundle.to_bytes().map_err(|error| format!("read, and not written again: {error}"))?;
        Bundle::from_bytes(&again, &self.device).map_err(|error| format!("written again, and not read: {error}"))?;
        let answers = accepted!(bundle.predict(&self.set.view(&[0, 3, 5]).expect("rows of the set"), |_| ()));
        promise!(!answers.stages.is_empty(), "no stage");
        answers.stages.iter().try_for_each(|(name, predictions)| sample::check_probabilities(name, predictions))?;
        Ok(Verdict::Accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_accepted_and_changes_reach_the_parsers() {
        let scratch = tempfile::tempdir().unwrap();
        let mut target = target(scratch.path());
        for entry in target.corpus().entries.clone() {
            assert_eq!(target.run(&entry), Ok(Verdict::Accepted));
            let changed = String::from_utf8(entry).unwrap().replace("\"mix\":0.5", "\"mix\":1.5");
            assert_eq!(target.run(changed.as_bytes()), Ok(Verdict::Refused));
        }
    }
}
