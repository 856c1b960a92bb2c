//! PH²: 200 dermoscopic images of 768 × 560 pixels: common nevi, atypical nevi, melanomas, with dermoscopic criteria and masks.
//!
//! Data: T. Mendonça et al., *PH² – A dermoscopic image database for research and benchmarking*, EMBC 2013,
//! <https://www.fc.up.pt/addi/ph2%20database.html>; for research and education. `docs/datasets.md` says how to get the
//! files and how they lie.

use std::collections::HashMap;
use std::path::Path;

use dermafuse_schema::{Case, Task, TaskSet, read_regular_file};

use crate::images::image_folder::{ImageFolder, ImageIndex, Lookup};
use crate::sources::load_options::{IMAGES_SETTING, Place, one_image, table_file};
use crate::{CaseSet, DataError, ImageSource, LoadOptions, SYNTHETIC_MARKER, SharedImages, TableReader};

// What is said of each image besides the diagnosis was written from public documentation and from programs that read the set,
// without a copy at hand.

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
/// How the name of a lesion's mask goes on behind the image's, for [`lesion_masks`](crate::lesion_masks).
pub const MASK_SUFFIX: &str = "_lesion";

/// A criterion: its task, and the codes of its classes.
struct Criterion {
    task: &'static str,
    label: &'static str,
    /// How the column begins in the sheet, where the codes follow behind a line break.
    column: &'static str,
    /// The published code of each class.
    codes: &'static [(&'static str, &'static str)],
    /// The class that stands for nothing there.
    reference: Option<&'static str>,
}

const ABSENT: Option<&str> = Some("absent");
const PRESENCE: &[(&str, &str)] = &[("A", "absent"), ("P", "present")];
/// The classes of Derm7pt, for the criteria that both sets grade alike.
const CHECKLIST_PRESENCE: &[(&str, &str)] = &[("A", "ABS"), ("P", "PRS")];

/// The six criteria in the order of their columns.
const CRITERIA: [Criterion; 6] = [
    Criterion {
        task: "asymmetry",
        label: "ASY",
        column: "Asymmetry",
        codes: &[("0", "fully symmetric"), ("1", "symmetric in one axis"), ("2", "fully asymmetric")],
        reference: Some("fully symmetric"),
    },
    Criterion {
        task: "pigment_network",
        label: "PN",
        column: "Pigment Network",
        codes: &[("T", "typical"), ("AT", "atypical")],
        reference: None,
    },
    Criterion {
        task: "dots_and_globules",
        label: "DaG",
        column: "Dots/Globules",
        codes: &[("A", "absent"), ("T", "typical"), ("AT", "atypical")],
        reference: ABSENT,
    },
    Criterion { task: "streaks", label: "STR", column: "Streaks", codes: PRESENCE, reference: ABSENT },
    Criterion {
        task: "regression_structures",
        label: "RS",
        column: "Regression Areas",
        codes: CHECKLIST_PRESENCE,
        reference: Some("ABS"),
    },
    Criterion {
        task: "blue_whitish_veil",
        label: "BWV",
        column: "Blue-Whitish Veil",
        codes: CHECKLIST_PRESENCE,
        reference: Some("ABS"),
    },
];

/// The six colours, by their columns in the sheet, in the order of the published codes 1 to 6; with task and heading.
const COLORS: [(&str, &str, &str); 6] = [
    ("White", "white", "WHI"),
    ("Red", "red", "RED"),
    ("Light-Brown", "light_brown", "LBR"),
    ("Dark-Brown", "dark_brown", "DBR"),
    ("Blue-Gray", "blue_gray", "BGR"),
    ("Black", "black", "BLK"),
];
/// The column of the colours in the text file.
const COLORS_COLUMN: &str = "Colors";

/// The thirteen tasks of [`load_criteria`]: the diagnosis, six criteria, and for each of six colours whether it is there.
#[must_use]
pub fn criteria_tasks() -> Vec<Task> {
    let criteria = CRITERIA.iter().map(|criterion| {
        let classes = criterion.codes.iter().map(|(_, class)| *class);
        let task = Task::new(criterion.task, criterion.label, classes);
        match criterion.reference {
            Some(class) => task.with_reference(class),
            None => task,
        }
    });
    let colors = COLORS.iter().map(|(_, task, label)| {
        Task::new(*task, *label, PRESENCE.iter().map(|(_, class)| *class)).with_reference("absent")
    });
    [diagnosis()].into_iter().chain(criteria).chain(colors).collect()
}

