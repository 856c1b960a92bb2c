//! How the values of a table are parted, told by its beginning.

use std::path::Path;

use csv_core::{ReadRecordResult, ReaderBuilder};

use crate::DataError;

/// What may part values, the usual one first.
const SEPARATORS: [u8; 4] = *b",;\t|";
/// Rows that are looked at where the header leaves it open.
const ROWS: usize = 50;
/// Columns that are counted.
const COLUMNS: usize = 4096;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Bytes before the table: a line such as `sep=;`, as Excel writes and reads it.
    pub(super) skip: usize,
}

impl Dialect {
    /// The dialect of a table that starts with these bytes; `whole` if there are no more.
    pub(super) fn of(file: &Path, start: &[u8], whole: bool) -> Result<Self, DataError> {
        if let Some(dialect) = Self::declared(start) {
            return Ok(dialect);
        }
        let present: Vec<u8> = SEPARATORS.into_iter().filter(|separator| count(start, *separator) > 0).collect();
        let delimiter = match present.as_slice() {
            [] => b',',
            [one] if *one != b'|' => *one,
            several => {
                let fits = |separator: &u8| rows_agree(start, whole, *separator);
                let fitting: Vec<u8> = several.iter().copied().filter(fits).collect();
                match (fitting.as_slice(), several) {
                    ([one], _) => *one,
                    // One column, whose name holds a bar.
                    (_, [_]) => b',',
                    (_, several) => {
                        let found = several.iter().map(|separator| name(*separator).to_owned()).collect();
                        return Err(DataError::Separator { file: file.into(), found });
                    }
                }
            }
        };
        Ok(Self { delimiter, skip: 0 })
    }

    /// What a first line `sep=;` says.
    fn declared(start: &[u8]) -> Option<Self> {
        let blank = start.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let line = start[blank..].split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
        let inner = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(line);
        let (key, value) = inner.split_at_checked(4)?;
        // Programs that save the table again fill the line up with separators.
        let (first, rest) = value.split_first()?;
        let is_separator = (first.is_ascii_punctuation() && *first != b'"') || *first == b'\t';
        let declares = key.eq_ignore_ascii_case(b"sep=") && is_separator && rest.iter().all(|byte| byte == first);
        declares.then_some(Self { delimiter: *first, skip: blank + line.len() })
    }

    /// Whether numbers may have a decimal comma: where it does not part values.
    pub(super) fn has_decimal_comma(self) -> bool {
        self.delimiter != b','
    }
}

/// How often a separator stands in the first row, outside quotes.
fn count(start: &[u8], separator: u8) -> usize {
    let mut quoted = false;
    let blank = start.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let row = start[blank..].iter().take_while(|byte| {
        quoted ^= **byte == b'"';
        quoted || !matches!(byte, b'\r' | b'\n')
    });
    let mut within = false;
    row.filter(|byte| {
        within ^= **byte == b'"';
        !within && **byte == separator
    })
    .count()
}

/// Whether, parted so, the first rows have as many values as the header, and there is one.
fn rows_agree(start: &[u8], whole: bool, delimiter: u8) -> bool {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    let (mut text, mut ends) = (vec![0; start.len() + 1], vec![0; COLUMNS]);
    let mut counts = Vec::new();
    let (mut at, mut values, mut used) = (0, 0, 0);
    while counts.len() <= ROWS {
        let (result, taken, written, ended) = reader.read_record(&start[at..], &mut text[used..], &mut ends[values..]);
        (at, values, used) = (at + taken, values + ended, used + written);
        match result {
            ReadRecordResult::Record => {
                counts.push(values);
                (values, used) = (0, 0);
            }
            // Called again without input, the reader ends the last row.
            ReadRecordResult::InputEmpty if whole => {}
            _ => break,
        }
    }
    counts.len() > 1 && counts.iter().all(|count| *count == counts[0])
}

fn name(separator: u8) -> &'static str {
    match separator {
        b',' => "comma",
        b';' => "semicolon",
        b'\t' => "tab",
        _ => "bar",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(char, usize), String> {
        let dialect = Dialect::of("t.csv".as_ref(), text.as_bytes(), true).map_err(|error| error.to_string())?;
        Ok((dialect.delimiter.into(), dialect.skip))
    }

    #[test]
    fn the_header_tells_the_separator() {
        for (text, expected) in [
            ("a\n1;2\n", ','),
            ("a,b\n1;2\n", ','),
            ("a;b\n1,5;2\n", ';'),
            ("a\tb\r\n1,5\t2\r\n", '\t'),
            ("a|b\n1|2", '|'),
            ("a|b\n12\n", ','),
            ("\"a,b\";c\r1;2\r", ';'),
            ("\n\nid,\"site; side\"\n1,2\n", ','),
            // Left open by the header, told by the rows.
            ("id,site (left;right),age\n1,left,4\n2,right,5", ','),
            ("id;size, mm;age\n1;5,5;3,25\n2;5;3\n", ';'),
        ] {
            assert_eq!(of(text), Ok((expected, 0)), "{text:?}");
        }
        for text in ["a,b;c\n1,2;3\n", "a,b;c\n1\n", "a,b;c\n", "id;size, mm\n1;5,5"] {
            let text = of(text).unwrap_err();
            assert_eq!(
                text,
                "t.csv: the values may be parted by comma or semicolon; put a line such as `sep=;` above the header, or save \
                 the table with commas"
            );
        }
    }

    #[test]
    fn a_line_may_say_the_separator() {
        for (text, expected) in [
            ("sep=;\r\na,b;c\r\n", (';', 5)),
            ("\"sep=,\"\na;b,c\n", (',', 7)),
            ("SEP=\t\na\tb\n", ('\t', 5)),
            ("sep=,,,,\na,b\n", (',', 8)),
            ("\nsep=|\na|b\n", ('|', 6)),
            ("sep=x,b\n", (',', 0)),
            ("sep=\n", (',', 0)),
        ] {
            assert_eq!(of(text), Ok(expected), "{text:?}");
        }
    }
}
