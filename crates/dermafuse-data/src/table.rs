//! CSV tables with columns by name and errors that say file, line and column.

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::DataError;

/// A CSV table in memory: one header, rows of the same length, every value trimmed.
///
/// A UTF-8 byte-order mark and CRLF line ends are accepted; anything that is not UTF-8 is an error.
///
/// ```
/// use dermafuse_data::Table;
///
/// let table = Table::parse("sites.csv", b"id,site\r\n1, back \r\n2,\r\n")?;
/// let site = table.column("site")?;
/// assert_eq!(site.text(0), "back");
/// assert_eq!(site.category(1, &["back", "chest"])?, None);
///
/// let error = site.category(0, &["chest"]).unwrap_err().to_string();
/// assert_eq!(error, "sites.csv: line 2, column `site`: unknown value `back`; known: chest");
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    file: PathBuf,
    headers: Vec<String>,
    rows: Vec<StringRecord>,
    lines: Vec<u64>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// The file cannot be read, or [`Table::parse`] refuses it.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, DataError> {
        let file = file.as_ref();
        let bytes = std::fs::read(file).map_err(|source| DataError::Io { path: file.into(), source })?;
        Self::parse(file, &bytes)
    }

    /// Takes a table from memory; `file` is the name for its errors.
    ///
    /// # Errors
    /// No bytes, no rows, text that is not UTF-8 or holds NUL, a column name twice, a row longer or shorter than the
    /// header.
    pub fn parse(file: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, DataError> {
        let file = file.as_ref().to_path_buf();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(DataError::EmptyFile { file });
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(DataError::Encoding { file, line: 1, found: "UTF-16 text" });
        }
        let line_of = |offset: usize| 1 + bytes[..offset].iter().filter(|&&byte| byte == b'\n').count() as u64;
        if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
            return Err(DataError::Encoding { file, line: line_of(offset), found: "a NUL byte" });
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            let line = line_of(error.valid_up_to());
            return Err(DataError::Encoding { file, line, found: "a byte that is not UTF-8" });
        }

        let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(bytes);
        let csv_error = |error: csv::Error| DataError::Csv { file: file.clone(), reason: error.to_string() };
        let headers: Vec<String> = reader.headers().map_err(csv_error)?.iter().map(Into::into).collect();
        if let Some(column) = (1..headers.len()).find(|&at| headers[..at].contains(&headers[at])) {
            return Err(DataError::DuplicateColumn { column: headers[column].clone(), file });
        }
        let rows = reader.records().collect::<Result<Vec<_>, _>>().map_err(csv_error)?;
        let lines = line_numbers(bytes, &rows);
        if let Some((row, &line)) = rows.iter().zip(&lines).find(|(row, _)| row.len() != headers.len()) {
            let (expected, found) = (headers.len(), row.len());
            return Err(DataError::RowLength { file, line, expected, found });
        }
        if rows.is_empty() {
            return Err(DataError::NoRows { file });
        }
        Ok(Self { file, headers, rows, lines })
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The column names in order.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// Number of rows; never 0.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a table is never empty")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The line of a row in the file, the header being line 1.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn line(&self, row: usize) -> u64 {
        self.lines[row]
    }

    /// The column of that name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn column(&self, name: &str) -> Result<Column<'_>, DataError> {
        match self.headers.iter().position(|header| header == name) {
            Some(index) => Ok(Column { table: self, index }),
            None => Err(DataError::MissingColumn {
                file: self.file.clone(),
                column: name.into(),
                known: self.headers.clone(),
            }),
        }
    }
}

/// One column of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    table: &'a Table,
    index: usize,
}

