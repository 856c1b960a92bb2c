use std::path::PathBuf;
use std::sync::Arc;

use dermafuse_data::{DataError, IMAGE_EXTENSIONS};
use dermafuse_ensemble::EnsembleError;
use dermafuse_networks::NetworkError;
use dermafuse_schema::{ReadError, SchemaError, SettingFault, WriteError};

use thiserror::Error;

use crate::{EngineError, ModelFileError};

/// What can go wrong between samples and predictions.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InferError {
    /// Images or metadata could not be read or encoded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A setting with a value that it cannot have.
    #[error(transparent)]
    Setting(#[from] SettingFault),
    /// Outputs do not fit together or are not finite.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Features that are not finite.
    #[error("a feature of case `{case}` is {value}; are the weights damaged?")]
    NonFiniteFeatures {
        /// The case.
        case: String,
        /// The value.
        value: f32,
    },
    /// The network's configuration or weights are wrong.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// What runs the network cannot.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// 8-bit integers of a model that says nothing of its activations.
    #[error(
        "the model has no ranges of its activations, which 8-bit integers need; measure them on its validation cases by `dermafuse quantise \
         MODEL --data … --out FILE`, and use that file"
    )]
    NoRanges,
    /// Ranges that were measured of another network.
    #[error(
        "the ranges for 8-bit integers were measured of another network ({measured}, this one is {own}); measure them again by `dermafuse \
         quantise`"
    )]
    RangesOfOther {
        /// The fingerprint of the network that they are of, its beginning.
        measured: String,
        /// The fingerprint of this network, its beginning.
        own: String,
    },
    /// Ranges that would be measured on a case that tested the model.
    #[error(
        "case `{case}` tested the model, whose ranges for 8-bit integers are measured on validation cases; give others, or the split of \
         its training"
    )]
    RangesOfTest {
        /// The case.
        case: String,
    },
    /// A network in which 8-bit integers are of no use.
    #[error("the network has no convolution or matrix product that 8-bit integers are for; use precision=f32")]
    NothingToQuantise,
    /// The second stage could not be applied.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// The model cannot be written as ONNX.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] dermafuse_onnx::OnnxError),
    /// Another model with the name of something else in the ONNX file.
    #[cfg(feature = "onnx")]
    #[error(
        "the other model `{name}` would be an input of the ONNX file by its name, which the file's own {what} has; give it another name in \
         the experiment (`outputs`), and train again"
    )]
    OnnxName {
        /// The name.
        name: String,
        /// What has it: `input` or `output`.
        what: &'static str,
    },
    /// A page in a browser for a model that asks for what other models say.
    #[cfg(feature = "onnx")]
    #[error(
        "the answer stands on what other models say, too ({}), which a page without a server has no place for; write the model by --onnx, or \
         ask it by `dermafuse serve`, whose page has fields for it", models.join(", ")
    )]
    PageOfOthers {
        /// The names of the other models.
        models: Vec<String>,
    },
    /// Features that cannot be kept on disk.
    #[error("cannot keep features in {}; check the free space and the permissions, or keep none (machine.features = \"none\")", path.display())]
    FeatureCache {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A model whose answers have no gradients.
    #[error(
        "no heat map shows what classifiers on frozen features look at; ask for contributions, or train a network with a \
         classifier of its own"
    )]
    NoGradients,
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A model's file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file that is no model, or a damaged one.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ModelFileError,
    },
    /// A text that cannot stand on a model's card.
    #[error("card: {text}: {reason}")]
    Card {
        /// The text's name.
        text: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Parts of a model that do not fit together.
    #[error("{what}: {found} is not {expected}; the model is damaged or was put together wrongly")]
    Inconsistent {
        /// The part that does not fit.
        what: String,
        /// The value that the part has.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A model that does not say which class frequencies its probabilities stand on.
    #[error(
        "the model is of an earlier version and does not say how frequent the classes were that it learnt; train it again to state or \
         estimate a prevalence"
    )]
    NoPrevalence,
    /// Another point of a model with thresholds that were fitted to the answers at its own.
    #[error(
        "the operating points of groups and the sets of classes of this model were fitted to its answers {}; train it with \
         second_stage.point to have others, or without groups and abstention",
        match point { Some(point) => format!("at the point `{point}`"), None => "without a point".to_owned() }
    )]
    FittedToPoint {
        /// The point at which it answers.
        point: Option<String>,
    },
    /// A prevalence that cannot be estimated, since probabilities are not calibrated.
    #[error(
        "a prevalence is estimated from probabilities that were calibrated on validation cases, and the model's were not: train it \
         with second_stage.calibrated, or state the prevalence"
    )]
    NotCalibrated,
    /// None of the cases could be read; the first error.
    #[error("no case could be answered; the first: {0}")]
    Unreadable(Arc<DataError>),
    /// Questions of which none can be asked; the first.
    #[error("no case could be answered; the first, `{id}`: {reason}")]
    NothingAsked {
        /// The case.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Questions without a case.
    #[error("there is no case to ask about")]
    NoCases,
    /// Two cases of one id among those that a model is asked about.
    #[error("the id `{case}` is that of an earlier case too; give each case an id of its own")]
    CaseTwice {
        /// The id.
        case: String,
    },
    /// A table that says nothing of its cases that the model uses.
    #[error("{} has none of the columns {}; it has {}", file.display(), known.join(", "), found.join(", "))]
    NoColumn {
        /// The table.
        file: PathBuf,
        /// The columns that it has.
        found: Vec<String>,
        /// The columns that are used.
        known: Vec<String>,
    },
    /// A folder of images without one.
    #[error("{} holds no image file ({})", folder.display(), IMAGE_EXTENSIONS.join(", "))]
    NoImageFiles {
        /// The folder.
        folder: PathBuf,
    },
    /// A class of a data set that the model does not have.
    #[error(
        "task `{task}`: the model has no class `{class}`; it has {}; map the classes of the set, or leave its cases out",
        known.join(", ")
    )]
    UnknownClass {
        /// The task.
        task: String,
        /// The class.
        class: String,
        /// The model's classes.
        known: Vec<String>,
    },
    /// A field of a case that was given twice.
    #[error("field `{field}` is given twice: `{first}` and `{second}`")]
    FieldTwice {
        /// The field.
        field: String,
        /// The first value.
        first: String,
        /// The second.
        second: String,
    },
    /// A bundle's description is not what this version writes.
    #[error("{} is not a description of a model: {source}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A bundle of another format version.
    #[error(
        "model {} has {found}; this version reads `format`: {expected} of such folders; use the version of DermaFuse that \
         wrote it, or a newer one",
        path.display()
    )]
    Format {
        /// The bundle.
        path: PathBuf,
        /// What it says of its format.
        found: String,
        /// The format that is read.
        expected: u32,
    },
    /// Weights whose checksum is not the one that was written.
    #[error("{} is damaged: its SHA-256 is {found}, the bundle says {expected}; copy the bundle again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// What the bundle says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// Weights that do not fit the network of the bundle.
    #[error("weights {} do not fit the bundle's network: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A file that is not the one whose checksum was given.
    #[error("{}: its SHA-256 is {found}, and {expected} was asked for: it is another file, or a damaged one; get it again", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The checksum that was given.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A checksum that is none.
    #[error("`{found}` is no SHA-256, which is written in 64 digits from 0 to 9 and a to f; copy it whole")]
    NoSha256 {
        /// What was given.
        found: String,
    },
    /// No folder in which models are installed.
    #[error(
        "there is no folder for installed models: neither DERMAFUSE_MODELS nor XDG_DATA_HOME nor HOME is set; set DERMAFUSE_MODELS to one"
    )]
    NoModelFolder,
    /// A folder of installed models that cannot be made or listed, or a model in it that cannot be removed.
    #[error("{}: {source}; check the path and its permissions, or set DERMAFUSE_MODELS to another folder", path.display())]
    ModelFolder {
        /// The folder or the file in it.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A text that cannot be the name of an installed model.
    #[error("a model cannot be called `{name}`: {reason}; give it another name with --name")]
    ModelName {
        /// The text.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A second model of a name.
    #[error("a model called `{name}` is installed already ({}); remove that with `dermafuse models remove {name}`, or give this one another name with --name", path.display())]
    ModelInstalled {
        /// The name.
        name: String,
        /// The file of the first.
        path: PathBuf,
    },
    /// A name that no installed model has.
    #[error("there is no model `{name}`, neither at that path nor installed in {}; {}", folder.display(), match installed.is_empty() {
        true => "none is installed: `dermafuse models add FILE` installs one".to_owned(),
        false => format!("installed are {}", installed.join(", ")),
    })]
    NotInstalled {
        /// The name.
        name: String,
        /// The folder of installed models.
        folder: PathBuf,
        /// The names of those that are installed.
        installed: Vec<String>,
    },
    /// A word that is both a path and a name.
    #[error("`{name}` is a model here and an installed one ({}); say ./{name} for the one here, or the whole path of the other", path.display())]
    TwoModels {
        /// The word.
        name: String,
        /// The file of the installed model.
        path: PathBuf,
    },
    /// A test-time augmentation that does not exist.
    #[error("unknown test-time augmentation `{found}`; use 0, 3, 4 or 6 (views)")]
    TestTimeAugmentation {
        /// What was asked for.
        found: String,
    },
    /// A field that the model does not use.
    #[error("the model uses no field `{field}`; it uses {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownField {
        /// The field.
        field: String,
        /// The fields that it uses.
        known: Vec<String>,
    },
    /// A text that is no value of a field.
    #[error("field `{field}` is {expected}, not `{found}`")]
    FieldValue {
        /// The field.
        field: String,
        /// The text.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A feature map that the network does not have.
    #[error("the network has no feature map of stage {stage} of the {view} image; stages are 0 to 3")]
    NoFeatureMap {
        /// The image.
        view: &'static str,
        /// The stage, from 0.
        stage: usize,
    },
    /// Attention that the network does not have.
    #[error("the network has no {what}; {remedy}")]
    NoAttention {
        /// What was asked for.
        what: String,
        /// What has some.
        remedy: &'static str,
    },
    /// Attention weights that are not finite.
    #[error("the weights of {what} are not finite; are the network's weights damaged?")]
    NonFiniteAttention {
        /// The attention.
        what: String,
    },
    /// A feature map or gradient that is not finite.
    #[error(
        "the feature map of stage {stage} of the {view} image, or its gradient, is not finite; are the weights damaged?"
    )]
    NonFiniteMap {
        /// The image.
        view: &'static str,
        /// The stage, from 0.
        stage: usize,
    },
    /// A task or class that there is not.
    #[error("{what} {found} is out of range, there are {count}")]
    OutOfRange {
        /// Task or class.
        what: &'static str,
        /// What was asked for, from 0.
        found: usize,
        /// How many there are.
        count: usize,
    },
    /// Settings that hide no part of an image.
    #[error("{what} of an occlusion must be {expected}, found {found}")]
    Occlusion {
        /// The setting.
        what: &'static str,
        /// What it must be.
        expected: &'static str,
        /// The value that was given.
        found: usize,
    },
    /// More inputs than whose every combination can be asked about.
    #[error(
        "the case has {found} inputs, and contributions ask about all combinations of at most {most}; leave fields that \
         matter less unrecorded"
    )]
    TooManyInputs {
        /// Inputs of the case.
        found: usize,
        /// The most that are possible.
        most: usize,
    },
    /// A data set whose tasks are not the model's.
    #[error("the data set's tasks {found:?} are not the model's {expected:?}; use a model trained for this data set")]
    Tasks {
        /// The model's tasks with their classes.
        expected: Vec<String>,
        /// The data set's.
        found: Vec<String>,
    },
}
