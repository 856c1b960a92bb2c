//! Lines of part files, one after the other.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::RecipeError;

/// Reads the answers of a part as they stand in its file.
pub(super) struct AnswerLines {
    path: PathBuf,
    file: BufReader<File>,
    /// What stands above the answers: of CSV the names of the columns.
    pub(super) header: Vec<u8>,
}

impl AnswerLines {
    /// Opens a part of that ending.
    pub(super) fn open(path: &Path, ending: &str) -> Result<Self, RecipeError> {
        let file = dermafuse_schema::open_regular_file(path, u64::MAX)?;
        let mut lines = Self { path: path.to_owned(), file: BufReader::new(file), header: Vec::new() };
        if ending == "csv" {
            lines.header = lines.next()?;
        }
        Ok(lines)
    }

    /// The next answer with the end of its line. A value of CSV may have ends of lines between its quotation marks.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, RecipeError> {
        let mut line = Vec::new();
        loop {
            let read = self.file.read_until(b'\n', &mut line);
            let count = read.map_err(|source| dermafuse_data::DataError::Io { path: self.path.clone(), source })?;
            let open = line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            match (count, open) {
                (0, _) => {
                    let reason = "it ends before the last of its answers".into();
                    return Err(RecipeError::AnswerPart { path: self.path.clone(), reason });
                }
                (_, true) => {}
                (_, false) => return Ok(line),
            }
        }
    }
}

/// What a line of that ending calls its case, if the case was answered: as it is written there.
pub(super) fn answered_case<'a>(line: &'a [u8], ending: &str) -> Option<&'a [u8]> {
    if ending == "jsonl" {
        // `{"case":"…","basis":"…","status":"ok",…`: no quotation mark stands in a text without a backslash.
        let (head, _) = split_at(line, b"\",\"basis\":")?;
        split_at(line, b",\"status\":\"ok\",")?;
        return head.strip_prefix(b"{\"case\":\"");
    }
    let mut fields = fields(line);
    let case = fields.next()?;
    (fields.nth(1)? == b"ok").then_some(case)
}

fn split_at<'a>(line: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line.windows(mark.len()).position(|window| window == mark)?;
    Some((&line[..at], &line[at + mark.len()..]))
}

/// The fields of a line of CSV as they are written.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_reasons_by_what_is_written() {
        let csv =
            |line: &str| answered_case(line.as_bytes(), "csv").map(|case| String::from_utf8(case.to_vec()).unwrap());
        assert_eq!(csv("\"a, \"\"b\"\"\",clinical,ok,,\n").unwrap(), "\"a, \"\"b\"\"\"");
        assert_eq!(csv("a,,\"a.png: ok,ok\",,\n"), None);
        let lines = |line: &'static str| answered_case(line.as_bytes(), "jsonl");
        assert_eq!(lines(r#"{"case":"a","basis":"clinical","status":"ok","findings":[]}"#), Some(&b"a"[..]));
        assert_eq!(lines(r#"{"case":"\",\"status\":\"ok\",","basis":null,"status":"cut off","findings":[]}"#), None);
    }

    #[test]
    fn a_value_may_have_an_end_of_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.csv");
        std::fs::write(&path, "case,status\n\"a\nb\",ok\nc,\"x \"\"\n\"\"\"\n").unwrap();
        let mut lines = AnswerLines::open(&path, "csv").unwrap();
        assert_eq!(lines.header, b"case,status\n");
        assert_eq!(lines.next().unwrap(), b"\"a\nb\",ok\n");
        assert_eq!(lines.next().unwrap(), b"c,\"x \"\"\n\"\"\"\n");
        let error = lines.next().unwrap_err().to_string();
        assert!(error.contains("part.csv") && error.contains("ends before the last of its answers"), "{error}");
    }
}
