//! PH²: 200 dermoscopic images of 768 × 560 pixels: common nevi, atypical nevi, melanomas.
//!
//! Data: T. Mendonça et al., *PH² – A dermoscopic image database for research and benchmarking*, EMBC 2013,
//! <https://www.fc.up.pt/addi/ph2%20database.html>; for research and education. `docs/datasets.md` says how to get the
//! files and how they lie.

use std::collections::HashMap;
use std::path::Path;

use dermafuse_schema::{Case, Task, TaskSet, read_regular_file};

use crate::images::image_folder::{ImageFolder, ImageIndex, Lookup};
use crate::sources::load_options::{IMAGES_SETTING, Place, one_image, table_file};
use crate::{CaseSet, DataError, ImageSource, LoadOptions, SharedImages, TableReader};

/// The three diagnoses, in the order of the published codes 0, 1, 2.
pub const CLASSES: [&str; 3] = ["common nevus", "atypical nevus", "melanoma"];

/// The number of images.
pub const PUBLISHED_CASES: usize = 200;
/// The published number of images of each of the [`CLASSES`].
pub const PUBLISHED_CLASSES: [usize; 3] = [80, 80, 40];

const HOW: &str = "get it at https://www.fc.up.pt/addi/ph2%20database.html (for research and education); the folder needs \
                   PH2_dataset.txt as published, or the sheet of PH2_dataset.xlsx saved as PH2_dataset.csv, and, unless \
                   labels alone are asked for, the folder `PH2 Dataset images`";
/// Bytes of the table, which has 200 rows.
const MAX_BYTES: u64 = 16 << 20;
/// The columns of the sheet, one of which has an X.
const MARKS: [&str; 3] = ["Common Nevus", "Atypical Nevus", "Melanoma"];

/// Loads PH² with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(root, &LoadOptions::default())
}

/// Loads PH² from the folder of `PH2_dataset.txt` or `PH2_dataset.csv`: one case an image, in the order of the table.
///
/// The text file is read as published (`|| IMD003 || … || 0 || …`, codes 0, 1 and 2), the CSV file as the published sheet
/// is exported (an X in one of three columns; what stands above the header is passed over). No metadata: the published
/// criteria are not read. Images are `IMDnnn.bmp` in any folder below; masks and regions have longer names. A copy with
/// 200 rows must have the published counts.
///
/// # Errors
/// A file or image that is missing; a sheet that was not exported; a table that is not as published, with its line; an
/// image twice.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let place = Place { root: root.as_ref(), dataset: "PH2", how: HOW };
    let [text, sheet, workbook] = ["txt", "csv", "xlsx"].map(|kind| place.root.join(format!("PH2_dataset.{kind}")));
    let sheet = table_file(sheet);
    let (file, rows) = if text.is_file() {
        let rows = read_text(&text)?;
        (text, rows)
    } else if sheet.is_file() {
        let rows = read_sheet(&sheet)?;
        (sheet, rows)
    } else if workbook.is_file() {
        return Err(DataError::Setting {
            what: "labels of PH2",
            found: workbook.display().to_string(),
            expected: "text; put the published PH2_dataset.txt beside it, or save its sheet as PH2_dataset.csv",
        });
    } else {
        return Err(place.missing(text));
    };
    let column = if file.extension().is_some_and(|kind| kind == "txt") { "Name" } else { "Image Name" };
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for row in &rows {
        if let Some(other) = seen.insert(&row.name, row.line) {
            return Err(row.error(&file, column, &row.name, format!("a name that line {other} does not have")));
        }
    }
    let images = match &options.images {
        ImageSource::Nowhere => None,
        ImageSource::BelowRoot => Some(place.root),
        ImageSource::Folder(folder) => Some(folder.as_path()),
    };
    let mut cases = Vec::with_capacity(rows.len());
    let named = images != Some(place.root);
    let listed = images.map(ImageFolder::list).transpose()?;
    let mut index = listed.map(|listed| ImageIndex::new(vec![listed], named));
    let mut missing: Vec<&LabelRow> = Vec::new();
    for row in &rows {
        let mut case = Case { labels: vec![Some(row.label)], ..Case::new(row.name.as_str()) };
        if let Some(index) = &mut index {
            match index.find(&row.name) {
                Lookup::One(path) | Lookup::OtherCase(path, _) => case.dermoscopic.push(path),
                Lookup::Nowhere => missing.push(row),
                Lookup::Outside => {
                    let expected = "a name or path inside the image folders".into();
                    return Err(row.error(&file, column, &row.name, expected));
                }
                Lookup::Several(one, other) => {
                    return Err(row.error(&file, column, &row.name, one_image(&one, &other, IMAGES_SETTING)));
                }
            }
        }
        case.lesion = Some(case.id.name());
        cases.push(case);
    }
    if let (Some(first), Some(folder)) = (missing.first(), images) {
        return Err(DataError::ImageNotFound {
            file,
            line: first.line,
            column: column.into(),
            found: first.name.clone(),
            folder: folder.into(),
            missing: missing.len(),
            total: rows.len(),
        });
    }
    let mut notes = index.as_ref().map_or_else(Vec::new, ImageIndex::notes);
    if images.is_none() {
        notes.push("no images were asked for: labels alone".into());
    }
    let mut set = CaseSet {
        name: "ph2".into(),
        synthetic: false,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?,
        fields: Vec::new(),
        cases,
        split: None,
        notes,
    };
    set.join_groups(SharedImages::from(options.group_duplicates));
    set.check()?;
    if set.len() == PUBLISHED_CASES {
        for ((class, expected), found) in CLASSES.iter().zip(PUBLISHED_CLASSES).zip(set.whole().class_counts(0)?) {
            place.check_count(format!("images of {class}"), expected, found)?;
        }
    }
    Ok(set)
}

