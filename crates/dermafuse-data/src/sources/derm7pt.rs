//! Derm7pt, also called SPC or EDRA: 1,011 cases with a clinical and a dermoscopic image, the seven-point checklist,
//! the diagnosis and metadata.
//!
//! Data: J. Kawahara, S. Daneshvar, G. Argenziano, G. Hamarneh, *Seven-Point Checklist and Skin Lesion Classification
//! Using Multitask Multimodal Neural Nets*, IEEE J-BHI 2019. Classes are grouped, ordered and named as in the code
//! released with FusionM4Net. `docs/datasets.md` says how to get the files.

mod checklist;
mod columns;
mod edra;
mod published;

use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, Field, FieldValue, Task, TaskSet};

pub use self::checklist::{encoding, load_with_raw_checklist, with_checklist_inputs};
use self::columns::{FIELDS, FieldColumn, TASKS, TaskColumn};
pub use self::edra::{PUBLISHED_DIAGNOSES, load_edra};
pub use self::published::{PUBLISHED, PublishedTask, check_published};
use crate::images::image_folder::{Found, ImageFolder};
use crate::sources::load_options::table_file;
use crate::tables::oddity::contradictory_sex;
use crate::tables::spelling::{leaves_folder, tidy_path};
use crate::tables::table::Column;
use crate::{CaseSet, DataError, SharedImages, Split, Table};

/// Rows of the published `meta.csv`.
pub const PUBLISHED_CASES: usize = 1011;

pub use crate::SYNTHETIC_MARKER;

const HOW: &str = "get it at http://derm.cs.sfu.ca (under the terms stated there; do not pass it on) and keep the folders \
                   `release_v0/images` and `release_v0/meta` as they come";

/// Loads Derm7pt from its folder `release_v0`, or from the folder that holds it.
///
/// Eight tasks in the order diagnosis, pigment network, streaks, pigmentation, regression structures, dots and
/// globules, blue-whitish veil, vascular structures; five metadata fields, of which the diagnostic difficulty and the
/// management are [post-diagnosis](dermafuse_schema::FieldRole::PostDiagnosis); the published split.
///
/// A file name that differs from the table's in upper and lower case only is accepted and noted. The seven-point score
/// is recomputed and compared. A set of 1,011 rows must have the [published counts](check_published). Patients and lesions
/// are not known; cases that share an identical image are a group, and if the published split parts one, it
/// [says so](Split::leaks).
///
/// # Errors
/// A file or image that is missing; a table that is not as published, with line and column; index files that overlap,
/// are out of range or count from 1.
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    let root = release_folder(root.as_ref())?;
    let table = Table::read(table_file(root.join("meta").join("meta.csv")))?;
    let images = ImageFolder::list(&root.join("images"))?;
    let synthetic = root.join(SYNTHETIC_MARKER).is_file();
    let mut notes = Vec::new();

    let ids = table.column("case_num")?;
    let tasks = TASKS.iter().map(|task| Ok((task, table.column(task.name)?))).collect::<Result<Vec<_>, DataError>>()?;
    let fields =
        FIELDS.iter().map(|field| Ok((field, table.column(field.name)?))).collect::<Result<Vec<_>, DataError>>()?;
    let (clinic, derm) = (table.column("clinic")?, table.column("derm")?);
    let clinical = find_images(&table, clinic, &images, &mut notes)?;
    let dermoscopic = find_images(&table, derm, &images, &mut notes)?;
    let score = table.column("seven_point_score")?;

    let mut cases = Vec::with_capacity(table.len());
    for (row, (clinical, dermoscopic)) in clinical.into_iter().zip(dermoscopic).enumerate() {
        ids.index(row)?;
        let labels = tasks.iter().map(|(task, column)| task.label(*column, row)).collect::<Result<Vec<_>, _>>()?;
        let recorded = score.index(row)?;
        let computed = seven_point_score(&labels);
        if recorded != computed {
            return Err(score.value_error(row, format!("{computed}, which is what the row's criteria add up to")));
        }
        cases.push(Case {
            clinical: vec![clinical.into()],
            dermoscopic: vec![dermoscopic.into()],
            metadata: fields.iter().map(|(field, column)| field.value(*column, row)).collect::<Result<_, _>>()?,
            labels: labels.into_iter().map(Some).collect(),
            ..Case::new(ids.text(row))
        });
    }
    notes.extend(contradictory_sex(&table));
    let split = load_split(&root.join("meta"), cases.len())?;
    let mut set = CaseSet {
        name: if synthetic { "derm7pt-synthetic" } else { "derm7pt" }.into(),
        synthetic,
        tasks: TaskSet::new(TASKS.iter().map(TaskColumn::task).collect())?,
        fields: FIELDS.iter().map(FieldColumn::field).collect(),
        cases,
        split: Some(split),
        notes,
    };
    set.join_groups(SharedImages::Join);
    let crosses = |split: &Split| matches!(split.check(&set), Err(DataError::GroupCrosses { .. }));
    if set.split.as_ref().is_some_and(crosses) {
        // It is the published split, so it is kept; but it says so wherever it is reported.
        set.split = set.split.map(Split::with_groups_crossing);
        set.notes.push("the published split has identical images in two of its parts".into());
    }
    set.check()?;
    if set.len() == PUBLISHED_CASES && !synthetic {
        check_published(&set)?;
    }
    Ok(set)
}

