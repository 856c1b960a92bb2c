//! Recognizes weight files by their content, and what people give instead.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::BackboneError;
use crate::zip_directory::ZipDirectory;

/// The largest weights file that is read, in bytes: 8 GiB, twenty times the largest published one.
pub const MAX_WEIGHTS_FILE: u64 = 8 << 30;
/// How much of a file tells what it is.
const HEAD: u64 = 512;
/// How much of it an error shows.
const SHOWN: usize = 24;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Safetensors,
    Pytorch,
    #[cfg(feature = "onnx")]
    Onnx,
}

/// Opens a regular file of bounded size, with its length.
pub(crate) fn open(path: &Path) -> Result<(File, u64), BackboneError> {
    let io_error = |source| BackboneError::Io { path: path.to_path_buf(), source };
    // Asked before opening, which would wait for whoever writes into a pipe.
    if !fs::metadata(path).map_err(io_error)?.is_file() {
        return Err(BackboneError::NotAFile { path: path.to_path_buf() });
    }
    let file = File::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    match length > MAX_WEIGHTS_FILE {
        true => Err(BackboneError::TooLarge { path: path.to_path_buf(), length, limit: MAX_WEIGHTS_FILE }),
        false => Ok((file, length)),
    }
}

/// What the file is, of the formats that are read.
pub(crate) fn container_of(path: &Path, file: &mut File) -> Result<Container, BackboneError> {
    let mut head = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(|source| BackboneError::Io { path: path.to_path_buf(), source })?;
    let foreign = |(what, remedy)| BackboneError::Foreign { path: path.to_path_buf(), what, remedy };
    if let Some(found) = foreign_text(&head) {
        return Err(foreign(found));
    }
    if head.starts_with(b"PK\x03\x04") {
        let names = ZipDirectory::read(file).map(|directory| directory.names).unwrap_or_default();
        return foreign_archive(&names).map_or(Ok(Container::Pytorch), |found| Err(foreign(found)));
    }
    // Safetensors begins with the length of its header (8 bytes) and the header, a JSON object.
    if head.get(8) == Some(&b'{') {
        return Ok(Container::Safetensors);
    }
    if head.starts_with(b"\x80") || head.get(257..262) == Some(b"ustar") {
        return Ok(Container::Pytorch);
    }
    #[cfg(feature = "onnx")]
    if is_onnx(&head) {
        return Ok(Container::Onnx);
    }
    if let Some(found) = foreign_format(&head) {
        return Err(foreign(found));
    }
    let start = String::from_utf8_lossy(&head[..head.len().min(SHOWN)]).escape_debug().to_string();
    Err(BackboneError::NotWeights { path: path.to_path_buf(), start })
}

/// What it is, and what to do.
type Foreign = (&'static str, &'static str);

fn foreign_text(head: &[u8]) -> Option<Foreign> {
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if ["<!doctype html", "<html", "<?xml", "<head"].iter().any(|start| text.starts_with(start)) {
        return Some(("a web page", "the download needs a login or has another address; download the file itself"));
    }
    let is_pointer = text.starts_with("version https://git-lfs");
    is_pointer.then_some(("a pointer of Git LFS", "fetch the file that it stands for with `git lfs pull`"))
}

/// Whether a file begins as ONNX models do: with a version and who wrote it.
fn is_onnx(head: &[u8]) -> bool {
    matches!(head, [0x08, 1..=20, 0x12, ..])
}

fn foreign_format(head: &[u8]) -> Option<Foreign> {
    const CONVERT: &str = "give the weights of a PyTorch model as .safetensors or .pth";
    let is_tflite = head.get(4..8) == Some(b"TFL3");
    match head {
        head if is_onnx(head) => Some(("an ONNX model", "give the PyTorch weights that it was exported from")),
        [0x1f, 0x8b, ..] => Some(("compressed with gzip", "unpack it first")),
        [0x89, b'H', b'D', b'F', ..] => Some(("an HDF5 file, as Keras writes", CONVERT)),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            Some(("a NumPy array", "save the state_dict with torch.save or safetensors"))
        }
        [b'G', b'G', b'U', b'F', ..] => Some(("a GGUF file", CONVERT)),
        _ => is_tflite.then_some(("a TensorFlow Lite model", CONVERT)),
    }
}

fn foreign_archive(names: &[String]) -> Option<Foreign> {
    let has = |end: &str| names.iter().any(|name| name.ends_with(end));
    Some(if has("/constants.pkl") && names.iter().any(|name| name.contains("/code/")) {
        (
            "a TorchScript archive",
            "save the state_dict of the model: torch.save(torch.jit.load(file).state_dict(), \"weights.pth\")",
        )
    } else if has("data.pkl") || names.is_empty() {
        return None;
    } else if has("model.weights.h5") {
        ("a Keras model", "give the weights of a PyTorch model as .safetensors or .pth")
    } else if names.iter().all(|name| name.ends_with(".npy")) {
        ("a NumPy archive", "save the state_dict with torch.save or safetensors")
    } else {
        ("a zip archive of other files", "unpack it, and give the .safetensors, .pth or .pt file inside")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_give_instead_is_named() {
        for (head, what) in [
            (&b"<!DOCTYPE html>"[..], "a web page"),
            (b"\xef\xbb\xbf \n<html lang", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
            (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file, as Keras writes"),
            (b"\x08\x07\x12\x07pytorch\x1a\x05", "an ONNX model"),
            (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
            (b"\x1f\x8b\x08", "compressed with gzip"),
        ] {
            let found = foreign_text(head).or_else(|| foreign_format(head));
            assert_eq!(found.map(|(what, _)| what), Some(what));
        }
        assert_eq!(foreign_format(b"\x80\x02}q\0"), None);
        assert_eq!(foreign_format(b"\x40\0\0\0\0\0\0\0{\"a\""), None);
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let script = names(&["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"]);
        assert_eq!(foreign_archive(&script).map(|(what, _)| what), Some("a TorchScript archive"));
        assert_eq!(foreign_archive(&names(&["m/data.pkl", "m/version"])), None);
        let zipped = foreign_archive(&names(&["weights.pth"]));
        assert_eq!(zipped.map(|(what, _)| what), Some("a zip archive of other files"));
    }
}
