//! Which rows are a case, and which cases belong together.

use std::collections::HashMap;
use std::path::Path;

use super::column::{Columns, GuessedColumn, NOTHING};
use super::images::ImagesGuess;
use super::words::{has_word, is_like_id, is_like_image, is_like_lesion, is_like_patient, quoted, tokens};
use super::{ColumnRole, ProposalOptions};
use crate::DataError;

/// How the rows of the table are cases and groups.
pub(super) struct RowsGuess {
    pub(super) id: usize,
    pub(super) reason: String,
    /// The first row of each case.
    pub(super) first_rows: Vec<usize>,
    /// The case of each row.
    case_of: Vec<usize>,
    pub(super) groups: Vec<GroupColumn>,
    /// Whether a lesion's name means something beside its patient's alone.
    of_patient: bool,
}

pub(super) struct GroupColumn {
    pub(super) column: usize,
    pub(super) role: ColumnRole,
    pub(super) reason: String,
}

impl RowsGuess {
    /// Whether rows of one case say different things in a column.
    pub(super) fn varies(&self, column: &GuessedColumn<'_>) -> bool {
        self.first_rows.len() < self.case_of.len()
            && self.case_of.iter().zip(&column.codes).any(|(&case, code)| column.codes[self.first_rows[case]] != *code)
    }

    /// The columns of each kind of group.
    pub(super) fn group_columns(&self, columns: &Columns<'_>) -> Vec<(ColumnRole, Vec<String>)> {
        let name = |group: &GroupColumn| columns.all[group.column].name.to_owned();
        let patient = self.groups.iter().find(|group| group.role == ColumnRole::Patient).map(name);
        let names = |group: &GroupColumn| match (&patient, group.role == ColumnRole::Lesion && self.of_patient) {
            (Some(patient), true) => vec![patient.clone(), name(group)],
            _ => vec![name(group)],
        };
        self.groups.iter().map(|group| (group.role, names(group))).collect()
    }
}

pub(super) fn guess(
    columns: &mut Columns<'_>,
    images: &ImagesGuess,
    table: &Path,
    options: &ProposalOptions,
    open: &mut Vec<String>,
) -> Result<RowsGuess, DataError> {
    let (id, reason) = id_column(columns, images, table, options, open)?;
    let mut known: HashMap<u32, usize> = HashMap::new();
    let (mut first_rows, mut case_of) = (Vec::new(), Vec::with_capacity(columns.rows));
    for (row, code) in columns.all[id].codes.iter().enumerate() {
        let case = *known.entry(*code).or_insert_with(|| {
            first_rows.push(row);
            first_rows.len() - 1
        });
        case_of.push(case);
    }
    let mut guess = RowsGuess { id, reason, first_rows, case_of, groups: Vec::new(), of_patient: false };
    guess.find_groups(columns, options, open);
    Ok(guess)
}

fn id_column(
    columns: &Columns<'_>,
    images: &ImagesGuess,
    table: &Path,
    options: &ProposalOptions,
    open: &mut Vec<String>,
) -> Result<(usize, String), DataError> {
    let said = (0..columns.all.len()).find(|&at| options.roles.get(columns.all[at].name) == Some(&ColumnRole::Id));
    if let Some(at) = said {
        return Ok((at, "you said so".into()));
    }
    let is_image = |at: usize| images.columns.iter().any(|image| image.column == at);
    let is_free = |at: usize| {
        let column = &columns.all[at];
        let role = options.roles.get(column.name);
        let may =
            role.is_none_or(|role| matches!(role, ColumnRole::Lesion | ColumnRole::Clinical | ColumnRole::Dermoscopic));
        column.table == 0 && may && (is_image(at) || !column.settled)
    };
    let free: Vec<usize> = (0..columns.all.len()).filter(|&at| is_free(at)).collect();
    if let Some((view, _)) = images.view.as_ref().filter(|_| images.has_rows_of_images()) {
        let is_case = |at: &&usize| has_a_row_for_each_view(&columns.all[**at], &columns.all[*view]);
        let mut cases: Vec<&usize> = free.iter().filter(is_case).collect();
        cases.sort_by_key(|at| std::cmp::Reverse(worth(&columns.all[**at], false)));
        if let Some(&&at) = cases.first() {
            let views = columns.all[*view].name;
            return Ok((
                at,
                format!("a row is an image, and each of its values has at most one row of each `{views}`"),
            ));
        }
        open.push(
            "each image is a case, because no column has one row for each kind of image; if one names the lesions, say --role \
             COLUMN=id"
                .into(),
        );
    }
    let mut unique: Vec<usize> = free.into_iter().filter(|&at| columns.all[at].is_unique()).collect();
    unique.sort_by_key(|&at| std::cmp::Reverse(worth(&columns.all[at], is_image(at))));
    match unique.first().filter(|at| worth(&columns.all[**at], is_image(**at)) > 0) {
        Some(&at) => {
            let others: Vec<&str> =
                unique[1..].iter().map(|&at| columns.all[at].name).filter(|name| is_like_id(name)).collect();
            let mut reason = "every row has a value, and each another".to_owned();
            if !others.is_empty() {
                reason = format!("{reason}, as {} have", quoted(&others));
            }
            Ok((at, reason))
        }
        None => Err(DataError::NotGuessed {
            file: table.into(),
            what: "which column names the cases: none has another value in each row and a name such as `id`".into(),
            remedy: "add such a column, or name one with --role COLUMN=id".into(),
        }),
    }
}

