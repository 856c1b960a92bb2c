//! HAM10000, the training set of ISIC 2018 task 3: 10,015 dermoscopic images, seven diagnoses, age, sex and site.
//!
//! Data: P. Tschandl, C. Rosendahl, H. Kittler, *The HAM10000 dataset*, Scientific Data 5, 2018,
//! <https://doi.org/10.7910/DVN/DBW86T>; CC BY-NC 4.0. `docs/datasets.md` says how to get the files and how they lie.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Name, Task, TaskSet};

use crate::sources::load_options::{Place, table_file};
use crate::tables::oddity::{Ages, contradictory_sex};
use crate::tables::one_hot::OneHot;
use crate::tables::table::Column;
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, EncoderConfig, LoadOptions, Modality, SharedImages, Table};

/// The seven diagnoses, in alphabetical order; the columns of the challenge's ground truth have another.
pub const CLASSES: [&str; 7] = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"];

/// Images of the published set.
pub const PUBLISHED_CASES: usize = 10_015;
/// The published number of images of each of the [`CLASSES`].
pub const PUBLISHED_CLASSES: [usize; 7] = [327, 514, 1_099, 115, 1_113, 6_705, 142];
/// The published number of lesions.
pub const PUBLISHED_LESIONS: usize = 7_470;
/// In how many rows of the published metadata each column is empty or `unknown`.
pub const PUBLISHED_MISSING: [(&str, usize); 3] = [("age", 57), ("sex", 57), ("localization", 234)];

const SEXES: [&str; 2] = ["female", "male"];
const SITES: [&str; 14] = [
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "upper extremity",
];
const CONFIRMATIONS: [&str; 4] = ["confocal", "consensus", "follow_up", "histo"];
/// How the metadata table may be called: as the archive has it, and as copies name it.
const NAMES: [&str; 2] = ["HAM10000_metadata.csv", "HAM10000_metadata"];
/// The ground truth of the challenge names its classes in capitals.
const COLUMNS: [&str; 7] = ["AKIEC", "BCC", "BKL", "DF", "MEL", "NV", "VASC"];

const HOW: &str = "get it at https://doi.org/10.7910/DVN/DBW86T (CC BY-NC 4.0); the folder needs HAM10000_metadata.csv or \
                   the challenge's ISIC2018_Task3_Training_GroundTruth.csv and, unless metadata alone is asked for, a \
                   folder of images";

/// Loads HAM10000 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads HAM10000: one case an image, in the order of the table.
///
/// One task, the diagnosis. A group is a lesion, of which there are often several images. `unknown` is a missing value.
/// The metadata table (`.csv`, or `.tab` as Dataverse has it) is read with or without its column `dataset`. Where it is not there, the ground truth of ISIC 2018
/// task 3 is read instead: no metadata then, and lesions only if its file of lesion groupings lies beside it. Where
/// both are there, they must agree. A copy with 10,015 rows must have the published counts.
///
/// # Errors
/// A file or image that is missing; a table that is not as described, with line and column; an image twice; a ground
/// truth that does not say exactly one class, or another than the metadata.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "HAM10000", how: HOW };
    let metadata = NAMES.iter().map(|name| table_file(place.root.join(name))).find(|file| file.is_file());
    let truth = place.find_table("GroundTruth.csv")?;
    let (table, image, mut cases) = match (&metadata, &truth) {
        (Some(file), truth) => {
            let table = Table::read(file)?;
            let cases = read_metadata(&table)?;
            if let Some(truth) = truth {
                check_agreement(&Table::read(truth)?, &cases)?;
            }
            (table, "image_id", cases)
        }
        (None, Some(truth)) => {
            let table = Table::read(truth)?;
            let cases = read_truth(&table, place)?;
            (table, "image", cases)
        }
        (None, None) => return Err(place.missing(place.root.join(NAMES[0]))),
    };
    let mut notes = Vec::new();
    if metadata.is_none() {
        notes.push(format!("no {}: no metadata", NAMES[0]));
        if cases.iter().all(|case| case.lesion.is_none()) {
            notes.push("no LesionGroupings.csv: images of one lesion may stand on both sides of a split".into());
        }
    }
    if metadata.is_some() {
        notes.extend(Ages::note_of(table.column("age")?));
        notes.extend(contradictory_sex(&table));
    }
    notes.extend(options.add_images(&mut cases, Modality::Dermoscopic, table.column(image)?, place)?);
    let mut set = CaseSet {
        name: "ham10000".into(),
        synthetic: false,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?,
        fields: fields(),
        cases,
        split: None,
        notes,
    };
    set.join_groups(SharedImages::from(options.group_duplicates));
    set.check()?;
    if set.len() == PUBLISHED_CASES {
        check_published(&set, place, metadata.is_some())?;
    }
    Ok(set)
}

