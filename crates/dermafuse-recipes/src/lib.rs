//! The protocols of the papers, from cases to a model bundle.
//!
//! A recipe is a struct of settings that can be saved, and a `run` that follows the paper's protocol step by step with the
//! pieces of the other crates. [`FusionM4Net`] is the two-stage protocol of Tang et al.; [`OneStage`] is that of every method
//! which ends with its network ([`OneStage::amfam`] is AMFAM's), [`CrossValidation`] repeats it on folds, [`JointMethod`] names the
//! methods of joint and joint-individual fusion and [`JointFusionGrid`] compares them. [`ammfm_methods`], [`pemm_methods`] and
//! [`amfam_methods`] are the rows of the ablations of AMMFM, PEMM and AMFAM.
//!
//! A [`Curriculum`] trains one backbone on several data sets in turn.

mod amfam;
mod backbone_weights;
mod baseline;
mod cross_validation;
pub mod curriculum;
mod error;
mod experiment;
mod fusionm4net;
mod joint_fusion;
mod joint_fusion_grid;
mod labelled_tasks;
mod method_comparison;
mod network_recipe;
mod one_stage;
mod outcome;
mod plan;
mod preflight;
mod progress;
mod protocol;
mod recipe;
mod results;
mod round;
mod selection;
mod stored;
mod two_images;

pub use amfam::amfam_methods;
pub use backbone_weights::{BackboneWeights, UnknownBackboneWeights};
pub use baseline::majority;
pub use cross_validation::{CrossValidated, CrossValidation, FoldResult};
pub use curriculum::{AugmentationKind, Curriculum, InputKind, Kept, NetworkSettings, StageResult};
pub use error::RecipeError;
pub use experiment::{
    AnswerKind, DataSource, EvaluationSettings, Experiment, JoinedSource, MachineSettings, MergedSource,
    MethodSettings, PartsSettings, SecondStageTable, StageSettings, StartWeights,
};
pub use fusionm4net::{FusionM4Net, Outcome};
pub use joint_fusion::{JointMethod, JointStructure, UnknownStructure};
pub use joint_fusion_grid::{FusionStructure, JointFusionGrid, JointFusionRow, JointFusionTable};
pub use method_comparison::{ComparedMethod, ComparedRow, ComparisonOutcome, MethodComparison, Shard, merge_runs};
pub use network_recipe::{NetworkRecipe, Workplace};
pub use one_stage::{Answer, OneStage, OneStageOutcome, TrainedStage};
pub use outcome::{MAJORITY, Outcome as ExperimentOutcome, OutcomeRow};
pub use plan::{Plan, PlannedTraining, Round, StartFrom};
pub use preflight::SelectedCases;
pub use progress::Progress;
pub use protocol::{Protocol, ProtocolOutcome, SecondStageSettings, TrainingCurve};
pub use recipe::{About, Recipe, Row};
pub use results::{Features, Results, published_rows};
pub use round::{HeldModel, RoundResult};
pub use selection::Selection;
pub use two_images::{TwoImageMethod, ammfm_methods, pemm_loss_weights, pemm_methods};
