//! Looks at a table and its images, and proposes the file that describes the set.
//!
//! Every guess has a reason, which stands beside it in the file. What cannot be guessed is said, with the remedy.

mod column;
mod fields;
mod images;
mod leaks;
mod rows;
mod tasks;
mod words;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use dermafuse_schema::FieldRole;

use self::column::{Columns, GuessedColumn};
use self::fields::FieldKindGuess;
use self::tasks::TaskGuess;
use crate::{CaseSet, DataError, LoadOptions, Modality, described};

/// What is known of a set before its table is looked at.
#[derive(Clone, Debug, Default)]
pub struct ProposalOptions {
    /// What the set is called; the name of the table's file if nothing is said.
    pub name: Option<String>,
    /// Folders of images; the table's own if there are none.
    pub images: Vec<PathBuf>,
    /// Further tables, such as a ground truth, each with a row for each value of one of its columns.
    pub tables: Vec<PathBuf>,
    /// What images are that neither a column nor a name tells.
    pub modality: Option<Modality>,
    /// Roles of columns, by name, in place of guesses.
    pub roles: BTreeMap<String, ColumnRole>,
}

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColumnRole {
    /// It names the cases.
    Id,
    /// It names the patients.
    Patient,
    /// It names the lesions.
    Lesion,
    /// It names groups of another kind.
    Group,
    /// It names clinical photos.
    Clinical,
    /// It names dermoscopic images.
    Dermoscopic,
    /// It says whether the image of a row is clinical or dermoscopic.
    View,
    /// Its values are the classes of a task.
    Task,
    /// A number that is known of a patient or lesion.
    Number,
    /// A category.
    Category,
    /// A category of two answers.
    YesNo,
    /// It is not used.
    LeftOut,
}

impl ColumnRole {
    /// All roles.
    pub const ALL: [Self; 12] = [
        Self::Id,
        Self::Patient,
        Self::Lesion,
        Self::Group,
        Self::Clinical,
        Self::Dermoscopic,
        Self::View,
        Self::Task,
        Self::Number,
        Self::Category,
        Self::YesNo,
        Self::LeftOut,
    ];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Patient => "patient",
            Self::Lesion => "lesion",
            Self::Group => "group",
            Self::Clinical => "clinical",
            Self::Dermoscopic => "dermoscopic",
            Self::View => "view",
            Self::Task => "task",
            Self::Number => "number",
            Self::Category => "category",
            Self::YesNo => "yes-no",
            Self::LeftOut => "left-out",
        }
    }
}

impl fmt::Display for ColumnRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for ColumnRole {
    type Err = DataError;

    fn from_str(word: &str) -> Result<Self, DataError> {
        let role = Self::ALL.into_iter().find(|role| role.name() == word);
        role.ok_or_else(|| DataError::UnknownColumnRole {
            word: word.into(),
            known: Self::ALL.map(Self::name).to_vec(),
        })
    }
}

/// A column, what it is taken for, and why. A column that names cases and images has two of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedColumn {
    /// The column's name.
    pub name: String,
    /// The name of its table; `None` for the table of cases.
    pub table: Option<String>,
    /// The role that the column is proposed to have.
    pub role: ColumnRole,
    /// The reason for the role, as a sentence.
    pub reason: String,
}

/// A set as a file may describe it.
///
/// ```
/// use dermafuse_data::{ColumnRole, ProposalOptions, ProposedSet};
///
/// let folder = tempfile::tempdir()?;
/// let table = folder.path().join("moles.csv");
/// std::fs::write(&table, "mole_id,dx,Years\n1,nevus,30\n2,melanoma,71\n3,nevus,40\n4,nevus,NA\n")?;
/// let proposed = ProposedSet::of(&table, folder.path(), &ProposalOptions::default())?;
///
/// let role = |name: &str| proposed.columns.iter().find(|column| column.name == name).unwrap().role;
/// assert_eq!([role("mole_id"), role("dx"), role("Years")], [ColumnRole::Id, ColumnRole::Task, ColumnRole::Number]);
/// assert_eq!(proposed.missing, ["NA"]);
/// assert_eq!(proposed.load()?.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProposedSet {
    /// What the set is called.
    pub name: String,
    /// Rows of the table of cases.
    pub rows: usize,
    /// Every column, in the order of the tables.
    pub columns: Vec<ProposedColumn>,
    /// Words that are taken for "not recorded" in all columns.
    pub missing: Vec<String>,
    /// What could not be decided or should be looked at, each with the remedy.
    pub open: Vec<String>,
    /// The text of the file.
    pub toml: String,
    /// The same text with whole paths: the folder of the file need not be there yet.
    anywhere: String,
    /// Where the file is to lie.
    folder: PathBuf,
}

