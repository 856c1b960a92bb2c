//! PAD-UFES-20: 2,298 photos of skin lesions taken with smartphones, six diagnoses, and up to 22 things that were asked
//! of the patient.
//!
//! Data: A. G. C. Pacheco et al., *PAD-UFES-20: A skin lesion dataset composed of patient data and clinical images
//! collected from smartphones*, Data in Brief 32, 2020, <https://doi.org/10.17632/zr7vgbcyr2.1>; CC BY 4.0.
//! `docs/datasets.md` says how to get the files and how they lie.

use std::collections::HashSet;
use std::path::Path;

use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Task, TaskSet};

use crate::sources::load_options::{Place, table_file};
use crate::tables::oddity::{Ages, contradictory_sex};
use crate::tables::table::Column;
use crate::tables::unique::check_unique;
use crate::{
    CaseSet, DataError, EncoderConfig, LoadOptions, Modality, NumericScaling, SYNTHETIC_MARKER, SharedImages, Table,
};

/// The six diagnoses: actinic keratosis, basal cell carcinoma, melanoma, nevus, squamous cell carcinoma (Bowen's disease
/// with it), seborrheic keratosis.
pub const CLASSES: [&str; 6] = ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"];

/// Rows of the published `metadata.csv`.
pub const PUBLISHED_CASES: usize = 2_298;
/// The published number of images of each of the [`CLASSES`].
pub const PUBLISHED_CLASSES: [usize; 6] = [730, 845, 52, 244, 192, 235];
/// The published number of patients.
pub const PUBLISHED_PATIENTS: usize = 1_373;
/// The published number of lesion numbers. They are not unique: with their patients, they are 1,891 lesions.
pub const PUBLISHED_LESION_IDS: usize = 1_641;

const HOW: &str = "get it at https://data.mendeley.com/datasets/zr7vgbcyr2/1 (CC BY 4.0); the folder needs metadata.csv \
                   and, unless metadata alone is asked for, the images in folders such as imgs_part_1";

