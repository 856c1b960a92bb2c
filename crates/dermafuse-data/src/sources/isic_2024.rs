//! ISIC 2024 (SLICE-3D): 401,059 crops of three-dimensional total body photographs of 1,042 patients, malignant or not,
//! with age, sex, site, and what the camera's software measured.
//!
//! Data: N. R. Kurtansky et al., *The SLICE-3D dataset: 400,000 skin lesion image crops extracted from 3D TBP for skin
//! cancer detection*, Scientific Data 11, 2024, <https://doi.org/10.34970/2024-slice-3d>; CC BY-NC 4.0.
//! `docs/datasets.md` says how to get the files and how they lie.
//!
//! The crops are [clinical](Modality::Clinical): they are taken at a distance, without dermatoscope or immersion, and
//! published as like those of a smartphone.
//!
//! Written from the public documentation, without a copy at hand. Unchecked: which of the columns a table may lack.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Name, Task, TaskSet};

use crate::sources::load_options::Place;
use crate::sources::malignancy::{CLASSES, malignancy};
use crate::tables::oddity::{Ages, contradictory_sex};
use crate::tables::table::Column;
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, EncoderConfig, ImageSource, LoadOptions, Modality, SharedImages, Table};

/// Images of the published training set.
pub const PUBLISHED_CASES: usize = 401_059;
/// The published number of malignant images.
pub const PUBLISHED_MALIGNANT: usize = 393;
/// The published number of patients.
pub const PUBLISHED_PATIENTS: usize = 1_042;

const SEXES: [&str; 2] = ["female", "male"];
const SITES: [&str; 5] = ["anterior torso", "head/neck", "lower extremity", "posterior torso", "upper extremity"];
const TILES: [&str; 2] = ["3D: XP", "3D: white"];
/// What the camera's software measured or concluded.
const MEASURED: [&str; 34] = [
    "clin_size_long_diam_mm",
    "tbp_lv_A",
    "tbp_lv_Aext",
    "tbp_lv_B",
    "tbp_lv_Bext",
    "tbp_lv_C",
    "tbp_lv_Cext",
    "tbp_lv_H",
    "tbp_lv_Hext",
    "tbp_lv_L",
    "tbp_lv_Lext",
    "tbp_lv_areaMM2",
    "tbp_lv_area_perim_ratio",
    "tbp_lv_color_std_mean",
    "tbp_lv_deltaA",
    "tbp_lv_deltaB",
    "tbp_lv_deltaL",
    "tbp_lv_deltaLB",
    "tbp_lv_deltaLBnorm",
    "tbp_lv_eccentricity",
    "tbp_lv_minorAxisMM",
    "tbp_lv_nevi_confidence",
    "tbp_lv_norm_border",
    "tbp_lv_norm_color",
    "tbp_lv_perimeterMM",
    "tbp_lv_radial_color_std_max",
    "tbp_lv_stdL",
    "tbp_lv_stdLExt",
    "tbp_lv_symm_2axis",
    "tbp_lv_symm_2axis_angle",
    "tbp_lv_x",
    "tbp_lv_y",
    "tbp_lv_z",
    "tbp_lv_dnn_lesion_confidence",
];
/// Texts whose values are those of the table: where on the body the software sees the lesion, what pathology says, and
/// which clinic it was.
const TEXTS: [(&str, FieldRole); 5] = [
    ("tbp_lv_location", FieldRole::ImageDerived),
    ("tbp_lv_location_simple", FieldRole::ImageDerived),
    ("iddx_full", FieldRole::PostDiagnosis),
    ("mel_mitotic_index", FieldRole::PostDiagnosis),
    ("attribution", FieldRole::Provenance),
];

const HOW: &str = "get it at https://challenge.isic-archive.com/data/#2024 or from Kaggle (CC BY-NC 4.0); the folder needs \
                   train-metadata.csv and, unless metadata alone is asked for, the folder train-image of JPEG images";

