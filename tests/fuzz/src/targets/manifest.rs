//! Manifests of checkpoints, sealed anew so that changes reach the checks behind the checksum.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dermafuse::infer::sha256_hex;
use dermafuse::train::{Checkpoint, Checkpoints, EpochReport, RunFacts, RunIdentity, RunState};
use serde::{Deserialize, Serialize};

use super::{Target, Verdict, promise};
use crate::mutate::{Corpus, Syntax};

const EPOCH: usize = 3;

struct Manifests {
    corpus: Corpus,
    checkpoints: Checkpoints,
    file: PathBuf,
}

/// The fields of a manifest, in the order in which they are sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    format: u32,
    sha256: String,
    facts: RunFacts,
    state: RunState,
    parts: BTreeMap<String, Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    bytes: u64,
    sha256: String,
}

const WORDS: [&str; 14] = [
    "format",
    "sha256",
    "facts",
    "state",
    "history",
    "best_epoch",
    "best_from",
    "parts",
    "network.bpk",
    "optimizer.bpk",
    "average.bpk",
    "../network.bpk",
    "epoch",
    "valid_score",
];

pub(super) fn target(scratch: &Path) -> Box<dyn Target> {
    let mut facts = RunFacts::default();
    facts.set("training", &[("epochs", 3)]);
    let folder = scratch.join("run");
    let checkpoints = Checkpoints::open(&folder, RunIdentity::of(facts), true).expect("a folder that can be written");
    let report = |epoch: usize| EpochReport {
        epoch,
        learning_rate: 0.1,
        train_loss: 1.0,
        valid_loss: Some(1.0),
        valid_score: Some(if epoch == 2 { 0.75 } else { 0.5 }),
    };
    let state = RunState { history: (1..=EPOCH).map(report).collect(), best_epoch: 2, best_from: 0 };
    let whole = |average| Checkpoint { state: state.clone(), network: vec![1; 9], optimizer: vec![2; 3], average };
    let file = folder.join(format!("epoch-{EPOCH:05}")).join("manifest.json");
    let mut entries = Vec::new();
    for average in [None, Some(vec![4])] {
        checkpoints.write(&whole(average)).expect("a folder that can be written");
        entries.push(std::fs::read(&file).expect("what was written"));
    }
    Box::new(Manifests {
        corpus: Corpus { syntax: Syntax::Json, entries, words: &WORDS, make: None },
        checkpoints,
        file,
    })
}

/// The manifest with the checksum that it should have, if it can be given one.
fn sealed(input: &[u8]) -> Option<Vec<u8>> {
    let mut fields: Fields = serde_json::from_slice(input).ok()?;
    fields.sha256 = String::new();
    fields.sha256 = sha256_hex(&serde_json::to_vec(&fields).ok()?);
    serde_json::to_vec(&fields).ok()
}

impl Target for Manifests {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let sealed = sealed(input);
        std::fs::write(&self.file, sealed.as_deref().unwrap_or(input)).map_err(|error| error.to_string())?;
        let read = self.checkpoints.read(EPOCH);
        let latest = self.checkpoints.latest(|_| ());
        let Ok(checkpoint) = read else { return Ok(Verdict::Refused) };
        let RunState { history, best_epoch, .. } = &checkpoint.state;
        let kept = history.len() == EPOCH && (1..=EPOCH).contains(best_epoch);
        promise!(kept, "epoch {best_epoch} of {} is the best", history.len());
        promise!(latest.is_ok_and(|latest| latest.is_some()), "read, and not the latest");
        Ok(Verdict::Accepted)
    }
}
