//! ISIC 2018 task 3: 11,720 dermoscopic images in three official parts, seven diagnoses.
//!
//! Data: the ISIC 2018 challenge, N. Codella et al., *Skin Lesion Analysis Toward Melanoma Detection 2018*, 2019,
//! <https://arxiv.org/abs/1902.03368>, whose training part is HAM10000 (P. Tschandl et al., Sci. Data 2018),
//! <https://challenge.isic-archive.com/data/#2018>; CC BY-NC 4.0. `docs/datasets.md` says how to get the files and how they lie.
//!
//! Written from public documentation and from programs that read the set, without a copy at hand. [`ham10000`](crate::ham10000)
//! reads the training part alone, with its metadata.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use dermafuse_schema::{Case, Name, Task, TaskSet};

use crate::sources::load_options::Place;
use crate::sources::official_parts::{OfficialPart, OfficialSet, PartRole};
use crate::tables::one_hot::OneHot;
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, EncoderConfig, LoadOptions, Table};

/// The seven diagnoses, in alphabetical order, as [`ham10000`](crate::ham10000) has them; the columns of the ground truth have
/// another order, and capitals.
pub const CLASSES: [&str; 7] = crate::ham10000::CLASSES;

/// The published number of images of each of the [`CLASSES`] in the training part, 10,015 in all.
pub const PUBLISHED_TRAINING: [usize; 7] = crate::ham10000::PUBLISHED_CLASSES;
/// The published number of images of each of the [`CLASSES`] in the validation part, 193 in all.
pub const PUBLISHED_VALIDATION: [usize; 7] = [8, 15, 22, 1, 21, 123, 3];
/// The published number of images of each of the [`CLASSES`] in the test part, 1,512 in all.
pub const PUBLISHED_TEST: [usize; 7] = [43, 93, 217, 44, 171, 909, 35];

const PARTS: [OfficialPart; 3] = [
    OfficialPart {
        role: PartRole::Training,
        truth: &["ISIC2018_Task3_Training_GroundTruth.csv"],
        images: &["ISIC2018_Task3_Training_Input"],
        published: &PUBLISHED_TRAINING,
    },
    OfficialPart {
        role: PartRole::Validation,
        truth: &["ISIC2018_Task3_Validation_GroundTruth.csv"],
        images: &["ISIC2018_Task3_Validation_Input"],
        published: &PUBLISHED_VALIDATION,
    },
    OfficialPart {
        role: PartRole::Test,
        truth: &["ISIC2018_Task3_Test_GroundTruth.csv"],
        images: &["ISIC2018_Task3_Test_Input"],
        published: &PUBLISHED_TEST,
    },
];
/// The lesions of the training part.
const LESIONS: &str = "ISIC2018_Task3_Training_LesionGroupings.csv";
/// The ground truth names its classes in capitals.
const COLUMNS: [&str; 7] = ["AKIEC", "BCC", "BKL", "DF", "MEL", "NV", "VASC"];

const HOW: &str = "get it at https://challenge.isic-archive.com/data/#2018 (task 3, CC BY-NC 4.0); the folder needs \
                   ISIC2018_Task3_Training_GroundTruth.csv, ISIC2018_Task3_Validation_GroundTruth.csv, \
                   ISIC2018_Task3_Test_GroundTruth.csv and, unless labels alone are asked for, the folders \
                   ISIC2018_Task3_Training_Input, ISIC2018_Task3_Validation_Input and ISIC2018_Task3_Test_Input";

/// Loads ISIC 2018 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads ISIC 2018: one case an image, training, validation and test part one after the other.
///
/// One task, the diagnosis, with the classes of [`ham10000`](crate::ham10000); no metadata. The split is the challenge's. A part
/// whose ground truth is not there is left out, with a note. A group is a lesion where `ISIC2018_Task3_Training_LesionGroupings.csv`
/// says them; of the other parts no lesion is known. A whole part must have the published counts.
///
/// # Errors
/// No part; an image that is missing, twice or in two parts; a table that is not as described, with line and column; a ground
/// truth that does not say exactly one class.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "ISIC 2018", how: HOW };
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?;
    let set = OfficialSet { name: "isic-2018", place, tasks, fields: vec![], parts: &PARTS };
    set.load(options, |part, file| {
        let table = Table::read(file)?;
        let image = table.column("image")?;
        check_unique(image)?;
        let known: HashSet<&str> = (0..table.len()).map(|row| image.text(row)).collect();
        let truth = OneHot { id: "image", item: "an image", classes: &COLUMNS, unknown: None };
        let labels = truth.read(&table, &known)?;
        let mut notes = Vec::new();
        let lesions = match part.find(LESIONS, place) {
            Some(file) if part.role == PartRole::Training => read_lesions(&Table::read(file)?, &known)?,
            None if part.role == PartRole::Training => {
                notes.push(format!("no {LESIONS}: several images of a lesion count as several lesions"));
                HashMap::new()
            }
            _ => HashMap::new(),
        };
        let case = |row: usize| {
            let id = image.text(row);
            Case { lesion: lesions.get(id).cloned(), labels: vec![labels.get(id).copied().flatten()], ..Case::new(id) }
        };
        let mut cases: Vec<Case> = (0..table.len()).map(case).collect();
        notes.extend(part.add_images(options, &mut cases, image, place)?);
        Ok((cases, notes))
    })
}

/// The lesion of each image that the table names; all of them must be `known`.
fn read_lesions(table: &Table, known: &HashSet<&str>) -> Result<HashMap<String, Name>, DataError> {
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
        lesions.insert(image.text(row).to_owned(), Name::from(lesion.text(row)));
    }
    Ok(lesions)
}

/// There is no metadata.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::default()
}
