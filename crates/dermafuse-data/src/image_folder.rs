//! What an image folder holds, listed once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::image::has_image_extension;

/// Folders below an image folder that are looked into; ends links that lead back up.
const MAX_DEPTH: usize = 3;

/// The files below a folder, by relative path and by that path in lower case.
#[derive(Debug)]
pub(crate) struct ImageFolder {
    root: PathBuf,
    /// Lower-case relative path with `/` → the paths as they are on disk.
    files: HashMap<String, Vec<String>>,
}

/// How a name was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Exactly(PathBuf),
    /// Under another spelling; the relative path on disk.
    OtherCase(PathBuf, String),
    /// Under several other spellings.
    Ambiguous(Vec<String>),
    Nowhere,
}

impl ImageFolder {
    pub(crate) fn list(root: &Path) -> Result<Self, DataError> {
        let mut folder = Self { root: root.to_path_buf(), files: HashMap::new() };
        folder.walk(root, "", 0)?;
        Ok(folder)
    }

    fn walk(&mut self, at: &Path, prefix: &str, depth: usize) -> Result<(), DataError> {
        let io_error = |source| DataError::Io { path: at.into(), source };
        for entry in std::fs::read_dir(at).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            // A name that is not UTF-8 cannot stand in a UTF-8 table.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let relative = format!("{prefix}{name}");
            let known_folder = entry.file_type().map_err(io_error)?;
            let is_folder = known_folder.is_dir() || (known_folder.is_symlink() && entry.path().is_dir());
            if is_folder && depth < MAX_DEPTH {
                self.walk(&entry.path(), &format!("{relative}/"), depth + 1)?;
            }
            self.files.entry(relative.to_lowercase()).or_default().push(relative);
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Looks a relative path up; without regard to case if need be.
    pub(crate) fn find(&self, name: &str) -> Found {
        match self.files.get(&name.to_lowercase()).map(Vec::as_slice) {
            None | Some([]) => Found::Nowhere,
            Some(paths) if paths.iter().any(|path| path == name) => Found::Exactly(self.root.join(name)),
            Some([path]) => Found::OtherCase(self.root.join(path), path.clone()),
            Some(paths) => {
                let mut paths = paths.to_vec();
                paths.sort();
                Found::Ambiguous(paths)
            }
        }
    }

    /// Image files by their name without folder, in lower case, with and without extension; in order.
    pub(crate) fn by_name(&self) -> HashMap<String, Vec<PathBuf>> {
        let mut names: HashMap<String, Vec<PathBuf>> = HashMap::with_capacity(2 * self.files.len());
        for (lower, paths) in &self.files {
            let name = lower.rsplit('/').next().unwrap_or(lower);
            let Some((stem, _)) = name.rsplit_once('.') else { continue };
            if has_image_extension(Path::new(name)) {
                for name in [name, stem] {
                    names.entry(name.to_owned()).or_default().extend(paths.iter().map(|path| self.root.join(path)));
                }
            }
        }
        names.values_mut().for_each(|paths| paths.sort());
        names
    }

    /// Image files by their name without folder and extension.
    pub(crate) fn by_stem(&self) -> HashMap<&str, PathBuf> {
        let paths = self.files.values().flatten();
        let mut sorted: Vec<&String> = paths.collect();
        sorted.sort();
        let mut stems = HashMap::new();
        for path in sorted {
            let name = path.rsplit('/').next().unwrap_or(path);
            let Some((stem, _)) = name.rsplit_once('.') else { continue };
            if has_image_extension(Path::new(name)) {
                stems.entry(stem).or_insert_with(|| self.root.join(path));
            }
        }
        stems
    }
}
