//! Which columns name images, and what these are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::column::{Columns, GuessedColumn, NOTHING};
use super::words::{is_like_image, modality_of, quoted};
use super::{ColumnRole, ProposalOptions};
use crate::images::image::has_image_extension;
use crate::images::image_folder::{ImageFolder, ImageIndex, Lookup};
use crate::{DataError, Modality};

/// Rows that are looked at to tell whether two columns name the same files.
const COMPARED: usize = 500;
/// The most values of a column that says what the images are.
const VIEWS: usize = 10;

/// What was found out of images.
pub(super) struct ImagesGuess {
    pub(super) folders: Vec<PathBuf>,
    pub(super) columns: Vec<ImageColumn>,
    /// The column that says what the images are, if it has a say.
    pub(super) view: Option<(usize, String)>,
    pub(super) left_out: Vec<(usize, String)>,
}

pub(super) struct ImageColumn {
    pub(super) column: usize,
    pub(super) modality: Modality,
    pub(super) reason: String,
    /// The column that says what the image of a row is, and the word for this modality.
    pub(super) only: Option<(String, String)>,
}

/// A column whose values are images, with the path of each value.
struct Named {
    column: usize,
    paths: Vec<Option<PathBuf>>,
    found: usize,
    /// What its owner said it is.
    given: Option<Modality>,
}

impl ImagesGuess {
    /// Whether the rows of a case are its images.
    pub(super) fn has_rows_of_images(&self) -> bool {
        self.columns.iter().any(|image| image.only.is_some())
    }
}

pub(super) fn guess(
    columns: &Columns<'_>,
    table: &Path,
    options: &ProposalOptions,
    open: &mut Vec<String>,
) -> Result<ImagesGuess, DataError> {
    let mut folders = options.images.clone();
    if folders.is_empty() {
        folders.push(match table.parent() {
            Some(folder) if folder != Path::new("") => folder.to_path_buf(),
            _ => PathBuf::from("."),
        });
    }
    let listed = folders.iter().map(|folder| ImageFolder::list(folder)).collect::<Result<Vec<_>, _>>()?;
    let mut index = ImageIndex::new(listed, !options.images.is_empty());
    let where_they_are = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");

    let mut named: Vec<Named> = Vec::new();
    for (at, column) in columns.all.iter().enumerate().filter(|(_, column)| column.table == 0 && !column.settled) {
        let given = match options.roles.get(column.name) {
            Some(ColumnRole::Clinical) => Some(Modality::Clinical),
            Some(ColumnRole::Dermoscopic) => Some(Modality::Dermoscopic),
            Some(ColumnRole::Id | ColumnRole::Lesion) | None => None,
            Some(_) => continue,
        };
        let distinct = column.distinct();
        if given.is_none() && (distinct == 0 || 2 * distinct < column.recorded()) {
            continue;
        }
        let extensions = column.seen().filter(|value| has_image_extension(Path::new(value.text))).count();
        let path = |text: &str| match index.find(text) {
            Lookup::One(path) | Lookup::OtherCase(path, _) | Lookup::Several(path, _) => Some(path),
            Lookup::Outside | Lookup::Nowhere => None,
        };
        let paths: Vec<Option<PathBuf>> = column.values.iter().map(|value| value.text).map(path).collect();
        let found = column.values.iter().zip(&paths).filter(|(value, path)| value.count > 0 && path.is_some()).count();
        let names_files = 2 * extensions >= distinct;
        if given.is_some() || (found > 0 && (2 * found >= distinct || names_files)) {
            if found < distinct {
                let absent = column.values.iter().zip(&paths).find(|(value, path)| value.count > 0 && path.is_none());
                let first = absent.map_or("", |(value, _)| value.text);
                open.push(format!(
                    "column `{}`: {} of {distinct} images are not in {where_they_are}, the first is `{first}`; name all folders with \
                     --images, or empty these cells",
                    column.name,
                    distinct - found
                ));
            }
            named.push(Named { column: at, paths, found, given });
        } else if names_files {
            let first = column.seen().next().map_or("", |value| value.text);
            let name = column.name;
            return Err(DataError::NotGuessed {
                file: table.into(),
                what: format!(
                    "where the images of column `{name}` are, such as `{first}`: none is in {where_they_are}"
                ),
                remedy: format!(
                    "name their folder with --images, or leave the column out with --role \"{name}=left-out\""
                ),
            });
        }
    }
    drop_other_names(columns, &mut named);
    drop_twins(columns, &mut named);
    let mut guess = ImagesGuess { folders, columns: Vec::new(), view: None, left_out: Vec::new() };
    match &named[..] {
        [] => guess.folders.clear(),
        [only] => guess.of_one(columns, only, options, open),
        several => guess.of_several(columns, several, open),
    }
    Ok(guess)
}

