//! Second stages: SVM, logistic regression and perceptron, as they lie in a model.

use std::path::Path;

use dermafuse::ensemble::{ClassifierCluster, ClassifierKind, EnsembleError, SecondStage, TwoStage};
use dermafuse::schema::{BranchLogits, BranchWeights, FuseSpace};

use super::{Target, Verdict, accepted, promise, sample};
use crate::mutate::{Corpus, Syntax};

const BRANCHES: [&str; 2] = ["clinical", "dermoscopic"];

struct TwoStages {
    corpus: Corpus,
    logits: BranchLogits,
}

const WORDS: [&str; 24] = [
    "clinical",
    "dermoscopic",
    "diagnosis",
    "streaks",
    "NEV",
    "svm",
    "logistic",
    "mlp",
    "adaboost",
    "nodes",
    "cut",
    "leaf",
    "logits",
    "probabilities",
    "support",
    "machines",
    "coefficients",
    "sigmoid",
    "rho",
    "gamma",
    "present",
    "features",
    "classes",
    "data",
];

/// A second stage of each kind, of the smallest size, on the sample's logits of these branches.
pub(super) fn second_stages(logits: &BranchLogits) -> Vec<TwoStage> {
    let names: Vec<&str> = logits.branches.iter().map(|branch| branch.name.as_str()).collect();
    let weights = || BranchWeights::new(names.iter().zip([3.0, 1.0]).map(|(name, weight)| (*name, weight)));
    let first = logits.fuse(&weights().expect("weights"), FuseSpace::Logits).expect("every case has branches");
    let fitted = |kind: ClassifierKind| {
        let mut params = ClassifierCluster::params(kind, 1);
        if let dermafuse::ensemble::ClassifierParams::Mlp(mlp) = &mut params.classifier {
            (mlp.hidden, mlp.max_epochs) = (3, 5);
        }
        SecondStage::fit(&params, &first, &logits.cohort).expect("a cluster")
    };
    let stage = |second_stage: Option<SecondStage>| {
        TwoStage::new(weights().expect("weights"), FuseSpace::Logits, second_stage, 0.5).expect("a mix within 0..=1")
    };
    let kinds = ClassifierKind::ALL.map(|kind| stage(Some(fitted(kind))));
    kinds.into_iter().chain([stage(None)]).collect()
}

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let logits = sample::logits(&sample::set(), &BRANCHES);
    let entries = second_stages(&logits).iter().map(|stage| serde_json::to_vec(stage).expect("string keys")).collect();
    Box::new(TwoStages {
        corpus: Corpus { syntax: Syntax::Json, entries, words: &WORDS },
        logits: logits.select(&[0, 3, 5]),
    })
}

impl Target for TwoStages {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let stage: TwoStage = accepted!(serde_json::from_slice(input));
        let _ = stage.notes();
        accepted!(stage.check(&self.logits.tasks, &BRANCHES, self.logits.cohort.metadata.ncols()));
        let rows = match stage.apply(&self.logits) {
            Ok(rows) => rows,
            // Finite numbers of a damaged file can be so large that a score is not: it is refused then, by the record.
            Err(EnsembleError::Unbounded { .. }) => return Ok(Verdict::Refused),
            Err(error) => return Err(format!("checked, and not applied: {error}")),
        };
        promise!(!rows.is_empty(), "no stage");
        rows.iter().try_for_each(|(name, predictions)| sample::check_probabilities(name, predictions))?;
        Ok(Verdict::Accepted)
    }
}