/// Whether a value has at most one row of each view, and some value has several rows.
fn has_a_row_for_each_view(column: &GuessedColumn<'_>, view: &GuessedColumn<'_>) -> bool {
    let mut pairs: Vec<(u32, u32)> = column.codes.iter().copied().zip(view.codes.iter().copied()).collect();
    pairs.sort_unstable();
    let rows = pairs.len();
    pairs.dedup();
    pairs.len() == rows && column.recorded() == rows && column.distinct() < rows
}

/// How well a column names cases; nothing above 0 is a reason to think so.
fn worth(column: &GuessedColumn<'_>, is_image: bool) -> i32 {
    let name = column.name;
    let has = |says: bool, points: i32| if says { points } else { 0 };
    let every = |is: &dyn Fn(&str) -> bool| column.seen().take(1000).all(|value| is(value.text));
    has(has_word(name, &["case", "fall", "sample", "record"]), 6)
        + has(is_like_lesion(name), 5)
        + has(is_like_id(name), 3)
        + has(is_like_image(name), 4)
        + has(is_image, 2)
        + has(
            every(&|text| {
                !text.contains(char::is_whitespace)
                    && text.contains(|letter: char| letter.is_ascii_digit())
                    && text.contains(char::is_alphabetic)
            }),
            1,
        )
        - has(is_like_patient(name), 2)
        - has(every(&|text| text.contains(char::is_whitespace)), 5)
        - has(column.seen().take(1000).any(|value| value.number.is_some_and(|number| number.fract() != 0.0)), 9)
}

impl RowsGuess {
    fn find_groups(&mut self, columns: &Columns<'_>, options: &ProposalOptions, open: &mut Vec<String>) {
        let cases = self.first_rows.len();
        for (at, column) in columns.all.iter().enumerate() {
            if column.table != 0 || at == self.id || column.settled {
                continue;
            }
            let values: Vec<u32> = self.first_rows.iter().map(|&row| column.codes[row]).collect();
            let mut distinct: Vec<u32> = values.iter().copied().filter(|code| *code != NOTHING).collect();
            let recorded = distinct.len();
            distinct.sort_unstable();
            distinct.dedup();
            let counts = format!("{} values in {cases} cases", distinct.len());
            let role = match options.roles.get(column.name) {
                Some(role @ (ColumnRole::Patient | ColumnRole::Lesion | ColumnRole::Group)) => {
                    self.groups.push(GroupColumn { column: at, role: *role, reason: "you said so".into() });
                    continue;
                }
                Some(_) => continue,
                None => {
                    // Few values are no names.
                    let many = 5 * distinct.len() >= recorded && distinct.len() > 2;
                    let plain = is_like_id(column.name) || (tokens(column.name).len() == 1 && many);
                    let is_real = column.seen().any(|value| value.number.is_some_and(|number| number.fract() != 0.0));
                    match () {
                        () if is_real || self.varies(column) => continue,
                        () if is_like_patient(column.name) && plain => ColumnRole::Patient,
                        () if is_like_lesion(column.name) && plain => ColumnRole::Lesion,
                        () if is_like_id(column.name) && many && distinct.len() < recorded => ColumnRole::Group,
                        () => continue,
                    }
                }
            };
            let why = match role {
                ColumnRole::Group => "its values repeat and its name is that of an identifier",
                _ if distinct.len() == recorded => "its name says so, though no value repeats",
                _ => "its values repeat and its name says so",
            };
            // One column of a kind counts; another one is a group.
            let role = if self.groups.iter().any(|group| group.role == role) { ColumnRole::Group } else { role };
            if role == ColumnRole::Group && self.groups.iter().any(|group| group.role == role) {
                continue;
            }
            self.groups.push(GroupColumn { column: at, role, reason: format!("{why} ({counts})") });
        }
        let of = |role: ColumnRole| self.groups.iter().find(|group| group.role == role);
        if let (Some(patient), Some(lesion)) = (of(ColumnRole::Patient), of(ColumnRole::Lesion)) {
            let (patients, lesions) = (&columns.all[patient.column].codes, &columns.all[lesion.column].codes);
            let mut owner: HashMap<u32, u32> = HashMap::new();
            let is_shared = |row: usize| {
                lesions[row] != NOTHING && patients[row] != NOTHING && {
                    *owner.entry(lesions[row]).or_insert(patients[row]) != patients[row]
                }
            };
            self.of_patient = (0..columns.rows).any(is_shared);
            if self.of_patient {
                let patient = columns.all[patient.column].name;
                let lesion = lesion.column;
                let group = self.groups.iter_mut().find(|group| group.column == lesion).expect("it is there");
                group.reason += &format!("; one value has several patients, so it counts together with `{patient}`");
            }
        }
        if self.groups.is_empty() {
            open.push(
                "no column tells which cases are of one patient or lesion, so such cases may both train and test; if one does, say \
                 --role COLUMN=patient (or lesion, or group)"
                    .into(),
            );
        }
    }
}
