//! ISIC 2017: 2,750 dermoscopic images in three official parts, melanoma, nevus or seborrheic keratosis, age and sex.
//!
//! Data: part 3 of the ISIC 2017 challenge, N. C. F. Codella et al., *Skin Lesion Analysis Toward Melanoma Detection*, ISBI 2018,
//! <https://arxiv.org/abs/1710.05006>, <https://challenge.isic-archive.com/data/#2017>; CC0. `docs/datasets.md` says how to get
//! the files and how they lie.
//!
//! Written from public documentation and from programs that read the set, without a copy at hand.

use std::collections::HashMap;
use std::path::Path;

use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Task, TaskSet};

use crate::sources::load_options::Place;
use crate::sources::official_parts::{OfficialPart, OfficialSet, PartRole};
use crate::tables::oddity::Ages;
use crate::tables::table::Column;
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, EncoderConfig, LoadOptions, Table};

/// The three diagnoses, in alphabetical order. The ground truth has columns for two; what is neither is a nevus.
pub const CLASSES: [&str; 3] = ["melanoma", "nevus", "seborrheic_keratosis"];

/// The published number of images of each of the [`CLASSES`] in the training part, 2,000 in all.
pub const PUBLISHED_TRAINING: [usize; 3] = [374, 1_372, 254];
/// The published number of images of each of the [`CLASSES`] in the validation part, 150 in all.
pub const PUBLISHED_VALIDATION: [usize; 3] = [30, 78, 42];
/// The published number of images of each of the [`CLASSES`] in the test part, 600 in all.
pub const PUBLISHED_TEST: [usize; 3] = [117, 393, 90];

const PARTS: [OfficialPart; 3] = [
    OfficialPart {
        role: PartRole::Training,
        truth: &["ISIC-2017_Training_Part3_GroundTruth.csv"],
        images: &["ISIC-2017_Training_Data"],
        published: &PUBLISHED_TRAINING,
    },
    OfficialPart {
        role: PartRole::Validation,
        truth: &["ISIC-2017_Validation_Part3_GroundTruth.csv"],
        images: &["ISIC-2017_Validation_Data"],
        published: &PUBLISHED_VALIDATION,
    },
    OfficialPart {
        role: PartRole::Test,
        truth: &["ISIC-2017_Test_v2_Part3_GroundTruth.csv"],
        images: &["ISIC-2017_Test_v2_Data"],
        published: &PUBLISHED_TEST,
    },
];

const SEXES: [&str; 2] = ["female", "male"];

const HOW: &str = "get it at https://challenge.isic-archive.com/data/#2017 (CC0); the folder needs \
                   ISIC-2017_Training_Part3_GroundTruth.csv, ISIC-2017_Validation_Part3_GroundTruth.csv, \
                   ISIC-2017_Test_v2_Part3_GroundTruth.csv and, unless labels alone are asked for, the folders \
                   ISIC-2017_Training_Data, ISIC-2017_Validation_Data and ISIC-2017_Test_v2_Data";

/// Loads ISIC 2017 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads ISIC 2017: one case an image, training, validation and test part one after the other.
///
/// One task, the diagnosis. The challenge asks two questions of it, melanoma or not and seborrheic keratosis or not: the scores
/// of these classes against the others. The split is the challenge's. A part whose ground truth is not there is left out,
/// with a note. Age and sex come from the `…_metadata.csv` of each part, beside its images, where it is there; `unknown` is
/// missing. A whole part must have the published counts. Lesions and patients are not known.
///
/// # Errors
/// No part; an image that is missing, twice or in two parts; a table that is not as described, with line and column; an image
/// that is both melanoma and seborrheic keratosis.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "ISIC 2017", how: HOW };
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?;
    let set = OfficialSet { name: "isic-2017", place, tasks, fields: fields(), parts: &PARTS };
    set.load(options, |part, file| {
        let table = Table::read(file)?;
        let image = table.column("image_id")?;
        let (melanoma, keratosis) = (table.column(CLASSES[0])?, table.column(CLASSES[2])?);
        check_unique(image)?;
        let mut notes = Vec::new();
        let named = format!("{}_metadata.csv", part.images[0]);
        let record = match part.find(&named, place) {
            Some(file) => read_metadata(&Table::read(file)?, &mut notes)?,
            None => {
                notes.push(format!("no {named}: age and sex are not recorded"));
                HashMap::new()
            }
        };
        let mut cases = Vec::with_capacity(table.len());
        for row in 0..table.len() {
            let label = match (truth(melanoma, row)?, truth(keratosis, row)?) {
                (true, true) => return Err(keratosis.value_error(row, "0, as `melanoma` is 1")),
                (true, false) => 0,
                (false, false) => 1,
                (false, true) => 2,
            };
            let metadata = record.get(image.text(row)).copied().unwrap_or([FieldValue::Missing; 2]);
            let metadata = metadata.to_vec();
            cases.push(Case { metadata, labels: vec![Some(label)], ..Case::new(image.text(row)) });
        }
        notes.extend(part.add_images(options, &mut cases, image, place)?);
        Ok((cases, notes))
    })
}

/// Whether a column says 1.
fn truth(column: Column<'_>, row: usize) -> Result<bool, DataError> {
    match column.number(row)? {
        Some(0.0) => Ok(false),
        Some(1.0) => Ok(true),
        _ => Err(column.value_error(row, "0 or 1")),
    }
}

/// Age and sex of each image that the table names.
fn read_metadata(table: &Table, notes: &mut Vec<String>) -> Result<HashMap<String, [FieldValue; 2]>, DataError> {
    let (image, age, sex) = (table.column("image_id")?, table.column("age_approximate")?, table.column("sex")?);
    check_unique(image)?;
    let mut record = HashMap::with_capacity(table.len());
    for row in 0..table.len() {
        let known = |column: Column<'_>| column.text(row) != "unknown";
        let years = if known(age) { age.number(row)? } else { None };
        let sex = if known(sex) { sex.category(row, &SEXES)? } else { None };
        let values = [
            years.map_or(FieldValue::Missing, FieldValue::Number),
            sex.map_or(FieldValue::Missing, FieldValue::Category),
        ];
        record.insert(image.text(row).to_owned(), values);
    }
    notes.extend(Ages::note_of(age));
    Ok(record)
}

/// The two metadata fields: age in years, rounded to five by the archive, and sex.
#[must_use]
pub fn fields() -> Vec<Field> {
    vec![
        Field::numeric("age_approximate", FieldRole::PreDiagnosis).with_unit("years"),
        Field::categorical("sex", FieldRole::PreDiagnosis, SEXES),
    ]
}

/// Three columns: the age, standardized, and two for the sex, zeros where nothing is recorded.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::default()
}