/// `None` for a number, else the categories as they are published, in the order of the published encoding.
type Column22 = (&'static str, Option<&'static [&'static str]>);
const YES_NO: Option<&[&str]> = Some(&["False", "True"]);
/// What was asked of the patient has "I don't know" for an answer, which is not the same as not having been asked.
const REPORTED: Option<&[&str]> = Some(&["False", "True", "UNK"]);
#[rustfmt::skip]
const FIELDS: [Column22; 22] = [
    ("smoke", YES_NO),
    ("drink", YES_NO),
    ("background_father", Some(&["POMERANIA", "GERMANY", "BRAZIL", "NETHERLANDS", "ITALY", "POLAND", "UNK", "PORTUGAL",
        "BRASIL", "CZECH", "AUSTRIA", "SPAIN", "ISRAEL"])),
    ("background_mother", Some(&["POMERANIA", "ITALY", "GERMANY", "BRAZIL", "UNK", "POLAND", "NORWAY", "PORTUGAL",
        "NETHERLANDS", "FRANCE", "SPAIN"])),
    ("age", None),
    ("pesticide", YES_NO),
    ("gender", Some(&["FEMALE", "MALE"])),
    ("skin_cancer_history", YES_NO),
    ("cancer_history", YES_NO),
    ("has_piped_water", YES_NO),
    ("has_sewage_system", YES_NO),
    ("fitspatrick", Some(&["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"])),
    ("region", Some(&["ARM", "NECK", "FACE", "HAND", "FOREARM", "CHEST", "NOSE", "THIGH", "SCALP", "EAR", "BACK", "FOOT",
        "ABDOMEN", "LIP"])),
    ("diameter_1", None),
    ("diameter_2", None),
    ("itch", REPORTED),
    ("grew", REPORTED),
    ("hurt", REPORTED),
    ("changed", REPORTED),
    ("bleed", REPORTED),
    ("elevation", REPORTED),
    // All cancers were biopsied and few else, so this gives the diagnosis away.
    ("biopsed", YES_NO),
];

/// Loads PAD-UFES-20 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads PAD-UFES-20 from the folder of `metadata.csv`: one case an image, named by `img_id`, in the order of the table.
///
/// One task, the diagnosis. A group is a patient. [`Case::lesion`] is the patient's and the lesion's number together,
/// because patients share lesion numbers. Values are taken as published: `UNK` is an answer, `BRAZIL` and `BRASIL`
/// are two, a diameter of 0 is 0. Copies that a spreadsheet saved anew (`TRUE`, `3`) are read as the original. A copy with 2,298 rows must have the published counts.
///
/// # Errors
/// A file or image that is missing; a table that is not as published, with line and column; an image twice.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "PAD-UFES-20", how: HOW };
    let file = table_file(place.root.join("metadata.csv"));
    if !file.is_file() {
        return Err(place.missing(file));
    }
    let synthetic = place.root.join(SYNTHETIC_MARKER).is_file();
    let table = Table::read(file)?;
    let (image, diagnosis) = (table.column("img_id")?, table.column("diagnostic")?);
    let (patient, lesion) = (table.column("patient_id")?, table.column("lesion_id")?);
    let columns = FIELDS
        .iter()
        .map(|(name, categories)| Ok((table.column(name)?, *categories)))
        .collect::<Result<Vec<_>, DataError>>()?;
    check_unique(image)?;

    let mut cases = Vec::with_capacity(table.len());
    for row in 0..table.len() {
        for column in [patient, lesion] {
            if column.text(row).is_empty() {
                return Err(column.value_error(row, "an identifier"));
            }
        }
        cases.push(Case {
            lesion: Some(format!("{}_{}", patient.text(row), lesion.text(row)).into()),
            patient: Some(patient.text(row).into()),
            metadata: columns
                .iter()
                .map(|(column, categories)| value(*column, row, *categories))
                .collect::<Result<_, _>>()?,
            labels: vec![diagnosis.category(row, &CLASSES)?],
            ..Case::new(image.text(row))
        });
    }
    let mut notes = Vec::new();
    let unlabelled = cases.iter().filter(|case| case.labels[0].is_none()).count();
    if unlabelled > 0 {
        notes.push(format!("{unlabelled} rows of metadata.csv have no diagnosis"));
    }
    notes.extend(Ages::note_of(table.column("age")?));
    notes.extend(contradictory_sex(&table));
    notes.extend(options.add_images(&mut cases, Modality::Clinical, image, place)?);
    let mut set = CaseSet {
        name: if synthetic { "pad-ufes-20-synthetic" } else { "pad-ufes-20" }.into(),
        synthetic,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?,
        fields: fields(),
        cases,
        split: None,
        notes,
    };
    set.join_groups(SharedImages::from(options.group_duplicates));
    set.check()?;
    if set.len() == PUBLISHED_CASES && !synthetic {
        for ((class, expected), found) in CLASSES.iter().zip(PUBLISHED_CLASSES).zip(set.whole().class_counts(0)?) {
            place.check_count(format!("images of {class}"), expected, found)?;
        }
        let distinct = |column: Column<'_>| (0..set.len()).map(|row| column.text(row)).collect::<HashSet<_>>().len();
        place.check_count("patients", PUBLISHED_PATIENTS, distinct(patient))?;
        place.check_count("lesion numbers", PUBLISHED_LESION_IDS, distinct(lesion))?;
    }
    Ok(set)
}

/// The 22 metadata fields, in the order of the published encoding. `biopsed` is
/// [post-diagnosis](FieldRole::PostDiagnosis).
#[must_use]
pub fn fields() -> Vec<Field> {
    let field = |(name, categories): &Column22| {
        let role = if *name == "biopsed" { FieldRole::PostDiagnosis } else { FieldRole::PreDiagnosis };
        match categories {
            Some(categories) => Field::categorical(*name, role, categories.iter().copied()),
            None if name.starts_with("diameter") => Field::numeric(*name, role).with_unit("mm"),
            None => Field::numeric(*name, role).with_unit("years"),
        }
    };
    FIELDS.iter().map(field).collect()
}

/// The 81 columns of the code that was released with MetaBlock (A. G. C. Pacheco, R. A. Krohling, IEEE J-BHI 2021): raw
/// numbers, each category of each field but `biopsed`, zeros where nothing is recorded.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig { numeric: NumericScaling::Raw, ..EncoderConfig::default() }
}

fn value(column: Column<'_>, row: usize, categories: Option<&[&str]>) -> Result<FieldValue, DataError> {
    Ok(match categories {
        Some(categories) => column.category(row, categories)?.map_or(FieldValue::Missing, FieldValue::Category),
        None => column.number(row)?.map_or(FieldValue::Missing, FieldValue::Number),
    })
}
