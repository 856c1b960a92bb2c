//! MILK10k: lesions with a clinical close-up and a dermoscopic image, 11 diagnoses, age, sex, skin tone and site.
//!
//! Data: the MILK study team, ISIC 2025 challenge, <https://doi.org/10.34970/648456>; CC BY-NC 4.0.
//! `docs/datasets.md` says how to get the files and how they lie.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, CaseId, CaseImage, Field, FieldRole, FieldValue, Task, TaskSet};

use crate::images::image_folder::{ImageFolder, ImageIndex, Lookup};
use crate::sources::load_options::{IMAGES_SETTING, Place, one_image};
use crate::tables::oddity::{Ages, contradictory_sex};
use crate::tables::one_hot::OneHot;
use crate::tables::spelling::is_clutter;
use crate::tables::table::Column;
use crate::{CaseSet, DataError, EncoderConfig, ImageSource, LoadOptions, SharedImages, Table};

/// The 11 diagnoses in the order of the ground-truth columns.
pub const CLASSES: [&str; 11] =
    ["AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"];

const SEXES: [&str; 2] = ["female", "male"];
const SKIN_TONES: [&str; 6] = ["0", "1", "2", "3", "4", "5"];
const SITES: [&str; 7] = ["foot", "genital", "hand", "head_neck_face", "lower_extremity", "trunk", "upper_extremity"];
/// Scores that a vision-language model gave each image.
const MONET: [&str; 7] = [
    "MONET_ulceration_crust",
    "MONET_hair",
    "MONET_vasculature_vessels",
    "MONET_erythema",
    "MONET_pigmented",
    "MONET_gel_water_drop_fluid_dermoscopy_liquid",
    "MONET_skin_markings_pen_ink_purple_pen",
];
const IMAGE_TYPES: [&str; 2] = ["clinical: close-up", "dermoscopic"];
const VIEWS: [&str; 2] = ["clinical", "dermoscopic"];

const HOW: &str = "get it at https://challenge.isic-archive.com/landing/milk10k (CC BY-NC 4.0); the folder needs \
                   Metadata.csv, GroundTruth.csv for labels, and a folder of images";

/// What [`load_with`] may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder of images; `None` for the most complete folder below the root whose name contains `images` or ends
    /// in `Input`.
    pub images: Option<PathBuf>,
    /// Whether lesions that share an identical image file are put in one group, so that no split parts them. Reads
    /// the files that have the same size as another: 0.1 s for 8,390 small files.
    pub group_duplicates: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { images: None, group_duplicates: true }
    }
}

impl From<&LoadOptions> for Options {
    /// The folder and the grouping; without images, the set is loaded whole.
    fn from(options: &LoadOptions) -> Self {
        let images = match &options.images {
            ImageSource::Folder(folder) => Some(folder.clone()),
            ImageSource::BelowRoot | ImageSource::Nowhere => None,
        };
        Self { images, group_duplicates: options.group_duplicates }
    }
}

/// Loads MILK10k with the default [`Options`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &Options::default())
}

