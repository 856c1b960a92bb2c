use dermafuse_schema::{SchemaError, WriteError};
use thiserror::Error;

/// What can go wrong when predictions are evaluated or a result is written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// Predictions whose columns do not fit together, or with a number that is no probability.
    #[error(transparent)]
    Predictions(#[from] SchemaError),
    /// A grouping that does not have one value for each case.
    #[error("grouping `{grouping}` has {found} values for {expected} cases")]
    Grouping {
        /// Name of the grouping.
        grouping: String,
        /// How many cases there are.
        expected: usize,
        /// How many values it has.
        found: usize,
    },
    /// An evaluation and predictions that speak of different tasks.
    #[error("the evaluation has the tasks {evaluation:?}, the predictions have {predictions:?}")]
    Tasks {
        /// Tasks of the evaluation.
        evaluation: Vec<String>,
        /// Tasks of the predictions.
        predictions: Vec<String>,
    },
    /// Answers of two models where those of one were expected.
    #[error("the stages {left:?} and {right:?} are of different models; compare answers of one")]
    Stages {
        /// Stages of the first.
        left: Vec<String>,
        /// Stages of the second.
        right: Vec<String>,
    },
    /// A case that is asked for and not there.
    #[error("case {case} is out of range, there are {cases}")]
    Case {
        /// Position asked for, from 0.
        case: usize,
        /// How many there are.
        cases: usize,
    },
    /// Too few methods, blocks or cases for a test.
    #[error("{what}: found {found}, at least {least} are needed")]
    TooFew {
        /// What there are too few of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are needed.
        least: usize,
    },
    /// Two areas under ROC curves that differ without any variance, such as those of a perfect and a constant score.
    #[error("the areas {first} and {second} differ, but their difference has no variance to test it by")]
    NoVariance {
        /// Area of the first score.
        first: f64,
        /// Area of the second score.
        second: f64,
    },
    /// A perplexity that is not above 1, or too large for the number of points.
    #[error("a perplexity of {perplexity} needs to be at least 1 and at most a third of the other points, of {points}")]
    Perplexity {
        /// The perplexity asked for.
        perplexity: f64,
        /// How many points there are.
        points: usize,
    },
    /// A case that two answers are of.
    #[error("case `{case}` is answered twice; the shares are not of the same cases")]
    CaseTwice {
        /// The case.
        case: String,
    },
    /// A file that cannot be written; what was there before is untouched.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A form of answers that this build does not write.
    #[error(
        "answers as Parquet need the Cargo feature `parquet`, which this build is without; build it with `--features parquet`, or write \
         csv, json or jsonl"
    )]
    WithoutParquet,
    /// Answers that cannot be expressed as Parquet.
    #[cfg(feature = "parquet")]
    #[error("the answers cannot be written as Parquet")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Metrics that cannot be expressed as JSON, or JSON that is no share of answers.
    #[error("JSON that cannot be written or read")]
    Json(#[from] serde_json::Error),
}
