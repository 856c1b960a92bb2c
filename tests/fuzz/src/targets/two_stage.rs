//! Second stages: SVM, logistic regression and perceptron, as they lie in a model.

use std::path::Path;

use dermafuse::ensemble::{
    AnswerCalibration, AssumedPrevalence, BasisCalibration, CalibrationMap, CalibrationMethod, CalibrationOrigin,
    ClassifierCluster, ClassifierKind, EnsembleError, ModelPrevalence, Prevalence, PrevalenceOrigin, SecondStage,
    TaskCalibration, TwoStage,
};
use dermafuse::schema::{BranchLogits, BranchWeights, FuseSpace};

use super::{Target, Verdict, accepted, promise, sample};
use crate::mutate::{Corpus, Syntax};

const BRANCHES: [&str; 2] = ["clinical", "dermoscopic"];

struct TwoStages {
    corpus: Corpus,
    logits: BranchLogits,
}

const WORDS: [&str; 31] = [
    "clinical",
    "dermoscopic",
    "diagnosis",
    "streaks",
    "NEV",
    "svm",
    "logistic",
    "mlp",
    "adaboost",
    "gradient_boosting",
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
    "calibration",
    "temperature",
    "isotonic",
    "prevalence",
    "assumed",
    "share",
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
    let calibrated = CalibrationMethod::ALL.map(|method| calibrated(method, stage(None), logits));
    kinds.into_iter().chain([stage(None)]).chain(calibrated).collect()
}

/// The same with calibrated answers that are corrected to a prevalence.
fn calibrated(method: CalibrationMethod, stage: TwoStage, logits: &BranchLogits) -> TwoStage {
    let answers = stage.uncalibrated(logits).expect("every case has branches");
    let labels = |task: usize| answers.labels.iter().map(|labels| labels[task].unwrap_or(0)).collect::<Vec<_>>();
    let tasks = answers.tasks.iter().zip(&answers.probabilities).enumerate().map(|(index, (task, table))| {
        let (labels, classes) = (labels(index), task.classes.clone());
        let map = CalibrationMap::fit(method, table.view(), &labels, &vec![0.0; classes.len()]).expect("a map");
        TaskCalibration { task: task.name.clone(), classes, cases: labels.len(), map }
    });
    let of_whole = BasisCalibration { basis: answers.basis[0].clone(), tasks: tasks.collect() };
    let origin = CalibrationOrigin::Local { data_set: "clinic".into() };
    let calibration = AnswerCalibration { method, origin, answers: vec![of_whole] };
    let equal: Vec<Vec<f64>> = answers.tasks.iter().map(|task| vec![1.0; task.classes.len()]).collect();
    let training = Prevalence::of_counts(&answers.tasks, &equal).expect("shares");
    let rising: Vec<Vec<f64>> = equal.iter().map(|of_task| (0..of_task.len()).map(|at| at as f64).collect()).collect();
    let prevalence = Prevalence::of_counts(&answers.tasks, &rising).expect("shares");
    let assumed = Some(AssumedPrevalence { prevalence, origin: PrevalenceOrigin::Stated });
    let prevalence = Some(ModelPrevalence { assumed, ..ModelPrevalence::of_training(training) });
    TwoStage { calibration: Some(calibration), prevalence, ..stage }
}

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let logits = sample::logits(&sample::set(), &BRANCHES);
    let entries = second_stages(&logits).iter().map(|stage| serde_json::to_vec(stage).expect("string keys")).collect();
    Box::new(TwoStages {
        corpus: Corpus { syntax: Syntax::Json, entries, words: &WORDS, make: None },
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
