//! The container of a model: one `.safetensors` file, whose metadata say what the tensors are.

use std::collections::BTreeMap;

use dermafuse_backbones::NamedTensor;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Version of the file, raised when a key changes its meaning. Format 1 was a folder.
pub(crate) const FORMAT: u32 = 2;

const FORMAT_KEY: &str = "dermafuse.format";
const DESCRIPTION_KEY: &str = "dermafuse.description";
const TWO_STAGE_KEY: &str = "dermafuse.two_stage";
const CHECKSUM_KEY: &str = "dermafuse.sha256";
const METADATA: &str = "__metadata__";
/// The header's longest, which readers of the format allow.
const MAX_HEADER: usize = 100_000_000;

/// What a model file holds: two JSON texts and the tensors, in order of their names.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// The description, see [`BundleDescription`](crate::BundleDescription).
    pub description: String,
    /// The second stage, see [`TwoStage`](dermafuse_ensemble::TwoStage).
    pub two_stage: String,
    /// The network's tensors under their PyTorch names, in PyTorch's order of dimensions.
    pub tensors: Vec<NamedTensor>,
    /// Files that the model has inside, by name: a tensor of bytes each. Models without one are as those of earlier versions.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Why bytes are no model file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// Not a safetensors file, or a damaged one.
    #[error("not a whole safetensors file ({reason}); copy it again")]
    Damaged {
        /// What the reader said.
        reason: String,
    },
    /// A safetensors file of something else.
    #[error(
        "a safetensors file without `{key}` in its metadata: weights, but not a model; train one, or load the weights into a backbone"
    )]
    NotAModel {
        /// The key that is missing.
        key: &'static str,
    },
    /// Another format version.
    #[error(
        "format {found} where this version reads format {FORMAT}; use the version of DermaFuse that wrote it, or a newer one"
    )]
    Format {
        /// What the file says.
        found: String,
    },
    /// A checksum that is not that of the contents.
    #[error("damaged: its SHA-256 is {found}, the file says {expected}; copy it again")]
    Checksum {
        /// What the file says.
        expected: String,
        /// What the contents have.
        found: String,
    },
    /// A tensor that is not of 32-bit floats, or has a number that is not finite.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More metadata than readers of the format allow.
    #[error("a description of {bytes} bytes; readers of safetensors allow 100 MB: keep fewer support vectors")]
    TooLong {
        /// The length of the header.
        bytes: usize,
    },
}

/// Where a tensor lies; the fields are the format's.
#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// A value of the header.
#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Metadata(BTreeMap<&'static str, &'a str>),
    Tensor(Entry<'a>),
}