/// The four metadata fields: age in years, sex, site, and how the diagnosis was confirmed, which is
/// [post-diagnosis](FieldRole::PostDiagnosis).
#[must_use]
pub fn fields() -> Vec<Field> {
    vec![
        Field::numeric("age", FieldRole::PreDiagnosis).with_unit("years"),
        Field::categorical("sex", FieldRole::PreDiagnosis, SEXES),
        Field::categorical("localization", FieldRole::PreDiagnosis, SITES),
        Field::categorical("dx_type", FieldRole::PostDiagnosis, CONFIRMATIONS),
    ]
}

/// 17 columns: the age, standardized, two for the sex, 14 for the site, zeros where nothing is recorded.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::default()
}

fn read_metadata(table: &Table) -> Result<Vec<Case>, DataError> {
    let (image, lesion, diagnosis) = (table.column("image_id")?, table.column("lesion_id")?, table.column("dx")?);
    let (age, sex) = (table.column("age")?, table.column("sex")?);
    let (site, confirmation) = (table.column("localization")?, table.column("dx_type")?);
    check_unique(image)?;
    let category = |column: Column<'_>, row: usize, known: &[&str]| {
        if column.text(row) == "unknown" {
            return Ok(FieldValue::Missing);
        }
        column.category(row, known).map(|value| value.map_or(FieldValue::Missing, FieldValue::Category))
    };
    let mut cases = Vec::with_capacity(table.len());
    for row in 0..table.len() {
        if lesion.text(row).is_empty() {
            return Err(lesion.value_error(row, "an identifier"));
        }
        let lesion = Name::from(lesion.text(row));
        cases.push(Case {
            lesion: Some(lesion),
            metadata: vec![
                age.number(row)?.map_or(FieldValue::Missing, FieldValue::Number),
                category(sex, row, &SEXES)?,
                category(site, row, &SITES)?,
                category(confirmation, row, &CONFIRMATIONS)?,
            ],
            labels: vec![diagnosis.category(row, &CLASSES)?],
            ..Case::new(image.text(row))
        });
    }
    Ok(cases)
}

const TRUTH: OneHot<'_> = OneHot { id: "image", item: "an image", classes: &COLUMNS, unknown: None };

/// Cases with labels alone, and lesions where the challenge's own file says them.
fn read_truth(table: &Table, place: Place<'_>) -> Result<Vec<Case>, DataError> {
    let image = table.column("image")?;
    check_unique(image)?;
    let known: HashSet<&str> = (0..table.len()).map(|row| image.text(row)).collect();
    let labels = TRUTH.read(table, &known)?;
    let lesions = match place.find_table("LesionGroupings.csv")? {
        Some(file) => read_lesions(&file, &known)?,
        None => HashMap::new(),
    };
    let case = |row: usize| {
        let id = image.text(row);
        let lesion: Option<Name> = lesions.get(id).map(Into::into);
        Case {
            lesion,
            metadata: vec![FieldValue::Missing; 4],
            labels: vec![labels.get(id).copied().flatten()],
            ..Case::new(id)
        }
    };
    Ok((0..table.len()).map(case).collect())
}

fn read_lesions(file: &PathBuf, known: &HashSet<&str>) -> Result<HashMap<String, String>, DataError> {
    let table = Table::read(file)?;
    let (image, lesion) = (table.column("image")?, table.column("lesion_id")?);
    check_unique(image)?;
    let mut lesions = HashMap::with_capacity(table.len());
    for row in 0..table.len() {
        if !known.contains(image.text(row)) {
            return Err(image.value_error(row, "an image of the ground truth"));
        }
        if lesion.text(row).is_empty() {
            return Err(lesion.value_error(row, "an identifier"));
        }
        lesions.insert(image.text(row).to_owned(), lesion.text(row).to_owned());
    }
    Ok(lesions)
}

fn check_agreement(truth: &Table, cases: &[Case]) -> Result<(), DataError> {
    let labels = TRUTH.read(truth, &cases.iter().map(|case| case.id.as_str()).collect())?;
    for case in cases {
        let (Some(said), Some(label)) = (labels.get(case.id.as_str()).copied().flatten(), case.labels[0]) else {
            continue;
        };
        if said != label {
            return Err(DataError::Case {
                case: case.id.to_string(),
                what: "task `diagnosis`".into(),
                expected: format!("`{}` as in the metadata", CLASSES[label]),
                found: format!("`{}` in {}", CLASSES[said], truth.file().display()),
            });
        }
    }
    Ok(())
}

fn check_published(set: &CaseSet, place: Place<'_>, with_metadata: bool) -> Result<(), DataError> {
    for ((class, expected), found) in CLASSES.iter().zip(PUBLISHED_CLASSES).zip(set.whole().class_counts(0)?) {
        place.check_count(format!("images of {class}"), expected, found)?;
    }
    if !with_metadata {
        return Ok(());
    }
    let lesions: HashSet<_> = set.cases.iter().filter_map(|case| case.lesion.as_ref()).collect();
    place.check_count("lesions", PUBLISHED_LESIONS, lesions.len())?;
    for (field, (name, expected)) in PUBLISHED_MISSING.into_iter().enumerate() {
        let found = set.cases.iter().filter(|case| case.metadata[field] == FieldValue::Missing).count();
        place.check_count(format!("rows without `{name}`"), expected, found)?;
    }
    Ok(())
}
