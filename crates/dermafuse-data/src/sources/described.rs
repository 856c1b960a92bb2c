//! Any data set of tables and images, read as a short TOML file describes it: no code to write.
//!
//! ```toml
//! name = "clinic"                     # of the set
//! missing = ["NA", "unknown"]         # besides nothing at all, in every column
//!
//! [cases]
//! file = "lesions.csv"                # the table of cases; paths start from the folder of the description
//! id = "image"                        # the column that names the cases
//! patient = "patient_id"              # rows of one patient or one lesion are a group;
//! lesion = ["patient_id", "lesion"]   # columns in a list are joined by `_`
//!
//! [[tables]]                          # a further table, a row for each value of its key
//! name = "patients"
//! file = "patients.csv"
//! key = "patient"
//! references = "patient_id"           # the column of the table of cases that holds the key; else the cases' id
//!
//! [images]
//! folders = ["photos"]                # looked through three levels deep; else the description's own folder
//! clinical = "image"                  # the column with the file's name, with or without extension
//!
//! [[tasks]]
//! name = "diagnosis"
//! label = "DIAG"
//! column = "dx"
//! classes = ["NEV", "MEL", "BCC"]
//! map = { "melanoma in situ" = "MEL", naevus = "NEV" }
//! drop = ["other"]                    # such cases are left out, and counted in a note
//!
//! [[fields]]
//! column = { table = "patients", column = "age" }
//! kind = "numeric"
//! role = "pre_diagnosis"              # when the value is known; or post_diagnosis, image_derived, provenance
//! unit = "years"                      # of a number; may be left out
//!
//! [[fields]]
//! column = { table = "patients", column = "sex" }
//! kind = "categorical"
//! categories = ["female", "male"]     # or "observed": what the column holds, in alphabetical order
//! role = "pre_diagnosis"
//! ```
//!
//! Further keys: `group` beside `patient`; `where` for images that have rows of their own (`clinical = { column = "file",
//! where = { view = "close-up" } }`), so that the rows of one id are one case and must otherwise agree; `box` of an image, which
//! says where the lesion is (`clinical = { column = "image", box = ["x", "y", "width", "height"] }`, or one column of texts
//! `x,y,width,height`), or `mask`, the file of an image that is not black there (in the folders `masks` of `[images]`, else in those of the
//! images); `reference` of a
//! task, its class for "nothing there"; `one_hot = "truth"` instead of `column`, for a table (by name, or `cases`) with a
//! column for each class; `name`, `map` and `missing` of a field, `missing` of a task. `docs/datasets.md` has a data set
//! that is described this way.

mod columns;
mod description;
mod files;
mod images;
mod lesions;
mod values;
mod vocabulary;

use std::collections::HashMap;
use std::path::Path;

use dermafuse_schema::{Case, CaseId, CaseImage, Name, TaskSet};
use toml::Spanned;

use self::columns::{Join, Rows, Source, Tables};
use self::description::{Columns, Description};
use self::files::{ImageFiles, MissingImages};
use self::images::ImageReader;
use self::lesions::Masks;
use self::values::{FieldReader, LabelReader, settle};
use crate::name_set::NameSet;
use crate::tables::declaration::Declaration;
use crate::tables::oddity::Contradictions;
use crate::tables::spelling::on_disk;
use crate::tables::table::{Cell, Row};
use crate::tables::unique::check_unique;
use crate::{CaseSet, DataError, ImageSource, LoadOptions, SYNTHETIC_MARKER, SharedImages, Table, TableReader};

/// Loads the data set that a TOML file describes, with the default [`LoadOptions`].
///
/// # Errors
/// See [`load_with`].
pub fn load(file: impl AsRef<Path>) -> Result<CaseSet, DataError> {
    load_with(file, &LoadOptions::default())
}

/// Loads the data set that a TOML file describes: one case for each id, in the order of the table of cases.
///
/// [`ImageSource::BelowRoot`] stands for the folders that the description names. A file `SYNTHETIC` beside the
/// description makes the set synthetic. What is put right or left out is in the notes of the set: cases that are
/// dropped, rows that are not joined, spellings that never occur.
///
/// # Errors
/// A key that is not known, a table, column or class that is not there, with line and column of the description; a value
/// that is not as described, with its file, line and column and the line of the description; an id twice; an image that
/// is not there.
pub fn load_with(file: impl AsRef<Path>, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let (declaration, description) = Declaration::read::<Description>(file.as_ref())?;
    Loader::new(&declaration, options).load(&description)
}

/// Loads cases whose labels nobody knows, as a description says: of its own table, or of another one with the same columns.
/// The columns of the tasks need not be there.
///
/// An image that is not there is given as the file that it would be, so that only its case cannot be answered. A category that
/// the description does not list counts as not recorded, with a note that counts the cases.
///
/// # Errors
/// As [`load_with`], but for what is said above.
pub fn load_unlabelled(
    file: impl AsRef<Path>,
    table: Option<&Path>,
    options: &LoadOptions,
) -> Result<CaseSet, DataError> {
    let (declaration, description) = Declaration::read::<Description>(file.as_ref())?;
    Loader { labelled: false, table, ..Loader::new(&declaration, options) }.load(&description)
}

