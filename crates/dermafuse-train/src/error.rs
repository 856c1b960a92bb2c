use std::path::PathBuf;

use dermafuse_backbones::BackboneKind;
use dermafuse_data::DataError;
use dermafuse_infer::InferError;
use dermafuse_schema::{ReadError, SettingFault, WriteError};
use thiserror::Error;

use crate::Differences;

/// What can go wrong in training.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Cases or images are wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Validation failed.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A file could not be written; what was there before is untouched.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file that is not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A setting with a value that it cannot have, whatever is trained.
    #[error(transparent)]
    Value(#[from] SettingFault),
    /// A setting that makes no training of this network on these cases.
    #[error("{setting} must be {expected}, found {found}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What it must be.
        expected: &'static str,
        /// The value that was found.
        found: String,
    },
    /// A weight for a loss that the network does not add.
    #[error(
        "the network adds no loss `{name}`, which the recipe weighs; it adds {}", 
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    )]
    UnknownAuxiliary {
        /// The name.
        name: String,
        /// The losses that the network adds.
        known: Vec<String>,
    },
    /// Steps of unfreezing by backbone, none of which are the network's.
    #[error("unfreezing.steps {}", no_steps(backbones, known))]
    NoSteps {
        /// The kinds of backbone that the network has.
        backbones: Vec<BackboneKind>,
        /// The names of the backbones that have steps.
        known: Vec<String>,
    },
    /// A step of unfreezing that names what the backbones have not.
    #[error(
        "unfreezing.steps names the block `{block}`, which the backbone has not; its blocks are {}, and what comes before a dot \
         names all of them",
        known.join(", ")
    )]
    UnknownBlock {
        /// The name.
        block: String,
        /// The blocks that there are.
        known: Vec<String>,
    },
    /// The loss is NaN or infinite. Nothing was stepped: the last checkpoint holds the last good weights.
    #[error(
        "the loss is {loss} in epoch {epoch}, batch {batch} (cases {}); nothing was stepped. \
         Look at these cases, lower the learning rate, or check the weights",
        cases.join(", ")
    )]
    NonFiniteLoss {
        /// Epoch, from 1.
        epoch: usize,
        /// Batch within the epoch, from 1.
        batch: usize,
        /// The cases of the batch.
        cases: Vec<String>,
        /// The loss.
        loss: f64,
    },
    /// A device could not compute a pass, as one whose memory is full or whose connection is lost. Nothing of this epoch is kept: the
    /// last checkpoint holds the weights of the one before.
    #[error(
        "{} cannot train batch {batch} of epoch {epoch}, {cases} cases at a time: {reason}. If its memory is full, set \
         `micro_batch_size` below {cases} (the same gradients with less memory), take smaller images or train on another device, and \
         resume the run",
        if *devices == 1 { "the device".to_owned() } else { format!("device {device} of {devices}") }
    )]
    Device {
        /// Which of the devices that share the step, from 1; the first is the network's own.
        device: usize,
        /// How many devices share the step.
        devices: usize,
        /// Epoch, from 1.
        epoch: usize,
        /// Batch within the epoch, from 1.
        batch: usize,
        /// The cases of the pass.
        cases: usize,
        /// What the device says.
        reason: String,
    },
    /// A score that cannot be compared.
    #[error("the validation score of epoch {epoch} is {score}; are there annotated validation cases?")]
    Score {
        /// Epoch, from 1.
        epoch: usize,
        /// The score.
        score: f64,
    },
    /// A class that no training case has.
    #[error("class `{class}` of task `{task}` has no training case; leave the class out or split differently")]
    EmptyClass {
        /// The task.
        task: String,
        /// The class.
        class: String,
    },
    /// A checkpoint's folder or file could not be made, read or renamed.
    #[error("cannot access checkpoint {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process trains in the folder.
    #[error("{} is in use by another run; give each run a folder of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that has checkpoints, but resuming was not asked for.
    #[error("{} already holds a run of {epochs} epochs; resume it, or give another folder", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// Epochs that are done.
        epochs: usize,
    },
    /// A run that was started with another configuration or on other data.
    #[error(
        "{} was started with another configuration or other data: {differences}{}; resume with the same, or give another folder",
        path.display(),
        because.as_ref().map_or_else(String::new, |because| format!(" ({because})"))
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// What differs.
        differences: Differences,
        /// Why a run that differs in its length alone is not continued.
        because: Option<String>,
    },
    /// A run whose best epoch is damaged.
    #[error(
        "the best epoch of {}, {best}, cannot be read ({reason}), while the last one, {latest}, is whole. Resume with the \
         lost best epoch set to `train-again` to train again what is needed, with the same result, or to `go-on` to take the best of \
         epoch {latest} and those that follow",
        path.display()
    )]
    BestLost {
        /// The folder.
        path: PathBuf,
        /// The best epoch, from 1.
        best: usize,
        /// The last epoch, from 1.
        latest: usize,
        /// What is wrong with the best.
        reason: String,
    },
    /// Training cases that lack an image.
    #[error(
        "{cases} of {all} training cases lack an image that the network looks at, the first is case {first} without {image}; \
         complete them, or leave them out (incomplete cases: skip{})",
        why_not_used.as_ref().map_or_else(|| ", or use".to_owned(), |why| format!("; they cannot be used, since {why}"))
    )]
    Incomplete {
        /// The number of these cases.
        cases: usize,
        /// Of how many.
        all: usize,
        /// The first.
        first: String,
        /// What it lacks.
        image: &'static str,
        /// Why they cannot be trained on as they are, if so.
        why_not_used: Option<String>,
    },
    /// No checkpoint of a run can be read.
    #[error("no checkpoint in {} can be read: {}; remove the folder to begin again", path.display(), reasons.join("; "))]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why, for each checkpoint.
        reasons: Vec<String>,
    },
    /// Weights or optimizer state that do not fit.
    #[error("checkpoint {} cannot be restored: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
}

fn no_steps(backbones: &[BackboneKind], known: &[String]) -> String {
    let names: Vec<&str> = backbones.iter().map(|kind| kind.name()).collect();
    let known = known.join(", ");
    match names[..] {
        [name] => format!(
            "says nothing of {name}, but of {known}; say training.unfreezing.steps.{name} = [[\"BLOCK\", …], …], the last blocks \
             first, or training.unfreezing = \"none\""
        ),
        [] => "is by backbone, and the network has none; say training.unfreezing = \"none\"".to_owned(),
        _ => format!(
            "is by backbone, and the network has several ({}); give one list of steps for all, or say training.unfreezing = \
             \"none\"",
            names.join(", ")
        ),
    }
}
