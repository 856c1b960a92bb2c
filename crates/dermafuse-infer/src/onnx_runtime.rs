//! ONNX Runtime, loaded when it is asked for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dermafuse_schema::EngineFacts;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use crate::engine_library::EngineLibrary;
use crate::onnx_session::check_question;
use crate::process_library::{ProcessLibrary, StartError, without_panic};
use crate::{EngineError, EngineSettings, OnnxSession, OnnxTensor, Precision};

const NAME: &str = "ONNX Runtime";

const LIBRARY: EngineLibrary = EngineLibrary {
    engine: NAME,
    stem: "onnxruntime",
    variable: "ORT_DYLIB_PATH",
    package: "onnxruntime/capi",
    install: "pip install onnxruntime",
    functions: &["OrtGetApiBase"],
};

/// The library of the process.
static LOADED: ProcessLibrary<Started> = ProcessLibrary::new();

#[derive(Debug)]
struct Started {
    version: String,
    environment: Environment,
}

/// Finds and loads the library, if that was not done.
///
/// # Errors
/// No library, one that cannot be used, another one than is loaded already.
pub(crate) fn load(settings: &EngineSettings) -> Result<(), EngineError> {
    loaded(settings).map(|_| ())
}

/// The file in the library.
///
/// # Errors
/// As [`load`]; a precision that it does not have; a file that it does not accept.
pub(crate) fn open(settings: &EngineSettings, file: &[u8]) -> Result<Arc<dyn OnnxSession>, EngineError> {
    Ok(Arc::new(OnnxRuntime::new(loaded(settings)?, settings, file)?))
}

fn loaded(settings: &EngineSettings) -> Result<&'static Started, EngineError> {
    if settings.precision == Precision::Bf16 {
        return Err(EngineError::Precision {
            engine: NAME.into(),
            precision: settings.precision.name(),
            reason: "its CPU kernels compute in 32-bit floats or 8-bit integers".into(),
        });
    }
    LOADED.get(&LIBRARY, settings.library.as_deref(), start).map(|loaded| &loaded.value)
}

/// Loads the library and starts it.
fn start(path: &Path) -> Result<Started, StartError> {
    let lies = || format!("it has no functions of version 1.{}, whatever it says of itself", ort::MINOR_VERSION);
    // One that is too old is let go of by the crate.
    let builder = match without_panic(|| ort::init_from(path)) {
        Some(Ok(builder)) => builder,
        Some(Err(LoadDynamicError::BadVersion { version_str, .. })) => {
            let minor = ort::MINOR_VERSION;
            let reason = format!("it is of version {version_str}, and 1.{minor} or a later one is needed");
            return Err(StartError::Refused(reason));
        }
        Some(Err(other)) => return Err(StartError::Refused(other.to_string())),
        None => return Err(StartError::Refused(lies())),
    };
    // One that says that it is new enough and has no functions of that version ends in a panic of the crate. What goes wrong is an error
    // that is returned; nothing is printed, and nothing is sent to its makers.
    let builder = builder.with_name("dermafuse").with_telemetry(false).with_logger(Arc::new(|_, _, _, _, _| {}));
    let started = without_panic(|| builder.build().map(|environment| (ort::info(), environment)));
    match started.ok_or_else(|| StartError::Stays(lies()))? {
        Ok((info, environment)) => Ok(Started { version: version_of(path, info), environment }),
        Err(error) => Err(StartError::Stays(error.to_string())),
    }
}

/// The version of a library: that of its file's name, or of the branch that its makers built it from.
fn version_of(path: &Path, info: &str) -> String {
    let is_version =
        |text: &&str| text.split('.').count() > 1 && text.split('.').all(|part| part.parse::<u32>().is_ok());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let of_name = name.split_once(".so.").map(|(_, version)| version);
    let of_name = of_name.or_else(|| name.strip_prefix("libonnxruntime.")?.strip_suffix(".dylib"));
    let of_branch = || info.split_once("git-branch=rel-").and_then(|(_, rest)| rest.split([',', ' ']).next());
    let version = of_name.filter(is_version).or_else(|| of_branch().filter(is_version));
    version.map_or_else(|| format!("1.{} or later", ort::MINOR_VERSION), str::to_owned)
}

