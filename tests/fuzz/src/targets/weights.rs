//! Files of weights: PyTorch's and safetensors, loaded into a small network.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dermafuse::backbones::{load_tensors, save_tensors};
use dermafuse::networks::{AnyNetwork, MetadataClassifierConfig, MetadataNetworkConfig, NetworkConfig};

use super::{Target, Verdict, accepted, pickle};
use crate::mutate::{Corpus, Syntax};

/// A network of a few numbers.
pub(super) fn network() -> AnyNetwork {
    let metadata = MetadataNetworkConfig { layers: vec![2], ..MetadataNetworkConfig::new(3) };
    let config = NetworkConfig::MetadataClassifier(MetadataClassifierConfig { metadata, classes: vec![2] });
    config.init_seeded(1, &Device::flex()).expect("layers with units")
}

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
    let corpus = Corpus { syntax: Syntax::Binary, entries, words: &WORDS };
    Box::new(Files { corpus, network, file: scratch.join("weights"), headers: false })
}

/// Headers of safetensors.
pub(super) fn headers(scratch: &Path) -> Box<dyn Target> {
    let network = network();
    let file = safetensors(&network, scratch);
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let small = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]}}"#;
    let entries = vec![file[8..8 + length].to_vec(), small.to_vec()];
    let corpus = Corpus { syntax: Syntax::Json, entries, words: &WORDS };
    Box::new(Files { corpus, network, file: scratch.join("weights"), headers: true })
}

impl Target for Files {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let whole = self.headers.then(|| [&(input.len() as u64).to_le_bytes(), input, &[0; 120]].concat());
        std::fs::write(&self.file, whole.as_deref().unwrap_or(input)).map_err(|error| error.to_string())?;
        let names = self.network.tensor_names();
        accepted!(load_tensors(self.network.clone(), names, &self.file));
        Ok(Verdict::Accepted)
    }
}
