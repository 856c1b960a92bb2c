//! Image files by the names that a table gives them.

use std::ops::Range;
use std::path::PathBuf;

use crate::DataError;
use crate::images::image_folder::{ImageIndex, Lookup};
use crate::sources::load_options::one_image;
use crate::tables::declaration::Declaration;
use crate::tables::table::Cell;

/// The images below the folders, and how many names were looked up.
pub(super) struct ImageFiles {
    index: ImageIndex,
    looked_up: usize,
}

impl ImageFiles {
    pub(super) fn new(index: ImageIndex) -> Self {
        Self { index, looked_up: 0 }
    }

    /// The image that a cell names; `None` if it is not there.
    pub(super) fn find(&mut self, cell: Cell<'_>, notes: &mut Vec<String>) -> Result<Option<PathBuf>, DataError> {
        self.looked_up += 1;
        let text = cell.text();
        match self.index.find(text) {
            Lookup::One(path) => Ok(Some(path)),
            Lookup::OtherCase(path, actual) => {
                notes.push(format!("image `{text}` is `{actual}` on disk; taken as the same"));
                Ok(Some(path))
            }
            Lookup::Several(one, other) => {
                Err(cell.error(one_image(&one, &other, "in `folders` of `[images]` (or by `--images`)")))
            }
            Lookup::Outside => Err(cell.error("a name or path inside the image folders")),
            Lookup::Nowhere => Ok(None),
        }
    }

    /// Where the image that a cell names would be.
    pub(super) fn expected(&self, cell: Cell<'_>) -> PathBuf {
        self.index.root().join(cell.text())
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.index.notes()
    }
}

/// The images that are not there: how many, and which was the first.
#[derive(Default)]
pub(super) struct MissingImages {
    count: usize,
    first: Option<(Range<usize>, DataError)>,
}

impl MissingImages {
    /// Adds one that a cell names, which an entry of the description asks for.
    pub(super) fn add(&mut self, entry: Range<usize>, cell: Cell<'_>) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some((entry, cell.error("")));
        }
    }

    pub(super) fn check(self, declaration: &Declaration, files: &ImageFiles) -> Result<(), DataError> {
        let Some((span, DataError::Value { file, line, column, found, .. })) = self.first else {
            return Ok(());
        };
        let folder = files.index.root().to_path_buf();
        let (missing, total) = (self.count, files.looked_up);
        let error = DataError::ImageNotFound { file, line, column, found, folder, missing, total };
        Err(declaration.asked(span, error))
    }
}