/// As [`load_with`], of a text that is to be the content of the file.
pub(crate) fn load_text(file: &Path, text: &str, options: &LoadOptions) -> Result<CaseSet, DataError> {
    let (declaration, description) = Declaration::parse::<Description>(file, text.to_owned())?;
    Loader::new(&declaration, options).load(&description)
}

struct Loader<'a> {
    declaration: &'a Declaration,
    folder: &'a Path,
    options: &'a LoadOptions,
    /// Whether labels are read.
    labelled: bool,
    /// The table of cases, if it is another than that of the description.
    table: Option<&'a Path>,
}

/// All that is read of a row.
struct Readers<'d, 't> {
    id: usize,
    patient: Vec<Source>,
    lesion: Vec<Source>,
    group: Vec<Source>,
    joins: Vec<Join<'t>>,
    labels: Vec<LabelReader<'d>>,
    fields: Vec<FieldReader<'d>>,
    images: Vec<ImageReader<'d>>,
}

/// The cases so far.
#[derive(Default)]
struct Cases {
    cases: Vec<Case>,
    /// Where a case has several rows: its position and its first line.
    first: HashMap<Name, (usize, u64)>,
    /// Where a case has several rows: the first line of one whose diagnosis leaves it out.
    left_out: HashMap<Name, u64>,
    /// The names of groups, each once.
    names: NameSet<Name>,
    missing: MissingImages,
    /// Columns of the same fact that say different things.
    contradictions: Contradictions<Source>,
    notes: Vec<String>,
}

impl<'a> Loader<'a> {
    fn new(declaration: &'a Declaration, options: &'a LoadOptions) -> Self {
        Self { declaration, folder: declaration.folder(), options, labelled: true, table: None }
    }
}

