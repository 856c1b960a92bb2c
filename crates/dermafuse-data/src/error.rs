use std::path::PathBuf;
use std::sync::Arc;

use dermafuse_schema::{ReadError, SchemaError, SettingFault, TablePlace, WriteError};
use thiserror::Error;

use crate::image_formats::READ_FORMATS;

/// What can be wrong with a data set, a split, an image or the request for them.
///
/// Lines are counted from 1 and include the header, as an editor shows them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A data set, or a file that it must have, is not there.
    #[error("{}: not found; {dataset}: {how}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// The data set.
        dataset: &'static str,
        /// Where the data set comes from, under which licence, and how its files must lie.
        how: &'static str,
    },
    /// No built-in data set has this name.
    #[error("unknown data set `{name}`: use one of {}", known.join(", "))]
    UnknownKind {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// No corruption has this name.
    #[error("unknown corruption `{name}`: use one of {}", known.join(", "))]
    UnknownCorruption {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// A word that names no role of a column.
    #[error("`{word}` is no role of a column: say one of {}", known.join(", "))]
    UnknownColumnRole {
        /// The word.
        word: String,
        /// The roles that there are.
        known: Vec<&'static str>,
    },
    /// A table that does not tell what must be known of it.
    #[error("{}: it cannot be told {what}; {remedy}", file.display())]
    NotGuessed {
        /// The table.
        file: PathBuf,
        /// What cannot be told.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason that the system gives.
        #[source]
        source: std::io::Error,
    },
    /// A file that serde could not read or write.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What serde says of it.
        #[source]
        source: serde_json::Error,
    },
    /// Folders beside those of the parts of a split.
    #[error(
        "{}: {} are parts of a split, but beside them lie other folders: {}; move these elsewhere, or name the folder of \
         the parts",
        root.display(), parts.join(", "), others.join(", ")
    )]
    FoldersBesideParts {
        /// The folder that they lie in.
        root: PathBuf,
        /// The folders that are called like a part.
        parts: Vec<String>,
        /// The folders that lie beside them.
        others: Vec<String>,
    },
    /// The parts of a split in a folder that would be a class.
    #[error("{}: holds `{part}` with folders of its own; name the folder of train, val and test itself", folder.display())]
    PartsBelow {
        /// The folder.
        folder: PathBuf,
        /// The part that was found first.
        part: String,
    },
    /// Class folders with files, none of which is an image.
    #[error(
        "{}: no file is an image that is read ({formats}) in {}; convert the files, or move the folder elsewhere",
        root.display(), folders.join(", ")
    )]
    NoImages {
        /// Where they lie.
        root: PathBuf,
        /// The folders, and how many files of which kind they hold.
        folders: Vec<String>,
        /// What is read.
        formats: &'static str,
    },
    /// Two class folders of nearly one name.
    #[error("{}: the class folders `{one}` and `{other}` differ in upper and lower case only; give one class one name", root.display())]
    AlikeClasses {
        /// Where they lie.
        root: PathBuf,
        /// A class.
        one: String,
        /// The class whose name differs in upper and lower case only.
        other: String,
    },
    /// A table without any byte.
    #[error("{}: the file is empty; expected a header and rows", file.display())]
    EmptyFile {
        /// The table.
        file: PathBuf,
    },
    /// A table with a header and nothing below.
    #[error("{}: the table has a header but no rows", file.display())]
    NoRows {
        /// The table.
        file: PathBuf,
    },
    /// A header that leaves open what parts the values.
    #[error(
        "{}: the values may be parted by {}; put a line such as `sep=;` above the header, or save the table with commas",
        file.display(), found.join(" or ")
    )]
    Separator {
        /// The table.
        file: PathBuf,
        /// What may part them.
        found: Vec<String>,
    },
    /// A table, or something in it, that is larger than can be meant.
    #[error(
        "{}: line {line}: {what} of more than {limit} {unit}; look for a quote or line end that is missing, or divide the \
         table",
        file.display()
    )]
    TableLimit {
        /// The table.
        file: PathBuf,
        /// Where it begins.
        line: u64,
        /// What is too large.
        what: &'static str,
        /// How large it may be.
        limit: u64,
        /// In what that is counted.
        unit: &'static str,
    },
    /// A table that is not UTF-8 text.
    #[error("{}: line {line}: {found}; save the table as UTF-8 text", file.display())]
    Encoding {
        /// The table.
        file: PathBuf,
        /// The first line that is not.
        line: u64,
        /// What stands there.
        found: &'static str,
    },
    /// A column that a table must have and has not.
    #[error("{}: line 1: column `{column}` is missing; the header has: {}", file.display(), known.join(", "))]
    MissingColumn {
        /// The table.
        file: PathBuf,
        /// The column.
        column: String,
        /// The columns there are.
        known: Vec<String>,
    },
    /// A column name that stands twice in the header.
    #[error("{}: line 1: column `{column}` appears twice; column names must be unique", file.display())]
    DuplicateColumn {
        /// The table.
        file: PathBuf,
        /// The column.
        column: String,
    },
    /// A row with more or fewer values than the header has names.
    #[error("{}: line {line}: {found} values where the header has {expected} columns", file.display())]
    RowLength {
        /// The table.
        file: PathBuf,
        /// The row's line.
        line: u64,
        /// Number of columns.
        expected: usize,
        /// Number of values.
        found: usize,
    },
    /// A value outside a closed list.
    #[error("{}: line {line}, column `{column}`: unknown value `{found}`; known: {}", file.display(), known.join(", "))]
    Category {
        /// The table.
        file: PathBuf,
        /// The row's line.
        line: u64,
        /// The column.
        column: String,
        /// The value.
        found: String,
        /// The values that are known.
        known: Vec<String>,
    },
    /// A value that is not what its column holds.
    #[error("{}: line {line}, column `{column}`: found `{found}`, expected {expected}", file.display())]
    Value {
        /// The table.
        file: PathBuf,
        /// The row's line.
        line: u64,
        /// The column.
        column: String,
        /// The value.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// A TOML file that cannot be read as what it should be: a key that is not known, one that is missing, a value of
    /// another type.
    #[error("{}: line {line}, column {column}: {reason}", file.display())]
    Toml {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
        /// What the TOML reader says.
        reason: String,
    },
    /// Something that a TOML file asks for and that cannot be had.
    #[error("{}: line {line}, column {column}: {what} `{found}`: expected {expected}", file.display())]
    Declared {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
        /// What is asked for.
        what: &'static str,
        /// Its name or value there.
        found: String,
        /// What it could be.
        expected: String,
    },
    /// A fault in a file, and the TOML file that has it read.
    #[error("{source} (asked for in {}, line {line})", file.display())]
    AskedFor {
        /// The TOML file.
        file: PathBuf,
        /// The line in it.
        line: usize,
        /// The fault.
        #[source]
        source: Box<DataError>,
    },
    /// An image that a table names and the folder does not have.
    #[error(
        "{}: line {line}, column `{column}`: image `{found}` is not in {} ({missing} of {total} images are missing)",
        file.display(), folder.display()
    )]
    ImageNotFound {
        /// The table.
        file: PathBuf,
        /// The line of the first image that is missing.
        line: u64,
        /// The column.
        column: String,
        /// The image's name.
        found: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// How many are missing in all.
        missing: usize,
        /// How many the tables name.
        total: usize,
    },
    /// A full copy of a data set whose counts are not the published ones.
    #[error(
        "{dataset}: {what}: {found} where the published data set has {expected}; compare the files with the original"
    )]
    Published {
        /// The data set.
        dataset: &'static str,
        /// What was counted.
        what: String,
        /// The published count.
        expected: usize,
        /// The count here.
        found: usize,
    },
    /// A part of a split without a case.
    #[error("the {part} part of the split is empty; every part needs at least one case")]
    EmptyPart {
        /// `training`, `validation` or `test`.
        part: &'static str,
    },
    /// A split that names a case that there is not.
    #[error("the {part} part of the split names row {row}, but there are only {cases} cases (rows count from 0)")]
    SplitRow {
        /// `training`, `validation` or `test`.
        part: &'static str,
        /// The row.
        row: usize,
        /// The number of cases.
        cases: usize,
    },
    /// A split that names a case twice.
    #[error("row {row} is in the {first} part of the split and again in the {second} part; parts must be disjoint")]
    SplitOverlap {
        /// The row.
        row: usize,
        /// Where it stands first.
        first: &'static str,
        /// Where it stands again.
        second: &'static str,
    },
    /// A split file that names a case twice.
    #[error("{}: case `{case}` is in the {first} part of the split and again in the {second} part; parts must be disjoint", path.display())]
    SplitCase {
        /// The file.
        path: PathBuf,
        /// The case.
        case: String,
        /// Where it stands first.
        first: &'static str,
        /// Where it stands again.
        second: &'static str,
    },
    /// A file that is no split, or one of an earlier version.
    #[error(
        "{}: {found}; make the split anew and save it: the same set, fractions and seed give the same cases",
        path.display()
    )]
    SplitFormat {
        /// The file.
        path: PathBuf,
        /// What the file holds instead of a split.
        found: String,
    },
    /// A group (what shares a patient, a lesion or an image) that stands on both sides of a split.
    #[error(
        "group `{group}` is in the {first} part of the split and in the {second} part (cases `{}` and `{}`); what shares a \
         patient, a lesion or an identical image must stay on one side",
        cases[0], cases[1]
    )]
    GroupCrosses {
        /// The group.
        group: String,
        /// One part.
        first: &'static str,
        /// The other part that has cases of the group.
        second: &'static str,
        /// A case of each.
        cases: [String; 2],
    },
    /// Cases that a split or a table of folds names and the set does not have.
    #[error(
        "{}: {absent} of {named} cases are not in `{set}`: {first}; give the set that it was made for, or allow changes of the \
         table to leave them out",
        file.display()
    )]
    CasesAbsent {
        /// The file.
        file: PathBuf,
        /// The set.
        set: String,
        /// How many it does not have.
        absent: usize,
        /// How many the file names.
        named: usize,
        /// The first of them.
        first: String,
    },
    /// Cases that have another label than when a split or folds were made.
    #[error(
        "{}: {changed} labels are others in `{set}`: {first}; if the identities are still those of the same cases, make it anew \
         or allow changes of the table",
        file.display()
    )]
    LabelsChanged {
        /// The file.
        file: PathBuf,
        /// The set.
        set: String,
        /// How many labels are.
        changed: usize,
        /// The first of them.
        first: String,
    },
    /// A number that a fold should have and none has.
    #[error("{}: no row of fold {fold}, but there are {folds} folds; they count from 0, without gaps", file.display())]
    FoldAbsent {
        /// The table.
        file: PathBuf,
        /// The first number that no row has.
        fold: usize,
        /// How many different folds there are.
        folds: usize,
    },
    /// Index files that seem to count from 1.
    #[error("{}: the indexes run from 1 to {cases}; row indexes count from 0, so subtract 1 from each", file.display())]
    OneBased {
        /// The index file with the row that is one too high.
        file: PathBuf,
        /// The number of cases.
        cases: usize,
    },
    /// A set without cases.
    #[error("the case set `{name}` has no cases")]
    EmptySet {
        /// The set.
        name: String,
    },
    /// A class that a part has no example of.
    #[error(
        "task `{task}`: no case of class `{class}` among the {cases} {part} cases; use another seed, larger fractions, or merge the class"
    )]
    ClassAbsent {
        /// The task.
        task: String,
        /// The class.
        class: String,
        /// Which cases were counted.
        part: &'static str,
        /// The number of cases that were counted.
        cases: usize,
    },
    /// A row that the case set does not have.
    #[error("row {row} was asked for, but the case set has {cases} cases (rows count from 0)")]
    Row {
        /// The row.
        row: usize,
        /// The number of cases.
        cases: usize,
    },
    /// A case that does not fit the fields or tasks it stands under.
    #[error("case `{case}`: {what}: expected {expected}, found {found}")]
    Case {
        /// The case.
        case: String,
        /// What does not fit.
        what: String,
        /// What it should be.
        expected: String,
        /// What was found instead.
        found: String,
    },
    /// Something of one name that two sets which are joined say differently.
    #[error("{what} is another in {second} than in {first}; {remedy}")]
    JoinedSets {
        /// The task or field.
        what: String,
        /// The set that came first, and what it says.
        first: String,
        /// The other set, and what it says.
        second: String,
        /// What can be done.
        remedy: &'static str,
    },
    /// Tasks that cannot be chosen among those of a set.
    #[error("the tasks of `{set}` cannot be chosen: {reason}")]
    ChosenTasks {
        /// The set.
        set: String,
        /// What is wrong, and what there is.
        reason: String,
    },
    /// A role that a field of a set cannot be given.
    #[error("the role of field `{field}` of `{set}` cannot be changed: {reason}")]
    FieldRole {
        /// The set.
        set: String,
        /// The field.
        field: String,
        /// What is wrong, and what there is.
        reason: String,
    },
    /// Another name for a task that there is not.
    #[error("set `{set}` has no task `{task}` that could be called otherwise; its tasks are {known}")]
    JoinedTask {
        /// The set.
        set: String,
        /// The task.
        task: String,
        /// The set's tasks.
        known: String,
    },
    /// A category that none of the cases had that the encoder was fitted on.
    #[error(
        "case `{case}`: field `{field}`: no training case had `{category}`; known: {}; train on cases that have it, \
         declare the categories, or let unseen ones count as missing",
        known.join(", ")
    )]
    UnseenCategory {
        /// The case.
        case: String,
        /// The field.
        field: String,
        /// The category.
        category: String,
        /// The categories that the training cases had.
        known: Vec<String>,
    },
    /// A field that the model uses and that the set does not have.
    #[error(
        "the set has no field `{field}`, which the model uses; it has {}; rename the field, or set \
         `missing_fields = \"allow\"` to let it count as not recorded",
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    )]
    FieldAbsent {
        /// The field.
        field: String,
        /// The fields of the set.
        known: Vec<String>,
    },
    /// A field of one kind in the set and of another in the model.
    #[error(
        "field `{field}` holds {found} in this set, the model learnt it as {expected}; rename it, or declare it as those"
    )]
    FieldOfOtherKind {
        /// The field.
        field: String,
        /// What the model knows.
        expected: &'static str,
        /// What the set has.
        found: &'static str,
    },
    /// Two fields of one name.
    #[error("field `{field}` appears twice; fields are told apart by their names")]
    RepeatedField {
        /// The field.
        field: String,
    },
    /// A field that no encoder can have.
    #[error("field `{field}`: {what} is {found}, it must be {expected}")]
    EncodedField {
        /// The field.
        field: String,
        /// What of it.
        what: String,
        /// The value that was found.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A setting of images or sampling with a value that it cannot have.
    #[error(transparent)]
    Refused(#[from] SettingFault),
    /// A setting outside its range.
    #[error("{what}: {found} is not {expected}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A file that could not be read, or that is not read because it is no regular file or too large.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An image of no bytes.
    #[error("{}: the image file is empty (0 bytes); copy it again", path.display())]
    EmptyImage {
        /// The image.
        path: PathBuf,
    },
    /// A file that is of no known format, whatever its name says.
    #[error(
        "{}: not {} (it starts with the bytes {start:02x?}); convert it to JPEG or PNG, or copy it again",
        path.display(), READ_FORMATS
    )]
    ImageFormat {
        /// The image.
        path: PathBuf,
        /// Its first bytes.
        start: Vec<u8>,
    },
    /// A file of a format that is known and not read, whatever its name says.
    #[error("{}: {found}, which is not read ({} is); {remedy}", path.display(), READ_FORMATS)]
    ImageKind {
        /// The image.
        path: PathBuf,
        /// The name of the format.
        found: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// An image larger than is safe to decode; found in its header, before anything is allocated.
    #[error(
        "{}: the header says {width} x {height} = {} pixels; the limits are {max_side} a side and {max_pixels} in all; \
         reduce it, e.g. with `magick photo.jpg -resize 50% smaller.jpg`",
        path.display(), width.saturating_mul(*height)
    )]
    ImageTooLarge {
        /// The image.
        path: PathBuf,
        /// Its width in pixels.
        width: usize,
        /// Its height in pixels.
        height: usize,
        /// The longest side that is allowed.
        max_side: usize,
        /// The largest area that is allowed.
        max_pixels: usize,
    },
    /// A JPEG whose coefficients would take more memory than is safe; found in its header, before anything is allocated.
    #[error(
        "{}: the header says {width} x {height} = {} pixels of a progressive JPEG; the limit for these is {max_pixels}; \
         save it as a baseline JPEG, e.g. with `jpegtran photo.jpg > baseline.jpg`, or reduce it",
        path.display(), width.saturating_mul(*height)
    )]
    ImageProgressive {
        /// The image.
        path: PathBuf,
        /// Its width in pixels.
        width: usize,
        /// Its height in pixels.
        height: usize,
        /// The largest area that is allowed.
        max_pixels: usize,
    },
    /// A lesion box or mask that does not fit its image.
    #[error(
        "{}: {area} does not fit: {reason}{}", image.display(),
        written.as_ref().map(|place| format!(" ({place})")).unwrap_or_default()
    )]
    LesionArea {
        /// The image.
        image: PathBuf,
        /// What is said of it: the box, or the file of the mask.
        area: String,
        /// What is wrong.
        reason: String,
        /// Where it is written, if that is a table.
        written: Option<Box<TablePlace>>,
    },
    /// Pixels in memory that are no image.
    #[error("{}: {found}; {expected}", name.display())]
    ImagePixels {
        /// The image.
        name: PathBuf,
        /// What was given.
        found: String,
        /// What to give.
        expected: String,
    },
    /// An image file or its decoded pixels take more memory than is safe.
    #[error("{}: needs {bytes} bytes, the limit is {max_bytes}; reduce it, or save it with 8 bits a channel", path.display())]
    ImageMemory {
        /// The image.
        path: PathBuf,
        /// What it needs.
        bytes: u64,
        /// What it may need.
        max_bytes: u64,
    },
    /// An image that is damaged or cut off.
    #[error("{}: damaged or truncated image: {reason}; {remedy}", path.display())]
    ImageDamaged {
        /// The image.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Images that cannot be read, or whose lesion box or mask does not fit, found by [`check_images`](crate::check_images); the first
    /// ones are in the message.
    #[error("{} of {images} images {}: {}", faults.len(), what_of(faults), first_of(faults))]
    BadImages {
        /// How many images were looked at.
        images: usize,
        /// Each that cannot be read, with the first row that names it, in the order of the rows.
        faults: Vec<RowFault>,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Tasks, labels or numbers break a rule of the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl DataError {
    /// The error of a file that could not be read; what the system says as for every other file.
    pub(crate) fn reading(error: ReadError) -> Self {
        match error {
            ReadError::Io { path, source } => Self::Io { path, source },
            other => Self::Read(other),
        }
    }
}

/// A row of a case set, and what is wrong with an image of it.
#[derive(Clone, Debug)]
pub struct RowFault {
    /// The row.
    pub row: usize,
    /// The fault, which names the file.
    pub error: Arc<DataError>,
}

impl PartialEq for RowFault {
    /// By row and by what the error says.
    fn eq(&self, other: &Self) -> bool {
        self.row == other.row && self.error.to_string() == other.error.to_string()
    }
}

/// What is wrong with images, and what can be done.
fn what_of(faults: &[RowFault]) -> &'static str {
    match faults.iter().any(|fault| matches!(*fault.error, DataError::LesionArea { .. })) {
        false => "cannot be read; copy or convert them again, or leave their cases out",
        true => {
            "cannot be read, or have a lesion box or mask that does not fit; correct these, copy or convert the images again, or leave \
             their cases out"
        }
    }
}

/// The first faults of a list, and how many more there are.
fn first_of(faults: &[RowFault]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = faults.iter().take(SHOWN).map(|fault| fault.error.to_string()).collect();
    if faults.len() > SHOWN {
        text.push(format!("and {} more", faults.len() - SHOWN));
    }
    text.join("; ")
}