/// What the text of the file is made from.
struct Guesses {
    name: String,
    file: PathBuf,
    rows: usize,
    /// Further tables with their names, keys and the column of the table of cases that holds these.
    tables: Vec<JoinedGuess>,
    columns: Vec<ProposedColumn>,
    missing: Vec<String>,
    id: String,
    /// Columns of patient, lesion and group; several that are joined.
    groups: Vec<(ColumnRole, Vec<String>)>,
    folders: Vec<PathBuf>,
    images: Vec<ImageGuess>,
    tasks: Vec<TaskGuess>,
    fields: Vec<FieldGuess>,
    open: Vec<String>,
}

struct JoinedGuess {
    name: String,
    file: PathBuf,
    key: String,
    references: String,
}

struct ImageGuess {
    modality: Modality,
    column: String,
    /// The column that says what the image of a row is, and the word for this modality.
    only: Option<(String, String)>,
}

struct FieldGuess {
    name: String,
    table: Option<String>,
    kind: FieldKindGuess,
    role: FieldRole,
    reason: String,
}

impl ProposedSet {
    /// Looks at a table and its images. `folder` is where the file is to lie. Nothing is written.
    ///
    /// # Errors
    /// A table or folder that cannot be read; a role for a column that there is not; no column that can name the cases; no
    /// column that says the diagnosis.
    pub fn of(table: &Path, folder: &Path, options: &ProposalOptions) -> Result<Self, DataError> {
        let tables = column::read_tables(table, &options.tables)?;
        let mut columns = Columns::of(&tables)?;
        if let Some(name) = options.roles.keys().find(|name| columns.position(name).is_none()) {
            return Err(DataError::MissingColumn {
                file: table.into(),
                column: name.clone(),
                known: columns.all.iter().map(|column| column.name.to_owned()).collect(),
            });
        }
        let given = |columns: &Columns<'_>, role: ColumnRole| -> Vec<usize> {
            (0..columns.all.len()).filter(|&at| options.roles.get(columns.all[at].name) == Some(&role)).collect()
        };
        let missing = columns.set_missing();
        let mut open = Vec::new();
        let mut said: Vec<(usize, ColumnRole, String)> = Vec::new();
        for (name, role) in &options.roles {
            if let (Some(at), ColumnRole::LeftOut) = (columns.position(name), role) {
                said.push((at, *role, "you said so".into()));
            }
        }
        // A column that is left out by its owner is not looked at any more.
        let left_out = given(&columns, ColumnRole::LeftOut);
        for at in left_out {
            columns.all[at].settled = true;
        }
        for at in columns.keys() {
            let reason = "it says to which row of the table of cases a row belongs".to_owned();
            columns.all[at].settled = true;
            said.push((at, ColumnRole::LeftOut, reason));
        }

        let found = images::guess(&columns, table, options, &mut open)?;
        for image in &found.columns {
            let role = match image.modality {
                Modality::Clinical => ColumnRole::Clinical,
                Modality::Dermoscopic => ColumnRole::Dermoscopic,
            };
            said.push((image.column, role, image.reason.clone()));
            columns.all[image.column].settled = true;
        }
        if let Some((view, reason)) = &found.view {
            said.push((*view, ColumnRole::View, reason.clone()));
            columns.all[*view].settled = true;
        }
        for (at, reason) in &found.left_out {
            said.push((*at, ColumnRole::LeftOut, reason.clone()));
            columns.all[*at].settled = true;
        }

        let rows = rows::guess(&mut columns, &found, table, options, &mut open)?;
        said.push((rows.id, ColumnRole::Id, rows.reason.clone()));
        columns.all[rows.id].settled = true;
        for group in &rows.groups {
            said.push((group.column, group.role, group.reason.clone()));
            columns.all[group.column].settled = true;
        }
        let cases = columns.of_rows(&rows.first_rows);