impl Loader<'_> {
    fn load(&self, description: &Description) -> Result<CaseSet, DataError> {
        let tasks = description.tasks.iter().map(|task| self.task(task)).collect::<Result<Vec<_>, _>>()?;
        let tasks = TaskSet::new(tasks)?;
        let joined = self.joined_tables(description)?;
        let entry = &description.cases;
        let path = self.table.map_or_else(|| on_disk(&self.folder.join(entry.file.get_ref())), Path::to_path_buf);
        let asked = |source| self.declaration.asked(entry.file.span(), source);
        let mut rows = TableReader::open_composed(&path).map_err(asked)?;
        let headers = rows.headers().to_vec();
        let tables = Tables { cases: (&path, &headers), joined: &joined };
        let mut readers = self.readers(&tables, description)?;
        let (mut files, mut masks) = self.image_files(description, &readers.images)?;

        let mut read = Cases { contradictions: tables.sexes(), ..Cases::default() };
        while let Some(row) = rows.next_row().map_err(asked)? {
            self.read_row(row, description, &mut readers, (&mut files, &mut masks), &mut read)?;
        }
        let Cases { mut cases, first, left_out, names, missing, contradictions, mut notes } = read;
        drop((first, left_out, names));
        missing.check(self.declaration, &files)?;
        let Masks { files: masks, missing } = masks;
        missing.check(self.declaration, &masks)?;
        notes.extend(readers.notes(&joined));
        notes.extend(contradictions.notes());
        notes.extend(files.notes());
        notes.extend(masks.notes());
        if self.options.images == ImageSource::Nowhere {
            notes.push("no images were asked for: metadata and labels alone".into());
        }
        let mut set = CaseSet {
            name: description.name.clone(),
            synthetic: self.folder.join(SYNTHETIC_MARKER).is_file(),
            tasks,
            fields: settle(readers.fields, &mut cases),
            cases,
            split: None,
            notes,
        };
        if set.is_empty() {
            return Err(DataError::EmptySet { name: set.name });
        }
        if set.repeated_id().is_some() {
            // Where they stand is looked up only now.
            let table = Table::read_composed(&path).map_err(asked)?;
            check_unique(table.column(entry.id.get_ref())?).map_err(asked)?;
        }
        // Images may be missing there, and nothing is split.
        set.join_groups(SharedImages::from(self.options.group_duplicates && self.labelled));
        set.check_values()?;
        Ok(set)
    }

    fn readers<'d, 't>(
        &self,
        tables: &'t Tables<'_>,
        description: &'d Description,
    ) -> Result<Readers<'d, 't>, DataError> {
        let entry = &description.cases;
        let id = self.case_column(tables, &entry.id)?;
        let names = |columns: &Option<Spanned<Columns>>| match columns {
            Some(columns) => columns.get_ref().0.iter().map(|name| self.source(tables, columns.span(), name)).collect(),
            None => Ok(Vec::new()),
        };
        Ok(Readers {
            id,
            patient: names(&entry.patient)?,
            lesion: names(&entry.lesion)?,
            group: names(&entry.group)?,
            joins: self.joins(tables, id)?,
            labels: if self.labelled { self.label_readers(tables, description)? } else { Vec::new() },
            fields: self.field_readers(tables, description)?,
            images: self.image_readers(tables, description)?,
        })
    }

    fn read_row(
        &self,
        row: Row<'_>,
        description: &Description,
        readers: &mut Readers<'_, '_>,
        (files, masks): (&mut ImageFiles, &mut Masks),
        read: &mut Cases,
    ) -> Result<(), DataError> {
        let asked = |source| self.declaration.asked(description.cases.id.span(), source);
        let id = row.cell(readers.id);
        if id.text().is_empty() {
            return Err(asked(id.error("an identifier")));
        }
        let rows = Rows { case: row, joined: readers.joins.iter_mut().map(|join| join.row(row)).collect() };
        let disagrees = |line: &u64| {
            asked(id.error(format!("a row whose labels agree with line {line}, another row of the same case")))
        };
        let Some(labels) = self.labels(&mut readers.labels, &rows)? else {
            if readers.several_rows() {
                if let Some((_, line)) = read.first.get(id.text()) {
                    return Err(disagrees(line));
                }
                read.left_out.entry(Name::from(id.text())).or_insert(row.line());
            }
            return Ok(());
        };
        if let Some(line) = read.left_out.get(id.text()) {
            return Err(disagrees(line));
        }
        let labels = if self.labelled { labels } else { vec![None; description.tasks.len()] };
        read.contradictions.see(row.line(), |source| rows.cell(source).map_or("", |cell| cell.text()));
        // Not collected: that would allot more than is needed, and there may be a million of them.
        let mut metadata = Vec::with_capacity(readers.fields.len());
        for field in &mut readers.fields {
            metadata.push(self.value(field, &rows)?);
        }
        let mut name = |sources: &[Source]| {
            let text = rows.joined_text(sources, &description.missing)?;
            Some(share(&text, &mut read.names))
        };
        let (patient, lesion, group) = (name(&readers.patient), name(&readers.lesion), name(&readers.group));
        let case_id = CaseId::from(id.text());
        let case = Case {
            group: group.unwrap_or_else(|| case_id.name()),
            patient,
            lesion,
            metadata,
            labels,
            id: case_id,
            clinical: Vec::new(),
            dermoscopic: Vec::new(),
        };
        let mut at = read.cases.len();
        if readers.several_rows() {
            let line;
            (at, line) = *read.first.entry(case.id.name()).or_insert((at, row.line()));
            if let Some(first) = read.cases.get(at) {
                check_agreement(first, &case, id, line).map_err(asked)?;
            }
        }
        if at == read.cases.len() {
            read.cases.push(case);
        }
        let wanted = self.options.images != ImageSource::Nowhere;
        for image in readers.images.iter_mut().filter(|image| wanted && image.applies(row)) {
            let Some(cell) = rows.recorded(image.source, &description.missing) else { continue };
            let asked = |source| self.declaration.asked(image.entry.span(), source);
            let path = match files.find(cell, &mut read.notes).map_err(asked)? {
                Some(path) => path,
                None if !self.labelled => files.expected(cell),
                None => {
                    read.missing.add(image.entry.span(), cell);
                    continue;
                }
            };
            let lesion = match &mut image.lesion {
                Some(reader) => reader.read(self, &rows, &description.missing, masks, &mut read.notes)?,
                None => None,
            };
            let found = CaseImage { path, lesion: lesion.map(Box::new) };
            let images = read.cases[at].images_mut(image.modality);
            if images.contains(&found) {
                return Err(asked(cell.error("an image that no other row of the case has named")));
            }
            images.push(found);
        }
        Ok(())
    }
}

impl Readers<'_, '_> {
    /// Rows of one id are one case only where a description says how they differ.
    fn several_rows(&self) -> bool {
        self.images.iter().any(ImageReader::is_choosy)
    }

    fn notes(&self, joined: &[(&description::JoinedTable, Table)]) -> Vec<String> {
        let joins = self.joins.iter().zip(joined).flat_map(|(join, (entry, _))| join.notes(entry));
        let labels = self.labels.iter().flat_map(LabelReader::notes);
        joins.chain(labels).chain(self.fields.iter().flat_map(FieldReader::notes)).collect()
    }
}

/// The name, as one that was given before if there is one.
fn share(text: &str, among: &mut NameSet<Name>) -> Name {
    if let Some(name) = among.get(text) {
        return name.clone();
    }
    let name = Name::from(text);
    among.insert(name.clone());
    name
}

/// Checks that a further row of a case says the same as its first, images aside.
fn check_agreement(first: &Case, other: &Case, id: Cell<'_>, line: u64) -> Result<(), DataError> {
    let what = if first.metadata != other.metadata {
        "fields"
    } else if first.labels != other.labels {
        "labels"
    } else if (&first.patient, &first.lesion, &first.group) != (&other.patient, &other.lesion, &other.group) {
        "patient, lesion and group"
    } else {
        return Ok(());
    };
    Err(id.error(format!("a row whose {what} agree with line {line}, another row of the same case")))
}
