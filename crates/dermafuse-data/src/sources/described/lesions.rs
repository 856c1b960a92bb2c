//! Where in an image the lesion is, as columns of a table say.

use std::path::PathBuf;
use std::sync::Arc;

use dermafuse_schema::{LesionArea, LesionBox, LesionRegion, Name, SchemaError, TablePlace};
use toml::Spanned;

use super::Loader;
use super::columns::{Rows, Source, Tables};
use super::description::ImageColumn;
use super::files::{ImageFiles, MissingImages};
use crate::DataError;
use crate::tables::table::Cell;

/// The columns of a box: one that has it as text, or one each for x, y, width and height.
enum BoxSource {
    Text(Source),
    Numbers([Source; 4]),
}

/// Where the area of a lesion comes from.
pub(super) struct LesionReader<'a> {
    entry: &'a ImageColumn,
    box_source: Option<BoxSource>,
    mask: Option<Source>,
    /// Shared by all places of errors.
    names: PlaceNames,
}

/// The table that was named last, and its columns by number.
#[derive(Default)]
struct PlaceNames {
    file: Option<Arc<PathBuf>>,
    columns: Vec<Name>,
}

impl PlaceNames {
    /// Where a value is written. Its file and column are shared with the last ones of the same text.
    fn place(&mut self, cell: &Cell<'_>) -> TablePlace {
        let file = match self.file.take().filter(|file| file.as_path() == cell.file()) {
            Some(file) => file,
            None => Arc::new(cell.file().to_owned()),
        };
        self.file = Some(file.clone());
        let column = match self.columns.iter().find(|name| name.as_str() == cell.column()) {
            Some(name) => name.clone(),
            None => {
                self.columns.push(Name::from(cell.column()));
                Name::from(cell.column())
            }
        };
        TablePlace { file, line: cell.line(), column }
    }
}

impl LesionReader<'_> {
    /// Whether files of masks are named.
    pub(super) fn has_masks(&self) -> bool {
        self.mask.is_some()
    }

    /// The area that a row says; `None` where it says none. `missing` are words for that.
    pub(super) fn read(
        &mut self,
        loader: &Loader<'_>,
        rows: &Rows<'_>,
        missing: &[String],
        masks: &mut Masks,
        notes: &mut Vec<String>,
    ) -> Result<Option<LesionRegion>, DataError> {
        let ImageColumn { lesion_box, mask, .. } = self.entry;
        let of_box = lesion_box.as_ref().map_or(0..0, Spanned::span);
        let found = match &self.box_source {
            None => None,
            Some(source) => {
                read_box(source, rows, missing).map_err(|error| loader.declaration.asked(of_box.clone(), error))?
            }
        };
        let mask_cell = self.mask.and_then(|source| rows.recorded(source, missing));
        let Some(cell) = mask_cell else {
            let Some((lesion, cell)) = found else { return Ok(None) };
            return Ok(Some(LesionRegion { area: LesionArea::Box(lesion), written: Some(self.names.place(&cell)) }));
        };
        let of_mask = mask.as_ref().map_or(0..0, Spanned::span);
        let asked = |error| loader.declaration.asked(of_mask.clone(), error);
        if found.is_some() {
            return Err(asked(
                cell.error("nothing where the row has a box too: a box or a mask says where a lesion is"),
            ));
        }
        let file = match masks.files.find(cell, notes).map_err(asked)? {
            Some(file) => file,
            None if !loader.labelled => masks.files.expected(cell),
            None => {
                masks.missing.add(of_mask, cell);
                return Ok(None);
            }
        };
        Ok(Some(LesionRegion { area: LesionArea::Mask(file), written: Some(self.names.place(&cell)) }))
    }
}

/// The files of masks, and those that are not there.
pub(super) struct Masks {
    pub(super) files: ImageFiles,
    pub(super) missing: MissingImages,
}

/// A box, and the cell where it begins.
fn read_box<'a>(
    source: &BoxSource,
    rows: &Rows<'a>,
    missing: &[String],
) -> Result<Option<(LesionBox, Cell<'a>)>, DataError> {
    match source {
        BoxSource::Text(source) => {
            let Some(cell) = rows.recorded(*source, missing) else { return Ok(None) };
            match cell.text().parse::<LesionBox>() {
                Ok(lesion) => Ok(Some((lesion, cell))),
                Err(error) => {
                    let reason = match error {
                        SchemaError::LesionBox { reason, .. } => reason.to_owned(),
                        other => other.to_string(),
                    };
                    Err(cell.error(format!("a lesion box x,y,width,height in pixels: {reason}")))
                }
            }
        }
        BoxSource::Numbers(sources) => {
            let cells = sources.map(|source| rows.recorded(source, missing));
            if cells.iter().all(Option::is_none) {
                return Ok(None);
            }
            let mut numbers = [0.0; 4];
            for ((cell, source), number) in cells.iter().zip(sources).zip(&mut numbers) {
                let Some(cell) = cell else {
                    // A row of a joined table is there, since another of the columns says something.
                    let Some(empty) = rows.cell(*source) else { return Ok(None) };
                    return Err(empty.error("a number, as the other columns of the lesion box have in this row"));
                };
                *number = cell.number()?.ok_or_else(|| cell.error("a number"))?;
            }
            match (LesionBox::checked(numbers), cells) {
                (Ok(lesion), [Some(first), ..]) => Ok(Some((lesion, first))),
                (Err((at, reason)), cells) => {
                    let cell = cells[at].or(cells[0]).expect("all are recorded");
                    Err(cell.error(format!("a part of a lesion box x,y,width,height: {reason}")))
                }
                (Ok(_), _) => Ok(None),
            }
        }
    }
}

impl Loader<'_> {
    /// Where the area of the lesion comes from; `None` where no column says it.
    pub(super) fn lesion_reader<'d>(
        &self,
        tables: &Tables<'_>,
        entry: &'d ImageColumn,
    ) -> Result<Option<LesionReader<'d>>, DataError> {
        let box_source = match &entry.lesion_box {
            None => None,
            Some(columns) => {
                let names = &columns.get_ref().0;
                let sources = names.iter().map(|name| self.source(tables, columns.span(), name));
                let sources: Vec<Source> = sources.collect::<Result<_, _>>()?;
                if sources.iter().any(|source| source.table != sources[0].table) {
                    let expected = "four columns of one table";
                    return Err(self.declaration.error(
                        columns.span(),
                        "lesion box",
                        "columns of two tables",
                        expected,
                    ));
                }
                Some(match sources[..] {
                    [text] => BoxSource::Text(text),
                    [x, y, width, height] => BoxSource::Numbers([x, y, width, height]),
                    _ => {
                        let found = format!("{} columns", sources.len());
                        let expected = "one column with x,y,width,height, or a list of four: x, y, width and height";
                        return Err(self.declaration.error(columns.span(), "lesion box", &found, expected));
                    }
                })
            }
        };
        let mask = match &entry.mask {
            None => None,
            Some(name) => Some(self.source(tables, name.span(), name.get_ref())?),
        };
        let reader = LesionReader { entry, box_source, mask, names: PlaceNames::default() };
        Ok((reader.box_source.is_some() || reader.mask.is_some()).then_some(reader))
    }
}
