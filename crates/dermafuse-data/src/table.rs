//! CSV tables with columns by name and errors that say file, line and column.

mod reader;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use self::reader::TableReader;
use crate::DataError;

/// A CSV table in memory: one header, rows of the same length, every value trimmed.
///
/// A UTF-8 byte-order mark and CRLF line ends are accepted; anything that is not UTF-8 is an error. The text of all
/// values lies in one buffer: beside it, a value takes four bytes and a row 16. A [`TableReader`] keeps one row at a
/// time.
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
    header: Header,
    /// The values of all rows, one after the other.
    text: String,
    /// Where each row starts in the text, and its line.
    rows: Vec<(usize, u64)>,
    /// Where each value ends, counted from the start of its row.
    ends: Vec<u32>,
}

/// The file's name, for errors, and the column names in order.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) file: PathBuf,
    pub(crate) names: Vec<String>,
}

impl Header {
    pub(crate) fn position(&self, name: &str) -> Result<usize, DataError> {
        self.names.iter().position(|header| header == name).ok_or_else(|| DataError::MissingColumn {
            file: self.file.clone(),
            column: name.into(),
            known: self.names.clone(),
        })
    }
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// The file cannot be read, or [`Table::parse`] refuses it.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::collect(TableReader::open(file)?)
    }

    /// Takes a table from memory; `file` is the name for its errors.
    ///
    /// # Errors
    /// No bytes, no rows, text that is not UTF-8 or holds NUL, a column name twice, a row longer or shorter than the
    /// header.
    pub fn parse(file: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, DataError> {
        Self::collect(TableReader::new(file, bytes)?)
    }

    fn collect<R: Read>(mut reader: TableReader<R>) -> Result<Self, DataError> {
        let (mut text, mut rows, mut ends) = (String::new(), Vec::new(), Vec::new());
        while let Some(row) = reader.next_row()? {
            rows.push((text.len(), row.line));
            ends.extend_from_slice(row.ends);
            text.push_str(row.text);
        }
        let header = reader.into_header();
        if rows.is_empty() {
            return Err(DataError::NoRows { file: header.file });
        }
        rows.shrink_to_fit();
        ends.shrink_to_fit();
        text.shrink_to_fit();
        Ok(Self { header, text, rows, ends })
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.header.file
    }

    /// The column names in order.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.header.names
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
        self.rows[row].1
    }

    /// A row, with its values by the position of their column.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn row(&self, row: usize) -> Row<'_> {
        let width = self.header.names.len();
        let (start, line) = self.rows[row];
        let text = &self.text[start..self.rows.get(row + 1).map_or(self.text.len(), |next| next.0)];
        Row { header: &self.header, line, text, ends: &self.ends[row * width..(row + 1) * width] }
    }

    /// The column of that name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn column(&self, name: &str) -> Result<Column<'_>, DataError> {
        Ok(Column { table: self, index: self.header.position(name)? })
    }
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    header: &'a Header,
    line: u64,
    text: &'a str,
    ends: &'a [u32],
}

impl<'a> Row<'a> {
    /// Its line in the file, the header being line 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The value of the column at that position.
    ///
    /// # Panics
    /// If there is no such column.
    #[must_use]
    pub fn cell(&self, column: usize) -> Cell<'a> {
        let start = if column == 0 { 0 } else { self.ends[column - 1] as usize };
        let text = trimmed(&self.text[start..self.ends[column] as usize]);
        Cell { header: self.header, line: self.line, column, text }
    }
}

fn trimmed(text: &str) -> &str {
    // Nearly every value starts and ends like this, which is quickly seen.
    let printed = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_graphic());
    let bytes = text.as_bytes();
    if printed(bytes.first()) && printed(bytes.last()) { text } else { text.trim() }
}

/// One value of a table, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    header: &'a Header,
    line: u64,
    column: usize,
    text: &'a str,
}