impl<'a> Column<'a> {
    pub(crate) fn table(&self) -> &'a Table {
        self.table
    }

    /// The column's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.table.headers[self.index]
    }

    /// The value of a row, trimmed; empty where nothing is written.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn text(&self, row: usize) -> &'a str {
        &self.table.rows[row][self.index]
    }

    /// The position of the row's value among `known`; `None` for an empty value.
    ///
    /// # Errors
    /// The value is not among them.
    ///
    /// # Panics
    /// If the row is out of range.
    pub fn category<S: AsRef<str>>(&self, row: usize, known: &[S]) -> Result<Option<usize>, DataError> {
        let found = self.text(row);
        if found.is_empty() {
            return Ok(None);
        }
        match known.iter().position(|category| category.as_ref() == found) {
            Some(index) => Ok(Some(index)),
            None => Err(DataError::Category {
                file: self.table.file.clone(),
                line: self.table.line(row),
                column: self.name().into(),
                found: found.into(),
                known: known.iter().map(|category| category.as_ref().to_owned()).collect(),
            }),
        }
    }

    /// The row's value as a finite number; `None` for an empty value.
    ///
    /// # Errors
    /// The value is no number, or not a finite one.
    ///
    /// # Panics
    /// If the row is out of range.
    pub fn number(&self, row: usize) -> Result<Option<f64>, DataError> {
        let found = self.text(row);
        if found.is_empty() {
            return Ok(None);
        }
        match found.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.value_error(row, "a finite number or nothing")),
        }
    }

    /// The row's value as a count or index.
    ///
    /// # Errors
    /// The value is not a whole number from 0.
    ///
    /// # Panics
    /// If the row is out of range.
    pub fn index(&self, row: usize) -> Result<usize, DataError> {
        self.text(row).parse().map_err(|_| self.value_error(row, "a whole number from 0"))
    }

    /// The error that says where the row's value stands and what was `expected` there.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn value_error(&self, row: usize, expected: impl Into<String>) -> DataError {
        DataError::Value {
            file: self.table.file.clone(),
            line: self.table.line(row),
            column: self.name().into(),
            found: self.text(row).into(),
            expected: expected.into(),
        }
    }
}

/// The line that each row begins in. The CSV reader's own count is one short after CRLF, where it takes a row to begin
/// between the two bytes.
fn line_numbers(bytes: &[u8], rows: &[StringRecord]) -> Vec<u64> {
    let (mut line, mut counted) = (1, 0);
    rows.iter()
        .map(|row| {
            let offset = row.position().map_or(counted, |position| position.byte() as usize);
            let blank = bytes[offset..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            line += bytes[counted..offset + blank].iter().filter(|&&byte| byte == b'\n').count() as u64;
            counted = offset + blank;
            line
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        Table::parse("t.csv", bytes).unwrap_err().to_string()
    }

    #[test]
    fn bad_tables_are_refused_with_their_place() {
        let cases: [(&[u8], &str); 10] = [
            (b"", "t.csv: the file is empty; expected a header and rows"),
            (b"\xef\xbb\xbf\r\n", "t.csv: the file is empty; expected a header and rows"),
            (b"a,b\n", "t.csv: the table has a header but no rows"),
            (b"a,b,a\n1,2,3\n", "t.csv: line 1: column `a` appears twice; column names must be unique"),
            (b"a,b\n1,2\n1\n", "t.csv: line 3: 1 values where the header has 2 columns"),
            (b"a,b\r\n1,2,3\r\n", "t.csv: line 2: 3 values where the header has 2 columns"),
            (b"a,b\n1,\xe9\n", "t.csv: line 2: a byte that is not UTF-8; save the table as UTF-8 text"),
            (b"a,b\n1,2\n3,\0\n", "t.csv: line 3: a NUL byte; save the table as UTF-8 text"),
            (b"\xff\xfea\0,\0b\0", "t.csv: line 1: UTF-16 text; save the table as UTF-8 text"),
            (b"a,b\n\"1\n2\",3\n4\n", "t.csv: line 4: 1 values where the header has 2 columns"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(message(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn byte_order_mark_crlf_quotes_and_blanks_are_read() {
        let table = Table::parse("t.csv", b"\xef\xbb\xbfid,note\r\n1,\"a, \"\"b\"\"\"\r\n2,  c \r\n").unwrap();
        let note = table.column("note").unwrap();
        assert_eq!((table.column("id").unwrap().text(0), note.text(0), note.text(1)), ("1", "a, \"b\"", "c"));
        assert_eq!(table.line(1), 3);
    }

    #[test]
    fn values_are_typed_and_errors_positioned() {
        let table = Table::parse("t.csv", b"x,y\n1.5,-1\nnan,2\n").unwrap();
        let (x, y) = (table.column("x").unwrap(), table.column("y").unwrap());
        assert_eq!(x.number(0).unwrap(), Some(1.5));
        let error = x.number(1).unwrap_err().to_string();
        assert_eq!(error, "t.csv: line 3, column `x`: found `nan`, expected a finite number or nothing");
        let error = y.index(0).unwrap_err().to_string();
        assert_eq!(error, "t.csv: line 2, column `y`: found `-1`, expected a whole number from 0");
        let error = table.column("z").unwrap_err().to_string();
        assert_eq!(error, "t.csv: line 1: column `z` is missing; the header has: x, y");
    }
}