/// Loads MILK10k: one case a lesion, in the order of the metadata.
///
/// One task, the diagnosis. Without a ground-truth file every label is `None`, for prediction. Fields: age (years),
/// sex, skin tone class (0 very dark to 5 very light), site, and 14 image-derived MONET scores named
/// `clinical:MONET_…` and `dermoscopic:MONET_…`.
///
/// # Errors
/// A file or image that is missing; a table that is not as described, with line and column; two rows of a lesion that
/// contradict each other; a ground truth that does not say exactly one class.
pub fn load_with(root: impl AsRef<Path>, options: &Options) -> Result<CaseSet, DataError> {
    let root = root.as_ref();
    let place = Place { root, dataset: "MILK10k", how: HOW };
    let metadata = place.find_table("Metadata.csv")?.ok_or_else(|| place.missing(root.join("Metadata.csv")))?;
    let table = Table::read(metadata)?;
    let lesions = read_lesions(&table)?;
    let (images, mut notes) = find_images(root, &table, options)?;
    let labels = match place.find_table("GroundTruth.csv")? {
        Some(file) => {
            let known = lesions.iter().map(|lesion| lesion.id.as_str()).collect();
            let truth = OneHot { id: "lesion_id", item: "a lesion", classes: &CLASSES, unknown: None };
            truth.read(&Table::read(file)?, &known)?
        }
        None => {
            notes.push("no GroundTruth.csv: all labels are unknown".into());
            HashMap::new()
        }
    };

    let mut cases = Vec::with_capacity(lesions.len());
    for lesion in &lesions {
        let path =
            |view: usize| lesion.rows[view].and_then(|row| images.get(row)).map(CaseImage::from).into_iter().collect();
        let id = CaseId::from(&lesion.id);
        cases.push(Case {
            lesion: Some(id.name()),
            clinical: path(0),
            dermoscopic: path(1),
            metadata: lesion.metadata.clone(),
            labels: vec![labels.get(lesion.id.as_str()).copied().flatten()],
            ..Case::new(id)
        });
    }
    let unlabelled = cases.iter().filter(|case| case.labels[0].is_none()).count();
    if unlabelled > 0 && !labels.is_empty() {
        notes.push(format!("{unlabelled} lesions have no row in GroundTruth.csv"));
    }
    notes.extend(Ages::note_of(table.column("age_approx")?));
    notes.extend(contradictory_sex(&table));
    let mut set = CaseSet {
        name: "milk10k".into(),
        synthetic: false,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?,
        fields: fields(),
        cases,
        split: None,
        notes,
    };
    set.join_groups(SharedImages::from(options.group_duplicates));
    set.check()?;
    Ok(set)
}

/// The metadata fields, in order.
#[must_use]
pub fn fields() -> Vec<Field> {
    let patient = [
        Field::numeric("age_approx", FieldRole::PreDiagnosis).with_unit("years"),
        Field::categorical("sex", FieldRole::PreDiagnosis, SEXES),
        Field::categorical("skin_tone_class", FieldRole::PreDiagnosis, SKIN_TONES),
        Field::categorical("site", FieldRole::PreDiagnosis, SITES),
    ];
    let scores = VIEWS.iter().flat_map(|view| {
        MONET.iter().map(move |score| Field::numeric(format!("{view}:{score}"), FieldRole::ImageDerived))
    });
    patient.into_iter().chain(scores).collect()
}

/// 16 columns: the age, standardized, two for the sex, six for the skin tone, seven for the site, zeros where nothing is
/// recorded.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::default()
}

struct Lesion {
    id: String,
    /// Table row of the clinical and of the dermoscopic image.
    rows: [Option<usize>; 2],
    metadata: Vec<FieldValue>,
}

fn read_lesions(table: &Table) -> Result<Vec<Lesion>, DataError> {
    let (id, image_type, image) = (table.column("lesion_id")?, table.column("image_type")?, table.column("isic_id")?);
    let (age, sex) = (table.column("age_approx")?, table.column("sex")?);
    let (tone, site) = (table.column("skin_tone_class")?, table.column("site")?);
    let scores = MONET.iter().map(|score| table.column(score)).collect::<Result<Vec<_>, _>>()?;
    let category = |column: Column<'_>, row: usize, known: &[&str]| -> Result<FieldValue, DataError> {
        Ok(column.category(row, known)?.map_or(FieldValue::Missing, FieldValue::Category))
    };
    let number = |column: Column<'_>, row: usize| -> Result<FieldValue, DataError> {
        Ok(column.number(row)?.map_or(FieldValue::Missing, FieldValue::Number))
    };

    let mut lesions: Vec<Lesion> = Vec::new();
    let mut position: HashMap<&str, usize> = HashMap::new();
    let mut images: HashMap<&str, usize> = HashMap::new();
    for row in 0..table.len() {
        for (column, text) in [(id, id.text(row)), (image, image.text(row))] {
            if text.is_empty() {
                return Err(column.value_error(row, "an identifier"));
            }
        }
        if let Some(other) = images.insert(image.text(row), row) {
            return Err(image.value_error(row, format!("an image that line {} has not named", table.line(other))));
        }
        let view = match image_type.category(row, &IMAGE_TYPES)? {
            Some(view) => view,
            None => return Err(image_type.value_error(row, IMAGE_TYPES.join(" or "))),
        };
        let patient = [
            (age, number(age, row)?),
            (sex, category(sex, row, &SEXES)?),
            (tone, category(tone, row, &SKIN_TONES)?),
            (site, category(site, row, &SITES)?),
        ];
        let at = *position.entry(id.text(row)).or_insert_with(|| {
            let mut metadata = vec![FieldValue::Missing; patient.len() + VIEWS.len() * MONET.len()];
            for (slot, (_, value)) in metadata.iter_mut().zip(&patient) {
                *slot = *value;
            }
            lesions.push(Lesion { id: id.text(row).into(), rows: [None; 2], metadata });
            lesions.len() - 1
        });
        let lesion = &mut lesions[at];
        if let Some(other) = lesion.rows[view] {
            let expected = format!("one {} row a lesion; line {} is another", VIEWS[view], table.line(other));
            return Err(image_type.value_error(row, expected));
        }
        for (first, (column, value)) in lesion.metadata.iter().zip(&patient) {
            if first != value {
                let other = lesion.rows.iter().flatten().next().map_or(0, |&other| table.line(other));
                return Err(column.value_error(row, format!("the same as in line {other}, the lesion's other row")));
            }
        }
        lesion.rows[view] = Some(row);
        let offset = patient.len() + view * MONET.len();
        for (slot, score) in lesion.metadata[offset..].iter_mut().zip(&scores) {
            *slot = number(*score, row)?;
        }
    }
    Ok(lesions)
}

