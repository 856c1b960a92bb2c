use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use dermafuse_schema::open_regular_file;

use super::dialect::Dialect;
use super::limits::{MAX_COLUMNS, MAX_TABLE_BYTES, MAX_VALUE_BYTES};
use super::{Header, Row, Table};
use crate::DataError;
use crate::tables::spelling::composed;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;
/// How files start that are no text, and what they are.
const NOT_TEXT: [(&[u8], &str); 7] = [
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"PK\x03\x04", "a workbook (xlsx, ods) or another archive"),
    (b"\xd0\xcf\x11\xe0", "an old workbook (xls)"),
    (b"\x1f\x8b", "compressed data (gzip)"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file"),
];

/// Reads a CSV table row by row, in memory that does not grow with the number of rows; the rules and errors are those of
/// a [`Table`](crate::Table).
///
/// ```
/// use dermafuse_data::TableReader;
///
/// let mut reader = TableReader::new("sites.csv", &b"id,site,age\n1,back,40\n2,chest,\n"[..])?;
/// let (site, age) = (reader.column("site")?, reader.column("age")?);
/// let mut ages = Vec::new();
/// while let Some(row) = reader.next_row()? {
///     assert!(row.cell(site).category(&["back", "chest"])?.is_some());
///     ages.push(row.cell(age).number()?);
/// }
/// assert_eq!(ages, [Some(40.0), None]);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Debug)]
pub struct TableReader<R> {
    header: Header,
    records: Records<R>,
}

impl TableReader<File> {
    /// Opens a table.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file or larger than 2 GiB, or [`TableReader::new`] refuses its header.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = file.as_ref();
        Self::new(path, open_regular_file(path, MAX_TABLE_BYTES).map_err(DataError::reading)?)
    }

    /// Opens a table whose text is compared with other texts: accents are composed in all of it.
    pub(crate) fn open_composed(path: &Path) -> Result<Self, DataError> {
        let mut reader = Self::open(path)?;
        reader.header.composes = true;
        reader.header.names.iter_mut().for_each(|name| *name = composed(name).into_owned());
        reader.header.check_names()?;
        Ok(reader)
    }
}

impl<R: Read> TableReader<R> {
    /// Reads the header of a table; `file` is the name for its errors. What parts the values (comma, semicolon, tab or
    /// bar) is told by the header, or by a line such as `sep=;` above it.
    ///
    /// # Errors
    /// No bytes, a column name twice, text that is not UTF-8 or holds NUL, a header that leaves open what parts the
    /// values.
    pub fn new(file: impl AsRef<Path>, source: R) -> Result<Self, DataError> {
        let mut header = Header::of(file.as_ref());
        let mut records = Records::new(source, b',');
        records.fill(&header, CHUNK)?;
        let dialect = Dialect::of(&header.file, &records.chunk[records.at..records.filled], records.ended)?;
        let skipped = records.at + dialect.skip;
        records.line += count_lines(&records.chunk[records.at..skipped], &mut records.after_return);
        records.at = skipped;
        records.reader = ReaderBuilder::new().delimiter(dialect.delimiter).build();
        header.decimal_comma = dialect.has_decimal_comma();
        Self::begin(header, records)
    }

    /// As [`TableReader::new`], for values that are parted by this byte. Where it is no comma, numbers may have a decimal
    /// comma.
    ///
    /// # Errors
    /// Those of [`TableReader::new`].
    pub fn delimited(file: impl AsRef<Path>, source: R, delimiter: u8) -> Result<Self, DataError> {
        let header = Header { decimal_comma: delimiter != b',', ..Header::of(file.as_ref()) };
        Self::begin(header, Records::new(source, delimiter))
    }

    /// Reads a table without a header, with these columns, which are parted by commas.
    pub(crate) fn headless(file: &Path, source: R, columns: &[&str]) -> Self {
        let names = columns.iter().map(|&name| name.to_owned()).collect();
        Self { header: Header { names, ..Header::of(file) }, records: Records::new(source, b',') }
    }