/// An image, its label, and where that is said.
struct LabelRow {
    name: String,
    label: usize,
    line: u64,
}

impl LabelRow {
    fn error(&self, file: &Path, column: &str, found: &str, expected: String) -> DataError {
        let (file, column, found) = (file.to_path_buf(), column.to_owned(), found.to_owned());
        DataError::Value { file, line: self.line, column, found, expected }
    }
}

fn read(file: &Path) -> Result<String, DataError> {
    let bytes = read_regular_file(file, MAX_BYTES).map_err(DataError::reading)?;
    // The text has a few letters of another encoding in its histological remarks, which are not used.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Rows that begin with `||`, of which the second value is the name and the fourth the code.
fn read_text(file: &Path) -> Result<Vec<LabelRow>, DataError> {
    let text = read(file)?;
    let mut rows = Vec::new();
    for (line, values) in text.lines().enumerate().filter(|(_, line)| line.starts_with("||")) {
        let values: Vec<&str> = values.split("||").map(str::trim).collect();
        let (name, code) = (values.get(1).copied().unwrap_or(""), values.get(3).copied().unwrap_or(""));
        if name.eq_ignore_ascii_case("name") {
            continue;
        }
        let row = LabelRow { name: name.into(), label: 0, line: line as u64 + 1 };
        if name.is_empty() {
            return Err(row.error(file, "Name", name, "an identifier".into()));
        }
        match code {
            "0" | "1" | "2" => rows.push(LabelRow { label: usize::from(code.as_bytes()[0] - b'0'), ..row }),
            _ => return Err(row.error(file, "Clinical Diagnosis", code, "0, 1 or 2".into())),
        }
    }
    if rows.is_empty() { Err(DataError::NoRows { file: file.into() }) } else { Ok(rows) }
}

/// Rows with an X in the column of their class, below the row that has the names of these columns.
fn read_sheet(file: &Path) -> Result<Vec<LabelRow>, DataError> {
    let text = read(file)?;
    let parted_by = |delimiter: &u8| text.contains(&format!("Image Name{}", char::from(*delimiter)));
    let delimiter = [b';', b'\t'].into_iter().find(parted_by).unwrap_or(b',');
    let mut reader = TableReader::below(file, text.as_bytes(), delimiter, "Image Name")?;
    let image = reader.column("Image Name")?;
    let marks = [reader.column(MARKS[0])?, reader.column(MARKS[1])?, reader.column(MARKS[2])?];
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        let name = row.cell(image);
        let marked = |class: &usize| row.cell(marks[*class]).text().eq_ignore_ascii_case("x");
        let marked: Vec<usize> = (0..3).filter(marked).collect();
        match (name.text(), marked.as_slice()) {
            ("", []) => {}
            ("", _) => return Err(name.error("an identifier")),
            (text, [label]) => rows.push(LabelRow { name: text.into(), label: *label, line: row.line() }),
            _ => return Err(name.error(format!("a row with one X under {}", MARKS.join(", ")))),
        }
    }
    if rows.is_empty() { Err(DataError::NoRows { file: file.into() }) } else { Ok(rows) }
}