/// The images of a folder, for the rows of a table.
struct Listed {
    /// How many rows have one.
    present: usize,
    paths: Vec<Option<PathBuf>>,
    index: ImageIndex,
    /// The first row with several.
    ambiguous: Option<DataError>,
}

/// The path of each row's image, and what is to be noted.
fn find_images(root: &Path, table: &Table, options: &Options) -> Result<(Vec<PathBuf>, Vec<String>), DataError> {
    let image = table.column("isic_id")?;
    let folders = match &options.images {
        Some(folder) => vec![folder.clone()],
        None => image_folders(root)?,
    };
    let named = options.images.is_some();
    let mut best: Option<Listed> = None;
    let mut as_many: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let mut index = ImageIndex::new(vec![ImageFolder::list(&folder)?], named);
        let mut paths = Vec::with_capacity(table.len());
        let mut ambiguous = None;
        for row in 0..table.len() {
            paths.push(match index.find(image.text(row)) {
                Lookup::One(path) | Lookup::OtherCase(path, _) => Some(path),
                Lookup::Nowhere => None,
                Lookup::Outside => return Err(image.value_error(row, "a name or path inside the image folders")),
                Lookup::Several(one, other) => {
                    ambiguous.get_or_insert_with(|| image.value_error(row, one_image(&one, &other, IMAGES_SETTING)));
                    Some(one)
                }
            });
        }
        let present = paths.iter().flatten().count();
        match &best {
            Some(best) if present < best.present => {}
            Some(best) if present == best.present => as_many.push(folder),
            _ => {
                best = Some(Listed { present, paths, index, ambiguous });
                as_many.clear();
            }
        }
    }
    let Some(Listed { present, paths, index, ambiguous }) = best else {
        return Err(DataError::Missing { path: root.join("images"), dataset: "MILK10k", how: HOW });
    };
    if let Some(error) = ambiguous {
        return Err(error);
    }
    if let Some(row) = paths.iter().position(Option::is_none) {
        return Err(DataError::ImageNotFound {
            file: table.file().into(),
            line: table.line(row),
            column: image.name().into(),
            found: image.text(row).into(),
            folder: index.root().into(),
            missing: table.len() - present,
            total: table.len(),
        });
    }
    let mut notes = index.notes();
    if let (Some(other), true) = (as_many.first(), present > 0) {
        let (taken, other) = (index.root().display(), other.display());
        notes.push(format!("the images are taken from {taken}; {other} has as many"));
    }
    Ok((paths.into_iter().flatten().collect(), notes))
}

/// The folders that may hold the images, in order of name.
fn image_folders(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io_error = |source| DataError::Io { path: root.into(), source };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.path().is_dir() && !is_clutter(&name, true) && (name.contains("images") || name.ends_with("input")) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}
