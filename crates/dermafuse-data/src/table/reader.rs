use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{Header, Row};
use crate::DataError;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

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
    /// The file cannot be read, or [`TableReader::new`] refuses its header.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = file.as_ref();
        let source = File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
        Self::new(path, source)
    }
}

impl<R: Read> TableReader<R> {
    /// Reads the header of a table; `file` is the name for its errors.
    ///
    /// # Errors
    /// No bytes, a column name twice, text that is not UTF-8 or holds NUL.
    pub fn new(file: impl AsRef<Path>, source: R) -> Result<Self, DataError> {
        Self::delimited(file, source, b',')
    }

    /// As [`TableReader::new`], for values that are parted by another byte than a comma.
    ///
    /// # Errors
    /// Those of [`TableReader::new`].
    pub fn delimited(file: impl AsRef<Path>, source: R, delimiter: u8) -> Result<Self, DataError> {
        let mut header = Header { file: file.as_ref().to_path_buf(), names: Vec::new() };
        let mut records = Records::new(source, delimiter);
        if !records.next(&header)? {
            return Err(DataError::EmptyFile { file: header.file });
        }
        let row = records.row(&header)?;
        let names: Vec<String> = (0..row.ends.len()).map(|column| row.cell(column).text().to_owned()).collect();
        if names.iter().all(String::is_empty) {
            return Err(DataError::EmptyFile { file: header.file });
        }
        header.names = names;
        let headers = &header.names;
        if let Some(column) = (1..headers.len()).find(|&at| headers[..at].contains(&headers[at])) {
            return Err(DataError::DuplicateColumn { column: headers[column].clone(), file: header.file });
        }
        Ok(Self { header, records })
    }

    /// Reads a table that stands below something else: the header is the first row that has a column `title`. Columns
    /// without a name are called by their number.
    ///
    /// # Errors
    /// Those of [`TableReader::new`]; no such row.
    pub(crate) fn below(file: &Path, source: R, delimiter: u8, title: &str) -> Result<Self, DataError> {
        let mut header = Header { file: file.to_path_buf(), names: Vec::new() };
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

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// A file that cannot be read on, text that is not UTF-8 or holds NUL, a row longer or shorter than the header.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, DataError> {
        if !self.records.next(&self.header)? {
            return Ok(None);
        }
        let row = self.records.row(&self.header)?;
        let (expected, found) = (self.header.names.len(), row.ends.len());
        if found != expected {
            return Err(DataError::RowLength { file: self.header.file.clone(), line: row.line, expected, found });
        }
        Ok(Some(row))
    }

    pub(super) fn into_header(self) -> Header {
        self.header
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
    /// The line of `chunk[at]`.
    line: u64,
    /// The current record: its line, its text, and where its values end; the buffers are longer than what is used.
    first_line: u64,
    text: Vec<u8>,
    used: usize,
    places: Vec<usize>,
    values: usize,
    ends: Vec<u32>,
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
            first_line: 1,
            text: vec![0; 256],
            used: 0,
            places: vec![0; 32],
            values: 0,
            ends: Vec::new(),
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
                self.line += newlines(&rest[..blank]);
                self.at += blank;
                self.first_line = self.line;
            }
            if self.at == self.filled && !self.ended {
                self.fill(header)?;
                continue;
            }
            within = true;
            let input = &self.chunk[self.at..self.filled];
            let (result, taken, written, ended) =
                self.reader.read_record(input, &mut self.text[self.used..], &mut self.places[self.values..]);
            self.line += newlines(&input[..taken]);
            self.at += taken;
            self.used += written;
            self.values += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.places.resize(2 * self.places.len(), 0),
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn fill(&mut self, header: &Header) -> Result<(), DataError> {
        (self.at, self.filled) = (0, 0);
        // A pipe gives what it has: the first bytes are judged when there are three of them.
        while !self.ended && self.filled < if self.begun { 1 } else { 3 } {
            let read = self.source.read(&mut self.chunk[self.filled..]);
            match read {
                Ok(0) => self.ended = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(DataError::Io { path: header.file.clone(), source }),
            }
        }
        if !self.begun {
            self.begun = true;
            let start = &self.chunk[..self.filled];
            if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
                return Err(DataError::Encoding { file: header.file.clone(), line: 1, found: "UTF-16 text" });
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
            line: self.first_line + newlines(&bytes[..at]),
            found,
        };
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(error(at, "a NUL byte"));
        }
        let text = std::str::from_utf8(bytes).map_err(|utf8| error(utf8.valid_up_to(), "a byte that is not UTF-8"))?;
        self.ends.clear();
        for &end in &self.places[..self.values] {
            // The halves of a character can be the ends of two values.
            if !text.is_char_boundary(end) {
                return Err(error(end, "a byte that is not UTF-8"));
            }
            let Ok(end) = u32::try_from(end) else {
                return Err(DataError::Setting {
                    what: "length of a table's row",
                    found: format!("{} bytes", bytes.len()),
                    expected: "below 4 GiB; look for a quote that is not closed",
                });
            };
            self.ends.push(end);
        }
        Ok(Row { header, line: self.first_line, text, ends: &self.ends })
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
