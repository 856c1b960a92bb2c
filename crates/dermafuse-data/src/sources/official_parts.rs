//! What the challenges of ISIC with official parts have in common: for each part a ground truth and a folder of images, and
//! the split that they are.

use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, Field, TaskSet};

use crate::sources::load_options::{Place, table_file};
use crate::tables::table::Column;
use crate::{CaseSet, DataError, ImageSource, LoadOptions, Modality, SYNTHETIC_MARKER, SharedImages, Split};

/// A part of a challenge, as its archives are called.
pub(crate) struct OfficialPart {
    /// What its cases are for.
    pub(crate) role: PartRole,
    /// What the ground truth may be called.
    pub(crate) truth: &'static [&'static str],
    /// What the folder of images may be called.
    pub(crate) images: &'static [&'static str],
    /// The published number of images of each class, of which a part of that size must have as many.
    pub(crate) published: &'static [usize],
}

/// What the cases of a part are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartRole {
    Training,
    Validation,
    Test,
}

impl PartRole {
    const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl OfficialPart {
    /// The ground truth, if it is there: in the folder of the set, in a folder of its own name, as archives unpack, or beside
    /// the images.
    pub(crate) fn truth(&self, place: Place<'_>) -> Option<PathBuf> {
        self.truth.iter().find_map(|name| self.find(name, place))
    }

    /// A file of this part by its name, where its ground truth would be too.
    pub(crate) fn find(&self, name: &str, place: Place<'_>) -> Option<PathBuf> {
        let stem = Path::new(name).file_stem().map(PathBuf::from).unwrap_or_default();
        let beside = self.images.iter().flat_map(|folder| [PathBuf::from(folder), Path::new(folder).join(folder)]);
        let mut folders = [PathBuf::new(), stem].into_iter().chain(beside);
        folders.find_map(|folder| Some(table_file(place.root.join(folder).join(name))).filter(|file| file.is_file()))
    }

    /// Gives the cases of this part, one a row of the table, their images: from the part's own folder, where there is one.
    /// Returns what is to be noted.
    pub(crate) fn add_images(
        &self,
        options: &LoadOptions,
        cases: &mut [Case],
        column: Column<'_>,
        place: Place<'_>,
    ) -> Result<Vec<String>, DataError> {
        let own = self.images.iter().map(|folder| place.root.join(folder)).find(|folder| folder.is_dir());
        let images = match (&options.images, own) {
            (ImageSource::BelowRoot, Some(folder)) => ImageSource::Folder(folder),
            (images, _) => images.clone(),
        };
        LoadOptions { images, ..options.clone() }.add_images(cases, Modality::Dermoscopic, column, place)
    }
}

/// The set of all parts that are there.
pub(crate) struct OfficialSet<'a> {
    /// What it is called.
    pub(crate) name: &'static str,
    pub(crate) place: Place<'a>,
    pub(crate) tasks: TaskSet,
    pub(crate) fields: Vec<Field>,
    /// All parts that the challenge has.
    pub(crate) parts: &'static [OfficialPart],
}

impl OfficialSet<'_> {
    /// Reads each part whose ground truth is there with `read`, which gives its cases and what is to be noted, and joins them. The
    /// split is the challenge's; where a part to train on or to test on is not there, there is none, which is noted.
    ///
    /// # Errors
    /// No part is there; what `read` refuses; an image in two parts; a whole part with other counts than published.
    pub(crate) fn load(
        self,
        options: &LoadOptions,
        read: impl Fn(&OfficialPart, &Path) -> Result<(Vec<Case>, Vec<String>), DataError>,
    ) -> Result<CaseSet, DataError> {
        let Self { name, place, tasks, fields, parts } = self;
        let synthetic = place.root.join(SYNTHETIC_MARKER).is_file();
        let name = if synthetic { format!("{name}-synthetic") } else { name.to_owned() };
        let mut set = CaseSet { name, synthetic, tasks, fields, cases: vec![], split: None, notes: vec![] };
        let mut rows: Vec<(PartRole, Vec<usize>)> = Vec::new();
        for part in parts {
            let Some(file) = part.truth(place) else {
                set.notes.push(format!("no {}: no {} part", part.truth[0], part.role.name()));
                continue;
            };
            let (cases, notes) = read(part, &file)?;
            let first = set.cases.len();
            set.cases.extend(cases);
            for note in notes {
                if !set.notes.contains(&note) {
                    set.notes.push(note);
                }
            }
            rows.push((part.role, (first..set.cases.len()).collect()));
        }
        if rows.is_empty() {
            return Err(place.missing(place.root.join(parts[0].truth[0])));
        }
        set.join_groups(SharedImages::from(options.group_duplicates));
        set.check()?;
        for (part, (_, rows)) in parts.iter().filter_map(|part| Some((part, rows.iter().find(|it| it.0 == part.role)?)))
        {
            if !synthetic && rows.len() == part.published.iter().sum::<usize>() {
                let found = set.view(rows.as_slice())?.class_counts(0)?;
                for ((class, &expected), found) in set.tasks[0].classes.iter().zip(part.published).zip(found) {
                    place.check_count(format!("{} images of {class}", part.role.name()), expected, found)?;
                }
            }
        }
        set.split = split_of(rows, set.len(), parts.iter().any(|part| part.role == PartRole::Validation))?;
        match &set.split {
            None => set.notes.push("the challenge's split is of all its parts: there is none here".into()),
            Some(split) if matches!(split.check(&set), Err(DataError::GroupCrosses { .. })) => {
                // It is the published split, so it is kept; but it says so wherever it is reported.
                set.split = set.split.take().map(Split::with_groups_crossing);
                set.notes.push("the published split has images of one lesion, or identical ones, in two parts".into());
            }
            Some(_) => {}
        }
        Ok(set)
    }
}

/// The split of the parts that are there; `validates` says whether the challenge has a validation part.
fn split_of(rows: Vec<(PartRole, Vec<usize>)>, cases: usize, validates: bool) -> Result<Option<Split>, DataError> {
    let of = |role: PartRole| rows.iter().find(|part| part.0 == role).map(|part| part.1.clone());
    match (of(PartRole::Training), of(PartRole::Validation), of(PartRole::Test)) {
        (Some(train), Some(valid), Some(test)) => Split::new(train, valid, test, cases).map(Some),
        (Some(train), None, Some(test)) if !validates => Split::without_validation(train, test, cases).map(Some),
        _ => Ok(None),
    }
}
