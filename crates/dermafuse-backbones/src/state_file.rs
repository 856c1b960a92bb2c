//! Weight files as plain named arrays: safetensors and PyTorch checkpoints.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::store::pytorch_reader::{DType as TorchType, PytorchReader};
use burn::tensor::{bf16, f16};
use safetensors::{Dtype as SafeType, SafeTensors};

use crate::error::BackboneError;

/// One stored tensor, in PyTorch's order of dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// The tensors of a file by published name.
pub(crate) type State = BTreeMap<String, StoredTensor>;

/// PyTorch counts the batches a normalization has seen; nothing here uses the number.
const IGNORED_SUFFIX: &str = "num_batches_tracked";
/// Under which keys training scripts nest the weights of a checkpoint.
const WRAPPERS: [&str; 3] = ["state_dict.", "model_state_dict.", "model."];
/// What `DataParallel` puts before each name.
const DATA_PARALLEL: &str = "module.";

/// Reads the tensors of a file, whose format is recognized by its content, but those whose published name is to be passed
/// over.
pub(crate) fn read(path: &Path, passed_over: impl Fn(&str) -> bool) -> Result<State, BackboneError> {
    let passed_over = |key: &str| key.ends_with(IGNORED_SUFFIX) || passed_over(unwrapped(key));
    let io_error = |source| BackboneError::Io { path: path.to_path_buf(), source };
    let bytes = fs::read(path).map_err(io_error)?;
    let state = match format_of(&bytes) {
        Some(Format::Safetensors) => read_safetensors(path, &bytes, &passed_over)?,
        Some(Format::Pytorch) => {
            let length = bytes.len();
            drop(bytes);
            // A defect of the reader that panics is, for the caller, a damaged file like any other.
            let state = catch_unwind(AssertUnwindSafe(|| read_pytorch(path, length, &passed_over)));
            state.unwrap_or_else(|_| Err(damaged(path, "the reader gave up")))?
        }
        None => {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(24)]);
            let start = start.escape_debug().to_string();
            return Err(BackboneError::NotWeights { path: path.to_path_buf(), start });
        }
    };
    match state.iter().find(|(_, tensor)| tensor.values.iter().any(|value| !value.is_finite())) {
        Some((key, _)) => Err(BackboneError::NotFinite { path: path.to_path_buf(), key: key.clone() }),
        None => Ok(strip_wrapping(state)),
    }
}

enum Format {
    Safetensors,
    Pytorch,
}

fn format_of(bytes: &[u8]) -> Option<Format> {
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80") && !is_safetensors(bytes) || is_tar {
        return Some(Format::Pytorch);
    }
    is_safetensors(bytes).then_some(Format::Safetensors)
}

/// Safetensors begins with the length of its header (8 bytes) and the header, a JSON object.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

fn read_safetensors(path: &Path, bytes: &[u8], passed_over: &dyn Fn(&str) -> bool) -> Result<State, BackboneError> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(path, error))?;
    let mut state = State::new();
    for (key, view) in tensors.iter() {
        if passed_over(key) {
            continue;
        }
        let values = match view.dtype() {
            SafeType::F16 => from_f16(view.data()),
            SafeType::BF16 => from_bf16(view.data()),
            SafeType::F32 => from_f32(view.data()),
            SafeType::F64 => from_f64(view.data()),
            other => return Err(storage_type(path, key, &other)),
        };
        state.insert(key.to_string(), StoredTensor { shape: view.shape().to_vec(), values });
    }
    Ok(state)
}

