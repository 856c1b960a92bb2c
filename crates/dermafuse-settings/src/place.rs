use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a setting stands: a file with line and column, or the words that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    offset: usize,
}

/// What was said, and by which name it is called in errors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// The text in which offsets are looked up; `None` for words, whose name says all.
    pub(crate) text: Option<String>,
    /// The folder of the file, from which paths in it start.
    pub(crate) folder: Option<PathBuf>,
}

impl Place {
    pub(crate) fn new(source: &Arc<Source>, offset: usize) -> Self {
        Self { source: source.clone(), offset }
    }

    /// The file, or the words.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source.name
    }

    /// Whether words gave it, not a file.
    pub(crate) fn is_of_words(&self) -> bool {
        self.source.text.is_none()
    }

    /// The folder of the file; `None` for words, and for texts that are no file.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.source.folder.as_deref()
    }

    /// Line and column in the file, counted from 1; `None` for words.
    #[must_use]
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let text = self.source.text.as_deref()?;
        let before = text.get(..self.offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((1 + before.matches('\n').count(), 1 + before[line_start..].chars().count()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source.name)?;
        match self.line_and_column() {
            Some((line, column)) => write!(formatter, ": line {line}, column {column}"),
            None => Ok(()),
        }
    }
}
