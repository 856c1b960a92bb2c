use std::ffi::OsStr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{LesionBox, Name};

/// An image of a case: its file, and where in it the lesion is, if somebody says so.
///
/// Two are equal if their files and [areas](LesionArea) are, wherever these were written.
///
/// ```
/// use dermafuse_schema::{CaseImage, LesionArea, LesionBox};
///
/// let whole = CaseImage::from("arm.jpg");
/// let cut = whole.clone().with_lesion(LesionBox::new(120, 80, 300, 260)?);
/// assert_eq!(cut.area(), Some(&LesionArea::Box(LesionBox::new(120, 80, 300, 260)?)));
/// assert_ne!(cut, whole); // two lesions of one photo are two images
/// assert_eq!(cut.path, whole.path);
/// # Ok::<(), dermafuse_schema::SchemaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CaseImage {
    /// The file.
    pub path: PathBuf,
    /// Where the lesion is; `None` where nobody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lesion: Option<Box<LesionRegion>>,
}

/// Where in an image a lesion is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LesionArea {
    /// In a rectangle.
    Box(LesionBox),
    /// Where the image in this file, which is as large, is not black; the smallest rectangle around it counts.
    Mask(PathBuf),
}

/// Where in an image a lesion is, and who says so. Two are equal if their areas are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LesionRegion {
    /// The area.
    pub area: LesionArea,
    /// Where it was read; `None` where no table says it.
    #[serde(skip)]
    pub written: Option<TablePlace>,
}

/// A value of a table, for errors about it that are found later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlace {
    /// The table.
    pub file: Arc<PathBuf>,
    /// The line, the header being line 1.
    pub line: u64,
    /// The name of the column.
    pub column: Name,
}

impl CaseImage {
    /// The same image with the area that the lesion is in.
    #[must_use]
    pub fn with_lesion(self, lesion: impl Into<LesionRegion>) -> Self {
        Self { lesion: Some(Box::new(lesion.into())), ..self }
    }

    /// The area that the lesion is in, if it is known.
    #[must_use]
    pub fn area(&self) -> Option<&LesionArea> {
        self.lesion.as_ref().map(|lesion| &lesion.area)
    }
}

impl fmt::Display for LesionArea {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Box(lesion) => write!(formatter, "the lesion box {lesion}"),
            Self::Mask(file) => write!(formatter, "the mask {}", file.display()),
        }
    }
}

impl fmt::Display for TablePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: line {}, column `{}`", self.file.display(), self.line, self.column)
    }
}

impl PartialEq for LesionRegion {
    fn eq(&self, other: &Self) -> bool {
        self.area == other.area
    }
}

impl Eq for LesionRegion {}

impl Hash for LesionRegion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.area.hash(state);
    }
}

impl From<LesionArea> for LesionRegion {
    fn from(area: LesionArea) -> Self {
        Self { area, written: None }
    }
}

impl From<LesionBox> for LesionRegion {
    fn from(lesion: LesionBox) -> Self {
        LesionArea::Box(lesion).into()
    }
}

impl AsRef<Path> for CaseImage {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<OsStr> for CaseImage {
    /// The path, as an argument of a program.
    fn as_ref(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

/// The whole image in a file.
impl From<PathBuf> for CaseImage {
    fn from(path: PathBuf) -> Self {
        Self { path, lesion: None }
    }
}

impl From<&PathBuf> for CaseImage {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Path> for CaseImage {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&str> for CaseImage {
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<String> for CaseImage {
    fn from(path: String) -> Self {
        PathBuf::from(path).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_image_is_its_file_and_its_area_wherever_that_was_written() {
        let place = |line| TablePlace { file: Arc::new("a.csv".into()), line, column: "box".into() };
        let lesion = LesionArea::Box(LesionBox::new(1, 2, 3, 4).unwrap());
        let image = |line| {
            CaseImage::from("a.jpg").with_lesion(LesionRegion { area: lesion.clone(), written: Some(place(line)) })
        };
        assert_eq!(image(2), image(3));
        let other = CaseImage::from("a.jpg").with_lesion(LesionBox::new(1, 2, 3, 5).unwrap());
        let masked = CaseImage::from("a.jpg").with_lesion(LesionArea::Mask("m.png".into()));
        let all = [image(2), image(3), other, masked, "a.jpg".into()];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!(place(7).to_string(), "a.csv: line 7, column `box`");
        for image in all {
            let json = serde_json::to_string(&image).unwrap();
            assert_eq!(serde_json::from_str::<CaseImage>(&json).unwrap(), image, "{json}");
        }
    }

    #[test]
    fn an_image_of_which_no_area_is_known_takes_little_more_than_its_path() {
        assert!(size_of::<CaseImage>() <= size_of::<PathBuf>() + size_of::<usize>());
    }
}
