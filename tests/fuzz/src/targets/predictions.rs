//! Predictions, as they are kept: read, scored, mixed, and written as a table that can be read.

use std::path::Path;

use dermafuse::data::Table;
use dermafuse::eval::predictions_csv;
use dermafuse::schema::{FuseSpace, Predictions};

use super::{Target, Verdict, accepted, promise, sample};
use crate::mutate::{Corpus, Syntax};

struct AllPredictions {
    corpus: Corpus,
}

const WORDS: [&str; 10] =
    ["clinical", "diagnosis", "streaks", "NEV", "probabilities", "basis", "=cmd|' /C calc'!A0", "\"", "a,b", "case 1"];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let logits = sample::logits(&sample::set(), &["clinical", "dermoscopic"]);
    let entry = |rows: &[usize]| {
        let logits = logits.select(rows);
        let predictions = logits.fuse(&logits.equal_weights(), FuseSpace::Logits).expect("every case has branches");
        serde_json::to_vec(&predictions).expect("string keys")
    };
    let entries = vec![entry(&[0, 1, 5, 7]), entry(&[2])];
    Box::new(AllPredictions { corpus: Corpus { syntax: Syntax::Json, entries, words: &WORDS, make: None } })
}

impl Target for AllPredictions {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let predictions: Predictions = accepted!(serde_json::from_slice(input));
        sample::check_probabilities("as read", &predictions)?;
        for task in 0..predictions.tasks.len() {
            let accuracy = predictions.accuracy(task);
            promise!(accuracy.is_none_or(|share| (0.0..=1.0).contains(&share)), "an accuracy of {accuracy:?}");
        }
        let mixed = predictions.mix(&predictions, 0.25).map_err(|error| format!("not mixed with itself: {error}"))?;
        sample::check_probabilities("mixed", &mixed)?;
        let twice = Predictions::concatenate(vec![predictions.clone(), mixed]).map_err(|error| error.to_string())?;
        promise!(twice.len() == 2 * predictions.len(), "{} cases", twice.len());
        if predictions.is_empty() {
            return Ok(Verdict::Accepted);
        }
        let csv = accepted!(predictions_csv(&[("P", &predictions)], &[]));
        Table::parse("predictions.csv", csv.as_bytes()).map_err(|error| format!("its table is not read: {error}"))?;
        Ok(Verdict::Accepted)
    }
}
