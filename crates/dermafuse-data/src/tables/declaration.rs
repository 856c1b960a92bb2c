//! TOML files that say how data is to be read, with the place of everything they say.

use std::ops::Range;
use std::path::{Path, PathBuf};

use dermafuse_schema::read_regular_file;
use serde::de::DeserializeOwned;

use crate::DataError;
use crate::tables::spelling::composed;

/// Bytes of a file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// A TOML file that says how data is to be read or learnt from, and its text, in which spans are looked up: errors
/// about what it says have line and column.
///
/// ```
/// use dermafuse_data::Declaration;
/// use toml::Spanned;
///
/// #[derive(serde::Deserialize)]
/// struct File {
///     set: Spanned<String>,
/// }
/// let (declaration, file): (_, File) = Declaration::parse("a.toml".as_ref(), "# one\nset = \"moon\"".into())?;
/// let error = declaration.error(file.set.span(), "set", file.set.get_ref(), "a set of photos");
/// assert_eq!(error.to_string(), "a.toml: line 2, column 7: set `moon`: expected a set of photos");
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Declaration {
    pub(crate) file: PathBuf,
    text: String,
}

impl Declaration {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, is no regular file or larger than 4 MiB, is not UTF-8, is no TOML, or says something
    /// else than `T` holds.
    pub fn read<T: DeserializeOwned>(file: &Path) -> Result<(Self, T), DataError> {
        let bytes = read_regular_file(file, MAX_BYTES).map_err(DataError::reading)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            DataError::Encoding { file: file.into(), line: line as u64, found: "a byte that is not UTF-8" }
        })?;
        Self::parse(file, text)
    }

    /// Takes the text of a file; `file` is the name for its errors.
    ///
    /// # Errors
    /// A text that is no TOML, or says something else than `T` holds.
    pub fn parse<T: DeserializeOwned>(file: &Path, text: String) -> Result<(Self, T), DataError> {
        // Tables are read with composed accents too.
        let text = if text.is_ascii() { text } else { composed(&text).into_owned() };
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
    #[must_use]
    pub fn folder(&self) -> &Path {
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
    #[must_use]
    pub fn error(
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
    #[must_use]
    pub fn asked(&self, span: Range<usize>, source: DataError) -> DataError {
        let (line, _) = self.place(span);
        DataError::AskedFor { file: self.file.clone(), line, source: Box::new(source) }
    }
}
