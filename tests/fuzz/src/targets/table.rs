//! Tables: CSV of every dialect, from memory and row by row.

use std::path::Path;

use dermafuse::data::{Table, TableReader};

use super::{Target, Verdict, accepted, promise, texts};
use crate::mutate::{Corpus, Syntax};

struct Tables {
    corpus: Corpus,
}

const WORDS: [&str; 16] = [
    "sep=;",
    "sep=\t",
    "NA",
    "nan",
    "True",
    "TRUE",
    "3,5",
    "3.0",
    "\"",
    "\"\"",
    "\",\"",
    "\u{feff}",
    "|",
    ";;",
    "\r\n",
    "=cmd|' /C calc'!A0",
];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let entries = texts([
        "id,sex,age\na,female,50\nb,male,\"61.5\"\nc,,\n",
        "sep=;\nid;sex;age;;\na;\"fe\"\"male\";50,5;;\nb;male;61;;\n",
        "\u{feff}id\tsex\tage\r\na\tTrue\t3\r\nb\tFALSE\t3.0\r\n",
        "id|note\n1|\"two\nlines\"\n2|=cmd|' /C calc'!A0\n",
        "id,name\n1,\u{e9}\n2,e\u{301}\n",
    ]);
    Box::new(Tables { corpus: Corpus { syntax: Syntax::Lines, entries, words: &WORDS, make: None } })
}

impl Target for Tables {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let read = Table::parse("table.csv", input);
        let mut rows = 0;
        let by_row = TableReader::new("table.csv", input).and_then(|mut reader| {
            while reader.next_row()?.is_some() {
                rows += 1;
            }
            Ok(rows)
        });
        let table = match (read, by_row) {
            (Ok(table), Ok(rows)) => {
                promise!(table.len() == rows, "{} rows at once, {rows} one by one", table.len());
                table
            }
            (Ok(_), Err(error)) => return Err(format!("read at once, but not row by row: {error}")),
            (Err(_), _) => return Ok(Verdict::Refused),
        };
        let known = ["female", "male", "True", "3"];
        for name in table.headers() {
            let column = accepted!(table.column(name));
            for row in 0..table.len() {
                let _ = (column.text(row).len(), column.category(row, &known), table.line(row));
                if let Ok(Some(number)) = column.number(row) {
                    promise!(number.is_finite(), "column `{name}`, row {row}: {number}");
                }
            }
        }
        Ok(Verdict::Accepted)
    }
}
