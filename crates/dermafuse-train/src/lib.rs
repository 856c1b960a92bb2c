//! Training: samples and a network in, the network of the best validation epoch out.
//!
//! A [`Trainer`] owns the learning loop. It is ours rather than burn-train's because three promises need it: a run that is
//! killed and resumed ends with the same numbers as one that was not (see [`Checkpoints`]), a loss that is not finite stops
//! the run *before* the step and names the batch, and a failing disk is an error that loses nothing.
//!
//! # Shapes
//! `B` cases in a batch, `K_t` classes of task `t`.

mod averaging;
mod checkpoints;
mod clipping;
mod config;
mod error;
mod file_contents;
mod image_record;
mod incomplete;
mod loss;
mod loss_config;
mod lost_best;
mod observer;
mod optimizer;
mod run_facts;
mod run_identity;
mod shown;
mod trainer;
mod unfreezing;

pub use averaging::WeightAveraging;
pub use checkpoints::{Checkpoint, Checkpoints, RunState};
pub use config::{RateSchedule, TrainingConfig};
pub use error::TrainError;
pub use file_contents::file_digest;
pub use image_record::ImageRecord;
pub use incomplete::{Incomplete, UnknownIncomplete, missing_image};
pub use loss::{MultitaskLoss, Targets};
pub use loss_config::{ClassBalancing, LossConfig, LossReduction};
pub use lost_best::{LostBest, UnknownLostBest};
pub use observer::{AverageReport, BatchReport, EpochReport, Observer, Silent};
pub use optimizer::OptimizerKind;
pub use run_facts::{Difference, Differences, RunFacts};
pub use run_identity::{RunIdentity, RunLength};
pub use trainer::{Trained, Trainer, TrainingCases, mean_branch_accuracy};
pub use unfreezing::{Unfreezing, UnfreezingSteps};
