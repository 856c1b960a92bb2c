//! Metrics, figures and the HTML report of DermaFuse.
//!
//! Everything here starts from [`Predictions`](dermafuse_schema::Predictions). Start with:
//!
//! * [`Evaluation`]: the numbers of all tasks and classes; [`SubgroupTable`] has them for each group of cases.
//! * [`Report`]: everything that is known of a run, on one page; [`figure`] draws its pictures as SVG.
//! * [`write_metrics`] and [`write_predictions`]: the numbers and answers as files for other programs.
//! * [`significance`]: tests between methods.
//!
//! No tensors, no scripts, nothing loaded from elsewhere.
//!
//! # Example
//!
//! ```
//! use dermafuse_eval::{Evaluation, Report, text_table};
//! use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
//!
//! let predictions = Predictions {
//!     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
//!     ids: vec!["1".into(), "2".into(), "3".into(), "4".into()],
//!     labels: vec![vec![Some(0)], vec![Some(1)], vec![Some(1)], vec![None]],
//!     probabilities: vec![array![[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]]],
//!     basis: vec!["clinical".into(); 4],
//! };
//! let evaluation = Evaluation::of(&predictions)?;
//! assert_eq!(evaluation.tasks[0].n, 3); // one case has no label
//! assert_eq!(evaluation.overall.accuracy, Some(2.0 / 3.0));
//! assert_eq!(evaluation.overall.auc, Some(1.0)); // every melanoma is above every naevus
//!
//! let rows = [("P_1".to_owned(), evaluation)];
//! assert!(text_table(&rows).contains("P_1"));
//! let page = Report::new("Derm7pt").rows(&rows, None).to_html();
//! assert!(page.contains("66.7") && page.contains("not a medical device"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Conventions
//! Rows of a confusion matrix are the truth. Cases without a label are left out of the numbers of that task. A value
//! that is undefined is `None`, printed `n/a`, and in no mean; [`Evaluation`] lists the cases. Values agree with
//! scikit-learn where it defines them (`tests/golden`).

mod abstention;
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
mod row_tests;
mod searched_weight;
pub mod significance;
mod subgroups;
mod subset_table;
mod text_table;
mod tsne;

pub use abstention::{RiskCoverage, SetEvaluation, SetSummary, TaskSets};
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
pub use row_tests::{Difference, RowPair, RowTests, TaskRowTests};
pub use searched_weight::SearchedWeight;
pub use subgroups::{Grouping, SubgroupRow, SubgroupTable};
pub use subset_table::{EvaluatedSubset, SubsetEvaluation};
pub use text_table::text_table;
pub use tsne::{Embedding, TSne};

pub use dermafuse_schema::{Interval, Proportion, SMALL_GROUP};