    fn begin(mut header: Header, mut records: Records<R>) -> Result<Self, DataError> {
        if !records.next(&header)? {
            return Err(DataError::EmptyFile { file: header.file });
        }
        let row = records.row(&header)?;
        let mut names: Vec<String> = (0..row.ends.len()).map(|column| row.cell(column).text().to_owned()).collect();
        let Some(last) = names.iter().rposition(|name| !name.is_empty()) else {
            return Err(DataError::EmptyFile { file: header.file });
        };
        header.unnamed = names.len() - (last + 1);
        names.truncate(last + 1);
        header.names = names;
        header.check_names()?;
        Ok(Self { header, records })
    }

    /// Reads a table that stands below something else: the header is the first row that has a column `title`. Columns
    /// without a name are called by their number.
    ///
    /// # Errors
    /// Those of [`TableReader::new`]; no such row.
    pub(crate) fn below(file: &Path, source: R, delimiter: u8, title: &str) -> Result<Self, DataError> {
        let mut header = Header { decimal_comma: delimiter != b',', ..Header::of(file) };
        let mut records = Records::new(source, delimiter);
        let mut first: Option<Vec<String>> = None;
        while records.next(&header)? {
            let row = records.row(&header)?;
            let cells = (0..row.ends.len()).map(|column| row.cell(column).text().to_owned());
            let names: Vec<String> = cells.collect();
            if names.iter().any(|name| name == title) {
                let named = |(column, name): (usize, String)| {
                    if name.is_empty() { format!("column {}", column + 1) } else { name }
                };
                header.names = names.into_iter().enumerate().map(named).collect();
                return Ok(Self { header, records });
            }
            first.get_or_insert(names);
        }
        match first {
            None => Err(DataError::EmptyFile { file: header.file }),
            Some(known) => Err(DataError::MissingColumn { file: header.file, column: title.into(), known }),
        }
    }

    /// The column names in order.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.header.names
    }

    /// The position of the column of that name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn column(&self, name: &str) -> Result<usize, DataError> {
        self.header.position(name)
    }

    /// The next row; `None` after the last. Rows of several values that are all empty are passed over.
    ///
    /// # Errors
    /// A file that cannot be read on, text that is not UTF-8 or holds NUL, a row longer or shorter than the header, a value
    /// in a last column that has no name, a value or a table that is too large.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, DataError> {
        let width = self.header.names.len();
        let expected = width + self.header.unnamed;
        loop {
            if !self.records.next(&self.header)? {
                return Ok(None);
            }
            // Spreadsheets leave rows of separators behind the last.
            let fits = (width..=expected).contains(&self.records.values);
            if expected == 1 || !fits || !self.records.is_blank() {
                break;
            }
        }
        let mut row = self.records.row(&self.header)?;
        let found = row.ends.len();
        // Spreadsheets write columns without a name, and not in every row.
        if found < width || found > expected {
            return Err(DataError::RowLength { file: self.header.file.clone(), line: row.line, expected, found });
        }
        if let Some(column) = (width..found).find(|&column| !row.text_of(column).is_empty()) {
            return Err(DataError::Value {
                file: self.header.file.clone(),
                line: row.line,
                column: format!("{} (without a name)", column + 1),
                found: row.text_of(column).into(),
                expected: "nothing, or a name of the column in the header".into(),
            });
        }
        row.ends = &row.ends[..width];
        Ok(Some(row))
    }

    /// The next rows that are wanted, at most so many, as a table whose rows know their lines in the file; `None` where none is left.
    /// `wanted` is asked about each row once, in order.
    ///
    /// ```
    /// use dermafuse_data::TableReader;
    ///
    /// let mut reader = TableReader::new("sites.csv", &b"id,site\n1,back\n2,chest\n3,back\n4,back\n"[..])?;
    /// let site = reader.column("site")?;
    /// let mut back = || reader.next_table(2, |row| row.cell(site).text() == "back");
    /// let (first, second) = (back()?.unwrap(), back()?.unwrap());
    /// assert_eq!((first.len(), first.line(1)), (2, 4));
    /// assert_eq!((second.len(), second.column("id")?.text(0)), (1, "4"));
    /// assert!(back()?.is_none());
    /// # Ok::<(), dermafuse_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`TableReader::next_row`].
    pub fn next_table(
        &mut self,
        at_most: usize,
        mut wanted: impl FnMut(&Row<'_>) -> bool,
    ) -> Result<Option<Table>, DataError> {
        let (mut text, mut rows, mut ends) = (String::new(), Vec::new(), Vec::new());
        while rows.len() < at_most {
            let Some(row) = self.next_row()? else { break };
            if wanted(&row) {
                rows.push((text.len(), row.line));
                ends.extend_from_slice(row.ends);
                text.push_str(row.text);
            }
        }
        Ok((!rows.is_empty()).then(|| Table { header: self.header.clone(), text, rows, ends }))
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.header.file
    }
}

