//! Image files of identical content.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dermafuse_schema::Case;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// How much of a file is in memory at a time.
const CHUNK: usize = 1 << 16;

/// An image that several cases have: of each case one file, in the order of the rows. Two or more.
#[derive(Debug)]
pub(crate) struct SharedImage {
    pub(crate) files: Vec<(usize, PathBuf)>,
}

/// Rows and their files.
type Files<'a> = Vec<(usize, &'a Path)>;

/// The images that several cases have, in the order of their first files, and the files that could not be read.
///
/// Only files that have the same size as a file of another case are read: their whole content, by its SHA-256.
pub(crate) fn identical_images(cases: &[Case]) -> (Vec<SharedImage>, Vec<(PathBuf, io::Error)>) {
    let mut unread = Vec::new();
    let mut by_size: HashMap<u64, Files<'_>> = HashMap::new();
    for (row, case) in cases.iter().enumerate() {
        for path in case.clinical.iter().chain(&case.dermoscopic).map(|image| &image.path) {
            match std::fs::metadata(path) {
                // An empty file is no image, and a pipe would be waited for.
                Ok(file) if file.is_file() && file.len() > 0 => {
                    by_size.entry(file.len()).or_default().push((row, path))
                }
                Ok(_) => unread.push((path.clone(), io::Error::other("empty, or not a file"))),
                Err(error) => unread.push((path.clone(), error)),
            }
        }
    }
    let alone = |files: &[(usize, &Path)]| files.iter().all(|(row, _)| *row == files[0].0);
    let candidates: Vec<(u64, usize, &Path)> = by_size
        .into_iter()
        .filter(|(_, files)| !alone(files))
        .flat_map(|(size, files)| files.into_iter().map(move |(row, path)| (size, row, path)))
        .collect();
    let digests: Vec<io::Result<[u8; 32]>> = candidates.par_iter().map(|(_, _, path)| digest(path)).collect();

    let mut by_content: HashMap<(u64, [u8; 32]), Files<'_>> = HashMap::new();
    for ((size, row, path), digest) in candidates.into_iter().zip(digests) {
        match digest {
            Ok(digest) => by_content.entry((size, digest)).or_default().push((row, path)),
            Err(error) => unread.push((path.to_path_buf(), error)),
        }
    }
    let mut shared: Vec<Files<'_>> = by_content.into_values().filter(|files| !alone(files)).collect();
    for files in &mut shared {
        files.sort_unstable();
        files.dedup_by_key(|(row, _)| *row);
    }
    shared.sort_unstable();
    unread.sort_by(|one, other| one.0.cmp(&other.0));
    let owned = |files: Files<'_>| files.into_iter().map(|(row, path)| (row, path.to_path_buf())).collect();
    (shared.into_iter().map(|files| SharedImage { files: owned(files) }).collect(), unread)
}

/// The SHA-256 of a file's content.
fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => hasher.update(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
