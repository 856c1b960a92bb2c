//! Logits of a network, as they are kept between stages.

use std::path::Path;

use dermafuse::schema::{BranchLogits, FuseSpace};

use super::{Target, Verdict, accepted, sample};
use crate::mutate::{Corpus, Syntax};

struct Logits {
    corpus: Corpus,
}

const WORDS: [&str; 10] =
    ["clinical", "dermoscopic", "diagnosis", "streaks", "NEV", "available", "logits", "dim", "data", "v"];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let logits = sample::logits(&sample::set(), &["clinical", "dermoscopic"]);
    let small = logits.select(&[0, 1, 5]);
    let entries = [&small, &logits.select(&[3])].map(|logits| serde_json::to_vec(logits).expect("string keys"));
    let corpus = Corpus { syntax: Syntax::Json, entries: entries.to_vec(), words: &WORDS, make: None };
    Box::new(Logits { corpus })
}

impl Target for Logits {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let logits: BranchLogits = accepted!(serde_json::from_slice(input));
        accepted!(logits.check());
        if logits.branches.is_empty() {
            return Ok(Verdict::Refused);
        }
        for space in [FuseSpace::Logits, FuseSpace::Probabilities] {
            let predictions = accepted!(logits.fuse(&logits.equal_weights(), space));
            sample::check_probabilities("averaged", &predictions)?;
        }
        Ok(Verdict::Accepted)
    }
}