/// A column whose values repeat, such as one of patients `P7`, may name the photo `p7.jpg` of another column by chance.
fn drop_other_names(columns: &Columns<'_>, named: &mut Vec<Named>) {
    let files = |named: &Named| named.paths.iter().flatten().cloned().collect::<HashSet<PathBuf>>();
    let repeats = |named: &Named| columns.all[named.column].distinct() < columns.all[named.column].recorded();
    let is_chance = |one: &Named| {
        let is_whole = |other: &&Named| other.column != one.column && !repeats(other);
        one.given.is_none()
            && repeats(one)
            && named.iter().filter(is_whole).any(|other| files(one).is_subset(&files(other)))
    };
    let by_chance: Vec<bool> = named.iter().map(is_chance).collect();
    let mut keep = by_chance.iter();
    named.retain(|_| !*keep.next().expect("one for each"));
}

/// Of two columns that name the same files, such as `image_id` and `file`, one counts.
fn drop_twins(columns: &Columns<'_>, named: &mut Vec<Named>) {
    let same = |one: &Named, other: &Named| {
        let codes = |named: &Named, row: usize| columns.all[named.column].codes[row];
        let rows: Vec<(u32, u32)> = (0..columns.rows)
            .map(|row| (codes(one, row), codes(other, row)))
            .filter(|(one, other)| *one != NOTHING && *other != NOTHING)
            .take(COMPARED)
            .collect();
        let path = |named: &Named, code: u32| named.paths[code as usize].clone();
        let alike = rows.iter().filter(|(a, b)| path(one, *a).is_some() && path(one, *a) == path(other, *b)).count();
        10 * alike >= 9 * rows.len() && alike > 0
    };
    let worth = |named: &Named| {
        let column = &columns.all[named.column];
        let file = column.seen().next().is_some_and(|value| has_image_extension(Path::new(value.text)));
        (named.given.is_some(), file, is_like_image(column.name))
    };
    let mut at = 0;
    while at < named.len() {
        let better = (0..named.len()).find(|&other| {
            other != at && same(&named[at], &named[other]) && {
                let (ours, theirs) = (worth(&named[at]), worth(&named[other]));
                theirs > ours || (theirs == ours && other < at)
            }
        });
        match better {
            Some(_) => drop(named.remove(at)),
            None => at += 1,
        }
    }
}

