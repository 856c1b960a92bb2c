//! Images in a folder for each class, as SD-198, private collections and most tutorials have them.
//!
//! ```text
//! photos/nevus/0001.jpg                      photos/train/nevus/0001.jpg
//! photos/nevus/patient 7/0002.png            photos/val/nevus/0002.jpg
//! photos/melanoma/0003.jpg                   photos/test/melanoma/0003.jpg
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, Task, TaskSet};

use crate::image_formats::READ_FORMATS;
use crate::images::image::has_image_extension;
use crate::tables::spelling::{composed, is_clutter, name_key};
use crate::{CaseSet, DataError, Modality, SYNTHETIC_MARKER, SharedImages, Split};

/// Folders below the root that are looked into; ends links that lead back up.
const MAX_DEPTH: usize = 6;

const HOW: &str = "expected a folder for each class, with JPEG, PNG, BMP, WebP or TIFF images in or below it, or such \
                   folders in `train`, `val` and `test`";

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
/// One task, the diagnosis, whose classes are the folders' names in alphabetical order; an empty folder is a class without
/// cases. Nothing is known of patients and lesions, so each image is a group of its own, but for identical ones. If the
/// folders below the root are called `train`, `val` or `test` (or alike), the class folders are in there; where all three
/// are, they are the split, and the classes are those of any part. What is hidden or left by a system (`__MACOSX`,
/// `Thumbs.db`) is passed over; other files that are no images are counted in a note.
///
/// # Errors
/// No class folders, or one alone; a folder that cannot be read; other folders beside `train`, `val` and `test`; a class
/// folder with files of which none is an image; two classes that differ in case only; identical images in two parts,
/// which [`Options::group_duplicates`] can let pass.
pub fn load_with(root: impl AsRef<Path>, options: &Options) -> Result<CaseSet, DataError> {
    let root = root.as_ref();
    let scan = Scan::of(root, &options.ignore)?;
    if scan.images.is_empty() {
        return Err(DataError::Missing { path: root.into(), dataset: "a set of class folders", how: HOW });
    }
    let classes: Vec<&str> = scan.classes.iter().map(String::as_str).collect();
    let folder = root.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = options.name.clone().or(folder).unwrap_or_else(|| "class folders".into());
    scan.case_set(root, name, &classes, options, |class| Ok(class.to_owned()))
}

/// What lies in class folders.
pub(crate) struct Scan {
    images: Vec<FoundImage>,
    /// The names of the class folders, also of those without an image.
    classes: BTreeSet<String>,
    notes: Vec<String>,
}

struct FoundImage {
    /// Relative to the root, with `/` and composed accents: the identity.
    id: String,
    /// As it is on disk.
    path: PathBuf,
    class: String,
    /// 0, 1 or 2: training, validation, test.
    part: Option<usize>,
}

/// What a class folder, or its half in one part, holds.
#[derive(Default)]
struct Contents {
    images: usize,
    /// Files whose names say that they are no images of their own.
    ignored: usize,
    /// Files that are not read as images, by extension.
    passed_over: BTreeMap<String, usize>,
}

impl Scan {
    pub(crate) fn of(root: &Path, ignore: &[String]) -> Result<Self, DataError> {
        let listing = Listing::of(root)?;
        let depth = usize::from(has_parts(root, &listing)?);
        let mut folders: BTreeMap<&str, Contents> = BTreeMap::new();
        for folder in listing.folders.iter().filter(|folder| folder.matches('/').count() == depth) {
            folders.entry(folder).or_default();
        }
        let (mut images, mut outside, mut inner_parts) = (Vec::new(), 0, BTreeSet::new());
        for path in &listing.files {
            let names: Vec<&str> = path.split('/').collect();
            let (file, folder) = (names[names.len() - 1].to_lowercase(), &names[..names.len() - 1]);
            let is_image = has_image_extension(Path::new(&file));
            let is_ignored = is_image && ignore.iter().any(|part| file.contains(part.as_str()));
            let Some(class) = folder.get(depth) else {
                outside += usize::from(is_image && !is_ignored);
                continue;
            };
            let contents = folders.entry(class_folder(path, depth)).or_default();
            if is_ignored {
                contents.ignored += 1;
            } else if !is_image {
                let extension = file.rsplit_once('.').map_or("without extension", |(_, extension)| extension);
                *contents.passed_over.entry(extension.to_owned()).or_default() += 1;
            } else {
                contents.images += 1;
                if let (0, [_, inner, rest @ ..]) = (depth, folder)
                    && part_of(inner).is_some()
                {
                    if !rest.is_empty() {
                        let (folder, part) = (root.join(class), (*inner).to_owned());
                        return Err(DataError::PartsBelow { folder, part });
                    }
                    inner_parts.insert(*inner);
                }
                let part = (depth == 1).then(|| part_of(folder[0])).flatten();
                let (id, class) = (composed(path).into_owned(), composed(class).into_owned());
                images.push(FoundImage { id, path: root.join(path), class, part });
            }
        }
        images.sort_by(|one, other| one.id.cmp(&other.id));
        check_folders(root, &folders)?;
        // A folder of masks alone is no class.
        let is_class = |contents: &Contents| contents.images > 0 || contents.ignored == 0;
        let named = folders.iter().filter(|(_, contents)| is_class(contents));
        let classes = named.filter_map(|(folder, _)| Some(composed(folder.split('/').nth(depth)?).into_owned()));
        let classes: BTreeSet<String> = classes.collect();
        check_spellings(root, &classes)?;

        let mut notes = listing.notes();
        let ignored: usize = folders.values().map(|contents| contents.ignored).sum();
        if ignored > 0 {
            notes.push(format!("{ignored} files whose names contain {} are left out", ignore.join(" or ")));
        }
        notes.extend(passed_over(&folders));
        if outside > 0 {
            notes.push(format!("{outside} images lie in no class folder and are left out"));
        }
        if !inner_parts.is_empty() {
            let inner = inner_parts.into_iter().collect::<Vec<_>>().join(", ");
            notes.push(format!("class folders hold folders called {inner}, which are not taken for parts of a split"));
        }
        let with_image: BTreeSet<&str> = images.iter().map(|image| image.class.as_str()).collect();
        let empty: Vec<&str> = classes.iter().map(String::as_str).filter(|class| !with_image.contains(class)).collect();
        if !empty.is_empty() {
            notes.push(format!("no image is in the folders of these classes: {}", empty.join(", ")));
        }
        Ok(Self { images, classes, notes })
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
                Case { labels: vec![labels.get(image.class.as_str()).copied()], ..Case::new(image.id.as_str()) };
            case.images_mut(options.modality).push((&image.path).into());
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
        let mut set = CaseSet {
            name,
            synthetic: root.join(SYNTHETIC_MARKER).is_file(),
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes.iter().copied())])?,
            fields: Vec::new(),
            cases,
            split,
            notes,
        };
        set.join_groups(SharedImages::from(options.group_duplicates));
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

