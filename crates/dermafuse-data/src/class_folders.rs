//! Images in a folder for each class, as SD-198, private collections and most tutorials have them.
//!
//! ```text
//! photos/nevus/0001.jpg                      photos/train/nevus/0001.jpg
//! photos/nevus/patient 7/0002.png            photos/val/nevus/0002.jpg
//! photos/melanoma/0003.jpg                   photos/test/melanoma/0003.jpg
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, Task, TaskSet};

use crate::image::has_image_extension;
use crate::{CaseSet, DataError, Modality, SYNTHETIC_MARKER, Split, group_by_content};

/// Folders below the root that are looked into; ends links that lead back up.
const MAX_DEPTH: usize = 6;

const HOW: &str = "expected a folder for each class, with JPEG, PNG, BMP, WebP or TIFF images in or below it, or such folders in \
                   `train`, `val` and `test`";

/// What [`load_with`] may be told.
///
/// ```
/// use dermafuse_data::class_folders::Options;
///
/// assert_eq!(Options::default().ignore, ["mask"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The name of the case set, by which class maps call it; `None` for the folder's.
    pub name: Option<String>,
    /// What the images are.
    pub modality: Modality,
    /// Files whose name contains one of these, in lower case, are no images of their own.
    pub ignore: Vec<String>,
    /// Whether cases that share an identical image file are put in one group. Reads the files that have the same size
    /// as another.
    pub group_duplicates: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: None, modality: Modality::Clinical, ignore: vec!["mask".into()], group_duplicates: true }
    }
}

/// Loads a folder of class folders with the default [`Options`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &Options::default())
}

/// Loads a folder of class folders: one case an image, in the order of their paths, which are their identities.
///
/// One task, the diagnosis, whose classes are the folders' names in alphabetical order. Nothing is known of patients and
/// lesions, so each image is a group of its own, but for identical ones. If every folder below the root is called `train`,
/// `val` or `test` (or alike), the class folders are in there; where all three are, they are the split.
///
/// # Errors
/// No class folders, or one alone; a folder that cannot be read; identical images in two parts, which
/// [`Options::group_duplicates`] can let pass.
pub fn load_with(root: impl AsRef<Path>, options: &Options) -> Result<CaseSet, DataError> {
    let root = root.as_ref();
    let scan = Scan::of(root, &options.ignore)?;
    let classes: BTreeSet<&str> = scan.images.iter().map(|image| image.class.as_str()).collect();
    if classes.is_empty() {
        return Err(DataError::Missing { path: root.into(), dataset: "a set of class folders", how: HOW });
    }
    let classes: Vec<&str> = classes.into_iter().collect();
    let folder = root.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = options.name.clone().or(folder).unwrap_or_else(|| "class folders".into());
    scan.case_set(root, name, &classes, options, |class| Ok(class.to_owned()))
}

/// What lies in class folders.
pub(crate) struct Scan {
    images: Vec<FoundImage>,
    notes: Vec<String>,
}

struct FoundImage {
    /// Relative to the root, with `/`.
    path: String,
    class: String,
    /// 0, 1 or 2: training, validation, test.
    part: Option<usize>,
}

impl Scan {
    pub(crate) fn of(root: &Path, ignore: &[String]) -> Result<Self, DataError> {
        let top = entries(root)?;
        let folders: Vec<&str> = top.iter().filter(|entry| entry.1).map(|entry| entry.0.as_str()).collect();
        let parts = !folders.is_empty() && folders.iter().all(|name| part_of(name).is_some());
        let mut files = Vec::new();
        list(root, "", 0, &mut files)?;
        files.sort();

        let (mut images, mut ignored, mut outside) = (Vec::new(), 0, 0);
        for path in files {
            let mut names: Vec<&str> = path.split('/').collect();
            let Some(file) = names.pop().map(str::to_lowercase) else { continue };
            if !has_image_extension(Path::new(&file)) {
                continue;
            }
            if ignore.iter().any(|part| file.contains(part.as_str())) {
                ignored += 1;
                continue;
            }
            let part = if parts { names.first().and_then(|name| part_of(name)) } else { None };
            match names.get(usize::from(parts)) {
                Some(class) => images.push(FoundImage { class: (*class).to_owned(), part, path }),
                None => outside += 1,
            }
        }
        let mut notes = Vec::new();
        if ignored > 0 {
            notes.push(format!("{ignored} files whose names contain {} are left out", ignore.join(" or ")));
        }
        if outside > 0 {
            notes.push(format!("{outside} images lie in no class folder and are left out"));
        }
        Ok(Self { images, notes })
    }

    /// The case set of these images, with the class that a folder's name stands for.
    pub(crate) fn case_set(
        &self,
        root: &Path,
        name: String,
        classes: &[&str],
        options: &Options,
        class_of: impl Fn(&str) -> Result<String, DataError>,
    ) -> Result<CaseSet, DataError> {
        let (images, mut notes) = (&self.images, self.notes.clone());
        let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
        for image in images {
            if !labels.contains_key(image.class.as_str()) {
                let class = class_of(&image.class)?;
                let label = classes.iter().position(|known| *known == class).ok_or_else(|| DataError::Setting {
                    what: "class folder",
                    found: root.join(&image.class).display().to_string(),
                    expected: "one of the classes of the data set",
                })?;
                labels.insert(&image.class, label);
            }
        }
        let mut parts = [const { Vec::new() }; 3];
        let mut cases = Vec::with_capacity(images.len());
        for (row, image) in images.iter().enumerate() {
            if let Some(part) = image.part {
                parts[part].push(row);
            }
            let mut case =
                Case { labels: vec![labels.get(image.class.as_str()).copied()], ..Case::new(image.path.as_str()) };
            let path = Some(root.join(&image.path));
            match options.modality {
                Modality::Clinical => case.clinical = path,
                Modality::Dermoscopic => case.dermoscopic = path,
            }
            cases.push(case);
        }
        let filled = parts.iter().filter(|part| !part.is_empty()).count();
        if (1..3).contains(&filled) {
            notes.push(
                "not all of the parts train, val and test are there: no split; identities start with the part".into(),
            );
        }
        let [train, valid, test] = parts;
        let split = if filled == 3 { Some(Split::new(train, valid, test, cases.len())?) } else { None };
        if options.group_duplicates {
            notes.extend(group_by_content(&mut cases)?);
        }
        let set = CaseSet {
            name,
            synthetic: root.join(SYNTHETIC_MARKER).is_file(),
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes.iter().copied())])?,
            fields: Vec::new(),
            cases,
            split,
            notes,
        };
        set.check()?;
        Ok(set)
    }
}

/// Which part of a split a folder of that name is.
fn part_of(name: &str) -> Option<usize> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Some(0),
        "val" | "valid" | "validation" => Some(1),
        "test" | "testing" => Some(2),
        _ => None,
    }
}

/// Names and whether they are folders; what is hidden is left out.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>, DataError> {
    let io_error = |source| DataError::Io { path: PathBuf::from(folder), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            entries.push((name, entry.path().is_dir()));
        }
    }
    Ok(entries)
}

fn list(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) -> Result<(), DataError> {
    for (name, is_folder) in entries(folder)? {
        let path = format!("{prefix}{name}");
        if !is_folder {
            files.push(path);
        } else if depth < MAX_DEPTH {
            list(&folder.join(&name), &format!("{path}/"), depth + 1, files)?;
        }
    }
    Ok(())
}
