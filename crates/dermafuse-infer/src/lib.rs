//! The bridge between the world of files and tables and the world of tensors, and back.
//!
//! Start with:
//!
//! * [`Model`]: a trained model that answers for one [`Patient`] after the other, by an [`Answer`].
//! * [`Bundle`]: the same model with its parts open: everything that is needed to predict, on disk in one file. It predicts for cases
//!   of a data set; [`Questions`] are many cases without labels that it is asked about, [`Answers`] what it says of them.
//! * [`Explainer`] and [`Bundle::contributions`]: what a prediction comes from: where in an image, where attention looks, and from
//!   which input.
//! * [`Engine`]: another library that runs the network.
//!
//! [`tensors_of`] (for a single image [`published_input`]) is the only place where host data becomes a tensor, [`Predictor`] the only
//! one where a tensor becomes host data.
//!
//! # Example
//!
//! A model with random weights stands for a trained one, and a grey picture for a photo.
//!
//! ```
//! use burn::tensor::Device;
//! use dermafuse_infer::{Model, Patient, PatientImage};
//! # use dermafuse_backbones::BackboneKind;
//! # use dermafuse_data::Preprocess;
//! # use dermafuse_ensemble::TwoStage;
//! # use dermafuse_infer::{Bundle, BundleDescription};
//! # use dermafuse_networks::{FusionNetConfig, Network, NetworkConfig};
//! # use dermafuse_schema::{BranchWeights, FuseSpace, Task, TaskSet};
//!
//! # let config = FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]);
//! # let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
//! # let description = BundleDescription::new(tasks, NetworkConfig::FusionNet(config), Preprocess::imagenet(32));
//! # let network = description.network.init_seeded(3, &Device::flex())?;
//! # let branch_weights = BranchWeights::new(network.branches().iter().map(|branch| (branch.name, 1.0)))?;
//! # let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0)?;
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("skin.safetensors");
//! # std::fs::write(&file, Bundle::new(description, network, two_stage).to_bytes()?)?;
//! // let file = "skin.safetensors";
//! let model = Model::open(file, &Device::flex())?;
//! let photo = || PatientImage::rgb(40, 30, vec![180; 3 * 40 * 30]); // or a path, or the bytes of a JPEG
//! let answer = model.predict(&Patient::new().clinical(photo()).dermoscopic(photo()))?;
//! let diagnosis = answer.task("diagnosis")?;
//! assert!(diagnosis.top().probability >= 0.5); // the larger of two
//! assert_eq!(answer.basis.to_string(), "clinical image, dermoscopic image");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
#[cfg(feature = "_engines")]
mod process_library;
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
pub use model_card::{CardTexts, ExpectedPerformance, ModelCard, ScoreOverRounds, TrainingSummary};
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
