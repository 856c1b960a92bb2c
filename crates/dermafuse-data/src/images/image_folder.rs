//! What an image folder holds, listed once, and which image a name in a table means.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::images::image::has_image_extension;
use crate::tables::spelling::{composed, is_clutter, leaves_folder, name_key, tidy_path};

/// Folders below an image folder that are looked into; ends links that lead back up.
const MAX_DEPTH: usize = 3;
/// Bytes of two files that are compared at a time.
const CHUNK: usize = 1 << 16;

/// The files below a folder, by relative path and by that path without regard to case and way of writing. What is hidden
/// or left by a system is not among them.
#[derive(Debug)]
pub(crate) struct ImageFolder {
    root: PathBuf,
    /// The key of a relative path with `/` → the paths as they are on disk.
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
        for entry in fs::read_dir(at).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            // A name that is not UTF-8 cannot stand in a UTF-8 table.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let relative = format!("{prefix}{name}");
            let known_folder = entry.file_type().map_err(io_error)?;
            let is_folder = known_folder.is_dir() || (known_folder.is_symlink() && entry.path().is_dir());
            if is_clutter(&name, is_folder) {
                continue;
            }
            if is_folder && depth < MAX_DEPTH {
                self.walk(&entry.path(), &format!("{relative}/"), depth + 1)?;
            }
            // Archives from Windows may leave files whose names hold the `\` of a path.
            self.files.entry(name_key(&tidy_path(&relative))).or_default().push(relative);
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Looks a relative path up; without regard to case if need be.
    pub(crate) fn find(&self, name: &str) -> Found {
        let tidy = tidy_path(name);
        let Some(paths) = self.files.get(&name_key(&tidy)) else { return Found::Nowhere };
        if let Some(path) = paths.iter().find(|path| *path == name || **path == tidy) {
            return Found::Exactly(self.root.join(path));
        }
        let written = |path: &str| composed(&tidy_path(path)).into_owned();
        let mut same = paths.iter().filter(|path| written(path) == composed(&tidy));
        if let (Some(path), None) = (same.next(), same.next()) {
            return Found::Exactly(self.root.join(path));
        }
        match paths.as_slice() {
            [path] => Found::OtherCase(self.root.join(path), path.clone()),
            paths => {
                let mut paths = paths.to_vec();
                paths.sort();
                Found::Ambiguous(paths)
            }
        }
    }
}

/// The images below some folders, by the names that a table may give them.
#[derive(Debug)]
pub(crate) struct ImageIndex {
    folders: Vec<ImageFolder>,
    /// Whether the folders were named, not searched: what lies directly in them goes before what lies deeper.
    named: bool,
    /// Paths by the key of the file's name, with and without extension; in order.
    names: HashMap<String, Vec<PathBuf>>,
    twins: Tally,
    deeper: Tally,
}

/// How often something was met, and the first time.
#[derive(Debug, Default)]
struct Tally {
    count: usize,
    first: Option<(PathBuf, PathBuf)>,
}

impl Tally {
    fn add(&mut self, one: &Path, other: &Path) {
        self.count += 1;
        self.first.get_or_insert_with(|| (one.into(), other.into()));
    }
}

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    One(PathBuf),
    /// One under another spelling; the relative path on disk.
    OtherCase(PathBuf, String),
    /// Two different images, and perhaps more.
    Several(PathBuf, PathBuf),
    /// The name is a path that leads out of the folder.
    Outside,
    Nowhere,
}

impl ImageIndex {
    pub(crate) fn new(folders: Vec<ImageFolder>, named: bool) -> Self {
        let mut names: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for folder in &folders {
            names.reserve(2 * folder.files.len());
            for (key, paths) in &folder.files {
                let name = key.rsplit('/').next().unwrap_or(key);
                if !has_image_extension(Path::new(name)) {
                    continue;
                }
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                for name in [name, stem] {
                    names.entry(name.to_owned()).or_default().extend(paths.iter().map(|path| folder.root.join(path)));
                }
            }
        }
        // Two folders of which one holds the other list an image twice.
        names.values_mut().for_each(|paths| {
            paths.sort();
            paths.dedup();
        });
        Self { folders, named, names, twins: Tally::default(), deeper: Tally::default() }
    }

