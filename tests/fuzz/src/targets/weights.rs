//! Files of weights: PyTorch's and safetensors, loaded into a small network.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dermafuse::backbones::{load_tensors, save_tensors};
use dermafuse::networks::{AnyNetwork, MetadataClassifierConfig, MetadataNetworkConfig, NetworkConfig};
use serde_json::{Map, Value, json};

use super::{Target, Verdict, accepted, pickle};
use crate::draws::Draws;
use crate::mutate::{Corpus, Syntax};

/// A network of a few numbers.
pub(super) fn network() -> AnyNetwork {
    let metadata = MetadataNetworkConfig { layers: vec![2], ..MetadataNetworkConfig::new(3) };
    let config = NetworkConfig::MetadataClassifier(MetadataClassifierConfig { metadata, classes: vec![2] });
    config.init_seeded(1, &Device::flex()).expect("layers with units")
}

/// Bytes of data after a header that does not say how many there are, and the most after one that does.
const DATA: u64 = 120;
const MOST_DATA: u64 = 1 << 12;

/// A file for a network, whose bytes are changed.
struct Files {
    corpus: Corpus,
    network: AnyNetwork,
    file: PathBuf,
    /// Whether inputs are the header of a safetensors file, whose length and data are put around it.
    headers: bool,
}

const WORDS: [&str; 18] = [
    "F32",
    "F64",
    "BF16",
    "I64",
    "BOOL",
    "\"dtype\"",
    "\"shape\"",
    "\"data_offsets\"",
    "__metadata__",
    "PK\x03\x04",
    "PK\x05\x06",
    "PK\x06\x06",
    "data.pkl",
    "module.",
    "state_dict",
    "num_batches_tracked",
    "_orig_mod.",
    "n_averaged",
];

fn safetensors(network: &AnyNetwork, scratch: &Path) -> Vec<u8> {
    let file = scratch.join("whole.safetensors");
    save_tensors(network, &network.tensor_names(), &file).expect("a folder that can be written");
    std::fs::read(file).expect("what was written")
}

/// Whole files.
pub(super) fn files(scratch: &Path) -> Box<dyn Target> {
    let network = network();
    let golden: [&[u8]; 5] = [
        include_bytes!("../../../golden/backbones/checkpoint/zip.pth"),
        include_bytes!("../../../golden/backbones/checkpoint/legacy.pth"),
        include_bytes!("../../../golden/backbones/checkpoint/f16.pth"),
        include_bytes!("../../../golden/backbones/checkpoint/bf16.pth"),
        include_bytes!("../../../golden/backbones/checkpoint/parallel.pth"),
    ];
    let mut entries: Vec<Vec<u8>> = golden.map(<[u8]>::to_vec).into();
    entries.push(pickle::archive(&pickle::state_dict(&network, "")));
    entries.push(safetensors(&network, scratch));
    let corpus = Corpus { syntax: Syntax::Binary, entries, words: &WORDS, make: None };
    Box::new(Files { corpus, network, file: scratch.join("weights"), headers: false })
}

/// Headers of safetensors.
pub(super) fn headers(scratch: &Path) -> Box<dyn Target> {
    let network = network();
    let file = safetensors(&network, scratch);
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let small = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]}}"#;
    let entries = vec![file[8..8 + length].to_vec(), small.to_vec()];
    let corpus = Corpus { syntax: Syntax::Json, entries, words: &WORDS, make: Some(header) };
    Box::new(Files { corpus, network, file: scratch.join("weights"), headers: true })
}

/// A header of the tensors of the first entry: in any order, of any type of numbers, under the names that trainers save, with others
/// beside them.
fn header(entries: &[Vec<u8>], draws: &mut Draws) -> Vec<u8> {
    let written: Map<String, Value> = serde_json::from_slice(&entries[0]).expect("a header that was written");
    let mut tensors: Vec<(String, Value)> = written
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, tensor)| (name, tensor["shape"].clone()))
        .collect();
    let prefix = *draws.pick(&["", "", "module.", "_orig_mod.", "state_dict."]);
    tensors.iter_mut().for_each(|(name, _)| name.insert_str(0, prefix));
    if draws.once_in(2) {
        tensors.push((format!("{prefix}num_batches_tracked"), json!([])));
    }
    for last in (1..tensors.len()).rev() {
        tensors.swap(last, draws.below(last + 1));
    }
    let mut header = Map::new();
    if draws.once_in(2) {
        header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    }
    let mut end = 0;
    let all = *draws.pick(&["F32", "F64", "F16", "BF16"]);
    for (name, shape) in tensors {
        let dtype = if draws.once_in(4) { *draws.pick(&["F32", "F64", "F16", "BF16"]) } else { all };
        let count: u64 = shape.as_array().into_iter().flatten().filter_map(Value::as_u64).product();
        let start = end;
        end += count
            * match dtype {
                "F64" => 8,
                "F32" => 4,
                _ => 2,
            };
        header.insert(name, json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
    }
    serde_json::to_vec(&header).expect("a header has string keys only")
}

/// How many bytes of data a header speaks of, if it is one and they are few.
fn data_length(header: &[u8]) -> usize {
    let header = serde_json::from_slice::<Map<String, Value>>(header).unwrap_or_default();
    let ends = header.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    ends.filter(|&end| end <= MOST_DATA).max().unwrap_or(DATA) as usize
}

impl Target for Files {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let whole =
            self.headers.then(|| [&(input.len() as u64).to_le_bytes(), input, &vec![0; data_length(input)]].concat());
        std::fs::write(&self.file, whole.as_deref().unwrap_or(input)).map_err(|error| error.to_string())?;
        let names = self.network.tensor_names();
        accepted!(load_tensors(self.network.clone(), names, &self.file));
        Ok(Verdict::Accepted)
    }
}
