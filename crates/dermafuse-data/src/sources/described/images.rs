//! Where images are named, and where they are.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::Loader;
use super::columns::{Source, Tables};
use super::description::{Description, ImageColumn};
use crate::images::image_folder::{ImageFolder, ImageIndex, Lookup};
use crate::sources::load_options::one_image;
use crate::tables::declaration::Declaration;
use crate::tables::spelling::on_disk;
use crate::tables::table::{Cell, Row};
use crate::{DataError, ImageSource, Modality};

/// Where an image's name comes from, and in which rows.
pub(super) struct ImageReader<'a> {
    pub(super) entry: &'a Spanned<ImageColumn>,
    pub(super) modality: Modality,
    pub(super) source: Source,
    only: Vec<(usize, &'a str)>,
}

/// The images below the folders, and how many names were looked up.
pub(super) struct ImageFiles {
    index: ImageIndex,
    looked_up: usize,
}

impl ImageFiles {
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
    pub(super) fn add(&mut self, image: &ImageReader<'_>, cell: Cell<'_>) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some((image.entry.span(), cell.error("")));
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

impl ImageReader<'_> {
    /// Whether it has a `where`.
    pub(super) fn is_choosy(&self) -> bool {
        !self.only.is_empty()
    }

    pub(super) fn applies(&self, row: Row<'_>) -> bool {
        self.only.iter().all(|&(column, value)| row.cell(column).text() == value)
    }
}

impl Loader<'_> {
    pub(super) fn image_readers<'d>(
        &self,
        tables: &Tables<'_>,
        description: &'d Description,
    ) -> Result<Vec<ImageReader<'d>>, DataError> {
        let Some(images) = &description.images else { return Ok(Vec::new()) };
        let entries = [(Modality::Clinical, &images.clinical), (Modality::Dermoscopic, &images.dermoscopic)];
        let reader = |(modality, entry): (Modality, &'d Spanned<ImageColumn>)| {
            let source = self.source(tables, entry.span(), &entry.get_ref().name)?;
            let only = entry.get_ref().only.iter().map(|(column, value)| {
                let column = self.case_column(tables, column)?;
                Ok((column, value.as_str()))
            });
            Ok(ImageReader { entry, modality, source, only: only.collect::<Result<_, DataError>>()? })
        };
        let wanted = self.options.images != ImageSource::Nowhere;
        // Also where no image is asked for: it is `where` that lets a case have several rows.
        let readers = entries.into_iter().filter_map(|(modality, entry)| Some((modality, entry.as_ref()?))).map(reader);
        let readers = readers.collect::<Result<Vec<_>, DataError>>()?;
        Ok(readers.into_iter().filter(|reader| wanted || !reader.only.is_empty()).collect())
    }

    pub(super) fn image_files(&self, description: &Description, wanted: bool) -> Result<ImageFiles, DataError> {
        let mut folders = Vec::new();
        match &self.options.images {
            ImageSource::Nowhere => {}
            ImageSource::Folder(_) | ImageSource::BelowRoot if !wanted => {}
            ImageSource::Folder(folder) => folders.push(ImageFolder::list(folder)?),
            ImageSource::BelowRoot => {
                let named = description.images.iter().flat_map(|images| &images.folders);
                for folder in named {
                    let listed = ImageFolder::list(&on_disk(&self.folder.join(folder.get_ref())));
                    folders.push(listed.map_err(|source| self.declaration.asked(folder.span(), source))?);
                }
                if folders.is_empty() {
                    folders.push(ImageFolder::list(self.folder)?);
                }
            }
        }
        let searched = self.options.images == ImageSource::BelowRoot
            && description.images.iter().all(|images| images.folders.is_empty());
        Ok(ImageFiles { index: ImageIndex::new(folders, !searched), looked_up: 0 })
    }
}