fn diagnosis() -> Task {
    Task::new("diagnosis", "DIAG", CLASSES)
}

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
/// is exported (an X in one of three columns; what stands above the header is passed over). No metadata, and the diagnosis
/// alone: [`load_criteria`] has the published criteria too. Images are `IMDnnn.bmp` in any folder below; masks
/// (`IMDnnn_lesion.bmp`, see [`lesion_masks`](crate::lesion_masks)) and regions have longer names. A copy with 200 rows must have
/// the published counts.
///
/// # Errors
/// A file or image that is missing; a sheet that was not exported; a table that is not as published, with its line; an
/// image twice.
pub fn load_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    read_set(root.as_ref(), options, false)
}

/// Loads PH² with its dermoscopic criteria and the default [`LoadOptions`].
///
/// # Errors
/// See [`load_criteria_with`].
pub fn load_criteria(root: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_criteria_with(root, &LoadOptions::default())
}

/// Loads PH² as [`load_with`] does, with thirteen tasks ([`criteria_tasks`]): the diagnosis; asymmetry, pigment network, dots and
/// globules, streaks, regression structures and blue-whitish veil; and which of six colours are there. The set is called
/// `ph2-criteria`.
///
/// Regression structures and the veil are those of Derm7pt, so that both sets can be joined in these tasks; pigment network,
/// dots and globules and streaks have other classes there and need other names (`[joined.NAME]` of an experiment). What is not
/// said of an image has no label.
///
/// # Errors
/// Those of [`load_with`]; a code that is none of the published ones; a row or sheet without the columns of the criteria.
pub fn load_criteria_with(root: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    read_set(root.as_ref(), options, true)
}

