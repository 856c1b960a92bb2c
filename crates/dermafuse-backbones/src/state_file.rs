//! Weight files as plain named arrays: safetensors, PyTorch checkpoints and ONNX files. What a file has is listed first; only what is chosen of
//! it is read.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader::{DType as TorchType, PytorchReader, Tensor as TorchTensor};
use burn::tensor::{bf16, f16};
use safetensors::{Dtype as SafeType, SafeTensors};
use tempfile::NamedTempFile;

use crate::container::{self, Container};
use crate::error::BackboneError;
use crate::zip_directory::ZipDirectory;

/// One stored tensor, in PyTorch's order of dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// The tensors of a network by published name.
pub(crate) type State = BTreeMap<String, StoredTensor>;

/// An open file.
pub(crate) struct StateFile {
    path: PathBuf,
    /// Bytes of the file: no tensor can have more, whatever the file says.
    length: u64,
    /// All tensors by their full names.
    tensors: BTreeMap<String, ListedTensor>,
    content: Content,
}

/// What a file says of a tensor.
pub(crate) struct ListedTensor {
    pub(crate) shape: Vec<usize>,
    element: Element,
}

/// How numbers are stored.
#[derive(Clone, Debug, PartialEq)]
enum Element {
    F16,
    BF16,
    F32,
    F64,
    /// What weights are not made of.
    Other(String),
}

enum Content {
    Safetensors(Vec<u8>),
    Pytorch {
        tensors: HashMap<String, TorchTensor>,
        /// The file's copy that is read in its place.
        _copy: Option<NamedTempFile>,
    },
    #[cfg(feature = "onnx")]
    Onnx(BTreeMap<String, Vec<f32>>),
}

impl ListedTensor {
    /// The type of numbers that weights are not made of: counters are integers.
    pub(crate) fn foreign_type(&self) -> Option<&str> {
        match &self.element {
            Element::Other(dtype) => Some(dtype),
            _ => None,
        }
    }
}

impl Element {
    fn of_torch(dtype: TorchType) -> Self {
        match dtype {
            TorchType::F16 => Self::F16,
            TorchType::BF16 => Self::BF16,
            TorchType::F32 => Self::F32,
            TorchType::F64 => Self::F64,
            other => Self::Other(format!("{other:?}").to_lowercase()),
        }
    }

    fn of_safetensors(dtype: SafeType) -> Self {
        match dtype {
            SafeType::F16 => Self::F16,
            SafeType::BF16 => Self::BF16,
            SafeType::F32 => Self::F32,
            SafeType::F64 => Self::F64,
            other => Self::Other(format!("{other:?}").to_lowercase()),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Other(_) => 1,
        }
    }

    // Both formats are little-endian in practice: safetensors by definition, PyTorch's reader hands out native bytes.
    fn decode(&self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => decode(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Self::BF16 => decode(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Self::F32 => decode(bytes, f32::from_le_bytes),
            Self::F64 => decode(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::Other(_) => Vec::new(),
        }
    }
}

fn decode<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<SIZE>().0.iter().map(|chunk| number(*chunk)).collect()
}

impl StateFile {
    /// Opens a file, whose format is recognized by its content, and lists its tensors.
    pub(crate) fn open(path: &Path) -> Result<Self, BackboneError> {
        let (mut file, length) = container::open(path)?;
        match container::container_of(path, &mut file)? {
            Container::Safetensors => Self::open_safetensors(path, file, length),
            // A defect of the reader that panics is, for the caller, a damaged file like any other.
            Container::Pytorch => without_panic(path, || Self::open_pytorch(path, file, length)),
            #[cfg(feature = "onnx")]
            Container::Onnx => Self::open_onnx(path, file, length),
        }
    }

    /// Whether it is an ONNX file, which need not have the names that the network had.
    pub(crate) fn is_onnx(&self) -> bool {
        match &self.content {
            #[cfg(feature = "onnx")]
            Content::Onnx(_) => true,
            _ => false,
        }
    }

    #[cfg(feature = "onnx")]
    fn open_onnx(path: &Path, mut file: File, length: u64) -> Result<Self, BackboneError> {
        let io_error = |source| BackboneError::Io { path: path.to_path_buf(), source };
        file.seek(SeekFrom::Start(0)).map_err(io_error)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(io_error)?;
        let weights = dermafuse_onnx_graph::Weights::from_bytes(&bytes).map_err(|error| damaged(path, error))?;
        let (mut tensors, mut numbers) = (BTreeMap::new(), BTreeMap::new());
        for weight in weights.tensors {
            tensors.insert(weight.name.clone(), ListedTensor { shape: weight.shape, element: Element::F32 });
            numbers.insert(weight.name, weight.values);
        }
        Ok(Self { path: path.to_path_buf(), length, tensors, content: Content::Onnx(numbers) })
    }