/// The eight tasks, in order.
#[must_use]
pub fn tasks() -> Vec<Task> {
    TASKS.iter().map(TaskColumn::task).collect()
}

/// The five metadata fields, in order.
#[must_use]
pub fn fields() -> Vec<Field> {
    FIELDS.iter().map(FieldColumn::field).collect()
}

/// The score of the checklist from the labels of the eight tasks, in order: 2 for each major criterion (atypical
/// network, blue-whitish veil, irregular vessels), 1 for each minor one (irregular streaks, pigmentation, dots and
/// globules; regression).
///
/// # Panics
/// If there are not eight labels.
#[must_use]
pub fn seven_point_score(labels: &[usize]) -> usize {
    let &[_, network, streaks, pigmentation, regression, dots, veil, vessels] = labels else {
        panic!("the seven-point checklist has 8 labels with the diagnosis, not {}", labels.len());
    };
    let found = |label: usize, class: usize| usize::from(label == class);
    2 * (found(network, 2) + found(veil, 1) + found(vessels, 2))
        + found(streaks, 2)
        + found(pigmentation, 2)
        + found(dots, 2)
        + found(regression, 1)
}

fn release_folder(root: &Path) -> Result<PathBuf, DataError> {
    for folder in [root.to_path_buf(), root.join("release_v0")] {
        if table_file(folder.join("meta").join("meta.csv")).is_file() {
            for needed in [
                folder.join("images"),
                folder.join("meta").join("train_indexes.csv"),
                folder.join("meta").join("valid_indexes.csv"),
                folder.join("meta").join("test_indexes.csv"),
            ] {
                if !needed.exists() && !table_file(needed.clone()).exists() {
                    return Err(DataError::Missing { path: needed, dataset: "Derm7pt", how: HOW });
                }
            }
            return Ok(folder);
        }
    }
    Err(DataError::Missing { path: root.join("meta").join("meta.csv"), dataset: "Derm7pt", how: HOW })
}

fn find_images(
    table: &Table,
    column: Column<'_>,
    images: &ImageFolder,
    notes: &mut Vec<String>,
) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::with_capacity(table.len());
    let mut missing = Vec::new();
    for row in 0..table.len() {
        let name = column.text(row);
        if name.is_empty() || leaves_folder(&tidy_path(name)) {
            return Err(column.value_error(row, "a path inside the image folder"));
        }
        match images.find(name) {
            Found::Exactly(path) => paths.push(path),
            Found::OtherCase(path, actual) => {
                let line = table.line(row);
                notes.push(format!("meta.csv line {line}: `{name}` is `{actual}` on disk; taken as the same image"));
                paths.push(path);
            }
            Found::Ambiguous(actual) => {
                let expected = format!("one image; the folder has {}", actual.join(" and "));
                return Err(column.value_error(row, expected));
            }
            Found::Nowhere => missing.push(row),
        }
    }
    match missing.first() {
        None => Ok(paths),
        Some(&row) => Err(DataError::ImageNotFound {
            file: table.file().into(),
            line: table.line(row),
            column: column.name().into(),
            found: column.text(row).into(),
            folder: images.root().into(),
            missing: missing.len(),
            total: table.len(),
        }),
    }
}

fn load_split(folder: &Path, cases: usize) -> Result<Split, DataError> {
    let read = |file: &str| -> Result<Vec<usize>, DataError> {
        let table = Table::read(table_file(folder.join(file)))?;
        let indexes = table.column("indexes")?;
        (0..table.len()).map(|row| indexes.index(row)).collect()
    };
    let files = ["train_indexes.csv", "valid_indexes.csv", "test_indexes.csv"];
    let parts = [read(files[0])?, read(files[1])?, read(files[2])?];
    let all = || parts.iter().flatten().copied();
    if all().max() == Some(cases) && all().min() == Some(1) {
        let culprit = parts.iter().position(|part| part.contains(&cases)).unwrap_or(0);
        return Err(DataError::OneBased { file: folder.join(files[culprit]), cases });
    }
    let [train, valid, test] = parts;
    Split::new(train, valid, test, cases)
}

impl TaskColumn {
    fn task(&self) -> Task {
        let classes = self.classes.iter().map(|(class, _)| *class);
        let task = Task::new(self.name, self.label, classes);
        if self.classes[0].0 == "ABS" { task.with_reference("ABS") } else { task }
    }

    fn label(&self, column: Column<'_>, row: usize) -> Result<usize, DataError> {
        let known: Vec<&str> = self.classes.iter().flat_map(|(_, values)| values.iter().copied()).collect();
        let Some(mut value) = column.category(row, &known)? else {
            return Err(column.value_error(row, format!("one of {}", known.join(", "))));
        };
        for (label, (_, values)) in self.classes.iter().enumerate() {
            match value.checked_sub(values.len()) {
                None => return Ok(label),
                Some(rest) => value = rest,
            }
        }
        Err(column.value_error(row, format!("one of {}", known.join(", "))))
    }
}

impl FieldColumn {
    fn field(&self) -> Field {
        Field::categorical(self.name, self.role, self.categories.iter().copied())
    }

    fn value(&self, column: Column<'_>, row: usize) -> Result<FieldValue, DataError> {
        Ok(column.category(row, self.categories)?.map_or(FieldValue::Missing, FieldValue::Category))
    }
}
