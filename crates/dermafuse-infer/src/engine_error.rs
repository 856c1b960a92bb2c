use std::path::{Path, PathBuf};

#[cfg(feature = "_engines")]
use dermafuse_onnx::OnnxError;
use thiserror::Error;

use crate::Engine;

/// Why an engine cannot run a model's network.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A name that no engine has.
    #[error(
        "there is no engine `{found}`; the engines are {}, and settings follow a colon, such as `openvino:precision=bf16,threads=4`",
        Engine::NAMES.join(", ")
    )]
    Unknown {
        /// The name.
        found: String,
    },
    /// A setting that an engine does not have, or a value that it cannot have.
    #[error("engine {engine}: `{}` must be {expected}", word(setting, found))]
    Setting {
        /// The engine.
        engine: String,
        /// The setting.
        setting: String,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// An engine that this program was built without.
    #[error(
        "this program was built without the engine `{engine}`; build it with the Cargo feature `{engine}`, or use the engine burn"
    )]
    NotBuilt {
        /// The engine, which is also the name of the feature.
        engine: &'static str,
    },
    /// No library in any of the places.
    #[error("the library of {engine} was not found; looked for {}; {remedy}", listed(searched))]
    NoLibrary {
        /// The engine.
        engine: &'static str,
        /// Where it was looked for, in this order.
        searched: Vec<String>,
        /// How to get it.
        remedy: String,
    },
    /// A file that is not the library, or not one for this machine.
    #[error("{} cannot be used as the library of {engine}: {reason}; {remedy}", path.display())]
    Library {
        /// The engine.
        engine: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A process has one library of an engine, and it has another one already.
    #[error(
        "the library of {engine} is {} in this process, {}",
        loaded.display(),
        match unusable {
            None => format!("and cannot be {} too; use one of them, or two processes", asked.display()),
            Some(reason) => format!("which cannot be used ({reason}), and so cannot be {}; ask for that one alone, in a new process", asked.display()),
        }
    )]
    OtherLibrary {
        /// The engine.
        engine: &'static str,
        /// The library that is loaded.
        loaded: Box<Path>,
        /// The one that was asked for.
        asked: Box<Path>,
        /// Why the one that is loaded cannot be used, if it cannot.
        unusable: Option<Box<str>>,
    },
    /// A program that is linked statically, which loads no libraries.
    #[error(
        "this program is linked statically and loads no libraries, so that {engine} cannot run in it; use the engine burn, or {file} of the \
         same release, which loads them where the system has glibc (docs/machines.md)"
    )]
    StaticProgram {
        /// The engine.
        engine: &'static str,
        /// The file of a release that loads libraries on such a machine.
        file: &'static str,
    },
    /// A processor that lacks what the library's code uses without asking.
    #[error("{engine} needs a processor with {needs}, which this one lacks; use the engine burn")]
    Processor {
        /// The engine.
        engine: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A precision that the engine or the processor does not have.
    #[error("{engine} cannot compute in {precision} here: {reason}; use precision=f32")]
    Precision {
        /// The engine.
        engine: String,
        /// The precision.
        precision: &'static str,
        /// The reason why it cannot.
        reason: String,
    },
    /// A network that cannot be written as ONNX, which is what libraries run.
    #[cfg(feature = "_engines")]
    #[error("the network cannot be given to another engine: {0}; use the engine burn")]
    Export(#[from] OnnxError),
    /// A network that the engine does not accept, or that is not the model's.
    #[error("{engine} cannot run the network: {reason}")]
    Network {
        /// The engine, with its version.
        engine: String,
        /// What it said.
        reason: String,
    },
    /// A forward pass that failed.
    #[error("{engine} failed at a forward pass: {reason}")]
    Run {
        /// The engine, with its version.
        engine: String,
        /// What it said.
        reason: String,
    },
    /// An input or output of an encoder that is not there, or one of several that is not named.
    #[error(
        "{}", match asked {
            Some(name) => format!("the ONNX file of the encoder has no {what} `{name}`; it has {known} (method.network.backbone.onnx.{what})"),
            None => format!("the ONNX file of the encoder has several {what}s: {known}; name one (method.network.backbone.onnx.{what})"),
        }
    )]
    EncoderName {
        /// `input` or `output`.
        what: &'static str,
        /// The name that was asked for.
        asked: Option<String>,
        /// The names that the file has.
        known: String,
    },
    /// An output of an encoder of which the file does not say what it is.
    #[error(
        "the ONNX file of the encoder does not say how many dimensions its output `{output}` has, which a file of the whole answer needs; \
         infer it by `onnx.save(onnx.shape_inference.infer_shapes(onnx.load(FILE)), FILE)`, and fit the model with that file"
    )]
    EncoderRank {
        /// The output.
        output: String,
    },
    /// An encoder that wants more than an image.
    #[error("the ONNX file of the encoder takes more than images: {found}; export it with images as its only input")]
    EncoderInputs {
        /// Its inputs.
        found: String,
    },
    /// An encoder that takes other images.
    #[error(
        "the ONNX file of the encoder takes {input}, which an image of the shape {sides:?} is not; set training.preprocess.size, or \
         method.network.backbone.onnx.layout (nchw or nhwc)"
    )]
    EncoderImages {
        /// Its input.
        input: String,
        /// An image as it would be given.
        sides: [usize; 4],
    },
    /// A device that could not compute what was asked, as one whose memory is full.
    #[error(
        "the device could not answer {cases} cases at a time: {reason}. If its memory is full, answer fewer at a time, take smaller \
         images or another device"
    )]
    Device {
        /// The cases, or images, of the pass.
        cases: usize,
        /// What the device says.
        reason: String,
    },
    /// An output of another shape than the network's.
    #[error("{engine} gave {what} {found} instead of {expected}; is the library whole?")]
    Shape {
        /// The engine, with its version.
        engine: String,
        /// The name of the tensor.
        what: String,
        /// The shape that the engine gave.
        found: String,
        /// What it must be.
        expected: String,
    },
}

fn word(setting: &str, found: &str) -> String {
    if found.is_empty() { setting.to_owned() } else { format!("{setting}={found}") }
}

fn listed(searched: &[String]) -> String {
    if searched.is_empty() { "nothing".to_owned() } else { searched.join(", ") }
}