impl ModelFile {
    /// The file. The same contents give the same bytes: the `safetensors` crate writes its metadata in a random order, so
    /// the header is written here.
    ///
    /// # Errors
    /// A description that is too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelFileError> {
        let (format, checksum) = (FORMAT.to_string(), self.checksum());
        let metadata = BTreeMap::from([
            (FORMAT_KEY, format.as_str()),
            (DESCRIPTION_KEY, &self.description),
            (TWO_STAGE_KEY, &self.two_stage),
            (CHECKSUM_KEY, &checksum),
        ]);
        let lengths: Vec<[usize; 1]> = self.files.values().map(|bytes| [bytes.len()]).collect();
        let mut header = BTreeMap::from([(METADATA, Value::Metadata(metadata))]);
        let mut end = 0;
        for tensor in &self.tensors {
            let start = end;
            end += 4 * tensor.values.len();
            let entry = Entry { dtype: "F32", shape: &tensor.shape, data_offsets: [start, end] };
            header.insert(&tensor.name, Value::Tensor(entry));
        }
        for ((name, bytes), shape) in self.files.iter().zip(&lengths) {
            let start = end;
            end += bytes.len();
            header.insert(name, Value::Tensor(Entry { dtype: "U8", shape, data_offsets: [start, end] }));
        }
        let mut text = serde_json::to_vec(&header).expect("a header has string keys only");
        text.resize(text.len().next_multiple_of(8), b' ');
        if text.len() > MAX_HEADER {
            return Err(ModelFileError::TooLong { bytes: text.len() });
        }
        let mut bytes = Vec::with_capacity(8 + text.len() + end);
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text);
        for tensor in &self.tensors {
            bytes.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
        }
        self.files.values().for_each(|file| bytes.extend(file));
        Ok(bytes)
    }

    /// Reads a file, whatever order its tensors lie in.
    ///
    /// # Errors
    /// Bytes that are no model file, or not the one that was written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelFileError> {
        let damaged = |error: safetensors::SafeTensorError| ModelFileError::Damaged { reason: error.to_string() };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let metadata = header.metadata().as_ref().ok_or(ModelFileError::NotAModel { key: FORMAT_KEY })?;
        let text = |key: &'static str| metadata.get(key).cloned().ok_or(ModelFileError::NotAModel { key });
        let format = text(FORMAT_KEY)?;
        if format != FORMAT.to_string() {
            return Err(ModelFileError::Format { found: format.chars().take(40).collect() });
        }
        let (mut tensors, mut files) = (Vec::new(), BTreeMap::new());
        for (name, view) in SafeTensors::deserialize(bytes).map_err(damaged)?.iter() {
            let error = |reason: String| ModelFileError::Tensor { name: name.to_owned(), reason };
            if view.dtype() == Dtype::U8 && view.shape().len() == 1 {
                files.insert(name.to_owned(), view.data().to_vec());
                continue;
            }
            if view.dtype() != Dtype::F32 {
                return Err(error(format!("{:?} where a model has F32", view.dtype())));
            }
            let numbers = view.data().as_chunks::<4>().0.iter();
            let values: Vec<f32> = numbers.map(|number| f32::from_le_bytes(*number)).collect();
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(error(format!("it has the value {value}; train the model again")));
            }
            tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), values });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let file = Self { description: text(DESCRIPTION_KEY)?, two_stage: text(TWO_STAGE_KEY)?, tensors, files };
        let (expected, found) = (text(CHECKSUM_KEY)?, file.checksum());
        match expected == found {
            true => Ok(file),
            false => Err(ModelFileError::Checksum { expected: expected.chars().take(64).collect(), found }),
        }
    }

    /// The SHA-256 of everything in the file, names and shapes included.
    pub(crate) fn checksum(&self) -> String {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(self.description.as_bytes());
        part(self.two_stage.as_bytes());
        for tensor in &self.tensors {
            part(tensor.name.as_bytes());
            part(&tensor.shape.iter().flat_map(|&size| (size as u64).to_le_bytes()).collect::<Vec<u8>>());
            part(&tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
        for (name, bytes) in &self.files {
            part(name.as_bytes());
            part(bytes);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ModelFile {
        let tensor =
            |name: &str, values: Vec<f32>| NamedTensor { name: name.into(), shape: vec![values.len()], values };
        ModelFile {
            description: r#"{"a": "ä"}"#.into(),
            two_stage: "{}".into(),
            tensors: vec![tensor("a.weight", vec![1.0, -2.5]), tensor("b.bias", vec![0.5; 3])],
            files: BTreeMap::from([("encoder.onnx".to_owned(), vec![1, 2, 3])]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = file().to_bytes().unwrap();
        assert_eq!(bytes, file().to_bytes().unwrap());
        assert_eq!(ModelFile::from_bytes(&bytes).unwrap(), file());
        let other = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(other.tensor("b.bias").unwrap().shape(), [3]);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let bytes = file().to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // Spaces between values say nothing.
            let same = ModelFile::from_bytes(&changed).is_ok_and(|read| read == file());
            assert!(ModelFile::from_bytes(&changed).is_err() || same, "byte {at}");
        }
        for length in 0..bytes.len() {
            assert!(ModelFile::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn what_is_no_model_says_what_it_is() {
        let error = |bytes: &[u8]| ModelFile::from_bytes(bytes).unwrap_err().to_string();
        assert!(error(b"").starts_with("not a whole safetensors file"), "{}", error(b""));
        let weights: Vec<(&str, safetensors::tensor::TensorView<'_>)> = Vec::new();
        let weights = safetensors::serialize(weights, None).unwrap();
        assert!(error(&weights).contains("without `dermafuse.format` in its metadata: weights, but not a model"));
        let mut bytes = file().to_bytes().unwrap();
        let key = br#""dermafuse.format":""#;
        let at = bytes.windows(key.len()).position(|part| part == key).unwrap() + key.len();
        assert_eq!(bytes[at], b'2');
        bytes[at] = b'3';
        assert!(error(&bytes).starts_with("format 3 where this version reads format 2"), "{}", error(&bytes));
    }
}
