//! Dermofit: 1,300 clinical photos of high quality, ten diagnoses, one photo a lesion.
//!
//! Data: the Dermofit Image Library, L. Ballerini et al., *A color and texture based hierarchical k-NN approach to the
//! classification of non-melanoma skin lesions*, 2013; licensed by Edinburgh Innovations. `docs/datasets.md` says how to
//! get the files and how they lie.

use std::path::Path;

use crate::sources::class_folders::{Options, Scan};
use crate::{CaseSet, DataError};

/// The ten diagnoses, in alphabetical order of their short names: actinic keratosis, basal cell carcinoma,
/// dermatofibroma, intraepithelial carcinoma, melanoma, melanocytic nevus, pyogenic granuloma, squamous cell carcinoma,
/// seborrheic keratosis, haemangioma.
pub const CLASSES: [&str; 10] = ["AK", "BCC", "DF", "IEC", "MEL", "ML", "PYO", "SCC", "SK", "VASC"];

/// The number of photos.
pub const PUBLISHED_CASES: usize = 1_300;
/// The published number of photos of each of the [`CLASSES`].
pub const PUBLISHED_CLASSES: [usize; 10] = [45, 239, 65, 78, 76, 331, 24, 88, 257, 97];

/// What a class folder may be called, in lower case without spaces and marks, besides the short name.
const NAMES: [(&str, &[&str]); 10] = [
    ("AK", &["actinickeratosis"]),
    ("BCC", &["basalcellcarcinoma"]),
    ("DF", &["dermatofibroma"]),
    ("IEC", &["intraepithelialcarcinoma"]),
    ("MEL", &["malignantmelanoma", "melanoma"]),
    ("ML", &["melanocyticnevus", "melanocyticnaevus", "melanocyticnevusmole", "melanocyticnaevusmole"]),
    ("PYO", &["pyogenicgranuloma"]),
    ("SCC", &["squamouscellcarcinoma"]),
    ("SK", &["seborrhoeickeratosis", "seborrheickeratosis"]),
    ("VASC", &["haemangioma", "hemangioma"]),
];

const HOW: &str = "license it at https://licensing.edinburgh-innovations.ed.ac.uk/product/dermofit-image-library and unpack \
                   each class into a folder of its name or short name";

/// Loads Dermofit from the folder that holds a folder for each class: one case a photo, in the order of their paths.
///
/// Photos may lie in folders of their own below the class; files whose name contains `mask` are segmentations and left
/// out. A copy with 1,300 photos must have the published counts. The set is called `dermofit`.
///
/// # Errors
/// A folder that is missing or is no class; a full copy with other counts than published.
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    let root = root.as_ref();
    let missing = || DataError::Missing { path: root.into(), dataset: "Dermofit", how: HOW };
    if !root.is_dir() {
        return Err(missing());
    }
    let options = Options::default();
    let scan = Scan::of(root, &options.ignore)?;
    let mut set = scan.case_set(root, "dermofit".into(), &CLASSES, &options, |folder| {
        let plain: String = folder.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_lowercase();
        let named =
            NAMES.iter().find(|(short, names)| plain == short.to_lowercase() || names.contains(&plain.as_str()));
        named.map(|(short, _)| (*short).to_owned()).ok_or_else(|| DataError::Setting {
            what: "class folder of Dermofit",
            found: folder.into(),
            expected: "one of AK, BCC, DF, IEC, MEL, ML, PYO, SCC, SK, VASC, or of their full names",
        })
    });
    if let Err(DataError::EmptySet { .. }) = set {
        return Err(missing());
    }
    if let Ok(set) = &mut set {
        for case in &mut set.cases {
            case.lesion = Some(case.id.name());
        }
        if set.len() == PUBLISHED_CASES && !set.synthetic {
            for ((class, expected), found) in CLASSES.iter().zip(PUBLISHED_CLASSES).zip(set.whole().class_counts(0)?) {
                if expected != found {
                    let what = format!("photos of {class}");
                    return Err(DataError::Published { dataset: "Dermofit", what, expected, found });
                }
            }
        }
    }
    set
}
