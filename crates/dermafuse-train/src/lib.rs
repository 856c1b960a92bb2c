//! Training: samples and a network in, the network of the best validation epoch out.
//!
//! Start with:
//!
//! * [`Trainer`]: the learning loop; [`Trainer::fit`] takes a network and [`TrainingCases`] and gives a [`Trained`] one.
//! * [`TrainingConfig`]: the recipe: epochs, rates, augmentation, and the loss as a [`LossConfig`].
//! * [`Observer`]: who is told what happens meanwhile; [`Silent`] is nobody.
//!
//! A [`Trainer`] owns the learning loop. It is ours rather than burn-train's because three promises need it: a run that is
//! killed and resumed ends with the same numbers as one that was not (see [`Checkpoints`]), a loss that is not finite stops
//! the run *before* the step and names the batch, and a failing disk is an error that loses nothing.
//!
//! # Shapes
//! `B` cases in a batch, `K_t` classes of task `t`.
//!
//! # Example
//!
//! A small network learns to tell dark pictures from bright ones.
//!
//! ```
//! use burn::tensor::Device;
//! use dermafuse_backbones::BackboneKind;
//! use dermafuse_data::{CaseSet, MetadataEncoder, Modality, Preprocess, RgbPixels, encode_png};
//! use dermafuse_networks::{ImageClassifierConfig, NetworkConfig};
//! use dermafuse_schema::{Case, Task, TaskSet};
//! use dermafuse_train::{Silent, Trainer, TrainingCases, TrainingConfig, mean_branch_accuracy};
//!
//! let folder = tempfile::tempdir()?;
//! let mut cases = Vec::new();
//! for number in 0..12 {
//!     let bright = number % 2;
//!     let photo = folder.path().join(format!("{number}.png"));
//!     let level = 40 + 150 * bright + number;
//!     std::fs::write(&photo, encode_png(&RgbPixels::new(32, 32, vec![level as u8; 3 * 32 * 32])?))?;
//!     cases.push(Case { clinical: vec![photo.into()], labels: vec![Some(bright)], ..Case::new(number.to_string()) });
//! }
//! let task = Task::new("light", "LIGHT", ["dark", "bright"]);
//! let set = CaseSet {
//!     name: "drawn".into(),
//!     synthetic: true,
//!     tasks: TaskSet::new(vec![task])?,
//!     fields: vec![],
//!     cases,
//!     split: None,
//!     notes: vec![],
//! };
//!
//! let backbone = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, vec![2]);
//! let network = NetworkConfig::ImageClassifier(backbone).init_seeded(0, &Device::flex().autodiff())?;
//! let config = TrainingConfig {
//!     epochs: 2,
//!     batch_size: 4,
//!     learning_rate: 1e-3,
//!     preprocess: Preprocess::imagenet(32),
//!     augmentation: None,
//!     ..TrainingConfig::as_released(32, 0)
//! };
//! let encoder = MetadataEncoder::none();
//! let cases = TrainingCases {
//!     train: set.view(vec![0, 1, 2, 3, 4, 5, 6, 7])?,
//!     valid: set.view(vec![8, 9, 10, 11])?,
//!     encoder: &encoder,
//! };
//! let trained = Trainer::new(config).fit(network, &cases, mean_branch_accuracy, None, false, &mut Silent)?;
//! assert_eq!(trained.history.len(), 2);
//! assert!(trained.history.iter().all(|epoch| epoch.train_loss.is_finite()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod averaging;
mod checkpoints;
mod clipping;
mod config;
mod distillation;
mod error;
mod file_contents;
mod image_record;
mod incomplete;
mod loss;
mod loss_config;
mod lost_best;
mod observer;
mod optimizer;
mod progressive_size;
mod replicas;
mod run_facts;
mod run_identity;
mod shown;
mod trainer;
mod unfreezing;

pub use averaging::WeightAveraging;
pub use checkpoints::{Checkpoint, Checkpoints, RunState};
pub use config::{RateSchedule, TrainingConfig};
pub use distillation::{Distillation, Teacher};
pub use error::TrainError;
pub use file_contents::file_digest;
pub use image_record::ImageRecord;
pub use incomplete::{Incomplete, UnknownIncomplete, missing_image};
pub use loss::{MultitaskLoss, Targets};
pub use loss_config::{ClassBalancing, LossConfig, LossReduction, SmoothingSpread};
pub use lost_best::{LostBest, UnknownLostBest};
pub use observer::{AverageReport, BatchReport, EpochReport, Observer, Silent};
pub use optimizer::OptimizerKind;
pub use progressive_size::ProgressiveSize;
pub use run_facts::{Difference, Differences, RunFacts};
pub use run_identity::{RunIdentity, RunLength};
pub use trainer::{Trained, Trainer, TrainingCases, mean_branch_accuracy};
pub use unfreezing::{Unfreezing, UnfreezingSteps};
