use dermafuse_schema::{SchemaError, SettingFault};
use thiserror::Error;

/// What can go wrong in the second stage.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// Logits, predictions or weights that do not fit together.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A setting with a value that it cannot have.
    #[error(transparent)]
    Setting(#[from] SettingFault),
    /// A parameter outside its range.
    #[error("{parameter} is {value}; it must be {expected}")]
    Parameter {
        /// The parameter.
        parameter: String,
        /// Its value.
        value: f64,
        /// What it must be.
        expected: &'static str,
    },
    /// A loop order that is not a permutation of the branches.
    #[error("loop order {found:?} must name each of the branches {branches:?} once")]
    LoopOrder {
        /// The order given.
        found: Vec<String>,
        /// The branches there are.
        branches: Vec<String>,
    },
    /// More weight combinations than fit in memory.
    #[error(
        "{steps} steps for {branches} branches are more than {limit} combinations of weights; take fewer steps or fewer branches"
    )]
    TooManyWeights {
        /// Candidates per branch.
        steps: usize,
        /// Number of branches.
        branches: usize,
        /// The largest number of combinations that is searched.
        limit: usize,
    },
    /// More branches than the exact geometry of weights is worked out for.
    #[error("the exact and the refined weight search take at most {most} branches, not {found}; search the grid")]
    TooManyBranches {
        /// Number of branches.
        found: usize,
        /// The most there can be.
        most: usize,
    },
    /// An exact search where scores are not linear in the weights.
    #[error(
        "averaged logits of {views} views do not give scores that are linear in the weights, which the exact search needs; average probabilities, predict one view, or use the refined search"
    )]
    NotLinear {
        /// Number of views.
        views: usize,
    },
    /// A search over cells of weights for an objective that is not the same throughout a cell.
    #[error("the exact and the refined weight search are of accuracies, not of `{objective}`; search the grid")]
    GridAlone {
        /// The objective.
        objective: &'static str,
    },
    /// A point of answers that are corrected to a prevalence.
    #[error(
        "the point `{point}` was chosen at the prevalence of validation cases; state a prevalence without a point, or a point alone"
    )]
    PointAtPrevalence {
        /// The point.
        point: String,
    },
    /// An objective that offsets are not chosen for.
    #[error(
        "a point is chosen for what is decided, and `{objective}` is of the probabilities themselves; calibrate them, or choose          accuracy, balanced_accuracy, macro_f1 or cost"
    )]
    NoDecision {
        /// The objective.
        objective: &'static str,
    },
    /// Nothing to score against.
    #[error("no case has a label of any task; a search needs annotated cases")]
    NoLabels,
    /// Columns of a training table that differ in length.
    #[error("{what}: {found} rows, but there are {expected} records")]
    Rows {
        /// The name of the column.
        what: String,
        /// Number of records.
        expected: usize,
        /// Number of rows found.
        found: usize,
    },
    /// Class weights that are not one for each class.
    #[error("{found} class weights for {expected} classes; give one for each class")]
    ClassWeights {
        /// Number of classes.
        expected: usize,
        /// Number of weights.
        found: usize,
    },
    /// Too few labelled rows to fit anything.
    #[error("{task} has {found} labelled records; at least 2 are needed to fit a classifier")]
    TooFewRecords {
        /// The task, or "the table".
        task: String,
        /// The number of its labelled records.
        found: usize,
    },
    /// A feature that is NaN or infinite.
    #[error("record {row}, column {column} is {value}; impute or drop non-finite features first")]
    NotFinite {
        /// Row of the record.
        row: usize,
        /// Column of the feature.
        column: usize,
        /// Its value.
        value: f64,
    },
    /// Records of another width than those of the fit.
    #[error("records have {found} features, but the classifier was fitted on {expected}; encode them the same way")]
    Width {
        /// Features at fit.
        expected: usize,
        /// Features found.
        found: usize,
    },
    /// A label outside the classes.
    #[error("record {row} has label {label}, but there are {classes} classes (0 to {})", classes.saturating_sub(1))]
    Label {
        /// Row of the record.
        row: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// linfa's solver refused its parameters.
    #[error("the support vector solver failed: {source}; check `c` and `tolerance`")]
    Solver {
        /// linfa's reason.
        #[source]
        source: linfa_svm::SvmError,
    },
    /// An optimiser that left the finite numbers.
    #[error("{what} diverged in iteration {iteration}; scale the features or regularise more strongly")]
    Diverged {
        /// What was being fitted.
        what: &'static str,
        /// When it happened.
        iteration: usize,
    },
    /// Predictions for other tasks than those of the fit.
    #[error(
        "predictions are of the tasks {found:?}, but the cluster was fitted on {expected:?}; fit one for these tasks"
    )]
    Tasks {
        /// Tasks at fit.
        expected: Vec<String>,
        /// Tasks found.
        found: Vec<String>,
    },
    /// A classifier whose parts do not fit together, such as one from a damaged file.
    #[error("{what} is inconsistent: {why}; fit it again")]
    Stored {
        /// The name of the object.
        what: &'static str,
        /// What does not fit.
        why: String,
    },
    /// Numbers so large that probabilities cannot be computed.
    #[error("record {row} gives a score that is not finite; scale its features, or fit the {what} again")]
    Unbounded {
        /// The name of the classifier.
        what: &'static str,
        /// Row of the record.
        row: usize,
    },
    /// Too few cases to calibrate a model on.
    #[error(
        "at most {found} cases can be answered in one way and have labels of two classes or more; {needed} are needed to calibrate \
         a model: give it more, or none (a method of `none`)"
    )]
    TooFewToCalibrate {
        /// The most cases of a way to answer.
        found: usize,
        /// The fewest that do.
        needed: usize,
    },
    /// Too few cases to estimate a prevalence from.
    #[error(
        "{found} cases are too few to estimate a prevalence from; {needed} are needed: ask about more at once, or state it"
    )]
    TooFewToEstimate {
        /// How many there are.
        found: usize,
        /// The fewest that do.
        needed: usize,
    },
    /// A prevalence of a class that a model has learnt nothing of.
    #[error("no case of class `{class}` of task `{task}` trained the model, so it cannot be given a prevalence")]
    NeverLearnt {
        /// The task.
        task: String,
        /// The class.
        class: String,
    },
    /// Answers to a task of other classes than those of its calibration.
    #[error(
        "the calibration is of the classes {expected:?}, and the answers are of {found:?}; calibrate the model again"
    )]
    CalibratedTask {
        /// The task with its classes at the fit.
        expected: Vec<String>,
        /// With those of the answers.
        found: Vec<String>,
    },
    /// A file of a format this version does not read.
    #[error("stored cluster has format {found}, this version reads {expected}; fit it again or use another version")]
    Format {
        /// The format read by this version.
        expected: u32,
        /// The format found.
        found: u32,
    },
}

/// Result of this crate.
pub(crate) type Result<T> = std::result::Result<T, EnsembleError>;
