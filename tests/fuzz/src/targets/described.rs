//! Described sets: the description, and the tables that one is of.

use std::path::{Path, PathBuf};

use dermafuse::data::{LoadOptions, described};

use super::{Target, Verdict, accepted, texts};
use crate::mutate::{Corpus, Syntax};

const DESCRIPTION: &str = r#"
name = "clinic"
missing = ["NA", "unknown"]
[cases]
file = "lesions.csv"
id = "image"
patient = "patient_id"
lesion = ["patient_id", "lesion"]
[[tables]]
name = "patients"
file = "patients.csv"
key = "patient"
references = "patient_id"
[[tasks]]
name = "diagnosis"
label = "DIAG"
column = "dx"
classes = ["NEV", "MEL", "BCC"]
map = { "melanoma in situ" = "MEL", naevus = "NEV" }
drop = ["other"]
[[fields]]
column = { table = "patients", column = "age" }
kind = "numeric"
role = "pre_diagnosis"
[[fields]]
column = { table = "patients", column = "sex" }
kind = "categorical"
categories = "observed"
role = "pre_diagnosis"
"#;
const ONE_HOT: &str = r#"
name = "one-hot"
[cases]
file = "lesions.csv"
id = "image"
group = "patient_id"
[[tasks]]
name = "diagnosis"
one_hot = "cases"
classes = ["a", "b"]
reference = "a"
[[fields]]
name = "site"
column = "lesion"
kind = "categorical"
categories = ["1", "2"]
map = { "3" = "2" }
role = "post_diagnosis"
"#;
const LESIONS: &str = "image,patient_id,lesion,dx,a,b\ni1,p1,1,naevus,1,0\ni2,p1,2,MEL,0.0,1.0\ni3,p2,1,melanoma in \
                       situ,0,1\ni4,p2,3,other,1,0\ni5,p3,1,BCC,0,1\n";
const PATIENTS: &str = "patient,age,sex\np1,50,female\np2,NA,male\np3,61.5,unknown\n";

const WORDS: [&str; 34] = [
    "[cases]",
    "[[tables]]",
    "[images]",
    "[[tasks]]",
    "[[fields]]",
    "file",
    "lesions.csv",
    "patients.csv",
    "image",
    "patient_id",
    "lesion",
    "dx",
    "age",
    "sex",
    "cases",
    "patients",
    "column",
    "one_hot",
    "observed",
    "categorical",
    "numeric",
    "where",
    "{ column = \"dx\", where = { lesion = \"1\" } }",
    "pre_diagnosis",
    "MEL",
    "NA",
    "p1",
    "i1",
    "\"",
    "sep=;",
    "true",
    "[]",
    "{}",
    "..",
];

/// Either file of a set may be the input; the others are as they should be.
struct Described {
    corpus: Corpus,
    folder: PathBuf,
    /// Whether the input is the tables, one after the other, parted by a line of `---`.
    tables: bool,
}

fn target(scratch: &Path, entries: Vec<Vec<u8>>, tables: bool) -> Box<dyn Target> {
    let folder = scratch.to_owned();
    for (name, text) in [("set.toml", DESCRIPTION), ("lesions.csv", LESIONS), ("patients.csv", PATIENTS)] {
        std::fs::write(folder.join(name), text).expect("a folder that can be written");
    }
    Box::new(Described { corpus: Corpus { syntax: Syntax::Lines, entries, words: &WORDS, make: None }, folder, tables })
}

pub(super) fn descriptions(scratch: &Path) -> Box<dyn Target> {
    target(scratch, texts([DESCRIPTION, ONE_HOT]), false)
}

pub(super) fn tables(scratch: &Path) -> Box<dyn Target> {
    let both = format!("{LESIONS}---\n{PATIENTS}");
    let semicolons = both.replace(',', ";").replace("61.5", "61,5");
    target(scratch, texts([both.as_str(), &semicolons, &both.replace('\n', "\r\n")]), true)
}

impl Target for Described {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(self.folder.join(name), bytes).map_err(|error| error.to_string());
        match self.tables {
            false => write("set.toml", input)?,
            true => {
                let border = input.windows(3).position(|window| window == b"---").unwrap_or(input.len());
                write("lesions.csv", &input[..border])?;
                let patients = input.get(border + 3..).unwrap_or_default();
                let patients = patients.strip_prefix(b"\r").unwrap_or(patients);
                write("patients.csv", patients.strip_prefix(b"\n").unwrap_or(patients))?;
            }
        }
        let set = accepted!(described::load_with(self.folder.join("set.toml"), &LoadOptions::metadata_only()));
        set.check().map_err(|error| format!("read, and not valid: {error}"))?;
        Ok(Verdict::Accepted)
    }
}