/// The records of a file, of any length, the header being the first.
#[derive(Debug)]
struct Records<R> {
    source: R,
    reader: Reader,
    /// What was read and not yet taken apart: `chunk[at..filled]`.
    chunk: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
    begun: bool,
    /// The line of `chunk[at]`, and whether the byte before is a carriage return.
    line: u64,
    after_return: bool,
    /// Bytes that were read so far.
    taken: u64,
    /// The current record: its line, its text, and where its values end; the buffers are longer than what is used.
    first_line: u64,
    text: Vec<u8>,
    used: usize,
    places: Vec<usize>,
    values: usize,
    ends: Vec<u32>,
    /// The text of the record with composed accents, where that is another.
    composed: String,
}

impl<R: Read> Records<R> {
    fn new(source: R, delimiter: u8) -> Self {
        Self {
            source,
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            chunk: vec![0; CHUNK],
            at: 0,
            filled: 0,
            ended: false,
            begun: false,
            line: 1,
            after_return: false,
            taken: 0,
            first_line: 1,
            text: vec![0; 256],
            used: 0,
            places: vec![0; 32],
            values: 0,
            ends: Vec::new(),
            composed: String::new(),
        }
    }

    /// Takes the next record; `false` after the last.
    fn next(&mut self, header: &Header) -> Result<bool, DataError> {
        (self.used, self.values) = (0, 0);
        let mut within = false;
        loop {
            if !within {
                let rest = &self.chunk[self.at..self.filled];
                let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                self.line += count_lines(&rest[..blank], &mut self.after_return);
                self.at += blank;
                self.first_line = self.line;
            }
            if self.at == self.filled && !self.ended {
                self.fill(header, 1)?;
                continue;
            }
            within = true;
            let input = &self.chunk[self.at..self.filled];
            let (result, taken, written, ended) =
                self.reader.read_record(input, &mut self.text[self.used..], &mut self.places[self.values..]);
            self.line += count_lines(&input[..taken], &mut self.after_return);
            self.at += taken;
            self.used += written;
            self.values += ended;
            self.check_limits(header, matches!(result, ReadRecordResult::Record))?;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.places.resize(2 * self.places.len(), 0),
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// Whether the record that was taken last has no text.
    fn is_blank(&self) -> bool {
        self.text[..self.used].iter().all(u8::is_ascii_whitespace)
    }

    fn check_limits(&self, header: &Header, ended: bool) -> Result<(), DataError> {
        let last = self.values.checked_sub(1).map_or(0, |at| self.places[at]);
        let line_of = |at: usize| self.first_line + count_lines(&self.text[..at], &mut false);
        let file = || header.file.clone();
        if self.values > MAX_COLUMNS {
            let (line, limit) = (self.first_line, MAX_COLUMNS as u64);
            return Err(DataError::TableLimit { file: file(), line, what: "a row", limit, unit: "columns" });
        }
        let mut too_long = (self.used.saturating_sub(last) > MAX_VALUE_BYTES).then_some(last);
        if ended && self.used > MAX_VALUE_BYTES {
            let mut start = 0;
            for &end in &self.places[..self.values] {
                if end - start > MAX_VALUE_BYTES {
                    too_long.get_or_insert(start);
                }
                start = end;
            }
        }
        match too_long {
            None => Ok(()),
            Some(at) => {
                let (line, limit) = (line_of(at), MAX_VALUE_BYTES as u64);
                Err(DataError::TableLimit { file: file(), line, what: "a value", limit, unit: "bytes" })
            }
        }
    }

    /// Reads on, until there are so many bytes or no more.
    fn fill(&mut self, header: &Header, at_least: usize) -> Result<(), DataError> {
        (self.at, self.filled) = (0, 0);
        // A source gives what it has: the first bytes are judged when there are four of them.
        let at_least = if self.begun { at_least } else { at_least.max(4) };
        while !self.ended && self.filled < at_least {
            let read = self.source.read(&mut self.chunk[self.filled..]);
            match read {
                Ok(0) => self.ended = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(DataError::Io { path: header.file.clone(), source }),
            }
        }
        self.taken += self.filled as u64;
        if self.taken > MAX_TABLE_BYTES {
            let (file, line, limit) = (header.file.clone(), self.line, MAX_TABLE_BYTES);
            return Err(DataError::TableLimit { file, line, what: "a table", limit, unit: "bytes" });
        }
        if !self.begun {
            self.begun = true;
            let start = &self.chunk[..self.filled];
            if let Some((_, found)) = NOT_TEXT.iter().find(|(bytes, _)| start.starts_with(bytes)) {
                return Err(DataError::Encoding { file: header.file.clone(), line: 1, found });
            }
            if start.starts_with(b"\xef\xbb\xbf") {
                self.at = 3;
            }
        }
        Ok(())
    }

    /// The record that was taken last, if it is text.
    fn row<'a>(&'a mut self, header: &'a Header) -> Result<Row<'a>, DataError> {
        let bytes = &self.text[..self.used];
        let error = |at: usize, found: &'static str| DataError::Encoding {
            file: header.file.clone(),
            line: self.first_line + count_lines(&bytes[..at], &mut false),
            found,
        };
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(error(at, "a NUL byte"));
        }
        let mut text =
            std::str::from_utf8(bytes).map_err(|utf8| error(utf8.valid_up_to(), "a byte that is not UTF-8"))?;
        let places = &self.places[..self.values];
        // The halves of a character can be the ends of two values.
        if let Some(&end) = places.iter().find(|&&end| !text.is_char_boundary(end)) {
            return Err(error(end, "a byte that is not UTF-8"));
        }
        self.ends.clear();
        // No row is longer than a table may be, which a `u32` counts.
        if header.composes && !text.is_ascii() {
            self.composed.clear();
            let mut start = 0;
            for &end in places {
                self.composed.push_str(&composed(&text[start..end]));
                self.ends.push(self.composed.len() as u32);
                start = end;
            }
            text = &self.composed;
        } else {
            self.ends.extend(places.iter().map(|&end| end as u32));
        }
        Ok(Row { header, line: self.first_line, text, ends: &self.ends })
    }
}

/// How many lines end in these bytes: with a line feed, a carriage return, or both. `after_return` says whether the byte
/// before them was a carriage return, and then whether their last one is.
fn count_lines(bytes: &[u8], after_return: &mut bool) -> u64 {
    let Some(&last) = bytes.last() else { return 0 };
    let feeds = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let mut lines = feeds(bytes);
    if *after_return && bytes[0] == b'\n' {
        lines -= 1;
    }
    if bytes.contains(&b'\r') {
        // A line feed behind a carriage return is not another end.
        let alone = bytes.iter().zip(bytes[1..].iter().map(Some).chain([None]));
        lines += alone.filter(|(byte, next)| **byte == b'\r' && *next != Some(&b'\n')).count() as u64;
    }
    *after_return = last == b'\r';
    lines
}
