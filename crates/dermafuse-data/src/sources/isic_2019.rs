//! ISIC 2019: 25,331 dermoscopic images, eight diagnoses, age, sex and site.
//!
//! Data: the training set of the ISIC 2019 challenge, <https://challenge.isic-archive.com/data/#2019>: HAM10000 (P. Tschandl
//! et al., Sci. Data 2018), BCN_20000 (M. Combalia et al., 2019) and MSK (N. Codella et al., 2017); CC BY-NC 4.0.
//! `docs/datasets.md` says how to get the files and how they lie.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Name, Task, TaskSet};

use crate::sources::load_options::Place;
use crate::tables::oddity::{Ages, contradictory_sex};
use crate::tables::one_hot::OneHot;
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, EncoderConfig, LoadOptions, Modality, NumericScaling, SharedImages, Table};

/// The eight diagnoses, in alphabetical order; the columns of the ground truth have another.
pub const CLASSES: [&str; 8] = ["AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC"];

/// Images of the published training set.
pub const PUBLISHED_CASES: usize = 25_331;
/// The published number of images of each of the [`CLASSES`].
pub const PUBLISHED_CLASSES: [usize; 8] = [867, 3_323, 2_624, 239, 4_522, 12_875, 628, 253];
/// In how many rows of the published metadata each column is empty.
pub const PUBLISHED_MISSING: [(&str, usize); 4] =
    [("age_approx", 437), ("sex", 384), ("anatom_site_general", 2_631), ("lesion_id", 2_084)];

const SEXES: [&str; 2] = ["female", "male"];
const SITES: [&str; 8] = [
    "anterior torso",
    "head/neck",
    "lateral torso",
    "lower extremity",
    "oral/genital",
    "palms/soles",
    "posterior torso",
    "upper extremity",
];

const HOW: &str = "get it at https://challenge.isic-archive.com/data/#2019 (CC BY-NC 4.0); the folder needs \
                   ISIC_2019_Training_Metadata.csv, ISIC_2019_Training_GroundTruth.csv for labels and, unless metadata \
                   alone is asked for, a folder of images";

/// Loads ISIC 2019 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads ISIC 2019: one case an image, in the order of the metadata.
///
/// One task, the diagnosis. Without a ground-truth file every label is `None`, for prediction. An image whose `UNK` is
/// 1 is none of the eight and has no label; the published training set has none, the test set has. A group is a
/// lesion; an image of which no lesion is recorded is a group of its own. Copies name the patient's sex `sex` or
/// `gender`. A copy with 25,331 rows must have the published counts.
///
/// # Errors
/// A file or image that is missing; a table that is not as described, with line and column; an image twice; a ground
/// truth that does not say exactly one class.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "ISIC 2019", how: HOW };
    let metadata = place.find_table("Metadata.csv")?.ok_or_else(|| place.missing(place.root.join("Metadata.csv")))?;
    let table = Table::read(metadata)?;
    let has = |name: &str| table.headers().iter().any(|header| header == name);
    let image = table.column("image")?;
    let (age, site) = (table.column("age_approx")?, table.column("anatom_site_general")?);
    let sex = table.column(if has("gender") && !has("sex") { "gender" } else { "sex" })?;
    // The published test set does not say which lesion an image shows.
    let lesion = has("lesion_id").then(|| table.column("lesion_id")).transpose()?;
    check_unique(image)?;

    let mut notes = Vec::new();
    let labels = match place.find_table("GroundTruth.csv")? {
        Some(file) => {
            let known: HashSet<&str> = (0..table.len()).map(|row| image.text(row)).collect();
            let truth = OneHot { id: "image", item: "an image", classes: &CLASSES, unknown: Some("UNK") };
            truth.read(&Table::read(file)?, &known)?
        }
        None => {
            notes.push("no GroundTruth.csv: all labels are unknown".into());
            HashMap::new()
        }
    };
    let mut cases = Vec::with_capacity(table.len());
    for row in 0..table.len() {
        let id = image.text(row);
        let lesion = lesion.map(|lesion| lesion.text(row)).filter(|lesion| !lesion.is_empty()).map(Name::from);
        let sex = sex.category(row, &SEXES)?;
        let site = site.category(row, &SITES)?;
        cases.push(Case {
            lesion,
            metadata: vec![
                age.number(row)?.map_or(FieldValue::Missing, FieldValue::Number),
                sex.map_or(FieldValue::Missing, FieldValue::Category),
                site.map_or(FieldValue::Missing, FieldValue::Category),
            ],
            labels: vec![labels.get(id).copied().flatten()],
            ..Case::new(id)
        });
    }
    let absent = cases.iter().filter(|case| !labels.contains_key(case.id.as_str())).count();
    if absent > 0 && !labels.is_empty() {
        notes.push(format!("{absent} images have no row in GroundTruth.csv"));
    }
    let unknown = labels.values().filter(|label| label.is_none()).count();
    if unknown > 0 {
        notes.push(format!("{unknown} images are UNK in GroundTruth.csv, none of the eight classes: not labelled"));
    }
    notes.extend(Ages::note_of(age));
    notes.extend(contradictory_sex(&table));
    notes.extend(options.add_images(&mut cases, Modality::Dermoscopic, image, place)?);
    let mut set = CaseSet {
        name: "isic-2019".into(),
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
        check_published(&set, place, !labels.is_empty())?;
    }
    Ok(set)
}

fn check_published(set: &CaseSet, place: Place<'_>, labelled: bool) -> Result<(), DataError> {
    let counts = CLASSES.iter().zip(PUBLISHED_CLASSES).zip(set.whole().class_counts(0)?);
    for ((class, expected), found) in counts.filter(|_| labelled) {
        place.check_count(format!("images of {class}"), expected, found)?;
    }
    for (name, expected) in PUBLISHED_MISSING {
        let found = match set.fields.iter().position(|field| field.name == name) {
            Some(field) => set.cases.iter().filter(|case| case.metadata[field] == FieldValue::Missing).count(),
            None => set.cases.iter().filter(|case| case.lesion.is_none()).count(),
        };
        place.check_count(format!("rows without `{name}`"), expected, found)?;
    }
    Ok(())
}

/// The three metadata fields: age in years, rounded to five by the archive; sex; site.
#[must_use]
pub fn fields() -> Vec<Field> {
    vec![
        Field::numeric("age_approx", FieldRole::PreDiagnosis).with_unit("years"),
        Field::categorical("sex", FieldRole::PreDiagnosis, SEXES),
        Field::categorical("anatom_site_general", FieldRole::PreDiagnosis, SITES),
    ]
}

/// The 11 columns of the code that was released with MetaBlock (A. G. C. Pacheco, R. A. Krohling, IEEE J-BHI 2021): the
/// age as it is, two for the sex, eight for the site, zeros where nothing is recorded.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig { numeric: NumericScaling::Raw, ..EncoderConfig::default() }
}
