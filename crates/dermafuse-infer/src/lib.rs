//! The bridge between the world of files and tables and the world of tensors, and back.
//!
//! [`tensors_of`] (for a single image [`published_input`]) is the only place where host data becomes a tensor, [`Predictor`] the only one where a tensor becomes
//! host data. [`Bundle`] is a trained model: everything that is needed to predict, on disk in one file. [`Model`] answers with it for
//! one [`Patient`] after the other; [`Questions`] are many cases without labels that it is asked about, [`Answers`] what it says of
//! them. [`Explainer`] and
//! [`Bundle::contributions`] say what a prediction comes from: where in an image, where attention looks, and from which input.
//!
//! # Shapes
//! `B` cases in a batch, `V` test-time-augmentation views, `N` cases, `K_t` classes of task `t`.

mod activation_ranges;
mod answer;
mod answer_patterns;
mod answers;
mod attention;
mod basis;
mod batch;
mod bundle;
mod case_remarks;
mod contributions;
mod earlier_names;
mod encoder_engine;
mod engine;
mod engine_error;
#[cfg(feature = "_engines")]
mod engine_library;
mod engine_loading;
mod error;
mod explainer;
mod explanation;
mod exported_network;
mod feature_cache;
mod folder_bundle;
mod group_answer;
mod heat_map;
mod image_encoder;
mod image_features;
mod installed_models;
mod known_cases;
mod local_prevalence;
mod model;
mod model_card;
mod model_field;
mod model_file;
mod model_tasks;
mod network_engine;
mod note;
mod occlusion;
#[cfg(feature = "onnx")]
mod onnx_answer;
mod onnx_encoder;
#[cfg(feature = "onnxruntime")]
mod onnx_runtime;
mod onnx_session;
#[cfg(feature = "openvino")]
mod open_vino;
#[cfg(feature = "onnx")]
mod outside_encoder;
#[cfg(feature = "onnx")]
mod outside_inputs;
mod patient;
mod patient_error;
mod predictor;
mod published_input;
mod questions;
#[cfg(feature = "_engines")]
mod range_observer;
mod shapley;
mod single_case;
mod test_time_augmentation;

/// A picture of a patient's lesion, in a file or in memory.
pub use dermafuse_data::PatientImage;

pub use activation_ranges::{ActivationRanges, ProductActivations};
pub use answer::{Answer, ClassProbability, TaskAnswer};
pub use answer_patterns::{answer_patterns, answer_patterns_beside};
pub use answers::Answers;
pub use attention::{AttendedFeatures, AttentionHeat};
pub use basis::Basis;
pub use batch::{kinds_of, may_miss, modalities_of, tensors_of};
pub use bundle::{Bundle, BundleDescription, MAX_MODEL_BYTES, MODEL_FILE, sha256_hex};
pub use case_remarks::TrainingDistance;
pub use contributions::{Contributions, Input, MAX_INPUTS, TaskContributions};
pub use engine::{Engine, EngineSettings, Precision};
pub use engine_error::EngineError;
pub use error::InferError;
pub use explainer::{CamMethod, ExplainedLogit, Explainer};
pub use explanation::{Explanation, ExplanationRequest, HeatMethod, ImageHeat};
pub use feature_cache::FeatureCache;
pub use group_answer::{Evidence, GroupAnswer, MemberProbability};
pub use heat_map::HeatMap;
pub use image_encoder::{ImageEncoder, ImageEncoders, image_encoders};
pub use image_features::{FeatureCounts, FeatureExtractor, KnownFeatures};
pub use installed_models::{InstalledModel, InstalledModels};
pub use known_cases::KnownCases;
pub use model::Model;
pub use model_card::{CardTexts, ModelCard, TrainingSummary};
pub use model_field::ModelField;
pub use model_file::{ModelFile, ModelFileError};
pub use network_engine::{NetworkEngine, NetworkValues};
pub use note::Note;
pub use occlusion::{ImageBaseline, Occlusion};
#[cfg(feature = "onnx")]
pub use onnx_answer::{OnnxAnswer, PartialAnswer};
pub use onnx_session::{OnnxSession, OnnxTensor};
#[cfg(feature = "onnx")]
pub use outside_inputs::OutsideInput;
pub use patient::{Patient, RecordValue};
pub use patient_error::PatientError;
pub use predictor::Predictor;
pub use published_input::published_input;
pub use questions::Questions;
pub use shapley::shapley_values;
pub use test_time_augmentation::{TestTimeAugmentation, View};
