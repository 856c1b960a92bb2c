//! Class maps: which classes of several sets are one, and the set that they make.

use std::path::Path;

use dermafuse::data::{CaseSet, ClassMap};

use super::{Target, Verdict, accepted, promise, sample, texts};
use crate::mutate::{Corpus, Syntax};

struct ClassMaps {
    corpus: Corpus,
    north: CaseSet,
    south: CaseSet,
}

const WORDS: [&str; 14] = [
    "north",
    "south",
    "NEV",
    "MEL",
    "BCC",
    "[[classes]]",
    "[drop]",
    "from",
    "name",
    "task",
    "{}",
    "[]",
    "true",
    "1979-05-27",
];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let entries = texts([
        "name = \"two\"\n[[classes]]\nname = \"nevus\"\nfrom = { north = [\"NEV\"], south = [\"NEV\"] }\n[[classes]]\nname = \
         \"cancer\"\nfrom = { north = [\"MEL\", \"BCC\"], south = [\"MEL\"] }\n[drop]\nsouth = [\"BCC\"]\n",
        "name = 'one'\ntask = \"diagnosis\"\n[[classes]]\nname = \"a\"\n[classes.from]\nnorth = [\"NEV\"]\n[[classes]]\nname = \
         \"b\"\nfrom.south = [\"MEL\"]\n",
    ]);
    let north = sample::set();
    let mut south = sample::set();
    south.split = Some(sample::split(&south));
    south.fields.reverse();
    south.cases.iter_mut().for_each(|case| case.metadata.reverse());
    Box::new(ClassMaps { corpus: Corpus { syntax: Syntax::Lines, entries, words: &WORDS, make: None }, north, south })
}

impl Target for ClassMaps {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let text = accepted!(std::str::from_utf8(input));
        let map = accepted!(ClassMap::parse("map.toml", text));
        let merged = accepted!(map.merge(&[("north", &self.north), ("south", &self.south)]));
        merged.check().map_err(|error| format!("merged, and not valid: {error}"))?;
        promise!(merged.tasks[0].classes == map.classes(), "classes {:?}", merged.tasks[0].classes);
        Ok(Verdict::Accepted)
    }
}