/// Whether the folders below the root are the parts of a split.
fn has_parts(root: &Path, listing: &Listing) -> Result<bool, DataError> {
    let top = listing.folders.iter().filter(|folder| !folder.contains('/')).map(String::as_str);
    let (parts, others): (Vec<&str>, Vec<&str>) = top.partition(|name| part_of(name).is_some());
    if parts.is_empty() || others.is_empty() {
        return Ok(!parts.is_empty());
    }
    let [parts, others] = [parts, others].map(|names| names.into_iter().map(str::to_owned).collect());
    Err(DataError::FoldersBesideParts { root: root.into(), parts, others })
}

/// The folder of a class: the first names of a path.
fn class_folder(path: &str, depth: usize) -> &str {
    path.match_indices('/').nth(depth).map_or(path, |(at, _)| &path[..at])
}

/// Checks that each folder with files has an image among them.
fn check_folders(root: &Path, folders: &BTreeMap<&str, Contents>) -> Result<(), DataError> {
    let without = folders.iter().filter(|(_, contents)| contents.images == 0 && !contents.passed_over.is_empty());
    let without: Vec<String> =
        without.map(|(name, contents)| format!("{name} ({})", counts(&contents.passed_over))).collect();
    if without.is_empty() {
        return Ok(());
    }
    Err(DataError::NoImages { root: root.into(), folders: without, formats: READ_FORMATS })
}

/// Checks that no two classes differ in case only.
fn check_spellings(root: &Path, classes: &BTreeSet<String>) -> Result<(), DataError> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for class in classes {
        if let Some(other) = seen.insert(name_key(class.trim()), class) {
            return Err(DataError::AlikeClasses { root: root.into(), one: other.into(), other: class.clone() });
        }
    }
    Ok(())
}

/// A note on the files that are not read, by extension.
fn passed_over(folders: &BTreeMap<&str, Contents>) -> Option<String> {
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for (extension, count) in folders.values().flat_map(|contents| &contents.passed_over) {
        *all.entry(extension.clone()).or_default() += count;
    }
    let total: usize = all.values().sum();
    let what = format!("are not images that are read ({READ_FORMATS}) and are left out");
    (total > 0).then(|| format!("{total} files ({}) {what}", counts(&all)))
}

/// `heic 3, txt 2`: the most frequent first.
fn counts(extensions: &BTreeMap<String, usize>) -> String {
    let mut sorted: Vec<(&String, &usize)> = extensions.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    sorted.iter().map(|(extension, count)| format!("{extension} {count}")).collect::<Vec<_>>().join(", ")
}

/// What lies below a folder, in order; relative, with `/`. Clutter is left out.
#[derive(Default)]
struct Listing {
    folders: Vec<String>,
    files: Vec<String>,
    not_text: usize,
    too_deep: usize,
}

impl Listing {
    fn of(root: &Path) -> Result<Self, DataError> {
        let mut listing = Self::default();
        listing.walk(root, "", 0)?;
        listing.folders.sort();
        listing.files.sort();
        Ok(listing)
    }

    fn walk(&mut self, at: &Path, prefix: &str, depth: usize) -> Result<(), DataError> {
        let io_error = |source| DataError::Io { path: at.into(), source };
        for entry in std::fs::read_dir(at).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let is_folder = entry.path().is_dir();
            let Ok(name) = entry.file_name().into_string() else {
                self.not_text += 1;
                continue;
            };
            if is_clutter(&name, is_folder) || (depth == 0 && name == SYNTHETIC_MARKER) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if !is_folder {
                self.files.push(path);
            } else if depth < MAX_DEPTH {
                self.walk(&at.join(&name), &format!("{path}/"), depth + 1)?;
                self.folders.push(path);
            } else {
                self.too_deep += 1;
            }
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.not_text > 0 {
            notes.push(format!("{} files or folders whose names are not UTF-8 are left out", self.not_text));
        }
        if self.too_deep > 0 {
            notes.push(format!("{} folders lie more than {MAX_DEPTH} deep and are not looked into", self.too_deep));
        }
        notes
    }
}
