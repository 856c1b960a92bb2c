use std::path::PathBuf;

use dermafuse_data::{DataError, DataSetKind};
use dermafuse_ensemble::EnsembleError;
use dermafuse_eval::EvalError;
use dermafuse_infer::InferError;
use dermafuse_networks::NetworkError;
use dermafuse_schema::{ReadError, SchemaError, ShardError, WriteError};
use dermafuse_settings::SettingsError;
use dermafuse_train::{Differences, TrainError};
use thiserror::Error;

/// What can go wrong in a recipe: the error of the step that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Reading or encoding cases.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Making the network or loading its weights.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Training.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// Predicting, or writing the bundle.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Searching weights or fitting the classifiers.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// Scoring predictions.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Outputs that do not fit together.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Predictions without a score.
    #[error(
        "no task has annotated cases, so there is no balanced accuracy; does the split leave a part without labels?"
    )]
    NoScore,
    /// A result that belongs to another run.
    #[error("{path} holds the result of another recipe or other data: {differences}; give another folder")]
    Changed {
        /// The folder.
        path: PathBuf,
        /// What differs.
        differences: Differences,
    },
    /// A teacher that has learnt from cases of which it must know nothing.
    #[error(
        "method.teacher has learnt from {what}, so its pupil would know them too; take a teacher that was trained with the same split (the \
         same split.seed), and no classifiers of a second stage over predictions"
    )]
    TeacherLeaks {
        /// The cases.
        what: String,
    },
    /// Something is chosen on validation cases, and there are none.
    #[error(
        "{chosen} on validation cases, and the split has none; give it a share of them, such as split.shares = [0.64, 0.16, 0.2]"
    )]
    NoValidation {
        /// What is chosen.
        chosen: &'static str,
    },
    /// Too few local cases to adapt a model to.
    #[error(
        "{found} labelled cases can be answered; {needed} are needed to adapt a model, and about a hundred are better"
    )]
    TooFewToAdapt {
        /// How many there are.
        found: usize,
        /// The fewest that do.
        needed: usize,
    },
    /// Classes with too few local cases.
    #[error(
        "fewer than {needed} labelled cases of {}: label more of them, or accept it (--allow-rare); their prevalence is then near \
         that of the training cases",
        found.join(", ")
    )]
    RareClasses {
        /// The fewest that are accepted of a class.
        needed: usize,
        /// The classes with their numbers.
        found: Vec<String>,
    },
    /// A task that cannot be learnt or chosen by.
    #[error(
        "no case of the {part} part ({cases} cases) has a label of task `{task}`; draw other parts, or leave the task or the set \
         with it out"
    )]
    NoLabels {
        /// The task, or all of them.
        task: String,
        /// The part of the cases.
        part: &'static str,
        /// How many cases it has.
        cases: usize,
    },
    /// Folds of the cases that other models answer, where none answers any.
    #[error(
        "no other model says anything of the cases of `{set}`; name a table of class probabilities (data.NAME.outputs), or leave out \
         split.answered"
    )]
    NothingSaid {
        /// The set.
        set: String,
    },
    /// A network before a second stage that does not look at its answers.
    #[error(
        "the second stage looks at the metadata alone, and the network `{network}` would be trained in vain; say method.network = \
         {{ kind = \"uniform_classifier\" }}, or second_stage.inputs = \"predictions_and_metadata\""
    )]
    InVain {
        /// The network's kind.
        network: String,
    },
    /// Frozen encoders without heads.
    #[error("frozen encoders need heads that answer; say which classifiers to try (method.heads.candidates)")]
    NoHeads,
    /// An ONNX encoder without its file.
    #[error("the encoder is an ONNX file, and none is named; say method.weights = \"encoder.onnx\"")]
    NoEncoderFile,
    /// A network that learns nothing without a second stage that needs none.
    #[error(
        "the network `{network}` has nothing to learn and answers every case alike; choose another, classifiers over the metadata \
         alone (second_stage.classifier, and second_stage.inputs = \"metadata\"), or what other models say (data.NAME.outputs)"
    )]
    NothingLearns {
        /// The network's kind.
        network: String,
    },
    /// Cases of a joined set that no epoch would show.
    #[error(
        "cases are drawn by the classes of task `{task}`, and no training case of `{set}` has a label of it, so none would ever be \
         shown; say training.sampling = {{ kind = \"each_once\" }}, or join a set first whose task all sets have"
    )]
    NeverShown {
        /// The set.
        set: String,
        /// The task.
        task: String,
    },
    /// Cases that no branch of the network can answer.
    #[error(
        "{cases} of {all} {part} cases lack every image that a branch of the network needs, the first is case {first}; complete \
         them, or leave them out (incomplete cases: skip)"
    )]
    Unanswerable {
        /// The part of the split.
        part: &'static str,
        /// The number of these cases.
        cases: usize,
        /// Of how many.
        all: usize,
        /// The first.
        first: String,
    },
    /// A result that would be overwritten.
    #[error("{path} already holds a result; resume it, or give another folder")]
    Done {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with rounds of an experiment with another number of repeats or folds.
    #[error(
        "{path} holds {found} of an experiment with another number of repeats or folds, or with a final fit, and this one has {planned}; \
         say the same as before, or give another folder"
    )]
    OtherRounds {
        /// The folder.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What the experiment has.
        planned: String,
    },
    /// A stage of a curriculum that cannot be trained or was not.
    #[error("stage `{stage}`: {source}")]
    Stage {
        /// The stage.
        stage: String,
        /// What went wrong.
        source: Box<RecipeError>,
    },
    /// A curriculum without a folder.
    #[error("a curriculum hands weights from stage to stage as files; give it a folder")]
    NoFolder,
    /// Weights that a stage left and that are not what they were.
    #[error("{path} is not what the stage wrote; remove the folders of this stage and the later ones")]
    ForeignWeights {
        /// The file.
        path: PathBuf,
    },
    /// A result that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A result that cannot be read or removed.
    #[error("cannot read or replace {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason that the system gives.
        source: std::io::Error,
    },
    /// Settings that cannot be read, or contradict each other.
    #[error(transparent)]
    Settings(SettingsError),
    /// A name that no recipe has.
    #[error("there is no recipe `{name}`; the recipes are {known}, or the path of a file (.toml)")]
    NoRecipe {
        /// The name.
        name: String,
        /// The recipes that ship.
        known: String,
    },
    /// A set of records alone.
    #[error(
        "the set `{set}` has no images, and every recipe looks at one; name their folder, or say which recipe to take"
    )]
    NoImages {
        /// The set.
        set: String,
    },
    /// A recipe that is no start for a set of one's own.
    #[error("the recipe `{name}` trains on several data sets ({sets}); choose one that trains on one")]
    NotOfOneSet {
        /// The recipe.
        name: String,
        /// Its sets.
        sets: String,
    },
    /// A name that no row of a recipe has.
    #[error("there is no row `{name}`; the rows are {known}")]
    NoRow {
        /// The name.
        name: String,
        /// The rows.
        known: String,
    },
    /// A name that no group of rows of a recipe has.
    #[error("there is no group of rows `{name}`; the groups are {known}")]
    NoGroup {
        /// The name.
        name: String,
        /// The groups.
        known: String,
    },
    /// A name that no protocol of a recipe has.
    #[error("there is no protocol `{name}`; the protocols are {known}")]
    NoProtocol {
        /// The name.
        name: String,
        /// The protocols.
        known: String,
    },
    /// Words that name no data.
    #[error("`{words}`: NAME=PATH is expected, such as derm7pt=release_v0")]
    DataWords {
        /// The words.
        words: String,
    },
    /// A path for a set that is not there.
    #[error("the experiment has no data set `{name}`; its sets are {known}")]
    NoSuchSet {
        /// The name.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// A set that is used and not declared.
    #[error("there is no data set `{name}`; say [data.{name}] kind = …, path = …")]
    NoSet {
        /// The name.
        name: String,
    },
    /// Methods that cannot be compared, or shards that cannot be joined.
    #[error("{reason}")]
    Comparison {
        /// The reason, as a sentence.
        reason: String,
    },
    /// Part files of a form that cannot be joined.
    #[error("one JSON document cannot be joined from parts; answer shares as csv, jsonl or parquet")]
    NoParts,
    /// A part of the answers that is not what its record says.
    #[error("{} is no part of these answers: {reason}; run its share again", path.display())]
    AnswerPart {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Parts that are not all cases once.
    #[error(
        "row {row} is {} the shares; they are not of the same cases, or a file was changed: run them again",
        if *twice { "twice in" } else { "in none of" }
    )]
    AnswerRows {
        /// The row, from 0.
        row: u64,
        /// Whether it is there twice; otherwise it is missing.
        twice: bool,
    },
    /// Shares of the trainings that cannot be joined or recorded.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A method of a comparison that cannot be trained or was not.
    #[error("method `{method}`: {source}")]
    Method {
        /// The method.
        method: String,
        /// What went wrong.
        source: Box<RecipeError>,
    },
    /// A set without a path.
    #[error("where is the data set `{name}` ({kind})? say --data {name}=PATH, or data.{name}.path in the file")]
    NoPath {
        /// The name.
        name: String,
        /// How it should lie there.
        kind: DataSetKind,
    },
    /// ImageNet's weights without files.
    #[error(
        "the method starts from ImageNet's weights of {backbones}; say where they are (method.weights = FILE, or the folder of \
         downloaded files), or that random ones will do (method.weights = \"random\")"
    )]
    NoWeights {
        /// The architectures.
        backbones: String,
    },
    /// A file of weights that is not there.
    #[error("there is no file {file} with weights of {backbone}")]
    NoWeightsFile {
        /// The file.
        file: PathBuf,
        /// The architecture.
        backbone: &'static str,
    },
    /// A result that is not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A result that contradicts itself, or of another version.
    #[error("{path} is not a result: {reason}; remove it to repeat its fold or stage")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A result that is damaged.
    #[error("{path} is not a result; remove it to repeat its fold or stage")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl From<TrainError> for RecipeError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}