    /// The first of the folders.
    pub(crate) fn root(&self) -> &Path {
        self.folders.first().map_or(Path::new(""), ImageFolder::root)
    }

    /// The image of a name, with or without extension, or of a path, which may start above the folder that was listed.
    /// Where several have it, identical files are one.
    pub(crate) fn find(&mut self, name: &str) -> Lookup {
        let tidy = tidy_path(name);
        if leaves_folder(&tidy) {
            return Lookup::Outside;
        }
        let (parents, file) = tidy.rsplit_once('/').map_or((None, &*tidy), |(parents, file)| (Some(parents), file));
        for folder in self.folders.iter().filter(|_| parents.is_some()) {
            match folder.find(&tidy) {
                Found::Exactly(path) => return Lookup::One(path),
                Found::OtherCase(path, actual) => return Lookup::OtherCase(path, actual),
                // Perhaps the same file twice.
                Found::Ambiguous(_) | Found::Nowhere => {}
            }
        }
        let Some(paths) = self.names.get(&name_key(file)) else { return Lookup::Nowhere };
        let paths: Vec<&PathBuf> =
            paths.iter().filter(|path| parents.is_none_or(|parents| lies_in(path, parents))).collect();
        let Some((first, rest)) = paths.split_first() else { return Lookup::Nowhere };
        if rest.is_empty() {
            return Lookup::One(first.to_path_buf());
        }
        let Some(other) = rest.iter().find(|other| !same_bytes(first, other)) else {
            self.twins.add(first, rest[0]);
            return Lookup::One(first.to_path_buf());
        };
        let is_direct = |path: &&&PathBuf| self.folders.iter().any(|folder| path.parent() == Some(folder.root()));
        let mut direct = paths.iter().filter(is_direct);
        if let (true, Some(path), None) = (self.named, direct.next(), direct.next()) {
            self.deeper.add(path, if path == first { other } else { first });
            return Lookup::One(path.to_path_buf());
        }
        Lookup::Several(first.to_path_buf(), other.to_path_buf())
    }

    /// What was settled, counted.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |tally: &Tally, what: &str| {
            let (one, other) = tally.first.as_ref()?;
            Some(format!("{} images {what}, such as {} and {}", tally.count, one.display(), other.display()))
        };
        let twins = note(&self.twins, "lie in several folders as identical files and are taken once");
        let deeper = note(&self.deeper, "lie in the folder and, with other content, below it; those in it are taken");
        twins.into_iter().chain(deeper).collect()
    }
}

/// Whether the folders of a file end with these parts.
fn lies_in(path: &Path, parents: &str) -> bool {
    let path: Cow<'_, Path> = std::path::absolute(path).map_or(Cow::Borrowed(path), Cow::Owned);
    let mut folders = path.parent().into_iter().flat_map(Path::components).rev();
    parents.rsplit('/').all(|parent| {
        let folder = folders.next().and_then(|folder| folder.as_os_str().to_str());
        folder.is_some_and(|folder| name_key(folder) == name_key(parent))
    })
}

/// Whether two files hold the same bytes; `false` where one cannot be read.
fn same_bytes(one: &Path, other: &Path) -> bool {
    let compare = || -> io::Result<bool> {
        let sizes = [fs::metadata(one)?, fs::metadata(other)?];
        if sizes.iter().any(|size| !size.is_file()) || sizes[0].len() != sizes[1].len() {
            return Ok(false);
        }
        let (mut one, mut other) = (File::open(one)?, File::open(other)?);
        let (mut ours, mut theirs) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        loop {
            ours.clear();
            theirs.clear();
            one.by_ref().take(CHUNK as u64).read_to_end(&mut ours)?;
            other.by_ref().take(CHUNK as u64).read_to_end(&mut theirs)?;
            if ours != theirs || ours.is_empty() {
                return Ok(ours == theirs);
            }
        }
    };
    compare().unwrap_or(false)
}
