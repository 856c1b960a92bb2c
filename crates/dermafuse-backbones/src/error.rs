//! What can go wrong with backbones: names and weight files.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackboneError {
    /// No built-in backbone has this name.
    #[error("unknown backbone `{name}`: use one of {}", known.join(", "))]
    UnknownKind {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// The file could not be opened, read or written.
    #[error("cannot access weights file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is neither safetensors nor a PyTorch checkpoint.
    #[error("{} is not a weights file: it starts with `{start}`; give a .safetensors, .pth or .pt file", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// Its first characters, to recognize a web page or a pointer file.
        start: String,
    },
    /// The file is something else, which is known.
    #[error("{} is not a weights file but {what}: {remedy}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The kind of file that it is.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A folder, a pipe or a device.
    #[error("{} is not a file: give a .safetensors, .pth or .pt file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than any weights that are read.
    #[error("weights file {} has {length} bytes, more than the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        length: u64,
        /// The largest that is read.
        limit: u64,
    },
    /// The whole network is in the file more than once.
    #[error(
        "weights file {} has all tensors of the network at several places, {}: save one of them alone, in PyTorch by \
         torch.save(checkpoint[name], file)",
        path.display(),
        list_of_places(places)
    )]
    SeveralPlaces {
        /// The file.
        path: PathBuf,
        /// What the tensors' names begin with there.
        places: Vec<String>,
    },
    /// The file has the right format but is cut off or corrupt.
    #[error("weights file {} is damaged or incomplete ({reason}): download or export it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader of the format said.
        reason: String,
    },
    /// An ONNX file whose tensors do not have the network's names.
    #[error(
        "the ONNX file {} does not have the network's tensors ({mismatch}): its exporter merges normalizations and renames weights; \
         export with names that stay, torch.onnx.export(model.eval(), images, file, dynamo=False, do_constant_folding=False, \
         training=torch.onnx.TrainingMode.PRESERVE), or give the .safetensors or .pth file that it was made from",
        path.display()
    )]
    OnnxNames {
        /// The file.
        path: PathBuf,
        /// What differs.
        mismatch: Box<KeyMismatch>,
    },
    /// A tensor is stored in a type that weights do not have.
    #[error("tensor `{key}` in {} is stored as {dtype}: only f16, bf16, f32 and f64 are read", path.display())]
    StorageType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its type.
        dtype: String,
    },
    /// A tensor has a value that is not a number or not finite.
    #[error("tensor `{key}` in {} has a value that is not finite: the training that made it diverged", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
    },
    /// The tensors in the file are not those of the network.
    #[error("weights file {} does not fit the network: {mismatch}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// All differences.
        mismatch: Box<KeyMismatch>,
    },
    /// The weights could not be downloaded.
    #[error("cannot download {url} ({reason}): try again, or without a network put the file at {}", path.display())]
    Download {
        /// The address.
        url: String,
        /// Where the file would have been written.
        path: PathBuf,
        /// What the network or the server said.
        reason: String,
    },
    /// A file that should have been downloaded earlier is not what its publisher published.
    #[error("{} has SHA-256 {found}, the published file {expected}…: delete it and download again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// First hexadecimal digits of the published SHA-256.
        expected: String,
        /// SHA-256 of the file.
        found: String,
    },
    /// The weights could not be put into the safetensors format.
    #[error("cannot write weights file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the writer of the format said.
        #[source]
        source: safetensors::SafeTensorError,
    },
}

/// All differences between the tensors of a file and those of a network, by published name, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyMismatch {
    /// The network has it, the file does not; with the most similar unused name of the file.
    pub missing: Vec<(String, Option<String>)>,
    /// The file has it, the network does not.
    pub unused: Vec<String>,
    /// Both have it, in different shapes.
    pub shapes: Vec<ShapeMismatch>,
    /// The unused tensors are all of the ImageNet classifier, or the misshapen ones are.
    pub classifier_only: bool,
    /// Names that differ by what they begin with only.
    pub prefix: Option<PrefixDifference>,
}

/// All unused tensors would be missing ones if their names began otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixDifference {
    /// What one side's names begin with.
    pub prefix: String,
    /// Whether it is the file's names; else the network's.
    pub in_file: bool,
    /// A name of the file, and the network's for it.
    pub example: [String; 2],
    /// How many tensors it concerns.
    pub tensors: usize,
}

/// A tensor with an unexpected shape, in PyTorch's order of dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// Published name.
    pub key: String,
    /// Shape in the network.
    pub expected: Vec<usize>,
    /// Shape in the file.
    pub found: Vec<usize>,
}

impl KeyMismatch {
    /// Whether file and network agree.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.shapes.is_empty()
    }
}

impl fmt::Display for KeyMismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(PrefixDifference { prefix, in_file, example: [found, expected], tensors }) = &self.prefix {
            let (owner, remedy) = match in_file {
                true => ("file", "save them without it"),
                false => ("network", "save the state_dict of the whole network, not of a part"),
            };
            write!(
                formatter,
                "all {tensors} unused keys differ by the prefix `{prefix}` of the {owner}'s: it has {found} for {expected}; {remedy}"
            )?;
            return match self.missing.len() - tensors {
                0 => Ok(()),
                others => write!(formatter, "; {others} other tensors are missing"),
            };
        }
        let missing = self.missing.iter().map(|(key, similar)| match similar {
            Some(similar) => format!("{key} (the file has {similar})"),
            None => key.clone(),
        });
        let shapes = self
            .shapes
            .iter()
            .map(|ShapeMismatch { key, expected, found }| format!("{key} (expected {expected:?}, found {found:?})"));
        let lists = [
            list("missing", missing.collect()),
            list("unused", self.unused.clone()),
            list("wrong shape", shapes.collect()),
        ];
        let lists: Vec<String> = lists.into_iter().flatten().collect();
        formatter.write_str(&lists.join("; "))?;
        match self.classifier_only {
            true => formatter.write_str(
                "; these belong to the classifier: ask for as many classes as the file has, or leave the classifier out (0 classes)",
            ),
            false => Ok(()),
        }
    }
}

/// How many names of a list an error message shows.
const SHOWN: usize = 8;

fn list(title: &str, entries: Vec<String>) -> Option<String> {
    let shown = entries.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match entries.len() {
        0 => None,
        count if count <= SHOWN => Some(format!("{title}: {shown}")),
        count => Some(format!("{title}: {shown} and {} more", count - SHOWN)),
    }
}

fn list_of_places(places: &[String]) -> String {
    let shown = places.iter().take(SHOWN).map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ");
    match places.len() {
        count if count <= SHOWN => shown,
        count => format!("{shown} and {} more", count - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let unused = (0..11).map(|index| format!("k{index}")).collect();
        let mismatch = KeyMismatch { unused, ..Default::default() };
        assert_eq!(mismatch.to_string(), "unused: k0, k1, k2, k3, k4, k5, k6, k7 and 3 more");
    }
}
