//! Metrics, figures and the HTML report of DermaFuse.
//!
//! Everything here starts from [`Predictions`](dermafuse_schema::Predictions): [`Evaluation`] computes the numbers,
//! [`SubgroupTable`] the same for each group of cases, [`figure`] draws them as SVG, [`Report`] puts them on one page,
//! [`write_metrics`] and [`write_predictions`] hand them on. No tensors, no scripts, nothing loaded from elsewhere.
//!
//! # Conventions
//! Rows of a confusion matrix are the truth. Cases without a label are left out of the numbers of that task. A value
//! that is undefined is `None`, printed `n/a`, and in no mean; [`Evaluation`] lists the cases. Values agree with
//! scikit-learn where it defines them (`tests/golden`).

mod abstention;
mod answer_share;
mod answer_table;
mod bootstrap;
mod calibration_change;
mod class_groups;
mod comparison;
mod confusion;
mod corruption;
mod decision_curve;
mod engine_comparison;
mod error;
mod export;
pub mod figure;
mod learning_curve;
mod mean_deviation;
mod measures;
mod melanoma_related;
mod metrics;
mod mistakes;
mod pointing;
pub mod published;
mod random;
mod report;
mod roc;
mod searched_weight;
pub mod significance;
mod subgroups;
mod subset_table;
mod text_table;
mod tsne;

pub use abstention::{RiskCoverage, SetEvaluation, SetSummary, TaskSets};
pub use answer_share::AnswerShare;
pub use answer_table::{AnswerFormat, AnswerTable, CaseAnswer, CaseRemarks, TaskAnswer};
pub use bootstrap::Bootstrap;
pub use calibration_change::CalibrationChange;
pub use class_groups::{GroupAuc, GroupEvaluation, MemberEvaluation, PointEvaluation};
pub use comparison::{ComparedMethod, ComparedPair, Comparison, p_text};
pub use confusion::{ConfusionMatrix, OneVsRest};
pub use corruption::{CorruptedEvaluation, CorruptionError, CorruptionEvaluation};
pub use decision_curve::{DecisionCurve, NetBenefit};
pub use engine_comparison::{EngineComparison, StageDifference, TaskDifference};
pub use error::EvalError;
pub use export::{MetricsContext, csv_field, metrics_json, predictions_csv, write_metrics, write_predictions};
pub use learning_curve::{AnswersOfCases, CURVE_SCORES, LearningCurve, LearningPoint};
pub use mean_deviation::MeanDeviation;
pub use measures::{AIMS, ClassMeasures, Estimate, LEAST_SENSITIVITY, Measures, TaskMeasures};
pub use melanoma_related::MelanomaRelated;
pub use metrics::{ClassEvaluation, Evaluation, EvaluationOptions, Overall, ReliabilityBin, TaskEvaluation};
pub use mistakes::{Confusion, Mistake, Mistakes};
pub use pointing::Pointing;
pub use report::{
    CasePage, ChecklistScore, Evidence, HeatPicture, PictureSection, PictureStrip, Report, ReportTable, SampleCase,
    SampleImage, SampleTask,
};
pub use roc::{RocCurve, auc};
pub use searched_weight::SearchedWeight;
pub use subgroups::{Grouping, SubgroupRow, SubgroupTable};
pub use subset_table::{EvaluatedSubset, SubsetEvaluation};
pub use text_table::text_table;
pub use tsne::{Embedding, TSne};

pub use dermafuse_schema::{Interval, Proportion, SMALL_GROUP};
