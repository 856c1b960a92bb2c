//! CSV tables with columns by name and errors that say file, line and column.

mod dialect;
mod limits;
mod reader;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dermafuse_schema::{Name, TablePlace, open_regular_file};

use self::limits::MAX_TABLE_BYTES;
pub use self::reader::TableReader;
use crate::DataError;

/// A CSV table in memory: one header, rows of the same length, every value trimmed.
///
/// Values are parted by comma, semicolon, tab or bar, as the header or a line `sep=;` above it tells; except beside commas,
/// numbers may have a decimal comma. A UTF-8 byte-order mark, every kind of line end, and last columns without name and
/// content are accepted; anything that is not UTF-8 is an error. A table has at most 2 GiB, a value 1 MB. The text of all
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

/// The file's name, for errors, the column names in order, and how the rest is read.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) file: PathBuf,
    pub(crate) names: Vec<String>,
    /// Columns behind these, which have no name.
    unnamed: usize,
    decimal_comma: bool,
    /// Whether accents are composed, so that texts can be compared.
    composes: bool,
}

impl Header {
    fn of(file: &Path) -> Self {
        Self { file: file.into(), names: Vec::new(), unnamed: 0, decimal_comma: false, composes: false }
    }

    /// Checks that no name is there twice. Nothing asks for a column without one.
    fn check_names(&self) -> Result<(), DataError> {
        let names = &self.names;
        match (1..names.len()).find(|&at| !names[at].is_empty() && names[..at].contains(&names[at])) {
            Some(at) => Err(DataError::DuplicateColumn { column: names[at].clone(), file: self.file.clone() }),
            None => Ok(()),
        }
    }

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

    /// Reads a table whose text is compared with other texts: accents are composed in all of it.
    pub(crate) fn read_composed(file: &Path) -> Result<Self, DataError> {
        Self::collect(TableReader::open_composed(file)?)
    }

    /// Reads a table that was published without a header, with these columns; a first row that begins with one of the `titles`
    /// is the header of a copy and passed over.
    pub(crate) fn read_headless(file: &Path, columns: &[&str], titles: &[&str]) -> Result<Self, DataError> {
        let source = open_regular_file(file, MAX_TABLE_BYTES).map_err(DataError::reading)?;
        let mut table = Self::collect(TableReader::headless(file, source, columns))?;
        if titles.contains(&table.column(columns[0])?.text(0)) {
            table.rows.remove(0);
            table.ends.drain(..columns.len());
        }
        match table.rows.is_empty() {
            true => Err(DataError::NoRows { file: file.into() }),
            false => Ok(table),
        }
    }

    /// Takes a table from memory; `file` is the name for its errors.
    ///
    /// # Errors
    /// No bytes, no rows, text that is not UTF-8 or holds NUL, a column name twice, a header that leaves open what parts the
    /// values, a row longer or shorter than the header, a value that is too large.
    pub fn parse(file: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, DataError> {
        Self::collect(TableReader::new(file, bytes)?)
    }

    fn collect<R: Read>(mut reader: TableReader<R>) -> Result<Self, DataError> {
        let Some(mut table) = reader.next_table(usize::MAX, |_| true)? else {
            return Err(DataError::NoRows { file: reader.file().to_owned() });
        };
        table.rows.shrink_to_fit();
        table.ends.shrink_to_fit();
        table.text.shrink_to_fit();
        Ok(table)
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
        Cell { header: self.header, line: self.line, column, text: self.text_of(column) }
    }

    fn text_of(&self, column: usize) -> &'a str {
        let start = if column == 0 { 0 } else { self.ends[column - 1] as usize };
        trimmed(&self.text[start..self.ends[column] as usize])
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
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

    /// Its line in the file, the header being line 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn file(&self) -> &'a Path {
        &self.header.file
    }