impl ImagesGuess {
    fn of_one(&mut self, columns: &Columns<'_>, named: &Named, options: &ProposalOptions, open: &mut Vec<String>) {
        let column = &columns.all[named.column];
        let found = self.found(columns, named);
        if let Some(modality) = named.given.or(options.modality) {
            self.columns.push(ImageColumn {
                column: named.column,
                modality,
                reason: format!("{found}; you said what they are"),
                only: None,
            });
            return;
        }
        let is_view = |other: &GuessedColumn<'_>| {
            let role = options.roles.get(other.name);
            let is_free = other.table == 0 && !other.settled && role.is_none_or(|role| *role == ColumnRole::View);
            is_free
                && (1..=VIEWS).contains(&other.distinct())
                && other.seen().all(|value| modality_of(value.text).is_some())
        };
        if let Some(at) = (0..columns.all.len()).find(|&at| at != named.column && is_view(&columns.all[at])) {
            let view = &columns.all[at];
            let mut words = [Modality::Clinical, Modality::Dermoscopic].map(|modality| {
                let mut words: Vec<_> = view.seen().filter(|value| modality_of(value.text) == Some(modality)).collect();
                words.sort_by_key(|value| std::cmp::Reverse(value.count));
                (modality, words)
            });
            words.iter_mut().for_each(|(_, words)| {
                if words.len() > 1 {
                    let others: Vec<&str> = words.iter().skip(1).map(|value| value.text).collect();
                    open.push(format!(
                        "column `{}`: {} is taken for the image of its kind; rows with {} have none: a kind has one word",
                        view.name,
                        quoted(&[words[0].text]),
                        quoted(&others)
                    ));
                    words.truncate(1);
                }
            });
            let both = words.iter().all(|(_, words)| !words.is_empty());
            for (modality, words) in &words {
                let Some(word) = words.first() else { continue };
                let only = both.then(|| (view.name.to_owned(), word.text.to_owned()));
                let reason = format!("{found}; where `{}` is `{}`", view.name, word.text);
                self.columns.push(ImageColumn { column: named.column, modality: *modality, reason, only });
            }
            let reason =
                if both { "its words are those of the two kinds of image" } else { "it says what all images are" };
            let role = if both { Some((at, reason.to_owned())) } else { None };
            if role.is_none() {
                self.left_out.push((at, reason.to_owned()));
            }
            self.view = role;
            return;
        }
        let (modality, why) = match self.hint(column, named) {
            Some((modality, why)) => (modality, why),
            None => {
                open.push(format!(
                    "column `{}`: nothing tells whether the images are clinical or dermoscopic, so they are taken for clinical; \
                     say --view dermoscopic if they are not",
                    column.name
                ));
                (Modality::Clinical, "nothing tells what they are".to_owned())
            }
        };
        self.columns.push(ImageColumn {
            column: named.column,
            modality,
            reason: format!("{found}; {why}"),
            only: None,
        });
    }

    fn of_several(&mut self, columns: &Columns<'_>, several: &[Named], open: &mut Vec<String>) {
        let hints: Vec<Option<(Modality, String)>> = several
            .iter()
            .map(|named| match named.given {
                Some(modality) => Some((modality, "you said what they are".to_owned())),
                None => self.hint(&columns.all[named.column], named),
            })
            .collect();
        let other = |modality: Modality| match modality {
            Modality::Clinical => Modality::Dermoscopic,
            Modality::Dermoscopic => Modality::Clinical,
        };
        let mut unsure = Vec::new();
        for (at, named) in several.iter().enumerate() {
            let taken = |modality: Modality| self.columns.iter().any(|image| image.modality == modality);
            let told = |modality: Modality| hints.iter().flatten().any(|(hint, _)| *hint == modality);
            let (modality, why) = match &hints[at] {
                Some((modality, why)) => (*modality, why.clone()),
                None => {
                    let first = [Modality::Clinical, Modality::Dermoscopic]
                        .into_iter()
                        .find(|&modality| !taken(modality) && !told(modality));
                    let Some(modality) = first else {
                        self.left_out
                            .push((named.column, "it names further images, and nothing tells what they are".into()));
                        continue;
                    };
                    if told(other(modality)) {
                        (modality, "another column has the other kind".to_owned())
                    } else {
                        unsure.push(columns.all[named.column].name);
                        (modality, "nothing tells what they are".to_owned())
                    }
                }
            };
            if taken(modality) {
                let reason =
                    "it names further images of a kind that another column has; a case has one image of a kind";
                self.left_out.push((named.column, reason.into()));
                continue;
            }
            let reason = format!("{}; {why}", self.found(columns, named));
            self.columns.push(ImageColumn { column: named.column, modality, reason, only: None });
        }
        if !unsure.is_empty() {
            open.push(format!(
                "columns {}: nothing tells which images are clinical and which dermoscopic, so the first are taken for clinical; \
                 say --role COLUMN=dermoscopic if they are not",
                quoted(&unsure)
            ));
        }
    }

    fn found(&self, columns: &Columns<'_>, named: &Named) -> String {
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        format!(
            "{} of its {} values name images in {}",
            named.found,
            columns.all[named.column].distinct(),
            folders.join(", ")
        )
    }

    /// What the images of a column are, by its name or by their folder.
    fn hint(&self, column: &GuessedColumn<'_>, named: &Named) -> Option<(Modality, String)> {
        if let Some(modality) = modality_of(column.name) {
            return Some((modality, "its name tells what they are".into()));
        }
        let first = named.paths.iter().flatten().next()?;
        let below = self.folders.iter().find_map(|folder| first.strip_prefix(folder).ok()).unwrap_or(first);
        let inner = below.parent().and_then(|parent| modality_of(&parent.to_string_lossy()));
        let named_folder = || {
            let mut folders = self.folders.iter().filter(|folder| first.starts_with(folder));
            folders.find_map(|folder| modality_of(&folder.file_name()?.to_string_lossy()))
        };
        if let Some(modality) = inner.or_else(named_folder) {
            return Some((modality, "their folder tells what they are".into()));
        }
        let file = first.file_stem().and_then(|name| modality_of(&name.to_string_lossy()))?;
        Some((file, "their names tell what they are".into()))
    }
}
