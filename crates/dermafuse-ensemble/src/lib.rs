//! The second stage of DermaFuse: branch-weight searches and the cluster of SVMs.
//!
//! A network's [`BranchLogits`](dermafuse_schema::BranchLogits) become the final prediction in three steps, each fitted
//! on validation or held-out cases and stored with serde:
//!
//! 1. [`WeightSearch`] finds how much each branch counts, which gives `P_1` (Fusion Scheme 1, thesis Alg. 1).
//! 2. [`ClassifierCluster`], one classifier for each task, predicts `P_2` from the probabilities of `P_1` and the
//!    metadata (Fusion Scheme 2). [`SecondStage`] makes its [`records`].
//! 3. [`MixSearch`] finds how much of `P_1` goes into `P_3 = W_1 · P_1 + (1 − W_1) · P_2` (thesis Alg. 2).
//!
//! [`TwoStage`] holds what the three found and gives all rows of the paper's tables at once. After them, where it is asked for,
//! [`AnswerCalibration`] makes the last row's probabilities ones that come true, and a [`Prevalence`] those of a place. What is
//! fitted on the answers for validation cases afterwards: [`fit_operating_point`] and [`fit_prediction_sets`]. Apart from these, a
//! [`LabelGraph`] lets what is said of one task count for the others.
//!
//! # Shapes
//! `N` cases or records, `F` features, `T` tasks, `K_t` classes of task `t`, `M` metadata columns.

mod ada_boost;
mod calibration;
mod calibration_note;
mod classifier;
mod cluster;
mod conformal;
mod coupling;
mod cut_place;
mod decision_point;
mod decision_tree;
mod error;
mod feature_heads;
mod folds;
mod gradient_boosting;
#[cfg(feature = "onnx")]
mod graph_stages;
#[cfg(feature = "onnx")]
mod graph_terms;
mod histogram_tree;
mod label_graph;
mod logistic;
mod mix_search;
mod mlp;
mod model_prevalence;
mod objective;
mod operating_point;
mod out_of_distribution;
mod platt;
mod prevalence;
mod principal_components;
mod probability_facts;
mod records;
mod shares;
mod solver;
mod svm;
mod training;
mod two_stage;
mod weight_search;

pub use ada_boost::{AdaBoostClassifier, AdaBoostParams};
pub use calibration::{
    AnswerCalibration, AnswerPattern, BasisCalibration, CalibratedAnswers, CalibrationMap, CalibrationMethod,
    CalibrationOrigin, IsotonicSteps, TaskCalibration,
};
pub use calibration_note::{CalibrationNote, CalibrationOutcome, PairCalibration};
pub use classifier::{Classifier, ClassifierKind, ClassifierParams, UnknownClassifier};
pub use cluster::{ClassifierCluster, ClusterParams, ClusterReport, SecondStage, SecondStageInputs, TaskFit};
pub use conformal::fit_prediction_sets;
pub use decision_point::{ClassOffset, DecisionPoint, OffsetForm, PointSearch, PointValidation, TaskOffsets};
pub use error::EnsembleError;
pub use feature_heads::{
    FeatureHead, FeatureHeads, HeadCases, HeadInputs, HeadSettings, ImageFeatures, TriedCandidate,
};
pub use gradient_boosting::{GradientBoostingClassifier, GradientBoostingParams};
#[cfg(feature = "onnx")]
pub use graph_stages::{GraphAnswer, GraphBasis, GraphLogits, GraphRow};
pub use label_graph::{LabelGraph, LabelGraphStrength};
pub use logistic::{LogisticClassifier, LogisticParams};
pub use mix_search::{MixSearch, MixSearchResult};
pub use mlp::{MlpClassifier, MlpParams};
pub use model_prevalence::{AssumedPrevalence, ModelPrevalence, PrevalenceOrigin};
pub use objective::{Costs, Objective};
pub use operating_point::fit_operating_point;
pub use out_of_distribution::{OutOfDistribution, OutOfDistributionSettings};
pub use prevalence::{ClassShare, Prevalence, PrevalenceEstimate, TaskPrevalence};
pub use probability_facts::{CalibrationFact, ProbabilityFacts};
pub use records::records;
pub use svm::{Calibration, ClassWeights, Gamma, Solver, SvmClassifier, SvmParams, SvmReport};
pub use two_stage::TwoStage;
pub use weight_search::{
    Candidates, Smoothing, WeightCell, WeightSearch, WeightSearchMethod, WeightSearchResult, WeightSearchVariant,
};