/// Loads ISIC 2024 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads ISIC 2024: one case an image, in the order of `train-metadata.csv`, or where that is not there, for prediction,
/// of `test-metadata.csv`.
///
/// One task, the diagnosis, benign or malignant. A group is a patient. Known before the diagnosis are age, sex and site;
/// all that the camera's software measured is [image-derived](FieldRole::ImageDerived). What pathology says is
/// [post-diagnosis](FieldRole::PostDiagnosis). A lesion is named only where someone took an interest in it, so that its
/// name is no field. A copy with 401,059 rows must have the published counts.
///
/// # Errors
/// A file or image that is missing; images that are still in an HDF5 file; a table that is not as described, with line
/// and column; an image twice.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "ISIC 2024", how: HOW };
    let found = place.find_named(&["train-metadata.csv", "test-metadata.csv"])?;
    let file = found.ok_or_else(|| place.missing(place.root.join("train-metadata.csv")))?;
    let table = Table::read(&file)?;
    let has = |name: &str| table.headers().iter().any(|header| header == name);
    let optional = |name: &str| has(name).then(|| table.column(name)).transpose();
    let (image, patient) = (table.column("isic_id")?, table.column("patient_id")?);
    let (age, sex, site) = (table.column("age_approx")?, table.column("sex")?, table.column("anatom_site_general")?);
    let (target, lesion) = (optional("target")?, optional("lesion_id")?);
    let tile = optional("tbp_tile_type")?;
    let thickness = optional("mel_thick_mm")?;
    let measured = MEASURED.iter().map(|name| optional(name)).collect::<Result<Vec<_>, _>>()?;
    let texts = TEXTS.iter().map(|(name, _)| optional(name)).collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<Observed<'_>> = texts.into_iter().map(Observed::of).collect();
    check_unique(image)?;

    let number = |column: Option<Column<'_>>, row: usize| -> Result<FieldValue, DataError> {
        let number = column.map_or(Ok(None), |column| column.number(row))?;
        Ok(number.map_or(FieldValue::Missing, FieldValue::Number))
    };
    let category = |column: Option<Column<'_>>, row: usize, known: &[&str]| -> Result<FieldValue, DataError> {
        let category = column.map_or(Ok(None), |column| column.category(row, known))?;
        Ok(category.map_or(FieldValue::Missing, FieldValue::Category))
    };
    let mut cases = Vec::with_capacity(table.len());
    for row in 0..table.len() {
        if patient.text(row).is_empty() {
            return Err(patient.value_error(row, "an identifier"));
        }
        let name = Name::from(patient.text(row));
        let mut metadata = Vec::with_capacity(5 + MEASURED.len() + TEXTS.len());
        metadata.push(number(Some(age), row)?);
        metadata.push(category(Some(sex), row, &SEXES)?);
        metadata.push(category(Some(site), row, &SITES)?);
        for column in &measured {
            metadata.push(number(*column, row)?);
        }
        metadata.extend(texts.iter().map(|texts| texts.value(row)));
        metadata.push(number(thickness, row)?);
        metadata.push(category(tile, row, &TILES)?);
        cases.push(Case {
            patient: Some(name),
            lesion: lesion.map(|lesion| lesion.text(row)).filter(|lesion| !lesion.is_empty()).map(Name::from),
            metadata,
            labels: vec![malignancy(target, None, row)?],
            ..Case::new(image.text(row))
        });
    }
    let mut notes = Vec::new();
    if target.is_none() {
        notes.push(format!("{} has no target: all labels are unknown", file.display()));
    }
    notes.extend(Ages::note_of(age));
    notes.extend(contradictory_sex(&table));
    let images = options.add_images(&mut cases, Modality::Clinical, image, place);
    notes.extend(images.map_err(|error| still_packed(error, place, options))?);
    let mut set = CaseSet {
        name: "isic-2024".into(),
        synthetic: false,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?,
        fields: fields(&texts),
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

/// Eight columns of pre-diagnosis fields: the age, standardized, two for the sex, five for the site, zeros where nothing is
/// recorded.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::default()
}

/// The values of a column, in alphabetical order.
struct Observed<'a> {
    column: Option<Column<'a>>,
    values: Vec<&'a str>,
}

impl<'a> Observed<'a> {
    fn of(column: Option<Column<'a>>) -> Self {
        let texts = column.into_iter().flat_map(|column| (0..column.table().len()).map(move |row| column.text(row)));
        let values: BTreeSet<&str> = texts.filter(|text| !text.is_empty()).collect();
        Self { column, values: values.into_iter().collect() }
    }

    fn value(&self, row: usize) -> FieldValue {
        let found = self.column.and_then(|column| self.values.binary_search(&column.text(row)).ok());
        found.map_or(FieldValue::Missing, FieldValue::Category)
    }
}

fn fields(texts: &[Observed<'_>]) -> Vec<Field> {
    let mut fields = vec![
        Field::numeric("age_approx", FieldRole::PreDiagnosis).with_unit("years"),
        Field::categorical("sex", FieldRole::PreDiagnosis, SEXES),
        Field::categorical("anatom_site_general", FieldRole::PreDiagnosis, SITES),
    ];
    fields.extend(MEASURED.iter().map(|name| Field::numeric(*name, FieldRole::ImageDerived)));
    let texts = TEXTS.iter().zip(texts);
    fields.extend(texts.map(|((name, role), texts)| Field::categorical(*name, *role, texts.values.iter().copied())));
    fields.push(Field::numeric("mel_thick_mm", FieldRole::PostDiagnosis).with_unit("mm"));
    fields.push(Field::categorical("tbp_tile_type", FieldRole::Provenance, TILES));
    fields
}

/// The error that says what to do, where the images were not taken out of their file.
fn still_packed(error: DataError, place: Place<'_>, options: &LoadOptions) -> DataError {
    let packed = ["train-image.hdf5", "test-image.hdf5"].map(|name| place.root.join(name));
    let missing = matches!(error, DataError::Missing { .. } | DataError::ImageNotFound { .. });
    match packed.into_iter().find(|file| file.is_file()) {
        Some(file) if missing && options.images == ImageSource::BelowRoot => DataError::Setting {
            what: "images of ISIC 2024",
            found: file.display().to_string(),
            expected: "a folder of JPEG files; unpack train-image, or write each dataset of the HDF5 file (it is a JPEG) to \
                       a file called by its name and `.jpg`",
        },
        _ => error,
    }
}