        let guessed = tasks::guess(&cases, table, &given(&columns, ColumnRole::Task), &mut open)?;
        for (at, reason) in &guessed.columns {
            said.push((*at, ColumnRole::Task, reason.clone()));
            columns.all[*at].settled = true;
        }
        let labels = guessed.labels;

        let mut fields = Vec::new();
        for at in 0..columns.all.len() {
            if columns.all[at].settled {
                continue;
            }
            let (whole, column) = (&columns.all[at], &cases.all[at]);
            let earlier: Vec<&GuessedColumn<'_>> = fields.iter().map(|(other, _)| &cases.all[*other]).collect();
            let given = options.roles.get(whole.name).copied();
            let seen = fields::Seen { varies: rows.varies(whole), column, labels: &labels, earlier };
            match fields::guess(&seen, given, &mut open) {
                Err(reason) => said.push((at, ColumnRole::LeftOut, reason)),
                Ok(guess) => {
                    said.push((at, guess.kind.role(), guess.reason.clone()));
                    fields.push((at, guess));
                }
            }
        }

        open.extend(uneven(
            fields.iter().filter_map(|(at, guess)| Some((columns.all[*at].name, guess.uneven.as_deref()?))),
        ));
        said.sort_by_key(|(at, role, _)| (*at, *role));
        let named = |(at, role, reason): (usize, ColumnRole, String)| {
            let column = &columns.all[at];
            ProposedColumn { name: column.name.to_owned(), table: columns.table_name(column), role, reason }
        };
        let name_of = |at: usize| columns.all[at].name.to_owned();
        let guesses = Guesses {
            name: options.name.clone().unwrap_or_else(|| name_of_set(table)),
            file: table.to_path_buf(),
            rows: columns.rows,
            tables: columns.joined(),
            columns: said.into_iter().map(named).collect(),
            missing,
            id: name_of(rows.id),
            groups: rows.group_columns(&columns),
            folders: found.folders,
            images: found
                .columns
                .iter()
                .map(|image| ImageGuess {
                    modality: image.modality,
                    column: name_of(image.column),
                    only: image.only.clone(),
                })
                .collect(),
            tasks: guessed.tasks,
            fields: fields
                .into_iter()
                .map(|(at, guess)| {
                    let column = &columns.all[at];
                    FieldGuess {
                        name: column.name.to_owned(),
                        table: columns.table_name(column),
                        role: guess.role,
                        kind: guess.kind,
                        reason: guess.reason,
                    }
                })
                .collect(),
            open,
        };
        let (toml, anywhere) = (written::text(&guesses, Some(folder)), written::text(&guesses, None));
        let Guesses { name, rows, columns, missing, open, .. } = guesses;
        Ok(Self { name, rows, columns, missing, open, toml, anywhere, folder: folder.to_path_buf() })
    }

    /// Loads the set as its file will be loaded, which need not be there yet.
    ///
    /// # Errors
    /// As [`described::load`].
    pub fn load(&self) -> Result<CaseSet, DataError> {
        described::load_text(&self.folder.join("set.toml"), &self.anywhere, &LoadOptions::default())
    }
}

/// What the set is called: as its table, or as the folder of one that is called as any.
fn name_of_set(table: &Path) -> String {
    const ANY: [&str; 9] = ["metadata", "data", "table", "cases", "labels", "groundtruth", "train", "meta", "images"];
    let whole = std::path::absolute(table).unwrap_or_else(|_| table.to_path_buf());
    let stem = whole.file_stem().map_or_else(|| "set".into(), |stem| stem.to_string_lossy().into_owned());
    let folder = whole.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    folder.filter(|_| ANY.contains(&stem.to_lowercase().as_str())).unwrap_or(stem)
}

/// Sentences on columns that are missing more often for some diagnoses, one for all columns of which the same is to be said.
fn uneven<'a>(columns: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut of_text: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    columns.for_each(|(name, text)| of_text.entry(text).or_default().push(name));
    let sentence = |(text, names): (&str, Vec<&str>)| {
        format!(
            "{} {}: {text}, so that nothing is recorded hints at the diagnosis; leave out with --role COLUMN=left-out if that would \
             not be so for new patients",
            if names.len() == 1 { "column" } else { "columns" },
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        )
    };
    of_text.into_iter().map(sentence).collect()
}