    /// The name of its column.
    pub(crate) fn column(&self) -> &'a str {
        &self.header.names[self.column]
    }

    /// Where it stands, for errors that are found later.
    #[must_use]
    pub fn place(&self) -> TablePlace {
        TablePlace { file: Arc::new(self.file().to_owned()), line: self.line, column: Name::from(self.column()) }
    }

    /// The position of the value among `known`; `None` for an empty value. `TRUE` and `true` are `True` where that is
    /// known, and `3` is `3.0`: programs write tables anew that way.
    ///
    /// # Errors
    /// The value is not among them.
    pub fn category<S: AsRef<str>>(&self, known: &[S]) -> Result<Option<usize>, DataError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let exactly = known.iter().position(|category| category.as_ref() == self.text);
        match exactly.or_else(|| self.same_value(known)) {
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
        match (number(self.text), self.with_decimal_comma()) {
            (Some(number), _) => Ok(Some(number)),
            (None, Some(number)) if self.header.decimal_comma => Ok(Some(number)),
            (None, Some(_)) => Err(self.error("a finite number with a decimal point, or nothing")),
            (None, None) => Err(self.error("a finite number or nothing")),
        }
    }

    /// The value as a finite number, if it is one.
    pub(crate) fn finite(&self) -> Option<f64> {
        number(self.text).or_else(|| self.with_decimal_comma().filter(|_| self.header.decimal_comma))
    }

    fn with_decimal_comma(&self) -> Option<f64> {
        let plain = self.text.contains(',') && !self.text.contains('.');
        number(&self.text.replacen(',', ".", 1)).filter(|_| plain)
    }

    /// The one category that is the same truth value or number, otherwise written.
    fn same_value<S: AsRef<str>>(&self, known: &[S]) -> Option<usize> {
        let truth = |text: &str| ["true", "false"].iter().position(|value| text.eq_ignore_ascii_case(value));
        let same: Box<dyn Fn(&str) -> bool> = match (truth(self.text), self.finite()) {
            (Some(value), _) => Box::new(move |text| truth(text) == Some(value)),
            (None, Some(value)) => Box::new(move |text| number(text) == Some(value)),
            (None, None) => return None,
        };
        let mut found = (0..known.len()).filter(|&at| same(known[at].as_ref()));
        found.next().filter(|_| found.next().is_none())
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
        let cases: [(&[u8], &str); 13] = [
            (b"", "t.csv: the file is empty; expected a header and rows"),
            (b"\xef\xbb\xbf\r\n", "t.csv: the file is empty; expected a header and rows"),
            (b"a,b\n", "t.csv: the table has a header but no rows"),
            (b"a,b,a\n1,2,3\n", "t.csv: line 1: column `a` appears twice; column names must be unique"),
            (b"a,b\n1,2\n1\n", "t.csv: line 3: 1 values where the header has 2 columns"),
            (b"a,b\r\n1,2,3\r\n", "t.csv: line 2: 3 values where the header has 2 columns"),
            (b"a,b\n1,\xe9\n", "t.csv: line 2: a byte that is not UTF-8; save the table as UTF-8 text"),
            (b"a,b\n1,2\n3,\0\n", "t.csv: line 3: a NUL byte; save the table as UTF-8 text"),
            (b"\xff\xfea\0,\0b\0", "t.csv: line 1: UTF-16 text; save the table as UTF-8 text"),
            (
                b"PK\x03\x04xlsx",
                "t.csv: line 1: a workbook (xlsx, ods) or another archive; save the table as UTF-8 text",
            ),
            (
                b"a,b,,\r1,2,,\r3,4,,x\r",
                "t.csv: line 3, column `4 (without a name)`: found `x`, expected nothing, or a name of the column in the \
                 header",
            ),
            (b"a,b,,\n1,2,,,\n", "t.csv: line 2: 5 values where the header has 4 columns"),
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
        let long = "x".repeat(999_999);
        let table = Table::parse("t.csv", format!("a,b\n1,{long}\n\"{long}\n\",2\n3,4\n").as_bytes()).unwrap();
        let (a, b) = (table.column("a").unwrap(), table.column("b").unwrap());
        assert_eq!((b.text(0), a.text(1), b.text(2)), (long.as_str(), long.as_str(), "4"));
        assert_eq!((table.line(1), table.line(2)), (3, 5));
        let wide = format!(
            "{}\n{}",
            (0..500).map(|c| c.to_string()).collect::<Vec<_>>().join(","),
            "1".to_owned() + &",".repeat(499)
        );
        assert_eq!(Table::parse("t.csv", wide.as_bytes()).unwrap().headers().len(), 500);
    }

    #[test]
    fn a_value_or_row_of_no_end_is_refused() {
        let message = |text: String| message(text.as_bytes());
        let limit = "t.csv: line 3: a value of more than 1000000 bytes; look for a quote or line end that is missing, or \
                     divide the table";
        let (long, longer) = ("x".repeat(1_000_000), "x".repeat(1_000_001));
        assert_eq!(Table::parse("t.csv", format!("a,b\n1,2\n3,{long}\n").as_bytes()).unwrap().len(), 2);
        assert_eq!(message(format!("a,b\n1,2\n3,{longer}\n")), limit);
        assert_eq!(message(format!("a,b\n1,2\n{longer},3\n")), limit);
        // A quote that is not closed takes all that follows; the error is where it stands.
        assert_eq!(message(format!("a,b\n1,2\n3,\"4\n{}", "5,6\n".repeat(400_000))), limit);
        let text = message(format!("a,b\n{}\n", ",".repeat(70_000)));
        assert!(text.starts_with("t.csv: line 2: a row of more than 65536 columns;"), "{text}");
    }

    #[test]
    fn tables_of_spreadsheets_are_read() {
        let expected = [["1", "5.5", "a,b"], ["2", "0.25", ""], ["3", "7", "c"]];
        for text in [
            "id,size,note\n1,5.5,\"a,b\"\n2,0.25,\n3,7,c\n",
            "id;size;note\r\n1;5,5;a,b\r\n2;0,25;\r\n3;7;c\r\n",
            "id;size;note\r1;5,5;a,b\r2;0.25;\r3;7;c",
            "\u{feff}id\tsize\tnote\t\t\n1\t5,5\ta,b\t\t\n2\t0,25\t\t\t\n3\t7\tc\n",
            "sep=;\r\n\"id\";\"size\";note;;\r\n1;5,5;a,b;;\r\n2;,25;;;\r\n3;7,0;c; ;\r\n",
            "id|size|note\n1|5,5|a,b\n2|0,25|\n3|7|c\n",
        ] {
            let table = Table::parse("t.csv", text.as_bytes()).unwrap();
            assert_eq!(table.headers(), ["id", "size", "note"], "{text:?}");
            let size = table.column("size").unwrap();
            for (row, [id, number, note]) in expected.into_iter().enumerate() {
                assert_eq!(
                    (table.column("id").unwrap().text(row), table.column("note").unwrap().text(row)),
                    (id, note)
                );
                assert_eq!(size.number(row).unwrap(), Some(number.parse().unwrap()), "{text:?}");
            }
            let first = if text.starts_with("sep") { 3 } else { 2 };
            assert_eq!((table.line(0), table.line(2)), (first, first + 2), "{text:?}");
        }
        // Rows that are cleared stay behind as separators.
        let table = Table::parse("t.csv", b"id,x,,\n1,,,\n,,,\n2,3\n ,\n,,,\n,,,\n").unwrap();
        assert_eq!((table.len(), table.line(1), table.column("id").unwrap().text(1)), (2, 4, "2"));
        assert!(message(b"id,x\n,,\n").ends_with("line 2: 3 values where the header has 2 columns"));
        assert!(message(b"id,x\n,\n").ends_with("the table has a header but no rows"));
        // As pandas writes its index.
        let table = Table::parse("t.csv", b",id,,x\n0,a,,1\n").unwrap();
        assert_eq!((table.headers().len(), table.column("x").unwrap().text(0)), (4, "1"));
    }

    #[test]
    fn a_decimal_comma_is_for_tables_without_commas() {
        let table = Table::parse("t.csv", b"x;y\n1,5;1.234,5\n1,2,3;,\n").unwrap();
        let (x, y) = (table.column("x").unwrap(), table.column("y").unwrap());
        assert_eq!(x.number(0).unwrap(), Some(1.5));
        for wrong in [x.number(1), y.number(0), y.number(1)] {
            assert!(wrong.unwrap_err().to_string().ends_with("expected a finite number or nothing"));
        }
        let table = Table::parse("t.csv", b"x,y\n\"1,5\",2\n").unwrap();
        let text = table.column("x").unwrap().number(0).unwrap_err().to_string();
        assert!(text.ends_with("found `1,5`, expected a finite number with a decimal point, or nothing"), "{text}");
    }

    #[test]
    fn truth_values_and_numbers_are_known_as_programs_write_them() {
        let known = ["False", "True", "UNK", "1.0", "2.0", "03"];
        let index = |text: &str| {
            Table::parse("t.csv", format!("x\n{text}\n").as_bytes())
                .unwrap()
                .column("x")
                .unwrap()
                .category(0, &known)
                .ok()
        };
        for (text, expected) in
            [("TRUE", 1), ("true", 1), ("True", 1), ("FALSE", 0), ("2", 2 + 2), ("1.00", 3), ("3", 5), ("UNK", 2)]
        {
            assert_eq!(index(text), Some(Some(expected)), "{text}");
        }
        for text in ["unk", "yes", "1.5", "T", "nan", "inf"] {
            assert_eq!(index(text), None, "{text}");
        }
        // One of two that are the same is not chosen.
        let table = Table::parse("t.csv", b"x\n1.00\n").unwrap();
        assert!(table.column("x").unwrap().category(0, &["1", "1.0"]).is_err());
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = Table::read(folder.path()).unwrap_err().to_string();
        assert!(text.contains("a folder, not a regular file"), "{text}");
        // Nothing is written: the file has a size alone.
        let path = folder.path().join("large.csv");
        std::fs::File::create(&path).unwrap().set_len(4 << 30).unwrap();
        let text = Table::read(&path).unwrap_err().to_string();
        assert!(text.contains("large.csv: 4294967296 bytes or more, the limit is 2147483648"), "{text}");
        if cfg!(unix) {
            assert!(Table::read("/dev/zero").unwrap_err().to_string().contains("a device, not a regular file"));
        }
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
            let ours = TableReader::delimited("t.csv", Pieces(bytes, piece), b',').and_then(|mut reader| {
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
                    let theirs = theirs.iter().map(|row| [row[0].to_owned(), row[1].to_owned()]);
                    let theirs: Vec<[String; 2]> = theirs.filter(|row| !row.concat().is_empty()).collect();
                    proptest::prop_assert_eq!(ours, theirs);
                }
                (ours, theirs) => proptest::prop_assert_eq!(ours.is_err(), theirs.is_err()),
            }
        }
    }
}
