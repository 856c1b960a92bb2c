//! The words that every other crate of DermaFuse speaks: [`Task`]s and their classes, metadata [`Field`]s, [`Case`]s,
//! the [`BranchLogits`] that a network gives and the [`Predictions`] that everything after it passes on.
//!
//! No tensors and no files of images here: plain, serialisable values. Tasks and branches are *data*, so the eight
//! labels of the seven-point checklist and the one label of another data set take the same path.
//!
//! # Shapes
//! `N` cases, `L` looks at a case, `V` test-time-augmentation views, `K_t` classes of task `t`, `M` encoded metadata features.
//!
//! ```
//! use dermafuse_schema::{Task, TaskSet};
//!
//! let tasks = TaskSet::new(vec![
//!     Task::new("diagnosis", "DIAG", ["NEV", "MEL"]),
//!     Task::new("streaks", "STR", ["ABS", "REG", "IR"]).with_reference("ABS"),
//! ])?;
//! assert_eq!(tasks.class_counts(), [2, 3]);
//! assert_eq!(tasks.index_of("streaks"), Some(1));
//! # Ok::<(), dermafuse_schema::SchemaError>(())
//! ```

mod answer_basis;
mod case;
mod case_image;
mod class_group;
mod class_sums;
mod cohort;
mod engine_facts;
mod error;
mod failed_case;
mod field;
mod lesion_box;
mod logits;
mod modality;
mod name;
mod partial_auc;
mod performance;
mod prediction_sets;
mod predictions;
mod proportion;
mod regular_file;
mod run_folder;
mod seen_cases;
mod setting_fault;
mod seven_point;
mod several_images;
mod shard;
mod spreadsheet;
mod stretched;
mod task;
mod whole_file;

/// The version of ndarray that the public signatures use (the one linfa is built on).
pub use ndarray;

pub use answer_basis::{AnswerBasis, BasisPart};
pub use case::{Case, CaseId};
pub use case_image::{CaseImage, LesionArea, LesionRegion, TablePlace};
pub use class_group::{Aim, ClassGroup, FittedGroup, OperatingPoint, REST};
pub use class_sums::ClassSums;
pub use cohort::Cohort;
pub use engine_facts::EngineFacts;
pub use error::SchemaError;
pub use failed_case::FailedCase;
pub use field::{Field, FieldKind, FieldRole, FieldValue};
pub use lesion_box::LesionBox;
pub use logits::{Branch, BranchLogits, BranchWeights, FuseSpace, softmax};
pub use modality::{Modality, UnknownModality};
pub use name::Name;
pub use partial_auc::partial_auc;
pub use performance::{PatientGroup, PatientRange, Performance, PerformanceRow, QuestionRow, SMALL_GROUP};
pub use prediction_sets::{
    Coverage, Decision, PredictionSets, Quantile, TaskQuantiles, cases_needed, check_error_rate,
};
pub use predictions::{LEAST_FACTOR, Predictions};
pub use proportion::{Interval, Proportion};
pub use regular_file::{ReadError, open_regular_file, read_regular_file};
pub use run_folder::{RunFolder, RunFolderError, RunMode};
pub use seen_cases::SeenCases;
pub use setting_fault::SettingFault;
pub use seven_point::{CriterionFound, SEVEN_POINT_CRITERIA, SUSPICIOUS_SCORE, SevenPointCriterion, SevenPointScore};
pub use several_images::SeveralImages;
pub use shard::{Shard, ShardError, ShardRecord};
pub use spreadsheet::{from_spreadsheet, spreadsheet_safe};
pub use stretched::stretched;
pub use task::{Task, TaskSet};
pub use whole_file::{WholeFile, WriteError, write_new_file, write_whole_file};
