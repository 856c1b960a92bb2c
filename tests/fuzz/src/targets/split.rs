//! Splits, read for the set that they are of.

use std::path::{Path, PathBuf};

use dermafuse::data::{CaseSet, Split, TableChanges};

use super::{Target, Verdict, promise, sample};
use crate::mutate::{Corpus, Syntax};

struct Splits {
    corpus: Corpus,
    set: CaseSet,
    file: PathBuf,
}

const WORDS: [&str; 12] = [
    "train",
    "valid",
    "test",
    "leaks",
    "groups_cross",
    "test_selects",
    "left_out",
    "labels",
    "case 1",
    "NEV",
    "format",
    "clinic",
];

pub(super) fn target(scratch: &Path) -> Box<dyn Target> {
    let set = sample::set();
    let file = scratch.join("split.json");
    let saved = |split: &Split| {
        split.save(&file, &set).expect("a split of the set");
        std::fs::read(&file).expect("what was written")
    };
    let whole = sample::split(&set);
    let part = Split::new(vec![0, 1], vec![4, 5], vec![8], set.len()).expect("three parts");
    let entries = vec![saved(&whole), saved(&part), br#"{"train":[0,1],"valid":[2,3],"test":[4,5]}"#.to_vec()];
    Box::new(Splits { corpus: Corpus { syntax: Syntax::Json, entries, words: &WORDS, make: None }, set, file })
}

impl Target for Splits {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        std::fs::write(&self.file, input).map_err(|error| error.to_string())?;
        let mut verdict = Verdict::Refused;
        for changes in [TableChanges::Refuse, TableChanges::Allow] {
            let Ok(loaded) = Split::load_with(&self.file, &self.set, changes) else { continue };
            let checked = loaded.split.check(&self.set);
            promise!(checked.is_ok(), "read, and not valid: {checked:?}");
            verdict = Verdict::Accepted;
        }
        Ok(verdict)
    }
}