fn read_set(root: &Path, options: &LoadOptions, with_criteria: bool) -> Result<CaseSet, DataError> {
    let place = Place { root, dataset: "PH2", how: HOW };
    let [text, sheet, workbook] = ["txt", "csv", "xlsx"].map(|kind| place.root.join(format!("PH2_dataset.{kind}")));
    let sheet = table_file(sheet);
    let (file, rows) = if text.is_file() {
        let rows = read_text(&text, with_criteria)?;
        (text, rows)
    } else if sheet.is_file() {
        let rows = read_sheet(&sheet, with_criteria)?;
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
        let labels = [Some(row.label)].into_iter().chain(row.criteria.iter().copied()).collect();
        let mut case = Case { labels, ..Case::new(row.name.as_str()) };
        if let Some(index) = &mut index {
            match index.find(&row.name) {
                Lookup::One(path) | Lookup::OtherCase(path, _) => case.dermoscopic.push(path.into()),
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
    let synthetic = root.join(SYNTHETIC_MARKER).is_file();
    let name = if with_criteria { "ph2-criteria" } else { "ph2" };
    let mut set = CaseSet {
        name: if synthetic { format!("{name}-synthetic") } else { name.to_owned() },
        synthetic,
        tasks: TaskSet::new(if with_criteria { criteria_tasks() } else { vec![diagnosis()] })?,
        fields: Vec::new(),
        cases,
        split: None,
        notes,
    };
    set.join_groups(SharedImages::from(options.group_duplicates));
    set.check()?;
    if set.len() == PUBLISHED_CASES && !set.synthetic {
        for ((class, expected), found) in CLASSES.iter().zip(PUBLISHED_CLASSES).zip(set.whole().class_counts(0)?) {
            place.check_count(format!("images of {class}"), expected, found)?;
        }
    }
    Ok(set)
}

/// An image, its label, what is said of criteria and colours, if that was asked for, and where.
struct LabelRow {
    name: String,
    label: usize,
    criteria: Vec<Option<usize>>,
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

impl Criterion {
    /// The class of a published code; nothing is no label.
    fn label_of(&self, code: &str) -> Result<Option<usize>, String> {
        if code.is_empty() {
            return Ok(None);
        }
        let found = self.codes.iter().position(|(known, _)| known.eq_ignore_ascii_case(code));
        let known =
            || self.codes.iter().map(|(code, class)| format!("{code} ({class})")).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| format!("one of {}", known()))
    }
}

/// Rows that begin with `||`, of which the second value is the name and the fourth the code. The criteria follow, parted by one
/// bar each, and then the colours, parted by spaces.
fn read_text(file: &Path, with_criteria: bool) -> Result<Vec<LabelRow>, DataError> {
    let text = read(file)?;
    let mut rows = Vec::new();
    for (line, values) in text.lines().enumerate().filter(|(_, line)| line.starts_with("||")) {
        let values: Vec<&str> = values.split("||").map(str::trim).collect();
        let (name, code) = (values.get(1).copied().unwrap_or(""), values.get(3).copied().unwrap_or(""));
        if name.eq_ignore_ascii_case("name") {
            continue;
        }
        let mut row = LabelRow { name: name.into(), label: 0, criteria: Vec::new(), line: line as u64 + 1 };
        if name.is_empty() {
            return Err(row.error(file, "Name", name, "an identifier".into()));
        }
        match code {
            "0" | "1" | "2" => row.label = usize::from(code.as_bytes()[0] - b'0'),
            _ => return Err(row.error(file, "Clinical Diagnosis", code, "0, 1 or 2".into())),
        }
        if with_criteria {
            let rest = values[4..].join("|");
            let cells: Vec<&str> = rest.trim_end_matches(['|', ' ']).split('|').map(str::trim).collect();
            row.criteria = text_criteria(file, &row, &cells)?;
        }
        rows.push(row);
    }
    if rows.is_empty() { Err(DataError::NoRows { file: file.into() }) } else { Ok(rows) }
}

/// The labels of criteria and colours from what stands behind the diagnosis.
fn text_criteria(file: &Path, row: &LabelRow, cells: &[&str]) -> Result<Vec<Option<usize>>, DataError> {
    let [codes @ .., colors] = cells else { return Err(row.error(file, "Asymmetry", "", "a code".into())) };
    if codes.len() != CRITERIA.len() {
        let expected = format!("{} criteria and the colours behind the diagnosis", CRITERIA.len());
        return Err(row.error(file, COLORS_COLUMN, &cells.join(" | "), expected));
    }
    let mut labels = Vec::with_capacity(CRITERIA.len() + COLORS.len());
    for (criterion, code) in CRITERIA.iter().zip(codes) {
        let label = criterion.label_of(code).map_err(|expected| row.error(file, criterion.column, code, expected))?;
        labels.push(label);
    }
    let mut present = [false; COLORS.len()];
    for code in colors.split(|letter: char| letter.is_whitespace() || letter == ',').filter(|code| !code.is_empty()) {
        let color = code.parse::<usize>().ok().filter(|code| (1..=COLORS.len()).contains(code));
        let color = color.ok_or_else(|| row.error(file, COLORS_COLUMN, code, "numbers from 1 to 6".into()))?;
        present[color - 1] = true;
    }
    labels.extend(present.map(|present| Some(usize::from(present))));
    Ok(labels)
}

/// Rows with an X in the column of their class, below the row that has the names of these columns. The criteria have codes, and
/// each colour that is there an X.
fn read_sheet(file: &Path, with_criteria: bool) -> Result<Vec<LabelRow>, DataError> {
    let text = read(file)?;
    let parted_by = |delimiter: &u8| text.contains(&format!("Image Name{}", char::from(*delimiter)));
    let delimiter = [b';', b'\t'].into_iter().find(parted_by).unwrap_or(b',');
    let mut reader = TableReader::below(file, text.as_bytes(), delimiter, "Image Name")?;
    let image = reader.column("Image Name")?;
    let marks = [reader.column(MARKS[0])?, reader.column(MARKS[1])?, reader.column(MARKS[2])?];
    // Behind the name of a criterion a line break and the codes may follow.
    let begins = |name: &str| {
        let position =
            reader.headers().iter().position(|header| header.lines().next().is_some_and(|it| it.trim() == name));
        position.map_or_else(|| reader.column(name), Ok)
    };
    let (mut criteria, mut colors) = (Vec::new(), Vec::new());
    if with_criteria {
        criteria = CRITERIA.iter().map(|criterion| begins(criterion.column)).collect::<Result<_, _>>()?;
        colors = COLORS.iter().map(|(column, ..)| begins(column)).collect::<Result<_, _>>()?;
    }
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        let name = row.cell(image);
        let marked = |class: &usize| row.cell(marks[*class]).text().eq_ignore_ascii_case("x");
        let marked: Vec<usize> = (0..3).filter(marked).collect();
        match (name.text(), marked.as_slice()) {
            ("", []) => {}
            ("", _) => return Err(name.error("an identifier")),
            (text, [label]) => {
                let mut labels = Vec::with_capacity(criteria.len() + colors.len());
                for (criterion, &column) in CRITERIA.iter().zip(&criteria) {
                    let cell = row.cell(column);
                    labels.push(criterion.label_of(cell.text()).map_err(|expected| cell.error(expected))?);
                }
                for &column in &colors {
                    labels.push(match row.cell(column).text() {
                        "" => Some(0),
                        "x" | "X" => Some(1),
                        _ => return Err(row.cell(column).error("X or nothing")),
                    });
                }
                rows.push(LabelRow { name: text.into(), label: *label, criteria: labels, line: row.line() });
            }
            _ => return Err(name.error(format!("a row with one X under {}", MARKS.join(", ")))),
        }
    }
    if rows.is_empty() { Err(DataError::NoRows { file: file.into() }) } else { Ok(rows) }
}
