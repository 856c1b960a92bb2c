//! Where images are named, and where they are.

use std::path::PathBuf;

use toml::Spanned;

use super::Loader;
use super::columns::{Source, Tables};
use super::description::{Description, ImageColumn, Images};
use super::files::{ImageFiles, MissingImages};
use super::lesions::{LesionReader, Masks};
use crate::images::image_folder::{ImageFolder, ImageIndex};
use crate::tables::spelling::on_disk;
use crate::tables::table::Row;
use crate::{DataError, ImageSource, Modality};

/// Where an image's name comes from, and in which rows.
pub(super) struct ImageReader<'a> {
    pub(super) entry: &'a Spanned<ImageColumn>,
    pub(super) modality: Modality,
    pub(super) source: Source,
    only: Vec<(usize, &'a str)>,
    pub(super) lesion: Option<LesionReader<'a>>,
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
            let only = only.collect::<Result<_, DataError>>()?;
            Ok(ImageReader { entry, modality, source, only, lesion: self.lesion_reader(tables, entry.get_ref())? })
        };
        let wanted = self.options.images != ImageSource::Nowhere;
        // Also where no image is asked for: it is `where` that lets a case have several rows.
        let readers = entries.into_iter().filter_map(|(modality, entry)| Some((modality, entry.as_ref()?))).map(reader);
        let readers = readers.collect::<Result<Vec<_>, DataError>>()?;
        Ok(readers.into_iter().filter(|reader| wanted || !reader.only.is_empty()).collect())
    }

    /// The images, and the masks where an image has a column of them.
    pub(super) fn image_files(
        &self,
        description: &Description,
        readers: &[ImageReader<'_>],
    ) -> Result<(ImageFiles, Masks), DataError> {
        let named = |of: fn(&Images) -> &[Spanned<PathBuf>]| description.images.as_ref().map_or(&[][..], of);
        let (of_images, of_masks) = (named(|images| &images.folders), named(|images| &images.masks));
        let has_masks = readers.iter().any(|reader| reader.lesion.as_ref().is_some_and(LesionReader::has_masks));
        let wanted = self.options.images != ImageSource::Nowhere && !readers.is_empty();
        if let ([folder, ..], false, true) = (of_masks, has_masks, wanted) {
            let expected = "a column `mask` of the clinical or dermoscopic images, where there are folders of masks";
            let found = folder.get_ref().display().to_string();
            return Err(self.declaration.error(folder.span(), "folder of masks", &found, expected));
        }
        let files = self.files_in(of_images, wanted, true)?;
        let masks = match of_masks {
            [] => self.files_in(of_images, has_masks, true)?,
            of_masks => self.files_in(of_masks, has_masks, false)?,
        };
        Ok((files, Masks { files: masks, missing: MissingImages::default() }))
    }

    /// The images below folders; where that is given and stands for them, below that of the options.
    fn files_in(
        &self,
        named: &[Spanned<PathBuf>],
        wanted: bool,
        may_be_elsewhere: bool,
    ) -> Result<ImageFiles, DataError> {
        let mut folders = Vec::new();
        match &self.options.images {
            ImageSource::Nowhere => {}
            ImageSource::Folder(_) | ImageSource::BelowRoot if !wanted => {}
            ImageSource::Folder(folder) if may_be_elsewhere => folders.push(ImageFolder::list(folder)?),
            ImageSource::Folder(_) | ImageSource::BelowRoot => {
                for folder in named {
                    let listed = ImageFolder::list(&on_disk(&self.folder.join(folder.get_ref())));
                    folders.push(listed.map_err(|source| self.declaration.asked(folder.span(), source))?);
                }
                if folders.is_empty() {
                    folders.push(ImageFolder::list(self.folder)?);
                }
            }
        }
        let searched = self.options.images == ImageSource::BelowRoot && named.is_empty();
        Ok(ImageFiles::new(ImageIndex::new(folders, !searched)))
    }
}