impl<'a> Cell<'a> {
    /// The value, trimmed; empty where nothing is written.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The position of the value among `known`; `None` for an empty value.
    ///
    /// # Errors
    /// The value is not among them.
    pub fn category<S: AsRef<str>>(&self, known: &[S]) -> Result<Option<usize>, DataError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        match known.iter().position(|category| category.as_ref() == self.text) {
            Some(index) => Ok(Some(index)),
            None => Err(DataError::Category {
                file: self.header.file.clone(),
                line: self.line,
                column: self.header.names[self.column].clone(),
                found: self.text.into(),
                known: known.iter().map(|category| category.as_ref().to_owned()).collect(),
            }),
        }
    }

    /// The value as a finite number; `None` for an empty value.
    ///
    /// # Errors
    /// The value is no number, or not a finite one.
    pub fn number(&self) -> Result<Option<f64>, DataError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        match self.text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.error("a finite number or nothing")),
        }
    }

    /// The value as a count or index.
    ///
    /// # Errors
    /// The value is not a whole number from 0.
    pub fn index(&self) -> Result<usize, DataError> {
        self.text.parse().map_err(|_| self.error("a whole number from 0"))
    }

    /// The error that says where the value stands and what was `expected` there.
    #[must_use]
    pub fn error(&self, expected: impl Into<String>) -> DataError {
        DataError::Value {
            file: self.header.file.clone(),
            line: self.line,
            column: self.header.names[self.column].clone(),
            found: self.text.into(),
            expected: expected.into(),
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
        &self.table.header.names[self.index]
    }

    /// The value of a row.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn cell(&self, row: usize) -> Cell<'a> {
        self.table.row(row).cell(self.index)
    }

    /// The value of a row, trimmed; empty where nothing is written.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn text(&self, row: usize) -> &'a str {
        self.cell(row).text()
    }

    /// The position of the row's value among `known`; `None` for an empty value.
    ///
    /// # Errors
    /// The value is not among them.
    ///
    /// # Panics
    /// If the row is out of range.
    pub fn category<S: AsRef<str>>(&self, row: usize, known: &[S]) -> Result<Option<usize>, DataError> {
        self.cell(row).category(known)
    }

    /// The row's value as a finite number; `None` for an empty value.
    ///
    /// # Errors
    /// The value is no number, or not a finite one.
    ///
    /// # Panics
    /// If the row is out of range.
    pub fn number(&self, row: usize) -> Result<Option<f64>, DataError> {
        self.cell(row).number()
    }

    /// The row's value as a count or index.
    ///
    /// # Errors
    /// The value is not a whole number from 0.
    ///
    /// # Panics
    /// If the row is out of range.
    pub fn index(&self, row: usize) -> Result<usize, DataError> {
        self.cell(row).index()
    }

    /// The error that says where the row's value stands and what was `expected` there.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn value_error(&self, row: usize, expected: impl Into<String>) -> DataError {
        self.cell(row).error(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in small pieces, as a pipe may.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

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

    #[test]
    fn blank_lines_and_split_characters_keep_their_place() {
        let table = Table::parse("t.csv", b"\n\na,b\r\n\r\n1,2\r\n\r\n3,\xc3\xa9").unwrap();
        assert_eq!((table.line(0), table.line(1), table.column("b").unwrap().text(1)), (5, 7, "\u{e9}"));
        // Two bytes that are a character together are none apart.
        assert!(message(b"a,b\n1,2\n\xc3,\xa9\n").starts_with("t.csv: line 3: a byte that is not UTF-8"));
        assert!(message(b"a,b\n\"1\n2\",\xe9\n").starts_with("t.csv: line 3: a byte that is not UTF-8"));
    }

    #[test]
    fn a_value_may_be_longer_than_what_is_read_at_a_time() {
        let long = "x".repeat(3_000_000);
        let table = Table::parse("t.csv", format!("a,b\n1,{long}\n\"{long}\n\",2\n3,4\n").as_bytes()).unwrap();
        let (a, b) = (table.column("a").unwrap(), table.column("b").unwrap());
        assert_eq!((b.text(0), a.text(1), b.text(2)), (long.as_str(), long.as_str(), "4"));
        assert_eq!((table.line(1), table.line(2)), (3, 5));
        let wide = format!("{}\n{}", (0..500).map(|c| c.to_string()).collect::<Vec<_>>().join(","), ",".repeat(499));
        assert_eq!(Table::parse("t.csv", wide.as_bytes()).unwrap().headers().len(), 500);
    }

    proptest::proptest! {
        /// The rows are those of the csv crate, wherever the pieces of the file end.
        #[test]
        fn rows_are_those_of_the_csv_crate(
            text in "[ab\", \r\n\u{e9}]{0,60}",
            piece in 1_usize..9,
        ) {
            let text = format!("x,y\n{text}");
            let bytes = text.as_bytes();
            let ours = TableReader::new("t.csv", Pieces(bytes, piece)).and_then(|mut reader| {
                let mut rows = Vec::new();
                while let Some(row) = reader.next_row()? {
                    rows.push([row.cell(0).text().to_owned(), row.cell(1).text().to_owned()]);
                }
                Ok(rows)
            });
            let theirs: Result<Vec<csv::StringRecord>, _> =
                csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes).records().collect();
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    let theirs: Vec<[String; 2]> = theirs.iter().map(|row| [row[0].to_owned(), row[1].to_owned()]).collect();
                    proptest::prop_assert_eq!(ours, theirs);
                }
                (ours, theirs) => proptest::prop_assert_eq!(ours.is_err(), theirs.is_err()),
            }
        }
    }
}
