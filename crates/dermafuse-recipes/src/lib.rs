//! Experiments, the papers' recipes, and comparisons: the whole way from cases to a model and a report.
//!
//! Start with:
//!
//! * [`Recipe`]: the file of a paper: an experiment with the rows of its tables and the numbers that were printed.
//! * [`Experiment`]: data, method, training and test in one value, which a TOML file holds.
//! * [`Plan`]: an experiment with its data, which checks every training before the first one begins. It runs at a [`Workplace`].
//! * [`Outcome`]: what a plan gives: it writes report, metrics, predictions and model.
//! * [`MethodComparison`]: trains several methods on the same cases and tests whether they differ.
//!
//! # Example
//!
//! A recipe at small size on drawn lesions; with `release_v0` and published weights it is the paper's.
//!
//! ```
//! use burn::tensor::Device;
//! use dermafuse_recipes::{Recipe, Workplace};
//! use dermafuse_synthetic::SyntheticConfig;
//! use dermafuse_train::Silent;
//!
//! let folder = tempfile::tempdir()?;
//! let data = folder.path().join("drawn");
//! dermafuse_synthetic::write(&data, &SyntheticConfig { cases: 20, image_size: (40, 32), ..SyntheticConfig::default() })?;
//!
//! let mut recipe = Recipe::named("ammfm")?;
//! recipe.set_data(&format!("derm7pt={}", data.display()))?;
//! for setting in [
//!     "method.weights=random",
//!     "method.network.clinical=resnet18_quarter",
//!     "method.network.dermoscopic=resnet18_quarter",
//!     "training.preprocess.size=32",
//!     "training.epochs=1",
//!     "training.averaging=none",
//! ] {
//!     recipe.set(setting)?;
//! }
//! let plan = recipe.experiment()?.plan()?;
//! let (device, run) = (Device::flex(), folder.path().join("run"));
//! let outcome = plan.run(Workplace::on(&device).in_folder(&run, false), &mut Silent)?; // or a `TerminalProgress`
//! let evaluations = outcome.write(&run)?;
//! assert!(evaluations.iter().any(|(stage, _)| stage == "P_1"));
//! assert!(run.join("report.html").is_file() && run.join("model.safetensors").is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adaptation;
mod backbone_weights;
mod baseline;
mod calibration_change;
mod corruption_benchmark;
mod error;
mod experiment;
mod final_fit;
mod frozen;
mod labelled_tasks;
mod learnt_prevalence;
mod method_comparison;
mod modality_subsets;
mod near_duplicates;
mod network_recipe;
mod outcome;
mod performance;
mod plan;
mod preflight;
mod printed_rows;
mod progress;
mod proposed_experiment;
mod protocol;
mod recipe;
mod results;
mod round;
mod searched_weights;
mod selection;
mod sharded_prediction;
mod stored;
mod sweep;
mod terminal_progress;
mod thumbnail;

pub use adaptation::{Adaptation, AdaptationOutcome, LocalPrevalence};
pub use backbone_weights::{BackboneWeights, UnknownBackboneWeights};
pub use baseline::majority;
pub use calibration_change::calibration_change;
pub use corruption_benchmark::{CorruptionBenchmark, CorruptionOutcome};
pub use error::RecipeError;
pub use experiment::{
    AbstentionSettings, AnswerKind, DataSource, EvaluationSettings, Experiment, FinalFitSettings, GroupSettings,
    JoinedSource, MachineSettings, MergedSource, MethodSettings, PartsSettings, SecondStageTable, StageSettings,
    StartWeights, WantedGroup,
};
pub use frozen::LearntNetwork;
pub use method_comparison::{
    ComparedMethod, ComparedRow, ComparisonOutcome, CurvesOfScore, MethodComparison, NonInferiorPair, SideBySide,
    merge_runs,
};
pub use modality_subsets::evaluate_subsets;
pub use near_duplicates::{near_duplicate_page, near_duplicate_sentences};
pub use network_recipe::{NetworkRecipe, Workplace};
pub use outcome::{MAJORITY, Outcome, OutcomeRow, classes_sentence};
pub use plan::{Plan, PlannedTraining, Round, StartFrom};
pub use preflight::SelectedCases;
pub use progress::Progress;
pub use proposed_experiment::ProposedExperiment;
pub use protocol::{Answer, Protocol, ProtocolOutcome, SecondStageSettings, TrainingCurve};
pub use recipe::{About, Recipe, Row};
pub use results::{Features, FittedToAnswers, Results, published_rows};
pub use round::{HeldModel, RoundResult};
pub use selection::Selection;
pub use sharded_prediction::{
    MergedAnswers, ShareOutcome, SharedCases, SharedPrediction, answer_remarks, merge_answers,
};
pub use sweep::{PlannedSweep, Sweep, SweepKind, SweepOutcome, SweepScore, Trial, TriedSettings};
pub use terminal_progress::TerminalProgress;
