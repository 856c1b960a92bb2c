//! What the loaders of sets with one image a case have in common: where the images are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, FieldRole};

use crate::images::image_folder::{ImageFolder, ImageIndex, Lookup};
use crate::tables::spelling::is_clutter;
use crate::tables::table::Column;
use crate::{CaseUnit, DataError, Modality, OtherTasks};

/// Where the images of a data set are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageSource {
    /// In any folder below the data set's root, up to three deep.
    #[default]
    BelowRoot,
    /// In this folder or below it.
    Folder(PathBuf),
    /// Nowhere: the cases have metadata and labels alone.
    Nowhere,
}

/// What the loaders of data sets with one image a case may be told.
///
/// ```
/// use dermafuse_data::{ImageSource, LoadOptions};
///
/// assert_eq!(LoadOptions::metadata_only().images, ImageSource::Nowhere);
/// assert!(LoadOptions::default().group_duplicates);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where the images are.
    pub images: ImageSource,
    /// Whether cases that share an identical image file are put in one group, so that no split parts them. Reads the
    /// files that have the same size as another.
    pub group_duplicates: bool,
    /// What counts as a case; the loaders themselves list images, [`DataSetKind::load_with`](crate::DataSetKind::load_with)
    /// makes lesions of them.
    pub cases: CaseUnit,
    /// The tasks that are asked, by name; all if none is named. [`DataSetKind::load_with`](crate::DataSetKind::load_with) chooses
    /// them, as [`CaseSet::with_tasks`](crate::CaseSet::with_tasks) does.
    pub tasks: Vec<String>,
    /// What becomes of the other tasks, where some are named.
    pub other_tasks: OtherTasks,
    /// Other roles of fields, by name; [`DataSetKind::load_with`](crate::DataSetKind::load_with) gives them, as
    /// [`CaseSet::with_roles`](crate::CaseSet::with_roles) does.
    pub roles: BTreeMap<String, FieldRole>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            images: ImageSource::BelowRoot,
            group_duplicates: true,
            cases: CaseUnit::Images,
            tasks: Vec::new(),
            other_tasks: OtherTasks::LeftOut,
            roles: BTreeMap::new(),
        }
    }
}

impl LoadOptions {
    /// No images: for methods that use the record alone, and where only the tables are at hand.
    #[must_use]
    pub fn metadata_only() -> Self {
        Self { images: ImageSource::Nowhere, ..Self::default() }
    }

    /// Gives each case, one a row of the table, the image that its column names, with or without extension; or
    /// returns a note that none were asked for.
    pub(crate) fn add_images(
        &self,
        cases: &mut [Case],
        modality: Modality,
        column: Column<'_>,
        place: Place<'_>,
    ) -> Result<Vec<String>, DataError> {
        let folder = match &self.images {
            ImageSource::Nowhere => return Ok(vec!["no images were asked for: metadata and labels alone".into()]),
            ImageSource::BelowRoot => place.root,
            ImageSource::Folder(folder) => folder,
        };
        let mut index = ImageIndex::new(vec![ImageFolder::list(folder)?], folder != place.root);
        for (case, path) in cases.iter_mut().zip(find_images(column, &mut index, place)?) {
            case.images_mut(modality).push(path.into());
        }
        Ok(index.notes())
    }
}

/// How tables end besides `.csv`: archives such as Dataverse give them with tabs.
const ENDINGS: [&str; 2] = ["tab", "tsv"];

/// The table, or where it is not there, the same with another ending, if that is there.
pub(crate) fn table_file(path: PathBuf) -> PathBuf {
    if path.is_file() {
        return path;
    }
    let others = ENDINGS.iter().map(|ending| path.with_extension(ending));
    others.into_iter().find(|other| other.is_file()).unwrap_or(path)
}

/// A data set's root, its name, and how to get it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) root: &'a Path,
    pub(crate) dataset: &'static str,
    pub(crate) how: &'static str,
}

impl Place<'_> {
    /// The table whose name ends so, if there is one: archives prefix their files (`ISIC_2019_Training_Metadata.csv`).
    pub(crate) fn find_table(self, suffix: &str) -> Result<Option<PathBuf>, DataError> {
        let exact = table_file(self.root.join(suffix));
        if exact.is_file() {
            return Ok(Some(exact));
        }
        if !self.root.is_dir() {
            return Err(self.missing(self.root));
        }
        let io_error = |source| DataError::Io { path: self.root.into(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.root).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ends = |ending: &str| {
                Path::new(suffix).with_extension(ending).to_str().is_some_and(|end| name.ends_with(&format!("_{end}")))
            };
            if !is_clutter(&name, false)
                && (name.ends_with(&format!("_{suffix}")) || ENDINGS.iter().any(|ending| ends(ending)))
            {
                found.push(entry.path());
            }
        }
        found.sort();
        // One table in two forms.
        let twin = |path: &PathBuf| path.with_extension("csv") != *path && path.with_extension("csv").is_file();
        found.retain(|path| !twin(path));
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(DataError::Setting {
                what: "table of the data set",
                found: found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and "),
                expected: "a single file of its kind; leave one in the folder",
            }),
        }
    }

    /// The first of these tables that is there, by the whole name.
    pub(crate) fn find_named(self, names: &[&str]) -> Result<Option<PathBuf>, DataError> {
        if !self.root.is_dir() {
            return Err(self.missing(self.root));
        }
        Ok(names.iter().map(|name| table_file(self.root.join(name))).find(|file| file.is_file()))
    }

    /// The error that says how to get what is not there.
    pub(crate) fn missing(self, path: impl Into<PathBuf>) -> DataError {
        DataError::Missing { path: path.into(), dataset: self.dataset, how: self.how }
    }

    /// Compares a count of a full copy with the published one.
    pub(crate) fn check_count(self, what: impl Into<String>, expected: usize, found: usize) -> Result<(), DataError> {
        match expected == found {
            true => Ok(()),
            false => Err(DataError::Published { dataset: self.dataset, what: what.into(), expected, found }),
        }
    }
}

/// What is expected of a name that two images have.
pub(crate) fn one_image(one: &Path, other: &Path, setting: &str) -> String {
    format!(
        "one image of that name, not {} and {}; name the folder of the images {setting}",
        one.display(),
        other.display()
    )
}

/// How a built-in set is told where its images are.
pub(crate) const IMAGES_SETTING: &str = "(`images` of the set in an experiment, or `--images`)";

/// The path of each row's image.
fn find_images(column: Column<'_>, index: &mut ImageIndex, place: Place<'_>) -> Result<Vec<PathBuf>, DataError> {
    let table = column.table();
    let mut paths = Vec::with_capacity(table.len());
    let mut missing = Vec::new();
    for row in 0..table.len() {
        match index.find(column.text(row)) {
            Lookup::One(path) | Lookup::OtherCase(path, _) => paths.push(path),
            Lookup::Nowhere => missing.push(row),
            Lookup::Outside => return Err(column.value_error(row, "a name or path inside the image folders")),
            Lookup::Several(one, other) => {
                return Err(column.value_error(row, one_image(&one, &other, IMAGES_SETTING)));
            }
        }
    }
    match missing.first() {
        None => Ok(paths),
        Some(_) if paths.is_empty() => Err(place.missing(index.root().join(column.text(0)))),
        Some(&row) => Err(DataError::ImageNotFound {
            file: table.file().into(),
            line: table.line(row),
            column: column.name().into(),
            found: column.text(row).into(),
            folder: index.root().into(),
            missing: missing.len(),
            total: table.len(),
        }),
    }
}
