//! The clinical photos of Derm7pt with the diagnoses as they are written, for merging with other sets of photos.

use std::path::Path;

use dermafuse_schema::{Task, TaskSet};

use super::columns::TASKS;
use super::{PUBLISHED_CASES, load, release_folder};
use crate::sources::load_options::table_file;
use crate::{CaseSet, DataError, Modality, Table};

/// The published number of cases of each diagnosis as it is written, in the order of [`load_edra`]'s classes.
pub const PUBLISHED_DIAGNOSES: [(&str, usize); 20] = [
    ("blue nevus", 28),
    ("clark nevus", 399),
    ("combined nevus", 13),
    ("congenital nevus", 17),
    ("dermal nevus", 33),
    ("recurrent nevus", 6),
    ("reed or spitz nevus", 79),
    ("basal cell carcinoma", 42),
    ("melanoma", 1),
    ("melanoma (in situ)", 64),
    ("melanoma (less than 0.76 mm)", 102),
    ("melanoma (0.76 to 1.5 mm)", 53),
    ("melanoma (more than 1.5 mm)", 28),
    ("melanoma metastasis", 4),
    ("dermatofibroma", 20),
    ("lentigo", 24),
    ("melanosis", 16),
    ("miscellaneous", 8),
    ("vascular lesion", 29),
    ("seborrheic keratosis", 45),
];

/// Loads the clinical photos of Derm7pt, which papers on photos call EDRA: the 20 diagnoses of the table as classes, not
/// grouped, the metadata of [`load`](super::load), no dermoscopic images and no split. The set is called `edra`.
///
/// # Errors
/// Those of [`load`](super::load); a full copy with other counts than published.
pub fn load_edra(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    let mut set = load(root.as_ref())?.with_only(Modality::Clinical);
    let table = Table::read(table_file(release_folder(root.as_ref())?.join("meta").join("meta.csv")))?;
    let diagnosis = table.column(TASKS[0].name)?;
    let known = PUBLISHED_DIAGNOSES.map(|(name, _)| name);
    for (row, case) in set.cases.iter_mut().enumerate() {
        case.labels = vec![diagnosis.category(row, &known)?];
    }
    set.name = if set.synthetic { "edra-synthetic" } else { "edra" }.into();
    set.tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", known)])?;
    set.split = None;
    set.check()?;
    if set.len() == PUBLISHED_CASES && !set.synthetic {
        for ((name, expected), found) in PUBLISHED_DIAGNOSES.into_iter().zip(set.whole().class_counts(0)?) {
            if expected != found {
                return Err(DataError::Published { dataset: "Derm7pt", what: format!("`{name}`"), expected, found });
            }
        }
    }
    Ok(set)
}
