//! TOML files that say how data is to be read, with the place of everything they say.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::DataError;

/// A TOML file and its text, in which spans are looked up.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) file: PathBuf,
    text: String,
}

impl Declaration {
    pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<(Self, T), DataError> {
        let bytes = std::fs::read(file).map_err(|source| DataError::Io { path: file.into(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            DataError::Encoding { file: file.into(), line: line as u64, found: "a byte that is not UTF-8" }
        })?;
        Self::parse(file, text)
    }

    /// Takes the text of a file; `file` is the name for its errors.
    pub(crate) fn parse<T: DeserializeOwned>(file: &Path, text: String) -> Result<(Self, T), DataError> {
        let declaration = Self { file: file.to_path_buf(), text };
        match toml::from_str(&declaration.text) {
            Ok(value) => Ok((declaration, value)),
            Err(error) => {
                let (line, column) = declaration.place(error.span().unwrap_or(0..0));
                let reason = error.message().to_owned();
                Err(DataError::Toml { file: declaration.file, line, column, reason })
            }
        }
    }

    /// The folder that paths in the file start from.
    pub(crate) fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// Line and column, counted from 1, of where a span begins.
    fn place(&self, span: Range<usize>) -> (usize, usize) {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
    }

    /// The error that what stands at `span` is not what it should be.
    pub(crate) fn error(
        &self,
        span: Range<usize>,
        what: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> DataError {
        let (line, column) = self.place(span);
        let (found, expected) = (found.into(), expected.into());
        DataError::Declared { file: self.file.clone(), line, column, what, found, expected }
    }

    /// An error in another file, with the place that asked for what is there.
    pub(crate) fn asked(&self, span: Range<usize>, source: DataError) -> DataError {
        let (line, _) = self.place(span);
        DataError::AskedFor { file: self.file.clone(), line, source: Box::new(source) }
    }
}
