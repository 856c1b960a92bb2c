//! ISIC 2020 (SIIM-ISIC): 33,126 dermoscopic images of 2,056 patients, melanoma or not, age, sex and site.
//!
//! Data: V. Rotemberg et al., *A patient-centric dataset of images and metadata for identifying melanomas using clinical
//! context*, Scientific Data 8, 2021, <https://doi.org/10.34970/2020-ds01>; CC BY-NC 4.0. `docs/datasets.md` says how to
//! get the files and how they lie.
//!
//! Written from the public documentation, without a copy at hand. Unchecked: the names in the test table, and whether
//! every published diagnosis is among [`DIAGNOSES`].

use std::collections::HashSet;
use std::path::Path;

use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Name, Task, TaskSet};

use crate::sources::load_options::Place;
use crate::sources::malignancy::{CLASSES, malignancy};
use crate::tables::oddity::{Ages, contradictory_sex};
use crate::tables::table::Column;
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, EncoderConfig, LoadOptions, Modality, SharedImages, Table};

/// Images of the published training set.
pub const PUBLISHED_CASES: usize = 33_126;
/// The published number of malignant images, all of them melanomas.
pub const PUBLISHED_MALIGNANT: usize = 584;
/// The published number of patients.
pub const PUBLISHED_PATIENTS: usize = 2_056;

/// The diagnoses of the training set besides `unknown`, in alphabetical order.
pub const DIAGNOSES: [&str; 8] = [
    "atypical melanocytic proliferation",
    "cafe-au-lait macule",
    "lentigo NOS",
    "lichenoid keratosis",
    "melanoma",
    "nevus",
    "seborrheic keratosis",
    "solar lentigo",
];
const SEXES: [&str; 2] = ["female", "male"];
const SITES: [&str; 6] = ["head/neck", "lower extremity", "oral/genital", "palms/soles", "torso", "upper extremity"];
/// The tables by the end of their name, the best first: the second version says the lesions.
const TABLES: [&str; 5] =
    ["Training_GroundTruth_v2.csv", "Training_GroundTruth.csv", "train.csv", "Test_Metadata.csv", "test.csv"];

const HOW: &str = "get it at https://challenge2020.isic-archive.com (CC BY-NC 4.0); the folder needs \
                   ISIC_2020_Training_GroundTruth_v2.csv, ISIC_2020_Training_GroundTruth.csv or Kaggle's train.csv and, \
                   unless metadata alone is asked for, a folder of JPEG images (those as DICOM take the feature \
                   `dicom`; TFRecords are not read)";

/// Loads ISIC 2020 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads ISIC 2020: one case an image, in the order of the table, of which the second version of the ground truth is
/// taken first, then the first, Kaggle's `train.csv`, and for prediction the test set's.
///
/// One task, the diagnosis, benign or malignant. A group is a patient. What was diagnosed in detail is a
/// [post-diagnosis](FieldRole::PostDiagnosis) field; `unknown`, as most are, is missing there. A copy with 33,126 rows must
/// have the published counts.
///
/// # Errors
/// A file or image that is missing; a table that is not as described, with line and column; an image twice; a target that
/// contradicts the word beside it.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "ISIC 2020", how: HOW };
    let found = TABLES.iter().find_map(|name| place.find_table(name).transpose()).transpose()?;
    let file = found.ok_or_else(|| place.missing(place.root.join("train.csv")))?;
    let table = Table::read(&file)?;
    let has = |name: &str| table.headers().iter().any(|header| header == name);
    // The test set's table has shorter names.
    let either = |name: &str, other: &str| table.column(if has(other) && !has(name) { other } else { name });
    let optional = |name: &str| has(name).then(|| table.column(name)).transpose();
    let (image, patient) = (either("image_name", "image")?, either("patient_id", "patient")?);
    let (age, sex) = (table.column("age_approx")?, table.column("sex")?);
    let site = either("anatom_site_general_challenge", "anatom_site_general")?;
    let (lesion, diagnosis) = (optional("lesion_id")?, optional("diagnosis")?);
    let (target, word) = (optional("target")?, optional("benign_malignant")?);
    check_unique(image)?;

    let category = |column: Column<'_>, row: usize, known: &[&str]| -> Result<FieldValue, DataError> {
        Ok(column.category(row, known)?.map_or(FieldValue::Missing, FieldValue::Category))
    };
    let mut cases = Vec::with_capacity(table.len());
    for row in 0..table.len() {
        if patient.text(row).is_empty() {
            return Err(patient.value_error(row, "an identifier"));
        }
        let name = Name::from(patient.text(row));
        let lesion = lesion.map(|lesion| lesion.text(row)).filter(|lesion| !lesion.is_empty()).map(Name::from);
        let diagnosis = match diagnosis {
            Some(diagnosis) if diagnosis.text(row) != "unknown" => category(diagnosis, row, &DIAGNOSES)?,
            _ => FieldValue::Missing,
        };
        cases.push(Case {
            patient: Some(name),
            lesion,
            metadata: vec![
                age.number(row)?.map_or(FieldValue::Missing, FieldValue::Number),
                category(sex, row, &SEXES)?,
                category(site, row, &SITES)?,
                diagnosis,
            ],
            labels: vec![malignancy(target, word, row)?],
            ..Case::new(image.text(row))
        });
    }
    let mut notes = Vec::new();
    if target.is_none() && word.is_none() {
        notes.push(format!("{} has no target: all labels are unknown", file.display()));
    }
    notes.extend(Ages::note_of(age));
    notes.extend(contradictory_sex(&table));
    notes.extend(options.add_images(&mut cases, Modality::Dermoscopic, image, place)?);
    let mut set = CaseSet {
        name: "isic-2020".into(),
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
        place.check_count("malignant images", PUBLISHED_MALIGNANT, set.whole().class_counts(0)?[1])?;
        let patients: HashSet<_> = set.cases.iter().filter_map(|case| case.patient.as_ref()).collect();
        place.check_count("patients", PUBLISHED_PATIENTS, patients.len())?;
    }
    Ok(set)
}

/// The four metadata fields: age in years, rounded to five by the archive, sex, site, and the diagnosis in detail, which
/// is [post-diagnosis](FieldRole::PostDiagnosis).
#[must_use]
pub fn fields() -> Vec<Field> {
    vec![
        Field::numeric("age_approx", FieldRole::PreDiagnosis).with_unit("years"),
        Field::categorical("sex", FieldRole::PreDiagnosis, SEXES),
        Field::categorical("anatom_site_general_challenge", FieldRole::PreDiagnosis, SITES),
        Field::categorical("diagnosis", FieldRole::PostDiagnosis, DIAGNOSES),
    ]
}

/// Nine columns: the age, standardized, two for the sex, six for the site, zeros where nothing is recorded.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::default()
}