/// A file in ONNX Runtime.
#[derive(Debug)]
struct OnnxRuntime {
    facts: EngineFacts,
    inputs: Vec<OnnxTensor>,
    outputs: Vec<OnnxTensor>,
    /// One pass at a time: the crate forbids more, as parts of the library are not made for that.
    session: Mutex<Session>,
}

impl OnnxRuntime {
    fn new(loaded: &Started, settings: &EngineSettings, file: &[u8]) -> Result<Self, EngineError> {
        let facts = EngineFacts {
            name: NAME.into(),
            version: loaded.version.clone(),
            precision: settings.precision.name().into(),
        };
        let refused = |reason: String| EngineError::Network { engine: facts.to_string(), reason };
        let session = || -> Result<Session, ort::Error> {
            let mut builder = Session::builder(&loaded.environment)?;
            if let Some(threads) = settings.threads {
                builder = builder.with_intra_threads(threads.get())?;
            }
            builder.commit_from_memory(file)
        };
        let session = session().map_err(|error| refused(error.to_string()))?;
        let tensors =
            |outlets: &[Outlet]| outlets.iter().map(tensor_of).collect::<Result<Vec<_>, _>>().map_err(refused);
        let (inputs, outputs) = (tensors(session.inputs())?, tensors(session.outputs())?);
        Ok(Self { inputs, outputs, session: Mutex::new(session), facts })
    }
}

/// What a file says of an input or output.
fn tensor_of(outlet: &Outlet) -> Result<OnnxTensor, String> {
    let name = outlet.name().to_owned();
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            Ok(OnnxTensor { name, shape: shape.iter().map(|&side| usize::try_from(side).ok()).collect() })
        }
        other => Err(format!("`{name}` is {other} instead of a tensor of 32-bit floats")),
    }
}

impl OnnxSession for OnnxRuntime {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn inputs(&self) -> &[OnnxTensor] {
        &self.inputs
    }

    fn outputs(&self) -> &[OnnxTensor] {
        &self.outputs
    }

    fn run(&self, inputs: &[(&str, ArrayViewD<'_, f32>)], outputs: &[&str]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        check_question(self, inputs, outputs)?;
        let failed = |reason: String| EngineError::Run { engine: self.facts.to_string(), reason };
        let whole: Vec<_> = inputs.iter().map(|(name, values)| (*name, values.as_standard_layout())).collect();
        let run = || -> Result<Vec<ArrayD<f32>>, ort::Error> {
            let mut given: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(whole.len());
            for (name, values) in &whole {
                let numbers = values.as_slice().expect("it is in standard layout");
                given.push((name, TensorRef::from_array_view((values.shape(), numbers))?.into()));
            }
            let wanted = outputs.iter().fold(OutputSelector::no_default(), |wanted, name| wanted.with(*name));
            let options = RunOptions::new()?.with_outputs(wanted);
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let found = session.run_with_options(given, &options)?;
            let array = |name: &&str| {
                let value = found.get(name).ok_or_else(|| ort::Error::new(format!("no output `{name}`")))?;
                let (shape, values) = value.try_extract_tensor::<f32>()?;
                let shape: Vec<usize> = shape.iter().map(|&side| usize::try_from(side).unwrap_or(0)).collect();
                ArrayD::from_shape_vec(IxDyn(&shape), values.to_vec()).map_err(ort::Error::wrap)
            };
            outputs.iter().map(array).collect()
        };
        run().map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_name_or_from_the_branch() {
        let of = |name: &str, info: &str| version_of(Path::new(name), info);
        assert_eq!(of("/lib/libonnxruntime.so.1.32.0", ""), "1.32.0");
        assert_eq!(of("/lib/libonnxruntime.1.25.1.dylib", ""), "1.25.1");
        let info = "ORT Build Info: git-branch=rel-1.24.2, git-commit-id=0, build type=Release";
        assert_eq!(of("/lib/libonnxruntime.so", info), "1.24.2");
        assert_eq!(of("onnxruntime.dll", "git-branch=HEAD, build type=Release"), "1.24 or later");
    }
}
