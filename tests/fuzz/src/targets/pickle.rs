//! The pickle inside a PyTorch file: changed before the file around it gets its checksums.

use std::path::{Path, PathBuf};

use dermafuse::backbones::{NamedTensor, load_tensors, named_tensors};
use dermafuse::networks::AnyNetwork;

use super::image::crc32;
use super::{Target, Verdict, accepted, weights};
use crate::mutate::{Corpus, Syntax};

/// Floats in the one storage of every archive.
const FLOATS: usize = 64;

struct Pickles {
    corpus: Corpus,
    network: AnyNetwork,
    file: PathBuf,
}

/// Operations that do something.
const WORDS: [&str; 24] = [
    "\u{2}}",
    "(",
    "t",
    "R",
    "Q",
    "u",
    "s",
    ".",
    "l",
    "]",
    "a",
    "e",
    "0",
    "2",
    "q\0",
    "h\0",
    "N",
    "K\u{1}",
    "M\u{1}\u{1}",
    "J\u{7f}\u{7f}\u{7f}\u{7f}",
    "ctorch\nHalfStorage\n",
    "ctorch\nLongStorage\n",
    "ctorch._utils\n_rebuild_parameter\n",
    "cposix\nsystem\n",
];

pub(super) fn target(scratch: &Path) -> Box<dyn Target> {
    let network = weights::network();
    let entries =
        ["", "module.", "state_dict.module.", "_orig_mod.", "model.net."].map(|prefix| state_dict(&network, prefix));
    let corpus = Corpus { syntax: Syntax::Binary, entries: entries.into(), words: &WORDS, make: None };
    Box::new(Pickles { corpus, network, file: scratch.join("weights.pth") })
}

impl Target for Pickles {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        std::fs::write(&self.file, archive(input)).map_err(|error| error.to_string())?;
        let names = self.network.tensor_names();
        accepted!(load_tensors(self.network.clone(), names, &self.file));
        Ok(Verdict::Accepted)
    }
}

/// The pickle of a network's state dict, as `torch.save` writes it.
pub(super) fn state_dict(network: &AnyNetwork, prefix: &str) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    let mut offset = 0;
    for NamedTensor { name, shape, values } in named_tensors(network, &network.tensor_names()) {
        text(&mut pickle, &format!("{prefix}{name}"));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        text(&mut pickle, "0");
        text(&mut pickle, "cpu");
        integer(&mut pickle, FLOATS);
        pickle.extend(b"tQ");
        integer(&mut pickle, offset);
        pickle.push(b'(');
        shape.iter().for_each(|&size| integer(&mut pickle, size));
        pickle.extend(b"t(");
        (0..shape.len()).for_each(|at| integer(&mut pickle, shape[at + 1..].iter().product()));
        pickle.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
        offset += values.len();
    }
    pickle.extend(b"u.");
    pickle
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn integer(pickle: &mut Vec<u8>, number: usize) {
    pickle.push(b'J');
    pickle.extend((number as i32).to_le_bytes());
}

/// The file around a pickle, as `torch.save` writes it: stored, not compressed.
pub(super) fn archive(pickle: &[u8]) -> Vec<u8> {
    let storage: Vec<u8> = (0..FLOATS).flat_map(|at| (at as f32 / 8.0).to_le_bytes()).collect();
    let files = [
        ("archive/data.pkl", pickle),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &storage),
        ("archive/version", b"3\n"),
    ];
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let start = archive.len() as u32;
        // Version, flags, method, time, date; checksum, sizes; lengths of name and extra field.
        let mut facts = [0_u8; 26];
        facts[0] = 20;
        facts[10..14].copy_from_slice(&crc32(content).to_le_bytes());
        facts[14..18].copy_from_slice(&(content.len() as u32).to_le_bytes());
        facts[18..22].copy_from_slice(&(content.len() as u32).to_le_bytes());
        facts[22..24].copy_from_slice(&(name.len() as u16).to_le_bytes());
        archive.extend([&b"PK\x03\x04"[..], &facts, name.as_bytes(), content].concat());
        directory.extend([&b"PK\x01\x02\x14\0"[..], &facts, &[0; 10], &start.to_le_bytes(), name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let (length, start) = ((directory.len() as u32).to_le_bytes(), (archive.len() as u32).to_le_bytes());
    archive.extend(directory);
    archive.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &length, &start, &[0, 0]].concat());
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_accepted() {
        let scratch = tempfile::tempdir().unwrap();
        let mut target = target(scratch.path());
        for (index, entry) in target.corpus().entries.clone().iter().enumerate() {
            assert_eq!(target.run(entry), Ok(Verdict::Accepted), "entry {index}");
        }
    }
}