/// `length` is the file's: no tensor can have more bytes, whatever the file says.
fn read_pytorch(path: &Path, length: usize, passed_over: &dyn Fn(&str) -> bool) -> Result<State, BackboneError> {
    let reader = PytorchReader::new(path).map_err(|error| damaged(path, error))?;
    let mut state = State::new();
    for (key, tensor) in reader.into_tensors() {
        if passed_over(&key) {
            continue;
        }
        let decode = match tensor.dtype() {
            TorchType::F16 => from_f16,
            TorchType::BF16 => from_bf16,
            TorchType::F32 => from_f32,
            TorchType::F64 => from_f64,
            other => return Err(storage_type(path, &key, &other)),
        };
        let mut sizes = tensor.shape().iter().copied().chain([tensor.dtype().size()]);
        let claimed = sizes.try_fold(1_usize, usize::checked_mul);
        if claimed.is_none_or(|claimed| claimed > length) {
            return Err(damaged(path, format!("tensor `{key}` is larger than the file")));
        }
        let bytes = tensor.read().map_err(|error| damaged(path, error))?;
        state.insert(key, StoredTensor { shape: tensor.shape().to_vec(), values: decode(&bytes) });
    }
    Ok(state)
}

/// A name without what training scripts put before it.
fn unwrapped(key: &str) -> &str {
    let key = WRAPPERS.into_iter().find_map(|wrapper| key.strip_prefix(wrapper)).unwrap_or(key);
    key.strip_prefix(DATA_PARALLEL).unwrap_or(key)
}

fn strip_wrapping(state: State) -> State {
    let wrapper = WRAPPERS.into_iter().find(|wrapper| state.keys().any(|key| key.starts_with(wrapper)));
    let state = match wrapper {
        Some(wrapper) => strip_prefix(state, wrapper),
        None => state,
    };
    match !state.is_empty() && state.keys().all(|key| key.starts_with(DATA_PARALLEL)) {
        true => strip_prefix(state, DATA_PARALLEL),
        false => state,
    }
}

/// Keeps the tensors whose name has the prefix, without it.
fn strip_prefix(state: State, prefix: &str) -> State {
    let strip = |(key, tensor): (String, StoredTensor)| Some((key.strip_prefix(prefix)?.to_string(), tensor));
    state.into_iter().filter_map(strip).collect()
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> BackboneError {
    BackboneError::Damaged { path: path.to_path_buf(), reason: error.to_string() }
}

fn storage_type(path: &Path, key: &str, dtype: &dyn std::fmt::Debug) -> BackboneError {
    let dtype = format!("{dtype:?}").to_lowercase();
    BackboneError::StorageType { path: path.to_path_buf(), key: key.to_string(), dtype }
}

// Both formats are little-endian in practice: safetensors by definition, PyTorch's reader hands out native bytes.
fn from_f16(bytes: &[u8]) -> Vec<f32> {
    decode(bytes, |bytes| f16::from_le_bytes(bytes).to_f32())
}

fn from_bf16(bytes: &[u8]) -> Vec<f32> {
    decode(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())
}

fn from_f32(bytes: &[u8]) -> Vec<f32> {
    decode(bytes, f32::from_le_bytes)
}

fn from_f64(bytes: &[u8]) -> Vec<f32> {
    decode(bytes, |bytes| f64::from_le_bytes(bytes) as f32)
}

fn decode<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<SIZE>().0.iter().map(|chunk| number(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(keys: &[&str]) -> State {
        let tensor = StoredTensor { shape: vec![1], values: vec![0.0] };
        keys.iter().map(|key| (key.to_string(), tensor.clone())).collect()
    }

    #[test]
    fn wrapping_is_stripped() {
        for (keys, expected) in [
            (&["module.a", "module.b"][..], &["a", "b"][..]),
            (&["state_dict.module.a", "optimizer.b"], &["a"]),
            (&["a", "module.b"], &["a", "module.b"]),
        ] {
            assert_eq!(strip_wrapping(state_of(keys)), state_of(expected));
        }
    }

    #[test]
    fn half_precision_is_widened() {
        assert_eq!(from_f16(&f16::from_f32(-1.5).to_le_bytes()), [-1.5]);
        assert_eq!(from_bf16(&bf16::from_f32(3.0).to_le_bytes()), [3.0]);
    }
}
