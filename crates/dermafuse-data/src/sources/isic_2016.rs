//! ISIC 2016 (ISBI 2016): 1,279 dermoscopic images in two official parts, benign or malignant.
//!
//! Data: part 3 of the ISBI 2016 challenge, D. Gutman et al., *Skin Lesion Analysis toward Melanoma Detection*, 2016,
//! <https://arxiv.org/abs/1605.01397>, <https://challenge.isic-archive.com/data/#2016>; CC0. `docs/datasets.md` says how to get
//! the files and how they lie.
//!
//! Written from public documentation and from programs that read the set, without a copy at hand. The ground truth has no
//! header; its training part says words, its test part numbers.

use std::path::Path;

use dermafuse_schema::{Case, Task, TaskSet};

use crate::sources::load_options::Place;
use crate::sources::malignancy::CLASSES as MALIGNANCY;
use crate::sources::official_parts::{OfficialPart, OfficialSet, PartRole};
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, EncoderConfig, LoadOptions, Table};

/// The two classes.
pub const CLASSES: [&str; 2] = MALIGNANCY;

/// The published number of images of each of the [`CLASSES`] in the training part, 900 in all.
pub const PUBLISHED_TRAINING: [usize; 2] = [727, 173];
/// The published number of images of each of the [`CLASSES`] in the test part, 379 in all.
pub const PUBLISHED_TEST: [usize; 2] = [304, 75];

const PARTS: [OfficialPart; 2] = [
    OfficialPart {
        role: PartRole::Training,
        truth: &["ISBI2016_ISIC_Part3_Training_GroundTruth.csv", "ISBI2016_ISIC_Part3B_Training_GroundTruth.csv"],
        images: &["ISBI2016_ISIC_Part3_Training_Data", "ISBI2016_ISIC_Part3B_Training_Data"],
        published: &PUBLISHED_TRAINING,
    },
    OfficialPart {
        role: PartRole::Test,
        truth: &["ISBI2016_ISIC_Part3_Test_GroundTruth.csv", "ISBI2016_ISIC_Part3B_Test_GroundTruth.csv"],
        images: &["ISBI2016_ISIC_Part3_Test_Data", "ISBI2016_ISIC_Part3B_Test_Data"],
        published: &PUBLISHED_TEST,
    },
];
/// The columns, which the published files do not name.
const COLUMNS: [&str; 2] = ["image", "class"];
/// What the first column of a copy with a header is called.
const HEADERS: [&str; 3] = ["image", "image_id", "image_name"];

const HOW: &str = "get it at https://challenge.isic-archive.com/data/#2016 (CC0); the folder needs \
                   ISBI2016_ISIC_Part3_Training_GroundTruth.csv, ISBI2016_ISIC_Part3_Test_GroundTruth.csv and, unless \
                   labels alone are asked for, the folders ISBI2016_ISIC_Part3_Training_Data and \
                   ISBI2016_ISIC_Part3_Test_Data";

/// Loads ISIC 2016 with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads ISIC 2016: one case an image, the training part before the test part.
///
/// One task, the diagnosis, benign or malignant; no metadata. The split is the challenge's, without a validation part. A part
/// whose ground truth is not there is left out, with a note. Part 3B, which has the same images with masks beside them, is
/// read where part 3 is not there. A whole part must have the published counts. Lesions and patients are not known.
///
/// # Errors
/// Neither part; an image that is missing, twice or in both parts; a class that is neither word nor number, with its line.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "ISIC 2016", how: HOW };
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?;
    let set = OfficialSet { name: "isic-2016", place, tasks, fields: vec![], parts: &PARTS };
    set.load(options, |part, file| {
        let table = Table::read_headless(file, &COLUMNS, &HEADERS)?;
        let (image, class) = (table.column("image")?, table.column("class")?);
        check_unique(image)?;
        let mut cases = Vec::with_capacity(table.len());
        for row in 0..table.len() {
            let label = match class.text(row) {
                "benign" | "0" | "0.0" => 0,
                "malignant" | "1" | "1.0" => 1,
                _ => return Err(class.value_error(row, "benign, malignant, 0 or 1")),
            };
            cases.push(Case { labels: vec![Some(label)], ..Case::new(image.text(row)) });
        }
        let notes = part.add_images(options, &mut cases, image, place)?;
        Ok((cases, notes))
    })
}

/// There is no metadata.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::default()
}
