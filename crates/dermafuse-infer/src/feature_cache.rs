//! Features of images on disk.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dermafuse_data::Preprocess;
use sha2::{Digest, Sha256};

use crate::{InferError, View, sha256_hex};

/// How a file begins.
const MAGIC: &[u8; 8] = b"DFFEAT1\n";
/// Length of a SHA-256.
const DIGEST: usize = 32;

/// A folder with the features of images, a file for each image, part that is cut out of it, encoder, preparation and view. Its name is the SHA-256 of all of them, so
/// that nothing is found for an image, weights or a preparation that changed. Many processes may use one folder.
///
/// A file is believed only if it says what it is of and its checksum holds; one that is damaged or of something else is computed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureCache {
    folder: PathBuf,
}

/// What a cache has under a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cached {
    Features(Vec<f32>),
    Nothing,
    /// A file that is not what its name says.
    Damaged,
}

impl FeatureCache {
    /// The cache in a folder, which is made when something is written.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the features of a view of an image are called; `image` is the SHA-256 of its file, and what is cut out of it.
    pub(crate) fn key(image: &str, encoder: &str, preprocess: &Preprocess, view: View) -> String {
        let preprocess = serde_json::to_string(preprocess).expect("it has string keys only");
        // No word has a line break.
        sha256_hex(format!("{image}\n{encoder}\n{preprocess}\n{view:?}\n").as_bytes())
    }

    fn file(&self, key: &str) -> PathBuf {
        self.folder.join(&key[..2]).join(format!("{}.features", &key[2..]))
    }

    /// What is there of `width` features.
    pub(crate) fn get(&self, key: &str, width: usize) -> Cached {
        match fs::read(self.file(key)) {
            Ok(bytes) => parsed(&bytes, key, width).map_or(Cached::Damaged, Cached::Features),
            Err(error) if error.kind() == ErrorKind::NotFound => Cached::Nothing,
            Err(_) => Cached::Damaged,
        }
    }

    /// Keeps features. A file appears whole, since it is written aside and renamed; after a crash of the machine its checksum tells.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(crate) fn put(&self, key: &str, features: &[f32]) -> Result<(), InferError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let file = self.file(key);
        let write = || -> io::Result<()> {
            let folder = file.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder)?;
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let scratch = folder.join(format!(".{}-{count}.part", std::process::id()));
            let written = fs::write(&scratch, written(key, features)).and_then(|()| fs::rename(&scratch, &file));
            if written.is_err() {
                // The error to tell is the first one.
                let _ = fs::remove_file(&scratch);
            }
            written
        };
        write().map_err(|source| InferError::FeatureCache { path: file.clone(), source })
    }
}

/// The bytes of a file.
fn written(key: &str, features: &[f32]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(key.as_bytes());
    bytes.extend((features.len() as u64).to_le_bytes());
    bytes.extend(features.iter().flat_map(|value| value.to_le_bytes()));
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

/// The features in a file, if it is whole and what it should be.
fn parsed(bytes: &[u8], key: &str, width: usize) -> Option<Vec<f32>> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if Sha256::digest(content)[..] != *digest {
        return None;
    }
    let rest = content.strip_prefix(MAGIC)?.strip_prefix(key.as_bytes())?;
    let (length, values) = rest.split_at_checked(8)?;
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    if length != width || values.len() != width.checked_mul(4)? {
        return None;
    }
    let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    values.iter().all(|value| value.is_finite()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_believed_only_whole_and_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path().join("features"));
        let preprocess = Preprocess::imagenet(64);
        let key = |image: &str, view| FeatureCache::key(image, "resnet18:abc", &preprocess, view);
        let own = key("1", View::Identity);
        assert_eq!(cache.get(&own, 3), Cached::Nothing);
        cache.put(&own, &[1.5, -2.0, 0.0]).unwrap();
        assert_eq!(cache.get(&own, 3), Cached::Features(vec![1.5, -2.0, 0.0]));
        // Every part of the name counts.
        let others = [
            key("2", View::Identity),
            key("1", View::FlipBoth),
            FeatureCache::key("1", "resnet18:abd", &preprocess, View::Identity),
            FeatureCache::key("1", "resnet18:abc", &Preprocess::imagenet(65), View::Identity),
        ];
        for other in others {
            assert_eq!(cache.get(&other, 3), Cached::Nothing);
            // Somebody else's file under that name.
            let file = cache.file(&other);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::copy(cache.file(&own), &file).unwrap();
            assert_eq!(cache.get(&other, 3), Cached::Damaged);
        }
        assert_eq!(cache.get(&own, 4), Cached::Damaged);
        let whole = fs::read(cache.file(&own)).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(cache.file(&own), &changed).unwrap();
            assert_eq!(cache.get(&own, 3), Cached::Damaged, "byte {at}");
            fs::write(cache.file(&own), &whole[..at]).unwrap();
            assert_eq!(cache.get(&own, 3), Cached::Damaged, "{at} bytes");
        }
        cache.put(&own, &[f32::NAN, 0.0, 0.0]).unwrap();
        assert_eq!(cache.get(&own, 3), Cached::Damaged);
        fs::write(folder.path().join("file"), "").unwrap();
        let error = FeatureCache::new(folder.path().join("file")).put(&own, &[1.0]).unwrap_err().to_string();
        assert!(error.contains("cannot keep features in"), "{error}");
    }
}