    fn open_safetensors(path: &Path, mut file: File, length: u64) -> Result<Self, BackboneError> {
        let io_error = |source| BackboneError::Io { path: path.to_path_buf(), source };
        file.seek(SeekFrom::Start(0)).map_err(io_error)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(io_error)?;
        let found = SafeTensors::deserialize(&bytes).map_err(|error| damaged(path, error))?;
        let listed = found.iter().map(|(key, view)| {
            let element = Element::of_safetensors(view.dtype());
            (key.to_string(), ListedTensor { shape: view.shape().to_vec(), element })
        });
        let tensors = listed.collect();
        Ok(Self { path: path.to_path_buf(), length, tensors, content: Content::Safetensors(bytes) })
    }

    fn open_pytorch(path: &Path, mut file: File, length: u64) -> Result<Self, BackboneError> {
        let copy = match ZipDirectory::read(&mut file) {
            Some(directory) if directory.misleads(&mut file) => Some(copy_of(path, &directory, &mut file)?),
            _ => None,
        };
        let readable = copy.as_ref().map_or(path, NamedTempFile::path);
        let tensors = PytorchReader::new(readable).map_err(|error| damaged(path, error))?.into_tensors();
        let listed = tensors.iter().map(|(key, tensor)| {
            let element = Element::of_torch(tensor.dtype());
            (key.clone(), ListedTensor { shape: tensor.shape().to_vec(), element })
        });
        let listed = listed.collect();
        let content = Content::Pytorch { tensors, _copy: copy };
        Ok(Self { path: path.to_path_buf(), length, tensors: listed, content })
    }

    /// What the file has, by full names.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, ListedTensor> {
        &self.tensors
    }

    /// Reads the chosen tensors, each by its full name, under another name.
    ///
    /// # Errors
    /// What does not fit into the file, or is not finite.
    pub(crate) fn read(&self, chosen: &[(String, String)]) -> Result<State, BackboneError> {
        let mut total = 0_u64;
        for (key, _) in chosen {
            let ListedTensor { shape, element } = &self.tensors[key];
            let sizes = shape.iter().map(|&size| size as u64);
            let claimed = sizes.chain([element.bytes()]).try_fold(1_u64, u64::checked_mul);
            let claimed = claimed.filter(|&claimed| claimed <= self.length);
            let claimed =
                claimed.ok_or_else(|| damaged(&self.path, format!("tensor `{key}` is larger than the file")))?;
            total = total.saturating_add(claimed);
        }
        // Tensors may share their numbers, but not by the thousand.
        if total > 2 * self.length {
            return Err(damaged(&self.path, "its tensors are together larger than the file"));
        }
        match &self.content {
            Content::Safetensors(bytes) => {
                let found = SafeTensors::deserialize(bytes).map_err(|error| damaged(&self.path, error))?;
                self.decode(chosen, |key| {
                    let view = found.tensor(key).map_err(|error| damaged(&self.path, error))?;
                    Ok(self.tensors[key].element.decode(view.data()))
                })
            }
            #[cfg(feature = "onnx")]
            Content::Onnx(numbers) => self.decode(chosen, |key| Ok(numbers[key].clone())),
            Content::Pytorch { tensors, .. } => without_panic(&self.path, || {
                self.decode(chosen, |key| {
                    let bytes = tensors[key].read().map_err(|error| damaged(&self.path, error))?;
                    Ok(self.tensors[key].element.decode(&bytes))
                })
            }),
        }
    }

    fn decode(
        &self,
        chosen: &[(String, String)],
        values_of: impl Fn(&str) -> Result<Vec<f32>, BackboneError>,
    ) -> Result<State, BackboneError> {
        let mut state = State::new();
        for (key, name) in chosen {
            let values = values_of(key)?;
            if !values.iter().all(|value| value.is_finite()) {
                return Err(BackboneError::NotFinite { path: self.path.clone(), key: key.clone() });
            }
            let shape = self.tensors[key].shape.clone();
            state.insert(name.clone(), StoredTensor { shape, values });
        }
        Ok(state)
    }
}

/// A copy that the reader of archives does not misunderstand, in the folder for temporary files.
fn copy_of(path: &Path, directory: &ZipDirectory, file: &mut File) -> Result<NamedTempFile, BackboneError> {
    let copied = NamedTempFile::new().and_then(|mut copy| {
        directory.copy_without_gap(file, &mut copy)?;
        Ok(copy)
    });
    copied.map_err(|source| BackboneError::Io { path: path.to_path_buf(), source })
}

fn without_panic<T>(path: &Path, work: impl FnOnce() -> Result<T, BackboneError>) -> Result<T, BackboneError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged(path, "the reader gave up")))
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> BackboneError {
    BackboneError::Damaged { path: path.to_path_buf(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_widened() {
        assert_eq!(Element::F16.decode(&f16::from_f32(-1.5).to_le_bytes()), [-1.5]);
        assert_eq!(Element::BF16.decode(&bf16::from_f32(3.0).to_le_bytes()), [3.0]);
    }
}
